"""The two models: what encoding, decoding, the loss and the score of a row are.

Rows `x` have shape (n_samples, n_features), codes `z` (n_samples, n_components), both in working
units; leading axes, as of draws, are allowed. Densities are summed over features, apart by row,
in nats. A model holds parameters and nothing that changes from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from ._networks import MLP
from .likelihoods import LIKELIHOODS, Likelihood

TINY = 1e-30


class Moment(NamedTuple):
    """Where training is.

    warmth : what part of its weight the KL term has, rising from 0 to 1 in warm-up.
    rate : by how much the likelihood's shared vectors follow the newest batch.
    """

    warmth: float = 1.0
    rate: float = 1.0


def resolve_likelihood(likelihood: str | type[Likelihood]) -> Likelihood:
    """Return an instance of the likelihood with this name, or of this class."""
    return (LIKELIHOODS[likelihood] if isinstance(likelihood, str) else likelihood)()


def gaussian_kl(loc: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(loc, scale^2) || N(0, 1)) of each component in nats, shape of loc."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 1) - log_scale


def quasi_normal(n_draws: int, n_components: int, seed: int) -> Tensor:
    """Scrambled Sobol points, mapped to the standard normal; (n_draws, n_components), float64."""
    engine = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=seed)
    # The first point is kept in the default dtype, so we take the second block of n_draws.
    points = engine.fast_forward(n_draws).draw(n_draws, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-9, 1 - 1e-9))


def split_posterior(out: Tensor) -> tuple[Tensor, Tensor]:
    """Return loc and log_scale from the encoder's output.

    The scale lies in (0, 2) and is 1, the prior's, at 0. Its logarithm has a gradient however
    small it is, and nothing overflows.
    """
    loc, raw = out.chunk(2, -1)
    return loc, logsigmoid(raw) + math.log(2)


def weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return values * weight; None is one everywhere."""
    return values if weight is None else values * weight


def reparametrize(
    out: Tensor, generator: Generator
) -> tuple[Tensor, Callable[[Tensor, Tensor | None, float], Tensor]]:
    """Return z = loc + scale * noise, and the backward function.

    That takes the (weighted) gradient of log p(x | z) at z, the weight of rows and the factor of
    the KL in what is maximised, and returns the gradient of `out`.
    """
    loc, raw = out.chunk(2, -1)
    half_scale = torch.sigmoid(raw)  # as in `split_posterior`
    shift = torch.empty_like(half_scale).normal_(0, 2, generator=generator).mul_(half_scale)

    def backward(grad: Tensor, weight: Tensor | None, factor: float) -> Tensor:
        grad_loc = torch.sub(grad, weighted(loc, weight), alpha=factor)
        # With respect to log_scale, of which the KL has the derivative scale^2 - 1; ...
        grad_raw = (half_scale * half_scale).mul_(-4 * factor).add_(factor)
        grad_raw = torch.addcmul(weighted(grad_raw, weight), grad, shift)
        # ... then through d log_scale / d raw.
        grad_raw = torch.addcmul(grad_raw, grad_raw, half_scale, value=-1)
        return torch.cat((grad_loc, grad_raw), -1)

    return loc + shift, backward


