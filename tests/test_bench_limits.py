"""The limits of a machine, the floor of a port, the shape of growth: their arithmetic. Nothing depends on timing."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxport import nn, ports
from jaxport.bench import limits, limits_work
from jaxport.bench.floor import Cost, count_flops, floor_ms, floor_of, step_cost
from jaxport.bench.growth import Growth, fit_growth
from jaxport.bench.limits import Limits, Rate
from jaxport.bench.process import WorkerError
from jaxport.errors import UsageError

# ------------------------------------------------------------------------------------------------ the shape of growth

SIZES = [1, 4, 16, 64, 256, 1024, 4096]
SHAPES = {
    "fixed and linear": (0.02, 0.003, 1.0),
    "linear alone": (0.0, 0.5, 1.0),
    "slower than linear": (1.5, 0.2, 0.6),
    "faster than linear": (3.0, 0.001, 1.35),
    "a root alone": (0.0, 2.0, 0.5),
}


@pytest.mark.parametrize("name", SHAPES)
def test_fit_finds_the_shape_that_the_times_have(name):
    a, b, c = SHAPES[name]
    fit = fit_growth(SIZES, [a + b * n**c for n in SIZES])
    assert (fit.a, fit.b, fit.c) == (pytest.approx(a, abs=1e-6 * b), pytest.approx(b, rel=1e-6), pytest.approx(c))
    assert fit.residual < 1e-6
    assert fit(100) == pytest.approx(a + b * 100**c, rel=1e-6)


def test_fit_of_noisy_times_is_near_the_shape_and_says_how_near():
    rng = np.random.default_rng(0)
    times = [(0.5 + 0.01 * n) * factor for n, factor in zip(SIZES, np.exp(0.08 * rng.standard_normal(7)), strict=True)]
    fit = fit_growth(SIZES, times)
    assert fit.c == 1.0  # noise is no reason for another exponent
    assert (fit.a, fit.b) == (pytest.approx(0.5, rel=0.15), pytest.approx(0.01, rel=0.15))
    assert fit.residual == pytest.approx(
        math.sqrt(np.mean([(fit(n) / t - 1) ** 2 for n, t in zip(SIZES, times, strict=True)]))
    )
    assert 0.02 < fit.residual < 0.12


def test_three_points_get_a_straight_line():
    assert fit_growth([1, 10, 100], [1.0, 3.0, 40.0]).c == 1.0


def test_neither_part_is_negative():
    flat = fit_growth([1, 2, 3, 4], [4.0, 4.0, 3.9, 3.9])
    assert (flat.a, flat.b, flat.half) == (pytest.approx(3.95, rel=1e-2), 0.0, None)
    steep = fit_growth([1, 2, 3], [1.0, 2.2, 3.6])
    assert (steep.a, steep.b) == (0.0, pytest.approx(1.12, rel=0.05))
    assert steep.half == 0.0


def test_half_is_where_both_parts_are_equal():
    fit = Growth(a=8.0, b=0.5, c=2.0, residual=0.0)
    assert fit.half == 4.0
    assert fit(fit.half) == 2 * fit.a


@pytest.mark.parametrize(
    ("sizes", "times", "message"),
    [
        ([1, 2], [1.0], "as many"),
        ([3, 3], [1.0, 2.0], "at least two sizes"),
        ([0, 1], [1.0, 2.0], "positive"),
        ([1, 2], [1.0, math.nan], "positive numbers"),
        ([1, 2], [1.0, -1.0], "positive numbers"),
    ],
)
def test_fit_refuses(sizes, times, message):
    with pytest.raises(UsageError, match=message):
        fit_growth(sizes, times)


# ------------------------------------------------------------------------------------------------------ the operations

X, W = jax.ShapeDtypeStruct((32, 64), jnp.float32), jax.ShapeDtypeStruct((64, 64), jnp.float32)
PRODUCT = 2 * 32 * 64 * 64


def scanned(length: int, unroll: int = 1):
    return lambda x, w: lax.scan(lambda h, _: (h @ w, None), x, None, length=length, unroll=unroll)[0]


def scanned_twice(x, w):
    return lax.scan(lambda h, _: (scanned(3)(h, w), None), x, None, length=5)[0]


LOOPS = {
    "no loop": (lambda x, w: x @ w, 1),
    "a scan": (scanned(10), 10),
    "a scan of one": (scanned(1), 1),
    "unrolled by 3": (scanned(10, 3), 10),
    "unrolled by 4": (scanned(10, 4), 10),
    "unrolled as a whole": (scanned(10, 10), 10),
    "a scan in a scan": (scanned_twice, 15),
    "a scan in a compiled function": (jax.jit(scanned(7)), 7),
    "a loop of unknown length": (lambda x, w: lax.fori_loop(0, jnp.int32(x[0, 0]), lambda _, h: h @ w, x), 1),
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_count_as_often_as_they_run(name):
    function, times = LOOPS[name]
    assert count_flops(function, X, W) == pytest.approx(times * PRODUCT, rel=1e-3)


def gradients_of(layer: nn.Module, x: jax.Array) -> float:
    """Return the operations of a layer's output and of the gradients of its weights and its input."""
    from flax import nnx

    graph, state = nnx.split(layer)

    def loss(state, x):
        return nnx.merge(graph, state)(x).sum()

    return count_flops(jax.value_and_grad(loss, argnums=(0, 1)), state, x)


