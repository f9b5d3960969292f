"""ResNet in its five depths, in PyTorch."""

import torch
from torch import nn

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class Block(nn.Module):
    """A residual block: `sizes` are the kernels of its convolutions, `stride` is that of the first one of 3 × 3."""

    def __init__(self, channels: int, widths: tuple[int, ...], sizes: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.count, inputs = len(sizes), channels
        for i, (width, size) in enumerate(zip(widths, sizes, strict=True), 1):
            step = stride if size == 3 and 3 not in sizes[: i - 1] else 1
            setattr(self, f"conv{i}", nn.Conv2d(inputs, width, size, step, padding=size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(width))
            if i < self.count:
                setattr(self, f"relu{i}", nn.ReLU())
            inputs = width
        if stride != 1 or channels != inputs:
            self.downsample = nn.Sequential(nn.Conv2d(channels, inputs, 1, stride, bias=False), nn.BatchNorm2d(inputs))
        setattr(self, f"relu{self.count}", nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) to (N, widths[-1], H/stride, W/stride)."""
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = getattr(self, f"relu{i}")(y)
        shortcut = self.downsample(x) if "downsample" in self._modules else x
        return getattr(self, f"relu{self.count}")(shortcut + y)


class ResNet(nn.Module):
    """Stem, four stages, mean, linear."""

    def __init__(self, depth: int, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)
        self.out = 64
        self.layer1, self.layer2 = self._stage(depth, 0), self._stage(depth, 1)
        self.layer3, self.layer4 = self._stage(depth, 2), self._stage(depth, 3)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(self.out, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, depth: int, number: int) -> nn.Sequential:
        """Return the blocks of a stage, which begin with the channels that the one before it ended with."""
        width, parts = 64 * 2**number, []
        widths, sizes = ((width, width), (3, 3)) if depth < 50 else ((width, width, 4 * width), (1, 3, 1))
        for i in range(STAGES[depth][number]):
            parts.append(Block(self.out, widths, sizes, 2 if number and i == 0 else 1))
            self.out = widths[-1]
        return nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, C, H, W) to logits (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


def build() -> ResNet:
    """Return ResNet-18 with new weights."""
    return ResNet(18)


def build_34() -> ResNet:
    """Return ResNet-34 with new weights."""
    return ResNet(34)


def build_50() -> ResNet:
    """Return ResNet-50 with new weights."""
    return ResNet(50)


def build_101() -> ResNet:
    """Return ResNet-101 with new weights."""
    return ResNet(101)


def build_152() -> ResNet:
    """Return ResNet-152 with new weights."""
    return ResNet(152)
