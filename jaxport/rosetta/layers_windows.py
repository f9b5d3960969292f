"""Rows: layers over pictures and sequences."""

from functools import partial

from .layers import _layer
from .row import Row

R = partial(Row, topic="layers_windows", x64=False)


def _same(call: str, array: str) -> tuple[str, str]:
    """Return a layer without weights: the same text on both sides."""
    return f"{call}({array})", f"{call}({array})"


ROWS = (
    R("nn-Conv1d", *_layer("Conv1d(3, 4, 5)", "(signal)"), "20-day 4-3, 20-day 5-2"),
    R(
        "nn-Conv2d",
        *_layer("Conv2d(3, 4, 3)", "(pictures)"),
        "notes, 20-day 4-3, 20-day 5-2, 20-day 6-2",
        "Channels first; a number as padding, not 'SAME'.",
    ),
    R("Conv2d-dilated", *_layer("Conv2d(3, 6, 3, padding=1, dilation=2, groups=3)", "(pictures)"), "20-day 5-2"),
    R("nn-Conv3d", *_layer("Conv3d(2, 3, 2)", "(cubes)"), "20-day 5-2"),
    R("nn-ConvTranspose2d", *_layer("ConvTranspose2d(3, 2, 3, stride=2)", "(pictures)"), "20-day 5-2"),
    R(
        "F-conv2d",
        "F.conv2d(pictures, pictures[:, :, :3, :2])",
        "F.conv2d(pictures, pictures[:, :, :3, :2])",
        "20-day 4-3",
        "weight is (out, in, height, width).",
    ),
    R(
        "conv-lax",
        "F.conv2d(pictures, pictures[:, :, :3, :2], padding=1)",
        "lax.conv_general_dilated(pictures, pictures[:, :, :3, :2], (1, 1), [(1, 1), (1, 1)])",
        "20-day 4-3",
        "In plain JAX: strides and paddings in pairs, channels first by default.",
    ),
    R(
        "wrong-channels",
        "F.conv2d(pictures, pictures[:, :2])",
        "F.conv2d(pictures, pictures[:, :2])",
        "notes",
        "The mistake of the notes: 3 channels where 2 are expected.",
        torch_raises="RuntimeError",
        jax_raises="ValueError",
    ),
    R("F-max-pool2d", *_same("F.max_pool2d", "pictures, 2"), "notes, 20-day 4-3"),
    R("max-pool2d-pair", *_same("F.max_pool2d", "pictures, (3, 2)"), "notes"),
    R("nn-MaxPool1d", *_same("nn.MaxPool1d(2)", "signal"), "20-day 4-3, 20-day 5-2"),
    R(
        "nn-MaxPool2d",
        *_same("nn.MaxPool2d(kernel_size=2, stride=1)", "pictures"),
        "20-day 4-3, 20-day 5-2, 20-day 6-2",
    ),
    R("nn-MaxPool3d", *_same("nn.MaxPool3d(2)", "cubes"), "20-day 5-2"),
    R("nn-AdaptiveMaxPool2d", *_same("nn.AdaptiveMaxPool2d((3, 2))", "pictures"), "20-day 5-2, 20-day 6-2"),
    R("nn-AvgPool2d", *_same("nn.AvgPool2d(3, padding=1)", "pictures"), "20-day 5-2", "The padding counts."),
    R("nn-AdaptiveAvgPool2d", *_same("nn.AdaptiveAvgPool2d((3, 2))", "pictures"), "20-day 5-2"),
    R(
        "nn-FractionalMaxPool2d",
        "nn.FractionalMaxPool2d(2, output_size=(3, 2), _random_samples=torch.tensor([[[0.3, 0.6]] * 3] * 2))(pictures)",
        "nn.FractionalMaxPool2d(2, output_size=(3, 2), _random_samples=jnp.array([[[0.3, 0.6]] * 3] * 2))(pictures)",
        "20-day 5-2",
        "Random windows: here of given samples; `rngs` otherwise.",
    ),
    R(
        "nn-ConstantPad2d",
        *_same("nn.ConstantPad2d((1, 2, 0, 3), 1.5)", "pictures"),
        "20-day 5-2",
        "Left, right, top, bottom; jnp.pad goes from the first axis on.",
    ),
    R("nn-ZeroPad2d", *_same("nn.ZeroPad2d((1, 2, 0, 3))", "pictures"), "20-day 5-2"),
    R(
        "pad-jnp",
        "nn.ZeroPad2d((1, 2, 0, 3))(pictures)",
        "jnp.pad(pictures, ((0, 0), (0, 0), (0, 3), (1, 2)))",
        "20-day 5-2",
    ),
    R("nn-ReplicationPad1d", *_same("nn.ReplicationPad1d((2, 1))", "signal"), "20-day 5-2"),
    R("nn-Upsample", *_same("nn.Upsample(scale_factor=2)", "pictures"), "20-day 5-2", "Nearest."),
    R(
        "Upsample-bilinear",
        *_same("nn.Upsample(scale_factor=2, mode='bilinear')", "pictures"),
        "20-day 5-2",
        "Not jax.image.resize, which smooths when it shrinks.",
    ),
    R("nn-Unfold", *_same("nn.Unfold((3, 2))", "pictures"), "20-day 5-2"),
    R("nn-Fold", *_same("nn.Fold((4, 3), (3, 2))", "nn.Unfold((3, 2))(pictures[:, :, :4, :3])"), "20-day 5-2"),
)
