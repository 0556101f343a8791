"""The contract of a likelihood: one row of the table for each, built in or written by a user."""

import copy
import inspect
import itertools
import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from helpers import Laplace, make_rows, quick
from helpers import Poisson as UsersPoisson
from scipy.special import expit, log_softmax, softmax

from skvae import AutoencoderTransformer, VAETransformer
from skvae._blocks import is_coarse
from skvae._columns import Columns
from skvae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    CensoredLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    HeteroscedasticStudentT,
    Likelihood,
    Multinomial,
    NegativeBinomial,
    Ordinal,
    Poisson,
    StudentT,
)

DRAWS = 40_000


def softplus(raw):
    return np.logaddexp(0, raw)


def scale_by_row(raw, rounding):
    return softplus(raw) + np.sqrt(np.maximum(rounding, 1e-4))


def negative_binomial(log_mean, log_r):
    r = np.exp(log_r)
    return scipy.stats.nbinom(r, r / (r + np.exp(log_mean)))


class Censored:
    """A logistic distribution whose values stop at a limit, the others' side being 1 or -1."""

    def __init__(self, loc, variance, limit, side):
        self.beyond = scipy.stats.logistic(loc, np.sqrt(3 * variance) / np.pi)
        self.limit, self.side = limit, side

    def logpdf(self, x):
        at_limit = np.where(self.side > 0, self.beyond.logcdf(x), self.beyond.logsf(x))
        is_there = np.abs(x - self.limit) <= 1e-4 + 1e-6 * np.abs(self.limit)
        return np.where(is_there, at_limit, self.beyond.logpdf(x))

    def mean(self):
        """Return the mean: what is cut off is the integral of the probability beyond."""
        loc, scale = self.beyond.mean(), self.beyond.std()
        cut = [
            scipy.integrate.quad(scipy.stats.logistic.cdf, -40, end)[0] if end > -40 else 0.0
            for end in self.side * (self.limit - loc) / (scale * np.sqrt(3) / np.pi)
        ]
        return loc + self.side * scale * np.sqrt(3) / np.pi * np.array(cut)

    def var(self):
        x = self.beyond.ppf((np.arange(200_000) + 0.5)[:, None] / 200_000)
        return np.where((x - self.limit) * self.side < 0, self.limit, x).var(axis=0)


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
        HeteroscedasticGaussian,
        ([-2.0, 0.0, 30.0], [-6.0, 0.5, 3.0], [0.0, 1e-6, 4.0]),
        lambda loc, *params: scipy.stats.norm(loc, scale_by_row(*params)),
        id="heteroscedastic gaussian",
    ),
    pytest.param(
        HeteroscedasticStudentT,
        ([-2.0, 0.0, 30.0], [-6.0, 0.5, 3.0], [0.0, 1e-6, 4.0]),
        lambda loc, *params: scipy.stats.t(8, loc, scale_by_row(*params)),
        id="heteroscedastic student t",
    ),
    pytest.param(
        StudentT,
        ([-2.0, 0.0, 30.0], [0.25, 1.0, 9.0]),
        lambda loc, variance: scipy.stats.t(8, loc, np.sqrt(variance)),
        id="student t",
    ),
    pytest.param(
        CensoredLogistic,
        ([-2.0, 0.0, 30.0], [0.25, 1.0, 9.0], [-1.5, -1e30, 31.0], [1.0, 1.0, -1.0]),
        Censored,
        id="censored logistic",
    ),
    pytest.param(
        Poisson,
        ([-2.0, 0.5, 3.0],),
        lambda log_rate: scipy.stats.poisson(np.exp(log_rate)),
        id="poisson",
    ),
    pytest.param(
        NegativeBinomial,
        ([-2.0, 0.5, 3.0], [-1.0, 0.0, 2.0]),
        negative_binomial,
        id="negative binomial",
    ),
    pytest.param(
        Laplace,
        ([-2.0, 0.0, 30.0], [-2.0, 0.5, 3.0]),
        lambda loc, raw: scipy.stats.laplace(loc, softplus(raw) + 1e-3),
        id="a user's laplace",
    ),
    pytest.param(
        UsersPoisson,
        ([-2.0, 0.5, 20.0],),
        lambda raw: scipy.stats.poisson(softplus(raw) + 1e-6),
        id="a user's poisson",
    ),
]
# The features of this one are not independent: scipy's is a distribution of rows.
JOINT = pytest.param(Multinomial, ([-1.0, 0.0, 2.0], [7.0, 7.0, 7.0]), None, id="multinomial")
EVERY = pytest.mark.parametrize(("cls", "values", "distribution"), CASES)
EVERY_AND_JOINT = pytest.mark.parametrize(("cls", "values", "distribution"), [*CASES, JOINT])


def tensors(values, n_draws=DRAWS):
    """Return the parameters, those of the decoder repeated for each draw."""
    return [torch.tensor(value, dtype=torch.float64).expand(n_draws, 3) for value in values]


def draws(cls, values, seed=0):
    return cls().sample(*tensors(values), torch.Generator().manual_seed(seed))


