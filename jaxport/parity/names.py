"""Paths of two models, made comparable: ``encoder.layers_0.selfAttn`` is ``encoder.layers.0.self_attn``."""

from __future__ import annotations

import re

from .layer import Layers

_AUTOMATIC = re.compile(r"(^|\.)[A-Z][A-Za-z0-9]*_\d+($|\.)")


def is_automatic(path: str) -> bool:
    """Say whether Flax Linen made up a part of the path (``Conv_0``): such names say nothing but the order."""
    return _AUTOMATIC.search(path) is not None


def normal(path: str, layers: Layers) -> str:
    """Return a path in snake case, numbers apart, without the ``layers`` of a Sequential."""
    tokens: list[str] = []
    parts = path.split(".") if path else []
    for index, part in enumerate(parts):
        owner = layers.get(".".join(parts[:index]))
        if part == "layers" and owner is not None and owner.name == "Sequential":
            continue
        tokens += _tokens(part)
    return ".".join(tokens)


def _tokens(part: str) -> list[str]:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).lower()
    found = re.fullmatch(r"(.*?)_?(\d+)", snake)
    return [word for word in found.groups() if word] if found else [snake.strip("_")]


_SYNONYMS = (
    (r"w?q|.*quer(y|ies)(_proj)?|q_proj|to_q|q_lin", "query"),
    (r"w?k|(.*_)?keys?(_proj)?|k_proj|to_k|k_lin", "key"),
    (r"w?v|(.*_)?values?(_proj)?|v_proj|to_v|v_lin", "value"),
    (r"w?o|out(put)?(_proj)?|o_proj|to_out|out_lin", "out"),
    (r"(self_)?(mha|attn|attention|multi_head_attention|multihead_attention)", "attn"),
    (r"ln|bn|norm|layer_norm|layernorm|batch_norm|batchnorm|gn|rms_norm|rmsnorm|group_norm", "norm"),
    (r"emb|embed|embedding|embeddings|embed_tokens|tok_emb|token_embedding|wte", "embed"),
    (r"fc|dense|linear|lin", "linear"),
    (r"h|blocks?|layers?|stages?", "block"),
    (r"shortcut|downsample|skip", "shortcut"),
    (r"kernel|weight|scale|w|weights", "weight"),
    (r"bias|b|biases", "bias"),
    (r"mean|running_mean|moving_mean", "mean"),
    (r"var|running_var|moving_variance|variance", "var"),
    (r"head|classifier|lm_head|logits", "head"),
)


def loose(path: str, layers: Layers) -> str:
    """Return the normal path with usual names for the same thing made one: ``q_proj`` and ``wq`` are ``query``."""
    return ".".join(_synonym(token) for token in normal(path, layers).split("."))


def _synonym(token: str) -> str:
    return next((name for pattern, name in _SYNONYMS if re.fullmatch(pattern, token)), token)
