"""Where an autoencoder starts: at the PCA, which training then improves on; and "auto" noise."""

import pickle

import numpy as np
import pytest
import torch
from helpers import make_rows, quick
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer
from skvae._autoencoder_model import Autoencoder
from skvae._columns import Columns
from skvae._principal import principal_axes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def started(X, weight=None, n_components=2, likelihood="gaussian", **config):
    """Return a model that starts from rows, in float64, and these as a tensor."""
    defaults = {"hidden_layer_sizes": (8, 4), "activation": "silu", "noise": "auto", "tied": False}
    model = Autoencoder(
        blocks=((likelihood, X.shape[1]),),
        n_components=n_components,
        **defaults | config,
    ).double()
    x = torch.from_numpy(X)
    mean = torch.from_numpy(np.average(np.nan_to_num(X), axis=0, weights=weight))
    weight = None if weight is None else torch.from_numpy(weight)[:, None]
    model.initialize(generator(), mean)
    with torch.no_grad():
        model.start_from_rows(x, weight, mean, generator())
    return model.requires_grad_(False), x


def restored_by_pca(X, n_components):
    pca = PCA(n_components).fit(X)
    return pca.inverse_transform(pca.transform(X))


@pytest.mark.parametrize(
    ("hidden", "tied"), [((), False), ((), True), ((8,), False), ((8, 4), False)]
)
def test_it_starts_as_the_pca(hidden, tied):
    X = make_rows(300, 6) @ np.diag([1, 2, 3, 0.5, 1, 0.1])
    model, x = started(X, hidden_layer_sizes=hidden, tied=tied)
    np.testing.assert_allclose(model.decode(model.encode(x)), restored_by_pca(X, 2), atol=1e-6)


def test_codes_start_with_zero_mean_and_unit_variance():
    X = make_rows(300, 6) * 10 + 5
    codes = started(X)[0].encode(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(2), atol=1e-8)


@pytest.mark.parametrize("shape", [(60, 5), (12, 30), (25, 40)])
def test_a_weight_counts_as_copies(shape):
    X, weight = make_rows(*shape), np.arange(shape[0]) % 3
    one, other = started(X, weight.astype(float))[0], started(np.repeat(X, weight, axis=0))[0]
    x = torch.from_numpy(X)
    torch.testing.assert_close(one.encode(x), other.encode(x))
    torch.testing.assert_close(one.decode(one.encode(x)), other.decode(other.encode(x)))
    torch.testing.assert_close(one.noise_scale, other.noise_scale)


def test_a_fit_starts_from_weighted_rows_as_from_copies():
    X, weight = make_rows(40, 30), np.arange(40) % 3
    model = quick(AutoencoderTransformer, early_stopping=False, dtype="float64", max_iter=1)
    model.set_params(learning_rate=1e-12, latent_density=None)
    codes = model.fit(np.repeat(X, weight, axis=0)).transform(X)
    np.testing.assert_allclose(model.fit(X, sample_weight=weight).transform(X), codes, rtol=1e-6)


def test_where_all_is_restored_rounding_is_no_noise():
    X = make_rows(10, 30)
    model, x = started(X, n_components=12)
    np.testing.assert_allclose(model.decode(model.encode(x)), X, atol=1e-8)
    assert not model.is_noisy


def test_the_mean_is_that_of_the_rows_of_the_pca():
    X = make_rows(5000, 4)
    model = quick(AutoencoderTransformer, max_iter=1, learning_rate=1e-12, early_stopping=False)
    restored = model.set_params(n_components=1).fit(X)
    restored = restored.inverse_transform(restored.transform(X))
    np.testing.assert_allclose(restored.mean(axis=0), X.mean(axis=0), atol=1e-5)


def test_it_starts_from_rows_with_gaps():
    X = make_rows(200, 5)
    X[::3, 1] = X[::5, 4] = np.nan
    model, x = started(X, masks=True)
    assert torch.isfinite(model.decode(model.encode(x))).all()
    assert not model.is_noisy
    assert not model.encoder.skip[:, 5:].any()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 4), (6, 6)])
def test_more_components_than_axes_are_no_error(shape):
    X = make_rows(50, shape[1])[: shape[0]]
    model, x = started(X, n_components=7)
    np.testing.assert_allclose(model.decode(model.encode(x)), X, atol=2e-2)


def test_constant_rows_are_no_error():
    model, x = started(np.ones((20, 3)))
    torch.testing.assert_close(model.decode(model.encode(x)), x)
    assert not model.is_noisy


@pytest.mark.parametrize("shape", [(400, 40), (40, 400), (30, 30), (200, 20), (10, 20)])
def test_the_principal_axes_are_those_of_pca(shape):
    X = np.random.default_rng(0).normal(size=shape) * np.linspace(3, 1, shape[1])
    X -= X.mean(axis=0)
    axes, norms = principal_axes(torch.from_numpy(X), 4, generator())
    pca = PCA(4).fit(X)
    np.testing.assert_allclose(norms.square().sum(), (pca.singular_values_**2).sum(), rtol=1e-3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-8)


