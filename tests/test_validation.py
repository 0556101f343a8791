"""A wrong parameter is an error that names it, the estimator, the demand and the value."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import make_rows, quick
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KernelDensity

from skvae import AutoencoderTransformer, VAETransformer, likelihoods
from skvae._validation import check_sample_weight


class FitAndSample:
    """What has both, but cannot be cloned."""

    def fit(self, X):
        return self

    def sample(self, n_samples):
        return np.zeros((n_samples, 2))


WRONG = {
    "n_components": [0, -1, "many"],
    "hidden_layer_sizes": [(0,), (4, -2), "big"],
    "activation": ["softmax", "__class__", "nn.ReLU"],
    "likelihood": ["normal", int, "torch.nn"],
    "scaling": ["minmax", ""],
    "learning_rate": [0, -1.0, float("inf"), float("nan")],
    "weight_decay": [-0.1, float("nan")],
    "batch_size": [0, -5, "all"],
    "max_iter": [0, -1, "until done"],
    "validation_fraction": [0, 1, 1.5, -0.1],
    "n_iter_no_change": [0, "never"],
    "tol": [-1e-4, float("nan")],
    "contamination": [0, 0.6, -0.1, float("nan"), "seldom"],
    "dtype": ["float16", "double"],
    "verbose": [-1],
}
MISTYPED = {
    "n_components": [2.0, None, [2], True],
    "hidden_layer_sizes": [8, None],
    "activation": [None, np.tanh, 3],
    "likelihood": [None, 3],
    "scaling": [1, 2.5],
    "learning_rate": [None, [1e-3]],
    "weight_decay": [None, "some"],
    "batch_size": [2.5, None],
    "max_iter": [10.0, None],
    "early_stopping": ["yes", 1, None],
    "validation_fraction": [None, "tenth"],
    "n_iter_no_change": [1.5, None],
    "tol": [None, "small"],
    "contamination": [True, None],
    "robust": ["yes", 1, None],
    "dtype": [np.float32, None],
    "device": [None, 2.5],
    "verbose": ["loud", 0.5],
    "warm_start": ["yes", 1],
}
OF_AUTOENCODER = (
    {"noise": [-1.0, float("nan"), "some"], "latent_density": ["kde"]},
    {
        "noise": [None, [0.1]],
        "tied": ["no", 1],
        "latent_density": [3, FitAndSample(), KernelDensity],
    },
)
OF_VAE = (
    {"beta": [-1.0, float("nan"), "one"], "warmup_fraction": [-0.1, 1.1], "n_draws": [0, -3]}
    | {"n_training_draws": [0]},
    {"beta": [None, [1.0]], "warmup_fraction": [None], "n_draws": [2.0, None]}
    | {"n_training_draws": [1.5]},
)


def cases(shared, of_autoencoder, of_vae):
    for Estimator, own in (AutoencoderTransformer, of_autoencoder), (VAETransformer, of_vae):
        for name, values in (shared | own).items():
            for value in values:
                label = f"{Estimator.__name__}-{name}-{value!r:.20}"
                yield pytest.param(Estimator, name, value, id=label)


def check_error(kind, Estimator, name, value, X):
    message = f"The '{name}' parameter of {Estimator.__name__} must be .* Got {value!r} instead"
    if name == "hidden_layer_sizes" or value is None:
        message = f"The '{name}' parameter of {Estimator.__name__} must be .*{value!r}"
    pattern = message.replace(repr(value), re.escape(repr(value)))
    model = quick(Estimator, **{name: value})
    with pytest.raises(kind, match=pattern) as caught:
        model.fit(X)
    assert caught.type is kind
    with pytest.raises(NotFittedError):
        model.score(X)


@pytest.mark.parametrize(
    ("Estimator", "name", "value"), list(cases(WRONG, OF_AUTOENCODER[0], OF_VAE[0]))
)
def test_a_wrong_value_is_a_value_error(Estimator, name, value, X):
    check_error(ValueError, Estimator, name, value, X)


@pytest.mark.parametrize(
    ("Estimator", "name", "value"), list(cases(MISTYPED, OF_AUTOENCODER[1], OF_VAE[1]))
)
def test_a_wrong_type_is_a_type_error(Estimator, name, value, X):
    check_error(TypeError, Estimator, name, value, X)


def test_every_parameter_is_checked(Estimator):
    own = OF_VAE if Estimator is VAETransformer else OF_AUTOENCODER
    checked = {*WRONG, *MISTYPED, *own[0], *own[1]}
    assert set(Estimator().get_params()) - checked == {"random_state"}


@pytest.mark.parametrize("value", ["seed", 1.5, -1, np.random.default_rng(0)])
def test_an_unusable_random_state_is_a_value_error(Estimator, X, value):
    with pytest.raises(ValueError, match=r"[Ss]eed"):
        quick(Estimator, random_state=value).fit(X)


@pytest.mark.parametrize("value", [np.int64(3), np.float64(0.25), np.bool_(True)])
def test_numbers_of_numpy_are_numbers(Estimator, X, value):
    name = {"i": "n_components", "f": "contamination", "b": "early_stopping"}[value.dtype.kind]
    assert np.isfinite(quick(Estimator, **{name: value}).fit(X).score(X))


def test_sizes_may_be_a_list_or_an_array(Estimator, X):
    expected = quick(Estimator, hidden_layer_sizes=(8, 4)).fit(X).score(X)
    for sizes in ([8, 4], np.array([8, 4])):
        assert quick(Estimator, hidden_layer_sizes=sizes).fit(X).score(X) == expected


def test_the_constructor_checks_and_changes_nothing(Estimator):
    strange = object()
    parameters = dict.fromkeys(Estimator().get_params(), strange)
    model = Estimator(**parameters)
    assert vars(model) == parameters


def test_everything_but_n_components_is_keyword_only(Estimator):
    Estimator(3)
    with pytest.raises(TypeError):
        Estimator(3, (8,))


@pytest.mark.parametrize("method", ["transform", "score_samples", "score", "predict", "sample"])
def test_before_fit_every_method_says_so(Estimator, X, method):
    with pytest.raises(NotFittedError):
        getattr(Estimator(), method)(*(() if method == "sample" else (X,)))


@pytest.mark.parametrize("method", ["inverse_transform", "decision_function"])
def test_before_fit_the_others_say_so_too(Estimator, X, method):
    with pytest.raises(NotFittedError):
        getattr(Estimator(), method)(X)
    with pytest.raises(NotFittedError):
        Estimator().get_feature_names_out()


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "ten"])
def test_the_number_of_samples_is_a_positive_int(Estimator, X, n_samples):
    model = quick(Estimator).fit(X)
    with pytest.raises((ValueError, TypeError), match="n_samples"):
        model.sample(n_samples)


def test_codes_of_another_width_are_refused(Estimator, X):
    model = quick(Estimator).fit(X)
    with pytest.raises(ValueError, match=r"X has 3 columns.*n_components=2"):
        model.inverse_transform(X[:, :3])


def test_a_number_as_weight_counts_for_all():
    np.testing.assert_array_equal(check_sample_weight(2, 3), [2.0, 2.0, 2.0])
    assert check_sample_weight(None, 3) is None


@pytest.mark.parametrize("chosen", [likelihoods.Likelihood, likelihoods.Categorical])
def test_a_likelihood_that_cannot_hold_for_a_whole_table_is_refused(Estimator, chosen):
    with pytest.raises(ValueError, match="The 'likelihood' parameter"):
        quick(Estimator, likelihood=chosen).fit(make_rows(20, 2))


def test_strings_of_numpy_are_options(Estimator):
    model = quick(Estimator, activation=np.str_("silu")).fit(make_rows(20, 2))
    assert type(model.module_.config["activation"]) is str


def test_dates_are_no_numbers(Estimator):
    X = np.array([["2020-01-01", "NaT"], ["2020-01-02", "2020-01-03"]] * 5, dtype="M8[D]")
    with pytest.raises(TypeError, match=r"X has the dtype datetime64\[D\]"):
        quick(Estimator).fit(X)


@pytest.mark.parametrize("far", [1e15, 1e30])
def test_values_beside_which_all_others_are_one_are_warned_of(Estimator, far):
    X = make_rows(100, 3)
    X[7, 1] = far
    with pytest.warns(UserWarning, match="Column 1 of X has values so far out") as warned:
        quick(Estimator, scaling="standard").fit(X)
    X[8, 2] = far
    with pytest.warns(UserWarning, match=r"Column 1 of X \(and 1 others\) has values") as of_two:
        quick(Estimator, scaling="standard").fit(X)
    assert [w.filename for w in [*warned, *of_two]] == [__file__] * 2


@pytest.mark.parametrize("n_samples", [100, 1000])
def test_a_value_that_hides_how_others_differ_is_warned_of(Estimator, n_samples):
    X = 50 + 10 * make_rows(n_samples, 3)
    X[7, 1] = 99_999
    with pytest.warns(UserWarning, match=r"Column 1 of X has values so far out.*scaling='quant"):
        quick(Estimator, max_iter=1, scaling="standard").fit(X)
    quick(Estimator, max_iter=1, scaling="quantile").fit(X)
    quick(Estimator, max_iter=40, robust=True, contamination=0.02).fit(X)
    X[7, 1] = 999
    quick(Estimator, max_iter=1, scaling="standard").fit(X)


def test_the_callers_default_dtype_may_be_short(Estimator):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        scores = quick(Estimator).fit(make_rows(50, 3)).score_samples(make_rows(5, 3))
    finally:
        torch.set_default_dtype(before)
    expected = quick(Estimator).fit(make_rows(50, 3)).score_samples(make_rows(5, 3))
    np.testing.assert_array_equal(scores, expected)


def test_a_condition_names_a_column_by_its_number():
    X = make_rows(50, 3)
    drawn = quick(VAETransformer).fit(X).sample(20, conditions={True: 0.25})
    assert (drawn[:, 1] == 0.25).all()
    assert (drawn[:, [0, 2]] != 0.25).all()


@pytest.mark.parametrize("order", [np.sort, np.copy])
def test_heavy_tails_and_quiet_beginnings_are_not_warned_of(Estimator, rng, order):
    calm = np.r_[rng.normal(size=300) * 0.01, rng.normal(size=3000) * 1e5]
    X = np.c_[order(rng.lognormal(0, 3, 3300)), order(calm)]
    quick(Estimator, max_iter=1).fit(X)


def test_errors_say_which_column_and_which_method():
    frame = pd.DataFrame({"x": np.linspace(0, 1, 20), "k": list("ab") * 5 + list("cd") * 5})
    model = quick(VAETransformer).fit(frame)
    with pytest.raises(ValueError, match=r"Input X contains infinity, in column 'x'"):
        model.transform(frame.replace({"x": {0: np.inf}}))
    for rows in (frame.to_numpy(), frame.iloc[0], dict(frame.iloc[0])):
        with pytest.raises(ValueError, match=r"Column 'k' .* X must be a data frame"):
            model.transform(rows)

    class Nothing(likelihoods.Likelihood):
        pass

    with pytest.raises(NotImplementedError, match=r"Nothing has no log_prob"):
        quick(VAETransformer, likelihood=Nothing).fit(frame[["x"]])


def test_of_a_dict_of_likelihoods_the_wrong_part_is_told(Estimator):
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": [2.0, 1, 3]})
    with pytest.raises(ValueError, match=r"Got \{'b': 'poison'\} instead"):
        quick(Estimator, likelihood={"a": "poisson", "b": "poison"}).fit(frame)


@pytest.mark.parametrize("as_rows", [pd.DataFrame, np.asarray])
def test_a_total_is_shared_out_over_several_columns(Estimator, as_rows):
    X = as_rows(np.arange(20.0)[:, None])
    chosen = "multinomial" if as_rows is np.asarray else {0: "multinomial"}
    with pytest.raises(ValueError, match=r"several columns, but .* is the only one.*'poisson'"):
        quick(Estimator, likelihood=chosen).fit(X)


def test_rows_of_weight_zero_may_have_any_score(Estimator):
    X = make_rows(50, 3)
    model, weights = quick(Estimator).fit(X), np.r_[0.0, np.ones(49)]
    X[0] = 1e300
    assert model.score_samples(X)[0] == -np.inf
    assert model.score(X, sample_weight=weights) == pytest.approx(model.score(X[1:]))
