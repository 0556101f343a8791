"""Data frames: what goes in comes out, each column has its likelihood, and the density is one."""

import itertools
import pickle
import warnings
from decimal import Decimal

import narwhals as nw
import numpy as np
import pytest
import scipy.sparse
from helpers import make_rows, quick
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")


def pandas_table(n_samples=120, seed=0):
    """Return a frame with a column of each kind; those that end in _gaps have missing cells."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 91, n_samples)
    gaps = rng.random(n_samples) < 0.2
    return pd.DataFrame(
        {
            "income": rng.lognormal(10, 1, n_samples),
            "age": age,
            "single": rng.normal(size=n_samples).astype(np.float32),
            "small": rng.integers(0, 4, n_samples).astype(np.uint8),
            "member": age > 40,
            "answer": rng.choice(["no", "yes"], n_samples),
            "city": rng.choice(["Aachen", "Bonn", "Celle"], n_samples),
            "grade": pd.Categorical(
                rng.choice(["low", "high"], n_samples), ["low", "mid", "high"], ordered=True
            ),
            "whole": pd.array(age // 10, dtype="Int64"),
            "whole_gaps": pd.Series(pd.array(age // 20, dtype="Int64")).mask(gaps),
            "flag_gaps": pd.Series(pd.array(age > 60, dtype="boolean")).mask(gaps),
            "text_gaps": pd.Series(rng.choice(["u", "v", "w"], n_samples), dtype="string").mask(
                gaps
            ),
            "float_gaps": np.where(gaps, np.nan, age * 0.5),
        }
    )


def polars_table(n_samples=120, seed=0):
    rng = np.random.default_rng(seed)
    levels = pl.Enum(["low", "mid", "high"])
    gaps = rng.random(n_samples) < 0.2

    def with_gaps(values):
        return [None if gap else value for gap, value in zip(gaps, values, strict=True)]

    return pl.DataFrame(
        {
            "income": rng.lognormal(10, 1, n_samples),
            "age": rng.integers(18, 91, n_samples),
            "single": pl.Series(rng.normal(size=n_samples), dtype=pl.Float32),
            "small": pl.Series(rng.integers(0, 4, n_samples), dtype=pl.UInt8),
            "member": rng.random(n_samples) < 0.5,
            "city": rng.choice(["Aachen", "Bonn", "Celle"], n_samples).tolist(),
            "grade": pl.Series(rng.choice(["low", "high"], n_samples).tolist(), dtype=levels),
            "colour": pl.Series(rng.choice(list("rgb"), n_samples).tolist(), dtype=pl.Categorical),
            "flag_gaps": with_gaps((rng.random(n_samples) < 0.5).tolist()),
            "whole_gaps": with_gaps(rng.integers(0, 9, n_samples).tolist()),
        }
    )


TABLES = {"pandas": pandas_table, "polars": polars_table}
WHOLE = ["age", "small", "whole", "whole_gaps"]


@pytest.fixture(params=TABLES)
def frame(request):
    return TABLES[request.param]()


def schema_of(frame):
    """Return names and dtypes; those of pandas' categories have their levels and order."""
    return list(zip(frame.columns, list(frame.dtypes), strict=True))


def known(frame, name):
    return frame[name].dropna() if isinstance(frame, pd.DataFrame) else frame[name].drop_nulls()


def assert_of_the_schema(rows, frame, n_rows):
    """Check that rows could stand in the frame: dtypes, levels, whole numbers, ranges, no gaps."""
    assert type(rows) is type(frame)
    assert len(rows) == n_rows
    assert schema_of(rows) == schema_of(frame)
    for name in rows.columns:
        values, seen = known(rows, name), known(frame, name)
        assert len(values) == n_rows
        if name in WHOLE:
            assert seen.min() <= values.min() <= values.max() <= seen.max()
            np.testing.assert_array_equal(values.to_numpy() % 1, 0)
        elif name not in ("income", "single", "float_gaps"):
            assert set(values) <= set(seen)
        else:
            assert np.isfinite(values.to_numpy()).all()


def test_samples_and_reconstructions_keep_to_the_schema(Estimator, frame):
    model = quick(Estimator).fit(frame)
    drawn = model.sample(300, random_state=0, complete=True)
    assert_of_the_schema(drawn, frame, 300)
    assert_of_the_schema(model.inverse_transform(model.transform(frame)), frame, len(frame))


def test_codes_far_away_are_decoded_to_the_schema(Estimator, frame):
    model = quick(Estimator).fit(frame)
    codes = 10.0 * np.random.default_rng(0).normal(size=(50, 2))
    assert_of_the_schema(model.inverse_transform(codes), frame, 50)


def test_samples_vary_in_every_column(Estimator, frame):
    rows = quick(Estimator).fit(frame).sample(300, random_state=0)
    assert all(len(set(rows[name])) > 1 for name in rows.columns)


def test_conditional_samples_keep_to_the_schema(Estimator, frame):
    given = {"city": "Bonn", "age": 40, "grade": "high", "member": True, "flag_gaps": False}
    model = quick(Estimator).fit(frame)
    rows = model.sample(50, random_state=0, conditions=given, complete=True)
    assert_of_the_schema(rows, frame, 50)
    for name, value in given.items():
        assert set(rows[name]) == {value}


def test_conditions_on_what_is_not_there_are_named(Estimator, frame):
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match="no column 'town'"):
        model.sample(conditions={"town": "Bonn"})
    with pytest.raises(ValueError, match=r"'city' has no level 'Paris'.*'Aachen'"):
        model.sample(conditions={"city": "Paris"})


