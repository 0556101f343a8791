"""Which cells drawn rows lack: as rows of `fit` do that have like codes."""

import numpy as np

from ._arrays import resampled

# Rows of `fit` that are remembered, and bytes that they take to be looked at.
MANY_ROWS, BYTES = 2_000, 2**25
# Rows that have like codes, at least.
N_ALIKE = 20


class Gaps:
    """What is missing of rows, by their codes: a decision tree tells which codes are alike.

    codes : those of rows, drawn, since those that are asked about are draws, too.
    missing : booleans, shape (n_samples, n_features).
    """

    def __init__(self, codes, missing):
        from sklearn.tree import DecisionTreeRegressor  # not all who import skvae need it

        self.codes, self.missing = codes, missing
        self.tree = DecisionTreeRegressor(min_samples_leaf=N_ALIKE, random_state=0)
        leaves = self.tree.fit(codes, missing).apply(codes)
        self.order = np.argsort(leaves, kind="stable")
        self.leaves = leaves[self.order]

    @classmethod
    def of_weighted(cls, codes, missing, weights, seed):
        """Remember rows that are repeated in proportion to their weights, if these differ."""
        if weights is not None:
            rows = resampled(weights, seed)
            codes, missing = codes[rows], missing[rows]
        return cls(codes, missing)

    @property
    def state(self):
        """What to build it from again, as plain arrays."""
        return self.codes, self.missing

    def draw(self, codes, seed):
        """Return which cells are missing in rows with these codes, as in a row with a like one."""
        own = self.tree.apply(codes)
        first, end = (np.searchsorted(self.leaves, own, side) for side in ("left", "right"))
        return self.missing[self.order[np.random.RandomState(seed).randint(first, end)]]
