"""Columns as intervals of normal scores: exact on grids, at spikes, and between."""

import numpy as np
import pandas as pd
import pytest
from helpers import quick
from scipy.stats import kstest, norm

from skvae import VAETransformer
from skvae._knots import along, normal_knots
from skvae._marginal import Marginal

N = 3000


def columns():
    rng = np.random.default_rng(0)
    money = rng.gamma(2, 1000, N)
    return {
        "real": rng.normal(5, 2, N),
        "skewed": rng.lognormal(0, 2, N),
        "whole": rng.poisson(30, N).astype(float),
        "few": rng.integers(1, 5, N).astype(float),
        "eighths": rng.integers(0, 9, N) / 8,
        "decimals": rng.binomial(40, 0.4, N) / 200,
        "hundreds": 100.0 * rng.integers(3, 900, N),
        "spike below": np.where(rng.random(N) < 0.4, 0, money),
        "spike inside": np.where(rng.random(N) < 0.3, 1234.5678, money),
        "spike and grid": np.where(rng.random(N) < 0.9, 0, rng.choice([594.0, 7298, 15024], N)),
        "constant": np.full(N, 1 / 3),
        "constant whole": np.full(N, 7.0),
        "one row": np.array([2.5]),
        "two rows": np.array([1.0, 2.25]),
    }


@pytest.fixture(params=columns())
def column(request):
    return columns()[request.param]


def normal_draws(n=20_000):
    return norm.ppf((np.arange(n) + 0.5) / n)


def test_backward_undoes_forward_exactly_on_grids_and_at_spikes(column):
    marginal = Marginal.fit(column)
    middle, width = marginal.forward(column)
    back = marginal.backward(middle)
    np.testing.assert_allclose(back, column, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(back[width > 0], column[width > 0])


def test_normal_scores_become_values_as_often_as_they_occur(column):
    drawn, values = Marginal.fit(column).backward(normal_draws()), np.sort(column)
    places = np.unique(np.r_[drawn, values])
    shares = [np.searchsorted(np.sort(x), places, side="right") / len(x) for x in (drawn, values)]
    # within what is between two knots, or the share of a value that is one of few rows
    assert np.abs(shares[0] - shares[1]).max() < 0.02 + 0.5 / len(column)


def test_intervals_of_values_have_their_share_of_the_normal(column):
    marginal = Marginal.fit(column)
    values, counts = np.unique(column, return_counts=True)
    heavy = counts > 0.02 * len(column) + 10
    middle, width = marginal.forward(values[heavy])
    shares = norm.cdf(middle + width / 2) - norm.cdf(middle - width / 2)
    np.testing.assert_allclose(shares, counts[heavy] / len(column), rtol=0.05)


def test_values_come_out_on_their_grid_and_within_their_range(column):
    marginal = Marginal.fit(column)
    drawn = marginal.backward(np.linspace(-9, 9, 5001))
    assert (np.diff(drawn) >= 0).all()
    assert drawn.min() >= column.min()
    assert drawn.max() <= column.max()
    step = marginal.grid[0]
    if step:
        np.testing.assert_allclose(drawn / step, np.rint(drawn / step), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "step"),
    [("real", 0), ("whole", 1), ("decimals", 0.005), ("eighths", 0.001), ("spike below", 0)],
)
def test_the_grid_is_found(name, step):
    assert Marginal.fit(columns()[name]).grid[0] == step


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([1000], 1),
        ([1000, 5000], 1),
        ([0, 1000, 2000, 4000], 1),  # four values are too few
        ([0, 2000, 4000, 8000, 16_000], 1),  # no two of them are neighbours
        ([0, 1000, 2000, 4000, 8000], 1000),
        ([2.5], 0.1),
        ([1.5, 2.0, 2.5, 3.0, 4.5], 0.5),
        ([0.0], 1),
    ],
)
def test_few_values_do_not_tell_that_numbers_are_rounded(values, step):
    assert Marginal.fit(np.repeat(np.array(values, dtype=float), 30)).grid[0] == step


