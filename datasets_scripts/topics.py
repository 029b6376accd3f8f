"""How alike the topics of dialogues are: the mean cosine over all pairs, exact and in one vector.

For unit vectors x_i the sum of all x_i . x_j with i != j is |sum x_i|^2 - n, so the mean over the
n (n - 1) ordered pairs needs no pair: one running sum, and memory that does not grow with n.

Vectors are those of an embeddings endpoint, or else TF-IDF of hashed words. Figures of two methods,
or of two embedding models, say nothing about each other.
"""

import base64
import itertools
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from datasets_scripts.words import words
from ultra.chat import OpenAIChat
from ultra.errors import ModelError

if TYPE_CHECKING:  # --help needs neither
    import numpy as np
    from numpy.typing import NDArray
    from openai import OpenAI

Texts = Callable[[], Iterable[tuple[Sequence[str], str]]]
"""Begins to read: of each dialogue, in the same order each time, its configurations and text."""

BUCKETS = 2**18
"""Dimensions of a hashed TF-IDF vector; 3 or 4 words of a large vocabulary share one."""
CHARACTERS = 6_000
"""Of a dialogue, the characters that are embedded: 8,192 tokens, the limit of common embedding
models, even where a character is a token and a third."""
BATCH = 32
"""Texts in one request, which stays below 300,000 tokens in any script."""
_IN_FLIGHT = 8
_TRIES = 6


class MeanCosine:
    """The mean cosine over all pairs of the unit vectors that are added."""

    def __init__(self, size: int) -> None:
        import numpy as np

        self.count = 0
        self._sum = np.zeros(size)

    def add(self, places: "NDArray[np.int64] | slice", weights: "NDArray[np.float64]") -> None:
        """Add ``weights`` (scaled to length 1) at ``places``, each of which is named once."""
        length = math.sqrt(float(weights @ weights))
        if length:
            self._sum[places] += weights / length
            self.count += 1

    def table(self) -> dict[str, Any]:
        """``dialogues`` that have a vector, and ``mean_cosine`` if there are two or more."""
        found: dict[str, Any] = {"dialogues": self.count}
        if self.count > 1:
            pairs = self.count * (self.count - 1)
            found["mean_cosine"] = round((float(self._sum @ self._sum) - self.count) / pairs, 4)
        return found


def by_words(texts: Texts) -> dict[str, Any]:
    """Topic similarity of each configuration by hashed TF-IDF, reading all texts twice.

    A word weighs (1 + ln tf) (1 + ln((1 + n) / (1 + df))): sublinear term frequency and smooth
    inverse document frequency (Manning, Raghavan, Schütze, Introduction to Information Retrieval,
    6.4.1; the smoothing is scikit-learn's).
    """
    import numpy as np

    seen: dict[str, Any] = {}
    counts = Counter[str]()
    for configs, text in texts():
        places = np.fromiter(_buckets(text), np.int64)
        for config in configs:
            counts[config] += 1
            seen.setdefault(config, np.zeros(BUCKETS))[places] += 1
    rarity = {config: 1 + np.log((1 + counts[config]) / (1 + df)) for config, df in seen.items()}
    means = {config: MeanCosine(BUCKETS) for config in seen}
    for configs, text in texts():
        found = _buckets(text)
        places = np.fromiter(found, np.int64)
        often = 1 + np.log(np.fromiter(found.values(), np.float64))
        for config in configs:
            means[config].add(places, often * rarity[config][places])
    method = f"TF-IDF of words hashed into {BUCKETS:,} buckets"
    return _account(method, means)


def _buckets(text: str) -> Counter[int]:
    found = Counter[int]()
    for word, count in Counter(words(text)).items():
        found[xxh3_64_intdigest(word) % BUCKETS] += count
    return found


def by_embeddings(texts: Texts, embeddings: "Embeddings") -> dict[str, Any]:
    """Topic similarity of each configuration by an embeddings endpoint.

    Raises:
        ModelError: the endpoint refuses us, or gives no usable vectors; those it gave are kept.
    """
    embeddings.fetch(text for _, text in texts())
    means: dict[str, MeanCosine] = {}
    everything = slice(None)
    for configs, text in texts():
        vector = embeddings.vector(text)
        for config in configs:
            mean = means.setdefault(config, MeanCosine(len(vector)))
            mean.add(everything, vector)
    method = f"embeddings of {embeddings.name}, of the first {CHARACTERS:,} characters"
    return _account(method, means)


