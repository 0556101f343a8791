"""What both models share: two networks, and the distribution of a row between them.

Rows `x` have shape (n_samples, n_features), codes `z` (n_samples, n_components), both in working
units; leading axes, as of draws, are allowed. Densities are summed over features, apart by row,
in nats. A model holds parameters and nothing that changes from run to run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from ._columns import BlockSpec, Columns
from ._networks import MLP
from ._noise import EvenGenerator
from ._real import rounding_variance

TINY = 1e-30
# Stands for minus infinity in `least_variance`: what is written to a file must be finite.
NO_BOUND = -1e30
# Times that an encoder which was trained without gaps looks at those that it has filled.
N_REFILLS = 10


class Moment(NamedTuple):
    """Where training is.

    kl_warmth : what part of its weight the KL term has, rising from 0 to 1 in warm-up.
    rate : by how much the likelihood's shared vectors follow the newest batch.
    """

    kl_warmth: float = 1.0
    rate: float = 1.0


def hide_more(observed: Tensor, generator: Generator) -> Tensor:
    """Return which cells the encoder is shown in training, of those that are observed.

    Each row also gets the gaps of another row, as cells go missing together ("Copy-masking",
    CACTI, ICML 2025), and up to three tenths of its cells are hidden at random.
    """

    def uniform(width: int) -> Tensor:
        x = torch.empty(len(observed), width, dtype=observed.dtype, device=observed.device)
        return x.uniform_(generator=generator)

    others = observed.index_select(0, uniform(1)[:, 0].argsort())
    return observed * others * (uniform(observed.shape[1]) >= 0.3 * uniform(1))


class Seen(NamedTuple):
    """Rows with and without their gaps.

    cells : the values; where they are missing zero, or what their likelihood asks for.
    observed : one where a cell is known, else zero, shape of cells; None if all are.
    input : what the encoder gets.
    """

    cells: Tensor
    observed: Tensor | None
    input: Tensor


class LatentModel(nn.Module):
    """What both models share: two networks, and the distribution of a row between them.

    `config` are the arguments that build it, plain values, kept so that a copy can be built.
    Missing cells are NaN. With `masks` the encoder is told which they are; else it is shown what
    was made of them.
    """

    encoder: MLP
    decoder: MLP
    shared: Tensor
    least_variance: Tensor
    column_of: Tensor
    first_cell: Tensor
    gain = 1.0  # of the weights that training starts from
    n_training_draws = 1  # of each code
    draws_codes = False  # whether a row has many codes, which are drawn
    starts_linear = False  # whether training starts from a PCA
    hides_more = False  # whether training hides more cells than are missing

    def __init__(self, blocks: Sequence[BlockSpec], masks: bool = False, **config: Any):
        super().__init__()
        self.config = {"blocks": tuple(blocks), "masks": masks, **config}
        self.masks = masks
        self.columns = columns = Columns(blocks)
        self.n_inputs = columns.n_cells + (columns.n_columns if masks else 0)
        self.is_wide = columns.n_cells > columns.n_columns
        self.register_buffer("shared", torch.ones(columns.n_shared, columns.n_cells))
        columns.read_off(torch.full((2, columns.n_cells), torch.nan), self.shared)
        self.register_buffer(
            "least_variance", torch.full((columns.n_cells,), NO_BOUND, dtype=torch.float32)
        )
        for cells in columns.with_variance:
            self.least_variance[cells] = 0
        for name in ("column_of", "first_cell"):
            self.register_buffer(name, torch.tensor(getattr(columns, name)), persistent=False)

    def initialize(self, generator: Generator, mean: Tensor) -> None:
        """Draw the weights; the decoder starts at the data's mean, shape (n_cells,)."""
        self.encoder.initialize(generator, self.gain)
        self.decoder.initialize(generator, self.gain)
        self.decoder.biases[-1].data.copy_(self.columns.outputs_for_mean(mean))

    def note_values(self, ordered: Tensor) -> None:
        """Let no column have less noise than comes of rounding to the values that it takes.

        Columns are in ascending order. Whole numbers of which a column has few, as a pixel that is
        seldom lit, would else get a noise scale of nearly zero, and one such value that is new
        outweigh all other columns. What else a likelihood reads off the values is set, too.
        """
        for cells in self.columns.with_variance:
            self.least_variance[cells] = rounding_variance(ordered[:, cells])
        self.columns.read_off(ordered, self.shared)

    def start_from_rows(
        self, x: Tensor, weight: Tensor | None, mean: Tensor, generator: Generator
    ) -> None:
        """Let a model that starts linear do so, as the PCA of (weighted) rows with this mean."""
        raise NotImplementedError

    def start_from(self, other: LatentModel) -> None:
        """Take over what was learned by a model of the same shape."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
                mine.copy_(theirs)
            self.shared.copy_(other.shared)

    def see(self, x: Tensor, generator: Generator | None = None) -> Seen:
        """Tell the values of rows from their gaps; given a generator, hide more at random."""
        if not self.masks and not math.isnan(x.sum()):
            return Seen(x, None, self.columns.embed(x))
        missing = torch.isnan(x)
        cells, observed = x.masked_fill(missing, 0), (~missing).to(x.dtype)
        if not self.masks:
            shown, has_gaps = self.columns.embed(cells).clone(), missing.any(-1)
            shown[has_gaps] = self._refilled(shown[has_gaps], cells[has_gaps], missing[has_gaps])
            return Seen(self.columns.with_gaps(cells, missing), observed, shown)
        visible = self._of_columns(observed)
        if generator is not None:
            visible = hide_more(visible, generator)
        shown = self.columns.embed(cells) * self._of_cells(visible)
        cells = self.columns.with_gaps(cells, missing)
        return Seen(cells, observed, torch.cat([shown, visible], -1))

    def _refilled(self, shown: Tensor, cells: Tensor, missing: Tensor) -> Tensor:
        """Return what an encoder sees that knows no gaps: in turn, what was made of them."""
        known = self.columns.with_gaps(cells, missing)
        for _ in range(N_REFILLS):
            made = self.columns.mean(self.decoder(self._code(shown)), self.shared, known)
            shown = self.columns.embed(torch.where(missing, made, cells))
        return shown

    def _training_view(self, x: Tensor, generator: Generator | None = None) -> Seen:
        # Without gaps in the training rows there is nothing to look for.
        return self.see(x, generator) if self.masks else Seen(x, None, self.columns.embed(x))

    def log_prob(self, seen: Seen, out: Tensor, shared: Tensor | None = None) -> Tensor:
        """Return log p(x | z) by column, zero where it is missing, (..., n_columns).

        `shared` are the shared vectors, if not those that were learned.
        """
        log_prob = self.columns.log_prob(
            seen.cells, out, self.shared if shared is None else shared
        )
        return self._known(seen, log_prob, self._of_columns)

    def _of_columns(self, of_cells: Tensor) -> Tensor:
        """Return what the first cell of each column has."""
        return of_cells.index_select(-1, self.first_cell) if self.is_wide else of_cells

    def _of_cells(self, of_columns: Tensor) -> Tensor:
        """Return for each cell what its column has."""
        return of_columns.index_select(-1, self.column_of) if self.is_wide else of_columns

    def _code(self, shown: Tensor) -> Tensor:
        """Return the codes of rows that are shown to the encoder."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of rows."""
        return self._code(self.see(x).input)

    def decode(self, z: Tensor) -> Tensor:
        """Return E[x | z]."""
        return self.columns.mean(self.decoder(z), self.shared)

    def draw(self, z: Tensor, generator: Generator, x: Tensor | None = None) -> Tensor:
        """Draw rows from p(x | z), the noise of the likelihood included; for the gaps of x."""
        return self.columns.sample(self.decoder(z), self.shared, generator, x)

    def _with_draws(self, mean: Tensor, out: Tensor, shared: Tensor) -> Tensor:
        """Return means of rows, and then draws of p(x | z), of which the others are parameters.

        These are made of the same noise for each row; `out` has shape (n_samples, n_draws, ...).
        """
        generator, rows = EvenGenerator(out.device), []
        for first, params in zip(mean[:, None], out, strict=True):
            drawn = self.columns.sample(params, shared, generator.manual_seed(0))
            rows.append(torch.cat([first, drawn]))
        return torch.stack(rows)

    def bind(self) -> None:
        """Prepare for `ascend`: parameters and gradients must stay where they are from now on."""
        self.encoder.bind()
        self.decoder.bind()

    def bound(self, x: Tensor, generator: Generator) -> Tensor:
        """Estimate what training maximises, for each row, in nats."""
        raise NotImplementedError

    def ascend(
        self, x: Tensor, weight: Tensor | None, generator: Generator, moment: Moment
    ) -> None:
        """Set the gradients to those of the (weighted) sum of `bound`; move the shared vectors.

        `weight` are those of the rows, None or of shape (n_samples, 1).
        """
        raise NotImplementedError

    def _grad(self, seen: Seen, out: Tensor) -> Tensor:
        """Return the gradient of log p(x | z) at the decoder's output."""
        grad = self.columns.grads(seen.cells, out, self.shared)
        return self._known(seen, grad, self.columns.to_outputs)

    def _log_prob_and_grad(self, seen: Seen, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) of each row, and its gradient at the decoder's output."""
        log_prob, grad = self.columns.log_prob_and_grads(seen.cells, out, self.shared)
        log_prob = self._known(seen, log_prob, self._of_columns)
        return log_prob.sum(-1), self._known(seen, grad, self.columns.to_outputs)

    def _known(self, seen: Seen, values: Tensor, at: Callable[[Tensor], Tensor]) -> Tensor:
        """Return values, zero for what is missing; `at` gives the mask of cells their shape."""
        return values if seen.observed is None else values * at(seen.observed)

    def judge(self, x: Tensor, generator: Generator) -> Tensor:
        """Return what training is judged by: `bound`, but without noise that nobody asked for."""
        return self.bound(x, generator)

    def score(self, x: Tensor) -> Tensor:
        """Return the score of each row in nats, a function of the row alone; float64."""
        raise NotImplementedError

    def rough_score(self, x: Tensor) -> Tensor:
        """Return what ranks rows about as their scores do, in little time; float64."""
        raise NotImplementedError

    def restored(
        self, seen: Seen, weight: Tensor | None, generator: Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return the decoder's output for rows, and how much each of these counts.

        Where codes are random, that is for draws of them, along a leading axis if they are many.
        """
        raise NotImplementedError

    def impute(self, x: Tensor) -> Tensor:
        """Return E[x | what is known of it]; known cells may differ from x."""
        raise NotImplementedError

    def images(self, x: Tensor, n_draws: int) -> Tensor:
        """Return what `impute` does, and draws whose images a mean can be taken of.

        They stand for what is missing given what is known, shape (n_samples, 1 + n_draws,
        n_cells), and are made of the same noise for each row: so what comes of a row does not
        depend on its neighbours.
        """
        raise NotImplementedError

    def complete(self, x: Tensor, n_draws: int, generator: Generator) -> Tensor:
        """Draw rows given what is known of each, (n_samples, n_draws, n_cells); as `impute`."""
        raise NotImplementedError

    def log_prob_given(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) of one row for each of these codes, float64."""
        return self.log_prob(self.see(x), self.decoder(z)).sum(-1, dtype=torch.float64)

    def fit_shared(self, x: Tensor, weight: Tensor | None, generator: Generator) -> None:
        """Set the shared vectors of the likelihood to what is most likely for these rows."""
        if self.columns.learning:
            self._fit_shared_to(self.see(x), weight, generator)

    def _fit_shared_to(self, seen: Seen, weight: Tensor | None, generator: Generator) -> None:
        """Do what `fit_shared` does, with the cells that are said to be observed."""
        if weight is not None:
            weight = weight / weight.mean().clamp(min=TINY)
        out, weight = self.restored(seen, weight, generator)
        for _ in range(self.columns.n_updates):
            self._follow(seen, weight, out, 1.0)

    def fit_gaps(self, x: Tensor, weight: Tensor | None, generator: Generator) -> None:
        """Learn of rows what filling gaps needs."""

    def fit_codes(self, x: Tensor, weight: Tensor | None) -> None:
        """Learn of the codes of training rows what scoring needs."""

    def _follow(
        self, seen: Seen, weight: Tensor | None, out: Tensor, rate: float, evenly: bool = False
    ) -> None:
        """Move the shared vectors to what is likely for these rows.

        `weight` are those of rows, or of draws, of which the outputs then have an axis more;
        `evenly` tells that the rows weigh the same.
        """
        if not self.columns.learning:
            return
        n = out.shape[-2]
        weights = self.decoder.ones(n) if weight is None else weight.reshape(1, -1)
        for cells, i, statistic in self.columns.statistics(seen.cells, out, self.shared):
            shared = self.shared[i : i + 1, cells]  # a view
            values = statistic.flatten(0, -2)
            if evenly and seen.observed is None:
                shared.addmm_(weights, values, beta=1 - rate, alpha=rate / n)
            else:  # a batch counts by its weight, that of a usual row being one
                known = (
                    torch.ones_like(values)
                    if seen.observed is None
                    else seen.observed[:, cells].expand_as(statistic).flatten(0, -2)
                )
                mass = weights @ known
                mean = weights @ (values * known) / mass.clamp(min=TINY)
                new = rate * mass / n
                shared.lerp_(mean, new / (new + (1 - rate)).clamp(min=TINY))
        self.keep_least_variance()

    def keep_least_variance(self) -> None:
        """Let the noise of no column be less than that of rounding."""
        self.shared[:1].clamp_(min=self.least_variance)

    def scale_variances(self, learned: Tensor) -> None:
        """Set the shared vectors to those learned, but variances times their mean growth since."""
        found = self.shared.clone()
        self.shared.copy_(learned)
        if not self.columns.with_variance:
            return
        are_variances = self.least_variance > NO_BOUND
        # (Those without a known cell among the latest rows tell nothing.)
        moved = are_variances & (found[0] != learned[0])
        if moved.any():
            before = learned[0, moved].sum().clamp(min=TINY)
            self.shared[0, are_variances] *= found[0, moved].sum() / before
            self.keep_least_variance()

    @functools.cached_property
    def n_weights(self) -> int:
        """The number of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    def n_passes(self, verb: str) -> int:
        """Return how often the method of this name passes a row through one of the networks."""
        return 1 if verb in ("encode", "decode") else 2

    def breadth(self, verb: str) -> int:
        """Return about how many numbers a row needs at once in the method of this name."""
        return 4 * max(self.encoder.width, self.decoder.width)
