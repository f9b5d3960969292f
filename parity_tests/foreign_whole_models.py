"""A small GPT in plain Flax NNX and in PyTorch, written apart: other names, another order, another nesting."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import torch
from flax import nnx

WORDS, TIME, WIDTH, HEADS, LAYERS = 11, 5, 6, 2, 2


class Mlp(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.down(nnx.gelu(self.up(x), approximate=False))


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm1 = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.mlp = Mlp(rngs)

    def __call__(self, x: Any) -> Any:
        mask = nnx.make_causal_mask(jnp.ones(x.shape[:2]))
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.mlp(self.norm2(x))


class Gpt(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.tokens = nnx.Embed(WORDS, WIDTH, rngs=rngs)
        self.pos = nnx.Param(jnp.zeros((TIME, WIDTH)))
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        y = self.tokens(x) + self.pos[...]
        for block in self.blocks:
            y = block(y)
        return self.tokens.attend(self.norm(y))


class TorchAttention(torch.nn.Module):
    """Attention with one matrix for query, key and value, as GPT-2 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.c_attn = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.c_proj = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, time, width = x.shape
        heads = [part.view(n, time, HEADS, -1).transpose(1, 2) for part in self.c_attn(x).split(width, -1)]
        y = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(n, time, width))


class TorchBlock(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = torch.nn.LayerNorm(WIDTH)
        self.attn = TorchAttention()
        self.ln_2 = torch.nn.LayerNorm(WIDTH)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, 4 * WIDTH), torch.nn.GELU(), torch.nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TorchGpt(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wpe = torch.nn.Embedding(TIME, WIDTH)
        self.wte = torch.nn.Embedding(WORDS, WIDTH)
        self.h = torch.nn.ModuleList([TorchBlock() for _ in range(LAYERS)])
        self.ln_f = torch.nn.LayerNorm(WIDTH)
        self.lm_head = torch.nn.Linear(WIDTH, WORDS, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            y = block(y)
        return self.lm_head(self.ln_f(y))


GPT_MAP = {
    "pos": "wpe.weight",
    "blocks.*.attention.query": "h.*.attn.c_attn[0/3]",
    "blocks.*.attention.key": "h.*.attn.c_attn[1/3]",
    "blocks.*.attention.value": "h.*.attn.c_attn[2/3]",
    "blocks.*.attention.out": "h.*.attn.c_proj",
}
"""What no rule can know: which rows of the one matrix are the query's."""
