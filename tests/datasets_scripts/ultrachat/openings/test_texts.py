"""The user's texts: wherever they come from, whole, cut, typed and with their licence."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.ultrachat.openings import asking, material_types, texts
from datasets_scripts.ultrachat.openings.texts import Sources, Text, read, shorten
from tests.conftest import ROOT
from tests.servers.hub import Hub
from ultra.errors import InputError, SettingError


def lines(*rows: object) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def sources(path: Path | str, **more: str | int) -> Sources:
    return Sources(texts=str(path), **more)  # type: ignore[arg-type]


def test_rows_keep_their_order_and_say_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(
        lines(
            {"text": "One.", "url": "https://a.example/recipes/soup", "license": "CC0-1.0"},
            {"text": "Two.", "id": 7},
            {"text": "Three."},
        )
    )
    assert list(read(sources(file, licence="ODC-By 1.0"))) == [
        Text(
            "One.", "Recipes and Cooking Instructions", "https://a.example/recipes/soup (CC0-1.0)"
        ),
        Text("Two.", "Articles and Blog Posts", "mine.jsonl#7 (ODC-By 1.0)"),
        Text("Three.", "Articles and Blog Posts", "mine.jsonl (ODC-By 1.0)"),
    ]


def test_compressed_rows_and_other_columns_are_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl.gz"
    file.write_bytes(gzip.compress(lines({"body": "One.", "from": "http://x.org/poems/1"})))
    [text] = read(sources(file, text_column="body", url_column="from"))
    assert text == Text("One.", "Poems", "http://x.org/poems/1")


def test_a_folder_is_read_by_name_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.md").write_text("# One")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfTwo\r\nlines\x00")
    (tmp_path / "c.html").write_text("no")
    found = list(read(sources(tmp_path)))
    assert [(text.text, text.source) for text in found] == [
        ("Two\nlines", "a.txt"),
        ("# One", "b/one.md"),
    ]


def test_one_file_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Two\n\nlines")
    assert [text.text for text in read(sources(tmp_path / "a.md"))] == ["# Two\n\nlines"]


def test_the_sample_has_texts_of_many_kinds_with_a_licence() -> None:
    found = list(read(Sources()))
    assert len({text.kind for text in found}) >= 8
    assert all(text.source.endswith(" (Apache-2.0)") for text in found)
    assert all(200 <= len(text.text) <= 6000 for text in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"body": "x"}\n', "text 1 has no text in 'text'.*--sources"),
        (b'{"text": 3}\n', "text 1 has no text"),
        (b"no json\n", "mine.jsonl:1: not JSON"),
    ],
)
def test_a_row_without_a_text_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read(sources(file)))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read(sources(tmp_path / "none.jsonl")))
    with pytest.raises(InputError, match="no such file or folder"):
        texts.identity(sources(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match=r"holds no \.txt or \.md file"):
        list(read(sources(tmp_path)))
    with pytest.raises(SettingError, match="is not hf://datasets/org/name"):
        list(read(sources("hf://datasets/org")))
    (tmp_path / "a.txt").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match=r"a\.txt: cannot be read as a UTF-8 text"):
        list(read(sources(tmp_path)))


def test_another_content_is_another_identity(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    found = []
    for content in ("one", "two", "one"):
        file.write_text(content)
        found.append((str(texts.identity(sources(file))), str(texts.identity(sources(tmp_path)))))
    assert found[0] == found[2]
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert str(tmp_path) not in str(found)


READ = """
import sys, orjson
from datasets_scripts.ultrachat.openings.texts import Sources, read
from ultra.errors import InputError
for where in sys.argv[1:]:
    try:
        found = list(map(list, read(Sources(texts=where))))
    except InputError as error:
        found = str(error)
    print(orjson.dumps(found).decode())
"""
PUT = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("org/texts", repo_type="dataset")
api.upload_file(
    path_or_fileobj=sys.stdin.buffer.read(), path_in_repo="data/train.jsonl.gz",
    repo_id="org/texts", repo_type="dataset",
)
"""


def test_texts_of_the_hub_are_streamed_from_a_file_or_a_whole_dataset(tmp_path: Path) -> None:
    rows = gzip.compress(lines({"text": "One.", "url": "http://a.org/news"}, {"text": "Two."}))
    where = "hf://datasets/org/texts@main"
    wanted = [f"{where}/data/train.jsonl.gz", where, f"{where}/data/none.jsonl"]
    with Hub(tmp_path / "hub") as hub:
        env = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_OFFLINE": "0"}
        env |= {"HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        subprocess.run([sys.executable, "-c", PUT], cwd=ROOT, env=env, input=rows, check=True)
        command = [sys.executable, "-c", READ, *wanted]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
    file, whole, missing = (orjson.loads(line) for line in done.stdout.splitlines()[-3:])
    assert file == [
        ["One.", "News Articles", "http://a.org/news"],
        ["Two.", "Articles and Blog Posts", "org/texts@main/data/train.jsonl.gz"],
    ]
    assert whole == [file[0], ["Two.", "Articles and Blog Posts", "org/texts@main"]]
    assert "none.jsonl: cannot be read" in missing


# Where a long text ends


@pytest.mark.parametrize(
    ("text", "most", "cut"),
    [
        ("short", 10, "short"),
        ("one two.\n\nthree four.\n\nfive six.", 24, "one two.\n\nthree four."),
        ("one two.\nthree four.\nfive six.", 24, "one two.\nthree four."),
        ("One two. Three four. Five six.", 24, "One two. Three four."),
        ("one two three four five six", 16, "one two three"),
        ("x" * 30, 10, "x" * 10),
        ("a\n\n" + "b" * 30, 10, "a\n\n" + "b" * 7),
        ("句子一。句子二。句子三。", 9, "句子一。句子二。"),
    ],
)
def test_a_long_text_ends_at_the_border_of_a_paragraph(text: str, most: int, cut: str) -> None:
    assert shorten(text, most) == cut


@given(st.text(alphabet="ab. \n", max_size=80), st.integers(2, 60))
def test_a_cut_text_is_a_beginning_and_keeps_the_better_half(text: str, most: int) -> None:
    cut = shorten(text.strip(), most)
    assert len(cut) <= most
    assert text.strip().startswith(cut)
    if len(text.strip()) > most:
        assert len(cut) >= len(text.strip()[: most // 2].rstrip())


# Of what kind it is


@pytest.mark.parametrize(
    ("text", "address", "kind"),
    [
        ("Dear Ana,\n\nthank you.\n\nKind regards, Bo", "", "Emails"),
        ("def main():\n    import sys\n    return 1", "", "Programs and Code"),
        ("Stir in a tablespoon of sugar and simmer.", "", "Recipes and Cooking Instructions"),
        ("Stir in a tablespoon of sugar.", "https://x.org/lyrics/a-b", "Song Lyrics"),
        ("Anything", "https://github.com/a/b", "Programs and Code"),
        ("Anything", "", "Articles and Blog Posts"),
        ("Anything", "http://[broken/news", "Articles and Blog Posts"),
        ("", "%%%", "Articles and Blog Posts"),
    ],
)
def test_the_kind_is_guessed_from_the_address_and_the_first_words(
    text: str, address: str, kind: str
) -> None:
    assert material_types.guess(text, address) == kind


def test_every_kind_is_a_published_one_and_can_be_found() -> None:
    kinds = set(asking.names(asking.RECIPE / "materials.txt"))
    found = {
        material_types.guess("", f"http://x.org/{word}") for word in material_types._BY_ADDRESS
    }
    assert found == kinds
    assert set(material_types._BY_WORD.values()) < kinds