@pytest.mark.parametrize("value", [np.nan, np.inf, None, "many", -1, 2.5])
def test_a_condition_that_no_cell_can_have_names_the_column(Estimator, value):
    model = quick(Estimator, likelihood={"visits": "poisson"}).fit(counts_table())
    with pytest.raises(ValueError, match="'visits'"):
        model.sample(2, conditions={"visits": value})


@pytest.mark.parametrize("value", [5, -0.5])
def test_a_condition_on_a_flag_is_true_or_false(Estimator, frame, value):
    with pytest.raises(ValueError, match="'member'"):
        quick(Estimator).fit(frame).sample(2, conditions={"member": value})


# ----------------------------------------------------------------------------- the density


def survey(n_samples=2000, seed=0):
    """Return two columns of three levels and a flag, that depend on one another."""
    rng = np.random.default_rng(seed)
    sex = rng.random(n_samples) < 0.4
    shares = np.where(sex[:, None], [0.7, 0.2, 0.1], [0.1, 0.3, 0.6])
    level = (rng.random((n_samples, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    moved = np.where(rng.random(n_samples) < 0.6, level, rng.integers(0, 3, n_samples))
    return pd.DataFrame(
        {
            "answer": pd.Categorical.from_codes(level, ["never", "often", "sometimes"]),
            "sex": np.where(sex, "F", "M"),
            "colour": np.array(["red", "green", "blue"])[moved],
        }
    )


def combinations(frame):
    levels = {name: sorted(set(frame[name])) for name in frame.columns}
    return pd.DataFrame(itertools.product(*levels.values()), columns=list(levels))


def shares(column, levels):
    return column.value_counts(normalize=True).reindex(levels, fill_value=0).to_numpy(float)


def total_variation(column, other):
    levels = sorted(set(column) | set(other))
    return 0.5 * np.abs(shares(column, levels) - shares(other, levels)).sum()


@pytest.fixture(scope="module")
def trained():
    """A VAE that knows the survey well, and the survey."""
    frame = survey()
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(32,),
        max_iter=100,
        batch_size=64,
        learning_rate=1e-2,
        n_draws=1024,
        random_state=0,
    )
    return vae.fit(frame), frame


def test_the_density_of_a_table_of_categories_sums_to_one(trained):
    vae, frame = trained
    # (3 * 2 * 3 cells, each estimated by 1024 draws)
    assert np.exp(vae.score_samples(combinations(frame))).sum() == pytest.approx(1, abs=0.01)


def test_the_density_of_flags_and_gaps_sums_to_one():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.random(300) < 0.3, "b": rng.choice(["u", "v", "w"], 300)})
    frame["c"] = pd.Series(frame["a"] ^ (rng.random(300) < 0.1), dtype="boolean").mask(
        rng.random(300) < 0.2
    )
    vae = quick(VAETransformer, max_iter=30, n_draws=1024).fit(frame)
    rows = combinations(frame.dropna())
    assert np.exp(vae.score_samples(rows)).sum() == pytest.approx(1, abs=0.01)
    # The known cells have a density of their own, the same whatever column is not known.
    unknown_c = rows.drop_duplicates(["a", "b"]).assign(c=None)
    assert np.exp(vae.score_samples(unknown_c)).sum() == pytest.approx(1, abs=0.01)


def frequencies(rows, cells):
    """Return the share of each of the cells among rows."""
    index = pd.MultiIndex.from_frame(cells)
    return rows.value_counts(normalize=True).reindex(index, fill_value=0).to_numpy()


def test_the_density_is_the_frequency_of_each_row(trained):
    vae, frame = trained
    cells = combinations(frame)
    exact = frequencies(frame, cells)
    distance = 0.5 * np.abs(np.exp(vae.score_samples(cells)) - exact).sum()
    # sampling error of the 2000 rows, and 0.06 for the model; independent columns are 0.3 away
    assert distance < 0.5 * np.sqrt(len(cells) / len(frame)) + 0.06
    marginals = [cells[name].map(frame[name].value_counts(normalize=True)) for name in frame]
    independent = np.prod([np.asarray(m, dtype=float) for m in marginals], axis=0)
    assert 0.5 * np.abs(independent - exact).sum() > 0.3


def test_samples_have_the_probabilities_of_the_density(trained):
    vae, frame = trained
    cells = combinations(frame)
    drawn = frequencies(vae.sample(20_000, random_state=1), cells)
    distance = 0.5 * np.abs(np.exp(vae.score_samples(cells)) - drawn).sum()
    # sampling error of the 20,000 draws, and 0.005 for that of the scores
    assert distance < 0.5 * np.sqrt(len(cells) / 20_000) + 0.005


def test_marginals_of_samples_are_those_of_the_data(trained):
    vae, frame = trained
    drawn = vae.sample(20_000, random_state=0)
    for name in frame.columns:
        n_levels = frame[name].nunique()
        # the sampling error of the data, and 0.02 for the model
        assert total_variation(drawn[name], frame[name]) < 0.5 * np.sqrt(n_levels / 2000) + 0.02


@pytest.fixture(scope="module")
def two_columns():
    """A VAE that knows two columns well, and the table."""
    frame = survey()[["sex", "answer"]]
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(32,),
        max_iter=100,
        batch_size=64,
        learning_rate=1e-2,
        n_draws=1024,
        random_state=0,
    )
    return vae.fit(frame), frame


