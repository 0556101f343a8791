"""
Compare: what to use for which task
===================================

`VAETransformer` and `AutoencoderTransformer`, as they come, beside the usual choices of
scikit-learn, on its own small tables: a table of numbers for each task, and a picture of them all.
Where something simpler is better, it shows. The tables have some hundred rows, so differences of a
hundredth mean little.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skvae import AutoencoderTransformer, VAETransformer

VAE, AE = "VAETransformer", "AutoencoderTransformer"


def show(title, rows):
    """Print a table, {method: {column: value}}."""
    columns = list(next(iter(rows.values())))
    width = max(11, *(len(column) + 2 for column in columns))
    print(f"\n{title}\n{'':<24}" + "".join(f"{column:>{width}}" for column in columns))
    for name, values in rows.items():
        print(f"{name:<24}" + "".join(f"{values[column]:{width}.3f}" for column in columns))


# %%
# Outliers
# --------
# Benign tumours are normal, malignant ones are not; or images of an eight are normal, those of
# other digits are not. There are ten outliers for a hundred normal rows. "Clean": half of the
# normal rows train, the others and the outliers are told apart. "Contaminated": all rows train,
# and the same are told apart; our estimators are told that there are outliers among them.


def detectors(is_clean):
    """Return what finds outliers, by name."""
    return {
        VAE: VAETransformer(robust=not is_clean, random_state=0),
        AE: AutoencoderTransformer(robust=not is_clean, random_state=0),
        "IsolationForest": IsolationForest(random_state=0),
        "LocalOutlierFactor": make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)),
        "KernelDensity": make_pipeline(StandardScaler(), KernelDensity(bandwidth="scott")),
        "GaussianMixture": make_pipeline(StandardScaler(), GaussianMixture(reg_covar=0.01)),
    }


def normal_and_outliers(load, label):
    """Return rows with a label, and a tenth as many others."""
    X, y = load(return_X_y=True)
    normal = X[y == label]
    others = np.random.default_rng(0).permutation(X[y != label])
    return normal, others[: len(normal) // 10]


def found(detector, normal, outliers, is_clean):
    """Return the area under the ROC curve, and average precision."""
    everything = np.vstack([normal, outliers])
    train, held_out = train_test_split(normal, test_size=0.5, random_state=0)
    X_train, X = (train, np.vstack([held_out, outliers])) if is_clean else (everything, everything)
    is_outlier = np.arange(len(X)) >= len(X) - len(outliers)
    scores = -detector.fit(X_train).score_samples(X)
    return roc_auc_score(is_outlier, scores), average_precision_score(is_outlier, scores)


def compare_outliers(is_clean):
    """Return {method: {set and measure: value}}."""
    tasks = {
        "tumours": normal_and_outliers(load_breast_cancer, 1),
        "digits": normal_and_outliers(load_digits, 8),
    }
    rows = {name: {} for name in detectors(is_clean)}
    for task, both in tasks.items():
        for name, detector in detectors(is_clean).items():
            measures = found(detector, *both, is_clean)
            rows[name][f"{task} AUC"], rows[name][f"{task} AP"] = measures
    return rows


clean, contaminated = compare_outliers(True), compare_outliers(False)
show("Outliers, trained on normal rows", clean)
show("Outliers, trained on all rows", contaminated)

# %%
# Density
# -------
# The mean log-density of held-out rows, in nats, less that of one normal distribution. The number
# of components of a mixture and of factors, and the width of kernels, are chosen by
# cross-validation; the VAE is as it comes. Of the diabetes table two columns are left out, since
# they have few values, where a density has no upper bound. Another one, LDL, was computed from
# three others by a formula. The mixture follows that with thin components; the VAE, with so few
# rows, does not.


def continuous_tables():
    """Return standardised tables of real values, the halves to train and to test, by name."""
    diabetes = np.delete(load_diabetes().data, [1, 7], axis=1)
    tables = {"wine": load_wine().data, "tumours": load_breast_cancer().data, "diabetes": diabetes}
    return {name: train_test_split(scale(X), random_state=0) for name, X in tables.items()}


def densities():
    """Return density estimators, by name; those of scikit-learn choose by cross-validation."""
    mixtures = [
        {"covariance_type": ["full"], "n_components": [1, 2, 3, 5], "reg_covar": [1e-6, 1e-2]},
        {"covariance_type": ["diag"], "n_components": [2, 5, 10, 20]},
    ]
    choices = {
        "GaussianMixture": (GaussianMixture(random_state=0), mixtures),
        "KernelDensity": (KernelDensity(), {"bandwidth": np.geomspace(0.1, 1, 10)}),
        "FactorAnalysis": (FactorAnalysis(), {"n_components": [2, 4, 6]}),
    }
    searches = {name: GridSearchCV(*choice, cv=3) for name, choice in choices.items()}
    return {VAE: VAETransformer(random_state=0)} | searches


def fit_densities(X_train):
    """Return density estimators of a table, by name."""
    fitted = {name: model.fit(X_train) for name, model in densities().items()}
    return {name: getattr(model, "best_estimator_", model) for name, model in fitted.items()}


tables = continuous_tables()
fitted = {table: fit_densities(X_train) for table, (X_train, _) in tables.items()}


def gain(table, name):
    """Return the mean log-density of held-out rows, over that of a normal distribution."""
    X_train, X_test = tables[table]
    normal = GaussianMixture(1).fit(X_train)
    return np.mean(fitted[table][name].score_samples(X_test) - normal.score_samples(X_test))


density = {name: {table: gain(table, name) for table in tables} for name in densities()}
show("Density: nats a row over one normal distribution", density)

# %%
# New rows
# --------
# A classifier is to tell drawn rows from held-out ones. 0.5 says that it cannot, 1 that it always
# can. To draw each column by itself from the training rows is what any model must beat. A hundred
# rows teach a classifier little, so all look better here than they are. (Wine, with 45 rows held
# out, is left out.)


def told_apart(drawn, X):
    """Return the area under the ROC curve of boosted trees, cross-validated."""
    rows, is_drawn = np.vstack([X, drawn]), np.repeat([0, 1], [len(X), len(drawn)])
    trees = HistGradientBoostingClassifier(max_iter=30, random_state=0)
    shares = cross_val_predict(trees, rows, is_drawn, cv=5, method="predict_proba")[:, 1]
    return roc_auc_score(is_drawn, shares)


def draw(name, table, seed):
    """Return as many new rows as were held out."""
    X_train, X_test = tables[table]
    rng = np.random.default_rng(seed)
    if name == "columns apart":
        return np.column_stack([rng.choice(column, len(X_test)) for column in X_train.T])
    # Many rows, and some of them: GaussianMixture draws the same each time, and by component.
    drawn = fitted[table][name].sample(10 * len(X_test))
    return rng.permutation(drawn[0] if isinstance(drawn, tuple) else drawn)[: len(X_test)]


def mean_told_apart(name, table):
    """Return the mean of three draws."""
    return np.mean([told_apart(draw(name, table, seed), tables[table][1]) for seed in range(3)])


samples = {
    name: {table: mean_told_apart(name, table) for table in ("tumours", "diabetes")}
    for name in (VAE, "GaussianMixture", "columns apart")
}
show("New rows: told apart from real ones, 0.5 is best", samples)

# %%
# Reduction
# ---------
# Rows of two sets, tumours and half of the digits, are encoded in two or eight numbers, and
# restored. R2 is the share of the variance of held-out rows that comes back; the other measure is
# how often the five nearest codes name the class of a held-out row.


def restored_and_named(model, X_train, X_test, y_train, y_test):
    """Return R2 and the accuracy of 5 nearest neighbours, on held-out rows."""
    Z = model.fit(X_train).transform(X_test)
    error = ((X_test - model.inverse_transform(Z)) ** 2).sum()
    variance = ((X_test - X_train.mean(axis=0)) ** 2).sum()
    neighbours = KNeighborsClassifier(5).fit(model.transform(X_train), y_train)
    return 1 - error / variance, neighbours.score(Z, y_test)


def compare_reduction():
    """Return {method and components: {set and measure: value}}."""
    (X, y), (X_digits, digits) = load_breast_cancer(return_X_y=True), load_digits(return_X_y=True)
    sets = {"digits": (X_digits[::2], digits[::2]), "tumours": (scale(X), y)}
    splits = {name: train_test_split(*both, random_state=0) for name, both in sets.items()}
    models = [AutoencoderTransformer(2), PCA(2)]
    models += [VAETransformer(8), AutoencoderTransformer(8), PCA(8)]
    rows = {f"{type(model).__name__}({model.n_components})": {} for model in models}
    for model, row in zip(models, rows.values(), strict=True):
        for name, split in splits.items():
            measures = restored_and_named(model.set_params(random_state=0), *split)
            row[f"{name} R2"], row[f"{name} 5-NN"] = measures
    return rows


reduction = compare_reduction()
show("Reduction to 2 and 8 numbers", reduction)

# %%
# Gaps
# ----
# A fifth of the cells is taken away at random. The error is that of what is filled in, in standard
# deviations of the columns.

imputers = {
    VAE: VAETransformer(random_state=0),
    AE: AutoencoderTransformer(random_state=0),
    "IterativeImputer": IterativeImputer(random_state=0),
    "same, of trees": IterativeImputer(
        ExtraTreesRegressor(10, random_state=0), max_iter=3, random_state=0
    ),
    "KNNImputer": KNNImputer(),
    "SimpleImputer": SimpleImputer(),
}


def error_of_filled(imputer, X):
    """Return the root mean squared error of cells that were taken away."""
    is_gap = np.random.default_rng(0).random(X.shape) < 0.2
    with_gaps = np.where(is_gap, np.nan, X)
    with warnings.catch_warnings():  # scikit-learn's would go on for many more rounds
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer.fit(with_gaps)
    filled = getattr(imputer, "impute", imputer.transform)(with_gaps)
    return np.sqrt(np.mean((filled - X)[is_gap] ** 2))


with_gaps = {"wine": scale(load_wine().data), "tumours": scale(load_breast_cancer().data)}
gaps = {
    name: {table: error_of_filled(imputer, X) for table, X in with_gaps.items()}
    for name, imputer in imputers.items()
}
show("Gaps: error of what is filled in", gaps)

# %%
# All in one
# ----------
# Each panel is a table above, with a mark for each set of data; what is better lies to the right.
# (So the errors and the last measure run from high to low.)

panels = {
    "Outliers, clean training: AUC": (clean, ("tumours AUC", "digits AUC"), True),
    "Outliers, contaminated: AUC": (contaminated, ("tumours AUC", "digits AUC"), True),
    "Density: nats over a normal": (density, tuple(tables), True),
    "Reduction: held-out R2": (reduction, ("digits R2", "tumours R2"), True),
    "Gaps: error of filled cells": (gaps, tuple(with_gaps), False),
    "New rows: told apart, AUC": (samples, ("tumours", "diabetes"), False),
}
marks = {
    "tumours": ("o", "C0"),
    "digits": ("s", "C1"),
    "wine": ("D", "C3"),
    "diabetes": ("^", "C2"),
}


def draw_panel(ax, title, rows, columns, is_better_high):
    """Draw a mark for each method and set of data."""
    ax.set_xscale("symlog" if title.startswith("Density") else "linear")
    ax.margins(x=0.08)
    for column in columns:
        shape, color = marks[column.split()[0]]
        values = [row[column] for row in rows.values()]
        ax.scatter(values, range(len(rows)), marker=shape, color=color, s=32, zorder=3)
    ax.set_yticks(range(len(rows)), [name.replace("Transformer", "") for name in rows])
    ax.set_title(title, fontsize=10)
    ax.grid(axis="y", color="0.9")
    ax.spines[["top", "right"]].set_visible(False)
    ax.invert_yaxis()
    if not is_better_high:
        ax.invert_xaxis()


figure, axes = plt.subplots(2, 3, figsize=(11, 5.6), layout="constrained")
for ax, (title, panel) in zip(axes.flat, panels.items(), strict=True):
    draw_panel(ax, title, *panel)
handles = [
    plt.Line2D([], [], marker=shape, color=color, ls="", label=name)
    for name, (shape, color) in marks.items()
]
figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
plt.show()
