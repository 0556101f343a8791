"""One column of a data frame: what it holds, and columns made like it (through narwhals)."""

import math
import re
from decimal import Decimal
from numbers import Real

import narwhals.stable.v1 as nw
import numpy as np

FLOATS = (nw.Float32, nw.Float64)
# The types of numbers among objects.
NUMBERS = (Real, Decimal, np.bool_)


def has_number_dtype(series):
    return series.dtype.is_numeric() or series.dtype == nw.Boolean


def is_numeric(series):
    """Return whether a series holds numbers, rather than labels; raise if it holds neither."""
    if has_number_dtype(series):
        return True
    if series.dtype in (nw.Categorical, nw.Enum):
        return False
    is_opaque = series.dtype == nw.Object and series.implementation.is_polars()
    if series.dtype in (nw.String, nw.Object, nw.Unknown) and not is_opaque:
        types = set(map(type, series.drop_nulls().to_list()))
        if all_are(types, str) or all_are(types, (bool, np.bool_)):
            return False
        if all_are(types, NUMBERS):
            return True
        held = "values of type " + ", ".join(sorted(kind.__name__ for kind in types))
    else:
        held = f"the dtype {series.dtype}"
    raise TypeError(
        f"Column {series.name!r} of X has {held}, which is neither numbers nor categories: "
        "encode it as a number first (of a date, say the days since another), or drop it."
    )


def all_are(types, allowed):
    return all(issubclass(kind, allowed) for kind in set(types))


def is_integer(series):
    if series.dtype.is_numeric():
        return series.dtype.is_integer()
    return np.asarray(series.drop_nulls().to_list()).dtype.kind in "biu"


def as_floats(values, name):
    """Return numbers as floats, NaN where missing, shape (n_samples,)."""
    if isinstance(values, np.ndarray):
        return values
    if has_number_dtype(values):
        floats = values if values.dtype in FLOATS else values.cast(nw.Float64)
        return floats.to_numpy()
    observed = values.drop_nulls().to_list()
    if not all_are(map(type, observed), NUMBERS):
        is_numeric(values)  # says so if they are no labels either
        raise ValueError(
            f"Column {name!r} of X had numbers or flags in fit, now it has {observed[0]!r}."
        )
    numbers = np.full(len(values), np.nan)
    numbers[~values.is_null().to_numpy()] = np.asarray(observed, dtype=np.float64)
    return numbers


def is_whole(cells):
    """Tell whether all known cells are whole numbers, whatever the dtype."""
    known = cells[np.isfinite(cells)]
    return len(known) > 0 and bool((known == np.rint(known)).all())


def range_of(series, cells):
    """Return the smallest and the largest cell, NaN if all are missing."""
    low, high = float(np.fmin.reduce(cells)), float(np.fmax.reduce(cells))
    if not max(abs(low), abs(high)) > 2**53 or not is_integer(series):
        return low, high
    # Of integers that no float holds, the floats between them; the lower one, if there is none.
    values = series.drop_nulls().to_list()
    low = math.nextafter(low, math.inf) if low < min(values) else low
    high = math.nextafter(high, -math.inf) if high > max(values) else high
    return min(low, high), high


def examples_of(series, cells, levels):
    """Return a missing cell if the dtype has any, and then one cell of each level, or any one.

    Taken from the rows themselves, they carry what narwhals has no word for: unused categories,
    nullable dtypes, None or NaN.
    """
    finite = np.flatnonzero(np.isfinite(cells))
    rows = finite[np.unique(cells[finite], return_index=True)[1]] if levels else finite[:1]
    missing = np.flatnonzero(np.isnan(cells))[:1]
    rows = rows if len(rows) else missing
    if len(missing):
        return take(series, np.r_[missing, rows])
    padded = take(series, np.r_[rows, rows[-1:]]).shift(1)
    keeps_dtype = native_dtype(padded) == native_dtype(series)
    return padded if keeps_dtype else take(series, np.r_[rows[:1], rows])


def series_of_numbers(cells, missing, examples):
    """Return numbers in the dtype of the examples, the first of which is missing."""
    numbers = np.where(missing, 0, cells)
    is_object = examples.dtype == nw.Object
    series = new_series(_as_objects(numbers, examples) if is_object else numbers, examples)
    if not examples.dtype.is_integer() or holds(examples.dtype, numbers):
        series = cast_like(series, examples)
    if not missing.any():
        return series
    blank = take(examples, np.zeros(len(cells), dtype=np.intp))
    return series.zip_with(new_series(~missing, examples), blank)


def _as_objects(numbers, examples):
    """Return a list of numbers of the type that the examples have."""
    found = examples.drop_nulls().to_list()
    kind = type(found[0]) if found else float
    return [kind(repr(x)) if kind is Decimal else kind(x) for x in numbers.tolist()]


def holds(dtype, numbers):
    """Return whether a dtype of numbers has exactly these."""
    if dtype == nw.Float32:
        with np.errstate(over="ignore"):
            return bool((numbers == numbers.astype(np.float32)).all())
    if not dtype.is_integer():
        return dtype == nw.Float64
    n_bits, has_sign = int(re.sub(r"\D", "", str(dtype))), dtype.is_signed_integer()
    low = -(2.0 ** (n_bits - 1)) if has_sign else 0.0
    is_held = (numbers == np.rint(numbers)) & (numbers >= low) & (numbers < low + 2.0**n_bits)
    return bool(is_held.all())


def take(series, rows):
    """Return the values in these rows, numbered anew where the library numbers its rows."""
    return nw.maybe_reset_index(series[rows])


def in_native_order(series):
    """Return a series whose bytes are in the order of the machine, for pandas takes no other."""
    order = getattr(getattr(nw.to_native(series), "dtype", None), "byteorder", "=")
    if order in "=|":
        return series
    values = series.to_numpy()
    values = values.astype(values.dtype.newbyteorder("="))
    return new_series(values, series).alias(series.name)


def new_series(values, like):
    namespace = nw.get_native_namespace(like)
    return nw.new_series("", values, native_namespace=namespace)


def cast_like(series, like):
    """Give a series the native dtype of another, for which narwhals may have no word."""
    series, dtype = nw.to_native(series), native_dtype(like)
    cast = series.astype if hasattr(series, "astype") else series.cast
    return nw.from_native(cast(dtype), series_only=True)


def native_dtype(series):
    series = nw.to_native(series)
    return series.dtype if hasattr(series, "dtype") else series.type