@pytest.mark.parametrize("given", [{"sex": "F"}, {"sex": "M"}, {"answer": "never"}])
def test_conditional_samples_have_the_conditional_frequencies(two_columns, given):
    vae, frame = two_columns
    ((name, value),) = given.items()
    other = {"sex": "answer", "answer": "sex"}[name]
    drawn = vae.sample(5000, random_state=0, conditions=given)
    assert set(drawn[name]) == {value}
    cells = combinations(frame)
    cells = cells[cells[name] == value]
    shares = frequencies(drawn, cells)

    # of the model: sampling error, sqrt(n_levels / n_draws), and 0.01 for the 100,000 codes
    density = np.exp(vae.score_samples(cells))
    assert 0.5 * np.abs(shares - density / density.sum()).sum() < np.sqrt(3 / 5000) + 0.01
    # of the data: the sampling error of these, too, and 0.05 for the model; what rows without
    # the condition have is 0.2 away and more
    rows = frame[frame[name] == value]
    exact = frequencies(rows, cells)
    limit = 0.5 * np.sqrt(len(cells) / len(rows)) + 0.05
    assert 0.5 * np.abs(shares - exact).sum() < limit
    assert total_variation(rows[other].astype(str), frame[other].astype(str)) > 2 * limit


def test_conditions_on_a_number_move_the_others_as_the_exact_conditional():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)  # so many that the quantiles of y are those of a normal
    frame = pd.DataFrame({"x": 5 + 2 * x, "y": 0.8 * x + 0.6 * rng.normal(size=5000)})
    vae = VAETransformer(
        1, hidden_layer_sizes=(), max_iter=40, learning_rate=1e-2, random_state=0
    ).fit(frame)
    for value in (-1.5, 0, 1.5):
        y = vae.sample(4000, random_state=0, conditions={"x": 5 + 2 * value})["y"]
        # 0.6 / sqrt(4000) is 0.01; the rest is for the model and the data
        assert y.mean() == pytest.approx(0.8 * value, abs=0.1)
        assert y.std() == pytest.approx(0.6, rel=0.1)


# ------------------------------------------------------------------------ order and names


def test_permuted_columns_are_sampled_in_their_order(Estimator):
    rng = np.random.default_rng(0)
    frame = survey(600).assign(count=rng.integers(5, 9, 600), size=rng.normal(50, 3, 600))
    for names in (list(frame.columns), ["size", "sex", "count", "colour", "answer"]):
        model = quick(Estimator, max_iter=60).fit(frame[names])
        drawn = model.sample(3000, random_state=0)
        assert schema_of(drawn) == schema_of(frame[names])
        for name in ("answer", "sex", "colour"):
            assert total_variation(drawn[name], frame[name]) < 0.1
        for name in ("count", "size"):
            assert abs(drawn[name].mean() - frame[name].mean()) < 0.2 * frame[name].std()
            assert drawn[name].std() == pytest.approx(frame[name].std(), rel=0.2)


METHODS = ["transform", "score_samples", "predict", "impute", "contributions"]


@pytest.mark.parametrize("method", METHODS)
def test_other_columns_are_refused_by_name(Estimator, frame, method):
    call = getattr(quick(Estimator).fit(frame), method)
    with pytest.raises(ValueError, match="must be in the same order"):
        call(frame[frame.columns[::-1]])
    renamed = frame.rename({"city": "town"}, **({"axis": 1} if hasattr(frame, "iloc") else {}))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- town(.|\n)*missing:\n- city"):
        call(renamed)
    with pytest.raises(ValueError, match=r"yet now missing:\n- city"):
        call(frame[[name for name in frame.columns if name != "city"]])


def test_columns_without_strings_as_names_are_refused_in_another_order(Estimator):
    frame = pandas_table()[["income", "age", "city"]].set_axis([0, 1, 2], axis=1)
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match=r"in their order: 0, 1, 2\. Got: 1, 0, 2\."):
        model.impute(frame[[1, 0, 2]])


def test_labels_that_have_become_numbers_are_refused(Estimator):
    frame = pandas_table()[["income"]].assign(zip=["101", "102", "103"] * 40)
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match=r"'zip' .* had labels in fit, now it has numbers"):
        model.score_samples(frame.astype({"zip": int}))
    of_numbers = pd.Categorical([101, 102, 103] * 40)  # numbers may be such labels
    model_of_numbers = quick(Estimator).fit(frame.assign(zip=of_numbers))
    assert np.isfinite(model_of_numbers.score_samples(frame.assign(zip=999))).all()
    missing = [model.score_samples(frame.assign(zip=gap)) for gap in (None, np.nan)]
    np.testing.assert_array_equal(*missing)


def test_a_sparse_matrix_is_no_frame_of_labels(Estimator, frame):
    model = quick(Estimator).fit(frame)
    with pytest.raises(ValueError, match="X must be a data frame"):
        model.score_samples(scipy.sparse.csr_array((3, frame.shape[1])))


def test_a_flag_of_numpy_is_a_condition(Estimator):
    frame = pandas_table()
    model = quick(Estimator).fit(frame)
    drawn = [model.sample(5, 0, conditions={"member": value}) for value in (True, np.True_)]
    pd.testing.assert_frame_equal(*drawn)


def test_the_index_of_rows_does_not_matter(Estimator):
    frame = pandas_table()
    model = quick(Estimator).fit(frame)
    moved = frame.set_index(np.arange(len(frame)) * 7 + 100)
    np.testing.assert_array_equal(model.score_samples(moved), model.score_samples(frame))
    scores = quick(Estimator).fit(moved).score_samples(frame)
    np.testing.assert_array_equal(scores, model.score_samples(frame))


def test_columns_of_levels_do_not_depend_on_the_library(Estimator):
    frame = pandas_table()[["income", "age", "member", "city"]]
    other = pl.DataFrame({name: frame[name].tolist() for name in frame.columns})
    expected, model = quick(Estimator).fit(frame), quick(Estimator).fit(other)
    np.testing.assert_array_equal(model.score_samples(other), expected.score_samples(frame))


# ---------------------------------------------------------------------------- likelihoods


