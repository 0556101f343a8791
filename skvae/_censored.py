"""The distribution of real values that stop at a limit, where many rows have the same value."""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from ._likelihood import OfParts
from ._real import LEAST_SCALE
from ._scalars import scalar

# The scale of a logistic distribution of variance one.
SCALE = math.sqrt(3) / math.pi


class CensoredLogistic(OfParts):
    """Real values that stop at a limit, as pixels at black: logistic beyond it.

    A tobit model: what would lie on the other side is seen as the limit. This is the least or the
    greatest value of the training rows, whichever is more frequent, if one in twenty has it; a
    column without such has no limit. A value at the limit has the probability of all that lies on
    the other side, any other a density, and one on the other side, where training rows have none,
    that which it had without a limit. The decoder gives the location, and the variance of the
    noise is learned for each feature. The logistic distribution has about the tails of Student's
    t with 9 degrees of freedom.

    References
    ----------
    Tobin (1958). Estimation of relationships for limited dependent variables. Econometrica 26,
    24-36. doi:10.2307/1907382
    """

    starts_with_mean = True
    stops = True
    n_shared = 3
    n_read_off = 2
    shared_is_variance = True
    n_updates = 10
    least_variance = LEAST_SCALE**2

    # The share of the rows that must have the limit, which is less than what makes "auto" choose
    # this likelihood: that looks at other rows. And where it is if there is none.
    share, nowhere = 0.05, 1e30

    def read_off(self, ordered: Tensor) -> tuple[Tensor, ...]:
        """Return the limit of each column, and 1 if it is the least value, -1 the greatest."""
        n_known = (~ordered.isnan()).sum(0)
        last = (n_known - 1).clamp(min=0)[None]
        ends = ordered[0], ordered.gather(0, last)[0]
        n_least, n_greatest = ((self._distance(ordered, end) <= 0).sum(0) for end in ends)
        is_least = n_least >= n_greatest
        side = torch.where(is_least, 1.0, -1.0).to(ordered.dtype)
        is_limit = torch.maximum(n_least, n_greatest) >= (self.share * n_known).clamp(min=1)
        return torch.where(is_limit, torch.where(is_least, *ends), -side * self.nowhere), side

    def _distance(self, x: Tensor, limit: Tensor) -> Tensor:
        """Return how far values are from the limit beyond what rounding may have moved them."""
        return (x - limit).abs_().sub_(1e-4 + 1e-6 * limit.abs())

    def _parts(
        self, x: Tensor, loc: Tensor, variance: Tensor, limit: Tensor, side: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return errors in scales, as if limits were on the left, and one over the scale.

        Between them, whether a value is beyond its limit: one or zero.
        """
        per_scale = side / self._scale(variance)
        is_beyond = self._distance(x, limit).gt_(0)
        return (x - loc) * per_scale, is_beyond, per_scale

    def _scale(self, variance: Tensor) -> Tensor:
        return SCALE * variance.clamp(min=self.least_variance).sqrt()

    def _log_prob(self, error: Tensor, is_beyond: Tensor, per_scale: Tensor) -> Tensor:
        # The density is the product of the probabilities on either side, over the scale.
        to_left = softplus(-error)
        density_of_right = torch.sub(per_scale.abs().log(), to_left + error)
        return (density_of_right * is_beyond).sub_(to_left)

    def _pull(self, error: Tensor, is_beyond: Tensor) -> Tensor:
        """Return minus the derivative by the error."""
        share = torch.sigmoid(error)
        return torch.addcmul(share, share, is_beyond).sub_(scalar(1, error))

    def _grads(self, error: Tensor, is_beyond: Tensor, per_scale: Tensor) -> tuple[Tensor, ...]:
        return (self._pull(error, is_beyond).mul_(per_scale),)

    def mean(self, loc: Tensor, variance: Tensor, limit: Tensor, side: Tensor) -> Tensor:
        scale = side * self._scale(variance)
        return loc + scale * softplus((limit - loc) / scale)

    def sample(
        self, loc: Tensor, variance: Tensor, limit: Tensor, side: Tensor, generator: Generator
    ) -> Tensor:
        share = torch.empty_like(loc).uniform_(generator=generator)
        error = torch.logit(share, eps=torch.finfo(share.dtype).eps)
        drawn = loc + self._scale(variance) * error
        return torch.where((drawn - limit) * side < 0, limit, drawn)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def shared_statistics(self, x: Tensor, loc: Tensor, *shared: Tensor) -> tuple[Tensor, ...]:
        error, is_beyond, _ = self._parts(x, loc, *shared)
        # The variance times one plus the slope of the log-density by the log of the scale.
        slope = self._pull(error, is_beyond).mul_(error)
        change = slope.sub_(is_beyond).add_(scalar(1, error))
        return (change.mul_(shared[0].clamp(min=self.least_variance)),)
