"""Missing cells: what is known is scored, what is not is filled in, and which cell is odd."""

import numpy as np
import pytest
import torch
from helpers import ESTIMATORS, factor_rows, log_prob_of_place, make_rows, quick
from scipy.stats import multivariate_normal
from sklearn import config_context

from skvae import AutoencoderTransformer, VAETransformer
from skvae._gaps import Gaps
from skvae._importance import effective, expected
from skvae._vae_model import ENOUGH_DRAWS

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

SCALINGS = ["standard", "quantile", None]


def with_gaps(X, share=0.2, seed=0):
    """Return a copy of X with gaps at random, and where they are."""
    X = np.array(X, dtype=np.float64)
    gaps = np.random.default_rng(seed).random(X.shape) < share
    X[gaps] = np.nan
    return X, gaps


def mixed_table(n_samples=120, seed=0):
    """Return a frame without gaps whose dtypes can be missing, but for two."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n_samples)
    return pd.DataFrame(
        {
            "x": x,
            "y": 2 * x + rng.normal(size=n_samples),
            "count": np.round(3 * x).astype(np.int64),
            "flag": x > 0.3,
            "city": np.where(x > 0, "Aachen", rng.choice(["Bonn", "Celle"], n_samples)),
            "whole": pd.array(rng.integers(0, 9, n_samples), dtype="Int64"),
            "maybe": pd.array(rng.random(n_samples) < 0.5, dtype="boolean"),
            "grade": pd.Categorical(
                rng.choice(["low", "high"], n_samples), ["low", "mid", "high"]
            ),
        }
    )


def frame_with_gaps(frame, share=0.2, seed=0):
    """Return the frame with gaps in all columns, and where they are."""
    gaps = np.random.default_rng(seed).random(frame.shape) < share
    # (`mask` makes floats of integers, and objects of flags.)
    return frame.mask(pd.DataFrame(gaps, frame.index, frame.columns)), gaps


# --------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("trained_with_gaps", [False, True])
def test_a_row_is_scored_by_itself(Estimator, X, scaling, trained_with_gaps):
    holed, _ = with_gaps(X)
    model = quick(Estimator, scaling=scaling).fit(holed if trained_with_gaps else X)
    alone, together = model.score_samples(X), model.score_samples(np.vstack([X, holed]))
    np.testing.assert_allclose(together[: len(X)], alone, rtol=1e-10, atol=1e-10)
    each = [model.score_samples(row[None])[0] for row in holed[:20]]
    np.testing.assert_allclose(together[len(X) :][:20], each, rtol=1e-10, atol=1e-10)
    codes = model.transform(np.vstack([X, holed]))[: len(X)]
    np.testing.assert_allclose(codes, model.transform(X), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("trained_with_gaps", [False, True])
def test_the_score_of_a_linear_vae_is_the_density_of_the_known_cells(trained_with_gaps):
    X = factor_rows(1000, 6, 2)
    holed, gaps = with_gaps(X)
    vae = VAETransformer(
        2, hidden_layer_sizes=(), scaling=None, max_iter=100, n_draws=1024, random_state=0
    )
    vae.set_params(likelihood="gaussian").fit(holed if trained_with_gaps else X)
    center, covariance = joint_normal(vae)
    scores = vae.score_samples(holed)
    exact = np.zeros(len(X))
    for i, known in enumerate(~gaps):
        if known.any():
            part = multivariate_normal(center[known], covariance[np.ix_(known, known)])
            exact[i] = part.logpdf(X[i, known])
    # (An encoder that has seen no gaps takes them for the mean: half the draws miss.)
    assert np.abs(scores - exact).mean() < 0.03
    assert scores.mean() == pytest.approx(exact.mean(), abs=0.02)


def joint_normal(vae):
    """Return mean and covariance of the rows of a linear VAE, from its decoder and noise."""
    module, n = vae.module_.double(), vae.module_.config["n_components"]
    center = module.decode(torch.zeros(n, dtype=torch.float64))
    loadings = module.decode(torch.eye(n, dtype=torch.float64)) - center
    # The density of the noise at its mode tells its variance.
    at_mode = module.columns.log_prob(center, center, module.shared)
    variance = torch.exp(-2 * at_mode) / (2 * np.pi)
    covariance = loadings.T @ loadings + variance.diag()
    module.float()
    return center.numpy(), covariance.numpy()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_density_of_the_known_cells_integrates_to_one(scaling):
    holed, _ = with_gaps(make_rows(400, 2))
    vae = quick(VAETransformer, scaling=scaling, max_iter=40, n_draws=1024).fit(holed)
    grid, step = np.linspace(-25, 25, 2001, retstep=True)
    for column in range(2):
        rows = np.full((len(grid), 2), np.nan)
        rows[:, column] = grid
        assert np.exp(vae.score_samples(rows)).sum() * step == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("trained_with_gaps", [False, True])
def test_a_row_of_gaps_is_scored_and_filled(Estimator, X, trained_with_gaps):
    model = quick(Estimator).fit(with_gaps(X)[0] if trained_with_gaps else X)
    nothing = np.full((1, X.shape[1]), np.nan)
    # The integral of the prior, by importance sampling.
    tolerance = 0.02 if Estimator is VAETransformer else 0
    assert model.score_samples(nothing)[0] == pytest.approx(0, abs=tolerance)
    assert (model.contributions(nothing) == 0).all()
    filled = model.impute(nothing)
    assert np.isfinite(filled).all()
    assert (np.abs(filled - X.mean(axis=0)) < 2 * X.std(axis=0)).all()
    assert np.isfinite(model.transform(nothing)).all()


def test_a_row_of_gaps_in_a_frame_is_filled(Estimator):
    frame = mixed_table()
    model = quick(Estimator).fit(frame)
    nothing = frame_with_gaps(frame[:3], share=1.0)[0]
    filled = model.impute(nothing)
    assert list(filled.dtypes) == list(frame.dtypes)
    assert not filled.isna().any(axis=None)
    assert model.score_samples(nothing) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize(
    "method", ["fit", "transform", "score_samples", "predict", "impute", "contributions"]
)
def test_infinity_beside_gaps_stays_an_error(Estimator, X, method, value):
    holed, _ = with_gaps(X)
    model = quick(Estimator).fit(holed)
    holed[3, 2] = value
    with pytest.raises(ValueError, match="Input X contains inf"):
        getattr(model, method)(holed)
    with pytest.raises(ValueError, match="Input X contains inf"):
        getattr(quick(Estimator).fit(mixed_table()), method)(mixed_table().assign(y=value))


@pytest.mark.parametrize("scaling", SCALINGS)
def test_gaps_only_at_predict_work_in_every_method(Estimator, X, scaling):
    model = quick(Estimator, scaling=scaling).fit(X)
    holed, gaps = with_gaps(X)
    assert model.transform(holed).shape == (len(X), 2)
    methods = ["transform", "score_samples", "decision_function", "contributions", "impute"]
    methods += ["elbo"] if Estimator is VAETransformer else []
    for method in methods:
        assert np.isfinite(getattr(model, method)(holed)).all()
    assert set(model.predict(holed)) <= {-1, 1}
    assert np.isfinite(model.score(holed))
    assert all(np.isfinite(filled).all() for filled in model.impute(holed, n_draws=2))
    # A row without gaps is not changed by being here.
    complete = ~gaps.any(axis=1)
    np.testing.assert_allclose(
        model.contributions(holed)[complete], model.contributions(X[complete]), atol=1e-10
    )


def test_gaps_only_at_predict_work_in_every_method_for_a_frame(Estimator):
    frame = mixed_table()
    model = quick(Estimator).fit(frame)
    holed, _ = frame_with_gaps(frame)
    assert np.isfinite(model.transform(holed)).all()
    assert np.isfinite(model.score_samples(holed)).all()
    assert set(model.predict(holed)) <= {-1, 1}
    assert not model.contributions(holed).isna().any(axis=None)
    for filled in [model.impute(holed), *model.impute(holed, n_draws=2)]:
        assert list(filled.dtypes) == list(frame.dtypes)
        assert not filled.isna().any(axis=None)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_column_without_a_known_cell_does_no_harm(Estimator, X, scaling):
    holed, _ = with_gaps(X)
    holed[:, 2] = np.nan
    model = quick(Estimator, scaling=scaling).fit(holed)
    assert np.isfinite(model.score_samples(holed)).all()
    assert np.isfinite(model.sample(5, complete=True)).all()
    assert np.isnan(model.sample(5)[:, 2]).all()
    assert np.isfinite(model.impute(holed)).all()
    assert np.isfinite(model.transform(X)).all()
    assert (model.contributions(holed)[:, 2] == 0).all()


def test_a_column_of_a_frame_without_a_known_cell_stays_empty(Estimator):
    frame = mixed_table().assign(empty=np.nan, none=None)
    frame["unknown"] = pd.array([pd.NA] * len(frame), dtype="Int64")
    model = quick(Estimator).fit(frame)
    for rows in (model.sample(len(frame)), model.impute(frame)):
        assert list(rows.dtypes) == list(frame.dtypes)
        missing = rows.isna().all()
        assert list(missing[missing].index) == ["empty", "none", "unknown"]
        assert not rows.drop(columns=["empty", "none", "unknown"]).isna().any(axis=None)
    assert np.isfinite(model.score_samples(frame)).all()


# ---------------------------------------------------------------------------- imputation


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_known_cells_of_an_array_are_untouched(Estimator, X, scaling, dtype):
    # (Values that scaling does not map back to themselves, some outside the range seen.)
    holed, gaps = with_gaps(X / 7 if scaling is None else 1e3 * X / 7)
    model = quick(Estimator, scaling=scaling).fit(holed)
    holed = 3 * holed.astype(dtype)
    before = holed.copy()
    for filled in [model.impute(holed), *model.impute(holed, n_draws=2)]:
        assert filled.dtype == dtype
        assert np.isfinite(filled).all()
        np.testing.assert_array_equal(filled[~gaps], holed[~gaps])
    np.testing.assert_array_equal(holed, before)


@pytest.mark.parametrize("trained_with_gaps", [False, True])
def test_known_cells_of_a_frame_are_untouched(Estimator, trained_with_gaps):
    frame = mixed_table()
    holed, gaps = frame_with_gaps(frame)
    model = quick(Estimator).fit(holed if trained_with_gaps else frame)
    for filled in [model.impute(holed), *model.impute(holed, n_draws=2)]:
        assert list(filled.columns) == list(frame.columns)
        assert not filled.isna().any(axis=None)
        for j, name in enumerate(frame.columns):
            observed = ~gaps[:, j]
            assert filled[name][observed].tolist() == frame[name][observed].tolist()
            if pd.api.types.is_integer_dtype(filled[name].dtype):
                assert set(filled[name]) <= set(range(frame[name].min(), frame[name].max() + 1))
            elif not pd.api.types.is_float_dtype(filled[name].dtype):
                assert set(filled[name]) <= set(frame[name])
        expected = holed.dtypes if trained_with_gaps else frame.dtypes
        assert list(filled.dtypes) == list(expected)


def test_known_cells_of_polars_are_untouched(Estimator):
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "whole": rng.integers(-5, 9, 80),
            "x": rng.normal(size=80),
            "flag": rng.random(80) < 0.4,
            "level": pl.Series(rng.choice(["a", "b", "c"], 80).tolist(), dtype=pl.Enum("abcd")),
        }
    )
    gaps = rng.random((80, 4)) < 0.2
    holed = frame.with_columns(
        pl.when(pl.Series(~gaps[:, j])).then(pl.col(name)).alias(name)
        for j, name in enumerate(frame.columns)
    )
    filled = quick(Estimator).fit(holed).impute(holed)
    assert filled.schema == frame.schema
    assert filled.null_count().sum_horizontal().item() == 0
    for j, name in enumerate(frame.columns):
        observed = pl.Series(~gaps[:, j])
        assert filled[name].filter(observed).equals(frame[name].filter(observed))
        assert set(filled[name]) <= set(frame[name]) or name == "x"


def test_a_known_integer_outside_the_range_seen_is_untouched(Estimator):
    frame = mixed_table()[["count", "x"]]
    filled = quick(Estimator).fit(frame).impute(frame.assign(count=500, x=np.nan))
    assert (filled["count"] == 500).all()


def test_known_cells_that_the_dtype_of_fit_cannot_hold_are_untouched(Estimator):
    rng = np.random.default_rng(0)
    large, single = 2**53 + 1 + 2 * np.arange(100), rng.normal(size=100).astype(np.float32)
    frame = pd.DataFrame(
        {
            "byte": rng.integers(0, 200, 100).astype(np.uint8),
            "whole": rng.integers(0, 9, 100),
            "large": large,
            "huge": pd.array(large, dtype="Int64"),
            "single": single,
            "text": rng.choice(["a", "b"], 100),
        }
    )
    model = quick(Estimator).fit(frame)
    columns = {
        "byte": [300, None],
        "whole": [2.5, None],
        "large": large[:2],
        "huge": pd.array([large[5], None], dtype="Int64"),
        "single": [0.1, None],
        "text": ["b", None],
    }
    given = pd.DataFrame(columns, index=[7, 3])
    filled = model.impute(given)
    pd.testing.assert_frame_equal(filled[:1], given[:1])
    assert not filled.isna().any(axis=None)
    pd.testing.assert_series_equal(filled.large, given.large)
    in_polars = quick(Estimator).fit(pl.from_pandas(frame)).impute(pl.from_pandas(given))
    assert in_polars.rows() == [tuple(row) for row in filled.itertuples(index=False)]


@pytest.mark.parametrize("settings", [{}, {"scaling": "quantile"}])
def test_what_is_filled_in_does_not_depend_on_other_rows(Estimator, settings):
    frame = mixed_table()[["x", "y", "city"]]
    holed, _ = frame_with_gaps(frame)
    model = quick(Estimator, max_iter=30, **settings).fit(frame)
    filled = model.impute(holed)
    for row in (0, 7, 119):
        alone = model.impute(holed.iloc[[row] * 3])
        expected = filled.iloc[[row] * 3]
        pd.testing.assert_frame_equal(alone, expected, check_exact=False, rtol=1e-6)


def test_integers_of_128_bits_are_drawn_and_filled(Estimator):
    values = np.random.default_rng(0).integers(0, 50, 60)
    frame = pl.DataFrame({"n": pl.Series(values, dtype=pl.Int128), "x": make_rows(60, 1)[:, 0]})
    model = quick(Estimator).fit(frame)
    holed = frame.with_columns(n=pl.Series([None, *values[1:].tolist()], dtype=pl.Int128))
    assert model.sample(3).schema == model.impute(holed).schema == frame.schema


def test_only_rows_with_gaps_are_worked_on(Estimator, X, monkeypatch):
    model = quick(Estimator, scaling="quantile").fit(X)
    holed, seen = X.copy(), []
    holed[3, 1] = np.nan
    run = model._run
    monkeypatch.setattr(model, "_run", lambda verb, X, *a: seen.append(len(X)) or run(verb, X, *a))
    model.impute(X)
    model.impute(holed)
    assert seen == [1]


def test_rows_without_gaps_come_back_as_they_were(Estimator, X):
    frame = mixed_table()
    pd.testing.assert_frame_equal(quick(Estimator).fit(frame).impute(frame), frame)
    np.testing.assert_array_equal(quick(Estimator).fit(X).impute(X), X)


def test_an_unseen_level_is_a_gap(Estimator):
    frame = mixed_table()
    model = quick(Estimator).fit(frame)
    unseen, missing = frame.copy(), frame.copy()
    unseen.loc[:9, "city"], missing.loc[:9, "city"] = "Paris", None
    np.testing.assert_array_equal(model.score_samples(unseen), model.score_samples(missing))
    np.testing.assert_array_equal(model.transform(unseen), model.transform(missing))
    pd.testing.assert_frame_equal(model.contributions(unseen), model.contributions(missing))
    filled = model.impute(unseen)
    assert set(filled["city"]) <= {"Aachen", "Bonn", "Celle"}
    pd.testing.assert_frame_equal(filled, model.impute(missing))
    # a category that the dtype knows, but no row of the training rows had
    graded = frame.assign(grade=frame["grade"].cat.set_categories(["low", "mid", "high"]))
    graded.loc[:9, "grade"] = "mid"
    assert set(model.impute(graded)["grade"]) <= {"low", "high"}


def gaussian_table(n_samples, n_features=6, seed=0):
    """Return rows of a joint normal distribution, its mean and its covariance."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(2, n_features))
    noise = rng.uniform(0.3, 0.6, n_features)
    mean = rng.normal(size=n_features)
    z, e = rng.normal(size=(n_samples, 2)), rng.normal(size=(n_samples, n_features))
    return mean + z @ loadings + noise * e, mean, loadings.T @ loadings + np.diag(noise**2)


