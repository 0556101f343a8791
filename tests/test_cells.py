"""Single cells at the edge: far ones, those of other columns, frames without rows."""

import numpy as np
import pandas as pd
import pytest
from helpers import make_rows, quick


@pytest.mark.parametrize("far", [1e3, 1e6, 1e10])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_far_cell_has_finite_contributions_and_its_row_is_filled(Estimator, X, far, dtype):
    model = quick(Estimator).fit(X)
    rows = X[:5].astype(dtype)
    rows[:, 2], rows[:, 0] = far, np.nan
    assert np.isfinite(model.contributions(rows)).all()
    assert (model.contributions(rows).argmin(axis=1) == 2).all()
    for filled in [model.impute(rows), *model.impute(rows, n_draws=2)]:
        assert np.isfinite(filled).all()


def test_a_known_integer_outside_the_range_seen_is_untouched(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.integers(0, 10, 80), "x": rng.normal(size=80)})
    rows = frame.assign(n=50, x=np.nan)
    assert (quick(Estimator).fit(frame).impute(rows)["n"] == 50).all()


def test_imputed_rows_and_contributions_keep_the_index_of_pandas(Estimator):
    frame = pd.DataFrame(make_rows(60, 3), columns=list("abc"), index=np.arange(60) + 100)
    model = quick(Estimator).fit(frame)
    assert model.impute(frame).index.equals(frame.index)
    assert model.contributions(frame).index.equals(frame.index)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_an_array_is_read_like_the_frame_in_fit(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(1, 4, 80), "x": rng.normal(size=80)})
    model = quick(Estimator, likelihood={"a": "categorical"}).fit(frame)
    np.testing.assert_allclose(model.score_samples(frame.to_numpy()), model.score_samples(frame))


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_numbers_for_a_column_of_strings_are_an_error(Estimator):
    frame = pd.DataFrame({"a": list("uvw") * 30, "x": np.arange(90.0)})
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match="'a' had categories"):
        model.score_samples(np.zeros((3, 2)))


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
def test_one_likelihood_for_an_arrow_table(Estimator, likelihood):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"a": np.arange(60.0), "b": np.arange(60.0) ** 2})
    assert quick(Estimator, likelihood=likelihood).fit(table).sample(3).num_rows == 3


def test_a_warm_start_refuses_other_columns(Estimator):
    frame = pd.DataFrame(make_rows(60, 2), columns=["p", "q"])
    model = quick(Estimator, warm_start=True).fit(frame)
    for other in (frame[["q", "p"]], frame.rename(columns={"q": "r"}), frame[["p"]]):
        with pytest.raises(ValueError, match=r"feature names|warm_start|columns"):
            model.fit(other)


@pytest.mark.parametrize("value", [np.nan, np.inf, None, "many", -1, 2.5])
def test_a_condition_that_no_cell_can_have_names_the_column(Estimator, value):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.poisson(3, 80), "x": rng.normal(size=80)})
    model = quick(Estimator, likelihood={"n": "poisson"}).fit(frame)
    with pytest.raises(ValueError, match="'n'"):
        model.sample(2, conditions={"n": value})


@pytest.mark.parametrize("value", [5, -0.5])
def test_a_condition_on_a_flag_is_true_or_false(Estimator, value):
    frame = pd.DataFrame({"b": [True, False] * 30, "x": np.arange(60.0)})
    with pytest.raises(ValueError, match="'b'"):
        quick(Estimator).fit(frame).sample(2, conditions={"b": value})


def test_a_frame_without_rows_is_refused_in_words(Estimator):
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        quick(Estimator).fit(pd.DataFrame({"a": np.zeros(0), "b": np.zeros(0)}))
    frame = pd.DataFrame(make_rows(60, 2), columns=["p", "q"])
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        quick(Estimator).fit(frame).score_samples(frame[:0])


def test_a_condition_that_no_code_explains_is_an_error(Estimator, X):
    model = quick(Estimator).fit(X)
    with pytest.raises(ValueError, match="impossible, or too far"):
        model.sample(5, conditions={0: 1e200})