@pytest.mark.parametrize("unit", [1.0, 0.1])
@pytest.mark.parametrize("filled_in", [1, 30])
def test_means_filled_in_among_rounded_numbers_do_not_make_them_others(unit, filled_in):
    x = unit * np.random.default_rng(0).integers(-3, 80, 1000)
    x[:filled_in] = x.mean() + unit / 3
    marginal = Marginal.fit(x)
    assert marginal.grid[0] == unit
    drawn = marginal.backward(normal_draws())
    np.testing.assert_allclose(drawn / unit, np.rint(drawn / unit), atol=1e-9)
    assert drawn.mean() == pytest.approx(x.mean(), abs=unit)
    middle, width = marginal.forward(x)
    assert (width > 0).all()
    assert np.isfinite(marginal.log_slope(x)).all()
    assert np.abs(marginal.backward(middle) - x).max() <= unit / 2


def test_a_few_amounts_among_zeros_stay_what_they_are():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(2000) < 0.97, 0, np.round(rng.gamma(2, 1000, 2000), 3))
    assert Marginal.fit(x).grid[0] in (0, 0.001)


def test_what_a_column_of_few_values_never_had_is_unlikely():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"town": rng.choice(["A", "B"], 300), "limit": 1000})
    frame["plan"], frame["age"] = rng.choice([1000, 5000], 300), rng.integers(18, 80, 300)
    model = quick(VAETransformer, max_iter=100).fit(frame)
    usual = model.score_samples(frame).min()
    assert np.exp(model.contributions(frame)["limit"]).median() > 0.99
    for name, value in [("limit", 1001), ("limit", 1400), ("plan", 1234), ("plan", 4700)]:
        assert model.score_samples(frame.assign(**{name: value})).max() < usual


@pytest.mark.parametrize("n", [500, 1000, 1019])
def test_one_value_far_out_is_drawn_as_seldom_as_it_is(n):
    x = np.random.default_rng(0).normal(50, 10, n)
    x[0] = 99_999
    knots = normal_knots(x, None)
    for drawn in (Marginal.fit(x).backward(normal_draws()), along(normal_draws(), *knots[::-1])):
        assert (drawn > 100).mean() < 2 / n
        assert np.clip(drawn, None, 99_999).mean() < 1.1 * x.mean()


def test_the_ends_of_a_fine_grid_are_no_heaps():
    for seed in range(5):
        x = np.round(np.random.default_rng(seed).normal(1000, 300, 500))
        middle, width = Marginal.fit(x).forward(np.array([x.min(), x.max()]))
        share = norm.cdf(middle + width / 2) - norm.cdf(middle - width / 2)
        assert (share < 0.5 / len(x)).all()


def test_tails_are_drawn_as_long_as_they_are():
    for seed in range(5):
        x = np.random.default_rng(seed).lognormal(0, 2, 1019)
        drawn = Marginal.fit(x).backward(normal_draws())
        assert drawn.mean() == pytest.approx(x.mean(), rel=0.1)
        assert np.quantile(drawn, 0.99) == pytest.approx(np.quantile(x, 0.99), rel=0.5)


def test_values_that_differ_by_rounding_are_one():
    rng = np.random.default_rng(0)
    x = np.where(rng.random(200) < 0.6, 1 / 3, np.nextafter(1 / 3, 1))
    marginal = Marginal.fit(x)
    for values in (x, np.array([0.5, -1e9])):
        middle, width = marginal.forward(values)
        assert np.isfinite([middle, width, marginal.log_slope(values)]).all()
    assert len(np.unique(marginal.forward(x))) == 2  # a middle and a width


def test_neighbours_at_the_end_of_a_precision_are_not_one():
    x = np.arange(2**24 - 500, 2**24).astype(np.float32)
    middle, _ = Marginal.fit(x).forward(x)
    assert (np.diff(middle) > 0).all()


@pytest.mark.parametrize("unit", [1e-6, 1e-7, 1e-12, 1e-30, 1e12])
def test_small_numbers_are_on_no_coarse_grid(unit):
    x = columns()["real"]
    one, other = Marginal.fit(x), Marginal.fit(x * unit)
    assert other.grid[0] == 0
    np.testing.assert_allclose(other.forward(x * unit), one.forward(x), atol=1e-6)
    slopes = other.log_slope(x * unit) + np.log(unit)
    np.testing.assert_allclose(slopes, one.log_slope(x), atol=1e-6)
    assert Marginal.fit(np.array([1e-9, 1000, 5000])).grid[0] == 0
    assert Marginal.fit(np.zeros(9)).grid[0] == 1


