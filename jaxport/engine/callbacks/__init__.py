"""Callbacks: what happens at the seams of training."""

from .base import Callback as Callback
