"""Delta weights: restored to the last bit, from the right base only, and never by halves."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from training import delta, safetensors_files
from training.delta import Apply, Make
from ultra import files
from ultra.errors import InputError, OutputError, SettingError

Content = Mapping[str, tuple[str, list[int], bytes]]
"""Type, shape and bytes of tensors, in the order in which they shall lie in a file."""
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F4": 4, "F6_E2M3": 6, "F16": 16, "BF16": 16}
BITS |= {"I16": 16, "U16": 16, "F32": 32, "I32": 32, "U32": 32, "F64": 64, "I64": 64, "C64": 64}

LIMITED = """
import resource, sys
from training import delta
import hashlib, numpy
limit, size, *words = sys.argv[1:]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(limit),) * 2)
try:
    bytearray(int(size))
except MemoryError:
    print("a tensor does not fit")
sys.argv[1:] = words
delta.command.group("d", {"make": (delta.Make, delta.make), "apply": (delta.Apply, delta.apply)})
"""
KILLED = """
import os, shutil, signal, sys
from training import delta
shutil.copyfile = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
delta.command.group("d", {"make": (delta.Make, delta.make), "apply": (delta.Apply, delta.apply)})
"""
FULL = """
import resource
from training import delta
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
delta.command.group("d", {"make": (delta.Make, delta.make), "apply": (delta.Apply, delta.apply)})
"""


def header(content: Content, **metadata: str) -> bytes:
    entries: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, (dtype, shape, data) in content.items():
        offsets = [at, at + len(data)]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        at += len(data)
    return json.dumps(entries).encode()


def write(path: Path, content: Content, **metadata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = header(content, **metadata)
    data = b"".join(data for _, _, data in content.values())
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def weights(seed: int, rows: int = 8) -> Content:
    """Two tensors, the second one not first in the alphabet."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, 16)).astype("<f4")
    more = generator.integers(0, 2**16, size=5, dtype="<u2")
    return {"w": ("F32", [rows, 16], values.tobytes()), "b": ("BF16", [5], more.tobytes())}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def round_trip(folder: Path) -> dict[str, bytes]:
    """What is restored of ``tuned`` from ``base`` and the delta between them."""
    base, made, restored = folder / "base", folder / "delta", folder / "restored"
    delta.make(Make(made, base, folder / "tuned"))
    delta.apply(Apply(restored, base, made))
    return contents(restored)


