"""The distribution of a whole row given its code: likelihoods side by side.

A row in working units has the columns of each likelihood next to one another. Most have one
number for each column; the categorical one has the one-hot codes of its columns, so that rows may
be wider than there are columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from .likelihoods import Likelihood, class_of

# A likelihood's name or class, and its columns: how many, or the number of levels of each.
BlockSpec = tuple[str | type[Likelihood], int | tuple[int, ...]]


class Slot(NamedTuple):
    """A likelihood, and which part of a row and of the decoder's output is its."""

    likelihood: Likelihood
    cells: slice
    outputs: slice


def resolve_likelihood(
    likelihood: str | type[Likelihood], levels: tuple[int, ...] | None = None
) -> Likelihood:
    """Return an instance of the likelihood with this name, or of this class."""
    cls: Callable[..., Likelihood] = class_of(likelihood)
    return cls() if levels is None else cls(levels=levels)


def _slices(widths: Sequence[int]) -> list[slice]:
    return [slice(*ends) for ends in pairwise(accumulate(widths, initial=0))]


def split_params(out: Tensor, n_params: int) -> tuple[Tensor, ...]:
    """Return the parameters that lie side by side, each in one piece of memory.

    On what has holes, elementwise functions take several times as long.
    """
    return out.unflatten(-1, (n_params, -1)).movedim(-2, 0).contiguous().unbind()


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return parts side by side; one is taken as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), -1)


