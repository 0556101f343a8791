"""Where the batches come from: rows in memory, or read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import repeat
from typing import NamedTuple

import torch
from torch import Generator, Tensor

# Bytes of a block, which is read in one go, and of a buffer, in which blocks are mixed.
BLOCK_BYTES, BUFFER_BYTES = 2**16, 2**23
# Bytes of the rows that are gathered, or mapped to working units, at a time.
GATHERED_BYTES = 2**18


class Part(NamedTuple):
    """Some rows in working units, and their weights: None or of shape (n_samples, 1)."""

    x: Tensor
    weight: Tensor | None

    @property
    def mass(self) -> float:
        """What the rows weigh together."""
        return len(self.x) if self.weight is None else self.weight.sum().item()

    def take(self, indices: Tensor) -> Part:
        """Return the rows with these indices."""
        weight = None if self.weight is None else self.weight.index_select(0, indices)
        return Part(self.x.index_select(0, indices), weight)

    def some(self, n: int) -> Part:
        """Return at most n of the rows, from all over: they may be sorted."""
        return self.take(spread(len(self.x), n).to(self.x.device))

    def split(self, size: int) -> Iterator[Part]:
        """Yield the rows in order, this many at a time; the last part may be short."""
        weights = repeat(None) if self.weight is None else self.weight.split(size)
        for x, weight in zip(self.x.split(size), weights, strict=False):
            yield Part(x, weight)

    def repeated(self, n: int) -> Part:
        """Return the rows as many times as make about n, at least once."""
        indices = torch.arange(len(self.x), device=self.x.device)
        return self.take(indices.repeat(max(1, n // max(1, len(self.x)))))

    def join(self, other: Part) -> Part:
        """Return these rows and then the others."""
        weight = None
        if self.weight is not None and other.weight is not None:
            weight = torch.cat([self.weight, other.weight])
        return Part(torch.cat([self.x, other.x]), weight)


def shuffled(n: int, generator: Generator) -> Tensor:
    """Return a random order of n things, on the CPU."""
    return torch.randperm(n, generator=generator, device="cpu")


def spread(length: int, n: int) -> Tensor:
    """Return at most n indices, evenly spread over a length, on the CPU."""
    step = max(1, -(-length // n))
    return torch.arange(0, length, step, device="cpu")


class Rows:
    """Rows to learn from, and rows held out, which are in memory."""

    def __init__(self, n_train: int, held_out: Part):
        self.n_train, self.n_held_out = n_train, len(held_out.x)
        self.held_out = held_out

    def batches(self, size: int, generator: Generator) -> Iterator[Part]:
        """Yield the training rows in a new order; the last batch may be short."""
        raise NotImplementedError

    def some(self, n: int) -> Part:
        """Return at most n training rows, from all over: X may be sorted."""
        raise NotImplementedError

    def some_held_out(self, n: int) -> Part:
        """Return at most n of the rows held out, from all over, too."""
        return self.held_out.some(n)


class RowsInMemory(Rows):
    """Rows that are all in memory."""

    def __init__(self, train: Part, held_out: Part):
        super().__init__(len(train.x), held_out)
        self.train = train

    def batches(self, size: int, generator: Generator) -> Iterator[Part]:
        order = shuffled(self.n_train, generator).to(self.train.x.device)
        # A few batches are gathered in one go, as many as the cache holds.
        many = size * max(1, GATHERED_BYTES // (size * self.train.x[0].nbytes))
        for indices in order.split(many):
            yield from self.train.take(indices).split(size)

    def some(self, n: int) -> Part:
        return self.train.some(n)


class BlockRows(Rows):
    """Rows that stay where they are, in an array or a file, and are read as they are needed.

    Blocks of neighbours are read in random order into a buffer, and mixed in it: reading each
    row for itself would take twenty times as long. `read` maps indices to rows; those of
    `is_held_out` are left out.
    """

    def __init__(self, read: Callable[[Tensor], Part], is_held_out: Tensor, row_bytes: int):
        n_train = int((~is_held_out).sum())
        super().__init__(n_train, read(is_held_out.nonzero()[:, 0]))
        self.read, self.is_held_out = read, is_held_out
        self.block = max(1, BLOCK_BYTES // row_bytes)
        self.n_blocks = max(1, BUFFER_BYTES // (self.block * row_bytes))

    def batches(self, size: int, generator: Generator) -> Iterator[Part]:
        left = None
        for buffer in self._buffers(generator):
            rows = buffer if left is None else left.join(buffer)
            *full, left = rows.split(size)
            yield from full
        if left is not None:
            yield left

    def _buffers(self, generator: Generator) -> Iterator[Part]:
        starts = self.block * shuffled(-(-len(self.is_held_out) // self.block), generator)
        for some in starts.split(self.n_blocks):
            indices = (some[:, None] + torch.arange(self.block, device="cpu")).flatten()
            indices = indices[indices < len(self.is_held_out)]
            rows = self.read(indices[~self.is_held_out[indices]])
            yield rows.take(shuffled(len(rows.x), generator).to(rows.x.device))

    def some(self, n: int) -> Part:
        train = (~self.is_held_out).nonzero()[:, 0]
        indices = train[spread(len(train), n)]
        # As many at a time as the buffer holds: reading may need more than what comes of it.
        return reduce(Part.join, map(self.read, indices.split(self.block * self.n_blocks)))
