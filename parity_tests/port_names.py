"""Which ports and variants the tests run in full."""

from jaxport import ports

LONG = ("resnet-34", "resnet-50", "resnet-101", "resnet-152", "unet-64")
"""Nets of a port that is proved in full, only deeper or wider: test_depths.py compares them."""

PROVEN = [name for name in ports.names(variants=True) if name not in LONG]
