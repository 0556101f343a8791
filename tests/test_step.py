"""Steps recorded once and repeated, as on CUDA, come to the same as steps that are run."""

import numpy as np
import pytest
import torch
from helpers import Laplace, make_rows, quick
from torch.utils._python_dispatch import TorchDispatchMode

from skvae import VAETransformer, _scalars, _step, _training


class Recorder:
    """Stands for a CUDA graph: what was run is run again, on the tensors of then."""

    def __init__(self):
        self.n_recorded = self.n_replayed = 0

    def __call__(self, run, noise):
        self.n_recorded += 1

        def replay():
            self.n_replayed += 1
            run()

        return replay


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(_step, "capture", recorder)
    return recorder


def outputs(model, X):
    return np.concatenate([model.score_samples(X), model.transform(X).ravel()])


@pytest.mark.parametrize("likelihood", ["gaussian", Laplace], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_samples", [64, 70])
def test_a_repeated_step_is_a_step(
    Estimator, likelihood, weighted, n_samples, recorder, monkeypatch
):
    X = make_rows(n_samples, 4)
    weights = np.linspace(0.5, 2, n_samples) if weighted else None
    model = quick(
        Estimator,
        likelihood=likelihood,
        batch_size=16,
        max_iter=12,
        weight_decay=0.01,
        early_stopping=False,
    )
    run = outputs(model.fit(X, sample_weight=weights), X)
    monkeypatch.setattr(_training, "Step", _step.CapturedStep)
    recorded = outputs(model.fit(X, sample_weight=weights), X)
    np.testing.assert_allclose(recorded, run, rtol=1e-3, atol=1e-3)
    assert recorder.n_recorded == 1
    assert recorder.n_replayed > 10


def test_what_changes_is_not_recorded(recorder, monkeypatch):
    monkeypatch.setattr(_training, "Step", _step.CapturedStep)
    quick(VAETransformer, warmup_fraction=1.0, batch_size=16).fit(make_rows(64, 4))
    assert recorder.n_recorded == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_cuda_graph_is_a_step(Estimator, monkeypatch):
    X = make_rows(70, 4)
    model = quick(Estimator, batch_size=16, max_iter=12, early_stopping=False, device="cuda")
    recorded = outputs(model.fit(X), X)
    monkeypatch.setattr(_training, "CapturedStep", _step.Step)
    np.testing.assert_allclose(recorded, outputs(model.fit(X), X), rtol=1e-3, atol=1e-3)


class Watch(TorchDispatchMode):
    """Notes the operations that are given some of these tensors."""

    def __init__(self, tensors):
        super().__init__()
        self.tensors, self.operations = tensors, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(arg is tensor for arg in args for tensor in self.tensors):
            self.operations.add(func.overloadpacket.__name__.rstrip("_"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("likelihood", ["auto", "student_t", "gaussian", "censored_logistic"])
def test_numbers_on_the_cpu_are_given_to_what_takes_them_on_any_device(likelihood, monkeypatch):
    made, make = [], _scalars._made
    monkeypatch.setattr(_scalars, "_made", lambda *args: made.append(make(*args)) or made[-1])
    with Watch(made) as watch:
        model = quick(VAETransformer, likelihood=likelihood, max_iter=2).fit(make_rows(120, 4))
        model.score_samples(make_rows(9, 4))
    assert watch.operations
    assert watch.operations <= {"add", "sub", "mul", "div"}
