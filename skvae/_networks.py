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

from ._scalars import scalar

aten = torch.ops.aten


Backward = Callable[[Tensor], Tensor]


class Activation(NamedTuple):
    """A non-linearity, in place where its gradient can be told from its output.

    `backward(grad, x, y)` is the gradient at input x and output y: the same tensor if in place.
    """

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]


def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangents of x, in half the time that torch.tanh takes; x is lost."""
    half = x.mul_(scalar(2, x)).sigmoid_()
    return torch.add(scalar(-1, x), half, alpha=2)


ACTIVATIONS = {
    "relu": Activation(
        torch.relu_,
        lambda grad, x, y: aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad),
    ),
    "leaky_relu": Activation(
        F.leaky_relu_, lambda grad, x, y: aten.leaky_relu_backward.default(grad, y, 0.01, True)
    ),
    "elu": Activation(
        F.elu_, lambda grad, x, y: aten.elu_backward.default(grad, 1, 1, 1, True, y)
    ),
    "silu": Activation(F.silu, lambda grad, x, y: aten.silu_backward.default(grad, x)),
    "gelu": Activation(F.gelu, lambda grad, x, y: aten.gelu_backward.default(grad, x)),
    "tanh": Activation(tanh, lambda grad, x, y: aten.tanh_backward.default(grad, y)),
    "sigmoid": Activation(
        torch.sigmoid_, lambda grad, x, y: aten.sigmoid_backward.default(grad, y)
    ),
    "identity": Activation(lambda x: x, lambda grad, x, y: grad),
}


class Layer(NamedTuple):
    """Views that a step needs of a layer: making them anew takes longer than a small product."""

    weight: Tensor  # (n_out, n_in)
    transposed: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor  # (1, n_out)


class Skip(NamedTuple):
    """The same of a linear skip, which has no bias of its own."""

    weight: Tensor
    transposed: Tensor
    weight_grad: Tensor


def gradient(parameter: Tensor) -> Tensor:
    """Return the memory for the gradient of a parameter, which the optimiser made."""
    assert parameter.grad is not None
    return parameter.grad


class MLP(nn.Module):
    """Linear layers of the given sizes with an activation between them.

    With `skip`, a linear map from input to output is added to what they give. Where the sizes
    leave no hidden layer there is nothing to skip.

    With `tied` weights (those of another perceptron of the reversed sizes, in its order) the
    layers use their transposes, and only the biases are their own. Such have no skip.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str,
        tied: nn.ParameterList | None = None,
        skip: bool = False,
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
        has_skip = skip and not tied and len(sizes) > 2
        self.skip = nn.Parameter(torch.zeros(sizes[-1], sizes[0])) if has_skip else None
        # The same objects: reading them from a ParameterList takes longer than a small product.
        weights = list(self.weights)
        self._weights = weights[::-1] if self.is_tied else weights
        self._biases = list(self.biases)
        self._layers: list[Layer] = []
        self._skip: Skip | None = None
        # By length, and kept: a recorded step goes on reading them.
        self._ones: dict[int, Tensor] = {}

    def initialize(self, generator: Generator, gain: float = 1.0) -> None:
        """Draw weights and biases uniformly from +-1/sqrt(n_in), as torch's linear layers do.

        Inner weights are then multiplied by `gain`.
        """
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound, generator=generator)
            nn.init.uniform_(bias, -bound, bound, generator=generator)
        for weight in [*self.weights][:-1]:
            weight.data.mul_(gain)

    @torch.no_grad()
    def start_linear(self, linear: Tensor, offset: Tensor) -> None:
        """Start from a linear map of shape (n_out, n_in), to which the layers add nothing yet."""
        last = self._matrices()[-1]
        if self.skip is not None:
            last.zero_()
            last = self.skip
        last.copy_(linear)
        self._biases[-1].copy_(offset)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        *inner, last = zip(self._matrices(), self._biases, strict=True)
        h = x
        for weight, bias in inner:
            h = self.activation.forward(F.linear(h, weight, bias))
        out = F.linear(h, *last)
        return out if self.skip is None else out + F.linear(x, self.skip)

    def bind(self) -> None:
        """Look up where parameters and gradients lie, before `trace`; they must stay there."""
        weights = [weight.detach() for weight in self._matrices()]
        biases = [bias.detach() for bias in self._biases]
        self._layers = [
            Layer(weight, weight.t(), bias, weight_grad, gradient(parameter)[None])
            for weight, bias, weight_grad, parameter in zip(
                weights, biases, self._matrices(gradient), self._biases, strict=True
            )
        ]
        if self.skip is not None:
            weight = self.skip.detach()
            self._skip = Skip(weight, weight.t(), gradient(self.skip))
        self._ones = {}

    def ones(self, n_samples: int) -> Tensor:
        """Return a row of ones: a product with it sums over rows in half the time of `sum`."""
        if n_samples not in self._ones:
            self._ones[n_samples] = self._biases[0].new_ones(1, n_samples)
        return self._ones[n_samples]

    def trace(self, x: Tensor, to_input: bool = True) -> tuple[Tensor, Backward]:
        """Map x of shape (n_samples, n_in); return the output, and the backward function.

        That takes the gradient of the output and sets `grad` of the parameters. Its result is the
        gradient of x, or nothing of meaning unless `to_input`.
        """
        before, after = [x], [x]
        *inner, last = self._layers
        skip = self._skip
        for layer in inner:
            before.append(torch.addmm(layer.bias, after[-1], layer.transposed))
            after.append(self.activation.forward(before[-1]))

        def backward(grad: Tensor) -> Tensor:
            ones, grad_out = self.ones(len(grad)), grad
            if skip:
                torch.mm(grad.t(), x, out=skip.weight_grad)
            for i in reversed(range(len(self._layers))):
                weight, _, _, weight_grad, bias_grad = self._layers[i]
                grad_t = grad.t()
                if self.shares_weights:  # the decoder, whose turn is first, has set a gradient
                    weight_grad.addmm_(grad_t, after[i])
                else:
                    torch.mm(grad_t, after[i], out=weight_grad)
                torch.mm(ones, grad, out=bias_grad)
                if i or to_input:
                    grad = torch.mm(grad, weight)
                if i:
                    grad = self.activation.backward(grad, before[i], after[i])
            return grad.addmm_(grad_out, skip.weight) if skip and to_input else grad

        out = torch.addmm(last.bias, after[-1], last.transposed)
        return out.addmm_(x, skip.transposed) if skip else out, backward

    def _matrices(self, of: Callable[[Tensor], Tensor] = lambda weight: weight) -> list[Tensor]:
        """Return a function of each layer's weight, as a matrix of shape (n_out, n_in)."""
        if self.is_tied:
            return [of(weight).t() for weight in self._weights]
        return [of(weight) for weight in self._weights]
