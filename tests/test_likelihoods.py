"""The contract of a likelihood: one row of the table for each, built in or written by a user."""

import inspect
import pickle

import numpy as np
import pytest
import scipy.stats
import torch
from helpers import Laplace, Poisson, make_rows, quick
from scipy.special import expit

from skvae import VAETransformer
from skvae.likelihoods import LIKELIHOODS, Bernoulli, Gaussian, Likelihood

DRAWS = 40_000


def softplus(raw):
    return np.logaddexp(0, raw)


# A likelihood, its parameters for three features, and the distribution of scipy's that it is.
CASES = [
    pytest.param(
        Gaussian,
        ([-2.0, 0.0, 30.0], [0.25, 1.0, 9.0]),
        lambda loc, variance: scipy.stats.norm(loc, np.sqrt(variance)),
        id="gaussian",
    ),
    pytest.param(
        Bernoulli,
        ([-4.0, 0.1, 2.0],),
        lambda logits: scipy.stats.bernoulli(expit(logits)),
        id="bernoulli",
    ),
    pytest.param(
        Laplace,
        ([-2.0, 0.0, 30.0], [-2.0, 0.5, 3.0]),
        lambda loc, raw: scipy.stats.laplace(loc, softplus(raw) + 1e-3),
        id="a user's laplace",
    ),
    pytest.param(
        Poisson,
        ([-2.0, 0.5, 20.0],),
        lambda raw: scipy.stats.poisson(softplus(raw) + 1e-6),
        id="a user's poisson",
    ),
]
EVERY = pytest.mark.parametrize(("cls", "values", "distribution"), CASES)


def tensors(values, n_draws=DRAWS):
    """Return the parameters, those of the decoder repeated for each draw."""
    return [torch.tensor(value, dtype=torch.float64).expand(n_draws, 3) for value in values]


def draws(cls, values, seed=0):
    return cls().sample(*tensors(values), torch.Generator().manual_seed(seed))


def test_every_likelihood_of_the_package_is_in_the_table():
    assert set(LIKELIHOODS.values()) <= {case.values[0] for case in CASES}


@EVERY
def test_log_prob_is_that_of_scipy(cls, values, distribution):
    x = draws(cls, values)
    reference = distribution(*map(np.array, values))
    log_prob = getattr(reference, "logpdf" if cls.continuous else "logpmf")
    np.testing.assert_allclose(cls().log_prob(x, *tensors(values)), log_prob(x.numpy()), rtol=1e-5)


@EVERY
def test_draws_have_the_mean_and_variance_of_scipy(cls, values, distribution):
    x, reference = draws(cls, values).numpy(), distribution(*map(np.array, values))
    error = 5 * np.sqrt(reference.var() / DRAWS)
    assert (np.abs(x.mean(axis=0) - reference.mean()) < error).all()
    np.testing.assert_allclose(x.var(axis=0), reference.var(), rtol=0.15)


@EVERY
def test_mean_is_that_of_scipy(cls, values, distribution):
    mean = cls().mean(*tensors(values, 1))[0]
    np.testing.assert_allclose(mean, distribution(*map(np.array, values)).mean(), rtol=1e-6)


@EVERY
def test_draws_come_from_the_generator_alone(cls, values, distribution):
    before = torch.get_rng_state()
    first, second, other = (draws(cls, values, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@EVERY
def test_draws_lie_in_the_support(cls, values, distribution):
    assert cls().accepts(draws(cls, values)).all()


@EVERY
def test_training_starts_at_the_mean_of_the_data(cls, values, distribution):
    wanted = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    params = cls().params_for_mean(wanted)
    assert len(params) == cls.n_params
    shared = [torch.ones(3, dtype=torch.float64)] * cls.n_shared
    np.testing.assert_allclose(cls().mean(*params, *shared), wanted, atol=1e-4)


@EVERY
def test_every_gradient_is_that_of_autograd(cls, values, distribution):
    likelihood, x = cls(), draws(cls, values)[:100]
    params = tensors(values, 100)
    inputs = [param.clone().requires_grad_() for param in params[: cls.n_params]]
    log_prob = likelihood.log_prob(x, *inputs, *params[cls.n_params :])
    wanted = torch.autograd.grad(log_prob.sum(), inputs)
    with torch.inference_mode():
        grads = likelihood.grads(x, *params)
    assert len(grads) == cls.n_params
    for got, gradient in zip(grads, wanted, strict=True):
        torch.testing.assert_close(got.expand_as(gradient), gradient)


@EVERY
def test_far_values_have_a_finite_log_prob(cls, values, distribution):
    x = torch.full((1, 3), 1e6, dtype=torch.float64)
    x = torch.where(cls().accepts(x), x, torch.ones_like(x))
    for extreme in (-1e4, 1e4):
        params = [torch.full((1, 3), extreme, dtype=torch.float64)] * cls.n_params
        shared = [torch.ones(3, dtype=torch.float64)] * cls.n_shared
        assert torch.isfinite(cls().log_prob(x, *params, *shared)).all()


def test_the_shared_statistics_have_the_most_likely_vectors_as_their_means():
    x, loc = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0))
    (statistic,) = Gaussian().shared_statistics(x, loc)
    best = statistic.mean(0)
    likelihood = Gaussian().log_prob(x, loc, best).sum()
    for other in (0.9 * best, 1.1 * best):
        assert Gaussian().log_prob(x, loc, other).sum() < likelihood


