"""The functions under the layers and losses, in PyTorch's names: ``import jaxport.nn.functional as F``."""

from .activation import log_softmax as log_softmax
from .activation import relu as relu
from .activation import sigmoid as sigmoid
from .activation import softmax as softmax
from .conv import conv2d as conv2d
from .dropout import dropout as dropout
from .dropout import dropout2d as dropout2d
from .linear import linear as linear
from .loss import binary_cross_entropy as binary_cross_entropy
from .loss import cross_entropy as cross_entropy
from .loss import mse_loss as mse_loss
from .loss import nll_loss as nll_loss
from .pooling import adaptive_max_pool2d as adaptive_max_pool2d
from .pooling import max_pool2d as max_pool2d
from .conv import conv1d as conv1d
from .conv import conv3d as conv3d
from .conv import conv_tbc as conv_tbc
from .conv_transpose import conv_transpose1d as conv_transpose1d
from .conv_transpose import conv_transpose2d as conv_transpose2d
from .conv_transpose import conv_transpose3d as conv_transpose3d
from .fold import fold as fold
from .fold import unfold as unfold
