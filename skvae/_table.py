"""A table <-> a matrix in working units: scaling, and the log-Jacobian that belongs to it."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import gen_batches

from ._arrays import PART_BYTES, SomeColumns, has_gaps, rows_in, some_rows
from ._knots import along, normal_knots, slope
from ._marginal import Marginal
from ._scaling import learn_scaling

# How far from the end of what was seen is at it, in units of the scale.
NEAR = 1e-6


class Layout(NamedTuple):
    """Which columns there are, in the order of the model's blocks.

    order : columns of numbers, indices into those of X.
    continuous : whether each of them is scaled, booleans.
    ordinal : columns of numbers that become intervals, which follow in the model.
    categorical : columns of level indices, which come last.
    levels : how many levels each of these has.
    limited : those of `order`, by their place in it, that may stop at an end of what was seen.
    """

    order: np.ndarray
    continuous: np.ndarray
    ordinal: tuple[int, ...]
    categorical: tuple[int, ...]
    levels: tuple[int, ...]
    limited: tuple[int, ...] = ()

    @classmethod
    def of_numbers(cls, n_columns):
        """Return the layout of columns that are all scaled."""
        return cls(np.arange(n_columns), np.ones(n_columns, dtype=bool), (), (), ())


class Table:
    """A fitted, invertible map: a monotone one of each number, one-hot codes of each level.

    A number of an ordinal column becomes the middle and the width of an interval. Missing cells
    are NaN on both sides. All its attributes are arrays, lists and tuples of them, numbers and
    None: it is pickled as such.
    """

    @classmethod
    def fit(
        cls,
        X,
        layout=None,
        *,
        scaling,
        most_of_rare=10.0,
        sample_weight=None,
        random_state=None,
        warns=True,
    ):
        """Learn the map from X; `scaling` is that of the estimators.

        Without a layout all columns are numbers that are scaled. `most_of_rare` is the root mean
        square that rare values beside one usual one have in working units at most, `warns` whether
        to warn of values beside which others are lost.
        """
        table, layout = cls(), layout or Layout.of_numbers(X.shape[1])
        vars(table).update(layout._asdict())
        table.is_plain = np.array_equal(layout.order, np.arange(X.shape[1]))
        table.marginals = _fit_marginals(X, layout.ordinal, sample_weight, random_state)
        if not table.is_plain:
            X = SomeColumns(X, layout.order)
        table.center, table.scale, table.knots = np.zeros(X.shape[1]), np.ones(X.shape[1]), None
        if not X.shape[1]:
            return table
        center, scale = learn_scaling(
            X, table.continuous, scaling, most_of_rare, sample_weight, random_state, warns
        )
        center = np.where(table.continuous, np.nan_to_num(center), 0)
        # Rounded as it will be, so that a value is as far from it in float64 as in float32.
        table.center = center.astype(X.dtype).astype(np.float64)
        table.scale = np.where(table.continuous & ~np.isnan(scale), scale, 1)
        if table.limited:
            table.ends = _ends(X, table.limited, random_state)
            rounding = 4 * np.finfo(X.dtype).eps * np.abs(table.ends)
            table.near = NEAR * table.scale[list(table.limited)] + rounding
        if scaling == "quantile":
            some, weights = some_rows(X, sample_weight, random_state)
            some = table._standardize(some)
            table.knots = [
                normal_knots(some[:, j], weights) if table.continuous[j] else None
                for j in range(some.shape[1])
            ]
        return table

    @classmethod
    def from_state(cls, state):
        """Build a table from the `vars` of another."""
        table = cls()
        vars(table).update(state)
        if not (np.isfinite(table.center).all() and np.isfinite(table.scale).all()):
            raise ValueError("The state of the scaling is damaged: it is not finite.")
        return table

    def forward(self, X):
        """Map columns to working units, in the dtype of X."""
        Z = self._standardize(self._numbers(X))
        for j, (x, z) in self._knots():
            Z[:, j] = along(Z[:, j], x, z)
        if self.is_plain:
            return Z
        parts = [Z, *self._intervals(X)]
        if self.levels:
            parts.append(self._one_hot(X[:, list(self.categorical)]))
        return np.hstack(parts)

    def backward(self, Z):
        """Map working units to those of the data, in the dtype of Z; the likeliest levels."""
        numbers = np.array(Z[:, : len(self.order)])
        for j, (x, z) in self._knots():
            numbers[:, j] = along(numbers[:, j], z, x)
        numbers *= self.scale.astype(Z.dtype)
        numbers += self.center.astype(Z.dtype)
        self._to_ends(numbers)
        if self.is_plain:
            return numbers
        n_numbers, n_ordinal = len(self.order), len(self.ordinal)
        X = np.empty((len(Z), n_numbers + n_ordinal + len(self.levels)), dtype=Z.dtype)
        X[:, self.order] = numbers
        for i, (j, marginal) in enumerate(self._marginals()):
            X[:, j] = marginal.backward(Z[:, n_numbers + 2 * i])
        ends = n_numbers + 2 * n_ordinal + np.cumsum(self.levels, dtype=int)
        for j, n, end in zip(self.categorical, self.levels, ends, strict=True):
            X[:, j] = Z[:, end - n : end].argmax(axis=1)
        return X

    def log_jacobian(self, X):
        """Return log |d forward / d X| of each row in nats, a scalar where it is constant.

        It is that of the known cells.
        """
        if self.knots is None and not self.ordinal and not has_gaps(X):
            return -np.log(self.scale).sum()
        parts = gen_batches(len(X), rows_in(PART_BYTES, X))
        return np.concatenate([self.log_slopes(X[rows]).sum(axis=1) for rows in parts])

    def log_slopes(self, X):
        """Return the part of each cell in log_jacobian, shape of X; zero where it is missing."""
        numbers = self._numbers(X)
        slopes = np.tile(-np.log(self.scale), (len(X), 1))
        Z = self._standardize(numbers)
        for j, knots in self._knots():
            slopes[:, j] += np.log(slope(Z[:, j], *knots))
        slopes[np.isnan(numbers)] = 0
        if self.is_plain:
            return slopes
        of_ordinal = [m.log_slope(X[:, j])[:, None] for j, m in self._marginals()]
        slopes = np.hstack([slopes, *of_ordinal, np.zeros((len(X), len(self.levels)))])
        return self.in_order(slopes)

    def in_order(self, of_columns):
        """Bring numbers of each column of the model to the order of X, along the last axis."""
        there = [*self.order, *self.ordinal, *self.categorical]
        return of_columns[..., np.argsort(there)]

    @property
    def curved(self):
        """Columns of X whose map is no straight line."""
        return [*(int(self.order[j]) for j, _ in self._knots()), *self.ordinal]

    @property
    def scaled(self):
        """Columns of X whose values are scaled: real ones, but for those that become intervals."""
        return self.order[self.continuous].tolist()

    def _knots(self):
        if self.knots is None:
            return []
        return [(j, knots) for j, knots in enumerate(self.knots) if knots is not None]

    def _marginals(self):
        return [(j, Marginal(*m)) for j, m in zip(self.ordinal, self.marginals, strict=True)]

    def _intervals(self, X):
        """Return the middle and the width of each ordinal column, pairs of columns."""
        pairs = (marginal.forward(X[:, j]) for j, marginal in self._marginals())
        return [np.column_stack(pair).astype(X.dtype) for pair in pairs]

    def _to_ends(self, numbers):
        """Set what differs by rounding from an end of what was seen to that."""
        if not self.limited:
            return
        columns = list(self.limited)
        for rows in gen_batches(len(numbers), rows_in(PART_BYTES, numbers)):
            x = numbers[rows, columns]
            for end, near in zip(self.ends, self.near, strict=True):
                x = np.where(np.abs(x - end) <= near, end, x)
            numbers[rows, columns] = x

    def _numbers(self, X):
        return X if self.is_plain else X[:, self.order]

    def _one_hot(self, codes):
        levels = np.concatenate([np.arange(n) for n in self.levels])
        cells = np.repeat(codes, self.levels, axis=1)
        return np.where(np.isnan(cells), np.nan, cells == levels).astype(codes.dtype)

    def _standardize(self, X):
        # Only the shift is done in the precision of X; a difference of float32 is exact enough.
        Z = np.subtract(X, self.center, dtype=X.dtype)
        Z /= self.scale.astype(X.dtype)
        return Z


def _ends(X, columns, random_state):
    """Return the least and the greatest value of these columns, in the first and second row."""
    some = some_rows(X, None, random_state)[0][:, list(columns)]
    return np.array([np.fmin.reduce(some), np.fmax.reduce(some)], dtype=np.float64)


def _fit_marginals(X, columns, sample_weight, random_state):
    """Return the map of each of these columns, as plain arrays."""
    if not columns:
        return []
    some, weights = some_rows(X, sample_weight, random_state)
    return [tuple(Marginal.fit(some[:, j], weights)) for j in columns]
