"""Batches: each training row once an epoch, from memory and from blocks that are read."""

import numpy as np
import pytest
import torch
from helpers import make_rows, quick
from scipy.sparse import csr_array

from skvae import AutoencoderTransformer, _arrays, _engine, _rows
from skvae._rows import BlockRows, Part, RowsInMemory


def in_memory(n_samples, n_held_out):
    x = torch.arange(float(n_samples))[:, None]
    return RowsInMemory(Part(x[n_held_out:], x[n_held_out:] + 1), Part(x[:n_held_out], None))


def in_blocks(n_samples, n_held_out, read=None):
    x = torch.arange(float(n_samples))[:, None]
    whole = Part(x, x + 1)
    rows = BlockRows(read or whole.take, torch.arange(n_samples) < n_held_out, row_bytes=4)
    rows.block, rows.n_blocks = 7, 3
    return rows


@pytest.fixture(params=[in_memory, in_blocks])
def make(request):
    return request.param


@pytest.mark.parametrize("n_samples", [4, 17, 18, 35, 50, 501])
def test_every_training_row_is_in_one_batch_of_an_epoch(make, n_samples):
    rows, generator = make(n_samples, 2), torch.Generator().manual_seed(0)
    epochs = [[*rows.batches(16, generator)] for _ in range(2)]
    for batches in epochs:
        sizes = [len(batch.x) for batch in batches]
        assert sizes[:-1] == [16] * (len(sizes) - 1)
        x = torch.cat([batch.x for batch in batches])
        assert x.flatten().sort().values.tolist() == list(range(2, n_samples))
        assert torch.equal(torch.cat([batch.weight for batch in batches]), x + 1)
    if n_samples > 4:
        first, second = (torch.cat([batch.x for batch in batches]) for batches in epochs)
        assert not torch.equal(first, second)


def test_blocks_are_mixed_and_come_in_another_order_each_epoch():
    rows, generator = in_blocks(1000, 0), torch.Generator().manual_seed(0)
    batch = next(rows.batches(20, generator)).x.flatten()
    # A batch comes from up to three blocks of seven rows, and not in their order.
    assert 1 < len(set((batch // 7).int().tolist()))
    assert not torch.equal(batch, batch.sort().values)


def test_no_more_is_read_at_once_than_a_buffer_holds():
    read, x = [], torch.zeros(1000, 1)

    def count(indices):
        read.append(len(indices))
        return Part(x.index_select(0, indices), None)

    for _ in in_blocks(1000, 10, count).batches(16, torch.Generator()):
        pass
    assert max(read) <= 21
    assert sum(read) == 1000


def test_a_fit_from_blocks_is_as_good_as_one_from_memory(Estimator, monkeypatch, tmp_path):
    X, held_out = np.split(make_rows(3500, 6).astype(np.float32), [3000])
    expected = quick(Estimator, max_iter=20).fit(X).score(held_out)
    monkeypatch.setattr(_engine, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(_rows, "BLOCK_BYTES", 256)
    monkeypatch.setattr(_rows, "BUFFER_BYTES", 2**13)
    X.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=X.shape)
    from_blocks = quick(Estimator, max_iter=20).fit(mapped).score(held_out)
    assert from_blocks == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("weight", [0.0, 1e-4])
def test_weights_stay_with_their_rows_in_blocks(Estimator, monkeypatch, weight):
    monkeypatch.setattr(_engine, "IN_MEMORY_BYTES", 0)
    X = np.vstack([make_rows(300, 3), 50 + make_rows(300, 3, seed=1)])
    weights = np.repeat([1.0, weight], 300)
    model = quick(Estimator, max_iter=20).fit(X, sample_weight=weights)
    assert model.score(X[:300]) > model.score(X[300:]) + 5


def test_some_rows_come_from_all_over(make):
    x = make(1000, 0).some(10).x.flatten()
    assert len(x) == 10
    assert x.max() - x.min() >= 900


def test_many_rows_without_weight_in_front_do_no_harm(Estimator):
    X = make_rows(4400, 3)
    weights = np.repeat([0.0, 1.0], [4000, 400])
    model = quick(Estimator, max_iter=2).fit(X, sample_weight=weights)
    assert np.isfinite(model.score_samples(X)).all()


def test_what_is_wide_in_working_units_is_read_in_blocks(Estimator, monkeypatch):
    pd = pytest.importorskip("pandas")
    made = []

    class Blocks(_rows.BlockRows):
        def __init__(self, *args):
            made.append(self)
            super().__init__(*args)

    monkeypatch.setattr(_engine, "BlockRows", Blocks)
    monkeypatch.setattr(_engine, "IN_MEMORY_BYTES", 50_000)
    frame = pd.DataFrame({"key": [f"k{i // 2}" for i in range(300)], "x": make_rows(300, 1)[:, 0]})
    quick(Estimator, max_iter=1).fit(frame)
    assert len(made) == 1


@pytest.mark.parametrize("index", [3, slice(2, 9), [5, 1], np.arange(20) % 3 == 0])
def test_some_rows_look_like_an_array(index):
    X = make_rows(50, 4)
    X[::7, 2] = np.nan
    chosen = np.arange(40)[::-2]
    rows, expected = _arrays.SomeRows(X, chosen), X[chosen]
    assert rows.shape == expected.shape
    assert len(rows) == 20
    np.testing.assert_array_equal(rows[index], expected[index])
    np.testing.assert_array_equal(rows[index, [0, 2]], expected[index][..., [0, 2]])
    np.testing.assert_array_equal(rows.take([4, 2])[:], expected[[4, 2]])
    assert _arrays.share_missing(rows) == np.isnan(expected).mean()


@pytest.mark.parametrize("as_rows", [np.asarray, lambda X: _arrays.DenseOnDemand(csr_array(X))])
def test_some_columns_look_like_an_array(as_rows):
    X = make_rows(50, 4)
    columns = _arrays.SomeColumns(as_rows(X), np.array([3, 1]))
    expected = X[:, [3, 1]]
    assert (columns.shape, len(columns), columns.dtype) == (expected.shape, 50, X.dtype)
    np.testing.assert_array_equal(columns[2:9], expected[2:9])
    np.testing.assert_array_equal(columns.take(np.array([4, 2]))[:], expected[[4, 2]])


def test_rows_at_random_keep_their_order_and_their_weights():
    X, weights = np.arange(500.0)[:, None], np.arange(500.0)
    some, of_some = _arrays.at_random(X, weights, 40, 0)
    assert len(some) == 40
    np.testing.assert_array_equal(some[:][:, 0], of_some)
    assert (np.diff(of_some) > 0).all()
    assert of_some[0] < 100 < 400 < of_some[-1]
    assert _arrays.at_random(X, None, 40, 0)[1] is None
    assert _arrays.at_random(X, weights, 500, 0)[0] is X


def test_held_out_rows_come_from_all_over(make):
    some = make(100, 40).some_held_out(10).x.flatten()
    assert some.tolist() == list(range(0, 40, 4))


def test_noise_is_learned_from_rows_held_out_all_over_a_file(monkeypatch):
    """The first rows, of less noise, do not stand for all."""
    X = make_rows(20_000, 4)
    X[:6000] *= 0.01
    variances = []
    for n_bytes in (_engine.IN_MEMORY_BYTES, 0):
        monkeypatch.setattr(_engine, "IN_MEMORY_BYTES", n_bytes)
        model = quick(AutoencoderTransformer, max_iter=1, validation_fraction=0.3).fit(X)
        variances.append(model.module_.shared[0].numpy())
    np.testing.assert_allclose(variances[1], variances[0], rtol=0.3)
