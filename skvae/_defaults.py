"""What "auto" means: sizes of the network and of the training, from the shape of the data."""

from typing import NamedTuple

import numpy as np

# Steps of the optimiser that suffice for most tables; above so many rows they grow.
N_STEPS, MANY_ROWS = 4_000, 10_000
# Training rows below which a VAE takes small steps, with the whole KL term from the start.
FEW_ROWS = 500
# The width that hidden layers may have however few the rows.
LEAST_WIDTH = 128
# Columns above which the time of a step goes somewhat, and altogether, with the draws.
SOME_COLUMNS, MANY_COLUMNS = 64, 256
MIN_EPOCHS, MAX_EPOCHS = 20, 500
# Components that a code has at least, where there are gaps and as many features.
WITH_GAPS = 8


def is_auto(value):
    """Tell whether a parameter is left to us."""
    return isinstance(value, str) and value == "auto"


def resolved(value, default, *args):
    """Return the value of a parameter, or what its default makes of the arguments if "auto"."""
    return default(*args) if is_auto(value) else value


def power_of_two(number, low, high):
    """Return the power of two nearest to a number, between two others."""
    return int(2 ** np.round(np.log2(np.clip(number, low, high))))


class Sizes(NamedTuple):
    """What "auto" means for the sizes of an estimator's model and batches.

    widths : the least and the greatest of the first hidden layer.
    deepens : whether a map of the rows, in one or two dimensions, takes a layer more.
    components : per column, and at most.
    rows_per_batch : f, p and most, if batches have f n^p of n rows, at least 32 and at most that,
        256 for a map.
    for_real_values : the activation where some column has such.
    of_mixed : the hidden layers where real values stand beside flags, counts or levels, if they
        are others there.
    steps_of_mixed : by how much training is then longer.
    """

    widths: tuple[int, int]
    deepens: bool
    components: tuple[float, int]
    rows_per_batch: tuple[float, float, int]
    for_real_values: str
    of_mixed: tuple[int, ...] | None = None
    steps_of_mixed: float = 1.0

    def n_components(self, n_features, has_gaps=False):
        """Return the dimensions of the code, at least 2.

        Where cells are missing there are 8, or as many as features, at least: to copy what is
        shown does not fill a gap, so that codes need not be few for something to be learned.
        """
        per_column, most = self.components
        least = min(n_features, WITH_GAPS) if has_gaps else 2
        return int(np.clip(n_features * per_column, max(2, least), most))

    def activation(self, is_discrete):
        """Return the name of the non-linearity.

        What is made of real values by tanh goes on as before, not ever further, beyond those that
        were seen: densities and filled gaps are better, while the likelihoods of flags, counts
        and levels are not.
        """
        return "silu" if is_discrete else self.for_real_values

    def hidden_layer_sizes(
        self, n_samples, n_features, n_components, is_discrete=False, is_mixed=False
    ):
        """Return two layers, about twice and once as wide as the data.

        There are none where flags or counts have as many columns as rows: each tells so little of
        its row that a linear map, with its fewer weights, is all that can be learned. There are
        three where many columns are folded into a map, which two bend too little. Where rows are
        fewer than columns, no layer is wider than there are rows (or 128, if these are fewer).
        """
        if is_discrete and n_features >= n_samples:
            return ()
        if is_mixed and self.of_mixed:
            return self.of_mixed
        width = power_of_two(2 * n_features, *self.widths)
        if n_samples < n_features:
            width = min(width, max(LEAST_WIDTH, 2 ** int(np.log2(n_samples))))
        layers = width, width // 2, width // 4
        return layers if self.is_map(n_features, n_components, is_discrete) else layers[:2]

    def is_map(self, n_features, n_components, is_discrete=False):
        """Tell whether many columns are folded into one or two dimensions, which takes more."""
        is_folded = n_components <= 2 and 4 * n_components <= n_features
        return self.deepens and is_folded and not is_discrete

    def batch_size(self, n_samples, is_map=False):
        """Return the rows in a step, a power of two."""
        factor, power, most = self.rows_per_batch
        return power_of_two(factor * n_samples**power, 32, 256 if is_map else most)


def more_with_gaps(share_missing, most):
    """Return by how much more is to be done where cells are missing.

    It grows, to a limit, as pairs of cells that are both known become rare: these tell how
    columns depend on one another.
    """
    return min(most, 1 / max(1 - share_missing, 1e-9) ** 2)


