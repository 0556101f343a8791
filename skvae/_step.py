"""One step of training, and how an accelerator is kept busy with small ones."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from ._latent_model import LatentModel, Moment
from ._optimizer import Adam

recording = threading.Lock()


class Step:
    """The gradients of a batch, then the optimiser."""

    def __init__(self, model: LatentModel, optimizer: Adam, noise: Generator):
        self.model, self.optimizer, self.noise = model, optimizer, noise

    def __call__(
        self, x: Tensor, weight: Tensor | None, moment: Moment, learning_rate: float | Tensor
    ) -> None:
        self.model.ascend(x, weight, self.noise, moment)
        self.optimizer.step(learning_rate)


def capture(run: Callable[[], None], noise: Generator) -> Callable[[], None]:
    """Record what `run` does on the generator's CUDA device; return what repeats it in one launch.

    Nothing is computed while it is recorded.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(noise)
    # By default the stream is one for the process, of the device that was first recorded on; and
    # only one thread may record at a time, while others compute as they like.
    stream = torch.cuda.Stream(noise.device)
    mode = "thread_local"
    with (
        recording,
        torch.cuda.device(noise.device),
        torch.cuda.graph(graph, stream=stream, capture_error_mode=mode),
    ):
        run()
    return graph.replay


class CapturedStep(Step):
    """A step that is recorded as a CUDA graph once it repeats.

    Launching the few dozen kernels of a small step takes longer than they run. A graph is
    launched at once, but always does the same, with tensors at the same places. So batches and
    the learning rate are copied to where it reads them, and what differs is run as it is: a last
    short batch, and the moments in which the KL term is warmed up.
    """

    recorded: tuple[int, Moment] | None = None  # length and moment of the recorded step
    last: tuple[int, Moment] | None = None  # and of the last one

    def __call__(
        self, x: Tensor, weight: Tensor | None, moment: Moment, learning_rate: float | Tensor
    ) -> None:
        own = len(x), moment
        repeats = own == self.last
        if repeats and own != self.recorded:
            self._record(x, weight, moment)
            self.recorded = own
        self.last = own
        if own != self.recorded:
            return super().__call__(x, weight, moment, learning_rate)
        self.x.copy_(x)
        if weight is not None and self.weight is not None:
            self.weight.copy_(weight)
        self.learning_rate.fill_(learning_rate)
        self.replay()

    def _record(self, x: Tensor, weight: Tensor | None, moment: Moment) -> None:
        self.x = x.clone()
        self.weight = None if weight is None else weight.clone()
        self.learning_rate = torch.zeros((), dtype=torch.float32, device=x.device)
        inputs = self.x, self.weight, moment, self.learning_rate
        self.replay = capture(lambda: Step.__call__(self, *inputs), self.noise)
