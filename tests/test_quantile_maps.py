"""Numbers drawn for a frame: distributed as in their columns, going together as in p(x)."""

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers import quick
from scipy.stats import ks_2samp, spearmanr

from skvae import VAETransformer
from skvae._quantile_maps import QuantileMaps, limits

N = 1500


@pytest.fixture(scope="module")
def wines():
    """Return columns that no continuous density has: grids, heaps on them, a spike, a limit."""
    rng = np.random.default_rng(0)
    sweet = rng.normal(size=N)
    alcohol = np.where(rng.random(N) < 0.9, np.round(9 + sweet, 1), np.round(9 + sweet, 2))
    sugar = np.round(np.exp(1.5 * sweet + 0.3 * rng.normal(size=N)), 1)
    acid = np.maximum(0, sweet + rng.normal(size=N))
    return pd.DataFrame({"alcohol": alcohol, "sugar": sugar, "acid": acid})


def test_drawn_columns_are_distributed_as_those_of_fit(Estimator, wines):
    model = quick(Estimator, max_iter=60).fit(wines)
    drawn, of_density = model.sample(9000), quick(Estimator, max_iter=60).fit(wines.to_numpy())
    assert max(ks_2samp(wines, of_density.sample(9000)).statistic) > 0.1
    # 9,000 of the same distribution are .02 away; the rest is for the 5,000 by which it is known
    assert max(ks_2samp(wines, drawn).statistic) < 0.04
    assert ((drawn >= wines.min()) & (drawn <= wines.max())).all(axis=None)
    assert (drawn["alcohol"] == drawn["alcohol"].round(2)).all()
    assert (drawn["alcohol"] == drawn["alcohol"].round(1)).mean() > 0.85
    assert (drawn["acid"] == 0).mean() == pytest.approx((wines["acid"] == 0).mean(), abs=0.04)


def test_the_maps_rise(Estimator):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(400, 2)) @ rng.normal(size=(2, 3)))
    drawn = quick(Estimator).fit(X).sample(200)
    mapped = quick(Estimator).fit(pd.DataFrame(X))._maps.apply(drawn, 0)
    for before, after in zip(drawn.T, mapped.T, strict=True):
        assert (np.diff(after[before.argsort()]) >= 0).all()
        assert spearmanr(before, after).statistic > 0.99  # but for what lies beyond the range


def test_noise_beyond_the_range_is_not_taken_for_the_rarest_values():
    rng = np.random.default_rng(0)
    log_x = rng.normal(0, 1.5, 2000)
    frame = pd.DataFrame({"x": np.exp(log_x), "y": 10 + 2 * log_x + rng.normal(size=2000)})
    model = quick(VAETransformer, max_iter=100, hidden_layer_sizes=(64, 64)).fit(frame)
    drawn = model.sample(10_000)
    assert spearmanr(drawn["x"], drawn["y"]).statistic > 0.9
    lowest = drawn["y"][drawn["x"] < frame["x"].quantile(0.02)]
    assert lowest.median() < frame["y"].quantile(0.2)  # it was above the median


def test_what_is_missing_may_differ_from_what_is_known():
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    frame = pd.DataFrame({"x": x, "y": x + 0.3 * rng.normal(size=2000)})
    frame.loc[x > 0, "y"] = np.nan  # known of the lower half alone, of mean -.8
    drawn = quick(VAETransformer, max_iter=40).fit(frame).sample(2000, complete=True)
    assert drawn["y"].mean() > -0.3
    assert drawn["y"][drawn["x"] <= 0].mean() == pytest.approx(frame["y"].mean(), abs=0.12)


def test_given_cells_stay_and_others_are_mapped(Estimator, wines):
    drawn = quick(Estimator, max_iter=40).fit(wines).sample(50, conditions={"sugar": 0.123})
    assert (drawn["sugar"] == 0.123).all()
    assert (drawn["alcohol"] == drawn["alcohol"].round(2)).all()


