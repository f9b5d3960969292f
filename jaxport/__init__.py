"""jaxport: the PyTorch tutorials in JAX, each proved equal to PyTorch."""

__version__ = "0.1.0"
