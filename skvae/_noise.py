"""Noise of a distribution: at random, or spread evenly over the draws of a row."""

from __future__ import annotations

import functools

import torch
from torch import Generator, Tensor

# Draws by which it is known where each part of a t-distribution lies.
DRAWS_OF_A_PART = 101


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
    return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)


@functools.cache
def _t_parts(n: int, df: float) -> Tensor:
    """Return about the same of Student's t."""
    many = torch.empty(n, DRAWS_OF_A_PART, dtype=torch.float64)
    drawn = t_like(many, df, Generator().manual_seed(0)).flatten().sort().values
    return (drawn - drawn.flip(0))[DRAWS_OF_A_PART // 2 :: DRAWS_OF_A_PART] / 2  # symmetric


def _in_order_of(noise: Tensor, parts: Tensor) -> Tensor:
    """Return these parts of a distribution, in the order that noise has along the first axis."""
    parts = parts.to(noise).view(-1, *[1] * (noise.ndim - 1))
    return noise.scatter(0, noise.argsort(0), parts.expand_as(noise))
