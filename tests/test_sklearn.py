"""scikit-learn's own suite, and those of its checks that it runs on its own classes only."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers import ESTIMATORS, Laplace, make_rows, quick
from sklearn.base import is_outlier_detector
from sklearn.neighbors import KernelDensity
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skvae import AutoencoderTransformer, VAETransformer

REASON = "sample_weight is not equivalent to removing/repeating samples."
WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": REASON,
    "check_sample_weight_equivalence_on_sparse_data": REASON,
}
# In full batch, double precision and without noise, the autoencoder has no reason to fail any. It
# starts at a PCA, where most gradients are zero but for rounding, of which Adam makes full steps:
# so there are fewer components than the rows have, and steps are small.
EXACT = {"dtype": "float64", "batch_size": 1000, "early_stopping": False, "max_iter": 10}
EXACT |= {"noise": 0.0, "n_components": 2, "learning_rate": 1e-4}


def configurations():
    for Estimator in ESTIMATORS:
        yield Estimator(max_iter=10)
        yield Estimator(max_iter=10, dtype="float64")
        yield Estimator(max_iter=10, likelihood="gaussian", scaling="quantile")
        yield Estimator(max_iter=10, likelihood=Laplace, scaling=None)
    yield AutoencoderTransformer(**EXACT, latent_density=None)
    yield AutoencoderTransformer(**EXACT, latent_density=KernelDensity())


def expected_failures(estimator):
    return {} if estimator.batch_size == 1000 else WEIGHTS


@parametrize_with_checks(list(configurations()), expected_failed_checks=expected_failures)
def test_sklearn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "name",
    [
        "check_dataframe_column_names_consistency",
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_get_feature_names_out_error",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_set_output_transform_polars",
        "check_global_output_transform_pandas",
        "check_global_set_output_transform_polars",
        "check_inplace_ensure_writeable",
        "check_estimators_partial_fit_n_features",
    ],
)
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
def test_checks_that_sklearn_runs_on_its_own_classes(Estimator, name):
    getattr(estimator_checks, name)(Estimator.__name__, Estimator(max_iter=3))


ARRAY_API = """
import sys, warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
import skvae
estimator = getattr(skvae, sys.argv[1])(max_iter=3, random_state=0)
for result in check_estimator(estimator, on_fail=None):
    if result["check_name"] == "check_array_api_input":
        print(result["status"], result["exception"])
"""


def test_array_api_dispatch_is_no_obstacle(Estimator):
    command = [sys.executable, "-c", ARRAY_API, Estimator.__name__]
    done = subprocess.run(
        command, env=os.environ | {"SCIPY_ARRAY_API": "1"}, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    if not done.stdout:
        pytest.skip("before 1.9 the suite has this check for array-API estimators only")
    assert done.stdout.decode().startswith("passed"), done.stdout.decode()


def test_a_transformer_and_an_outlier_detector_in_one(Estimator):
    tags = get_tags(Estimator())
    assert is_outlier_detector(Estimator())
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
    assert tags.input_tags.allow_nan
    assert tags.input_tags.sparse
    assert not tags.non_deterministic


def test_metadata_can_be_requested_by_fit_and_score_alone(Estimator):
    requests = {name for name in dir(Estimator) if name.endswith("_request")}
    assert requests >= {"set_fit_request", "set_score_request"}
    setters = {name for name in requests if name.startswith("set_")}
    assert setters == {"set_fit_request", "set_score_request"}


def test_a_weight_of_two_is_a_row_twice_but_for_noise(Estimator):
    X, held_out = np.split(make_rows(600, 4), [200])
    weights = np.where(X[:, 0] > 0, 2.0, 1.0)
    repeated = np.repeat(X, weights.astype(int), axis=0)
    difference = []
    for seed in range(8):
        # Full batches: the same number of steps for either.
        parameters = {"max_iter": 100, "batch_size": 1000, "early_stopping": False}
        if Estimator is VAETransformer:
            # A row twice has twice the draws: with many of them, that hardly matters.
            parameters["n_training_draws"] = 20
        model = quick(Estimator, **parameters, random_state=seed)
        score = model.fit(X, sample_weight=weights).score(held_out)
        difference.append(score - model.fit(repeated).score(held_out))
    # Student's t with 7 degrees of freedom exceeds 5.4 once in a thousand times.
    assert abs(np.mean(difference)) <= 5.4 * np.std(difference, ddof=1) / np.sqrt(8) + 1e-6


def test_the_weight_of_a_row_is_not_ignored(Estimator):
    X = np.vstack([make_rows(100, 4), 5 + make_rows(100, 4, seed=1)])
    near, far = (
        quick(Estimator, max_iter=30, early_stopping=False).fit(X, sample_weight=weights)
        for weights in (np.repeat([1.0, 1e-3], 100), np.repeat([1e-3, 1.0], 100))
    )
    assert near.score(X[:100]) > far.score(X[:100])
    assert far.score(X[100:]) > near.score(X[100:])


def test_a_uniform_weight_is_no_weight(Estimator, X):
    model = quick(Estimator)
    plain = model.fit(X).score_samples(X)
    weighted = model.fit(X, sample_weight=np.full(len(X), 0.3)).score_samples(X)
    np.testing.assert_array_equal(weighted, plain)


def test_weights_of_zero_leave_rows_out_of_the_threshold(X):
    weights = np.ones(len(X))
    weights[::2] = 0
    model = quick(VAETransformer, contamination=0.2).fit(X, sample_weight=weights)
    assert (model.predict(X[1::2]) == -1).sum() == 10


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(100), "zero"),
        (-np.ones(100), "Negative"),
        (np.ones(99), "sample_weight"),
        (np.ones((100, 1)), "1D"),
        (np.full(100, np.nan), "NaN"),
    ],
)
def test_unusable_weights_are_named(Estimator, X, weights, message):
    with pytest.raises(ValueError, match=message):
        quick(Estimator).fit(X, sample_weight=weights)