def test_cells_of_whole_numbers_touch():
    marginal = Marginal.fit(columns()["whole"])
    middle, width = marginal.forward(np.arange(-50.0, 150))
    np.testing.assert_allclose((middle + width / 2)[:-1], (middle - width / 2)[1:], atol=1e-12)


def test_the_slope_is_that_of_finite_differences_beside_spikes():
    marginal = Marginal.fit(columns()["spike inside"])
    points, step = np.linspace(-500, 20_000, 501), 1e-4
    ends = [marginal.forward(points + shift)[0] for shift in (-step, step)]
    exact = np.abs(np.log((ends[1] - ends[0]) / (2 * step)) - marginal.log_slope(points)) < 1e-5
    assert exact.mean() > 0.98


def test_far_values_have_a_finite_slope(column):
    marginal, far = Marginal.fit(column), np.array([-1e15, -1e6, 1e6, 1e15])
    assert np.isfinite(marginal.log_slope(far)).all()
    assert all(np.isfinite(part).all() for part in marginal.forward(far))


def test_missing_values_stay_missing_and_leave_no_trace():
    x = columns()["spike below"]
    gaps = np.r_[x, np.full(50, np.nan)]
    marginal = Marginal.fit(gaps)
    for part, alone in zip(marginal, Marginal.fit(x), strict=True):
        np.testing.assert_array_equal(part, alone)
    assert np.isnan(marginal.forward(gaps)[0][-50:]).all()
    assert (marginal.log_slope(gaps)[-50:] == 0).all()
    assert np.isnan(Marginal.fit(np.full(3, np.nan)).backward(np.array([np.nan]))).all()


def test_weights_count_as_repetitions():
    x, weights = columns()["whole"][:300], 1 + np.arange(300) % 3
    weighted = Marginal.fit(x, weights.astype(float))
    repeated = Marginal.fit(np.repeat(x, weights))
    # but for the tails and the heaps, which go by the number of rows
    inner = np.abs(x - 30) < 8
    np.testing.assert_allclose(weighted.forward(x[inner]), repeated.forward(x[inner]), atol=0.1)


# ------------------------------------------------------------------------------ in a model


