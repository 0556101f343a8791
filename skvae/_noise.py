"""Noise of a distribution: at random, spread evenly over draws of a row, or going together."""

from __future__ import annotations

import functools

import torch
from torch import Generator, Tensor

# Draws by which it is known where each part of a t-distribution lies.
DRAWS_OF_A_PART = 101
# Rows that are granted to two cells that have nothing to do with one another.
ROWS_APART = 5
# The least variance of a part of the noise that goes together, as a share of that of a cell.
LEAST_SHARE = 1e-3
TINY = 1e-30


class EvenGenerator(Generator):
    """A generator that asks for noise which is spread evenly along the first axis.

    A mean over few draws that are the same for each row would else be off by as much for each row.
    (Stratified sampling; which draw has which part of the distribution is at random.)
    """


def normal_like(x: Tensor, generator: Generator) -> Tensor:
    """Return standard normal noise in the shape of x."""
    noise = torch.empty_like(x).normal_(generator=generator)
    return _in_order_of(noise, _normal_parts(len(x))) if _is_even(generator) else noise


def t_like(x: Tensor, df: float, generator: Generator) -> Tensor:
    """Return noise of Student's t in the shape of x."""
    half = torch.full_like(x, df / 2)
    precision = torch._standard_gamma(half, generator=generator) / half
    noise = torch.empty_like(x).normal_(generator=generator) * precision.rsqrt()
    return _in_order_of(noise, _t_parts(len(x), df)) if _is_even(generator) else noise


def _is_even(generator: Generator) -> bool:
    return isinstance(generator, EvenGenerator)


def _normal_parts(n: int) -> Tensor:
    """Return the middles of equally likely parts, ascending."""
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n)


@functools.cache
def _t_parts(n: int, df: float) -> Tensor:
    """Return about the same of Student's t."""
    many = torch.empty(n, DRAWS_OF_A_PART, dtype=torch.float64, device="cpu")
    drawn = t_like(many, df, Generator("cpu").manual_seed(0)).flatten().sort().values
    return (drawn - drawn.flip(0))[DRAWS_OF_A_PART // 2 :: DRAWS_OF_A_PART] / 2  # symmetric


def _in_order_of(noise: Tensor, parts: Tensor) -> Tensor:
    """Return these parts of a distribution, in the order that noise has along the first axis."""
    parts = parts.to(noise).view(-1, *[1] * (noise.ndim - 1))
    return noise.scatter(0, noise.argsort(0), parts.expand_as(noise))


def correlating(errors: Tensor, observed: Tensor, weight: Tensor | None) -> Tensor:
    """Return the matrix by which independent noise of cells goes together as their errors do.

    That is a root of the correlations of the cells that are observed (ones, else zeros) in
    (weighted) rows, whose lines have length one. Few rows that have both of two cells tell little.
    """
    observed = observed.double()
    errors = errors.double() * observed
    counted = observed if weight is None else observed * weight
    n_both = counted.t() @ observed
    covariance = (errors * counted).t() @ errors / n_both.clamp(min=TINY)
    scale = covariance.diagonal().clamp(min=TINY).rsqrt()
    # Variances are those of more rows, so that what few have in common may exceed them.
    correlation = (covariance * scale * scale[:, None]).clamp(-1, 1)
    correlation *= n_both / (n_both + ROWS_APART)
    spread, axes = torch.linalg.eigh(correlation.fill_diagonal_(1))
    root = axes * spread.clamp(min=LEAST_SHARE).sqrt() @ axes.t()
    return root / torch.linalg.vector_norm(root, dim=1, keepdim=True)
