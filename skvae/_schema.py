"""A data frame <-> a matrix of cells: numbers, flags and the indices of levels, NaN if missing."""

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from itertools import repeat
from numbers import Real

import narwhals.stable.v1 as nw
import numpy as np

from ._series import (
    NUMBERS,
    as_floats,
    cast_like,
    examples_of,
    holds,
    in_native_order,
    is_integer,
    is_numeric,
    is_whole,
    native_dtype,
    new_series,
    range_of,
    series_of_numbers,
    take,
)
from ._warn import warn

# So many labels are not suspected of being a name for each row.
FEW_LEVELS = 20


def is_frame(X):
    """Return whether X is a data frame in memory, of any library that narwhals reads."""
    if isinstance(nw.from_native(X, eager_only=True, pass_through=True), nw.DataFrame):
        return True
    if hasattr(X, "collect") and isinstance(nw.from_native(X, pass_through=True), nw.LazyFrame):
        raise TypeError(f"X is a {type(X).__name__}, which has no rows yet; collect it first.")
    return False


def rows_of_frame(X, rows):
    """Return these rows of a frame, numbered anew where its library numbers them."""
    return nw.to_native(nw.maybe_reset_index(nw.from_native(X, eager_only=True)[rows]))


def gaussian(x, beside_levels):
    """Return the likelihood of numbers, unless something else is said of them."""
    return "gaussian"