def test_linear_counts_as_by_hand():
    batch, inputs, outputs = 16, 96, 40
    forward = 2 * batch * inputs * outputs
    counted = gradients_of(nn.Linear(inputs, outputs, rngs=0), jnp.ones((batch, inputs)))
    # Weights' and inputs' gradients are products of the same size; bias, its gradient and the sum are additions.
    assert counted == pytest.approx(3 * forward + 3 * batch * outputs, rel=0.01)


def valid(size: int, kernel: int, padding: int) -> int:
    """Return how many (output, kernel element) pairs along an axis meet the image and not its padding."""
    pairs = itertools.product(range(size + 2 * padding - kernel + 1), range(kernel))
    return sum(0 <= out + k - padding < size for out, k in pairs)


@pytest.mark.parametrize("padding", [0, 1])
def test_conv2d_counts_as_by_hand(padding):
    batch, inputs, outputs, size, kernel = 8, 16, 24, 12, 3
    forward = 2 * batch * inputs * outputs * valid(size, kernel, padding) ** 2
    layer = nn.Conv2d(inputs, outputs, kernel, padding=padding, rngs=0)
    counted = gradients_of(layer, jnp.ones((batch, inputs, size, size)))
    assert counted == pytest.approx(3 * forward, rel=0.03)


# ----------------------------------------------------------------------------------------------------------- the floor

LIMITS = Limits(
    {"float32": Rate(1e11, 1024, "jax"), "bfloat16": Rate(4e11, 512, "torch")},
    (
        Rate(2e11, 1 << 14, "jax"),
        Rate(1e11, 1 << 20, "jax"),
        Rate(1.2e11, 1 << 22, "torch"),
        Rate(2e10, 1 << 28, "jax"),
    ),
)

FLOORS = {
    "compute": (Cost(2e9, 1e6), "float32", 20.0, "compute"),
    "half precision": (Cost(2e9, 1e6), "bfloat16", 5.0, "compute"),
    "main memory": (Cost(1e6, 2e9), "float32", 100.0, "memory"),
    "a cache": (Cost(1e3, 2e4), "float32", 1e-4, "memory"),
}


@pytest.mark.parametrize("name", FLOORS)
def test_floor(name):
    cost, dtype, ms, bound = FLOORS[name]
    floor = floor_of(cost, LIMITS, dtype)
    assert (floor.flops, floor.bytes, floor.bound) == (*cost, bound)
    assert floor.ms == pytest.approx(ms)
    assert floor.times(3 * ms) == pytest.approx(3.0)


def test_floor_refuses_what_was_not_measured():
    with pytest.raises(UsageError, match="dtype is 'float16'; measured were float32, bfloat16"):
        floor_of(Cost(1.0, 1.0), LIMITS, "float16")


@pytest.mark.parametrize(
    ("size", "rate"),
    # Below the smallest; between two (the smaller one's); where a larger one was faster; in the largest; beyond it.
    [(100, 2e11), (1 << 19, 2e11), (1 << 20, 1.2e11), (1 << 23, 1.2e11), (1 << 28, 2e10), (1 << 30, 2e10)],
)
def test_bandwidth_is_rather_too_fast_than_too_slow(size, rate):
    assert LIMITS.bytes_per_s(size) == rate


def test_limits_come_back_from_json():
    import json

    assert Limits.from_json(json.loads(json.dumps(LIMITS.to_json()))) == LIMITS


def test_a_step_reads_and_writes_weights_and_state_and_reads_the_batch():
    batch, parameters = 64, ports.get("titanic").parameters
    cost = step_cost(ports.get("titanic"), batch)
    adam = 3 * 4 * parameters  # weights and two averages, float32
    assert cost.bytes == pytest.approx(2 * adam + batch * (15 + 1) * 4, abs=100)  # and a few counters


def test_a_step_grows_with_the_batch_by_its_products():
    port = ports.get("mnist_mlp")
    one, two = (step_cost(port, batch).flops for batch in (100, 200))
    # Forward and weights' gradients in both layers, the input's gradient in the second one alone.
    products = 100 * (4 * 784 * 500 + 6 * 500 * 10)
    assert two - one == pytest.approx(products, rel=0.01)
    assert one - products == pytest.approx(12 * port.parameters, rel=0.1)  # Adam


def test_floor_of_a_port():
    assert floor_ms("titanic", limits=LIMITS) == floor_of(step_cost(ports.get("titanic"), 8), LIMITS)
    # A scan over 8 days in each of 5 layers: more than the layers' products once, and growing with the batch.
    assert floor_ms("covid19", 512, LIMITS).flops > 1.9 * floor_ms("covid19", 256, LIMITS).flops
    with pytest.raises(UsageError, match="batch must be at least 1, got 0"):
        floor_ms("titanic", 0, LIMITS)
    with pytest.raises(UsageError, match="did you mean 'titanic'"):
        floor_ms("titanik", 8, LIMITS)


