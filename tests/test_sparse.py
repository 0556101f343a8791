"""Sparse rows: the same as dense ones, without ever being dense as a whole."""

import numpy as np
import pytest
import scipy.sparse
from helpers import quick

from skvae import VAETransformer, _engine
from skvae._sparse import DenseOnDemand


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
    monkeypatch.setattr("skvae._table.PART_BYTES", 2**18)
    model = quick(Estimator, likelihood="gaussian", batch_size=64, max_iter=1).fit(X)
    model.transform(X)
    assert max(most) <= 2000 * 200  # the rows from which means are taken


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