def child(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with a small ``base`` and a ``tuned`` in two shards, with other files."""
    write(tmp_path / "base/model.safetensors", weights(0), format="pt")
    tuned = tmp_path / "tuned"
    content = weights(1)
    shards = {"model-00001-of-00002.safetensors": "w", "model-00002-of-00002.safetensors": "b"}
    for shard, name in shards.items():
        write(tuned / shard, {name: content[name]}, format="pt", order="kept")
    index = {"metadata": {}, "weight_map": {name: shard for shard, name in shards.items()}}
    (tuned / "model.safetensors.index.json").write_text(json.dumps(index, indent=3))
    (tuned / "config.json").write_text('{"model_type": "none"}\n')
    (tuned / "training.json").write_bytes(b"\xff no JSON, and not ours to read")
    (tuned / "extra").mkdir()
    (tuned / "extra/README.md").write_text("# Tuned\r\n")
    return tmp_path


@pytest.fixture
def made(pair: Path) -> Path:
    """The same folder, with the delta between the two."""
    delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))
    return pair


def apply(folder: Path) -> Path:
    return delta.apply(Apply(folder / "restored", folder / "base", folder / "delta"))


def nothing_is_left(folder: Path, name: str) -> bool:
    return not any(path.name.startswith(name) for path in folder.iterdir())


@st.composite
def tensors(draw: st.DrawFn) -> Content:
    """Any bits in tensors of any type and of few shapes, so that two draws have some in common."""
    content = {}
    for name in draw(st.lists(st.sampled_from("abcde"), unique=True)):
        dtype = draw(st.sampled_from(sorted(BITS)))
        shape = draw(st.sampled_from([[], [0], [4], [8], [3, 4], [5, 4], [2, 2, 4], [3, 2, 4]]))
        bits = prod(shape) * BITS[dtype]
        if bits % 8 == 0:
            data = draw(st.binary(min_size=bits // 8, max_size=bits // 8))
            content[name] = dtype, shape, data
    return content


@hypothesis_settings(deadline=None, max_examples=60)
@given(base=tensors(), tuned=tensors(), piece=st.sampled_from([8, 24, safetensors_files.PIECE]))
def test_any_bits_of_any_type_and_shape_come_back(
    base: Content, tuned: Content, piece: int
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(delta, "PIECE", piece)
        place = Path(folder)
        write(place / "base/model.safetensors", base)
        write(place / "tuned/model.safetensors", tuned)
        assert round_trip(place) == contents(place / "tuned")


@pytest.mark.parametrize("dtype", [name for name in BITS if name.startswith(("F16", "F32", "F64"))])
def test_values_that_no_float_difference_keeps_come_back(tmp_path: Path, dtype: str) -> None:
    kind = np.dtype({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])
    whole = {2: "<u2", 4: "<u4", 8: "<u8"}[kind.itemsize]
    info = np.finfo(kind)
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.smallest_subnormal, 1e-7]
    values = np.array(odd, kind)
    payloads = np.array([np.nan] * 3, kind).view(whole) + np.arange(1, 4).astype(whole)
    values = np.concatenate([values, payloads.view(kind), -payloads.view(kind)])
    base, tuned = (grid.flatten() for grid in np.meshgrid(values, values))
    for name, array in (("base", base), ("tuned", tuned)):
        path = tmp_path / name / "model.safetensors"
        write(path, {"w": (dtype, [len(array)], array.tobytes())})
    with np.errstate(all="ignore"):
        assert (base + (tuned - base)).tobytes() != tuned.tobytes()
    assert round_trip(tmp_path) == contents(tmp_path / "tuned")


def test_all_files_come_back_byte_for_byte(pair: Path) -> None:
    restored = round_trip(pair)
    assert len(restored) == 6
    assert restored == contents(pair / "tuned")


@pytest.mark.parametrize("shard_size", ["20KB", "1GB"])
def test_a_checkpoint_of_transformers_comes_back_and_loads(
    checkpoint: Path, tmp_path: Path, shard_size: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    shutil.copytree(checkpoint, tmp_path / "base")
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    model.resize_token_embeddings(len(tokenizer) + 3, mean_resizing=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.001)
    model.save_pretrained(tmp_path / "tuned", max_shard_size=shard_size)
    tokenizer.save_pretrained(tmp_path / "tuned")
    assert (len([*(tmp_path / "tuned").glob("*.safetensors")]) > 2) == (shard_size == "20KB")
    assert round_trip(tmp_path) == contents(tmp_path / "tuned")
    again: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "restored")
    assert all(map(torch.equal, model.parameters(), again.parameters()))


def test_a_delta_does_not_load_as_a_model(checkpoint: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    delta.make(Make(tmp_path / "delta", checkpoint, checkpoint))
    for folder in (tmp_path / "delta", tmp_path / "delta/files"):
        with pytest.raises((OSError, ValueError)):
            AutoModelForCausalLM.from_pretrained(folder)


def test_a_delta_is_integers_that_any_reader_of_safetensors_opens(made: Path) -> None:
    from safetensors.numpy import load_file

    found = load_file(made / "delta/model-00001-of-00002.delta.safetensors")
    assert {name: (str(one.dtype), one.shape) for name, one in found.items()} == {
        "w": ("uint32", (8, 16))
    }


def test_rows_that_were_added_are_stored_whole_and_others_as_difference(tmp_path: Path) -> None:
    kept, added = weights(0)["w"][2], weights(1)["w"][2]
    write(tmp_path / "base/model.safetensors", {"w": ("F32", [8, 16], kept)})
    write(tmp_path / "tuned/model.safetensors", {"w": ("F32", [16, 16], kept + added)})
    restored = round_trip(tmp_path)
    shard = contents(tmp_path / "delta")["model.delta.safetensors"]
    assert shard.endswith(bytes(len(kept)) + added)
    assert restored == contents(tmp_path / "tuned")


def test_a_small_change_makes_a_delta_that_compresses(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    base = torch.randn(2**15, generator=generator) * 0.02
    tuned = base + torch.randn(2**15, generator=generator) * 1e-5
    for name, weight in (("base", base), ("tuned", tuned)):
        (tmp_path / name).mkdir()
        save_file({"w": weight.bfloat16()}, tmp_path / name / "model.safetensors")
    delta.make(Make(tmp_path / "delta", tmp_path / "base", tmp_path / "tuned"))
    sizes = [
        len(zstandard.compress((tmp_path / name).read_bytes()))
        for name in ("delta/model.delta.safetensors", "tuned/model.safetensors")
    ]
    assert sizes[0] < 0.3 * sizes[1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures itself by /proc")
def test_memory_does_not_grow_with_the_model_nor_with_a_tensor(tmp_path: Path) -> None:
    size = 2**26
    for name in ("base", "tuned"):
        path = tmp_path / name / "model.safetensors"
        write(path, {})
        head = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}})
        path.write_bytes(len(head).to_bytes(8, "little") + head.encode())
        os.truncate(path, 8 + len(head) + size)
    limit = 2**24
    for words in (
        ("make", tmp_path / "base", tmp_path / "tuned", "--out", tmp_path / "delta"),
        ("apply", tmp_path / "base", tmp_path / "delta", "--out", tmp_path / "restored"),
    ):
        done = child(LIMITED, limit, size, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert "a tensor does not fit" in done.stdout
    assert files.sha256(tmp_path / "restored/model.safetensors") == files.sha256(path)


def test_another_base_is_refused_by_name(made: Path) -> None:
    content = {**weights(0), "b": weights(2)["b"]}
    write(made / "base/model.safetensors", content, format="pt")
    with pytest.raises(InputError, match=r"base/model\.safetensors: not the base .* get that"):
        apply(made)
    assert nothing_is_left(made, "restored")


def test_a_base_in_other_files_is_refused_by_name(made: Path) -> None:
    shutil.rmtree(made / "base")
    shutil.copytree(made / "tuned", made / "base")
    with pytest.raises(InputError, match=r"base: has the weights model-00001.* get that version"):
        apply(made)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


SHARD = "model-00001-of-00002.delta.safetensors"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: flip(path / SHARD, -1), f"{SHARD}: damaged"),
        (lambda path: flip(path / SHARD, 7), f"{SHARD}: not a safetensors file"),
        (lambda path: flip(path / SHARD, 12), SHARD),
        (lambda path: os.truncate(path / SHARD, 300), f"{SHARD}: (ends|damaged)"),
        (lambda path: os.truncate(path / SHARD, 5), f"{SHARD}: ends"),
        (lambda path: write(path / SHARD, weights(0)), f"{SHARD}: damaged .'__metadata__'"),
        (lambda path: (path / SHARD).unlink(), f"{SHARD}: missing"),
        (lambda path: flip(path / "files/config.json", 3), "config.json: changed or damaged"),
        (lambda path: (path / "files/extra/README.md").unlink(), "extra/README.md: missing"),
        (lambda path: os.truncate(path / delta.RECORD, 40), "delta.json: damaged"),
        (lambda path: (path / delta.RECORD).unlink(), "delta: no finished delta"),
    ],
)
def test_a_damaged_delta_is_told_and_leaves_nothing(
    made: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(made / "delta")
    with pytest.raises(InputError, match=says):
        apply(made)
    assert nothing_is_left(made, "restored")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"weights": {"../model.safetensors": "0"}},
        {"weights": {"/model.safetensors": "0"}},
        {"weights": {"config.json": "0"}},
        {"weights": {"model.safetensors": 0}},
        {"weights": ["model.safetensors"]},
        {"base": {"../base/model.safetensors": "0"}},
        {"files": {"../config.json": "0"}},
        {"files": {"extra/../../config.json": "0"}},
        {"files": {"/config.json": "0"}},
        {"files": {"": "0"}},
        {"files": {"model-00001-of-00002.safetensors": "0"}},
        {"files": None},
    ],
)
def test_a_record_that_reaches_out_of_its_folder_is_refused(
    made: Path, change: dict[str, Any]
) -> None:
    path = made / "delta" / delta.RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = contents(made)
    with pytest.raises(InputError, match=r"delta\.json: (of another|damaged|names)"):
        apply(made)
    assert contents(made) == before


@pytest.mark.parametrize(
    "weight_map",
    [
        {"w": "../base/model.safetensors"},
        {"w": "/base/model.safetensors"},
        {"w": "extra/model.safetensors"},
        {"w": "config.json"},
        {"w": "model\0.safetensors"},
        {"w": ""},
        {"w": 5},
        {"w": None, "b": "model.safetensors"},
        {},
        ["model.safetensors"],
    ],
)
def test_an_index_that_names_something_else_is_refused(pair: Path, weight_map: Any) -> None:
    index = pair / "tuned/model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(InputError, match=r"index\.json: (names something else|damaged)"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


def test_a_shard_that_is_missing_is_named(pair: Path) -> None:
    (pair / "tuned/model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"model-00002-of-00002\.safetensors: missing"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


def test_pickles_are_refused_with_the_way_out(pair: Path) -> None:
    (pair / "base/model.safetensors").rename(pair / "base/pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: .*pickle.*save_pretrained"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


def test_weights_are_not_carried_a_second_time_in_a_pickle(pair: Path) -> None:
    (pair / "tuned/pytorch_model-00001-of-00002.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"00002\.bin: .*pickle; move it elsewhere"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


@pytest.mark.parametrize("which", ["base", "tuned"])
def test_a_folder_without_a_checkpoint_is_named(pair: Path, which: str) -> None:
    shutil.rmtree(pair / which)
    with pytest.raises(InputError, match=rf"{which}: has no model\.safetensors"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"w": entry(offsets=(0, 4), shape=[1])},
        {"w": entry(offsets=(0, 16), shape=[4])},
        {"w": entry(offsets=(4, 8), shape=[1])},
        {"w": entry(offsets=(8, 0))},
        {"w": entry("U8", [16], (0, 16)), "v": entry("U8", [8], (16, 8))},
        {"w": entry(offsets=(0, 8.0))},
        {"w": entry(offsets=(0,))},
        {"w": entry(), "v": entry()},
        {"w": entry(), "v": entry(offsets=(4, 8), shape=[1])},
        {"w": entry(shape=[3])},
        {"w": entry(shape=[-2])},
        {"w": entry(shape=[-1, -2])},
        {"w": entry(shape="2")},
        {"w": entry(shape=None)},
        {"w": entry(dtype=["F32"])},
        {"w": {"dtype": "F32"}},
        {"w": None},
        [],
        "text",
    ],
)
def test_a_header_that_does_not_fit_its_file_is_refused(pair: Path, entries: Any) -> None:
    head = json.dumps(entries).encode()
    data = len(head).to_bytes(8, "little") + head + bytes(8)
    (pair / "base/model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"base/model\.safetensors: damaged .*download it again"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))
    assert nothing_is_left(pair, "delta")


@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 8, (99).to_bytes(8, "little") + b"{}"])
def test_what_is_no_safetensors_file_is_refused(pair: Path, data: bytes) -> None:
    (pair / "tuned/model-00002-of-00002.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=r"00002\.safetensors: (ends too early|not a safet)"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))
    assert nothing_is_left(pair, "delta")


def test_what_is_complete_is_left_as_it_is(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apply(made)
    places = [made / "delta" / delta.RECORD, made / "restored/config.json"]
    before = [path.stat() for path in places]
    delta.make(Make(made / "delta", made / "base", made / "tuned"))
    assert "already made" in capsys.readouterr().out
    apply(made)
    assert "already restored" in capsys.readouterr().out
    assert [path.stat() for path in places] == before


def test_a_delta_of_other_checkpoints_is_in_the_way(made: Path) -> None:
    (made / "tuned/config.json").write_text("{}")
    with pytest.raises(OutputError, match="already complete, with other files; choose"):
        delta.make(Make(made / "delta", made / "base", made / "tuned"))


@pytest.mark.parametrize("out", ["base", "file"])
def test_make_overwrites_nothing(pair: Path, out: str) -> None:
    (pair / "file").write_text("mine")
    before = contents(pair)
    with pytest.raises(OutputError, match=f"{out}: is in the way"):
        delta.make(Make(pair / out, pair / "base", pair / "tuned"))
    assert contents(pair) == before


@pytest.mark.parametrize("change", ["config.json", "model-00001-of-00002.safetensors", "new.txt"])
def test_apply_overwrites_nothing(made: Path, change: str) -> None:
    apply(made)
    with (made / "restored" / change).open("ab") as file:
        file.write(b"mine")
    before = contents(made)
    with pytest.raises(OutputError, match="restored: holds something else"):
        apply(made)
    assert contents(made) == before


def test_a_delta_is_not_put_into_what_it_is_made_of(pair: Path) -> None:
    with pytest.raises(SettingError, match="lies in"):
        delta.make(Make(pair / "tuned/delta", pair / "base", pair / "tuned"))


def test_links_to_files_are_followed_as_in_a_cache_of_the_hub(pair: Path) -> None:
    (pair / "blobs").mkdir()
    for place in ("base", "tuned"):
        for number, path in enumerate([*(pair / place).iterdir()]):
            if path.is_file():
                blob = path.rename(pair / f"blobs/{place}{number}")
                path.symlink_to(blob)
    assert round_trip(pair) == contents(pair / "tuned")
    assert not any(path.is_symlink() for path in (pair / "restored").rglob("*"))


@pytest.mark.parametrize("target", ["extra", "nowhere"])
def test_a_link_that_is_no_file_is_not_left_out_in_silence(pair: Path, target: str) -> None:
    (pair / "tuned/link").symlink_to(target)
    with pytest.raises(InputError, match="tuned/link: neither file nor folder"):
        delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))


def test_folders_of_the_tools_that_fetch_are_left_out_and_hidden_files_are_not(pair: Path) -> None:
    (pair / "tuned/.cache/hub").mkdir(parents=True)
    (pair / "tuned/.cache/hub/lock").write_text("")
    (pair / "tuned/.gitattributes").write_text("*.safetensors filter=lfs\n")
    wanted = contents(pair / "tuned")
    del wanted[".cache/hub/lock"]
    assert round_trip(pair) == wanted


def test_a_run_that_was_killed_can_be_run_again(pair: Path) -> None:
    words = {"make": ("base", "tuned", "delta"), "apply": ("base", "delta", "restored")}
    for name, places in words.items():
        first, second, out = (pair / place for place in places)
        killed = child(KILLED, name, first, second, "--out", out)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        left = {path.name for path in pair.iterdir() if path.name.startswith(out.name)}
        assert left == {f"{out.name}.partial"}
        (pair / f"{out.name}.partial/stale").write_text("by an older run")
        again = subprocess.run(
            [sys.executable, "-m", "training.delta", name, first, second, "--out", out], cwd=ROOT
        )
        assert again.returncode == 0
        assert {path.name for path in pair.iterdir() if path.name.startswith(out.name)} == {
            out.name
        }
    assert contents(pair / "restored") == contents(pair / "tuned")
    assert not (pair / "delta/stale").exists()


@pytest.mark.parametrize("name", ["make", "apply"])
def test_a_disk_that_is_full_leaves_nothing(pair: Path, name: str) -> None:
    for place in ("base", "tuned"):
        write(pair / place / "model.safetensors", weights(len(place), rows=100))
    second, out = pair / "tuned", pair / "out"
    if name == "apply":
        second = delta.make(Make(pair / "delta", pair / "base", pair / "tuned"))
    done = child(FULL, name, pair / "base", second, "--out", out)
    assert done.returncode == 2
    assert os.strerror(errno.EFBIG) in done.stderr
    assert nothing_is_left(pair, "out")


def test_two_runs_at_one_place_keep_out_of_each_others_way(made: Path) -> None:
    with files.locked(made / "restored.partial"):
        with pytest.raises(OutputError, match="another run is writing"):
            apply(made)
        assert (made / "restored.partial").exists()


def test_help_loads_nothing_that_takes_time() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "training.delta", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "restore" in done.stdout.lower()
    assert "training.safetensors_files" in imported
    assert imported.isdisjoint({"torch", "transformers", "safetensors", "numpy"})


def test_a_piece_holds_whole_elements_of_every_width() -> None:
    assert safetensors_files.PIECE % 8 == 0