def test_a_feature_without_noise_has_a_density_all_the_same():
    zero = torch.zeros(1, 1)
    assert torch.isfinite(Gaussian().log_prob(zero, zero, zero)).all()
    assert torch.isfinite(Gaussian().sample(zero, zero, torch.Generator())).all()


# ----------------------------------------------------------------------- through the estimators


def check_every_method(model, X):
    codes = model.transform(X)
    assert codes.shape == (len(X), 2)
    assert model.inverse_transform(codes).shape == X.shape
    assert np.isfinite(model.score_samples(X)).all()
    assert set(model.predict(X)) == {-1, 1}
    drawn = model.sample(20)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(again.sample(20), drawn)
    return drawn


@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_a_users_likelihood_works_without_touching_the_package(Estimator, X, scaling):
    assert Laplace not in LIKELIHOODS.values()
    assert inspect.getmodule(Laplace).__name__ == "helpers"
    model = quick(Estimator, likelihood=Laplace, scaling=scaling).fit(X)
    assert np.isfinite(check_every_method(model, X)).all()


def test_a_users_counts_are_taken_as_they_are(Estimator):
    X = np.random.default_rng(0).poisson(3.0, size=(200, 4)).astype(float)
    model = quick(Estimator, likelihood=Poisson, max_iter=60).fit(X)
    drawn = check_every_method(model, X)
    assert Poisson().accepts(torch.from_numpy(drawn)).all()
    reconstructed = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(reconstructed.mean(axis=0), X.mean(axis=0), rtol=0.2)


def test_heavy_tails_are_better_described_by_a_laplace():
    X = np.random.default_rng(0).laplace(size=(2000, 3))
    laplace, gaussian = (
        quick(VAETransformer, likelihood=likelihood, max_iter=40).fit(X[:1000]).score(X[1000:])
        for likelihood in (Laplace, "gaussian")
    )
    assert laplace > gaussian


def test_zeros_and_ones_are_drawn_where_zeros_and_ones_were_seen(Estimator):
    X = (make_rows(200, 6) > 0).astype(float)
    model = quick(Estimator).fit(X)
    drawn = check_every_method(model, X)
    assert set(np.unique(drawn)) == {0, 1}
    assert (model.score_samples(X) <= 0).all()
    means = model.inverse_transform(model.transform(X))
    assert ((means > 0) & (means < 1)).all()


def test_shares_are_taken_by_the_bernoulli(Estimator):
    X = np.random.default_rng(0).uniform(size=(100, 4))
    model = quick(Estimator, likelihood="bernoulli").fit(X)
    assert set(np.unique(check_every_method(model, X))) == {0, 1}


def test_auto_is_gaussian_unless_there_are_zeros_and_ones_only(Estimator):
    X = (make_rows(150, 4) > 0).astype(float)
    named = {name: quick(Estimator, likelihood=name) for name in ("auto", "gaussian", "bernoulli")}
    scores = {name: model.fit(X).score(X) for name, model in named.items()}
    assert scores["auto"] == scores["bernoulli"] != scores["gaussian"]
    X[-1, -1] = 2
    assert named["auto"].fit(X).score(X) == named["gaussian"].fit(X).score(X)


@pytest.mark.parametrize(
    ("likelihood", "value", "support"),
    [("bernoulli", 1.5, r"values in \[0, 1\]"), (Poisson, -3.0, "non-negative integers")],
)
def test_values_outside_the_support_are_named(Estimator, likelihood, value, support):
    X = np.ones((50, 3))
    X[-1, 1] = value
    with pytest.raises(ValueError, match=f"likelihood=.*needs {support}, got {value:g} in X"):
        quick(Estimator, likelihood=likelihood).fit(X)


def test_what_a_likelihood_must_have_is_abstract():
    zeros = torch.zeros(1, 1)
    for method, args in [("log_prob", (zeros,)), ("mean", ()), ("sample", ())]:
        with pytest.raises(NotImplementedError):
            getattr(Likelihood(), method)(zeros, *args)
