"""What both estimators share: the scikit-learn side of every public method."""

from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _blocks, _engine
from ._arrays import DenseOnDemand, rows_with_weight, with_weight
from ._cells import CellsMixin
from ._fitting import FittingMixin, cannot_continue
from ._gaps import Gaps
from ._networks import ACTIVATIONS
from ._progress import CallbackSupportMixin
from ._quantile_maps import QuantileMaps
from ._schema import Schema, is_frame, rows_of_frame
from ._table import Table
from ._validation import (
    Choices,
    Interval,
    Options,
    Subclass,
    Text,
    Widths,
    check_count,
    check_flag,
    check_parameters,
    check_sample_weight,
)
from ._version import __version__
from ._warn import warn
from .likelihoods import LIKELIHOODS, Likelihood

AUTO = Options(("auto",))

# Likelihoods of a table whose columns are all alike, and those of one column.
ALONE = tuple(name for name, cls in LIKELIHOODS.items() if not cls.needs_levels)
OF_USERS = Subclass(Likelihood, but=(Likelihood, LIKELIHOODS["categorical"]))
BY_COLUMN = (Options(LIKELIHOODS), OF_USERS)

RULES = {
    "n_components": (Interval(Integral, 1, np.inf), AUTO),
    "hidden_layer_sizes": (Widths(), AUTO),
    "activation": (Options(ACTIVATIONS), AUTO),
    "likelihood": (Options(("auto", *ALONE)), OF_USERS, Choices(BY_COLUMN)),
    "scaling": (Options(("auto", "standard", "common", "quantile", None)),),
    "learning_rate": (Interval(Real, 0, np.inf, "()"),),
    "weight_decay": (Interval(Real, 0, np.inf),),
    "batch_size": (Interval(Integral, 1, np.inf), AUTO),
    "max_iter": (Interval(Integral, 1, np.inf), AUTO),
    "early_stopping": (Options((True, False)),),
    "validation_fraction": (Interval(Real, 0, 1, "()"),),
    "n_iter_no_change": (Interval(Integral, 1, np.inf), AUTO),
    "tol": (Interval(Real, 0, np.inf),),
    "contamination": (Interval(Real, 0, 0.5, "(]"), AUTO),
    "robust": (Options((True, False)),),
    "dtype": (Options(("float32", "float64")),),
    "device": (Text(),),
    "verbose": (Interval(Integral, 0, np.inf), Options((True, False))),
    "warm_start": (Options((True, False)),),
}


