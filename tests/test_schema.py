"""The map between a data frame and its cells, in both directions."""

import datetime
import pickle
from decimal import Decimal

import numpy as np
import pytest
from sklearn.compose import make_column_selector

from skvae._schema import Schema, is_frame

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

NAN = np.nan


def pandas_frame():
    return pd.DataFrame(
        {
            "float": [0.5, NAN, -2.0, 1e6],
            "single": np.array([1, 2, 3, 4.5], dtype=np.float32),
            "int": [3, -1, 2, 40],
            "small": np.array([200, 3, 0, 255], dtype=np.uint8),
            "bool": [True, False, False, True],
            "flag": [0, 1, 1, 0],
            "object": np.array(["b", None, "a", "c"], dtype=object),
            "answers": np.array([True, None, False, True], dtype=object),
            "string": pd.array(["yes", "no", None, "no"], dtype="string"),
            "category": pd.Categorical(["v", "u", "v", None], ["w", "v", "unused", "u"]),
            "ordered": pd.Categorical(["low", "high", "mid", "low"], ["low", "mid", "high"], True),
            "years": pd.Categorical([1990, 1980, 1990, None]),
            "Int64": pd.array([1, None, 3, 7], dtype="Int64"),
            "Float64": pd.array([1.5, None, 3, 7], dtype="Float64"),
            "boolean": pd.array([True, None, False, False], dtype="boolean"),
            "whole": pd.array([1, 2, 3, 7], dtype="Int64"),
            "arrow": pd.array([1, None, 3, 7], dtype="int64[pyarrow]"),
            "arrow_bool": pd.array([True, None, False, True], dtype="bool[pyarrow]"),
            "arrow_text": pd.array(["x", None, "y", "x"], dtype="string[pyarrow]"),
        }
    )


def polars_frame():
    return pl.DataFrame(
        {
            "Int64": pl.Series([1, None, 3, 7], dtype=pl.Int64),
            "UInt8": pl.Series([1, 2, 255, 7], dtype=pl.UInt8),
            "Float32": pl.Series([1.5, None, 3, 7], dtype=pl.Float32),
            "Float64": pl.Series([1.5, 2.5, float("nan"), 7], dtype=pl.Float64),
            "Decimal": pl.Series(["1.50", None, "-3.25", "7.00"]).cast(pl.Decimal(10, 2)),
            "Boolean": pl.Series([True, None, False, True]),
            "flag": [0, 1, 1, 0],
            "String": ["b", None, "a", "c"],
            "Enum": pl.Series(["z", "y", None, "z"], dtype=pl.Enum(["z", "unused", "x", "y"])),
            "Categorical": pl.Series(["q", "p", None, "r"], dtype=pl.Categorical),
        }
    )


def assert_equal(got, expected):
    """Compare two frames of the same library: columns, dtypes, categories and values."""
    assert type(got) is type(expected)
    if isinstance(got, pd.DataFrame):
        pd.testing.assert_frame_equal(got, expected)
    else:
        assert got.schema == expected.schema
        # polars takes NaN for equal to itself, pyarrow does not
        assert pl.DataFrame(got).equals(pl.DataFrame(expected))


FRAMES = {
    "pandas": pandas_frame,
    "polars": polars_frame,
    "pyarrow": lambda: polars_frame().drop("Enum", "Categorical").to_arrow(),
}


@pytest.fixture(params=FRAMES)
def frame(request):
    return FRAMES[request.param]()


def fit_one(values, library=pd, overrides=None, **kwargs):
    """Return the schema of a frame with this column, x."""
    X = library.DataFrame({"x": library.Series(values, **kwargs)})
    return Schema.fit(X, overrides), X


def encoded(schema, values, library=pd, **kwargs):
    return schema.encode(library.DataFrame({"x": library.Series(values, **kwargs)}))[:, 0]


def test_a_frame_comes_back_from_its_cells(frame):
    schema = Schema.fit(frame)
    assert_equal(schema.decode(schema.encode(frame)), frame)


