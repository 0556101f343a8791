"""The map between the caller's columns and working units, and its log-Jacobian."""

import numpy as np
import pytest
from helpers import make_rows
from scipy.stats import kstest, skew
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import minmax_scale

from skvae import _scaling
from skvae._scaling import have_common_units
from skvae._table import Layout, Table

SCALINGS = ["auto", "standard", "common", "quantile", None]


def skewed_rows(n_samples=400):
    return np.exp(make_rows(n_samples, 3))


@pytest.fixture(params=SCALINGS, ids=str)
def scaling(request):
    return request.param


def spread_around(X, factor=4.0, n_points=300):
    """Return points within and far outside of each column's range."""
    middle, half = (X.max(axis=0) + X.min(axis=0)) / 2, (X.max(axis=0) - X.min(axis=0)) / 2
    return middle + factor * half * np.linspace(-1, 1, n_points)[:, None]


@pytest.mark.parametrize("rows", [make_rows(400, 3), skewed_rows()], ids=["plain", "skewed"])
def test_backward_undoes_forward_and_forward_undoes_backward(scaling, rows):
    table = Table.fit(rows, scaling=scaling, random_state=0)
    points = spread_around(rows)
    size = np.abs(points).max()
    np.testing.assert_allclose(table.backward(table.forward(points)), points, atol=1e-10 * size)
    Z = spread_around(table.forward(rows))
    np.testing.assert_allclose(table.forward(table.backward(Z)), Z, rtol=1e-9, atol=1e-9)


def test_the_log_jacobian_is_that_of_finite_differences(scaling):
    X = skewed_rows()
    table = Table.fit(X, scaling=scaling, random_state=0)
    points = spread_around(X, n_points=101)
    step = 1e-7 * X.std(axis=0)
    slopes = (table.forward(points + step) - table.forward(points - step)) / (2 * step)
    got = np.broadcast_to(table.log_jacobian(points), len(points))
    away = np.abs(np.log(slopes).sum(axis=1) - got) < 1e-5
    # A difference across a knot of the piecewise linear map sees two slopes.
    assert away.mean() > 0.95


def test_the_map_is_monotone(scaling):
    X = skewed_rows()
    points = spread_around(X)
    assert (np.diff(Table.fit(X, scaling=scaling).forward(points), axis=0) > 0).all()


def test_standard_scaling_has_zero_mean_and_unit_variance():
    Z = Table.fit(skewed_rows(), scaling="standard").forward(skewed_rows())
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z.std(axis=0), 1)


def test_common_scaling_has_zero_mean_and_one_scale():
    X = skewed_rows()
    Z = Table.fit(X, scaling="common").forward(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z.var(axis=0).mean(), 1)
    np.testing.assert_allclose(Z.std(axis=0) / X.std(axis=0), Z[0, 0] / (X - X.mean(axis=0))[0, 0])


def marks(n_samples=300, seed=0):
    """Return marks out of ten in five subjects, of which one is easy."""
    marks = np.random.default_rng(seed).binomial(10, [0.3, 0.5, 0.6, 0.7, 0.95], (n_samples, 5))
    return marks.astype(float)


UNLIKE = {
    "normal": make_rows(400, 3),
    "skewed": skewed_rows(),
    "wine": load_wine().data,
    "wine from 0 to 1": minmax_scale(load_wine().data),
    "flags": (make_rows(400, 3) > 0).astype(float),
    "ages and marks": np.column_stack([np.arange(300.0) % 71, marks()]),
    "one column": marks()[:, :1],
    "constants": np.ones((30, 3)),
}


@pytest.mark.parametrize("X", [load_digits().data, marks()], ids=["digits", "marks"])
@pytest.mark.parametrize("unit", [1, 1 / 16, -1 / 255])
def test_pixels_and_marks_have_common_units(X, unit):
    assert have_common_units(X * unit + 3)
    with_gaps = np.where(make_rows(*X.shape) > 1, np.nan, X)
    assert have_common_units(with_gaps)
    assert have_common_units((X * unit).astype(np.float32))
    assert not have_common_units(X * np.geomspace(1, 10, X.shape[1]))
    assert np.ptp(Table.fit(X, scaling="auto").scale) == 0


