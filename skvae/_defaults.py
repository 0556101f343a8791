"""What "auto" means: sizes of the network and of the training, from the shape of the data."""

import numpy as np

# Steps of the optimiser after which most tables are learned, and epochs that large ones get.
N_STEPS = 4_000
# Rows from which an autoencoder has more steps: it can learn more of them, and seldom by heart.
ROWS_FOR_MORE = 10_000
MIN_EPOCHS, MAX_EPOCHS = 20, 1_000


def power_of_two(number, low, high):
    """Return the power of two nearest to a number, between two others."""
    return int(2 ** np.round(np.log2(np.clip(number, low, high))))


def n_components(n_features, n_cells=np.inf):
    """Return half the columns, 2 to 16, but fewer than the cells.

    With as many an autoencoder could restore any row, so none would look like an outlier.
    """
    return int(max(1, min(np.clip(n_features // 2, 2, 16), n_cells - 1)))


def hidden_layer_sizes(n_samples, n_features, least=128, is_discrete=False):
    """Return two layers, about twice and once as wide as the data.

    There are none where flags or counts have as many columns as rows: each tells so little of its
    row that a linear map, with its fewer weights, is all that can be learned.
    """
    if is_discrete and n_features >= n_samples:
        return ()
    width = power_of_two(2 * n_features, least, 512)
    return width, width // 2


def batch_size(n_samples):
    """Return a sixteenth of the rows, 32 to 256."""
    return power_of_two(n_samples / 16, 32, 256)


def n_steps_by_rows(n_samples):
    """Return N_STEPS, or more as the square root of the rows where they are many."""
    return N_STEPS * max(1.0, n_samples / ROWS_FOR_MORE) ** 0.5


def max_iter(n_samples, batch_size, n_steps=N_STEPS):
    """Return the epochs that make about so many steps."""
    return int(np.clip(n_steps * batch_size // n_samples, MIN_EPOCHS, MAX_EPOCHS))


def n_iter_no_change(max_iter):
    """Return a fifth of the epochs, at least 10."""
    return max(10, max_iter // 5)


def held_out(n_samples, fraction):
    """Return the number of rows to hold out: none below 10 rows, at most 10,000 or half."""
    most = min(10_000, n_samples // 2)
    return 0 if n_samples < 10 else int(np.clip(round(fraction * n_samples), 1, most))


def rows_for_offset(n_samples, n_epochs, n_passes, n_weights):
    """Return how many training rows to score for the threshold, from 128 to 100,000.

    All of them, unless that costs more than a hundredth of training and more than 700 million
    multiplications. Scoring a row takes `n_passes` through one of the networks, training about
    six. 128 rows place a quantile of 10 % to within 3 %.
    """
    part_of_training = 0.01 * 6 * n_samples * n_epochs / n_passes
    affordable = max(128, part_of_training, 2 * 7e8 / (n_passes * n_weights))
    return min(n_samples, 100_000, int(affordable))


def rows_for_density(n_steps):
    """Return from how many rows the density of the codes is learned: 500 to 2,000.

    Training that takes fewer steps than these rows would not be worth as many.
    """
    return int(np.clip(n_steps, 500, 2000))
