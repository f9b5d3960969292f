"""A small U-Net in PyTorch: two levels, group normalisation, transposed convolutions, skips by concatenation."""

from __future__ import annotations

import torch
from torch import nn


class DoubleConv(nn.Sequential):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, c_out, 3, padding=1),
            nn.GroupNorm(2, c_out),
            nn.SiLU(),
            nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
            nn.GroupNorm(2, c_out),
            nn.SiLU(),
        )


class UNet(nn.Module):
    def __init__(self, c_in: int = 3, c_out: int = 5) -> None:
        super().__init__()
        self.enc1 = DoubleConv(c_in, 4)
        self.enc2 = DoubleConv(4, 6)
        self.bottom = DoubleConv(6, 10)
        self.pool = nn.MaxPool2d(2)
        self.up2 = nn.ConvTranspose2d(10, 6, 2, stride=2)
        self.dec2 = DoubleConv(12, 6)
        self.up1 = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
        self.dec1 = DoubleConv(8, 4)
        self.last = nn.Conv2d(4, c_out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.enc1(x)
        b = self.enc2(self.pool(a))
        y = self.up2(self.bottom(self.pool(b)))
        y = self.up1(self.dec2(torch.cat([b, y], dim=1)))
        return self.last(self.dec1(torch.cat([a, y], dim=1)))
