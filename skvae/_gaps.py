"""Which cells drawn rows lack: as rows of `fit` do that are like them."""

import numpy as np
from sklearn import config_context

from ._arrays import resampled

# Rows of `fit` that are remembered, and bytes that they take to be looked at.
MANY_ROWS, BYTES = 2_000, 2**25
# Rows that are alike, at least, and as a share of all: fewer would be told apart by chance.
N_ALIKE, SHARE_ALIKE = 20, 1 / 40
# The nearest rows, of which one fills the gaps of another.
N_DONORS = 5
# Standard deviations beyond which all is equally far.
FARTHEST = 1e30
# Columns by which rows are alike or not, and patterns of gaps that are told apart by them.
MANY_COLUMNS, MANY_PATTERNS = 64, 16


class Gaps:
    """What is missing of rows, by their cells: a decision tree tells which rows are alike.

    Parameters
    ----------
    cells : ndarray of shape (n_samples, n_telling)
        Those of some columns, gaps filled.
    missing : ndarray of bool of shape (n_samples, n_features)
        Where gaps were.
    telling : ndarray of int of shape (n_telling,)
        Which columns these are.
    center, scale : ndarray of shape (n_telling,)
        What the cells were standardised by.
    """

    def __init__(self, cells, missing, telling, center, scale):
        from sklearn.tree import DecisionTreeRegressor  # not all who import skvae need it

        # What to build it from again, as plain arrays.
        self.state = cells, missing, telling, center, scale
        self.missing, self.telling, self.center, self.scale = missing, telling, center, scale
        n_alike = max(N_ALIKE, int(SHARE_ALIKE * len(cells)))
        self.tree = DecisionTreeRegressor(min_samples_leaf=n_alike, random_state=0)
        leaves = self.tree.fit(cells, _patterns(missing)).apply(cells)
        self.order = np.argsort(leaves, kind="stable")
        self.leaves = leaves[self.order]

    @classmethod
    def of_rows(cls, cells, missing, weights, seed):
        """Remember rows, repeated in proportion to their weights if these differ.

        Unknown are the cells that are NaN, gaps those that are missing.
        """
        if weights is not None:
            rows = resampled(weights, seed)
            cells, missing = cells[rows], missing[rows]
        telling = _telling(cells, _patterns(missing))
        center, scale = _center_and_scale(cells[:, telling])
        standard = _standardized(cells[:, telling], center, scale)
        return cls(_filled(standard, seed), missing, telling, center, scale)

    def draw(self, cells, given, seed):
        """Return which cells are missing in complete rows, as in a row that is like each.

        None is that is given, booleans of shape (n_features,), unless it always was.
        """
        order, leaves = self.order, self.leaves
        has_given = ~self.missing[order][:, given].any(axis=1)
        if has_given.any():
            order, leaves = order[has_given], leaves[has_given]
        first, end = self._alike(cells, leaves)
        first, end = np.where(first < end, (first, end), [[0], [len(order)]])
        return self.missing[order[np.random.RandomState(seed).randint(first, end)]]

    def _alike(self, cells, leaves):
        """Return where those that are like each row begin and end, in order of their leaves."""
        own = self.tree.apply(_standardized(cells[:, self.telling], self.center, self.scale))
        return [np.searchsorted(leaves, own, side) for side in ("left", "right")]

    def are_told_by(self, given):
        """Tell whether that these columns are known tells something of a row."""
        has_given = ~self.missing[:, given].any(axis=1)
        return bool(has_given.any() and not has_given.all())

    def choose(self, cells, given, n_samples, seed):
        """Return the indices of rows, as often as rows that are like them know what is given."""
        has_given = ~self.missing[self.order][:, given].any(axis=1)
        n_known = np.concatenate([[0], np.cumsum(has_given)])
        first, end = self._alike(cells, self.leaves)
        weights = (n_known[end] - n_known[first]) / np.maximum(end - first, 1)
        if not weights.any():
            weights[:] = 1
        again = np.count_nonzero(weights) < n_samples
        rng = np.random.RandomState(seed)
        return rng.choice(len(cells), n_samples, again, weights / weights.sum())


def _patterns(missing):
    """Return what tells gaps apart: where they are, or the directions in which they vary most."""
    varies = missing.any(axis=0) & ~missing.all(axis=0)
    missing = missing[:, varies] if varies.any() else missing[:, :1]
    if missing.shape[1] <= MANY_PATTERNS:
        return missing
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(MANY_PATTERNS, random_state=0)
    with config_context(array_api_dispatch=False, transform_output="default"):
        return svd.fit_transform(missing.astype(np.float32))


def _telling(cells, patterns):
    """Return the columns that go most with the patterns of gaps, in order; all if they are few."""
    if cells.shape[1] <= MANY_COLUMNS:
        return np.arange(cells.shape[1])
    cells, patterns = (
        np.nan_to_num(_standardized(A, *_center_and_scale(A))) for A in (cells, patterns)
    )
    strength = ((cells.T @ patterns) ** 2).sum(axis=1)
    return np.sort(np.argsort(-strength, kind="stable")[:MANY_COLUMNS])


def _center_and_scale(A):
    """Return mean and deviation of what is known of each column; of a constant that is one."""
    A = A.astype(np.float64)
    known = np.maximum((~np.isnan(A)).sum(axis=0), 1)
    with np.errstate(over="ignore"):
        center = np.nansum(A / known, axis=0)
        scale = np.sqrt(np.nansum((A - center) ** 2 / known, axis=0))
    return center, np.where(scale > 0, scale, 1)


def _standardized(A, center, scale):
    """Return columns in units of their deviations, which a tree can take: it has float32."""
    return np.clip((A - center) / scale, -FARTHEST, FARTHEST)


def _filled(cells, seed):
    """Fill the gaps of each row from one that is like it where both are known (a "hot deck").

    That is one of the nearest of those that lack the fewest of these cells. What it lacks is taken
    from any row. So nothing that fills a gap tells that there was one, as what a model makes of a
    flag would.
    """
    rng, missing = np.random.RandomState(seed), np.isnan(cells)
    holed = np.flatnonzero(missing.any(axis=1))
    if not len(holed):
        return cells
    donors = _nearest(cells, missing, holed, rng)
    filled = cells.copy()
    filled[holed] = np.where(missing[holed], cells[donors], cells[holed])
    for column, known in zip(filled.T, ~missing.T, strict=True):
        gaps = np.isnan(column)
        column[gaps] = rng.choice(column[known], gaps.sum()) if known.any() else 0
    return filled


def _nearest(cells, missing, holed, rng):
    """Return the index of a row to fill the gaps of each of these."""
    from sklearn.metrics.pairwise import nan_euclidean_distances

    lacks = missing.astype(np.float32)
    distance = nan_euclidean_distances(cells[holed], cells)
    # Rows that lack the same cells are further away than all that do not.
    rank = lacks[holed] @ lacks.T + np.nan_to_num(distance / (1 + distance), nan=1)
    n = min(N_DONORS, len(cells))
    rank += 1e-6 * rng.uniform(size=rank.shape)
    nearest = np.argpartition(rank, n - 1, axis=1)[:, :n]
    return nearest[np.arange(len(holed)), rng.randint(n, size=len(holed))]
