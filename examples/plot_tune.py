"""
Tuning: how many components?
============================

`score` is the mean log-density of held-out rows, so :class:`~sklearn.model_selection.GridSearchCV`
needs no labels and no scorer. `beta`, the weight of the KL term in training, never enters the
score: models of any `beta` may be compared.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV

from skvae import VAETransformer

X, _ = load_breast_cancer(return_X_y=True)

grid = {"beta": [1.0, 4.0], "n_components": [1, 2, 4, 8, 12]}
vae = VAETransformer(max_iter=80, hidden_layer_sizes=(64,), random_state=0)
search = GridSearchCV(vae, grid, cv=3).fit(X)

print(f"best of the grid: {search.best_params_}, {search.best_score_:.1f} nats a row")

# %%
# The curve rises steeply while one component more tells much about a row, and bends where it
# tells little. A `beta` above 1 makes the code tell less: smoother, and in the end less likely.

scores = search.cv_results_["mean_test_score"].reshape(2, 5)  # in the order of the grid

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for beta, score in zip(grid["beta"], scores, strict=True):
    ax.plot(grid["n_components"], score, marker="o")
    ax.annotate(
        f"beta = {beta:g}",
        (grid["n_components"][-1], score[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
    )
ax.set(
    xlabel="n_components",
    ylabel="held-out log-density (nats a row)",
    xticks=grid["n_components"],
    xlim=(0, 14.5),
)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
