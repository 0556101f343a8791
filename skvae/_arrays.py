"""What looks like an array of rows, and makes them as they are indexed."""

import math

import numpy as np
from sklearn.utils import gen_batches

# Bytes that are looked at in one go.
PART_BYTES = 2**21


class DenseOnDemand:
    """A CSR matrix that looks like an array of rows: what is indexed comes out dense.

    `nbytes` is what the whole would take.
    """

    def __init__(self, matrix):
        self.matrix = matrix
        self.shape, self.dtype = matrix.shape, matrix.dtype
        self.itemsize = matrix.dtype.itemsize
        self.nbytes = self.itemsize * matrix.shape[0] * matrix.shape[1]

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        if isinstance(rows, (int, np.integer)):
            return self.matrix[[rows]].toarray()[0]
        return self.matrix[rows].toarray()

    def take(self, rows, axis=0):
        """Return some rows, sparse still."""
        return DenseOnDemand(self.matrix[rows])

    def share_missing(self):
        """Return the share of the cells that are NaN."""
        return np.count_nonzero(np.isnan(self.matrix.data)) / math.prod(self.shape)


class SomeRows:
    """Some rows of an array, which may be a file larger than memory: what is indexed is copied."""

    def __init__(self, X, rows):
        self.X, self.rows = X, rows
        self.shape, self.dtype, self.itemsize = (len(rows), X.shape[1]), X.dtype, X.itemsize
        self.nbytes = self.itemsize * math.prod(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        rows, *columns = index if isinstance(index, tuple) else (index,)
        return self.X[self.rows[rows]][(..., *columns)]

    def take(self, rows, axis=0):
        """Return some rows, without a copy still."""
        return SomeRows(self.X, self.rows[rows])

    def share_missing(self):
        """Return the share of the cells that are NaN."""
        parts = gen_batches(len(self), max(1, PART_BYTES // (self.itemsize * self.shape[1])))
        n_missing = sum(np.count_nonzero(np.isnan(self[rows])) for rows in parts)
        return n_missing / math.prod(self.shape)


def some_of(X, rows):
    """Return some rows of an array, or of what looks like one, without a copy."""
    return SomeRows(X, rows) if isinstance(X, np.ndarray) else X.take(rows)


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
    if isinstance(X, np.ndarray):
        return np.count_nonzero(np.isnan(X)) / X.size
    return X.share_missing()
