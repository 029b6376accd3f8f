"""What README says is so: its file map is the tree, its menu is the Makefile's, its flags exist."""

import re
import subprocess
import sys

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = ("ultra.release", "benchmarks.answer_files", "benchmarks.publish", "training.delta")
FOLDERS = ("ultra", "datasets_scripts", "training", "benchmarks")


def test_the_menu_is_what_make_help_prints() -> None:
    words = ["make", "--no-print-directory", "help"]
    menu = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert menu.stdout.strip("\n") in README


def test_every_path_in_the_file_map_exists() -> None:
    for folder, inner in re.findall(r"^\| `([^`]+)` \| (.*) \|$", README, re.MULTILINE):
        assert (ROOT / folder).exists(), folder
        for name in re.findall(r"`([\w/.]+\.(?:py|md)|\w+/)`", inner):
            assert (ROOT / folder / name).exists() or (ROOT / name).exists(), name


def test_every_module_and_folder_is_in_the_file_map() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", README, re.MULTILINE))
    for top in FOLDERS:
        for path in sorted((ROOT / top).iterdir()):
            if path.name in ("__pycache__", "__init__.py"):
                continue
            name = f"{path.relative_to(ROOT).as_posix()}{'/' if path.is_dir() else ''}"
            assert name in rows, name
            inner = path.iterdir() if path.is_dir() else []
            missing = [one.name for one in inner if one.suffix == ".py" and one.stem != "__init__"]
            assert all(f"`{module}`" in rows[name] for module in missing), name


def test_every_flag_in_a_command_line_exists() -> None:
    for line in re.findall(r"^\.venv/bin/python -m (.*)$", README, re.MULTILINE):
        module, *words = line.split()
        named = words[:1] if module in GROUPS else []  # a command of its own
        command = [sys.executable, "-m", module, *named, "--help"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
        for word in words:
            assert not word.startswith("--") or f"{word} " in shown, word
