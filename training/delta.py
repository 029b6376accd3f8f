"""Delta weights: what turns a base checkpoint into a tuned one, for whoever has the base.

::

    python -m training.delta make BASE TUNED --out DELTA
    python -m training.delta apply BASE DELTA --out RESTORED

A difference of floats is rounded, so base plus difference is not always the tuned weight. The
difference here is one of bit patterns: every element is read as an unsigned integer of its width,
and the base's is subtracted modulo two to the power of its bits. That is exact for every type and
value, infinities, both zeros and the payloads of NaNs included. Floats that lie close together have
close bit patterns, so most upper bytes are 00 or FF, and a general compressor finds them.

Where the base has no such tensor or no such row (of a vocabulary that grew), or holds it in another
type or with rows of another shape, its bits count as zero: what is stored is the tensor itself.

A delta has a shard for each one of the tuned weights, with the original header in its metadata, so
a restored file is the tuned one byte for byte. All other files lie in ``files/``; folders whose
names begin with a dot belong to the tools that fetched a checkpoint and are left out. A delta does
not load as a model. ``delta.json``, written last, has the sha256 of the base's weights and of each
file to restore; what differs from them is never left as OUT.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import orjson

from training import safetensors_files
from training.safetensors_files import PIECE, Tensor
from ultra import __version__, command, files
from ultra.errors import InputError, OutputError, SettingError

RECORD = "delta.json"
FORMAT = 1
"""Raised when a delta is written in another way, so that older code refuses it."""
OTHERS = "files"  # folder of a delta for all that is not weights


@dataclass(frozen=True)
class Make:
    """Write what has to be added to a base checkpoint to get a tuned one."""

    out: Path
    """Directory of the finished delta."""
    base: Path = command.positional("folder of the base checkpoint, with safetensors")
    tuned: Path = command.positional("folder of the checkpoint that was trained from it")


@dataclass(frozen=True)
class Apply:
    """Restore a tuned checkpoint, byte for byte, from its base and a delta."""

    out: Path
    """Directory of the restored checkpoint."""
    base: Path = command.positional("folder of the base checkpoint that the delta was made from")
    delta: Path = command.positional("folder of the delta")


def make(settings: Make) -> Path:
    """Write the delta, or find it already made from the same two checkpoints.

    Raises:
        InputError: a checkpoint is missing, damaged, or has its weights in pickles.
        OutputError: OUT holds something else.
        SettingError: OUT lies in the tuned checkpoint, and would become part of it.
    """
    base, tuned, out = settings.base, settings.tuned, settings.out
    if out.resolve().is_relative_to(tuned.resolve()):
        raise SettingError(f"out: {out} lies in {tuned}; choose a place outside of it")
    base_names, names = map(safetensors_files.weight_files, (base, tuned))
    record: dict[str, Any] = {
        "format": FORMAT,
        "base": _digests(base, base_names),
        "weights": _digests(tuned, names),
        "files": _digests(tuned, _other_files(tuned, names)),
    }
    if _is_made(out, record):
        print(f"{out}: already made from these checkpoints")
        return out
    base_tensors = safetensors_files.tensors(base, base_names)
    with _appearing(out) as partial:
        for name in names:
            tensors = safetensors_files.tensors(tuned, [name])
            header = _delta_header(safetensors_files.read_header(tuned / name), tensors)
            pieces = _combined(tensors, base_tensors, add=False)
            safetensors_files.write(partial / _shard(name), header, pieces)
        _copy(tuned, partial / OTHERS, record["files"])
        with files.atomic(partial / RECORD) as file:
            made = record | {"code_version": __version__}
            file.write(orjson.dumps(made, option=orjson.OPT_INDENT_2))
    print(out)
    return out


def apply(settings: Apply) -> Path:
    """Write the tuned checkpoint, or find that it already stands there.

    Raises:
        InputError: the base is another one, or something is missing or damaged.
        OutputError: OUT holds something else.
    """
    base, delta, out = settings.base, settings.delta, settings.out
    record = _read_record(delta)
    if _is_restored(out, record["weights"] | record["files"]):
        print(f"{out}: already restored")
        return out
    _require_base(base, delta, record["base"])
    base_tensors = safetensors_files.tensors(base, record["base"])
    with _appearing(out) as partial:
        for name, wanted in record["weights"].items():
            shard = delta / _shard(name)
            header, tensors = _read_shard(shard)
            pieces = _combined(tensors, base_tensors, add=True)
            if safetensors_files.write(partial / name, header, pieces) != wanted:
                raise InputError(f"{shard}: damaged; make or download the delta again")
        _copy(delta / OTHERS, partial, record["files"])
    print(out)
    return out


def _combined(
    tensors: Mapping[str, Tensor], base: Mapping[str, Tensor], *, add: bool
) -> Iterator[bytes]:
    """The bits of each tensor plus or less those of the base's, in pieces."""
    import numpy as np

    combine = np.add if add else np.subtract
    for name, tensor in tensors.items():
        below = base.get(name)
        shared = _shared(tensor, below)
        kind = np.dtype(f"<u{tensor.width}")
        for at in range(0, tensor.size, PIECE):
            size = min(PIECE, tensor.size - at)
            piece = safetensors_files.read(tensor.file, tensor.start + at, size)
            covered = max(0, min(size, shared - at))
            if below is not None and covered:
                there = safetensors_files.read(below.file, below.start + at, covered)
                mine = np.frombuffer(piece, kind, covered // tensor.width)
                piece = combine(mine, np.frombuffer(there, kind)).tobytes() + piece[covered:]
            yield piece


def _shared(tensor: Tensor, base: Tensor | None) -> int:
    """Bytes at the start of a tensor that are rows which the base has too."""
    if base is None or (tensor.dtype, tensor.shape[1:]) != (base.dtype, base.shape[1:]):
        return 0
    return min(tensor.size, base.size)


def _shard(name: str) -> str:
    """The file of a delta that belongs to a file of weights; no index or default names it."""
    return name.removesuffix(".safetensors") + ".delta.safetensors"


def _delta_header(header: bytes, tensors: Mapping[str, Tensor]) -> bytes:
    """A header that holds another one, for integers in the places of its elements."""
    metadata = {"format": "delta", "header": header.decode("utf-8")}
    entries: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, tensor in tensors.items():
        whole = prod(tensor.shape) * tensor.width == tensor.size  # else elements of 4 or 6 bits
        entries[name] = {
            "dtype": f"U{8 * tensor.width}",
            "shape": tensor.shape if whole else [tensor.size],
            "data_offsets": [at, at + tensor.size],
        }
        at += tensor.size
    written = orjson.dumps(entries)
    return written.ljust(-(-len(written) // 8) * 8)  # so that the data is aligned


def _read_shard(path: Path) -> tuple[bytes, dict[str, Tensor]]:
    """The header to restore, and its tensors where they lie in the delta."""
    outer = safetensors_files.read_header(path)
    try:
        header = orjson.loads(outer)["__metadata__"]["header"].encode("utf-8")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); make or download it again") from error
    return header, safetensors_files.layout(header, path, 8 + len(outer))


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: files.sha256(folder / name) for name in names}


def _other_files(folder: Path, weights: Iterable[str] = ()) -> list[str]:
    """Relative paths of the files of a checkpoint that are not its weights."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_file = path.is_file()
        if any(part.startswith(".") for part in name.split("/")[: -1 if is_file else None]):
            continue
        if is_file and path.match("pytorch_model*.bin"):
            raise InputError(f"{path}: the weights again, in a pickle; move it elsewhere")
        if not is_file and (path.is_symlink() or not path.is_dir()):
            raise InputError(f"{path}: neither file nor folder; move it or put a copy there")
        if is_file and name not in weights:
            if not name.isprintable():
                raise InputError(f"{path}: has a name that cannot be kept; rename it")
            found.append(name)
    return found


def _copy(source: Path, target: Path, digests: Mapping[str, str]) -> None:
    """Copy files, and make sure that they are those that were meant."""
    for name, digest in digests.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if not (source / name).is_file():
            raise InputError(f"{source / name}: missing; make or download it again")
        shutil.copyfile(source / name, target / name)
        if files.sha256(target / name) != digest:
            raise InputError(f"{source / name}: changed or damaged; make or download it again")


def _is_made(out: Path, record: Mapping[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        found = _read_record(out)
    except InputError as error:
        raise OutputError(f"{out}: is in the way and no delta; move it") from error
    files.require_same(out, found, record)
    return True


def _is_restored(out: Path, digests: Mapping[str, str]) -> bool:
    """Whether OUT holds just what is to be restored; it has no marker that could say so."""
    if not out.exists():
        return False
    try:
        same = out.is_dir() and {*_other_files(out)} == {*digests}
    except InputError:
        same = False
    if not same or _digests(out, digests) != digests:
        raise OutputError(f"{out}: holds something else; choose another --out or remove it")
    return True


def _read_record(delta: Path) -> dict[str, Any]:
    path = delta / RECORD
    try:
        record: dict[str, Any] = orjson.loads(path.read_bytes())
        if record["format"] != FORMAT:
            raise InputError(f"{path}: of another version of this code; apply it with that one")
        weights = [*record["base"].items(), *record["weights"].items()]
        rest = record["files"].items()
        sound = all(safetensors_files.is_weight_file(name) for name, _ in weights)
        sound &= all({"", ".", ".."}.isdisjoint(name.split("/")) for name, _ in rest)
        sound &= all(type(digest) is str for _, digest in (*weights, *rest))
    except OSError as error:
        raise InputError(f"{delta}: no finished delta, it has no {RECORD} ({error})") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); download the delta again") from error
    if not sound or record["weights"].keys() & record["files"].keys():
        raise InputError(f"{path}: names what does not belong to a checkpoint; do not use it")
    return record


def _require_base(base: Path, delta: Path, digests: Mapping[str, str]) -> None:
    """Refuse every base but the one that was subtracted."""
    names = safetensors_files.weight_files(base)
    if names != sorted(digests):
        raise InputError(
            f"{base}: has the weights {', '.join(names)}, and {delta} was made from "
            f"{', '.join(sorted(digests))}; get that version of the base"
        )
    for name in names:
        found = files.sha256(base / name)
        if found != digests[name]:
            raise InputError(
                f"{base / name}: not the base that {delta} was made from (sha256 {found}, "
                f"not {digests[name]}); get that version of it"
            )


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside OUT that becomes OUT when the block ends well, and else is no more."""
    partial = out.with_name(out.name + ".partial")
    with files.locked(partial):
        try:
            for left in partial.iterdir():  # by a run that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield partial
            files.rename_tree(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


if __name__ == "__main__":
    command.group("training.delta", {"make": (Make, make), "apply": (Apply, apply)})
