"""Layers and losses in PyTorch's names, arguments, defaults and layouts, as Flax NNX modules over pure functions."""

from . import functional as functional
from . import init as init
from .activation import ReLU as ReLU
from .activation import Sigmoid as Sigmoid
from .container import Sequential as Sequential
from .conv import Conv2d as Conv2d
from .dropout import Dropout as Dropout
from .dropout import Dropout2d as Dropout2d
from .dropout import replay_masks as replay_masks
from .linear import Flatten as Flatten
from .linear import Linear as Linear
from .loss import BCELoss as BCELoss
from .loss import CrossEntropyLoss as CrossEntropyLoss
from .loss import MSELoss as MSELoss
from .loss import NLLLoss as NLLLoss
from .module import Buffer as Buffer
from .module import Module as Module
from .module import Parameter as Parameter
from .pooling import AdaptiveMaxPool2d as AdaptiveMaxPool2d
from .pooling import MaxPool2d as MaxPool2d
from .embedding import Embedding as Embedding
from .embedding_bag import EmbeddingBag as EmbeddingBag
