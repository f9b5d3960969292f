# %% [markdown]
# # A line through five points
#
# Section 3.2 of the PyTorch basics in JAX: linear regression as a matrix-vector product, with gradient descent written
# by hand. X has a column of abscissas and a column of ones, so X w = slope · x + intercept.
#
# - Command: `python examples/linreg_matrix.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 5 s on two CPU cores.
# - Score: a sum of squares between 8.20 and 8.26 after 10,000 updates. The exit status is 1 if it is missed.

# %%
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import data, nn, optim
from jaxport.data.points import design
from jaxport.nn import functional as F

EXPECTED = (8.20, 8.26)
LEARNING_RATE = 1e-4

# %% [markdown]
# ## 1. Data
#
# `x` is the design matrix, float32 (5, 2), and `y` is float32 (5,). There is no validation part.


# %%
def read(folder: str | None) -> tuple[jax.Array, jax.Array]:
    x, y = data.load("points", folder).train
    return jnp.asarray(x), jnp.asarray(y)


# %% [markdown]
# ## 2. Define
#
# w starts from U(0, 1), like `torch.rand(2)`, but from a key that is handed in: the same key gives the same w. There
# is no `requires_grad`. What is differentiated is said where the gradient is taken.


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.Parameter(jnp.zeros(2))
        nn.init.uniform_(self.w, generator=rngs.params())

    def forward(self, input: jax.Array) -> jax.Array:
        return F.linear(input, self.w[...])  # X w, PyTorch's X.mv(w)


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 3. Train, by hand
#
# The loss is a function of w, L(w) = Σ (X w − y)². `value_and_grad` makes of it a function that returns (L, ∇L), and
# an update is w ← w − η ∇L.
#
# In PyTorch the gradient is written into `w.grad` and added up there: the tutorial has to clear it after each update,
# and to change `w.data` behind autograd's back. Here neither exists. The update returns a new w.
#
# `jax.jit` compiles the update once. Calling it 10,000 times does not wait for the results: `losses` holds arrays that
# may not be computed yet, and they are read at the end only.


# %%
@jax.jit
def update(w: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    def loss_of(w: jax.Array) -> jax.Array:
        return jnp.square(F.linear(x, w) - y).sum()

    loss, gradient = jax.value_and_grad(loss_of)(w)
    return w - LEARNING_RATE * gradient, loss


def train(net: LinearRegression, x: jax.Array, y: jax.Array, updates: int) -> np.ndarray:
    w, losses = net.w[...], []
    for _ in range(updates):
        w, loss = update(w, x, y)
        losses.append(loss)
    net.w.set_value(w)
    return np.array(jax.device_get(losses))


# %% [markdown]
# ## 4. The same in one call
#
# The loss and the optimiser have PyTorch's names; with no batch size a step takes all points. `fit` compiles the loop
# as well, so that all updates are one call to the device. It must find the same line.


# %%
def train_with_fit(net: LinearRegression, x: jax.Array, y: jax.Array, updates: int) -> float:
    loss, optimizer = nn.MSELoss(reduction="sum"), optim.SGD(lr=LEARNING_RATE)
    history = jaxport.fit(net, (x, y), loss=loss, optimizer=optimizer, epochs=updates)
    return history.last()["loss"]


# %% [markdown]
# ## 5. Evaluate and use
#
# The tutorial redraws its picture during the training; here the points with the line, and beside them the loss, whose
# first fall (the slope) takes a few updates and whose second (the intercept) takes thousands.


# %%
def draw(net: LinearRegression, x: jax.Array, y: jax.Array, losses: np.ndarray, path: Path) -> None:
    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    line, curve = figure.subplots(1, 2)
    ends = np.array([0.0, 22.0])
    slope, intercept = map(float, net.w[...])
    line.plot(ends, net(design(ends)), color="#d55e00", label=f"y = {slope:.4f} x + {intercept:.4f}")
    line.scatter(x[:, 0], y, color="#0072b2", zorder=2, label="points")
    line.set(title=f"after {len(losses):,} updates", xlabel="x", ylabel="y")
    line.legend(frameon=False)
    curve.loglog(np.arange(1, len(losses) + 1), losses, color="#0072b2")
    curve.set(title=f"sum of squares, {losses[-1]:.4f} at the end", xlabel="update", ylabel="Σ (X w − y)²")
    curve.grid(True, which="both", color="0.92")
    figure.savefig(path)


def use(net: LinearRegression) -> None:
    for at, value in zip((8.0, 30.0), net(design(np.array([8.0, 30.0]))), strict=True):
        print(f"at x = {at:g} the line is at y = {value:.3f}")


# %% [markdown]
# ## 6. Save
#
# The file holds one array, under the name that a PyTorch module with a parameter `w` would give it.


# %%
def save(net: LinearRegression, x: jax.Array, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1))
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    np.testing.assert_array_equal(clone(x), net(x))
    print(f"saved {', '.join(jaxport.state_dict(net))}; the reloaded net predicts the same")


# %% [markdown]
# ## All steps


# %%
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A line through five points: section 3.2 in JAX.")
    parser.add_argument("--data", metavar="DIR", help="not needed: the points are in the package")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs/examples/linreg_matrix"), help="(%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="100 updates; the score does not count")
    options = parser.parse_args(arguments)
    updates = 100 if options.smoke else 10_000
    try:
        x, y = read(options.data)
        options.out.mkdir(parents=True, exist_ok=True)
        net, twin = create_net(nnx.Rngs(0)), create_net(nnx.Rngs(0))
        losses = train(net, x, y, updates)
        print(f"by hand:  loss {losses[-1]:.6f}  weights {net.w[...]}")
        print(f"with fit: loss {train_with_fit(twin, x, y, updates):.6f}  weights {twin.w[...]}")
        np.testing.assert_allclose(net.w[...], twin.w[...], rtol=1e-5)
        draw(net, x, y, losses, options.out / "line.png")
        use(net)
        save(net, x, options.out / "weights.safetensors")
    except (jaxport.errors.JaxportError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.smoke:
        return 0 if np.isfinite(losses[-1]) else 1
    if not EXPECTED[0] <= losses[-1] <= EXPECTED[1]:
        print(f"missed: loss {losses[-1]:.4f} is not within {EXPECTED}", file=sys.stderr)
        return 1
    return 0


# %%
if __name__ == "__main__":
    if "ipykernel" in sys.modules:  # in a notebook: the options are the list
        main([])
    else:
        sys.exit(main())
