"""PyTorch's optimisers as optax transformations, in PyTorch's names, arguments and defaults."""

from .adam import Adam as Adam
from .adam import AdamState as AdamState
from .sgd import SGD as SGD
from .sgd import SGDState as SGDState
