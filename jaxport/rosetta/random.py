"""Rows: random numbers."""

from functools import partial

from .row import Row

R = partial(Row, topic="random")
INT = "int64 → int32"
KEY = "A key says what is drawn: the same key, the same numbers. jax.random.split makes new ones."

ROWS = (
    R(
        "rand",
        "torch.rand(5, 3)",
        "jax.random.uniform(jax.random.key(0), (5, 3))",
        "notes, quick start, 20-day 4-1, basics 3, basics 4, 20-day 2-1, 20-day 5-3, 20-day 3-1",
        "Each side draws numbers of its own. " + KEY,
        drawn=True,
    ),
    R(
        "randn",
        "torch.randn(3, 4)",
        "jax.random.normal(jax.random.key(0), (3, 4))",
        "practice 1, notes, 20-day 2-3, quick start",
        drawn=True,
    ),
    R("rand-list", "torch.rand([5])", "jax.random.uniform(jax.random.key(0), (5,))", "20-day 4-1", drawn=True),
    R(
        "rand-like",
        "torch.rand_like(n, dtype=torch.float)",
        "jax.random.uniform(jax.random.key(0), n.shape, jnp.float32)",
        "quick start",
        drawn=True,
    ),
    R(
        "randn-like",
        "torch.randn_like(x)",
        "jax.random.normal(jax.random.key(0), x.shape, x.dtype)",
        "notes, 20-day 3-1",
        drawn=True,
    ),
    R(
        "normal-tensors",
        "torch.normal(mean=torch.zeros(3, 4), std=torch.ones(3, 4))",
        "jnp.zeros((3, 4)) + jnp.ones((3, 4)) * jax.random.normal(jax.random.key(0), (3, 4))",
        "20-day 4-1, basics 5",
        drawn=True,
    ),
    R(
        "normal-tensor-number",
        "torch.normal(4 * torch.ones(5, 2), 2)",
        "4 * jnp.ones((5, 2)) + 2 * jax.random.normal(jax.random.key(0), (5, 2))",
        "basics 5, basics 6",
        "Mean and standard deviation.",
        drawn=True,
    ),
    R(
        "normal-size",
        "torch.normal(0.0, 1.0, size=[5, 1])",
        "jax.random.normal(jax.random.key(0), (5, 1))",
        "20-day 5-3, 20-day 3-1",
        drawn=True,
    ),
    R(
        "randn-scaled",
        "5 * torch.randn((3, 2)) + 2",
        "5 * jax.random.normal(jax.random.key(0), (3, 2)) + 2",
        "20-day 4-1",
        drawn=True,
    ),
    R(
        "randint",
        "torch.randint(60, size=(1,))",
        "jax.random.randint(jax.random.key(0), (1,), 0, 60)",
        "quick start",
        "JAX takes both bounds; the upper is left out on both sides.",
        dtypes=INT,
        drawn=True,
    ),
    R(
        "randperm",
        "torch.randperm(20)",
        "jax.random.permutation(jax.random.key(0), 20)",
        "20-day 4-1",
        dtypes=INT,
        drawn=True,
    ),
    R(
        "randperm-sorted",
        "torch.randperm(20).sort().values",
        "jnp.sort(jax.random.permutation(jax.random.key(0), 20))",
        "20-day 4-1",
        "Each number once.",
        dtypes=INT,
    ),
    R(
        "same-seed",
        "torch.manual_seed(0)\nfirst = torch.rand(4)\ntorch.manual_seed(0)\ntorch.equal(first, torch.rand(4))",
        "first = jax.random.uniform(jax.random.key(0), (4,))\n"
        "jnp.array_equal(first, jax.random.uniform(jax.random.key(0), (4,)))",
        "20-day 4-1, practice 3",
        "The seed again, the numbers again; no global state in JAX.",
        dtypes="Python bool → bool",
    ),
    R(
        "next-draw",
        "torch.manual_seed(0)\ntorch.equal(torch.rand(4), torch.rand(4))",
        "jnp.array_equal(jax.random.uniform(jax.random.key(0), (4,)), jax.random.uniform(jax.random.key(0), (4,)))",
        "20-day 4-1",
        "PyTorch's second draw differs. One key used twice gives one draw twice: the usual mistake.",
        torch_is="False",
        jax_is="jnp.array(True)",
    ),
    R(
        "split-key",
        "torch.manual_seed(0)\ntorch.equal(torch.rand(4), torch.rand(4))",
        "first, second = jax.random.split(jax.random.key(0))\n"
        "jnp.array_equal(jax.random.uniform(first, (4,)), jax.random.uniform(second, (4,)))",
        "20-day 4-1",
        "One key for each draw.",
        dtypes="Python bool → bool",
    ),
    R(
        "rand-same-numbers",
        "torch.manual_seed(0)\ntorch.rand(5)",
        "jnp.asarray(Generator(0).rand(5))",
        "20-day 4-1, practice 3",
        "`jaxport.random.Generator`: PyTorch's own numbers, in NumPy.",
        x64=False,
    ),
    R(
        "randn-same-numbers",
        "torch.manual_seed(2019)\ntorch.randn(3, 4)",
        "jnp.asarray(Generator(2019).randn(3, 4))",
        "practice 3, 20-day 4-1",
        "To the last bit, where PyTorch uses AVX2; under jit they are constants.",
        x64=False,
    ),
    R(
        "normal-same-numbers",
        "torch.manual_seed(7)\ntorch.normal(0.0, 2.0, size=[5, 3])",
        "jnp.asarray(Generator(7).normal(0.0, 2.0, (5, 3)))",
        "20-day 3-1",
        x64=False,
    ),
    R(
        "randperm-same-numbers",
        "torch.manual_seed(0)\ntorch.randperm(20)",
        "Generator(0).randperm(20)",
        "20-day 4-1",
        "NumPy's int64.",
    ),
    R(
        "randint-same-numbers",
        "torch.manual_seed(3)\ntorch.randint(0, 60, (4,))",
        "Generator(3).randint(0, 60, (4,))",
        "quick start",
    ),
    R(
        "two-draws-same-numbers",
        "torch.manual_seed(0)\n(torch.rand(3), torch.randn(2))",
        "generator = Generator(0)\n(generator.rand(3), generator.randn(2))",
        "20-day 4-1",
        "One generator goes on from draw to draw, as PyTorch's global one.",
        x64=False,
    ),
    R(
        "layer-same-numbers",
        "torch.manual_seed(42)\nnn.Linear(3, 4).weight",
        "nn.Linear(3, 4, rngs=torch_rngs(42)).weight",
        "20-day 5-2",
        "Initial weights of a seed: `torch_rngs` where nnx.Rngs stands otherwise.",
        x64=False,
    ),
    R(
        "kaiming-uniform",
        "weight = torch.empty(4, 3)\ntorch.manual_seed(1)\nnn.init.kaiming_uniform_(weight, a=math.sqrt(5))\nweight",
        "weight = nn.Parameter(jnp.empty((4, 3)))\n"
        "nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=Generator(1))\nweight",
        "20-day 5-2",
        "Fills the parameter. With a JAX key in place of the Generator: JAX's numbers.",
        x64=False,
    ),
    R(
        "init-uniform",
        "bias = torch.empty(4)\ntorch.manual_seed(1)\nnn.init.uniform_(bias, -0.5, 0.5)\nbias",
        "bias = nn.Parameter(jnp.empty(4))\nnn.init.uniform_(bias, -0.5, 0.5, generator=Generator(1))\nbias",
        "20-day 5-2",
        x64=False,
    ),
    R(
        "fan-in",
        "nn.init._calculate_fan_in_and_fan_out(torch.empty(4, 3))",
        "nn.init.fan_in_and_fan_out((4, 3))",
        "20-day 5-2",
        "Inputs and outputs of a weight.",
    ),
)
