"""Every example runs, headless, in a process of its own; the reference shows all there is."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ESTIMATORS

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


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_reference_shows_every_method(Estimator):
    template = EXAMPLES.parent / "docs" / "_templates" / "autosummary" / "class.rst"
    ours = {
        name
        for cls in Estimator.__mro__
        if cls.__module__.startswith("skvae.")
        for name, value in vars(cls).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    assert ours <= set(re.findall(r"\w+", template.read_text()))