@contextmanager
def _unchanged_on_failure(estimator):
    """Put the attributes of an estimator back if the block raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class BaseAutoencoder(
    FittingMixin,
    CellsMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    OutlierMixin,
    BaseEstimator,
):
    """A transformer and outlier detector around a latent-variable model.

    A subclass gives its parameters, `_rules`, `_model_class`, `_sizes`, and the methods that raise
    NotImplementedError here and in `FittingMixin`.
    """

    _doc_link_module = "skvae"
    _doc_link_template = (
        "https://skvae.readthedocs.io/en/stable/generated/{estimator_module}.{estimator_name}.html"
    )
    _rules = RULES
    _model_class = None
    _sizes = None  # what "auto" means for them

    _can_draw = True  # whether there is a distribution of codes

    def _draw_codes(self, n_samples, seed):
        """Draw codes from the distribution that samples come from."""
        raise NotImplementedError

    # ---------------------------------------------------------------------------- scikit-learn

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")

    @property
    def _n_features_out(self):
        return self.module_.config["n_components"]

    def __getstate__(self):
        state = dict(super().__getstate__())
        if "module_" in state:
            state["module_"] = _engine.pack(self.module_)
            state["_table"] = vars(self._table)
            state["_blocks"] = [tuple(block) for block in self._blocks]
            state["_gaps"] = self._gaps and self._gaps.state
            state["_maps"] = self._maps and tuple(self._maps)
            state["_skvae_version"] = __version__
            state.pop("_twin")
        return state

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_skvae_version", __version__)
        if version != __version__:
            warn(
                f"This {type(self).__name__} was fitted with skvae {version} and is loaded with "
                f"{__version__}; results may differ."
            )
        if "module_" in state:
            state["module_"] = _engine.unpack(self._model_class, state["module_"])
            state["_twin"] = _engine.twin(state["module_"])
            state["_table"] = Table.from_state(state["_table"])
            state["_blocks"] = [_blocks.Block(*block) for block in state["_blocks"]]
            state["_gaps"] = state.get("_gaps") and Gaps(*state["_gaps"])
            state["_maps"] = state.get("_maps") and QuantileMaps(*state["_maps"])
        super().__setstate__(state)

    # --------------------------------------------------------------------------------- fitting

    def fit(self, X, y=None, sample_weight=None):
        """Fit the model to the rows of X.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Training rows: numbers, or a frame whose columns may be numbers, flags, strings and
            categories; cells may be missing. They are not changed.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the loss, the scaling and the threshold. A row of weight
            zero counts as if it were not there; at least two must have more.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If a parameter or X is not valid, or if training diverged.
        TypeError
            If a parameter is of a wrong type, or X holds dates or has no rows yet (a lazy frame).
        RuntimeError
            If `device` is not available.
        """
        with _unchanged_on_failure(self):
            check_parameters(self, self._rules)
            _engine.resolve_device(self.device)
            continues = bool(self.warm_start) and hasattr(self, "module_")
            data = {"X": X, "y": y}
            if sample_weight is not None:
                data["metadata"] = {"sample_weight": sample_weight}
            if is_frame(X):
                X, sample_weight = self._rows_that_count(X, sample_weight)
            if continues:
                self._check_kinds_are_kept(X)
            else:
                self._learn_columns(X)
            X = self._checked(X, reset=not continues, ensure_min_samples=2)
            X, weights = with_weight(X, self._checked_weights(sample_weight, len(X)))
            self._fit(X, weights, continues, data)
        return self

    def _chosen_likelihood(self, X):
        """Return the parameter, None for "auto"; raise if it names columns that X cannot have."""
        chosen = None if self.likelihood == "auto" else self.likelihood
        if isinstance(chosen, dict) and not is_frame(X):
            raise ValueError(
                "A dict as likelihood names columns of a data frame, but X is none; name one "
                f"likelihood for all of its columns. Got {self.likelihood!r}."
            )
        return chosen

    def _check_kinds_are_kept(self, X):
        """Raise if a fit that continues another asks for other likelihoods of its columns."""
        chosen = self._chosen_likelihood(X)
        if self._schema is None and isinstance(chosen, dict):
            raise cannot_continue("likelihood")
        changed = self._schema.of_other_kinds(X, chosen) if self._schema else []
        if changed:
            raise cannot_continue(f"the likelihood of {changed}")

    def _checked_weights(self, sample_weight, n_samples):
        return check_sample_weight(_engine.as_array(sample_weight), n_samples)

    def _rows_that_count(self, X, sample_weight):
        """Return the rows of a frame that have a weight, and these; others may hold anything."""
        check_array(np.zeros((len(X), 1)), ensure_min_samples=2, estimator=self)
        weights = self._checked_weights(sample_weight, len(X))
        rows = rows_with_weight(weights)
        return (X, weights) if rows is None else (rows_of_frame(X, rows), weights[rows])

    def _learn_columns(self, X):
        """Learn what the columns of training rows are, if they have names."""
        chosen = self._chosen_likelihood(X)
        self._schema = None
        if is_frame(X):
            numbers = partial(self._likelihood_of_numbers, n_columns=X.shape[1])
            self._schema = Schema.fit(X, chosen, numbers)

    # -------------------------------------------------------------------------------- applying

    def _validated(self, X):
        """Return rows as an array in the caller's units, float64 or float32."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        self._check_support(X, self._blocks, to_learn=False)
        return X

    def _checked(self, X, reset, **options):
        """Return X as a float array in C order and in the byte order of the machine.

        Sparse rows stay so, and come out dense where they are indexed. Missing cells are NaN,
        levels of categories are numbered.
        """
        options |= {"dtype": [np.float64, np.float32], "order": "C"}
        options |= {"ensure_all_finite": "allow-nan", "accept_sparse": "csr"}
        X = _engine.as_array(X)
        if getattr(getattr(X, "dtype", None), "kind", None) in ("m", "M"):
            raise TypeError(
                f"X has the dtype {X.dtype}: turn dates into numbers, say days since one of them."
            )
        has_columns = not isinstance(X, np.ndarray) and is_frame(X)
        if self._schema is not None and not has_columns:
            self._schema.check_no_labels()
        if self._schema is not None and issparse(X):
            self._schema.check_all_numbers()
        if self._schema is not None and not issparse(X):
            if has_columns:
                validate_data(self, X, reset=reset, skip_check_array=True)
            else:
                X = validate_data(self, X, reset=reset, **options)
            X = self._schema.encode(X)
            self._schema.check_finite(X)
            X = check_array(X, input_name="X", estimator=self, **options)
        else:
            X = validate_data(self, X, reset=reset, **options)
        if issparse(X):
            return DenseOnDemand(X)
        return np.asarray(X, dtype=X.dtype.newbyteorder("="))

    def _check_support(self, X, blocks, to_learn):
        """Raise for a value that the likelihood of its column cannot learn from, or judge."""
        _blocks.check_support(X, blocks, getattr(self, "feature_names_in_", None), to_learn)

    def _seed_of_draws(self, random_state):
        random_state = self.random_state if random_state is None else random_state
        return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))

    def _as_given(self, X, known=None):
        """Return cells as what `fit` was given: an array or a frame; see `Schema.decode`."""
        return X if self._schema is None else self._schema.decode(X, known)

    def _module_in(self, dtype):
        """Return the module that computes in this dtype."""
        return _engine.in_dtype(dtype, self.module_, self._twin)

    def _run(self, verb, X, *args):
        """Apply a method of the module to validated rows, computing in their dtype."""
        module = self._module_in(X.dtype)
        result = _engine.run(module, verb, X, self._table.forward, self.device, *args)
        if X.dtype == np.float32 and not np.isfinite(result).all():
            # The square of a far value overflows.
            lost = ~np.isfinite(result).reshape(len(X), -1).all(axis=1)
            result[lost] = self._run(verb, X[lost].astype(np.float64), *args)
        return result

    def _cells_from(self, made):
        """Return cells in the units of the data from rows that a model made."""
        return self._with_constants(self._table.backward(made))

    def _with_constants(self, cells):
        """Return cells, those of columns that have but one value as it is."""
        if self._constants is None:
            return cells
        return np.where(np.isnan(self._constants), cells, self._constants.astype(cells.dtype))

    def _log_density(self, verb, X):
        """Return a log-density of validated rows in the units of the data."""
        return self._run(verb, X) + self._table.log_jacobian(X)

    def _score(self, verb, X):
        """Return a log-density, the lowest for rows so far out that even float64 overflows.

        (Infinity less infinity is no number. Rows that train are not so: `fit` sees to it.)
        """
        scores = self._log_density(verb, X)
        return np.where(np.isnan(scores), -np.inf, scores)

    def transform(self, X):
        """Map rows to their codes.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            f(x) for the autoencoder, the mean of q(z | x) for the VAE; without noise, in the dtype
            of X (float32 or float64).
        """
        return self._run("encode", self._validated(X))

    def inverse_transform(self, X):
        """Map codes back to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : {ndarray, data frame} of shape (n_samples, n_features)
            E[x | z] (in "ordinal" columns and under scaling="quantile": its image in the units of
            the data), without noise; an array in the dtype of the codes, or a frame if `fit` was
            given one, with the index of the codes if they are in a frame, too.
        """
        check_is_fitted(self)
        codes, X = X, check_array(_engine.as_array(X), dtype=[np.float64, np.float32])
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but inverse_transform of {type(self).__name__} "
                f"takes codes of n_components={self._n_features_out}."
            )
        module = self._module_in(X.dtype)
        Z = _engine.run(module, "decode", X, device=self.device)
        X_original = self._as_given(self._cells_from(Z))
        if self._schema is None:
            return X_original
        return self._schema.with_index_of(X_original, codes)

    def score(self, X, y=None, sample_weight=None):
        """Return the mean of `score_samples`.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the mean.

        Returns
        -------
        score : float
            Mean score of a row in nats, in the units of X; higher is better.
        """
        scores = self.score_samples(X)
        weights = self._checked_weights(sample_weight, len(scores))
        if weights is not None:  # a score may be -inf, of which zero times is no number
            scores, weights = scores[weights > 0], weights[weights > 0]
        return float(np.average(scores, weights=weights))

    def decision_function(self, X):
        """Return `score_samples` shifted so that outliers are negative.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_`` in nats.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell inliers from outliers. (For a reconstruction, use `inverse_transform`.)

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        label : ndarray of shape (n_samples,)
            -1 for outliers, where `decision_function` is negative, and +1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def sample(self, n_samples=1, random_state=None, *, conditions=None, complete=False):
        """Draw new rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws. With None, that of the estimator is used: an int then gives the
            same rows in each call.
        conditions : dict or None, default=None
            Cells that are given, {column: value}, columns by name (of an array, by index). Then
            codes are drawn from the prior (of an autoencoder, from `latent_density_`), drawn again
            with weights p(given cells | z), and the other cells from p(x | z): for many prior
            codes this is p(x | given cells). Conditions that hardly occur leave few codes with
            weight, and so rows that resemble one another; a warning says so.
        complete : bool, default=False
            Whether rows have no gaps. Else cells are missing as in the rows of `fit`: in each
            drawn row those that are in one of these, of 2,000 that are remembered, which is like
            it, and in which cells that are given are known, too, if there is one. Where no cell
            was missing, none is.

        Returns
        -------
        X : {ndarray, data frame} of shape (n_samples, n_features)
            Draws from p(x), the noise of the likelihood included; what `fit` was given, with its
            columns and dtypes. Real values of a frame are then mapped, column by column along a
            rising line, to the distribution that they had in `fit`: its grid, its range, the
            values that many rows share.
        """
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        check_flag("complete", complete)
        given, seed = self._cells_of(conditions), self._seed_of_draws(random_state)
        return self._draw(given, int(n_samples), complete, seed)
