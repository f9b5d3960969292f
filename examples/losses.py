# %% [markdown]
# # Losses and penalties
#
# Chapter 5-3 of the 20-day tutorial: the losses that it names, a loss of one's own (focal), and L1 and L2 penalties.
# The chapter's training run with all of them is `circles_focal.py`.
#
# - Command: `python examples/losses.py`. No files; `--smoke` does the same.
# - Time: about 7 s on two CPU cores.
# - Score: the tutorial's values of the losses, and that weight decay is an L2 penalty; the exit status is 1 if one is
#   wrong.

# %%
from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxport import chapter, data, nn, optim
from jaxport.chapter import show
from jaxport.nn import functional as F
from jaxport.random import torch_rngs

# %% [markdown]
# ## 1. Cross-entropy
#
# Predictions first, targets second, as in PyTorch (in Keras it is the other way round). Predictions are logits (N, C),
# targets class numbers (N,), int32. `optax.softmax_cross_entropy_with_integer_labels` is the same before the mean; but
# it knows no weights of classes, no `ignore_index` and no smoothing.


# %%
def cross_entropy() -> dict[str, jax.Array]:
    y_pred, y_true = jnp.asarray([[10.0, 0.0, -10.0], [8.0, 8.0, 8.0]]), jnp.asarray([0, 2])
    ce = nn.CrossEntropyLoss()(y_pred, y_true)
    nll = nn.NLLLoss()(nn.LogSoftmax(dim=1)(y_pred), y_true)
    show("nn.CrossEntropyLoss", f"{ce:.4f}")
    show("nn.LogSoftmax, nn.NLLLoss", f"{nll:.4f}")
    return {"ce": ce, "nll": nll}


# %% [markdown]
# ## 2. The built-in losses
#
# Each as a class and as a function. `weight` of the classification losses makes up for rare classes. `BCELoss` wants
# probabilities, `BCEWithLogitsLoss` logits: where both can be had, logits, since log(sigmoid(x)) loses digits and its
# gradient. `AdaptiveLogSoftmaxWithLoss` is for very many classes, few of them frequent: the rare ones share a cluster.
# `CosineSimilarity` gives one number for each row, and is no loss before it is summed up.


# %%
def built_in() -> dict[str, jax.Array]:
    x, y = jnp.asarray([[0.2, 0.7], [0.9, 3.0]]), jnp.asarray([[0.0, 1.0], [1.0, 0.0]])
    logits, labels = jnp.asarray([[1.0, 2.0, 0.5], [0.1, 0.2, 0.7]]), jnp.asarray([1, 0])
    weight = jnp.asarray([1.0, 2.0, 3.0])
    p = F.sigmoid(x)
    adaptive = nn.AdaptiveLogSoftmaxWithLoss(3, 10, cutoffs=[2, 5], div_value=1.0, rngs=torch_rngs(0))
    losses = {
        "MSELoss": (nn.MSELoss()(x, y), F.mse_loss(x, y)),
        "L1Loss": (nn.L1Loss()(x, y), F.l1_loss(x, y)),
        "SmoothL1Loss": (nn.SmoothL1Loss()(x, y), F.smooth_l1_loss(x, y)),
        "BCELoss": (nn.BCELoss()(p, y), F.binary_cross_entropy(p, y)),
        "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss()(x, y), F.binary_cross_entropy_with_logits(x, y)),
        "CrossEntropyLoss": (nn.CrossEntropyLoss(weight)(logits, labels), F.cross_entropy(logits, labels, weight)),
        "NLLLoss": (nn.NLLLoss()(F.log_softmax(logits, 1), labels), F.nll_loss(F.log_softmax(logits, 1), labels)),
        "CosineSimilarity": (nn.CosineSimilarity()(x, y).mean(), F.cosine_similarity(x, y).mean()),
        "AdaptiveLogSoftmaxWithLoss": (adaptive(logits, labels).loss, -adaptive(logits, labels).output.mean()),
    }
    for name, (module, function) in losses.items():
        show(f"nn.{name}", f"{module:.4f}, as a function {function:.4f}")
    return {name: jnp.abs(module - function) for name, (module, function) in losses.items()}


# %% [markdown]
# ## 3. A loss of one's own
#
# A function or a module, of predictions and targets. The focal loss, of a probability p_t for the true class, is
# -α_t (1 - p_t)^γ log p_t: what is easy counts little, and of two classes the rare one more.


# %%
class FocalLoss(nn.Module):
    def __init__(self, gamma: float = 2.0, alpha: float = 0.75) -> None:
        self.gamma, self.alpha = gamma, alpha

    def forward(self, y_pred: jax.Array, y_true: jax.Array) -> jax.Array:
        bce = F.binary_cross_entropy(y_pred, y_true, reduction="none")
        p_t = y_true * y_pred + (1 - y_true) * (1 - y_pred)
        alpha_t = y_true * self.alpha + (1 - y_true) * (1 - self.alpha)
        return jnp.mean(alpha_t * (1 - p_t) ** self.gamma * bce)


