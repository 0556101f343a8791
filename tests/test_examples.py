"""Every example runs, headless, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("plot_*.py")))
def test_example_runs_headless_and_without_warnings(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "picture.png"],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert done.stdout
    if name == "plot_digits.py":
        assert (tmp_path / "picture.png").stat().st_size > 10_000
