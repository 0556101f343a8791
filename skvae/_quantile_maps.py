"""Drawn numbers of a frame -> numbers that are distributed as in the rows of `fit`."""

from typing import NamedTuple

import numpy as np

from ._knots import along
from ._marginal import Marginal

# Rows that are drawn to learn how draws are distributed, and bytes that they take.
MANY_DRAWS, BYTES = 5_000, 2**24
# Known cells of a column among the draws, at least.
FEWEST_ROWS = 30


def limits(cells, columns):
    """Return {column: least and greatest known value} of columns that have several."""
    low, high = np.fmin.reduce(cells), np.fmax.reduce(cells)
    return {j: (float(low[j]), float(high[j])) for j in columns if low[j] < high[j]}


class QuantileMaps(NamedTuple):
    """For each of some columns, what turns draws into what is as often in the rows of `fit`.

    The maps rise, so columns go together as they did; that is, they share the copula of the draws.
    Each column then has the grid, the range and the frequent values of the data, for which a
    continuous p(x | z) has no place. All its attributes are tuples, numbers and arrays.

    columns : indices of the columns.
    drawn, seen : for each of them the `Marginal` of draws and that of rows of `fit`.

    References
    ----------
    Panofsky and Brier (1968). Some Applications of Statistics to Meteorology. (Quantile mapping.)
    """

    columns: tuple
    drawn: tuple
    seen: tuple

    @classmethod
    def fit(cls, columns, cells, weights, drawn):
        """Learn the maps of columns from (weighted) rows and drawn ones, NaN where missing."""
        maps = []
        for j in columns:
            draws = drawn[:, j][~np.isnan(drawn[:, j])]
            if len(draws) >= FEWEST_ROWS:
                seen = Marginal.fit(cells[:, j], weights)
                maps.append((int(j), tuple(Marginal.fit(draws)), tuple(seen)))
        return cls(*zip(*maps, strict=True)) if maps else cls((), (), ())

    @property
    def limits(self):
        """What `limits` made of the columns."""
        return {j: tuple(seen[0][1:]) for j, seen in zip(self.columns, self.seen, strict=True)}

    def apply(self, cells, seed, n_draws=None):
        """Return drawn cells as they would be in rows of `fit`.

        `n_draws` tells that so many rows on end are draws of one row, whose missing cells are the
        same. Where these spread less than all rows do, what moves them is as much less: a cell
        that is all but known has little to do with how all are distributed.
        """
        cells, rng = cells.astype(np.float64), np.random.default_rng(seed)
        for j, drawn, seen in zip(*self, strict=True):
            known, to = ~np.isnan(cells[:, j]), Marginal(*seen)
            scores = Marginal(*drawn).scores(cells[known, j], rng)
            if n_draws is not None:
                of_a_row = scores.reshape(-1, n_draws)
                unmoved = along(cells[known, j], *to.knots).reshape(-1, n_draws)
                share = np.minimum(1, of_a_row.std(axis=1, keepdims=True, ddof=1))
                scores = (unmoved + share * (of_a_row - unmoved)).ravel()
            cells[known, j] = to.backward(scores)
        return cells
