"""What "auto" means is sensible from a handful of rows to an image data set."""

import math

import numpy as np
import pytest
import scipy.sparse
from helpers import make_rows, quick

from skvae import AutoencoderTransformer, VAETransformer, _defaults

both = pytest.mark.parametrize("sizes", [AutoencoderTransformer._sizes, VAETransformer._sizes])
SHAPES = [(10, 2), (100, 5), (1000, 30), (60_000, 784), (10**7, 100)]


@both
@pytest.mark.parametrize(("n_samples", "n_features"), SHAPES)
def test_sizes_are_ints_within_reason(sizes, n_samples, n_features):
    n_components = sizes.n_components(n_features)
    hidden = sizes.hidden_layer_sizes(n_samples, n_features, n_components)
    assert all(isinstance(size, int) and 16 <= size <= 1024 for size in hidden)
    assert list(hidden) == sorted(hidden, reverse=True)
    assert 1 <= n_components <= 64
    assert 1 <= sizes.batch_size(n_samples) <= 4096


@both
def test_codes_of_rows_with_gaps_are_not_narrow(sizes):
    found = [sizes.n_components(n, has_gaps=True) for n in (1, 2, 5, 8, 12)]
    assert found[1:4] == [2, 5, 8]
    assert all(n >= sizes.n_components(m) for n, m in zip(found, (1, 2, 5, 8, 12), strict=True))
    assert sizes.n_components(100, has_gaps=True) == sizes.n_components(100)


@both
def test_only_wide_tables_of_flags_or_counts_have_no_hidden_layers(sizes):
    assert sizes.hidden_layer_sizes(500, 500, 8, is_discrete=True) == ()
    assert len(sizes.hidden_layer_sizes(501, 500, 8, is_discrete=True)) == 2
    assert len(sizes.hidden_layer_sizes(50, 500, 8, is_discrete=False)) == 2


def test_maps_of_many_columns_are_drawn_by_deeper_autoencoders():
    def n_layers(n_components, n_features, Estimator=AutoencoderTransformer, **is_discrete):
        sizes = Estimator._sizes
        return len(sizes.hidden_layer_sizes(1000, n_features, n_components, **is_discrete))

    assert n_layers(1, 4) == n_layers(2, 8) == n_layers(2, 784) == 3
    assert n_layers(1, 3) == n_layers(2, 7) == n_layers(3, 784) == 2
    assert n_layers(2, 8, is_discrete=True) == n_layers(2, 8, VAETransformer) == 2
    a_map = AutoencoderTransformer(2, max_iter=1, random_state=0).fit(make_rows(30, 8))
    assert len(a_map.module_.config["hidden_layer_sizes"]) == 3


def test_maps_are_learned_from_larger_batches(monkeypatch):
    monkeypatch.setattr(_defaults, "N_STEPS", 100)
    monkeypatch.setattr(_defaults, "MIN_EPOCHS", 1)

    def n_epochs(n_components, Estimator=AutoencoderTransformer):
        model = quick(Estimator, n_components=n_components, max_iter="auto", early_stopping=False)
        return model.fit(make_rows(4000, 8)).n_iter_

    assert n_epochs(2) == int(100 * 256 / 4000)
    assert n_epochs(3) == int(100 * 128 / 4000)
    assert n_epochs(2, VAETransformer) == n_epochs(3, VAETransformer)


@both
def test_layers_of_wide_tables_are_no_wider_than_there_are_rows(sizes):
    def width(n_samples, n_features=600):
        return sizes.hidden_layer_sizes(n_samples, n_features, 8)[0]

    widths = [width(n) for n in (5, 100, 255, 300, 10_000)]
    assert widths == sorted(widths)
    assert widths[:3] == [128, 128, 128]
    assert widths[3] == 256
    assert widths[4] == max(sizes.widths)
    assert width(10_000, 2) == width(100, 20) == min(sizes.widths)


def test_numbers_beside_flags_or_levels_get_wider_layers_in_a_vae():
    pd = pytest.importorskip("pandas")
    numbers = make_rows(40, 3)
    flags = numbers > 0
    frame = pd.DataFrame(numbers).add_prefix("x").assign(flag=flags[:, 0])
    labelled = frame.assign(flag=np.where(flags[:, 0], "a", "b"))

    def layers(X, Estimator=VAETransformer):
        return Estimator(max_iter=1, random_state=0).fit(X).module_.config["hidden_layer_sizes"]

    assert layers(frame) == layers(labelled) == (256, 256)
    assert layers(numbers) == layers(pd.DataFrame(flags)) == (128, 64)
    assert layers(frame, AutoencoderTransformer) == layers(numbers, AutoencoderTransformer)


