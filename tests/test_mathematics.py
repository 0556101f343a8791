"""The numbers mean what the docstrings say: densities, bounds, units, and the linear cases."""

import numpy as np
import pytest
import torch
from helpers import factor_rows, log_prob_of_place, make_rows, quick
from scipy.stats import multivariate_normal, spearmanr
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer, VAETransformer
from skvae._bounds import gaussian_kl

SCALINGS = ["standard", "quantile", None]
SCALES = [
    1e-30,
    1e-10,
    10.0,
    1e10,
    1e30,
    np.array([1e-30, 1e-10, 10.0, 1e10, 1e30]),
]


def two_bumps(n_samples, n_features):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n_samples, n_features))
    return np.where(rng.random((n_samples, 1)) < 0.4, 1.5 + 0.5 * rows, 0.8 * rows - 1)


def fine_in_the_middle(n_middle, end=40.0):
    """Return points from -end to end, most of them where the data lie, and their widths."""
    tail = np.linspace(5, end, 60)[1:]
    points = np.concatenate([-tail[::-1], np.linspace(-5, 5, n_middle), tail])
    return points, np.gradient(points)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("n_features", [1, 2])
def test_the_density_integrates_to_one(scaling, n_features):
    X = two_bumps(1000, n_features)
    vae = quick(VAETransformer, n_components=n_features, scaling=scaling, max_iter=40).fit(X)
    points, widths = fine_in_the_middle(301)
    grid = np.stack(np.meshgrid(*[points] * n_features), -1).reshape(-1, n_features)
    cells = np.stack(np.meshgrid(*[widths] * n_features), -1).reshape(-1, n_features).prod(1)
    assert np.exp(vae.score_samples(grid)) @ cells == pytest.approx(1, abs=0.02)


def test_samples_follow_the_density():
    X = two_bumps(1000, 1)
    vae = quick(VAETransformer, n_components=1, max_iter=60).fit(X)
    axis, step = np.linspace(-14, 14, 4001, retstep=True)
    cumulated = np.cumsum(np.exp(vae.score_samples(axis[:, None]))) * step
    drawn = np.interp(vae.sample(20_000, random_state=1)[:, 0], axis, cumulated)
    # Under the model these are uniform: Kolmogorov and Smirnov's distance, plus the density's 2 %.
    distance = np.abs(np.sort(drawn) - (np.arange(20_000) + 0.5) / 20_000).max()
    assert distance < 1.95 / np.sqrt(20_000) + 0.02


def test_a_linear_vae_is_as_good_as_factor_analysis():
    X, held_out = np.split(factor_rows(6000), [4000])
    exact = FactorAnalysis(3).fit(X).score(held_out)
    vae = VAETransformer(3, hidden_layer_sizes=(), random_state=0).fit(X)
    assert vae.score(held_out) >= exact - 0.05 * X.shape[1]


@pytest.mark.parametrize("tied", [False, True])
def test_a_linear_autoencoder_is_as_good_as_pca(tied):
    X = factor_rows(2000)
    Z = StandardScaler().fit(X)
    autoencoder = AutoencoderTransformer(
        3, hidden_layer_sizes=(), tied=tied, early_stopping=False, random_state=0
    ).fit(X)
    rows = Z.transform(X)
    pca = PCA(3).fit(rows)
    best = np.square(rows - pca.inverse_transform(pca.transform(rows))).mean()
    reconstructed = autoencoder.inverse_transform(autoencoder.transform(X))
    assert np.square(rows - Z.transform(reconstructed)).mean() <= 1.01 * best


# ---------------------------------------------------------------------------------------- beta


def test_beta_changes_the_fit_and_too_much_collapses_it():
    X = factor_rows(500)
    vae = quick(VAETransformer, max_iter=60).fit(X)
    with pytest.warns(UserWarning, match="Posterior collapse.*[Ll]ower beta") as warned:
        collapsed = quick(VAETransformer, max_iter=60, beta=1000).fit(X)
    assert [w.filename for w in warned] == [__file__]
    assert vae.n_active_components_ == 2
    assert collapsed.n_active_components_ == 0
    assert vae.kl_per_component_.sum() > 1 > collapsed.kl_per_component_.sum()
    assert vae.score(X) > collapsed.score(X)


