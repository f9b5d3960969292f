"""PyTorch's CPU random numbers in NumPy: same seed, same numbers, without torch."""

from .generator import Generator as Generator
