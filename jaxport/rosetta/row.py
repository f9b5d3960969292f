"""Row: one PyTorch expression, its JAX counterpart, and what is claimed of the two."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .inputs import INPUTS


@dataclass(frozen=True)
class Row:
    """One line of the table. Both expressions are run, and every field below is checked against what they do.

    The last line of an expression is its value; names of `jaxport.rosetta.inputs.INPUTS` are given to both sides.

    Attributes:
        id: a name of its own, the anchor on the page.
        torch: PyTorch's expression.
        jax: its counterpart.
        where: the tutorials' chapters, separated by commas.
        note: what to know.
        dtypes: "" where the dtypes are the same, else how they differ, as "int64 → int32".
        jit: whether the JAX side gives the same under `jax.jit` with the inputs as arguments, or is refused there.
        x64: whether the row is run in float64 on both sides too; never where random numbers are drawn.
        torch_raises: the error that PyTorch's side raises.
        jax_raises: the error that the JAX side raises.
        torch_is: an expression for PyTorch's value where the two sides differ.
        jax_is: the same for JAX's value.
        warns: a part of the warning that the JAX side gives without x64.
        drawn: whether both draw random numbers of their own, so that only shape and dtype are compared.
        topic: the section of the page.
    """

    id: str
    torch: str
    jax: str
    where: str
    note: str = ""
    dtypes: str = ""
    jit: bool = True
    x64: bool = True
    torch_raises: str = ""
    jax_raises: str = ""
    torch_is: str = ""
    jax_is: str = ""
    warns: str = ""
    drawn: bool = False
    topic: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two sides do not give the same."""
        return bool(self.torch_raises or self.jax_raises or self.torch_is or self.jax_is)

    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs that either side reads."""
        code = [self.torch, self.jax, self.torch_is or "0", self.jax_is or "0"]
        nodes = [node for text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)]
        stored = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
        read = {node.id for node in nodes if isinstance(node.ctx, ast.Load)} - stored
        return tuple(name for name in INPUTS if name in read)

    def names(self) -> tuple[str, ...]:
        """Return what PyTorch's side uses: functions by path, methods and attributes with a dot in front."""
        found = dict.fromkeys(_name(node) for node in ast.walk(ast.parse(self.torch)))
        return tuple(name for name in found if name and name not in MODULES)


def _name(node: ast.AST) -> str:
    """Return the name of PyTorch's that a node of a program is, or nothing."""
    if isinstance(node, ast.Name):
        return node.id if node.id in CLASSES else ""
    if not isinstance(node, ast.Attribute) or node.attr in OWN:
        return ""
    path = ast.unparse(node).split(".")
    if path[0] in ("np", "math"):
        return ""
    return ".".join(path) if path[0] in MODULES and all(map(str.isidentifier, path)) else f".{node.attr}"


MODULES = {"torch", "nn", "F", "optim", "torch.utils", "torch.nn", "torch.autograd", "nn.utils", "nn.init"}
MODULES |= {"torch.cuda", "torch.utils.data"}
CLASSES = {"Dataset", "TensorDataset", "DataLoader", "ConcatDataset", "random_split", "IterableDataset", "Variable"}
CLASSES |= {"SequentialSampler", "RandomSampler", "BatchSampler"}
# Not PyTorch's: Python's attributes, and those that rows make.
OWN = {"append", "keys", "items", "__init__", "__name__", "w", "hidden", "out", "bias"}
