"""Openings made with a model: the same bytes however the run went, and nothing paid for twice."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat.openings.asking import Sizes
from datasets_scripts.ultrachat.openings.flow import PATIENCE
from datasets_scripts.ultrachat.openings.make import Settings, generate, make
from datasets_scripts.ultrachat.openings.opening import read as read_openings
from datasets_scripts.ultrachat.openings.request import Request, expected
from datasets_scripts.ultrachat.openings.texts import Sources
from tests.conftest import ROOT
from tests.datasets_scripts.ultrachat.openings.opening_model import OpeningModel, reply
from tests.servers import chat_api
from tests.servers.chat_api import ChatServer, Fault
from ultra import jsonl
from ultra.chat import ChatModel, Completion, Sampling
from ultra.engine import Limits, Session, session
from ultra.errors import CallError, InputError, ModelError, OutputError, SettingError
from ultra.schema import Message

SIZES = Sizes(subtopics=3, questions=4, further=3, instructions=4, tasks=3)
REQUEST = Request(n=60, sizes=SIZES)
Rows = list[dict[str, Any]]


def run(
    folder: Path, model: ChatModel, request: Request = REQUEST, **limits: Any
) -> tuple[Rows, Rows, dict[str, Any]]:
    """What is kept, what is dropped, and the manifest."""

    async def start() -> Path:
        async with session(Limits(**limits), folder.with_name(f"{folder.name}.run")) as talks:
            return await generate(request, talks, model, folder)

    path = asyncio.run(start())
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    return list(jsonl.read(path)), list(jsonl.read(folder / "dropped.jsonl")), manifest


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def journal(folder: Path) -> int:
    """The number of whole lines of a run's journal."""
    lines = folder.with_name(f"{folder.name}.run") / "journal.jsonl"
    return sum(line.endswith(b"\n") for line in lines.read_bytes().splitlines(True))


def test_openings_of_all_sectors_are_made_and_can_be_read(tmp_path: Path) -> None:
    kept, _, manifest = run(tmp_path / "o", OpeningModel())
    read = list(read_openings(tmp_path / "o" / "openings.jsonl", "all"))
    assert len(kept) == len(read) == manifest["openings"] == 60
    sectors = Counter(one.sector for one in read)
    assert all(sectors[sector] >= 10 for sector in ("world", "creation", "material"))
    assert {one.kind for one in read if one.sector == "world"} == {"concept", "entity"}
    assert all(one.model == "writer-0613" for one in read)
    assert all(one.material in one.text for one in read)
    assert len({row["path"] for row in kept}) == 60


@pytest.mark.parametrize("sector", ["world", "creation", "material"])
def test_one_sector_can_be_wanted(tmp_path: Path, sector: Any) -> None:
    kept, *_ = run(tmp_path / "o", OpeningModel(), replace(REQUEST, n=20, sector=sector))
    assert {row["sector"] for row in kept} == {sector}


def test_how_many_calls_are_in_flight_changes_no_byte(tmp_path: Path) -> None:
    run(tmp_path / "one", OpeningModel(4), concurrency=1)
    run(tmp_path / "many", OpeningModel(4), concurrency=50)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "many")


def test_another_seed_makes_other_openings(tmp_path: Path) -> None:
    one, *_ = run(tmp_path / "one", OpeningModel())
    two, *_ = run(tmp_path / "two", OpeningModel(), replace(REQUEST, seed=1))
    assert {row["opening"] for row in one}.isdisjoint(row["opening"] for row in two)


@pytest.mark.parametrize("sector", ["all", "world", "creation", "material"])
def test_more_openings_leave_the_first_ones_as_they_were(tmp_path: Path, sector: Any) -> None:
    made = {}
    for n in (7, 33, 150):
        wanted = replace(REQUEST, n=n, sector=sector)
        made[n] = run(tmp_path / str(n), OpeningModel(4), wanted)
    for few, many in ((7, 33), (33, 150)):
        for short, long in zip(made[few][:2], made[many][:2], strict=True):
            assert long[: len(short)] == short
    assert len(made[7][0]) == 7 < len(made[33][0])
    assert made[150][1]