def test_rows_of_weight_zero_and_outliers_tell_nothing_of_the_range(Estimator, wines):
    far = pd.concat([wines, wines[:30] + 1000], ignore_index=True)
    weights = np.r_[np.ones(N), np.zeros(30)]
    weighted = quick(Estimator).fit(far, sample_weight=weights)
    robust = quick(Estimator, robust=True, contamination=0.05, max_iter=40).fit(far)
    for model in (weighted, robust):
        assert (model.sample(1000) <= wines.max()).all(axis=None)


def test_drawn_rows_are_the_same_after_pickling(Estimator, wines):
    model = quick(Estimator).fit(wines)
    back = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(back.sample(20), model.sample(20))


def test_columns_of_which_nothing_is_to_be_learned_have_no_map():
    rng = np.random.default_rng(0)
    cells = np.c_[rng.normal(size=(50, 1)), np.ones(50), np.full(50, np.nan), np.arange(50) % 2]
    columns = limits(cells, range(4))
    assert list(columns) == [0, 3]
    drawn = rng.normal(size=(50, 4))
    maps = QuantileMaps.fit(columns, cells, None, drawn)
    np.testing.assert_array_equal(maps.apply(drawn, 0)[:, 1:3], drawn[:, 1:3])
    assert QuantileMaps.fit([], cells, None, drawn) == ((), (), ())
    assert QuantileMaps.fit([0], cells, None, drawn[:10]).columns == ()


def test_a_number_of_two_values_is_drawn_as_one_of_them(Estimator):
    rng = np.random.default_rng(0)
    is_high = rng.random(400) < 0.3
    x = rng.normal(size=400) + 3 * is_high
    frame = pd.DataFrame({"code": np.where(is_high, 0.0507, -0.0446), "x": x})
    drawn = quick(Estimator, max_iter=100).fit(frame).sample(4000)
    assert set(drawn["code"]) == {0.0507, -0.0446}
    assert (drawn["code"] > 0).mean() == pytest.approx(is_high.mean(), abs=0.04)
    means = drawn["x"].groupby(drawn["code"] > 0).mean()
    assert means[True] - means[False] > 1.5


def test_filled_gaps_are_values_that_columns_take(Estimator, wines):
    rng = np.random.default_rng(0)
    frame = wines.assign(code=np.where(wines["acid"] > 0.5, 0.0507, -0.0446))
    holed = frame.mask(rng.random(frame.shape) < 0.2)
    model = quick(Estimator, max_iter=60).fit(holed)
    holed.loc[0, "sugar"] = 10 * wines["sugar"].max()  # what is known may be out of range
    for filled in model.impute(holed, n_draws=2):
        gaps = holed.isna()
        made = filled.where(gaps)
        pd.testing.assert_frame_equal(filled.where(~gaps), holed)
        assert set(made["code"].dropna()) == {0.0507, -0.0446}
        assert made["sugar"].between(wines["sugar"].min(), wines["sugar"].max())[gaps.sugar].all()
        assert (made["acid"] == 0).sum() > 0.5 * (frame["acid"] == 0)[gaps.acid].sum()
        assert spearmanr(filled["alcohol"], filled["sugar"]).statistic > 0.6


def test_missing_draws_stay_missing():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(50, 1))
    maps = QuantileMaps.fit([0], cells, None, cells + 1)
    mapped = maps.apply(np.array([[np.nan], [1.0]]), 0)
    assert np.isnan(mapped[0, 0])
    assert mapped[1, 0] == pytest.approx(0, abs=0.1)


def test_of_one_row_draws_are_moved_by_as_much_as_they_vary():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(3000, 1))
    maps = QuantileMaps.fit([0], cells, None, cells + 1)
    all_but_known = 0.5 + 0.01 * rng.normal(size=(400, 1))
    np.testing.assert_allclose(maps.apply(all_but_known, 0, 400), all_but_known, atol=0.05)
    unknown = 1 + rng.normal(size=(400, 1))
    moved = maps.apply(np.concatenate([all_but_known, unknown]), 0, 400)
    np.testing.assert_allclose(moved[:400], all_but_known, atol=0.05)
    np.testing.assert_allclose(moved[400:], unknown - 1, atol=0.3)