@both
@pytest.mark.parametrize(("n_samples", "n_features"), SHAPES)
def test_every_table_gets_enough_steps_and_no_flood_of_them(sizes, n_samples, n_features):
    batch_size = sizes.batch_size(n_samples)
    epochs = _defaults.max_iter(n_samples, batch_size)
    assert epochs >= 10
    assert epochs * math.ceil(n_samples / batch_size) >= 300
    assert epochs <= 2000
    assert 1 <= _defaults.n_iter_no_change(epochs) <= epochs


@both
def test_larger_tables_get_larger_batches_and_fewer_epochs(sizes):
    batches = [sizes.batch_size(n) for n, _ in SHAPES]
    epochs = [_defaults.max_iter(n, b) for (n, _), b in zip(SHAPES, batches, strict=True)]
    assert batches == sorted(batches)
    assert epochs == sorted(epochs, reverse=True)


def test_rows_with_gaps_are_learned_in_more_steps():
    epochs = [_defaults.max_iter(4000, 64, share) for share in (0.0, 0.1, 0.3, 0.5, 0.9)]
    assert epochs[0] == _defaults.max_iter(4000, 64)
    assert epochs[0] < epochs[1] < epochs[2] < epochs[3] == epochs[4]
    np.testing.assert_allclose(epochs[2] / epochs[0], 1 / 0.7**2, rtol=0.01)


def test_a_vae_learns_mixed_tables_in_more_steps(monkeypatch):
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr(_defaults, "N_STEPS", 20)
    monkeypatch.setattr(_defaults, "MIN_EPOCHS", 1)
    numbers = pd.DataFrame(make_rows(160, 3)).add_prefix("x")
    mixed = numbers.assign(flag=numbers.x0 > 0)
    of_gaps = mixed.mask(np.random.default_rng(0).random(mixed.shape) < 0.5)

    def n_epochs(X, Estimator=VAETransformer):
        model = quick(Estimator, max_iter="auto", batch_size=32, early_stopping=False)
        return model.fit(X).n_iter_

    assert n_epochs(mixed) == int(1.5 * n_epochs(numbers))
    assert n_epochs(of_gaps) > 1.5 * n_epochs(mixed)
    assert n_epochs(mixed, AutoencoderTransformer) == n_epochs(numbers, AutoencoderTransformer)


@pytest.mark.parametrize("as_rows", [np.asarray, scipy.sparse.csr_array])
def test_the_share_of_gaps_is_counted(as_rows, monkeypatch):
    monkeypatch.setattr(_defaults, "N_STEPS", 20)
    monkeypatch.setattr(_defaults, "MIN_EPOCHS", 1)
    X = make_rows(320, 4)
    X[::2, :2] = np.nan  # a quarter
    model = quick(VAETransformer, max_iter="auto", batch_size=32, early_stopping=False)
    assert model.fit(as_rows(X)).n_iter_ == int(20 / 0.75**2 * 32 / 320)


def test_draws_fill_a_step_where_they_cost_little():
    def n_draws(batch_size, n_features=10, is_discrete=False, share_missing=0.0):
        return _defaults.n_training_draws(1, batch_size, n_features, is_discrete, share_missing)

    for batch_size in (32, 64, 128, 256, 4096):
        usual = n_draws(batch_size)
        assert 1 <= usual <= 5
        assert batch_size * usual <= max(384, batch_size)
        of_flags = n_draws(batch_size, is_discrete=True)
        of_a_wide_table = n_draws(batch_size, 100)
        assert of_a_wide_table <= of_flags <= usual
        assert batch_size * of_flags <= max(256, batch_size)
        assert batch_size * of_a_wide_table <= max(128, batch_size)
        assert n_draws(batch_size, 1000) == min(2, of_a_wide_table)
        with_gaps = [n_draws(batch_size, share_missing=share) for share in (0, 0.01, 0.3, 1)]
        assert with_gaps == sorted(with_gaps)
        assert usual == with_gaps[0] <= with_gaps[-1] <= 10
        assert batch_size * with_gaps[-1] <= max(768, batch_size)
        assert n_draws(batch_size, 100, share_missing=0.5) == of_a_wide_table


