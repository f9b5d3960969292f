"""CIFAR-10's pickles, read without running anything that is in them."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from jaxport.errors import DataError

# What pickling a dict of lists, text, bytes, integers and NumPy arrays writes, in protocols 2 to 4.
PLAIN = """
PROTO FRAME STOP MARK EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
BINUNICODE SHORT_BINUNICODE BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BININT BININT1 BININT2 LONG1 NONE
NEWTRUE NEWFALSE BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
"""
OPCODES = frozenset(PLAIN.split())
MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


def loads(path: str | Path, content: bytes) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, text, bytes, integers and uint8 arrays; text as in Latin-1.

    No class and no function that the pickle names is used: arrays are put together here.

    Raises:
        DataError: the pickle is damaged, or holds anything else.

    Source: https://docs.python.org/3/library/pickle.html#restricting-globals
    """
    try:
        _check(content)
        return _replace(_Unpickler(io.BytesIO(content), encoding="latin1").load())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # damaged pickles raise anything
        raise DataError(f"{path}: is not a whole pickle ({error}); get the file again") from error


def _check(content: bytes) -> None:
    """Refuse instructions that such a pickle has not, and places in its memo that would fill the memory."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in OPCODES:
            raise DataError(
                f"holds the pickle instruction {opcode.name}, which an array's or a list's has not: refused"
            )
        if opcode.name == "LONG_BINPUT" and isinstance(argument, int) and argument > len(content):
            raise DataError(f"holds place {argument} of the memo in {len(content)} bytes: refused")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return our own stand-ins, never what the pickle names.

        They are methods, because nothing can be written into one.
        """
        parts = _Parts()
        match module_name, global_name:
            case "numpy", "ndarray":
                return parts.ndarray
            case "numpy", "dtype":
                return parts.dtype
            case module, "_reconstruct" if module in MULTIARRAY:
                return parts.reconstruct
            case "_codecs", "encode":
                return parts.encode
        raise DataError(f"holds {module_name}.{global_name}, which is neither a list nor an array: refused")


class _Parts:
    __slots__ = ()

    def ndarray(self) -> None:
        """Stand for the class; nobody calls it."""

    def dtype(self, name: str, align: Any = False, copy: Any = True) -> _DType:
        return _DType(name)

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> _Array:
        return _Array()

    def encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise DataError(f"holds text to be encoded as {encoding!r}; latin1 is known: refused")
        return text.encode("latin1")


class _DType:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if name not in ("u1", "|u1"):
            raise DataError(f"holds an array of dtype {name!r}; u1 is known: refused")
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Take nothing: one byte has no byte order."""


class _Array:
    __slots__ = ("content", "shape")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, content = state
        raw = content.encode("latin1") if isinstance(content, str) else bytes(content)
        lengths = tuple(int(length) for length in shape)
        if not isinstance(dtype, _DType) or fortran_order:
            raise DataError("holds an array that is not of bytes in C order: refused")
        if min(lengths, default=0) < 0 or math.prod(lengths) != len(raw):
            raise DataError(f"holds an array of shape {lengths} and {len(raw)} bytes; they must be as many")
        self.shape, self.content = lengths, raw


def _replace(value: Any) -> Any:
    """Make arrays of the stand-ins, which are the values of the outermost dict."""
    if isinstance(value, dict):
        return {key: _array(item) for key, item in value.items()}
    return _array(value)


def _array(value: Any) -> Any:
    return np.frombuffer(value.content, np.uint8).reshape(value.shape) if isinstance(value, _Array) else value
