"""AutoencoderTransformer: its parameters, its docstring, how its model is built."""

import math
from numbers import Real

import numpy as np

from . import _defaults, _latent
from ._autoencoder_model import Autoencoder
from ._base import AUTO, RULES, BaseAutoencoder
from ._defaults import is_auto
from ._validation import Having, Interval, Options

# Epochs up to which noise="auto" is none.
FEW_EPOCHS = 10
# Of up to 1,000 training rows, those nearest to a row that do not count as its neighbours: itself
# and an outlier that is like it, or those that a robust fit has trusted.
A_FEW_ALIKE, MANY_ALIKE = 2.0, 10.0


class AutoencoderTransformer(BaseAutoencoder):
    r"""Autoencoder: non-linear dimensionality reduction that can score and draw rows.

    A network (the encoder) maps a row x to its code z = f(x), a second one (the decoder) maps the
    code back. Training minimises the negative log-likelihood :math:`-\log p(x | f(x))`, summed
    over features, averaged over rows: for real values half the squared error in working units,
    for flags and categories the cross-entropy. It starts from a PCA where all columns are real
    values (not "ordinal") and no hidden layers are tied; both networks keep a linear part.
    Afterwards the noise scale of each feature, the normal distribution of the codes (for scores),
    and a density of them to draw from are estimated, and restored rows are kept (for scores, too).

    X is an array or a sparse matrix of numbers, or a pandas or polars data frame whose columns may
    be numbers, flags, strings and categories; of a frame, `inverse_transform`, `sample` and
    `impute` give back a frame. Cells may be missing (NaN, None, NA) wherever rows are taken: the
    loss and the score are then those of the known cells. A level that `fit` has not seen counts as
    missing; infinite values are an error.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Dimensions of the code. "auto" is half the number of features, 2 to 16; where training rows
        have missing cells at least 8, or as many as features.
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. ``()`` is a linear
        model. "auto" is two layers, sized by the number of features, or by that of rows if these
        are fewer; three where features are at least four times as many as components, of which
        there are one or two. Of flags, counts and levels alone it is two, none where X has as
        many columns as rows.
    activation : str, default="auto"
        The non-linearity between layers: "relu", "leaky_relu", "elu", "silu", "gelu", "tanh",
        "sigmoid" or "identity". "auto" is "silu".
    likelihood : str, Likelihood class or dict, default="auto"
        The distribution p(x | z). "auto" goes by the dtypes of a data frame: columns of floats and
        integers are "gaussian", booleans, strings, categories and enums of two levels "bernoulli",
        those of more "categorical"; numbers that are 0 and 1, in a frame or in all of an array,
        are "bernoulli" too; sparse counts of which the totals of rows vary more than by chance, as
        of words or likes, are "multinomial". A name holds for all columns: "gaussian" (with a
        noise scale for each, at least that of rounding to the values that it takes), "student_t"
        (the same, some cells are wild), "heteroscedastic_gaussian" and "heteroscedastic_student_t"
        (noise that differs from row to row), "censored_logistic" (where rows are heaped on the
        least or the greatest value, all beyond is seen as that), "ordinal" (by their quantiles;
        whole, rounded and repeated numbers as such), "bernoulli" (values in [0, 1]), "poisson" and
        "negative_binomial" (counts), "multinomial" (a row is counts over the columns). So does a
        subclass of :class:`skvae.likelihoods.Likelihood`. A dict {columns: likelihood} overrides
        "auto" for columns of a data frame, where "categorical" may be chosen, too; columns are a
        name, a tuple of names, or a function that takes the frame and returns names, as
        :func:`~sklearn.compose.make_column_selector` makes.
    scaling : {"auto", "standard", "common", "quantile", None}, default="auto"
        How columns of a continuous likelihood (the Gaussians, Student's t, the censored logistic)
        are scaled inside the model: "standard" to zero mean and unit variance (less where one
        value fills over 99 % of the rows, so that the others have a root mean square of 10);
        "common" to zero mean, with one scale for all, so that errors count as they do in X;
        "quantile" by their quantiles to a normal distribution (a piecewise linear map); None not
        at all. "auto" is "common" where columns take the same values over like ranges, as pixels
        and school marks do, else "standard". Flags, counts and levels are taken as they are,
        "ordinal" columns go by their quantiles. The log-Jacobian of the map is part of the score,
        so scores are in the units of X.
    noise : float or "auto", default="auto"
        Standard deviation, in units of the scaled columns, of normal noise added to the encoder's
        input in training (denoising autoencoder), so that it does not learn rows by heart. "auto"
        goes by the column: 0.4 times the error of a PCA with `n_components`; 0 where some columns
        are flags, counts, levels or "ordinal", where training rows have missing cells, with
        `tied`, without hidden layers, and where `max_iter` is at most 10.
    tied : bool, default=False
        Whether the decoder's weights are the encoder's, transposed. Not where training rows have
        missing cells, nor with likelihoods of several parameters.
    latent_density : {"gaussian_mixture", None} or estimator, default="gaussian_mixture"
        The density that is fitted to the codes after training, and from which `sample` draws: an
        estimator with `fit` and `sample`, as :class:`~sklearn.neighbors.KernelDensity`.
        "gaussian_mixture" has a component for every 8 (k + 1) codes of k dimensions, or every 50
        if that is more, of up to 10,000. With None, there is no `sample`.
    learning_rate : float, default=4e-3
        Highest step size of Adam; it rises shortly, then falls along a cosine over `max_iter`.
    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW) of the weight matrices.
    batch_size : int or "auto", default="auto"
        Rows in a training step. "auto" is a sixteenth of the rows, 32 to 128, and to 256 for a map
        in one or two dimensions (see `hidden_layer_sizes`).
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is what makes about 4,000 steps (more beyond 10,000 rows, as their square
        root; twice as many where 30 % of the cells are missing), at least 20 and at most 500.
    early_stopping : bool, default=True
        Whether to hold out rows, keep the weights that are best on them, and stop when
        `n_iter_no_change` epochs brought no progress; weights are then averages over the latest
        tenth of the steps. If False, all rows train, the training loss is watched instead, and
        the last weights are kept.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most half and 10,000 of them; none are where X
        has under 10.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without progress after which training stops. "auto" is a fifth of `max_iter`, at
        least 10.
    tol : float, default=1e-4
        What counts as progress, in nats a row.
    contamination : float or "auto", default=0.1
        Share of outliers in the training rows, in (0, 0.5]; sets `offset_`. Of new rows, which no
        model knows as well, more lie below it, in small tables two or three times as many. "auto"
        lets a tenth of new rows do so, as far as the rows tell that `early_stopping` holds out (if
        none are, of training rows).
    robust : bool, default=False
        Whether X holds outliers that are not to be learned. A share `contamination` of the rows
        ("auto": a tenth) is then left out of training and scaling: those with the lowest scores
        after a twentieth of the epochs, looked for twice; and no row is usual for being like a few
        others (see `score_samples`). Choose it to find outliers in X itself, if they are far out
        or resemble one another. Where X is clean, or holds single odd rows, it costs: what is rare
        but usual is not learned.
    dtype : {"float32", "float64"}, default="float32"
        Precision of training and of the stored weights. Results are computed in that of X.
    device : str, default="auto"
        Where to compute: a name of torch's ("cpu", "cuda", "mps", ...), or "auto", an accelerator
        if there is one and the work is worth it.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights, the shuffling and all noise. With None, NumPy's global one
        is drawn from; else no global state is used.
    verbose : int, default=0
        If positive, a line an epoch is printed, at most one a second.
    warm_start : bool, default=False
        Whether to start from the weights and the scaling of the previous fit.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained model, on the CPU in eval mode.
    latent_density_ : estimator or None
        The density fitted to the codes of training rows (of 10,000 of them at most).
    offset_ : float
        `decision_function` is `score_samples` minus this. It is set on all training rows, or,
        where scoring them would cost much against training, on a part of at least 256, spread as
        all are by a rough score; with ``contamination="auto"`` on those that were held out.
    likelihoods_ : list of str or Likelihood class
        The likelihood of each column.
    n_components_ : int
        Dimensions of the code.
    hidden_layer_sizes_ : tuple of int
        Widths of the encoder's hidden layers.
    batch_size_ : int
        Rows in a training step.
    n_iter_ : int
        Epochs run.
    loss_curve_ : list of float
        Mean loss of the training rows (at most 256 of them) at the end of each
        epoch, in nats a row, in units of the scaled columns.
    validation_scores_ : list of float or None
        Minus the mean loss of the held-out rows, by epoch; None if none were held out.
    best_validation_score_ : float or None
        The highest of them, or that of the PCA that training starts from, if no epoch is better.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has such that are all strings.

    See Also
    --------
    VAETransformer : With a prior on the codes, and a density of the rows.
    sklearn.decomposition.PCA : The linear case, solved exactly.

    References
    ----------
    .. [1] G. E. Hinton and R. R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural
       Networks", Science 313, 2006, doi:10.1126/science.1127647
    .. [2] P. Vincent et al., "Extracting and Composing Robust Features with Denoising
       Autoencoders", ICML 2008, doi:10.1145/1390156.1390294
    .. [3] P. Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020,
       doi:10.48550/arXiv.1903.12436 (a density fitted to the codes after training)
    .. [4] J. E. Jackson and G. S. Mudholkar, "Control Procedures for Residuals Associated with
       Principal Component Analysis", Technometrics 21, 1979,
       doi:10.1080/00401706.1979.10489779 (residuals as a score)
    .. [5] H. H. Yue and S. J. Qin, "Reconstruction-Based Fault Identification Using a Combined
       Index", Industrial & Engineering Chemistry Research 40, 2001, doi:10.1021/ie000141+
    .. [6] E. Parzen, "On Estimation of a Probability Density Function and Mode", Annals of
       Mathematical Statistics 33, 1962, doi:10.1214/aoms/1177704472

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import AutoencoderTransformer
    >>> X, _ = load_wine(return_X_y=True)
    >>> autoencoder = AutoencoderTransformer(n_components=2, random_state=0).fit(X)
    >>> Z = autoencoder.transform(X)
    >>> Z.shape
    (178, 2)
    >>> autoencoder.inverse_transform(Z).shape
    (178, 13)
    """

    _rules = RULES | {
        "noise": (Interval(Real, 0, np.inf), AUTO),
        "tied": (Options((True, False)),),
        "latent_density": (
            Options(("gaussian_mixture", None)),
            Having(("fit", "sample", "get_params")),
        ),
    }
    _model_class = Autoencoder
    # Its loss is squared errors: with less variance, a column would hardly be restored.
    _most_of_rare = 10.0
    _learned_last = (*BaseAutoencoder._learned_last, "latent_density_")
    _sizes = _defaults.Sizes(
        widths=(256, 512),
        deepens=True,
        components=(0.5, 16),
        rows_per_batch=(1 / 16, 1, 128),
        for_real_values="silu",
    )

    def __init__(
        self,
        n_components="auto",
        *,
        hidden_layer_sizes="auto",
        activation="auto",
        likelihood="auto",
        scaling="auto",
        noise="auto",
        tied=False,
        latent_density="gaussian_mixture",
        learning_rate=4e-3,
        weight_decay=0.0,
        batch_size="auto",
        max_iter="auto",
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change="auto",
        tol=1e-4,
        contamination=0.1,
        robust=False,
        dtype="float32",
        device="auto",
        random_state=None,
        verbose=0,
        warm_start=False,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.likelihood = likelihood
        self.scaling = scaling
        self.noise = noise
        self.tied = tied
        self.latent_density = latent_density
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.contamination = contamination
        self.robust = robust
        self.dtype = dtype
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def _model_parameters(self, X, blocks, n_train, share_missing):
        # Rows that are seen a few times are not learned by heart, and noise takes its time.
        are_few = not is_auto(self.max_iter) and self.max_iter <= FEW_EPOCHS
        noise = 0.0 if are_few and is_auto(self.noise) else self.noise
        return {
            "noise": noise if isinstance(noise, str) else float(noise),
            "tied": bool(self.tied),
            "n_neighbours": _defaults.n_neighbours(n_train, X.shape[1]),
            "left_out": MANY_ALIKE if self.robust else A_FEW_ALIKE,
        }

    def _brief(self, config):
        return config | {"n_neighbours": 0}  # outliers are among them

    def _training_parameters(self, config, n_samples):
        return {
            "learning_rate": float(self.learning_rate),
            "warmup": 0.0,
            "grace": 0.0,
            "tolerated_loss": math.inf,
        }

    def _finish(self, X, weights, seed):
        self.latent_density_ = None
        if self.latent_density is not None:
            codes = self._run("encode", X).astype(np.float64)
            self.latent_density_ = _latent.fit(self.latent_density, codes, weights, seed)

    @property
    def _can_draw(self):
        return getattr(self, "latent_density_", None) is not None

    def _draw_codes(self, n_samples, seed):
        if not self._can_draw:
            raise ValueError(
                "sample needs a density of the codes, but latent_density=None (or training is "
                "not over); fit with latent_density='gaussian_mixture'."
            )
        return _latent.draw(self.latent_density_, n_samples, self._n_features_out, seed)

    def score_samples(self, X):
        """Return how well each row is restored and how usual its place is, as one score.

        The score is log p(x | f(x)), the log-likelihood of a row given its own code, plus a mean
        of two log-densities. Two thirds are that of f(x) under the normal distribution that the
        codes of training rows have: so far it is a combined index of residual and T² (Jackson and
        Mudholkar 1979; Yue and Qin 2001; see the class). One third is that of x under a kernel
        density (Parzen 1962) around what training rows are restored to, up to 1,000 of them,
        without the two nearest (with ``robust=True`` ten), as these may be made of x itself, or
        of outliers that are like it: a row between all others is odd, however usual its code.

        Columns whose noise is learned ("gaussian", "student_t" and "censored_logistic") have
        further noise of 0.2 in working units: else columns that are restored nearly exactly would
        decide alone. The kernel density is that of these columns, with this noise; its third is
        less where there are others. If they are d, more than 32 and than twice the k components,
        the density of the code counts sqrt(d / max(k, 16) - 1) times, so that many errors do not
        drown it. This is no density of the rows; for one, use :class:`VAETransformer`.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        score : ndarray of shape (n_samples,)
            In nats, in the units of X; float64. Higher is more normal.
        """
        return self._score("score", self._validated(X))


AutoencoderTransformer.__module__ = "skvae"  # the name under which it is pickled