def test_more_openings_in_the_same_folder_cost_only_what_is_new(tmp_path: Path) -> None:
    model, whole = OpeningModel(4), OpeningModel(4)
    first, *_ = run(tmp_path / "o", model, replace(REQUEST, n=20))
    more, *_ = run(tmp_path / "o", model, replace(REQUEST, n=90))
    run(tmp_path / "whole", whole, replace(REQUEST, n=90))
    assert more[:20] == first
    assert files_in(tmp_path / "o") == files_in(tmp_path / "whole")
    assert len({str(asked) for asked in model.asked}) == len(model.asked)


def test_a_stream_that_is_used_up_leaves_its_part_to_the_others(tmp_path: Path) -> None:
    """All texts are used after some fifty openings, and the first ones still stay as they were."""
    few, *_ = run(tmp_path / "few", OpeningModel(), replace(REQUEST, n=100))
    many, *_ = run(tmp_path / "many", OpeningModel(), replace(REQUEST, n=250))
    assert Counter(row["sector"] for row in many)["material"] == 12 * 3
    assert many[:100] == few


def test_where_less_is_left_than_wanted_all_of_it_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, _, manifest = run(
        tmp_path / "o", OpeningModel(), replace(REQUEST, n=500, sector="material")
    )
    assert len(kept) == manifest["openings"] == 12 * 3
    assert "only 36 of 500 openings" in capsys.readouterr().err


def test_every_line_is_kept_or_dropped_with_its_reason(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = [{"text": f"{n} " * 150} for n in (1, 1, 2)] + [{"text": "short"}]
    texts.write_bytes(b"".join(map(jsonl.dump, rows)))

    def rule(messages: list[Message]) -> Any:
        request = messages[-1]["content"]
        if "\ncoral reef\n" in request:
            return CallError("out of context", "context_length")
        if "\nviolin\n" in request:
            return "I'm sorry, but I can't help with that."
        return Completion(reply(messages, 3), "length", "m") if "Poems" in request else None

    wanted = replace(REQUEST, n=220, sources=Sources(texts=str(texts)))
    kept, dropped, manifest = run(tmp_path / "o", OpeningModel(3, rule), wanted)
    steps = manifest["steps"]
    assert steps[0]["in"] == len(kept) + len(dropped)
    for step, after in pairwise(steps):
        assert step["in"] - sum(step["dropped"].values()) == after["in"]
    assert steps[-1]["in"] - sum(steps[-1]["dropped"].values()) == len(kept) == 220
    counted = Counter[str]()
    for step in steps:
        counted.update(step["dropped"])
    assert counted == Counter(row["reason"] for row in dropped)
    expected = {"call_context_length", "refusal", "cut_off", "announces_itself", "too_short"}
    assert counted.keys() >= expected | {"placeholder"}
    assert counted["text_duplicate"] == counted["text_short"] == 1


def test_benchmark_questions_are_left_out_and_counted(tmp_path: Path) -> None:
    plain, *_ = run(tmp_path / "plain", OpeningModel())
    asked = [row["opening"] for row in plain if row["sector"] == "creation"][:3]
    questions = tmp_path / "suite.jsonl"
    rows = [{"id": n, "turns": [text]} for n, text in enumerate(asked)]
    questions.write_bytes(b"".join(map(jsonl.dump, rows)))
    kept, dropped, manifest = run(
        tmp_path / "clean", OpeningModel(), replace(REQUEST, questions=questions)
    )
    found = [row for row in dropped if row["reason"] == "benchmark_overlap"]
    assert [row["opening"] for row in found] == asked
    assert {row["detail"][:7] for row in found} == {f"suite/{n}" for n in range(3)}
    assert not set(asked) & {row["opening"] for row in kept}
    assert manifest["steps"][-1]["dropped"] == {"benchmark_overlap": 3}
    assert len(kept) == 60


def test_a_stream_that_only_repeats_itself_is_given_up_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets_scripts.ultrachat.openings.flow.PATIENCE", 50)

    def rule(messages: list[Message]) -> str | None:
        said = "1. What is a reef made of?\n2. Why do cats purr?"
        return said if "[entity " in messages[-1]["content"] else None

    made = {}
    for n in (80, 300):
        model = OpeningModel(rule=rule)
        made[n], _, manifest = run(tmp_path / str(n), model, replace(REQUEST, n=n))
    assert len(made[300]) == 300
    assert made[300][:80] == made[80]
    assert Counter(row.get("kind") for row in made[300])["entity"] == 2
    assert manifest["steps"][2]["dropped"]["duplicate"] == 50 + 9  # nine between the two kept


def test_a_model_that_only_refuses_makes_nothing_and_is_not_asked_for_ever(tmp_path: Path) -> None:
    model = OpeningModel(rule=lambda messages: "I'm sorry, but I can't help with that.")
    with pytest.raises(InputError, match=r"no opening is kept: of .*refusal"):
        run(tmp_path / "o", model)
    assert not list((tmp_path / "o").iterdir())
    assert len(model.asked) < 5 * PATIENCE


def test_the_same_again_asks_nothing(tmp_path: Path) -> None:
    model = OpeningModel()
    run(tmp_path / "o", model)
    before, asked = files_in(tmp_path / "o"), len(model.asked)
    shutil.rmtree(tmp_path / "o.run")
    run(tmp_path / "o", model)
    assert files_in(tmp_path / "o") == before
    assert len(model.asked) == asked


@pytest.mark.parametrize("content", [b"[]", b"3", b'{"recipe"'])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json: .*remove it"):
        run(tmp_path / "o", OpeningModel())


def test_a_file_that_was_changed_is_made_again(tmp_path: Path) -> None:
    model = OpeningModel()
    run(tmp_path / "o", model)
    before, asked = files_in(tmp_path / "o"), len(model.asked)
    (tmp_path / "o" / "openings.jsonl").write_text("{}\n")
    run(tmp_path / "o", model)
    assert files_in(tmp_path / "o") == before
    assert len(model.asked) == asked


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"sizes": Sizes()}, {"sector": "world"}, {"near_duplicates": 0.9}]
)
def test_other_settings_do_not_replace_openings(tmp_path: Path, other: dict[str, Any]) -> None:
    run(tmp_path / "o", OpeningModel())
    before = files_in(tmp_path / "o")
    with pytest.raises(OutputError, match="with other configuration"):
        run(tmp_path / "o", OpeningModel(), replace(REQUEST, **other))
    assert files_in(tmp_path / "o") == before


