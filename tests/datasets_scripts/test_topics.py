"""Topic similarity: the same figure as all pairs give, by words and by an embeddings endpoint."""

import base64
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets_scripts import topics
from datasets_scripts.topics import Embeddings, MeanCosine, Texts
from tests.servers.loopback import LoopbackHandler, LoopbackServer
from ultra.errors import ModelError, SettingError

TEXTS = [
    "Tea steeps for three minutes in hot water.",
    "Green tea wants cooler water, and two minutes.",
    "A fuse burns through when the current is too high.",
    "Warum rostet Eisen an feuchter Luft?",
    "茶叶需要热水。",
]


def of(*texts: str) -> Texts:
    return lambda: ((["all"], text) for text in texts)


def mean_cosine(account: dict[str, Any]) -> Any:
    return account["configs"]["all"].get("mean_cosine")


def all_pairs(vectors: list[Any]) -> float:
    cosines = [
        float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
        for a, b in itertools.combinations(vectors, 2)
    ]
    return sum(cosines) / len(cosines)


def test_one_sum_gives_what_all_pairs_give() -> None:
    vectors = list(np.random.default_rng(0).normal(0.2, 1, (40, 7)))
    mean = MeanCosine(7)
    for vector in vectors:
        mean.add(slice(None), vector)
    assert mean.table() == {"dialogues": 40, "mean_cosine": round(all_pairs(vectors), 4)}


# By words.


def test_texts_of_the_same_words_are_one_topic_and_of_others_none() -> None:
    assert mean_cosine(topics.by_words(of(*["Tea, please!"] * 3))) == 1.0
    assert mean_cosine(topics.by_words(of("tea steeps", "fuses burn"))) == 0.0


def test_hashed_words_give_what_tf_idf_of_all_pairs_gives() -> None:
    said = [text.casefold().rstrip(".").replace(",", "").split() for text in TEXTS[:3]]
    vocabulary = sorted(set(itertools.chain(*said)))
    df = np.array([sum(word in one for one in said) for word in vocabulary])
    tf = np.array([[one.count(word) for word in vocabulary] for one in said])
    weights = np.where(tf > 0, 1 + np.log(np.maximum(tf, 1)), 0) * (1 + np.log(4 / (1 + df)))
    found = mean_cosine(topics.by_words(of(*TEXTS[:3])))
    assert found == pytest.approx(all_pairs(list(weights)), abs=1e-4)


def test_each_configuration_has_a_figure_of_its_own() -> None:
    rows = [(["all", "world"], "tea"), (["all", "creation"], "fuse"), (["all", "world"], "tea")]
    account = topics.by_words(lambda: rows)
    assert "262,144 buckets" in account["method"]
    assert account["configs"] == {
        "all": {"dialogues": 3, "mean_cosine": 0.3333},
        "creation": {"dialogues": 1},
        "world": {"dialogues": 2, "mean_cosine": 1.0},
    }


def test_a_text_without_words_has_no_topic() -> None:
    account = topics.by_words(of("tea", "...", "", "tea"))
    assert account["configs"]["all"] == {"dialogues": 2, "mean_cosine": 1.0}
    assert topics.by_words(of())["configs"] == {}


# By an embeddings endpoint.

Answer = Callable[[list[str]], list[Any]]


def vectors_of(texts: list[str]) -> list[Any]:
    """Eight numbers that depend on the text."""
    return [np.array([1 + text.count(letter) for letter in "aeinrstw"], "<f4") for text in texts]


class Endpoint(LoopbackServer):
    """Answers ``POST /v1/embeddings``, in base64 and out of order; fails where told."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.asked: list[list[str]] = []
        self.keys = set[str]()
        self.answer: Answer = vectors_of
        self.lists = False
        self.status = 200


class _Handler(LoopbackHandler):
    server: Endpoint

    def do_POST(self) -> None:  # noqa: N802 (http.server asks for this name)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/embeddings"
        self.server.asked.append(body["input"])
        self.server.keys.add(self.headers["Authorization"].removeprefix("Bearer "))
        vectors = self.server.answer(body["input"])
        data = [
            {"index": n, "embedding": vector.tolist() if self.server.lists else _base64(vector)}
            for n, vector in enumerate(vectors)
        ]
        text = json.dumps({"object": "list", "model": body["model"], "data": data[::-1]})
        if self.server.status != 200:
            key = self.headers["Authorization"].removeprefix("Bearer ")
            text = json.dumps({"error": {"message": f"no: {key}"}})
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.tobytes()).decode()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        yield server


def by_endpoint(endpoint: Endpoint, folder: Path, texts: list[str]) -> dict[str, Any]:
    with Embeddings("embedder", endpoint.url, folder / "vectors.sqlite") as embeddings:
        return topics.by_embeddings(of(*texts), embeddings)


@pytest.mark.parametrize("lists", [False, True])
def test_an_endpoint_s_vectors_are_compared(
    endpoint: Endpoint, tmp_path: Path, lists: bool
) -> None:
    endpoint.lists = lists
    account = by_endpoint(endpoint, tmp_path, TEXTS)
    assert mean_cosine(account) == round(all_pairs(vectors_of(TEXTS)), 4)
    assert account["method"] == "embeddings of embedder, of the first 6,000 characters"


def test_no_text_is_paid_for_twice(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "BATCH", 2)
    first = by_endpoint(endpoint, tmp_path, TEXTS[:3])
    by_endpoint(endpoint, tmp_path, TEXTS)
    asked = sorted(itertools.chain(*endpoint.asked))
    assert asked == sorted(TEXTS)
    endpoint.asked.clear()
    assert by_endpoint(endpoint, tmp_path, TEXTS[:3]) == first
    assert endpoint.asked == []


def test_an_endpoint_gets_the_key_that_is_its_own(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    monkeypatch.setenv("OPENAI_API_KEY_127_0_0_1", "sk-own")
    by_endpoint(endpoint, tmp_path, TEXTS)
    assert endpoint.keys == {"sk-own"}


def test_a_long_text_is_cut_and_half_a_surrogate_pair_is_no_trouble(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    by_endpoint(endpoint, tmp_path, ["tea " * 5_000, "tea"])
    assert max(len(text) for text in itertools.chain(*endpoint.asked)) == topics.CHARACTERS


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: vectors_of(texts)[1:], "gave 1 vectors for 2"),
        (lambda texts: [np.zeros(3, "<f4")] * 2, "several lengths, or none.*vectors.sqlite"),
        (lambda texts: [np.ones(2, "<f4"), np.ones(3, "<f4")], "several lengths, or none"),
        (lambda texts: [np.full(3, np.nan, "<f4")] * 2, "several lengths, or none"),
    ],
)
def test_vectors_that_are_none_are_refused(
    endpoint: Endpoint, tmp_path: Path, answer: Answer, message: str
) -> None:
    endpoint.answer = answer
    with pytest.raises(ModelError, match=message):
        by_endpoint(endpoint, tmp_path, TEXTS[:2])


def test_a_refusal_is_one_line_without_the_key(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    endpoint.status = 401
    with pytest.raises(ModelError, match=r"model embedder: no embeddings .*no:") as caught:
        by_endpoint(endpoint, tmp_path, TEXTS)
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingError, match="base_url"):
        Embeddings("embedder", "http://user:pass@host/v1", tmp_path / "vectors.sqlite")
