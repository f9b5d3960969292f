"""The trap zoo: every trap of docs/traps.md, committed by a plain JAX model beside a PyTorch model that is right."""

from . import functions, images, losses, norms, sequences, training
from .entry import ENTRIES, Compared, Entry, Trained

__all__ = ["ENTRIES", "Compared", "Entry", "Trained", "functions", "images", "losses", "norms", "sequences", "training"]
