"""Pictures of clothes with a residual network; ResNet-18 is the port, the deeper ones its variants."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxport import metrics, nn, optim
from jaxport.data import Arrays, to_float
from jaxport.data.fashion_mnist import CLASSES
from jaxport.models import resnet
from jaxport.nn import functional as F
from jaxport.port import Port

SIDE = 32


def enlarged(x: Any) -> jax.Array:
    """Bring pictures (N, 1, 28, 28) to [0, 1] and to 32 × 32 pixels, which five halvings leave one of."""
    return F.interpolate(to_float(x), size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def proof(n: int, seed: int) -> Arrays:
    """Draw pictures of 16 × 16 pixels: in larger ones some ReLU is always too near its kink for float32."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, 1, 16, 16), np.float32)
    return Arrays(x, rng.integers(0, len(CLASSES), n).astype(np.int32))


PORT = Port(
    name="resnet",
    title="ResNet-18 on Fashion-MNIST",
    source="PyTorch notes, ResNet",
    model=resnet.build,
    input_shape=(1, SIDE, SIDE),
    parameters=11_175_370,
    dataset="fashion_mnist",
    loss=partial(nn.CrossEntropyLoss),
    optimizer=partial(optim.SGD, lr=0.05, momentum=0.9),
    metrics=(metrics.Accuracy(),),
    epochs=2,
    batch_size=128,
    prepare=enlarged,
    classes=CLASSES,
    proof=proof,
    expected={"val_accuracy": (0.85, 1.0)},
)

VARIANTS = tuple(
    replace(
        PORT,
        name=f"resnet-{depth}",
        title=f"ResNet-{depth} on Fashion-MNIST",
        model=resnet.of_depth(depth),
        parameters=parameters,
    )
    for depth, parameters in ((34, 21_283_530), (50, 23_522_250), (101, 42_514_378), (152, 58_158_026))
)
