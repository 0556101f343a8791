"""Warnings that point at the user's line."""

import sys
import warnings

# Packages whose lines may stand between the user's and that which warns.
BETWEEN = {"skvae", "sklearn", "torch", "joblib"}


def warn(message: str) -> None:
    """Warn of something at the line that called this package, or that had scikit-learn call it."""
    frame, level = sys._getframe(), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
