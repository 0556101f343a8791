"""Training: every row counts, the best weights are kept, and what goes wrong is told."""

import _thread
import itertools
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import Laplace, make_curve, make_rows, quick
from sklearn.exceptions import NotFittedError

from skvae import AutoencoderTransformer, VAETransformer, _training
from skvae._rows import Part, RowsInMemory
from skvae._training import Progress, cosine, judging


def outputs(model, X):
    codes = model.transform(X)
    return codes, model.inverse_transform(codes), model.score_samples(X), model.sample(3)


@pytest.mark.parametrize("n_samples", [16, 17, 33])
def test_a_last_batch_of_one_row_trains(Estimator, n_samples):
    model = quick(Estimator, batch_size=16, early_stopping=False)
    assert np.isfinite(model.fit(make_rows(n_samples, 3)).loss_curve_).all()


def test_a_row_that_is_always_in_the_last_short_batch_is_learned():
    X = np.zeros((5, 2))
    X[0] = 3.0
    model = quick(
        AutoencoderTransformer, batch_size=4, max_iter=400, early_stopping=False, scaling=None
    ).fit(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=0.5)


def test_the_loss_falls(Estimator, X):
    model = quick(Estimator, max_iter=40, early_stopping=False).fit(X)
    assert len(model.loss_curve_) == model.n_iter_
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.validation_scores_ is None
    assert model.best_validation_score_ is None


# ------------------------------------------------------------------------------ early stopping


def test_training_stops_without_progress(Estimator):
    X = make_curve(200, 5)  # which a PCA, where an autoencoder starts, does not fit
    model = quick(Estimator, max_iter=500, n_iter_no_change=5, tol=0.01).fit(X)
    scores = np.array(model.validation_scores_)
    assert len(scores) == len(model.loss_curve_) == model.n_iter_ < 500
    assert model.best_validation_score_ == scores.max()


def test_patience_counts_epochs_without_progress():
    X = make_rows(200, 4) ** 2
    model = quick(AutoencoderTransformer, max_iter=500, n_iter_no_change=7, tol=0.0).fit(X)
    scores = np.array(model.validation_scores_)
    assert model.n_iter_ == scores.argmax() + 1 + 7


def test_without_held_out_rows_the_training_loss_is_watched(Estimator, X):
    model = quick(Estimator, max_iter=300, early_stopping=False, n_iter_no_change=3, tol=1e3)
    assert model.fit(X).n_iter_ < 300


def test_the_weights_that_were_best_are_put_back():
    weights = torch.zeros(3)
    progress = Progress([weights], tol=0.0)
    for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.5], start=1):
        weights.fill_(epoch)
        progress.update(loss, keep=True)
    progress.restore()
    assert weights.tolist() == [2, 2, 2]


def test_training_is_over_once_most_of_the_gain_is_lost():
    progress = Progress([], tol=0.0)
    plan = SimpleNamespace(patience=100, tolerated_loss=0.5)
    for loss in [9.0, 5.0, *np.linspace(5, 7, 11)]:  # all but the last above half of the gain
        progress.update(loss, keep=False)
        assert not progress.is_over(plan)
    progress.update(7.1, keep=False)
    assert progress.is_over(plan)
    assert not progress.is_over(SimpleNamespace(patience=100, tolerated_loss=np.inf))
    progress.epochs_without = 3  # it may be noise
    assert not progress.is_over(plan)


def test_what_is_learned_by_heart_ends_training_before_patience_does():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5)) @ rng.normal(size=(5, 300)) + rng.normal(size=(120, 300))
    fast = VAETransformer(random_state=0).fit(X)
    patient = VAETransformer(random_state=0, n_iter_no_change=100).fit(X)
    assert fast.n_iter_ < 0.8 * patient.n_iter_
    assert fast.best_validation_score_ == patient.best_validation_score_


def test_an_average_is_that_of_the_latest_steps():
    weights = torch.zeros(2)
    average = _training.Average(weights)
    for step in range(1, 1001):
        weights.fill_(step)
        average.follow()
        if step <= 10:  # of so few the latest is all
            torch.testing.assert_close(average.mean, weights)
    assert 880 < average.mean[0] < 920  # a tenth of the steps ago, as that of an exponential is
    for _ in range(4000):
        average.follow()
    torch.testing.assert_close(average.mean, torch.full((2,), 1000.0), rtol=1e-4, atol=0)
    weights.fill_(7)
    with average.in_place():
        torch.testing.assert_close(weights, average.mean)
    assert (weights == 7).all()


def test_averaged_weights_are_better_than_those_that_jitter(Estimator, monkeypatch):
    X = make_curve(300, 6)
    parameters = {"learning_rate": 0.1, "max_iter": 30, "n_iter_no_change": 30}

    def scores():
        return np.array(quick(Estimator, **parameters).fit(X).validation_scores_)[3:15]

    averaged = scores()
    monkeypatch.setattr(_training.Average, "follow", lambda self: self.mean.copy_(self.weights))
    assert averaged.mean() > scores().mean() + 0.05


