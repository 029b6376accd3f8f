"""Tokenised examples in OpenChat's files, which its trainers read.

``NAME.train.json`` is that of July 2023 (imoneoi/openchat at 80bd3aa, README: pairs of token ids
and mask), ``NAME.train.text.json`` the same decoded, and ``NAME.train.parquet`` that of its later
versions (``ochat/data/generate_dataset.py``: with weights, shifted, for padding-free training).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

from ultra import files
from ultra.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

_ROWS = 1000
"""Examples that are written at a time."""


def write(
    examples: "Dataset", tokenizer: "PreTrainedTokenizerBase", folder: Path, name: str
) -> list[Path]:
    """Write the three files; returns their paths.

    Raises:
        OutputError: one of them is there already.
    """
    endings = ("json", "text.json", "parquet")
    paths = [folder / f"{name}.train.{ending}" for ending in endings]
    for path in paths:
        if path.exists():
            raise OutputError(f"{path}: is there already; remove it or choose another folder")
    with files.atomic(paths[0]) as file:
        pairs = ([ids.tolist(), (weights > 0).tolist()] for ids, weights in _each(examples))
        _write_array(file, map(orjson.dumps, pairs))
    with files.atomic(paths[1]) as file:
        texts = (tokenizer.decode(ids.tolist()) for ids, _ in _each(examples))
        _write_array(file, map(orjson.dumps, texts))
    with files.atomic(paths[2]) as file:
        _write_parquet(file, examples, name)
    return paths


def _each(examples: "Dataset") -> Iterator[tuple[Any, Any]]:
    for row in examples.with_format("numpy"):
        yield row["input_ids"], row["weights"]


def _write_array(file: BinaryIO, items: Iterator[bytes]) -> None:
    file.write(b"[\n")
    for at, item in enumerate(items):
        file.write((b",\n" if at else b"") + item)
    file.write(b"\n]\n")


def _write_parquet(file: BinaryIO, examples: "Dataset", name: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    ids, weights = pa.list_(pa.int32()), pa.list_(pa.float32())
    schema = pa.schema(
        [
            ("total_length", pa.int32()),
            ("num_seqs", pa.float32()),
            ("seqlens", ids),
            ("nz_input_ids", ids),
            ("nz_position_ids", ids),
            ("nz_shifted_label_ids", ids),
            ("nz_shifted_loss_weights", weights),
        ],
        metadata={"metadata_json": orjson.dumps({"model_type": name})},
    )
    with parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, len(examples), _ROWS):
            part = examples.select(range(start, min(start + _ROWS, len(examples))))
            writer.write_table(_table(part, schema))


def _table(examples: "Dataset", schema: "pa.Schema") -> "pa.Table":
    """Rows cut after their last token with a weight; labels stand where they are predicted."""
    import pyarrow as pa

    rows = []
    for all_ids, all_weights in _each(examples):
        length = int(np.flatnonzero(all_weights)[-1]) + 1
        ids, weights = all_ids[:length], all_weights[:length]
        labels = np.where(weights > 0, ids, 0)
        shifted = np.append(weights[1:], np.float32(0))
        rows.append({
            "total_length": length,
            "num_seqs": float(shifted.sum()),
            "seqlens": [length],
            "nz_input_ids": ids,
            "nz_position_ids": np.arange(length),
            "nz_shifted_label_ids": np.append(labels[1:], 0),
            "nz_shifted_loss_weights": shifted,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema)