def exact_conditional(X, gaps, mean, covariance):
    """Return the mean and the variance of each missing cell given those known, zero elsewhere."""
    means, variances = np.zeros((2, *X.shape))
    for i, gone in enumerate(gaps):
        known = ~gone
        weights = np.linalg.solve(
            covariance[np.ix_(known, known)], covariance[np.ix_(known, gone)]
        ).T
        means[i, gone] = mean[gone] + weights @ (X[i, known] - mean[known])
        left = covariance[np.ix_(gone, gone)] - weights @ covariance[np.ix_(known, gone)]
        variances[i, gone] = left.diagonal()
    return means, variances


@pytest.fixture(scope="module", params=ESTIMATORS, ids=lambda estimator: estimator.__name__)
def filled(request):
    """A model trained on a normal table with gaps, the table, and the exact distribution."""
    X, mean, covariance = gaussian_table(2000)
    holed, gaps = with_gaps(X)
    model = request.param(
        2, hidden_layer_sizes=(32,), max_iter=80, learning_rate=1e-2, random_state=0
    ).fit(holed)
    return model, X, holed, gaps, *exact_conditional(X, gaps, mean, covariance)


def rmse(a, b):
    return np.sqrt(np.mean((a - b) ** 2))


def test_imputation_is_near_the_exact_conditional_mean(filled):
    model, X, holed, gaps, exact, _ = filled
    imputed, plain = (
        model.impute(holed)[gaps],
        np.broadcast_to(np.nanmean(holed, 0), X.shape)[gaps],
    )
    # 0.07 and 0.22 are usual
    factor = 0.15 if isinstance(model, VAETransformer) else 0.33
    assert rmse(imputed, exact[gaps]) < factor * rmse(plain, exact[gaps])
    # What no method can know keeps the error to the truth from being smaller, but by chance: with
    # independent differences of 0.07 from the exact mean in 2,400 cells, by less than 0.5 %.
    assert 0.995 * rmse(exact[gaps], X[gaps]) < rmse(imputed, X[gaps]) < 0.7 * rmse(plain, X[gaps])


