"""Rows: modules, parameters, children."""

from functools import partial

from .row import Row

R = partial(Row, topic="modules", x64=False)

TORCH_NET = "torch.manual_seed(0)\nnet = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))\n"
JAX_NET = (
    "rngs = torch_rngs(0)\nnet = nn.Sequential(nn.Linear(3, 5, rngs=rngs), nn.ReLU(), nn.Linear(5, 2, rngs=rngs))\n"
)


def _net(torch: str, jax: str = "") -> tuple[str, str]:
    """Return both sides' lines on one small network."""
    return TORCH_NET + torch, JAX_NET + (jax or torch)


ROWS = (
    R(
        "Parameter",
        "w = nn.Parameter(torch.tensor([0.5, 2.0]))\n(w, w.requires_grad)",
        "w = nn.Parameter(jnp.array([0.5, 2.0]))\n(w, w.requires_grad)",
        "20-day 4-3, 20-day 2-3",
        "`w[...]` is its array.",
    ),
    R(
        "ParameterList",
        "items = nn.ParameterList([nn.Parameter(torch.ones(8, i)) for i in range(1, 3)])\n[p.shape for p in items]",
        "items = nn.ParameterList([nn.Parameter(jnp.ones((8, i))) for i in range(1, 3)])\n[p.shape for p in items]",
        "20-day 4-3",
    ),
    R(
        "ParameterDict",
        "items = nn.ParameterDict({'a': nn.Parameter(torch.ones(2, 3)), 'b': nn.Parameter(torch.zeros(2))})\n"
        "(items['a'], list(items.keys()))",
        "items = nn.ParameterDict({'a': nn.Parameter(jnp.ones((2, 3))), 'b': nn.Parameter(jnp.zeros(2))})\n"
        "(items['a'], list(items.keys()))",
        "20-day 4-3",
    ),
    R(
        "Module-by-hand",
        "module = nn.Module()\nmodule.w = nn.Parameter(torch.ones(2))\n"
        "module.items = nn.ParameterDict({'a': nn.Parameter(torch.zeros(3))})\n[p.shape for p in module.parameters()]",
        "module = nn.Module()\nmodule.w = nn.Parameter(jnp.ones(2))\n"
        "module.items = nn.ParameterDict({'a': nn.Parameter(jnp.zeros(3))})\n[p.shape for p in module.parameters()]",
        "20-day 4-3, basics 5, 20-day 5-3",
    ),
    R(
        "Module-class",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.hidden = nn.Linear(3, 4)\n        self.out = nn.Linear(4, 2)\n\n    def forward(self, x):\n"
        "        return self.out(F.relu(self.hidden(x)))\n\ntorch.manual_seed(0)\nnet = Net()\nnet(x)",
        "class Net(nn.Module):\n    def __init__(self, rngs):\n        self.hidden = nn.Linear(3, 4, rngs=rngs)\n"
        "        self.out = nn.Linear(4, 2, rngs=rngs)\n\n    def forward(self, x):\n"
        "        return self.out(F.relu(self.hidden(x)))\n\nnet = Net(torch_rngs(0))\nnet(x)",
        "basics 3, basics 4, notes, quick start, 20-day 4-3, 20-day 2-3, 20-day 6-1, basics 5, 20-day 5-3",
        "Layers with random weights take `rngs`; no super().__init__().",
    ),
    R(
        "own-linear",
        "class Own(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(4, 3))\n        self.register_parameter('bias', None)\n\n"
        "    def forward(self, x):\n        return F.linear(x, self.weight, self.bias)\n\nOwn()(x)",
        "class Own(nn.Module):\n    def __init__(self):\n        self.weight = nn.Parameter(jnp.ones((4, 3)))\n"
        "        self.register_parameter('bias', None)\n\n    def forward(self, x):\n"
        "        return F.linear(x, self.weight[...], self.bias)\n\nOwn()(x)",
        "20-day 4-3, 20-day 5-2",
    ),
    R("Sequential", *_net("net(x)"), "practice 4, quick start, 20-day 6-1"),
    R(
        "Sequential-add-module",
        "torch.manual_seed(0)\nnet = nn.Sequential()\nnet.add_module('linear', nn.Linear(3, 4))\n"
        "net.add_module('relu', nn.ReLU())\nnet(x)",
        "net = nn.Sequential()\nnet.add_module('linear', nn.Linear(3, 4, rngs=torch_rngs(0)))\n"
        "net.add_module('relu', nn.ReLU())\nnet(x)",
        "20-day 4-3, 20-day 6-1, 20-day 6-2",
    ),
    R(
        "ModuleList",
        "torch.manual_seed(0)\nlayers = nn.ModuleList([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)])\n"
        "for layer in layers:\n"
        "    x = layer(x)\nx".replace("x = layer(x)", "h = layer(h)")
        .replace("for layer", "h = batch[:, :3]\nfor layer")
        .replace("\nx", "\nh"),
        "rngs = torch_rngs(0)\nlayers = nn.ModuleList([nn.Linear(3, 4, rngs=rngs), nn.ReLU(), nn.Linear(4, 2, "
        "rngs=rngs)])\n"
        "h = batch[:, :3]\nfor layer in layers:\n    h = layer(h)\nh",
        "20-day 6-1, 20-day 6-2",
    ),
    R(
        "ModuleDict",
        "torch.manual_seed(0)\nlayers = nn.ModuleDict({'linear': nn.Linear(3, 4), 'relu': nn.ReLU()})\n"
        "layers['relu'](layers['linear'](x))",
        "layers = nn.ModuleDict({'linear': nn.Linear(3, 4, rngs=torch_rngs(0)), 'relu': nn.ReLU()})\n"
        "layers['relu'](layers['linear'](x))",
        "20-day 6-1",
    ),
    R(
        "parameters",
        *_net("[p.shape for p in net.parameters()]"),
        "notes, 20-day 4-3, practice 4",
        "In the same order.",
    ),
    R(
        "parameters-count",
        *_net("sum(p.numel() for p in net.parameters())", "sum(p.size for p in net.parameters())"),
        "notes, 20-day 4-3",
    ),
    R(
        "named-parameters",
        *_net("[(name, p.shape) for name, p in net.named_parameters()]"),
        "quick start, 20-day 5-3",
        "The same names and shapes: a state_dict fits either side.",
    ),
    R("named-parameters-values", *_net("[(name, p[:2]) for name, p in net.named_parameters()]"), "quick start"),
    R(
        "weight-shape",
        "nn.Linear(3, 4).weight.shape",
        "nn.Linear(3, 4, rngs=nnx.Rngs(0)).weight.shape",
        "quick start, 20-day 5-2",
        "(out, in), as in PyTorch; Flax's own Linear has kernel (in, out).",
    ),
    R("children", *_net("[type(child).__name__ for child in net.children()]"), "20-day 4-3"),
    R("named-children", *_net("[name for name, child in net.named_children()]"), "20-day 4-3"),
    R("modules-all", *_net("[type(module).__name__ for module in net.modules()]"), "20-day 4-3", "Itself first."),
    R("named-modules", *_net("[name for name, module in net.named_modules()]"), "20-day 4-3"),
    R(
        "freeze",
        *_net("net[0].requires_grad_(False)\n[p.requires_grad for p in net.parameters()]"),
        "20-day 4-3",
        "Frozen parameters get no gradient and no optimiser state: `nn.trainable` is the filter.",
    ),
    R("print-module", *_net("repr(net)"), "notes, quick start, 20-day 4-3", "The same text."),
    R(
        "train-eval",
        *_net("(net.eval().training, net.train().training)"),
        "quick start, 20-day 6-2",
        "A flag that must be set before jit: it is structure.",
    ),
    R(
        "dropout-train",
        "nn.Dropout(0.5)(torch.ones(4, 5)).shape",
        "nn.Dropout(0.5, rngs=nnx.Rngs(0))(jnp.ones((4, 5))).shape",
        "quick start, 20-day 5-2",
        "Masks come from the key; they are not PyTorch's.",
    ),
    R(
        "dropout-eval",
        "nn.Dropout(0.5).eval()(x)",
        "nn.Dropout(0.5, rngs=nnx.Rngs(0)).eval()(x)",
        "quick start, 20-day 5-2",
    ),
    R(
        "model-gradients",
        *_net(
            "net(x).sum().backward()\n[p.grad for p in net.parameters()]",
            "graph, params, rest = nnx.split(net, nn.trainable, ...)\n"
            "loss = lambda params: nnx.merge(graph, params, rest, copy=True)(x).sum()\n"
            "grads = nnx.merge(graph, jax.grad(loss)(params), rest)\n[p[...] for p in grads.parameters()]",
        ),
        "notes, quick start, practice 4",
        "Split the module into structure and numbers, differentiate by the numbers.",
    ),
    R(
        "model-backward-random",
        *_net(
            "net(x).backward(y[:, :2])\nnet[0].weight.grad",
            "graph, params, rest = nnx.split(net, nn.trainable, ...)\n"
            "out, pull = jax.vjp(lambda params: nnx.merge(graph, params, rest, copy=True)(x), params)\n"
            "nnx.merge(graph, pull(y[:, :2])[0], rest)[0].weight[...]",
        ),
        "notes",
    ),
    R(
        "zero-grad",
        *_net("net(x).sum().backward()\nnet.zero_grad()\nnet[0].weight.grad", "None"),
        "practice 4, notes, quick start",
        "None since PyTorch 2.0, zeros before. Nothing to clear in JAX.",
    ),
    R(
        "module-in-jit",
        "torch.manual_seed(0)\nnorm = nn.BatchNorm1d(3)\nnorm(x)\nnorm.running_mean",
        "norm = nn.BatchNorm1d(3)\njax.jit(lambda norm, x: norm(x))(norm, x)\nnorm.running_mean[...]",
        "20-day 5-2",
        "What a layer updates under jax.jit is lost without a word: return it, or use nnx.jit.",
        torch_is="0.1 * x.mean(0)",
        jax_is="jnp.zeros(3)",
    ),
    R(
        "module-in-nnx-jit",
        "norm = nn.BatchNorm1d(3)\nnorm(x)\nnorm.running_mean",
        "norm = nn.BatchNorm1d(3)\nnnx.jit(lambda norm, x: norm(x))(norm, x)\nnorm.running_mean[...]",
        "20-day 5-2",
        "nnx.jit carries updates out; it costs time at each call.",
    ),
)
