"""The user's texts for sector 3: from JSON Lines, a folder, or a dataset on the Hub, one by one."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from datasets_scripts.ultrachat.openings import lists, material_types
from ultra import files, jsonl
from ultra.errors import InputError, SettingError

HUB = "hf://datasets/"
SAMPLE = Path(__file__).parent / "sample" / "texts.jsonl"
_SUFFIXES = {".txt", ".md"}
_LICENCES = ("license", "licence")
_IDS = ("id", "name", "title")
_BLOCK = 4 * 2**20
_LONGEST_SOURCE = 500


@dataclass(frozen=True)
class Sources:
    """The material that openings are made from."""

    entities: Path | None = None
    """Names of things to ask about, one a line, the most important first; by default a sample."""
    texts: str = ""
    """Texts to work on: a .jsonl file (gzip and zstd too), a folder of .txt and .md,
    hf://datasets/org/name@revision/file.jsonl, or hf://datasets/org/name@revision for all of a
    dataset; by default a sample."""
    text_column: str = "text"
    """Where a row has its text."""
    url_column: str = "url"
    """Where a row has its address, if it does."""
    subset: str = ""
    """Configuration of the dataset, if it has several."""
    split: str = "train"
    """Its split."""
    licence: str = ""
    """Licence of the texts, where their rows do not say."""
    least_characters: int = 200
    """Shorter texts are left out."""
    most_characters: int = 6_000
    """Longer texts end with the last paragraph before this."""

    def __post_init__(self) -> None:
        if not 1 <= self.least_characters <= self.most_characters:
            raise SettingError("sources: least_characters must be from 1 to most_characters")


class Text(NamedTuple):
    """A text as it goes into an opening, its kind, and where it comes from, with its licence."""

    text: str
    kind: str
    source: str


def read(sources: Sources) -> Iterator[Text]:
    """Yield the texts in their order.

    Raises:
        InputError: names the file or row that cannot be read.
    """
    where = sources.texts or str(SAMPLE)
    if where.startswith(HUB):
        yield from _of_rows(_hub(where, sources), where.removeprefix(HUB), sources)
    elif Path(where).is_dir():
        yield from _of_folder(Path(where), sources)
    elif Path(where).suffix in _SUFFIXES:
        yield _text(_content(Path(where)), Path(where).name, "", sources)
    else:
        yield from _of_rows(jsonl.read(Path(where)), Path(where).name, sources)


def identity(sources: Sources) -> dict[str, Any]:
    """What decides which texts are read, for a manifest: an address, or a file's name and digest.

    Raises:
        InputError: there is no such file.
    """
    where = sources.texts or str(SAMPLE)
    path = Path(where)
    digest = ""
    if path.is_dir():
        digest = jsonl.digest(
            [(str(one.relative_to(path)), files.sha256(one)) for one in _in(path)]
        )
    elif path.is_file():
        digest = files.sha256(path)
    elif not where.startswith(HUB):
        raise InputError(f"{path}: no such file or folder of texts")
    return {
        "texts": where if where.startswith(HUB) else jsonl.scrub(path.name),
        "digest": digest,
        "columns": [sources.text_column, sources.url_column],
        "part": [sources.subset, sources.split],
        "licence": sources.licence,
        "characters": [sources.least_characters, sources.most_characters],
    }


def shorten(text: str, most: int) -> str:
    """A text of at most ``most`` characters, cut at the last border of a paragraph before that.

    Where there is none in its second half: of a line, a sentence, or a word.
    """
    if len(text) <= most:
        return text
    head = text[: most + 1]
    for border in ("\n\n", "\n", ". ", "\u3002", " "):
        place = head.rfind(border, most // 2, most + 1)
        if place > 0:
            return head[: place + len(border.rstrip())].rstrip()
    return text[:most]


def _of_folder(folder: Path, sources: Sources) -> Iterator[Text]:
    for path in _in(folder):
        name = path.relative_to(folder).as_posix()
        yield _text(_content(path), name, "", sources)


def _in(folder: Path) -> list[Path]:
    """The texts of a folder.

    Raises:
        InputError: there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
    if not found:
        raise InputError(f"{folder}: holds no .txt or .md file")
    return found


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a UTF-8 text ({error})") from error


def _of_rows(rows: Iterable[dict[str, Any]], name: str, sources: Sources) -> Iterator[Text]:
    for number, row in enumerate(rows, 1):
        text, url = row.get(sources.text_column), row.get(sources.url_column)
        if not isinstance(text, str):
            raise InputError(
                f"{sources.texts or SAMPLE}: text {number} has no text in {sources.text_column!r}; "
                "name its column with --sources.text-column"
            )
        url = url if isinstance(url, str) else ""
        own = next((str(row[key]) for key in _IDS if isinstance(row.get(key), str | int)), "")
        licence = next((row[key] for key in _LICENCES if isinstance(row.get(key), str)), "")
        yield _text(text, url or (f"{name}#{own}" if own else name), licence, sources, url)


def _text(text: str, source: str, licence: str, sources: Sources, address: str = "") -> Text:
    licence = licence or sources.licence
    source = " ".join(lists.clean(f"{source} ({licence})" if licence else source).split())
    cut = shorten(lists.clean(text).strip(), sources.most_characters)
    kind = material_types.guess(cut, address or source)
    return Text(cut, kind, source[:_LONGEST_SOURCE])


def _hub(where: str, sources: Sources) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file of a dataset, or of all of it; neither is downloaded whole."""
    parts = where.removeprefix(HUB).split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise SettingError(f"sources.texts: {where!r} is not {HUB}org/name@revision/file.jsonl")
    return _hub_file(where) if len(parts) == 3 else _hub_dataset("/".join(parts), sources)


def _hub_file(where: str) -> Iterator[dict[str, Any]]:
    from huggingface_hub import HfFileSystem
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        with HfFileSystem().open(where, "rb", block_size=_BLOCK) as remote:
            lines = jsonl.unpacked(cast(BinaryIO, io.BufferedReader(cast(Any, remote), _BLOCK)))
            for number, line in enumerate(lines, 1):
                row = orjson.loads(line) if line.strip() else None
                if row is not None and not isinstance(row, dict):
                    raise InputError(f"{where}:{number}: expected a JSON object")
                if row is not None:
                    yield row
    except orjson.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON Lines ({error})") from error
    except (OSError, httpx.HTTPError, *jsonl.BROKEN) as error:
        raise InputError(f"{where}: cannot be read ({_short(error)})") from error


def _hub_dataset(name: str, sources: Sources) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    repo, _, revision = name.partition("@")
    try:
        yield from load_dataset(
            repo,
            sources.subset or None,
            revision=revision or None,
            split=sources.split,
            streaming=True,
        )
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise InputError(f"{HUB}{name}: cannot be read ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
