"""Draws of the codes of a VAE that stand for their posterior (importance sampling)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor


def quasi_normal(n_draws: int, n_components: int, seed: int) -> Tensor:
    """Scrambled Sobol points, mapped to the standard normal; (n_draws, n_components), float64."""
    engine = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=seed)
    # The first point is kept in the default dtype, so we take the second block of n_draws.
    points = engine.fast_forward(n_draws).draw(n_draws, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-9, 1 - 1e-9))


class Draws(NamedTuple):
    """Draws of the codes of rows; weighted, they stand for the posterior.

    z : (n_draws, n_samples, n_components), or (n_draws, 1, n_components) if all rows share them.
    out : what the decoder makes of them, (..., n_outputs).
    log_prob : log p(x | z) by column, (n_draws, n_samples, n_columns).
    weight : (n_draws, n_samples), float64; the sum over all draws of a row is one.
    """

    z: Tensor
    out: Tensor
    log_prob: Tensor
    weight: Tensor


def log_ratio(z: Tensor, standardized: Tensor, log_scale: Tensor, share: float) -> Tensor:
    """Return log p(z) less the log-density of a mixture: of the prior, by this share, and of q.

    `standardized` are the draws in units of q, whose logarithm of scale is the other argument;
    where they were drawn from q that is the noise, and more exact than what z tells of it. Both
    log-densities are less the constant that they share.
    """
    log_p = -0.5 * z.square().sum(-1, dtype=torch.float64)
    log_q = (-0.5 * standardized.square() - log_scale).sum(-1, dtype=torch.float64)
    log_share = math.log(share) if share else -math.inf
    return log_p - torch.logaddexp(log_p + log_share, log_q + math.log1p(-share))


def expected(values: Sequence[Tensor], draws: Sequence[Draws]) -> Tensor:
    """Return the posterior mean of values, (n_draws, n_samples or 1, n) of each part of draws."""
    parts = [
        torch.einsum("kn,knd->nd", part.weight.to(value.dtype), value)
        for value, part in zip(values, draws, strict=True)
    ]
    return torch.stack(parts).sum(0)


def effective(draws: Sequence[Draws]) -> Tensor:
    """Return as how many draws of equal weight those of each row count, (n_samples,)."""
    return 1 / torch.stack([part.weight.square().sum(0) for part in draws]).sum(0)


def chosen(draws: Sequence[Draws], n: int, generator: Generator) -> Tensor:
    """Draw codes of each row by their weights, (n_samples, n, n_components)."""
    weight = torch.cat([part.weight for part in draws])
    indices = torch.multinomial(weight.t(), n, True, generator=generator)
    return _taken([part.z for part in draws], draws, indices)


def representative(draws: Sequence[Draws], n: int) -> Tensor:
    """Return what the decoder makes of draws of each row in proportion to their weights.

    Shape (n_samples, n, n_outputs). Systematic resampling, from the middle of each n-th part:
    nothing is random.
    """
    share = torch.cat([part.weight for part in draws]).t().cumsum(1).contiguous()
    middle = (torch.arange(n, dtype=share.dtype, device=share.device) + 0.5) / n
    indices = torch.searchsorted(share, middle.expand(len(share), n).contiguous())
    return _taken([part.out for part in draws], draws, indices.clamp(max=share.shape[1] - 1))


def _taken(values: Sequence[Tensor], draws: Sequence[Draws], indices: Tensor) -> Tensor:
    """Return those of each part's values with these indices, (n_samples, n)."""
    parts = zip(values, draws, strict=True)
    every = torch.cat([value.expand(*part.weight.shape, -1) for value, part in parts])
    return every.transpose(0, 1).gather(1, indices[..., None].expand(-1, -1, every.shape[-1]))
