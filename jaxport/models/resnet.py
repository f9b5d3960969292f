"""ResNet in its five depths, with PyTorch's usual names: torchvision's weights fit where the channels do."""

from collections.abc import Callable

import jax
from flax import nnx

from jaxport import nn

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks in each of the four stages; from 50 on they are bottlenecks."""


def _shortcut(channels_in: int, channels_out: int, stride: int, rngs: nnx.Rngs) -> nn.Sequential | None:
    """Return the 1 × 1 convolution of a block whose output has another shape than its input, else None."""
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False, rngs=rngs), nn.BatchNorm2d(channels_out)
    )


class BasicBlock(nn.Module):
    """ReLU(x or its shortcut + conv3 BN ReLU conv3 BN): (N, C, H, W) to (N, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False, rngs=rngs)
        self.bn2 = nn.BatchNorm2d(width)
        if (shortcut := _shortcut(channels, width, stride, rngs)) is not None:
            self.downsample = shortcut
        self.relu2 = nn.ReLU()

    def forward(self, x: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, width, H/stride, W/stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu2(nn.add(y, self.downsample(x) if hasattr(self, "downsample") else x))


class Bottleneck(nn.Module):
    """ReLU(x or its shortcut + conv1 BN ReLU conv3 BN ReLU conv1 BN): (N, C, H, W) to (N, 4 · width, H/stride, …)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False, rngs=rngs)
        self.bn3 = nn.BatchNorm2d(4 * width)
        if (shortcut := _shortcut(channels, 4 * width, stride, rngs)) is not None:
            self.downsample = shortcut
        self.relu3 = nn.ReLU()

    def forward(self, x: jax.Array) -> jax.Array:
        """Map (N, C, H, W) to (N, 4 · width, H/stride, W/stride)."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu3(nn.add(y, self.downsample(x) if hasattr(self, "downsample") else x))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, count: int, stride: int, rngs: nnx.Rngs
) -> nn.Sequential:
    """Return `count` blocks, the first of which brings the channels and the stride."""
    first = block(channels, width, stride, rngs=rngs)
    return nn.Sequential(first, *(block(block.expansion * width, width, 1, rngs=rngs) for _ in range(count - 1)))


class ResNet(nn.Module):
    """Stem of conv7/2 BN ReLU pool3/2, four stages of residual blocks, mean over the picture, linear.

    Args:
        depth: 18, 34, 50, 101 or 152.
        channels: of the pictures.
        classes: how many.
        width: of the first stage; each stage doubles it.
        rngs: of the initial weights.

    Raises:
        ValueError: there is no such depth.

    Source: He et al. 2015, https://arxiv.org/abs/1512.03385; PyTorch notes, ResNet. The stride of a bottleneck is in
    its 3 × 3 convolution, as in torchvision.
    """

    def __init__(
        self, depth: int = 18, channels: int = 1, classes: int = 10, width: int = 64, *, rngs: nnx.Rngs
    ) -> None:
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {list(DEPTHS)}, got {depth!r}")
        block = BasicBlock if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks, out = DEPTHS[depth], block.expansion * width
        self.layer1 = _stage(block, width, width, blocks[0], 1, rngs)
        self.layer2 = _stage(block, out, 2 * width, blocks[1], 2, rngs)
        self.layer3 = _stage(block, 2 * out, 4 * width, blocks[2], 2, rngs)
        self.layer4 = _stage(block, 4 * out, 8 * width, blocks[3], 2, rngs)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * out, classes, rngs=rngs)
        for _, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=rngs.params())

    def forward(self, x: jax.Array) -> jax.Array:
        """Map pictures (N, C, H, W) to logits (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).reshape(len(x), -1))


def of_depth(depth: int) -> Callable[..., ResNet]:
    """Return ``build`` of another depth."""

    def build(*, rngs: nnx.Rngs) -> ResNet:
        return ResNet(depth, rngs=rngs)

    return build


build = of_depth(18)
