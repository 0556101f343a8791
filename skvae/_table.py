"""A table <-> a matrix in working units: scaling, and the log-Jacobian that belongs to it."""

import numpy as np
from scipy.special import ndtri
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

# Rows from which quantiles are taken, drawn at random where there are more.
MAX_ROWS = 100_000
# Bytes of X that are worked on at a time.
PART_BYTES = 2**21
# The same where no function of scikit-learn's is called, which costs a little each time.
CACHED_BYTES = 2**18


class Table:
    """A fitted, invertible, monotone map of every column.

    All its attributes are arrays, lists of them, strings and None: it is pickled as such.
    """

    @classmethod
    def fit(cls, X, *, scaling, sample_weight=None, random_state=None):
        """Learn the map from X; `scaling` is "standard", "quantile" or None."""
        table = cls()
        table.scaling = scaling
        scaler = _fitted_scaler(X, sample_weight)
        table.center, table.scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if scaling is not None:
            table.center = scaler.mean_
            table.scale = _scale_beside_spike(X, scaler.scale_, sample_weight, random_state)
        table.knots = None
        if scaling == "quantile":
            some, weights = _some_rows(X, sample_weight, random_state)
            table.knots = _normal_knots(table._standardize(some), weights)
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
        Z = self._standardize(X)
        if self.knots is not None:
            for j, (x, z) in enumerate(self.knots):
                Z[:, j] = _interpolate(Z[:, j], x, z)
        return Z

    def backward(self, Z):
        """Map working units to those of the data, in the dtype of Z."""
        Z = np.array(Z)
        if self.knots is not None:
            for j, (x, z) in enumerate(self.knots):
                Z[:, j] = _interpolate(Z[:, j], z, x)
        Z *= self.scale.astype(Z.dtype)
        Z += self.center.astype(Z.dtype)
        return Z

    def log_jacobian(self, X):
        """Return log |d forward / d X| of each row in nats, a scalar where it is constant."""
        constant = -np.log(self.scale).sum()
        if self.knots is None:
            return constant
        X = self._standardize(X)
        slopes = (_log_slope(X[:, j], x, z) for j, (x, z) in enumerate(self.knots))
        return constant + sum(slopes)

    def _standardize(self, X):
        # Only the shift is done in the precision of X; a difference of float32 is exact enough.
        Z = np.subtract(X, self.center, dtype=X.dtype)
        Z /= self.scale.astype(X.dtype)
        return Z


def _fitted_scaler(X, sample_weight):
    """Return a StandardScaler of X; it reads a large X in parts, since it makes copies."""
    scaler = StandardScaler()
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in gen_batches(len(X), max(1, PART_BYTES // X[0].nbytes)):
            weights = None if sample_weight is None else sample_weight[rows]
            scaler.partial_fit(X[rows], sample_weight=weights)
    if not np.isfinite(scaler.scale_).all():
        column = int(np.flatnonzero(~np.isfinite(scaler.scale_))[0])
        raise ValueError(
            f"Column {column} of X has values too large for its variance to be a finite float64; "
            "rescale it."
        )
    return scaler


def _some_rows(X, sample_weight, random_state):
    """Return X and the weights, or random rows of them where they are many."""
    n_rows = min(MAX_ROWS, max(1000, 8 * PART_BYTES // X[0].nbytes))
    if len(X) <= n_rows:
        return X, sample_weight
    rows = np.sort(np.random.RandomState(random_state).permutation(len(X))[:n_rows])
    return X[rows], None if sample_weight is None else sample_weight[rows]


def _scale_beside_spike(X, scale, sample_weight, random_state):
    """Return the scales, that of a column with a spike taken from the rows beside it.

    A spike is one value in more than half the rows, so it is the median. Rare values of such a
    column would else lie hundreds of deviations off, and outweigh all other columns: a pixel that
    is almost always white, a flag that is almost never set.
    """
    some = np.random.RandomState(random_state).permutation(len(X))[:1000]
    spike = np.median(X[some], axis=0)
    columns = np.flatnonzero((X[some] == spike).mean(axis=0) > 0.45)
    spike = spike[columns].astype(X.dtype)
    share, square = np.zeros((2, len(columns)))
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    for rows in gen_batches(len(X), max(1, CACHED_BYTES // X[0].nbytes)):
        distance = (X[rows][:, columns] - spike).astype(np.float64)
        share += weights[rows] @ (distance != 0).astype(np.float64)
        square += weights[rows] @ np.square(distance, out=distance)
    rare = (share > 0) & (share < 0.5 * weights.sum())
    scale = scale.copy()
    scale[columns[rare]] = np.sqrt(square[rare] / share[rare])
    return scale


def _normal_knots(X, sample_weight):
    """Return for each column the (x, z) between which the map to a normal is linear."""
    weighted = {}
    if sample_weight is not None:
        X, sample_weight = X[sample_weight > 0], sample_weight[sample_weight > 0]
        weighted = {"weights": sample_weight, "method": "inverted_cdf"}
    shares = np.linspace(0, 1, int(np.clip(len(X) // 30, min(10, len(X)), 1000)))
    # The extreme rows stand for 1 / n of the probability, not for none of it.
    levels = ndtri(np.clip(shares, 0.5 / len(X), 1 - 0.5 / len(X)))
    quantiles = np.quantile(X.astype(np.float64), shares, axis=0, **weighted)
    return [_with_tails(*_without_ties(x, levels)) for x in quantiles.T]


def _without_ties(x, z):
    """Merge knots of equal x, a point mass, into one at the mean of their z."""
    unique, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return unique, np.bincount(inverse, weights=z) / counts


def _with_tails(x, z):
    """Add a knot on either side, on a line of the slope between the middle and the end."""
    if len(x) == 1:
        return np.array([x[0] - 1, x[0] + 1]), np.array([-1.0, 1.0])
    middle = len(x) // 2
    low = (z[middle] - z[0]) / (x[middle] - x[0])
    high = (z[-1] - z[middle - 1]) / (x[-1] - x[middle - 1])
    return (
        np.concatenate([[x[0] - 1 / low], x, [x[-1] + 1 / high]]),
        np.concatenate([[z[0] - 1], z, [z[-1] + 1]]),
    )


def _segment(values, x):
    """Return the index of the knot to the left of each value, the outermost segments unbounded."""
    return np.clip(np.searchsorted(x, values, side="right") - 1, 0, len(x) - 2)


def _interpolate(values, x, z):
    """Map values from x to z along straight lines, the first and last of them unbounded."""
    left = _segment(values, x)
    slope = np.diff(z) / np.diff(x)
    return z[left] + (values - x[left]) * slope[left]


def _log_slope(values, x, z):
    return np.log(np.diff(z) / np.diff(x))[_segment(values, x)]
