"""Sparse rows: the same as dense ones, without ever being dense as a whole."""

import numpy as np
import pytest
import scipy.sparse
from helpers import quick
from sklearn.preprocessing import OneHotEncoder

from skvae import VAETransformer, _engine
from skvae._arrays import DenseOnDemand
from skvae.likelihoods import Multinomial


def counts(n_samples=120, n_features=30, seed=0):
    rng = np.random.RandomState(seed)
    some = rng.rand(n_samples, n_features) < 0.2
    return np.where(some, rng.poisson(2.0, some.shape), 0.0)


@pytest.mark.parametrize("likelihood", ["gaussian", "poisson", "multinomial"])
@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_rows_are_as_good_as_dense_ones(Estimator, likelihood, kind):
    X = counts()
    dense = quick(Estimator, likelihood=likelihood).fit(X)
    sparse = quick(Estimator, likelihood=likelihood).fit(kind(X))
    np.testing.assert_allclose(sparse.score_samples(kind(X)), dense.score_samples(X), rtol=1e-4)
    np.testing.assert_allclose(sparse.transform(kind(X)), dense.transform(X), atol=1e-4)
    assert sparse.offset_ == pytest.approx(dense.offset_, rel=1e-4)
    assert sparse.inverse_transform(sparse.transform(kind(X))).shape == X.shape


def test_flags_in_a_sparse_matrix_are_told_from_numbers():
    flags = scipy.sparse.csr_matrix(counts() > 0, dtype=np.float32)
    assert quick(VAETransformer).fit(flags).module_.config["blocks"][0][0] == "bernoulli"


def likes(seed=0):
    """Return flags of which some rows have many."""
    rng = np.random.default_rng(seed)
    return scipy.sparse.csr_array(
        rng.random((200, 40)) < rng.beta(0.5, 3, size=(200, 1)), dtype=float
    )


def kinds(model):
    return {likelihood for likelihood, _ in model.module_.config["blocks"]}


def test_sparse_rows_that_share_out_totals_are_multinomial(Estimator):
    assert kinds(quick(Estimator).fit(likes())) == {"multinomial"}
    assert kinds(quick(Estimator).fit(2 * likes())) == {"multinomial"}
    assert kinds(quick(Estimator).fit(likes().toarray())) == {"bernoulli"}
    assert "multinomial" not in kinds(quick(Estimator).fit(0.5 * likes()))
    assert "multinomial" not in kinds(quick(Estimator).fit(-likes()))


def test_codes_of_levels_do_not_share_out_a_total(Estimator):
    levels = np.random.default_rng(0).integers(5, size=(200, 8))
    for drop in (None, "first"):
        codes = OneHotEncoder(drop=drop).fit_transform(levels)
        assert kinds(quick(Estimator).fit(codes)) == {"bernoulli"}


def test_the_kl_term_is_lighter_where_a_total_is_shared_out():
    beta = {
        name: quick(VAETransformer, beta=name).fit(likes()).module_.beta for name in ("auto", 1)
    }
    assert beta == {"auto": 0.5, 1: 1.0}
    assert quick(VAETransformer, likelihood=Multinomial).fit(likes()).module_.beta == 0.5
    assert quick(VAETransformer).fit(likes().toarray()).module_.beta == 1.0


def test_quantiles_and_gaps_of_sparse_rows(Estimator):
    X = counts()
    X[3, 2] = np.nan
    sparse = quick(Estimator, scaling="quantile", likelihood="gaussian")
    sparse.fit(scipy.sparse.csr_matrix(X))
    np.testing.assert_allclose(
        sparse.score_samples(scipy.sparse.csr_matrix(X)), sparse.score_samples(X), rtol=1e-6
    )
    assert np.isfinite(sparse.impute(scipy.sparse.csr_matrix(X))).all()