def test_each_cell_comes_back_from_its_own_row(frame):
    if isinstance(frame, pd.DataFrame):
        frame.index = [5, 5, 0, -1]
    schema = Schema.fit(frame)
    rows = np.array([3, 1, 1, 0, 2, 3])
    expected = frame.iloc[rows] if isinstance(frame, pd.DataFrame) else None
    expected = frame.take(rows) if isinstance(frame, pa.Table) else expected
    expected = frame[rows] if isinstance(frame, pl.DataFrame) else expected
    got = schema.decode(schema.encode(frame)[rows])
    if isinstance(frame, pd.DataFrame):
        expected = expected.reset_index(drop=True)
    assert_equal(got, expected)


def test_a_pickled_schema_does_the_same(frame):
    schema = Schema.fit(frame)
    copy = pickle.loads(pickle.dumps(schema))
    cells = schema.encode(frame)
    np.testing.assert_array_equal(copy.encode(frame), cells)
    assert_equal(copy.decode(cells), frame)
    assert (copy.names, copy.kinds, copy.levels) == (schema.names, schema.kinds, schema.levels)


def test_cells_of_pandas_are_values_flags_and_level_indices():
    schema = Schema.fit(pandas_frame())
    expected = {
        "float": ("gaussian", None, [0.5, NAN, -2, 1e6]),
        "single": ("gaussian", None, [1, 2, 3, 4.5]),
        "int": ("gaussian", None, [3, -1, 2, 40]),
        "bool": ("bernoulli", None, [1, 0, 0, 1]),
        "flag": ("bernoulli", (0, 1), [0, 1, 1, 0]),
        "object": ("categorical", ("a", "b", "c"), [1, NAN, 0, 2]),
        "answers": ("bernoulli", (False, True), [1, NAN, 0, 1]),
        "string": ("bernoulli", ("no", "yes"), [1, 0, NAN, 0]),
        "category": ("bernoulli", ("v", "u"), [0, 1, 0, NAN]),
        "ordered": ("categorical", ("low", "mid", "high"), [0, 2, 1, 0]),
        "years": ("bernoulli", (1980, 1990), [1, 0, 1, NAN]),
        "Int64": ("gaussian", None, [1, NAN, 3, 7]),
        "boolean": ("bernoulli", None, [1, NAN, 0, 0]),
    }
    cells = schema.encode(pandas_frame())
    assert cells.flags.c_contiguous
    for name, (kind, levels, values) in expected.items():
        j = schema.names.index(name)
        assert (schema.kinds[j], schema.levels[j]) == (kind, levels), name
        np.testing.assert_array_equal(cells[:, j], values, name)


def test_cells_of_polars_are_values_flags_and_level_indices():
    schema = Schema.fit(polars_frame())
    assert schema.names == polars_frame().columns
    assert schema.kinds == ["gaussian"] * 5 + ["bernoulli"] * 2 + [
        "categorical",
        "bernoulli",
        "categorical",
    ]
    assert schema.levels[7:] == [("a", "b", "c"), ("z", "y"), ("p", "q", "r")]
    expected = [[1, 1], [NAN, 2], [3, 255], [7, 7]]
    np.testing.assert_array_equal(schema.encode(polars_frame())[:, :2], expected)


def test_attributes_say_what_decode_keeps_to():
    schema = Schema.fit(pandas_frame()[["float", "int", "object", "boolean"]])
    assert [column.integer for column in schema.columns] == [False, True, True, True]
    np.testing.assert_array_equal([column.minimum for column in schema.columns], [-2, -1, 0, 0])
    np.testing.assert_array_equal([column.maximum for column in schema.columns], [1e6, 40, 2, 1])


def test_levels_of_polars_categorical_do_not_depend_on_the_order_of_rows():
    values = ["m", "k", "n", "l"]
    orders = [values, values[::-1]]
    levels = [fit_one(v, pl, dtype=pl.Categorical)[0].levels for v in orders]
    assert levels[0] == levels[1]


@pytest.mark.parametrize(
    ("library", "kwargs"),
    [
        (pd, {}),
        (pd, {"dtype": object}),
        (pd, {"dtype": "string"}),
        (pd, {"dtype": "category"}),
        (pl, {"dtype": pl.String}),
        (pl, {"dtype": pl.Categorical}),
    ],
)
def test_unseen_levels_and_none_are_missing(library, kwargs):
    schema, X = fit_one(["b", "a", "c"], library, **kwargs)
    cells = encoded(schema, ["c", "unseen", None, "a"], library, **kwargs)
    np.testing.assert_array_equal(cells, [2, NAN, NAN, 0])
    got = schema.decode(cells[:, None])["x"].to_list()
    assert [got[0], got[3]] == ["c", "a"]
    assert pd.isna(got[1:3]).all()
    assert schema.decode(cells[:, None])["x"].dtype == X["x"].dtype


