import hashlib
from pathlib import Path

import pytest

from ultra import files


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


def test_text_is_written_as_utf8_without_changing_line_ends(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "é\r\n\u2028\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\r\n\u2028\n".encode()


def test_sha256_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
