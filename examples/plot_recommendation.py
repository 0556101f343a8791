"""
Recommendation: what will a new user like?
==========================================

A row is a user, a column an item, a one says that the user liked the item. Most cells are zero,
so the rows are a sparse matrix. With `likelihood="multinomial"`, the VAE learns which items go
together and ranks, for a user whom it has never seen, the items that the user does not know yet.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse as sp

from skvae import VAETransformer

# %%
# Users with tastes
# -----------------
# Some items are popular, most are not. Each item has one of eight genres, and each user mixes a
# few of them. A user likes 30 items, drawn by their popularity and by what the user is fond of.

rng = np.random.default_rng(0)
n_users, n_items, n_genres, n_likes = 1000, 1200, 8, 30

popularity = 1 / (10 + rng.permutation(n_items))
genre = rng.integers(n_genres, size=n_items)
fondness = rng.dirichlet(np.full(n_genres, 0.3), size=n_users)
weight = popularity * (0.1 / n_genres + fondness[:, genre])
# The largest of log-weights with Gumbel noise are a draw without replacement.
liked = np.argsort(-np.log(weight) - rng.gumbel(size=weight.shape), axis=1)[:, :n_likes]

# %%
# Of the last 200 users, nothing is trained on. We show 20 of their likes, and try to find the
# other 10.


def user_rows(items):
    """Return sparse rows with ones at the items of each user."""
    users = np.repeat(np.arange(len(items)), items.shape[1])
    ones = np.ones(items.size, dtype=np.float32)
    return sp.csr_matrix((ones, (users, items.ravel())), shape=(len(items), n_items))


X_train = user_rows(liked[:800])
mixed = rng.permuted(liked[800:], axis=1)
shown, hidden = user_rows(mixed[:, :20]), user_rows(mixed[:, 20:]).toarray()

# %%
# Fit, rank, compare
# ------------------
# `transform` gives the code of a user, `inverse_transform` what the user is expected to like.
# There are more items than users: then "auto" means a model without hidden layers, which has
# fewer weights to learn.

vae = VAETransformer(likelihood="multinomial", random_state=0).fit(X_train)
scores = {
    "VAE": vae.inverse_transform(vae.transform(shown)),
    "popularity": np.tile(np.asarray(X_train.sum(axis=0)), (200, 1)),
}


def hits_of(score, n_best=100):
    """Tell of the best items, seen ones left out, whether they are among the hidden likes."""
    score = np.where(shown.toarray() > 0, -np.inf, score)
    best = np.argsort(-score, axis=1, kind="stable")[:, :n_best]
    return np.take_along_axis(hidden, best, axis=1)


hits = {name: hits_of(score) for name, score in scores.items()}
discount = 1 / np.log2(np.arange(2, 102))

print("200 new users, 10 likes of each to find")
print(f"{'':<12}{'NDCG@100':>10}{'recall@20':>11}{'recall@50':>11}")
for name, found in hits.items():
    ndcg = (found @ discount).mean() / discount[:10].sum()
    recall = [found[:, :k].sum(axis=1).mean() / 10 for k in (20, 50)]
    print(f"{name:<12}{ndcg:10.3f}{recall[0]:11.3f}{recall[1]:11.3f}")

# %%
# The longer the list, the more of the hidden likes are in it. By popularity alone, as many are
# found in a list that is about twice as long.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
length = np.arange(1, 101)
for (name, found), color in zip(hits.items(), ("C0", "C7"), strict=True):
    recall = found.cumsum(axis=1).mean(axis=0) / 10
    ax.plot(length, recall, color=color, linewidth=2)
    ax.annotate(
        name,
        (100, recall[-1]),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=color,
    )
ax.set(
    xlabel="items recommended to a user",
    ylabel="share of the hidden likes among them",
    title="Likes found of users the model has not seen",
    xlim=(0, 125),
    xticks=[1, 20, 40, 60, 80, 100],
    ylim=(0, None),
)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