def test_rows_are_made_dense_a_few_at_a_time(Estimator, monkeypatch):
    most = []
    dense_rows = DenseOnDemand.__getitem__

    def watched(self, rows):
        dense = dense_rows(self, rows)
        most.append(dense.size)
        return dense

    X = scipy.sparse.random(5000, 200, 0.01, "csr", random_state=0, dtype=np.float32)
    monkeypatch.setattr(DenseOnDemand, "__getitem__", watched)
    monkeypatch.setattr(_engine, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(_engine, "CACHED_BYTES", 2**16)
    monkeypatch.setattr("skvae._rows.BUFFER_BYTES", 2**16)
    for name in ("_scaling", "_arrays"):
        monkeypatch.setattr(f"skvae.{name}.PART_BYTES", 2**18)
    model = quick(Estimator, likelihood="gaussian", batch_size=64, max_iter=1).fit(X)
    model.transform(X)
    assert max(most) <= 1000 * 200  # the rows in which rare values are looked for


def test_items_of_the_same_kind_are_recommended():
    rng = np.random.RandomState(0)
    kind = rng.randint(2, size=400)
    liked = rng.rand(400, 40) < np.where(kind[:, None] == np.arange(40) % 2, 0.4, 0.02)
    X = scipy.sparse.csr_matrix(liked, dtype=np.float32)
    vae = VAETransformer(2, likelihood="multinomial", max_iter=60, random_state=0).fit(X[:300])
    scores = vae.inverse_transform(vae.transform(X[300:]))
    scores[liked[300:]] = -np.inf  # what a user has seen
    best = scores.argsort(axis=1)[:, -5:]
    right = (best % 2 == kind[300:, None]).mean()
    assert right > 0.95


def tastes(n_users=300, n_items=400, seed=0):
    """Return flags of items liked by users of four kinds, most of them popular ones."""
    rng = np.random.default_rng(seed)
    popularity = 1 / (5 + rng.permutation(n_items))
    is_of_kind = np.equal.outer(rng.integers(4, size=n_users), rng.integers(4, size=n_items))
    chance = 60 * popularity * np.where(is_of_kind, 0.9, 0.05)
    return (rng.random(chance.shape) < np.minimum(chance, 0.8)).astype(np.float32)


def share_found(scores, shown, hidden, n_best=20):
    """Return which share of the hidden likes is among the best items that were not shown."""
    best = np.argsort(np.where(shown > 0, -np.inf, scores), axis=1, kind="stable")[:, -n_best:]
    return np.take_along_axis(hidden, best, axis=1).sum() / hidden.sum()


@pytest.mark.parametrize("likelihood", ["auto", "multinomial"])
def test_likes_of_new_users_are_found_above_popularity(Estimator, likelihood):
    liked, rng = tastes(), np.random.default_rng(1)
    train, new = liked[:240], liked[240:]
    hidden = new * (rng.random(new.shape) < 0.3)
    shown = new - hidden
    model = Estimator(likelihood=likelihood, max_iter=60, random_state=0)
    model.fit(scipy.sparse.csr_matrix(train))
    scores = model.inverse_transform(model.transform(scipy.sparse.csr_matrix(shown)))
    by_popularity = np.broadcast_to(train.sum(axis=0), scores.shape)
    found = share_found(scores, shown, hidden)
    assert found > 1.2 * share_found(by_popularity, shown, hidden)
    dense = model.inverse_transform(model.transform(shown))
    np.testing.assert_allclose(scores, dense, rtol=1e-3, atol=1e-6)


def test_wide_flags_get_no_hidden_layers_but_real_values_do(Estimator):
    wide = tastes(40, 60)

    def sizes(X, **parameters):
        model = Estimator(max_iter=2, random_state=0, **parameters).fit(X)
        return model.module_.config["hidden_layer_sizes"]

    assert sizes(wide) == sizes(wide, likelihood="multinomial") == ()
    assert sizes(wide, likelihood="gaussian") != ()
    assert sizes(wide[:, :30]) != ()
    assert sizes(wide, hidden_layer_sizes=(8,)) == (8,)
