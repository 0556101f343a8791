"""The distributions p(x | z) of a row given its code: one class each.

A likelihood is plain tensor code and learns nothing itself. The decoder hands it `n_params`
tensors of shape (..., n_features), and the model `n_shared` further vectors that are the same for
every row (a noise variance, say). To add one: write a class, add a line to `LIKELIHOODS`. A class
of your own works without that: pass it as ``likelihood=MyLikelihood``.
"""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, pad, softplus

from ._scalars import scalar

__all__ = [
    "LIKELIHOODS",
    "Bernoulli",
    "Categorical",
    "Gaussian",
    "HeteroscedasticGaussian",
    "HeteroscedasticStudentT",
    "Likelihood",
    "Multinomial",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
]

LOG_2PI = math.log(2 * math.pi)
TINY = 1e-30

# Degrees of freedom of Student's t. Fewer describe single wild cells better, more tell rows that
# are somewhat odd in many cells; of 4, 8 and 20, these did both.
DF = 8

# Where the decoder starts for what never occurs in the training rows: logarithms need some number.
SMALLEST_RATE = 1e-3
SMALLEST_SHARE = 1e-6


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
    n_updates : int
        How often the shared vectors are set to the means of `shared_statistics` until they are
        the most likely ones: more than once where the statistics depend on them.
    starts_with_mean : bool
        Whether the first of its parameters is the mean itself, with no link between. An
        autoencoder then starts from a PCA of these columns.
    shared_is_variance : bool
        Whether its first shared vector is the variance of the noise.
    needs_levels : bool
        Whether it is built with the number of levels of each categorical column.
    shares_out_total : bool
        Whether a row is one total that is shared out over the columns. A VAE of such rows alone
        has a lighter KL term, unless told otherwise.
    n_cells : int
        Numbers that it gets for each column, side by side, and for each parameter gives or takes:
        one, or two if a value is the middle and the width of an interval (see `Ordinal`).
    """

    n_params = 1
    n_shared = 0
    support = "real numbers"
    continuous = True
    starts_with_mean = False
    shared_is_variance = False
    needs_levels = False
    shares_out_total = False
    n_updates = 1
    n_cells = 1

    def accepts(self, x: Tensor) -> Tensor:
        """Tell for each value whether it lies in the support; boolean, shape of x."""
        return torch.isfinite(x)

    def embed(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of the values, shape of x."""
        return x

    def redraw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return draws of what the values stand for, shape of x; a VAE learns from new ones in
        each step. Values that are data themselves stay.
        """
        return x

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

    def log_prob_and_grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return both; a likelihood may know what they have in common."""
        return self.log_prob(x, *params), self.grads(x, *params)

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

    starts_with_mean = True
    n_shared = 1
    shared_is_variance = True

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


