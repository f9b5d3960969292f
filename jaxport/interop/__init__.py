"""Weights between PyTorch and JAX: files in both formats, and names that are the same on both sides."""

from .convert import convert as convert
from .files import load_file as load_file
from .files import save_file as save_file
from .state_dict import IncompatibleKeys as IncompatibleKeys
from .state_dict import load_state_dict as load_state_dict
from .state_dict import state_dict as state_dict
from .torch_file import load_torch as load_torch
from .torch_file import save_torch as save_torch
