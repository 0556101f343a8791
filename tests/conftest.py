"""What all tests share: the device option, and both estimators as a parameter."""

from pathlib import Path

import numpy as np
import pytest
from helpers import ESTIMATORS, make_rows


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where the estimators compute (cpu, cuda)")


def pytest_collection_modifyitems(items):
    """Let fits of a few epochs collapse; the tests about that warning ask for it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:Posterior collapse"))


@pytest.fixture(scope="session")
def device(request):
    """The device of the run; tests that ask for it skip where it is not there."""
    torch = pytest.importorskip("torch")
    name = request.config.getoption("--device")
    if name != "cpu" and not torch.accelerator.is_available():
        pytest.skip(f"no {name} here")
    return name


@pytest.fixture(autouse=True)
def same_every_time():
    """Seed what estimators without a random_state draw from."""
    np.random.seed(0)


@pytest.fixture(params=ESTIMATORS, ids=lambda estimator: estimator.__name__)
def Estimator(request):
    return request.param


@pytest.fixture(scope="session")
def X():
    """100 rows of 5 columns; read-only, for it is shared by all tests."""
    rows = make_rows(100, 5)
    rows.setflags(write=False)
    return rows


@pytest.fixture
def rng():
    return np.random.default_rng(0)