def test_early_stopping_keeps_a_large_network_from_learning_by_heart():
    X, new = np.split(make_rows(1300, 10), [300])
    X = X + np.random.default_rng(0).normal(size=X.shape)
    large = {"n_components": 8, "hidden_layer_sizes": (200,), "learning_rate": 1e-2}
    model = quick(AutoencoderTransformer, **large, max_iter=200, n_iter_no_change=200)
    model.set_params(validation_fraction=0.3)
    errors = []
    for early_stopping in (True, False):
        model.set_params(early_stopping=early_stopping).fit(X)
        gap = [np.square(model.inverse_transform(model.transform(T)) - T).mean() for T in (X, new)]
        errors.append(gap[1] / gap[0])
    assert errors[0] < errors[1]


def test_more_rows_held_out_are_fewer_to_train_on(X):
    few, many = (
        quick(VAETransformer, validation_fraction=fraction).fit(X).loss_curve_
        for fraction in (0.1, 0.5)
    )
    assert few != many


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("n_samples", [2, 9, 10, 33])
def test_any_fraction_leaves_rows_to_train_on(Estimator, n_samples, fraction):
    X = make_rows(n_samples, 3)
    model = quick(Estimator, validation_fraction=fraction).fit(X)
    assert np.isfinite(model.score_samples(X)).all()


# --------------------------------------------------------------------------------- what goes wrong


def test_divergence_is_told_and_leaves_no_fit(Estimator, X):
    model = quick(Estimator, learning_rate=1e30)
    with pytest.raises(ValueError, match=r"diverged.*epoch \d+.*learning_rate \(now 1e\+30\)"):
        model.fit(X)
    with pytest.raises(NotFittedError):
        model.score_samples(X)
    assert vars(model).keys() == model.get_params().keys()


@pytest.mark.parametrize("fault", ["divergence", "infinity", "parameter", "device", "weights"])
def test_a_fit_that_fails_leaves_the_old_one(Estimator, X, fault):
    model = quick(Estimator).fit(X)
    before = dict(vars(model)), outputs(model, X)
    rows, weights, parameters = make_rows(50, 3), None, {}
    if fault == "infinity":
        rows[0, 0] = np.inf
    elif fault == "weights":
        weights = np.zeros(50)
    else:
        parameters = {
            "divergence": {"learning_rate": 1e30},
            "parameter": {"activation": "none"},
            "device": {"device": "nonsense"},
        }[fault]
    model.set_params(**parameters)
    with pytest.raises((ValueError, RuntimeError)):
        model.fit(rows, sample_weight=weights)
    model.set_params(**{name: before[0][name] for name in parameters})
    assert vars(model) == before[0]
    for got, wanted in zip(outputs(model, X), before[1], strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.fixture
def interrupt_in_epoch(monkeypatch):
    """A function that presses Ctrl-C, so to speak, as the epoch of a number begins."""
    run_epoch, n_calls = _training.run_epoch, itertools.count(1)

    def press(number):
        def interrupted(*args):
            if next(n_calls) == number:
                _thread.interrupt_main()
            run_epoch(*args)

        monkeypatch.setattr(_training, "run_epoch", interrupted)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    yield press
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_leaves_a_model_to_use(Estimator, X, interrupt_in_epoch):
    interrupt_in_epoch(4)
    model = quick(Estimator, max_iter=1000, n_iter_no_change=1000)
    with pytest.warns(UserWarning, match="interrupted") as warned:
        model.fit(X)
    assert [w.filename for w in warned] == [__file__]
    assert model.n_iter_ == len(model.loss_curve_) == 3
    assert all(np.isfinite(part).all() for part in outputs(model, X))
    assert set(model.predict(X)) == {-1, 1}


def test_an_interrupt_before_the_first_epoch_ends_is_raised(Estimator, X, interrupt_in_epoch):
    interrupt_in_epoch(1)
    model = quick(Estimator)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    with pytest.raises(NotFittedError):
        model.transform(X[:5])


def test_an_interrupt_while_outliers_are_looked_for_is_raised(Estimator, X, interrupt_in_epoch):
    interrupt_in_epoch(2)  # of the first, brief training
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
        quick(Estimator, robust=True, max_iter=100).fit(X)


# ------------------------------------------------------------------------------ what steers it


def test_weight_decay_makes_weights_small(Estimator, X):
    norms = []
    for weight_decay in (0.0, 1.0, 100.0):
        model = quick(Estimator, weight_decay=weight_decay, max_iter=60, early_stopping=False)
        matrices = [p for p in model.fit(X).module_.parameters() if p.ndim == 2]
        norms.append(sum(p.square().sum() for p in matrices).item())
    assert norms[0] > norms[1] > norms[2]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("learning_rate", (1e-4, 1e-2)),
        ("batch_size", (8, 50)),
        ("activation", ("relu", "tanh")),
        ("hidden_layer_sizes", ((), (4,))),
        ("n_components", (1, 3)),
        ("scaling", ("standard", "quantile")),
        ("early_stopping", (True, False)),
    ],
)
def test_every_parameter_of_training_has_an_effect(Estimator, name, values):
    X = make_curve(100, 5)  # a PCA, where an autoencoder starts, is not the best there is
    one, other = (quick(Estimator, **{name: value}).fit(X).score_samples(X) for value in values)
    assert not np.allclose(one, other)


