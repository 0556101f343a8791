"""What is told while fit runs: lines on the screen, and scikit-learn's callbacks."""

import re

import numpy as np
import pytest
from helpers import quick
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


def default_score(estimator, X, y=None):
    return estimator.score(X)


def test_silence_is_the_default(Estimator, X, capsys):
    quick(Estimator).fit(X)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("early_stopping", [True, False])
def test_verbose_prints_loss_and_time_left(Estimator, X, capsys, early_stopping):
    model = quick(Estimator, verbose=1, max_iter=20, early_stopping=early_stopping).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 6  # of 20 epochs that take less than a second
    number = r"-?\d+\.\d+"
    held_out = f", held out {number}" if early_stopping else ""
    pattern = rf"\[{Estimator.__name__}\] epoch \d+/20: loss {number}{held_out}, .*\d+ s left"
    assert all(re.fullmatch(pattern, line) for line in lines)
    assert "epoch 1/20" in lines[0]
    assert f"{model.loss_curve_[0]:.4f}" in lines[0]


@pytest.mark.parametrize("verbose", [0, 1])
def test_being_told_changes_no_result(Estimator, X, verbose):
    model = quick(Estimator, verbose=verbose)
    monitor = callback.ScoringMonitor(scoring={"score": default_score})
    watched = clone(model).set_callbacks(monitor).fit(X, np.zeros(100))
    np.testing.assert_array_equal(watched.score_samples(X), model.fit(X).score_samples(X))


def test_a_scoring_monitor_sees_every_epoch(Estimator, X):
    monitor = callback.ScoringMonitor(scoring={"score": default_score})
    model = quick(Estimator, max_iter=6, early_stopping=False).set_callbacks(monitor)
    model.fit(X, np.zeros(100))
    log = monitor.get_logs()
    epochs = [row["score"] for row in log.data if row["task_name"] == "epoch"]
    assert len(epochs) == 6
    assert np.isfinite(epochs).all()
    assert len(set(epochs)) == 6
    assert epochs[-1] == pytest.approx(model.score(X), rel=1e-6)


def test_the_epoch_in_which_training_stops_is_the_last_one(Estimator, X, capsys):
    monitor = callback.ScoringMonitor(scoring={"score": default_score})
    model = quick(Estimator, max_iter=50, n_iter_no_change=2, tol=1e3, verbose=1)
    model.set_callbacks(monitor).fit(X, np.zeros(100))
    assert model.n_iter_ < 50
    assert f"epoch {model.n_iter_}/50" in capsys.readouterr().out.splitlines()[-1]
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == model.n_iter_


class Drawing:
    """A callback that draws rows from the model so far, and keeps them or the error."""

    def __init__(self):
        self.log = []

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = lambda self, estimator, context: None

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        try:
            drawn = fitted_estimator.sample(200)
        except ValueError as error:
            drawn = str(error)
        self.log.append((context.task_name, drawn))


def test_rows_of_an_epoch_are_not_drawn_from_the_fit_before(Estimator, X):
    watching = Drawing()
    holed = X.copy()
    holed[::2, 0] = np.nan
    model = quick(Estimator, max_iter=3).fit(holed).set_callbacks(watching)
    model.fit(X[:, :3])
    *epochs, (_, last) = watching.log
    assert len(epochs) == 3
    assert np.isfinite(last).all()
    for name, drawn in epochs:
        assert name == "epoch"
        if Estimator is VAETransformer:
            assert np.isfinite(drawn).all()
        else:
            assert "training is not over" in drawn


def test_a_progress_bar_runs_to_its_end(Estimator, X, capsys):
    pytest.importorskip("rich")
    model = quick(Estimator).set_callbacks(callback.ProgressBar())
    assert model.fit(X) is model
    assert Estimator.__name__ in capsys.readouterr().out


def test_callbacks_work_within_a_search(Estimator, X):
    monitor = callback.ScoringMonitor(scoring={"score": default_score})
    model = quick(Estimator, max_iter=3).set_callbacks(monitor)
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2).fit(X, np.zeros(100))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert monitor.get_logs()


class StopAfter:
    """A callback as a user would write it, that stops training."""

    def __init__(self, n_epochs):
        self.n_epochs, self.n_seen = n_epochs, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, **kwargs):
        pass

    def on_fit_task_end(self, estimator, context, **kwargs):
        self.n_seen += context.task_name == "epoch"
        return self.n_seen >= self.n_epochs


def test_a_callback_can_stop_training(Estimator, X):
    model = quick(Estimator, max_iter=20).set_callbacks(StopAfter(4)).fit(X)
    assert model.n_iter_ == 4
    assert np.isfinite(model.score(X))


def test_callbacks_are_no_part_of_a_pickle(Estimator, X):
    model = quick(Estimator).set_callbacks(callback.ScoringMonitor(scoring={"s": default_score}))
    model.fit(X)
    model.set_callbacks()
    assert "_skl_callbacks" not in model.__getstate__()


@pytest.mark.parametrize("again", [False, True])
def test_outliers_are_told_from_the_first_epoch_on(Estimator, X, again):
    shares = []

    def share(estimator, X, y=None):
        assert estimator.n_iter_ == 3 or not hasattr(estimator, "kl_per_component_")
        shares.append((estimator.predict(X) == -1).mean())
        return shares[-1]

    model = quick(Estimator, max_iter=3)
    if again:
        model.fit(1000 * X)
    model.set_callbacks(callback.ScoringMonitor(scoring={"share": share}))
    model.fit(X, np.zeros(len(X)))
    np.testing.assert_allclose(shares, 0.1)
    assert len(shares) > 3
