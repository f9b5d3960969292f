"""A small residual network for pictures, in PyTorch."""

from __future__ import annotations

import torch
from torch import nn


def conv_bn(c_in: int, c_out: int, k: int, s: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(c_in, c_out, k, stride=s, padding=k // 2, bias=False), nn.BatchNorm2d(c_out)]


class Residual(nn.Module):
    """relu(body(x) + downsample(x))."""

    def __init__(self, body: list[nn.Module], downsample: list[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.downsample = nn.Sequential(*downsample)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.body(x) + self.downsample(x))


def basic(c_in: int, c_out: int, s: int) -> Residual:
    body = [*conv_bn(c_in, c_out, 3, s), nn.ReLU(inplace=True), *conv_bn(c_out, c_out, 3)]
    return Residual(body, [] if c_in == c_out and s == 1 else conv_bn(c_in, c_out, 1, s))


def bottleneck(c_in: int, c_mid: int, c_out: int, s: int) -> Residual:
    body = [*conv_bn(c_in, c_mid, 1), nn.ReLU(), *conv_bn(c_mid, c_mid, 3, s), nn.ReLU(), *conv_bn(c_mid, c_out, 1)]
    return Residual(body, conv_bn(c_in, c_out, 1, s))


class ResNet(nn.Module):
    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(3, 6, 7, 2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(bottleneck(6, 5, 13, 1))
        self.layer2 = nn.Sequential(basic(13, 9, 2), basic(9, 9, 1))
        self.fc = nn.Linear(9, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer2(self.layer1(x))
        return self.fc(x.mean((2, 3)))
