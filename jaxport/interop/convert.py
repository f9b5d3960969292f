"""From PyTorch's weight files to `.safetensors` and back."""

import os

import numpy as np

from jaxport.errors import WeightsError

from .files import check_suffix, load_file, replacing, write


def convert(src: str | os.PathLike[str], dst: str | os.PathLike[str]) -> int:
    """Copy all tensors of the file `src` into the file `dst`, in the format of its suffix; return how many there are.

    Before `dst` appears it is read back and every tensor compared with that of `src`: dtype, shape and bits.
    Suffixes: `.safetensors`; `.pt`, `.pth`, `.pkl` (these need PyTorch).

    Raises:
        WeightsError: `src` cannot be read or is no state dict; `dst` is `src`, has another suffix or cannot be
            written; a dtype has no place in the new format; what was read back differs. `dst` is then as it was.

    Source: https://github.com/huggingface/safetensors#format,
        https://docs.pytorch.org/docs/stable/generated/torch.save.html
    """
    src, dst = check_suffix(src), check_suffix(dst)
    if src.exists() and dst.exists() and src.samefile(dst):
        raise WeightsError(f"dst={str(dst)!r} is the same file as src; give it another name")
    tensors = load_file(src)
    with replacing(dst) as temporary:
        write(tensors, temporary)
        _check_equal(load_file(temporary), tensors)
    return len(tensors)


def _check_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    different = sorted(found.keys() ^ expected.keys())
    different += [k for k in expected if k in found and _bits(found[k]) != _bits(expected[k])]
    if different:
        raise WeightsError(f"what was written reads back differently, dst is unchanged: {different}")


def _bits(array: np.ndarray) -> tuple[np.dtype, tuple[int, ...], bytes]:
    return array.dtype, array.shape, array.tobytes()
