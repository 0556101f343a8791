"""At home in scikit-learn: pipelines, searches, unions, caches, data frames, routing."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from helpers import make_rows, quick
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skvae import AutoencoderTransformer, VAETransformer


def test_codes_feed_a_classifier(Estimator):
    X, y = load_breast_cancer(return_X_y=True)
    codes = Estimator(8, max_iter=30, random_state=0)
    accuracy = cross_val_score(make_pipeline(codes, LogisticRegression()), X, y, cv=3)
    assert accuracy.mean() > 0.9


def test_a_pipeline_that_ends_in_it_has_its_methods(Estimator, X):
    model = quick(Estimator)
    scaled = MinMaxScaler().fit_transform(X)
    pipeline = make_pipeline(MinMaxScaler(), model).fit(X)
    alone = clone(model).fit(scaled)
    for name in ("transform", "predict", "decision_function", "score_samples", "score"):
        np.testing.assert_array_equal(getattr(pipeline, name)(X), getattr(alone, name)(scaled))
    np.testing.assert_array_equal(pipeline.fit_predict(X), alone.predict(scaled))
    back = pipeline.inverse_transform(pipeline.transform(X))
    assert back.shape == X.shape
    prefix = Estimator.__name__.lower()
    assert pipeline.get_feature_names_out().tolist() == [f"{prefix}0", f"{prefix}1"]


GRID = {"n_components": [1, 2], "hidden_layer_sizes": [(), (8,)]}


def test_a_grid_needs_no_scorer(Estimator, X):
    grid = GRID | ({"beta": [0.5, 2.0]} if Estimator is VAETransformer else {"noise": [0.0, 0.1]})
    search = GridSearchCV(quick(Estimator, max_iter=3), grid, cv=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    assert len(scores) == 8
    assert np.isfinite(scores).all()
    assert search.best_score_ == scores.max()
    assert search.transform(X).shape == (100, search.best_params_["n_components"])
    assert search.score(X) == search.best_estimator_.score(X)


def test_a_grid_with_labels_and_two_jobs():
    X, y = (
        np.vstack([make_rows(90, 4), make_rows(20, 4, seed=1) * 4]),
        np.repeat([1, -1], [90, 20]),
    )
    search = GridSearchCV(
        quick(VAETransformer, max_iter=3),
        {"n_components": [1, 2], "hidden_layer_sizes": [(), (8,)], "beta": [0.5, 2.0]},
        scoring="roc_auc",
        cv=StratifiedKFold(2),
        n_jobs=2,
    ).fit(X, y)
    assert search.best_score_ > 0.5
    expected = roc_auc_score(y, search.decision_function(X))
    assert search.score(X, y) == pytest.approx(expected)


def test_halving_gives_epochs_to_the_promising(Estimator, X):
    search = HalvingGridSearchCV(
        quick(Estimator),
        {"n_components": [1, 2, 3], "hidden_layer_sizes": [(), (8,)]},
        resource="max_iter",
        min_resources=2,
        max_resources=18,
        cv=2,
        random_state=0,
    ).fit(X)
    assert search.n_resources_ == [2, 6]
    assert search.best_estimator_.max_iter == 6


def test_a_candidate_that_diverges_does_not_stop_the_search(Estimator, X):
    search = GridSearchCV(quick(Estimator), {"learning_rate": [1e30, 1e-3]}, cv=2)
    with pytest.warns(sklearn.exceptions.FitFailedWarning):
        with pytest.warns(UserWarning, match="non-finite"):
            search.fit(X)
    assert search.best_params_ == {"learning_rate": 1e-3}


def test_fitted_models_come_back_from_other_processes(Estimator, X):
    results = cross_validate(quick(Estimator), X, cv=2, n_jobs=2, return_estimator=True)
    for model, score in zip(results["estimator"], results["test_score"], strict=True):
        assert np.isfinite(score)
        assert model.transform(X).shape == (100, 2)


def test_a_column_transformer_gives_it_some_columns(Estimator, X):
    columns = ["a", "b", "c", "d", "e"]
    frame = pd.DataFrame(X, columns=columns)
    reduced = ColumnTransformer(
        [("codes", quick(Estimator), columns[:3])], remainder="passthrough"
    )
    out = reduced.set_output(transform="pandas").fit_transform(frame)
    prefix = Estimator.__name__.lower()
    assert list(out.columns) == [
        f"codes__{prefix}0",
        f"codes__{prefix}1",
        "remainder__d",
        "remainder__e",
    ]
    np.testing.assert_array_equal(out["remainder__e"], X[:, 4])


def test_a_union_sets_it_beside_others(Estimator, X):
    y = X[:, 0] > 0
    union = FeatureUnion([("codes", quick(Estimator)), ("best", SelectKBest(k=2))])
    out = union.fit(X, y).transform(X)
    assert out.shape == (100, 4)
    np.testing.assert_array_equal(out[:, :2], quick(Estimator).fit(X).transform(X))


def test_a_cache_serves_the_second_fit(Estimator, X, tmp_path):
    y = X[:, 0] > 0
    pipeline = make_pipeline(quick(Estimator), LogisticRegression(), memory=str(tmp_path))
    first = pipeline.fit(X, y).predict_proba(X)
    written = sorted(tmp_path.rglob("output.pkl"))
    second = clone(pipeline).fit(X, y)
    assert sorted(tmp_path.rglob("output.pkl")) == written != []
    np.testing.assert_array_equal(second.predict_proba(X), first)


@pytest.mark.parametrize(
    ("container", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_set_output_chooses_the_container(Estimator, X, container, frame):
    model = quick(Estimator).set_output(transform=container)
    for out in (model.fit_transform(X), model.transform(X)):
        assert isinstance(out, frame)
        assert list(out.columns) == model.get_feature_names_out().tolist()
    plain = quick(Estimator).fit(X).transform(X)
    np.testing.assert_array_equal(out.to_numpy(), plain)
    assert isinstance(model.inverse_transform(out), np.ndarray)


def test_clone_keeps_every_parameter_and_no_fit(Estimator, X):
    model = quick(Estimator, activation="tanh", contamination=0.2).fit(X)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "module_")


@pytest.mark.parametrize("method", ["fit", "score"])
def test_weights_are_routed_through_a_search(Estimator, X, method):
    weights = np.where(X[:, 0] > 0, 5.0, 0.1)
    with sklearn.config_context(enable_metadata_routing=True):
        requests = {"fit": False, "score": False} | {method: True}
        model = quick(Estimator).set_fit_request(sample_weight=requests["fit"])
        model.set_score_request(sample_weight=requests["score"])
        search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2)
        weighted = search.fit(X, sample_weight=weights).cv_results_["mean_test_score"]
        plain = clone(search).fit(X).cv_results_["mean_test_score"]
    assert not np.allclose(weighted, plain)


def test_weights_are_routed_to_a_step_of_a_pipeline(X):
    weights = np.where(X[:, 0] > 0, 5.0, 0.1)
    model = quick(AutoencoderTransformer)
    with sklearn.config_context(enable_metadata_routing=True):
        requested = clone(model).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(MinMaxScaler(), requested).fit(X, sample_weight=weights)
    scaled = MinMaxScaler().fit_transform(X)
    expected = model.fit(scaled, sample_weight=weights).transform(scaled)
    np.testing.assert_array_equal(pipeline.transform(X), expected)


def test_outliers_are_judged_by_roc_auc_with_labels_of_minus_one(Estimator):
    X, y = load_wine(return_X_y=True)
    labels = np.where(y == 2, -1, 1)
    scores = cross_val_score(
        quick(Estimator, max_iter=20), X, labels, scoring="roc_auc", cv=StratifiedKFold(3)
    )
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
