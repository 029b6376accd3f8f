"""Published files: found, fetched once and whole, and never another file than was published."""

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import upstream
from tests.conftest import ROOT
from tests.servers.loopback import LoopbackHandler, LoopbackServer
from ultra.errors import InputError, SettingError

DATA = b"".join(b"line %d of what was published\n" % n for n in range(20_000))
NAME = "some/file.txt"


class FileServer(LoopbackServer):
    """Serves ``DATA`` at /file.txt; ``faults`` says what goes wrong with the next requests."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.faults: deque[str] = deque()
        self.requests: list[str] = []
        self.data = DATA


class _Handler(LoopbackHandler):
    server: FileServer

    def do_GET(self) -> None:  # noqa: N802 (http.server asks for this name)
        self.server.requests.append(self.path)
        fault = self.server.faults.popleft() if self.server.faults else ""
        data = b"something else" if fault == "other" else self.server.data
        if fault.isdecimal():
            self._head(int(fault), 0)
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.txt")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault in ("cut", "hang"):
            self._head(200, len(data))
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.server.closing.wait(60 if fault == "hang" else 0)
            self.close_connection = True
        elif fault == "short":  # without a length, so only the known size tells
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            self._head(200, len(data))
            self.wfile.write(data)

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as served:
        yield served


def list_source(path: Path, **changes: object) -> Path:
    row = {
        "name": NAME,
        "address": "",
        "revision": "0123abcd",
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "content": "",
        "bytes": len(DATA),
        "licence": "CC-BY-NC-4.0",
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row | changes)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no folder of files, no waiting, and the network allowed."""
    monkeypatch.setenv("ULTRA_CACHE", str(tmp_path / "cache"))
    for name in ("ULTRA_BENCHMARKS_DIR", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(upstream, "PAUSE_SECONDS", 0)
    return tmp_path / "cache" / "benchmarks"


@pytest.fixture
def use(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """List one source, at the server if nothing else is said."""

    def put(**changes: object) -> None:
        address = f"http://127.0.0.1:{server.server_port}/{{revision}}/file.txt"
        listed = list_source(tmp_path / "sources.csv", **{"address": address} | changes)
        monkeypatch.setattr(upstream, "SOURCES", listed)
        upstream.sources.cache_clear()

    yield put
    upstream.sources.cache_clear()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def test_a_file_is_fetched_once_with_its_licence_named(
    use: Any, server: FileServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use()
    assert upstream.local(NAME) is None
    path = upstream.path(NAME)
    assert path == cache / NAME
    assert path.read_bytes() == DATA
    assert "licence CC-BY-NC-4.0" in capsys.readouterr().err
    assert upstream.path(NAME) == path == upstream.local(NAME)
    assert server.requests == ["/0123abcd/file.txt"]
    assert capsys.readouterr().err == ""


def test_a_folder_of_ones_own_comes_before_the_cache(
    use: Any, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    for place in ("named", "chosen"):
        (tmp_path / place / "some").mkdir(parents=True)
        (tmp_path / place / NAME).write_bytes(DATA)
    monkeypatch.setenv("ULTRA_BENCHMARKS_DIR", str(tmp_path / "named"))
    assert upstream.path(NAME) == tmp_path / "named" / NAME
    assert upstream.path(NAME, tmp_path / "chosen") == tmp_path / "chosen" / NAME
    assert server.requests == []


def test_a_file_that_the_folder_lacks_is_fetched(use: Any, cache: Path, tmp_path: Path) -> None:
    use()
    assert upstream.path(NAME, tmp_path) == cache / NAME


def test_a_folder_that_is_not_there_is_a_setting(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    use()
    monkeypatch.setenv("ULTRA_BENCHMARKS_DIR", "/no/such/folder")
    with pytest.raises(SettingError, match="ULTRA_BENCHMARKS_DIR: /no/such/folder is no folder"):
        upstream.path(NAME)


def test_another_file_in_ones_folder_is_refused_and_not_replaced(
    use: Any, server: FileServer, tmp_path: Path
) -> None:
    use()
    other = tmp_path / NAME
    other.parent.mkdir()
    other.write_bytes(DATA[:-1])
    found, wanted = (hashlib.sha256(data).hexdigest() for data in (DATA[:-1], DATA))
    with pytest.raises(InputError, match=f"{found}, not {wanted}; remove it, or get it") as caught:
        upstream.path(NAME, tmp_path)
    assert str(other) in str(caught.value)
    assert other.read_bytes() == DATA[:-1]
    assert server.requests == []


def test_a_server_that_sends_another_file_leaves_nothing(
    use: Any, server: FileServer, cache: Path
) -> None:
    use(bytes="")
    server.faults.append("other")
    wanted = hashlib.sha256(DATA).hexdigest()
    with pytest.raises(InputError, match=f"not {wanted}; .* set ULTRA_BENCHMARKS_DIR") as caught:
        upstream.path(NAME)
    assert hashlib.sha256(b"something else").hexdigest() in str(caught.value)
    assert left(cache) == []
    assert len(server.requests) == 1  # another try would get the same


def test_a_server_that_sends_too_much_is_not_read_on(
    use: Any, server: FileServer, cache: Path
) -> None:
    use(bytes=100)
    with pytest.raises(InputError, match="sends more than 100 bytes"):
        upstream.path(NAME)
    assert left(cache) == []


@pytest.mark.parametrize("fault", ["cut", "short", "500", "503", "429"])
def test_what_another_try_may_cure_is_tried_again(
    use: Any, server: FileServer, cache: Path, fault: str
) -> None:
    use()
    server.faults.extend([fault, fault])
    assert upstream.path(NAME).read_bytes() == DATA
    assert len(server.requests) == 3
    assert left(cache) == ["file.txt"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [("cut", "RemoteProtocolError"), ("short", "broke off after"), ("500", "status 500")],
)
def test_a_server_that_stays_broken_is_given_up_in_one_line(
    use: Any, server: FileServer, cache: Path, fault: str, says: str
) -> None:
    use()
    server.faults.extend([fault] * 9)
    with pytest.raises(InputError, match=rf"{says}.*4 tries.*set ULTRA_BENCHMARKS_DIR"):
        upstream.path(NAME)
    assert len(server.requests) == upstream.TRIES
    assert left(cache) == []


@pytest.mark.parametrize("fault", ["404", "401", "403"])
def test_a_refusal_is_not_tried_again(
    use: Any, server: FileServer, cache: Path, fault: str
) -> None:
    use()
    server.faults.append(fault)
    with pytest.raises(InputError, match=f"status {fault}; put the file"):
        upstream.path(NAME)
    assert len(server.requests) == 1
    assert left(cache) == []


def test_a_redirection_is_followed(use: Any, server: FileServer) -> None:
    use()
    server.faults.append("redirect")
    assert upstream.path(NAME).read_bytes() == DATA
    assert server.requests[-1] == "/elsewhere.txt"


def test_nobody_at_the_address_is_one_line(use: Any) -> None:
    use(address="http://127.0.0.1:9/file.txt")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/file\.txt \(ConnectError.*4 tries\)"):
        upstream.path(NAME)


def test_offline_nothing_is_fetched(
    use: Any, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="is not here, and HF_HUB_OFFLINE is set"):
        upstream.path(NAME)
    assert server.requests == []


def test_a_file_without_an_address_has_to_be_there(use: Any) -> None:
    use(address="")
    with pytest.raises(InputError, match=r"has no public address; put it at some/file\.txt"):
        upstream.path(NAME)


def test_an_unknown_name_has_a_nearest_one(use: Any) -> None:
    use()
    with pytest.raises(SettingError, match=r"did you mean 'some/file\.txt'"):
        upstream.path("some/fil.txt")


def test_a_killed_fetch_leaves_no_file_and_the_next_one_sweeps_up(
    use: Any, server: FileServer, cache: Path, tmp_path: Path
) -> None:
    use()
    server.faults.append("hang")
    code = (
        "import sys; from pathlib import Path; from benchmarks import upstream;"
        "upstream.SOURCES = Path(sys.argv[1]); upstream.path(sys.argv[2])"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "sources.csv"), NAME]
    fetching = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    while not left(cache):
        assert fetching.poll() is None
        time.sleep(0.01)
    fetching.send_signal(signal.SIGKILL)
    fetching.wait()
    assert [name.endswith(".tmp") for name in left(cache)] == [True]
    assert upstream.local(NAME) is None
    assert upstream.path(NAME).read_bytes() == DATA
    assert left(cache) == ["file.txt"]


ROWS = [{"instruction": "One?", "output": "Yes."}, {"instruction": "Two?", "output": "No.\u00e9"}]
CONTENT = hashlib.sha256('[["One?","Yes."],["Two?","No.\u00e9"]]'.encode()).hexdigest()


@pytest.mark.parametrize(
    "rows", [ROWS, ROWS[::-1], [{**row, "generator": "m", "dataset": "d"} for row in ROWS]]
)
def test_where_no_digest_was_published_the_content_counts(
    use: Any, server: FileServer, rows: list[dict[str, str]]
) -> None:
    use(content=CONTENT, bytes="")
    server.data = json.dumps(rows, indent=1).encode()
    assert json.loads(upstream.path(NAME).read_text()) == rows
    assert upstream.path(NAME).is_file()


@pytest.mark.parametrize(
    "text",
    [
        '[{"instruction": "One?", "output": "Yes."}]',
        '[{"instruction": "One?", "output": "Yes."}, {"instruction": "Two?", "output": "No"}]',
        '[{"instruction": "One?", "output": "\\ud800"}]',
        '[{"instruction": ["One?"]}]',
        "<html>please log in</html>",
        "",
    ],
)
def test_another_content_is_refused(use: Any, server: FileServer, text: str) -> None:
    use(content=CONTENT, bytes="")
    server.data = text.encode()
    with pytest.raises(InputError, match="sent another file"):
        upstream.path(NAME)


def test_every_source_is_at_one_revision_or_derived() -> None:
    listed = upstream.sources()
    assert len(listed) == 26
    for source in listed.values():
        assert len(source.sha256) == 64
        assert source.licence in {"Apache-2.0", "CC-BY-NC-4.0", "MIT"}
        assert not Path(source.name).is_absolute()
        if source.address:
            assert source.address.startswith("https://")
            assert f"/{source.revision}/" in source.address
            assert len(source.revision) == 40


def test_the_shared_files_are_those_published(golden: Path) -> None:
    folder = golden.parent / "benchmarks"
    found = [name for name in upstream.sources() if upstream.local(name, folder)]
    assert len(found) == 23
    for name in found:
        assert upstream.path(name, folder) == folder / name


def test_a_rebuilt_reference_is_known_by_its_content_in_any_order(
    golden: Path, tmp_path: Path
) -> None:
    name = "alpaca_eval/alpaca_eval_text_davinci_003_baseline.json"
    rows = json.loads((golden.parent / "benchmarks" / name).read_text(encoding="utf-8"))
    (tmp_path / "alpaca_eval").mkdir()
    (tmp_path / name).write_text(json.dumps(rows[::-1]))
    assert upstream.path(name, tmp_path) == tmp_path / name
    (tmp_path / name).write_text(json.dumps(rows[1:]))
    with pytest.raises(InputError, match="is not the published file"):
        upstream.path(name, tmp_path)
