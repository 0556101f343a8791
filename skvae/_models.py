"""The two models: what encoding, decoding, the loss and the score of a row are.

For shapes and units see `_latent_model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from ._bounds import ImportanceWeighted, OneDraw, gaussian_kl, split_posterior, weighted
from ._columns import BlockSpec
from ._importance import (
    Draws,
    chosen,
    effective,
    expected,
    log_ratio,
    quasi_normal,
    representative,
)
from ._latent_model import TINY, LatentModel, Moment, Seen
from ._networks import MLP
from ._principal import deviations

# Noise in working units with which an autoencoder's rows are scored: errors far below what a
# column varies would else decide.
BLUR = 0.2
# Components of a code that wide tables drown, if it has no more.
WIDE_CODE = 16
# Draws with which a VAE fills the gaps of a row, at least, if those that score it count for fewer
# than ENOUGH_DRAWS of equal weight: gaps leave a wider posterior than q knows of.
FILLING_DRAWS, ENOUGH_DRAWS = 512, 24
# The methods that fill gaps.
FILLING = ("impute", "images", "complete")
# What is added to variances of codes: of their mean, and of the square of the centre.
SHARE_OF_ALL, ROUNDING = 0.01, 1e-6
# "auto" noise on a cell, as a share of what a PCA with as many components leaves of it. With it a
# table is not learned by heart, and where nearly all can be restored it is hardly blurred.
NOISE_SHARE = 0.4


class Autoencoder(LatentModel):
    """z = f(x), and p(x | z) around g(z).

    The loss is -log p(x | f(x)) with the shared vectors of the likelihood at one (for the
    Gaussian: half the squared error); they are set after training.

    With `masks`, more cells are hidden from the encoder in training than are missing, and the
    loss asks for them. (A VAE does without: it learns p(x) from what is observed, and to ask a
    posterior for more than it was shown would make its decoder too wide.)
    """

    # The variance of inner weights is 1 / n_in. A VAE keeps to smaller weights: with these it
    # learns faster, but small tables by heart.
    gain = 3**0.5
    noise_scale: Tensor
    code_center: Tensor
    code_scale: Tensor

    def __init__(
        self,
        *,
        blocks: Sequence[BlockSpec],
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        noise: float | str,
        tied: bool,
        masks: bool = False,
        shares: bool = False,
    ):
        super().__init__(
            blocks,
            masks,
            shares,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            noise=noise,
            tied=tied,
        )
        n_outputs = self.columns.n_outputs
        if tied and n_outputs != self.n_inputs:
            raise ValueError(
                "tied=True needs a decoder that gives what the encoder takes, one number for each "
                f"column, but it gives {n_outputs} numbers for {self.n_inputs}: a likelihood has "
                "more than one parameter, or cells are missing; use tied=False."
            )
        sizes = [*hidden_layer_sizes, n_components]
        # Where hidden layers are tied, their gradients at a PCA are zero. In a mixed table, an odd
        # level would move the code along the skip, and spoil numbers that are as usual.
        skip = self.columns.are_means and not (tied and hidden_layer_sizes)
        self.starts_linear = skip
        self.encoder = MLP([self.n_inputs, *sizes], activation, None, skip)
        sizes = [*sizes[::-1], n_outputs]
        self.decoder = MLP(sizes, activation, self.encoder.weights if tied else None, skip)
        self.encoder.shares_weights = tied
        # The same of each cell, or "auto"; what follows the cells tells which are known.
        self.register_buffer("noise_scale", torch.zeros(self.n_inputs))
        self.register_buffer("code_center", torch.zeros(n_components))
        self.register_buffer("code_scale", torch.eye(n_components))
        self.noise, self.is_noisy = noise, False
        if not isinstance(noise, str):
            self.noise_scale[: self.columns.n_cells] = noise
            self.is_noisy = noise > 0

    def start_from(self, other: LatentModel) -> None:
        super().start_from(other)
        self.columns.forget(self.shared)  # training is by the plain error
        if self.noise == "auto" and isinstance(other, Autoencoder):
            self._set_noise(other.noise_scale)

    def _note_residual(self, residual: Tensor) -> None:
        # Where rows have gaps, hiding more cells is noise enough. A linear model with noise would
        # be no PCA, nor has it much to learn by heart.
        if self.noise == "auto" and not self.masks and self.encoder.skip is not None:
            self._set_noise(NOISE_SHARE * residual)

    def _set_noise(self, scale: Tensor) -> None:
        self.noise_scale.copy_(scale)
        self.is_noisy = bool(scale.any())

    def _code(self, shown: Tensor) -> Tensor:
        return self.encoder(shown)

    def restored(
        self, seen: Seen, weight: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        return self.decoder(self.encoder(seen.input)), weight

    def _corrupted(self, seen: Tensor, generator: Generator) -> Tensor:
        if not self.is_noisy:
            return seen
        noise = torch.empty_like(seen).normal_(generator=generator)
        return torch.addcmul(seen, noise, self.noise_scale)

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        seen = self._training_view(x, generator)
        out = self.decoder(self.encoder(self._corrupted(seen.input, generator)))
        return self.log_prob(seen, out).sum(-1)

    def judge(self, x: Tensor, generator: Generator) -> Tensor:
        if self.noise != "auto":  # who gives a noise asks for what removes it
            return self.bound(x, generator)
        seen = self._training_view(x, generator)
        return self.log_prob(seen, self.decoder(self.encoder(seen.input))).sum(-1)

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        seen = self._training_view(x, generator)
        corrupted = self._corrupted(seen.input, generator)
        z, through_encoder = self.encoder.trace(corrupted, to_input=False)
        out, through_decoder = self.decoder.trace(z)
        through_encoder(through_decoder(weighted(self._grad(seen, out), weight)))

    def fit_codes(self, x: Tensor, weight: Tensor | None) -> None:
        """Learn the normal distribution of the codes of (weighted) rows."""
        center, centred = deviations(self.encode(x).double(), weight)
        covariance = centred.t() @ centred
        # Codes may lie in a subspace; a share of their variance keeps the rest from counting much,
        # and what rounding makes of constant ones from counting at all.
        of_rounding = (ROUNDING * center).square() + TINY
        covariance.diagonal().add_(SHARE_OF_ALL * covariance.diagonal().mean() + of_rounding)
        self.code_center.copy_(center)
        self.code_scale.copy_(torch.linalg.cholesky(covariance))

    @property
    def weight_of_code(self) -> float:
        """How much the density of the code counts in the score, at least one.

        Sums of n squares vary by the root of n. Those of the errors have as many as there are
        columns with noise, less components: in a wide table, what is odd in the code would be lost
        among them.
        """
        n = sum(cells.stop - cells.start for cells in self.columns.with_variance)
        return max(1, n / max(len(self.code_center), WIDE_CODE) - 1) ** 0.5

    def log_prob_of_code(self, z: Tensor) -> Tensor:
        """Return the log-density of codes in nats, (n_samples,), float64."""
        centred, scale = (z - self.code_center).double(), self.code_scale.double()
        standard = torch.linalg.solve_triangular(scale, centred.t(), upper=False)
        log_norm = scale.diagonal().log().sum() + 0.5 * len(scale) * math.log(2 * math.pi)
        return -0.5 * standard.square().sum(0) - log_norm

    def score(self, x: Tensor) -> Tensor:
        seen = self.see(x)
        z = self.encoder(seen.input)
        of_code = self.log_prob_of_code(z)
        if seen.observed is not None:  # of a row of gaps nothing is known, nor of its code
            of_code = of_code * self._of_columns(seen.observed).mean(-1)
        return self._log_prob_given(seen, z).sum(-1) + self.weight_of_code * of_code

    def contributions(self, x: Tensor) -> Tensor:
        """Return log p(x | f(x)) by column, of rows that are blurred as in `score`; float64."""
        seen = self.see(x)
        return self._log_prob_given(seen, self.encoder(seen.input))

    def _log_prob_given(self, seen: Seen, z: Tensor) -> Tensor:
        shared = self.columns.blurred(self.shared, BLUR)
        return self.log_prob(seen, self.decoder(z), shared).double()

    def impute(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def images(self, x: Tensor, n_draws: int, seed: int) -> Tensor:
        out = self.decoder(self.encode(x))
        mean = self.columns.mean(out, self.shared)
        return self._with_draws(mean, out[:, None].expand(-1, n_draws, -1), seed)

    def complete(self, x: Tensor, n_draws: int, generator: Generator) -> Tensor:
        out = self.decoder(self.encode(x))[:, None].expand(-1, n_draws, -1)
        return self.columns.sample(out, self.shared, generator)


class VAE(LatentModel):
    """p(x, z) = p(x | z) N(z; 0, I), with the amortised posterior q(z | x).

    `noise` are standard normal draws, of which the first `n_draws` score rows and fill gaps, and
    all fill those of rows for which these do not suffice. They are the same for every row, so that
    the score of a row does not depend on its neighbours.
    """

    noise: Tensor

    def __init__(
        self,
        *,
        blocks: Sequence[BlockSpec],
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        beta: float,
        n_draws: int,
        n_training_draws: int = 1,
        masks: bool = False,
        shares: bool = False,
    ):
        super().__init__(
            blocks,
            masks,
            shares,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            beta=beta,
            n_draws=n_draws,
            n_training_draws=n_training_draws,
        )
        self.beta, self.n_draws, self.n_training_draws = beta, n_draws, n_training_draws
        sizes = [self.n_inputs, *hidden_layer_sizes, 2 * n_components]
        self.encoder = MLP(sizes, activation)
        sizes = [n_components, *hidden_layer_sizes[::-1], self.columns.n_outputs]
        self.decoder = MLP(sizes, activation)
        self.register_buffer("noise", torch.zeros(max(n_draws, FILLING_DRAWS), n_components))

    def initialize(self, generator: Generator, mean: Tensor) -> None:
        super().initialize(generator, mean)
        # The decoder starts near the mean for all codes: what it makes of a random code is noise,
        # and to suppress that where a feature hardly varies would cost half its hidden units.
        self.decoder.weights[-1].data.mul_(0.01)
        n_draws, n_components = self.noise.shape
        self.noise.copy_(quasi_normal(n_draws, n_components, generator.initial_seed()))

    def posterior(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Return loc and log_scale of q(z | x)."""
        return split_posterior(self.encoder(seen.input))

    def _code(self, shown: Tensor) -> Tensor:
        return self.encoder(shown).chunk(2, -1)[0]

    def kl(self, x: Tensor) -> Tensor:
        """Return KL(q(z | x) || N(0, I)) by component in nats, (n_samples, n_components)."""
        return gaussian_kl(*self.posterior(self.see(x)))

    def _drawn_view(self, x: Tensor, generator: Generator) -> Seen:
        """Return training rows; where they stand for draws, new ones each time."""
        return self._training_view(self.columns.redraw(x, generator) if self.shares else x)

    def _draws(
        self, code: Tensor, generator: Generator, factor: float
    ) -> OneDraw | ImportanceWeighted:
        if self.n_training_draws == 1:
            return OneDraw(code, generator, factor)
        return ImportanceWeighted(code, self.n_training_draws, generator, factor)

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        seen = self._drawn_view(x, generator)
        draws = self._draws(self.encoder(seen.input), generator, self.beta)
        return draws.value(self.log_prob(seen, self.decoder(draws.z)).sum(-1))

    def restored(
        self, seen: Seen, weight: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        draws = self._draws(self.encoder(seen.input), generator, self.beta)
        out = self.decoder(draws.z)
        return out, draws.weights(self.log_prob(seen, out).sum(-1), weight)

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        seen = self._drawn_view(x, generator)
        code, through_encoder = self.encoder.trace(seen.input, to_input=False)
        draws = self._draws(code, generator, self.beta * moment.warmth)
        out, through_decoder = self.decoder.trace(draws.z.flatten(0, -2))
        out = out.view(*draws.z.shape[:-1], -1)
        if isinstance(draws, OneDraw):  # no use for log p(x | z), which would cost
            grad, of_draws = self._grad(seen, out), weight
        else:
            log_prob, grad = self._log_prob_and_grad(seen, out)
            of_draws = draws.weights(log_prob, weight)
        grad = through_decoder(weighted(grad, of_draws).flatten(0, -2))
        through_encoder(draws.backward(grad.view_as(draws.z), weight))
        # Rybkin et al., "Simple and effective VAE training with calibrated decoders", 2021
        self._follow(seen, of_draws, out, moment.rate, evenly=weight is None)

    def _proposals(self, seen: Seen, noise: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield codes made of noise, and log p(z) less the log-density they are drawn from.

        Half come from the prior, the others from a somewhat widened q: where q misses a part of
        the posterior, as it does far from the data, an estimate of log p(x) would be too low. By
        this much, the widening lets the variance grow by a fifth in any dimension.
        """
        n_prior = len(noise) // 2
        share = n_prior / len(noise)
        loc, log_scale = self.posterior(seen)
        log_scale = log_scale + math.log1p(0.35 * noise.shape[1] ** -0.5)
        from_prior, noise = noise[:n_prior, None], noise[n_prior:, None]
        z = loc + log_scale.exp() * noise
        yield z, log_ratio(z, noise, log_scale, share)
        if n_prior:  # the same for all rows, and so decoded once
            in_units_of_q = (from_prior - loc) * (-log_scale).exp()
            yield from_prior, log_ratio(from_prior, in_units_of_q, log_scale, share)

    def score(self, x: Tensor) -> Tensor:
        """Estimate log p(x) by importance sampling; shape (n_samples,), float64."""
        seen, noise = self.see(x), self.noise[: self.n_draws]
        proposals = self._proposals(seen, noise)
        log_weight = [self._log_prob_of_draws(seen, z) + ratio for z, ratio in proposals]
        return torch.cat(log_weight).logsumexp(0) - math.log(len(noise))

    def _log_prob_of_draws(self, seen: Seen, z: Tensor) -> Tensor:
        """Return log p(x | z) of each row for draws along a leading axis, float64."""
        return self.log_prob(seen, self.decoder(z)).sum(-1, dtype=torch.float64)

    def _posterior_draws(self, seen: Seen, noise: Tensor) -> list[Draws]:
        """Return draws that stand for the posterior."""
        parts = []
        for z, ratio in self._proposals(seen, noise):
            out = self.decoder(z)
            log_prob = self.log_prob(seen, out)
            log_weight = log_prob.sum(-1, dtype=torch.float64) + ratio
            parts.append((z, out, log_prob, log_weight))
        # So far out that all densities underflow, no draw is better than another.
        log_weights = torch.cat([log_weight for *_, log_weight in parts])
        is_lost = ~torch.isfinite(log_weights.logsumexp(0))
        weights = log_weights.masked_fill(is_lost, 0).softmax(0).split([len(p[0]) for p in parts])
        return [
            Draws(z, out, log_prob, weight)
            for (z, out, log_prob, _), weight in zip(parts, weights, strict=True)
        ]

    def _filled(self, x: Tensor, fill: Callable[[Sequence[Draws]], Tensor]) -> Tensor:
        """Return what `fill` makes of draws for rows; of more for those for which few count."""
        draws = self._posterior_draws(self.see(x), self.noise[: self.n_draws])
        filled, is_vague = fill(draws), effective(draws) < ENOUGH_DRAWS
        if len(self.noise) > self.n_draws and is_vague.any():
            filled[is_vague] = fill(self._posterior_draws(self.see(x[is_vague]), self.noise))
        return filled

    def _mean(self, draws: Sequence[Draws]) -> Tensor:
        return expected([self.columns.mean(part.out, self.shared) for part in draws], draws)

    def impute(self, x: Tensor) -> Tensor:
        return self._filled(x, self._mean)

    def images(self, x: Tensor, n_draws: int, seed: int) -> Tensor:
        def drawn(draws: Sequence[Draws]) -> Tensor:
            return self._with_draws(self._mean(draws), representative(draws, n_draws), seed)

        return self._filled(x, drawn)

    def complete(self, x: Tensor, n_draws: int, generator: Generator) -> Tensor:
        def drawn(draws: Sequence[Draws]) -> Tensor:
            return self.draw(chosen(draws, n_draws, generator), generator)

        return self._filled(x, drawn)

    def contributions(self, x: Tensor) -> Tensor:
        """Return the posterior mean of log p(x | z) by column; float64."""
        draws = self._posterior_draws(self.see(x), self.noise[: self.n_draws])
        return expected([part.log_prob.double() for part in draws], draws)

    def elbo(self, x: Tensor) -> Tensor:
        """Estimate the evidence lower bound (beta = 1); shape (n_samples,), float64."""
        seen = self.see(x)
        loc, log_scale = self.posterior(seen)
        z = loc + log_scale.exp() * self.noise[: self.n_draws, None]
        kl = gaussian_kl(loc, log_scale).sum(-1, dtype=torch.float64)
        return self._log_prob_of_draws(seen, z).mean(0) - kl

    def _n_draws_of(self, verb: str) -> int:
        """Return how many codes of a row the method of this name decodes, zero if it need not."""
        if verb in ("encode", "kl", "decode"):
            return 0
        return len(self.noise) if verb in FILLING else self.n_draws

    def n_passes(self, verb: str) -> int:
        n_draws = self._n_draws_of(verb)
        return 1 + n_draws - n_draws // 2

    def breadth(self, verb: str) -> int:
        return super().breadth(verb) * max(1, self._n_draws_of(verb))
