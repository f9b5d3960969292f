"""PyTorch's CPU random numbers in NumPy: same seed, same numbers, without torch.

Importing this loads NumPy alone; `torch_rngs`, which is for jaxport's modules, loads flax when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fans import calculate_gain as calculate_gain
from .fills import bernoulli_ as bernoulli_
from .fills import kaiming_normal_ as kaiming_normal_
from .fills import kaiming_uniform_ as kaiming_uniform_
from .fills import normal_ as normal_
from .fills import trunc_normal_ as trunc_normal_
from .fills import uniform_ as uniform_
from .fills import xavier_normal_ as xavier_normal_
from .fills import xavier_uniform_ as xavier_uniform_
from .generator import Generator as Generator
from .loader import epoch_order as epoch_order
from .loader import epoch_orders as epoch_orders
from .loader import finish_epoch as finish_epoch

if TYPE_CHECKING:
    from .rngs import TorchRngs


def torch_rngs(seed: int) -> TorchRngs:
    """Return the `rngs` with which a jaxport module gets the weights PyTorch's has after ``torch.manual_seed(seed)``.

    The layers must be made in the same order. Only initial values come from PyTorch's generator; dropout's masks and
    other draws of a forward pass come from JAX keys made of `seed`, and differ from PyTorch's.

    Raises:
        UsageError: `seed` is no integer from -2⁶³ to 2⁶⁴ - 1.
    """
    from .rngs import TorchRngs

    return TorchRngs(seed)