def test_a_wide_table_is_trained_with_few_draws():
    def n_draws(X):
        return quick(VAETransformer, max_iter=1).fit(X).module_.n_training_draws

    assert [n_draws(make_rows(60, n)) for n in (4, 100, 300)] == [5, 4, 2]
    assert n_draws((make_rows(60, 4) > 0).astype(float)) == 5
    holed = make_rows(60, 4)
    holed[::2, :2] = np.nan
    assert 5 < n_draws(holed) <= 10


def test_a_kl_term_with_a_weight_is_that_of_one_draw():
    model = quick(VAETransformer, beta=0.5, max_iter=1).fit(make_rows(60, 4))
    assert model.module_.n_training_draws == 1
    model.set_params(n_training_draws=3).fit(make_rows(60, 4))
    assert model.module_.n_training_draws == 3


@pytest.mark.parametrize("is_discrete", [False, True])
def test_the_activation_is_the_one_asked_for_or_that_of_the_data(Estimator, is_discrete):
    X = make_rows(60, 3)
    X = (X > 0).astype(float) if is_discrete else X

    def used(activation):
        model = quick(Estimator, activation=activation, max_iter=2).fit(X)
        return model.module_.config["activation"]

    assert [used(name) for name in ("relu", "tanh", "silu")] == ["relu", "tanh", "silu"]
    is_bounded = Estimator is VAETransformer and not is_discrete
    assert used("auto") == ("tanh" if is_bounded else "silu")


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("n_samples", [2, 3, 9, 10, 11, 33, 1000, 10**6])
def test_rows_are_left_to_train_on(n_samples, fraction):
    n_held_out = _defaults.held_out(n_samples, fraction)
    assert 0 <= n_held_out < n_samples
    assert (n_held_out == 0) == (n_samples < 10)


@pytest.mark.parametrize("n_samples", [2, 600, 10**6])
def test_the_threshold_is_set_on_enough_rows_that_are_there(n_samples):
    n_rows = _defaults.rows_for_offset(n_samples, 20, 64, 32)
    assert min(n_samples, 256) <= n_rows <= n_samples


def test_the_threshold_of_a_small_table_is_set_on_all_rows():
    assert _defaults.rows_for_offset(512, 1, 1000, 32) == 512
    assert _defaults.rows_for_offset(513, 1, 1000, 32) == 256


@pytest.mark.parametrize("n_epochs", [3, 20, 100])
@pytest.mark.parametrize("n_passes", [2, 5, 65])
@pytest.mark.parametrize("n_samples", [2_000, 20_000, 200_000])
def test_placing_the_threshold_takes_a_small_part_of_training(n_samples, n_passes, n_epochs):
    n_rows = _defaults.rows_for_offset(n_samples, n_epochs, n_passes, 32)
    ranking = 0 if n_rows == n_samples else min(32 * n_rows, 2 * n_samples)
    assert n_rows == 256 or n_rows * n_passes + ranking <= 0.03 * 6 * n_samples * n_epochs


def test_powers_of_two_are_powers_of_two():
    numbers = np.geomspace(1, 1e6, 50)
    powers = np.array([_defaults.power_of_two(number, 32, 512) for number in numbers])
    np.testing.assert_array_equal(np.log2(powers) % 1, 0)
    assert powers.min() == 32
    assert powers.max() == 512


@pytest.mark.parametrize(("n_samples", "n_draws"), [(300, 5), (800, 5), (800, 1)])
def test_only_several_draws_of_many_rows_take_large_steps(n_samples, n_draws):
    model = quick(VAETransformer, n_training_draws=n_draws, early_stopping=False, max_iter=3)
    model.set_params(learning_rate="auto", warmup_fraction="auto")
    X = make_rows(n_samples, 4)
    given = {"learning_rate": 2e-3, "warmup_fraction": 0.2 if n_draws == 1 else 0.0}
    if n_samples == 800 and n_draws == 5:
        given = {"learning_rate": 4e-3, "warmup_fraction": 0.1}
    chosen = model.fit(X).score_samples(X)
    np.testing.assert_array_equal(chosen, model.set_params(**given).fit(X).score_samples(X))
