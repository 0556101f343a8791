"""The distributions p(x | z) of a row given its code: one class each.

A likelihood is plain tensor code and learns nothing itself. The decoder hands it `n_params`
tensors of shape (..., n_features), and the model `n_shared` further vectors that are the same for
every row (a noise variance, say). To add one: write a class, add a line to `LIKELIHOODS`. A class
of your own works without that: pass it as ``likelihood=MyLikelihood``.
"""

from ._censored import CensoredLogistic
from ._discrete import Bernoulli, Categorical, Multinomial, NegativeBinomial, Poisson
from ._likelihood import Likelihood
from ._ordinal import Ordinal
from ._real import Gaussian, HeteroscedasticGaussian, HeteroscedasticStudentT, StudentT

__all__ = [
    "Bernoulli",
    "Categorical",
    "CensoredLogistic",
    "Gaussian",
    "HeteroscedasticGaussian",
    "HeteroscedasticStudentT",
    "Likelihood",
    "Multinomial",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": Gaussian,
    "heteroscedastic_gaussian": HeteroscedasticGaussian,
    "student_t": StudentT,
    "censored_logistic": CensoredLogistic,
    "heteroscedastic_student_t": HeteroscedasticStudentT,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "multinomial": Multinomial,
    "ordinal": Ordinal,
    "categorical": Categorical,
}


def class_of(likelihood: str | type[Likelihood]) -> type[Likelihood]:
    """Return the class of this name, or the class that was given."""
    return LIKELIHOODS[likelihood] if isinstance(likelihood, str) else likelihood
