"""A walk through what mistakes are planted in: small PyTorch computations whose results are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Tensors = list[torch.Tensor]


def _x(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def _through(module: nn.Module, *inputs: torch.Tensor, **named: Any) -> Tensors:
    """Return the output, buffers and gradients of a module."""
    module = module.double()
    inputs = tuple(x.requires_grad_() if x.is_floating_point() else x for x in inputs)
    out = module(*inputs, **named)
    out = out[0] if isinstance(out, tuple) else out
    leaves = [*module.parameters(), *(x for x in inputs if x.is_floating_point())]
    grads = torch.autograd.grad((out * _x(*out.shape)).sum(), leaves, allow_unused=True)
    return [out.detach(), *module.buffers(), *(g for g in grads if g is not None)]


def _randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.3)
    return module


def norms() -> Tensors:
    found = []
    for momentum in (0.1, None):
        norm = _randomised(nn.BatchNorm2d(3, momentum=momentum))
        for _ in range(2):
            found += _through(norm, _x(5, 3, 4, 2))
        found += _through(norm.eval(), _x(5, 3, 4, 2))
    return [
        *found,
        *_through(_randomised(nn.LayerNorm(6)), _x(5, 6)),
        *_through(_randomised(nn.GroupNorm(2, 6)), _x(5, 6, 3)),
    ]


def layers() -> Tensors:
    parts = [
        _through(nn.Linear(4, 4), _x(3, 4)),
        _through(nn.Conv2d(3, 3, 3, stride=2, padding=1), _x(2, 3, 8, 6)),
        _through(nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), _x(2, 3, 4, 5)),
        _through(nn.Flatten(), _x(2, 3, 4, 5)),
        _through(nn.Embedding(7, 3, padding_idx=0), torch.tensor([[0, 1, 2, 3], [4, 0, 5, 6]])),
        _through(nn.GELU(), _x(9)),
        _through(nn.ReLU(), torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)),
        _through(nn.LeakyReLU(), _x(9)),
        _through(nn.Softmax(1), _x(3, 4)),
        [_x(2, 3, 4, 5).view(2, -1), _x(2, 3, 4, 5).reshape(2, 60)],
    ]
    return [tensor for part in parts for tensor in part]


def dropout() -> Tensors:
    return [*_through(nn.Dropout(0.2), _x(6, 5)), *_through(nn.Dropout(0.2).eval(), _x(6, 5))]


def pictures() -> Tensors:
    x, ties = _x(2, 3, 8, 6), torch.zeros(2, 3, 7, 7, dtype=torch.float64)
    parts = [
        _through(nn.AvgPool2d(3, 2, 1), x),
        _through(nn.MaxPool2d(3, 2, 1), x - 9.0),
        _through(nn.MaxPool2d(3, 2), ties),
        _through(nn.MaxPool2d(3, 2, ceil_mode=True), x),
        [F.interpolate(x, size=(5, 4)), F.interpolate(x, size=(5, 4), mode="bilinear")],
        [F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False)],
    ]
    return [tensor for part in parts for tensor in part]


def sequences() -> Tensors:
    lstm, gru = nn.LSTM(3, 4, bidirectional=True, batch_first=True), _randomised(nn.GRU(3, 4))
    attention = nn.MultiheadAttention(6, 2, batch_first=True)
    q, hidden = _x(2, 5, 6), torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 5, [False] * 4 + [True]])
    for weights in (True, False):
        attended = _through(attention, q, q, q, attn_mask=hidden, key_padding_mask=padding, need_weights=weights)
    heads = _x(2, 3, 5, 4)
    causal = F.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
    return [*_through(lstm, _x(2, 5, 3)), *_through(gru, _x(5, 2, 3)), *attended, causal]


def losses() -> Tensors:
    x, y = _x(6, 4), torch.tensor([0, 1, 2, 3, -100, 1])
    p, t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64), torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    return [
        F.cross_entropy(x, y, label_smoothing=0.1),
        F.cross_entropy(x, y, weight),
        F.mse_loss(x, x * 2),
        F.binary_cross_entropy(p, t),
        F.binary_cross_entropy_with_logits(x, x.sigmoid(), pos_weight=weight),
        F.kl_div(x.log_softmax(1), x.softmax(0), reduction="batchmean"),
        F.smooth_l1_loss(x, x * 3, beta=0.5),
        x.std(),
        x.var(0),
        x.median(),
    ]


def _optimisers() -> Iterator[tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]]:
    yield torch.optim.Adam, {"eps": 1e-3, "weight_decay": 0.1}
    yield torch.optim.AdamW, {}
    yield torch.optim.RMSprop, {"eps": 1e-3}
    yield torch.optim.SGD, {"momentum": 0.9}
    yield torch.optim.SGD, {"momentum": 0.9, "nesterov": True}


def training() -> Tensors:
    found = []
    for make, settings in _optimisers():
        net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
        optimizer = make(net.parameters(), lr=0.1, **settings)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        for _ in range(3):
            net.train()
            optimizer.zero_grad()
            net(_x(5, 3)).square().sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
            schedule.step()
        net.eval()
        found += [net(_x(5, 3)).detach(), *(p.detach().clone() for p in net.parameters()), *net.buffers()]
    return found


def tour() -> Tensors:
    """Return the results of all, always the same."""
    torch.manual_seed(0)
    return [t.detach() for part in (norms, layers, dropout, pictures, sequences, losses, training) for t in part()]
