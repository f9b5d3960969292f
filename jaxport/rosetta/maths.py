"""Rows: element by element."""

from functools import partial

from .row import Row

R = partial(Row, topic="maths")
INT = "int64 → int32"

ROWS = (
    R("add", "x + y", "x + y", "practice 1, notes, 20-day 4-2"),
    R("add-function", "torch.add(x, y)", "jnp.add(x, y)", "practice 1, notes"),
    R("add-alpha", "torch.add(x, y, alpha=3)", "x + 3 * y", "practice 1", "jnp.add has no alpha."),
    R("subtract", "x - y", "x - y", "20-day 4-2"),
    R("multiply", "x * y", "x * y", "20-day 4-2, quick start", "Element by element; `@` multiplies matrices."),
    R("mul-method", "x.mul(x)", "jnp.multiply(x, x)", "quick start"),
    R("divide", "x / y", "x / y", "20-day 4-2"),
    R("divide-by-zero", "x / torch.zeros(3)", "x / jnp.zeros(3)", "20-day 4-2",
      "Infinite on both sides, without a warning; `jax.config.update('jax_debug_nans', True)` finds NaN."),
    R("power", "x ** 2", "x ** 2", "20-day 4-2, practice 3, notes"),
    R("pow-method", "x.pow(3)", "x ** 3", "basics 3, basics 4"),
    R("pow-function", "torch.pow(x, 2)", "jnp.power(x, 2)", "20-day 2-2, 20-day 5-3"),
    R("root-of-negative", "x ** 0.5", "x ** 0.5", "20-day 4-2", "NaN on both sides."),
    R("power-of-ints", "n ** 2", "n ** 2", "20-day 4-2", dtypes=INT),
    R("power-negative-int", "torch.tensor([2, 3]) ** -1", "jnp.array([2, 3]) ** -1", "20-day 4-2",
      "Integers to a negative power: an error on both sides.",
      torch_raises="RuntimeError", jax_raises="TypeError"),
    R("modulo", "x % 3", "x % 3", "20-day 4-2", "The divisor's sign on both sides, as in Python."),
    R("floor-divide", "x // 3", "x // 3", "20-day 4-2", "Downwards on both sides."),
    R("floor-divide-ints", "n // k", "n // k", "20-day 4-2", "-8 // 3 is -3 on both sides.", dtypes=INT),
    R("modulo-ints", "n % k", "n % k", "20-day 4-2", "The divisor's sign.", dtypes=INT),
    R("modulo-int-zero", "n % torch.tensor([0, 1, 2])", "n % jnp.array([0, 1, 2])", "20-day 4-2",
      "An integer divided by 0: an error in PyTorch on the CPU; in JAX `n % 0` is 0.",
      torch_raises="RuntimeError", jax_is="jnp.concatenate([0 * n[:, :1], n[:, 1:] % jnp.array([1, 2])], axis=1)"),
    R("fmod", "torch.fmod(x, 2)", "jnp.fmod(x, 2)", "20-day 4-2", "The dividend's sign on both sides."),
    R("remainder", "torch.remainder(x, 2)", "jnp.remainder(x, 2)", "20-day 4-2", "The divisor's sign."),
    R("sqrt", "torch.sqrt(x)", "jnp.sqrt(x)", "20-day 4-2", "NaN of negative numbers."),
    R("exp", "torch.exp(x)", "jnp.exp(x)", "20-day 4-2"),
    R("log", "torch.log(y)", "jnp.log(y)", "20-day 5-3"),
    R("sin", "torch.sin(x)", "jnp.sin(x)", "20-day 5-3, 20-day 3-1"),
    R("cos", "torch.cos(x)", "jnp.cos(x)", "20-day 5-3, 20-day 3-1"),
    R("abs", "torch.abs(x)", "jnp.abs(x)", "20-day 5-3"),
    R("sigmoid", "torch.sigmoid(x)", "F.sigmoid(x)", "basics 5", "jax.nn.sigmoid is the same."),
    R("round", "torch.round(torch.tensor([2.6, -2.7, 0.5, 1.5, 2.5]))",
      "jnp.round(jnp.array([2.6, -2.7, 0.5, 1.5, 2.5]))", "20-day 4-2", "Halves go to the even number on both sides."),
    R("floor", "torch.floor(x)", "jnp.floor(x)", "20-day 4-2, 20-day 4-1"),
    R("ceil", "torch.ceil(x)", "jnp.ceil(x)", "20-day 4-2"),
    R("trunc", "torch.trunc(x)", "jnp.trunc(x)", "20-day 4-2", "Towards zero."),
    R("clamp", "torch.clamp(x, min=-1, max=1)", "jnp.clip(x, min=-1, max=1)", "20-day 4-2",
      "The gradient at a bound differs: see Gradients at kinks."),
    R("clamp-max", "torch.clamp(x, max=1)", "jnp.clip(x, max=1)", "20-day 4-2"),
    R("clamp-min", "x.clamp(min=0)", "jnp.clip(x, min=0)", "20-day 2-3"),
    R("clamp-nan", "torch.clamp(holes, min=-1, max=1)", "jnp.clip(holes, min=-1, max=1)", "20-day 4-2", "NaN stays NaN."),
    R("negative-zero", "torch.trunc(torch.tensor([-0.5])).tolist()", "jnp.trunc(jnp.array([-0.5])).tolist()", "20-day 4-2",
      "-0.0 on both sides.", jit=False),
    R("sum-of-three", "x + y + v", "x + y + v", "20-day 4-2"),
    R("int-array-by-float", "(torch.tensor([1, 2]) * 1.5)", "(jnp.array([1, 2]) * 1.5)", "20-day 4-2"),
)
