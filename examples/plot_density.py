"""
Density: how likely is a row?
=============================

`VAETransformer.score_samples` estimates log p(x), so its exponential is a density in the units of
the data. In two dimensions it can be drawn.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skvae import VAETransformer

X, moon = make_moons(3000, noise=0.1, random_state=0)
X_train, X_test = train_test_split(X[moon == 0], random_state=0)

# %%
# One normal distribution cannot bend. The VAE bends one: z is normal, and x is a smooth function
# of it plus noise. `score` is the mean log-density of held-out rows, the same quantity for both.

vae = VAETransformer(2, n_draws=128, max_iter=150, random_state=0).fit(X_train)
normal = GaussianMixture(1, random_state=0).fit(X_train)
print(f"held-out score: VAE {vae.score(X_test):.2f}, normal {normal.score(X_test):.2f} nats a row")

# %%
# The columns were scaled inside the model, and the log-Jacobian of the scaling is part of the
# score: summed over a grid in the units of the data, the density comes to one.

x, y = np.linspace(-2, 2, 80), np.linspace(-1, 2, 60)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
density = np.exp(vae.score_samples(grid))
print(f"integral of the density: {density.sum() * (x[1] - x[0]) * (y[1] - y[0]):.3f}")

# %%
# Rows from `sample` fall where the density is high.

drawn = vae.sample(len(X_test), random_state=1)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
axes[0].contourf(x, y, density.reshape(60, 80), 12, cmap="Blues")
axes[0].set_title("density of the VAE")
axes[1].scatter(*X_test.T, s=10, color="C1", alpha=0.7, linewidths=0, label="held-out rows")
axes[1].scatter(*drawn.T, s=10, color="C0", alpha=0.7, linewidths=0, label="drawn rows")
axes[1].legend(frameon=False, loc="upper right", markerscale=2, borderaxespad=0)
for ax in axes:
    ax.set(aspect="equal", xlim=(-1.6, 1.6), ylim=(-0.6, 1.6))
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