class HeteroscedasticGaussian(Likelihood):
    """Real values whose noise differs from row to row: the decoder gives its scale, too.

    The scale is the softplus of the second output, plus a floor of 0.01 in working units (see
    `Gaussian.floor`).
    """

    starts_with_mean = True
    n_params = 2
    floor = 0.01

    def _scale(self, raw: Tensor) -> Tensor:
        return softplus(raw).add_(scalar(self.floor, raw))

    def _log_density(self, square: Tensor) -> Tensor:
        """Return the log-density of noise of scale one, at errors with these squares."""
        return -0.5 * (square + LOG_2PI)

    def _pull(self, error: Tensor, square: Tensor) -> Tensor:
        """Return minus the derivative of the log-density of noise of scale one."""
        return error

    def _noise(self, like: Tensor, generator: Generator) -> Tensor:
        """Draw noise of scale one, shape of `like`."""
        return torch.empty_like(like).normal_(generator=generator)

    def _parts(self, x: Tensor, loc: Tensor, raw: Tensor) -> tuple[Tensor, ...]:
        """Return the error in scales, its square, and one over the scale."""
        precision = self._scale(raw).reciprocal()
        error = (x - loc) * precision
        return error, error.square(), precision

    def _log_prob(self, error: Tensor, square: Tensor, precision: Tensor) -> Tensor:
        return self._log_density(square).add_(precision.log())

    def _grads(
        self, raw: Tensor, error: Tensor, square: Tensor, precision: Tensor
    ) -> tuple[Tensor, ...]:
        of_loc = self._pull(error, square) * precision
        of_scale = (of_loc * error).sub_(precision)
        return of_loc, of_scale.mul_(torch.sigmoid(raw))

    def log_prob(self, x: Tensor, loc: Tensor, raw: Tensor) -> Tensor:
        return self._log_prob(*self._parts(x, loc, raw))

    def grads(self, x: Tensor, loc: Tensor, raw: Tensor) -> tuple[Tensor, ...]:
        return self._grads(raw, *self._parts(x, loc, raw))

    def log_prob_and_grads(
        self, x: Tensor, loc: Tensor, raw: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        parts = self._parts(x, loc, raw)
        return self._log_prob(*parts), self._grads(raw, *parts)

    def mean(self, loc: Tensor, raw: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, raw: Tensor, generator: Generator) -> Tensor:
        return loc + self._scale(raw) * self._noise(loc, generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        # a scale of one, as for the other likelihoods
        return mean, torch.full_like(mean, math.log(math.expm1(1 - self.floor)))


@functools.cache
def log_norm_of_t(df: float) -> float:
    """Return the log-density of Student's t at zero."""
    return math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)


def noise_of_t(like: Tensor, df: float, generator: Generator) -> Tensor:
    """Draw from Student's t, shape of `like`."""
    half = torch.full_like(like, df / 2)
    precision = torch._standard_gamma(half, generator=generator) / half
    return torch.empty_like(like).normal_(generator=generator) * precision.rsqrt()


class HeteroscedasticStudentT(HeteroscedasticGaussian):
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

    def _log_density(self, square: Tensor) -> Tensor:
        log_tail = (square + scalar(self.df, square)).log_()
        at_zero = log_norm_of_t(self.df) + 0.5 * (self.df + 1) * math.log(self.df)
        return torch.sub(scalar(at_zero, square), log_tail, alpha=0.5 * (self.df + 1))

    def _pull(self, error: Tensor, square: Tensor) -> Tensor:
        pull = error * scalar(self.df + 1, error)
        return pull.div_(square + scalar(self.df, square))

    def _noise(self, like: Tensor, generator: Generator) -> Tensor:
        return noise_of_t(like, self.df, generator)


class StudentT(Likelihood):
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
    floor = Gaussian.floor

    def _parts(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        """Return the error, one plus its square over that of the tail's start, the precision."""
        error, precision = x - loc, variance.clamp(min=self.floor).reciprocal()
        tail = error.square().mul_(precision * scalar(1 / self.df, error))
        return error, tail.add_(scalar(1, error)), precision

    def _log_prob(self, error: Tensor, tail: Tensor, precision: Tensor) -> Tensor:
        at_zero = torch.add(scalar(log_norm_of_t(self.df), error), precision.log(), alpha=0.5)
        return torch.sub(at_zero, tail.log(), alpha=0.5 * (self.df + 1))

    def _grads(self, error: Tensor, tail: Tensor, precision: Tensor) -> tuple[Tensor, ...]:
        return ((error * (precision * scalar(1 + 1 / self.df, error))).div_(tail),)

    def log_prob(self, x: Tensor, loc: Tensor, variance: Tensor) -> Tensor:
        return self._log_prob(*self._parts(x, loc, variance))

    def grads(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return self._grads(*self._parts(x, loc, variance))

    def log_prob_and_grads(
        self, x: Tensor, loc: Tensor, variance: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        parts = self._parts(x, loc, variance)
        return self._log_prob(*parts), self._grads(*parts)

    def mean(self, loc: Tensor, variance: Tensor) -> Tensor:
        return loc

    def sample(self, loc: Tensor, variance: Tensor, generator: Generator) -> Tensor:
        noise = noise_of_t(loc, self.df, generator)
        return loc + variance.clamp(min=self.floor).sqrt() * noise

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean,)

    def shared_statistics(self, x: Tensor, loc: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        error, tail, _ = self._parts(x, loc, variance)
        # t is a mixture of normals: the farther out, the wider they were likely to be.
        return (error.square_().mul_(scalar(1 + 1 / self.df, error)).div_(tail),)


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
    floor = 0.01
    # Narrower than this, relative to where it is, an interval is a point with a correction, for
    # the difference of its ends is lost to rounding. Farther out than that, its nearer end tells.
    narrow, far = 0.1, 30.0

    def _params(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return the location and the scale of each column."""
        loc, raw = out.unflatten(-1, (-1, 2)).unbind(-1)
        return loc, softplus(raw) + self.floor

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
        # d scale / d raw = sigmoid(raw), where softplus(raw) = scale - floor
        to_raw = to_log_scale / scale * -torch.expm1(self.floor - scale)
        return (torch.stack([-to_center / scale, to_raw], -1).flatten(-2),)

    def mean(self, out: Tensor) -> Tensor:
        """Return the location as an interval of no width."""
        loc, _ = self._params(out)
        return torch.stack([loc, torch.zeros_like(loc)], -1).flatten(-2)

    def sample(self, out: Tensor, generator: Generator) -> Tensor:
        loc, scale = self._params(out)
        drawn = loc + scale * torch.empty_like(loc).normal_(generator=generator)
        return torch.stack([drawn, torch.zeros_like(drawn)], -1).flatten(-2)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        loc = mean.unflatten(-1, (-1, 2))[..., 0]
        raw = torch.full_like(loc, math.log(math.expm1(1 - self.floor)))
        return (torch.stack([loc, raw], -1).flatten(-2),)


class Bernoulli(Likelihood):
    """Zeros and ones, or shares between them: cross-entropy; the decoder gives the logits.

    A share, as a grey level, stands for zeros and ones of which that many are ones.
    """

    support = "values in [0, 1]"
    continuous = False

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def redraw(self, x: Tensor, generator: Generator) -> Tensor:
        drawn = torch.empty_like(x).uniform_(generator=generator).lt(x).to(x.dtype)
        return torch.where(x.isnan(), x, drawn)  # gaps stay

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


class Counts(Likelihood):
    """What likelihoods of counts have in common; the first output is the log of the mean."""

    support = "non-negative integers"
    continuous = False

    # Where the mean stops. Past it exp would soon overflow; `grads` still point back from there.
    largest_log_mean = 30.0

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x == x.round()) & (x < math.inf)

    def embed(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def mean(self, log_mean: Tensor, *_: Tensor) -> Tensor:
        return log_mean.clamp(max=self.largest_log_mean).exp()


class Poisson(Counts):
    """Counts of independent events: the decoder gives the log of the rate."""

    def log_prob(self, x: Tensor, log_rate: Tensor) -> Tensor:
        log_rate = log_rate.clamp(max=self.largest_log_mean)
        return x * log_rate - log_rate.exp() - torch.lgamma(x + 1)

    def grads(self, x: Tensor, log_rate: Tensor) -> tuple[Tensor, ...]:
        return (x - self.mean(log_rate),)

    def sample(self, log_rate: Tensor, generator: Generator) -> Tensor:
        return torch.poisson(self.mean(log_rate), generator=generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean.clamp(min=SMALLEST_RATE).log(),)


class NegativeBinomial(Counts):
    """Counts that vary more than a Poisson's: their variance is mean + mean^2 / r.

    The decoder gives the logs of the mean and of r (of a series of trials, the number of failures
    that ends it). r stops at 10^4, where the mean itself varies by 1 %: beyond, the difference
    from a Poisson is lost in the rounding errors of log-gamma.
    """

    n_params = 2
    range_of_log_r = (-10.0, math.log(1e4))

    def _logs(self, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor]:
        return log_mean.clamp(max=self.largest_log_mean), log_r.clamp(*self.range_of_log_r)

    def log_prob(self, x: Tensor, log_mean: Tensor, log_r: Tensor) -> Tensor:
        log_mean, log_r = self._logs(log_mean, log_r)
        r, log_odds = log_r.exp(), log_mean - log_r
        n_ways = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        return n_ways - r * softplus(log_odds) - x * softplus(-log_odds)

    def grads(self, x: Tensor, log_mean: Tensor, log_r: Tensor) -> tuple[Tensor, ...]:
        log_mean, log_r = self._logs(log_mean, log_r)
        r, log_odds = log_r.exp(), log_mean - log_r
        grad_mean = x * torch.sigmoid(-log_odds) - r * torch.sigmoid(log_odds)
        growth = torch.digamma(x + r) - torch.digamma(r) - softplus(log_odds)
        return grad_mean, r * growth - grad_mean

    def sample(self, log_mean: Tensor, log_r: Tensor, generator: Generator) -> Tensor:
        log_mean, log_r = self._logs(log_mean, log_r)
        # a Poisson whose rate is drawn from a gamma distribution
        gamma = torch._standard_gamma(log_r.exp(), generator=generator)
        return torch.poisson(gamma * (log_mean - log_r).exp(), generator=generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return mean.clamp(min=SMALLEST_RATE).log(), torch.zeros_like(mean)


class Multinomial(Likelihood):
    """Counts that share out a total, as of the words of a text: the decoder gives logits.

    Weights that are no whole numbers, as of tf-idf, are taken too. The total of a row is not
    explained but given: log_prob is that of the shares, and each feature has the part of it that
    its count suggests, so that they sum to the log-pmf. What is expected and drawn has the mean
    total of the training rows, a shared vector whose entries are all the same.

    References
    ----------
    Liang, Krishnan, Hoffman and Jebara (2018). Variational autoencoders for collaborative
    filtering. Proceedings of the World Wide Web Conference. doi:10.1145/3178876.3186150
    """

    n_shared = 1
    support = "non-negative numbers"
    continuous = False
    shares_out_total = True

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < math.inf)

    def embed(self, x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=TINY)

    def log_prob(self, x: Tensor, logits: Tensor, total: Tensor) -> Tensor:
        n = x.sum(-1, keepdim=True)
        log_ways = x / n.clamp(min=TINY) * torch.lgamma(n + 1) - torch.lgamma(x + 1)
        return log_ways + x * torch.log_softmax(logits, -1)

    def grads(self, x: Tensor, logits: Tensor, total: Tensor) -> tuple[Tensor, ...]:
        return (x - x.sum(-1, keepdim=True) * torch.softmax(logits, -1),)

    def mean(self, logits: Tensor, total: Tensor) -> Tensor:
        return total * torch.softmax(logits, -1)

    def sample(self, logits: Tensor, total: Tensor, generator: Generator) -> Tensor:
        """Draw counts whose sum is the rounded total."""
        total = total.expand_as(logits)[..., :1].round()
        return share_out(total, torch.softmax(logits, -1), generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        share = mean / mean.sum(-1, keepdim=True).clamp(min=TINY)
        return (share.clamp(min=SMALLEST_SHARE).log(),)

    def shared_statistics(self, x: Tensor, logits: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        return (x.sum(-1, keepdim=True).expand_as(logits),)


def share_out(total: Tensor, probs: Tensor, generator: Generator) -> Tensor:
    """Draw multinomial counts, shape of probs, for totals of shape (..., 1).

    Neighbours are paired, pairs of pairs drawn first, and the count of each split in two: memory
    and time do not grow with the total, as they would if items were drawn.
    """
    n_features = probs.shape[-1]
    if n_features == 1:
        return total
    pairs = pad(probs, (0, n_features % 2)).unflatten(-1, (-1, 2))
    counts = share_out(total, pairs.sum(-1), generator)
    share = pairs[..., 0] / pairs.sum(-1).clamp(min=TINY)
    first = torch.binomial(counts, share, generator=generator)
    return torch.stack((first, counts - first), -1).flatten(-2)[..., :n_features]


class Categorical(Likelihood):
    """Several categorical columns at once: the decoder gives a logit for each level of each.

    With S the sum of `levels` and C their number, x has shape (..., S): the one-hot codes of the
    columns, side by side. A column of zeros is unknown: its log_prob is 0, but its `grads` are
    not and must be masked.

    Parameters
    ----------
    levels : sequence of int
        Number of levels of each column.
    """

    needs_levels = True
    support = "values in [0, 1]"
    continuous = False

    def __init__(self, levels: Sequence[int]):
        self.levels = tuple(levels)
        self._cache: dict[torch.device, Tensor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.levels,)

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def _column(self, device: torch.device) -> Tensor:
        """Return the number of each level's column, shape (S,)."""
        if device not in self._cache:
            # A tensor made in inference mode would be refused by autograd later.
            with torch.inference_mode(False):
                column = torch.repeat_interleave(torch.tensor(self.levels, device="cpu"))
                self._cache[device] = column.to(device)
        return self._cache[device]

    def _sum(self, values: Tensor) -> Tensor:
        """Sum within each column; shape (..., C)."""
        # A product: on a GPU, adding by index has another rounding error each time.
        column = self._column(values.device)
        numbers = torch.arange(len(self.levels), device=values.device)
        return values @ (column[:, None] == numbers).to(values.dtype)

    def _largest(self, values: Tensor) -> Tensor:
        """Return the largest of each column, shape (..., C)."""
        index = self._column(values.device).expand(values.shape)
        out = values.new_empty((*values.shape[:-1], len(self.levels)))
        return out.scatter_reduce_(-1, index, values, "amax", include_self=False)

    def _spread(self, values: Tensor) -> Tensor:
        """Give every level what its column has; (..., C) to (..., S)."""
        return values.index_select(-1, self._column(values.device))

    def _shifted(self, logits: Tensor) -> Tensor:
        """Return logits whose largest is zero in each column."""
        return logits - self._spread(self._largest(logits.detach()))

    def log_prob(self, x: Tensor, logits: Tensor) -> Tensor:
        """Return the log-probability of each column, shape (..., C)."""
        shifted = self._shifted(logits)
        log_norm = self._sum(shifted.exp()).log()
        return self._sum(x * (shifted - self._spread(log_norm)))

    def grads(self, x: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        return (x - self.mean(logits),)

    def mean(self, logits: Tensor) -> Tensor:
        """Return the probabilities, shape (..., S)."""
        odds = self._shifted(logits).exp()
        return odds / self._spread(self._sum(odds))

    def sample(self, logits: Tensor, generator: Generator) -> Tensor:
        """Draw one-hot codes, shape (..., S)."""
        # The largest of logits + Gumbel noise. Where rounding makes two of them, the last counts.
        noise = torch.empty_like(logits).exponential_(generator=generator)
        noisy = logits - noise.clamp_(min=torch.finfo(noise.dtype).eps).log_()
        is_largest = noisy == self._spread(self._largest(noisy))
        position = torch.arange(logits.shape[-1], device=logits.device)
        drawn = self._largest(torch.where(is_largest, position, -1))
        return torch.zeros_like(logits).scatter_(-1, drawn, 1)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        return (mean.clamp(min=SMALLEST_SHARE).log(),)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "heteroscedastic_gaussian": HeteroscedasticGaussian,
    "student_t": StudentT,
    "heteroscedastic_student_t": HeteroscedasticStudentT,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "multinomial": Multinomial,
    "ordinal": Ordinal,
    "categorical": Categorical,
}