def test_every_likelihood_of_the_package_is_in_the_table():
    by_column = {cls for cls in LIKELIHOODS.values() if not cls.needs_levels}
    assert by_column - {Ordinal} <= {case.values[0] for case in [*CASES, JOINT]}


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


@EVERY_AND_JOINT
def test_draws_come_from_the_generator_alone(cls, values, distribution):
    before = torch.get_rng_state()
    first, second, other = (draws(cls, values, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@EVERY_AND_JOINT
def test_draws_lie_in_the_support(cls, values, distribution):
    assert cls().accepts(draws(cls, values)).all()


@EVERY
def test_training_starts_at_the_mean_of_the_data(cls, values, distribution):
    wanted = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    params = cls().params_for_mean(wanted)
    assert len(params) == cls.n_params
    shared = [torch.ones(3, dtype=torch.float64)] * (cls.n_shared - cls.n_read_off)
    shared += cls().read_off(torch.full((2, 3), torch.nan, dtype=torch.float64))
    np.testing.assert_allclose(cls().mean(*params, *shared), wanted, atol=1e-4)


@EVERY_AND_JOINT
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
    with torch.inference_mode():
        both = likelihood.log_prob_and_grads(x, *params)
    torch.testing.assert_close(both, (log_prob.detach(), grads))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@EVERY_AND_JOINT
def test_far_values_have_a_finite_log_prob(cls, values, distribution, dtype):
    x = torch.tensor([[0.0, 1.0, 1e6]], dtype=dtype)
    x = torch.where(cls().accepts(x), x, torch.ones_like(x))
    shared = [torch.ones(3, dtype=dtype)] * cls.n_shared
    for extremes in itertools.product((-1e4, 1e4), repeat=cls.n_params):
        params = [torch.full((1, 3), extreme, dtype=dtype) for extreme in extremes]
        for result in (cls().log_prob(x, *params, *shared), *cls().grads(x, *params, *shared)):
            assert result.dtype == dtype
            assert torch.isfinite(result).all()
        drawn = cls().sample(*params, *shared, torch.Generator().manual_seed(0))
        assert cls().accepts(drawn).all()


@pytest.mark.parametrize(
    ("cls", "params", "largest"),
    [(Bernoulli, (0.3,), 1), (Poisson, (2.0,), 100), (NegativeBinomial, (1.0, -1.0), 1000)],
)
def test_probabilities_sum_to_one(cls, params, largest):
    support = torch.arange(largest + 1, dtype=torch.float64)
    log_prob = cls().log_prob(support, *torch.tensor(params, dtype=torch.float64))
    np.testing.assert_allclose(log_prob.exp().sum(), 1, rtol=1e-8)


@pytest.mark.parametrize("cls", LIKELIHOODS.values())
def test_what_the_encoder_sees_is_finite_and_keeps_its_shape(cls):
    likelihood = cls(levels=(2, 1)) if cls.needs_levels else cls()
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    seen = likelihood.embed(x)
    assert seen.shape == x.shape
    assert torch.isfinite(seen).all()
    assert torch.equal(seen[0], x[0])


def test_large_counts_are_small_for_the_encoder():
    x = torch.tensor([[3e6, 0.0, 4e6]])
    np.testing.assert_allclose(Multinomial().embed(x), [[0.6, 0.0, 0.8]], rtol=1e-6)
    assert Poisson().embed(x).max() == NegativeBinomial().embed(x).max() < 16


@pytest.mark.parametrize("cls", [Poisson, NegativeBinomial])
def test_a_mean_past_the_limit_finds_its_way_back(cls):
    params = [torch.full((3,), value) for value in (1e4, 0.0)][: cls.n_params]
    assert torch.isfinite(cls().mean(*params)).all()
    assert (cls().grads(torch.zeros(3), *params)[0] < 0).all()


def test_a_negative_binomial_approaches_the_poisson():
    x, log_mean = torch.arange(10.0, dtype=torch.float64), torch.zeros(10, dtype=torch.float64)
    log_prob = NegativeBinomial().log_prob(x, log_mean, torch.full_like(log_mean, 20))
    torch.testing.assert_close(log_prob, Poisson().log_prob(x, log_mean), rtol=0, atol=1e-2)


def test_the_decoder_starts_at_a_noise_scale_of_one():
    zeros = torch.zeros(3, dtype=torch.float64)
    params = HeteroscedasticGaussian().params_for_mean(zeros)
    log_prob = HeteroscedasticGaussian().log_prob(zeros, *params, zeros)
    np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(0))


def test_the_shared_statistics_have_the_most_likely_vectors_as_their_means():
    x, loc = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0))
    (statistic,) = Gaussian().shared_statistics(x, loc)
    best = statistic.mean(0)
    likelihood = Gaussian().log_prob(x, loc, best).sum()
    for other in (0.9 * best, 1.1 * best):
        assert Gaussian().log_prob(x, loc, other).sum() < likelihood


