"""The checks of parameters and sample weights, worded as scikit-learn words its own."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array


class Interval(NamedTuple):
    """A number of this kind between two bounds, of which `closed` says which belong to it."""

    kind: type
    low: float
    high: float
    closed: str = "[)"

    def allows_type(self, value):
        return isinstance(value, self.kind) and not isinstance(value, (bool, np.bool_))

    def allows(self, value):
        if not self.allows_type(value):
            return False
        above = self.low <= value if self.closed[0] == "[" else self.low < value
        below = value <= self.high if self.closed[1] == "]" else value < self.high
        return above and below

    def __str__(self):
        kind = "an int" if self.kind is Integral else "a float"
        return f"{kind} in the range {self.closed[0]}{self.low}, {self.high}{self.closed[1]}"


class Options(tuple):
    """One of a few values."""

    def allows_type(self, value):
        value = value.item() if isinstance(value, np.generic) else value
        return any(type(option) is type(value) for option in self)

    def allows(self, value):
        return self.allows_type(value) and value in self

    def __str__(self):
        return " or ".join(repr(option) for option in self)


class Text:
    """Any string."""

    def allows_type(self, value):
        return isinstance(value, str)

    allows = allows_type

    def __str__(self):
        return "a str"


class Having(tuple):
    """An object, not its class, with these attributes."""

    def allows_type(self, value):
        return not isinstance(value, type) and all(hasattr(value, name) for name in self)

    allows = allows_type

    def __str__(self):
        return "an object with " + ", ".join(self)


class Widths:
    """A tuple or list of layer widths."""

    def allows_type(self, value):
        return isinstance(value, (tuple, list, np.ndarray))

    def allows(self, value):
        return self.allows_type(value) and all(map(Interval(Integral, 1, np.inf).allows, value))

    def __str__(self):
        return "a tuple of ints in the range [1, inf)"


class Subclass(NamedTuple):
    """A class derived from this one, but for some."""

    base: type
    but: tuple = ()

    def allows_type(self, value):
        return isinstance(value, type)

    def allows(self, value):
        return self.allows_type(value) and issubclass(value, self.base) and value not in self.but

    def __str__(self):
        return f"a subclass of {self.base.__name__}"


class Choices(NamedTuple):
    """A dict whose values are allowed by one of these rules."""

    rules: tuple

    def allows_type(self, value):
        return isinstance(value, dict)

    def allows(self, value):
        return self.allows_type(value) and all(
            any(rule.allows(chosen) for rule in self.rules) for chosen in value.values()
        )

    def refused(self, value):
        """Return the part of a dict that is not allowed."""
        return {k: v for k, v in value.items() if not any(r.allows(v) for r in self.rules)}

    def __str__(self):
        return "a dict {column of a data frame: one of these or 'categorical'}"


def check_parameters(estimator, rules):
    """Raise unless each parameter is allowed by one of its rules; {name: (rule, ...)}.

    A value that no rule takes for one of its kind is a TypeError, any other a ValueError.
    """
    for name, allowed in rules.items():
        value = getattr(estimator, name)
        if any(rule.allows(value) for rule in allowed):
            continue
        for rule in allowed:
            if isinstance(rule, Choices) and rule.allows_type(value):
                value = rule.refused(value)
        kind = ValueError if any(rule.allows_type(value) for rule in allowed) else TypeError
        raise kind(
            f"The {name!r} parameter of {type(estimator).__name__} must be "
            f"{' or '.join(map(str, allowed))}. Got {value!r} instead."
        )


def check_sample_weight(sample_weight, n_samples):
    """Return the weights as float64 of shape (n_samples,), None for None; a number is for all."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        sample_weight = np.full(n_samples, sample_weight, dtype=np.float64)
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
    if len(weights) != n_samples:
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n_samples,)}!")
    if (weights < 0).any():
        raise ValueError(f"Negative values in sample_weight: a minimum of {weights.min()}.")
    if not weights.any():
        raise ValueError("At least one sample weight must be non-zero: all are zero.")
    return weights


def check_flag(name, value):
    """Raise unless an argument is True or False."""
    if not Options((True, False)).allows(value):
        raise ValueError(f"{name} must be True or False. Got {value!r}.")


def check_count(name, value):
    """Raise unless a number of things to draw is a positive int."""
    rule = Interval(Integral, 1, np.inf)
    if not rule.allows(value):
        raise ValueError(f"{name} must be an int in the range [1, inf). Got {value!r}.")
