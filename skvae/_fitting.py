"""What `fit` does once parameters and rows are checked: what it decides, trains, and reads off."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import _blocks, _defaults, _engine, _gaps, _quantile_maps
from ._arrays import (
    at_random,
    evenly_by,
    rows_in,
    share_missing,
    share_out_totals,
    some_of,
    some_rows,
    unless_uniform,
    with_weight,
)
from ._defaults import is_auto, resolved
from ._outliers import have_absurd_cells, threshold, without_outliers
from ._progress import Epochs, Printer, with_callbacks
from ._table import Table
from ._training import Plan

# What a warm start cannot change.
SHAPE = ("blocks", "n_components", "hidden_layer_sizes", "activation", "tied")
# Share of the epochs after which "robust" asks what looks like an outlier, before the model has
# learned it.
BRIEF = 0.05
# Rows by which outliers are told while training runs.
WATCHED_ROWS = 256
# Rows that are ranked for each one that is scored for the threshold.
MORE_ROWS = 16
# Share of new rows that contamination="auto" calls outliers.
SHARE_OF_NEW = 0.1


class Job(NamedTuple):
    """What is known before training.

    X, weights : the rows that train, and their weights, None if they are all the same.
    blocks : what the columns are.
    config : the arguments of the model class.
    plan : how to train.
    n_held_out : rows that are held out.
    seeds : what is random.
    """

    X: Any
    weights: Any
    blocks: list
    config: dict
    plan: Plan
    n_held_out: int
    seeds: _engine.Seeds


def cannot_continue(changed):
    """Return the error of a warm start before which this has changed."""
    return ValueError(
        f"warm_start=True needs the model of the previous fit, but {changed} changed; use "
        "warm_start=False to start anew."
    )


def _new_rows(job, X, weights, kept):
    """Return rows that did not train, and weights by which they stand for all.

    Those held out stand for what training was given, those left out of it for themselves.
    """
    given = np.arange(len(X)) if kept is None else np.flatnonzero(kept)
    held_out = given[_engine.held_out(len(given), job.n_held_out, job.seeds)]
    left_out = np.setdiff1d(np.arange(len(X)), given)
    rows = np.concatenate([held_out, left_out])
    mass = np.repeat([len(given) / len(held_out), 1.0], [len(held_out), len(left_out)])
    return some_of(X, rows), mass if weights is None else mass * weights[rows]


class FittingMixin:
    """The steps of `fit`, for an estimator that applies its model as `BaseAutoencoder` does."""

    _most_of_rare = None  # of the scaled values beside one usual one, the root mean square
    _gaps = None  # which cells were missing in `fit`, if some were: `Gaps`
    _maps = None  # what drawn numbers of a frame become: `QuantileMaps`
    _constants = None  # the value of each column that has but one, NaN of the others
    # What is not there before training is over, even if there was a fit before.
    _learned_last = ("_gaps", "_maps", "_constants", "offset_")

    # ------------------------------------------------------------------ what a subclass says

    def _model_parameters(self, X, blocks, n_train, share_missing):
        """Return the arguments of the model class that only this estimator has."""
        raise NotImplementedError

    def _brief(self, config):
        """Return the arguments of a model that need only tell which rows look like outliers."""
        return config

    def _training_parameters(self, config, n_samples):
        """Return the numbers of a `Plan` that are the model's own, for so many training rows.

        That is `learning_rate`, `warmup`, `grace` and `tolerated_loss`.
        """
        raise NotImplementedError

    def _likelihood_of_numbers(self, x, n_columns, beside_levels=False):
        """Return the likelihood that "auto" is for a column of numbers, from its values.

        There are so many columns; all are numbers, or there are flags or labels, too.
        """
        return "gaussian"

    def _finish(self, X, weights, seed):
        """Set the fitted attributes that only this estimator has, from training rows."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------ steps

    @with_callbacks
    def _fit(self, X, weights, continues, data):
        """Fit to validated rows, from the table and module of the previous fit if it goes on."""
        table, start = (self._table, self.module_) if continues else (None, None)
        constants = self._constants if continues else None
        for name in self._learned_last:
            vars(self).pop(name, None)
        blocks = self._blocks_of(X, continues)
        self._check_support(X, blocks, to_learn=True)
        seeds = _engine.Seeds.spawn(self._seed_of_draws(None))
        job = self._job(X, weights, blocks, start, seeds)
        self._check_warm_start(start, job.config)
        kept = self._trusted(job) if self.robust else None
        if kept is not None:
            job = self._job(*with_weight(X, kept), blocks, start, seeds)
        table = table or self._fit_table(job)
        epochs = Epochs(self, job.plan.max_iter, **data)
        printer = Printer(type(self).__name__, job.plan.max_iter) if self.verbose else None

        def report(history, finished):
            if printer:
                printer(history)
            return epochs.end(
                lambda: self._attributes_so_far(job, finished(), table, history, X, weights),
                history.is_over,
            )

        history = self._train(job, table, start, report=report)
        self._read_off(job, constants)
        self._place_threshold(job, X, weights, kept)
        epochs.close(self._attributes(job, self.module_, table, history))

    def _job(self, X, weights, blocks, start, seeds):
        """Return what is known before training; what "auto" found in a fit before it holds."""
        n_held_out = (
            _defaults.held_out(len(X), self.validation_fraction) if self.early_stopping else 0
        )
        n_train = len(X) - n_held_out
        missing = share_missing(X)
        masks = missing > 0 or (start is not None and start.config["masks"])
        config = self._model_config(X, blocks, n_train, missing, masks)
        if start is not None and is_auto(self.hidden_layer_sizes):
            config["hidden_layer_sizes"] = start.config["hidden_layer_sizes"]
        plan = self._plan(n_train, blocks, missing, config)
        return Job(X, unless_uniform(weights), blocks, config, plan, n_held_out, seeds)

    def _train(self, job, table, start=None, *, report):
        """Set the attributes that a trained model brings; return what happened."""
        module, history = _engine.fit(
            lambda: self._model_class(**job.config),
            job.X,
            table.forward,
            job.weights,
            job.plan,
            n_held_out=job.n_held_out,
            dtype=self.dtype,
            device=self.device,
            seeds=job.seeds,
            start=start,
            report=report,
        )
        vars(self).update(self._attributes(job, module, table, history))
        return history

    def _trusted(self, job):
        """Return weights that are zero for rows which look like outliers."""
        plan = replace(job.plan, max_iter=max(2, int(BRIEF * job.plan.max_iter)))
        blocks = _blocks.with_distances(job.blocks)
        config = self._brief(job.config) | {"blocks": tuple(block.spec for block in blocks)}
        brief = job._replace(blocks=blocks, config=config, plan=plan, n_held_out=0)

        def scores_of_fit(weights):
            X, weights = with_weight(job.X, weights)
            of_usual = brief._replace(X=X, weights=unless_uniform(weights))
            table = self._fit_table(of_usual, warns=False)  # far values may be left out yet
            history = self._train(of_usual, table, report=lambda history, finished: False)
            if not history.is_over:  # interrupted, when there is no model yet that could be kept
                raise KeyboardInterrupt
            return self._score("score", job.X)

        absurd = have_absurd_cells(job.X, job.seeds.scaling)
        return without_outliers(scores_of_fit, job.weights, absurd, self._share_of_outliers)

    def _model_config(self, X, blocks, n_train, share_missing, masks):
        """Return the arguments of the model class, "auto" resolved; `n_train` rows will train."""
        are_discrete = _blocks.are_discrete(blocks)
        of_features = self.n_features_in_, masks
        n_components = int(resolved(self.n_components, self._sizes.n_components, *of_features))
        of_table = *X.shape, n_components, are_discrete, _blocks.are_mixed(blocks)
        hidden = resolved(self.hidden_layer_sizes, self._sizes.hidden_layer_sizes, *of_table)
        return {
            "blocks": tuple(block.spec for block in blocks),
            "masks": masks,
            "n_components": n_components,
            "hidden_layer_sizes": tuple(int(width) for width in hidden),
            "activation": str(resolved(self.activation, self._sizes.activation, are_discrete)),
            **self._model_parameters(X, blocks, n_train, share_missing),
        }

    def _fit_table(self, job, warns=True):
        """Learn the scaling of the columns whose likelihoods are continuous."""
        return Table.fit(
            job.X,
            _blocks.layout(job.blocks),
            scaling=self.scaling,
            most_of_rare=self._most_of_rare,
            sample_weight=job.weights,
            random_state=job.seeds.scaling,
            warns=warns,
        )

    def _blocks_of(self, X, continues):
        """Return which likelihood the columns of validated rows have.

        What was found in the rows of a first fit holds for those of others that continue it.
        """
        if self._schema is not None:
            n_levels = [None if n is None else len(n) for n in self._schema.levels]
            return _blocks.of_kinds(self._schema.kinds, n_levels)
        if self.likelihood == "auto" and continues:
            return self._blocks
        if self.likelihood != "auto":
            return _blocks.of_one_kind(self.likelihood, X)
        if share_out_totals(X):
            return _blocks.of_one_kind("multinomial", X)
        if _blocks.is_binary(X):
            return _blocks.of_one_kind("bernoulli", X)
        return _blocks.of_values(X, partial(self._likelihood_of_numbers, n_columns=X.shape[1]))

    def _check_warm_start(self, start, config):
        if start is None:
            return
        if config["masks"] and not start.config["masks"]:
            raise ValueError(
                "warm_start=True needs the model of the previous fit, which has seen no missing "
                "cells (or unknown levels), but now there are some; use warm_start=False to start "
                "anew."
            )
        changed = [name for name in SHAPE if start.config.get(name) != config.get(name)]
        if changed:
            raise cannot_continue(
                ", ".join(changed).replace("blocks", "the likelihood of columns")
            )

    def _batch_size(self, n_samples, blocks):
        of_table = self.n_features_in_, self.n_components, _blocks.are_discrete(blocks)
        is_map = not is_auto(self.n_components) and self._sizes.is_map(*of_table)
        batch_size = resolved(self.batch_size, self._sizes.batch_size, n_samples, is_map)
        return int(min(batch_size, n_samples))

    def _plan(self, n_samples, blocks, share_missing, config):
        """Return the numbers of training, "auto" resolved."""
        batch_size = self._batch_size(n_samples, blocks)
        more = self._sizes.steps_of_mixed if _blocks.are_mixed(blocks) else 1.0
        of_table = n_samples, batch_size, share_missing, more
        max_iter = int(resolved(self.max_iter, _defaults.max_iter, *of_table))
        patience = resolved(self.n_iter_no_change, _defaults.n_iter_no_change, max_iter)
        return Plan(
            max_iter=max_iter,
            batch_size=batch_size,
            weight_decay=float(self.weight_decay),
            patience=int(patience),
            tol=float(self.tol),
            **self._training_parameters(config, n_samples),
        )

    def _attributes(self, job, module, table, history):
        """Return the fitted attributes that a model brings."""
        attributes = {
            "_blocks": job.blocks,
            "module_": module,
            "_twin": _engine.twin(module),
            "_table": table,
            "_dtype": str(job.X.dtype),
            "likelihoods_": _blocks.likelihoods(job.blocks),
            "n_components_": job.config["n_components"],
            "hidden_layer_sizes_": job.config["hidden_layer_sizes"],
            "batch_size_": job.plan.batch_size,
            "n_iter_": len(history.losses),
            "loss_curve_": list(history.losses),
            "validation_scores_": None,
            "best_validation_score_": None,
        }
        if history.validation_losses:
            scores = [-loss for loss in history.validation_losses]
            # (Interrupted in warm-up, training keeps what it has last.)
            best = -history.best if np.isfinite(history.best) else scores[-1]
            attributes |= {"validation_scores_": scores, "best_validation_score_": best}
        return attributes

    def _attributes_so_far(self, job, module, table, history, X, weights):
        """Return the fitted attributes for who looks on; the threshold is that of a few rows."""
        attributes = self._attributes(job, module, table, history)
        vars(self).update(attributes)  # to score with
        few, of_few = at_random(X, weights, WATCHED_ROWS, job.seeds.after)
        return attributes | {"offset_": self._threshold(self._score("score", few), of_few)}

    def _read_off(self, job, constants):
        """Set what is read off the rows that trained; where they are many, off a part of them.

        `constants` are those of the fit that goes on.
        """
        seed = job.seeds.after
        n_steps = self.n_iter_ * job.plan.steps_per_epoch(len(job.X) - job.n_held_out)
        n_rows = _defaults.rows_for_codes(n_steps)
        self._finish(*at_random(job.X, job.weights, n_rows, seed), seed)
        self._constants = _blocks.constants(job.X, job.blocks, constants)
        self._gaps = self._fit_gaps(job) if self.module_.masks else None
        self._maps = None if self._schema is None else self._fit_maps(job)

    def _place_threshold(self, job, X, weights, kept):
        """Set the threshold for all rows, or for new ones.

        `kept` are the weights of all rows in training, where some are left out of it, else None.
        """
        trained, of_trained = self._of_all_scores(job.X, job.weights, job.seeds.after)
        scores = self._log_density("score", trained)
        if np.isnan(scores).any():
            raise ValueError(
                f"The score of a training row is no number: likelihood={self.likelihood!r} gives "
                "none for some of the values or of the codes that the prior has."
            )
        if is_auto(self.contamination) and job.n_held_out:
            X, weights = _new_rows(job, X, weights, kept)
        if job.X is not X:
            trained, of_trained = self._of_all_scores(X, weights, job.seeds.after)
            scores = self._score("score", trained)
        self.offset_ = self._threshold(scores, of_trained)

    @property
    def _share_of_outliers(self):
        return resolved(self.contamination, lambda: SHARE_OF_NEW)

    def _threshold(self, scores, weights):
        weights = np.ones(len(scores)) if weights is None else weights
        return float(threshold(scores, weights, self._share_of_outliers, self._dtype))

    def _of_all_scores(self, X, weights, seed):
        """Return rows with about the scores that all have, and their weights."""
        n_rows = self._n_rows_for_offset(len(X))
        if len(X) <= n_rows:
            return X, weights
        X, weights = at_random(X, weights, MORE_ROWS * n_rows, seed)
        rows = evenly_by(self._log_density("rough_score", X), n_rows)
        return some_of(X, rows), None if weights is None else weights[rows]

    def _n_rows_for_offset(self, n_samples):
        """Return how many of the rows are scored to place the threshold."""
        n_passes = self.module_.n_passes("score")
        n_ranking = MORE_ROWS * self.module_.n_passes("rough_score")
        return _defaults.rows_for_offset(n_samples, self.n_iter_, n_passes, n_ranking)

    def _fit_gaps(self, job):
        """Remember which cells are missing in which rows."""
        n_rows = min(_gaps.MANY_ROWS, rows_in(_gaps.BYTES, job.X))
        X, weights = at_random(job.X, job.weights, n_rows, job.seeds.after)
        cells = X[:]
        missing = np.isnan(cells)
        if self._schema is not None:  # unknown levels are missing, where draws cannot be
            missing &= self._schema.nullable
        return _gaps.Gaps.of_rows(cells, missing, weights, job.seeds.after)

    def _fit_maps(self, job):
        """Learn how the numbers in drawn rows and in those that trained are distributed."""
        if not self._can_draw:
            return None
        some, weights = some_rows(job.X, job.weights, job.seeds.after)
        limits = _quantile_maps.limits(some, self._table.scaled)
        nothing = np.full((1, self.n_features_in_), np.nan)
        *of_cells, of_gaps = _engine.spawn_seeds(job.seeds.after, 4)
        n_draws = min(_quantile_maps.MANY_DRAWS, rows_in(_quantile_maps.BYTES, nothing))
        drawn = self._draw_cells(nothing, n_draws, *of_cells, limits)
        if self._gaps is not None:  # what is missing may be other than what is known
            drawn[self._gaps.draw(drawn, np.isfinite(nothing[0]), of_gaps)] = np.nan
        return _quantile_maps.QuantileMaps.fit(limits, some, weights, drawn)
