"""A column of numbers <-> intervals of normal scores, where grids and spikes are no points."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from ._knots import FROM_THE_END, along, slope

# Rows between two knots of the map, and most knots where no value occurs often.
ROWS_A_KNOT, MANY_KNOTS = 30, 1000
# A value on a grid has its own piece of the map from this many rows. One off a grid is a spike
# from this many, if they are this share of the rows. Where all could have as many, they are few.
ROWS_OF_A_HEAP, SHARE_OF_A_SPIKE = 10, 0.02
# Rows that are granted to a gap between two values, so that what lies in it is not impossible.
ROWS_OF_A_GAP = 0.05
# Units in the last place by which values may differ that are the same but for rounding. (More than
# for a scale: a segment as narrow as some rounding errors would be steep beyond all numbers.)
ROUNDING = 10
# Normal scores further out than this are no further, so that their squares are numbers.
FAR = 1e18
# Steps of the grids that are looked for.
STEPS = [digit * 10.0**power for power in range(3, -5, -1) for digit in (1, 0.5)]
# All numbers are written to some decimal. That they are rounded to more than units, or to halves
# of a decimal, so many different ones tell, if there are neighbours among them.
PLAIN_STEPS, ENOUGH_VALUES = [10.0**power for power in range(0, -5, -1)], 5
# Shares of the rows and of the different values that lie on a grid, at least: a mean that somebody
# filled in among whole numbers is none, nor does it make them others.
ROWS_ON_A_GRID, VALUES_ON_A_GRID = 0.95, 0.8


class Marginal(NamedTuple):
    """What maps a column to intervals of normal scores, and back; all of it is arrays.

    A value on a grid stands for the cell around it, one step wide: an integer for half a unit to
    either side. A spike, a value off a grid that many rows have, stands for its share of the
    distribution. Any other value is a point, an interval of no width.

    grid : (step, lowest, highest value); step is zero for values on no grid.
    knots : (x, scores), between which the map is linear; x does not move at a spike.
    spikes : (values, scores below them, scores above).
    eps : relative distance of two floats of the dtype that it was learned from.
    few_values : the values, where they are so few that no others are expected; else none.
    """

    grid: np.ndarray
    knots: np.ndarray
    spikes: np.ndarray
    eps: float
    few_values: np.ndarray = np.empty(0)  # (files of before have none)

    @classmethod
    def fit(cls, x, weights=None):
        """Learn the map of a column from its known values."""
        weights = np.ones(len(x)) if weights is None else weights
        known, eps = ~np.isnan(x), float(np.finfo(x.dtype).eps)
        if not known.any():
            return cls(np.zeros(3), np.array([[-1.0, 1.0], [-1.0, 1.0]]), np.empty((3, 0)), eps)
        weights = weights[known] / weights[known].mean()
        values, rows = _values(x[known], weights)
        step = _step(values, rows, eps)
        values, rows = _on_grid(values, rows, step)
        of_a_spike = max(ROWS_OF_A_HEAP, SHARE_OF_A_SPIKE * rows.sum())
        are_few = len(rows) * of_a_spike <= rows.sum()
        is_heavy = rows >= (ROWS_OF_A_HEAP if step else of_a_spike)
        is_heavy |= are_few and not step
        edges, levels = _edges(values, rows, is_heavy, step)
        knots = _with_tails(edges, _scores(levels, rows.sum()), step)
        grid = np.array([step, values[0], values[-1]])
        spikes = np.empty((3, 0)) if step else _spikes(values[is_heavy], knots)
        few_values = _rounded(values, step) if are_few else np.empty(0)
        return cls(grid, knots, spikes, eps, few_values)

    def forward(self, x):
        """Return the middle and the width of the interval of each value, float64."""
        low, high, _ = self._interval(x)
        return (low + high) / 2, high - low

    def scores(self, x, rng):
        """Return a normal score of each value, anywhere in its interval."""
        middle, width = self.forward(x)
        low, high = ndtr(middle - width / 2), ndtr(middle + width / 2)
        within = ndtri(low + (high - low) * rng.random(len(x)))
        return np.where(width > 0, np.clip(within, -FAR, FAR), middle)

    def backward(self, scores):
        """Return the value at each score, on the grid and in the range that was seen."""
        step, lowest, highest = self.grid
        x = along(scores, *self.knots[::-1])
        if len(self.few_values):
            return _nearest(x, self.few_values)
        return np.clip(_rounded(x, step), lowest, highest)

    def log_slope(self, x):
        """Return the logarithm of the width of an interval over that of its cell.

        For a point it is that of the slope; a spike is a cell of width one, its density is a
        probability. Zero where a value is missing.
        """
        low, high, is_spike = self._interval(x)
        steepness = slope(x.astype(np.float64), *self.knots)
        width = high - low
        if self.grid[0]:
            # Far from all knots, the difference is lost to rounding.
            exact = width > 1e-6 * np.abs(low)
            steepness = np.where(exact, width / self.grid[0], steepness)
        return np.where(np.isnan(x), 0, np.log(np.where(is_spike, width, steepness)))

    def _interval(self, x):
        """Return the ends of the interval of each value, and whether it is a spike."""
        half, number = self.grid[0] / 2, x.astype(np.float64)
        with np.errstate(over="ignore"):
            ends = (along(number + shift, *self.knots) for shift in (-half, half))
            low, high = (np.clip(end, -FAR, FAR) for end in ends)
        is_spike = np.zeros(len(x), dtype=bool)
        for value, below, above in self.spikes.T:
            eps = max(self.eps, np.finfo(x.dtype).eps)
            here = np.abs(x - x.dtype.type(value)) <= _rounding(value, eps)
            low, high = np.where(here, below, low), np.where(here, above, high)
            is_spike |= here
        return low, high, is_spike


def _rounding(values, eps):
    """Return by how much values may be off by rounding errors alone."""
    return ROUNDING * eps * np.abs(values)


def _values(x, weights):
    """Return the values of a column, ascending, and the weight of the rows that have each.

    Values that differ by rounding errors are one, unless others are as close to these.
    """
    values, inverse = np.unique(x.astype(np.float64), return_inverse=True)
    error = _rounding(values, np.finfo(x.dtype).eps)
    is_new = np.r_[True, np.diff(values) > error[1:]]
    first = np.flatnonzero(is_new)
    last = np.r_[first[1:], len(values)] - 1
    are_one = values[last] - values[first] <= error[last]
    is_new |= ~np.repeat(are_one, last - first + 1)
    rows = np.bincount(np.cumsum(is_new)[inverse] - 1, weights=weights)
    return values[is_new], rows


def _step(values, rows, eps):
    """Return the widest step of which nearly all values are multiples, zero if there is none."""
    largest = np.abs(values).max()
    if largest == 0:
        return 1.0
    for step in STEPS:
        if largest * eps > 0.02 * step:
            return 0.0
        multiples = np.rint(values / step)
        is_on = np.abs(values / step - multiples) <= 1e-9 + 4 * eps * largest / step
        are_apart = (np.diff(multiples[is_on]) > 0).all()
        are_apart &= (values[is_on & (multiples == 0)] == 0).all()
        is_plain = is_on.all() and step in PLAIN_STEPS
        if are_apart and (is_plain or (_are_most(is_on, rows) and _are_steps(multiples[is_on]))):
            return step
    return 0.0


def _are_most(is_on, rows):
    """Tell whether nearly all rows, and most values, are those on a grid."""
    share = rows[is_on].sum() / rows.sum()
    return share >= ROWS_ON_A_GRID and is_on.mean() >= VALUES_ON_A_GRID


def _are_steps(multiples):
    """Tell whether that these are whole numbers is no chance."""
    return len(multiples) >= ENOUGH_VALUES and np.diff(multiples).min() == 1


def _on_grid(values, rows, step):
    """Return values, those off the grid as the next one that is on it, and the rows of each."""
    rounded = _rounded(values, step)
    if np.abs(values - rounded).max() <= 0.02 * step:
        return values, rows
    values, inverse = np.unique(rounded, return_inverse=True)
    return values, np.bincount(inverse, weights=rows)


def _rounded(x, step):
    """Return multiples of the step; of a fraction the floats that a reader of decimals makes."""
    if not step:
        return x
    multiples = np.rint(x / step) + 0.0  # (which makes 0 of -0)
    return multiples * step if step >= 1 else multiples / np.rint(1 / step)


def _nearest(x, values):
    """Return the nearest of ascending values to each of x."""
    middles = values[:-1] / 2 + values[1:] / 2
    return np.where(np.isnan(x), x, values[np.searchsorted(middles, x)])


def _edges(values, rows, is_heavy, step):
    """Return places on the axis, ascending, and how many rows lie below each."""
    above, half = np.cumsum(rows), step / 2
    below, n_rows = above - rows, above[-1]
    per_knot = max(n_rows / MANY_KNOTS, min(ROWS_A_KNOT, n_rows / 10))
    near = FROM_THE_END[FROM_THE_END < per_knot]
    marks = np.sort(np.r_[np.arange(per_knot, n_rows, per_knot), n_rows - near])
    is_last = ~is_heavy & (np.diff(np.searchsorted(marks, above, side="right"), prepend=0) > 0)
    is_last[-1] |= ~is_heavy[-1]
    # From below as from above, so that no cell at an end is the share of one row.
    is_first = ~is_heavy & np.isin(range(len(rows)), np.searchsorted(below, near))
    # A light value off a grid has half of its rows on either side.
    before, after = (below, above) if step else [(below + above) / 2] * 2
    found = np.hstack(
        [
            [values[is_heavy] - half, below[is_heavy]],
            [values[is_heavy] + half, above[is_heavy]],
            [values[is_first] - half, before[is_first]],
            [values[is_last] + half, after[is_last]],
            [[values[0] - half], [0.0 if is_heavy[0] else before[0]]],
        ]
    )
    edges, levels = found[:, np.lexsort(found[::-1])]
    is_new = np.r_[True, (np.diff(edges) > 1e-3 * step) | (np.diff(levels) > 1e-9)]
    return edges[is_new], levels[is_new]


def _scores(levels, n_rows):
    """Return normal scores of counts of rows, strictly ascending.

    What lies beyond all rows has the probability of half a row on each side.
    """
    levels = levels + ROWS_OF_A_GAP * np.arange(len(levels))
    share = (
        (levels - levels[0]) / (levels[-1] - levels[0]) if len(levels) > 1 else levels * 0 + 0.5
    )
    outside = min(0.5 / n_rows, 0.25)
    return ndtri(outside + (1 - 2 * outside) * share)


def _with_tails(x, z, step):
    """Add a knot on either side, on a line of the slope between the middle and the end."""
    middle = np.interp(0, z, x)
    usual = (x[-1] - x[0]) / max(z[-1] - z[0], 1.0) or step or 1.0
    low = (middle - x[0]) / max(-z[0], 1e-9) or usual
    high = (x[-1] - middle) / max(z[-1], 1e-9) or usual
    low, high = max(low, 4 * np.spacing(abs(x[0]))), max(high, 4 * np.spacing(abs(x[-1])))
    return np.array([[x[0] - low, *x, x[-1] + high], [z[0] - 1, *z, z[-1] + 1]])


def _spikes(values, knots):
    """Return the values and the scores on either side of each."""
    x, scores = knots
    ends = [scores[np.searchsorted(x, values, side=s) - (s == "right")] for s in ("left", "right")]
    return np.array([values, *ends])
