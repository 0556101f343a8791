"""Autoencoders and variational autoencoders as scikit-learn estimators."""

from . import likelihoods
from ._autoencoder import AutoencoderTransformer
from ._vae import VAETransformer
from ._version import __version__

__all__ = ["AutoencoderTransformer", "VAETransformer", "__version__", "likelihoods"]
