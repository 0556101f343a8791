"""The two models: their gradients, overflow, tied weights, noise, the density of the codes."""

import math

import numpy as np
import pytest
import torch
from helpers import Laplace, make_curve, make_rows, quick
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skvae import AutoencoderTransformer, VAETransformer
from skvae._autoencoder_model import Autoencoder
from skvae._bounds import gaussian_kl, split_posterior
from skvae._importance import quasi_normal
from skvae._latent_model import Moment, rounding_variance
from skvae._vae_model import VAE
from skvae.likelihoods import Bernoulli, Gaussian

SHAPE = {"n_components": 2, "hidden_layer_sizes": (6,), "activation": "tanh"}


def build(cls, likelihood, **parameters):
    model = cls(**SHAPE, blocks=((likelihood, 4),), **parameters).double()
    mean = torch.zeros(4, dtype=torch.float64)
    model.initialize(torch.Generator().manual_seed(0), mean)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return model


def rows(n_samples=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_samples, 4, generator=generator, dtype=torch.float64)


def some_weights():
    generator = torch.Generator().manual_seed(2)
    return torch.rand(5, 1, generator=generator, dtype=torch.float64)


MODELS = [
    pytest.param(Autoencoder, {"noise": 0.0, "tied": False}, id="autoencoder"),
    pytest.param(Autoencoder, {"noise": 0.0, "tied": True}, id="tied autoencoder"),
    pytest.param(VAE, {"beta": 3.0, "n_draws": 8}, id="vae"),
]


@pytest.mark.parametrize(("cls", "parameters"), MODELS)
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", Laplace], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradients_are_those_of_autograd(cls, parameters, likelihood, weighted):
    if parameters.get("tied") and likelihood is Laplace:
        pytest.skip("two outputs for each feature have no transpose")
    model, x = build(cls, **parameters, likelihood=likelihood), rows().sigmoid()
    weight = some_weights() if weighted else None
    if isinstance(model, VAE):
        model.beta /= 2  # as half of the warm-up
    bound = model.bound(x, torch.Generator().manual_seed(7))
    total = (bound if weight is None else bound * weight[:, 0]).sum()
    wanted = torch.autograd.grad(total, list(model.parameters()))
    if isinstance(model, VAE):
        model.beta *= 2
    model.bind()
    with torch.inference_mode():
        model.ascend(x, weight, torch.Generator().manual_seed(7), Moment(kl_warmth=0.5))
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("likelihood", "beta"),
    [("gaussian", 1.0), ("heteroscedastic_gaussian", 0.5), ("bernoulli", 0.5), ("bernoulli", 2.0)],
)
def test_the_gradients_of_the_importance_weighted_bound_are_those_of_autograd_in_the_mean(
    likelihood, beta, weighted
):
    parameters = {"beta": beta, "n_draws": 8, "n_training_draws": 3, "likelihood": likelihood}
    model, x = build(VAE, **parameters), rows().sigmoid()
    weight = some_weights() if weighted else None
    n_times = 20_000
    # Many copies of the rows stand for many draws of each.
    x, many = x.repeat(n_times, 1), None if weight is None else weight.repeat(n_times, 1)
    bound = model.bound(x, torch.Generator().manual_seed(7))
    total = (bound if many is None else bound * many[:, 0]).sum() / n_times
    wanted = dict(
        zip(
            dict(model.named_parameters()),
            torch.autograd.grad(total, list(model.parameters())),
            strict=True,
        )
    )
    model.bind()
    with torch.inference_mode():
        model.ascend(x, many, torch.Generator().manual_seed(7), Moment())
    for name, parameter in model.named_parameters():
        gradient = parameter.grad / n_times
        if name.startswith("decoder"):  # by the same formula, from the same draws
            torch.testing.assert_close(gradient, wanted[name])
        else:
            error = (gradient - wanted[name]).norm() / wanted[name].norm()
            assert error < 0.1, name