def n_training_draws(beta, batch_size, n_features, is_discrete, share_missing):
    """Return how many draws of each code make a step of 384 codes, 1 to 5; with gaps, 1 to 10.

    A step of fewer takes little less time, unless there is a wide row to be made of each: 128
    codes where there are more than 64 columns, 2 draws of more than 256 columns. 256 codes where
    all are flags, counts and levels, which the encoder learns to explain less well with more.
    Else up to 768 codes where cells are missing: what is known leaves more codes possible.
    With a weight of its own, the KL term is that of the ELBO, of one draw.
    """
    if beta != 1:
        return 1
    more, most = 1.0, 5 if n_features <= MANY_COLUMNS else 2
    if is_discrete:
        n_codes = 256
    elif n_features > SOME_COLUMNS:
        n_codes = 128
    else:
        n_codes, more = 384, more_with_gaps(share_missing, most=2)
    return int(np.clip(more * n_codes // batch_size, 1, more * most))


def beta(shares_out_total):
    """Return 1, the bound on the log-density, or a half for what is to be ranked.

    How a row shares out its total is asked to rank the cells of new rows, which a lighter KL term
    does better, while the log-density is hardly worse.
    """
    return 0.5 if shares_out_total else 1.0


def warmup_fraction(n_training_draws, n_samples):
    """Return a fifth where training takes one draw, which is when components are given up.

    With several it is a tenth: they give up fewer, but not none; and nothing for few rows.
    """
    if n_training_draws == 1:
        return 0.2
    return 0.1 if n_samples >= FEW_ROWS else 0.0


def learning_rate(n_training_draws, n_samples):
    """Return the step size: larger for several draws, which are less noisy than one.

    But few rows would be learned by heart before their finer structure is: columns that are nearly
    functions of others, as the radius and the area of a cell.
    """
    return 4e-3 if n_training_draws > 1 and n_samples >= FEW_ROWS else 2e-3


def max_iter(n_samples, batch_size, share_missing=0.0, more=1.0):
    """Return the epochs that make N_STEPS steps, more where rows are many or have gaps.

    Steps grow as the square root of many rows: there is more to learn, and seldom by heart. They
    grow with gaps, too, up to four times. If not for gaps, they are so many times `more`.
    """
    n_steps = N_STEPS * max(more_with_gaps(share_missing, most=4), more)
    n_steps *= max(1.0, n_samples / MANY_ROWS) ** 0.5
    return int(np.clip(n_steps * batch_size // n_samples, MIN_EPOCHS, MAX_EPOCHS))


def n_iter_no_change(max_iter):
    """Return a fifth of the epochs, at least 10."""
    return max(10, max_iter // 5)


def held_out(n_samples, fraction):
    """Return the number of rows to hold out: none below 10 rows, at most 10,000 or half."""
    most = min(10_000, n_samples // 2)
    return 0 if n_samples < 10 else int(np.clip(round(fraction * n_samples), 1, most))


def rows_for_offset(n_samples, n_epochs, n_passes, n_ranking):
    """Return how many training rows to score for the threshold, from 256 to 100,000.

    All of up to 512, so that in a small table as many are below it as they should; and of more,
    unless that costs more than 1 % of training (3 % for the first 2,000). Scoring a row takes
    `n_passes` through one of the networks, training about six; where not all are scored, ranking
    others takes `n_ranking` more for each that is. 256 rows that are spread as all are place a
    quantile of 10 % to within 1 %, or 2 % where the rough scores are rougher.
    """

    def affordable(n_passes):
        percent_of_training = 0.01 * 6 * n_samples * n_epochs / n_passes
        return int(max(percent_of_training, min(2000, 3 * percent_of_training)))

    is_all = n_samples <= max(512, affordable(n_passes))
    n_rows = n_samples if is_all else max(256, affordable(n_passes + n_ranking))
    return min(n_rows, 100_000)


def n_neighbours(n_samples, n_features):
    """Return with how many training rows an autoencoder's score compares others: up to 1,000.

    They have about a million cells at most.
    """
    return min(1000, 2**20 // n_features, n_samples)


def rows_for_codes(n_steps):
    """Return from how many rows it is learned what codes are like: 500 to 10,000.

    Of two for each training step the mixture of an autoencoder's codes takes up to a fifth of the
    time of these.
    """
    return int(np.clip(2 * n_steps, 500, 10_000))
