"""The VAE: what encoding, decoding, the bound and the score of a row are.

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
from ._latent_model import LatentModel, Moment, Seen
from ._networks import MLP

# Draws with which a VAE fills the gaps of a row, at least, if those that score it count for fewer
# than ENOUGH_DRAWS of equal weight: gaps leave a wider posterior than q knows of.
FILLING_DRAWS, ENOUGH_DRAWS = 512, 24
# The methods that fill gaps.
FILLING = ("impute", "images", "complete")


class VAE(LatentModel):
    """p(x, z) = p(x | z) N(z; 0, I), with the amortised posterior q(z | x).

    `noise` are standard normal draws, of which the first `n_draws` score rows and fill gaps, and
    all fill those of rows for which these do not suffice. They are the same for every row, so that
    the score of a row does not depend on its neighbours.

    `redraws` tells that cells of the training rows stand for draws, as grey levels do for black
    and white.
    """

    draws_codes = True
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
        redraws: bool = False,
    ):
        super().__init__(
            blocks,
            masks,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            beta=beta,
            n_draws=n_draws,
            n_training_draws=n_training_draws,
            redraws=redraws,
        )
        self.redraws = redraws
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

    def rough_score(self, x: Tensor) -> Tensor:
        """Return log p(x | z) at the mean of q(z | x) less the KL term, float64."""
        seen = self.see(x)
        loc, log_scale = self.posterior(seen)
        kl = gaussian_kl(loc, log_scale).sum(-1, dtype=torch.float64)
        return self.log_prob(seen, self.decoder(loc)).sum(-1, dtype=torch.float64) - kl

    def kl(self, x: Tensor) -> Tensor:
        """Return KL(q(z | x) || N(0, I)) by component in nats, (n_samples, n_components)."""
        return gaussian_kl(*self.posterior(self.see(x)))

    def _drawn_view(self, x: Tensor, generator: Generator) -> Seen:
        """Return training rows; where they stand for draws, new ones each time."""
        return self._training_view(self.columns.redraw(x, generator) if self.redraws else x)

    def _bound_of(
        self, code: Tensor, generator: Generator, beta: float
    ) -> OneDraw | ImportanceWeighted:
        """Return the bound that training maximises, for the encoder's output."""
        if self.n_training_draws == 1:
            return OneDraw(code, generator, beta)
        return ImportanceWeighted(code, self.n_training_draws, generator, beta)

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        seen = self._drawn_view(x, generator)
        bound = self._bound_of(self.encoder(seen.input), generator, self.beta)
        return bound.value(self.log_prob(seen, self.decoder(bound.z)).sum(-1))

    def restored(
        self, seen: Seen, weight: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        bound = self._bound_of(self.encoder(seen.input), generator, self.beta)
        out = self.decoder(bound.z)
        return out, bound.weigh(self.log_prob(seen, out).sum(-1), weight)

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        seen = self._drawn_view(x, generator)
        code, through_encoder = self.encoder.trace(seen.input, to_input=False)
        bound = self._bound_of(code, generator, self.beta * moment.kl_warmth)
        out, through_decoder = self.decoder.trace(bound.z.flatten(0, -2))
        out = out.view(*bound.z.shape[:-1], -1)
        if bound.weighs_draws:
            log_prob, grad = self._log_prob_and_grad(seen, out)
            of_draws = bound.weigh(log_prob, weight)
        else:
            grad, of_draws = self._grad(seen, out), weight
        grad = through_decoder(weighted(grad, of_draws).flatten(0, -2))
        through_encoder(bound.backward(grad.view_as(bound.z), weight))
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

    def _filled(self, x: Tensor, fill: Callable[[Seen, Sequence[Draws]], Tensor]) -> Tensor:
        """Return what `fill` makes of draws for rows; of more for those for which few count."""
        seen = self.see(x)
        draws = self._posterior_draws(seen, self.noise[: self.n_draws])
        filled, is_vague = fill(seen, draws), effective(draws) < ENOUGH_DRAWS
        if len(self.noise) > self.n_draws and is_vague.any():
            seen = self.see(x[is_vague])
            filled[is_vague] = fill(seen, self._posterior_draws(seen, self.noise))
        return filled

    def _mean(self, seen: Seen, draws: Sequence[Draws]) -> Tensor:
        means = [self.columns.mean(part.out, self.shared, seen.cells) for part in draws]
        return expected(means, draws)

    def impute(self, x: Tensor) -> Tensor:
        return self._filled(x, self._mean)

    def images(self, x: Tensor, n_draws: int) -> Tensor:
        def drawn(seen: Seen, draws: Sequence[Draws]) -> Tensor:
            out = representative(draws, n_draws)
            return self._with_draws(self._mean(seen, draws), out, self.shared)

        return self._filled(x, drawn)

    def complete(self, x: Tensor, n_draws: int, generator: Generator) -> Tensor:
        def drawn(seen: Seen, draws: Sequence[Draws]) -> Tensor:
            z = chosen(draws, n_draws, generator)
            return self.draw(z, generator, seen.cells[:, None])

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
        if verb == "rough_score":
            return 1
        return len(self.noise) if verb in FILLING else self.n_draws

    def n_passes(self, verb: str) -> int:
        n_draws = self._n_draws_of(verb)
        return 1 + n_draws - n_draws // 2

    def breadth(self, verb: str) -> int:
        return super().breadth(verb) * max(1, self._n_draws_of(verb))
