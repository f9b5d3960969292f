"""What PyTorch's three tasks share: a port's reference model in one way of running it. Imports no JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from jaxport import reference

from .inputs import Inputs
from .recipe import Call, Recipe, recipe_of

if TYPE_CHECKING:
    from jaxport.port import Port

# Optimisers whose fresh state is all zeros: a compiled step keeps its tensors, which are zeroed instead of made anew.
ZERO_STATE = ("SGD", "Adam", "AdamW", "RMSprop", "Adamax")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Variant(NamedTuple):
    """One way of running PyTorch.

    Attributes:
        threads: for torch.set_num_threads.
        optimizer: "plain", "foreach", "fused" (options of torch.optim) or "compiled" (torch.compile of its step).
        channels_last: whether model and images are in torch.channels_last.
        compiled: whether torch.compile has the forward pass with the loss, and so the backward pass.
        loader: whether an epoch is the tutorials' loop over a DataLoader.
        prepared: whether an epoch's inputs are prepared all at once, at the start, rather than batch by batch.
        freezing: whether a compiled model has its weights as constants; inference alone.
        graphs: whether a compiled model is replayed as CUDA graphs; on GPUs alone.
    """

    threads: int
    optimizer: str = "plain"
    channels_last: bool = False
    compiled: bool = False
    loader: bool = False
    prepared: bool = False
    freezing: bool = False
    graphs: bool = False

    def __str__(self) -> str:
        parts = [
            "torch.compile" if self.compiled else "eager",
            *(["weights as constants"] if self.freezing else []),
            *(["CUDA graphs"] if self.graphs else []),
            *(["channels_last"] if self.channels_last else []),
            *(["DataLoader"] if self.loader else []),
            *(["prepared at once"] if self.prepared else []),
        ]
        return ", ".join([*parts, *([f"{self.optimizer} optimiser"] if self.optimizer else [])])


def device() -> torch.device:
    """Return where PyTorch runs: the GPU, where it can use one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def reference_model(port: Port | Recipe) -> torch.nn.Module:
    """Return the port's PyTorch model with new weights."""
    return reference.build(port.name)


def is_convolutional(model: torch.nn.Module) -> bool:
    """Return whether the model has a convolution."""
    return any(isinstance(part, torch.nn.modules.conv._ConvNd) for part in model.modules())


class TorchModel:
    """A port's model, loss and optimiser in one variant.

    Loss and optimiser are the classes of the names that the port's partials have. In bfloat16 parameters and optimiser
    are in float32; the model runs under ``torch.autocast``, and its prediction is float32 again before the loss, as in
    jaxport's mixed precision.

    Args:
        port: which port, or its recipe.
        inputs: weights and examples.
        variant: how to run.
        dtype: torch.float32, torch.bfloat16, or torch.float64 for the truth; None takes the inputs' own.
    """

    def __init__(self, port: Port | Recipe, inputs: Inputs, variant: Variant, dtype: torch.dtype | None = None) -> None:
        prefer_exact_products()
        dtype = DTYPES[inputs.dtype] if dtype is None else dtype
        self.recipe, self.variant, self.device = recipe_of(port), variant, device()
        self.half = dtype == torch.bfloat16
        self.dtype = torch.float32 if self.half else dtype
        torch.set_num_threads(variant.threads)
        self.weights = {key: self.tensor(value) for key, value in inputs.weights.items()}
        self.model = reference_model(self.recipe).to(self.device, self.dtype)
        self.model.load_state_dict(self.weights)
        if variant.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def make_criterion(self) -> Callable[..., torch.Tensor]:
        """Return the loss; one that PyTorch does not have stands beside the model."""
        name = self.recipe.loss.name
        loss = getattr(reference.find(self.recipe.name), name, None) or getattr(torch.nn, name)
        return loss(*self.recipe.loss.args, **self.recipe.loss.options)

    def compiled(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Return the forward pass through torch.compile, if the variant says so."""
        chosen = {"freezing": self.variant.freezing, "triton.cudagraphs": self.variant.graphs}
        options = {name: True for name, wanted in chosen.items() if wanted}
        return compiled(forward, self.variant.compiled, **({"options": options} if options else {}))

    def kept(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what stays when the next step is taken: a CUDA graph writes its results over the last ones."""
        return tensor.detach().clone() if self.variant.graphs else tensor.detach()

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Run the model, in half precision where that is wanted, and return what the loss takes."""
        if not self.half:
            return self.model(x)
        with torch.autocast(self.device.type, torch.bfloat16):
            prediction = self.model(x)
        return prediction.float()

    def reset(self) -> None:
        """Put the initial weights back, and the optimiser to its start."""
        self.model.load_state_dict(self.weights)
        if self.variant.optimizer != "compiled":
            return self.renew_optimizer()
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    value.zero_()

    def prepare_optimizer(self) -> None:
        """Make the optimiser, once the model is what it is going to be."""
        self._make_optimizer = _optimizer_maker(self.recipe, self.model, self.variant.optimizer)
        self.renew_optimizer()

    def renew_optimizer(self) -> None:
        """Make the optimiser anew."""
        self.optimizer = self._make_optimizer()
        self.take_step = compiled(self.optimizer.step, self.variant.optimizer == "compiled")

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """Floating numbers in our dtype; class numbers become int64, as PyTorch wants them."""
        dtype = self.dtype if array.dtype.kind == "f" else torch.int64
        return torch.from_numpy(array).to(self.device, dtype)

    def laid_out(self, images: torch.Tensor) -> torch.Tensor:
        """Return images in the variant's layout."""
        if self.variant.channels_last and images.ndim == 4:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def prefer_exact_products() -> None:
    """Ask for float32 products and convolutions without TF32, as jaxport computes them."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def compiled(function: Callable[..., Any], wanted: bool, **options: Any) -> Callable[..., Any]:
    """Return the function through torch.compile, if that is wanted."""
    return torch.compile(function, dynamic=False, **options) if wanted else function


def _optimizer_maker(recipe: Recipe, model: torch.nn.Module, kind: str) -> Callable[[], torch.optim.Optimizer]:
    call: Call = recipe.optimizer
    parameters = list(model.parameters())
    if kind == "compiled" and (call.name not in ZERO_STATE or call.options.get("dampening")):
        raise ValueError(f"the state of {call.name} cannot be reset in place")
    options = call.options | ({kind: True} if kind in ("foreach", "fused") else {})
    make = getattr(reference.find(recipe.name), call.name, None) or getattr(torch.optim, call.name)
    return lambda: make(parameters, *call.args, **options)