class LatentModel(nn.Module):
    """What both models share: two networks and a likelihood between them.

    `config` are the arguments that build it, plain values, kept so that a copy can be built.
    """

    encoder: MLP
    decoder: MLP
    shared: Tensor
    gain = 1.0  # of the weights that training starts from

    def __init__(self, likelihood: str | type[Likelihood], n_features: int, **config: Any):
        super().__init__()
        self.config = {"likelihood": likelihood, "n_features": n_features, **config}
        self.likelihood = resolve_likelihood(likelihood)
        self.register_buffer("shared", torch.ones(self.likelihood.n_shared, n_features))

    def initialize(self, generator: Generator, mean: Tensor) -> None:
        """Draw the weights; the decoder starts at the data's mean, shape (n_features,)."""
        self.encoder.initialize(generator, self.gain)
        self.decoder.initialize(generator, self.gain)
        start = torch.cat(self.likelihood.params_for_mean(mean))
        self.decoder.biases[-1].data.copy_(start)

    def start_from(self, other: LatentModel) -> None:
        """Take over what was learned by a model of the same shape."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
                mine.copy_(theirs)
            self.shared.copy_(other.shared)

    def conditional(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters of p(x | z), each of shape (..., n_features) or (n_features,)."""
        return self._parameters_of(self.decoder(z))

    def _parameters_of(self, out: Tensor) -> tuple[Tensor, ...]:
        params = (
            (out,) if self.likelihood.n_params == 1 else out.chunk(self.likelihood.n_params, -1)
        )
        return (*params, *self.shared.unbind())

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of rows."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x | z]."""
        return self.likelihood.mean(*self.conditional(z))

    def draw(self, z: Tensor, generator: Generator) -> Tensor:
        """Draw rows from p(x | z), the noise of the likelihood included."""
        return self.likelihood.sample(*self.conditional(z), generator)

    def bind(self) -> None:
        """Prepare for `ascend`: parameters and gradients must stay where they are from now on."""
        self.encoder.bind()
        self.decoder.bind()

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        """Estimate by one draw what training maximises, for each row, in nats."""
        raise NotImplementedError

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        """Set the gradients to those of the (weighted) sum of `bound`; move the shared vectors.

        `weight` are those of the rows, None or of shape (n_samples, 1).
        """
        raise NotImplementedError

    def _grad(self, x: Tensor, weight: Tensor | None, params: tuple[Tensor, ...]) -> Tensor:
        """Return the gradient of the (weighted) log p(x | z) at the decoder's output."""
        grads = self.likelihood.grads(x, *params)
        return weighted(grads[0] if len(grads) == 1 else torch.cat(grads, -1), weight)

    def score(self, x: Tensor) -> Tensor:
        """Return the score of each row in nats, a function of the row alone; float64."""
        raise NotImplementedError

    def posterior_draw(self, x: Tensor, generator: Generator) -> Tensor:
        """Return a code of each row, drawn where codes are random."""
        raise NotImplementedError

    def fit_shared(self, x: Tensor, weight: Tensor | None, generator: Generator) -> None:
        """Set the shared vectors of the likelihood to what is most likely for these rows."""
        if weight is not None:
            weight = weight / weight.mean().clamp(min=TINY)
        params = self.conditional(self.posterior_draw(x, generator))
        self._follow(x, weight, params, 1.0)

    def _follow(
        self, x: Tensor, weight: Tensor | None, params: tuple[Tensor, ...], rate: float
    ) -> None:
        """Move the shared vectors, the last of `params`, to what is likely for these rows."""
        statistics = self.likelihood.shared_statistics(x, *params)
        for shared, statistic in zip(params[self.likelihood.n_params :], statistics, strict=True):
            if weight is None:
                ones, share = self.decoder.ones(len(x)), rate / len(x)
                shared.addmv_(statistic.t(), ones, beta=1 - rate, alpha=share)
            else:  # a batch counts by its weight, that of a usual row being one
                mass = weight.sum()
                mean = (statistic * weight).sum(0) / mass.clamp(min=TINY)
                shared.lerp_(mean, (rate * mass / len(x)).clamp(max=1))

    @property
    def n_passes(self) -> int:
        """How often `score` passes a row through one of the networks."""
        return 2

    def breadth(self, verb: str) -> int:
        """Return about how many numbers a row needs at once in the method of this name."""
        return 4 * max(self.encoder.width, self.decoder.width)


class Autoencoder(LatentModel):
    """z = f(x), and p(x | z) around g(z).

    The loss is -log p(x | f(x)) with the shared vectors of the likelihood at one (for the
    Gaussian: half the squared error); they are set after training.
    """

    # The variance of inner weights is 1 / n_in. A VAE keeps to smaller weights: with these it
    # learns faster, but small tables by heart.
    gain = 3**0.5

    def __init__(
        self,
        *,
        n_features: int,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        likelihood: str | type[Likelihood],
        noise: float,
        tied: bool,
    ):
        super().__init__(
            likelihood,
            n_features,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            noise=noise,
            tied=tied,
        )
        sizes = [n_features, *hidden_layer_sizes, n_components]
        self.noise = noise
        self.encoder = MLP(sizes, activation)
        sizes[0] *= self.likelihood.n_params
        if tied and self.likelihood.n_params > 1:
            raise ValueError(
                "tied=True needs a likelihood that takes one tensor from the decoder, but "
                f"{type(self.likelihood).__name__} takes {self.likelihood.n_params}; "
                "use tied=False."
            )
        self.decoder = MLP(sizes[::-1], activation, self.encoder.weights if tied else None)
        self.encoder.shares_weights = tied

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def posterior_draw(self, x: Tensor, generator: Generator) -> Tensor:
        return self.encode(x)

    def _corrupted(self, x: Tensor, generator: Generator) -> Tensor:
        if not self.noise:
            return x
        return torch.empty_like(x).normal_(generator=generator).mul_(self.noise).add_(x)

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        params = self.conditional(self.encode(self._corrupted(x, generator)))
        return self.likelihood.log_prob(x, *params).sum(-1)

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        z, through_encoder = self.encoder.trace(self._corrupted(x, generator), to_input=False)
        out, through_decoder = self.decoder.trace(z)
        through_encoder(through_decoder(self._grad(x, weight, self._parameters_of(out))))

    def score(self, x: Tensor) -> Tensor:
        params = self.conditional(self.encode(x))
        return self.likelihood.log_prob(x, *params).sum(-1, dtype=torch.float64)


