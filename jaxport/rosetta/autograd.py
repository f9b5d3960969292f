"""Rows: gradients."""

from functools import partial

from .row import Row

R = partial(Row, topic="autograd")

ROWS = (
    R(
        "backward",
        "x.requires_grad_()\ny = (x ** 2).sum()\ny.backward()\nx.grad",
        "jax.grad(lambda x: (x ** 2).sum())(x)",
        "practice 1, basics 2, notes, quick start",
        "JAX differentiates functions, not tensors; the gradient is returned and stored nowhere.",
    ),
    R(
        "Variable",
        "w = Variable(torch.tensor([0.5, 2.0]), requires_grad=True)\n(w ** 3).sum().backward()\nw.grad",
        "w = jnp.array([0.5, 2.0])\njax.grad(lambda w: (w ** 3).sum())(w)",
        "practice 1, practice 3",
        "Variable is a tensor today. In JAX any argument can be differentiated.",
    ),
    R(
        "requires-grad-default",
        "torch.ones(2).requires_grad",
        "hasattr(jnp.ones(2), 'requires_grad')",
        "basics 2, notes",
        "False; JAX's arrays have no such flag.",
    ),
    R(
        "requires-grad-set",
        "x.requires_grad = True\n(4 * x).norm().backward()\nx.grad",
        "jax.grad(lambda x: jnp.linalg.norm(4 * x))(x)",
        "basics 2",
        "At zero the two differ: see Gradients at kinks.",
    ),
    R(
        "value-and-grad",
        "x.requires_grad_()\nloss = x.pow(2).mean()\nloss.backward()\n(loss, x.grad)",
        "jax.value_and_grad(lambda x: (x ** 2).mean())(x)",
        "practice 3, quick start",
        "Both at once.",
    ),
    R(
        "grad-of-several",
        "w = v.clone().requires_grad_()\nb = torch.tensor(0.2, requires_grad=True)\n"
        "loss = ((x @ w + b) ** 2).mean()\nloss.backward()\n(w.grad, b.grad)",
        "jax.grad(lambda w, b: ((x @ w + b) ** 2).mean(), argnums=(0, 1))(v, jnp.array(0.2))",
        "practice 3, 20-day 3-1, quick start",
        "argnums says which; or one dictionary of parameters as one argument.",
    ),
    R(
        "grad-of-dict",
        "w = v.clone().requires_grad_()\nb = torch.tensor(0.2, requires_grad=True)\n"
        "((x @ w + b) ** 2).mean().backward()\n{'b': b.grad, 'w': w.grad}",
        "jax.grad(lambda p: ((x @ p['w'] + p['b']) ** 2).mean())({'w': v, 'b': jnp.array(0.2)})",
        "20-day 3-1",
        "Any nest of dictionaries, tuples and modules (a pytree).",
    ),
    R(
        "backward-of-many",
        "x.requires_grad_()\n(x ** 2).backward()",
        "jax.grad(lambda x: x ** 2)(x)",
        "20-day 2-2, notes",
        "A scalar is wanted on both sides.",
        torch_raises="RuntimeError",
        jax_raises="TypeError",
    ),
    R(
        "backward-gradient",
        "x.requires_grad_()\nout = x ** 2 - 2 * x\nout.backward(gradient=y)\nx.grad",
        "out, pull = jax.vjp(lambda x: x ** 2 - 2 * x, x)\npull(y)[0]",
        "20-day 2-2, notes",
        "A weight for each output: the vector-Jacobian product.",
    ),
    R(
        "backward-weighted-sum",
        "x.requires_grad_()\nz = torch.sum((x ** 2 - 2 * x) * y)\nz.backward()\nx.grad",
        "jax.grad(lambda x: jnp.sum((x ** 2 - 2 * x) * y))(x)",
        "20-day 2-2",
        "The same as the row above.",
    ),
    R(
        "autograd-grad",
        "x.requires_grad_()\ntorch.autograd.grad(torch.pow(x, 3).sum(), x)[0]",
        "jax.grad(lambda x: jnp.power(x, 3).sum())(x)",
        "20-day 2-2",
        "Stores nothing in x.grad.",
    ),
    R(
        "second-derivative",
        "s.requires_grad_()\nf = 3 * torch.pow(s, 3) - 2 * s\n"
        "first = torch.autograd.grad(f, s, create_graph=True)[0]\n(first, torch.autograd.grad(first, s)[0])",
        "f = jax.grad(lambda s: 3 * jnp.power(s, 3) - 2 * s)\n(f(s), jax.grad(f)(s))",
        "20-day 2-2",
        "The gradient of a gradient; no create_graph.",
    ),
    R(
        "grad-two-inputs",
        "x1 = torch.tensor(1.5, requires_grad=True)\nx2 = torch.tensor(2.5, requires_grad=True)\n"
        "torch.autograd.grad(outputs=x1 * x2, inputs=[x1, x2], retain_graph=True)",
        "jax.grad(lambda x1, x2: x1 * x2, argnums=(0, 1))(1.5, 2.5)",
        "20-day 2-2",
    ),
    R(
        "grad-two-outputs",
        "x1 = torch.tensor(1.5, requires_grad=True)\nx2 = torch.tensor(2.5, requires_grad=True)\n"
        "torch.autograd.grad(outputs=[x1 * x2, x1 + x2], inputs=[x1, x2])",
        "jax.grad(lambda x1, x2: x1 * x2 + (x1 + x2), argnums=(0, 1))(1.5, 2.5)",
        "20-day 2-2",
        "Gradients of several outputs are summed: sum the outputs.",
    ),
    R(
        "jacobian",
        "torch.autograd.functional.jacobian(lambda v: v ** 2 * v.sum(), v)",
        "jax.jacobian(lambda v: v ** 2 * v.sum())(v)",
        "20-day 2-2",
        "Rows of outputs. jax.jacrev and jax.jacfwd choose the direction.",
    ),
    R(
        "grad-accumulates",
        "x.requires_grad_()\n(x ** 2).sum().backward()\n(x ** 2).sum().backward()\nx.grad",
        "grad = jax.grad(lambda x: (x ** 2).sum())\ngrad(x) + grad(x)",
        "basics 3, quick start, 20-day 2-3, notes",
        "PyTorch adds to x.grad; in JAX nothing adds up unless you add.",
    ),
    R(
        "grad-not-cleared",
        "x.requires_grad_()\n(x ** 2).sum().backward()\n(x ** 2).sum().backward()\nx.grad",
        "grad = jax.grad(lambda x: (x ** 2).sum())\ngrad(x)\ngrad(x)",
        "basics 3, quick start",
        "The mistake that zero_grad prevents cannot be made.",
        torch_is="4 * x",
        jax_is="2 * x",
    ),
    R(
        "grad-zero",
        "x.requires_grad_()\n(x ** 2).sum().backward()\nx.grad.zero_()\n(x ** 3).sum().backward()\nx.grad",
        "jax.grad(lambda x: (x ** 3).sum())(x)",
        "practice 3, basics 3, 20-day 3-1",
        "No counterpart is needed.",
    ),
    R(
        "grad-data-zero",
        "x.requires_grad_()\n(x ** 2).sum().backward()\nx.grad.data.zero_()\nx.grad",
        "jnp.zeros_like(x)",
        "practice 4",
    ),
    R("grad-before", "x.requires_grad_()\nx.grad", "None", "practice 3, basics 2", "None before the first backward."),
    R(
        "sgd-by-hand",
        "w = v.clone().requires_grad_()\nfor _ in range(3):\n    loss = ((x @ w - 1) ** 2).mean()\n"
        "    loss.backward()\n"
        "    w.data = w.data - 1e-2 * w.grad.data\n    w.grad.zero_()\nw",
        "loss = lambda w: ((x @ w - 1) ** 2).mean()\nw = v\nfor _ in range(3):\n"
        "    w = w - 1e-2 * jax.grad(loss)(w)\nw",
        "practice 3, practice 4, basics 3",
        "Under jit the loop is unrolled; see the next row for a long one.",
    ),
    R(
        "sgd-compiled-loop",
        "w = v.clone().requires_grad_()\nfor _ in range(20):\n    ((x @ w - 1) ** 2).mean().backward()\n"
        "    with torch.no_grad():\n        w -= 0.01 * w.grad\n        w.grad.zero_()\nw",
        "step = lambda _, w: w - 0.01 * jax.grad(lambda w: ((x @ w - 1) ** 2).mean())(w)\n"
        "lax.fori_loop(0, 20, step, v)",
        "20-day 3-1, practice 3",
        "One compiled loop.",
    ),
)
