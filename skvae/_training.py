"""The training loop: schedule, averages, early stopping, best weights.

It knows tensors, and of a model only its parameters and shared vectors, `bind`, `ascend`, `judge`,
and how it starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from ._latent_model import LatentModel, Moment
from ._optimizer import Adam
from ._rows import Part, Rows
from ._step import CapturedStep, Step
from ._warn import warn

# Batches that the likelihood's shared vectors remember, at least; an epoch if that is longer, so
# that what is rare is not forgotten until it comes again.
MEMORY = 20
# Training rows on which the loss is measured after each epoch. In the steps themselves only its
# gradient is computed: the value would take a fifth of a small step.
MONITORED_ROWS = 256
# Held-out rows that judge a model in which training hides cells at random. Fewer judge it several
# times, at a cost of up to two thirds of training: by chance, that would else stop too soon.
JUDGING_ROWS = 1_000
# Share of the steps so far over which weights are averaged.
AVERAGED = 0.1
# Epochs without progress after which what was gained may be told to be lost, not just noise.
FEW_EPOCHS = 10


@dataclass(frozen=True)
class Plan:
    """How to train: the numbers that the estimator's parameters come to."""

    max_iter: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float  # share of the epochs in which the weight of the KL term rises
    grace: float  # share in which lack of progress does not count
    patience: int  # epochs without progress after which training stops
    tolerated_loss: float  # share of what held-out rows have gained that may be lost again
    tol: float

    def steps_per_epoch(self, n_train: int) -> int:
        """Return the number of batches that so many rows make."""
        return math.ceil(n_train / self.batch_size)

    def is_warming_up(self, epoch: int) -> bool:
        """Tell whether the weight of the KL term still rises after this epoch."""
        return epoch + 1 < self.warmup * self.max_iter

    def is_in_grace(self, epoch: int) -> bool:
        """Tell whether lack of progress does not count yet."""
        return epoch + 1 < self.grace * self.max_iter


@dataclass
class History:
    """What happened: at the end of each epoch the loss, in nats a row.

    best : the lowest loss by which weights were kept; infinite while there is none.
    is_over : whether training has ended by itself: after all epochs, or for lack of progress.
    """

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    best: float = math.inf
    is_over: bool = False


class DivergedError(ValueError):
    """The loss is no longer a number, or far above that of the untrained model."""


@dataclass
class Progress:
    """The best state so far, and since when."""

    learned: list[Tensor]
    tol: float
    first: float = math.nan
    best: float = math.inf
    last: float = math.nan
    epochs_without: int = 0
    kept: list[Tensor] = field(default_factory=list)

    def update(self, loss: float, keep: bool) -> None:
        """Note the loss of an epoch; with `keep`, remember the weights if it is the lowest."""
        self.first, self.last = loss if math.isnan(self.first) else self.first, loss
        self.epochs_without = 0 if loss < self.best - self.tol else self.epochs_without + 1
        if loss < self.best:
            self.best = loss
            if keep:
                self.kept = [tensor.clone() for tensor in self.learned]

    def is_over(self, plan: Plan) -> bool:
        """Tell whether more epochs would be in vain."""
        is_lost = self.last - self.best > plan.tolerated_loss * (self.first - self.best)
        patience = min(plan.patience, FEW_EPOCHS) if is_lost else plan.patience
        return self.epochs_without >= patience

    def restore(self) -> None:
        """Put the best state back, if one was remembered."""
        if self.kept:
            for tensor, kept in zip(self.learned, self.kept, strict=True):
                tensor.copy_(kept)


def cosine(step: int, n_steps: int, n_rising: int) -> float:
    """Return the factor of the learning rate: a short rise, then half a cosine down to 1 %."""
    if step < n_rising:
        return (step + 1) / n_rising
    share = (step - n_rising) / max(1, n_steps - n_rising)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share))


