"""The functions under the layers and losses, in PyTorch's names: ``import jaxport.nn.functional as F``."""

from .activation import log_softmax as log_softmax
from .activation import relu as relu
from .activation import sigmoid as sigmoid
from .activation import softmax as softmax
from .conv import conv2d as conv2d
from .dropout import dropout as dropout
from .dropout import dropout2d as dropout2d
from .grid_sample import affine_grid as affine_grid
from .grid_sample import grid_sample as grid_sample
from .interpolate import interpolate as interpolate
from .linear import linear as linear
from .loss import binary_cross_entropy as binary_cross_entropy
from .loss import cross_entropy as cross_entropy
from .loss import mse_loss as mse_loss
from .loss import nll_loss as nll_loss
from .pooling import adaptive_max_pool2d as adaptive_max_pool2d
from .pooling import max_pool2d as max_pool2d
from .upsampling import upsample as upsample
from .upsampling import upsample_bilinear as upsample_bilinear
from .upsampling import upsample_nearest as upsample_nearest