def table(n=2000):
    rng = np.random.default_rng(1)
    flag = rng.random(n) < 0.5
    return pd.DataFrame(
        {
            "count": rng.poisson(np.where(flag, 1, 4)),
            "balance": np.where(flag & (rng.random(n) < 0.8), 0, rng.gamma(4, 10, n)),
            "flag": np.where(flag, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def fitted():
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(32,),
        max_iter=60,
        learning_rate=5e-3,
        n_draws=512,
        random_state=0,
    )
    frame = table()
    return vae.fit(frame), frame


def test_the_density_has_probability_one_over_counts_a_spike_and_reals(fitted):
    vae, frame = fitted
    counts, flags = np.arange(-5, 40), ["no", "yes"]
    reals = np.linspace(-40.03, 250, 400)  # not at the spike
    area = reals[1] - reals[0]
    balance = np.r_[0.0, reals]
    weight = np.r_[1.0, np.full(len(reals), area)]
    total = 0.0
    for flag in flags:
        for count in counts:
            rows = pd.DataFrame({"count": count, "balance": balance, "flag": flag})
            total += weight @ np.exp(vae.score_samples(rows.astype(frame.dtypes.to_dict())))
    assert total == pytest.approx(1, abs=0.02)


def test_samples_have_the_marginals_of_the_table(fitted):
    vae, frame = fitted
    drawn = vae.sample(5000, random_state=0)
    assert (drawn.dtypes == frame.dtypes).all()
    for name in ("count", "balance"):
        # sampling error of the table, and 0.03 for the model
        limit = 1.36 * np.sqrt(1 / 2000 + 1 / 5000) + 0.03
        assert kstest(drawn[name], frame[name]).statistic < limit
        assert drawn[name].between(frame[name].min(), frame[name].max()).all()
    assert (drawn["balance"] == 0).mean() == pytest.approx(
        (frame["balance"] == 0).mean(), abs=0.05
    )


def test_the_spike_goes_with_its_flag(fitted):
    vae, _ = fitted
    for flag, share in [("yes", 0.8), ("no", 0.0)]:
        drawn = vae.sample(2000, random_state=0, conditions={"flag": flag})
        assert (drawn["balance"] == 0).mean() == pytest.approx(share, abs=0.15)


def test_a_condition_at_the_spike_is_kept(fitted):
    drawn = fitted[0].sample(500, random_state=0, conditions={"balance": 0.0})
    assert (drawn["balance"] == 0).all()
    assert (drawn["flag"] == "yes").mean() > 0.8


def test_gaps_are_filled_and_known_cells_are_as_they_were(fitted):
    vae, frame = fitted
    gaps = frame.astype({"count": float})[:200].copy()
    gaps.loc[::3, "balance"] = np.nan
    filled = vae.impute(gaps)
    assert not filled.isna().any().any()
    known = gaps["balance"].notna()
    np.testing.assert_array_equal(filled.loc[known, "balance"], gaps.loc[known, "balance"])
    np.testing.assert_array_equal(filled["count"], gaps["count"])


def test_an_array_may_have_ordinal_columns_too():
    frame = table().drop(columns="flag")
    X = frame.to_numpy(float)
    parameters = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0}
    of_array = VAETransformer(2, likelihood="ordinal", **parameters).fit(X)
    of_frame = VAETransformer(2, likelihood="ordinal", **parameters).fit(frame)
    np.testing.assert_allclose(of_array.score_samples(X), of_frame.score_samples(frame))
    np.testing.assert_allclose(of_array.sample(20), of_frame.sample(20).to_numpy())


def test_scores_do_not_depend_on_a_monotone_change_of_units():
    frame = table()
    parameters = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0}
    scores = [
        VAETransformer(2, **parameters).fit(way).score_samples(way)
        for way in (frame, frame.assign(balance=frame["balance"] * 8))
    ]
    # the log-Jacobian of the change: that of numbers, not of the probability of the spike
    shift = np.where(frame["balance"] == 0, 0, np.log(8))
    np.testing.assert_allclose(scores[0], scores[1] + shift, atol=1e-3)


def test_a_spike_learned_in_single_precision_is_known_in_double():
    x = np.random.default_rng(0).random(1000)
    x[:400] = 0.1
    marginal = Marginal.fit(x.astype(np.float32))
    for dtype in (np.float32, np.float64):
        _, width = marginal.forward(np.array([0.1, 0.5], dtype=dtype))
        assert width[0] > 0.5
        assert width[1] == 0


@pytest.mark.parametrize("spike", [1.0, 1e8, 1.6e9, 1e100])
def test_what_lies_near_a_spike_in_double_precision_is_not_the_spike(spike):
    x = spike * (1 - 1e-8 * np.random.default_rng(0).random(1000))
    x[:400] = spike
    _, width = Marginal.fit(x).forward(np.array([spike, spike * (1 - 1e-9)]))
    assert width[0] > 0.5
    assert width[1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grids_are_found_as_far_as_their_dtype_holds_them(rng, dtype):
    prices = np.round(np.exp(rng.normal(4, 1, 800)), 2).astype(dtype)
    counts = np.round(np.exp(rng.normal(8, 1, 800))).astype(dtype)
    assert Marginal.fit(prices)[0][0] == 0.01
    assert Marginal.fit(counts)[0][0] == 1


@pytest.mark.parametrize("values", [[-0.0446, 0.0507], [1.0, 9.0], [0.1, 0.25, 0.4, 7.0]])
def test_of_few_values_nothing_lies_between(values):
    rng = np.random.default_rng(0)
    x = rng.choice(values[:-1], 300)
    x[:3] = values[-1]  # a rare one is one, too
    marginal = Marginal.fit(x)
    made = marginal.backward(np.r_[np.linspace(-5, 5, 10_001), np.nan])
    assert set(made[:-1]) == set(values)
    assert np.isnan(made[-1])
    np.testing.assert_array_equal(marginal.backward(marginal.forward(x)[0]), x)