def test_imputation_by_a_model_that_has_seen_no_gaps(Estimator):
    X, mean, covariance = gaussian_table(1000)
    holed, gaps = with_gaps(X)
    exact, _ = exact_conditional(X, gaps, mean, covariance)
    model = Estimator(
        2, hidden_layer_sizes=(32,), max_iter=80, learning_rate=1e-2, random_state=0
    ).fit(X)
    imputed, plain = model.impute(holed)[gaps], np.broadcast_to(X.mean(axis=0), X.shape)[gaps]
    # An autoencoder would be at 0.42 if it took the gaps for means once and for all.
    factor = 0.2 if Estimator is VAETransformer else 0.36
    assert rmse(imputed, exact[gaps]) < factor * rmse(plain, exact[gaps])
    assert rmse(imputed, X[gaps]) < 0.7 * rmse(plain, X[gaps])


def test_categories_are_filled_better_than_by_the_most_frequent(Estimator):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 900)
    frame = pd.DataFrame(
        {
            "kind": np.array(["a", "b", "c"])[kind],
            "x": kind + 0.3 * rng.normal(size=900),
            "like": np.array(["u", "v", "w"])[np.where(rng.random(900) < 0.9, kind, 0)],
        }
    )
    holed = frame.copy()
    gone = rng.random(900) < 0.3
    holed.loc[gone, "kind"] = None
    model = Estimator(2, hidden_layer_sizes=(32,), max_iter=60, random_state=0).fit(holed)
    right = (model.impute(holed)["kind"] == frame["kind"])[gone].mean()
    # The most frequent is right for a third of them, the best guess for some 95 %.
    assert right > 0.8


