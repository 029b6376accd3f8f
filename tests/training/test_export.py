"""OpenChat's three files, as its trainers read them."""

import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from datasets import Dataset, Features, List, Value
from pyarrow import parquet

from training import export
from ultra.errors import OutputError

KINDS = Features({"input_ids": List(Value("int32")), "weights": List(Value("float32"))})
# "ab", a control token and a line break; what the last example says ends before its end.
IDS = [[67, 68, 2], [67, 2, 201], [1, 67, 68, 2, 201]]
WEIGHTS = [[0.0, 1.0, 1.0], [0.0, 0.25, 0.5], [0.0, 0.0, 1.0, 0.0, 0.0]]


def rows(ids: list[list[int]], weights: list[list[float]]) -> Dataset:
    return Dataset.from_dict({"input_ids": ids, "weights": weights}, features=KINDS)


@pytest.fixture
def written(tmp_path: Path, byte_tokenizer: Any) -> list[Path]:
    return export.write(rows(IDS, WEIGHTS), byte_tokenizer, tmp_path / "out", "chatml")


def test_the_files_are_named_as_openchats(written: list[Path]) -> None:
    assert [path.name for path in written] == [
        "chatml.train.json",
        "chatml.train.text.json",
        "chatml.train.parquet",
    ]
    assert sorted(written[0].parent.iterdir()) == sorted(written)


def test_the_first_file_has_pairs_of_ids_and_mask(written: list[Path]) -> None:
    assert json.loads(written[0].read_text()) == [
        [[67, 68, 2], [False, True, True]],
        [[67, 2, 201], [False, True, True]],
        [[1, 67, 68, 2, 201], [False, False, True, False, False]],
    ]


def test_the_second_file_has_the_same_as_text(written: list[Path]) -> None:
    assert json.loads(written[1].read_text()) == [
        "ab<|im_end|>",
        "a<|im_end|>\n",
        "<|im_start|>ab<|im_end|>\n",
    ]


def test_the_third_file_has_labels_and_weights_where_they_are_predicted(
    written: list[Path],
) -> None:
    table = parquet.read_table(written[2])
    ids, weights = pa.list_(pa.int32()), pa.list_(pa.float32())
    assert {name: table.schema.field(name).type for name in table.column_names} == {
        "total_length": pa.int32(),
        "num_seqs": pa.float32(),
        "seqlens": ids,
        "nz_input_ids": ids,
        "nz_position_ids": ids,
        "nz_shifted_label_ids": ids,
        "nz_shifted_loss_weights": weights,
    }
    assert orjson.loads(table.schema.metadata[b"metadata_json"]) == {"model_type": "chatml"}
    assert table.to_pylist() == [
        {
            "total_length": 3,
            "num_seqs": 2.0,
            "seqlens": [3],
            "nz_input_ids": [67, 68, 2],
            "nz_position_ids": [0, 1, 2],
            "nz_shifted_label_ids": [68, 2, 0],
            "nz_shifted_loss_weights": [1.0, 1.0, 0.0],
        },
        {
            "total_length": 3,
            "num_seqs": 0.75,
            "seqlens": [3],
            "nz_input_ids": [67, 2, 201],
            "nz_position_ids": [0, 1, 2],
            "nz_shifted_label_ids": [2, 201, 0],
            "nz_shifted_loss_weights": [0.25, 0.5, 0.0],
        },
        {
            "total_length": 3,
            "num_seqs": 1.0,
            "seqlens": [3],
            "nz_input_ids": [1, 67, 68],
            "nz_position_ids": [0, 1, 2],
            "nz_shifted_label_ids": [0, 68, 0],
            "nz_shifted_loss_weights": [0.0, 1.0, 0.0],
        },
    ]


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_any_number_of_examples_is_valid_and_written_in_pieces(
    tmp_path: Path, byte_tokenizer: Any, count: int
) -> None:
    examples = rows([[67, 68]] * count, [[0.0, 1.0]] * count)
    pairs, texts, table = export.write(examples, byte_tokenizer, tmp_path, "x")
    assert json.loads(pairs.read_text()) == [[[67, 68], [False, True]]] * count
    assert json.loads(texts.read_text()) == ["ab"] * count
    with parquet.ParquetFile(table) as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
    assert sizes == {0: [], 1: [1], 2500: [1000, 1000, 500]}[count]


@pytest.mark.parametrize("ending", ["json", "text.json", "parquet"])
def test_a_file_that_is_there_is_not_overwritten(
    tmp_path: Path, byte_tokenizer: Any, ending: str
) -> None:
    there = tmp_path / f"x.train.{ending}"
    there.write_text("mine")
    with pytest.raises(OutputError, match=f"{there}: is there already"):
        export.write(rows(IDS, WEIGHTS), byte_tokenizer, tmp_path, "x")
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(there, "mine")]
