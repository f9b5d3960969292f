"""U-Net, in PyTorch."""

from functools import partial

import torch
from torch import nn


class DoubleConv(nn.Module):
    """Convolution, batch normalisation, ReLU, twice."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for channels in (inputs, outputs):
            parts += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.double_conv = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.double_conv(x)


class Up(nn.Module):
    """Transposed convolution, concatenation, two convolutions."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, 2)
        self.conv = DoubleConv(inputs, inputs // 2)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map (N, C, H, W) and (N, C/2, 2H, 2W) to (N, C/2, 2H, 2W)."""
        return self.conv(torch.cat((skip, self.up(x)), 1))


def _down(channels: int) -> nn.Sequential:
    """Return a halving that doubles the channels."""
    return nn.Sequential(nn.MaxPool2d(2, 2), DoubleConv(channels, channels * 2))


class UNet(nn.Module):
    """Four levels down and up."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inc = DoubleConv(3, width)
        self.down1, self.down2, self.down3, self.down4 = (_down(2**i * width) for i in range(4))
        self.up1, self.up2, self.up3, self.up4 = (Up(2 ** (4 - i) * width) for i in range(4))
        self.outc = nn.Conv2d(width, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map pictures (N, 3, H, W) to logits (N, 1, H, W)."""
        maps = [self.inc(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            maps.append(down(maps[-1]))
        x = maps.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up(x, maps.pop())
        return self.outc(x)


class BCEDiceLoss(nn.Module):
    """Cross-entropy of the pixels plus what a picture's mask lacks to overlap fully."""

    def forward(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Return the loss, a scalar."""
        bce = nn.functional.binary_cross_entropy_with_logits(logits, masks)
        flat, true = torch.sigmoid(logits).flatten(1), masks.flatten(1)
        overlap = (2 * torch.linalg.vecdot(flat, true) + 1) / (flat.sum(1) + true.sum(1) + 1)
        return bce + (1 - overlap).mean()


def build() -> UNet:
    """Return the model with new weights, 16 channels at the top."""
    return UNet(16)


build_64 = partial(UNet, 64)
