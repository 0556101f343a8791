"""What the training of a VAE maximises: bounds on log p(x), estimated with draws of the codes.

Each takes the encoder's output, draws codes `z`, and knows the way back: from the gradient of
log p(x | z) at z to that of the encoder's output. `beta` is the weight of the KL term.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid

from ._scalars import scalar

# Smallest scale of a posterior with several draws, by which gradients are divided. It leaves room
# for 9 nats a component.
SMALLEST_SCALE = 1e-4


def gaussian_kl(loc: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(loc, scale^2) || N(0, 1)) of each component in nats, shape of loc."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 1) - log_scale


def split_posterior(out: Tensor) -> tuple[Tensor, Tensor]:
    """Return loc and log_scale from the encoder's output.

    The scale lies in (0, 2) and is 1, the prior's, at 0. Its logarithm has a gradient however
    small it is, and nothing overflows.
    """
    loc, raw = out.chunk(2, -1)
    return loc, logsigmoid(raw) + math.log(2)


def weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return values * weight; None is one everywhere."""
    return values if weight is None else values * weight


class OneDraw:
    """The evidence lower bound, by one draw of each code; its KL term in closed form."""

    weighs_draws = False  # whether `weigh` asks for log p(x | z), which costs

    def __init__(self, out: Tensor, generator: Generator, beta: float):
        self.out, self.beta = out, beta
        self.loc, raw = out.chunk(2, -1)
        self.half_scale = torch.sigmoid(raw)  # as in `split_posterior`
        self.shift = torch.empty_like(self.half_scale).normal_(0, 2, generator=generator)
        self.shift.mul_(self.half_scale)
        self.z = self.loc + self.shift

    def value(self, log_prob: Tensor) -> Tensor:
        """Return the bound of each row from log p(x | z), (n_samples,)."""
        return log_prob - self.beta * gaussian_kl(*split_posterior(self.out)).sum(-1)

    def weigh(self, log_prob: Tensor, weight: Tensor | None) -> Tensor | None:
        """Return how much the draws count: as much as their rows."""
        return weight

    def backward(self, grad: Tensor, weight: Tensor | None) -> Tensor:
        """Return the gradient of the encoder's output.

        `grad` is the (weighted) gradient of log p(x | z) at z, `weight` that of rows.
        """
        beta, half_scale = self.beta, self.half_scale
        grad_loc = torch.sub(grad, weighted(self.loc, weight), alpha=beta)
        # With respect to log_scale, of which the KL has the derivative scale^2 - 1; ...
        of_kl = torch.sub(scalar(1, grad), half_scale * half_scale, alpha=4)
        grad_raw = (grad * self.shift).add_(weighted(of_kl, weight), alpha=beta)
        # ... then through d log_scale / d raw.
        grad_raw = torch.addcmul(grad_raw, grad_raw, half_scale, value=-1)
        return torch.cat((grad_loc, grad_raw), -1)


class ImportanceWeighted:
    """The bound by several draws of each code, (n_draws, n_samples, n_components): IWAE.

    The log of the mean of p(x, z) / q(z | x) over draws is nearer to log p(x) than the ELBO, and
    does not ask for a posterior that is normal. With one draw this is, in the mean, the ELBO with
    that weight. One below one is a power of p(z) / q(z | x): less of a KL term beside the bound
    would reward codes far from the posterior. Of one above, the rest is a KL term beside it: from
    a power, the best of several draws would escape.

    References
    ----------
    Burda, Grosse and Salakhutdinov (2016). Importance Weighted Autoencoders. ICLR.
    Tucker, Lawson, Gu and Maddison (2019). Doubly Reparameterized Gradient Estimators for Monte
    Carlo Objectives. ICLR.
    """

    weighs_draws = True
    _shares: Tensor  # of the draws in the bound of their row, known from `weigh` on

    def __init__(self, out: Tensor, n_draws: int, generator: Generator, beta: float):
        self.out, self.power, self.excess = out, min(beta, 1.0), max(beta - 1.0, 0.0)
        self.loc, raw = out.chunk(2, -1)
        # As in `split_posterior`; the gradient is divided by it.
        self.scale = (torch.sigmoid(raw) * scalar(2, raw)).clamp(min=SMALLEST_SCALE)
        self.noise = self.loc.new_empty(n_draws, *self.loc.shape).normal_(generator=generator)
        self.z = torch.addcmul(self.loc, self.noise, self.scale)

    def _log_weights(self, log_prob: Tensor) -> Tensor:
        """Return log p(x | z) + power log (p(z) / q(z | x)), shape (n_draws, n_samples).

        Without what is the same for all draws of a row: see `value`.
        """
        squares = torch.addcmul(self.noise.square(), self.z, self.z, value=-1).sum(-1)
        return torch.add(log_prob, squares, alpha=0.5 * self.power)

    def value(self, log_prob: Tensor) -> Tensor:
        """Return the bound of each row from log p(x | z) of the draws, (n_samples,)."""
        bound = self._log_weights(log_prob).logsumexp(0) - math.log(len(log_prob))
        bound += self.power * self.scale.log().sum(-1)
        kl = gaussian_kl(*split_posterior(self.out)).sum(-1)
        return bound - self.excess * kl

    def weigh(self, log_prob: Tensor, weight: Tensor | None) -> Tensor:
        """Return the part of each draw in its row's bound, times the weight of the row.

        `log_prob` is log p(x | z); the shape is (n_draws, n_samples, 1).
        """
        self._shares = self._log_weights(log_prob).softmax(0)[..., None]
        return weighted(self._shares, weight)

    def backward(self, grad: Tensor, weight: Tensor | None) -> Tensor:
        """Return the gradient of the encoder's output.

        `grad` is that of log p(x | z) at z, times what `weigh`, which comes first, gave the draw.
        Derived as usual, the signal would fade as draws are added; reparametrised twice, it does
        not: what of the gradient is noise only is left out, and a draw with the share s counts by
        s^2, or, where its weight has a power, by s (1 - power (1 - s)).
        """
        scale, shares = self.scale, self._shares
        pull = weighted((self.noise / scale).sub_(self.z), weight)
        grad = torch.addcmul(grad, pull, shares, value=self.power)
        grad.mul_(shares if self.power == 1 else 1 - self.power * (1 - shares))
        grad_loc, grad_scale = grad.sum(0), (grad * self.noise).sum(0)
        if self.excess:
            grad_loc.sub_(weighted(self.loc, weight), alpha=self.excess)
            grad_scale.sub_(weighted(scale - scale.reciprocal(), weight), alpha=self.excess)
        slope = torch.addcmul(scale, scale, scale, value=-0.5)  # d scale / d raw
        return torch.cat((grad_loc, grad_scale.mul_(slope)), -1)