def test_beta_is_no_part_of_the_scorer():
    X = factor_rows(300)
    vae = quick(VAETransformer, beta=4).fit(X)
    before = vae.score_samples(X), vae.elbo(X)
    vae.set_params(beta=1000)
    np.testing.assert_array_equal(vae.score_samples(X), before[0])
    np.testing.assert_array_equal(vae.elbo(X), before[1])


def normal_draws(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def in_working_units(vae, X):
    """Return the module in float64 and the rows as it sees them; for scaling=None."""
    return vae.module_.double(), torch.from_numpy(X)


def test_the_elbo_has_a_beta_of_one_whatever_the_training():
    X = factor_rows(300)
    vae = quick(VAETransformer, beta=0.1, scaling=None, n_draws=512, max_iter=40).fit(X)
    elbo = vae.elbo(X)
    module, x = in_working_units(vae, X)
    seen = module.see(x)
    loc, log_scale = module.posterior(seen)
    z = loc + log_scale.exp() * normal_draws(4000, 2)[:, None]
    log_prob = module.log_prob(seen, module.decoder(z)).sum(-1).mean(0)
    kl = gaussian_kl(loc, log_scale).sum(-1)
    assert kl.mean() > 1  # or a multiple of it would not show
    assert np.abs(elbo - (log_prob - kl).numpy()).mean() < 0.1


# --------------------------------------------------------------------------------------- units


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_a_change_of_units_shifts_the_score_and_changes_no_rank(Estimator, scaling, scale):
    X = make_rows(200, 5)
    model = quick(Estimator, scaling=scaling)
    plain = model.fit(X).score_samples(X)
    labels, codes = model.predict(X), model.transform(X)
    scaled = model.fit(X * scale).score_samples(X * scale)
    shift = -np.log(np.broadcast_to(scale, 5)).sum()
    np.testing.assert_allclose(scaled, plain + shift, rtol=0, atol=1e-4)
    assert spearmanr(scaled, plain).statistic > 1 - 1e-6
    np.testing.assert_array_equal(model.predict(X * scale), labels)
    np.testing.assert_allclose(model.transform(X * scale), codes, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_a_shift_changes_nothing(Estimator, scaling):
    X = np.round(make_rows(200, 5) * 2**20) / 2**20  # of which a sum with 1e9 is exact
    model = quick(Estimator, scaling=scaling)
    plain = model.fit(X).score_samples(X)
    shifted = model.fit(X + 1e9).score_samples(X + 1e9)
    np.testing.assert_allclose(shifted, plain, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-10, 1e10])
def test_what_comes_back_is_in_the_units_of_the_data(Estimator, scale):
    X = make_rows(200, 5)
    model = quick(Estimator)
    plain = model.fit(X).inverse_transform(model.transform(X)), model.sample(50)
    model.fit(X * scale)
    back = model.inverse_transform(model.transform(X * scale)), model.sample(50)
    for got, wanted in zip(back, plain, strict=True):
        np.testing.assert_allclose(got / scale, wanted, rtol=0, atol=1e-4)


# -------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("max_iter", [5, 100])
def test_the_elbo_is_a_lower_bound_of_the_score(max_iter):
    X = factor_rows(500)
    vae = quick(VAETransformer, max_iter=max_iter, n_draws=2048).fit(X)
    # Both are estimates, and the posterior may be as good as exact.
    assert (vae.elbo(X) - vae.score_samples(X)).max() < 0.01


def test_more_draws_are_a_tighter_bound():
    X = factor_rows(300)
    vae = quick(VAETransformer, n_components=3, max_iter=60, scaling=None).fit(X)
    module, x = in_working_units(vae, X)
    estimates = []
    for n_draws, n_times in [(4, 600), (256, 20)]:  # the bound is on the expectation
        noises = normal_draws(n_times, n_draws, 3)
        scores = [setattr(module, "noise", noise) or module.score(x).mean() for noise in noises]
        estimates.append(np.mean(scores))
    assert vae.elbo(X).mean() < estimates[0] < estimates[1]


def test_the_score_of_a_linear_vae_is_the_closed_form():
    X = factor_rows(1000, 6, 2)
    vae = VAETransformer(2, hidden_layer_sizes=(), likelihood="gaussian", scaling=None)
    vae = vae.set_params(max_iter=100, n_draws=1024, random_state=0).fit(X)
    scores = vae.score_samples(X)
    module, _ = in_working_units(vae, X)
    center = module.decode(torch.zeros(2, dtype=torch.float64))
    loadings = module.decode(torch.eye(2, dtype=torch.float64)) - center
    # The density of the noise at its mode tells its variance.
    at_mode = module.columns.log_prob(center, center, module.shared)
    variance = torch.exp(-2 * at_mode) / (2 * np.pi)
    covariance = (loadings.T @ loadings + variance.diag()).numpy()
    exact = multivariate_normal(center.numpy(), covariance).logpdf(X)
    assert np.abs(scores - exact).mean() < 0.01
    assert scores.mean() == pytest.approx(exact.mean(), abs=0.005)


def test_the_kl_is_that_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    loc, log_scale = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    posterior = torch.distributions.Normal(loc, log_scale.exp())
    prior = torch.distributions.Normal(torch.zeros_like(loc), torch.ones_like(loc))
    expected = torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(gaussian_kl(loc, log_scale), expected)


def test_the_autoencoder_scores_a_row_by_its_error_and_its_place():
    X = factor_rows(300)
    autoencoder = quick(AutoencoderTransformer, max_iter=30, early_stopping=False).fit(X)
    codes = autoencoder.transform(X)
    error = X - autoencoder.inverse_transform(codes)
    scale = autoencoder.module_.code_scale.double()
    np.testing.assert_allclose((scale @ scale.t()).diag(), codes.var(axis=0), rtol=0.2)
    # Beside this, only the noise scale of each feature is left to fit.
    design = np.column_stack([np.ones(len(X)), error**2])
    scores = autoencoder.score_samples(X) - log_prob_of_place(autoencoder, X)
    coefficients, *_ = np.linalg.lstsq(design, scores, rcond=None)
    np.testing.assert_allclose(design @ coefficients, scores, rtol=0, atol=1e-4)
    variance = -0.5 / coefficients[1:]
    blur = (0.2 * X.std(axis=0)) ** 2
    np.testing.assert_allclose(variance, (error**2).mean(axis=0) + blur, rtol=0.01)


@pytest.mark.parametrize(
    ("n_features", "n_components", "weight"), [(20, 2, 1.0), (80, 2, 2.0), (80, 20, 3**0.5)]
)
def test_among_many_errors_the_code_counts_more(n_features, n_components, weight):
    X = make_rows(200, n_features)
    model = quick(AutoencoderTransformer, n_components=n_components).fit(X)
    assert model.module_.weight_of_code == pytest.approx(weight)
    scores = model.contributions(X).sum(axis=1) + log_prob_of_place(model, X)
    np.testing.assert_allclose(model.score_samples(X), scores, rtol=1e-4, atol=1e-3)


def test_each_feature_has_a_noise_scale_of_its_own():
    rng = np.random.default_rng(0)
    scales = np.array([0.1, 0.3, 0.6, 1.2])
    X = rng.normal(size=(2000, 1)) + rng.normal(size=(2000, 4)) * scales
    # Tails would add a tenth to the variance of noise that has none.
    vae = VAETransformer(1, hidden_layer_sizes=(), likelihood="gaussian", random_state=0).fit(X)
    assert (np.diff((X - vae.inverse_transform(vae.transform(X))).std(axis=0)) > 0).all()
    drawn = vae.sample(20_000, random_state=1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.15)
