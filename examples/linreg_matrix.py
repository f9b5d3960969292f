# %% [markdown]
# # A line through five points
#
# Section 3.2 of the PyTorch basics in JAX: linear regression as a matrix-vector product, with gradient descent written
# by hand. X has a column of abscissas and a column of ones, so X w = slope · x + intercept.
#
# - Command: `python examples/linreg_matrix.py`. The points are in the package; `--smoke` takes fewer updates.
# - Time: about 4 s on two CPU cores.
# - Score: a sum of squares between 8.20 and 8.26 after 10,000 updates. The exit status is 1 if it is missed.

# %%
import jax
import jax.numpy as jnp
from flax import nnx

from jaxport import chapter, data, nn, viz

# %% [markdown]
# ## 1. Define
#
# w starts from U(0, 1), like `torch.rand(2)`, but from a key that is handed in: the same key gives the same w. There
# is no `requires_grad`. What is differentiated is said where the gradient is taken.


# %%
class LinearRegression(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.w = nn.init.uniform_(nn.Parameter(jnp.zeros(2)), generator=rngs.params())

    def forward(self, input: jax.Array) -> jax.Array:
        return input @ self.w[...]  # X w, PyTorch's X.mv(w)


def create_net(rngs: nnx.Rngs) -> LinearRegression:
    return LinearRegression(rngs=rngs)


# %% [markdown]
# ## 2. Train, by hand
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
    loss, gradient = jax.value_and_grad(lambda w: jnp.square(x @ w - y).sum())(w)
    return w - 1e-4 * gradient, loss


def train(w: jax.Array, x: jax.Array, y: jax.Array, updates: int) -> tuple[jax.Array, list[jax.Array]]:
    losses = []
    for _ in range(updates):
        w, loss = update(w, x, y)
        losses.append(loss)
    return w, losses


# %% [markdown]
# ## 3. Data, evaluate, use, save
#
# The design matrix `x` is float32 (5, 2), `y` is float32 (5,). The tutorial redraws its picture during the training;
# here are the points with the line, and beside them the loss, whose first fall (the slope) takes a few updates and
# whose second (the intercept) takes thousands. The file holds one array, under the name that a PyTorch module with a
# parameter `w` would give it.


# %%
@chapter.command("A line through five points: section 3.2 in JAX.", expected={"loss": (8.20, 8.26)})
def main(options: chapter.Options) -> dict[str, float]:
    x, y = map(jnp.asarray, data.load("points").train)
    net = create_net(nnx.Rngs(0))
    net.w[...], losses = train(net.w[...], x, y, updates=100 if options.smoke else 10_000)
    print(f"loss {losses[-1]:.6f}, weights {net.w[...]}, at x = 8 the line is at y = {net(jnp.array([8.0, 1.0])):.3f}")
    viz.plot_fit(x[:, 0], y, net(x), losses, options.out / "line.png")
    chapter.save(net, create_net(nnx.Rngs(1)), x, options.out / "weights.safetensors")
    return {"loss": float(losses[-1])}


# %%
main.start(__name__)
