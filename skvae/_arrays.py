"""Sparse rows, made dense a few at a time."""

import math

import numpy as np


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
    """Tell whether a cell of an array or of sparse rows is missing."""
    return share_missing(X) > 0


def share_missing(X):
    """Return the share of the cells of an array or of sparse rows that are missing."""
    values = X.matrix.data if isinstance(X, DenseOnDemand) else X
    return np.count_nonzero(np.isnan(values)) / math.prod(X.shape)
