"""VAETransformer: its parameters, its docstring, how its model is built."""

from numbers import Integral, Real

import numpy as np

from . import _blocks, _defaults, _engine
from ._base import AUTO, RULES, BaseAutoencoder
from ._defaults import resolved
from ._vae_model import VAE
from ._validation import Interval
from ._warn import warn

# Burda et al.: a component whose posterior mean varies less than this over the rows is not used.
ACTIVE_VARIANCE = 0.01
# Share of `max_iter` in which lack of progress does not count.
GRACE = 0.2
# Share of what held-out rows have gained that may be lost again before training stops.
MOST_LOST = 0.5
# Columns up to which noise may differ from row to row in smooth ones, if "auto". In wider tables
# that makes densities higher, too, but codes restore less and a fit takes a third longer.
A_FEW_COLUMNS = 50
# Draws with which outliers among the training rows are looked for: scores of all rows, but rough
# ones will do.
A_FEW_DRAWS = 16


class VAETransformer(BaseAutoencoder):
    r"""Variational autoencoder: non-linear latent-variable model with a density.

    The rows are modelled as :math:`p(x) = \int p(x | z) N(z; 0, I) dz`, where a network (the
    decoder) maps the code z to the parameters of the likelihood p(x | z). A second network (the
    encoder) gives the approximate posterior :math:`q(z | x) = N(\mu(x), \mathrm{diag}\,
    \sigma^2(x))`. Training maximises the evidence lower bound (ELBO),

    .. math:: E_{q(z|x)}[\log p(x | z)] - \beta\, KL(q(z | x) \| N(0, I)),

    in nats, summed over features and components, averaged over rows, or, with several
    `n_training_draws`, an importance-weighted bound that is nearer to log p(x).

    X is an array or a sparse matrix of numbers, or a pandas or polars data frame whose columns may
    be numbers, flags, strings and categories; of a frame, `inverse_transform`, `sample` and
    `impute` give back a frame. Cells may be missing (NaN, None, NA) wherever rows are taken: the
    density is then that of the known cells. A level that `fit` has not seen counts as missing;
    infinite values are an error.

    Parameters
    ----------
    n_components : int or "auto", default="auto"
        Dimensions of the code. "auto" is the number of features, 2 to 32. Components that
        do not pay for their KL stay unused (see `n_active_components_`).
    hidden_layer_sizes : tuple of int or "auto", default="auto"
        Widths of the encoder's hidden layers; the decoder has them in reverse. ``()`` is a linear
        model. "auto" is two layers, sized by the number of features, or by that of rows if these
        are fewer; both of 256 where numbers stand beside flags, counts or levels; none where X
        has as many columns as rows and all are flags, counts or levels.
    activation : str, default="auto"
        The non-linearity between layers: "relu", "leaky_relu", "elu", "silu", "gelu", "tanh",
        "sigmoid" or "identity". "auto" is "tanh", and "silu" where no column has real values.
    likelihood : str, Likelihood class or dict, default="auto"
        The distribution p(x | z). "auto" goes by the dtypes of a data frame: booleans, strings,
        categories and enums of two levels are "bernoulli", those of more "categorical", floats and
        integers beside any of these "ordinal"; numbers that are 0 and 1, in a frame or in all of
        an array, are "bernoulli" too; sparse counts of which the totals of rows vary more than by
        chance, as of words or likes, are "multinomial"; other numbers, in arrays and in frames of
        numbers alone, are "heteroscedastic_student_t" where they hardly repeat (over 50 values,
        none in more than a tenth of the rows, in up to 50 columns) or are few (a span of up to 50
        steps, ten rows for each value) and "student_t" else; of more than 50 columns, those that
        stop at a limit (their least or greatest value, whichever is more frequent, is in a tenth
        of the rows, and in twice as many as the next) are "censored_logistic". A name holds for
        all columns: "gaussian" (with a learned noise scale for each, at least that of rounding to
        the values that the column takes), "student_t" (the same, some cells are wild),
        "heteroscedastic_gaussian" and "heteroscedastic_student_t" (noise that differs from row to
        row), "censored_logistic" (where rows are heaped on the least or the greatest value, all
        beyond is seen as that), "ordinal" (by their quantiles; whole, rounded and repeated numbers
        as such), "bernoulli" (values in [0, 1]), "poisson" and "negative_binomial" (counts),
        "multinomial" (a row is counts over the columns). So does a subclass of
        :class:`skvae.likelihoods.Likelihood`. A dict {columns: likelihood} overrides "auto" for
        columns of a data frame, where "categorical" may be chosen, too; columns are a name, a
        tuple of names, or a function that takes the frame and returns names, as
        :func:`~sklearn.compose.make_column_selector` makes.
    scaling : {"auto", "standard", "common", "quantile", None}, default="standard"
        How columns of a continuous likelihood (the Gaussians, Student's t, the censored logistic)
        are scaled inside the model: "standard" to zero mean and unit variance (where one value
        fills more than half the rows, the others have a root mean square of 1); "common" to zero
        mean, with one scale for all; "quantile" by their quantiles to a normal distribution (a
        piecewise linear map); None not at all. "auto" is "common" where columns take the same
        values over like ranges, as pixels and school marks do, else "standard". Flags, counts and
        levels are taken as they are, and "ordinal" columns always go by their quantiles. The
        log-Jacobian of the map is part of the density, so scores are in the units of X.
    beta : float or "auto", default="auto"
        Weight of the KL term in the training loss, and nowhere else. "auto" is 1, and 0.5 where
        the likelihood is "multinomial" alone: that ranks better, as which films a user may like.
    warmup_fraction : float or "auto", default="auto"
        Share of `max_iter` in which the weight of the KL term rises from 0 to `beta`. "auto" is
        0.2 with one training draw, so that components are not given up early, and 0.1 with more,
        which have less need of it; but with more and fewer than 500 training rows it is 0.
    n_draws : int, default=128
        Draws for the importance-sampling estimate of log p(x) in `score_samples`. More draws give
        a tighter estimate, in proportion slower; a power of two is best. `impute` takes as many,
        and at least 512 for rows of which few of these carry weight.
    n_training_draws : int or "auto", default="auto"
        Draws of each code in training. One maximises the ELBO, several the importance-weighted
        bound (IWAE [2]_), which is nearer to log p(x): a better density, for about as much more
        time as the decoder takes of a step. "auto" is what makes 384 codes of a batch, 1 to 5,
        and up to twice as many where cells are missing (30 % or more). Where all columns are
        flags, counts or levels it is 256 codes, else of more than 64 columns 128, with gaps or
        without; at most 2 draws of more than 256 columns; 1 where `beta` is not 1, which is about
        the ELBO.
    learning_rate : float or "auto", default="auto"
        Highest step size of Adam; it rises shortly, then falls along a cosine over `max_iter`.
        "auto" is 4e-3 with several training draws from 500 training rows on, else 2e-3.
    weight_decay : float, default=0.0
        Decoupled weight decay (AdamW) of the weight matrices.
    batch_size : int or "auto", default="auto"
        Rows in a training step. "auto" is about the square root of their number, 32 to 256.
    max_iter : int or "auto", default="auto"
        Epochs. "auto" is what makes about 4,000 steps (more beyond 10,000 rows, as their square
        root; half as many more where numbers stand beside flags, counts or levels, twice as many
        where 30 % of the cells are missing), at least 20 and at most 500.
    early_stopping : bool, default=True
        Whether to hold out rows, keep the weights that are best on them, and stop when
        `n_iter_no_change` epochs brought no progress; weights are then averages over the latest
        tenth of the steps. If False, all rows train, the training loss is watched instead, and
        the last weights are kept.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, at most half and 10,000 of them; none are where X
        has under 10.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without progress after which training stops; the first fifth of `max_iter` does
        not count. "auto" is a fifth of `max_iter`, at least 10; or 10, where half of what the
        held-out rows have gained since the first epoch is lost again.
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
        after a twentieth of the epochs, looked for twice. Choose it to find outliers in X itself,
        if they are far out or resemble one another. Where X is clean, or holds single odd rows, it
        costs: what is rare but usual is not learned.
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
    n_active_components_ : int
        Components whose posterior mean varies over the training rows (variance above 0.01). With
        none, the model ignores the code (posterior collapse), and `fit` warns.
    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL(q(z | x) || N(0, I)) of each component over training rows, in nats.
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
        The highest of them.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X has such that are all strings.

    See Also
    --------
    AutoencoderTransformer : Without a prior on the codes; trains on the plain error.
    sklearn.decomposition.FactorAnalysis : The linear case, solved exactly.
    sklearn.mixture.GaussianMixture : Another density.

    References
    ----------
    .. [1] D. P. Kingma and M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014,
       doi:10.48550/arXiv.1312.6114
    .. [2] Y. Burda, R. Grosse and R. Salakhutdinov, "Importance Weighted Autoencoders", ICLR
       2016, doi:10.48550/arXiv.1509.00519
    .. [3] I. Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained
       Variational Framework", ICLR 2017

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skvae import VAETransformer
    >>> X, _ = load_wine(return_X_y=True)
    >>> vae = VAETransformer(n_components=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (178, 2)
    >>> vae.sample(3).shape
    (3, 13)
    >>> vae.score_samples(X).shape
    (178,)
    """

    _rules = RULES | {
        "beta": (Interval(Real, 0, np.inf), AUTO),
        "warmup_fraction": (Interval(Real, 0, 1, "[]"), AUTO),
        "learning_rate": (*RULES["learning_rate"], AUTO),
        "n_draws": (Interval(Integral, 1, np.inf),),
        "n_training_draws": (Interval(Integral, 1, np.inf), AUTO),
    }
    _model_class = VAE
    # Noise scales tell how much a column counts, and networks are best fed with ones of like size.
    _most_of_rare = 1.0
    _learned_last = (
        *BaseAutoencoder._learned_last,
        "kl_per_component_",
        "n_active_components_",
    )
    # Few rows and several draws of each teach more in a step than many with one.
    _sizes = _defaults.Sizes(
        widths=(128, 256),
        deepens=False,
        components=(1, 32),
        rows_per_batch=(1.25, 0.5, 256),
        for_real_values="tanh",
        of_mixed=(256, 256),
        steps_of_mixed=1.5,  # it takes long until drawn rows are like real ones
    )

    def __init__(
        self,
        n_components="auto",
        *,
        hidden_layer_sizes="auto",
        activation="auto",
        likelihood="auto",
        scaling="standard",
        beta="auto",
        warmup_fraction="auto",
        n_draws=128,
        n_training_draws="auto",
        learning_rate="auto",
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
        self.beta = beta
        self.warmup_fraction = warmup_fraction
        self.n_draws = n_draws
        self.n_training_draws = n_training_draws
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
        beta = float(resolved(self.beta, _defaults.beta, _blocks.are_of_one_total(blocks)))
        n_training_draws = resolved(
            self.n_training_draws,
            _defaults.n_training_draws,
            beta,
            self._batch_size(n_train, blocks),
            self.n_features_in_,
            _blocks.are_discrete(blocks),
            share_missing,
        )
        return {
            "beta": beta,
            "n_draws": int(self.n_draws),
            "n_training_draws": int(n_training_draws),
            "redraws": _blocks.stand_for_draws(X, blocks),
        }

    def _brief(self, config):
        return config | {"n_draws": A_FEW_DRAWS}

    def _likelihood_of_numbers(self, x, n_columns, beside_levels=False):
        if beside_levels:
            return "ordinal"
        if n_columns > A_FEW_COLUMNS and _blocks.is_censored(x):
            return "censored_logistic"
        # Where one of many values is frequent, a scale by row would shrink until it is a
        # spike of the density; where they are few, their distances say how far it may.
        by_row = _blocks.is_coarse(x) or (n_columns <= A_FEW_COLUMNS and _blocks.is_smooth(x))
        return "heteroscedastic_student_t" if by_row else "student_t"

    def _training_parameters(self, config, n_samples):
        of_fit = config["n_training_draws"], n_samples
        warmup = resolved(self.warmup_fraction, _defaults.warmup_fraction, *of_fit)
        learning_rate = resolved(self.learning_rate, _defaults.learning_rate, *of_fit)
        return {
            "learning_rate": float(learning_rate),
            "warmup": float(warmup),
            "grace": GRACE,  # it may take a while until the codes are worth their KL
            # Beyond that, what is learned is learned by heart.
            "tolerated_loss": MOST_LOST if self.n_iter_no_change == "auto" else np.inf,
        }

    def _finish(self, X, weights, seed):
        codes = self._run("encode", X)
        center = np.average(codes, axis=0, weights=weights)
        spread = np.average((codes - center) ** 2, axis=0, weights=weights)
        self.kl_per_component_ = np.average(self._run("kl", X), axis=0, weights=weights)
        self.n_active_components_ = int((spread > ACTIVE_VARIANCE).sum())
        if not self.n_active_components_:
            warn(
                "Posterior collapse: no component of the code depends on the rows, transform is "
                f"constant. Lower beta (now {self.module_.beta:g}), train longer (max_iter), or "
                "check that the features depend on one another."
            )

    def _draw_codes(self, n_samples, seed):
        return _engine.draw_prior(self.module_, n_samples, seed)

    def score_samples(self, X):
        """Estimate the log-density of each row by importance sampling.

        The estimate is the logarithm of a mean over `n_draws` quasi-random draws, half from
        q(z | x) and half from the prior, from noise that is the same for every row: it is
        deterministic, and a function of the row alone. Its expectation is at most log p(x).

        In "ordinal" columns a whole or rounded number has the mean density of the cell around it:
        for whole numbers that is their probability. A value that many rows share, beside others on
        no grid, has a probability, too. So has the limit of a "censored_logistic" column, per unit
        of the scaled column (its standard deviation, as a rule).

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            log p(x) in nats, in the units of X; float64.
        """
        return self._score("score", self._validated(X))

    def elbo(self, X):
        """Estimate the evidence lower bound of each row, with beta = 1.

        Parameters
        ----------
        X : {array-like, sparse matrix, data frame} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        elbo : ndarray of shape (n_samples,)
            E_q[log p(x | z)] - KL(q(z | x) || N(0, I)) in nats, in the units of X; float64. Up to
            the error of both estimates, at most `score_samples` of the same row.
        """
        return self._score("elbo", self._validated(X))


VAETransformer.__module__ = "skvae"  # the name under which it is pickled, wherever the file goes
