"""The multilayer perceptron behind encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}


class MLP(nn.Module):
    """Linear layers of the given sizes with an activation between them.

    With `tied` weights (those of another perceptron of the reversed sizes, in its order) the
    layers use their transposes, and only the biases are their own.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, tied: nn.ParameterList | None = None
    ):
        super().__init__()
        self.activation = activation
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes[1:])
        self.is_tied = tied is not None
        self.weights = tied or nn.ParameterList(
            torch.zeros(n_out, n_in) for n_in, n_out in pairwise(sizes)
        )

    def initialize(self, generator: Generator) -> None:
        """Draw weights and biases as torch's linear layers do: uniform, +-1/sqrt(n_in)."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        activation = ACTIVATIONS[self.activation]
        weights = [w.t() for w in reversed(self.weights)] if self.is_tied else self.weights
        *inner, last = zip(weights, self.biases, strict=True)
        for weight, bias in inner:
            x = activation(F.linear(x, weight, bias))
        return F.linear(x, *last)