def counts_table(n_samples=200):
    rng = np.random.default_rng(0)
    rate = np.exp(rng.normal(size=n_samples))
    return pd.DataFrame(
        {
            "visits": rng.poisson(rate),
            "calls": rng.poisson(2 * rate),
            "height": rng.normal(170, 10, n_samples),
            "city": rng.choice(["Aachen", "Bonn"], n_samples),
        }
    )


def test_columns_are_chosen_by_name_tuple_and_selector(Estimator):
    frame = counts_table()
    ways = [
        {"height": "gaussian", "visits": "poisson", "calls": "poisson"},
        {"height": "gaussian", ("visits", "calls"): "poisson"},
        {"height": "gaussian", make_column_selector(dtype_include="int"): "poisson"},
        {make_column_selector(dtype_include="number"): "poisson", "height": "gaussian"},
    ]
    scores = [quick(Estimator, likelihood=way).fit(frame).score_samples(frame) for way in ways]
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])
    auto = quick(Estimator).fit(frame).score_samples(frame)
    assert not np.allclose(auto, scores[0], atol=0.1)


@pytest.mark.parametrize("likelihood", [{"visit": "poisson"}, {("calls", "visit"): "poisson"}])
def test_an_unknown_column_is_named(Estimator, likelihood):
    with pytest.raises(ValueError, match=r"likelihood names columns \['visit'\].*'visits'"):
        quick(Estimator, likelihood=likelihood).fit(counts_table())


def test_a_dict_for_an_array_is_an_error(Estimator, X):
    with pytest.raises(ValueError, match="dict as likelihood names columns of a data frame"):
        quick(Estimator, likelihood={0: "gaussian"}).fit(X)


def test_an_unknown_likelihood_in_a_dict_is_an_error(Estimator):
    with pytest.raises(ValueError, match="'likelihood' parameter"):
        quick(Estimator, likelihood={"visits": "normal"}).fit(counts_table())


def test_strings_in_an_array_stay_an_error(Estimator):
    with pytest.raises(ValueError, match="could not convert string"):
        quick(Estimator).fit(survey(50).to_numpy())


@pytest.mark.parametrize("name", ["height", "visits"])
def test_values_outside_the_support_name_the_column(Estimator, name):
    frame = counts_table()
    frame["height"] = frame["height"].round()
    frame.loc[17, name] = -3
    counts = {("calls", "height", "visits"): "poisson"}
    match = f"'poisson' needs non-negative integers, got -3 in column '{name}'"
    with pytest.raises(ValueError, match=match):
        quick(Estimator, likelihood=counts).fit(frame)


def test_one_likelihood_for_strings_names_the_column(Estimator):
    with pytest.raises(ValueError, match="does not fit column 'city'"):
        quick(Estimator, likelihood="gaussian").fit(counts_table())


def test_integers_as_categories_are_drawn_as_they_are(Estimator):
    frame = pd.DataFrame({"shoe": [38, 40, 46] * 40, "x": np.arange(120.0)})
    model = quick(Estimator, likelihood={"shoe": "categorical"}).fit(frame)
    drawn = model.sample(200, random_state=0)
    assert schema_of(drawn) == schema_of(frame)
    assert set(drawn["shoe"]) == {38, 40, 46}


# ------------------------------------------------------------------------------ pipelines


def test_scaling_by_a_step_in_front_only_shifts_the_scores(Estimator):
    frame = counts_table()[["height", "calls"]]
    scaler = StandardScaler().set_output(transform="pandas")
    # (in double precision, where rounding errors do not grow in training; "ordinal" would see
    # whole numbers before, and repeated ones after)
    model = quick(Estimator, likelihood="gaussian", dtype="float64")
    pipeline = make_pipeline(scaler, clone(model)).fit(frame)
    direct = clone(model).fit(frame)
    expected = direct.score_samples(frame) + np.log(scaler.scale_).sum()
    np.testing.assert_allclose(pipeline.score_samples(frame), expected, rtol=1e-6)
    assert list(pipeline[-1].sample(2).columns) == list(frame.columns)