def test_an_endpoint_that_refuses_us_leaves_nothing_and_the_next_run_goes_on(
    tmp_path: Path,
) -> None:
    numbers = count(1)
    broken = OpeningModel(
        4, lambda messages: ModelError("quota used up") if next(numbers) > 25 else None
    )
    with pytest.raises(ModelError, match="quota used up"):
        run(tmp_path / "o", broken, concurrency=4)
    assert not list((tmp_path / "o").iterdir())
    finished, model, whole = journal(tmp_path / "o"), OpeningModel(4), OpeningModel(4)
    run(tmp_path / "o", model)
    run(tmp_path / "whole", whole)
    assert files_in(tmp_path / "o") == files_in(tmp_path / "whole")
    assert 0 < finished == len(whole.asked) - len(model.asked)


def test_what_it_will_take_is_estimated_before_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sector in ("all", "world", "creation", "material"):
        wanted, model = replace(REQUEST, n=24, sector=sector), OpeningModel()
        calls, read, written = expected(wanted)
        run(tmp_path / sector, model, wanted)
        assert f"openings: writer: {calls:,} calls, about {read:,}" in capsys.readouterr().out
        assert 0.7 < len(model.asked) / calls < 1.3
        assert 0 < written < read


def test_a_list_or_a_text_that_is_not_there_is_named_before_anything_is_paid(
    tmp_path: Path,
) -> None:
    model = OpeningModel()
    for sources in (
        Sources(entities=tmp_path / "none.txt"),
        Sources(texts=str(tmp_path / "none.jsonl")),
    ):
        with pytest.raises(InputError, match="none"):
            run(tmp_path / "o", model, replace(REQUEST, sources=sources))
    assert model.asked == []
    assert not (tmp_path / "o").exists()