@pytest.mark.parametrize(
    "activation", ["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "identity"]
)
def test_every_activation_learns(Estimator, X, activation):
    if Estimator is AutoencoderTransformer:
        if activation == "identity":
            pytest.skip("it starts as a PCA, where it would end")
        X = make_curve(200, 6)  # on linear rows it starts where it would end
    model = quick(Estimator, activation=activation, max_iter=60, early_stopping=False)
    model.set_params(learning_rate=1e-2).fit(X)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_the_learning_rate_rises_shortly_then_falls():
    factors = np.array([cosine(step, 1000, 50) for step in range(1000)])
    assert factors.max() == pytest.approx(1)
    assert factors.argmax() in (49, 50)
    assert (np.diff(factors[:50]) > 0).all()
    assert (np.diff(factors[50:]) < 0).all()
    assert 0 < factors[0] < 0.1
    assert 0 < factors[-1] < 0.1


def test_warm_up_lets_the_code_be_used():
    X = make_rows(300, 5)
    model = quick(VAETransformer, max_iter=30, early_stopping=False, beta=3.0)
    warm, cold = (model.set_params(warmup_fraction=f).fit(X).kl_per_component_ for f in (0.9, 0.0))
    assert warm.sum() > cold.sum()


def test_a_warm_start_goes_on_from_the_last_fit(Estimator, X):
    model = quick(Estimator, warm_start=True, early_stopping=False, max_iter=30)
    first = model.fit(X).loss_curve_
    second = model.fit(X).loss_curve_
    cold = quick(Estimator, early_stopping=False, max_iter=30).fit(X)
    assert cold.loss_curve_ == first
    assert second[-1] < first[0]
    if Estimator is AutoencoderTransformer:
        assert second[0] < first[0]


def test_a_warm_start_keeps_the_scaling(Estimator, X):
    model = quick(Estimator, warm_start=True, scaling="quantile").fit(X)
    near = model.inverse_transform(np.zeros((1, 2)))
    model.set_params(max_iter=1, learning_rate=1e-9).fit(100 * X)
    np.testing.assert_allclose(model.inverse_transform(np.zeros((1, 2))), near, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "value"), [("n_components", 3), ("activation", "relu"), ("hidden_layer_sizes", (3,))]
)
def test_a_warm_start_needs_the_same_model(Estimator, X, name, value):
    model = quick(Estimator, warm_start=True).fit(X).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"warm_start=True.*{name}"):
        model.fit(X)


@pytest.mark.parametrize(("name", "value"), [("beta", 2.0), ("n_draws", 8)])
def test_a_warm_start_may_change_what_is_no_shape_of_the_network(X, name, value):
    model = quick(VAETransformer, warm_start=True).fit(X).set_params(**{name: value})
    assert np.isfinite(model.fit(X).score_samples(X)).all()


def test_a_warm_start_takes_rows_without_gaps_and_says_if_there_may_be_none(Estimator, X):
    holed = X.copy()
    holed[::5, 1] = np.nan
    model = quick(Estimator, warm_start=True, max_iter=40).fit(holed)
    last = model.loss_curve_[-1]
    first = model.fit(X).loss_curve_[0]
    assert first == pytest.approx(last, abs=0.5)
    if Estimator is VAETransformer:  # (an autoencoder starts from a PCA, about as low)
        assert first < quick(Estimator, max_iter=40).fit(X).loss_curve_[0] - 0.5
    assert np.isfinite(model.impute(holed)).all()
    with pytest.raises(ValueError, match="has seen no missing cells"):
        quick(Estimator, warm_start=True).fit(X).fit(holed)


def test_auto_is_quick_on_a_small_table(Estimator):
    X = make_curve(100, 5)
    start = time.process_time()
    model = Estimator(random_state=0).fit(X)
    assert time.process_time() - start < 30
    assert model.score(X) > quick(Estimator, max_iter=1).fit(X).score(X)


