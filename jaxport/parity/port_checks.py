"""check_port: everything that a port's equality with PyTorch consists of."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

from jaxport.interop import load_file, load_state_dict, save_file, state_dict
from jaxport.port import Port

from .check import Check, compare32, compare64, compare_bits, compare_gradient32, compare_gradient64, same_keys
from .examples import KinksEverywhere, Source, draw_example, from_data, made_up
from .jax_side import JaxSide
from .record import Arrays, Example, Observation, Snapshot, rounding_draws
from .torch_side import TorchSide, one_thread, to_numpy, to_torch
from .training import check_training

_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
_REAL_DRAWS = 20
"""Batches of real examples that are tried for one without a kink."""


def check_port(port: Port, steps: int = 20, seed: int = 0, data: str | Path | None = None) -> list[Check]:
    """Compare a port with its PyTorch reference, from the same weights on the same batches.

    Outputs, every intermediate activation, the loss, every gradient (parameters and input; of the loss and of a random
    cotangent), buffers, in training and evaluation mode; one optimiser step; `steps` steps compared after each,
    resynchronised and free-running; in float64 and float32; weights both ways, bit for bit.

    Args:
        port: which port.
        steps: length of the training comparison.
        seed: of weights, batches and masks.
        data: folder of the data sets: the batches are of the port's own data set; None for made-up ones. Where every
            batch has a maximum or a ReLU next to a tie, gradients and steps are compared in float64 only.

    Returns:
        One `Check` a comparison; the port is equal to PyTorch if all are ``ok``.

    Raises:
        DataError: the data is not in `data`, or damaged.
    """
    source = made_up(port) if data is None else from_data(port, data)
    with one_thread():
        if data is None:
            return _check_port(port, source, steps, seed)
        try:
            return _check_port(port, source, steps, seed, draws=_REAL_DRAWS)
        except KinksEverywhere:
            # Flat parts of real pictures are next to ties everywhere. Values are continuous there; gradients are not.
            checks = _check_port(port, source, steps, seed, least=0.0)
            return [check for check in checks if check.dtype != "float32" or not _has_gradients(check.check)]


def _has_gradients(check: str) -> bool:
    return any(part in check for part in ("/grad", "/cotangent", "/step"))


def _check_port(port: Port, source: Source, steps: int, seed: int, **limits: Any) -> list[Check]:
    with jax.enable_x64(False):
        weights = state_dict(port.build(seed))
    wide = {key: value.astype(_F64) if value.dtype == _F32 else value for key, value in weights.items()}
    truth, rng = TorchSide(port, torch.float64), np.random.default_rng(seed)
    if different := _structure(port, weights, truth):
        return [different]
    truth.load(wide)
    output_shape = _output_shape(truth, port)

    def draw(modes: tuple[bool, ...] = (True,)) -> Example:
        def margin(example: Example) -> float:
            return min(truth.kink_margin(example, mode) for mode in modes)

        return draw_example(port, source, rng, output_shape, lambda x: truth.draw_masks(x, rng), margin, **limits)

    example = draw((False, True))
    checks = _check_weights(port, weights, example.cast(_F32))
    for training in (False, True):
        checks += _check_pass(port, weights, wide, example, training)
    return checks + check_training(port, wide, truth, draw, steps)


def _input_shape(port: Port) -> tuple[int, ...]:
    """Return the shape of two examples as the proof has them."""
    return port.proof_examples(2, 0).x.shape


def _output_shape(truth: TorchSide, port: Port) -> tuple[int, ...]:
    truth.module.eval()
    with torch.no_grad():
        dtype = torch.float64 if np.dtype(port.input_dtype).kind == "f" else torch.int64
        return tuple(truth.module(torch.zeros(_input_shape(port), dtype=dtype)).shape[1:])


def _structure(port: Port, weights: Arrays, truth: TorchSide) -> Check | None:
    """Return a failed check if parameters or outputs differ in name or shape, so that nothing else can be compared."""
    theirs = {key: tuple(value.shape) for key, value in truth.module.state_dict().items()}
    ours = {key: value.shape for key, value in weights.items()}
    notes = [f"{key}: {ours.get(key)}, PyTorch has {theirs.get(key)}" for key in sorted(ours | theirs)]
    different = [
        note for note, key in zip(notes, sorted(ours | theirs), strict=True) if ours.get(key) != theirs.get(key)
    ]
    if not different:
        graph, state = nnx.split(port.build(0))
        x = jax.ShapeDtypeStruct(_input_shape(port), port.input_dtype)
        shape = jax.eval_shape(lambda state, x: nnx.merge(graph, state, copy=True).eval()(x), state, x).shape
        expected = (2, *_output_shape(truth, port))
        different = [f"output: {shape}, PyTorch has {expected}"] if shape != expected else []
    if not different:
        return None
    worst = float("inf")
    return Check(port.name, "structure", "exact", worst, worst, 0.0, False, "; ".join(different))


def _check_pass(port: Port, weights: Arrays, wide: Arrays, example: Example, training: bool) -> list[Check]:
    """Compare one pass forward and backward in both precisions."""
    mode = "train" if training else "eval"
    narrow = example.cast(_F32)
    truth, theirs32 = TorchSide(port, torch.float64), TorchSide(port, torch.float32)
    truth.load(wide)
    with jax.enable_x64(True):
        ours64 = JaxSide(port, wide).observe(example, training)
    with jax.enable_x64(False):
        ours32 = JaxSide(port, weights).observe(narrow, training)
    # The examples are exact in float32, and so are the weights: the float64 pass is the truth for both.
    expected = truth.observe(example, training)
    rounded = [theirs32.reload(state).observe(draw, training) for state, draw in _draws(weights, narrow)]
    checks = []
    for kind, true in vars(expected).items():
        name = f"{mode}/{kind}"
        mine, single = getattr(ours64, kind), getattr(ours32, kind)
        if kind != "buffers" or true or mine:
            checks.append(same_keys(port.name, name, mine, true))
        scale = _gradient_scale(kind, expected, example)
        wide_one = compare64 if scale is None else partial(compare_gradient64, scale=scale)
        narrow_one = compare32 if scale is None else partial(compare_gradient32, scale=scale)
        checks += [wide_one(port.name, _label(name, key), mine[key], true[key]) for key in true if key in mine]
        checks += [
            narrow_one(port.name, _label(name, key), single[key], [getattr(r, kind)[key] for r in rounded], true[key])
            for key in true
            if key in single
        ]
    # Exact checks first, then float64, which decides, then float32; in each the order of the forward pass.
    return sorted(checks, key=lambda check: ("exact", "float64", "float32").index(check.dtype))


def _gradient_scale(kind: str, expected: Observation, example: Example) -> float | None:
    """Return the size of what was differentiated: the loss, or Σ |cotangent · output|; None where nothing was."""
    if kind == "cotangent":
        return float(np.abs(example.cotangent * expected.forward[""]).sum())
    return float(np.abs(expected.loss["loss"])) if kind == "grad" else None


def _draws(weights: Arrays, example: Example) -> list[tuple[Snapshot, Example]]:
    return rounding_draws(Snapshot(0, weights, {}), example)


def _label(name: str, key: str) -> str:
    return f"{name}/{key or 'output'}"


def _check_weights(port: Port, weights: Arrays, example: Example) -> list[Check]:
    """Weights go both ways bit for bit, and a file that PyTorch saved gives the same predictions here."""
    reference = TorchSide(port, torch.float32)
    theirs = {key: to_numpy(value) for key, value in reference.module.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder, jax.enable_x64(False):
        ours = JaxSide(port, weights)
        torch_file, own_file = Path(folder) / "weights.pt", Path(folder) / "weights.safetensors"
        torch.save(reference.module.state_dict(), torch_file)
        load_state_dict(ours.module, load_file(torch_file))
        checks = [compare_bits(port.name, "state_dict/from_torch", state_dict(ours.module), theirs)]
        predictions = _predictions(port, load_file(torch_file), example)
        save_file(weights, own_file)
        again = load_file(own_file)
        reference.module.load_state_dict({key: to_torch(again[key]) for key in weights})
    back = {key: to_numpy(value) for key, value in reference.module.state_dict().items()}
    checks.append(compare_bits(port.name, "state_dict/to_torch", back, weights))
    wide, narrow = TorchSide(port, torch.float64), TorchSide(port, torch.float32)
    wide.load(theirs)
    truth = wide.observe(example.cast(_F64), training=False).forward[""]
    rounded = [
        narrow.reload(state).observe(draw, training=False).forward[""] for state, draw in _draws(theirs, example)
    ]
    return [*checks, compare32(port.name, "state_dict/predictions_of_pt_file", predictions, rounded, truth)]


def _predictions(port: Port, weights: Arrays, example: Example) -> np.ndarray:
    observation: Observation = JaxSide(port, weights).observe(example, training=False)
    return observation.forward[""]
