"""Masks of shapes in pictures with U-Net; 16 channels at the top are the port, the notes' 64 its variant."""

from dataclasses import replace
from functools import partial

import numpy as np

from jaxport import metrics, optim
from jaxport.data import Arrays, shapes, to_float
from jaxport.data.shapes import CLASSES, SIDE
from jaxport.models import unet
from jaxport.port import Port


def proof(n: int, seed: int) -> Arrays:
    """Draw examples of 16 × 16 pixels, one at the net's bottom."""
    part = shapes.draw(n, np.random.default_rng(seed), side=16)
    return part._replace(x=to_float(part.x))


PORT = Port(
    name="unet",
    title="U-Net on pictures of shapes",
    source="PyTorch notes, U-Net",
    model=unet.build,
    input_shape=(3, SIDE, SIDE),
    parameters=1_944_049,
    dataset="shapes",
    loss=partial(unet.BCEDiceLoss),
    optimizer=partial(optim.SGD, lr=0.05, momentum=0.9),
    metrics=(metrics.Dice(threshold=0.0),),
    epochs=8,
    batch_size=16,
    prepare=to_float,
    classes=CLASSES,
    # Every ReLU must keep off its kink: there are 16 times as many in a whole picture.
    proof=proof,
    expected={"val_dice": (0.9, 1.0)},
)

VARIANTS = (
    replace(
        PORT,
        name="unet-64",
        title="U-Net on pictures of shapes, 64 channels at the top",
        model=unet.of_width(64),
        parameters=31_043_521,
    ),
)
