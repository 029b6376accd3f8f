"""From a judge's completion to a verdict about the model: who was shown where is undone here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import verdict
from benchmarks.cases import Case
from benchmarks.judgments import Verdict, by_difference
from benchmarks.protocol import Protocol
from benchmarks.score_pair import HIGHEST, LOWEST
from benchmarks.verdict import Parser, Unscored
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


def tie(protocol: Protocol) -> Read:
    """What equal answers are, without a call."""
    return Read("tie", preference=1.5 if protocol.kind == "pair_weighted" else None)


def read(said: Completion, case: Case, protocol: Protocol) -> Read:
    """What a completion says of a case under a protocol."""
    model_first = case.order == "model_first"
    if said.finish_reason == "content_filter":
        return unscored(said.finish_reason)
    if protocol.kind == "pair_weighted":  # one token, so it always ends at its length
        if not said.logprobs:
            return unscored("no_logprobs")
        return chances([*said.logprobs[0].items()], model_first)
    if said.finish_reason == "length":  # its last line is not its last word
        return unscored(said.finish_reason)
    return words(said.text, verdict.PARSERS[protocol.parser], model_first)


def words(text: str, parser: Parser, model_first: bool) -> Read:
    """What a judge's words say of the model, which was shown first or second."""
    found = parser(text)
    if isinstance(found, Unscored):
        return unscored(found.reason)
    if isinstance(found, str):
        if found == "C":
            return Read("tie")
        return Read("model" if (found == "A") == model_first else "baseline")
    scores = list(found) if isinstance(found, tuple) else [found]
    if not all(LOWEST <= score <= HIGHEST for score in scores):  # published parsers let all pass
        return unscored("out_of_range")
    if len(scores) == 1:
        return Read("graded", scores=scores)
    model, baseline = scores if model_first else scores[::-1]
    return Read(by_difference(model - baseline), scores=[model, baseline])


def chances(tokens: Sequence[tuple[str, float]], model_first: bool) -> Read:
    """What the log probabilities of a judge's one token say of the model."""
    kept = [one for one in tokens if math.isfinite(one[1])]
    second = verdict.token_preference(
        [{"token": token, "logprob": logprob} for token, logprob in tokens]
    )
    if isinstance(second, Unscored):
        return Read("unscored", second.reason, logprobs=kept)
    preference = 2 - second if model_first else 1 + second
    return Read(by_difference(preference - 1.5), preference=preference, logprobs=kept)
