"""The border: devices, seeds, and what torch computes on."""

import numpy as np
import pytest
import torch
from helpers import make_rows, quick
from sklearn.exceptions import NotFittedError

from skvae import VAETransformer, _devices, _engine


def test_auto_is_the_cpu_where_the_work_is_small(Estimator, X):
    assert _devices.resolve_device("auto", work=1.0) == torch.device("cpu")
    auto, cpu = (quick(Estimator, device=device).fit(X).score(X) for device in ("auto", "cpu"))
    assert auto == cpu


def test_the_work_of_a_step_grows_with_the_draws(X, monkeypatch):
    works, limited = [], _devices.limited_threads
    monkeypatch.setattr(
        _engine, "limited_threads", lambda work: works.append(work) or limited(work)
    )
    for n_draws in (1, 3, 5):
        quick(VAETransformer, n_training_draws=n_draws).fit(X)
    np.testing.assert_allclose(np.array(works) / works[0], [1, 2, 3])


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu"])
def test_a_device_that_is_missing_is_told_at_fit(Estimator, X, device):
    if torch.accelerator.is_available() and device != "cuda:7":
        pytest.skip("there may be one here")
    model = quick(Estimator, device=device)
    with pytest.raises(RuntimeError, match=f"device='{device}' is not available.*'cpu'"):
        model.fit(X)
    with pytest.raises(NotFittedError):
        model.score(X)


@pytest.mark.parametrize("device", ["nonsense", "", "cpu:banana", "meta"])
def test_what_is_no_device_to_compute_on_is_told(Estimator, X, device):
    with pytest.raises((RuntimeError, ValueError), match="device"):
        quick(Estimator, device=device).fit(X)


def test_the_module_rests_on_the_cpu(Estimator, X, device):
    model = quick(Estimator, device=device).fit(X)
    tensors = [*model.module_.parameters(), *model.module_.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert not any(tensor.requires_grad for tensor in tensors)
    assert not model.module_.training


def test_results_agree_between_devices(Estimator, X, device):
    model = quick(Estimator, device=device).fit(X)
    there = model.transform(X), model.score_samples(X)
    model.set_params(device="cpu")
    np.testing.assert_allclose(model.transform(X), there[0], atol=1e-4)
    np.testing.assert_allclose(model.score_samples(X), there[1], rtol=1e-4)


def test_streams_of_one_seed_are_different_and_repeat():
    seeds = _engine.spawn_seeds(0, 5)
    assert len(set(seeds)) == 5
    assert seeds == _engine.spawn_seeds(0, 5)
    assert not set(seeds) & set(_engine.spawn_seeds(1, 5))


def test_the_first_weights_do_not_depend_on_the_number_of_rows(Estimator):
    X = np.round(make_rows(64, 3), 6)
    still = {"learning_rate": 1e-30, "max_iter": 1, "early_stopping": False, "scaling": None}
    small, large = (quick(Estimator, **still).fit(rows) for rows in (X, np.tile(X, (4, 1))))
    np.testing.assert_allclose(small.transform(X), large.transform(X), atol=1e-6)


def test_tensors_become_arrays_and_others_stay_as_they_are():
    x = torch.ones(2, 3, requires_grad=True)
    assert isinstance(_engine.as_array(x), np.ndarray)
    assert _engine.as_array(x.bfloat16()).dtype == np.float32
    rows = [[1, 2]]
    assert _engine.as_array(rows) is rows


def test_the_precision_of_training_is_the_one_asked_for(Estimator, X):
    for dtype in ("float32", "float64"):
        module = quick(Estimator, dtype=dtype).fit(X).module_
        assert {p.dtype for p in module.parameters()} == {getattr(torch, dtype)}


def test_few_held_out_rows_keep_an_overfitted_model_honest(Estimator):
    X = make_rows(240, 8)
    model = Estimator(4, hidden_layer_sizes=(200,), max_iter=400, random_state=0)
    model = model.set_params(likelihood="gaussian").fit(X[:40])
    residual = X[40:] - model.inverse_transform(model.transform(X[40:]))
    assumed = model.module_.shared[0].numpy() * model._table.scale**2
    # Of the order of the error on new rows, which is many times that on the rows of training.
    assert 0.3 < np.mean(assumed) / np.mean(residual**2) < 3


def test_overlapping_limits_of_threads_leave_the_process_as_it_was(monkeypatch):
    """Those of a BLAS are the process's: the last to leave would put back what the first set."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    pools = _devices._thread_pools()
    with pools.limit(limits=2, user_api="blas"):
        before = [pool["num_threads"] for pool in pools.info()]
        first, second = _devices.limited_threads(1.0), _devices.limited_threads(1.0)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert [pool["num_threads"] for pool in pools.info()] == before


@pytest.mark.parametrize(("n_rows", "is_worth_it"), [(1, False), (400, True)])
@pytest.mark.parametrize("verb", ["score", "encode"])
def test_what_a_method_multiplies_decides_where_it_runs(monkeypatch, verb, n_rows, is_worth_it):
    X = make_rows(400, 20)
    model = quick(VAETransformer, hidden_layer_sizes=(1024, 1024), max_iter=1).fit(X)
    works = []
    monkeypatch.setattr(
        _engine, "resolve_device", lambda device, work: works.append(work) or torch.device("cpu")
    )
    _engine.run(model.module_, verb, X[:n_rows].astype(np.float32), device="auto")
    assert (max(works) > _devices.WORTH_AN_ACCELERATOR) == is_worth_it


def test_results_are_computed_where_there_is_float64():
    assert _devices.device_with_float64(torch.device("mps")) == torch.device("cpu")
    assert _devices.device_with_float64(torch.device("cuda", 1)) == torch.device("cuda", 1)


def test_many_rows_are_drawn_a_few_at_a_time(Estimator, X, monkeypatch):
    model = quick(Estimator).fit(X)
    sizes = []
    draw = type(model.module_).draw
    monkeypatch.setattr(
        type(model.module_),
        "draw",
        lambda self, z, *args: sizes.append(len(z)) or draw(self, z, *args),
    )
    monkeypatch.setattr(_engine, "BATCH_BYTES", 2**16)
    assert model.sample(2000).shape == (2000, X.shape[1])
    assert sum(sizes) == 2000
    assert max(sizes) < 300
    assert model.sample(2000, conditions={0: 0.0}).shape == (2000, X.shape[1])
    assert max(sizes) < 300
