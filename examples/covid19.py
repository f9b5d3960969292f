# %% [markdown]
# # When the first wave ends
#
# Chapter 1-4 of the 20-day tutorial (time series) in JAX: new cases, recoveries and deaths of eight days go in, those
# of the next day come out; then the net goes on from its own predictions. The six steps are the tutorial's.
#
# - Command: `python examples/covid19.py --data DIR`, where DIR holds `covid-19.csv` (default: `$JAXPORT_DATA`).
#   `--smoke` needs no data and takes a few seconds.
# - Time: about 7 s on two CPU cores.
# - Score: a final loss between 0.1 and 0.5. The exit status is 1 if it is missed.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import jaxport
from jaxport import chapter, data, engine, nn, optim, viz
from jaxport.data import covid

# %% [markdown]
# ## 1. Data
#
# The file has sums up to each day; a day's new cases are their first differences (pandas' `diff`). Every eight days in
# a row are an example, and the day after is its target: `x` is float32 (38, 8, 3), `y` is float32 (38, 3).


# %%
def read(options: chapter.Options) -> tuple[data.Splits, np.ndarray]:
    splits = options.load("covid", smoke=38)
    if options.smoke:
        return splits, np.concatenate([splits.train.x[0], splits.train.y])
    return splits, covid.differences(splits.origin)[1]


# %% [markdown]
# ## 2. Define
#
# The block needs two inputs: the net's rates and the days themselves. An LSTM returns what PyTorch's returns, (states,
# (h, c)). In JAX it is one `lax.scan` over time.


# %%
class Block(nn.Module):
    def forward(self, x: jax.Array, input: jax.Array) -> jax.Array:
        return jnp.maximum((1 + x) * input[:, -1, :], 0)


class Net(nn.Module):
    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.lstm = nn.LSTM(input_size=3, hidden_size=3, num_layers=5, batch_first=True, rngs=rngs)
        self.linear = nn.Linear(3, 3, rngs=rngs)
        self.block = Block()

    def forward(self, input: jax.Array) -> jax.Array:
        x = self.lstm(input)[0][:, -1, :]
        return self.block(self.linear(x), input)


def create_net(rngs: nnx.Rngs) -> Net:
    return Net(rngs=rngs)


# %% [markdown]
# ## 3. Train
#
# A loss of one's own is a function of prediction and target. All 38 examples are one batch, and all 100 epochs one
# compiled loop.


# %%
def mspe(prediction: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.mean((target - prediction) ** 2 / jnp.maximum(target**2, 1e-7))


def train(net: Net, splits: data.Splits, epochs: int) -> engine.History:
    return jaxport.fit(net, splits.train, loss=mspe, optimizer=optim.Adagrad(lr=0.1), epochs=epochs)


# %% [markdown]
# ## 4. Evaluate
#
# There is no validation part, as in the tutorial: only the curve of the loss, and its value after the last step.


# %%
def evaluate(net: Net, splits: data.Splits, history: engine.History, path: Path) -> float:
    viz.plot_history(history.columns, path, "covid19: training")
    loss = jaxport.evaluate(net, splits.train, loss=mspe)["loss"]
    print(f"loss {history.columns['loss'][0]:.4f} at the start, {loss:.4f} at the end")
    return loss


# %% [markdown]
# ## 5. Use: 200 days more
#
# The tutorial appends each predicted day to a table and predicts the next one from the last 38. Arrays do not grow in
# JAX: the window of 38 days moves on. `lax.scan` carries it and collects the days, so the whole forecast is one call.


# %%
def forecast(net: Net, series: np.ndarray, days: int) -> np.ndarray:
    graph, state = nnx.split(net)

    @jax.jit
    def roll(state: nnx.State, window: jax.Array) -> jax.Array:
        model = nnx.merge(graph, state, copy=True)

        def one_day(window: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            new = jnp.floor(model(window[None]))  # (1, 3)
            return jnp.concatenate([window[1:], new]), new[0]

        return jax.lax.scan(one_day, window, length=days)[1]

    return np.asarray(roll(state, jnp.asarray(series[-38:])))


def use(net: Net, series: np.ndarray, path: Path) -> None:
    both = np.concatenate([series, forecast(net, series, 200)])
    figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, column in zip(covid.COLUMNS, both.T, strict=True):
        zeros = np.flatnonzero(column[len(series) :] == 0)
        print(f"{name}: " + (f"0 from day {len(series) + zeros[0]} on" if len(zeros) else "never 0"))
        axes.plot(column, label=name)
    axes.axvline(len(series) - 1, color="0.6", linestyle="--", label="last known day")
    axes.set(title="new cases a day, known and predicted", xlabel="day", ylabel="people")
    axes.legend(frameon=False)
    figure.savefig(path)


# %% [markdown]
# ## 6. Save


# %%
def save(net: Net, splits: data.Splits, path: Path) -> None:
    jaxport.save_file(jaxport.state_dict(net), path)
    clone = create_net(nnx.Rngs(1))
    jaxport.load_state_dict(clone, jaxport.load_file(path))
    np.testing.assert_array_equal(clone(splits.train.x), net(splits.train.x))
    print(f"saved {len(jaxport.state_dict(net))} arrays; the reloaded net predicts the same")


# %% [markdown]
# ## All six steps


# %%
@chapter.command("A forecast of COVID-19: chapter 1-4 in JAX.", expected={"loss": (0.1, 0.5)})
def main(options: chapter.Options) -> dict[str, float]:
    (splits, series), net = read(options), create_net(nnx.Rngs(0))
    print(net, jaxport.summary(net, (8, 3)), sep="\n")
    history = train(net, splits, epochs=5 if options.smoke else 100)
    loss = evaluate(net, splits, history, options.out / "history.png")
    use(net, series, options.out / "forecast.png")
    save(net, splits, options.out / "weights.safetensors")
    return {"loss": loss}


# %%
main.start(__name__)