def test_draws_differ_in_the_gaps_and_have_the_exact_mean_and_spread(filled):
    model, _, holed, gaps, _, variance = filled
    draws = np.array(model.impute(holed, n_draws=50, random_state=0))
    assert draws.shape == (50, *holed.shape)
    np.testing.assert_array_equal(draws[:, ~gaps], np.tile(holed[~gaps], (50, 1)))
    assert (draws[0][gaps] != draws[1][gaps]).all()
    spread = draws.var(axis=0, ddof=1)[gaps]
    # The distance of a mean of 50 draws, in units of its own error, has a root mean square of 1.
    distance = (draws.mean(axis=0) - model.impute(holed))[gaps] / np.sqrt(spread / 50)
    assert np.sqrt(np.mean(distance**2)) < 1.2
    if isinstance(model, VAETransformer):  # (an autoencoder draws noise only, for one code)
        # for the noise scale that the model has learned
        assert np.sqrt(spread.mean() / variance[gaps].mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("trained_with_gaps", [False, True])
def test_a_linear_vae_fills_in_its_own_exact_conditional(trained_with_gaps):
    X, *_ = gaussian_table(1000)
    holed, gaps = with_gaps(X)
    gaps[gaps.all(axis=1)] = False  # nothing is given there
    holed = np.where(gaps, np.nan, X)
    vae = VAETransformer(
        2, hidden_layer_sizes=(), scaling=None, max_iter=40, n_draws=1024, random_state=0
    )
    vae.set_params(likelihood="gaussian").fit(holed if trained_with_gaps else X)
    mean, variance = exact_conditional(X, gaps, *joint_normal(vae))
    scale = np.sqrt(variance[gaps].mean())
    # sampling error: of 1024 draws, and of the variance of 100 for each of some 1200 gaps
    assert rmse(vae.impute(holed)[gaps], mean[gaps]) < 0.1 * scale
    draws = np.array(vae.impute(holed, n_draws=100, random_state=0))[:, gaps]
    assert rmse(draws.mean(axis=0), mean[gaps]) < 0.15 * scale
    assert np.sqrt(draws.var(axis=0, ddof=1).mean()) == pytest.approx(scale, rel=0.03)


def test_gaps_are_filled_with_many_draws_however_few_score():
    X = factor_rows(300, 6, 2)
    holed, gaps = with_gaps(X)
    few, many = (quick(VAETransformer, n_draws=n).fit(holed) for n in (1, 4096))
    difference = (few.impute(holed) - many.impute(holed))[gaps] / X.std()
    assert 0 < np.abs(difference).max() < 0.2
    assert np.abs(difference).mean() < 0.01


def test_rows_for_which_few_draws_count_are_filled_with_more():
    X = factor_rows(300, 6, 2)
    holed, _ = with_gaps(X)
    vae = quick(VAETransformer, n_draws=64, scaling=None, max_iter=80).fit(holed)
    module, x = vae.module_, torch.from_numpy(holed.astype(np.float32))

    def mean(noise):
        draws = module._posterior_draws(module.see(x), noise)
        means = [module.columns.mean(part.out, module.shared) for part in draws]
        return expected(means, draws), effective(draws)

    (few, n_effective), (many, _) = mean(module.noise[:64]), mean(module.noise)
    is_vague = n_effective < ENOUGH_DRAWS
    assert 0.1 < is_vague.double().mean() < 0.9
    assert n_effective.min() >= 1
    assert n_effective.max() <= 64
    filled = module.impute(x)
    torch.testing.assert_close(filled[is_vague], many[is_vague])
    torch.testing.assert_close(filled[~is_vague], few[~is_vague])


def test_draws_are_a_list_of_tables_and_depend_on_the_seed(Estimator, X):
    holed, gaps = with_gaps(X)
    model = quick(Estimator).fit(holed)
    for n_draws in (1, 2, np.int64(3)):
        assert len(model.impute(holed, n_draws=n_draws)) == n_draws
    first, again, other = (model.impute(holed, 2, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first[0][gaps] != other[0][gaps]).all()
    # Without a seed, that of the estimator.
    np.testing.assert_array_equal(model.impute(holed, 2), model.impute(holed, 2))
    np.testing.assert_array_equal(model.impute(holed), model.impute(holed, random_state=5))


def test_draws_of_a_frame_are_frames_and_depend_on_the_seed(Estimator):
    frame = mixed_table()
    holed, _ = frame_with_gaps(frame)
    model = quick(Estimator).fit(frame)
    first, again = (model.impute(holed, n_draws=2, random_state=0) for _ in range(2))
    for one, same in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, same)
    assert not first[0].equals(first[1])


@pytest.mark.parametrize("n_draws", [0, -1, 1.5, "2"])
def test_the_number_of_draws_is_checked(Estimator, X, n_draws):
    with pytest.raises(ValueError, match=r"n_draws must be an int.* Got"):
        quick(Estimator).fit(X).impute(X, n_draws=n_draws)


def test_filled_levels_are_drawn_not_only_the_likeliest(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"level": rng.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1]), "x": rng.normal(size=400)}
    )
    holed = frame.assign(level=None)
    model = quick(Estimator, max_iter=30).fit(frame)
    drawn = pd.concat(model.impute(holed, n_draws=10, random_state=0))["level"]
    shares = drawn.value_counts(normalize=True).reindex(["a", "b", "c"])
    assert (shares > 0.01).all()
    if Estimator is VAETransformer:  # an autoencoder has no distribution of what is unknown
        assert np.abs(shares - [0.6, 0.3, 0.1]).max() < 0.12


