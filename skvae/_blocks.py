"""Which likelihood each column has, and the order in which a model keeps them."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import gen_batches

from . import _engine
from ._arrays import constant_cells, some_rows
from ._table import Layout
from .likelihoods import class_of

# A column is smooth if it has more values than this, and none in more than this share of the rows.
FEW_VALUES, SHARE_OF_ONE = 50, 0.1
# It is coarse if it spans no more than this many steps, and has this many rows for each value.
FEW_STEPS, ROWS_A_VALUE = 50, 10
# The order of a row in working units.
NUMBERS, INTERVALS, LEVELS = range(3)
# What stands for it where it is asked how far out a value is.
BY_DISTANCE = "student_t"
# Rows are heaped on a value if it has this many times those of the next one.
HEAPED = 2


class Block(NamedTuple):
    """Columns of one likelihood; `levels` are their numbers of levels, None for numbers."""

    likelihood: object
    columns: tuple[int, ...]
    levels: tuple[int, ...] | None = None

    @property
    def spec(self):
        """What a model needs to know of it."""
        is_name = isinstance(self.likelihood, str)  # that of NumPy is no plain value
        likelihood = str(self.likelihood) if is_name else self.likelihood
        return likelihood, len(self.columns) if self.levels is None else self.levels

    @property
    def likelihood_class(self):
        """The class of its likelihood, which says what its data are."""
        return class_of(self.likelihood)

    @property
    def place(self):
        """Where it stands in a row: with numbers, with intervals or with levels."""
        if self.levels:
            return LEVELS
        return NUMBERS if self.likelihood_class.n_cells == 1 else INTERVALS


def likelihoods(blocks):
    """Return the likelihood of each column, in their order."""
    return [
        kind for _, kind in sorted((j, block.spec[0]) for block in blocks for j in block.columns)
    ]


def constants(X, blocks, before):
    """Return the value of each column that has no other, NaN for those that have.

    Of `before`, those of rows that trained earlier, they are some, if that is not None. What
    stands for a draw, or shares out a total, is constant only where there is nothing to draw.
    """
    values = constant_cells(X)
    if before is not None:
        values[values != before] = np.nan
    if are_of_one_total(blocks) or stand_for_draws(X, blocks):
        values[values != 0] = np.nan
    return values


def of_kinds(kinds, n_levels):
    """Return the blocks of columns with these likelihoods: numbers, intervals, levels.

    `n_levels` has the number of levels of each column, None where it has numbers.
    """
    blocks = []
    for kind in sorted(set(kinds), key=kinds.index):
        columns = tuple(j for j, other in enumerate(kinds) if other == kind)
        levels = tuple(n_levels[j] for j in columns) if kind == "categorical" else None
        blocks.append(Block(kind, columns, levels))
    return sorted(blocks, key=lambda block: block.place)


def is_binary(X):
    """Tell whether X has zeros, ones and gaps only; most arrays are told by their first rows."""
    return all(
        (np.isin(X[rows], (0, 1)) | np.isnan(X[rows])).all() for rows in gen_batches(len(X), 1000)
    )


def of_one_kind(likelihood, X):
    """Return the one block of all columns."""
    return [Block(likelihood, tuple(range(X.shape[1])))]


def of_values(X, likelihood_of):
    """Return the blocks of numbers whose likelihood a function tells from a column's values."""
    some, _ = some_rows(X, None, random_state=0)
    kinds = [likelihood_of(x) for x in some.T]
    return of_kinds(kinds, [None] * X.shape[1])


def with_distances(blocks):
    """Return blocks in which numbers that count by their order are numbers with distances.

    However far out a value is, by its order it is next to the last but one.
    """
    if all(block.place != INTERVALS for block in blocks):
        return blocks
    of_column = {}
    for block in blocks:
        kind = BY_DISTANCE if block.place == INTERVALS else block.likelihood
        levels = block.levels or [None] * len(block.columns)
        of_column |= {j: (kind, n) for j, n in zip(block.columns, levels, strict=True)}
    return of_kinds(*zip(*(of_column[j] for j in sorted(of_column)), strict=True))


