"""The settings of an UltraChat build."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datasets_scripts.ultrachat.openings.asking import Sizes
from datasets_scripts.ultrachat.openings.request import Request, shard_of
from datasets_scripts.ultrachat.openings.texts import Sources
from datasets_scripts.ultrachat.rows import CORPUS
from ultra.chat import Sampling
from ultra.engine import Limits
from ultra.errors import SettingError

VERSION = "2.0.0"
"""Goes up whenever the same openings, settings and model answers would give other bytes."""

CONFIGS = ("all", "world", "creation", "material")

_PREVIEWED = 100
"""Openings that are made for a preview at least: lists come whole, so one takes as many calls, and
these tell better what a whole build will take."""


@dataclass(frozen=True)
class Settings(Limits):
    """Build the UltraChat corpus: a user model and an assistant model hold dialogues."""

    openings: Path | None = None
    """JSONL of {sector, topic, opening}; by default the bundled sample."""
    out: Path = Path("out/releases")
    """Folder in which the release directory is made."""
    sector: Literal["all", "world", "creation", "material"] = "all"
    """Sector of openings to use."""
    n: int = 0
    """Number of dialogues, going round the openings if it is larger; 0 is one for each opening."""
    seed: int = 0
    """Decides the plan of each dialogue; more dialogues leave the first ones as they were."""
    shard: str = ""
    """i/n, i from 0: of all dialogues only those whose number modulo n is i, for one machine of n.
    The journals of all shards, put into one file, make the whole without a call. With
    --opening-model each shard makes all openings."""
    min_rounds: int = 0
    """Fewest rounds of a dialogue, a user turn and its answer each; 0 is its sector's."""
    max_rounds: int = 0
    """Most rounds of a dialogue; 0 is its sector's."""
    user_model: str = ""
    """Who plays the user: demo, a checkpoint folder, or a model's name at the endpoint."""
    assistant_model: str = ""
    """Who answers, likewise."""
    opening_model: str = ""
    """Who writes openings, likewise, where --openings names no file."""
    judge_model: str = ""
    """Who grades a sample, likewise, where --judged is set."""
    embedding_model: str = ""
    """Whose vectors tell how alike topics are, at --base-url and outside of the budget; by default
    TF-IDF of hashed words, which costs nothing."""
    base_url: str = ""
    """OpenAI-compatible endpoint of all of them; by default OPENAI_BASE_URL."""
    user_base_url: str = ""
    """Endpoint of the simulated user, if it is another."""
    assistant_base_url: str = ""
    """Endpoint of the assistant, if it is another."""
    opening_base_url: str = ""
    """Endpoint of the writer of openings, if it is another."""
    user_sampling: Sampling = field(default_factory=lambda: Sampling(1.0, max_tokens=512))
    """Sampling of the simulated user; each plan changes its temperature by up to a fifth."""
    assistant_sampling: Sampling = field(default_factory=lambda: Sampling(0.7, max_tokens=2048))
    """Sampling of the assistant."""
    opening_sampling: Sampling = field(default_factory=lambda: Sampling(1.0, max_tokens=2048))
    """Sampling of the writer of openings."""
    vary_temperature: bool = True
    """Let plans change the simulated user's temperature; false for models that take only one."""
    view: Literal["flipped", "transcript"] = "flipped"
    """How the simulated user sees the dialogue: with the roles flipped, or as one text."""
    retries: int = 2
    """How often a bad turn is asked again before the dialogue ends there."""
    sizes: Sizes = field(default_factory=Sizes)
    """How much the writer of openings is asked for at each level."""
    sources: Sources = field(default_factory=Sources)
    """Entities and texts that it makes openings from."""
    near_duplicates: float = 0.75
    """Similarity, above 0 to 1, from which an opening repeats an earlier one; 0 looks for none."""
    questions: Path | None = None
    """Benchmark questions as JSON Lines: an opening that asks one is dropped before it costs."""
    drop_overlap: Literal[8, 13] = 8
    """Words in a row shared with a question that drop an opening."""
    preview: int = 0
    """Only hold this many dialogues and print them; without it the build goes on from there."""
    judged: int = 0
    """How many dialogues --judge-model grades for the card; 0 is none."""
    tokenizer: Path | None = None
    """A tokenizer.json, or the folder that holds it: lengths in its tokens, by default in words."""
    test_share: float = 0.05
    """Share of openings, 0 to below 1, whose dialogues go into the test split."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.min_rounds or self.max_rounds) and not 1 <= self.min_rounds <= self.max_rounds:
            raise SettingError(
                f"min_rounds: {self.min_rounds} is not from 1 to max_rounds, {self.max_rounds}; "
                "set both"
            )
        for name in ("n", "retries", "preview", "judged"):
            if getattr(self, name) < 0:
                raise SettingError(f"{name}: {getattr(self, name)} is not 0 or more")
        for sampling in (self.user_sampling, self.assistant_sampling, self.opening_sampling):
            if sampling.seed or sampling.sample or sampling.top_logprobs:
                raise SettingError("seed: set 'seed' alone; each dialogue draws its own from it")
        if not 0 <= self.test_share < 1:
            raise SettingError(f"test_share: {self.test_share} is not from 0 to below 1")
        if not 0 <= self.near_duplicates <= 1:
            raise SettingError(f"near_duplicates: {self.near_duplicates} is not from 0 to 1")
        if self.judged and not self.judge_model:
            raise SettingError("judged: needs --judge-model")
        if self.opening_model:
            self._check_writer()
        elif self.sources != Sources():
            raise SettingError("sources: are for --opening-model, who makes openings from them")
        _ = self.part

    def _check_writer(self) -> None:
        if self.openings is not None:
            raise SettingError("openings: are those of a file or of --opening-model; name one")
        if not self.n:
            raise SettingError("n: with --opening-model say how many dialogues")

    @property
    def part(self) -> tuple[int, int]:
        """Which of how many shards this is; the whole is (0, 1)."""
        return shard_of(self.shard)

    @property
    def rounds(self) -> tuple[int, int] | None:
        """Fewest and most rounds; None are those of each sector."""
        return (self.min_rounds, self.max_rounds) if self.max_rounds else None

    @property
    def path(self) -> Path:
        """Directory of the release."""
        index, count = self.part
        part = f"-shard-{index}-of-{count}" if self.shard else ""
        return self.out / f"{CORPUS}-{VERSION}{part}"

    @property
    def run(self) -> Path:
        """Folder of the journal and of all else that makes a build go on."""
        return self.path.with_name(self.path.name + ".run")

    @property
    def folder(self) -> Path:
        """Folder of the openings that are worth a dialogue, and of those that are not."""
        return self.run / "openings"

    @property
    def request(self) -> Request:
        """What openings are wanted; a preview needs only the first, which stay the same."""
        _, shards = self.part
        shown = min(self.n, max(_PREVIEWED, self.preview * shards))
        return Request(
            self.sector,
            shown if self.preview else self.n,
            self.seed,
            sampling=self.opening_sampling,
            sizes=self.sizes,
            sources=self.sources,
            near_duplicates=self.near_duplicates,
            questions=self.questions,
            drop_overlap=self.drop_overlap,
        )
