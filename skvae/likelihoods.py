"""The distributions p(x | z) of a row given its code: one class each.

A likelihood is plain tensor code and holds no state. The decoder hands it `n_params` tensors of
shape (..., n_features), and the model `n_shared` further vectors that are the same for every row
(a noise variance, say). To add one: write a class, add a line to `LIKELIHOODS`. A class of your
own works without that: pass it as ``likelihood=MyLikelihood``.
"""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import math
from typing import Any

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
        Vectors of n_features that it takes after them, learned, the same for every row.
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

    def grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of log_prob with respect to the first n_params tensors.

        They are found by autograd; a likelihood that is used much may know a shorter way.
        """
        # Training runs in inference mode, and its tensors cannot be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            inputs = [param.clone().requires_grad_() for param in params[: self.n_params]]
            shared = [param.clone() for param in params[self.n_params :]]
            return torch.autograd.grad(self.log_prob(x.clone(), *inputs, *shared).sum(), inputs)

    def mean(self, *params: Tensor) -> Tensor:
        """Return E[x | z], shape (..., n_features)."""
        raise NotImplementedError

    def sample(self, *params_and_generator: Any) -> Tensor:
        """Draw x given the parameters; the last argument is the generator of every draw."""
        raise NotImplementedError

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        """Return decoder outputs with about this mean, where training starts; n_params vectors."""
        return tuple(torch.zeros_like(mean) for _ in range(self.n_params))

    def shared_statistics(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return n_shared statistics of each value, shape of x.

        Their means over rows are the most likely shared vectors: the squared error for a
        variance. Training follows them; it starts, and an autoencoder stays, at one.
        """
        return ()


class Gaussian(Likelihood):
    """Real values: squared error, with a noise variance for each feature that is learned."""

    n_shared = 1

    # Where a column is a function of the code, the density has no upper bound; and one that
    # hardly varies in the training rows may yet do so in others. In working units (columns of
    # unit variance) a noise scale of 0.01 is where we stop.
    floor = 1e-4

    def log_prob(self, x: Tensor, loc: Tensor, variance: Tensor) -> Tensor:
        variance = variance.clamp(min=self.floor)
        return -0.5 * ((x - loc).square() / variance + (variance.log() + LOG_2PI))

    def grads(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return ((x - loc).div_(variance.clamp(min=self.floor)),)

    def mean(self, loc: Tensor, variance: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, variance: Tensor, generator: Generator) -> Tensor:
        noise = torch.empty_like(loc).normal_(generator=generator)
        return loc + variance.clamp(min=self.floor).sqrt() * noise

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def shared_statistics(self, x: Tensor, loc: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return ((x - loc).square(),)


class Bernoulli(Likelihood):
    """Zeros and ones, or shares between them: cross-entropy; the decoder gives the logits."""

    support = "values in [0, 1]"
    continuous = False

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        return x * logits - softplus(logits)

    def grads(self, x: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        return (x - torch.sigmoid(logits),)

    def mean(self, logits: Tensor) -> Tensor:
        return logsigmoid(logits).exp()

    def sample(self, logits: Tensor, generator: Generator) -> Tensor:
        return torch.bernoulli(self.mean(logits), generator=generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean.clamp(0.01, 0.99).logit(),)


LIKELIHOODS: dict[str, type[Likelihood]] = {"gaussian": Gaussian, "bernoulli": Bernoulli}
