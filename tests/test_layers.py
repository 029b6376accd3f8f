"""The layers: stages import the floor and never each other; heavy packages come in late."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

STAGES = ("datasets_scripts", "training", "benchmarks")
LAYERS = ("ultra", *STAGES)
HEAVY = {"torch", "transformers", "accelerate", "openai", "datasets"}
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imports(path: Path, *, at_start_only: bool = False) -> Iterator[str]:
    """Top-level package of each import; with ``at_start_only`` those that run on import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if at_start_only and id(node) in late:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_layer_imports_only_itself_and_the_floor(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    assert not set(imports(path)) & (set(LAYERS) - {layer, "ultra"})
    assert "tests" not in set(imports(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_heavy_packages_are_imported_where_they_are_used(path: Path) -> None:
    subject = {"datasets"} if path.name == "builders.py" else set()  # no other module imports it
    assert not set(imports(path, at_start_only=True)) & (HEAVY - subject)
    if path.relative_to(ROOT).parts[0] != "training" and path.name != "local_chat.py":
        assert not set(imports(path)) & {"torch", "transformers", "accelerate"}


def test_every_package_and_data_file_ships() -> None:
    import tomllib

    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MODULES}
    assert {package.replace(".", "/") for package in tools["packages"]} == folders
    shipped = {
        path
        for package, patterns in tools["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    there = {
        path
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert shipped == there