def test_strings_pass_a_column_transformer(Estimator):
    frame = counts_table()
    scaler = ColumnTransformer(
        [("numbers", StandardScaler(), ["height", "calls"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipeline = make_pipeline(scaler, quick(Estimator)).fit(frame)
    drawn = pipeline[-1].sample(40, random_state=0)
    assert schema_of(drawn) == schema_of(scaler.transform(frame))
    assert set(drawn["city"]) == {"Aachen", "Bonn"}
    assert pipeline.transform(frame).shape == (len(frame), 2)
    assert np.isfinite(pipeline.score_samples(frame)).all()


def test_a_grid_finds_the_likelihood_of_counts():
    rng = np.random.default_rng(0)
    rate = np.exp(0.7 * rng.normal(size=(400, 1)))
    frame = pd.DataFrame(rng.poisson(rate, size=(400, 3)), columns=list("abc"))
    vae = quick(VAETransformer, max_iter=30)
    grid = GridSearchCV(vae, {"likelihood": ["gaussian", "poisson"]}, cv=3).fit(frame)
    assert grid.best_params_ == {"likelihood": "poisson"}
    assert grid.best_score_ == grid.cv_results_["mean_test_score"].max()
    assert schema_of(grid.best_estimator_.sample(5)) == schema_of(frame)


def test_a_frame_may_have_codes_in_a_frame(Estimator, frame):
    library = "pandas" if isinstance(frame, pd.DataFrame) else "polars"
    codes = quick(Estimator).set_output(transform=library).fit_transform(frame)
    assert isinstance(codes, type(frame))
    assert list(codes.columns) == [f"{Estimator.__name__.lower()}{i}" for i in range(2)]


# ---------------------------------------------------------------- clones, pickles, restarts


def assert_equal_frames(got, expected):
    assert type(got) is type(expected)
    if isinstance(got, pd.DataFrame):
        pd.testing.assert_frame_equal(got, expected)
    else:
        assert got.schema == expected.schema
        assert got.equals(expected)


def assert_same_model(got, expected, frame):
    np.testing.assert_array_equal(got.score_samples(frame), expected.score_samples(frame))
    np.testing.assert_array_equal(got.transform(frame), expected.transform(frame))
    for method, args in [("sample", (20,)), ("impute", (frame,)), ("contributions", (frame,))]:
        assert_equal_frames(getattr(got, method)(*args), getattr(expected, method)(*args))
    given = {"city": "Bonn"}
    assert_equal_frames(got.sample(9, conditions=given), expected.sample(9, conditions=given))


def test_a_pickled_model_does_the_same(Estimator, frame):
    model = quick(Estimator, likelihood={"small": "poisson"}).fit(frame)
    assert_same_model(pickle.loads(pickle.dumps(model)), model, frame)


def test_a_clone_learns_the_same(Estimator, frame):
    model = quick(Estimator, likelihood={("small", "age"): "poisson"}).fit(frame)
    twin = clone(model)
    assert twin.likelihood == model.likelihood
    assert not hasattr(twin, "module_")
    assert_same_model(twin.fit(frame), model, frame)


def test_a_fit_forgets_the_columns_of_the_one_before(Estimator, frame, X):
    model = quick(Estimator).fit(frame).fit(X)
    assert isinstance(model.sample(2), np.ndarray)
    np.testing.assert_array_equal(model.score_samples(X), quick(Estimator).fit(X).score_samples(X))
    assert_of_the_schema(model.fit(frame).sample(5, complete=True), frame, 5)


def test_a_warm_start_goes_on(Estimator, frame):
    model = quick(Estimator, warm_start=True).fit(frame)
    first, loss = model.score(frame), model.loss_curve_[-1]
    model.set_params(max_iter=60).fit(frame)
    assert model.loss_curve_[-1] < loss
    if Estimator is VAETransformer:  # whose loss is about minus its score
        assert model.score(frame) > first
    assert_of_the_schema(model.sample(50, complete=True), frame, 50)
    model.fit(frame[:60])
    assert_of_the_schema(model.sample(50, complete=True), frame, 50)


def test_a_fit_that_fails_leaves_the_columns_of_the_one_before(Estimator, frame):
    model = quick(Estimator).fit(frame)
    expected = model.score_samples(frame)
    with pytest.raises(ValueError, match="does not fit column"):
        model.set_params(likelihood="poisson").fit(survey(50))
    np.testing.assert_array_equal(model.score_samples(frame), expected)
    assert schema_of(model.sample(2)) == schema_of(frame)


# ------------------------------------------------------------------------- odd columns


ODD = {
    "a constant string": ["same"] * 60,
    "one level": pd.Categorical(["same"] * 60, ["other", "same"]),
    "equal floats": [3.5] * 60,
    "equal integers": [7] * 60,
    "all true": [True] * 60,
    "zeros": [0] * 60,
}


@pytest.mark.parametrize("scaling", ["standard", "quantile", None])
@pytest.mark.parametrize("name", ODD)
def test_a_column_of_one_value_does_no_harm(Estimator, name, scaling):
    column = pd.Series(ODD[name])
    frame = counts_table(60)[["height", "city"]].assign(odd=column)
    model = quick(Estimator, scaling=scaling).fit(frame)
    drawn = model.sample(30, random_state=0)
    assert schema_of(drawn) == schema_of(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    if column.dtype == float:
        # The scale is one; without scaling the height, in the hundreds, moves everything.
        assert scaling is None or np.abs(drawn["odd"] - 3.5).max() < 2
    else:
        assert set(drawn["odd"]) == set(column)


@pytest.mark.parametrize("values", [["same"] * 60, [7] * 60, [None] * 60])
def test_a_table_of_one_value_can_be_fitted(Estimator, values):
    frame = pd.DataFrame({"only": values})
    model = quick(Estimator).fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    pd.testing.assert_frame_equal(model.sample(60, random_state=0), frame)


# ---------------------------------------------------------------------------------- warm starts


@pytest.mark.parametrize("likelihood", ["poisson", {"a": "student_t"}, {"nonsense": "gaussian"}])
def test_a_warm_start_refuses_another_likelihood(Estimator, likelihood):
    X = pd.DataFrame(make_rows(60, 3), columns=list("abc"))
    model = quick(Estimator, likelihood="gaussian", warm_start=True).fit(X)
    with pytest.raises(ValueError, match=r"likelihood (of \['a'|names columns \['nonsense')"):
        model.set_params(likelihood=likelihood).fit(X)
    assert model.set_params(likelihood="auto").fit(X).module_.config["blocks"] == (
        ("gaussian", 3),
    )


def test_a_warm_start_goes_on_with_the_likelihoods_of_the_dict(Estimator):
    X = pd.DataFrame({"a": np.arange(60.0), "n": np.arange(60) % 7, "k": list("xyz") * 20})
    model = quick(Estimator, likelihood={"n": "poisson"}, warm_start=True).fit(X)
    blocks = model.module_.config["blocks"]
    assert model.fit(X).module_.config["blocks"] == blocks
    with pytest.raises(ValueError, match="dict as likelihood names columns of a data frame"):
        model.fit(np.ones((60, 3)))


# ------------------------------------------------------------------------------ borders of dtypes


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("first", "step"), [(10**17 + 2, 1000), (2**60, 0), (2**60, 3), (2**63 - 10**5, 1000)]
)
def test_draws_of_huge_whole_numbers_stay_in_the_range_seen(Estimator, sign, first, step):
    ids = sign * (first + step * np.arange(100))
    X = pd.DataFrame({"id": ids, "k": list("xy") * 50})
    drawn = quick(Estimator, likelihood={"id": "gaussian"}).fit(X).sample(2000)["id"]
    assert drawn.dtype == np.int64
    assert ids.min() <= drawn.min() <= drawn.max() <= ids.max()


def test_a_condition_that_no_float_holds_is_refused(Estimator):
    X = pd.DataFrame({"id": 10**17 + 1000 * np.arange(60), "x": np.arange(60.0)})
    model = quick(Estimator).fit(X)
    with pytest.raises(ValueError, match="'id' has more digits than a float64 holds"):
        model.sample(2, conditions={"id": 10**17 + 7})


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_condition_beyond_all_floats_is_refused(Estimator, as_frame):
    X = pd.DataFrame(make_rows(60, 2), columns=["a", "b"])
    model = quick(Estimator).fit(X if as_frame else X.to_numpy())
    with pytest.raises(ValueError, match=r"column ('a'|0)"):
        model.sample(2, conditions={"a" if as_frame else 0: 10**400})


@pytest.mark.parametrize("conditions", [["a"], "a", 3])
def test_conditions_are_a_dict(Estimator, X, conditions):
    with pytest.raises(TypeError, match="conditions must be a dict"):
        quick(Estimator).fit(X).sample(2, conditions=conditions)


def test_a_lazy_frame_is_told_from_an_array(Estimator):
    X = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 3.0, 2.0]})
    with pytest.raises(TypeError, match="collect it first"):
        quick(Estimator).fit(X.lazy())
    with pytest.raises(TypeError, match="collect it first"):
        quick(Estimator).fit(X).score_samples(X.lazy())
    with pytest.raises(TypeError, match=r"LazyFrame.*collect it first"):
        quick(Estimator).fit(X.to_numpy()).score_samples(X.lazy())


def test_huge_cells_beside_a_single_precision_column_are_filled_without_a_warning(Estimator):
    a = np.linspace(-2, 2, 50)
    X = pd.DataFrame({"a": a, "b": a.astype(np.float32), "k": list("xy") * 25})
    X.loc[::5, "b"] = np.nan
    model = quick(Estimator, likelihood={("a", "b"): "gaussian"}).fit(X)
    filled = model.impute(X.assign(a=1e300))
    assert np.isfinite(filled["b"]).all()
    assert filled["b"].dtype == np.float32


def test_flags_may_come_as_a_sparse_matrix(Estimator):
    X = pd.DataFrame(np.random.default_rng(0).integers(0, 2, (60, 4)).astype(float))
    X.columns = list("abcd")
    model = quick(Estimator).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn misses the names
        np.testing.assert_array_equal(
            model.score_samples(scipy.sparse.csr_array(X.to_numpy())),
            model.score_samples(X.to_numpy()),
        )


def test_columns_of_numbers_beside_labels_are_named_by_their_place_in_x(Estimator):
    X = pd.DataFrame({"k": list("xyz") * 20, "a": np.arange(60.0) * 1e200})
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="Column 1 of X has values too large for its variance"),
    ):
        quick(Estimator, likelihood={"a": "gaussian"}).fit(X)