@pytest.mark.parametrize("X", UNLIKE.values(), ids=UNLIKE)
def test_columns_of_other_tables_have_units_of_their_own(X):
    assert not have_common_units(X)
    by_itself, standard = (Table.fit(X, scaling=scaling).scale for scaling in ("auto", "standard"))
    np.testing.assert_array_equal(by_itself, standard)


def test_columns_that_are_not_scaled_do_not_count():
    X = np.column_stack([marks(), np.random.default_rng(0).permutation(300)])
    is_mark = np.arange(6) < 5
    layout = Layout(np.arange(6), is_mark, (), (), ())
    scale = Table.fit(X, layout, scaling="auto").scale
    np.testing.assert_allclose(scale[is_mark], np.sqrt(marks().var(axis=0).mean()))
    assert scale[5] == 1


def test_quantile_scaling_makes_columns_normal():
    X = skewed_rows(2000)
    Z = Table.fit(X, scaling="quantile", random_state=0).forward(X)
    for before, after in zip(X.T, Z.T, strict=True):
        assert abs(skew(after)) < 0.1 < skew(before)
        assert kstest(after, "norm").statistic < 0.05


def test_no_scaling_leaves_rows_as_they_are():
    X = skewed_rows()
    table = Table.fit(X, scaling=None)
    np.testing.assert_array_equal(table.forward(X), X)
    np.testing.assert_array_equal(table.backward(X), X)
    assert np.all(table.log_jacobian(X) == 0)


def test_weights_count_as_repetitions_for_standard_scaling():
    X, weights = skewed_rows(50), np.arange(50) % 3
    weighted = Table.fit(X, scaling="standard", sample_weight=weights.astype(float))
    repeated = Table.fit(np.repeat(X, weights, axis=0), scaling="standard")
    np.testing.assert_allclose(weighted.forward(X), repeated.forward(X))


def test_rows_without_weight_leave_no_trace_in_quantiles():
    X = skewed_rows(200)
    weights = np.repeat([1.0, 0.0], 100)
    X[100:] *= 1e3
    weighted = Table.fit(X, scaling="quantile", sample_weight=weights, random_state=0)
    alone = Table.fit(X[:100], scaling="quantile", random_state=0)
    np.testing.assert_allclose(weighted.forward(X[:100]), alone.forward(X[:100]), atol=0.3)


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_a_constant_column_has_scale_one(scaling):
    X = make_rows(100, 3)
    X[:, 1] = 7.0
    table = Table.fit(X, scaling=scaling, random_state=0)
    Z = table.forward(X)
    np.testing.assert_array_equal(Z[:, 1], 0)
    moved = X.copy()
    moved[:, 1] += 0.25
    np.testing.assert_allclose(table.forward(moved)[:, 1], 0.25)
    np.testing.assert_allclose(table.backward(table.forward(moved)), moved)
    alone = Table.fit(X[:, [0, 2]], scaling=scaling, random_state=0)
    np.testing.assert_allclose(table.log_jacobian(moved), alone.log_jacobian(moved[:, [0, 2]]))


@pytest.mark.parametrize("values", [[0, 0, 0, 1], [0, 0, 0, 0, 5, 6, 7, 8], [1, 2, 2, 2, 2, 3]])
def test_ties_share_a_place(values):
    X = np.repeat(np.array(values, dtype=float), 30)[:, None]
    table = Table.fit(X, scaling="quantile", random_state=0)
    Z = table.forward(X)
    assert np.isfinite(Z).all()
    assert len(np.unique(Z)) == len(np.unique(X))
    np.testing.assert_allclose(table.backward(Z), X, atol=1e-12)
    assert np.isfinite(table.log_jacobian(X)).all()


def test_float32_stays_float32(scaling):
    X = make_rows(100, 3)
    table = Table.fit(X, scaling=scaling, random_state=0)
    single = table.forward(X.astype(np.float32))
    assert single.dtype == table.backward(single).dtype == np.float32
    np.testing.assert_allclose(single, table.forward(X), rtol=1e-4, atol=1e-4)