def test_repeating_the_statistic_of_student_t_climbs_to_the_most_likely_scale():
    noise = scipy.stats.t(2).rvs((500, 3), random_state=0)
    x, loc, scale = torch.from_numpy(noise), torch.zeros(500, 3), torch.ones(3).double()
    likelihoods = []
    for _ in range(60):
        scale = StudentT().shared_statistics(x, loc, scale)[0].mean(0)
        likelihoods.append(StudentT().log_prob(x, loc, scale).sum(0))
    assert (np.diff(likelihoods, axis=0) > -1e-9).all()
    for other in (0.99 * scale, 1.01 * scale):
        assert (StudentT().log_prob(x, loc, other).sum(0) < likelihoods[-1]).all()
    torch.testing.assert_close(StudentT().shared_statistics(x, loc, scale)[0].mean(0), scale)


@pytest.mark.parametrize("cls", [Gaussian, StudentT])
def test_a_feature_without_noise_has_a_density_all_the_same(cls):
    zero = torch.zeros(1, 1)
    assert torch.isfinite(cls().log_prob(zero, zero, zero)).all()
    assert torch.isfinite(cls().sample(zero, zero, torch.Generator())).all()


@pytest.mark.parametrize("cls", [Gaussian, StudentT])
def test_a_scale_that_fell_to_zero_can_grow_again(cls):
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    assert (cls().shared_statistics(one, zero, zero)[0] > cls.least_variance).all()


# --------------------------------------------------------------------------------- multinomial


def compositions(total, n_features):
    """Return all rows of counts with this total."""
    rows = itertools.product(range(total + 1), repeat=n_features)
    return torch.tensor([row for row in rows if sum(row) == total], dtype=torch.float64)


