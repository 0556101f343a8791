"""What a distribution p(x | z) says of itself: the base class of all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor


class Likelihood:
    """What a p(x | z) says of itself; subclass it to write your own.

    Attributes
    ----------
    n_params : int
        Tensors that it takes from the decoder for each feature.
    n_shared : int
        Vectors of n_features that it takes after them, the same for every row: learned, if there
        are `shared_statistics` of them.
    n_read_off : int
        How many of these, the last, are read off the training rows once, by `read_off`.
    support : str
        The values that it accepts, in words, for the error message.
    continuous : bool
        Whether it is a density of real values. These are scaled before, and the log-Jacobian
        of the scaling is added to their log-density; others are taken as they are.
    n_updates : int
        How often the shared vectors are set to the means of `shared_statistics` until they are
        the most likely ones: more than once where the statistics depend on them.
    starts_with_mean : bool
        Whether the first of its parameters is the mean itself, with no link between. An
        autoencoder starts from a PCA if all of its columns have such.
    shared_is_variance : bool
        Whether its first shared vector is the variance of the noise, which is learned.
    needs_levels : bool
        Whether it is built with the number of levels of each categorical column.
    sees_gaps : bool
        Whether missing cells of x are NaN, since they bear on those that are known; else they are
        zero. What is returned for them must be finite, and is not looked at.
    shares_out_total : bool
        Whether a row is one total that is shared out over the columns. A VAE of such rows alone
        has a lighter KL term, unless told otherwise.
    stops : bool
        Whether values may stop at the least or the greatest that was seen, so that what is drawn
        there is exactly that.
    n_cells : int
        Numbers that it gets for each column, side by side, and for each parameter gives or takes:
        one, or two if a value is the middle and the width of an interval (see `Ordinal`).
    """

    n_params = 1
    n_shared = 0
    n_read_off = 0
    support = "real numbers"
    continuous = True
    starts_with_mean = False
    shared_is_variance = False
    needs_levels = False
    sees_gaps = False
    shares_out_total = False
    stops = False
    n_updates = 1
    n_cells = 1

    @classmethod
    def has_own(cls, method: str) -> bool:
        """Tell whether it says of itself what this method of the base class has for all."""
        return getattr(cls, method) is not getattr(Likelihood, method)

    def _lacks(self, method: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {method}, as a likelihood must.")

    def accepts(self, x: Tensor) -> Tensor:
        """Tell for each value whether it lies in the support; boolean, shape of x."""
        return torch.isfinite(x)

    def judges(self, x: Tensor) -> Tensor:
        """Tell where `log_prob` means something to a fitted model; boolean, shape of x.

        That may be more than `accepts`: counts are whole, but their means are not.
        """
        return self.accepts(x)

    def embed(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of the values, shape of x."""
        return x

    def redraw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return draws of what the values stand for, shape of x; a VAE learns from new ones in
        each step. Values that are data themselves stay.
        """
        return x

    def log_prob(self, x: Tensor, *params: Tensor) -> Tensor:
        """Return the log-density of each value in nats, shape (..., n_features), not summed."""
        raise self._lacks("log_prob")

    def grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of log_prob with respect to the first n_params tensors.

        They are found by autograd; a likelihood that is used much may know a shorter way.
        """
        # Training runs in inference mode, and its tensors cannot be differentiated.
        with torch.inference_mode(False), torch.enable_grad():
            inputs = [param.clone().requires_grad_() for param in params[: self.n_params]]
            shared = [param.clone() for param in params[self.n_params :]]
            return torch.autograd.grad(self.log_prob(x.clone(), *inputs, *shared).sum(), inputs)

    def log_prob_and_grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what these two do; a likelihood may know what they have in common."""
        return self.log_prob(x, *params), self.grads(x, *params)

    def given(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return parameters for what is missing of x, once what is known of it is looked at.

        Given the code, that tells nothing, unless the likelihood joins the columns of a row.
        """
        return params

    def mean(self, *params: Tensor) -> Tensor:
        """Return E[x | z], shape (..., n_features)."""
        raise self._lacks("mean")

    def sample(self, *params_and_generator: Any) -> Tensor:
        """Draw x given the parameters; the last argument is the generator of every draw."""
        raise self._lacks("sample")

    def params_for_mean(self, mean: Tensor) -> tuple[Tensor, ...]:
        """Return decoder outputs with about this mean, where training starts; n_params vectors."""
        return tuple(torch.zeros_like(mean) for _ in range(self.n_params))

    def read_off(self, ordered: Tensor) -> tuple[Tensor, ...]:
        """Return `n_read_off` vectors, what the values of training rows say from the start.

        Columns are in ascending order, gaps, which are NaN, last.
        """
        return ()

    def shared_statistics(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        """Return a statistic of each value, shape of x, for each shared vector that is learned.

        Their means over rows are the most likely shared vectors: the squared error for a
        variance. Training follows them; it starts, and an autoencoder stays, at one.
        """
        return ()


class OfParts(Likelihood):
    """A likelihood whose log_prob and grads are made of the same parts, which are found once."""

    def _parts(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_prob(self, *parts: Tensor) -> Tensor:
        raise NotImplementedError

    def _grads(self, *parts: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def log_prob(self, x: Tensor, *params: Tensor) -> Tensor:
        return self._log_prob(*self._parts(x, *params))

    def grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, ...]:
        return self._grads(*self._parts(x, *params))

    def log_prob_and_grads(self, x: Tensor, *params: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        parts = self._parts(x, *params)
        return self._log_prob(*parts), self._grads(*parts)
