"""
Digits: codes, reconstructions, new rows
========================================

A handwritten digit of 8 x 8 pixels is a row of 64 numbers. We squeeze each into 8 numbers and
map these back, with PCA, an autoencoder and a variational autoencoder, and compare what is lost.
Then we draw digits that nobody wrote.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skvae import AutoencoderTransformer, VAETransformer

X, y = load_digits(return_X_y=True)
X = X / 16  # shades of grey, from 0 to 1
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)

# %%
# Three ways to 8 numbers
# -----------------------
# All three have the same methods. What is lost is measured on digits that no model has seen.

models = {
    "PCA": PCA(8),
    "autoencoder": AutoencoderTransformer(8, random_state=0),
    "VAE": VAETransformer(8, random_state=0),
}

print("64 pixels in 8 numbers      variance lost")
restored = {}
for name, model in models.items():
    model.fit(X_train)
    restored[name] = model.inverse_transform(model.transform(X_test))
    lost = np.mean((X_test - restored[name]) ** 2) / np.mean((X_test - X_train.mean(axis=0)) ** 2)
    print(f"{name:<28}{lost:13.1%}")

# %%
# The last line of pictures are draws from the VAE: codes from the standard normal distribution,
# decoded. (`sample` would also draw the noise of every pixel, which the model keeps apart; for a
# picture, the mean is nicer to look at.)

codes = np.random.default_rng(0).standard_normal((10, 8))
one_of_each = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
lines = {"held out": X_test[one_of_each]}
lines |= {name: images[one_of_each] for name, images in restored.items()}
lines["drawn"] = models["VAE"].inverse_transform(codes)

figure, axes = plt.subplots(len(lines), 10, figsize=(8, 4.2), layout="constrained")
for line, (name, images) in zip(axes, lines.items(), strict=True):
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    for ax, image in zip(line, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)

if len(sys.argv) > 1:  # python examples/plot_digits.py digits.png
    figure.savefig(sys.argv[1], dpi=120)
    print(f"The picture is in {sys.argv[1]}")
plt.show()

# %%
# A map of the digits
# -------------------
# With two components, the codes are a map. Digits of one kind lie together, though no label was
# used.

Z = VAETransformer(2, random_state=0).fit(X_train).transform(X)

figure, ax = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
for digit in range(10):
    ax.scatter(*Z[y == digit].T, s=9, color=f"C{digit}", alpha=0.6, linewidths=0)
for digit in range(10):
    label = ax.text(*np.median(Z[y == digit], axis=0), digit, color=f"C{digit}", fontsize=18)
    label.set(weight="bold", path_effects=[withStroke(linewidth=3, foreground="white")])
ax.set(xlabel="component 0", ylabel="component 1", title="Codes of the digits")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