def logits_of(n_features, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_features, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("total", [0, 1, 6])
def test_the_parts_of_a_multinomial_sum_to_the_log_pmf(total):
    logits, rows = logits_of(3), compositions(total, 3)
    log_prob = Multinomial().log_prob(rows, logits, torch.ones(3))
    assert log_prob.shape == rows.shape
    wanted = scipy.stats.multinomial(total, softmax(logits.numpy())).logpmf(rows.numpy())
    np.testing.assert_allclose(log_prob.sum(-1), wanted, atol=1e-12)
    np.testing.assert_allclose(log_prob.sum(-1).exp().sum(), 1)


def test_an_empty_row_is_certain():
    assert torch.equal(
        Multinomial().log_prob(torch.zeros(2, 3), torch.arange(6.0).view(2, 3), torch.ones(3)),
        torch.zeros(2, 3),
    )


@pytest.mark.parametrize("n_features", [1, 2, 3, 5, 8, 13])
def test_multinomial_draws_have_the_moments_of_scipy(n_features):
    logits, total = logits_of(n_features), torch.full((n_features,), 9.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = Multinomial().sample(logits.expand(DRAWS, -1), total, generator).numpy()
    reference = scipy.stats.multinomial(9, softmax(logits.numpy()))
    assert (x.sum(axis=1) == 9).all()
    assert (x >= 0).all()
    assert (x == x.round()).all()
    error = 5 * np.sqrt(9 / DRAWS)
    np.testing.assert_allclose(x.mean(axis=0), reference.mean(), atol=error)
    np.testing.assert_allclose(np.atleast_2d(np.cov(x.T)), reference.cov(), atol=2 * error)


def test_a_large_total_is_drawn_without_large_memory():
    total = torch.full((4,), 1e12, dtype=torch.float64)
    x = Multinomial().sample(torch.zeros(3, 4).double(), total, torch.Generator().manual_seed(0))
    assert (x.sum(-1) == 1e12).all()
    np.testing.assert_allclose(x, 2.5e11, rtol=1e-4)


def test_the_mean_of_a_multinomial_has_the_mean_total_of_the_rows():
    x = torch.poisson(torch.full((50, 4), 3.0), generator=torch.Generator().manual_seed(0))
    (totals,) = Multinomial().shared_statistics(x, torch.zeros(50, 4), torch.ones(4))
    assert torch.equal(totals, x.sum(1, keepdim=True).expand(50, 4))
    (logits,) = Multinomial().params_for_mean(x.mean(0))
    torch.testing.assert_close(Multinomial().mean(logits, totals.mean(0)), x.mean(0))


def test_a_word_that_never_occurs_starts_with_a_finite_logit():
    assert torch.isfinite(Multinomial().params_for_mean(torch.tensor([0.0, 2.0]))[0]).all()
    assert torch.isfinite(Multinomial().params_for_mean(torch.zeros(2))[0]).all()


# --------------------------------------------------------------------------------- categorical

LEVELS = 3, 5, 1, 2
BLOCK = Categorical(levels=LEVELS)
BORDERS = np.cumsum(LEVELS)[:-1]


def by_column(function, logits):
    """Apply a function of the logits of one column to each."""
    parts = np.split(np.asarray(logits), BORDERS, axis=-1)
    return np.concatenate([function(part, axis=-1) for part in parts], axis=-1)


def every_row():
    """Return the codes of all combinations of levels."""
    rows = itertools.product(*(np.eye(n_levels) for n_levels in LEVELS))
    return torch.from_numpy(np.array([np.concatenate(row) for row in rows]))


def draw_categories(n_draws, logits=None):
    logits = logits_of(sum(LEVELS)) if logits is None else logits
    generator = torch.Generator().manual_seed(0)
    return BLOCK.sample(logits.expand(n_draws, -1), generator)


def test_the_probabilities_of_all_combinations_sum_to_one():
    log_prob = BLOCK.log_prob(every_row(), logits_of(sum(LEVELS)))
    assert log_prob.shape == (np.prod(LEVELS), len(LEVELS))
    np.testing.assert_allclose(log_prob.sum(-1).exp().sum(), 1)


def test_log_prob_of_a_column_is_its_log_softmax():
    rows, logits = every_row(), 5 * logits_of(sum(LEVELS))
    chosen = rows.numpy() * by_column(log_softmax, logits)
    wanted = np.add.reduceat(chosen, [0, *BORDERS], axis=-1)
    np.testing.assert_allclose(BLOCK.log_prob(rows, logits), wanted, atol=1e-12)


def test_mean_is_the_softmax_of_each_column():
    logits = logits_of(sum(LEVELS))
    np.testing.assert_allclose(BLOCK.mean(logits), by_column(softmax, logits))


def test_the_gradient_of_categories_is_that_of_autograd():
    x = draw_categories(100)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(x.shape, generator=generator, dtype=x.dtype, requires_grad=True)
    with torch.inference_mode():  # first, for what it leaves behind is used by autograd
        (grad,) = copy.deepcopy(BLOCK).grads(x, logits)
    (wanted,) = torch.autograd.grad(BLOCK.log_prob(x, logits).sum(), logits)
    torch.testing.assert_close(grad, wanted)


def test_autograd_may_follow_inference_mode():
    block, x = Categorical(LEVELS), draw_categories(2)
    with torch.inference_mode():
        block.log_prob(x, torch.zeros_like(x))
    logits = torch.zeros_like(x, requires_grad=True)
    block.log_prob(x, logits).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_an_unknown_category_says_nothing():
    x, logits = draw_categories(1)[0], logits_of(sum(LEVELS))
    unknown = x.clone()
    unknown[3:8] = 0
    assert BLOCK.log_prob(unknown, logits)[1] == 0
    assert torch.equal(
        BLOCK.log_prob(unknown, logits)[[0, 2, 3]], BLOCK.log_prob(x, logits)[[0, 2, 3]]
    )


def test_categories_are_drawn_as_often_as_they_should():
    x, wanted = draw_categories(DRAWS).numpy(), by_column(softmax, logits_of(sum(LEVELS)))
    assert (np.add.reduceat(x, [0, *BORDERS], axis=1) == 1).all()
    error = 5 * np.sqrt(wanted * (1 - wanted) / DRAWS) + 1e-12
    assert (np.abs(x.mean(axis=0) - wanted) < error).all()
    # columns are drawn independently
    joint = x[:, :3].T @ x[:, 3:8] / DRAWS
    np.testing.assert_allclose(joint, np.outer(wanted[:3], wanted[3:8]), atol=5 / DRAWS**0.5 / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_logits_of_categories_are_finite(dtype):
    signs = torch.randint(0, 2, (50, sum(LEVELS)), generator=torch.Generator().manual_seed(0))
    logits = (2e4 * signs - 1e4).to(dtype)
    x = draw_categories(50, logits)
    assert (BLOCK._sum(x) == 1).all()
    for result in (BLOCK.log_prob(x, logits), BLOCK.mean(logits), *BLOCK.grads(x, logits)):
        assert result.dtype == dtype
        assert torch.isfinite(result).all()
    assert (BLOCK.log_prob(x, logits) > -2).all()


def test_equal_logits_far_from_zero_give_one_level_a_column():
    x = draw_categories(1000, torch.full((sum(LEVELS),), 1e9, dtype=torch.float32))
    assert (BLOCK._sum(x) == 1).all()


def test_the_block_starts_at_the_frequencies():
    frequencies = draw_categories(1000).mean(0)
    (logits,) = BLOCK.params_for_mean(frequencies)
    torch.testing.assert_close(BLOCK.mean(logits), frequencies)
    assert torch.isfinite(BLOCK.params_for_mean(torch.zeros(sum(LEVELS)))[0]).all()


def test_draws_of_categories_come_from_the_generator_alone():
    before = torch.get_rng_state()
    assert torch.equal(draw_categories(100), draw_categories(100))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_block_may_have_leading_axes_and_be_pickled():
    x = draw_categories(4)
    logits = torch.linspace(-3, 3, 6 * x.numel(), dtype=torch.float64).view(6, *x.shape)
    again = pickle.loads(pickle.dumps(BLOCK))
    assert again.log_prob(x, logits).shape == (6, 4, len(LEVELS))
    assert torch.equal(again.log_prob(x, logits)[2], BLOCK.log_prob(x, logits[2]))
    assert BLOCK.accepts(x).all()


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
    model = quick(Estimator, likelihood=UsersPoisson, max_iter=60).fit(X)
    drawn = check_every_method(model, X)
    assert UsersPoisson().accepts(torch.from_numpy(drawn)).all()
    reconstructed = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(reconstructed.mean(axis=0), X.mean(axis=0), rtol=0.2)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "multinomial"])
def test_counts_are_drawn_where_counts_were_seen(Estimator, name):
    X = np.random.default_rng(0).poisson([0.1, 3, 3, 8], size=(200, 4)).astype(float)
    model = quick(Estimator, likelihood=name, max_iter=60).fit(X)
    assert Poisson().accepts(torch.from_numpy(check_every_method(model, X))).all()
    assert (model.score_samples(X) <= 0).all()
    reconstructed = model.inverse_transform(model.transform(X))
    np.testing.assert_allclose(reconstructed.mean(axis=0), X.mean(axis=0), rtol=0.2, atol=0.1)


@pytest.mark.parametrize(
    "name", ["student_t", "heteroscedastic_gaussian", "heteroscedastic_student_t"]
)
@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_real_values_are_drawn_where_real_values_were_seen(Estimator, name, X, scaling):
    model = quick(Estimator, likelihood=name, scaling=scaling).fit(X)
    assert np.isfinite(check_every_method(model, X)).all()


def score_of(likelihood, X):
    """Return the score of the second half of the rows for a VAE of the first."""
    half = len(X) // 2
    model = quick(VAETransformer, likelihood=likelihood, max_iter=40)
    return model.fit(X[:half]).score(X[half:])


def test_heavy_tails_are_better_described_by_a_laplace_or_student_t(rng):
    X = rng.laplace(size=(2000, 3))
    assert min(score_of(Laplace, X), score_of("student_t", X)) > score_of("gaussian", X)


def test_clumped_counts_are_better_described_by_a_negative_binomial(rng):
    X = rng.negative_binomial(1, 0.2, size=(2000, 3)).astype(float)
    assert score_of("negative_binomial", X) > score_of("poisson", X)


def test_noise_that_depends_on_the_row_is_better_described_if_the_decoder_gives_it(rng):
    z = rng.normal(size=(2000, 1))
    X = np.hstack([z, z + 0.05 * rng.normal(size=z.shape), np.exp(z) * rng.normal(size=(2000, 3))])
    assert score_of("heteroscedastic_gaussian", X) > score_of("gaussian", X)


TAILS = "gaussian", "student_t"


def test_no_single_row_decides_over_the_mean_of_all_with_heavy_tails(rng):
    z = rng.normal(size=(1000, 1))
    X = np.hstack([z, z + 0.05 * rng.normal(size=z.shape), np.exp(z) * rng.normal(size=z.shape)])
    X_new = np.vstack([X[:500], [[0.0, 30.0, 0.0]]])
    cost = {}
    for name in (prefix + tail for prefix in ("", "heteroscedastic_") for tail in TAILS):
        scores = quick(VAETransformer, likelihood=name, max_iter=40).fit(X).score_samples(X_new)
        cost[name] = np.median(scores) - scores[-1]
    assert max(cost["student_t"], cost["heteroscedastic_student_t"]) < 100
    assert min(cost["gaussian"], cost["heteroscedastic_gaussian"]) > 1000


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


BY_ROW = "heteroscedastic_student_t"


def test_a_column_is_coarse_if_its_values_are_few_and_at_like_distances(rng):
    marks = rng.integers(0, 11, 500) / 7 - 3  # on a grid of no round numbers
    assert is_coarse(marks)
    assert is_coarse(np.r_[marks, np.nan])
    assert not is_coarse(marks[:50])  # few rows for each value
    assert not is_coarse(np.r_[marks, np.full(50, 1000.0)])  # many steps
    assert not is_coarse(rng.normal(size=500))
    assert not is_coarse((marks > 0).astype(float))
    assert not is_coarse(np.ones(500))
    assert not is_coarse(np.full(500, np.nan))


def test_nothing_follows_the_rows_where_no_shared_vector_is_learned():
    columns = Columns(((BY_ROW, 2), ("bernoulli", 1), ("student_t", 2)))
    assert [type(block.likelihood) for block in columns.learning] == [StudentT]
    assert not Columns(((BY_ROW, 2), ("ordinal", 1))).learning


@pytest.mark.parametrize("n_steps", [2, 7, 50, 51, 200])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_units_do_not_tell_whether_a_column_is_coarse(n_steps, dtype, rng):
    marks = np.r_[np.arange(n_steps + 1), rng.integers(0, n_steps + 1, 10 * n_steps + 20)]
    for scale, shift in ((1, 0), (0.001, 7), (1 / 3, -0.1), (1e6, 1e6)):
        assert is_coarse((scale * marks + shift).astype(dtype)) == (n_steps <= 50)


@pytest.mark.parametrize("name", ["heteroscedastic_gaussian", BY_ROW])
@pytest.mark.parametrize("scaling", ["standard", "common"])
def test_on_a_grid_the_density_has_no_spikes(name, scaling, rng):
    marks = rng.integers(0, 6, 600).astype(float)
    X = np.column_stack([marks, 5 * (marks % 2), 0.1 * (marks > 2), marks])
    model = quick(VAETransformer, likelihood=name, scaling=scaling, max_iter=100).fit(X)
    steps = np.array([1, 5, 0.1, 1])
    largest = scipy.stats.norm.logpdf(0, scale=steps / 12**0.5).sum()
    scores = model.score_samples(X)
    assert scores.max() < largest
    assert scores.mean() > scipy.stats.norm.logpdf(0, scale=X.std(axis=0)).sum()


def test_auto_is_of_real_values_unless_there_are_zeros_and_ones_only(Estimator):
    X = (make_rows(150, 4) > 0).astype(float)
    real = "gaussian" if Estimator is AutoencoderTransformer else "student_t"
    named = {name: quick(Estimator, likelihood=name) for name in ("auto", real, "bernoulli")}
    scores = {name: model.fit(X).score(X) for name, model in named.items()}
    assert scores["auto"] == scores["bernoulli"] != scores[real]
    X[-1, -1] = 1000
    assert named["auto"].fit(X).score(X) == named[real].fit(X).score(X)


@pytest.mark.parametrize(
    ("Estimator", "n_columns", "smooth", "coarse", "with_spike"),
    [
        (AutoencoderTransformer, 4, "gaussian", "gaussian", "gaussian"),
        (VAETransformer, 4, BY_ROW, BY_ROW, "student_t"),
        (VAETransformer, 60, "student_t", BY_ROW, "student_t"),
    ],
)
def test_noise_differs_by_row_in_smooth_columns_and_in_those_of_few_values(
    Estimator, n_columns, smooth, coarse, with_spike, rng
):
    pd = pytest.importorskip("pandas")
    X = make_rows(150, n_columns)
    X[:, 1] = rng.integers(-2, 3, 150) / 3 + 7
    X[rng.random(150) < 0.2, 2] = 1.5
    auto = quick(Estimator).fit(X)
    kinds = dict.fromkeys([f"x{j}" for j in range(n_columns)], smooth)
    kinds |= {"x1": coarse, "x2": with_spike}
    frame = pd.DataFrame(X, columns=list(kinds))
    for named in (quick(Estimator, likelihood=kinds), quick(Estimator)):
        assert named.fit(frame).score(frame) == auto.score(X)


# ----------------------------------------------------------------------------------- censored


def clipped_rows(n=400, n_columns=60, seed=0):
    """Return rows of which odd columns stop at zero, every fourth at 30 % of the rows above."""
    X = make_rows(n, n_columns, seed=seed)
    X[:, 1::2] = X[:, 1::2].clip(min=0)
    X[:, ::4] = X[:, ::4].clip(max=np.quantile(X[:, ::4], 0.7, axis=0))
    return X


def ordered(X):
    return torch.from_numpy(np.sort(X, axis=0))


def test_a_limit_is_the_end_that_many_rows_have(rng):
    x = rng.normal(size=200)
    many, few = x.clip(max=np.quantile(x, 0.85)), x.clip(max=np.quantile(x, 0.97))
    X = np.column_stack([x, x.clip(min=-0.5), many, few, x.clip(-0.2, 0.7), np.full(200, np.nan)])
    X[:20, :5] = np.nan
    limit, side = CensoredLogistic().read_off(ordered(X))
    np.testing.assert_array_equal(side[[1, 2, 4]], [1, -1, 1])
    np.testing.assert_allclose(limit[[1, 2, 4]], [-0.5, np.nanmax(many), -0.2])
    np.testing.assert_array_equal(limit[[0, 3, 5]], -1e30 * side[[0, 3, 5]])
    np.testing.assert_array_equal(CensoredLogistic().read_off(ordered(-X))[0][1:3], -limit[1:3])


def test_the_variance_is_that_of_what_was_censored():
    X = torch.randn(100_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    X = torch.logit(torch.special.ndtr(X)) * (2 * 3**0.5 / torch.pi)  # logistic, of variance 4
    X[:, 1], X[:, 2] = X[:, 1].clamp(min=-0.5), X[:, 2].clamp(max=1)
    likelihood, loc = CensoredLogistic(), torch.zeros_like(X)
    fixed = likelihood.read_off(X.sort(0).values)
    variance = torch.ones(3, dtype=torch.float64)
    for _ in range(30):
        variance = likelihood.shared_statistics(X, loc, variance, *fixed)[0].mean(0)
    np.testing.assert_allclose(variance, 4, rtol=0.03)
    at_one = likelihood.shared_statistics(X, loc, torch.ones_like(variance), *fixed)[0].mean(0)
    assert (at_one > 1.1).all()


@pytest.mark.parametrize("unit", [1e-3, 1e6])
def test_units_do_not_matter_to_what_is_censored(unit):
    X, shift = clipped_rows(), 5.0
    model = quick(VAETransformer, likelihood="censored_logistic", dtype="float64")
    scores = model.fit(X).score_samples(X)
    there = model.fit(unit * (X + shift)).score_samples(unit * (X + shift))
    np.testing.assert_allclose(there + X.shape[1] * np.log(unit), scores, atol=1e-3)


def test_draws_and_means_stop_where_the_values_did():
    X = clipped_rows()
    model = VAETransformer(4, max_iter=60, random_state=0).fit(X)
    drawn = model.sample(2000)
    np.testing.assert_allclose((drawn == 0)[:, 1::2].mean(0), (X == 0)[:, 1::2].mean(0), atol=0.1)
    assert drawn[:, 1::2].min() == 0
    np.testing.assert_array_equal(drawn[:, ::4].max(0), X[:, ::4].max(0))
    restored = model.inverse_transform(model.transform(X))
    assert restored[:, 1::2].min() > -1e-5
    assert (restored[:, ::4].max(0) < X[:, ::4].max(0) + 1e-5).all()
    assert ((X - restored) ** 2).sum() < 0.5 * ((X - X.mean(0)) ** 2).sum()


def test_rounding_does_not_move_what_is_drawn_off_the_limit():
    X = (clipped_rows() + 1e4).astype(np.float32)
    drawn = VAETransformer(4, max_iter=60, random_state=0).fit(X).sample(2000)
    assert (drawn == 1e4)[:, 1::2].mean() == pytest.approx((X == 1e4)[:, 1::2].mean(), abs=0.1)


def test_what_has_no_limit_can_be_kept(Estimator, rng):
    X = rng.normal(size=(100, 5))
    model = quick(Estimator, likelihood="censored_logistic").fit(X)
    np.testing.assert_array_equal(copy.deepcopy(model).score_samples(X), model.score_samples(X))
    drawn = model.sample(2000)
    assert (drawn.min(0) < X.min(0)).any()
    assert (drawn.max(0) > X.max(0)).any()


def test_a_value_beyond_the_limit_is_no_usual_one():
    X = clipped_rows()
    model = quick(VAETransformer).fit(X)
    X_new = X[:3].copy()
    X_new[:, 1] = 0
    usual = model.contributions(X_new)[:, 1]
    X_new[:, 1] = -10
    assert (model.contributions(X_new)[:, 1] < usual - 5).all()


def kinds(X):
    """Return the columns of each likelihood."""
    return {kind: columns for kind, columns, _ in quick(VAETransformer).fit(X)._blocks}


def test_columns_with_a_limit_are_censored_in_wide_tables_only(rng):
    X = clipped_rows()
    of_kind = kinds(X)
    assert set(of_kind) == {"censored_logistic", "student_t"}
    assert set(of_kind["student_t"]) == set(range(2, 60, 4))
    assert "censored_logistic" not in kinds(X[:, :50])
    X[:, 1] = X[:, 1] > 0
    X[:, 3] = rng.integers(1, 6, len(X))
    X[:, 5] = 0
    X[:9, 5] = rng.normal(size=9)
    X[:, 7] = rng.choice([0.0, 1.0, 2.0, 9.0], len(X), p=[0.4, 0.35, 0.05, 0.2])  # two heaps
    assert not {1, 3, 5, 7} & set(kinds(X)["censored_logistic"])
    X[3, 9] = np.nan
    assert 9 in kinds(X)["censored_logistic"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_limit_is_known_in_either_precision(dtype):
    X = (100 + clipped_rows()).astype(dtype)
    model = quick(VAETransformer, likelihood="censored_logistic").fit(X)
    other = np.float32 if dtype is np.float64 else np.float64
    np.testing.assert_allclose(
        model.score_samples(X.astype(other)), model.score_samples(X), atol=0.1
    )


def test_what_columns_are_is_found_once(rng):
    X = rng.normal(size=(100, 3))
    model = quick(VAETransformer, warm_start=True).fit(X)
    model.fit(X.round())
    with pytest.raises(ValueError, match="the likelihood of columns changed"):
        model.set_params(likelihood="gaussian").fit(X)


@pytest.mark.parametrize(
    ("likelihood", "value", "support"),
    [
        ("bernoulli", 1.5, r"values in \[0, 1\]"),
        (UsersPoisson, -3.0, "non-negative integers"),
        ("poisson", 0.5, "non-negative integers"),
        ("negative_binomial", -1.0, "non-negative integers"),
        ("multinomial", -0.5, "non-negative numbers"),
    ],
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


# ------------------------------------------------------------------------------------ ordinal


def ordinal_case(n=50, dtype=torch.float64):
    """Return intervals of three columns, points to wide ones, and the decoder's output."""
    generator = torch.Generator().manual_seed(0)
    x, out = torch.randn(2, n, 6, generator=generator, dtype=dtype).unbind()
    x[:, 1::2] = x[:, 1::2].abs() * torch.tensor([0.0, 0.1, 5.0], dtype=dtype)
    return x, out


def normal(out):
    """Return scipy's distribution of each column."""
    loc, raw = out.numpy()[:, ::2], out.numpy()[:, 1::2]
    return scipy.stats.norm(loc, softplus(raw) + 0.01)


def test_an_interval_has_the_mean_density_of_the_normal():
    x, out = ordinal_case()
    middle, width = x.numpy()[:, ::2], x.numpy()[:, 1::2]
    reference = normal(out)
    # in the lower tail, where differences are exact
    loc, distance = reference.mean(), np.abs(middle - reference.mean())
    mass = reference.cdf(loc - distance + width / 2) - reference.cdf(loc - distance - width / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.where(width > 0, np.log(mass / width), reference.logpdf(middle))
    np.testing.assert_allclose(Ordinal().log_prob(x, out), wanted, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_an_interval_is_that_of_autograd():
    x, out = ordinal_case()
    (wanted,) = Likelihood.grads(Ordinal(), x, out)
    torch.testing.assert_close(Ordinal().grads(x, out)[0], wanted)


def test_drawn_points_are_those_of_the_normal():
    _, out = ordinal_case(1)
    out = out.expand(DRAWS, 6)
    drawn = Ordinal().sample(out, torch.Generator().manual_seed(0)).numpy()
    assert (drawn[:, 1::2] == 0).all()
    reference = normal(out[:1])
    for j in range(3):
        cdf = scipy.stats.norm(*(arg[0, j] for arg in reference.args)).cdf
        assert scipy.stats.kstest(drawn[:, 2 * j], cdf).statistic < 2 / np.sqrt(DRAWS)
    np.testing.assert_array_equal(Ordinal().mean(out)[0, ::2], out[0, ::2])


def test_ordinal_training_starts_at_the_mean_with_unit_variance():
    mean = torch.tensor([0.3, 1.0, -2.0, 0.5], dtype=torch.float64)
    (out,) = Ordinal().params_for_mean(mean)
    reference = normal(out[None])
    np.testing.assert_allclose(reference.mean()[0], mean[::2])
    np.testing.assert_allclose(reference.var(), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_intervals_have_a_finite_log_prob(dtype):
    for middle, width, loc, raw in itertools.product(
        (-1e6, 1e6), (0, 1e-9, 1e4), (0, 1e4), (-1e4, 1e4)
    ):
        x = torch.tensor([[middle, width]], dtype=dtype)
        out = torch.tensor([[loc, raw]], dtype=dtype)
        for result in (Ordinal().log_prob(x, out), *Ordinal().grads(x, out)):
            assert torch.isfinite(result).all()


@pytest.mark.parametrize("n", [1e2, 1e5, 1e7])
def test_single_precision_suffices_for_large_counts(n):
    x = np.float32(n) * np.float32([0.99, 1, 1.01])
    log_mean, r = np.log(np.float32([n])), np.float32([1000])
    given = torch.from_numpy(x.round()), torch.from_numpy(log_mean)
    mean = np.exp(log_mean.astype(np.float64))
    expected = scipy.stats.poisson.logpmf(x.round(), mean)
    np.testing.assert_allclose(Poisson().log_prob(*given), expected, rtol=1e-5)
    log_r = torch.from_numpy(np.log(r))
    r = np.exp(np.log(r).astype(np.float64))
    expected = scipy.stats.nbinom.logpmf(x.round(), r, r / (r + mean))
    np.testing.assert_allclose(NegativeBinomial().log_prob(*given, log_r), expected, rtol=1e-4)


class Shifted(Laplace):
    """Real values about what the decoder says and a bias, which is learned and may be negative."""

    n_params = 1
    n_shared = 1

    def log_prob(self, x, loc, bias):
        return -0.5 * (x - loc - bias).square() - 0.5 * np.log(2 * np.pi)

    def mean(self, loc, bias):
        return loc + bias

    def sample(self, loc, bias, generator):
        return loc + bias + torch.empty_like(loc).normal_(generator=generator)

    def params_for_mean(self, mean):
        return (torch.zeros_like(mean),)

    def shared_statistics(self, x, loc, bias):
        return (x - loc,)


@pytest.mark.parametrize("n_samples", [200, 4000])
def test_what_a_users_likelihood_learns_may_be_negative(n_samples):
    centers = np.array([-3.0, 2.0, -1.0])
    X = centers + np.random.default_rng(0).normal(size=(n_samples, 3))
    model = quick(VAETransformer, likelihood=Shifted, scaling=None, max_iter=30).fit(X)
    learned = model.module_.shared[0].numpy()
    restored = model.inverse_transform(model.transform(X)).mean(axis=0)
    assert learned[0] < -0.5
    np.testing.assert_allclose(restored, centers, atol=0.3)


def test_cells_of_levels_that_others_do_not_have_are_told():
    columns = Columns([("gaussian", 1), ("categorical", (2, 3))])
    known = torch.tensor([[1.0, 1, 0, 1, 0, 0], [np.nan, np.nan, np.nan, 0, 1, 0]])
    x = torch.tensor([[5.0, 1, 0, 0, 1, 0], [5.0, 0, 1, 0, 0, 1], [5.0, np.nan, np.nan, 0, 0, 1]])
    expected = [[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]]
    assert columns.of_new_levels(x, known).tolist() == expected


@pytest.mark.parametrize("mean_total", [0.4, 1.4, 7.4])
def test_draws_of_shares_have_the_mean_of_the_total(mean_total):
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(20_000, 3)
    total = torch.full((3,), mean_total)
    drawn = Multinomial().sample(logits, total, generator)
    expected = Multinomial().mean(logits, total)[0]
    torch.testing.assert_close(drawn.mean(0), expected, rtol=0.03, atol=0.01)


def test_what_is_known_of_counts_tells_more_of_their_total_the_more_it_is():
    logits, total = torch.tensor([0.1, 0.2, 0.3, 0.4]).log(), torch.full((4,), 50.0)
    x = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 3, 3], [30, 60, 90]])
    x = torch.cat([x, torch.full((4, 1), np.nan)], -1)
    _, found = Multinomial().given(x, logits, total)
    assert (found.diff(dim=0) > 0).all()
    assert found[-1].item() == pytest.approx(300, rel=0.05)
    _, unknown = Multinomial().given(torch.full((1, 4), np.nan), logits, total)
    assert unknown.item() == pytest.approx(50)
