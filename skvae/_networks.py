"""The multilayer perceptron behind encoder and decoder, and how a layer is run.

On small tables autograd costs more than the arithmetic: it records a node for each operation. So
training does not use it. `MLP.trace` returns, beside its output, the function that takes the
gradient of the output, puts those of the parameters where the optimiser reads them, and returns
that of the input. Chained by the models, these functions are all of backpropagation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

aten = torch.ops.aten


Backward = Callable[[Tensor], Tensor]


class Activation(NamedTuple):
    """A non-linearity; `backward(grad, x, y)` is its gradient at input x and output y."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


ACTIVATIONS = {
    "relu": Activation(F.relu, lambda grad, x, y: aten.threshold_backward.default(grad, y, 0)),
    "leaky_relu": Activation(
        F.leaky_relu, lambda grad, x, y: aten.leaky_relu_backward.default(grad, x, 0.01, False)
    ),
    "elu": Activation(
        F.elu, lambda grad, x, y: aten.elu_backward.default(grad, 1, 1, 1, False, x)
    ),
    "silu": Activation(F.silu, lambda grad, x, y: aten.silu_backward.default(grad, x)),
    "gelu": Activation(F.gelu, lambda grad, x, y: aten.gelu_backward.default(grad, x)),
    "tanh": Activation(torch.tanh, lambda grad, x, y: aten.tanh_backward.default(grad, y)),
    "sigmoid": Activation(
        torch.sigmoid, lambda grad, x, y: aten.sigmoid_backward.default(grad, y)
    ),
    "identity": Activation(lambda x: x, lambda grad, x, y: grad),
}


def gradient(parameter: Tensor) -> Tensor:
    """Return the memory for the gradient of a parameter, which the optimiser made."""
    assert parameter.grad is not None
    return parameter.grad


class MLP(nn.Module):
    """Linear layers of the given sizes with an activation between them.

    With `tied` weights (those of another perceptron of the reversed sizes, in its order) the
    layers use their transposes, and only the biases are their own.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, tied: nn.ParameterList | None = None
    ):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.width = max(sizes)
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes[1:])
        self.is_tied = tied is not None
        self.shares_weights = False  # whether another perceptron is tied to this one
        self.weights = tied or nn.ParameterList(
            torch.zeros(n_out, n_in) for n_in, n_out in pairwise(sizes)
        )
        # The same objects: reading them from a ParameterList takes longer than a small product.
        weights = list(self.weights)
        self._weights = weights[::-1] if self.is_tied else weights
        self._biases = list(self.biases)

    def initialize(self, generator: Generator) -> None:
        """Draw weights and biases as torch's linear layers do: uniform, +-1/sqrt(n_in)."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        *inner, last = zip(self._matrices(), self._biases, strict=True)
        for weight, bias in inner:
            x = self.activation.forward(F.linear(x, weight, bias))
        return F.linear(x, *last)

    def trace(self, x: Tensor, to_input: bool = True) -> tuple[Tensor, Backward]:
        """Map x of shape (n_samples, n_in); return the output, and the backward function.

        That takes the gradient of the output and sets `grad` of the parameters. Its result is the
        gradient of x, or nothing of meaning unless `to_input`.
        """
        matrices, before, after = self._matrices(), [x], [x]
        for weight, bias in zip(matrices[:-1], self._biases, strict=False):
            before.append(torch.addmm(bias, after[-1], weight.t()))
            after.append(self.activation.forward(before[-1]))

        def backward(grad: Tensor) -> Tensor:
            gradients = self._matrices(gradient)
            for i in reversed(range(len(matrices))):
                if self.shares_weights:  # the decoder, whose turn is first, has set a gradient
                    gradients[i].addmm_(grad.t(), after[i])
                else:
                    torch.mm(grad.t(), after[i], out=gradients[i])
                torch.sum(grad, 0, out=gradient(self._biases[i]))
                if i or to_input:
                    grad = grad @ matrices[i]
                if i:
                    grad = self.activation.backward(grad, before[i], after[i])
            return grad

        return torch.addmm(self._biases[-1], after[-1], matrices[-1].t()), backward

    def _matrices(self, of: Callable[[Tensor], Tensor] = lambda weight: weight) -> list[Tensor]:
        """Return a function of each layer's weight, as a matrix of shape (n_out, n_in)."""
        if self.is_tied:
            return [of(weight).t() for weight in self._weights]
        return [of(weight) for weight in self._weights]