# ------------------------------------------------------------------------- contributions


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_contributions_sum_to_the_score(Estimator, X, scaling, dtype):
    holed, gaps = with_gaps(X)
    holed = holed.astype(dtype)
    model = quick(Estimator, scaling=scaling, max_iter=60, learning_rate=1e-2)
    if Estimator is VAETransformer:  # the ELBO, whose KL is that of the posterior
        model.set_params(n_training_draws=1)
    contributions, scores = model.fit(holed).contributions(holed), model.score_samples(holed)
    assert contributions.shape == X.shape
    assert (contributions[gaps] == 0).all()
    assert (contributions[~gaps] != 0).all()
    rest = contributions.sum(axis=1) - scores
    if Estimator is AutoencoderTransformer:
        np.testing.assert_allclose(rest, -log_prob_of_place(model, holed), rtol=1e-4, atol=1e-4)
    else:
        # The rest is the divergence of the posterior from the prior, up to sampling error.
        assert rest.min() > -0.01
        assert 0.05 < rest.mean() < 20
        complete = rest[~gaps.any(axis=1)].mean()
        assert complete == pytest.approx(model.kl_per_component_.sum(), rel=0.5)


def test_contributions_of_a_frame_have_its_columns(Estimator):
    frame = mixed_table()
    holed, gaps = frame_with_gaps(frame)
    model = quick(Estimator)
    if Estimator is VAETransformer:  # the ELBO, whose posterior is that of the draws
        model.set_params(n_training_draws=1)
    contributions = model.fit(holed).contributions(holed)
    assert isinstance(contributions, pd.DataFrame)
    assert list(contributions.columns) == list(frame.columns)
    assert (contributions.dtypes == np.float64).all()
    assert (contributions.to_numpy()[gaps] == 0).all()
    sums, scores = contributions.sum(axis=1), model.score_samples(holed)
    if Estimator is AutoencoderTransformer:
        of_place = log_prob_of_place(model, holed)
        np.testing.assert_allclose(sums + of_place, scores, rtol=1e-4, atol=1e-4)
    else:
        assert (sums - scores).min() > -0.01
    other = quick(Estimator).fit(pl.DataFrame(frame[["x", "city", "y"]].to_dict("list")))
    contributions = other.contributions(pl.DataFrame(frame[["x", "city", "y"]].to_dict("list")))
    assert isinstance(contributions, pl.DataFrame)
    assert contributions.columns == ["x", "city", "y"]


def test_the_density_of_categories_bounds_their_contributions(Estimator):
    # log-probabilities of levels and flags are at most zero, whichever column they stand in
    frame = mixed_table()[["city", "x", "flag", "grade", "maybe"]]
    contributions = quick(Estimator).fit(frame).contributions(frame)
    assert (contributions[["city", "flag", "grade", "maybe"]] <= 0).all(axis=None)


@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_units_shift_the_contributions_of_their_column_only(Estimator, X, scaling):
    unit = np.array([1, 1, 1024, 1, 0.125])  # powers of two are exact
    model = quick(Estimator, scaling=scaling).fit(X)
    scaled = quick(Estimator, scaling=scaling).fit(X * unit)
    expected = model.contributions(X) - np.log(unit)
    np.testing.assert_allclose(scaled.contributions(X * unit), expected, rtol=1e-4, atol=1e-3)


def test_the_odd_cell_has_the_lowest_contribution(Estimator):
    X, *_ = gaussian_table(1000)
    model = Estimator(2, hidden_layer_sizes=(32,), max_iter=60, random_state=0).fit(X)
    usual = model.contributions(X)
    rows, columns = np.arange(60), np.arange(60) % X.shape[1]
    odd = X[:60].copy()
    odd[rows, columns] += 5 * X.std(axis=0)[columns]
    found = (model.contributions(odd) - usual.mean(axis=0)).argmin(axis=1)
    # by chance it is one in six; a code that follows the odd cell spoils others
    assert (found == columns).mean() > 0.8


