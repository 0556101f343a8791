"""The distributions p(x | z) of a row given its code: one class each.

A likelihood is plain tensor code and holds no state. The decoder hands it `n_params` tensors of
shape (..., n_features), and the model `n_shared` further vectors that are the same for every row
(a noise scale, say). To add one: write a class, add a line to `LIKELIHOODS`. A class of your own
works without that: pass it as ``likelihood=MyLikelihood``.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, softplus

__all__ = ["LIKELIHOODS", "Bernoulli", "Gaussian", "Likelihood"]

LOG_2PI = math.log(2 * math.pi)


class Likelihood:
    """What a p(x | z) says of itself; subclass it to write your own.

    Attributes
    ----------
    n_params : int
        Tensors that it takes from the decoder for each feature.
    n_shared : int
        Vectors of n_features that it takes beside them, learned, the same for every row.
    support : str
        The values that it accepts, in words, for the error message.
    continuous : bool
        Whether it is a density of real values. These are scaled before, and the log-Jacobian
        of the scaling is added to their log-density; others are taken as they are.
    """

    n_params = 1
    n_shared = 0
    support = "real numbers"
    continuous = True

    def accepts(self, x: Tensor) -> Tensor:
        """Tell for each value whether it lies in the support; boolean, shape of x."""
        return torch.isfinite(x)

    def log_prob(self, x: Tensor, *params: Tensor) -> Tensor:
        """Return the log-density of each value in nats, shape (..., n_features), not summed."""
        raise NotImplementedError

    def mean(self, *params: Tensor) -> Tensor:
        """Return E[x | z], shape (..., n_features)."""
        raise NotImplementedError

    def sample(self, *params_and_generator) -> Tensor:
        """Draw x given the parameters; the last argument is the generator of every draw."""
        raise NotImplementedError

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        """Return decoder outputs with about this mean, where training starts; n_params vectors."""
        return tuple(torch.zeros_like(mean) for _ in range(self.n_params))

    def fit_shared(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return the most likely shared vectors given decoder outputs for rows x.

        An autoencoder trains with the shared vectors at zero, so that its loss is the plain
        error, and asks for them here when it is done.
        """
        return tuple(torch.zeros_like(x[0]) for _ in range(self.n_shared))


class Gaussian(Likelihood):
    """Real values: squared error, with a noise scale for each feature that is learned."""

    n_shared = 1

    # Where a column is a function of the code, the density has no upper bound; in working units
    # (columns of unit variance) a scale of 1e-3 is where we stop.
    log_floor = math.log(1e-3)

    def _log_scale(self, raw: Tensor) -> Tensor:
        return self.log_floor + softplus(raw - self.log_floor)

    def log_prob(self, x: Tensor, loc: Tensor, raw_scale: Tensor) -> Tensor:
        log_scale = self._log_scale(raw_scale)
        return -0.5 * ((x - loc) * (-log_scale).exp()).square() - (log_scale + 0.5 * LOG_2PI)

    def mean(self, loc: Tensor, raw_scale: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, raw_scale: Tensor, generator: Generator) -> Tensor:
        noise = torch.empty_like(loc).normal_(generator=generator)
        return loc + self._log_scale(raw_scale).exp() * noise

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def fit_shared(self, x: Tensor, loc: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        above = ((x - loc).square().mean(0).log() / 2 - self.log_floor).clamp(min=1e-6)
        return (self.log_floor + torch.expm1(above).log(),)


class Bernoulli(Likelihood):
    """Zeros and ones, or shares between them: cross-entropy; the decoder gives the logits."""

    support = "values in [0, 1]"
    continuous = False

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        return x * logits - softplus(logits)

    def mean(self, logits: Tensor) -> Tensor:
        return logsigmoid(logits).exp()

    def sample(self, logits: Tensor, generator: Generator) -> Tensor:
        return torch.bernoulli(self.mean(logits), generator=generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean.clamp(0.01, 0.99).logit(),)


LIKELIHOODS: dict[str, type[Likelihood]] = {"gaussian": Gaussian, "bernoulli": Bernoulli}
