"""One simulated dialogue: a user model and an assistant model take turns after an opening line.

A turn with a fault is asked again, with another sample, and of the user model with a reminder that
is not stored. If no try is good, the dialogue ends at its last good answer, or is dropped if that
is too early.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal

from datasets_scripts.boilerplate import excerpt
from datasets_scripts.ultrachat import detectors, views
from datasets_scripts.ultrachat.plan import Plan
from datasets_scripts.ultrachat.views import Script, View
from ultra.chat import ChatModel, Completion, Sampling
from ultra.errors import CallError
from ultra.schema import Message

PLANNED = "planned"
_ENDS = ("context_length", "content_filter")
"""Calls that fail for what the dialogue is: it ends there. For any other failed call it is dropped,
as a dialogue cut short by the network would be other bytes from the same seed."""
_DETAIL = 100
_HOTTEST = 2.0
"""Highest temperature that endpoints take."""

Job = Literal["user", "assistant"]


@dataclass(frozen=True)
class Cast:
    """The two parts: models, sampling, and how the simulated user is told what to do."""

    user: ChatModel
    assistant: ChatModel
    user_sampling: Sampling
    assistant_sampling: Sampling
    script: Script
    view: View = "flipped"
    retries: int = 2
    """How often a turn with a fault is asked again."""
    vary_temperature: bool = True
    """Whether the plan changes the simulated user's temperature; some models take only one."""


@dataclass(frozen=True)
class Dialogue:
    """A finished dialogue, and what it took.

    ``usage`` counts what the completions took that are its turns, ``rejected`` what went into tries
    that are not: ``user_calls``, ``user_prompt_tokens``, ``user_completion_tokens``,
    ``user_cached_tokens``, and the same of ``assistant``.
    """

    messages: list[Message]
    rounds: int
    """How many were held."""
    finish: str
    """``planned``, or what ended it early, such as ``user_thanks_only``."""
    model: str
    """Who answered, as the server named it; several names are joined by commas."""
    user_model: str
    """Likewise who asked; empty if nobody was to."""
    usage: Counter[str]
    rejected: Counter[str]
    health: Counter[str]
    """How often what happened; see :func:`simulate`."""


@dataclass(frozen=True)
class Failed:
    """A dialogue that cannot be kept: why, what is to be seen of it, and what it took."""

    reason: str
    detail: str
    rejected: Counter[str]
    health: Counter[str]


async def simulate(plan: Plan, cast: Cast) -> Dialogue | Failed:
    """Hold the planned number of rounds, ending with the assistant; or say why it failed.

    ``health`` counts ``dialogues`` (1), ``user_turns`` and ``assistant_turns`` (tries at a turn,
    those whose call failed too), ``user_<fault>`` and ``assistant_<fault>`` (those of them with a
    fault, or whose call failed for it), ``asked_again``, ``thanks_pairs_removed``, ``ended_early``,
    ``dropped`` and ``dropped_<reason>``.

    Raises:
        ModelError: an endpoint refuses us altogether.
        BudgetError: the next call could pass the budget.
    """
    stage = _Stage(plan, cast)
    try:
        finish = await stage.hold()
        detail = stage.detail
    except CallError as error:
        job = "user" if stage.messages[-1]["role"] == "assistant" else "assistant"
        stage.health[f"{job}_{error.reason}"] += 1
        return stage.failed(f"{job}_{error.reason}", str(error))
    if finish != PLANNED and len(stage.kept["assistant"]) < plan.least_rounds:
        return stage.failed(finish, detail)
    return stage.finished(finish)


def user_temperature(plan: Plan, cast: Cast) -> float:
    """The temperature at which the simulated user of a plan is sampled."""
    factor = plan.user_temperature if cast.vary_temperature else 1.0
    return min(_HOTTEST, round(cast.user_sampling.temperature * factor, 2))