class Schema:
    """The columns of a data frame: how their cells become floats, and floats become cells.

    Its state is lists, strings, numbers and a few rows of each column, as native series.
    """

    @classmethod
    def fit(cls, X, overrides=None, likelihood_of_numbers=gaussian):
        """Learn the columns of X; `overrides` is {name, names or selector: likelihood}.

        One likelihood alone is that of all columns. By default that of numbers is what
        `likelihood_of_numbers` tells from a column's values, and whether there are flags or
        labels, too.
        """
        frame = nw.from_native(X, eager_only=True)
        kinds = _kinds_by_name(overrides, X, frame.columns)
        columns = [frame.get_column(name) for name in frame.columns]
        beside_levels = not _are_all_numbers(columns)
        numbers = partial(likelihood_of_numbers, beside_levels=beside_levels)
        schema = cls()
        schema.columns = [
            Column.fit(column, kinds.get(column.name), numbers) for column in columns
        ]
        schema.dtype = _common_dtype(schema.columns, columns)
        return schema

    def encode(self, X):
        """Return the cells of a frame, or of an array of numbers, (n_samples, n_features_in)."""
        if is_frame(X):
            frame = nw.from_native(X, eager_only=True)
            if frame.columns != self.names:  # (scikit-learn has compared names that are strings)
                ours, theirs = (", ".join(map(str, c)) for c in (self.names, frame.columns))
                raise ValueError(
                    f"X must have the columns of fit, in their order: {ours}. Got: {theirs}."
                )
            cells = self._cells_at_once(frame)
            if cells is not None:
                return cells
            values = [frame.get_column(name) for name in frame.columns]
        else:
            X = np.asarray(X, dtype=self.dtype)
            values = list(X.T)
        cells = np.empty((len(X), len(self.columns)), dtype=self.dtype)
        for j, (column, series) in enumerate(zip(self.columns, values, strict=True)):
            cells[:, j] = column.encode(series)
        return cells

    def _cells_at_once(self, frame):
        """Return what `encode` does, by the frame's own means; None if that may not be all.

        Looking at one column after the other takes much longer where rows are few.
        """
        if not all(column.is_plain for column in self.columns):
            return None
        cells = frame.to_numpy()
        return cells.astype(self.dtype, copy=False) if cells.dtype.kind in "fiu" else None

    def decode(self, cells, known=None):
        """Return the frame with these cells, of the library and the dtypes that `fit` was given.

        Cells of levels, flags and whole numbers are rounded, and kept within what the column has
        seen, unless they are `known`: booleans, shape of cells.
        """
        cells = np.asarray(cells, dtype=np.float64)
        known = np.zeros(cells.shape, dtype=bool) if known is None else known
        parts = zip(self.columns, cells.T, known.T, strict=True)
        return self._joined([column.decode(values, keep) for column, values, keep in parts])

    @property
    def nullable(self):
        """Tell of each column whether its dtype has a missing value; array of booleans."""
        return np.array([column.is_nullable for column in self.columns])

    def fill(self, X, cells, known):
        """Return the frame X with these cells where they are not known.

        Of an array, or of a frame of another library than that of fit, it is a frame as of fit.
        """
        if not is_frame(X):
            return self.decode(cells, known)
        frame = nw.from_native(X, eager_only=True)
        if frame.implementation != self.columns[0]._examples.implementation:
            return self.decode(cells, known)
        columns = [
            column.fill(nw.maybe_reset_index(frame.get_column(column.name)), values, keep)
            for column, values, keep in zip(self.columns, cells.T, known.T, strict=True)
        ]
        return self.with_index_of(self._joined(columns), X)

    def _joined(self, columns):
        return nw.to_native(nw.from_dict(dict(zip(self.names, columns, strict=True))))

    def of_other_kinds(self, X, overrides):
        """Return the columns for which `overrides`, as of `fit`, asks for another likelihood."""
        asked = _kinds_by_name(overrides, X, self.names)
        return [c.name for c in self.columns if asked.get(c.name, c.kind) != c.kind]

    def check_all_numbers(self):
        """Raise if the cells of a column are levels, which a sparse matrix cannot have."""
        for column in self.columns:
            if column.levels not in (None, (0.0, 1.0)):
                raise _needs_a_frame(column.name)

    def check_no_labels(self):
        """Raise if a column has labels that are no numbers, which an array does not have."""
        for column in self.columns:
            if not column.numeric:
                raise _needs_a_frame(column.name)

    def check_finite(self, cells):
        """Raise if a cell is infinite; what is missing is NaN."""
        infinite = np.isinf(cells).any(axis=0)
        if infinite.any():
            name = self.names[infinite.argmax()]
            raise ValueError(f"Input X contains infinity, in column {name!r}.")

    @staticmethod
    def with_index_of(frame, X):
        """Return a frame with the index of another, where there is such a thing."""
        index = nw.maybe_get_index(nw.from_native(X, eager_only=True)) if is_frame(X) else None
        if index is None or nw.maybe_get_index(nw.from_native(frame)) is None:
            return frame
        frame.index = index
        return frame

    def frame_of(self, values):
        """Return a frame of floats with the names of the columns."""
        series = {
            column.name: new_series(np.ascontiguousarray(part), column._examples)
            for column, part in zip(self.columns, values.T, strict=True)
        }
        return nw.to_native(nw.from_dict(series))

    def cell(self, name, value):
        """Return the place of a column, and the cell that stands for a value in it."""
        if name not in self.names:
            raise ValueError(f"There is no column {name!r}; X has {self.names}.")
        j = self.names.index(name)
        value = value.item() if isinstance(value, np.generic) else value
        levels = self.columns[j].levels
        if levels is None:
            if self.columns[j].integer and isinstance(value, (Real, Decimal)) and value % 1:
                raise ValueError(f"Column {name!r} has whole numbers only. Got {value!r}.")
            self.columns[j].check_holds(value)
            return j, value
        try:
            return j, float(levels.index(value))
        except (TypeError, ValueError):  # pandas' NA is neither equal to a level nor not
            raise ValueError(
                f"Column {name!r} has no level {value!r}; it has {list(levels)}."
            ) from None

    @property
    def names(self):
        return [column.name for column in self.columns]

    @property
    def kinds(self):
        """The likelihood of each column: what `overrides` says, or what the dtype suggests."""
        return [column.kind for column in self.columns]

    @property
    def levels(self):
        """For each column the values that its cells are indices of; None if they are numbers."""
        return [column.levels for column in self.columns]