def test_forward_leaves_its_argument_alone(scaling):
    X = make_rows(100, 3)
    table, before = Table.fit(X, scaling=scaling, random_state=0), X.copy()
    table.forward(X)[:] = 0
    table.backward(X)[:] = 0
    np.testing.assert_array_equal(X, before)


def test_far_values_stay_finite_and_apart(scaling):
    X = make_rows(100, 3)
    table = Table.fit(X, scaling=scaling, random_state=0)
    far = np.array([[1e6], [1e12], [1e30]]) * np.ones(3)
    Z = table.forward(far)
    assert np.isfinite(Z).all()
    assert (np.diff(Z, axis=0) > 0).all()


def test_a_variance_beyond_float64_is_an_error(scaling):
    X = make_rows(100, 3)
    X[:, 1] *= 1e200
    with pytest.raises(ValueError, match="Column 1 of X has values too large"):
        Table.fit(X, scaling=scaling)


def test_the_state_of_a_table_is_arrays_and_plain_values(scaling):
    table = Table.fit(make_rows(100, 3), scaling=scaling, random_state=0)
    again = Table.from_state(vars(table))
    X = make_rows(100, 3)
    np.testing.assert_array_equal(again.forward(X), table.forward(X))
    np.testing.assert_array_equal(again.log_jacobian(X), table.log_jacobian(X))


@pytest.mark.parametrize(("most", "share"), [(10, 0.001), (1, 0.001), (1, 0.1), (1, 0.4)])
def test_rare_values_of_a_column_do_not_lie_far_off(most, share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 2))
    rare = rng.random(5000) < share
    X[:, 0] = np.where(rare, 5 + X[:, 0], 0)
    table = Table.fit(X, scaling="standard", most_of_rare=most, random_state=0)
    assert table.scale[0] == pytest.approx(np.sqrt(np.mean(X[rare, 0] ** 2)) / most)
    assert table.scale[1] == pytest.approx(X[:, 1].std())


@pytest.mark.parametrize(("most", "share"), [(10, 0.02), (10, 0.49), (10, 0.9), (1, 0.6)])
def test_what_is_not_rare_is_standardised(most, share):
    X = np.zeros((1000, 2))
    X[: int(share * 1000), 1] = 3.0 + np.arange(int(share * 1000)) / 1000
    table = Table.fit(X, scaling="standard", most_of_rare=most, random_state=0)
    assert table.scale[1] == pytest.approx(X[:, 1].std())


def test_the_scale_of_rare_values_follows_weights():
    X = np.repeat([[0.0], [1.0], [3.0]], [6000, 10, 10], axis=0)
    weights = np.repeat([1.0, 2.0, 0.0], [6000, 10, 10])
    table = Table.fit(X, scaling="standard", sample_weight=weights, random_state=0)
    assert table.scale[0] == pytest.approx(0.1)


@pytest.mark.parametrize("unknown", [slice(500), slice(300, 700), slice(500, None)])
@pytest.mark.parametrize("weighs", [False, True])
def test_a_column_unknown_in_many_rows_is_scaled_by_the_others(monkeypatch, unknown, weighs):
    monkeypatch.setattr(_scaling, "PART_BYTES", 8 * 3 * 100)
    rng = np.random.default_rng(0)
    X = rng.normal(5, 2, (1000, 3))
    X[unknown, 1] = np.nan
    weights = rng.integers(1, 4, 1000).astype(float) if weighs else np.ones(1000)
    table = Table.fit(X, scaling="standard", sample_weight=weights if weighs else None)
    for j, x in enumerate(X.T):
        known = ~np.isnan(x)
        center = np.average(x[known], weights=weights[known])
        variance = np.average((x[known] - center) ** 2, weights=weights[known])
        assert table.center[j] == pytest.approx(center)
        assert table.scale[j] == pytest.approx(np.sqrt(variance))


def test_float32_values_are_mapped_alike_in_float64():
    X = (1e8 + 8 * np.random.default_rng(0).integers(0, 9, (500, 2))).astype(np.float32)
    table = Table.fit(X, scaling="standard")
    np.testing.assert_allclose(table.forward(X.astype(np.float64)), table.forward(X), atol=1e-6)
