"""The two models: what encoding, decoding, the loss and the score of a row are.

Rows `x` have shape (n_samples, n_features), codes `z` (n_samples, n_components), both in working
units; leading axes, as of draws, are allowed. Densities are summed over features, apart by row,
in nats. A model holds parameters and nothing that changes from run to run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid

from ._networks import MLP
from .likelihoods import LIKELIHOODS, Likelihood

# Steps of the optimiser are small for a log-scale, which has far to go: it gets longer ones.
SHARED_GAIN = 10.0


def resolve_likelihood(likelihood: str | type[Likelihood]) -> Likelihood:
    """Return an instance of the likelihood with this name, or of this class."""
    return (LIKELIHOODS[likelihood] if isinstance(likelihood, str) else likelihood)()


def gaussian_kl(loc: Tensor, log_scale: Tensor) -> Tensor:
    """KL(N(loc, scale^2) || N(0, 1)) of each component in nats, shape of loc."""
    return 0.5 * (loc.square() + (2 * log_scale).exp() - 1) - log_scale


def quasi_normal(n_draws: int, n_components: int, seed: int) -> Tensor:
    """Scrambled Sobol points, mapped to the standard normal; (n_draws, n_components), float64."""
    engine = torch.quasirandom.SobolEngine(n_components, scramble=True, seed=seed)
    points = engine.draw(n_draws, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-9, 1 - 1e-9))


class LatentModel(nn.Module):
    """What both models share: two networks and a likelihood between them.

    `config` are the arguments that build it, plain values, kept so that a copy can be built.
    """

    encoder: MLP
    decoder: MLP

    def __init__(self, likelihood: str | type[Likelihood], n_features: int, **config):
        super().__init__()
        self.config = {"likelihood": likelihood, "n_features": n_features, **config}
        self.likelihood = resolve_likelihood(likelihood)
        self.shared = nn.Parameter(torch.zeros(self.likelihood.n_shared, n_features))

    def initialize(self, generator: Generator, mean: Tensor) -> None:
        """Draw the weights; the decoder starts at the data's mean, shape (n_features,)."""
        self.encoder.initialize(generator)
        self.decoder.initialize(generator)
        start = torch.cat(self.likelihood.params_for_mean(mean))
        self.decoder.biases[-1].data.copy_(start)

    def conditional(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters of p(x | z), each of shape (..., n_features) or (n_features,)."""
        params = self.decoder(z).chunk(self.likelihood.n_params, -1)
        return (*params, *(SHARED_GAIN * self.shared))

    def log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z), shape (...,)."""
        return self.likelihood.log_prob(x, *self.conditional(z)).sum(-1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of rows."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x | z]."""
        return self.likelihood.mean(*self.conditional(z))

    def draw(self, z: Tensor, generator: Generator) -> Tensor:
        """Draw rows from p(x | z), the noise of the likelihood included."""
        return self.likelihood.sample(*self.conditional(z), generator)

    def loss(self, x: Tensor, generator: Generator, warmth: float) -> Tensor:
        """Return what training minimises, a row each; `warmth` rises from 0 to 1 in warm-up."""
        raise NotImplementedError

    def score(self, x: Tensor) -> Tensor:
        """Return the score of each row in nats, a function of the row alone; float64."""
        raise NotImplementedError

    def finish(self, x: Tensor) -> None:
        """Set, after training, what is estimated from rows rather than trained."""

    def breadth(self, verb: str) -> int:
        """Return about how many numbers a row needs at once in the method of this name."""
        return 4 * max(len(bias) for net in (self.encoder, self.decoder) for bias in net.biases)


class Autoencoder(LatentModel):
    """z = f(x), and p(x | z) around g(z).

    The loss is -log p(x | f(x)) with the shared parameters of the likelihood at zero (for the
    Gaussian: half the squared error); they are set after training.
    """

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
        self.decoder = MLP(sizes[::-1], activation, self.encoder.weights if tied else None)
        self.shared.requires_grad_(False)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def loss(self, x: Tensor, generator: Generator, warmth: float) -> Tensor:
        noisy = x
        if self.noise:
            noisy = torch.empty_like(x).normal_(generator=generator).mul_(self.noise).add_(x)
        return -self.log_prob(x, self.encode(noisy))

    def score(self, x: Tensor) -> Tensor:
        params = self.conditional(self.encode(x))
        return self.likelihood.log_prob(x, *params).sum(-1, dtype=torch.float64)

    def finish(self, x: Tensor) -> None:
        params = self.likelihood.fit_shared(x, *self.conditional(self.encode(x)))
        if params:
            self.shared.data = torch.stack(params) / SHARED_GAIN


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
        self.noise.copy_(quasi_normal(*self.noise.shape, generator.initial_seed()))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return loc and log_scale of q(z | x)."""
        loc, raw = self.encoder(x).chunk(2, -1)
        # The scale lies in (0, 2) and is 1, the prior's, at 0. Its logarithm has a gradient
        # however small it is, and nothing overflows.
        return loc, logsigmoid(raw) + math.log(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def kl(self, x: Tensor) -> Tensor:
        """Return KL(q(z | x) || N(0, I)) by component in nats, (n_samples, n_components)."""
        return gaussian_kl(*self.posterior(x))

    def loss(self, x: Tensor, generator: Generator, warmth: float) -> Tensor:
        loc, log_scale = self.posterior(x)
        noise = torch.empty_like(loc).normal_(generator=generator)
        kl = gaussian_kl(loc, log_scale).sum(-1)
        return self.beta * warmth * kl - self.log_prob(x, loc + log_scale.exp() * noise)

    def _log_prob_of_draws(self, x: Tensor, loc: Tensor, log_scale: Tensor):
        """Return z and log p(x | z) for all draws from q, a leading axis each; float64."""
        z = loc + log_scale.exp() * self.noise[:, None]
        log_prob = self.likelihood.log_prob(x, *self.conditional(z))
        return z, log_prob.sum(-1, dtype=torch.float64)

    def score(self, x: Tensor) -> Tensor:
        """Estimate log p(x) by importance sampling from q; shape (n_samples,), float64."""
        loc, log_scale = self.posterior(x)
        z, log_prob = self._log_prob_of_draws(x, loc, log_scale)
        # log N(z; 0, I) - log q(z | x), in which the constants cancel
        log_ratio = 0.5 * (self.noise.square()[:, None] - z.square()) + log_scale
        log_weight = log_prob + log_ratio.sum(-1, dtype=torch.float64)
        return log_weight.logsumexp(0) - math.log(len(self.noise))

    def elbo(self, x: Tensor) -> Tensor:
        """Estimate the evidence lower bound (beta = 1); shape (n_samples,), float64."""
        loc, log_scale = self.posterior(x)
        _, log_prob = self._log_prob_of_draws(x, loc, log_scale)
        return log_prob.mean(0) - gaussian_kl(loc, log_scale).sum(-1, dtype=torch.float64)

    def breadth(self, verb: str) -> int:
        return super().breadth(verb) * (len(self.noise) if verb in ("score", "elbo") else 1)
