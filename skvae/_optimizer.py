"""The optimiser: one fused update of all parameters of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Adam:
    """Adam, ascending, over all parameters of a model as one flat vector.

    The parameters become views of that vector and their gradients views of another, so that one
    fused kernel updates all of them. It is called directly: the first optimiser object of a
    process imports torch._dynamo, which takes a second, and around the kernel torch's own
    functions do bookkeeping that takes a tenth of a small step.
    """

    def __init__(self, model: nn.Module, weight_decay: float, scale: float):
        # Matrices first: they are what decays.
        parameters = sorted(model.parameters(), key=lambda p: p.ndim < 2)
        self.flat = torch.cat([p.detach().flatten() for p in parameters])
        self.grad = torch.zeros_like(self.flat)
        self.n_decaying = sum(p.numel() for p in parameters if p.ndim >= 2)
        self.weight_decay = weight_decay
        # Gradients are sums over the rows of a batch; so is the number that keeps their scale
        # from being zero.
        self.eps = 1e-8 * scale
        self.mean, self.mean_square = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        # The kernel takes both of these in float32, whatever the parameters are.
        self.count = torch.zeros((), device=self.flat.device, dtype=torch.float32)
        self.one = torch.ones((), device=self.flat.device, dtype=torch.float32)
        self.typical_norm: Tensor | None = None
        sizes = [p.numel() for p in parameters]
        for p, value, grad in zip(
            parameters, self.flat.split(sizes), self.grad.split(sizes), strict=True
        ):
            p.data, p.grad = value.view_as(p), grad.view_as(p)

    def step(self, learning_rate: float | Tensor) -> None:
        """Follow the gradients; a learning rate that is a tensor has no axes and is float32."""
        if self.weight_decay:
            self.flat[: self.n_decaying].mul_(1 - learning_rate * self.weight_decay)
        self.count += self.one
        torch._fused_adam_(
            [self.flat],
            [self.grad],
            [self.mean],
            [self.mean_square],
            max_exp_avg_sqs=[],
            state_steps=[self.count],
            lr=learning_rate,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=self.eps,
            amsgrad=False,
            maximize=True,
            grad_scale=self._excess(),
        )

    def _excess(self) -> Tensor:
        """Return by how much the norm of the gradient is above that of late, at least 1.

        The gradient is divided by it: a batch with a rare value, in a feature that hardly varies,
        would else undo many steps.
        """
        norm = torch.linalg.vector_norm(self.grad)
        if self.typical_norm is None:
            self.typical_norm = norm.clone()
        # fmax: a gradient of zeros, after zeros, has an excess of 0 / 0.
        excess = torch.fmax(norm / self.typical_norm, self.one)
        self.typical_norm.lerp_(norm, 0.05)
        return excess.float()  # rounded at the end: so it is the same in any unit of the loss
