"""From a judge's completion to a verdict about the model: who was shown where is undone here."""

import math
from dataclasses import dataclass, field

from benchmarks import verdict
from benchmarks.cases import Case
from benchmarks.judgments import Verdict
from benchmarks.protocol import Protocol
from benchmarks.score_pair import HIGHEST, LOWEST
from benchmarks.verdict import Choice, Unscored
from ultra.chat import Completion


@dataclass(frozen=True)
class Read:
    """The part of a judgment's row that its words decide; see ``judgments.FIELDS``."""

    verdict: Verdict
    reason: str = ""
    scores: list[float] = field(default_factory=list)
    preference: float | None = None
    logprobs: list[tuple[str, float]] = field(default_factory=list)


def unscored(reason: str) -> Read:
    """No verdict, and why."""
    return Read("unscored", reason)


def read(said: Completion, case: Case, protocol: Protocol) -> Read:
    """What a completion says of a case under a protocol."""
    if protocol.kind == "pair_weighted":  # one token, so it always ends at its length
        return _weighted(said, case)
    if said.finish_reason in ("length", "content_filter"):  # its last line is not its last word
        return unscored(said.finish_reason)
    found = verdict.PARSERS[protocol.parser](said.text)
    if isinstance(found, Unscored):
        return unscored(found.reason)
    if isinstance(found, str):
        return _chosen(found, case)
    scores = list(found) if isinstance(found, tuple) else [found]
    if not all(LOWEST <= score <= HIGHEST for score in scores):  # published parsers let all pass
        return unscored("out_of_range")
    if len(scores) == 1:
        return Read("graded", scores=scores)
    model, baseline = scores if case.order == "model_first" else scores[::-1]
    return Read(_sign(model - baseline), scores=[model, baseline])


def tie(protocol: Protocol) -> Read:
    """What equal answers are, without a call."""
    return Read("tie", preference=1.5 if protocol.kind == "pair_weighted" else None)


def _chosen(choice: Choice, case: Case) -> Read:
    if choice == "C":
        return Read("tie")
    return Read("model" if (choice == "A") == (case.order == "model_first") else "baseline")


def _weighted(said: Completion, case: Case) -> Read:
    if said.finish_reason == "content_filter":
        return unscored(said.finish_reason)
    if not said.logprobs:
        return unscored("no_logprobs")
    likeliest = said.logprobs[0]
    second = verdict.token_preference(
        [{"token": token, "logprob": logprob} for token, logprob in likeliest.items()]
    )
    if isinstance(second, Unscored):
        return unscored(second.reason)
    preference = 2 - second if case.order == "model_first" else 1 + second
    kept = [one for one in likeliest.items() if math.isfinite(one[1])]
    return Read(_sign(preference - 1.5), preference=preference, logprobs=kept)


def _sign(difference: float) -> Verdict:
    return "tie" if difference == 0 else "model" if difference > 0 else "baseline"