def _account(method: str, means: dict[str, MeanCosine]) -> dict[str, Any]:
    configs = {config: mean.table() for config, mean in sorted(means.items())}
    return {"method": method, "configs": configs}


class Embeddings:
    """Vectors of texts by an OpenAI-compatible endpoint, each paid for once.

    They are kept in an SQLite file under the hash of endpoint, model and text, written before they
    are used. Address and key are found as for a chat model.

    Raises:
        SettingError: on creation, if the endpoint is no address, or needs a key that is not set.
    """

    def __init__(self, name: str, base_url: str, path: Path) -> None:
        self.name = name
        self._chat = OpenAIChat(name, base_url)
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._kept = sqlite3.connect(path)
        self._kept.execute(
            "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
        )
        self._dimensions = 0

    def fetch(self, texts: Iterable[str]) -> None:
        """Ask for the vectors of the texts that have none yet, some requests at a time."""
        missing = ((self._key(text), text[:CHARACTERS]) for text in texts)
        batches = _batched((pair for pair in missing if not self._has(pair[0])), BATCH)
        with ThreadPoolExecutor(_IN_FLIGHT) as threads:
            while window := list(itertools.islice(batches, _IN_FLIGHT)):
                asked = [[text for _, text in batch] for batch in window]
                answers = threads.map(partial(self._ask, self._client), asked)
                for batch, vectors in zip(window, answers, strict=True):
                    rows = zip((key for key, _ in batch), vectors, strict=True)
                    with self._kept:
                        self._kept.executemany("INSERT OR IGNORE INTO vector VALUES (?, ?)", rows)

    def vector(self, text: str) -> "NDArray[np.float64]":
        """The vector that :meth:`fetch` got for a text."""
        import numpy as np

        (value,) = self._row(self._key(text))
        vector = np.frombuffer(value, "<f4").astype(np.float64)
        self._dimensions = self._dimensions or len(vector)
        if len(vector) != self._dimensions or not np.isfinite(vector).all() or not vector.any():
            raise ModelError(
                f"model {self.name}: gives vectors of several lengths, or none at all; remove "
                f"{self._path} to ask for them again"
            )
        return vector

    def close(self) -> None:
        if "_client" in vars(self):
            self._client.close()
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _key(self, text: str) -> bytes:
        said = text[:CHARACTERS].encode("utf-8", "replace")
        return xxh3_128_digest(self._chat.identity.encode() + b"\0" + said)

    def _has(self, key: bytes) -> bool:
        return self._row(key) is not None

    def _row(self, key: bytes) -> Any:
        return self._kept.execute("SELECT value FROM vector WHERE key = ?", (key,)).fetchone()

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI

        found = self._chat.client()  # which knows address and key, and is never called
        return OpenAI(api_key=found.api_key, base_url=found.base_url, max_retries=_TRIES)

    def _ask(self, client: "OpenAI", texts: list[str]) -> list[bytes]:
        """The vectors of some texts, as little-endian float32."""
        import openai

        try:
            answer = client.embeddings.create(
                input=texts, model=self.name, encoding_format="base64"
            )
            ordered = sorted(answer.data, key=lambda one: one.index)
            vectors = [_packed(one.embedding) for one in ordered]
        except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
            why = str(error).replace(client.api_key, "***")[:300]
            raise ModelError(
                f"model {self.name}: no embeddings ({why}); run again to go on, or leave "
                "--embedding-model out"
            ) from error
        if len(vectors) != len(texts):
            raise ModelError(f"model {self.name}: gave {len(vectors)} vectors for {len(texts)}")
        return vectors


def _packed(embedding: Any) -> bytes:
    """A vector as bytes: what base64 holds; or, of a server that knows only lists, numbers."""
    import numpy as np

    if isinstance(embedding, str):
        return base64.b64decode(embedding, validate=True)
    return np.asarray(embedding, "<f4").tobytes()


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    shared = iter(items)
    while batch := list(itertools.islice(shared, size)):
        yield batch