# ------------------------------------------------------------------- what comes back otherwise


def test_known_cells_of_columns_that_were_empty_stay(Estimator):
    frame = pd.DataFrame({"x": make_rows(100, 1)[:, 0], "late": np.nan, "word": None})
    model = quick(Estimator).fit(frame)
    new = pd.DataFrame({"x": [0.0, 1.0], "late": [3.0, np.nan], "word": ["q", None]})
    pd.testing.assert_frame_equal(model.impute(new), new)
    assert model.sample(2, conditions={"late": 3.0})["late"].tolist() == [3.0, 3.0]


def test_another_number_in_a_column_of_zeros_and_ones_is_an_error(Estimator):
    frame = pd.DataFrame({"x": make_rows(100, 1)[:, 0], "n_claims": [0, 1] * 50})
    model = quick(Estimator).fit(frame)
    with pytest.raises(
        ValueError, match=r"'n_claims' of X had only 0 and 1 in fit, now it has 37"
    ):
        model.score_samples(frame.assign(n_claims=37))
    with pytest.raises(ValueError, match=r"now it has 0.5"):
        model.impute(frame.assign(n_claims=0.5))
    made = model.impute(frame.assign(n_claims=[0, np.nan] * 50))["n_claims"]
    assert set(made) <= {0, 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pd.Categorical([1, 2, 3, 4]), ["1", "2", "3", "4"]),
        (np.array([True, False, False, True], dtype=object), ["True", "False", "False", "True"]),
    ],
)
def test_labels_of_another_type_are_an_error(Estimator, before, after):
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "zone": before})
    model = quick(Estimator).fit(frame)
    with pytest.raises(
        ValueError, match=r"Column 'zone' of X had labels as .* in fit, now it has"
    ):
        model.score_samples(frame.assign(zone=after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pd.Categorical([1, 2, 3, 4]), pd.Categorical([1.0, 2.0, 3.0, 4.0])),
        (pd.Categorical([1, 2, 3, 4]), [1.0, 2.0, 3.0, 4.0]),
        (pd.Categorical([1.0, 2.0, 3.0, 4.0]), [1, 2, 3, 4]),
        (np.array([True, False, True, False], object), np.array([1.0, 0.0, 1.0, 0.0])),
        (np.array([True, False] * 2, object), np.array([np.True_, np.False_] * 2, object)),
        (["a", "b", "c", "d"], np.array([np.str_(label) for label in "abcd"], object)),
        (np.array([np.str_(label) for label in "abcd"], object), ["a", "b", "c", "d"]),
    ],
)
def test_labels_that_are_equal_may_be_of_another_type(Estimator, before, after):
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "label": before})
    model = quick(Estimator).fit(frame)
    again = frame.assign(label=after)
    np.testing.assert_array_equal(model.score_samples(again), model.score_samples(frame))
    model.score_samples(again.iloc[:1])


