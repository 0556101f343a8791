"""Distributions of flags, counts, shares of a total, and levels."""

# A likelihood names its parameters, where the base class has *params.
# mypy: disable-error-code="override"

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import logsigmoid, pad, softplus

from ._likelihood import Likelihood

TINY = 1e-30

# Where the decoder starts for what never occurs in the training rows: logarithms need some number.
SMALLEST_RATE = 1e-3
SMALLEST_SHARE = 1e-6
# The logit of a share of nothing; as infinite as its product with zero allows.
IMPOSSIBLE = -1e30


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

    def judges(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < math.inf)

    def embed(self, x: Tensor) -> Tensor:
        return torch.log1p(x)

    def log_prob(self, x: Tensor, *params: Tensor) -> Tensor:
        # Of large counts, float32 would leave little of the difference of large terms.
        precise = [x, *params] if x.device.type == "mps" else [p.double() for p in (x, *params)]
        return self._log_prob(*precise).to(params[0].dtype)

    def _log_prob(self, x: Tensor, *params: Tensor) -> Tensor:
        raise NotImplementedError

    def mean(self, log_mean: Tensor, *_: Tensor) -> Tensor:
        return log_mean.clamp(max=self.largest_log_mean).exp()


class Poisson(Counts):
    """Counts of independent events: the decoder gives the log of the rate."""

    def _log_prob(self, x: Tensor, log_rate: Tensor) -> Tensor:
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

    def _log_prob(self, x: Tensor, log_mean: Tensor, log_r: Tensor) -> Tensor:
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
    its count suggests, so that they sum to the log-pmf; that of the known cells given their total,
    if some are missing. What is expected and drawn has the mean total of the training rows, that
    of a shared vector, whose entries differ only where different rows have gaps; what fills gaps
    has the total that the known cells of its row suggest.

    References
    ----------
    Liang, Krishnan, Hoffman and Jebara (2018). Variational autoencoders for collaborative
    filtering. Proceedings of the World Wide Web Conference. doi:10.1145/3178876.3186150
    """

    n_shared = 1
    support = "non-negative numbers"
    continuous = False
    shares_out_total = True
    sees_gaps = True
    n_updates = 10  # with gaps the total is found step by step

    def accepts(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x < math.inf)

    def embed(self, x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=TINY)

    def _total(self, total: Tensor) -> Tensor:
        return total.mean(-1, keepdim=True)

    def _known(self, x: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return both so that missing cells are shares of nothing."""
        missing = x.isnan()
        return x.masked_fill(missing, 0), logits.masked_fill(missing, IMPOSSIBLE)

    def log_prob(self, x: Tensor, logits: Tensor, total: Tensor) -> Tensor:
        x, logits = self._known(x, logits)
        n = x.sum(-1, keepdim=True)
        log_ways = x / n.clamp(min=TINY) * torch.lgamma(n + 1) - torch.lgamma(x + 1)
        return log_ways + x * torch.log_softmax(logits, -1)

    def grads(self, x: Tensor, logits: Tensor, total: Tensor) -> tuple[Tensor, ...]:
        x, logits = self._known(x, logits)
        return (x - x.sum(-1, keepdim=True) * torch.softmax(logits, -1),)

    def given(self, x: Tensor, logits: Tensor, total: Tensor) -> tuple[Tensor, ...]:
        # The posterior mean, if totals are distributed exponentially.
        known = x.nansum(-1, keepdim=True)
        share = (torch.softmax(logits, -1) * ~x.isnan()).sum(-1, keepdim=True)
        return logits, (known + 1) / (share + 1 / self._total(total).clamp(min=TINY))

    def mean(self, logits: Tensor, total: Tensor) -> Tensor:
        return self._total(total) * torch.softmax(logits, -1)

    def sample(self, logits: Tensor, total: Tensor, generator: Generator) -> Tensor:
        """Draw counts whose sum is the total, rounded at random: up as often as it is near."""
        total = self._total(total).expand_as(logits)[..., :1]
        up = torch.empty_like(total).uniform_(generator=generator)
        return share_out((total + up).floor(), torch.softmax(logits, -1), generator)

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        share = mean / mean.sum(-1, keepdim=True).clamp(min=TINY)
        return (share.clamp(min=SMALLEST_SHARE).log(),)

    def shared_statistics(self, x: Tensor, logits: Tensor, total: Tensor) -> tuple[Tensor, ...]:
        # A step of the EM algorithm: missing cells are expected to have their share of the total.
        unknown = (torch.softmax(logits, -1) * x.isnan()).sum(-1, keepdim=True)
        known = x.nansum(-1, keepdim=True)
        return ((known + unknown * self._total(total)).expand_as(logits),)


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