def test_a_frame_of_another_library_has_the_same_cells():
    schema = Schema.fit(polars_frame())
    X = polars_frame().drop("Decimal").to_pandas()
    X.insert(4, "Decimal", [Decimal("1.5"), None, Decimal("-3.25"), Decimal(7)])
    np.testing.assert_array_equal(schema.encode(X), schema.encode(polars_frame()))


@pytest.mark.parametrize(
    ("library", "kwargs"),
    [
        (pd, {"dtype": float}),
        (pd, {"dtype": object}),
        (pd, {"dtype": "string"}),
        (pd, {"dtype": "Int64"}),
        (pd, {"dtype": "boolean"}),
        (pd, {"dtype": pd.CategoricalDtype(["a", "b"])}),
        (pl, {"dtype": pl.Null}),
        (pl, {"dtype": pl.String}),
        (pl, {"dtype": pl.Int64}),
        (pl, {"dtype": pl.Boolean}),
        (pl, {"dtype": pl.Enum(["a", "b"])}),
    ],
)
@pytest.mark.parametrize("overrides", [None, {"x": "categorical"}])
def test_a_column_that_is_all_missing_stays_so(library, kwargs, overrides):
    schema, X = fit_one([None, None, None], library, overrides, **kwargs)
    np.testing.assert_array_equal(schema.encode(X), np.full((3, 1), NAN))
    assert_equal(schema.decode(np.array([[0.0], [NAN], [1.0]])), X)
    assert schema.kinds == ["categorical"] or schema.levels == [None]
    assert schema.levels in ([None], [(None,)])
    assert np.isnan([column.minimum for column in schema.columns]).all()


@pytest.mark.parametrize("library", [pd, pl])
def test_a_constant_column_has_one_level(library):
    schema, X = fit_one(["a", "a"], library)
    assert schema.kinds == ["categorical"]
    assert schema.levels == [("a",)]
    assert_equal(schema.decode(np.zeros((2, 1))), X)


def test_columns_keep_their_order():
    names = ["z", "a", "m", "b"]
    X = pd.DataFrame({name: [1.5, i] for i, name in enumerate(names)})
    schema = Schema.fit(X)
    assert schema.names == names
    assert list(schema.decode(schema.encode(X)).columns) == names


def test_columns_may_have_numbers_for_names():
    X = pd.DataFrame({1: [1.5, 2], 0: ["a", "b"]})
    schema = Schema.fit(X, {0: "categorical"})
    assert schema.kinds == ["gaussian", "categorical"]
    assert_equal(schema.decode(schema.encode(X)), X)


def test_overrides_go_by_name_tuple_and_selector():
    overrides = {
        make_column_selector(dtype_include="number"): "student_t",
        "int": "poisson",
        ("whole", "Int64"): "categorical",
        "category": "categorical",
    }
    schema = Schema.fit(pandas_frame(), overrides)
    kinds = dict(zip(schema.names, schema.kinds, strict=True))
    assert [kinds["float"], kinds["single"], kinds["flag"]] == ["student_t"] * 3
    assert kinds["int"] == "poisson"
    assert [kinds["whole"], kinds["Int64"], kinds["category"]] == ["categorical"] * 3
    levels = dict(zip(schema.names, schema.levels, strict=True))
    assert levels["whole"] == (1, 2, 3, 7)
    assert levels["Int64"] == (1, 3, 7)
    assert_equal(schema.decode(schema.encode(pandas_frame())), pandas_frame())


def test_a_selector_is_given_the_native_frame():
    schema = Schema.fit(polars_frame(), {lambda X: X.select(pl.col(pl.Int64)).columns: "poisson"})
    assert schema.kinds[0] == "poisson"
    assert schema.kinds[1] == "gaussian"


def test_unknown_columns_in_overrides_are_named():
    with pytest.raises(ValueError, match=r"\['no', 'nor'\]"):
        Schema.fit(pandas_frame(), {("int", "no", "nor"): "poisson"})


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_a_likelihood_of_numbers_for_labels_is_refused(kind):
    with pytest.raises(ValueError, match="column 'object'"):
        Schema.fit(pandas_frame(), {"object": kind})


