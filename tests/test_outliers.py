"""Training rows that hold outliers, and the threshold below which rows are outliers."""

import warnings

import numpy as np
import pandas as pd
import pytest
from helpers import ESTIMATORS, make_rows, quick
from scipy.sparse import csr_array
from sklearn.datasets import load_wine
from sklearn.metrics import roc_auc_score

from skvae import AutoencoderTransformer, VAETransformer, _engine
from skvae._arrays import DenseOnDemand
from skvae._outliers import N_ROUNDS, have_absurd_cells, threshold, without_outliers


def with_cluster(far=30.0, n_far=15, width=1.0):
    """Return 300 rows, and which few of them, at random places, lie apart in one cluster."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 5)) + 0.2 * rng.normal(size=(300, 5))
    is_far = np.isin(np.arange(300), rng.choice(300, n_far, replace=False))
    X[is_far] = far * np.array([1, -1, 1, 1, -1]) + width * rng.normal(size=(n_far, 5))
    return X, is_far


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_rows_that_are_left_out_have_no_weight(Estimator):
    X, is_far = with_cluster()
    robust = quick(Estimator, max_iter=40, robust=True, contamination=0.05).fit(X)
    without = quick(Estimator, max_iter=40).fit(X, sample_weight=(~is_far).astype(float))
    np.testing.assert_array_equal(robust.transform(X), without.transform(X))
    np.testing.assert_array_equal(robust.contributions(X), without.contributions(X))
    np.testing.assert_array_equal(robust.sample(20), without.sample(20))
    if Estimator is VAETransformer:  # an autoencoder's also asks whether others are like a row
        np.testing.assert_array_equal(robust.score_samples(X), without.score_samples(X))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_how_far_outliers_are_does_not_matter_to_a_robust_fit(Estimator):
    near, far = (with_cluster(distance) for distance in (30.0, 300.0))
    usual = near[0][~near[1]]
    scores = [
        quick(Estimator, max_iter=40, robust=True, contamination=0.05).fit(X).score_samples(usual)
        for X, _ in (near, far)
    ]
    np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_cluster_of_outliers_is_learned_unless_the_fit_is_robust(Estimator):
    X, is_far = with_cluster(far=1.5, n_far=24, width=0.02)
    settings = {"n_components": 4, "hidden_layer_sizes": (32,)}
    settings |= {"max_iter": 150, "learning_rate": 5e-3}
    learned, seen = (
        roc_auc_score(~is_far, model.fit(X).score_samples(X))
        for model in (quick(Estimator, **settings), quick(Estimator, robust=True, **settings))
    )
    assert learned < 0.98
    assert seen > 0.99


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_as_many_rows_are_outliers_in_a_robust_fit(Estimator):
    X, is_far = with_cluster()
    labels = quick(Estimator, robust=True, contamination=0.05).fit_predict(X)
    np.testing.assert_array_equal(labels == -1, is_far)


def test_weights_count_in_what_is_left_out():
    X, is_far = with_cluster()
    weights = np.where(is_far, 3.0, 1.0)
    share = weights[is_far].sum() / weights.sum()
    robust = quick(VAETransformer, max_iter=40, robust=True, contamination=share)
    without = quick(VAETransformer, max_iter=40).fit(X, sample_weight=(~is_far).astype(float))
    scores = robust.fit(X, sample_weight=weights).score_samples(X)
    np.testing.assert_array_equal(scores, without.score_samples(X))


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_robust_fits_of_frames_of_gaps_and_of_sparse_rows(Estimator):
    X, is_far = with_cluster()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(
        kind=np.where(is_far, "odd", "even"), flag=X[:, 0] > 0
    )
    gaps = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    for rows in (frame, gaps, csr_array(X)):
        labels = quick(Estimator, robust=True, contamination=0.05, max_iter=40).fit_predict(rows)
        assert (labels[is_far] == -1).all()


@pytest.mark.parametrize("n_samples", [2, 9, 11])
@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_robust_fits_of_few_rows(Estimator, n_samples):
    X = load_wine().data[:n_samples]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # so few rows are no matter of this test
        model = quick(Estimator, robust=True).fit(X)
    assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_robust_fit_goes_on_from_another(Estimator):
    X, _ = with_cluster()
    model = quick(Estimator, robust=True, contamination=0.05, warm_start=True).fit(X)
    first = model.best_validation_score_
    assert model.set_params(max_iter=60).fit(X).best_validation_score_ > first


def test_training_goes_without_those_that_scored_lowest_in_the_last_round():
    scores = iter([np.arange(10.0), np.arange(10.0)[::-1].copy()])
    seen = []

    def scores_of_fit(weights):
        seen.append(weights)
        return next(scores)

    weights = np.arange(1.0, 11.0)
    kept = without_outliers(scores_of_fit, weights, np.zeros(10, dtype=bool), share=0.1)
    assert len(seen) == N_ROUNDS == 2
    np.testing.assert_array_equal(seen[0], weights)
    np.testing.assert_array_equal(seen[1], [0, 0, *weights[2:]])  # 3 of 55, with the next 6
    np.testing.assert_array_equal(kept, weights)  # the last row alone is more than a tenth


def test_equal_weights_are_none_while_nothing_is_left_out():
    usual = np.zeros(5, dtype=bool)
    assert without_outliers(lambda weights: np.zeros(5), None, usual, share=0.1) is None


def test_a_row_of_another_world_does_not_train_the_model_that_judges_it():
    absurd, seen = np.arange(6) == 2, []

    def scores_of_fit(weights):
        seen.append(weights)
        return -100.0 * absurd

    kept = without_outliers(scores_of_fit, None, absurd, share=0.2)
    np.testing.assert_array_equal([*seen, kept], [1.0 - absurd] * 3)


def test_where_most_rows_are_of_another_world_they_are_judged_by_all():
    seen = []

    def scores_of_fit(weights):
        seen.append(weights)
        return np.arange(6.0)

    without_outliers(scores_of_fit, None, np.arange(6) < 4, share=0.2)
    assert seen[0] is None


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("value", [1e8, 9.969e36, -1e200])
def test_a_robust_fit_finds_a_code_for_missing_values(Estimator, value):
    X = make_rows(300, 5)
    X[0, 1] = value
    model = quick(Estimator, robust=True, max_iter=40).fit(X)
    assert model.score_samples(X).argmin() == 0
    assert np.median(model.score_samples(X)) > -30


def test_a_robust_fit_of_a_mixed_frame_finds_a_code_that_is_next_to_the_last_by_its_order():
    rng = np.random.default_rng(0)
    age = rng.integers(18, 90, 1000)
    weight = np.round(40 + 0.4 * age + rng.normal(0, 5, 1000), 1)
    frame = pd.DataFrame({"age": age, "weight": weight, "group": rng.choice(["a", "b"], 1000)})
    frame.loc[:29, "age"] = 999
    model = VAETransformer(robust=True, contamination=0.03, max_iter=60, random_state=0)
    assert (model.fit_predict(frame)[:30] == -1).mean() > 0.8
    assert model.likelihoods_ == ["ordinal", "ordinal", "bernoulli"]
    assert set(model.sample(500)["age"]) <= set(range(18, 90))


@pytest.mark.parametrize("as_rows", [np.asarray, csr_array])
def test_absurd_cells_are_told_from_far_ones(as_rows):
    X = make_rows(2000, 4)
    X[:, 3] = np.where(np.arange(2000) % 50, 0.0, 1.0)  # quartiles at one place tell nothing
    X[3, 0], X[4, 1], X[5, 2], X[6, 0] = 1e3, 1e12, -1e30, np.nan
    rows = as_rows(X)
    rows = DenseOnDemand(rows) if as_rows is csr_array else rows
    assert np.flatnonzero(have_absurd_cells(rows, 0)).tolist() == [4, 5]
    X[:, 1] = np.nan
    assert np.flatnonzero(have_absurd_cells(X, 0)).tolist() == [5]


@pytest.mark.parametrize("contamination", [0.02, 0.1, 0.3])
def test_about_the_share_is_flagged_where_a_part_of_the_rows_places_the_threshold(contamination):
    X = np.random.default_rng(4).normal(size=(1000, 5)) @ np.ones((5, 20)) + make_rows(1000, 20)
    model = quick(VAETransformer, contamination=contamination).fit(X)
    assert (model.predict(X) == -1).mean() == pytest.approx(contamination, abs=0.015)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("as_rows", [np.asarray, csr_array, pd.DataFrame])
def test_the_threshold_may_be_that_of_new_rows(Estimator, as_rows):
    X = make_rows(2400, 8)
    X, X_new = as_rows(X[:400]), as_rows(X[400:])
    settings = {"n_components": 6, "hidden_layer_sizes": (64,), "max_iter": 60}
    of_training, of_new = (
        quick(Estimator, contamination=share, **settings).fit(X) for share in (0.1, "auto")
    )
    np.testing.assert_array_equal(of_training.score_samples(X_new), of_new.score_samples(X_new))
    share_new = [(model.predict(X_new) == -1).mean() for model in (of_training, of_new)]
    assert share_new[1] == pytest.approx(0.1, abs=0.05)
    assert share_new[0] > share_new[1]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_threshold_of_new_rows_knows_those_that_a_robust_fit_leaves_out(Estimator):
    X, is_far = with_cluster()
    X_new, _ = with_cluster(n_far=0)
    settings = {"n_components": 4, "hidden_layer_sizes": (32,), "max_iter": 60}
    model = quick(Estimator, robust=True, contamination="auto", **settings).fit(X)
    assert (model.predict(X)[is_far] == -1).all()
    # It leaves a tenth out, of which a half are outliers.
    assert (model.predict(X_new) == -1).mean() == pytest.approx(0.05, abs=0.05)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_without_rows_held_out_the_threshold_is_that_of_training_rows(Estimator):
    X = make_rows(200, 5)
    offsets = [
        quick(Estimator, early_stopping=False, contamination=share).fit(X).offset_
        for share in (0.1, "auto")
    ]
    assert offsets[0] == offsets[1]


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_the_threshold_of_new_rows_follows_weights(Estimator):
    X = make_rows(400, 5)
    model = quick(Estimator, contamination="auto")
    seeds = _engine.Seeds.spawn(model._seed_of_draws(None))
    held_out = np.isin(np.arange(400), _engine.held_out(400, 40, seeds))
    unweighted = model.fit(X).predict(X)[held_out]
    assert (unweighted == -1).sum() == 4
    weights = np.random.default_rng(0).integers(1, 6, 400).astype(float)
    is_low = model.fit(X, sample_weight=weights).predict(X)[held_out] == -1
    share = weights[held_out][is_low].sum() / weights[held_out].sum()
    assert 0.1 - 5 / weights[held_out].sum() < share <= 0.1


def test_the_threshold_is_on_no_score():
    scores = np.array([0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert threshold(scores, np.ones(10), 0.2) == 0.5
    assert threshold(scores, np.ones(10), 0.1) < 0
    assert threshold(scores, np.repeat([0.0, 1.0], [2, 8]), 0.2) == 1.5


@pytest.mark.parametrize("as_rows", [np.asarray, csr_array])
def test_a_robust_fit_judges_the_rows_that_it_leaves_out(Estimator, as_rows):
    rng = np.random.default_rng(0)
    X = (rng.random((300, 6)) < np.linspace(0.1, 0.9, 6)).astype(float)
    X[:15] = 5  # what is left, is flags
    labels = quick(Estimator, robust=True).fit_predict(as_rows(X))
    assert set(labels[:15]) == {-1}


def test_scores_that_differ_by_rounding_are_on_one_side_of_the_threshold():
    equal = -3.0 + 1e-12 * np.arange(6)
    scores = np.r_[-9.0, -8.0, equal, -1.0, 0.0]
    assert threshold(scores, np.ones(10), 0.5) == pytest.approx(-5.5)
    assert threshold(scores, np.ones(10), 0.8) == pytest.approx(-2)
    assert threshold(equal, np.ones(6), 0.5) < equal.min()
    nearly = np.r_[-3.0, -3.0 + 1e-6, -1.0]
    assert threshold(nearly, np.ones(3), 0.4) == pytest.approx(-3 + 5e-7, abs=1e-9)
    assert threshold(nearly, np.ones(3), 0.4, "float32") < -3


@pytest.mark.parametrize("n_rows", [1, 3, 9])
def test_equal_rows_have_the_same_label_in_any_batch(n_rows):
    rng = np.random.default_rng(7)
    n_samples = rng.integers(100, 400)
    is_one = rng.random((n_samples, 1)) < 0.8
    X = np.where(is_one, [[1.0, 2, 3, 0]], rng.normal(size=(n_samples, 4)))
    for share in (0.25, 0.5):
        model = quick(AutoencoderTransformer, max_iter=25, contamination=share).fit(X)
        alone = model.predict(np.repeat([[1.0, 2, 3, 0]], n_rows, axis=0))
        among = model.predict(X)[(X == [1, 2, 3, 0]).all(axis=1)]
        assert {*alone} == {*among} == {1}


def test_rows_without_a_score_are_below_the_threshold():
    scores = np.r_[np.full(20, -np.inf), np.arange(80.0)]
    bound = threshold(scores, np.ones(100), 0.2)
    assert ((scores < bound) == (scores == -np.inf)).all()
    assert np.isfinite(scores[20:] - bound).all()


@pytest.mark.parametrize("settings", [{}, {"robust": True}])
def test_a_warm_start_keeps_the_sizes_that_auto_found(Estimator, settings):
    X = make_rows(400, 4)
    model = Estimator(2, max_iter=2, warm_start=True, random_state=0).fit(X[:200])
    hidden = model.module_.config["hidden_layer_sizes"]
    model.set_params(**settings)
    for n_samples in (270, 270, 400):
        assert model.fit(X[:n_samples]).module_.config["hidden_layer_sizes"] == hidden


def test_a_warm_start_keeps_the_sizes_that_auto_found_with_gaps(Estimator):
    X = make_rows(100, 9)
    model = Estimator(max_iter=2, warm_start=True, random_state=0)
    model.fit(np.where(np.arange(9) == np.arange(100)[:, None], np.nan, X))
    n_components = model.n_components_
    assert model.fit(X).n_components_ == n_components >= 8


def test_a_warm_start_takes_sizes_in_any_sequence(X):
    for sizes in ((8, 4), [8, 4], np.array([8, 4])):
        model = quick(VAETransformer, hidden_layer_sizes=sizes, warm_start=True, max_iter=1)
        assert model.fit(X).fit(X).module_.config["hidden_layer_sizes"] == (8, 4)


@pytest.mark.parametrize("n", [50, 100, 200, 1000])
@pytest.mark.parametrize("share", [0.01, 0.07, 0.1, 0.29, 0.3, 0.5])
def test_the_threshold_flags_the_share_that_was_asked_for(n, share):
    scores = np.random.default_rng(0).normal(size=n)
    n_below = (scores < threshold(scores, np.ones(n), share)).sum()
    assert n_below == int(round(share * n, 6))


def test_robust_draws_from_a_random_state_as_often_as_not(Estimator, X):
    states = []
    for robust in (False, True):
        state = np.random.RandomState(0)
        quick(Estimator, robust=robust, random_state=state).fit(X)
        states.append(state.randint(2**31 - 1))
    assert states[0] == states[1]


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_constant_flags_have_the_same_score_in_both_precisions(constant):
    X = np.full((60, 3), constant)
    model = quick(AutoencoderTransformer, likelihood="bernoulli").fit(X)
    scores = [model.score_samples(X.astype(dtype))[0] for dtype in (np.float32, np.float64)]
    assert scores[0] == pytest.approx(scores[1], abs=1)