class Column:
    """One column of a schema: numbers as they are, or the index of a level."""

    @classmethod
    def fit(cls, series, kind, likelihood_of_numbers):
        """Learn a column; `kind` is its likelihood, None for that which suits the dtype."""
        column, series = cls(), in_native_order(series)
        column.name = series.name
        column.numeric = is_numeric(series)
        if column.numeric:
            column.kind, column.levels = _levels_of_numbers(series, kind, likelihood_of_numbers)
        else:
            column.kind, column.levels = _levels_of_labels(series, kind)
        column.boolean = series.dtype == nw.Boolean
        cells = column.encode(series)
        column.integer = column.levels is not None or is_integer(series) or is_whole(cells)
        column.minimum, column.maximum = range_of(series, cells)
        column.examples = nw.to_native(examples_of(series, cells, column.levels))
        return column

    def encode(self, values):
        """Return the cells of a series, or of an array of numbers, shape (n_samples,)."""
        if not self.numeric:
            return _indices_of_labels(values, self.levels, self.name)
        numbers = as_floats(values, self.name)
        cells = numbers if self.levels is None else _indices_of_numbers(numbers, self.levels)
        if self.boolean or (self.kind == "bernoulli" and self.levels == (0, 1)):
            _check_flags(numbers, self.name)
        return cells

    def fill(self, series, cells, known):
        """Return a series with these cells where they are not known.

        It has the dtype of fit, or its own where that one cannot hold what is known.
        """
        if known.all() or np.isnan(self.minimum):  # of an empty column nothing was learned
            return series
        cells = np.asarray(cells, dtype=np.float64)
        if native_dtype(series) == native_dtype(self._examples):
            made = self.decode(np.where(known, self.minimum, cells), np.zeros_like(known))
        else:
            numbers = np.where(known, 0, self._made(cells, known))
            if not self._keeps(series.dtype, np.where(known, cells, 0), numbers):
                return self.decode(cells, known)
            made = cast_like(new_series(numbers, series), series)
        return series.zip_with(new_series(known, series), made)

    def _keeps(self, dtype, known, made):
        """Return whether a series to be filled stays as it is: large integers are no floats."""
        of_fit = self._examples.dtype
        if self.levels is not None or not (of_fit.is_integer() or of_fit.is_float()):
            return False
        is_better = dtype.is_integer() or not holds(of_fit, known)
        return is_better and not np.isnan(made).any() and holds(dtype, made)

    def check_holds(self, value):
        """Raise if the dtype has no such number."""
        dtype = self._examples.dtype
        if dtype.is_integer() and isinstance(value, Real) and not holds(dtype, np.array(value)):
            raise ValueError(f"Column {self.name!r} is {dtype}, which cannot be {value!r}.")

    def _made(self, cells, known):
        """Return cells, of which those made up are rounded and kept in range if they must be."""
        made = np.rint(cells) if self.integer else cells
        # (How many digits a Decimal may have, narwhals does not tell.)
        if self.integer or self._examples.dtype == nw.Decimal:
            made = np.clip(made, self.minimum, self.maximum)
        elif self._examples.dtype.is_float():
            finite = np.finfo(str(self._examples.dtype).lower())
            made = np.clip(made, finite.min, finite.max)
        return np.where(known, cells, made)

    @property
    def _examples(self):
        return nw.from_native(self.examples, series_only=True)

    @property
    def is_plain(self):
        """Whether a number in it is a cell as it is."""
        return self.numeric and self.levels is None and not self.boolean

    @property
    def is_nullable(self):
        """Whether the dtype has a missing value."""
        return bool(self._examples[:1].is_null().any()) or self._examples.dtype.is_float()

    def decode(self, cells, known):
        """Return the series with these cells, in the dtype of the column."""
        cells = np.where(known, cells, np.nan) if np.isnan(self.minimum) else cells
        missing, examples = np.isnan(cells), self._examples
        if missing.any() and not self.is_nullable:
            raise ValueError(
                f"Column {self.name!r} cannot be missing: its dtype has no such value."
            )
        cells = self._made(cells, known)
        if self.levels is not None:
            series = take(examples, np.where(missing, 0, cells + 1).astype(np.intp))
        else:
            series = series_of_numbers(cells, missing, examples)
        return series.alias(self.name)


def _kinds_by_name(overrides, X, names):
    """Return {name: likelihood}; where two keys name the same column, the later one holds."""
    if overrides is None:
        return {}
    if not isinstance(overrides, dict):
        return dict.fromkeys(names, overrides)
    kinds = {}
    for key, kind in overrides.items():
        chosen = _chosen(key, X, names)
        unknown = [name for name in chosen if name not in names]
        if unknown:
            raise ValueError(f"likelihood names columns {unknown}, of which X has only {names}.")
        kinds.update(dict.fromkeys(chosen, kind))
    return kinds


def _chosen(key, X, names):
    """Return the names that a key of a dict stands for; a tuple may itself be a name."""
    if hasattr(key, "meta"):
        return X.select(key).columns  # a selector of polars'
    chosen = key(X) if callable(key) else key
    if isinstance(chosen, str) or (isinstance(chosen, tuple) and chosen in names):
        return [chosen]
    return list(chosen) if isinstance(chosen, Iterable) else [chosen]


def _common_dtype(columns, series):
    """Return "float32" if that is the dtype of all numbers but flags, else "float64"."""
    dtypes = [s.dtype for column, s in zip(columns, series, strict=True) if column.numeric]
    numbers = [dtype for dtype in dtypes if dtype != nw.Boolean]
    single = numbers and all(dtype == nw.Float32 for dtype in numbers)
    return "float32" if single else "float64"


def _are_all_numbers(columns):
    return all(is_numeric(series) and series.dtype != nw.Boolean for series in columns)


