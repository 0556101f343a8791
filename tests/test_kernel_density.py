"""The density around training rows, which is a part of the autoencoder's score."""

import numpy as np
import pytest
import torch
from helpers import make_rows, quick
from scipy.stats import multivariate_normal
from sklearn.neighbors import KernelDensity

from skvae import AutoencoderTransformer
from skvae._kernel_density import log_density_around

LEFT_OUT = 2.0


def around(X, known, centers, weight, variance):
    tensors = [None if A is None else torch.as_tensor(A) for A in (X, known, centers)]
    return log_density_around(
        *tensors, torch.as_tensor(weight), torch.as_tensor(variance), LEFT_OUT
    ).numpy()


def scaled_density(X, centers, weight, scale):
    """Return scikit-learn's log-density of rows around all but the nearest of the centers."""
    found = []
    for x in X / scale:
        by_distance = ((x - centers / scale) ** 2).sum(axis=1).argsort()
        beyond = np.cumsum(weight[by_distance]) - LEFT_OUT
        far, left = by_distance[beyond > 0], np.minimum(beyond, weight[by_distance])[beyond > 0]
        kernels = KernelDensity(bandwidth=1.0).fit(centers[far] / scale, sample_weight=left)
        found.append(kernels.score_samples(x[None])[0])
    return np.array(found) - np.log(scale).sum()


@pytest.fixture
def kernels():
    rng = np.random.default_rng(0)
    return make_rows(40, 3), rng.uniform(0.5, 2, 40), np.array([0.3, 1.0, 2.0])


def test_it_is_that_of_scikit_learn(kernels):
    centers, weight, scale = kernels
    X = make_rows(25, 3, seed=1)
    expected = scaled_density(X, centers, weight, scale)
    np.testing.assert_allclose(around(X, None, centers, weight, scale**2), expected)


def test_with_gaps_it_is_that_of_the_known_cells(kernels):
    centers, weight, scale = kernels
    X = make_rows(25, 3, seed=1)
    known = np.tile([1.0, 0.0, 1.0], (25, 1))
    expected = scaled_density(X[:, ::2], centers[:, ::2], weight, scale[::2])
    np.testing.assert_allclose(around(X * known, known, centers, weight, scale**2), expected)
    of_nothing = around(X * 0, X * 0, centers, weight, scale**2)
    np.testing.assert_allclose(of_nothing, 0, atol=1e-12)


def test_far_rows_have_no_density_rather_than_none(kernels):
    centers, weight, scale = kernels
    densities = around(np.array([[1e200, 0, 0], [-1e200, 1e200, 0]]), None, centers, weight, scale)
    assert (densities == -np.inf).all()


def ring(n_samples, rng):
    angle = rng.uniform(0, 2 * np.pi, n_samples)
    radius = 1 + 0.05 * rng.normal(size=n_samples)
    return radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def test_a_row_in_a_hole_is_odd():
    """The middle of a ring is restored, and has the most usual code."""
    rng = np.random.default_rng(0)
    model = quick(AutoencoderTransformer, max_iter=40).fit(ring(400, rng))
    new, hole = ring(200, rng), np.zeros((1, 2))
    assert np.abs(model.inverse_transform(model.transform(hole))).max() < 0.1
    assert model.score_samples(hole) < model.score_samples(new).min()
    assert model.predict(hole) == -1


def test_a_row_is_no_more_usual_for_being_a_center():
    rng = np.random.default_rng(0)
    centers, new, same = rng.normal(size=(400, 20)), rng.normal(size=(400, 20)), np.ones(20)
    of_centers, of_new = (
        np.median(around(X, None, centers, np.ones(400), same)) for X in (centers, new)
    )
    assert abs(of_centers - of_new) < 0.5
    kernels = KernelDensity(bandwidth=1.0).fit(centers)
    of_centers, of_new = (np.median(kernels.score_samples(X)) for X in (centers, new))
    assert of_centers - of_new > 1


def test_a_center_twice_is_one_that_weighs_twice_as_much(kernels):
    centers, _, scale = kernels
    X, weight = make_rows(25, 3, seed=1), np.arange(40) % 3 + 1.0
    repeated = centers.repeat(weight.astype(int), axis=0)
    np.testing.assert_allclose(
        around(X, None, repeated, np.ones(len(repeated)), scale),
        around(X, None, centers, weight, scale),
    )


def test_what_few_rows_are_like_says_nothing():
    few, flags = make_rows(8, 4), (make_rows(50, 4) > 0).astype(float)
    repeated = np.tile(few, (10, 1))
    for model, X in (
        (quick(AutoencoderTransformer), few),
        (quick(AutoencoderTransformer), repeated),
        (quick(AutoencoderTransformer), flags),
        (quick(AutoencoderTransformer, robust=True), make_rows(50, 4)),  # of which 10 are few
    ):
        scores = model.fit(X).score_samples(X) - model.contributions(X).sum(axis=1)
        module, z = model.module_, model.transform(X)
        of_code = multivariate_normal(module.code_center, module.code_scale @ module.code_scale.T)
        np.testing.assert_allclose(scores, of_code.logpdf(z), rtol=1e-4, atol=1e-4)


def test_rows_without_weight_are_no_neighbours():
    X = make_rows(60, 4)
    model = quick(AutoencoderTransformer, early_stopping=False)
    with_zeros = model.fit(X, sample_weight=np.repeat([1.0, 0.0], 30)).score_samples(X)
    np.testing.assert_allclose(with_zeros, model.fit(X[:30]).score_samples(X), rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t", "censored_logistic"])
def test_neighbours_are_what_training_rows_are_restored_to(likelihood):
    X = np.maximum(3 * make_rows(100, 5), 0)
    model = quick(AutoencoderTransformer, likelihood=likelihood, early_stopping=False).fit(X)
    restored = model._table.forward(model.inverse_transform(model.transform(X)))
    found = model.module_.neighbours.numpy()
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(restored, axis=0), atol=1e-3)


def test_where_zero_is_does_not_matter(kernels):
    centers, weight, scale = kernels
    X = make_rows(25, 3, seed=1)
    there = around(X + 1e8, None, centers + 1e8, weight, scale)
    np.testing.assert_allclose(there, around(X, None, centers, weight, scale), rtol=1e-5)
