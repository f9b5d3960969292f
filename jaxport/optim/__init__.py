"""PyTorch's optimisers as optax transformations, in PyTorch's names, arguments and defaults."""

from .adam import Adam as Adam
from .adam import AdamState as AdamState
from .adam import AdamW as AdamW
from .hyper import Momentum as Momentum
from .hyper import get_lr as get_lr
from .hyper import get_momentum as get_momentum
from .hyper import set_lr as set_lr
from .hyper import set_momentum as set_momentum
from .hyper import track_momentum as track_momentum
from .sgd import SGD as SGD
from .sgd import SGDState as SGDState
