"""The distribution of numbers by their order: intervals of a normal one."""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from ._likelihood import Likelihood
from ._noise import normal_like
from ._real import LEAST_SCALE, LOG_2PI, raw_of_scale


class Ordinal(Likelihood):
    """Numbers by their order: a normal distribution of normal scores, averaged over intervals.

    Each value is an interval of the scores, as a middle and a width: a whole number has the cell
    around it, a value that many rows share all that is theirs, any other no width. The decoder
    gives the location and, through a softplus, the scale of each column. What is returned is the
    logarithm of the mean density over the interval; with the log-Jacobian, which is that of the
    interval over the cell, it is that of a probability, for it telescopes over cells. It is the
    ordered probit (cumulative link) model, with cut points from the marginal distribution.

    References
    ----------
    McCullagh (1980). Regression models for ordinal data. Journal of the Royal Statistical
    Society B 42, 109-142.
    Liu, Shepherd, Li and Harrell (2017). Modeling continuous response variables using ordinal
    regression. Statistics in Medicine 36, 4316-4335. doi:10.1002/sim.7433
    """

    n_cells = 2
    least_scale = LEAST_SCALE
    # Narrower than this, relative to where it is, an interval is a point with a correction, for
    # the difference of its ends is lost to rounding. Farther out than that, its nearer end tells.
    narrow, far = 0.1, 30.0

    def _params(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return the location and the scale of each column."""
        loc, raw = out.unflatten(-1, (-1, 2)).unbind(-1)
        return loc, softplus(raw) + self.least_scale

    def _parts(self, x: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return middle and width of each interval in scales, the scale, the log-probability."""
        middle, width = x.unflatten(-1, (-1, 2)).unbind(-1)
        loc, scale = self._params(out)
        center, width = (middle - loc) / scale, width / scale
        # in the lower tail, where logarithms are exact
        upper = torch.special.log_ndtr(width / 2 - center.abs())
        lower = torch.special.log_ndtr(-width / 2 - center.abs())
        log_mass = upper + (-torch.expm1((lower - upper).clamp(max=-1e-7))).log()
        return center, width, scale, log_mass

    def _is_narrow(self, center: Tensor, width: Tensor) -> Tensor:
        return width * (1 + center.abs()) < self.narrow

    def log_prob(self, x: Tensor, out: Tensor) -> Tensor:
        center, width, scale, log_mass = self._parts(x, out)
        narrow = self._is_narrow(center, width)
        square = torch.where(narrow, width, 0).square()
        at_middle = torch.log1p((center.square() - 1) * square / 24)
        at_middle = at_middle - 0.5 * (center.square() + LOG_2PI)
        over_width = log_mass - torch.where(narrow, 1, width).log()
        return torch.where(narrow, at_middle, over_width) - scale.log()

    def grads(self, x: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        center, width, scale, log_mass = self._parts(x, out)
        low, high = center - width / 2, center + width / 2
        at_low = (-0.5 * (low.square() + LOG_2PI) - log_mass).exp()
        at_high = (-0.5 * (high.square() + LOG_2PI) - log_mass).exp()
        to_center, to_log_scale = at_high - at_low, low * at_low - high * at_high
        # a point, with what is of second order in the width
        narrow, share = self._is_narrow(center, width), width.square() / 12
        to_center = torch.where(narrow, center * (share - 1), to_center)
        curve = center.square() * (1 - 2 * share) - 1 + share
        to_log_scale = torch.where(narrow, curve, to_log_scale)
        end = center.abs() - width / 2
        far = ~narrow & (end > self.far)
        to_center = torch.where(far, -end * center.sign(), to_center)
        to_log_scale = torch.where(far, end.square(), to_log_scale)
        # d scale / d raw = sigmoid(raw), where softplus(raw) = scale - least_scale
        to_raw = to_log_scale / scale * -torch.expm1(self.least_scale - scale)
        return (torch.stack([-to_center / scale, to_raw], -1).flatten(-2),)

    def mean(self, out: Tensor) -> Tensor:
        """Return the location as an interval of no width."""
        loc, _ = self._params(out)
        return torch.stack([loc, torch.zeros_like(loc)], -1).flatten(-2)

    def sample(self, out: Tensor, generator: Generator) -> Tensor:
        loc, scale = self._params(out)
        drawn = loc + scale * normal_like(loc, generator)
        return torch.stack([drawn, torch.zeros_like(drawn)], -1).flatten(-2)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        loc = mean.unflatten(-1, (-1, 2))[..., 0]
        raw = torch.full_like(loc, raw_of_scale(1 - self.least_scale))
        return (torch.stack([loc, raw], -1).flatten(-2),)
