"""The PCA that an autoencoder starts from."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

# Principal axes are found among a few more, in so many rounds: enough for the reconstruction to
# be the best to within a thousandth.
N_SPARE_AXES, N_ROUNDS = 10, 10
# If columns are no more than this many times those, all axes are found at once.
FEW_AXES = 2


def deviations(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the (weighted) mean of rows, and by how much they differ from it, in float64.

    Rows are multiplied by the root of their share of the weight, so squares sum to variances.
    """
    if weight is None:
        center = x.mean(0, dtype=torch.float64)
        return center, (x - center).mul_(len(x) ** -0.5)
    share = weight.double() / weight.double().sum()
    center = (x * share).sum(0)
    return center, (x - center) * share.sqrt()


def principal_axes(x: Tensor, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Return n principal axes of centred rows, (n_features, n), and the norms of x along them.

    Where columns are many, they are found by subspace iteration, which takes a few products with
    x, however many there are. The axes depend on x'x alone, so not on whether a row is repeated or
    weighs more: what is drawn has the same shape for either, and the largest number of an axis is
    positive. Axes that the rows do not have are zero.
    """
    n_features, width = x.shape[1], n + N_SPARE_AXES
    if n_features <= FEW_AXES * width:
        basis, along = None, x
    else:
        basis = x.new_empty(n_features, width).normal_(generator=generator)
        for _ in range(N_ROUNDS):
            basis = torch.linalg.qr(x.t() @ (x @ basis))[0]
        along = x @ basis
    square = torch.linalg.qr(along, mode="r")[1]  # in half the time than of all rows
    _, spread, axes = torch.linalg.svd(square, full_matrices=False)
    found = spread[:n] > spread[0] * max(x.shape) * torch.finfo(x.dtype).eps
    axes, spread = axes[:n][found].t(), spread[:n][found]
    axes = axes if basis is None else basis @ axes
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    missing = (0, n - len(spread))
    return pad(axes, missing), pad(spread, missing)
