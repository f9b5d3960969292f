"""Rows: the graph, and what it lets through."""

from functools import partial

from .row import Row

R = partial(Row, topic="autograd_graph")

ROWS = (
    R(
        "requires-grad-spreads",
        "x.requires_grad_()\n(x + y).requires_grad",
        "True",
        "basics 2, notes",
        "No counterpart: JAX traces a function while it differentiates it.",
    ),
    R(
        "grad-fn",
        "type((x.requires_grad_() + 2).grad_fn).__name__",
        "str(jax.make_jaxpr(lambda x: x + 2)(x).eqns[0].primitive)",
        "practice 1, basics 2, notes, 20-day 2-3",
        "What stands nearest: the program that JAX traced, `jax.make_jaxpr`.",
        torch_is="'AddBackward0'",
        jax_is="'add'",
    ),
    R(
        "is-leaf",
        "x.requires_grad_()\n((x * 2).is_leaf, x.is_leaf)",
        "(False, True)",
        "20-day 2-3",
        "No counterpart: the arguments of the function are the leaves.",
    ),
    R(
        "grad-of-intermediate",
        "x.requires_grad_()\nz = 4 * x\nz.norm().backward()\nz.grad",
        "None",
        "basics 2, 20-day 2-3",
        "Not kept in PyTorch (it warns); in JAX: the next row.",
    ),
    R(
        "retain-grad",
        "x.requires_grad_()\nz = 4 * x\nz.retain_grad()\n(z ** 2).sum().backward()\nz.grad",
        "z = 4 * x\njax.grad(lambda z: (z ** 2).sum())(z)",
        "20-day 2-3",
        "Differentiate the rest of the function, or add a zero to z and differentiate by that.",
    ),
    R(
        "register-hook",
        "seen = []\nx.requires_grad_()\nz = 4 * x\nz.register_hook(lambda grad: seen.append(grad.clone()))\n"
        "(z ** 2).sum().backward()\nseen[0]",
        "jax.grad(lambda probe: ((4 * x + probe) ** 2).sum())(jnp.zeros_like(x))",
        "20-day 2-3",
        "The gradient by a zero that is added there.",
    ),
    R(
        "hook-changes",
        "x.requires_grad_()\nx.register_hook(lambda grad: 10 * grad)\n(x ** 2).sum().backward()\nx.grad",
        "10 * jax.grad(lambda x: (x ** 2).sum())(x)",
        "20-day 2-3",
    ),
    R(
        "backward-twice",
        "x.requires_grad_()\nloss = (x ** 2).sum()\nloss.backward()\nloss.backward()",
        "loss, pull = jax.vjp(lambda x: (x ** 2).sum(), x)\npull(1.0)\npull(1.0)[0]",
        "20-day 2-3",
        "PyTorch frees the graph after the first time; JAX's pull-back can be called again.",
        torch_raises="RuntimeError",
        jax_is="2 * x",
    ),
    R(
        "retain-graph",
        "x.requires_grad_()\nloss = (x ** 2).sum()\nloss.backward(retain_graph=True)\nloss.backward()\nx.grad",
        "loss, pull = jax.vjp(lambda x: (x ** 2).sum(), x)\npull(1.0)[0] + pull(1.0)[0]",
        "20-day 2-3, 20-day 2-2",
    ),
    R(
        "no-grad",
        "x.requires_grad_()\nwith torch.no_grad():\n    z = x * 2\nz.requires_grad",
        "False",
        "notes, quick start, 20-day 3-1",
        "No counterpart: without jax.grad nothing is recorded.",
    ),
    R(
        "no-grad-part",
        "x.requires_grad_()\nwith torch.no_grad():\n    z = x * 2\n(x * z).sum().backward()\nx.grad",
        "jax.grad(lambda x: (x * lax.stop_gradient(x * 2)).sum())(x)",
        "notes, 20-day 3-1",
        "Inside a function that is differentiated: lax.stop_gradient.",
    ),
    R(
        "detach",
        "x.requires_grad_()\n(x * (x ** 2).detach()).sum().backward()\nx.grad",
        "jax.grad(lambda x: (x * lax.stop_gradient(x ** 2)).sum())(x)",
        "notes",
    ),
    R(
        "detach-shares",
        "b = torch.zeros(2)\nb.detach()[0] = 3\nb",
        "b = jnp.zeros(2)\nlax.stop_gradient(b).at[0].set(3)\nb",
        "notes",
        "detach() is a view.",
        torch_is="torch.tensor([3.0, 0.0])",
        jax_is="jnp.zeros(2)",
    ),
    R(
        "tensor-data",
        "x.requires_grad_()\n(x * (x ** 2).data).sum().backward()\nx.grad",
        "jax.grad(lambda x: (x * lax.stop_gradient(x ** 2)).sum())(x)",
        "practice 1, practice 3, 20-day 2-2, 20-day 2-3",
        "As detach(), and changes to it are not noticed.",
    ),
    R(
        "requires-grad-in-place",
        "b = (x * 3) / (y - 5)\nb.requires_grad_(True)\n(b * b).sum().backward()\nb.grad",
        "b = (x * 3) / (y - 5)\njax.grad(lambda b: (b * b).sum())(b)",
        "notes, quick start",
    ),
    R(
        "leaf-in-place",
        "x.requires_grad_()\nx[0, 0] = 1\nx",
        "x.at[0, 0].set(1)",
        "20-day 4-1",
        "PyTorch refuses to change a leaf in place; in JAX nothing is.",
        torch_raises="RuntimeError",
        jax_is="jnp.concatenate([jnp.array([1, *x[0, 1:]]), x[1]]).reshape(2, 3)",
    ),
    R(
        "grad-through-write",
        "x.requires_grad_()\nb = x * 1\nb[0] = 0\n(b ** 2).sum().backward()\nx.grad",
        "jax.grad(lambda x: (x.at[0].set(0) ** 2).sum())(x)",
        "20-day 4-1",
        "What was overwritten has no gradient.",
    ),
    R(
        "int-grad",
        "n.requires_grad_()",
        "jax.grad(lambda n: (n ** 2).sum())(n)",
        "20-day 4-3",
        "Floats alone have gradients.",
        torch_raises="RuntimeError",
        jax_raises="TypeError",
    ),
    R(
        "unused-input",
        "x.requires_grad_()\ny.requires_grad_()\n(x ** 2).sum().backward()\ny.grad",
        "jax.grad(lambda x, y: (x ** 2).sum(), argnums=1)(x, y)",
        "20-day 2-3",
        "None in PyTorch, zeros in JAX.",
        torch_is="None",
        jax_is="jnp.zeros((2, 3))",
    ),
    R(
        "custom-function",
        "class MyReLU(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, input):\n"
        "        ctx.save_for_backward(input)\n        return input.clamp(min=0)\n\n    @staticmethod\n"
        "    def backward(ctx, grad_output):\n        input, = ctx.saved_tensors\n        grad = grad_output.clone()\n"
        "        grad[input < 0] = 0\n        return grad\n\nx.requires_grad_()\n"
        "(MyReLU.apply(x) ** 2).mean().backward()\nx.grad",
        "@jax.custom_vjp\ndef my_relu(x):\n    return jnp.clip(x, min=0)\n\n"
        "def forward(x):\n    return my_relu(x), x\n\n"
        "def backward(saved, grad):\n    return (jnp.where(saved < 0, 0, grad),)\n\n"
        "my_relu.defvjp(forward, backward)\njax.grad(lambda x: (my_relu(x) ** 2).mean())(x)",
        "20-day 2-3",
        "jax.custom_vjp: the function, what it keeps, and the way back.",
    ),
    R(
        "chain-rule",
        "x = torch.tensor(3.0, requires_grad=True)\ny1 = x + 1\ny2 = 2 * x\nloss = (y1 - y2) ** 2\n"
        "loss.backward()\nx.grad",
        "def loss(x):\n    y1, y2 = x + 1, 2 * x\n    return (y1 - y2) ** 2\n\njax.grad(loss)(3.0)",
        "20-day 2-3",
        "Contributions of both ways are added.",
    ),
    R(
        "linear-step",
        "w = torch.tensor([[3.0, 1.0, -2.0]], requires_grad=True)\nb = torch.tensor([[3.0]], requires_grad=True)\n"
        "guess = x @ w.t() + b\nloss = torch.mean(torch.pow(guess - y[:, :1], 2))\nloss.backward()\n(w.grad, b.grad)",
        "w, b = jnp.array([[3.0, 1.0, -2.0]]), jnp.array([[3.0]])\n"
        "loss = lambda w, b: jnp.mean(jnp.power(x @ w.T + b - y[:, :1], 2))\njax.grad(loss, argnums=(0, 1))(w, b)",
        "20-day 2-3",
    ),
)
