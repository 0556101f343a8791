"""
Outliers: rows that break the rules
===================================

A row can be odd although each of its values is common: it is the combination that is wrong. We
plant such rows among real ones, and look for them with a VAE, an autoencoder and scikit-learn's
detectors.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from skvae import AutoencoderTransformer, VAETransformer

# %%
# Each planted row takes every value from another, real row. Its columns look as always; that a
# large cell has a large perimeter no longer holds. They are five in a hundred and part of the
# training data; the detectors are told how many there are, but not which.

X, _ = load_breast_cancer(return_X_y=True)
rng = np.random.default_rng(0)
planted = np.column_stack([rng.choice(column, 30) for column in X.T])
X = np.vstack([X, planted])
is_planted = np.arange(len(X)) >= len(X) - 30

# %%
# All four are scikit-learn outlier detectors: `score_samples` is high for what is normal, and
# `predict` gives -1 for outliers. LocalOutlierFactor needs scaled columns, the two of this
# package scale for themselves.

share = is_planted.mean()
detectors = {
    "VAETransformer": VAETransformer(contamination=share, random_state=0),
    "AutoencoderTransformer": AutoencoderTransformer(contamination=share, random_state=0),
    "IsolationForest": IsolationForest(contamination=share, random_state=0),
    "LocalOutlierFactor": LocalOutlierFactor(contamination=share, novelty=True),
}

print(f"{'':<24}ROC AUC  average precision  planted rows among those flagged")
scores = {}
for name, detector in detectors.items():
    X_in = (X - X.mean(axis=0)) / X.std(axis=0) if name == "LocalOutlierFactor" else X
    scores[name] = detector.fit(X_in).score_samples(X_in)
    flagged = detector.predict(X_in) == -1
    print(
        f"{name:<24}{roc_auc_score(is_planted, -scores[name]):7.3f}"
        f"{average_precision_score(is_planted, -scores[name]):19.3f}"
        f"{(flagged & is_planted).sum():14d} of {flagged.sum()}"
    )

# %%
# How far apart the two kinds of rows are can be seen in the scores. Those of the VAE are
# log-densities in nats; the dashed line is `offset_`, below which `predict` says -1. (The lowest
# hundredth is gathered at the left edge.)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for ax, name in zip(axes, ("VAETransformer", "IsolationForest"), strict=True):
    low, high = np.quantile(scores[name], [0.01, 1])
    shown = np.clip(scores[name], low, None)
    bins = np.linspace(low, high, 50)
    ax.hist(shown[~is_planted], bins, color="C0", alpha=0.8, label="real")
    ax.hist(shown[is_planted], bins, color="C3", alpha=0.8, label="planted")
    ax.axvline(detectors[name].offset_, color="0.3", ls="--", lw=1)
    ax.set(title=name, xlabel="score_samples", ylabel="rows")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(frameon=False, loc="upper left")
plt.show()
