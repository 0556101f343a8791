"""
Pipelines: codes in front of a classifier
=========================================

A transformer is at home in a pipeline. Here a logistic regression sees a digit through a few
numbers only, once those of PCA and once those of an autoencoder; cross-validation refits both
steps in each fold.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import AutoencoderTransformer

X, y = load_digits(return_X_y=True)
sizes = [2, 4, 8]

# %%
# The autoencoder never sees the labels. With `noise`, it learns to map a row with noise to the row
# without (a denoising autoencoder), so its codes depend on the digit as a whole. The fewer the
# numbers, the more it helps that they need not be linear.


def accuracy(transformer):
    """Cross-validated accuracy of a linear classifier on the codes."""
    pipeline = make_pipeline(transformer, StandardScaler(), LogisticRegression(max_iter=1000))
    return cross_val_score(pipeline, X, y, cv=3).mean()


curves = {
    "PCA": [accuracy(PCA(k)) for k in sizes],
    "autoencoder": [
        accuracy(AutoencoderTransformer(k, noise=0.5, max_iter=100, random_state=0)) for k in sizes
    ],
}

print("accuracy      " + "".join(f"{k:>4} numbers" for k in sizes))
for name, values in curves.items():
    print(f"{name:<14}" + "".join(f"{value:12.3f}" for value in values))

# %%

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, values), color in zip(curves.items(), ("C7", "C0"), strict=True):
    ax.plot(sizes, values, marker="o", color=color, label=name)
ax.set(xlabel="numbers per digit", ylabel="cross-validated accuracy", xticks=sizes)
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
