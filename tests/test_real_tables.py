"""Tables that people have: does it reduce, detect and draw as one would hope?"""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances_argmin_min, roc_auc_score
from sklearn.model_selection import train_test_split

from skvae import AutoencoderTransformer, VAETransformer

TABLES = [load_breast_cancer, load_wine, load_digits, load_diabetes]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, random_state=0)


@pytest.mark.parametrize("load", TABLES)
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_every_use_works_on_a_real_table(Estimator, load, scaling):
    X, _ = load(return_X_y=True)
    model = Estimator(max_iter=40, scaling=scaling, random_state=0).fit(X)
    codes = model.transform(X)
    back, drawn = model.inverse_transform(codes), model.sample(50)
    for result in (codes, back, model.score_samples(X), drawn):
        assert np.isfinite(result).all()
    are_all_scored = model._n_rows_for_offset(len(X)) == len(X)
    tolerance = 1 / len(X) if are_all_scored else 0.025  # else a part places the threshold
    assert (model.predict(X) == -1).mean() == pytest.approx(0.1, abs=tolerance)
    # Better than the mean of each column.
    varying = X.std(axis=0) > 0
    error = np.square(back - X)[:, varying].mean(axis=0) / X.var(axis=0)[varying]
    assert np.median(error) < 1


def test_codes_of_digits_beat_pca_in_reconstruction(digits):
    X, held_out, *_ = digits
    pca = PCA(8).fit(X)
    linear = np.square(held_out - pca.inverse_transform(pca.transform(held_out))).mean()
    model = AutoencoderTransformer(8, scaling=None, random_state=0).fit(X)
    error = np.square(held_out - model.inverse_transform(model.transform(held_out))).mean()
    assert error < 0.9 * linear


def plant_anomalies(X, n_anomalies, seed):
    """Replace each value of some rows by that of another row: usual alone, unusual together."""
    rng = np.random.default_rng(seed)
    columns = [rng.permutation(column)[:n_anomalies] for column in X.T]
    return np.vstack([X, np.stack(columns, axis=1)])


@pytest.mark.parametrize("seed", [0, 1])
def test_anomalies_planted_in_wine_are_found(Estimator, seed):
    # An autoencoder is no density, and finds fewer of those that are usual cell by cell.
    least = {AutoencoderTransformer: 0.7, VAETransformer: 0.85}[Estimator]
    X, _ = load_wine(return_X_y=True)
    rows = plant_anomalies(X, 15, seed)
    labels = np.repeat([0, 1], [len(X), 15])
    scores = Estimator(2, random_state=seed).fit(rows).score_samples(rows)
    assert roc_auc_score(labels, -scores) > least


def test_far_rows_among_wines_are_flagged(Estimator):
    X, _ = load_wine(return_X_y=True)
    model = Estimator(max_iter=50, random_state=0).fit(X)
    far = X[:20] + 6 * X.std(axis=0) * np.random.default_rng(0).choice([-1, 1], size=(20, 13))
    assert (model.predict(far) == -1).all()


def test_tumours_are_told_from_what_is_usual(Estimator):
    X, y = load_breast_cancer(return_X_y=True)
    benign, malignant = X[y == 1], X[y == 0]
    model = Estimator(random_state=0).fit(benign[:250])
    scores = model.score_samples(np.vstack([benign[250:], malignant]))
    labels = np.repeat([1, 0], [len(benign) - 250, len(malignant)])
    assert roc_auc_score(labels, scores) > 0.9


# One noise scale for all images, and codes that fill the prior: what draws of images need.
FOR_IMAGES = {"likelihood": "gaussian", "n_training_draws": 1, "batch_size": 64}


@pytest.fixture(
    scope="module",
    params=[
        AutoencoderTransformer(16, scaling=None, random_state=0),
        VAETransformer(16, scaling=None, random_state=0, **FOR_IMAGES),
    ],
    ids=lambda model: type(model).__name__,
)
def drawn_digits(request, digits):
    return clone(request.param).fit(digits[0]).sample(500, random_state=0)


def shuffled_pixels(X):
    """Return images whose pixels are right one by one, and nothing else is."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(pixel) for pixel in X.T], axis=1)[:500]


@pytest.fixture(scope="module")
def linear_draws(digits):
    """Draws from the linear model with as many components."""
    model, rng = FactorAnalysis(16).fit(digits[0]), np.random.default_rng(0)
    noise = np.sqrt(model.noise_variance_) * rng.normal(size=(500, 64))
    return model.mean_ + rng.normal(size=(500, 16)) @ model.components_ + noise


def test_drawn_digits_are_nearer_to_real_ones_than_others_are(digits, drawn_digits, linear_draws):
    X = digits[0]
    drawn, linear, shuffled = (
        np.median(pairwise_distances_argmin_min(rows, X)[1])
        for rows in (drawn_digits, linear_draws, shuffled_pixels(X))
    )
    assert drawn < linear < shuffled


def test_a_classifier_of_real_digits_is_surer_of_drawn_ones(digits, drawn_digits, linear_draws):
    X, _, y, _ = digits
    classifier = LogisticRegression(C=1e-3, max_iter=2000).fit(X, y)
    drawn, linear, shuffled = (
        classifier.predict_proba(rows).max(axis=1).mean()
        for rows in (drawn_digits, linear_draws, shuffled_pixels(X))
    )
    assert drawn > linear > shuffled
    # And every digit is drawn.
    assert len(np.unique(classifier.predict(drawn_digits))) == 10


def test_drawn_digits_have_the_pixels_of_real_ones(digits, drawn_digits):
    X = digits[0]
    np.testing.assert_allclose(drawn_digits.mean(axis=0), X.mean(axis=0), atol=1.5)
    # How far apart two of them are: no draw is a copy of another.
    spread = [rows.var(axis=0).sum() for rows in (drawn_digits, X)]
    assert spread[0] == pytest.approx(spread[1], rel=0.25)