# Shards


def test_shards_share_no_root_and_make_together_what_is_wanted(tmp_path: Path) -> None:
    shards = []
    for index in range(3):
        wanted = replace(REQUEST, n=61, shard=(index, 3))
        shards.append(run(tmp_path / str(index), OpeningModel(), wanted)[0])
    assert [len(kept) for kept in shards] == [21, 20, 20]
    roots = [{tuple(row["path"].split("/")[:2]) for row in kept} for kept in shards]
    assert not roots[0] & roots[1] | roots[1] & roots[2] | roots[0] & roots[2]


# Batches


def test_batches_are_filled_level_by_level_and_change_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "plain", OpeningModel(4))
    filled: list[int] = []

    async def fill(
        talks: Session, chat: ChatModel, requests: Iterable[tuple[list[Message], Sampling]]
    ) -> None:
        """Fill the journal as the Batch API would."""
        found = list(requests)
        filled.append(len(found))
        for messages, sampling in found:
            await chat.complete(messages, sampling)

    monkeypatch.setattr(Session, "fill", fill)
    model = OpeningModel(4)
    run(tmp_path / "batch", model, batch=True)
    assert files_in(tmp_path / "batch") == files_in(tmp_path / "plain")
    assert max(filled) > 20
    assert len(filled) < 15
    assert len({str(asked) for asked in model.asked}) == len(model.asked)


# The command


def test_the_demo_model_makes_usable_openings(tmp_path: Path) -> None:
    path = make(Settings(out=tmp_path / "o", opening_model="demo", n=300))
    read = list(read_openings(path, "all"))
    manifest = orjson.loads((path.parent / "manifest.json").read_bytes())
    assert len(read) == 300
    assert manifest["demo"] is True
    assert {one.model for one in read} == {"demo"}
    dropped = sum(sum(step["dropped"].values()) for step in manifest["steps"])
    assert dropped < 60


def test_the_demo_model_is_not_chosen_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(Settings(out=tmp_path / "o", n=5))
    printed = capsys.readouterr()
    assert "--opening-model" in printed.err
    assert printed.out.splitlines()[-1].startswith(("0 calls", str(path)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"near_duplicates": 1.5},
        {"shard": "4/4"},
        {"shard": "1"},
        {"opening_sampling": Sampling(seed=3)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        Settings(**wrong)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    numbers = count(1)
    victim: Future[subprocess.Popen[bytes]] = Future()

    def kill_on_the_thirtieth(request: chat_api.Request) -> Fault:
        if next(numbers) == 30:
            victim.result().kill()
        return Fault()

    def command(out: str) -> subprocess.Popen[bytes]:
        module = [sys.executable, "-m", "datasets_scripts.ultrachat.openings.make", "--n", "40"]
        model = ["--opening-model", "writer", "--base-url", server.url, "--concurrency", "4"]
        env = os.environ | {"NO_PROXY": "127.0.0.1"}
        where = ["--out", str(tmp_path / out)]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            [*module, *model, *where], cwd=ROOT, env=env, stdout=quiet, stderr=quiet
        )

    def requests_of(out: str) -> list[str]:
        server.requests.clear()
        with command(out) as process:
            assert process.wait() == 0
        return [str(request.body["messages"]) for request in server.requests]

    answer: Callable[[Any], str] = lambda messages: reply(messages, 4)  # noqa: E731
    with ChatServer(reply=answer) as server:
        server.fault_of = kill_on_the_thirtieth
        with command("killed") as process:
            victim.set_result(process)
        assert process.returncode == -signal.SIGKILL
        finished = journal(tmp_path / "killed")
        assert not (tmp_path / "killed" / "manifest.json").exists()
        again = requests_of("killed")
        needed = requests_of("undisturbed")
    assert 0 < finished < len(needed)
    assert len(again) == len(needed) - finished
    assert len(set(needed)) == len(needed)
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "undisturbed")