@pytest.mark.parametrize("library", [pd, pl])
def test_bernoulli_on_two_numbers_codes_them_and_gives_them_back(library):
    schema, X = fit_one([7, 3, 7, 7], library, {"x": "bernoulli"})
    np.testing.assert_array_equal(schema.encode(X)[:, 0], [1, 0, 1, 1])
    assert_equal(schema.decode(np.array([[0.9], [0.2], [0.51], [1.0]])), X)


def test_bernoulli_on_shares_leaves_them():
    schema, X = fit_one([0.1, 0.7, 0.2], overrides={"x": "bernoulli"})
    assert schema.levels == [None]
    np.testing.assert_array_equal(schema.encode(X)[:, 0], X["x"])


def test_numbers_that_are_levels_may_be_unseen_or_infinite():
    schema, _ = fit_one([5.0, 3.0, 9.0], overrides={"x": "categorical"})
    assert schema.levels == [(3, 5, 9)]
    cells = encoded(schema, [9, 4, NAN, 10, -1, np.inf])
    np.testing.assert_array_equal(cells, [2, NAN, NAN, NAN, NAN, np.inf])


def test_a_column_of_zeros_and_ones_is_a_flag_and_other_integers_are_not():
    values = {"flag": [0, 1, 1], "float": [0.0, 1, NAN], "two": [1, 2, 2], "one": [1, 1, 1]}
    schema = Schema.fit(pd.DataFrame(values))
    assert schema.kinds == ["bernoulli", "bernoulli", "gaussian", "gaussian"]
    assert schema.decode(np.full((1, 4), 0.8)).to_numpy().tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "timedelta64[ns]", "period[D]"])
def test_dates_and_durations_are_refused_by_name(dtype):
    when = pd.Series(pd.to_datetime(["2020-01-01", "2021-05-06"]))
    when = when - when[0] if dtype.startswith("timedelta") else when.astype(dtype)
    X = pd.DataFrame({"a": [1.0, 2], "when": when})
    with pytest.raises(TypeError, match=r"Column 'when' .* encode it as a number"):
        Schema.fit(X)


@pytest.mark.parametrize(
    "values",
    [[datetime.date(2020, 1, 1)], [[1.0, 2.0]], [{"a": 1}], [datetime.time(1)], [b"bytes"]],
)
@pytest.mark.parametrize("library", [pd, pl])
def test_other_values_are_refused_by_name(library, values):
    with pytest.raises(TypeError, match=r"Column 'x' .* encode it as a number"):
        fit_one(values, library)
    schema, _ = fit_one(["a", "b"], library)
    with pytest.raises(TypeError, match=r"Column 'x' .* encode it as a number"):
        encoded(schema, values, library)


def test_strings_beside_numbers_are_refused_by_name():
    with pytest.raises(TypeError, match=r"Column 'x' of X has values of type int, str"):
        fit_one(["a", 1], dtype=object)


@pytest.mark.parametrize("library", [pd, pl])
def test_strings_in_a_column_of_numbers_are_an_error(library):
    schema, _ = fit_one([1.0, 2.0], library)
    with pytest.raises(
        ValueError, match=r"'x' of X had numbers or flags in fit, now it has '1.5'"
    ):
        encoded(schema, ["1.5", "a"], library)


@pytest.mark.parametrize("dtype", [object, "string", "boolean", "Int64"])
def test_a_column_of_numbers_may_be_all_missing_at_predict(dtype):
    schema, _ = fit_one([1.0, 2.0])
    assert np.isnan(encoded(schema, [None, None], dtype=dtype)).all()


def test_objects_that_are_numbers_are_read_as_such():
    schema, X = fit_one([1, None, 5, 2], dtype=object)
    cells = schema.encode(X)
    np.testing.assert_array_equal(cells[:, 0], [1, NAN, 5, 2])
    assert [column.integer for column in schema.columns] == [True]
    assert_equal(schema.decode(cells), X)


