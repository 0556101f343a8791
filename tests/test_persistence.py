"""A fitted model survives every way of keeping it, and says so where it has not."""

import copy
import io
import pickle
import pickletools

import joblib
import numpy as np
import pytest
import skops.io
import torch
from helpers import Laplace, quick
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import skvae

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
SCALINGS = pytest.mark.parametrize("scaling", ["standard", "quantile", None])


def by_pickle(model, path):
    return pickle.loads(pickle.dumps(model))


def by_joblib(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


def by_memory_map(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib", mmap_mode="r")


def by_compressed_joblib(model, path):
    joblib.dump(model, path / "model.gz", compress=3)
    return joblib.load(path / "model.gz")


def by_skops(model, path):
    skops.io.dump(model, path / "model.skops")
    trusted = [f"skvae.{type(model).__name__}"]
    assert skops.io.get_untrusted_types(file=path / "model.skops") == trusted
    return skops.io.load(path / "model.skops", trusted=trusted)


def by_copy(model, path):
    return copy.deepcopy(model)


WAYS = [by_pickle, by_joblib, by_memory_map, by_compressed_joblib, by_skops, by_copy]


def outputs(model, X):
    codes = model.transform(X)
    return [
        codes,
        model.inverse_transform(codes),
        model.score_samples(X),
        model.predict(X),
        model.sample(5, random_state=0),
        model.transform(X.astype(np.float32)),
    ]


@pytest.mark.parametrize("keep", WAYS)
@DTYPES
@SCALINGS
def test_a_kept_model_gives_the_same_bits(Estimator, X, keep, dtype, scaling, tmp_path):
    model = quick(Estimator, dtype=dtype, scaling=scaling).fit(X)
    again = keep(model, tmp_path)
    for got, wanted in zip(outputs(again, X), outputs(model, X), strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype
    weight = next(again.module_.parameters())
    assert weight.dtype == getattr(torch, dtype)
    assert weight.device.type == "cpu"
    assert not again.module_.training
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()


@pytest.mark.parametrize("keep", WAYS)
def test_a_kept_model_draws_the_same_gaps(Estimator, X, keep, tmp_path):
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    model = quick(Estimator).fit(holed)
    expected = model.sample(50, random_state=0)
    np.testing.assert_array_equal(keep(model, tmp_path).sample(50, random_state=0), expected)
    assert np.isnan(expected).any()


@pytest.mark.parametrize("keep", WAYS)
def test_a_model_that_is_not_fitted_may_be_kept_too(Estimator, keep, tmp_path):
    again = keep(Estimator(3), tmp_path)
    assert again.get_params() == Estimator(3).get_params()
    assert not hasattr(again, "module_")


def test_a_loaded_model_can_be_fitted_again(Estimator, X, tmp_path):
    model = quick(Estimator).fit(X)
    expected = model.transform(X)
    np.testing.assert_array_equal(by_memory_map(model, tmp_path).fit(X).transform(X), expected)


def test_a_warm_start_goes_on_after_loading(Estimator, X, tmp_path):
    model = quick(Estimator, warm_start=True).fit(X)
    again = by_pickle(model, tmp_path)
    np.testing.assert_array_equal(again.fit(X).transform(X), model.fit(X).transform(X))


def test_skops_trusts_one_type_in_a_pipeline(Estimator, X, tmp_path):
    pipeline = make_pipeline(MinMaxScaler(), quick(Estimator)).fit(X)
    skops.io.dump(pipeline, tmp_path / "pipeline.skops")
    untrusted = skops.io.get_untrusted_types(file=tmp_path / "pipeline.skops")
    assert untrusted == [f"skvae.{Estimator.__name__}"]
    again = skops.io.load(tmp_path / "pipeline.skops", trusted=untrusted)
    np.testing.assert_array_equal(again.transform(X), pipeline.transform(X))


def test_the_class_of_a_users_likelihood_is_kept_by_name(X, tmp_path):
    model = quick(skvae.VAETransformer, likelihood=Laplace).fit(X)
    again = by_pickle(model, tmp_path)
    assert again.likelihood is Laplace
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


@SCALINGS
def test_the_state_is_arrays_and_plain_values(Estimator, X, scaling):
    data = pickle.dumps(quick(Estimator, scaling=scaling).fit(X))
    assert b"_load_from_bytes" not in data
    names = [arg for _, arg, _ in pickletools.genops(data) if isinstance(arg, str)]
    assert not [name for name in names if name.split(".")[0] == "torch"]


def test_the_hash_is_a_function_of_the_content(Estimator, X):
    model = quick(Estimator).fit(X)
    twin = pickle.loads(pickle.dumps(model))
    assert joblib.hash(twin) == joblib.hash(model) == joblib.hash(copy.deepcopy(model))
    assert joblib.hash(quick(Estimator).fit(X)) == joblib.hash(model)
    assert joblib.hash(quick(Estimator, random_state=1).fit(X)) != joblib.hash(model)


def test_a_pickle_is_as_large_as_its_weights(Estimator, X):
    model = quick(Estimator, hidden_layer_sizes=(300, 300)).fit(X)
    weights = sum(parameter.nbytes for parameter in model.module_.parameters())
    assert weights < len(pickle.dumps(model)) < 1.1 * weights + 20_000


def test_a_pickle_does_not_grow_with_the_rows_or_the_epochs(X):
    sizes = [
        len(pickle.dumps(quick(skvae.VAETransformer, max_iter=max_iter).fit(rows)))
        for rows, max_iter in [(X[:50], 2), (np.tile(X, (20, 1)), 12)]
    ]
    assert sizes[1] - sizes[0] < 2000


def shorten(arrays):
    name = max(arrays, key=lambda name: arrays[name].size)
    arrays[name] = arrays[name][:-1]


def poison(arrays):
    name = max(arrays, key=lambda name: arrays[name].size)
    arrays[name].flat[0] = np.nan


def drop(arrays):
    arrays.pop(max(arrays, key=lambda name: arrays[name].size))


def add(arrays):
    arrays["more"] = np.zeros(3)


@pytest.mark.parametrize("change", [shorten, poison, drop, add])
def test_a_damaged_state_is_refused(Estimator, X, change):
    model = quick(Estimator).fit(X)
    state = copy.deepcopy(model.__getstate__())
    change(state["module_"]["arrays"])
    with pytest.raises(ValueError, match="damaged"):
        Estimator().__setstate__(state)


@pytest.mark.parametrize("name", ["center", "scale"])
def test_a_damaged_table_is_refused(Estimator, X, name):
    state = copy.deepcopy(quick(Estimator).fit(X).__getstate__())
    state["_table"][name][0] = np.nan
    with pytest.raises(ValueError, match="damaged"):
        Estimator().__setstate__(state)


def test_a_truncated_pickle_is_an_error(Estimator, X):
    data = pickle.dumps(quick(Estimator).fit(X))
    for length in np.linspace(10, len(data) - 1, 20, dtype=int):
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError)):
            pickle.load(io.BytesIO(data[:length]))


def test_another_version_is_told(Estimator, X, monkeypatch):
    model = quick(Estimator).fit(X)
    with monkeypatch.context() as patch:
        patch.setattr("skvae._base.__version__", "0.0.0")
        data = pickle.dumps(model)
    with pytest.warns(UserWarning, match="0.0.0") as warned:
        again = pickle.loads(data)
    assert [w.filename for w in warned] == [__file__]
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


def test_parameters_set_after_fit_change_no_result(Estimator, X):
    model = quick(Estimator).fit(X)
    before = outputs(model, X)
    model.set_params(
        n_components=7,
        hidden_layer_sizes=(3, 3, 3),
        activation="tanh",
        likelihood="bernoulli",
        scaling=None,
        dtype="float64",
        contamination=0.5,
        learning_rate=1.0,
    )
    for changed in (model, pickle.loads(pickle.dumps(model))):
        for got, wanted in zip(outputs(changed, X), before, strict=True):
            np.testing.assert_array_equal(got, wanted)