def _levels_of_numbers(series, kind, likelihood_of):
    """Return the likelihood of a column of numbers, and its levels or None."""
    numbers = as_floats(series, series.name)
    if kind is None:
        is_flag = series.dtype == nw.Boolean or _is_flag(numbers)
        kind = "bernoulli" if is_flag else likelihood_of(numbers)
    if kind not in ("categorical", "bernoulli"):
        return kind, None
    levels = np.unique(numbers[np.isfinite(numbers)])
    if kind == "bernoulli" and (series.dtype == nw.Boolean or len(levels) != 2):
        return kind, None
    return kind, tuple(levels.tolist()) or (None,)


def _is_flag(numbers):
    """Return whether the values are 0 and 1, both of them, or missing."""
    zeros, ones = numbers == 0, numbers == 1
    return zeros.any() and ones.any() and (zeros | ones | np.isnan(numbers)).all()


def _levels_of_labels(series, kind):
    """Return the likelihood of a column of labels, and the levels that occur in it."""
    levels = _levels_in_order(series, set(series.drop_nulls().to_list()))
    kind = kind or ("bernoulli" if len(levels) == 2 else "categorical")
    if kind not in ("categorical", "bernoulli") or (kind == "bernoulli" and len(levels) > 2):
        raise ValueError(
            f"likelihood={kind!r} does not fit column {series.name!r} of X, which has "
            f"{len(levels)} levels that are no numbers; use 'categorical'."
        )
    n_known = len(series) - series.null_count()
    if len(levels) > max(FEW_LEVELS, n_known / 2):
        warn(
            f"Column {series.name!r} of X has {len(levels)} levels in {n_known} rows. Levels that "
            "hardly repeat, as names and keys do, tell nothing of other rows, and outweigh the "
            "other columns: drop it, or turn it into numbers."
        )
    # An empty column has one level, the missing value, so that no likelihood is without any.
    return kind, tuple(levels) or (None,)


def _levels_in_order(series, observed):
    """Return the levels in the order of the dtype, or sorted if it has none."""
    # The order of polars' Categorical is that in which the process has met the strings.
    ordered = series.implementation.is_pandas_like() or series.dtype == nw.Enum
    # (pandas has no categories of arrow's dictionaries.)
    if (
        series.dtype in (nw.Categorical, nw.Enum)
        and ordered
        and hasattr(series.to_native(), "cat")
    ):
        return [level for level in series.cat.get_categories().to_list() if level in observed]
    return sorted(observed)


def _needs_a_frame(name):
    return ValueError(f"Column {name!r} had categories in fit: X must be a data frame.")


def _indices_of_labels(values, levels, name):
    """Return the index of each label, NaN where it is missing or no level."""
    if isinstance(values, np.ndarray):
        raise _needs_a_frame(name)
    are_numbers = is_numeric(values)  # raises if the cells are lists or dates
    index = {level: i for i, level in enumerate(levels) if level is not None}
    labels = values.to_list()
    cells = np.fromiter(map(index.get, labels, repeat(np.nan)), np.float64, len(labels))
    are_strings = all(isinstance(level, str) for level in index)
    if are_numbers and index and are_strings and not np.isnan(as_floats(values, name)).all():
        raise ValueError(
            f"Column {name!r} of X had labels in fit, now it has numbers; turn them into strings."
        )
    found = values.drop_nulls().to_list()
    is_lost = index and found and np.isnan(cells).all()
    if is_lost and not {*map(_family, found)} & {*map(_family, index)}:
        raise ValueError(
            f"Column {name!r} of X had labels as {next(iter(index))!r} in fit, now it has labels "
            f"as {found[0]!r}; turn them into what they were."
        )
    return cells


def _family(label):
    """Return the widest type that a label is of, among those of which labels may be equal."""
    return next((kind for kind in (str, NUMBERS) if isinstance(label, kind)), type(label))


def _indices_of_numbers(numbers, levels):
    """Return the index of each number, NaN where it is missing or no level; inf stays inf."""
    levels = np.array(levels, dtype=np.float64)  # None becomes NaN, equal to nothing
    numbers = numbers.astype(np.float64)
    index = np.searchsorted(levels, numbers).clip(max=len(levels) - 1)
    unseen = np.where(np.isinf(numbers), numbers, np.nan)
    return np.where(levels[index] == numbers, index, unseen)


def _check_flags(numbers, name):
    """Raise for a number beside 0 and 1: that is no unknown level, nor is it one in an array."""
    is_other = np.isfinite(numbers) & (numbers != 0) & (numbers != 1)
    if is_other.any():
        raise ValueError(
            f"Column {name!r} of X had only 0 and 1 in fit, now it has {numbers[is_other][0]:g}; "
            "if it holds counts, say so by `likelihood`."
        )
