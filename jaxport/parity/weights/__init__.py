"""Weights between a PyTorch model and a JAX model that knows nothing of jaxport: both ways, by class, strictly."""

from .attention64 import float64_attention as float64_attention
from .leaves import cast as cast
from .leaves import fill as fill
from .leaves import leaves as leaves
from .plan import Entry as Entry
from .plan import Plan as Plan
from .plan import plan as plan
from .probe import probe as probe
from .probe import probe_squares as probe_squares
