"""What the estimators do with single cells: fill those that are missing, and judge the others."""

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real

import numpy as np
from sklearn.utils import gen_batches

from . import _engine
from ._validation import check_count
from ._warn import warn

# Codes of the prior from which rows under conditions are drawn, at least and at most.
FEWEST_CODES, MOST_CODES = 10_000, 100_000
# Codes with weight that are too few to draw rows from, if these are as many.
A_FEW_CODES = 10
# Rows that are drawn for each that is wanted, where it tells of them that a given cell is known.
N_CANDIDATES = 10
# How often noise is drawn again that leaves the range of its column.
N_REDRAWS = 10
# Draws of a row that tell how much these spread.
FEWEST_DRAWS = 8
# Draws whose mean stands for an expectation, and the bytes that they take at a time.
N_MEAN_DRAWS, DRAWN_BYTES = 256, 2**25


class CellsMixin:
    """Methods of an estimator that look at single cells."""

    def impute(self, X, n_draws=None, random_state=None):
        """Fill missing cells.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows with gaps: NaN, None or NA. A level that `fit` has not seen is a gap.
        n_draws : int or None, default=None
            None fills in means. A number draws that many completed tables, for multiple
            imputation.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws; with None, that of the estimator.

        Returns
        -------
        X_filled : {ndarray, data frame} of shape (n_samples, n_features), or a list of these
            The rows without gaps, as an array, or as a frame (of the library of `fit`) if `fit`
            was given one; known cells are as they were. (A column of a frame that was empty in
            `fit` stays so, as nothing tells what its values are.) Numbers are filled with
            E[x_missing | x_known] (by the mean of 256 draws where columns are mapped along a
            curve, as ordinal ones and those under scaling="quantile" are), categories with the
            likeliest level, flags in an array with their probability. What is drawn for a frame
            has the grid, the range and the frequent values of its column, as in `sample`. Draws of
            the VAE have codes of their own; those of the autoencoder differ by noise alone.
        """
        cells = self._validated(X)[:]
        holed = np.flatnonzero(np.isnan(cells).any(axis=1))
        if n_draws is None:
            return self._filled(X, cells, holed, self._expected(cells[holed]))
        check_count("n_draws", n_draws)
        seed = self._seed_of_draws(random_state)
        tables = self._completed(cells[holed], int(n_draws), seed)
        return [self._filled(X, cells, holed, completed) for completed in tables]

    def _completed(self, cells, n_draws, seed):
        """Return this many draws of rows given what is known of them."""
        if not len(cells):
            return [cells] * n_draws
        if self._maps is None:
            drawn = self._complete(cells, n_draws, seed)
        else:
            drawn = self._complete_mapped(cells, max(n_draws, FEWEST_DRAWS), seed)
        return list(drawn.reshape(len(cells), -1, cells.shape[1]).swapaxes(0, 1)[:n_draws])

    def _complete_mapped(self, cells, n_draws, seed):
        """Draw what is missing in rows of a frame, what is known is NaN; as `_complete`."""
        seed, again, ranks = _engine.spawn_seeds(seed, 3)
        rows = np.repeat(cells, n_draws, axis=0)
        missing = np.isnan(rows)
        drawn = np.where(missing, self._complete(cells, n_draws, seed), np.nan)
        # Noise around one place, cut off on one side, would be off the mark.
        limits = self._maps.limits if self.module_.draws_codes else {}
        for i, some, _ in _redraws(drawn, limits):
            completed = self._complete(rows[some], 1, again + i)
            drawn[some] = np.where(missing[some], completed, np.nan)
        return self._maps.apply(drawn, ranks, n_draws)

    def _complete(self, cells, n_draws, seed):
        """Draw as a model does what is missing, (n_samples * n_draws, n_features)."""
        module = self._module_in(cells.dtype)
        made = _engine.complete(module, cells, self._table.forward, n_draws, seed)
        return self._cells_from(made.reshape(-1, made.shape[-1]))

    def _expected(self, cells):
        """Return E[x | what is known of x], the likeliest level for categories."""
        curved = self._table.curved
        if not len(cells):
            return cells
        if not curved:
            return self._cells_from(self._run("impute", cells))
        n_bytes = 8 * N_MEAN_DRAWS * self.module_.columns.n_cells
        parts = gen_batches(len(cells), max(1, DRAWN_BYTES // n_bytes))
        return np.concatenate([self._mean_of_images(cells[rows], curved) for rows in parts])

    def _mean_of_images(self, cells, curved):
        """Return what `_expected` does where the map of some columns is a curve.

        Of these, the image of a mean is not the mean of images.
        """
        made = self._run("images", cells, N_MEAN_DRAWS)
        expected = self._table.backward(made[:, 0])
        images = self._table.backward(made[:, 1:].reshape(-1, made.shape[-1]))[:, curved]
        expected[:, curved] = images.reshape(len(cells), N_MEAN_DRAWS, -1).mean(axis=1)
        return self._with_constants(expected)

    def _filled(self, X, cells, holed, completed):
        """Return what was given, the gaps of some of its rows filled by what these became."""
        known, filled = ~np.isnan(cells), cells.copy()
        filled[holed] = np.where(known[holed], cells[holed], completed)
        return filled if self._schema is None else self._schema.fill(X, filled, known)

    def contributions(self, X):
        """Return what each cell adds to the score of its row.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        contributions : {ndarray, data frame} of shape (n_samples, n_features)
            In nats, in the units of X, zero for missing cells; a frame with the names of the
            columns if `fit` was given one. The lower, the less a cell fits its row. For the
            autoencoder log p(x_j | f(x)), with the further noise of its score; these sum to
            `score_samples` less what its place adds. For the VAE the posterior mean of
            log p(x_j | z), by importance sampling; these sum to log p(x) plus the divergence of
            the posterior from the prior.
        """
        cells = self._validated(X)[:]
        added = self._table.in_order(self._run("contributions", cells))
        added = np.where(np.isnan(cells), 0, added + self._table.log_slopes(cells))
        added = np.where(np.isnan(added), -np.inf, added)  # as in `score_samples`
        if self._schema is None:
            return added
        return self._schema.with_index_of(self._schema.frame_of(added), X)

    def _draw(self, given, n_samples, complete, seed):
        """Draw rows of which a row of cells is given, NaN where they are not."""
        *of_cells, of_gaps, ranks, choice = _engine.spawn_seeds(seed, 6)
        gaps, known = None if complete else self._gaps, ~np.isnan(given)
        if gaps is None or not gaps.are_told_by(known[0]):
            cells = self._draw_mapped(given, n_samples, of_cells, ranks)
        else:
            many = int(np.clip(N_CANDIDATES * n_samples, n_samples, max(n_samples, MOST_CODES)))
            cells = self._draw_mapped(given, many, of_cells, ranks)
            cells = cells[gaps.choose(cells, known[0], n_samples, choice)]
        if gaps is not None:
            cells[gaps.draw(cells, known[0], of_gaps) & ~known] = np.nan
        return self._as_given(cells.astype(self._dtype), np.repeat(known, n_samples, axis=0))

    def _draw_mapped(self, given, n_samples, of_cells, ranks):
        """Draw complete cells, numbers of a frame distributed as in `fit`; a list of seeds."""
        if self._maps is None:
            cells = self._draw_cells(given, n_samples, *of_cells)
        else:
            cells = self._draw_cells(given, n_samples, *of_cells, self._maps.limits)
            cells = self._maps.apply(cells, ranks)
        return np.where(np.isnan(given), cells, given)

    def _draw_cells(self, given, n_samples, codes, rows, again, limits=None):
        """Draw cells from p(x | what is given), the latter as well; three seeds.

        The noise of what lies beyond the limits of some columns, {column: (low, high)}, is drawn
        again, some times: as far out as it is, it would else be taken for the rarest of values.
        """
        module, in_units = self._module_in(np.float64), None
        if np.isnan(given).all():
            Z = self._draw_codes(n_samples, codes)
        else:
            in_units = self._table.forward(given)
            Z = self._draw_codes_given(in_units, n_samples, codes, again)
        cells = self._cells_from(_engine.draw_rows(module, Z, rows, in_units))
        for i, some, beyond in _redraws(cells, limits or {}):
            drawn = _engine.draw_rows(module, Z[some], rows + 1 + i, in_units)
            cells[some] = np.where(beyond, self._cells_from(drawn), cells[some])
        return cells

    def _draw_codes_given(self, in_units, n_samples, codes, again):
        """Draw codes given some cells of a row in working units; two seeds.

        If few of those that are drawn first have weight, as many as may be are.
        """
        module = self._module_in(np.float64)
        n_codes = int(np.clip(20 * n_samples, FEWEST_CODES, MOST_CODES))
        for n in sorted({n_codes, MOST_CODES}):
            many = self._draw_codes(n, codes)
            Z, n_telling = _engine.draw_codes_given(module, in_units, many, n_samples, again)
            if n_telling >= min(n_samples, A_FEW_CODES):
                return Z
        warn(
            f"The conditions hardly go together, or are rare: of {MOST_CODES:,} codes about "
            f"{n_telling:.0f} carry all weight, so that drawn rows resemble one another."
        )
        return Z

    def _cells_of(self, conditions):
        """Return a row with the cells of {column: value}, the others missing; all, of None."""
        cells = np.full((1, self.n_features_in_), np.nan)
        if conditions is None:
            return cells
        if not isinstance(conditions, Mapping):
            raise TypeError(f"conditions must be a dict {{column: value}}. Got {conditions!r}.")
        for column, value in conditions.items():
            j, value = self._place(column, value)
            cells[0, j] = _as_float(column, value)
        self._check_support(cells, self._blocks, to_learn=True)
        return cells

    def _place(self, column, value):
        """Return the index of a column, and the cell that stands for a value of it."""
        if self._schema is not None:
            return self._schema.cell(column, value)
        if isinstance(column, Integral) and 0 <= column < self.n_features_in_:
            return int(column), value
        raise ValueError(
            f"conditions names column {column!r}, but X has columns 0 to "
            f"{self.n_features_in_ - 1}."
        )


def _redraws(cells, limits):
    """Yield numbers, which rows to draw again for each, and which of their cells are the cause.

    As long as there are such, but not too often.
    """
    for i in range(N_REDRAWS):
        beyond = _beyond(cells, limits)
        some = np.flatnonzero(beyond.any(axis=1))
        if not len(some):
            return
        yield i, some, beyond[some]


def _beyond(cells, limits):
    """Tell which cells lie beyond the limits of their column."""
    beyond = np.zeros(cells.shape, dtype=bool)
    for j, (low, high) in limits.items():
        beyond[:, j] = (cells[:, j] < low) | (cells[:, j] > high)
    return beyond


def _as_float(column, value):
    """Return the value of a condition as a float; raise if it is none, or would be another."""
    try:
        cell = float(value) if isinstance(value, (Real, Decimal)) else math.nan
    except OverflowError:
        cell = math.inf
    if isinstance(value, Integral) and cell != value:
        raise ValueError(
            f"The condition for column {column!r} has more digits than a float64 holds. "
            f"Got {value!r}."
        )
    if not math.isfinite(cell):
        raise ValueError(
            f"The condition for column {column!r} must be a finite number. Got {value!r}."
        )
    return cell
