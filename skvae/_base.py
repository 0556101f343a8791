"""What both estimators share: the scikit-learn side of every public method."""

import math
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from . import _blocks, _defaults, _engine
from ._cells import CellsMixin
from ._networks import ACTIVATIONS
from ._outliers import threshold, without_outliers
from ._progress import CallbackSupportMixin, Epochs, Printer, with_callbacks
from ._schema import Schema, gaussian, is_frame
from ._sparse import DenseOnDemand, has_gaps
from ._table import Table
from ._training import Plan
from ._validation import (
    Choices,
    Interval,
    Options,
    Sizes,
    Subclass,
    Text,
    check_count,
    check_parameters,
    check_sample_weight,
    unless_uniform,
)
from ._version import __version__
from .likelihoods import LIKELIHOODS, Likelihood

# What a warm start cannot change.
SHAPE = ("blocks", "masks", "n_components", "hidden_layer_sizes", "activation", "tied")
AUTO = Options(("auto",))
SEED = Interval(Integral, 0, 2**32)

# Likelihoods of a table whose columns are all alike, and those of one column.
ALONE = tuple(name for name, cls in LIKELIHOODS.items() if not cls.needs_levels)
BY_COLUMN = (Options(LIKELIHOODS), Subclass((Likelihood,)))

RULES = {
    "n_components": (Interval(Integral, 1, np.inf), AUTO),
    "hidden_layer_sizes": (Sizes(), AUTO),
    "activation": (Options(ACTIVATIONS), AUTO),
    "likelihood": (Options(("auto", *ALONE)), Subclass((Likelihood,)), Choices(BY_COLUMN)),
    "scaling": (Options(("standard", "quantile", None)),),
    "learning_rate": (Interval(Real, 0, np.inf, "()"),),
    "weight_decay": (Interval(Real, 0, np.inf),),
    "batch_size": (Interval(Integral, 1, np.inf), AUTO),
    "max_iter": (Interval(Integral, 1, np.inf), AUTO),
    "early_stopping": (Options((True, False)),),
    "validation_fraction": (Interval(Real, 0, 1, "()"),),
    "n_iter_no_change": (Interval(Integral, 1, np.inf), AUTO),
    "tol": (Interval(Real, 0, np.inf),),
    "contamination": (Interval(Real, 0, 0.5, "(]"),),
    "robust": (Options((True, False)),),
    "dtype": (Options(("float32", "float64")),),
    "device": (Text(),),
    "verbose": (Interval(Integral, 0, np.inf), Options((True, False))),
    "warm_start": (Options((True, False)),),
}


# Share of the epochs after which "robust" asks what looks like an outlier, before the model has
# learned it.
BRIEF = 0.05


class Job(NamedTuple):
    """What is known before training: the rows, what their columns are, sizes, numbers, seeds."""

    X: Any
    blocks: list
    config: dict
    plan: Plan
    n_held_out: int
    seeds: list


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


def resolved(value, default, *args):
    """Return the value of a parameter, or what its default makes of the arguments if "auto"."""
    return default(*args) if isinstance(value, str) and value == "auto" else value


