"""Data makers, quick estimators, and likelihoods as a user would write them."""

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from torch.nn.functional import softplus

from skvae import AutoencoderTransformer, VAETransformer
from skvae.likelihoods import Likelihood

ESTIMATORS = [AutoencoderTransformer, VAETransformer]


class Laplace(Likelihood):
    """Real values with heavy tails; the decoder gives location and scale of each feature."""

    n_params = 2

    def log_prob(self, x, loc, raw):
        scale = softplus(raw) + 1e-3
        return -(x - loc).abs() / scale - (2 * scale).log()

    def mean(self, loc, raw):
        return loc

    def sample(self, loc, raw, generator):
        uniform = torch.empty_like(loc).uniform_(-1, 1, generator=generator)
        return loc - (softplus(raw) + 1e-3) * uniform.sign() * torch.log1p(-uniform.abs())

    def params_for_mean(self, mean):
        return mean, torch.zeros_like(mean)


class Poisson(Likelihood):
    """Counts; the rate is the softplus of the decoder's output."""

    support = "non-negative integers"
    continuous = False

    def accepts(self, x):
        return (x >= 0) & (x == x.round())

    def log_prob(self, x, raw):
        rate = softplus(raw) + 1e-6
        return torch.xlogy(x, rate) - rate - torch.lgamma(x + 1)

    def mean(self, raw):
        return softplus(raw) + 1e-6

    def sample(self, raw, generator):
        return torch.poisson(softplus(raw) + 1e-6, generator=generator)

    def params_for_mean(self, mean):
        return (mean.clamp(min=1e-3).expm1().log(),)


def quick(Estimator, **parameters):
    """Return an estimator whose fit takes a few hundredths of a second."""
    defaults = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 8, "random_state": 0}
    return Estimator(**(defaults | parameters))


def make_rows(n_samples, n_features, seed=0):
    """Return rows near a curved surface with two dimensions."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n_samples, 2))
    mixed = z @ rng.normal(size=(2, n_features))
    return mixed + 0.5 * np.tanh(2 * mixed) + 0.3 * rng.normal(size=(n_samples, n_features))


def factor_rows(n_samples, n_features=8, n_factors=3, seed=0):
    """Return rows of a factor analysis model, with a noise scale for each feature."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_factors, n_features))
    noise = rng.uniform(0.3, 1.0, n_features)
    z = rng.normal(size=(n_samples, n_factors))
    return z @ loadings + noise * rng.normal(size=(n_samples, n_features)) + 3.0


def make_curve(n_samples, n_features, seed=0):
    """Return rows near a closed curve, of which PCA needs as many components as features."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, size=(n_samples, 1))
    waves = np.cos(angle * np.arange(1, n_features + 1) / 2)
    return waves + 0.05 * rng.normal(size=waves.shape)


def log_prob_of_place(autoencoder, X):
    """Return what the score of rows is, but for the errors: how usual their places are."""
    module, columns = autoencoder.module_, autoencoder.module_.columns
    x = torch.as_tensor(autoencoder._table.forward(autoencoder._validated(X)))
    center, scale = module.code_center.numpy(), module.code_scale.numpy()
    of_code = multivariate_normal(center, scale @ scale.T).logpdf(autoencoder.transform(X))
    missing = torch.isnan(x)[:, columns.first_cell].numpy()
    of_code = module.weight_of_code * of_code * (1 - missing.mean(axis=1))
    centers = module.neighbours.numpy().astype(float)
    noise = np.sqrt(columns.noisy(module.shared[0]).numpy() + 0.2**2)
    of_cells = norm.logpdf(columns.noisy(x).numpy()[:, None], centers, noise)
    left_out = int(module.config["left_out"])
    of_others = np.sort(np.nansum(of_cells, axis=-1))[:, :-left_out]
    around = logsumexp(of_others, axis=1) - np.log(len(centers) - left_out)
    share = centers.shape[1] / columns.n_columns / 3
    return (1 - share) * of_code + share * around