class Average:
    """The weights, averaged over the latest tenth of the steps so far.

    Steps of a high learning rate jitter about better weights, so these are what is judged and kept
    where training may stop before the rate has fallen. In early steps weights still have far to
    go, and the average follows closely.

    References
    ----------
    Polyak and Juditsky (1992). Acceleration of stochastic approximation by averaging. SIAM Journal
    on Control and Optimization 30, 838-855. doi:10.1137/0330046
    """

    def __init__(self, weights: Tensor):
        self.weights, self.mean, self.spare = weights, weights.clone(), weights.clone()
        self.count = 0

    def follow(self) -> None:
        """Take notice of a step."""
        self.count += 1
        self.mean.lerp_(self.weights, 1 / max(1.0, AVERAGED * self.count))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averaged weights for a while."""
        self.spare.copy_(self.weights)
        self.weights.copy_(self.mean)
        try:
            yield
        finally:
            self.weights.copy_(self.spare)


class Gauge:
    """Measures losses of training rows and of those held out, with the same noise each time.

    Both in one go: on small tables the calls cost more than the arithmetic.
    """

    def __init__(self, model: LatentModel, training: Part, held_out: Part, size: int, seed: int):
        self.model, self.seed = model, seed
        first, *others = held_out.split(size)
        self.batches = [training.join(first), *others]
        self.lengths = [len(training.x), len(held_out.x)]
        weights = [part.weight for part in self.batches if part.weight is not None]
        self.weight = torch.cat(weights)[:, 0] if weights else None
        # (All weights may be so small that they are zero in float32.)
        self.masses = [part.mass or 1.0 for part in (training, held_out)]

    @torch.inference_mode()
    def losses(self) -> list[float]:
        """Return the (weighted) mean losses of a training row and of one held out, in nats."""
        generator = Generator(self.batches[0].x.device).manual_seed(self.seed)
        bounds = torch.cat([self.model.judge(x, generator) for x, _ in self.batches])
        if self.weight is not None:
            bounds = bounds * self.weight
        gains = torch.stack([part.sum() for part in bounds.split(self.lengths)])
        return [-gain / mass for gain, mass in zip(gains.tolist(), self.masses, strict=True)]


def judging(model: LatentModel, rows: Rows) -> Part:
    """Return the held-out rows, as often as they are to be judged, each time with other gaps."""
    if not model.hides_more:
        return rows.held_out
    return rows.held_out.repeated(min(JUDGING_ROWS, 2 * rows.n_train))


class Divergence:
    """Knows the loss before training, to tell a model that got worse."""

    def __init__(self, at_start: float, learning_rate: float):
        self.at_start, self.learning_rate = at_start, learning_rate

    def check_finite(self, loss: float, epoch: int) -> None:
        """Raise unless the loss of an epoch is a number."""
        if not math.isfinite(loss):
            raise self._error(f"loss is {loss} at epoch {epoch + 1}")

    def check_not_much_worse(self, loss: float) -> None:
        """Raise if the loss has grown by more than noise could."""
        if not loss <= self.at_start + 10 + abs(self.at_start):
            raise self._error(f"loss grew from {self.at_start:.3g} to {loss:.3g}")

    def _error(self, what: str) -> DivergedError:
        return DivergedError(
            f"training diverged: {what}. Lower learning_rate (now {self.learning_rate}), or "
            "look for extreme values in X."
        )


@torch.inference_mode()
def run_epoch(
    rows: Rows,
    plan: Plan,
    epoch: int,
    shuffle: Generator,
    take: Step,
    average: Average | None,
) -> None:
    """Take one step a batch."""
    per_epoch = plan.steps_per_epoch(rows.n_train)
    n_steps = plan.max_iter * per_epoch
    n_rising, n_warm = min(100, n_steps // 20), plan.warmup * n_steps
    batches = rows.batches(plan.batch_size, shuffle)
    for step, (x, weight) in enumerate(batches, epoch * per_epoch):
        moment = Moment(
            kl_warmth=min(1.0, step / n_warm) if n_warm else 1.0,
            rate=max(1 / max(MEMORY, per_epoch), 1 / (step + 1)),
        )
        take(x, weight, moment, plan.learning_rate * cosine(step, n_steps, n_rising))
        if average:
            average.follow()


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
    model.bind()
    shuffle, noise = generators
    kind = CapturedStep if noise.device.type == "cuda" else Step
    take = kind(model, optimizer, noise)
    size, seed = 8 * plan.batch_size, noise.initial_seed()
    gauge = Gauge(model, rows.some(MONITORED_ROWS), judging(model, rows), size, seed)
    average = Average(optimizer.flat) if rows.n_held_out else None
    loss, judged = gauge.losses()
    divergence = Divergence(loss, plan.learning_rate)
    progress = Progress([optimizer.flat, model.shared], plan.tol)
    if rows.n_held_out and model.starts_linear:  # where training starts may be as good as it gets
        progress.update(judged, keep=True)
    try:
        for epoch in range(plan.max_iter):
            run_epoch(rows, plan, epoch, shuffle, take, average)
            with average.in_place() if average else nullcontext():
                loss, judged = gauge.losses()
                divergence.check_finite(loss, epoch)
                history.losses.append(loss)
                if rows.n_held_out:
                    history.validation_losses.append(judged)
                else:
                    judged = loss
                # While the weight of the KL term rises, the loss cannot tell progress.
                if not plan.is_warming_up(epoch):
                    progress.update(judged, keep=rows.n_held_out > 0)
                history.best = progress.best
                if plan.is_in_grace(epoch):
                    progress.epochs_without = 0
                is_last = epoch + 1 == plan.max_iter
                history.is_over = is_last or progress.is_over(plan)
                if report(history) or history.is_over:
                    break
    except KeyboardInterrupt:
        if not history.losses:
            raise
        warn("Training interrupted by user.")
    progress.restore()
    divergence.check_not_much_worse(gauge.losses()[0])
    return history