@pytest.mark.parametrize("with_training_gaps", [True, False])
def test_counts_that_share_out_a_total_stand_beside_numbers(Estimator, with_training_gaps, rng):
    frame = pd.DataFrame(rng.poisson(5.0, (60, 3)), columns=list("abc")).astype(float)
    frame["x"] = rng.normal(size=60)
    holed = frame.mask(rng.random(frame.shape) < 0.2)
    model = quick(Estimator, likelihood={("a", "b", "c"): "multinomial"})
    model.fit(holed if with_training_gaps else frame)
    assert model.impute(holed).notna().all(axis=None)
    assert all(table.notna().all(axis=None) for table in model.impute(holed, n_draws=2))


def test_columns_of_objects_come_back_as_objects(Estimator):
    flags = pd.Series([0, 1, 1, 0] * 10, dtype=object)
    frame = pd.DataFrame({"x": make_rows(40, 1)[:, 0], "flag": flags})
    assert {type(flag) for flag in quick(Estimator).fit(frame).sample(20)["flag"]} == {int}


def test_a_condition_on_whole_numbers_is_whole():
    frame = pd.DataFrame({"x": make_rows(40, 1)[:, 0], "n": range(40)})
    model = quick(VAETransformer).fit(frame)
    for value in (1.5, Decimal("1.5")):
        with pytest.raises(ValueError, match="has whole numbers only"):
            model.sample(2, conditions={"n": value})


def test_a_name_for_each_row_is_warned_of(Estimator):
    frame = pd.DataFrame({"x": make_rows(50, 1)[:, 0], "id": [f"user {i}" for i in range(50)]})
    with pytest.warns(UserWarning, match="Column 'id' of X has 50 levels in 50 rows") as warned:
        quick(Estimator).fit(frame)
    with pytest.warns(UserWarning, match="Column 'id'") as warned_in_pipeline:
        make_pipeline(quick(Estimator)).fit(frame)
    assert {w.filename for w in [*warned, *warned_in_pipeline]} == {__file__}


@pytest.mark.parametrize(
    "key",
    [
        lambda X: X.columns[:2],
        lambda X: set(X.columns[:2]),
        lambda X: (name for name in X.columns[:2]),
        lambda X: X.columns[:2].to_numpy(),
        ("x", "y"),
    ],
)
def test_a_key_may_stand_for_any_collection_of_names(key):
    frame = pd.DataFrame(make_rows(50, 3), columns=list("xyz"))
    model = quick(VAETransformer, likelihood={key: "gaussian"}).fit(frame)
    assert model._schema.kinds[:2] == ["gaussian", "gaussian"] != model._schema.kinds[1:]


def test_a_tuple_may_itself_be_a_name():
    columns = pd.MultiIndex.from_product([["a"], ["x", "y"]])
    frame = pd.DataFrame(make_rows(50, 2), columns=columns)
    model = quick(VAETransformer, likelihood={("a", "x"): "gaussian"}).fit(frame)
    assert model._schema.kinds[0] == "gaussian" != model._schema.kinds[1]


def test_dictionaries_of_arrow_are_labels(Estimator):
    pa = pytest.importorskip("pyarrow")
    dtype = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    labels = pd.Series(["a", "b", "c"] * 20, dtype="string").astype(dtype)
    frame = pd.DataFrame({"x": make_rows(60, 1)[:, 0], "k": labels})
    drawn = quick(Estimator).fit(frame).sample(5)
    assert drawn["k"].dtype == dtype
    assert set(drawn["k"]) <= set("abc")


def test_conditions_are_of_the_types_that_columns_have():
    frame = pd.DataFrame({"x": make_rows(60, 1)[:, 0], "k": ["a", "b", "c"] * 20})
    model = quick(VAETransformer).fit(frame)
    assert model.sample(2, conditions={"x": Decimal("0.5")})["x"].tolist() == [0.5, 0.5]
    assert len(model.sample(2, conditions={})) == 2
    with pytest.raises(ValueError, match="no level <NA>"):
        model.sample(2, conditions={"k": pd.NA})
    with pytest.raises(TypeError, match="conditions must be a dict"):
        model.sample(2, conditions=frame.iloc[0])


def test_objects_of_polars_are_refused(Estimator):
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "o": pl.Series([1, 2, 3], dtype=pl.Object)})
    with pytest.raises(TypeError, match="Column 'o' of X has the dtype Object"):
        quick(Estimator).fit(frame)


def test_a_frame_with_a_dict_does_not_continue_a_fit_on_an_array(Estimator):
    X = make_rows(50, 2)
    model = quick(Estimator, warm_start=True).fit(X).set_params(likelihood={"a": "gaussian"})
    with pytest.raises(ValueError, match=r"warm_start=True needs .* likelihood changed"):
        model.fit(pd.DataFrame(X, columns=["a", "b"]))


def test_levels_that_hardly_repeat_do_not_keep_the_rest_from_being_learned(rng):
    z = rng.normal(size=400)
    x, y = (z + 0.3 * rng.normal(size=400) for _ in range(2))
    places = [f"place {i}" for i in rng.integers(0, 300, 400)]
    frame = pd.DataFrame({"x": x, "y": y, "place": places})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of as many levels
        model = VAETransformer(4, max_iter=150, random_state=0).fit(frame)
    drawn = model.sample(5000, random_state=0)
    assert np.corrcoef(drawn["x"], drawn["y"])[0, 1] > 0.6