class VAE(LatentModel):
    """p(x, z) = p(x | z) N(z; 0, I), with the amortised posterior q(z | x).

    `noise` are the standard normal draws with which rows are scored: the same for every row, so
    that the score of a row does not depend on its neighbours.
    """

    noise: Tensor

    def __init__(
        self,
        *,
        n_features: int,
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        likelihood: str | type[Likelihood],
        beta: float,
        n_draws: int,
    ):
        super().__init__(
            likelihood,
            n_features,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            beta=beta,
            n_draws=n_draws,
        )
        self.beta = beta
        n_out = self.likelihood.n_params * n_features
        self.encoder = MLP([n_features, *hidden_layer_sizes, 2 * n_components], activation)
        self.decoder = MLP([n_components, *hidden_layer_sizes[::-1], n_out], activation)
        self.register_buffer("noise", torch.zeros(n_draws, n_components))

    def initialize(self, generator: Generator, mean: Tensor) -> None:
        super().initialize(generator, mean)
        # The decoder starts near the mean for all codes: what it makes of a random code is noise,
        # and to suppress that where a feature hardly varies would cost half its hidden units.
        self.decoder.weights[-1].data.mul_(0.01)
        n_draws, n_components = self.noise.shape
        self.noise.copy_(quasi_normal(n_draws, n_components, generator.initial_seed()))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return loc and log_scale of q(z | x)."""
        return split_posterior(self.encoder(x))

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x).chunk(2, -1)[0]

    def kl(self, x: Tensor) -> Tensor:
        """Return KL(q(z | x) || N(0, I)) by component in nats, (n_samples, n_components)."""
        return gaussian_kl(*self.posterior(x))

    def posterior_draw(self, x: Tensor, generator: Generator) -> Tensor:
        return reparametrize(self.encoder(x), generator)[0]

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        out = self.encoder(x)
        z, _ = reparametrize(out, generator)
        log_prob = self.likelihood.log_prob(x, *self.conditional(z)).sum(-1)
        return log_prob - self.beta * gaussian_kl(*split_posterior(out)).sum(-1)

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        code, through_encoder = self.encoder.trace(x, to_input=False)
        z, through_posterior = reparametrize(code, generator)
        out, through_decoder = self.decoder.trace(z)
        params = self._parameters_of(out)
        grad = through_decoder(self._grad(x, weight, params))
        through_encoder(through_posterior(grad, weight, self.beta * moment.warmth))
        # Rybkin et al., "Simple and effective VAE training with calibrated decoders", 2021
        self._follow(x, weight, params, moment.rate)

    def _log_prob_of_draws(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) of each row for draws along a leading axis, float64."""
        log_prob = self.likelihood.log_prob(x, *self.conditional(z))
        return log_prob.sum(-1, dtype=torch.float64)

    def score(self, x: Tensor) -> Tensor:
        """Estimate log p(x) by importance sampling; shape (n_samples,), float64.

        Half of the draws come from the prior, the others from a somewhat widened q: where q
        misses a part of the posterior, as it does far from the data, the estimate would be too
        low. By this much, the widening lets the variance grow by a fifth in any dimension.
        """
        n_prior = len(self.noise) // 2
        loc, log_scale = self.posterior(x)
        log_scale = log_scale + math.log1p(0.35 * self.noise.shape[1] ** -0.5)
        # The draws from the prior are the same for all rows, and so decoded once.
        from_prior, noise = self.noise[:n_prior, None], self.noise[n_prior:, None]
        from_q = loc + log_scale.exp() * noise
        parts = [(from_q, noise)]
        if n_prior:
            parts.append((from_prior, (from_prior - loc) * (-log_scale).exp()))
        log_prob = torch.cat([self._log_prob_of_draws(x, z) for z, _ in parts])
        log_ratio = torch.cat([self._log_ratio(*part, log_scale) for part in parts])
        return (log_prob + log_ratio).logsumexp(0) - math.log(len(self.noise))

    def _log_ratio(self, z: Tensor, standardized: Tensor, log_scale: Tensor) -> Tensor:
        """Return log p(z) less the log-density of the mixture that `score` draws from.

        `standardized` are the draws in units of q; both are less the constant that they share.
        """
        share = len(self.noise) // 2 / len(self.noise)
        log_p = -0.5 * z.square().sum(-1, dtype=torch.float64)
        log_q = (-0.5 * standardized.square() - log_scale).sum(-1, dtype=torch.float64)
        log_share = math.log(share) if share else -math.inf
        return log_p - torch.logaddexp(log_p + log_share, log_q + math.log1p(-share))

    def elbo(self, x: Tensor) -> Tensor:
        """Estimate the evidence lower bound (beta = 1); shape (n_samples,), float64."""
        loc, log_scale = self.posterior(x)
        log_prob = self._log_prob_of_draws(x, loc + log_scale.exp() * self.noise[:, None])
        return log_prob.mean(0) - gaussian_kl(loc, log_scale).sum(-1, dtype=torch.float64)

    @property
    def n_passes(self) -> int:
        return 1 + len(self.noise) - len(self.noise) // 2

    def breadth(self, verb: str) -> int:
        return super().breadth(verb) * (len(self.noise) if verb in ("score", "elbo") else 1)
