"""Maps of a column along straight lines between knots, and the one to a normal distribution."""

import numpy as np
from scipy.special import ndtri

# Rows from either end at which there are knots, too: between the last of those that are evenly
# spread, a line would take one value that is far out for a share of all rows.
FROM_THE_END = 2.0 ** np.arange(5)


def _segment(values, x):
    """Return the index of the knot to the left of each value, the outermost segments unbounded."""
    return np.clip(np.searchsorted(x, values, side="right") - 1, 0, len(x) - 2)


def slope(values, x, z):
    """Return the slope of these lines at each value."""
    left = _segment(values, x)
    return (z[left + 1] - z[left]) / (x[left + 1] - x[left])


def along(values, x, z):
    """Map values from x to z along straight lines, the first and last of them unbounded."""
    left = _segment(values, x)
    return z[left] + (values - x[left]) * slope(values, x, z)


def normal_knots(x, weights):
    """Return the (x, z) of a column between which the map to a normal is linear."""
    known = ~np.isnan(x)
    x = x[known].astype(np.float64)
    if not len(x):
        return None
    weighted = {}
    if weights is not None:
        weighted = {"weights": weights[known], "method": "inverted_cdf"}
    shares = np.linspace(0, 1, int(np.clip(len(x) // 30, min(10, len(x)), 1000)))
    near = FROM_THE_END[FROM_THE_END * len(shares) < len(x)] / len(x)
    shares = np.sort(np.r_[shares, near, 1 - near])
    # The extreme rows stand for 1 / n of the probability, not for none of it.
    levels = ndtri(np.clip(shares, 0.5 / len(x), 1 - 0.5 / len(x)))
    return _with_tails(*_without_ties(np.quantile(x, shares, **weighted), levels))


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
    lower = (len(x) - 1) // 2
    high = (z[-1] - z[lower]) / (x[-1] - x[lower])
    return (
        np.concatenate([[x[0] - 1 / low], x, [x[-1] + 1 / high]]),
        np.concatenate([[z[0] - 1], z, [z[-1] + 1]]),
    )