def test_rows_of_codes_keep_their_index(Estimator):
    frame = pd.DataFrame(make_rows(60, 3), columns=list("abc"), index=np.arange(60) * 7 + 100)
    model = quick(Estimator).fit(frame)
    codes = model.transform(frame)
    assert model.inverse_transform(codes).index.tolist() == list(range(60))
    restored = model.inverse_transform(pd.DataFrame(codes, index=frame.index))
    pd.testing.assert_index_equal(restored.index, frame.index)
    restored = model.set_output(transform="pandas").inverse_transform(model.transform(frame))
    pd.testing.assert_index_equal(restored.index, frame.index)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_levels_are_learned_in_double_precision(Estimator, early_stopping):
    frame = pandas_table()[["income", "city"]]
    model = quick(Estimator, dtype="float64", early_stopping=early_stopping).fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()


def test_drawn_decimals_have_the_digits_that_their_dtype_holds(Estimator, rng):
    cents = rng.integers(100, 9999, 200)
    prices = pl.Series("price", [Decimal(int(c)) / 100 for c in cents], dtype=pl.Decimal(4, 2))
    frame = pl.DataFrame([prices, pl.Series("z", rng.choice(list("abc"), 200))])
    drawn = quick(Estimator).fit(frame).sample(2000)
    assert drawn.schema == frame.schema
    assert prices.min() <= drawn["price"].min() <= drawn["price"].max() <= prices.max()


def test_known_cells_of_objects_stay_what_they_are(Estimator):
    values = [None, *(Decimal("0.1") * i for i in range(1, 60))]
    frame = pd.DataFrame({"a": pd.Series(values, dtype=object), "x": np.arange(60.0)})
    filled = quick(Estimator).fit(frame).impute(frame)["a"]
    assert filled[0] is not None
    assert filled[1:].tolist() == values[1:]
    assert all(isinstance(value, Decimal) for value in filled)


def test_known_decimals_of_many_digits_stay_what_they_are(Estimator):
    values = [None, *(Decimal(f"12345678901234567{i}.25") for i in range(10, 40))]
    column = pl.Series("a", values, dtype=pl.Decimal(38, 2))
    frame = pl.DataFrame([column, pl.Series("x", np.arange(31.0))])
    filled = quick(Estimator).fit(frame).impute(frame)["a"]
    assert filled.null_count() == 0
    assert filled[1:].to_list() == values[1:]


@pytest.mark.parametrize("dtype", ["bool", "int64", "float64"])
def test_sparse_columns_come_back_sparse(Estimator, rng, dtype):
    if dtype == "bool" and pd.__version__ < "3":
        pytest.skip("pandas cannot shift sparse flags")
    flags = pd.arrays.SparseArray(rng.integers(0, 2, 60).astype(dtype))
    frame = pd.DataFrame({"x": rng.normal(size=60), "s": flags})
    drawn = quick(Estimator).fit(frame).sample(5)
    assert drawn.dtypes.tolist() == frame.dtypes.tolist()


def test_a_row_of_weight_zero_may_hold_anything(Estimator, rng):
    frame = pd.DataFrame({"x": rng.normal(size=60), "n": [0, 1, 0, 1, 1, 9] * 10})
    usual = frame[frame.n < 9]
    model = quick(Estimator).fit(frame, sample_weight=np.where(frame.n < 9, 1.0, 0.0))
    alone = quick(Estimator).fit(usual)
    np.testing.assert_array_equal(model.score_samples(usual), alone.score_samples(usual))


@pytest.mark.parametrize("dtype", ["bool", "boolean", "bool[pyarrow]"])
def test_a_flag_is_no_share(Estimator, rng, dtype):
    frame = pd.DataFrame({"x": rng.normal(size=60), "b": rng.random(60) < 0.5})
    model = quick(Estimator).fit(frame.astype({"b": dtype}))
    with pytest.raises(ValueError, match=r"'b' of X had only 0 and 1 in fit, now it has 0\.5"):
        model.score_samples(frame.assign(b=0.5))


def test_half_precision_is_no_whole_number(Estimator, rng):
    frame = pd.DataFrame({"x": rng.normal(size=200), "y": rng.normal(size=200)}).astype("float16")
    model = quick(Estimator).fit(frame)
    drawn = model.sample(200)
    assert drawn.dtypes.tolist() == frame.dtypes.tolist()
    assert np.isfinite(drawn).all(axis=None)
    assert (drawn["x"] % 1 != 0).mean() > 0.9
    holed = frame.mask(rng.random(frame.shape) < 0.3)
    assert (model.impute(holed)["x"][holed["x"].isna()] % 1 != 0).mean() > 0.9


@pytest.mark.parametrize("kind", [int, Decimal, float])
def test_drawn_objects_are_of_the_type_that_they_were(Estimator, rng, kind):
    numbers = [kind(int(x)) for x in rng.integers(0, 100, 60)]
    frame = pd.DataFrame({"a": pd.Series(numbers, dtype=object), "x": rng.normal(size=60)})
    drawn = quick(Estimator).fit(frame).sample(5)["a"]
    assert drawn.dtype == object
    assert {type(value) for value in drawn} == {kind}


@pytest.mark.skipif(not hasattr(nw, "Float16"), reason="narwhals has no name for them yet")
def test_known_cells_stay_where_half_precision_cannot_hold_them(Estimator, rng):
    frame = pd.DataFrame({"x": rng.normal(size=60), "y": rng.normal(size=60)})
    model = quick(Estimator).fit(frame.astype("float16"))
    filled = model.impute(frame.assign(y=np.where(frame["x"] > 0, np.nan, frame["y"])))
    np.testing.assert_array_equal(filled["x"], frame["x"])
    np.testing.assert_array_equal(filled["y"][frame["x"] <= 0], frame["y"][frame["x"] <= 0])
