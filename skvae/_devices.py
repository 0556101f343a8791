"""Where torch computes: the device, the threads, and modes that do not depend on the caller's."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

# After torch has run a parallel region, a forked child that enters one hangs (its OpenMP pool
# has threads that were not copied). One thread in the child does not need the pool.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))

# Multiplications from which "auto" takes the accelerator. A guess until it is measured:
# launching the few dozen kernels of a step takes about as long as a CPU core needs for these.
WORTH_AN_ACCELERATOR = 100_000_000
# Multiplications in a step that are worth a thread. Measured with two: they take 1.2 times as long
# as one at 1 million, .93 at 20, .68 at 70, .56 at 800 million.
WORK_OF_A_THREAD = 20_000_000

Made = TypeVar("Made")


@functools.cache
def _accelerator() -> torch.device | None:
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def resolve_device(device: str, work: float = 0.0) -> torch.device:
    """Return the device of this name; "auto" is the accelerator where the work is worth it.

    `work` is the number of multiplications in a step, or in a batch of rows. A device that is not
    there is a RuntimeError.
    """
    accelerator = _accelerator()
    if device == "auto":
        return accelerator if accelerator and work > WORTH_AN_ACCELERATOR else torch.device("cpu")
    try:
        named = torch.device(device)
        torch.zeros(1, device=named).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RuntimeError(
            f"device={device!r} is not available here. There is: 'cpu'"
            f"{f', {str(accelerator)!r}' if accelerator else ''}; 'auto' takes what there is."
        ) from error
    return named


def device_with_float64(device: torch.device) -> torch.device:
    """Return the device, or the CPU instead of one that has no float64, as results are."""
    return torch.device("cpu") if device.type == "mps" else device


def on_cpu(make: Callable[[], Made]) -> Made:
    """Return what `make` makes, tensors without a device on the CPU."""
    with torch.device("cpu"):
        return make()


@functools.cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def limited_threads(work: float) -> AbstractContextManager[object]:
    """Limit a step of so many multiplications to as many threads as pay.

    The limit holds for the calling thread and is lifted after; `set_num_threads` would leak, and
    so would a limit of a BLAS, which is one for all threads.
    """
    n_threads = max(1, int(work / WORK_OF_A_THREAD))
    # Also initialises torch's settings of this thread, which would else override the limit.
    if torch.get_num_threads() <= n_threads:
        return nullcontext()
    return _thread_pools().limit(limits=n_threads, user_api="openmp")


@contextmanager
def shielded(device: torch.device) -> Iterator[None]:
    """Compute gradients in full precision whatever mode the caller is in.

    The default device is not among what is set here: `torch.device` as a context intercepts every
    operation, which doubles the time of a step. Whatever makes a tensor names its device instead.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        _full_precision(device),
    ):
        yield


@contextmanager
def inferring(device: torch.device) -> Iterator[None]:
    """Compute results, without gradients, in the same way."""
    with torch.inference_mode(), _full_precision(device):
        yield


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Switch the caller's autocast off; making that context takes a tenth of scoring a row."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