def test_the_loss_curve_ends_at_the_loss_of_the_model(X):
    model = quick(AutoencoderTransformer, scaling=None, early_stopping=False, max_iter=3).fit(X)
    error = X - model.inverse_transform(model.transform(X))
    loss = 0.5 * ((error**2).sum(axis=1).mean() + X.shape[1] * np.log(2 * np.pi))
    assert model.loss_curve_[-1] == pytest.approx(loss, rel=1e-4)


class NoNumberInFloat64(Laplace):
    """Can be learned in float32, but gives no score to rows of float64."""

    def log_prob(self, x, loc, raw):
        log_prob = super().log_prob(x, loc, raw)
        return log_prob * torch.nan if loc.dtype == torch.float64 else log_prob


@pytest.mark.parametrize("robust", [False, True])
def test_training_rows_without_a_score_are_an_error(Estimator, X, robust):
    model = quick(Estimator, likelihood=NoNumberInFloat64, robust=robust)
    with pytest.raises(ValueError, match="score of a training row is no number"):
        model.fit(X)
    assert np.isfinite(model.fit(X.astype(np.float32)).offset_)


def test_the_best_score_is_not_of_an_epoch_of_warm_up():
    X = np.random.default_rng(0).normal(size=(60, 4))
    settings = {"warmup_fraction": 0.5, "max_iter": 60, "n_training_draws": 1}
    models = [
        quick(VAETransformer, learning_rate=1e-2, random_state=seed, **settings).fit(X)
        for seed in range(6)
    ]
    for model in models:
        assert model.best_validation_score_ == max(model.validation_scores_[29:])
    assert any(max(m.validation_scores_) > m.best_validation_score_ for m in models)


# ------------------------------------------------------------------------------------- weights


def losses(model, training, held_out):
    return _training.Gauge(model.module_, training, held_out, 30, 0).losses()


def test_losses_are_weighted_means(Estimator, rng):
    X = make_rows(80, 4)
    model = quick(Estimator, likelihood="gaussian").fit(X)
    x, weight = (torch.from_numpy(A).float() for A in (X, rng.exponential(size=(80, 1)) ** 3))
    # The same rows, so that a VAE draws the same codes; of each part one row has all the weight.
    apart = [losses(model, Part(x[:40], e), Part(x[40:], e)) for e in torch.eye(40)[..., None]]
    found = losses(model, Part(x[:40], weight[:40]), Part(x[40:], weight[40:]))
    weights = weight.reshape(2, 40).T.numpy()
    assert found == pytest.approx(np.average(apart, axis=0, weights=weights), rel=1e-4)


def test_the_loss_of_rows_is_the_mean_of_each_alone():
    x = torch.from_numpy(make_rows(100, 4)).float()
    model = quick(AutoencoderTransformer, likelihood="gaussian").fit(x.numpy())
    alone = [losses(model, Part(row, None), Part(x[:0], None))[0] for row in x.split(1)]
    found = losses(model, Part(x[:40], None), Part(x[40:], None))
    assert found == pytest.approx([np.mean(alone[:40]), np.mean(alone[40:])], rel=1e-4)


def test_with_gaps_few_held_out_rows_judge_several_times_with_other_cells_hidden(X):
    X = X.astype(np.float32)
    X[::3, 0] = np.nan
    model = quick(AutoencoderTransformer, likelihood="gaussian").fit(X).module_
    x = torch.from_numpy(X)
    rows = RowsInMemory(Part(x[20:], None), Part(x[:20], None))
    judges = judging(model, rows)
    assert len(judges.x) == 2 * len(X[20:])

    def spread(held_out):
        gauges = [_training.Gauge(model, rows.some(1), held_out, 1000, seed) for seed in range(20)]
        return np.std([gauge.losses()[1] for gauge in gauges])

    assert spread(judges) < 0.8 * spread(rows.held_out)


def test_rows_without_gaps_judge_once(Estimator, X):
    model = quick(Estimator).fit(X).module_
    train, held_out = (Part(torch.tensor(part), None) for part in (X[20:], X[:20]))
    rows = RowsInMemory(train, held_out)
    assert judging(model, rows) is rows.held_out


# --------------------------------------------------------------------------------- warm starts


def test_a_warm_start_goes_on_with_the_same_loss(Estimator):
    X = make_rows(500, 6)
    model = quick(Estimator, warm_start=True, max_iter=40).fit(X)
    last = model.loss_curve_[-1]
    first = model.set_params(learning_rate=1e-6).fit(X).loss_curve_[0]
    assert first == pytest.approx(last, abs=0.5)


def test_rows_without_any_weight_have_no_loss_and_no_error(Estimator, X):
    model = quick(Estimator, likelihood="gaussian").fit(X)
    x = torch.from_numpy(X[:5].astype(np.float32))
    part = Part(x, torch.zeros(5, 1))
    assert losses(model, part, part) == [0, 0]