def test_the_odd_level_has_the_lowest_contribution(Estimator):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 900)
    frame = pd.DataFrame({name: np.array(["a", "b", "c"])[kind] for name in ("p", "q", "r", "s")})
    frame["x"] = kind + 0.3 * rng.normal(size=900)
    model = Estimator(2, hidden_layer_sizes=(32,), max_iter=40, random_state=0).fit(frame)
    odd = frame[:50].copy()
    odd["q"] = odd["q"].map({"a": "b", "b": "c", "c": "a"})
    usual = model.contributions(frame).mean()
    found = (model.contributions(odd) - usual).idxmin(axis=1)
    assert (found == "q").mean() > 0.8


@pytest.mark.parametrize("n_samples", [300, 3000])  # few, and many rows held out
def test_gaps_leave_the_noise_of_a_column_what_it_is(n_samples):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 2)) @ rng.normal(size=(2, 6))
    X = X / X.std(axis=0) + 0.1 * rng.normal(size=X.shape)
    variances = []
    for share in (0, 0.6):
        holed = X.copy()
        holed[rng.random(n_samples) < share, 0] = np.nan
        model = AutoencoderTransformer(3, max_iter=60, random_state=0).fit(holed)
        variances.append(model.module_.shared[0].numpy())
    assert variances[1][0] < 3 * variances[0][0] < 0.1
    np.testing.assert_allclose(variances[1][1:], variances[0][1:], atol=0.05)


def test_shares_of_known_counts_sum_to_one_and_have_the_right_gradient():
    model = quick_module("multinomial", 3)
    states = [(i, np.nan, 5 - i) for i in range(6)]
    x = torch.tensor(states, dtype=torch.float64)
    seen, z = model.see(x), torch.zeros(6, 2, dtype=torch.float64)
    out = model.decoder(z).detach().requires_grad_()
    log_prob = model.log_prob(seen, out).sum(-1)
    np.testing.assert_allclose(log_prob.exp().sum().item(), 1)
    (expected,) = torch.autograd.grad(log_prob.sum(), out)
    np.testing.assert_allclose(model._grad(seen, out).detach(), expected, atol=1e-12)
    assert (expected[:, 1] == 0).all()


def quick_module(likelihood, n_columns):
    """Return the module of a VAE of counts, in float64, whose rows have gaps."""
    counts = np.random.default_rng(0).poisson(3.0, (60, n_columns)).astype(float)
    counts[::5, 1] = np.nan
    return quick(VAETransformer, likelihood=likelihood, dtype="float64").fit(counts).module_


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_gaps_leave_the_shares_and_the_total_of_counts_what_they_are(Estimator):
    rng = np.random.default_rng(0)
    X = rng.multinomial(40, [0.1, 0.2, 0.3, 0.4], 2000).astype(float)
    X[rng.random(2000) < 0.7, 0] = np.nan
    X[rng.random(2000) < 0.3, 3] = np.nan
    model = quick(Estimator, likelihood="multinomial", max_iter=30).fit(X)
    means = model.inverse_transform(model.transform(X)).mean(axis=0)
    np.testing.assert_allclose(means, [4, 8, 12, 16], rtol=0.15)
    assert means.sum() == pytest.approx(40, rel=0.05)


def test_a_total_of_which_little_is_known_does_not_explode():
    rng = np.random.default_rng(0)
    X = rng.multinomial(50, [0.6, 0.3, 0.0999, 0.0001], 1000).astype(float)
    X[::2, :3] = np.nan
    model = quick(AutoencoderTransformer, likelihood="multinomial", max_iter=30).fit(X)
    totals = model.inverse_transform(model.transform(X[1::2])).sum(axis=1)
    np.testing.assert_allclose(totals, 50, rtol=0.35)
    drawn = model.sample(100, complete=True)
    np.testing.assert_allclose(drawn.sum(axis=1), 50, rtol=0.35)


# ------------------------------------------------------- gaps that training has not seen any of


def test_gaps_that_are_new_are_scored_and_filled_as_well_as_can_be(rng):
    n_features, n_factors = 12, 3
    loadings = rng.normal(size=(n_factors, n_features))
    covariance = loadings.T @ loadings + 0.3 * np.eye(n_features)
    X = rng.multivariate_normal(np.zeros(n_features), covariance, size=1500)
    vae = VAETransformer(3, hidden_layer_sizes=(), likelihood="gaussian", random_state=0)
    vae.set_params(max_iter=60, learning_rate=1e-2).fit(X[:1200])
    holed = np.where(rng.random((300, n_features)) < 0.3, np.nan, X[1200:])
    scores, filled = np.empty(300), holed.copy()
    for i, row in enumerate(holed):
        known, missing = np.flatnonzero(~np.isnan(row)), np.flatnonzero(np.isnan(row))
        within = covariance[np.ix_(known, known)]
        scores[i] = multivariate_normal(np.zeros(len(known)), within).logpdf(row[known])
        slopes = np.linalg.solve(within, covariance[np.ix_(known, missing)])
        filled[i, missing] = row[known] @ slopes
    gaps = np.isnan(holed)
    least = np.sqrt(np.mean((filled - X[1200:])[gaps] ** 2))
    found = np.sqrt(np.mean((vae.impute(holed) - X[1200:])[gaps] ** 2))
    assert found < 1.03 * least
    assert np.abs(vae.score_samples(holed) - scores).mean() < 0.3


def test_a_code_hardly_changes_with_a_cell_that_others_tell(Estimator, rng):
    X = rng.normal(size=(500, 1)) + 0.1 * rng.normal(size=(500, 4))
    model = Estimator(1, max_iter=60, random_state=0).fit(X[:400])
    codes = model.transform(X[400:])
    holed = X[400:].copy()
    holed[:, 0] = np.nan
    assert np.std(model.transform(holed) - codes) < 0.08 * codes.std()


