"""Noise spread evenly over the draws of a row, so that means are not off, or going together."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import quick
from scipy.stats import norm, t
from torch import Generator

from skvae import VAETransformer
from skvae._noise import EvenGenerator, correlating, normal_like, t_like

N_DRAWS = 256


def draws(generator, df=None):
    x = torch.empty(N_DRAWS, 3, dtype=torch.float64)
    drawn = normal_like(x, generator) if df is None else t_like(x, df, generator)
    return drawn.numpy()


@pytest.mark.parametrize("df", [None, 3.0, 8.0])
def test_each_part_of_the_distribution_is_met_once(df):
    places = (np.arange(N_DRAWS) + 0.5) / N_DRAWS
    expected = norm.ppf(places) if df is None else t.ppf(places, df)
    drawn = np.sort(draws(EvenGenerator().manual_seed(0), df), axis=0)
    for column in drawn.T:
        np.testing.assert_allclose(column[3:-3], expected[3:-3], atol=0.1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("df", [None, 3.0])
def test_columns_are_in_orders_of_their_own_and_as_the_seed_says(df):
    drawn = draws(EvenGenerator().manual_seed(0), df)
    assert np.abs(np.corrcoef(drawn.argsort(axis=0).argsort(axis=0).T) - np.eye(3)).max() < 0.2
    np.testing.assert_array_equal(draws(EvenGenerator().manual_seed(0), df), drawn)
    assert not (draws(EvenGenerator().manual_seed(1), df) == drawn).all()


def test_noise_of_other_generators_is_independent():
    drawn = draws(Generator().manual_seed(0))
    assert len(np.unique(drawn)) == drawn.size


@pytest.mark.parametrize(
    "settings",
    [{}, {"scaling": "quantile"}, {"scaling": "quantile", "likelihood": "gaussian"}],
    ids=["ordinal", "t", "gaussian"],
)
def test_means_that_are_filled_in_are_those_of_draws_in_all_columns(settings):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.lognormal(size=(600, 8)), columns=list("stuvwxyz"))
    if not settings:
        frame["a label"] = rng.choice(["a", "b"], 600)
    holed = frame.mask(rng.random(frame.shape) < 0.3)
    model = quick(VAETransformer, max_iter=30, **settings).fit(holed)
    numbers, missing = list("stuvwxyz"), holed.isna()
    means = model.impute(holed)[numbers].where(missing).mean()
    model._maps = None  # which bring draws, not means, nearer to the distribution in the data
    tables = model.impute(holed, n_draws=40)
    of_draws = sum(table[numbers].where(missing).mean() for table in tables) / 40
    np.testing.assert_allclose(means, of_draws, rtol=0.09)  # .8 to 1.3 before


def test_noise_goes_together_as_errors_do():
    rng = np.random.default_rng(0)
    truth = np.array([[1, 0.8, 0], [0.8, 1, -0.5], [0, -0.5, 1]])
    errors = torch.from_numpy(rng.multivariate_normal(np.zeros(3), truth, 4000) * [1, 50, 0.01])
    observed = torch.from_numpy(rng.random(errors.shape) < 0.6).double()
    matrix = correlating(errors, observed, None)
    np.testing.assert_allclose(matrix @ matrix.T, truth, atol=0.06)


def test_weights_of_rows_count_like_repetitions():
    rng = np.random.default_rng(0)
    errors = torch.from_numpy(rng.normal(size=(40, 3)))
    observed = torch.from_numpy(rng.random(errors.shape) < 0.6).double()
    times = torch.from_numpy(rng.integers(0, 3, 40))
    weighted = correlating(errors, observed, times[:, None].double())
    rows = torch.arange(40).repeat_interleave(times)
    repeated = correlating(errors[rows], observed[rows], None)
    np.testing.assert_allclose(weighted, repeated, atol=1e-9)


def test_cells_never_seen_together_have_noise_of_their_own():
    observed = torch.eye(4)[torch.arange(40) % 4]
    matrix = correlating(torch.ones(40, 4), observed, None)
    np.testing.assert_allclose(matrix, np.eye(4), atol=1e-12)
