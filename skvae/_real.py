"""Distributions of real values: normal, and Student's t for tables with some wild cells."""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import functools
import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from ._likelihood import Likelihood, OfParts
from ._noise import normal_like, t_like
from ._scalars import scalar

LOG_2PI = math.log(2 * math.pi)

# Degrees of freedom of Student's t. Fewer describe single wild cells better, more tell rows that
# are somewhat odd in many cells; of 4, 8 and 20, these did both.
DF = 8


# The least scale of noise, in working units (columns of unit variance). Where a column is a
# function of the code, the density has no upper bound; and one that hardly varies in the training
# rows may yet do so in others.
LEAST_SCALE = 0.01


def raw_of_scale(scale: float) -> float:
    """Return the number whose softplus is this scale."""
    return math.log(math.expm1(scale))


def rounding_variance(ordered: Tensor) -> Tensor:
    """Return the variance of rounding to the values of each column; zero of constants.

    Their usual distance tells it. Columns are in ascending order, gaps in the table last.
    """
    gaps = ordered.diff(dim=0)
    step = gaps.masked_fill(~(gaps > 0), torch.nan).nanmedian(dim=0).values.nan_to_num()
    return step.square() / 12


class Gaussian(Likelihood):
    """Real values: squared error, with a noise variance for each feature that is learned."""

    starts_with_mean = True
    n_shared = 1
    shared_is_variance = True

    least_variance = LEAST_SCALE**2

    def log_prob(self, x: Tensor, loc: Tensor, variance: Tensor) -> Tensor:
        variance = variance.clamp(min=self.least_variance)
        return -0.5 * ((x - loc).square() / variance + (variance.log() + LOG_2PI))

    def grads(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return ((x - loc).div_(variance.clamp(min=self.least_variance)),)

    def mean(self, loc: Tensor, variance: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, variance: Tensor, generator: Generator) -> Tensor:
        noise = normal_like(loc, generator)
        return loc + variance.clamp(min=self.least_variance).sqrt() * noise

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def shared_statistics(self, x: Tensor, loc: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return ((x - loc).square(),)


class Heteroscedastic(OfParts):
    """Real values whose noise differs from row to row: the decoder gives its scale, too.

    The scale is the softplus of the second output, plus that of rounding, or at least 0.01 in
    working units: on values that repeat it would else shrink until they are
    spikes of the density.
    """

    starts_with_mean = True
    n_params = 2
    n_shared = 1
    n_read_off = 1
    least_scale = LEAST_SCALE

    def _scale(self, raw: Tensor, rounding: Tensor) -> Tensor:
        return softplus(raw).add_(rounding.clamp(min=self.least_scale**2).sqrt_())

    def _tail(self, error: Tensor) -> Tensor:
        """Return what the log-density of noise of scale one depends on."""
        raise NotImplementedError

    def _log_density(self, tail: Tensor) -> Tensor:
        """Return the log-density of noise of scale one."""
        raise NotImplementedError

    def _pull(self, error: Tensor, tail: Tensor) -> Tensor:
        """Return minus its derivative."""
        raise NotImplementedError

    def _noise(self, like: Tensor, generator: Generator) -> Tensor:
        """Draw noise of scale one, shape of `like`."""
        raise NotImplementedError

    def _parts(self, x: Tensor, loc: Tensor, raw: Tensor, rounding: Tensor) -> tuple[Tensor, ...]:
        """Return the second output, the error in scales, its tail, and one over the scale."""
        precision = self._scale(raw, rounding).reciprocal()
        error = (x - loc) * precision
        return raw, error, self._tail(error), precision

    def _log_prob(self, raw: Tensor, error: Tensor, tail: Tensor, precision: Tensor) -> Tensor:
        return self._log_density(tail).add_(precision.log())

    def _grads(
        self, raw: Tensor, error: Tensor, tail: Tensor, precision: Tensor
    ) -> tuple[Tensor, ...]:
        of_loc = self._pull(error, tail) * precision
        of_scale = (of_loc * error).sub_(precision)
        return of_loc, of_scale.mul_(torch.sigmoid(raw))

    def mean(self, loc: Tensor, raw: Tensor, rounding: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, raw: Tensor, rounding: Tensor, generator: Generator) -> Tensor:
        return loc + self._scale(raw, rounding) * self._noise(loc, generator)

    def read_off(self, ordered: Tensor) -> tuple[Tensor, ...]:
        return (rounding_variance(ordered),)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        # a scale of one, as for the other likelihoods
        return mean, torch.full_like(mean, raw_of_scale(1 - self.least_scale))


class HeteroscedasticGaussian(Heteroscedastic):
    """Real values with normal noise that differs from row to row."""

    def _tail(self, error: Tensor) -> Tensor:
        return error.square()

    def _log_density(self, tail: Tensor) -> Tensor:
        return -0.5 * (tail + LOG_2PI)

    def _pull(self, error: Tensor, tail: Tensor) -> Tensor:
        return error

    def _noise(self, like: Tensor, generator: Generator) -> Tensor:
        return normal_like(like, generator)


@functools.cache
def log_norm_of_t(df: float) -> float:
    """Return the log-density of Student's t at zero."""
    return math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)


class HeteroscedasticStudentT(Heteroscedastic):
    """Real values, some of them wild, whose noise differs from row to row.

    Student's t with 8 degrees of freedom; the decoder gives its location and its scale. What sets
    it apart from the Gaussian are single values far from all that was learned. Where a network
    gives the scale, it may be any number there, and a Gaussian would make of some such rows the
    least likely by far: one of them then decides over the mean of all.

    References
    ----------
    Takahashi, Iwata, Yamanaka, Yamada and Yagi (2018). Student-t variational autoencoder for
    robust density estimation. IJCAI. doi:10.24963/ijcai.2018/374
    """

    df = DF

    def _tail(self, error: Tensor) -> Tensor:
        return error.square().add_(scalar(self.df, error))

    def _log_density(self, tail: Tensor) -> Tensor:
        at_zero = log_norm_of_t(self.df) + 0.5 * (self.df + 1) * math.log(self.df)
        return torch.sub(scalar(at_zero, tail), tail.log(), alpha=0.5 * (self.df + 1))

    def _pull(self, error: Tensor, tail: Tensor) -> Tensor:
        return (error * scalar(self.df + 1, error)).div_(tail)

    def _noise(self, like: Tensor, generator: Generator) -> Tensor:
        return t_like(like, self.df, generator)


class StudentT(OfParts):
    """Real values, some of them wild: Student's t with 8 degrees of freedom.

    The squared scale of each feature is learned. Its statistic is a step of the EM algorithm, so
    it depends on the value that it is to replace; the most likely one is its fixed point.

    References
    ----------
    Lange, Little and Taylor (1989). Robust statistical modeling using the t distribution.
    Journal of the American Statistical Association 84, 881-896.
    doi:10.1080/01621459.1989.10478852
    """

    starts_with_mean = True
    n_shared = 1
    shared_is_variance = True
    n_updates = 10
    df = DF
    least_variance = LEAST_SCALE**2

    def _parts(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        """Return the error, one plus its square over that of the tail's start, the precision."""
        error, precision = x - loc, variance.clamp(min=self.least_variance).reciprocal()
        tail = error.square().mul_(precision * scalar(1 / self.df, error))
        return error, tail.add_(scalar(1, error)), precision

    def _log_prob(self, error: Tensor, tail: Tensor, precision: Tensor) -> Tensor:
        at_zero = torch.add(scalar(log_norm_of_t(self.df), error), precision.log(), alpha=0.5)
        return torch.sub(at_zero, tail.log(), alpha=0.5 * (self.df + 1))

    def _grads(self, error: Tensor, tail: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        return ((error * (precision * scalar(1 + 1 / self.df, error))).div_(tail),)

    def mean(self, loc: Tensor, variance: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, variance: Tensor, generator: Generator) -> Tensor:
        noise = t_like(loc, self.df, generator)
        return loc + variance.clamp(min=self.least_variance).sqrt() * noise

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def shared_statistics(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        error, tail, _ = self._parts(x, loc, variance)
        # t is a mixture of normals: the farther out, the wider they were likely to be.
        return (error.square_().mul_(scalar(1 + 1 / self.df, error)).div_(tail),)