def test_a_count_below_zero_is_refused_after_fit_too(Estimator):
    counts = np.random.default_rng(0).poisson(3.0, (60, 3)) * 1.0
    model = quick(Estimator, likelihood="poisson").fit(counts)
    counts[4, 1] = -2
    for method in ("score_samples", "transform", "predict"):
        with pytest.raises(ValueError, match="'poisson' needs non-negative integers, got -2"):
            getattr(model, method)(counts)


def test_a_condition_outside_the_range_seen_is_kept_and_a_fraction_refused(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n": rng.integers(0, 10, 80), "x": rng.normal(size=80)})
    model = quick(Estimator).fit(frame)
    assert (model.sample(3, conditions={"n": 12})["n"] == 12).all()
    with pytest.raises(ValueError, match="Column 'n' has whole numbers only"):
        model.sample(3, conditions={"n": 1.5})


def test_conditions_that_few_codes_fit_are_drawn_with_a_warning(Estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1)) + 0.1 * rng.normal(size=(300, 4))
    model = quick(Estimator, max_iter=60, likelihood="gaussian").fit(X)
    rows = model.sample(50, conditions={0: 1.0, 1: 1.0})  # warnings are errors
    assert len(np.unique(rows[:, 2])) == 50
    with pytest.warns(UserWarning, match="of 100,000 codes about 1 carry all weight"):
        model.sample(50, conditions={0: 100.0})
    with pytest.warns(UserWarning, match="hardly go together"):
        model.sample(2, conditions={0: 100.0})


# (100 is so far from all rows that few codes fit.)
@pytest.mark.filterwarnings("ignore:The conditions hardly go together")
@pytest.mark.parametrize(("dtype", "value"), [("int8", 300), ("uint8", -5), ("Int64", 2**63)])
def test_a_condition_is_a_number_that_the_dtype_holds(Estimator, dtype, value):
    frame = pd.DataFrame({"n": np.arange(20), "x": np.linspace(0, 1, 20)})
    model = quick(Estimator).fit(frame.astype({"n": dtype}))
    with pytest.raises(ValueError, match=r"Column 'n' is U?Int\d+, which cannot be"):
        model.sample(3, conditions={"n": value})
    assert (model.sample(3, conditions={"n": 100})["n"] == 100).all()


@pytest.mark.parametrize("in_fit", [0, 0.25])
@pytest.mark.parametrize("as_rows", [np.asarray, pd.DataFrame])
def test_draws_for_a_gap_vary_as_much_as_what_it_hides(Estimator, in_fit, as_rows):
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(900, 2)) @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(900, 6))
    fitted, new = whole[:600], whole[600:]
    fitted = np.where(rng.random(fitted.shape) < in_fit, np.nan, fitted)
    model = quick(Estimator, max_iter=100).fit(as_rows(fitted))
    missing = rng.random(new.shape) < 0.25
    holed = as_rows(np.where(missing, np.nan, new))
    tables = np.array(model.impute(holed, n_draws=30))
    for share in (0.9, 0.5):
        low, high = np.quantile(tables, [0.5 - share / 2, 0.5 + share / 2], axis=0)
        held = ((low <= new) & (new <= high))[missing].mean()
        assert held == pytest.approx(share, abs=0.12)


def test_what_two_gaps_of_a_row_hide_is_drawn_together(Estimator):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 5))
    X[:, 1] = X[:, 0] + 0.3 * rng.normal(size=800)
    model = quick(Estimator, max_iter=100).fit(np.where(rng.random(X.shape) < 0.2, np.nan, X))
    X[:, :2] = np.nan  # of which the others tell nothing
    (filled,) = model.impute(X, n_draws=1)
    assert np.corrcoef(filled[:, 0], filled[:, 1])[0, 1] > 0.6


def test_a_column_with_one_known_value_leaves_others_filled(Estimator):
    X = make_rows(40, 3)
    X[1:, 1] = np.nan
    X[20:, 0] = np.nan
    for filled in quick(Estimator).fit(X).impute(X, n_draws=2):
        assert np.isfinite(filled).all()
        assert (filled[:, 1] == X[0, 1]).all()