def test_a_light_kl_term_does_not_reward_codes_far_from_the_posterior():
    rng = np.random.default_rng(0)
    taste = rng.integers(3, size=300)
    likes = rng.random((300, 60)) < np.where(taste[:, None] == np.arange(60) % 3, 0.4, 0.02)
    X = likes.astype(np.float32)
    vae = VAETransformer(
        likelihood="multinomial", beta=0.2, n_training_draws=4, max_iter=60, random_state=0
    ).fit(X[:250])
    shares = np.where(likes, -np.inf, vae.inverse_transform(vae.transform(X)))[250:]
    best = shares.argsort(axis=1)[:, -5:]
    assert (best % 3 == taste[250:, None]).mean() > 0.9


def test_more_draws_in_training_give_a_tighter_bound():
    model, x = build(VAE, "gaussian", beta=1.0, n_draws=8), rows().repeat(2000, 1)
    bounds = []
    for n_draws in (1, 3, 10, 100):
        model.n_training_draws = n_draws
        bounds.append(model.bound(x, torch.Generator().manual_seed(0)).mean().item())
    assert bounds == sorted(bounds)
    assert bounds[-1] == pytest.approx(model.score(x[:5]).mean().item(), abs=0.05)


@pytest.mark.parametrize("raw", [-200.0, -90.0, 0.0, 90.0, 200.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_output_of_the_encoder_overflows(raw, dtype):
    out = torch.full((1, 2), raw, dtype=dtype, requires_grad=True)
    loc, log_scale = split_posterior(out)
    kl = gaussian_kl(loc, log_scale).sum()
    (kl + log_scale.exp().sum()).backward()
    assert torch.isfinite(kl)
    assert torch.isfinite(log_scale).all()
    assert torch.isfinite(out.grad).all()


def test_a_vanishing_scale_is_pulled_back_by_the_kl():
    raw = torch.tensor([[0.0, -200.0]], requires_grad=True)
    gaussian_kl(*split_posterior(raw)).sum().backward()
    assert raw.grad[0, 1] < -0.5


def test_the_posterior_starts_near_the_prior():
    loc, log_scale = split_posterior(torch.zeros(1, 2))
    assert gaussian_kl(loc, log_scale).item() == pytest.approx(0, abs=1e-12)


def test_quasi_random_draws_are_normal():
    draws = quasi_normal(1024, 3, seed=0)
    assert draws.dtype == torch.float64
    np.testing.assert_allclose(draws.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(draws.T.cov(), np.eye(3), atol=0.03)


def test_the_draws_for_scoring_are_those_of_the_fit(X):
    vae = quick(VAETransformer).fit(X)
    assert vae.module_.noise.shape[-1] == 2
    assert vae.score_samples(X).tolist() == vae.score_samples(X).tolist()


# -------------------------------------------------------------------------- of the autoencoder


def test_the_weights_of_a_tied_decoder_are_the_encoders_transposed(X):
    model = quick(AutoencoderTransformer, hidden_layer_sizes=(), tied=True, scaling=None).fit(X)
    into = model.transform(np.eye(5)) - model.transform(np.zeros((1, 5)))
    back = model.inverse_transform(np.eye(2)) - model.inverse_transform(np.zeros((1, 2)))
    np.testing.assert_allclose(back, into.T, atol=1e-12)


def test_a_tied_model_with_hidden_layers_learns_and_is_smaller():
    X = make_curve(200, 6)
    tied, free = (
        quick(AutoencoderTransformer, tied=tied, max_iter=60, early_stopping=False).fit(X)
        for tied in (True, False)
    )
    assert tied.loss_curve_[-1] < tied.loss_curve_[0]
    count = [sum(p.numel() for p in model.module_.parameters()) for model in (tied, free)]
    assert count[0] < count[1]


def test_a_tied_model_refuses_a_likelihood_of_two_parameters(X):
    with pytest.raises(ValueError, match="tied"):
        quick(AutoencoderTransformer, tied=True, likelihood=Laplace).fit(X)


def test_noise_makes_codes_robust(X):
    rng = np.random.default_rng(0)
    noisy = X + X.std(axis=0) * rng.normal(size=X.shape)
    moves = []
    for noise in (0.0, 1.0):
        model = quick(AutoencoderTransformer, n_components=5, noise=noise, max_iter=200).fit(X)
        back = model.inverse_transform(model.transform(noisy))
        moves.append(np.square(back - X).mean())
    assert moves[1] < moves[0]


@pytest.mark.parametrize(
    "density", ["gaussian_mixture", GaussianMixture(3), KernelDensity(bandwidth=0.3)], ids=str
)
def test_samples_come_from_the_density_of_the_codes(density):
    X = make_rows(500, 4)
    model = quick(AutoencoderTransformer, latent_density=density, max_iter=60).fit(X)
    drawn = model.sample(2000)
    np.testing.assert_allclose(drawn.mean(axis=0), X.mean(axis=0), atol=0.4)
    np.testing.assert_allclose(drawn.std(axis=0), X.std(axis=0), rtol=0.4)
    assert np.isfinite(model.latent_density_.score_samples(model.transform(X))).all()
    assert not hasattr(density, "means_")
    assert not hasattr(density, "tree_")


def test_a_kernel_density_draws_the_same_codes_from_a_seed(X):
    model = quick(AutoencoderTransformer, latent_density=KernelDensity()).fit(X)
    before = np.random.get_state()
    drawn = [model.sample(5, random_state=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.allclose(drawn[0], drawn[2])
    for now, then in zip(np.random.get_state(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_density_that_asks_for_y_gets_none(X):
    mixture = GaussianMixture(2).fit(make_rows(50, 2))
    density = FrozenEstimator(mixture)
    model = quick(AutoencoderTransformer, n_components=2, latent_density=density).fit(X)
    np.testing.assert_array_equal(model.latent_density_.means_, mixture.means_)


def test_the_mixture_of_codes_grows_with_the_rows_that_weigh(rng):
    X = make_rows(1000, 4)
    few = np.where(np.arange(1000) < 100, 1.0, 1e-3)
    sizes = [
        quick(AutoencoderTransformer).fit(X[:n], sample_weight=w).latent_density_.n_components
        for n, w in [(100, None), (1000, None), (1000, few)]
    ]
    assert sizes[0] == 2
    assert sizes[1] >= 10
    assert sizes[2] <= 2


@pytest.mark.filterwarnings("error")
def test_fewer_codes_than_components_of_their_mixture_are_no_reason_to_warn(rng):
    X = np.repeat(rng.normal(size=(3, 4)), 300, axis=0)
    assert np.isfinite(quick(AutoencoderTransformer).fit(X).sample(10)).all()


def test_without_a_density_there_is_no_sample(X):
    model = quick(AutoencoderTransformer, latent_density=None).fit(X)
    assert model.latent_density_ is None
    with pytest.raises(ValueError, match="latent_density"):
        model.sample()


def test_samples_are_in_random_order():
    X = np.vstack([make_rows(150, 3), make_rows(150, 3) + 30])
    drawn = quick(AutoencoderTransformer, max_iter=60).fit(X).sample(400)
    upper = (drawn[:, 0] > X[:, 0].mean()).astype(float)
    halves = upper[:200].mean(), upper[200:].mean()
    assert abs(halves[0] - halves[1]) < 0.25
    assert 0.2 < upper.mean() < 0.8


def test_a_larger_beta_leaves_less_in_the_code():
    X = make_rows(500, 8)
    parameters = {"hidden_layer_sizes": (), "max_iter": 60, "random_state": 0}
    kl = [
        VAETransformer(6, beta=beta, **parameters).fit(X).kl_per_component_ for beta in (0.3, 1, 3)
    ]
    assert all(each.shape == (6,) and (each >= 0).all() for each in kl)
    assert kl[0].sum() > kl[1].sum() > kl[2].sum()


def test_noise_spares_what_tells_the_encoder_of_gaps():
    model = build(Autoencoder, "gaussian", noise=1.0, tied=False, masks=True)
    seen = model.see(rows()).input
    noisy = model._corrupted(seen, torch.Generator().manual_seed(0))
    assert torch.equal(noisy[:, 4:], seen[:, 4:])
    assert not torch.isclose(noisy[:, :4], seen[:, :4]).any()


def test_grey_levels_are_learned_as_draws_of_black_and_white():
    # Two columns that are always alike, but grey: their draws are independent given the grey.
    grey = np.repeat(np.random.default_rng(0).beta(0.3, 0.3, size=(2000, 1)), 6, axis=1)
    drawn = (np.random.default_rng(1).random((1000, 6)) < grey[:1000]).astype(float)
    vae = quick(VAETransformer, likelihood="bernoulli", max_iter=60, hidden_layer_sizes=(16,))
    vae = vae.set_params(learning_rate=1e-2, random_state=0)
    of_draws = clone(vae).fit((np.random.default_rng(2).random(grey.shape) < grey).astype(float))
    assert vae.fit(grey).score(drawn) == pytest.approx(of_draws.score(drawn), abs=0.1)
    assert vae.module_.redraws
    assert not of_draws.module_.redraws


class Dithered(Gaussian):
    """Whole numbers, which stand for what has been rounded to them."""

    def redraw(self, x, generator):
        return x + torch.empty_like(x).uniform_(-0.5, 0.5, generator=generator)


def test_a_users_likelihood_is_learned_from_what_its_values_stand_for(rng):
    flags = rng.integers(0, 2, size=(100, 3)).astype(float)
    assert quick(VAETransformer, likelihood=Dithered).fit(flags).module_.redraws
    assert not quick(VAETransformer, likelihood="gaussian").fit(flags).module_.redraws


def test_gaps_among_grey_levels_stay_gaps():
    x = torch.tensor([[0.5, math.nan, 1.0, 0.0]])
    drawn = Bernoulli().redraw(x, torch.Generator().manual_seed(0))
    assert drawn.isnan().tolist() == [[False, True, False, False]]
    assert drawn[0, 2:].tolist() == [1.0, 0.0]


def test_rounding_is_that_to_the_values_of_a_column(rng):
    x = torch.tensor(rng.normal(size=(400, 5)))
    x[:, 0] = (2 * x[:, 0]).round() / 2
    x[:, 1] = x[:, 1] > 1.5
    x[::3, 1] = torch.nan
    x[:, 2] = 7.0
    x[:, 3] = torch.nan
    found = (12 * rounding_variance(x.sort(dim=0).values)).sqrt()
    torch.testing.assert_close(found[:4], x.new_tensor([0.5, 1.0, 0.0, 0.0]))
    assert 0 < found[4] < 0.02


def test_noise_is_at_least_that_of_rounding(Estimator, rng):
    X = rng.normal(size=(600, 4))
    X[:, 1] = X[:, 0]  # nothing is left of it, nor of the next but its rounding
    X[:, 2] = X[:, 0].round()
    X[:, 3] = rng.random(600) < 0.02
    model = quick(Estimator, max_iter=60, likelihood="gaussian").fit(X)
    least = np.array([0.0, 0.0, *(np.diff(np.unique(column)).min() for column in X.T[2:])])
    variance = model.module_.shared[0].numpy() * model._table.scale**2
    assert (variance >= least**2 / 12 * (1 - 1e-4)).all()
    assert variance[1] < least[2] ** 2 / 12


def test_components_in_use_are_those_of_rows_with_weight():
    X = 0.01 * make_rows(400, 4)
    X[:40] *= 300
    sample_weight = np.where(np.arange(400) < 40, 1e-9, 1)
    model = quick(VAETransformer, scaling=None, max_iter=60, early_stopping=False)
    codes = model.fit(X, sample_weight=sample_weight).transform(X)
    center = np.average(codes, axis=0, weights=sample_weight)
    variance = np.average((codes - center) ** 2, axis=0, weights=sample_weight)
    assert model.n_active_components_ == (variance > 0.01).sum() < (codes.var(axis=0) > 0.01).sum()


@pytest.mark.parametrize("codes", [np.zeros((5, 3)), np.zeros((4, 2)), np.full((5, 2), np.nan)])
def test_codes_drawn_by_a_density_of_the_users_are_checked(codes, monkeypatch):
    model = quick(AutoencoderTransformer, latent_density=KernelDensity()).fit(make_rows(50, 3))
    monkeypatch.setattr(KernelDensity, "sample", lambda self, n, random_state=None: codes)
    with pytest.raises(ValueError, match=r"latent_density must draw finite codes of shape \(5, 2"):
        model.sample(5)