def focal() -> dict[str, jax.Array]:
    truth = jnp.asarray([[1.0], [0.0]])
    samples = {"hard": jnp.asarray([[0.5], [0.5]]), "easy": jnp.asarray([[0.9], [0.1]])}
    losses = {"focal": FocalLoss(), "bce": nn.BCELoss()}
    values = {f"{loss}, {name}": f(y, truth) for name, y in samples.items() for loss, f in losses.items()}
    for name, value in values.items():
        show(name, f"{value:.4f}")
    return values


# %% [markdown]
# ## 4. Penalties
#
# On the weights, not on the biases: α/2 Σ w² and β Σ |w|. A penalty is a function of the parameters, so the objective
# takes them as its first argument: the net is split into its structure and its parameters, and put together inside.
# (To a training loop with a ready loss the same is done by adding the penalty's gradient: `circles_focal.py`.)


# %%
def weights(net: nn.Module) -> list[jax.Array]:
    return [parameter[...] for name, parameter in net.named_parameters() if "bias" not in name]


def l2(net: nn.Module, alpha: float) -> jax.Array:
    return sum((0.5 * alpha * jnp.sum(w**2) for w in weights(net)), jnp.asarray(0.0))


def l1(net: nn.Module, beta: float) -> jax.Array:
    return sum((beta * jnp.sum(jnp.abs(w)) for w in weights(net)), jnp.asarray(0.0))


@partial(jax.jit, static_argnums=1)
@jax.value_and_grad
def objective(params: Any, graph: Any, x: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> jax.Array:
    net = nnx.merge(graph, params)
    return FocalLoss()(net(x), y) + l2(net, alpha) + l1(net, beta)


def gradients(net: nn.Module, alpha: float = 0.0, beta: float = 0.0) -> tuple[jax.Array, Any]:
    points = data.load("rare_circles").train
    graph, params = nnx.split(net, nn.trainable)
    return objective(params, graph, points.x[:500], points.y[:500], alpha, beta)


def penalised(net: nn.Module) -> None:
    for alpha, beta in ((0.0, 0.0), (0.001, 0.0), (0.0, 0.001), (0.001, 0.001)):
        value, grads = gradients(net, alpha, beta)
        show(
            f"alpha {alpha}, beta {beta}", f"{value:.5f}, length of the gradient {jax.jit(optax.tree.norm)(grads):.5f}"
        )


# %% [markdown]
# ## 5. L2 by the optimiser
#
# The gradient of the penalty is α w: SGD with `weight_decay=α` adds just that. `optim.groups` gives each kind of
# parameter its own, as PyTorch's list of dicts does. A step with the penalty and a step with the decay are the same.
# With Adam too, as `optim.Adam` adds the penalty's gradient; `optim.AdamW` shrinks the weights themselves.


# %%
def decayed(net: nn.Module) -> float:
    params = nnx.state(net, nn.trainable)

    def step(optimizer: optim.Optimizer, alpha: float = 0.0) -> Any:
        @jax.jit
        def update(grads: Any) -> Any:
            return optax.apply_updates(params, optimizer.update(grads, optimizer.init(params), params)[0])

        return update(gradients(net, alpha)[1])

    groups = [{"params": "*.weight", "weight_decay": 0.001}, {"params": "*.bias", "weight_decay": 0.0}]
    sgd = partial(optim.SGD, lr=1.0, momentum=0.9)
    penalty, decay = step(sgd(), 0.001), step(optim.groups(groups, sgd))
    difference = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max().item(), penalty, decay)
    show("penalty less weight decay", f"{max(jax.tree.leaves(difference)):.1e}")
    return max(jax.tree.leaves(difference))


# %% [markdown]
# ## All sections


# %%
EXPECTED = {"ce": 0.5493, "nll": 0.5493, "focal, hard": 0.0866, "bce, hard": 0.6931, "focal, easy": 0.0005}
EXPECTED |= {"bce, easy": 0.1054, "module less function": 0.0, "decay": 0.0}


@chapter.command(
    "Losses and penalties: chapter 5-3 in JAX.",
    expected={name: (value - 5e-5, value + 5e-5) for name, value in EXPECTED.items()},
)
def main(options: chapter.Options) -> dict[str, float]:
    scores, differences = cross_entropy(), built_in()
    scores |= focal()
    net = nn.Sequential(nn.Linear(2, 4, rngs=torch_rngs(0)), nn.ReLU(), nn.Linear(4, 8, rngs=torch_rngs(1)), nn.ReLU())
    net.extend([nn.Linear(8, 1, rngs=torch_rngs(2)), nn.Sigmoid()])
    penalised(net)
    scores |= {"module less function": jnp.stack(list(differences.values())).max(), "decay": decayed(net)}
    return {name: np.asarray(value).item() for name, value in scores.items()}


# %%
main.start(__name__)
