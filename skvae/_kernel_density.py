"""How close rows are to others: their density under kernels around these."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# What is left of a weight, and is a smaller share of it than this, is rounding.
ROUNDING_SHARE = 1e-6


def log_density_around(
    x: Tensor,
    known: Tensor | None,
    centers: Tensor,
    weight: Tensor,
    variance: Tensor,
    left_out: float,
) -> Tensor:
    """Return the log-density of rows under normal kernels around all but the nearest centers.

    Of these one may have been made of the row itself, and others of outliers that are like it.
    They are left out by weight, so that two centers at one place are as one that weighs twice as
    much.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_features)
        Rows.
    known : Tensor of shape (n_samples, n_features) or None
        One where a cell is known, else zero; the density is that of the known cells. None if all
        are.
    centers : Tensor of shape (n_centers, n_features)
        What rows are compared with.
    weight : Tensor of shape (n_centers,)
        What each counts; together more than is left out.
    variance : Tensor of shape (n_features,)
        That of the kernels.
    left_out : float
        The weight of the nearest centers that do not count.

    Returns
    -------
    log_density : Tensor of shape (n_samples,)
        In nats, float64.
    """
    x, centers, weight, variance = (t.double() for t in (x, centers, weight, variance))
    middle = centers.mean(0)  # squares of what is far from zero would drown the distances
    x, centers = x - middle, centers - middle
    one = torch.ones(1, len(variance), dtype=x.dtype, device=x.device)
    known = one if known is None else known.double()
    precision = known / variance
    of_centers = (precision @ centers.square().t()).expand(len(x), -1)
    # All is done in one piece of memory: there is a number for each row and center.
    squares = torch.addmm(of_centers, precision * x, centers.t(), alpha=-2)
    squares.add_((precision * x.square()).sum(-1, keepdim=True)).nan_to_num_(math.inf, math.inf)
    nearest, of_nearest = _kernels_of_nearest(squares, weight, left_out)
    log_kernels = squares.mul_(-0.5).add_(weight.log()).scatter_(-1, nearest, of_nearest)
    log_norm = 0.5 * known @ (2 * math.pi * variance).log()
    return _logsumexp_(log_kernels) - (weight.sum() - left_out).log() - log_norm


def _kernels_of_nearest(squares: Tensor, weight: Tensor, left_out: float) -> tuple[Tensor, Tensor]:
    """Return the indices of the nearest centers, and the logarithm of what is left of each."""
    n = 1 + int((weight.sort().values.cumsum(0) < left_out).sum())  # that surely weigh so much
    distance, nearest = squares.topk(min(n, len(weight)), largest=False)
    masses = weight[nearest]
    left = torch.minimum(masses.cumsum(-1) - left_out, masses)
    return nearest, left.where(left > ROUNDING_SHARE * masses, 0).log() - 0.5 * distance


def _logsumexp_(x: Tensor) -> Tensor:
    """Return the logarithm of the sum of exponentials in each row, which is overwritten."""
    most = x.amax(-1, keepdim=True).clamp_(min=torch.finfo(x.dtype).min)  # no row may be all -inf
    return x.sub_(most).exp_().sum(-1).log_().add_(most[:, 0])
