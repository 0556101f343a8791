"""The density that an autoencoder fits to its codes, by a mixture or a user's estimator."""

import copy
from inspect import signature

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

from ._arrays import resampled

# Codes for a component of the mixture: so many for each dimension and one more, and not fewer than
# so many. (By the density of the codes of held-out rows of nine tables 7 to 10 are best.)
CODES_A_DIMENSION, FEWEST_CODES = 8, 50


def fit(density, Z, sample_weight, seed):
    """Return a density fitted to codes Z of shape (n_samples, n_components)."""
    density = _mixture(Z, sample_weight) if isinstance(density, str) else clone(density)
    density, weights = _seeded(density, seed), {}
    if sample_weight is not None:
        if has_fit_parameter(density, "sample_weight"):
            weights = {"sample_weight": sample_weight}
        else:  # a mixture takes no weights: rows are repeated in proportion instead
            Z = Z[resampled(sample_weight, seed)]
    y = {"y": None} if has_fit_parameter(density, "y") else {}  # some ask for it
    # Codes are NumPy's, whatever X was; a mixture refuses to start under array-API dispatch.
    with config_context(array_api_dispatch=False):
        return density.fit(Z, **y, **weights)


def draw(density, n_samples, n_components, seed):
    """Draw codes of this shape, in random order."""
    density, seeds = _seeded(copy.copy(density), seed), {}
    if "random_state" in signature(density.sample).parameters:  # as a kernel density has it
        seeds = {"random_state": seed}
    with config_context(array_api_dispatch=False):
        drawn = density.sample(n_samples, **seeds)
    codes = np.asarray(drawn[0] if isinstance(drawn, tuple) else drawn, dtype=np.float64)
    if codes.shape != (n_samples, n_components) or not np.isfinite(codes).all():
        raise ValueError(
            f"latent_density must draw finite codes of shape {(n_samples, n_components)}, but its "
            f"sample({n_samples}) has the shape {codes.shape} or holds other values."
        )
    return np.random.RandomState(seed).permutation(codes)


def _mixture(Z, sample_weight):
    # Half of the time that `import skvae` takes beside torch's and scikit-learn's own.
    from sklearn.mixture import GaussianMixture

    n_samples, n_components = Z.shape
    if sample_weight is not None:  # as many of equal weight would tell as much
        weight = sample_weight / sample_weight.max()
        n_samples = weight.sum() ** 2 / (weight**2).sum()
    codes_of_each = max(FEWEST_CODES, CODES_A_DIMENSION * (n_components + 1))
    size = max(1, int(n_samples // codes_of_each))
    # Codes may lie in a subspace; a share of their variance keeps the covariances regular.
    share = 1e-4 * Z.var() + 1e-12
    # k-means, where a mixture starts, warns if there are fewer codes than components.
    n_distinct = len(np.unique(np.rint(Z / np.sqrt(share)), axis=0))
    return GaussianMixture(min(size, n_distinct), tol=2e-2, reg_covar=share)


def _seeded(density, seed):
    if "random_state" in density.get_params():
        density.set_params(random_state=seed)
    return density
