"""U-Net: which pixels of a picture belong to a shape."""

from collections.abc import Callable

import jax
from flax import nnx

from jaxport import nn
from jaxport.nn import functional as F
from jaxport.nn.loss_reduce import Loss, matching_pair, reduce_loss


class DoubleConv(nn.Module):
    """Convolution of 3 × 3, batch normalisation and ReLU, twice: (N, in, H, W) to (N, out, H, W).

    The second convolution takes what the first one gives, `out_channels`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs) -> None:
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, rngs=rngs),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, rngs=rngs),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: jax.Array) -> jax.Array:
        """Map (N, in, H, W) to (N, out, H, W)."""
        return self.double_conv(x)


def _down(channels: int, rngs: nnx.Rngs) -> nn.Sequential:
    """Return a halving: (N, C, H, W) to (N, 2C, H/2, W/2)."""
    return nn.Sequential(nn.MaxPool2d(2), DoubleConv(channels, 2 * channels, rngs=rngs))


class Up(nn.Module):
    """Transposed convolution, the maps of the way down beside it, `DoubleConv`: half the channels, twice the side."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        self.up = nn.ConvTranspose2d(channels, channels // 2, kernel_size=2, stride=2, rngs=rngs)
        self.conv = DoubleConv(channels, channels // 2, rngs=rngs)

    def forward(self, x: jax.Array, skip: jax.Array) -> jax.Array:
        """Map (N, C, H, W) and (N, C/2, 2H, 2W) to (N, C/2, 2H, 2W)."""
        return self.conv(nn.cat([skip, self.up(x)], dim=1))


class UNet(nn.Module):
    """Four halvings down, four doublings up, with the maps of the way down beside those of the way up.

    Args:
        channels: of the pictures.
        classes: how many masks.
        width: channels of the first maps; each halving doubles them.
        rngs: of the initial weights.

    H and W must be multiples of 16. The convolutions are padded, so that a mask is as large as its picture; the
    original's are not.

    Source: Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; PyTorch notes, U-Net.
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: int = 16, *, rngs: nnx.Rngs) -> None:
        self.inc = DoubleConv(channels, width, rngs=rngs)
        self.down1 = _down(width, rngs)
        self.down2 = _down(2 * width, rngs)
        self.down3 = _down(4 * width, rngs)
        self.down4 = _down(8 * width, rngs)
        self.up1 = Up(16 * width, rngs=rngs)
        self.up2 = Up(8 * width, rngs=rngs)
        self.up3 = Up(4 * width, rngs=rngs)
        self.up4 = Up(2 * width, rngs=rngs)
        self.outc = nn.Conv2d(width, classes, kernel_size=1, rngs=rngs)

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, channels, H, W) to logits (N, classes, H, W).

        Raises:
            ValueError: H or W is no multiple of 16.
        """
        if x.shape[-2] % 16 or x.shape[-1] % 16:
            raise ValueError(f"UNet: height and width must be multiples of 16, got {x.shape[-2:]}; pad the pictures")
        first = self.inc(x)
        second = self.down1(first)
        third = self.down2(second)
        fourth = self.down3(third)
        x = self.up1(self.down4(fourth), fourth)
        x = self.up2(x, third)
        x = self.up3(x, second)
        return self.outc(self.up4(x, first))


class BCEDiceLoss(Loss):
    """Binary cross-entropy of logits plus 1 - dice, over each picture.

    loss = mean over pictures of [mean(BCE(p, t)) + 1 - (2 Σ p t + 1) / (Σ p + Σ t + 1)],  p = sigmoid(input)

    Raises:
        ValueError: the shapes of input and target differ.
        TypeError: their dtypes differ or are not floating.

    Source: Milletari et al. 2016, https://arxiv.org/abs/1606.04797.
    """

    reduction = "mean"

    def forward(self, input: jax.Array, target: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
        """Return the loss of logits against masks, both (N, C, H, W); `where` (N,) says which pictures count."""
        input, target = matching_pair("BCEDiceLoss", input, target, where)
        axes = tuple(range(1, input.ndim))
        p = F.sigmoid(input)
        bce = F.binary_cross_entropy_with_logits(input, target, reduction="none").mean(axes)
        dice = (2 * (p * target).sum(axes) + 1) / (p.sum(axes) + target.sum(axes) + 1)
        return reduce_loss(bce + 1 - dice, self.reduction, where, "BCEDiceLoss")


def of_width(width: int) -> Callable[..., UNet]:
    """Return ``build`` of another width."""

    def build(*, rngs: nnx.Rngs) -> UNet:
        return UNet(width=width, rngs=rngs)

    return build


build = of_width(16)
