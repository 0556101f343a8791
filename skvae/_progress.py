"""What is told while `fit` runs: lines on the screen, scikit-learn's callbacks."""

import time

try:  # the only switch on scikit-learn's version in the package
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before 1.9

    class CallbackSupportMixin:
        """Stands in for scikit-learn's mixin, without `set_callbacks`."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "Epochs", "Printer", "with_callbacks"]


class Printer:
    """Prints a line an epoch, at most one a second, with the loss and the time left.

    The first and the last epoch are printed in any case.
    """

    def __init__(self, name, max_iter):
        self.name, self.max_iter = name, max_iter
        self.start = self.last = time.monotonic()

    def __call__(self, history):
        now, n_iter = time.monotonic(), len(history.losses)
        if now - self.last < 1 and n_iter > 1 and not history.is_over:
            return
        self.last = now
        n_left = 0 if history.is_over else self.max_iter - n_iter
        left = (now - self.start) / n_iter * n_left
        held_out = "".join(f", held out {loss:.4f}" for loss in history.validation_losses[-1:])
        print(
            f"[{self.name}] epoch {n_iter}/{self.max_iter}: "
            f"loss {history.losses[-1]:.4f}{held_out}, at most {left:.0f} s left",
            flush=True,
        )


class Epochs:
    """The epochs of one fit as tasks of scikit-learn's callbacks; nothing where there are none."""

    def __init__(self, estimator, max_iter, **data):
        self.estimator, self.data, self.context = estimator, data, None
        if hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx"):
            self.context = estimator._init_callback_context(max_subtasks=max_iter)
            self.context.call_on_fit_task_begin(estimator=estimator, **data)
            self._begin()

    def _begin(self):
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end(self, attributes, is_last):
        """End an epoch; `attributes()` are those of an estimator fitted so far. True to stop."""
        if self.context is None:
            return False
        stop = self.epoch.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=attributes, **self.data
        )
        if not (stop or is_last):
            self._begin()
        return stop

    def close(self, attributes):
        """End the fit."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=attributes, **self.data
            )
