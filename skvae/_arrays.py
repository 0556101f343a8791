"""Rows of arrays, of files and of sparse matrices: taken a few at a time, counted, left out."""

import math

import numpy as np
from sklearn.utils.sparsefuncs import min_max_axis

# Bytes that are looked at in one go.
PART_BYTES = 2**21
# Rows from which quantiles are taken, drawn at random where there are more.
MAX_ROWS = 100_000
# Rows that tell what the values of columns are like.
A_FEW_ROWS = 1000


def rows_in(n_bytes, X):
    """Return how many rows of X take this many bytes, at least one."""
    return max(1, n_bytes // (X.itemsize * X.shape[1]))


class DenseOnDemand:
    """A CSR matrix that looks like an array of rows: what is indexed comes out dense."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self.itemsize = matrix.dtype.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, (int, np.integer)):
            return self.matrix[[rows]].toarray()[0]
        return self.matrix[rows].toarray()

    def take(self, rows):
        """Return some rows, sparse still."""
        return DenseOnDemand(self.matrix[rows])

    def n_missing(self):
        """Return the number of cells that are NaN."""
        return np.count_nonzero(np.isnan(self.matrix.data))

    def limits(self):
        """Return the least and the greatest value of each column that is known."""
        return min_max_axis(self.matrix, axis=0, ignore_nan=True)


class SomeRows:
    """Some rows of an array, which may be a file larger than memory: what is indexed is copied."""

    def __init__(self, X, rows):
        self.X, self.rows = X, rows
        self.shape, self.dtype, self.itemsize = (len(rows), X.shape[1]), X.dtype, X.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        rows, *columns = index if isinstance(index, tuple) else (index,)
        return self.X[self.rows[rows]][(..., *columns)]

    def take(self, rows):
        """Return some of these rows."""
        return SomeRows(self.X, self.rows[rows])

    def n_missing(self):
        """Return the number of cells that are NaN."""
        return _n_missing(self)


class SomeColumns:
    """Some columns of an array, or of what looks like one: what is indexed is copied."""

    def __init__(self, X, columns):
        self.X, self.columns = X, columns
        self.shape, self.dtype, self.itemsize = (len(X), len(columns)), X.dtype, X.itemsize

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self.X[rows][..., self.columns]

    def take(self, rows):
        """Return some rows of these columns."""
        return SomeColumns(some_of(self.X, rows), self.columns)


def some_of(X, rows):
    """Return some rows; those of an array are copied only as they are indexed."""
    return SomeRows(X, rows) if isinstance(X, np.ndarray) else X.take(rows)


def evenly_by(keys, n):
    """Return indices of n rows, in their order, whose keys are spread as those of all."""
    places = (np.arange(n) + 0.5) * (len(keys) / n)
    return np.sort(np.argsort(keys, kind="stable")[places.astype(int)])


def constant_cells(X):
    """Return the value of each column that has but one, up to rounding; NaN for the others."""
    low, high = X.limits() if isinstance(X, DenseOnDemand) else _limits_of_constants(X)
    return np.where(_are_equal(low, high), high, np.nan)


def _limits_of_constants(X):
    """Return the least and the greatest value of each column that has but one, of others some."""
    size = rows_in(PART_BYTES, X)
    limits = np.full((2, X.shape[1]), np.nan, dtype=X.dtype)
    columns = np.arange(X.shape[1])
    for start in range(0, len(X), size):
        part = np.concatenate([limits[:, columns], X[start : start + size][:, columns]])
        limits[:, columns] = np.fmin.reduce(part), np.fmax.reduce(part)
        low, high = limits[:, columns]
        columns = columns[_are_equal(low, high) | np.isnan(low)]
        if not len(columns):
            break
    return limits


def _are_equal(low, high):
    return high - low <= 4 * np.finfo(high.dtype).eps * np.abs(high)


def at_random(X, weights, n_rows, seed):
    """Return rows drawn at random, in their order, and their weights; all if they are no more."""
    if len(X) <= n_rows:
        return X, weights
    rows = np.sort(np.random.RandomState(seed).permutation(len(X))[:n_rows])
    return some_of(X, rows), None if weights is None else weights[rows]


def a_few_rows(X, random_state):
    """Return random rows."""
    return at_random(X, None, A_FEW_ROWS, random_state)[0][:]


def resampled(weights, seed):
    """Return indices of as many rows, repeated in proportion to their weights."""
    return np.random.RandomState(seed).choice(
        len(weights), len(weights), p=weights / weights.sum()
    )


def some_rows(X, sample_weight, random_state):
    """Return X and the weights, or random rows of them where they are many."""
    n_rows = min(MAX_ROWS, max(1000, rows_in(8 * PART_BYTES, X)))
    X, weights = at_random(X, sample_weight, n_rows, random_state)
    return X[:], weights


def rows_with_weight(weights):
    """Return the indices of rows that have a weight, None if all have; at least two must."""
    if weights is None or weights.all():
        return None
    rows = np.flatnonzero(weights)
    if len(rows) < 2:
        raise ValueError(
            "Fewer than two rows are left to learn from: those with a sample weight above zero "
            "(that, if robust=True, do not look like outliers)."
        )
    return rows


def with_weight(X, weights):
    """Return the rows that have a weight, and these weights."""
    rows = rows_with_weight(weights)
    if rows is None:
        return X, weights
    return some_of(X, rows), weights[rows]


def unless_uniform(weights):
    """Return the weights, None if they are all the same: then rounding would be all they bring."""
    return None if weights is None or (weights == weights[0]).all() else weights


def share_out_totals(X):
    """Tell whether sparse rows are counts of which the totals say little, as of words or likes.

    The totals of flags and counts that are independent vary by no more than their mean, those of
    codes of levels hardly at all. If they vary by over twice that, some rows are longer, or some
    users busier, than others, and what the cells tell is how each shares out its total.
    """
    if not isinstance(X, DenseOnDemand):
        return False
    values = X.matrix.data
    if not ((values >= 0) & (values == np.floor(values))).all():
        return False
    totals = np.asarray(X.matrix.sum(axis=1, dtype=np.float64)).ravel()
    return bool(totals.var() > 2 * totals.mean())


def has_gaps(X):
    """Tell whether a cell is missing, of an array or of what looks like one."""
    return share_missing(X) > 0


def share_missing(X):
    """Return the share of the cells that are missing, of an array or of what looks like one."""
    n_missing = _n_missing(X) if isinstance(X, np.ndarray) else X.n_missing()
    return n_missing / math.prod(X.shape)


def _n_missing(X):
    size = rows_in(PART_BYTES, X)
    parts = (X[start : start + size] for start in range(0, len(X), size))
    return sum(np.count_nonzero(np.isnan(part)) for part in parts)
