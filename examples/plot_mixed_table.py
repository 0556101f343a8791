"""
A mixed table with gaps
=======================

Tables have numbers, flags and categories side by side, and some of their cells are missing. A VAE
takes such a frame as it is: it fills the gaps, draws rows of which some cells are given, and tells
which cell makes a row odd.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skvae import VAETransformer

# %%
# The table is made up, so that we know what the gaps hide. Trade follows schooling, which is not
# among the columns; income follows both, and age; so does owning a home; visits to a doctor grow
# with age. A fifth of the cells is hidden at random.


def make_people(n_rows, rng):
    age, schooling = rng.integers(18, 80, n_rows), rng.normal(size=n_rows)
    trade = np.digitize(schooling + 0.3 * rng.normal(size=n_rows), [-0.5, 0.6])
    income = 20 + 12 * trade + 3 * schooling + 0.2 * age + 4 * rng.normal(size=n_rows)
    is_owner = rng.logistic(size=n_rows) < 0.2 * (age - 50) + 0.1 * (income - 45)
    return pd.DataFrame(
        {
            "age": pd.array(age, dtype="Int64"),
            "trade": pd.Categorical.from_codes(trade, ["farm", "shop", "office"]),
            "income": income.round(1),
            "owner": pd.array(is_owner, dtype="boolean"),
            "visits": pd.array(rng.poisson(np.exp(0.05 * (age - 40))), dtype="Int64"),
        }
    )


rng = np.random.default_rng(0)
people = make_people(1500, rng)
hidden = pd.DataFrame(rng.random(people.shape) < 0.2, columns=people.columns)
with_gaps = people.mask(hidden)
print(with_gaps.head())

# %%
# The dtypes say what a column is. That `visits` are counts they do not say, so we do.

vae = VAETransformer(4, likelihood={"visits": "poisson"}, max_iter=150, random_state=0)
vae.fit(with_gaps)

# %%
# `impute` fills gaps with the mean given the known cells of the row, or with the likeliest level.
# Here it is set against the mean, or the most frequent level, of the column. The error of numbers
# is the root of the mean square, in deviations of the column; of levels, the share that is wrong.

numbers = ["age", "income", "visits"]
alone = with_gaps.mode().iloc[0]
alone[numbers] = with_gaps[numbers].mean()
filled = vae.impute(with_gaps)


def error(column, guess):
    truth = people[column][hidden[column]]
    if column in numbers:
        return ((guess - truth) ** 2).mean() ** 0.5 / people[column].std()
    return (guess != truth).mean()


errors = pd.DataFrame(
    {
        "column alone": {name: error(name, alone[name]) for name in people},
        "VAE": {name: error(name, filled[name][hidden[name]]) for name in people},
    }
).T
print(errors.round(2).to_string())

# %%
# Rows may be drawn under conditions: here farmers and people from offices, all of them 40 years
# old. More rows from the generator tell what is to come out.

drawn, true = {}, make_people(50_000, rng).query("age == 40").groupby("trade", observed=True)
for trade in ("farm", "office"):
    given = {"trade": trade, "age": 40}
    drawn[trade] = vae.sample(1000, random_state=1, conditions=given, complete=True)
    print(
        f"{trade}, 40: mean income {drawn[trade]['income'].mean():.1f} drawn, "
        f"{true.get_group(trade)['income'].mean():.1f} true"
    )

# %%
# Every value of this row is common, but farmers of 25 do not earn as much. `contributions` shares
# the score out among the cells. Set against those of usual rows, the lowest fit least.

odd = people.iloc[[0]].assign(age=25, trade="farm", income=66.0, owner=False, visits=0)
odd = odd.astype(people.dtypes)
usual = people.head(300)
fits = (vae.contributions(odd) - vae.contributions(usual).median()).iloc[0]
print(f"score {vae.score_samples(odd)[0]:.1f} nats, of usual rows {vae.score(usual):.1f}")
print(fits.round(1).to_string())

# %%

figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")

x = np.arange(people.shape[1])
axes[0].bar(x - 0.2, errors.loc["column alone"], 0.38, color="0.75", label="column alone")
axes[0].bar(x + 0.2, errors.loc["VAE"], 0.38, color="C0", label="impute")
axes[0].set(title="filled gaps", ylabel="error (deviations, or share wrong)", ylim=(0, 1.3))
axes[0].set_xticks(x, people.columns)
axes[0].legend(frameon=False, loc="upper center", ncols=2)

bins = np.linspace(0, 80, 33)
for trade, color in (("farm", "C0"), ("office", "C1")):
    income = true.get_group(trade)["income"]
    axes[1].hist(drawn[trade]["income"], bins, density=True, color=color, alpha=0.4)
    axes[1].hist(income, bins, density=True, color=color, histtype="step", lw=1.8)
    axes[1].annotate(
        trade, (income.mean(), 0.93), xycoords=("data", "axes fraction"), color=color, ha="center"
    )
axes[1].margins(y=0.2)
axes[1].set(title="drawn under conditions (lines: true)", xlabel="income at 40", yticks=[])

labels = [f"{name} = {odd[name].iloc[0]}" for name in people]
axes[2].barh(labels, fits, color=np.where(fits < -1, "C1", "0.75"))
axes[2].axvline(0, color="0.3", lw=0.8)
axes[2].invert_yaxis()
axes[2].set(
    title="an odd row, cell by cell", xlabel="contribution, less that of usual rows (nats)"
)

for ax in axes:
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
