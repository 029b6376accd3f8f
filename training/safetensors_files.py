"""Safetensors files of a checkpoint, read and written in pieces.

Memory is that of a few pieces of 1 MiB and of a header, whatever the size of the model. The format:
https://github.com/huggingface/safetensors#format.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import orjson

from ultra.errors import InputError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PIECE = 2**20
"""Bytes that are read at once; a multiple of every width."""
_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors library."""
_WIDTHS = {"BF16": 2, "F16": 2, "I16": 2, "U16": 2, "F32": 4, "I32": 4, "U32": 4}
_WIDTHS |= {"F64": 8, "I64": 8, "U64": 8, "C64": 8}
"""Bytes of an element; all other types are bytes here, some of them with parts of elements."""


@dataclass(frozen=True)
class Tensor:
    """Where the bytes of a tensor lie, and what they are."""

    file: Path
    start: int
    """Offset in the file, in bytes."""
    size: int
    """In bytes."""
    dtype: str
    """As safetensors spells it, such as ``BF16``."""
    shape: list[int]

    @property
    def width(self) -> int:
        """Bytes of an element of 16 bits or more, else 1."""
        return _WIDTHS.get(self.dtype, 1)


def weight_files(folder: Path) -> list[str]:
    """Names of the files whose weights transformers would load from a folder, sorted.

    Raises:
        InputError: there are none, one is missing, or the index names something else.
    """
    if (folder / SINGLE).is_file():  # wins over an index, as in transformers
        return [SINGLE]
    index = folder / INDEX
    if not index.is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        if pickles:
            raise InputError(
                f"{folder / pickles[0]}: weights in a pickle, which may run code when it is read; "
                "load the model with transformers and save it with save_pretrained"
            )
        raise InputError(f"{folder}: has no {SINGLE} or {INDEX}; name the folder of a checkpoint")
    try:
        found = sorted(set(orjson.loads(index.read_bytes())["weight_map"].values()))
        plain = all(is_weight_file(name) for name in found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{index}: damaged ({error}); download the checkpoint again") from error
    if not found or not plain:
        raise InputError(
            f"{index}: names something else than .safetensors files beside it; "
            "do not use this checkpoint"
        )
    for name in found:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing, yet {INDEX} names it; download it again")
    return found


def is_weight_file(name: str) -> bool:
    """Whether a name that comes from a file can only mean a safetensors file beside it."""
    return name.endswith(".safetensors") and not {"/", "\0"} & set(name)


def tensors(folder: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors of several files of a folder.

    Raises:
        InputError: a file is no safetensors file, or not a whole one.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        header = read_header(folder / name)
        found |= layout(header, folder / name, 8 + len(header))
    return found


def read_header(path: Path) -> bytes:
    """The header of a safetensors file as it stands, the padding at its end included.

    Raises:
        InputError: the file is missing or too short to have one.
    """
    try:
        length = int.from_bytes(read(path, 0, 8), "little")
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; make or download it again") from error
    if length > _LONGEST_HEADER:
        raise InputError(f"{path}: not a safetensors file; make or download it again")
    return read(path, 8, length)


def layout(header: bytes, path: Path, start: int) -> dict[str, Tensor]:
    """The tensors that a header places in ``path`` from ``start`` on, in the order of their bytes.

    Raises:
        InputError: they do not cover the rest of the file, each byte once.
    """
    try:
        entries = orjson.loads(header)
        entries.pop("__metadata__", None)
        found: dict[str, Tensor] = {}
        at = 0
        for name, entry in sorted(entries.items(), key=lambda one: one[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            numbers = [begin, end, *entry["shape"]]
            if begin != at or end < begin or any(type(n) is not int or n < 0 for n in numbers):
                raise ValueError(f"{name} has impossible offsets or an impossible shape")
            tensor = Tensor(path, start + begin, end - begin, entry["dtype"], numbers[2:])
            elements = prod(tensor.shape)
            if tensor.dtype in _WIDTHS and elements * tensor.width != tensor.size:
                raise ValueError(f"{name} has {tensor.size} bytes for {elements} {tensor.dtype}")
            found[name] = tensor
            at = end
        if start + at != path.stat().st_size:
            raise ValueError(f"{path.stat().st_size - start} bytes of weights instead of {at}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); make or download it again") from error
    return found


def read(path: Path, start: int, size: int) -> bytes:
    """Bytes of a file, which is closed again: a model may have more shards than files may be open.

    Raises:
        InputError: the file ends before.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        found = file.read(size)
    if len(found) != size:
        raise InputError(f"{path}: ends too early; make or download it again")
    return found


def write(path: Path, header: bytes, pieces: Iterable[bytes]) -> str:
    """Write a safetensors file; returns its sha256 in hex."""
    import hashlib  # loads OpenSSL, which --help can do without

    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in (len(header).to_bytes(8, "little"), header):
            digest.update(block)
            file.write(block)
        for block in pieces:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