@dataclass
class _Stage:
    """A dialogue while it is held: what was said, by which completions, and what went wrong."""

    plan: Plan
    cast: Cast
    messages: list[Message] = field(init=False)
    kept: dict[Job, list[Completion]] = field(default_factory=lambda: {"user": [], "assistant": []})
    rejected: Counter[str] = field(default_factory=Counter)
    health: Counter[str] = field(default_factory=lambda: Counter(dialogues=1))
    detail: str = ""
    """What is to be seen of the last fault."""

    def __post_init__(self) -> None:
        self.messages = [{"role": "user", "content": self.plan.opening.text}]

    async def hold(self) -> str:
        """Take turns until the planned rounds are held, or no try at a turn is good; says which."""
        while len(self.kept["assistant"]) < self.plan.rounds:
            fault = await self._turn("user") if self.kept["assistant"] else ""
            fault = fault or await self._turn("assistant") or self._goodbye()
            if fault:
                self._back_to_last_answer()
                return fault
        return PLANNED

    async def _turn(self, job: Job) -> str:
        """Have one of the two speak; gives what was wrong if no try was good, or the call failed.

        Raises:
            CallError: a call failed for a reason that is not the dialogue's.
        """
        fault = ""
        for attempt in range(self.cast.retries + 1):
            self.health["asked_again"] += attempt > 0
            self.health[f"{job}_turns"] += 1
            try:
                said = await self._ask(job, attempt, fault)
            except CallError as error:
                if error.reason not in _ENDS:
                    raise
                fault, self.detail = error.reason, str(error)
                self.health[f"{job}_{fault}"] += 1
                break
            fault = self._fault(job, said) or ""
            if not fault:
                self.kept[job].append(said)
                self.messages = [*self.messages, {"role": job, "content": said.text.strip()}]
                return ""
            self.health[f"{job}_{fault}"] += 1
            self.rejected.update(_usage(job, [said]))
            self.detail = excerpt(said.text, 0, _DETAIL) if said.text.strip() else ""
        return f"{job}_{fault}"

    async def _ask(self, job: Job, attempt: int, fault: str) -> Completion:
        plan, cast = self.plan, self.cast
        if job == "assistant":
            sampling = replace(cast.assistant_sampling, seed=plan.seed, sample=attempt)
            return await cast.assistant.complete(self.messages, sampling)
        view = views.of_user(cast.script, plan, self.messages, cast.view, fault)
        temperature = user_temperature(plan, cast)
        sampling = replace(
            cast.user_sampling, temperature=temperature, seed=plan.seed, sample=attempt
        )
        return await cast.user.complete(view, sampling)

    def _fault(self, job: Job, said: Completion) -> str | None:
        if job == "assistant":
            return detectors.assistant_fault(said)
        found = detectors.finish_fault(said)
        return found or detectors.user_fault(said.text.strip(), self.messages, self.plan)

    def _goodbye(self) -> str:
        """Whether the last answer only returns thanks: then it goes with the turn before it."""
        if not self.kept["user"] or not detectors.is_goodbye(self.messages[-1]["content"]):
            return ""
        self.health["thanks_pairs_removed"] += 1
        self.detail = excerpt(self.messages[-2]["content"], 0, _DETAIL)
        self.messages = self.messages[:-1]
        self.rejected.update(_usage("assistant", [self.kept["assistant"].pop()]))
        return "user_thanks_only"

    def _back_to_last_answer(self) -> None:
        """Take away a turn of the user that got no good answer."""
        if self.messages[-1]["role"] == "user" and self.kept["user"]:
            self.messages = self.messages[:-1]
            self.rejected.update(_usage("user", [self.kept["user"].pop()]))

    def finished(self, finish: str) -> Dialogue:
        self.health["ended_early"] += finish != PLANNED
        return Dialogue(
            self.messages,
            len(self.kept["assistant"]),
            finish,
            _names(self.kept["assistant"]),
            _names(self.kept["user"]),
            self._kept_usage(),
            self.rejected,
            self.health,
        )

    def failed(self, reason: str, detail: str) -> Failed:
        self.health.update({"dropped": 1, f"dropped_{reason}": 1})
        return Failed(reason, detail, self.rejected + self._kept_usage(), self.health)

    def _kept_usage(self) -> Counter[str]:
        return sum((_usage(job, said) for job, said in self.kept.items()), Counter[str]())


def _names(said: list[Completion]) -> str:
    return ", ".join(dict.fromkeys(one.model for one in said))


def _usage(job: Job, said: list[Completion]) -> Counter[str]:
    return Counter(
        {
            f"{job}_calls": len(said),
            f"{job}_prompt_tokens": sum(one.usage.prompt_tokens for one in said),
            f"{job}_completion_tokens": sum(one.usage.completion_tokens for one in said),
            f"{job}_cached_tokens": sum(one.usage.cached_tokens for one in said),
        }
    )
