"""Whatever holds numbers is taken, and what cannot be taken is named."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from helpers import ESTIMATORS, make_rows, quick

from skvae import AutoencoderTransformer, VAETransformer
from skvae._arrays import DenseOnDemand, constant_cells

TAKING_ROWS = ["transform", "score_samples", "score", "decision_function", "predict"]


def read_only_memmap(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


CONTAINERS = {
    "list": lambda X, _: X.tolist(),
    "list of arrays": lambda X, _: list(X),
    "float32": lambda X, _: X.astype(np.float32),
    "float16": lambda X, _: X.astype(np.float16),
    "longdouble": lambda X, _: X.astype(np.longdouble),
    "int8": lambda X, _: X.astype(np.int8),
    "uint64": lambda X, _: X.astype(np.uint64),
    "bool": lambda X, _: X > 4,
    "object": lambda X, _: X.astype(object),
    "big-endian": lambda X, _: X.astype(">f8"),
    "Fortran order": lambda X, _: np.asfortranarray(X),
    "negative strides": lambda X, _: X[::-1, ::-1].copy()[::-1, ::-1],
    "every other column": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "memory map": read_only_memmap,
    "pandas": lambda X, _: pd.DataFrame(X),
    "nullable pandas": lambda X, _: pd.DataFrame(X.astype(int)).convert_dtypes(),
    "pandas of mixed numbers": lambda X, _: pd.DataFrame(X).astype({0: int, 1: "float32"}),
    "polars": lambda X, _: pl.DataFrame(X, schema=list("abcde")),
    "tensor": lambda X, _: torch.from_numpy(X.copy()),
    "tensor with gradient": lambda X, _: torch.from_numpy(X.copy()).requires_grad_(),
    "bfloat16 tensor": lambda X, _: torch.from_numpy(X.copy()).bfloat16(),
    "transposed tensor": lambda X, _: torch.from_numpy(X.T.copy()).T,
}


def as_float(X):
    """Return what a container holds, as the plain array that it stands for."""
    if isinstance(X, torch.Tensor):
        X = X.detach().float() if X.dtype == torch.bfloat16 else X.detach()
    X = np.asarray(X)
    return np.array(X, dtype=np.float32 if X.dtype == np.float32 else np.float64, order="C")


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_as_good_as_the_plain_array(Estimator, container, tmp_path):
    X = CONTAINERS[container](4 + make_rows(60, 5), tmp_path)
    plain = as_float(X)
    model, expected = quick(Estimator).fit(X), quick(Estimator).fit(plain)
    for name in TAKING_ROWS:
        # With the names of a frame, or a warning would tell that there are none.
        np.testing.assert_array_equal(getattr(model, name)(X), getattr(expected, name)(plain))
    codes = expected.transform(plain)
    assert codes.dtype == plain.dtype
    back = as_float(model.inverse_transform(torch.from_numpy(codes).requires_grad_()))
    wanted = expected.inverse_transform(codes)
    # Whole numbers come back whole, and in the range seen.
    whole = (plain == plain.round()).all(axis=0) & isinstance(X, (pd.DataFrame, pl.DataFrame))
    wanted[:, whole] = (
        wanted[:, whole].round().clip(plain[:, whole].min(0), plain[:, whole].max(0))
    )
    np.testing.assert_allclose(back, wanted, rtol=1e-6)  # float32 columns come back as such


def test_weights_may_be_tensors(Estimator, X):
    weights = torch.linspace(0.5, 2, len(X))
    model = quick(Estimator).fit(X, sample_weight=weights.bfloat16().requires_grad_())
    of_arrays = quick(Estimator).fit(X, sample_weight=weights.bfloat16().float().numpy())
    assert model.score(X, sample_weight=weights) == of_arrays.score(
        X, sample_weight=weights.numpy()
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_arrays_of_their_own_in_the_dtype_of_the_rows(Estimator, X, dtype):
    model = quick(Estimator).fit(X)
    rows = X.astype(dtype)
    codes, scores = model.transform(rows), model.score_samples(rows)
    back, drawn = model.inverse_transform(codes), model.sample(3)
    assert codes.dtype == back.dtype == dtype
    assert scores.dtype == drawn.dtype == model.decision_function(rows).dtype == np.float64
    assert model.predict(rows).dtype == np.int64
    assert type(model.score(rows)) is float
    for result in (codes, back, scores, drawn):
        assert type(result) is np.ndarray
        assert result.flags.c_contiguous
        assert result.flags.writeable
        assert not np.shares_memory(result, rows)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_rows_weights_and_codes_are_never_modified(Estimator, order, dtype, scaling):
    X = np.array(make_rows(60, 4), dtype=dtype, order=order)
    weights = np.linspace(0, 1, 60)
    copies = X.copy(), weights.copy()
    model = quick(Estimator, scaling=scaling).fit(X, sample_weight=weights)
    codes = model.transform(X)
    copied_codes = codes.copy()
    model.inverse_transform(codes)
    model.score(X, sample_weight=weights)
    for now, before in zip((X, weights, codes), (*copies, copied_codes), strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_fitted_model_does_not_depend_on_the_rows_any_more(Estimator):
    X, rows = make_rows(60, 4), make_rows(60, 4)
    model = quick(Estimator).fit(X)
    before = model.score_samples(rows)
    X[:] = 0
    np.testing.assert_array_equal(model.score_samples(rows), before)


def test_names_of_columns_are_remembered(Estimator, X):
    names = list("abcde")
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        assert quick(Estimator).fit(frame).feature_names_in_.tolist() == names


def test_labels_are_ignored(Estimator, X):
    expected = quick(Estimator).fit(X).score(X)
    for y in (np.zeros(100), ["a"] * 100, np.zeros(3)):
        assert quick(Estimator).fit(X, y).score(X, y) == expected


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("method", ["fit", "fit_transform", "fit_predict", *TAKING_ROWS])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinity_is_refused_by_every_method(Estimator, X, method, value, dtype):
    model = quick(Estimator).fit(X)
    rows = X.astype(dtype)
    rows[-1, 2] = value
    with pytest.raises(ValueError, match="Input X contains inf"):
        getattr(model, method)(rows)


def test_codes_must_be_finite(Estimator, X):
    model = quick(Estimator).fit(X)
    with pytest.raises(ValueError, match="NaN"):
        model.inverse_transform([[np.nan, 0.0]])


ROWS = make_rows(60, 5)
REFUSED = {
    "strings": (ROWS.astype(str).astype(object) + "x", "could not convert string"),
    "complex": (ROWS + 1j, "Complex data not supported"),
    "1-D": (ROWS[0], "Expected 2D array, got 1D array"),
    "3-D": (ROWS[None], "[Ff]ound array with dim 3"),
    "no rows": (ROWS[:0], r"0 sample\(s\)"),
    "no columns": (ROWS[:, :0], r"0 feature\(s\)"),
    "None": (None, "None|NoneType|scalar"),
    "a word": ("rows", "scalar|could not convert"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_of_numbers_is_named(Estimator, case):
    rows, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        quick(Estimator).fit(rows)


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_what_is_no_table_of_numbers_is_not_scored(Estimator, case):
    model = quick(Estimator).fit(ROWS)
    with pytest.raises((ValueError, TypeError)):
        model.score_samples(REFUSED[case][0])


def test_dates_are_refused(Estimator):
    dates = pd.DataFrame({"a": pd.date_range("2020", periods=20), "b": np.arange(20.0)})
    with pytest.raises((ValueError, TypeError)):
        quick(Estimator).fit(dates)


def test_one_row_cannot_be_learned_from(Estimator, X):
    with pytest.raises(ValueError, match="1 sample"):
        quick(Estimator).fit(X[:1])


@pytest.mark.parametrize("method", TAKING_ROWS)
def test_another_number_of_columns_is_named(Estimator, X, method):
    model = quick(Estimator).fit(X)
    message = f"X has 4 features, but {Estimator.__name__} is expecting 5 features"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X[:, :4])


@pytest.mark.parametrize("method", TAKING_ROWS)
@pytest.mark.parametrize("names", ["edcba", "abcdx"])
def test_columns_in_another_order_or_of_another_name_are_refused(Estimator, X, method, names):
    model = quick(Estimator).fit(pd.DataFrame(X, columns=list("abcde")))
    with pytest.raises(ValueError, match="feature names should match"):
        getattr(model, method)(pd.DataFrame(X, columns=list(names)))


def test_values_beyond_the_precision_of_training_are_named(Estimator):
    X = make_rows(60, 3)
    X[:, 1] *= 1e60
    with pytest.raises(ValueError, match=r"values too large for dtype\('float32'\).*scaling"):
        quick(Estimator, scaling=None, likelihood="gaussian").fit(X)
    assert np.isfinite(quick(Estimator).fit(X).score(X))


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_variance_beyond_float64_is_named(Estimator):
    X = make_rows(60, 3)
    X[:, 1] *= 1e200
    with pytest.raises(ValueError, match="Column 1 of X has values too large"):
        quick(Estimator).fit(X)


# ----------------------------------------------------------------------------- awkward numbers


@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_a_constant_column_does_no_harm(Estimator, scaling):
    X = make_rows(100, 4)
    X[:, 2] = 5.0
    model = quick(Estimator, scaling=scaling).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    back = model.inverse_transform(model.transform(X))
    if scaling:
        np.testing.assert_allclose(back[:, 2], 5.0, atol=1.0)


def test_a_constant_column_that_moves_by_a_hair_hardly_counts(Estimator):
    X = make_rows(100, 4)
    X[:, 2] = 5.0
    model = quick(Estimator, max_iter=100).fit(X)
    moved = X.copy()
    moved[:, 2] += 1e-6
    np.testing.assert_allclose(model.score_samples(moved), model.score_samples(X), atol=0.1)


@pytest.mark.parametrize("X", [np.zeros((30, 3)), np.full((30, 1), 1e9), np.ones((12, 5)) * 0.5])
def test_equal_rows_can_be_fitted(Estimator, X):
    model = quick(Estimator).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert (model.predict(X) == 1).all()


@pytest.mark.parametrize("n_samples", [2, 3, 9, 10, 33])
@pytest.mark.parametrize("n_features", [1, 4])
@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
def test_a_handful_of_rows_is_enough(Estimator, n_samples, n_features, scaling):
    X = make_rows(n_samples, n_features)
    model = Estimator(max_iter=3, random_state=0, scaling=scaling).fit(X)
    codes = model.transform(X)
    assert len(codes) == n_samples
    assert np.isfinite(model.inverse_transform(codes)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(4)).all()


def test_there_may_be_more_components_than_columns(Estimator, X):
    model = quick(Estimator, n_components=9).fit(X)
    assert model.transform(X).shape == (100, 9)
    assert model.inverse_transform(model.transform(X)).shape == X.shape
    assert model.sample(3).shape == (3, 5)


def test_a_far_row_has_a_finite_low_score(Estimator, X):
    model = quick(Estimator).fit(X)
    for dtype, far in [(np.float32, 1e30), (np.float64, 1e30), (np.float64, 1e100)]:
        scores = model.score_samples(np.full((1, 5), far, dtype=dtype))
        assert np.isfinite(scores).all()
        assert (scores < model.score_samples(X).min()).all()


def test_an_outlier_in_a_column_of_tiny_unit_is_found(Estimator):
    X = make_rows(300, 4)
    X[7, 2] += 100 * X[:, 2].std()
    X[:, 2] *= 1e-10
    assert quick(Estimator, max_iter=30).fit(X).score_samples(X).argmin() == 7


def test_large_integers_are_told_apart(Estimator):
    X = 2**30 + np.random.default_rng(0).integers(0, 2, size=(200, 3))
    codes = quick(Estimator, max_iter=30).fit(X).transform(X)
    assert len(np.unique(codes.round(6), axis=0)) == len(np.unique(X, axis=0))


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_the_share_of_outliers_is_the_contamination(Estimator, contamination):
    X = make_rows(300, 4)
    model = quick(Estimator, contamination=contamination).fit(X)
    assert (model.predict(X) == -1).sum() == round(contamination * 300)
    np.testing.assert_array_equal(model.predict(X) == -1, model.decision_function(X) < 0)
    scores = model.score_samples(X)
    np.testing.assert_array_equal(model.decision_function(X), scores - model.offset_)
    assert model.offset_ not in scores


@pytest.mark.parametrize("method", [*TAKING_ROWS, "impute", "contributions"])
@pytest.mark.parametrize(
    ("likelihood", "value"),
    [("auto", -50), ("auto", 2), ("poisson", -1), ("poisson", -0.5), ("multinomial", -3.5)],
)
def test_what_fit_would_refuse_is_refused_by_every_method(Estimator, method, likelihood, value):
    X = (make_rows(60, 4) > 0).astype(float)
    model = quick(Estimator, likelihood=likelihood, max_iter=1).fit(X)
    odd = X[:3].copy()
    odd[1, 2] = value
    with pytest.raises(ValueError, match=f"needs .*, got {value}"):
        getattr(model, method)(odd)
    with pytest.raises(ValueError, match=f"needs .*, got {value}"):
        model.set_params(warm_start=True).fit(odd)


def test_columns_that_are_constant_but_for_rounding_are_constant(Estimator):
    a = np.random.default_rng(0).random(200)
    spike = np.where(a < 0.7, 1 / 3, np.nextafter(1 / 3, 1))
    X = np.column_stack([a, spike, a * 3 / (a * 7)])
    model = quick(Estimator).fit(X)
    moved = X + np.array([0, 1e-6, 1e-6])
    np.testing.assert_allclose(model.score_samples(moved), model.score_samples(X), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_wildest_cell_is_found(Estimator, dtype):
    X = make_rows(100, 4).astype(dtype)
    X[::7, 1] = np.nan
    model = quick(Estimator).fit(X)
    wild = np.array([[1e20, np.nan, 0, 0], [1e20, 0, 0, 0]], dtype)
    np.testing.assert_array_equal(model.contributions(wild).argmin(axis=1), 0)
    assert np.isfinite(model.impute(wild)).all()
    for table in model.impute(np.vstack([X, wild]), n_draws=2):
        assert np.isfinite(table).all()


def test_what_is_too_far_for_any_float_is_an_outlier(Estimator):
    X = make_rows(100, 3)
    frame = pd.DataFrame(X, columns=list("abc")).assign(label=np.where(X[:, 0] > 0, "u", "v"))
    model = quick(Estimator).fit(frame)
    far = frame.head(2).assign(a=[1e308, frame.a[1]])
    assert model.score_samples(far)[0] < -1e20
    np.testing.assert_allclose(model.score_samples(far)[1:], model.score_samples(frame[1:2]))
    assert model.predict(far)[0] == -1
    assert not np.isnan(model.contributions(far)).any(axis=None)


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson", "multinomial", "student_t"])
def test_every_method_takes_what_others_return(Estimator, likelihood):
    X = (make_rows(80, 4) > 0).astype(float)
    X[::5, 1] = np.nan
    model = quick(Estimator, likelihood=likelihood, max_iter=2).fit(X)
    for rows in (model.impute(X), model.inverse_transform(model.transform(X)), model.sample(5)):
        assert np.isfinite(model.score_samples(rows)).all()
        assert np.isfinite(model.transform(rows)).all()


def labelled(X):
    """Return a frame in which a label and a level of detail occur in the first 200 rows only."""
    odd = np.arange(len(X)) < 200
    frame = pd.DataFrame(X, columns=list("abcd")).assign(b=np.where(odd, X[:, 1], X[:, 1].round()))
    return frame.assign(label=np.where(odd, "x", np.where(X[:, 0] > 0, "u", "v")))


@pytest.mark.parametrize("as_rows", [np.asarray, scipy.sparse.csr_array, labelled])
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(Estimator, as_rows):
    X = make_rows(300, 4)
    weights = np.random.default_rng(0).integers(0, 3, 300).astype(float)
    weights[:200] = 0
    known, rows = weights > 0, as_rows(X)
    among_all = quick(Estimator, max_iter=30).fit(rows, sample_weight=weights)
    alone = quick(Estimator, max_iter=30).fit(rows[known], sample_weight=weights[known])
    np.testing.assert_array_equal(among_all.score_samples(rows), alone.score_samples(rows))
    np.testing.assert_array_equal(among_all.sample(9), alone.sample(9))
    assert among_all.offset_ == alone.offset_
    assert len(set(among_all.validation_scores_)) > 1


def test_one_row_with_a_weight_cannot_be_learned_from(Estimator, X):
    with pytest.raises(ValueError, match="two rows"):
        quick(Estimator).fit(X, sample_weight=np.eye(len(X))[0])


def test_few_rows_with_a_weight_among_very_many(Estimator):
    weights = np.zeros(20_000)
    weights[:20] = np.arange(20)
    model = quick(Estimator, max_iter=1).fit(make_rows(20_000, 3), sample_weight=weights)
    assert np.isfinite(model.offset_)


def test_the_score_is_the_weighted_mean(Estimator, X):
    model = quick(Estimator).fit(X)
    scores, weights = model.score_samples(X), np.arange(100.0)
    assert model.score(X) == pytest.approx(scores.mean())
    assert model.score(X, sample_weight=weights) == pytest.approx(scores @ weights / weights.sum())


# ---------------------------------------------------------------------------------------- fuzz


def random_case(seed):
    """Return an estimator and rows of random kind."""
    rng = np.random.default_rng(seed)
    shape = rng.choice([2, 3, 5, 10, 33, 64, 65]), rng.choice([1, 2, 3, 8])
    X = make_rows(*shape, seed) * 10.0 ** rng.choice([-20, -3, 0, 3, 20])
    X = X + rng.choice([0, 0, 1e6])
    dtype = rng.choice(["f4", "f8", "f2", "i8", ">f8", "?", "O"])
    with np.errstate(all="ignore"):
        X = (np.clip(X, -6e4, 6e4) if dtype in ("f2", "i8") else X).astype(dtype)
    X = np.asarray(X, order=rng.choice(["C", "F"]))
    X = rng.choice([np.asarray, pd.DataFrame, np.ndarray.tolist, lambda X: X[::-1]])(X)
    parameters = {
        "n_components": int(rng.choice([1, 2, 12])),
        "hidden_layer_sizes": [(), (4,), (8, 8)][rng.integers(3)],
        "activation": str(rng.choice(["relu", "tanh", "gelu", "sigmoid", "identity", "elu"])),
        "likelihood": str(rng.choice(["auto", "gaussian", "bernoulli"])),
        "scaling": rng.choice(np.array(["standard", "quantile", None], dtype=object)),
        "learning_rate": float(rng.choice([1e-4, 1e-2, 1.0])),
        "batch_size": int(rng.choice([1, 4, 32, 1000])),
        "early_stopping": bool(rng.integers(2)),
        "contamination": float(rng.choice([0.01, 0.5])),
        "dtype": str(rng.choice(["float32", "float64"])),
    }
    Estimator = ESTIMATORS[rng.integers(2)]
    return Estimator(max_iter=2, random_state=seed, **parameters), X


def outputs_or_error(model, X):
    """Return what a model fitted to X gives for X, or the error that this ends in."""
    try:
        codes = model.fit(X).transform(X)
    except (ValueError, TypeError) as error:
        return str(error)
    rows = as_float(model.inverse_transform(codes)), as_float(model.sample(3))
    return codes, *rows, model.score_samples(X)


@pytest.mark.parametrize("seed", range(60))
def test_any_fit_gives_finite_results_or_a_clear_error(seed):
    model, X = random_case(seed)
    results = outputs_or_error(model, X)
    if isinstance(results, str):
        assert re.search(r"likelihood=|scaling|learning_rate|X ", results), results
        return
    assert all(np.isfinite(result).all() for result in results)
    assert set(model.predict(X)) <= {-1, 1}


@pytest.mark.filterwarnings("ignore:The conditions hardly go together")
@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("scaling", ["standard", "common", "quantile", None])
@pytest.mark.parametrize("value", [1e-9, 0.1, -3e7])
def test_what_a_column_always_is_it_is_in_draws(Estimator, scaling, value):
    X = make_rows(100, 4)
    X[:, 2] = value
    X[::4, 2:] = np.nan
    model = quick(Estimator, scaling=scaling).fit(X)
    for made in (
        model.sample(50, complete=True),
        model.inverse_transform(model.transform(X)),
        model.impute(X),
        *model.impute(X, n_draws=2),
    ):
        np.testing.assert_array_equal(made[:, 2], value)
        assert made[:, 1].std() > 0
    drawn = model.sample(50, conditions={2: 5.0})
    np.testing.assert_array_equal(drawn[:, 2], 5.0)


@pytest.mark.parametrize(
    "as_rows", [np.asarray, lambda X: DenseOnDemand(scipy.sparse.csr_array(X))]
)
def test_a_column_is_constant_up_to_rounding_and_in_all_rows(as_rows, monkeypatch):
    monkeypatch.setattr("skvae._arrays.PART_BYTES", 4096)
    X = np.ones((5000, 6))
    X[:, 5] = 0
    X[1::2, 0] += 4e-16
    X[4000, 1] = 1.1
    X[:1000, 2] = np.nan
    X[:, 3] = np.nan
    np.testing.assert_allclose(constant_cells(as_rows(X)), [1, np.nan, 1, np.nan, 1, 0])


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_auto_says_what_it_came_to(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"k": rng.choice(list("abc"), 90), "x": rng.normal(size=90)})
    frame["flag"] = frame["x"] > 0
    model = Estimator(max_iter=2, random_state=0).fit(frame)
    of_numbers = "gaussian" if Estimator is AutoencoderTransformer else "ordinal"
    assert model.likelihoods_ == ["categorical", of_numbers, "bernoulli"]
    assert model.n_components_ == model.transform(frame).shape[1]
    assert model.hidden_layer_sizes_ == (256, 128 if Estimator is AutoencoderTransformer else 256)
    assert model.batch_size_ == 32


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_a_column_that_varied_in_an_earlier_fit_is_not_constant(Estimator):
    X = make_rows(100, 4)
    model = quick(Estimator, warm_start=True).fit(X)
    model.fit(np.where(np.arange(4) == 3, 1.0, X))
    assert model.sample(50)[:, 3].std() > 0
    model = quick(Estimator, warm_start=True).fit(np.where(np.arange(4) == 3, 1.0, X))
    assert (model.fit(np.where(np.arange(4) == 3, 1.0, X)).sample(50)[:, 3] == 1).all()


def test_shares_of_flags_are_drawn_though_all_are_the_same():
    X = np.random.default_rng(0).random((200, 4))
    X[:, 1:3] = 0.5, 0.0
    drawn = quick(VAETransformer, likelihood="bernoulli").fit(X).sample(100)
    assert set(np.unique(drawn[:, 1])) == {0, 1}
    assert not drawn[:, 2].any()
