"""The autoencoder: what encoding, decoding, the loss and the score of a row are.

For shapes and units see `_latent_model`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from ._bounds import weighted
from ._columns import BlockSpec
from ._kernel_density import log_density_around
from ._latent_model import TINY, LatentModel, Moment, Seen, hide_more
from ._networks import MLP
from ._noise import correlating
from ._principal import deviations, principal_axes

# Columns whose noise may go together in filled gaps: there is a number for each two of them.
MOST_CORRELATED = 256
# Noise in working units with which an autoencoder's rows are scored: errors far below what a
# column varies would else decide.
BLUR = 0.2
# Codes of up to so many components count the same in the score: see `weight_of_code`.
WIDE_CODE = 16
# How much the density around training rows counts, of that of the code and it: see `score`.
SHARE_OF_NEIGHBOURS = 1 / 3
# Different rows below which such a density says nothing, for each that is left out of them.
LEAST_NEIGHBOURS = 5
# What comparing a row with one of them needs at once, in the numbers of a row, and what it takes
# beside a multiplication for each column, in such multiplications.
NUMBERS_PER_NEIGHBOUR, COST_OF_KERNEL = 4, 50
# Added to the variances of codes, as a share of their mean.
SHARE_OF_ALL = 0.01
# Axes of a PCA along which rows spread less than this share of the first are not blown up to
# codes of unit variance.
LEAST_SPREAD = 1e-3
# What is left of a cell, or varies of a code, and is a smaller share than this is rounding.
ROUNDING_SHARE = 1e-6
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
    shared_in_gaps: Tensor
    correlating: Tensor
    code_center: Tensor
    code_scale: Tensor
    neighbours: Tensor
    neighbour_weight: Tensor

    def __init__(
        self,
        *,
        blocks: Sequence[BlockSpec],
        n_components: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        noise: float | str,
        tied: bool,
        n_neighbours: int = 0,
        left_out: float = 2.0,
        masks: bool = False,
    ):
        super().__init__(
            blocks,
            masks,
            n_components=n_components,
            hidden_layer_sizes=tuple(hidden_layer_sizes),
            activation=activation,
            noise=noise,
            tied=tied,
            n_neighbours=n_neighbours,
            left_out=left_out,
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
        self.starts_linear, self.hides_more = skip, masks
        self.encoder = MLP([self.n_inputs, *sizes], activation, None, skip)
        sizes = [*sizes[::-1], n_outputs]
        self.decoder = MLP(sizes, activation, self.encoder.weights if tied else None, skip)
        self.encoder.shares_weights = tied
        # The same of each cell, or "auto"; what follows the cells tells which are known.
        self.register_buffer("noise_scale", torch.zeros(self.n_inputs))
        # The shared vectors of cells that are missing: those that are shown are restored better.
        self.register_buffer("shared_in_gaps", self.shared.clone())
        self.register_buffer("code_center", torch.zeros(n_components))
        self.register_buffer("code_scale", torch.eye(n_components))
        # What the score compares rows with, where noise is: what training rows are restored to.
        self.n_noisy = sum(cells.stop - cells.start for cells in self.columns.with_variance)
        n_joining = sum(cells.stop - cells.start for cells in self.columns.joining)
        n_correlated = n_joining if n_joining <= MOST_CORRELATED else 0
        self.register_buffer("correlating", torch.eye(n_correlated))
        n_neighbours = n_neighbours if self.n_noisy else 0
        self.register_buffer("neighbours", torch.zeros(n_neighbours, self.n_noisy))
        self.register_buffer("neighbour_weight", torch.ones(n_neighbours))
        self.noise_from_pca, self.is_noisy = noise == "auto", False
        if not isinstance(noise, str):
            self.noise_scale[: self.columns.n_cells] = noise
            self.is_noisy = noise > 0

    def start_from(self, other: LatentModel) -> None:
        super().start_from(other)
        self.columns.reset_learned(self.shared)  # training is by the plain error
        if self.noise_from_pca and isinstance(other, Autoencoder):
            self._set_noise(other.noise_scale)

    def start_from_rows(
        self, x: Tensor, weight: Tensor | None, mean: Tensor, generator: Generator
    ) -> None:
        """Let the networks start as the PCA of (weighted) rows, with codes of unit variance.

        Where held-out rows tell what is best, training can then only improve on PCA. Outputs that
        are not means, as scales, start without a slope.
        """
        cells = self.see(x).input[:, : self.columns.n_cells]
        center, centred = deviations(cells.double(), weight)
        axes, spread = principal_axes(centred, self.config["n_components"], generator)
        scale = torch.ones_like(spread)
        if not self.encoder.shares_weights and spread[0] > 0:
            scale = spread.clamp(min=LEAST_SPREAD * spread[0].item())
        to_code = (axes / scale).t()
        of_masks = (0, self.n_inputs - len(axes))
        self.encoder.start_linear(nn.functional.pad(to_code, of_masks), -to_code @ center)
        self.decoder.start_linear(
            self.columns.output_slopes(axes * scale), self.columns.outputs_for_mean(mean)
        )
        residual = torch.linalg.vector_norm(centred.addmm_(centred @ axes, -axes.t()), dim=0)
        # Where rows have gaps, hiding more cells is noise enough. A linear model with noise would
        # be no PCA, nor has it much to learn by heart.
        if self.noise_from_pca and not self.masks and self.encoder.skip is not None:
            residual = residual.masked_fill(residual < ROUNDING_SHARE * spread[0], 0)
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

    def _corrupted(self, shown: Tensor, generator: Generator) -> Tensor:
        if not self.is_noisy:
            return shown
        noise = torch.empty_like(shown).normal_(generator=generator)
        return torch.addcmul(shown, noise, self.noise_scale)

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        seen = self._training_view(x, generator)
        out = self.decoder(self.encoder(self._corrupted(seen.input, generator)))
        return self.log_prob(seen, out).sum(-1)

    def judge(self, x: Tensor, generator: Generator) -> Tensor:
        if not self.noise_from_pca:  # who gives a noise asks for what removes it
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

    def fit_gaps(self, x: Tensor, weight: Tensor | None, generator: Generator) -> None:
        """Learn the shared vectors of cells, and their correlations, from such as are hidden."""
        if not self.columns.learning:
            return
        hidden, of_shown = self._to_hide(x, generator), self.shared.clone()
        shown = self.see(x.masked_fill(hidden > 0, math.nan)).input
        seen = self.see(x)._replace(observed=hidden, input=shown)
        self._fit_shared_to(seen, weight, generator)
        self.shared_in_gaps.copy_(self.shared)
        self.shared.copy_(of_shown)
        if len(self.correlating):
            errors = seen.cells - self.columns.mean(self._out(seen), self.shared_in_gaps)
            errors, hidden = self.columns.together(errors), self.columns.together(hidden)
            self.correlating.copy_(correlating(errors, hidden, weight))

    def _to_hide(self, x: Tensor, generator: Generator) -> Tensor:
        """Return ones for some of the cells that are known, as training hides them, else zeros."""
        known = (~torch.isnan(x)).to(x.dtype)
        return known - self._of_cells(hide_more(self._of_columns(known), generator))

    def fit_codes(self, x: Tensor, weight: Tensor | None) -> None:
        """Learn the normal distribution of the codes of (weighted) rows, and keep some rows."""
        z = self.encode(x)
        center, centred = deviations(z.double(), weight)
        covariance = centred.t() @ centred
        # Codes may lie in a subspace; a share of their variance keeps the rest from counting much,
        # and what rounding makes of constant ones from counting at all.
        of_rounding = (ROUNDING_SHARE * center).square() + TINY
        covariance.diagonal().add_(SHARE_OF_ALL * covariance.diagonal().mean() + of_rounding)
        self.code_center.copy_(center)
        self.code_scale.copy_(torch.linalg.cholesky(covariance))
        if n_neighbours := len(self.neighbours):
            some = torch.linspace(0, len(z) - 1, n_neighbours, device=z.device).long()
            self.neighbours.copy_(self.columns.noisy(self.decode(z[some])))
            n_distinct = len(torch.unique(x[some].nan_to_num(), dim=0))
            weight = self.neighbour_weight.fill_(1) if weight is None else weight[some, 0]
            self.neighbour_weight.copy_(weight * (n_distinct / weight.sum()))

    @property
    def weight_of_code(self) -> float:
        """How much the density of the code counts in the score, at least one.

        Sums of n squares vary by the root of n. Those of the errors have as many as there are
        columns with noise, less components: in a wide table, what is odd in the code would be lost
        among them.
        """
        return max(1, self.n_noisy / max(len(self.code_center), WIDE_CODE) - 1) ** 0.5

    @property
    def share_of_neighbours(self) -> float:
        """How much the density around training rows counts, less where columns have no noise."""
        if self.neighbour_weight.sum() < LEAST_NEIGHBOURS * self.config["left_out"]:
            return 0.0
        return SHARE_OF_NEIGHBOURS * self.n_noisy / self.columns.n_columns

    def log_prob_of_code(self, z: Tensor) -> Tensor:
        """Return the log-density of codes in nats, (n_samples,), float64."""
        centred, scale = (z - self.code_center).double(), self.code_scale.double()
        standard = torch.linalg.solve_triangular(scale, centred.t(), upper=False)
        log_norm = scale.diagonal().log().sum() + 0.5 * len(scale) * math.log(2 * math.pi)
        return -0.5 * standard.square().sum(0) - log_norm

    def score(self, x: Tensor) -> Tensor:
        """Return the score: how well a row is restored, and how usual its place is.

        The latter is a mean of two log-densities: that of the code under a normal distribution,
        which tells how far out a row is, and that of the row around what others are restored to,
        which tells where nothing is between these.
        """
        share, seen = self.share_of_neighbours, self.see(x)
        score = self._score_by_code(seen, 1 - share)
        return score + share * self._log_prob_around_others(seen) if share else score

    def rough_score(self, x: Tensor) -> Tensor:
        """Return what the score is but for the neighbours, which take most of its time."""
        return self._score_by_code(self.see(x), 1.0)

    def _score_by_code(self, seen: Seen, share_of_code: float) -> Tensor:
        z = self.encoder(seen.input)
        of_code = share_of_code * self.weight_of_code * self.log_prob_of_code(z)
        if seen.observed is not None:  # of a row of gaps nothing is known, nor of its code
            of_code = of_code * self._of_columns(seen.observed).mean(-1)
        return self._log_prob_given(seen, z).sum(-1) + of_code

    def _log_prob_around_others(self, seen: Seen) -> Tensor:
        known = None if seen.observed is None else self.columns.noisy(seen.observed)
        return log_density_around(
            self.columns.noisy(seen.cells),
            known,
            self.neighbours,
            self.neighbour_weight,
            self.columns.noisy(self.columns.blurred(self.shared, BLUR)[0]),
            self.config["left_out"],
        )

    def contributions(self, x: Tensor) -> Tensor:
        """Return log p(x | f(x)) by column, of rows that are blurred as in `score`; float64."""
        seen = self.see(x)
        return self._log_prob_given(seen, self.encoder(seen.input))

    def _log_prob_given(self, seen: Seen, z: Tensor) -> Tensor:
        shared = self.columns.blurred(self.shared, BLUR)
        return self.log_prob(seen, self.decoder(z), shared).double()

    def impute(self, x: Tensor) -> Tensor:
        seen = self.see(x)
        return self.columns.mean(self._out(seen), self.shared_in_gaps, seen.cells)

    def images(self, x: Tensor, n_draws: int) -> Tensor:
        seen = self.see(x)
        out = self._out(seen)
        mean = self.columns.mean(out, self.shared_in_gaps, seen.cells)
        of_draws = out[:, None].expand(-1, n_draws, -1)
        return self._with_draws(mean, of_draws, self.shared_in_gaps)

    def complete(self, x: Tensor, n_draws: int, generator: Generator) -> Tensor:
        seen = self.see(x)
        out, cells = self._out(seen)[:, None], seen.cells[:, None]
        of_draws = out.expand(-1, n_draws, -1)
        drawn = self.columns.sample(of_draws, self.shared_in_gaps, generator, cells)
        if len(self.correlating):
            self._correlate(drawn, self.columns.mean(out, self.shared_in_gaps, cells))
        return drawn

    def _correlate(self, drawn: Tensor, mean: Tensor) -> None:
        """Let noise of drawn rows go together as errors in hidden cells do, in place."""
        cells = self.columns.together(torch.arange(self.columns.n_cells, device=drawn.device))
        # (Where one value is known of a column, it has no noise.)
        scale = self.shared_in_gaps[0, cells].sqrt().clamp(min=TINY)
        noise = (drawn - mean)[..., cells] / scale
        drawn[..., cells] = mean[..., cells] + noise @ self.correlating.t() * scale

    def _out(self, seen: Seen) -> Tensor:
        return self.decoder(self.encoder(seen.input))

    def n_passes(self, verb: str) -> int:
        if verb != "score":
            return super().n_passes(verb)
        of_neighbours = len(self.neighbours) * (self.n_noisy + COST_OF_KERNEL)
        return super().n_passes(verb) + round(2 * of_neighbours / self.n_weights)

    def breadth(self, verb: str) -> int:
        if verb != "score":
            return super().breadth(verb)
        return super().breadth(verb) + NUMBERS_PER_NEIGHBOUR * len(self.neighbours)
