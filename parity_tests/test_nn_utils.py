"""Weight norm, spectral norm, orthogonal weights and fusion against PyTorch's, buffers and training passes included."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import findings64, generator
from flax import nnx

from jaxport import nn
from jaxport.interop import load_state_dict, state_dict
from jaxport.parity.tolerances import SAME_SUMS_RTOL

torch = pytest.importorskip("torch")

LAYERS = {
    "linear": ("Linear", (5, 4), (7, 5)),
    "conv": ("Conv2d", (3, 4, (2, 3)), (2, 3, 5, 6)),
}
# name, (torch function, jaxport function), options; rngs are added where they are taken.
WAYS = {
    "weight-norm": ("parametrizations.weight_norm", {}),
    "weight-norm-1": ("parametrizations.weight_norm", {"dim": 1}),
    "weight-norm-all": ("parametrizations.weight_norm", {"dim": None}),
    "spectral": ("parametrizations.spectral_norm", {}),
    "spectral-dim-1-iterations-3": ("parametrizations.spectral_norm", {"dim": 1, "n_power_iterations": 3}),
    "old-weight-norm": ("weight_norm", {}),
    "old-weight-norm-all": ("weight_norm", {"dim": None}),
    "old-spectral": ("spectral_norm", {}),
    "old-spectral-dim-1-iterations-2": ("spectral_norm", {"dim": 1, "n_power_iterations": 2}),
}
ORTHOGONAL = {
    "householder-tall": ((3, 5), {}),
    "householder-wide": ((5, 3), {}),
    "exp-square": ((4, 4), {}),
    "cayley-tall": ((3, 5), {"orthogonal_map": "cayley"}),
    "exp-wide": ((5, 3), {"orthogonal_map": "matrix_exp"}),
    "householder-plain": ((3, 5), {"use_trivialization": False}),
    "cayley-plain": ((4, 4), {"orthogonal_map": "cayley", "use_trivialization": False}),
}


def function(owner, path):
    for name in path.split("."):
        owner = getattr(owner, name)
    return owner


def pair(layer, args, way, options):
    """Return both modules with the same state, which is random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs = function(torch.nn.utils, way)(getattr(torch.nn, layer)(*args).double(), **options)
    keys = {} if "weight_norm" in way else {"rngs": nnx.Rngs(1)}
    ours = function(nn.utils, way)(getattr(nn, layer)(*args, rngs=nnx.Rngs(0)).double(), **options, **keys)
    assert repr(ours) == repr(theirs)
    assert list(state_dict(ours)) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    rng = generator(f"{layer} {way} {options}")
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.from_numpy(np.asarray(0.1 * rng.standard_normal(tuple(parameter.shape)))))
    load_state_dict(ours, {key: value.numpy() for key, value in theirs.state_dict().items()})
    return ours, theirs


def step_findings(ours, theirs, x, cotangent):
    """Compare a pass: output, gradients of everything, buffers after it."""
    leaf = torch.from_numpy(x).requires_grad_()
    output = theirs(leaf)
    grads = torch.autograd.grad(output, [leaf, *theirs.parameters()], torch.from_numpy(cotangent))
    graph, params, rest = nnx.split(ours, nn.Parameter, ...)

    @jax.jit
    def run(params, rest, x, cotangent):
        def forward(params, x):
            module = nnx.merge(graph, params, rest, copy=True)
            return module(x), nnx.split(module, nn.Parameter, ...)[2]

        y, pullback, rest_after = jax.vjp(forward, params, x, has_aux=True)
        return y, pullback(cotangent), rest_after

    y, (found, input_grad), rest_after = run(params, rest, jnp.asarray(x), jnp.asarray(cotangent))
    nnx.update(ours, rest_after)
    pulled = dict(nnx.merge(graph, found, rest, copy=True).named_parameters())
    problems = findings64("output", y, output.detach().numpy()) + findings64("input", input_grad, grads[0].numpy())
    for (name, _), grad in zip(theirs.named_parameters(), grads[1:], strict=True):
        problems += findings64(f"gradient of {name}", pulled[name][...], grad.numpy())
    for key, value in theirs.state_dict().items():
        problems += findings64(key, state_dict(ours)[key], value.numpy())
    return problems


def passes(ours, theirs, shape, name):
    rng, problems = generator(name), []
    for mode in (True, True, True, False):
        theirs.train(mode)
        ours.train(mode)
        x = 0.3 + rng.standard_normal(shape)
        with torch.no_grad():
            cotangent = 0.3 + rng.standard_normal(tuple(theirs.eval()(torch.from_numpy(x)).shape))
        theirs.train(mode)
        problems += step_findings(ours, theirs, x, cotangent)
    return problems


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", LAYERS)
def test_three_training_passes_and_one_in_evaluation(kind, way):
    layer, args, shape = LAYERS[kind]
    with jax.enable_x64(True):
        ours, theirs = pair(layer, args, *WAYS[way])
        assert passes(ours, theirs, shape, f"{kind} {way}") == []


@pytest.mark.parametrize("way", ORTHOGONAL)
def test_orthogonal(way):
    args, options = ORTHOGONAL[way]
    with jax.enable_x64(True):
        ours, theirs = pair("Linear", args, "parametrizations.orthogonal", options)
        assert passes(ours, theirs, (6, args[0]), way) == []
        fresh = nn.utils.parametrizations.orthogonal(nn.Linear(*args, rngs=0).double(), rngs=1, **options)
        if options.get("orthogonal_map") != "cayley" or options.get("use_trivialization", True):
            q = np.asarray(fresh.weight[...])
            q = q if q.shape[0] >= q.shape[1] else q.T
            np.testing.assert_allclose(q.T @ q, np.eye(q.shape[1]), atol=SAME_SUMS_RTOL)
