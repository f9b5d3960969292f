"""Counts of what a run asks of JAX: programs compiled, programs run, arrays sent to the device and fetched from it.

Counts do not depend on the machine or on what else it does, so a test can hold them where it could not hold a time.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

COMPILED = "/jax/core/compile/backend_compile_duration"
_SENT = b"host-to-device transfer"


@dataclass
class Counts:
    """What was counted; complete when the block of `counting` has ended.

    Attributes:
        compilations: programs that the compiler was asked for, by name; those that its cache on disk had are counted.
        dispatches: programs run, by name, those of operations outside of a program too; those that were compiled ahead
            of time have no name ("?"). None where something was compiled meanwhile: JAX does not tell all then.
        to_device: arrays and numbers sent to the device.
        to_host: arrays fetched from it; on a CPU those whose values were asked for.
    """

    compilations: Counter[str] = field(default_factory=Counter)
    dispatches: Counter[str] | None = None
    to_device: int = 0
    to_host: int = 0


class Program(NamedTuple):
    """A program that was compiled.

    Attributes:
        text: its HLO before optimisation.
        donated: bytes of the arguments that it takes over.
        arguments: bytes of each argument.
        reused: bytes of its arguments that hold results afterwards.
    """

    name: str
    text: str
    donated: int
    arguments: tuple[int, ...]
    reused: int


@contextmanager
def counting() -> Iterator[Counts]:
    """Count what this thread asks of JAX inside the block.

    Raises:
        RuntimeError: this JAX does not tell; a count that is silently 0 would guard nothing.
    """
    counts = Counts()
    _probe()
    with _compilations(counts), _to_device(counts), _to_host(counts), _dispatches(counts):
        yield counts


@contextmanager
def _compilations(counts: Counts) -> Iterator[None]:
    def heard(event: str, duration_secs: float, **kwargs: Any) -> None:
        del duration_secs
        if event == COMPILED:
            counts.compilations[_plain(kwargs.get("fun_name", "?"))] += 1

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def _plain(name: Any) -> str:
    return str(name).removeprefix("jit(").removesuffix(")").removeprefix("jit_")


@contextmanager
def _dispatches(counts: Counts) -> Iterator[None]:
    """Ask JAX's hook behind every program's call: there is no public one that sees operations outside of a program."""
    try:
        from jax._src.api import _post_hook_state as hook
    except ImportError as error:
        raise RuntimeError("this JAX has no hook behind a program's call; dispatches cannot be counted") from error
    probe, zero = _probe()
    found: Counter[str] = Counter()
    hook.set_local(lambda function, *_: found.update([_plain(getattr(function, "__name__", "?"))]))
    try:
        yield
        probe(zero)
    finally:
        hook.set_local(None)
    if counts.compilations:
        return  # a program's first call is not told, and compiling resets the hook
    if not found["probe"]:
        raise RuntimeError("JAX's hook was not called; dispatches cannot be counted")
    counts.dispatches = found - Counter(["probe"])


@functools.cache
def _probe() -> tuple[Callable[[Any], Any], jax.Array]:
    def probe(x: jax.Array) -> jax.Array:
        return x

    compiled, zero = jax.jit(probe), jax.device_put(np.zeros((), np.float32))
    for _ in range(2):  # the first call, which compiles, is not told
        compiled(zero)
    return compiled, zero


@contextmanager
def _to_device(counts: Counts) -> Iterator[None]:
    """Let the transfer guard log each array that is sent, and count the lines; what else is said is said afterwards."""
    name = "jax_transfer_guard_host_to_device"
    before = getattr(jax.config, name)
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        jax.config.update(name, "log_explicit")
        try:
            yield
            jax.device_put(np.zeros((), np.float32))
        finally:
            jax.config.update(name, before)
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            file.seek(0)
            lines = file.readlines()
            os.write(2, b"".join(line for line in lines if _SENT not in line))
    counts.to_device = sum(_SENT in line for line in lines) - 1
    if counts.to_device < 0:
        raise RuntimeError("the transfer guard logs nothing (TF_CPP_MIN_LOG_LEVEL above 1?); transfers go uncounted")


@contextmanager
def _to_host(counts: Counts) -> Iterator[None]:
    """Count where values of arrays are asked for: CPUs have one memory, and JAX's guard does not see these."""
    kind = type(_probe()[1])
    value, depth = kind._value, 0  # pyright: ignore[reportAttributeAccessIssue]

    def counted(array: Any, get: Callable[[], Any]) -> Any:
        nonlocal depth
        fetched = isinstance(array, kind) and array._npy_value is None and depth == 0  # pyright: ignore[reportAttributeAccessIssue]
        counts.to_host += fetched
        depth += 1
        try:
            return get()
        finally:
            depth -= 1

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: counted(args[0] if args else None, lambda: function(*args, **options))

    originals = {name: getattr(np, name) for name in ("asarray", "array")}
    kind._value = property(lambda array: counted(array, lambda: value.fget(array)))  # pyright: ignore
    for name, function in originals.items():
        setattr(np, name, wrapped(function))
    try:
        yield
    finally:
        kind._value = value  # pyright: ignore
        for name, function in originals.items():
            setattr(np, name, function)


@contextmanager
def recording() -> Iterator[list[Program]]:
    """Note every program that is lowered and compiled inside the block, as `Program`s in the order of compilation."""
    programs: list[Program] = []
    compile = jax.stages.Lowered.compile

    def noted(lowered: jax.stages.Lowered, *args: Any, **options: Any) -> jax.stages.Compiled:
        compiled = compile(lowered, *args, **options)
        programs.append(_program(lowered, compiled))
        return compiled

    with ExitStack() as stack:
        stack.callback(setattr, jax.stages.Lowered, "compile", compile)
        setattr(jax.stages.Lowered, "compile", noted)  # noqa: B010 - a type checker takes the assignment for a mistake
        yield programs


def _program(lowered: jax.stages.Lowered, compiled: jax.stages.Compiled) -> Program:
    text = lowered.as_text(dialect="hlo")
    infos = [jax.tree.leaves(info, is_leaf=lambda leaf: hasattr(leaf, "donated")) for info in lowered.args_info[0]]
    memory = compiled.memory_analysis()
    return Program(
        name=_plain(text.split("HloModule ", 1)[-1].split(",", 1)[0]),
        text=text,
        donated=sum(_bytes(leaf) for leaves in infos for leaf in leaves if leaf.donated),
        arguments=tuple(sum(map(_bytes, leaves)) for leaves in infos),
        reused=0 if memory is None else memory.alias_size_in_bytes,
    )


def _bytes(info: Any) -> int:
    shape = jax.ShapeDtypeStruct(info.shape, info.dtype)
    if jax.numpy.issubdtype(info.dtype, jax.dtypes.prng_key):
        shape = jax.eval_shape(jax.random.key_data, shape)
    return shape.size * shape.dtype.itemsize
