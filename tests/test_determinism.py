"""Equal seeds give equal results, a score is a function of its row, and no global state moves."""

import os
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers import make_rows, quick
from sklearn.base import clone

from skvae import _noise

SEEDS = range(8)
ROW_WISE = ["score_samples", "decision_function", "predict", "transform"]
EXACT = {"rtol": 1e-7, "atol": 1e-9}


def result(model, X):
    """Return all that a fitted model says of rows, in one array."""
    codes = model.transform(X)
    parts = codes, model.inverse_transform(codes), model.score_samples(X)[:, None], model.sample(9)
    return np.concatenate([np.ravel(part) for part in (*parts, model.offset_)])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_a_row_has_the_same_result_in_any_company(Estimator, seed, scaling):
    X = make_rows(80, 4, seed)
    model = quick(Estimator, scaling=scaling, random_state=seed).fit(X)
    order = np.random.default_rng(seed).permutation(len(X))
    for name in ROW_WISE:
        method = getattr(model, name)
        whole = method(X)
        np.testing.assert_array_equal(method(X), whole)
        np.testing.assert_allclose(method(X[::3]), whole[::3], **EXACT)
        np.testing.assert_allclose(method(X[order]), whole[order], **EXACT)
        alone = np.concatenate([method(X[[i]]) for i in range(0, 80, 7)])
        np.testing.assert_allclose(alone, whole[::7], **EXACT)


def test_a_table_of_many_batches_is_scored_as_its_parts_are(Estimator, X, monkeypatch):
    model = quick(Estimator).fit(X)
    whole = [getattr(model, name)(X) for name in ROW_WISE]
    restored = model.inverse_transform(model.transform(X))
    monkeypatch.setattr("skvae._engine.BATCH_BYTES", 1)
    for name, expected in zip(ROW_WISE, whole, strict=True):
        np.testing.assert_allclose(getattr(model, name)(X), expected, **EXACT)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), restored, **EXACT)


def test_fitting_again_gives_the_same_bits(Estimator, X):
    model = quick(Estimator)
    first = result(model.fit(X), X)
    np.testing.assert_array_equal(result(model.fit(X), X), first)
    np.testing.assert_array_equal(result(clone(model).fit(X), X), first)


def test_another_seed_gives_another_model(Estimator, X):
    one, other = (quick(Estimator, random_state=seed).fit(X) for seed in (0, 1))
    assert not np.allclose(one.transform(X), other.transform(X))


def test_without_a_seed_fits_differ(Estimator, X):
    model = quick(Estimator, random_state=None)
    assert not np.allclose(model.fit(X).transform(X), clone(model).fit(X).transform(X))


def test_eight_threads_find_what_one_does(Estimator, X):
    def fit(seed):
        return result(quick(Estimator, random_state=seed).fit(X), X)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(fit, [0, 1, 2, 3] * 2))
    alone = [fit(seed) for seed in range(4)]
    np.testing.assert_array_equal(together, alone * 2)


def test_eight_threads_may_share_a_fitted_model(Estimator, X):
    model = quick(Estimator).fit(X)
    expected = result(model, X)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: result(model, X), range(40)))
    assert all(np.array_equal(got, expected) for got in results)


def test_a_random_state_is_drawn_from_and_copied_by_clone(Estimator, X):
    model = quick(Estimator, random_state=np.random.RandomState(0))
    twin = clone(model)
    first = model.fit(X).transform(X)
    np.testing.assert_array_equal(twin.fit(X).transform(X), first)
    assert not np.allclose(model.fit(X).transform(X), first)


def test_samples_repeat_with_their_seed(Estimator, X):
    model = quick(Estimator).fit(X)
    np.testing.assert_array_equal(model.sample(5), model.sample(5))
    np.testing.assert_array_equal(model.sample(5, random_state=3), model.sample(5, random_state=3))
    assert not np.allclose(model.sample(5, random_state=3), model.sample(5, random_state=4))
    rng = np.random.RandomState(0)
    assert not np.allclose(model.sample(5, random_state=rng), model.sample(5, random_state=rng))


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("likelihood", ["gaussian", "student_t", "ordinal"])
def test_filled_gaps_do_not_depend_on_the_default_device(Estimator, X, likelihood, scaling):
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    model = quick(Estimator, likelihood=likelihood, scaling=scaling).fit(holed)
    _noise._t_parts.cache_clear()
    with torch.device("meta"):
        there = model.impute(holed), *model.impute(holed, n_draws=2)
    np.testing.assert_array_equal(there, (model.impute(holed), *model.impute(holed, n_draws=2)))


# -------------------------------------------------------------------------------- global state


def global_state():
    name, keys, *rest = np.random.get_state()
    return {
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state().tolist(),
        "random": random.getstate(),
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
    }


CALLS = {
    "fit": lambda model, X: model.fit(X),
    "fit_transform": lambda model, X: model.fit_transform(X),
    "fit_predict": lambda model, X: model.fit_predict(X),
    "transform": lambda model, X: model.transform(X),
    "inverse_transform": lambda model, X: model.inverse_transform(X[:, :2]),
    "score_samples": lambda model, X: model.score_samples(X),
    "score": lambda model, X: model.score(X),
    "decision_function": lambda model, X: model.decision_function(X),
    "predict": lambda model, X: model.predict(X),
    "sample": lambda model, X: model.sample(3),
    "get_feature_names_out": lambda model, X: model.get_feature_names_out(),
    "pickle": lambda model, X: model.__setstate__(model.__getstate__()),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_global_state_is_changed(Estimator, X, call):
    model = quick(Estimator, random_state=0).fit(X)
    before = global_state()
    CALLS[call](model, X)
    after = global_state()
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.parametrize("call", [name for name in CALLS if not name.startswith("fit")])
def test_only_fit_changes_the_estimator(Estimator, X, call):
    model = quick(Estimator).fit(X)
    if call != "pickle":
        before = dict(vars(model))
        CALLS[call](model, X)
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is before[name] for name in before)
        assert not model.module_.training


class DefaultDtype:
    def __enter__(self):
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *args):
        torch.set_default_dtype(torch.float32)


MODES = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default dtype": DefaultDtype,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mode_of_the_caller_does_not_matter(Estimator, X, mode, dtype):
    model = quick(Estimator, dtype=dtype)
    expected = result(model.fit(X), X)
    with MODES[mode]():
        inside = result(model, X), result(clone(model).fit(X), X)
    np.testing.assert_array_equal(inside[0], expected)
    np.testing.assert_array_equal(inside[1], expected)


FORK = """
import os, sys, time
import numpy as np, torch
from skvae import AutoencoderTransformer, VAETransformer
X = np.random.default_rng(0).normal(size=(2000, 30))
torch.set_num_threads(2)
parameters = {"batch_size": 512, "max_iter": 2, "random_state": 0}
models = [E(3, **parameters).fit(X) for E in (AutoencoderTransformer, VAETransformer)]
torch.randn(10**6).exp().sum()   # the pool of threads is there now
expected = [model.score_samples(X) for model in models]
child = os.fork()
if child == 0:
    same = [np.allclose(m.score_samples(X), e) for m, e in zip(models, expected)]
    [model.fit(X) for model in models]
    os._exit(0 if all(same) else 3)
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    done, status = os.waitpid(child, os.WNOHANG)
    if done:
        sys.exit(os.waitstatus_to_exitcode(status))
    time.sleep(0.05)
os.kill(child, 9)
sys.exit("the child hangs")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_can_score_and_fit():
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, env=env, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