def test_integers_are_rounded_and_stay_in_the_range_seen():
    schema, _ = fit_one([3, -2, 9])
    got = schema.decode(np.array([[3.4], [-7.0], [100.0], [8.6]]))["x"]
    assert got.tolist() == [3, -2, 9, 9]
    assert got.dtype == np.int64


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_ends_of_the_integers_do_not_overflow(library, dtype):
    ends = np.iinfo(dtype)
    schema, X = fit_one(np.array([ends.min, ends.max, 5], dtype=dtype), library)
    got = schema.decode(schema.encode(X))["x"].to_numpy()
    assert got.dtype == dtype
    np.testing.assert_allclose(got.astype(float), X["x"].to_numpy().astype(float))


def test_levels_and_flags_are_rounded_and_kept_in_range():
    X = pd.DataFrame({"a": ["u", "v", "w"], "b": [True, False, True]})
    got = Schema.fit(X).decode(np.array([[1.7, 0.4], [-0.2, 0.6], [5.0, 1.2]]))
    assert got["a"].tolist() == ["w", "u", "w"]
    assert got["b"].tolist() == [False, True, True]
    assert got["b"].dtype == np.bool_


@pytest.mark.parametrize("values", [[1, 2, 5], [True, False, True], [0, 1, 1]])
def test_a_missing_cell_that_the_dtype_cannot_hold_is_an_error(values):
    schema, _ = fit_one(values)
    with pytest.raises(ValueError, match="'x' cannot be missing"):
        schema.decode(np.array([[NAN]]))


def test_missing_cells_where_fit_saw_none_have_the_missing_value_of_the_dtype():
    X = pandas_frame().dropna(axis=1)
    X = X.drop(columns=["int", "small", "bool", "flag"])
    schema = Schema.fit(X)
    got = schema.decode(np.full((2, X.shape[1]), NAN))
    assert got.isna().all(axis=None)
    assert got.dtypes.to_dict() == X.dtypes.to_dict()


def test_inf_stays_inf():
    schema, _ = fit_one([1.0, 2.0])
    np.testing.assert_array_equal(encoded(schema, [np.inf, -np.inf]), [np.inf, -np.inf])


def test_single_precision_only_if_all_numbers_have_it():
    single = np.ones(2, dtype=np.float32)
    X = pd.DataFrame({"a": single, "b": [True, False], "c": ["x", "y"]})
    assert Schema.fit(X).encode(X).dtype == np.float32
    assert Schema.fit(X).decode(np.zeros((1, 3)))["a"].dtype == np.float32
    for extra in (np.ones(2), np.array([4, 5])):
        wide = X.assign(extra=extra)
        assert Schema.fit(wide).encode(wide).dtype == np.float64
    assert Schema.fit(X[["b", "c"]]).encode(X[["b", "c"]]).dtype == np.float64


def test_arrays_pass_where_all_columns_are_numbers():
    X = pd.DataFrame({"a": [1.5, 2], "b": [3, 4], "c": [True, False]})
    schema = Schema.fit(X)
    for rows in (X.to_numpy(dtype=float), X.to_numpy(dtype=float).tolist()):
        np.testing.assert_array_equal(schema.encode(rows), X.to_numpy(dtype=float))
    with pytest.raises(ValueError, match="'d' had categories"):
        Schema.fit(X.assign(d=["a", "b"])).encode(np.ones((2, 4)))


def test_a_frame_without_rows_is_decoded(frame):
    schema = Schema.fit(frame)
    assert_equal(schema.decode(np.empty((0, len(schema.names)))), frame[:0])


def test_is_frame_knows_frames_in_memory(frame):
    assert is_frame(frame)
    for other in (np.ones((2, 2)), [[1.0]], pd.Series([1.0]), None):
        assert not is_frame(other)


def test_a_lazy_frame_is_to_be_collected_first():
    with pytest.raises(TypeError, match=r"LazyFrame.*collect it first"):
        is_frame(polars_frame().lazy())


@pytest.mark.filterwarnings("ignore:The Dataframe Interchange Protocol is deprecated")
def test_what_only_speaks_the_interchange_protocol_is_an_array():
    class Rows:
        def __init__(self):
            self.frame = pd.DataFrame({"a": [1.0, 2.0]})

        def __array__(self, dtype=None, copy=None):
            return self.frame.to_numpy(dtype=dtype)

        def __dataframe__(self, **options):
            return self.frame.__dataframe__(**options)

    assert not is_frame(Rows())
