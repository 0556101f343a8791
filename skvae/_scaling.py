"""Centre and scale of columns of numbers, learned from rows."""

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from ._arrays import PART_BYTES, SomeColumns, a_few_rows, rows_in
from ._warn import warn

# Bytes of X that are worked on at a time where no function of scikit-learn's is called: calling
# one takes a little each time.
CACHED_BYTES = 2**18
# Units in the last place by which values may differ that are the same but for rounding.
ROUNDING = 4
# The least noise that a continuous likelihood has, in units of the scale: what differs by less is
# not learned. A warning is worth it where that comes of a few values, not of long tails, of which
# nine tenths reach so many times as far as a half.
LEAST_NOISE, SHORT_TAILS = 0.01, 10
FLOAT32 = np.finfo(np.float32)


def learn_scaling(X, continuous, scaling, most_of_rare, sample_weight, random_state, warns):
    """Return centre and scale of each column, whatever they are if no cell of it is known.

    `continuous` tells which of the columns will be scaled, `warns` whether to warn of values
    beside which others are lost.
    """
    scaler = _fitted_scaler(X, sample_weight)  # raises for what is too large, scaled or not
    if scaling is None:
        return np.zeros(X.shape[1]), np.ones(X.shape[1])
    if scaling == "auto":
        few = a_few_rows(X, random_state)
        scaling = "common" if have_common_units(few[:, continuous]) else "standard"
    if scaling == "common":
        variances = scaler.var_[continuous & (scaler.var_ > 0)]
        scale = np.sqrt(variances.mean()) if len(variances) else 1.0
        return scaler.mean_, np.full(X.shape[1], scale)
    least = _rare_values(X, most_of_rare, sample_weight, random_state) / most_of_rare
    scale = np.maximum(scaler.scale_, least)
    varies = continuous & (scaler.var_ > 0.5 * scale**2)  # (the scale of a constant is one)
    if warns:
        least = 0 if scaling == "quantile" else LEAST_NOISE
        _warn_of_far_values(X, a_few_rows(X, random_state), np.where(varies, scale, 0), least)
    return scaler.mean_, scale


def have_common_units(X):
    """Tell whether columns measure in the same units, as far as their values tell.

    As grey levels of pixels and marks out of ten do: all have the same values, more than the two
    of a flag, and most of those that vary at all do so over half of the range of all, or more.
    """
    low, high = np.fmin.reduce(X), np.fmax.reduce(X)
    X, ranges = X[:, high > low], (high - low)[high > low]
    if len(ranges) < 2:
        return False
    # (Missing values come last, and their differences are not above zero.)
    n_values = 1 + (np.diff(np.sort(X, axis=0), axis=0) > 0).sum(axis=0)
    n_of_all = len(np.unique(X[~np.isnan(X)]))
    are_alike = np.mean(ranges >= 0.5 * ranges.max()) >= 0.75
    return bool(are_alike and 2 < n_of_all <= 1.25 * n_values.max())


def _fitted_scaler(X, sample_weight):
    """Return a StandardScaler of X; it reads a large X in parts, since it makes copies."""
    scaler = StandardScaler()
    before = np.zeros(X.shape[1]), np.zeros(X.shape[1]), np.ones(X.shape[1])
    n_before = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in gen_batches(len(X), rows_in(PART_BYTES, X)):
            weights = None if sample_weight is None else sample_weight[rows]
            scaler.partial_fit(X[rows], sample_weight=weights)
            # scikit-learn makes NaN of a column without a known cell in a part.
            is_unknown = np.broadcast_to(scaler.n_samples_seen_ == n_before, X.shape[1])
            after = scaler.mean_, scaler.var_, scaler.scale_
            for new, old in zip(after, before, strict=True):
                new[is_unknown] = old[is_unknown]
            before, n_before = after, np.copy(scaler.n_samples_seen_)
    lost = ~np.isfinite(scaler.var_)  # (its scale would be one, as that of a constant)
    if lost.any():
        column = np.flatnonzero(lost)[0]
        raise ValueError(
            f"Column {_name(X, column)} of X has values too large for its variance to be a finite "
            "float64; rescale it."
        )
    return scaler


def _warn_of_far_values(X, some, scale, least_noise):
    """Warn if beside a few values of a column what others differ by is lost in the noise.

    Or in rounding to float32.
    """
    few = np.sort(some[:: max(1, len(some) // 32)], axis=0)  # (missing values come last)
    spread = few[3 * len(few) // 4] - few[len(few) // 4]
    are_one = spread < ROUNDING * FLOAT32.eps * scale
    are_near = spread < least_noise * scale
    found = [
        column
        for column in np.flatnonzero((spread > 0) & (are_one | are_near))
        if are_one[column] or _has_short_tails(some[:, column])
    ]
    if found:
        others = f" (and {len(found) - 1} others)" if len(found) > 1 else ""
        warn(
            f"Column {_name(X, found[0])} of X{others} has values so far out that most others "
            "hardly differ beside them. Is there a code for missing values (which NaN would be), "
            "or a row in other units? If not, scaling='quantile' or robust=True may help."
        )


def _has_short_tails(x):
    """Tell whether nine tenths of the known values lie not much wider than a half of them."""
    ends = np.nanquantile(x, [0.05, 0.25, 0.75, 0.95])
    return ends[3] - ends[0] < SHORT_TAILS * (ends[2] - ends[1])


def _name(X, column):
    return X.columns[column] if isinstance(X, SomeColumns) else column


def _rare_values(X, most, sample_weight, random_state):
    """Return the root mean square of the rare values of each column, zero where there are none.

    They are what is beside one value that fills more than half the rows, as in a pixel that is
    mostly white. Their distance from it is about 1 / sqrt(share) standard deviations, so what is
    no less than 1 / most^2 of the rows does not lie too far off, and counts as usual, too.
    """
    some, rare_share = a_few_rows(X, random_state), min(0.5, most**-2)
    n_known = (~np.isnan(some)).sum(axis=0)
    median = np.median if n_known.min() == len(some) else np.nanmedian  # ten times as slow
    usual = median(np.where(n_known > 0, some, 0), axis=0)
    # (A sample tells a share to within a few per cent.)
    is_spike = (some == usual).sum(axis=0) > (0.95 - rare_share) * np.maximum(1, n_known)
    columns = np.flatnonzero(is_spike)
    usual = usual[columns].astype(X.dtype)
    share, square = np.zeros((2, len(columns)))
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    for rows in gen_batches(len(X), rows_in(CACHED_BYTES, X)):
        distance = np.nan_to_num((X[rows][:, columns] - usual).astype(np.float64), copy=False)
        share += weights[rows] @ (distance != 0).astype(np.float64)
        square += weights[rows] @ np.square(distance, out=distance)
    size = np.sqrt(square / np.maximum(share, np.finfo(float).tiny))
    # A constant with rounding errors is one.
    varies = size > ROUNDING * np.finfo(X.dtype).eps * np.abs(usual)
    found = np.zeros(X.shape[1])
    found[columns] = np.where(varies & (share < rare_share * weights.sum()), size, 0)
    return found
