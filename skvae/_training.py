"""The optimisation loop: schedule, early stopping, best weights.

It knows tensors, and of a model only its parameters and `objective`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from ._models import LatentModel, Moment
from ._rows import Part, Rows

# Batches that the likelihood's shared vectors remember, at least; an epoch if that is longer, so
# that what is rare is not forgotten until it comes again.
MEMORY = 20


@dataclass(frozen=True)
class Plan:
    """How to train: the numbers that the estimator's parameters come to."""

    max_iter: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float  # share of the epochs in which the weight of the KL term rises
    patience: int  # epochs without progress after which training stops
    tol: float


@dataclass
class History:
    """What happened: one value an epoch, in nats a row, of what was minimised."""

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)


class DivergedError(ValueError):
    """The loss is no longer a number, or far above that of the untrained model."""


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
        self.count = torch.zeros((), device=self.flat.device)
        self.typical_norm: Tensor | None = None
        sizes = [p.numel() for p in parameters]
        for p, value, grad in zip(
            parameters, self.flat.split(sizes), self.grad.split(sizes), strict=True
        ):
            p.data, p.grad = value.view_as(p), grad.view_as(p)

    def step(self, learning_rate: float) -> None:
        """Follow the gradients."""
        if self.weight_decay:
            self.flat[: self.n_decaying].mul_(1 - learning_rate * self.weight_decay)
        self._shorten_if_long()
        self.count += 1
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
        )

    def _shorten_if_long(self) -> None:
        """Scale the gradient down to the norm that is usual of late.

        A batch with a rare value, in a feature that hardly varies, would else undo many steps.
        """
        norm = torch.linalg.vector_norm(self.grad)
        if self.typical_norm is None:
            self.typical_norm = norm.clone()
        self.grad.mul_((self.typical_norm / (norm + 1e-30)).clamp_(max=1))
        self.typical_norm.lerp_(norm, 0.05)


@dataclass
class Progress:
    """The best state so far, and since when."""

    flat: Tensor
    tol: float
    best: float = math.inf
    epochs_without: int = 0
    best_flat: Tensor | None = None

    def update(self, loss: float, keep: bool) -> None:
        """Note the loss of an epoch; with `keep`, remember the weights if it is the lowest."""
        self.epochs_without = 0 if loss < self.best - self.tol else self.epochs_without + 1
        if loss < self.best:
            self.best = loss
            if keep:
                self.best_flat = self.flat.clone()

    def restore(self) -> None:
        """Put the best weights back."""
        if self.best_flat is not None:
            self.flat.copy_(self.best_flat)


def cosine(step: int, n_steps: int, n_rising: int) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine down to 1 %."""
    if step < n_rising:
        return (step + 1) / n_rising
    share = (step - n_rising) / max(1, n_steps - n_rising)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


def total(objective: Tensor, weight: Tensor | None) -> Tensor:
    """Return the (weighted) sum over rows."""
    return objective.sum() if weight is None else objective @ weight[:, 0]


def evaluate(model: LatentModel, held_out: Part, batch_size: int, seed: int) -> float:
    """Return the mean loss of the held-out rows, with the same noise in every epoch."""
    generator = Generator(held_out.x.device).manual_seed(seed)
    gain = held_out.x.new_zeros(())
    for x, weight in held_out.split(8 * batch_size):
        gain += total(model.objective(x, generator, Moment())[0], weight)
    return -gain.item() / len(held_out.x)


class DivergenceCheck:
    """Notes the loss of some rows before training, to tell a model that got worse."""

    def __init__(self, model: LatentModel, part: Part, plan: Plan):
        self.model, self.part, self.plan = model, part, plan
        self.at_start = self._loss()

    def _loss(self) -> float:
        return evaluate(self.model, self.part, self.plan.batch_size, seed=0)

    def finite(self, loss: float, epoch: int) -> None:
        """Raise unless the loss of an epoch is a number."""
        if not math.isfinite(loss):
            raise self._error(f"loss is {loss} at epoch {epoch + 1}")

    def better_than_at_start(self) -> None:
        """Raise if the loss has grown by more than noise could."""
        loss = self._loss()
        if not loss <= self.at_start + 10 + abs(self.at_start):
            raise self._error(f"loss grew from {self.at_start:.3g} to {loss:.3g}")

    def _error(self, what: str) -> DivergedError:
        return DivergedError(
            f"training diverged: {what}. Lower learning_rate (now {self.plan.learning_rate}), or "
            "look for extreme values in X."
        )


def run_epoch(
    model: LatentModel,
    rows: Rows,
    plan: Plan,
    optimizer: Adam,
    epoch: int,
    generators: tuple[Generator, Generator],
) -> float:
    """Take one step a batch; return the mean loss of the training rows."""
    shuffle, noise = generators
    per_epoch = math.ceil(rows.n_train / plan.batch_size)
    n_steps = plan.max_iter * per_epoch
    n_rising, n_warm = min(100, n_steps // 20), plan.warmup * n_steps
    gain = optimizer.flat.new_zeros(())
    batches = rows.batches(plan.batch_size, shuffle)
    for step, (x, weight) in enumerate(batches, epoch * per_epoch):
        moment = Moment(
            warmth=min(1.0, step / n_warm) if n_warm else 1.0,
            rate=max(1 / max(MEMORY, per_epoch), 1 / (step + 1)),
        )
        objective, backward = model.objective(x, noise, moment)
        backward(weight)
        optimizer.step(plan.learning_rate * cosine(step, n_steps, n_rising))
        gain += total(objective, weight)
    return -gain.item() / rows.n_train


@torch.no_grad()
def train(
    model: LatentModel,
    rows: Rows,
    plan: Plan,
    generators: tuple[Generator, Generator],
    report: Callable[[History], bool],
) -> History:
    """Maximise the model's objective in place; `report` is called each epoch, true to stop.

    With held-out rows, the weights that are best on them are kept, else the last ones.
    """
    optimizer, history = Adam(model, plan.weight_decay, plan.batch_size), History()
    check = DivergenceCheck(model, rows.some(1000), plan)
    progress = Progress(optimizer.flat, plan.tol)
    try:
        for epoch in range(plan.max_iter):
            loss = run_epoch(model, rows, plan, optimizer, epoch, generators)
            check.finite(loss, epoch)
            history.losses.append(loss)
            if rows.n_held_out:
                seed = generators[1].initial_seed()
                loss = evaluate(model, rows.held_out, plan.batch_size, seed)
                history.validation_losses.append(loss)
            # While the weight of the KL term rises, the loss cannot tell progress.
            if epoch + 1 >= plan.warmup * plan.max_iter:
                progress.update(loss, keep=rows.n_held_out > 0)
            if report(history) or progress.epochs_without >= plan.patience:
                break
    except KeyboardInterrupt:
        if not history.losses:
            raise
        warnings.warn("Training interrupted by user.", stacklevel=2)
    progress.restore()
    check.better_than_at_start()
    return history
