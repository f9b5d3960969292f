"""The PyTorch network of `mnist_cnn`, for the embedded digits."""

from .mnist_cnn import build as build