def test_only_means_have_a_slope():
    columns = Columns((("gaussian", 1), ("heteroscedastic_gaussian", 2)))
    np.testing.assert_array_equal(columns.output_slopes(torch.ones(3, 2))[:, 0], [1, 1, 1, 0, 0])
    assert columns.are_means
    assert not Columns((("gaussian", 2), ("bernoulli", 1))).are_means


def test_where_no_output_is_a_mean_there_is_no_skip():
    X = (make_rows(60, 4) > 3).astype(float)
    module = quick(AutoencoderTransformer).fit(X).module_
    assert module.encoder.skip is None
    assert not module.is_noisy


def test_tied_hidden_layers_start_at_random():
    module = quick(AutoencoderTransformer, tied=True).fit(make_rows(60, 4)).module_
    assert not module.starts_linear
    assert module.encoder.skip is None


def test_auto_noise_is_a_share_of_what_pca_leaves():
    X = make_rows(300, 6)
    model, _ = started(X)
    residual = X - restored_by_pca(X, 2)
    np.testing.assert_allclose(
        model.noise_scale, 0.4 * np.sqrt((residual**2).mean(axis=0)), rtol=1e-4
    )


def test_a_linear_autoencoder_adds_no_noise():
    assert not started(make_rows(50, 4), hidden_layer_sizes=())[0].is_noisy


def test_noise_that_is_given_holds_for_all_columns():
    model, _ = started(make_rows(50, 4), noise=0.3)
    np.testing.assert_allclose(model.noise_scale, 0.3)


@pytest.mark.parametrize("load", [load_digits, load_wine, load_breast_cancer, load_diabetes])
@pytest.mark.parametrize("n_components", [2, 4])
def test_new_rows_are_restored_about_as_well_as_by_pca_or_better(load, n_components):
    X, X_new = train_test_split(load().data, random_state=0)
    keep = X.std(axis=0) > 0
    scaler = StandardScaler().fit(X[:, keep])
    X, X_new = scaler.transform(X[:, keep]), scaler.transform(X_new[:, keep])
    pca = PCA(n_components).fit(X)
    model = AutoencoderTransformer(n_components, random_state=0, scaling=None).fit(X)
    errors = [
        ((X_new - m.inverse_transform(m.transform(X_new))) ** 2).mean() for m in (model, pca)
    ]
    assert errors[0] < 1.02 * errors[1]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.45])
def test_columns_that_are_mostly_zero_are_restored_as_well_as_others(share, rng):
    rare = (rng.random((1000, 1)) < share) * rng.normal(3, 1, (1000, 1))
    rare = rare * rng.normal(1, 0.1, (1000, 6)) * np.geomspace(0.01, 100, 6)
    X = np.hstack([rng.normal(size=(1000, 6)), rare])
    X, X_new = X[:700], X[700:]
    pca = make_pipeline(StandardScaler(), PCA(2)).fit(X)
    model = AutoencoderTransformer(2, random_state=0).fit(X)
    errors = [
        np.square((X_new - m.inverse_transform(m.transform(X_new))) / X.std(axis=0)).mean()
        for m in (model, pca)
    ]
    assert errors[0] < errors[1]


def test_where_nothing_is_gained_the_start_is_kept():
    X = make_rows(200, 6)  # linear: PCA is the best there is
    options = {"activation": "identity", "noise": 0.0, "latent_density": None}
    at_start = quick(AutoencoderTransformer, max_iter=1, learning_rate=1e-12, **options).fit(X)
    trained = quick(AutoencoderTransformer, max_iter=3, learning_rate=0.1, **options).fit(X)
    assert max(trained.validation_scores_) < at_start.best_validation_score_
    np.testing.assert_allclose(trained.transform(X), at_start.transform(X), atol=1e-4)
    assert trained.best_validation_score_ == pytest.approx(at_start.best_validation_score_)


def test_it_does_not_depend_on_units_or_shifts():
    X = make_rows(200, 5)
    moved = X * [1, 10, 1e-3, 5, 1e4] + [0, 3, 1, -100, 1e5]
    one, other = (quick(AutoencoderTransformer, max_iter=5).fit(rows) for rows in (X, moved))
    np.testing.assert_allclose(one.transform(X), other.transform(moved), atol=1e-2)


def test_a_pickle_and_a_warm_start_keep_skip_and_noise():
    X = make_rows(200, 5)
    model = quick(AutoencoderTransformer, warm_start=True, max_iter=20).fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    before = model.module_.noise_scale.clone()
    assert before.any()
    assert torch.equal(model.fit(X[:150]).module_.noise_scale, before)


def test_it_is_the_same_each_time():
    X = make_rows(100, 30)
    one, same = (quick(AutoencoderTransformer).fit(X) for _ in range(2))
    np.testing.assert_array_equal(one.transform(X), same.transform(X))
