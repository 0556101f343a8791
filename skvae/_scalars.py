"""Numbers that steps multiply by and add, as tensors."""

from __future__ import annotations

import functools

import torch
from torch import Tensor


@functools.cache
def _made(value: float, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # what is made in it is no use to autograd later
        return torch.tensor(value, dtype=dtype, device="cpu")


def scalar(value: float, like: Tensor) -> Tensor:
    """Return a number as a tensor without axes, which is not to be changed.

    It rests on the CPU, from where any device takes it, but only for sums, differences, products
    and quotients of two tensors. Of a plain number, each operation makes such a tensor anew: for
    the small tensors of a small step, that takes longer than the rest.
    """
    return _made(value, like.dtype)