class BaseAutoencoder(
    CellsMixin,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    OutlierMixin,
    BaseEstimator,
):
    """A transformer and outlier detector around a latent-variable model.

    A subclass gives its parameters, `_rules`, `_model_class`, and the four methods that raise
    NotImplementedError here.
    """

    _doc_link_module = "skvae"
    _doc_link_template = (
        "https://skvae.readthedocs.io/en/stable/generated/{estimator_module}.{estimator_name}.html"
    )
    _rules = RULES
    _model_class = None
    _sizes = None  # what "auto" means for them

    # ------------------------------------------------------------------ what a subclass says

    def _model_parameters(self, n_samples):
        """Return the arguments of the model class that only this estimator has."""
        raise NotImplementedError

    def _training_parameters(self, n_samples):
        """Return the shares of training in which the KL term, and the loss, are given time."""
        raise NotImplementedError

    def _likelihood_of_numbers(self, n_columns, beside_levels=False):
        """Return what tells, from its values, the likelihood that "auto" is for a column.

        There are so many columns; all are numbers, or there are flags or labels, too.
        """
        return gaussian

    def _finish(self, X, weights, n_steps, seed):
        """Set the fitted attributes that only this estimator has, from training rows."""
        raise NotImplementedError

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
            state["_skvae_version"] = __version__
            state.pop("_twin")
        return state

    def __setstate__(self, state):
        state = dict(state)
        version = state.pop("_skvae_version", __version__)
        if version != __version__:
            warnings.warn(
                f"This {type(self).__name__} was fitted with skvae {version} and is loaded with "
                f"{__version__}; results may differ.",
                stacklevel=2,
            )
        if "module_" in state:
            state["module_"] = _engine.unpack(self._model_class, state["module_"])
            state["_twin"] = _engine.twin(state["module_"])
            state["_table"] = Table.from_state(state["_table"])
        super().__setstate__(state)

    # --------------------------------------------------------------------------------- fitting

    def fit(self, X, y=None, sample_weight=None):
        """Fit the model to the rows of X.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            Training rows, all numeric. They are not changed.
        y : Ignored
            Present for API consistency.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, in the loss, the scaling and the threshold.

        Returns
        -------
        self : object
            The fitted estimator. A fit that fails leaves it as it was.

        Raises
        ------
        ValueError
            If a parameter or X is not valid, or if training diverged.
        RuntimeError
            If `device` is not available.
        """
        with _unchanged_on_failure(self):
            check_parameters(self, self._rules)
            _engine.check_device(self.device)
            previous = self if self.warm_start and hasattr(self, "module_") else None
            table, module = (previous._table, previous.module_) if previous else (None, None)
            data = {"X": X, "y": y}
            if sample_weight is not None:
                data["metadata"] = {"sample_weight": sample_weight}
            X = self._read(X, previous)
            weights = unless_uniform(check_sample_weight(sample_weight, len(X)))
            self._fit(X, weights, table, module, data)
        return self

    @with_callbacks
    def _fit(self, X, weights, table, start, data):
        """Fit to validated rows, from the table and module of a previous fit if there is one."""
        job = self._job(X, is_refit=start is not None)
        self._check_warm_start(start, job.config)
        trusted = self._trusted(job, weights) if self.robust else weights
        table = table or self._fit_table(job, trusted)
        epochs = Epochs(self, job.plan.max_iter, **data)
        printer = Printer(type(self).__name__, job.plan.max_iter) if self.verbose else None

        def report(history, frozen):
            if printer:
                printer(history)
            return epochs.end(lambda: self._attributes(frozen(), table, history), history.is_over)

        attributes = self._train(job, trusted, table, start, report=report)
        self._set_offset(job, weights, trusted)
        epochs.close(attributes)

    def _job(self, X, is_refit):
        """Return what is known before training."""
        blocks = self._blocks_of(X, is_refit)
        n_held_out = (
            _defaults.held_out(len(X), self.validation_fraction) if self.early_stopping else 0
        )
        n_train = len(X) - n_held_out
        config = self._model_config(X, blocks, n_train)
        seeds = _engine.spawn_seeds(self._seed_of_draws(None), 5)
        return Job(X, blocks, config, self._plan(n_train), n_held_out, seeds)

    def _train(self, job, weights, table, start=None, *, report):
        """Set and return the attributes that a trained model brings."""
        module, history = _engine.fit(
            lambda: self._model_class(**job.config),
            job.X,
            table.forward,
            weights,
            job.plan,
            n_held_out=job.n_held_out,
            dtype=self.dtype,
            device=self.device,
            seeds=job.seeds,
            start=start,
            report=report,
        )
        attributes = self._attributes(module, table, history)
        vars(self).update(attributes, _blocks=[tuple(block) for block in job.blocks])
        return attributes

    def _trusted(self, job, weights):
        """Return weights that are zero for rows which look like outliers."""
        max_iter = max(2, int(BRIEF * job.plan.max_iter))
        brief = job._replace(plan=replace(job.plan, max_iter=max_iter), n_held_out=0)

        def scores_of_fit(weights):
            is_over = []
            self._train(
                brief,
                weights,
                self._fit_table(brief, weights),
                report=lambda history, _: is_over.append(history.is_over),
            )
            if not is_over[-1]:  # interrupted, when there is no model yet that could be kept
                raise KeyboardInterrupt
            return self._score("score", job.X)

        return without_outliers(scores_of_fit, weights, len(job.X), self.contamination)

    def _model_config(self, X, blocks, n_train):
        """Return the arguments of the model class, "auto" resolved; `n_train` rows will train."""
        are_discrete = _blocks.are_discrete(blocks)
        hidden = resolved(
            self.hidden_layer_sizes, self._sizes.hidden_layer_sizes, *X.shape, are_discrete
        )
        n_components = resolved(self.n_components, self._sizes.n_components, X.shape[1])
        return {
            "blocks": tuple(block.spec for block in blocks),
            "masks": has_gaps(X),
            "shares": _blocks.have_shares(X, blocks),
            "n_components": int(n_components),
            "hidden_layer_sizes": tuple(int(width) for width in hidden),
            "activation": resolved(self.activation, self._sizes.activation, are_discrete),
            **self._model_parameters(n_train),
        }

    def _fit_table(self, job, weights):
        """Check the support of the likelihoods; learn the scaling where they are continuous."""
        self._check_support(job.X, job.blocks)
        return Table.fit(
            job.X,
            _blocks.layout(job.blocks),
            scaling=self.scaling,
            sample_weight=weights,
            random_state=job.seeds[3],
        )

    def _blocks_of(self, X, is_refit):
        """Return which likelihood the columns of validated rows have.

        What was found in the rows of a first fit holds for those of others that continue it.
        """
        if self._schema is not None:
            n_levels = [None if n is None else len(n) for n in self._schema.levels]
            return _blocks.of_kinds(self._schema.kinds, n_levels)
        if self.likelihood == "auto" and is_refit:
            return [_blocks.Block(*block) for block in self._blocks]
        if self.likelihood == "auto" and not _blocks.is_binary(X):
            return _blocks.of_values(X, self._likelihood_of_numbers(X.shape[1]))
        alone = "bernoulli" if self.likelihood == "auto" else self.likelihood
        return [_blocks.Block(alone, tuple(range(X.shape[1])))]

    def _check_warm_start(self, start, config):
        if start is None:
            return
        changed = [name for name in SHAPE if start.config.get(name) != config.get(name)]
        if changed:
            raise ValueError(
                f"warm_start=True needs the model of the previous fit, but {', '.join(changed)} "
                "changed; use warm_start=False to start anew."
            )

    def _batch_size(self, n_samples):
        return int(min(resolved(self.batch_size, self._sizes.batch_size, n_samples), n_samples))

    def _plan(self, n_samples):
        """Return the numbers of training, "auto" resolved."""
        batch_size = self._batch_size(n_samples)
        max_iter = int(resolved(self.max_iter, _defaults.max_iter, n_samples, batch_size))
        patience = resolved(self.n_iter_no_change, _defaults.n_iter_no_change, max_iter)
        return Plan(
            max_iter=max_iter,
            batch_size=batch_size,
            learning_rate=float(self.learning_rate),
            weight_decay=float(self.weight_decay),
            patience=int(patience),
            tol=float(self.tol),
            **self._training_parameters(n_samples),
        )

    def _attributes(self, module, table, history):
        """Return the fitted attributes that a model brings."""
        attributes = {
            "module_": module,
            "_twin": _engine.twin(module),
            "_table": table,
            "n_iter_": len(history.losses),
            "loss_curve_": list(history.losses),
            "validation_scores_": None,
            "best_validation_score_": None,
        }
        if history.validation_losses:
            scores = [-loss for loss in history.validation_losses]
            best = max(*scores, -history.at_start)
            attributes |= {"validation_scores_": scores, "best_validation_score_": best}
        return attributes

    def _set_offset(self, job, weights, trusted):
        """Set what is read from the scores of training rows: of a part where they are many."""
        X, seed = job.X, job.seeds[4]
        n_steps = self.n_iter_ * math.ceil((len(X) - job.n_held_out) / job.plan.batch_size)
        n_weights = _engine.n_weights(self.module_)
        n_passes = self.module_.n_passes
        n_rows = _defaults.rows_for_offset(len(X), self.n_iter_, n_passes, n_weights)
        if n_rows < len(X):
            rows = np.random.default_rng(seed).choice(len(X), n_rows, replace=False)
            X = X.take(rows, axis=0)
            weights, trusted = (None if w is None else w[rows] for w in (weights, trusted))
        self._finish(X, trusted, n_steps, seed)
        weights = np.ones(len(X)) if weights is None else weights
        self.offset_ = float(threshold(self._score("score", X), weights, self.contamination))

    # -------------------------------------------------------------------------------- applying

    def _read(self, X, previous):
        """Return training rows as an array; learn what their columns are, if they have names."""
        if previous is not None:
            return self._checked(X, reset=False, ensure_min_samples=2)
        self._schema = None
        if is_frame(X):
            check_array(np.zeros((len(X), 1)), ensure_min_samples=2, estimator=self)
            chosen = None if self.likelihood == "auto" else self.likelihood
            self._schema = Schema.fit(X, chosen, partial(self._likelihood_of_numbers, X.shape[1]))
        elif isinstance(self.likelihood, dict):
            raise ValueError(
                "A dict as likelihood names columns of a data frame, but X is none; name one "
                f"likelihood for all of its columns. Got {self.likelihood!r}."
            )
        return self._checked(X, reset=True, ensure_min_samples=2)

    def _validated(self, X):
        """Return rows as an array in the caller's units, float64 or float32."""
        check_is_fitted(self)
        return self._checked(X, reset=False)

    def _checked(self, X, reset, **options):
        """Return X as a float array in C order and in the byte order of the machine.

        Sparse rows stay so, and come out dense where they are indexed. Missing cells are NaN,
        levels of categories are numbered.
        """
        options |= {"dtype": [np.float64, np.float32], "order": "C"}
        options |= {"ensure_all_finite": "allow-nan", "accept_sparse": "csr"}
        X = _engine.as_array(X)
        if self._schema is not None and not issparse(X):
            if is_frame(X):
                validate_data(self, X, reset=reset, skip_check_array=True)
            else:
                X = validate_data(self, X, reset=reset, **options)
            X = check_array(self._schema.encode(X), input_name="X", estimator=self, **options)
        else:
            X = validate_data(self, X, reset=reset, **options)
        if issparse(X):
            return DenseOnDemand(X)
        return np.asarray(X, dtype=X.dtype.newbyteorder("="))

    def _as_given(self, X, known=None):
        """Return cells as what `fit` was given: an array or a frame; see `Schema.decode`."""
        return X if self._schema is None else self._schema.decode(X, known)

    def _run(self, verb, X):
        """Apply a method of the module to validated rows, computing in their dtype."""
        module = _engine.in_dtype(X.dtype, self.module_, self._twin)
        result = _engine.run(module, verb, X, self._table.forward, self.device)
        if np.isnan(result).any():
            self._check_support(X, self._blocks)
        return result

    def _score(self, verb, X):
        """Return a log-density of validated rows in the units of the data."""
        scores = self._run(verb, X)
        lost = ~np.isfinite(scores)
        if X.dtype == np.float32 and lost.any():
            # The square of a far value overflows.
            scores[lost] = self._run(verb, X[lost].astype(np.float64))
        return scores + self._table.log_jacobian(X)

    def transform(self, X):
        """Map rows to their codes.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            E[z | x], without noise, in the dtype of X (float32 or float64).
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
        X_original : ndarray of shape (n_samples, n_features)
            E[x | z] (under scaling="quantile": its image in the units of the data), without
            noise, in the dtype of the codes.
        """
        check_is_fitted(self)
        X = check_array(_engine.as_array(X), dtype=[np.float64, np.float32])
        if X.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[1]} columns, but inverse_transform of {type(self).__name__} "
                f"takes codes of n_components={self._n_features_out}."
            )
        module = _engine.in_dtype(X.dtype, self.module_, self._twin)
        Z = _engine.run(module, "decode", X, device=self.device)
        return self._as_given(self._table.backward(Z))

    def score(self, X, y=None, sample_weight=None):
        """Return the mean of `score_samples`.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
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
        return float(np.average(scores, weights=check_sample_weight(sample_weight, len(scores))))

    def decision_function(self, X):
        """Return `score_samples` shifted so that outliers are negative.

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            ``score_samples(X) - offset_`` in nats.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Tell inliers from outliers. (For a reconstruction, inverse the transform.)

        Parameters
        ----------
        X : {array-like, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        label : ndarray of shape (n_samples,)
            -1 for outliers, where `decision_function` is negative, and +1 for inliers.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def sample(self, n_samples=1, random_state=None, *, conditions=None):
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
            codes are drawn from the prior, drawn again with weights p(given cells | z), and the
            other cells from p(x | z): for many prior codes this is p(x | given cells). Conditions
            that hardly occur leave few codes with weight, and so rows that resemble one another.

        Returns
        -------
        X : {ndarray, data frame} of shape (n_samples, n_features)
            Draws from p(x), the noise of the likelihood included; what `fit` was given, with its
            columns and dtypes.
        """
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        codes, rows = _engine.spawn_seeds(self._seed_of_draws(random_state), 2)
        if conditions:
            return self._draw_given(conditions, int(n_samples), codes, rows)
        module = _engine.in_dtype(np.float64, self.module_, self._twin)
        Z = self._draw_codes(int(n_samples), codes)
        return self._as_given(self._table.backward(_engine.draw_rows(module, Z, rows)))