def is_smooth(x):
    """Tell whether the values of a column hardly repeat."""
    _, n_rows = np.unique(x[~np.isnan(x)], return_counts=True)
    return len(n_rows) > FEW_VALUES and n_rows.max() <= SHARE_OF_ONE * n_rows.sum()


def is_coarse(x):
    """Tell whether a column has three or more, but few values, in many rows each."""
    x = x[~np.isnan(x)]
    values = np.unique(x)
    if len(values) < 3 or len(x) < ROWS_A_VALUE * len(values):
        return False
    return np.ptp(values) < (FEW_STEPS + 0.5) * np.diff(values).min()  # rounding does not decide


def is_censored(x):
    """Tell whether rows are heaped on the end of three or more values that more of them have.

    There must be many, others beside them, and far fewer on the next value: the ends of a scale
    of marks are no limits.
    """
    _, n_rows = np.unique(x[~np.isnan(x)], return_counts=True)
    if len(n_rows) < 3:
        return False
    there, beside = n_rows[:2] if n_rows[0] >= n_rows[-1] else n_rows[:-3:-1]
    n_known = n_rows.sum()
    return max(SHARE_OF_ONE * n_known, HEAPED * beside) <= there <= n_known - ROWS_A_VALUE


def stand_for_draws(X, blocks):
    """Tell whether cells stand for draws, as shares of flags do, which new ones replace."""
    return any(_engine.redraws(block.likelihood, X, block.columns) for block in blocks)


def are_of_one_total(blocks):
    """Tell whether a row is one total that is shared out over all columns."""
    return all(block.likelihood_class.shares_out_total for block in blocks)


def are_discrete(blocks):
    """Tell whether no column has real values: all are flags, counts or levels."""
    return not any(block.likelihood_class.continuous for block in blocks)


def are_mixed(blocks):
    """Tell whether real values stand beside flags, counts or levels."""
    return len({block.likelihood_class.continuous for block in blocks}) == 2


def layout(blocks):
    """Return the order of columns in the model, and which are scaled."""
    numbers, ordinal, last = (
        [b for b in blocks if b.place == place] for place in (NUMBERS, INTERVALS, LEVELS)
    )
    kinds = [b.likelihood_class for b in numbers for _ in b.columns]
    continuous = [kind.continuous for kind in kinds]
    return Layout(
        np.array([j for block in numbers for j in block.columns], dtype=int),
        np.array(continuous, dtype=bool),
        tuple(j for block in ordinal for j in block.columns),
        tuple(j for block in last for j in block.columns),
        tuple(n for block in last for n in block.levels),
        tuple(i for i, kind in enumerate(kinds) if kind.stops),
    )


def check_support(X, blocks, names, to_learn):
    """Raise a ValueError for the first value that a likelihood cannot learn from, or judge."""
    for block in blocks:
        if block.levels is not None:
            continue
        if to_learn and block.likelihood_class.shares_out_total and len(block.columns) == 1:
            raise ValueError(
                f"likelihood={block.likelihood!r} shares out a total over several columns, but "
                f"{_place(block.columns[0], names)} is the only one. For counts use 'poisson' or "
                "'negative_binomial'."
            )
        refused = _engine.unsupported(block.likelihood, X, block.columns, to_learn)
        if refused is None:
            continue
        column, value = refused
        support = block.likelihood_class.support
        advice = "; for real-valued data use 'gaussian'" if to_learn else ""
        raise ValueError(
            f"likelihood={block.likelihood!r} needs {support}, got {value:g} in "
            f"{_place(column, names)}{advice}."
        )


def _place(column, names):
    """Return what to call a column in a message."""
    return "X" if names is None else f"column {names[column]!r}"
