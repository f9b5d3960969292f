"""Rows: optimisers and the loop."""

from functools import partial

from .row import Row

R = partial(Row, topic="training")
START = "w = v.clone().requires_grad_()\n"
LOSS = "loss = lambda w: ((x @ w - 1) ** 2).mean()\n"


def _steps(torch: str, jax: str = "") -> tuple[str, str]:
    """Return three steps of an optimiser on a small loss: `torch` makes it, `jax` its counterpart."""
    return (
        f"{START}optimizer = {torch}\nfor _ in range(3):\n    optimizer.zero_grad()\n"
        "    loss = ((x @ w - 1) ** 2).mean()\n    loss.backward()\n    optimizer.step()\nw",
        f"{LOSS}optimizer = {jax or torch.replace('[w], ', '')}\nw, state = v, optimizer.init(v)\nfor _ in range(3):\n"
        "    updates, state = optimizer.update(jax.grad(loss)(w), state, w)\n"
        "    w = optax.apply_updates(w, updates)\nw",
    )


ROWS = (
    R(
        "optim-SGD",
        *_steps("optim.SGD([w], lr=0.01)"),
        "basics 3, basics 4, notes, quick start, 20-day 2-2, basics 5, basics 6",
        "No zero_grad: gradients are returned. The state is passed on by hand.",
    ),
    R("SGD-momentum", *_steps("optim.SGD([w], lr=0.01, momentum=0.9)"), "20-day 5-3"),
    R("SGD-nesterov", *_steps("optim.SGD([w], lr=0.01, momentum=0.9, nesterov=True)"), "notes"),
    R("SGD-weight-decay", *_steps("optim.SGD([w], lr=0.01, weight_decay=0.1)"), "20-day 5-3"),
    R("optim-Adam", *_steps("optim.Adam([w], lr=0.01)"), "notes, 20-day 5-3, 20-day 6-2"),
    R(
        "Adam-optax",
        *_steps("optim.Adam([w], lr=0.01)", "optax.adam(0.01)"),
        "20-day 5-3",
        "The same formula as optax's; [optim.md](optim.md) has the others.",
    ),
    R(
        "optim-Adagrad",
        *_steps("optim.Adagrad([w], lr=0.01)"),
        "20-day 1-3, 20-day 1-4",
        "optax.adagrad starts from another sum.",
    ),
    R("optim-RMSprop", *_steps("optim.RMSprop([w], lr=0.01)"), "notes"),
    R(
        "parameter-groups",
        "w, b = v.clone().requires_grad_(), torch.tensor([0.5], requires_grad=True)\n"
        "optimizer = optim.SGD([{'params': [w], 'weight_decay': 0.1}, {'params': [b], 'weight_decay': 0}], lr=0.01)\n"
        "((x @ w + b) ** 2).mean().backward()\noptimizer.step()\n(b, w)",
        "params = {'w': v, 'b': jnp.array([0.5])}\n"
        "optimizer = optim.groups([{'params': 'w', 'weight_decay': 0.1}, {'params': 'b'}], partial(optim.SGD, "
        "lr=0.01))\n"
        "grads = jax.grad(lambda p: ((x @ p['w'] + p['b']) ** 2).mean())(params)\n"
        "updates, _ = optimizer.update(grads, optimizer.init(params), params)\n"
        "params = optax.apply_updates(params, updates)\n(params['b'], params['w'])",
        "20-day 5-3",
        "Groups are chosen by name.",
    ),
    R(
        "minimise",
        "w = torch.tensor(0.0, requires_grad=True)\noptimizer = torch.optim.SGD(params=[w], lr=0.01)\n"
        "for i in range(50):\n"
        "    optimizer.zero_grad()\n    f = torch.pow(w, 2) - 2 * w + 1\n    f.backward()\n    optimizer.step()\n"
        "w.data",
        "f = lambda w: jnp.power(w, 2) - 2 * w + 1\noptimizer = optim.SGD(lr=0.01)\n\ndef step(carry, _):\n"
        "    w, state = carry\n    updates, state = optimizer.update(jax.grad(f)(w), state, w)\n"
        "    return (optax.apply_updates(w, updates), state), None\n\nw = jnp.array(0.0)\n"
        "lax.scan(step, (w, optimizer.init(w)), None, length=50)[0][0]",
        "20-day 2-2",
        "lax.scan: one compiled loop.",
    ),
    R(
        "train-step",
        "torch.manual_seed(0)\nnet = nn.Linear(4, 3)\noptimizer = optim.SGD(net.parameters(), lr=0.1)\n"
        "loss_fn = nn.CrossEntropyLoss()\nnet.train()\nfor _ in range(3):\n"
        "    loss = loss_fn(net(batch), batch_labels)\n"
        "    loss.backward()\n    optimizer.step()\n    optimizer.zero_grad()\n(loss, net.weight)",
        "net = nn.Linear(4, 3, rngs=torch_rngs(0))\ngraph, params, rest = nnx.split(net, nn.trainable, ...)\n"
        "optimizer, loss_fn = optim.SGD(lr=0.1), nn.CrossEntropyLoss()\nstate = optimizer.init(params)\n\n"
        "@jax.jit\ndef step(params, state):\n"
        "    forward = lambda params: loss_fn(nnx.merge(graph, params, rest, copy=True)(batch), batch_labels)\n"
        "    loss, grads = jax.value_and_grad(forward)(params)\n"
        "    updates, state = optimizer.update(grads, state, params)\n"
        "    return optax.apply_updates(params, updates), state, loss\n\n"
        "for _ in range(3):\n    params, state, loss = step(params, state)\n"
        "(loss, nnx.merge(graph, params, rest).weight[...])",
        "basics 3, notes, quick start, practice 4, 20-day 6-2",
        "The step is a pure function under jax.jit: parameters and state in, parameters and state out.",
        x64=False,
    ),
    R(
        "fit",
        "torch.manual_seed(0)\nnet = nn.Linear(4, 3)\noptimizer = optim.SGD(net.parameters(), lr=0.1)\n"
        "for epoch in range(2):\n"
        "    for features, labels in DataLoader(TensorDataset(batch, batch_labels), batch_size=4):\n"
        "        optimizer.zero_grad()\n        nn.CrossEntropyLoss()(net(features), labels).backward()\n"
        "        optimizer.step()\nnet.weight",
        "net = nn.Linear(4, 3, rngs=torch_rngs(0))\n"
        "engine.fit(\n    net, (batch, batch_labels), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.1), "
        "epochs=2,\n"
        "    batch_size=4, shuffle=False,\n)\nnet.weight[...]",
        "20-day 6-2, quick start, 20-day 4-3",
        "The loop that jaxport ships; it compiles what it needs. `jaxport.Model` is Keras' form of it.",
        x64=False,
        jit=False,
    ),
    R(
        "evaluate-loop",
        "torch.manual_seed(0)\nnet = nn.Linear(4, 3)\nnet.eval()\nwith torch.no_grad():\n    prediction = net(batch)\n"
        "(prediction.argmax(1) == batch_labels).type(torch.float).sum() / len(batch)",
        "net = nn.Linear(4, 3, rngs=torch_rngs(0)).eval()\nprediction = net(batch)\n"
        "(prediction.argmax(1) == batch_labels).astype(jnp.float32).sum() / len(batch)",
        "quick start, 20-day 6-2",
        x64=False,
    ),
    R(
        "accumulate",
        START + "optimizer = optim.SGD([w], lr=0.1)\nfor part in (x[:1], x[1:]):\n"
        "    (((part @ w - 1) ** 2).mean() / 2).backward()\noptimizer.step()\nw",
        "loss = lambda w, part: ((part @ w - 1) ** 2).mean() / 2\noptimizer = optim.SGD(lr=0.1)\n"
        "grads = jax.grad(loss)(v, x[:1]) + jax.grad(loss)(v, x[1:])\n"
        "updates, _ = optimizer.update(grads, optimizer.init(v), v)\noptax.apply_updates(v, updates)",
        "quick start",
        "Add gradients yourself, or `optim.accumulate`.",
    ),
    R(
        "loss-item",
        "nn.MSELoss()(x, y).item()",
        "float(nn.MSELoss()(x, y))",
        "practice 3, basics 3, quick start",
        "Waits for the device: fetch it now and then, not at each step.",
        jit=False,
    ),
    R(
        "rate-change",
        START + "optimizer = optim.SGD([w], lr=0.1)\noptimizer.param_groups[0]['lr'] = 0.02\n"
        "((x @ w - 1) ** 2).mean().backward()\noptimizer.step()\nw",
        LOSS + "optimizer = optim.SGD(lr=0.1)\nstate = optim.set_lr(optimizer.init(v), 0.02)\n"
        "updates, _ = optimizer.update(jax.grad(loss)(v), state, v)\noptax.apply_updates(v, updates)",
        "20-day 6-2",
        "The rate stands in the state, so nothing is compiled again.",
    ),
)