class Columns:
    """What is known of a row's columns; it holds no parameters.

    `out` is the decoder's output, shape (..., n_outputs); `shared` the vectors that are the same
    for every row, shape (n_shared, n_cells), of which a slot reads the first it needs.
    """

    def __init__(self, specs: Sequence[BlockSpec]):
        parts = [
            resolve_likelihood(name, n if isinstance(n, tuple) else None) for name, n in specs
        ]
        levels = [
            n if isinstance(n, tuple) else (part.n_cells,) * n
            for part, (_, n) in zip(parts, specs, strict=True)
        ]
        widths = [sum(n) for n in levels]
        n_outputs = [part.n_params * width for part, width in zip(parts, widths, strict=True)]
        self.slots = [
            Slot(*slot) for slot in zip(parts, _slices(widths), _slices(n_outputs), strict=True)
        ]
        # Those whose shared vectors follow the rows.
        self.learning = [
            slot for slot in self.slots if slot.likelihood.has_own("shared_statistics")
        ]
        self.n_cells, self.n_outputs = sum(widths), sum(n_outputs)
        self.n_columns = sum(len(n) for n in levels)
        self.n_shared = max(part.n_shared for part in parts)
        self.n_updates = max(part.n_updates for part in parts)
        # The column of each cell, and the first cell of each column.
        flat = [n for own in levels for n in own]
        self.column_of = [j for j, n in enumerate(flat) for _ in range(n)]
        self.first_cell = list(accumulate(flat, initial=0))[:-1]

    def _part(self, of_all: Tensor, part: slice) -> Tensor:
        """Return the part of a slot; slicing what is whole takes as long as a small product."""
        return of_all if len(self.slots) == 1 else of_all[..., part]

    def params(self, out: Tensor, shared: Tensor) -> Iterator[tuple[Slot, tuple[Tensor, ...]]]:
        """Yield each slot with the parameters of its likelihood."""
        for slot in self.slots:
            yield slot, self._params_of(slot, out, shared)

    def _params_of(self, slot: Slot, out: Tensor, shared: Tensor) -> tuple[Tensor, ...]:
        likelihood, cells, outputs = slot
        own = self._part(out, outputs)
        n, n_shared = likelihood.n_params, likelihood.n_shared
        vectors = self._part(shared, cells).unbind()[:n_shared] if n_shared else ()
        return (*((own,) if n == 1 else split_params(own, n)), *vectors)

    def log_prob(self, x: Tensor, out: Tensor, shared: Tensor) -> Tensor:
        """Return the log-density of each column in nats, shape (..., n_columns)."""
        parts = [
            slot.likelihood.log_prob(self._part(x, slot.cells), *params)
            for slot, params in self.params(out, shared)
        ]
        return joined(parts)

    def grads(self, x: Tensor, out: Tensor, shared: Tensor) -> Tensor:
        """Return the gradient of the sum of log_prob, shape of out."""
        parts = [
            grad
            for slot, params in self.params(out, shared)
            for grad in slot.likelihood.grads(self._part(x, slot.cells), *params)
        ]
        return joined(parts)

    def log_prob_and_grads(self, x: Tensor, out: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Return what log_prob and grads do."""
        both = [
            slot.likelihood.log_prob_and_grads(self._part(x, slot.cells), *params)
            for slot, params in self.params(out, shared)
        ]
        return (
            joined([log_prob for log_prob, _ in both]),
            joined([grad for _, grads in both for grad in grads]),
        )

    def to_outputs(self, of_cells: Tensor) -> Tensor:
        """Return, for a number of each cell, that of the decoder's outputs for it."""
        if self.n_outputs == self.n_cells:
            return of_cells
        parts = [
            self._part(of_cells, slot.cells)
            for slot in self.slots
            for _ in range(slot.likelihood.n_params)
        ]
        return torch.cat(parts, -1)

    def mean(self, out: Tensor, shared: Tensor, x: Tensor | None = None) -> Tensor:
        """Return E[x | z], shape (..., n_cells); for the gaps of x, if that is given."""
        return self._join(lambda part, *params: part.mean(*params), out, shared, x)

    def sample(
        self, out: Tensor, shared: Tensor, generator: Generator, x: Tensor | None = None
    ) -> Tensor:
        """Draw rows given the parameters, shape (..., n_cells); for the gaps of x, if given."""
        return self._join(lambda part, *params: part.sample(*params, generator), out, shared, x)

    def _join(
        self, function: Callable[..., Tensor], out: Tensor, shared: Tensor, x: Tensor | None
    ) -> Tensor:
        parts = []
        for slot, params in self.params(out, shared):
            if x is not None:
                params = slot.likelihood.given(self._part(x, slot.cells), *params)
            parts.append(function(slot.likelihood, *params))
        # What x tells is of each row, where some draws of codes are the same for all of them.
        # (torch.broadcast_shapes takes a third of a second to import.)
        lead = max((part.shape[:-1] for part in parts), key=math.prod)
        return joined([part.expand(*lead, -1) for part in parts])

    def embed(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of rows, shape of x."""
        if not any(slot.likelihood.has_own("embed") for slot in self.slots):
            return x
        return torch.cat([slot.likelihood.embed(x[..., slot.cells]) for slot in self.slots], -1)

    def with_gaps(self, x: Tensor, missing: Tensor) -> Tensor:
        """Return rows with NaN where cells are missing, for likelihoods that look for it."""
        seeing = [slot.cells for slot in self.slots if slot.likelihood.sees_gaps]
        if seeing:
            x = x.clone()
        for cells in seeing:
            x[..., cells].masked_fill_(missing[..., cells], torch.nan)
        return x

    def of_new_levels(self, x: Tensor, known: Tensor) -> Tensor:
        """Return where rows of x have a level that no row of `known` has; boolean, shape of x."""
        is_new = torch.zeros_like(x, dtype=torch.bool)
        for likelihood, cells, _ in self.slots:
            if likelihood.needs_levels:
                unseen = (x[:, cells] > 0) & ~(known[:, cells] > 0).any(0)
                column = torch.tensor(self.column_of[cells], device=x.device)
                of_columns = x.new_zeros(len(x), self.n_columns)
                of_columns.index_add_(1, column, unseen.to(x.dtype))
                is_new[:, cells] = of_columns.index_select(1, column) > 0
        return is_new

    def redraw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return draws of what the cells of rows stand for, shape of x."""
        parts = [slot.likelihood.redraw(x[..., slot.cells], generator) for slot in self.slots]
        return joined(parts)

    @property
    def with_variance(self) -> list[slice]:
        """The cells whose first shared number is the variance of their noise."""
        return [slot.cells for slot in self.slots if slot.likelihood.shared_is_variance]

    def noisy(self, of_cells: Tensor) -> Tensor:
        """Return what the cells with such a variance have, side by side; there is one or more."""
        return joined([of_cells[..., cells] for cells in self.with_variance])

    @property
    def joining(self) -> list[slice]:
        """Those of them whose noise may go together: what stops at a limit has to keep to it."""
        likelihoods = [(slot.likelihood, slot.cells) for slot in self.slots]
        return [cells for one, cells in likelihoods if one.shared_is_variance and not one.stops]

    def together(self, of_cells: Tensor) -> Tensor:
        """Return what the cells whose noise may go together have; there is one or more."""
        return joined([of_cells[..., cells] for cells in self.joining])

    def reset_learned(self, shared: Tensor) -> None:
        """Set those of the shared vectors that are learned to what they start from."""
        for likelihood, cells, _ in self.slots:
            shared[: likelihood.n_shared - likelihood.n_read_off, cells] = 1

    def read_off(self, ordered: Tensor, shared: Tensor) -> None:
        """Set those of the shared vectors that are read off rows, whose columns are ascending."""
        for likelihood, cells, _ in self.slots:
            vectors = likelihood.read_off(ordered[:, cells])
            for i, vector in enumerate(vectors, likelihood.n_shared - likelihood.n_read_off):
                shared[i, cells] = vector

    def blurred(self, shared: Tensor, noise: float) -> Tensor:
        """Return shared vectors as if real values had further noise of this scale."""
        blurred = shared.clone()
        for cells in self.with_variance:
            blurred[0, cells] += noise**2
        return blurred

    def outputs_for_mean(self, mean: Tensor) -> Tensor:
        """Return an output of the decoder with about this mean, shape (n_outputs,)."""
        parts = [slot.likelihood.params_for_mean(mean[slot.cells]) for slot in self.slots]
        return torch.cat([param for params in parts for param in params])

    @property
    def are_means(self) -> bool:
        """Whether the first output for each cell is its mean."""
        return all(slot.likelihood.starts_with_mean for slot in self.slots)

    def output_slopes(self, of_means: Tensor) -> Tensor:
        """Return slopes of the outputs, (n_outputs, ...), from those of means: zero for others."""
        parts = []
        for slot in self.slots:
            own = of_means[slot.cells]
            parts += [own, *[torch.zeros_like(own)] * (slot.likelihood.n_params - 1)]
        return torch.cat(parts)

    def statistics(
        self, x: Tensor, out: Tensor, shared: Tensor
    ) -> Iterator[tuple[slice, int, Tensor]]:
        """Yield (cells, i, statistic), whose mean is the most likely `shared[i, cells]`."""
        for slot in self.learning:
            params = self._params_of(slot, out, shared)
            found = slot.likelihood.shared_statistics(self._part(x, slot.cells), *params)
            for i, statistic in enumerate(found):
                yield slot.cells, i, statistic