@pytest.mark.parametrize("with_training_gaps", [True, False])
def test_what_fills_counts_has_the_total_that_the_known_ones_suggest(rng, with_training_gaps):
    totals = np.where(rng.random(600) < 0.5, 20, 200)
    shares = rng.dirichlet([10, 20, 30, 40], 600)
    X = np.array([rng.multinomial(n, p) for n, p in zip(totals, shares, strict=True)]) * 1.0
    holed = X.copy()
    holed[::4, 3] = np.nan
    vae = VAETransformer(2, likelihood="multinomial", max_iter=30, random_state=0)
    vae.fit(holed if with_training_gaps else X)
    filled, drawn = vae.impute(holed), np.mean(vae.impute(holed, n_draws=20, random_state=0), 0)
    for total in (20, 200):
        rows = np.isnan(holed[:, 3]) & (totals == total)
        for made in (filled, drawn):
            assert made[rows, 3].mean() == pytest.approx(X[rows, 3].mean(), rel=0.2)
    drawn = vae.sample(500, random_state=0, conditions={0: 30, 1: 60, 2: 90}, complete=True)
    assert drawn[:, 3].mean() == pytest.approx(120, rel=0.2)


# --------------------------------------------------------------------------------------- draws


def rows_of_a_survey(n_samples=1500):
    """Return rows of which two cells are missing together, and another where the first is high."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 1)) + 0.3 * rng.normal(size=(n_samples, 5))
    X[X[:, 0] > 0.8, 4] = np.nan
    X[rng.random(n_samples) < 0.3, 1:3] = np.nan
    return X


def test_drawn_rows_have_gaps_as_those_of_fit_do(Estimator):
    X = rows_of_a_survey()
    drawn = quick(Estimator, max_iter=30).fit(X).sample(3000, random_state=0)
    gaps, expected = np.isnan(drawn), np.isnan(X)
    # (Errors of the share among the rows that are drawn, and among those that are remembered.)
    np.testing.assert_allclose(gaps.mean(0), expected.mean(0), atol=0.05)
    np.testing.assert_array_equal(gaps[:, 1], gaps[:, 2])
    assert not gaps[:, [0, 3]].any()


def test_drawn_cells_are_missing_where_those_of_like_rows_are(Estimator):
    drawn = quick(Estimator, max_iter=30).fit(rows_of_a_survey()).sample(3000, random_state=0)
    is_missing, first = np.isnan(drawn[:, 4]), drawn[:, 0]
    assert is_missing[first > 1.5].mean() > 0.7
    assert is_missing[first < 0].mean() < 0.1


def test_rows_may_be_drawn_complete(Estimator):
    model = quick(Estimator).fit(rows_of_a_survey())
    complete, drawn = (model.sample(200, 0, complete=flag) for flag in (True, False))
    assert np.isfinite(complete).all()
    np.testing.assert_array_equal(np.where(np.isnan(drawn), np.nan, complete), drawn)


def test_given_cells_are_not_missing(Estimator):
    model = quick(Estimator).fit(rows_of_a_survey())
    drawn = model.sample(300, random_state=0, conditions={1: 0.5})
    assert (drawn[:, 1] == 0.5).all()
    assert np.isnan(drawn).any()


def test_a_fit_without_gaps_forgets_those_of_the_one_before(Estimator, X):
    holed, _ = with_gaps(X)
    for model in (quick(Estimator), quick(Estimator, warm_start=True)):
        assert np.isnan(model.fit(holed).sample(50)).any()
        assert np.isfinite(model.fit(X).sample(50)).all()


def test_gaps_of_rows_are_drawn_in_proportion_to_their_weights(Estimator, rng):
    X = rng.normal(size=(600, 3)) + np.repeat([0, 4, 8], 200)[:, None]
    X[:200, 0] = X[200:400, 1] = np.nan
    weights = np.repeat([3.0, 1.0, 0.0], 200)
    X[400:, 2] = np.nan
    drawn = quick(Estimator).fit(X, sample_weight=weights).sample(2000, random_state=0)
    np.testing.assert_allclose(np.isnan(drawn).mean(0), [0.75, 0.25, 0], atol=0.06)


def test_drawn_gaps_of_a_frame_are_those_of_its_library(Estimator):
    frame = mixed_table().convert_dtypes()
    frame.loc[::3, frame.columns[0]] = pd.NA
    drawn = quick(Estimator).fit(frame).sample(90, random_state=0)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert 10 < drawn.iloc[:, 0].isna().sum() < 60
    assert not drawn.iloc[:, 1:].isna().any(axis=None)


@pytest.mark.parametrize("kind", [0.0, 9.0])
@pytest.mark.parametrize("n_features", [3, 200])
def test_gaps_are_those_of_a_row_that_is_like_it(rng, kind, n_features):
    """Two kinds of rows, told by the last cell, each lacks one of the others."""
    cells = rng.normal(size=(100, n_features))
    cells[:, -1] = np.repeat([0.0, 9.0], 50)
    cells[:50, 0] = cells[50:, 1] = np.nan
    gaps, new = Gaps.of_rows(cells, np.isnan(cells), None, 0), rng.normal(size=(4, n_features))
    new[:, -1] = kind
    drawn = gaps.draw(new, np.zeros(n_features, dtype=bool), 0)
    assert (np.argwhere(drawn) == [[i, int(kind > 0)] for i in range(4)]).all()


@pytest.mark.parametrize("scale", [1e39, 1e-30, 1e150])
def test_gaps_go_with_cells_of_any_size(rng, scale):
    cells = rng.normal(size=(200, 2)) * [scale, 1.0]
    cells[cells[:, 0] > 0, 1] = np.nan
    gaps = Gaps.of_rows(cells, np.isnan(cells), None, 0)
    drawn = gaps.draw(np.array([[scale, 0], [-scale, 0]]), np.zeros(2, dtype=bool), 0)
    assert drawn[:, 1].tolist() == [True, False]


def test_gaps_that_do_not_vary_are_no_patterns(Estimator, rng):
    X = rng.normal(size=(100, 30))
    X[:, 7] = np.nan
    assert (np.isnan(quick(Estimator, max_iter=2).fit(X).sample(20)) == (np.arange(30) == 7)).all()


def test_cells_that_are_given_are_known_in_the_row_whose_gaps_are_drawn(Estimator):
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[::3, :2] = np.nan
    drawn = quick(Estimator).fit(X).sample(300, conditions={0: 0.5})
    assert np.isfinite(drawn).all()
    X[:, 0] = np.nan  # where no row will do, any does
    drawn = quick(Estimator).fit(X).sample(300, conditions={0: 0.5})
    assert (drawn[:, 0] == 0.5).all()
    assert 0.2 < np.isnan(drawn[:, 1]).mean() < 0.5


def test_gaps_go_with_a_cell_that_the_code_knows_nothing_of(Estimator, rng):
    is_owner, income = rng.random(1000) < 0.5, rng.normal(size=1000)
    value = np.where(is_owner, rng.normal(100, 10, 1000), np.nan)
    frame = pd.DataFrame({"owner": is_owner, "income": income, "value": value})
    model = quick(Estimator).fit(frame)
    drawn = model.sample(500)
    np.testing.assert_array_equal(drawn["value"].isna(), ~drawn["owner"])
    assert model.sample(100, conditions={"owner": False})["value"].isna().all()


def test_whole_rows_are_as_often_missing_as_they_were(Estimator, rng):
    X = rng.normal(size=(1000, 5)) + rng.normal(size=(1000, 1))
    X[::5] = np.nan
    share = np.isnan(quick(Estimator, max_iter=30).fit(X).sample(4000)).mean()
    assert share == pytest.approx(0.2, abs=0.06)


def test_flags_and_spikes_are_missing_as_often_as_they_were(Estimator, rng):
    """What a model makes of such cells would tell that they were missing."""
    X = rng.normal(size=(2000, 4))
    X[:, 1], X[:, 2] = X[:, 0] > 0, np.maximum(X[:, 2], 0)
    X[rng.random(X.shape) < [0, 0.3, 0.3, 0]] = np.nan
    gaps = np.isnan(quick(Estimator, max_iter=20).fit(X).sample(4000))
    np.testing.assert_allclose(gaps.mean(axis=0), [0, 0.3, 0.3, 0], atol=0.05)


def test_a_column_without_a_known_cell_stays_so(Estimator, X):
    X = X.copy()
    X[:, 1] = np.nan
    assert (np.isnan(quick(Estimator).fit(X).sample(50)) == (np.arange(X.shape[1]) == 1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_drawn_in_the_dtype_of_fit(Estimator, X, dtype):
    model = quick(Estimator).fit(X.astype(dtype))
    assert model.sample(3).dtype == model.sample(3, conditions={0: 1}).dtype == dtype


@pytest.mark.parametrize("complete", [None, "no", 0.5, [], np.ones(2)])
def test_complete_is_a_flag(Estimator, X, complete):
    with pytest.raises(ValueError, match="complete must be True or False"):
        quick(Estimator).fit(X).sample(3, complete=complete)


def test_rows_are_drawn_where_unknown_levels_were_gaps(Estimator):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=60), "k": rng.integers(0, 3, 60)})
    frame.loc[:9, "x"] = np.nan
    model = quick(Estimator, likelihood={"k": "categorical"}, warm_start=True).fit(frame)
    drawn = model.fit(frame.assign(k=frame["k"].where(frame["k"] > 0, 7))).sample(50)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert drawn["x"].isna().any()


def test_means_that_are_filled_in_use_up_no_random_numbers(Estimator, X):
    holed, _ = with_gaps(X)
    model = quick(Estimator).fit(holed)
    model.set_params(random_state=np.random.RandomState(0))
    first, second = model.impute(holed), model.random_state.randint(1000)
    np.testing.assert_array_equal(model.impute(holed), first)
    assert second == np.random.RandomState(0).randint(1000)


@pytest.mark.filterwarnings("error")
def test_gaps_of_many_columns_do_not_go_by_the_users_settings(Estimator, rng):
    X = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 80))
    X[rng.random(X.shape) < 0.2] = np.nan
    plain = quick(Estimator).fit(X).sample(5)
    with config_context(transform_output="polars"):
        np.testing.assert_array_equal(quick(Estimator).fit(X).sample(5), plain)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_cells_behind_a_mask_are_missing(Estimator, dtype):
    X = np.ma.masked_less(np.round(9 * make_rows(60, 3)).astype(dtype), -9)
    with_gaps = X.astype(np.float32 if dtype is np.float32 else float).filled(np.nan)
    assert np.isnan(with_gaps).any()
    model, other = quick(Estimator).fit(X), quick(Estimator).fit(with_gaps)
    np.testing.assert_array_equal(model.score_samples(X), other.score_samples(with_gaps))
    np.testing.assert_array_equal(model.impute(X), other.impute(with_gaps))


@pytest.mark.parametrize("as_frame", [True, False])
def test_a_given_cell_tells_that_it_is_known(Estimator, as_frame):
    rng = np.random.default_rng(0)
    loan = (rng.random(1500) < 0.4).astype(float)
    age = np.where(loan, rng.normal(50, 8, 1500), rng.normal(35, 8, 1500))
    X = np.c_[loan, age, np.where(loan, rng.normal(5, 1, 1500), np.nan)]
    rows, rate = (pd.DataFrame(X, columns=["loan", "age", "rate"]), "rate") if as_frame else (X, 2)
    model = quick(Estimator, max_iter=40, hidden_layer_sizes=(32,)).fit(rows)
    drawn = np.asarray(model.sample(500, conditions={rate: 5.0}))
    assert (drawn[:, 2] == 5).all()
    assert drawn[:, 0].mean() > 0.9
    assert drawn[:, 1].mean() == pytest.approx(50, abs=2.5)
    assert len(np.unique(drawn[:, 1])) > 100  # no few rows again and again


def test_draws_stop_at_the_limit_of_a_column(Estimator):
    X = np.maximum(make_rows(400, 4), -0.5).astype(np.float32)
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    model = quick(Estimator, likelihood="censored_logistic", max_iter=20).fit(holed)
    drawn = np.stack(model.impute(holed, n_draws=3))[:, np.isnan(holed)]
    assert drawn.min() == X.min()
    assert (drawn == X.min()).mean() > 0.05
