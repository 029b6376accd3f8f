"""What the comparison of score's speed runs, and that the bare script computes what score does."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import score as scoring
from tests.speed import score
from ultra.errors import InputError, SettingError


def test_the_golden_models_are_the_cases(golden: Path) -> None:
    found = score.cases(golden / "alpaca_eval")
    assert [case.suite for case in found] == ["alpaca_eval", "alpaca_eval_2", "alpaca_eval_2"]
    assert all(case.path.is_file() and float(case.c) > 0 for case in found)


def test_the_bare_script_computes_the_same(golden: Path) -> None:
    for case in score.cases(golden / "alpaca_eval"):
        script = Path(score.__file__).parent / "peers" / "bare_mean.py"
        bare = [sys.executable, str(script), str(case.path)]
        said = subprocess.run(bare, capture_output=True, text=True, check=True).stdout.split()
        settings = scoring.Settings(case.suite, [case.path], lc_data="none")
        (line,) = scoring.score(settings)
        names = ("win_rate", "standard_error", "n", "n_wins", "n_draws", "n_wins_base")
        assert list(map(float, said)) == pytest.approx([line[name] for name in names])


def test_what_cannot_be_measured_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there; name its folder with --golden"):
        score.cases(tmp_path)
    with pytest.raises(SettingError, match="repeat: 0 is less than 1"):
        score.Settings(repeat=0)
