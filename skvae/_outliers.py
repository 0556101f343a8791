"""Rows that look like outliers: where their scores end, and training without them."""

import numpy as np
from sklearn.utils import gen_batches

from ._arrays import PART_BYTES, a_few_rows, rows_in, unless_uniform

# Trainings of which each goes without the rows that had the lowest scores in the one before. With
# one, the rows that were left out are too often those that the outliers had drawn the model from.
N_ROUNDS = 2
# Distance from the quartiles of a column, in units of that between these, beyond which a value is
# from another world: beside it a model sees nothing of the others, so it cannot judge it.
ABSURD = 1e6
# Scores of equal rows that are float64 may differ by this, relative to themselves, as matrix
# products sum the rows of a batch in one way or another.
ROUNDING = 1e-9


def threshold(scores, weights, contamination, dtype="float64"):
    """Return a threshold below which lies a share `contamination` of the weights.

    It lies midway between two distinct scores, never on one, nor between two that are the same
    but for rounding in the dtype of the rows: a score that differs in its last bits from one call
    to another would else change its label.
    """
    # Minus infinity has no middle with others, nor is there anything below it.
    scores = np.maximum(scores, np.finfo(np.float64).min / 2)
    values, inverse = np.unique(scores, return_inverse=True)
    total = np.cumsum(np.bincount(inverse, weights=weights))
    # (29 of 100 rows are .29, but .29 * 100 is less than 29.)
    share = contamination * total[-1] * (1 + 1e-9)
    first = min(int(np.searchsorted(total, share, side="right")), len(values) - 1)
    rounding = max(ROUNDING, 10 * float(np.finfo(dtype).eps))
    are_apart = np.diff(values) > rounding * np.maximum(1, np.abs(values[1:]))
    below = np.flatnonzero(are_apart[:first])
    if not len(below):
        return values[0] - 1e-6 * max(1.0, abs(values[0]))
    return (values[below[-1]] + values[below[-1] + 1]) / 2


def have_absurd_cells(X, seed):
    """Tell which rows have a cell that is millions of times further out than usual ones."""
    some = a_few_rows(X, seed).astype(np.float64)
    # (Missing values come last.)
    known, places = np.sort(some, axis=0), np.count_nonzero(~np.isnan(some), axis=0) - 1
    first, third = (
        known[np.maximum(0, (share * places).astype(int)), range(X.shape[1])]
        for share in (0.25, 0.75)
    )
    reach = ABSURD * (third - first)
    reach[~(reach > 0)] = np.inf
    low, high = first - reach, third + reach
    parts = (X[rows] for rows in gen_batches(len(X), rows_in(PART_BYTES, X)))
    return np.concatenate([((part < low) | (part > high)).any(axis=1) for part in parts])


def without_outliers(scores_of_fit, weights, absurd, share):
    """Return the weights of rows, but zero for a share of them that look like outliers.

    Those that are `absurd` do not train the first model that judges, unless they are most.
    `scores_of_fit` trains with weights and returns the scores of all rows. These are the
    concentration steps of a trimmed likelihood (Neykov et al., "Robust fitting of mixtures using
    the trimmed likelihood estimator", 2007).
    """
    weights = np.ones(len(absurd)) if weights is None else weights
    usual = np.where(absurd, 0.0, weights)
    kept = unless_uniform(usual if usual.sum() > 0.5 * weights.sum() else weights)
    for _ in range(N_ROUNDS):
        scores = scores_of_fit(kept)
        is_low = scores < threshold(scores, weights, share)
        kept = unless_uniform(np.where(is_low, 0.0, weights))
    return kept
