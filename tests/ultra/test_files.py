import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from ultra import files
from ultra.errors import OutputError


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.txt"
    with files.atomic(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with files.atomic(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
from pathlib import Path
from ultra import files
with files.atomic(Path(sys.argv[1])) as file:
    file.write(b"theirs")
    file.flush()
    print("open", flush=True)
    sys.stdin.readline()
"""


def other_writer(path: Path) -> subprocess.Popen[str]:
    """Another process that is in the middle of writing ``path`` until it is told to go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


NAMES = ["a.txt", "no dot", "a[1]*?.txt"]


@pytest.mark.parametrize("name", NAMES)
def test_two_writers_at_a_time_do_not_mix(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with other_writer(path) as process:
        with files.atomic(path) as file:
            file.write(b"ours")
        assert path.read_bytes() == b"ours"
        process.communicate("\n")
    assert process.returncode == 0
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_writer_left_is_swept_up_and_nothing_else(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with other_writer(path) as process:
        process.kill()
    (left,) = tmp_path.iterdir()
    assert left != path
    others = [tmp_path / f".other.{process.pid}.tmp", tmp_path / f".{name}.mine.tmp"]
    for other in others:
        other.touch()
    files.write_text(path, "ours")
    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
    assert path.read_bytes() == b"ours"


def test_text_is_written_as_utf8_without_changing_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "é\r\n\u2028\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\r\n\u2028\n".encode()


def test_sha256_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_locked_directory_is_refused_until_it_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    refused = pytest.raises(OutputError, match="work: another run is writing")
    with files.locked(folder), refused, files.locked(folder):
        pass
    with files.locked(folder):
        pass