# -------------------------------------------------------------------------------------------------------- the measuring


def test_best_seconds_is_the_least_time_of_one_piece():
    now, costs = 0.0, itertools.cycle([5e-4, 3e-4, 4e-4])

    def run(count: int) -> None:
        nonlocal now
        now += count * next(costs)

    assert limits_work.best_seconds(run, 0.1, clock=lambda: now) == pytest.approx(3e-4)


def test_a_call_that_is_held_up_does_not_end_the_search_for_a_long_sample():
    now, delays = 0.0, itertools.chain([0.0, 1.0, 0.0, 0.5], itertools.cycle([0.0]))

    def run(count: int) -> None:
        nonlocal now
        now += 1e-4 + count * 1e-6 + next(delays)  # a call costs as much as a hundred pieces of work

    assert limits_work.best_seconds(run, 0.1, clock=lambda: now) == pytest.approx(1e-6, rel=0.1)


class Work:
    """Does nothing, and takes note of what it was asked for."""

    platform = "cpu"

    def __init__(self):
        self.asked = []

    def matmul(self, n, dtype):
        self.asked.append((n, dtype))
        return (lambda count: None) if dtype == "float32" else None

    def triad(self, n):
        self.asked.append(n)
        return lambda count: None


def test_rates_are_of_2n3_operations_and_three_of_two_arrays(monkeypatch):
    monkeypatch.setattr(limits_work, "best_seconds", lambda run, seconds: 0.5)
    work = Work()
    assert limits_work.rate_of(work, {"size": 100, "dtype": "float32", "seconds": 1}) == 2e6 / 0.5
    assert limits_work.rate_of(work, {"size": 100, "dtype": "bfloat16", "seconds": 1}) is None
    # 1,600 bytes are two arrays of 200 numbers; 600 numbers are read or written.
    assert limits_work.rate_of(work, {"size": 1600, "seconds": 1}) == 600 * 4 / 0.5
    assert work.asked == [(100, "float32"), (100, "bfloat16"), 200]


@pytest.mark.parametrize("work", [limits_work.JaxWork, limits_work.NumpyWork])
def test_work_can_be_repeated(work):
    side = work()
    for run in (side.matmul(8, "float32"), side.triad(64)):
        run(1)
        run(3)


class Fake:
    """A side's process, which reaches these rates."""

    def __init__(self, rates):
        self.rates = rates

    def ask(self, request, timeout):
        if request["size"] not in self.rates:
            raise WorkerError("no memory")
        return {"rate": self.rates[request["size"]]}


def test_where_one_side_has_a_gpu_those_without_do_not_count(monkeypatch):
    monkeypatch.setattr(limits, "PAUSE_S", 0)
    monkeypatch.setattr(limits, "MATRICES", {"gpu": (16,)})
    monkeypatch.setattr(limits, "WORKING_SETS", {"gpu": (256,)})
    sides = {"jax": (Fake({16: 9.0, 256: 9.0}), "cpu"), "torch": (Fake({16: 2.0, 256: 3.0}), "gpu")}
    monkeypatch.setattr(limits, "_start", lambda folder, stack: sides.items())
    found = limits.measure()
    assert found.flops["float32"] == Rate(2.0, 16, "torch")
    assert found.bandwidth == (Rate(3.0, 256, "torch"),)


def test_measuring_takes_the_best_side_and_leaves_out_the_one_that_fails(monkeypatch):
    monkeypatch.setattr(limits, "PAUSE_S", 0)
    monkeypatch.setattr(limits, "MATRICES", {"cpu": (4, 8)})
    monkeypatch.setattr(limits, "WORKING_SETS", {"cpu": (64, 128)})
    sides = {"jax": (Fake({4: 1.0, 8: 5.0, 64: 7.0}), "cpu"), "torch": (Fake({4: 2.0, 8: 3.0, 64: None}), "cpu")}
    monkeypatch.setattr(limits, "_start", lambda folder, stack: sides.items())
    found = limits.measure()
    assert found.flops == {"float32": Rate(5.0, 8, "jax"), "bfloat16": Rate(5.0, 8, "jax")}
    assert found.bandwidth == (Rate(7.0, 64, "jax"),)
    monkeypatch.setattr(limits, "_start", lambda folder, stack: [])
    with pytest.raises(WorkerError, match="none of jax, torch, numpy could run"):
        limits.measure()


def test_measuring_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(limits, "SIDES", ("numpy", "no_such_package"))
    monkeypatch.setattr(limits, "MATRICES", {"cpu": (32,)})
    monkeypatch.setattr(limits, "WORKING_SETS", {"cpu": (1024,)})
    found = limits.measure(0.001)
    assert {dtype: (rate.size, rate.by) for dtype, rate in found.flops.items()} == {"float32": (32, "numpy")}
    assert [(rate.size, rate.by) for rate in found.bandwidth] == [(1024, "numpy")]
    assert found.bandwidth[0].value > 0
