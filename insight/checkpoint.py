"""Reading weight files without executing anything in them. Needs no Detectron2.

It reads PyTorch files (`.pth`, `.pt`, `.pyth` and any other suffix), `.safetensors`, and Detectron2's pickled model-zoo
files (`.pkl`). A file from a stranger is safe to open: only tensors, numbers, strings and plain containers are built
from it.
"""

import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError

WRAPPERS = ("model", "state_dict", "model_state")  # keys under which training checkpoints keep the weights


class CheckpointError(InputError):
    """A weight file that is missing, damaged or unsafe, or that holds another model."""


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read everything in a weight file.

    Args:
        path: the file; `.safetensors` and `.pkl` are recognised by their suffix, anything else is read by torch.

    Returns:
        The content of the file by name; arrays are converted to tensors, all on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, not a dictionary, or would need unpickling of Python objects.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: expected a weight file, got a folder")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    read = {".safetensors": _read_safetensors, ".pkl": _read_pickle}.get(path.suffix.lower(), _read_torch)
    try:
        content = read(path)
    except _ForeignObject as error:
        raise CheckpointError(
            f"{path}: refused, as it holds Python objects ({error}), which may run code when they are loaded; save the "
            "weights alone, with torch.save(model.state_dict(), ...)"
        ) from None
    except (OSError, CheckpointError):
        raise
    except Exception as error:  # foreign bytes can make every reader raise anything
        # Only the kind: torch's own message advises to load the file as a pickle, which may run what is in it.
        raise CheckpointError(f"{path}: damaged, or not a weight file ({type(error).__name__})") from None
    if problem := _not_by_name(content):
        raise CheckpointError(f"{path}: expected a state dict or a dictionary with one, got {problem}")
    return content


def read_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the weights of a file: a state dict, or the one that a training checkpoint holds.

    Args:
        path: as in `read_checkpoint`. The state dict may be nested under "model", "state_dict" or "model_state".

    Returns:
        Tensors by name, on the CPU.

    Raises:
        CheckpointError: as in `read_checkpoint`, or the file holds no state dict.
        OSError: the file cannot be read.
    """
    content = read_checkpoint(path)
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and wrapper in content and not isinstance(content[wrapper], Tensor):
            content = content[wrapper]
    return require_state_dict(content, path)


def read_class_names(path: str | os.PathLike) -> list[str]:
    """Read the names of a detector's classes from the metadata of a `.safetensors` file.

    Args:
        path: the file, which `read_checkpoint` can read.

    Returns:
        The names in the order of the classes; empty if the file has none.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("class_names", "[]")
    try:
        names = json.loads(text)
    except ValueError:  # of another program
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def require_state_dict(content: Any, source: str | os.PathLike) -> dict[str, Tensor]:
    """Check that a part of a weight file is a state dict.

    Args:
        content: the part of the file.
        source: the file, named in the error.

    Returns:
        `content`.

    Raises:
        CheckpointError: content is not a dictionary of tensors, or is empty.
    """
    problem = _not_by_name(content)
    if not problem and not content:
        problem = "an empty dictionary"
    if not problem:
        other = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
        if other is not None:
            problem = f"{_kind(content[other])} under {_shown(other)}"
    if problem:
        raise CheckpointError(f"{source}: expected a state dict (tensors by name), got {problem}")
    return content


def require_finite(weights: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Check that weights are finite; a diverged training leaves NaN or infinity.

    Args:
        weights: tensors by name.
        source: the file that they come from, named in the error.

    Raises:
        CheckpointError: a tensor holds NaN or infinity; the message names the first.
    """
    for name, tensor in weights.items():
        if not _is_finite(tensor):
            raise CheckpointError(f"{source}: {name} holds NaN or infinity; did its training diverge?")


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.itemsize == 1:  # float8 has no sum
        tensor = tensor.float()
    # The sum takes a fraction of the time; it is finite only if all values are, but may overflow even if they are.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


class _ForeignObject(Exception):
    """A file names a class or function that is not data."""


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise _ForeignObject(found[1]) from None
        raise


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file  # here: few weight files are of this kind

    return load_file(path)


def _read_pickle(path: Path) -> Any:
    with open(path, "rb") as file:
        return _as_plain(_ArrayUnpickler(file, encoding="latin1").load(), {})


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers and, as stand-ins that `_as_plain` resolves, NumPy's arrays and scalars.

    NumPy's own constructors are not called: from a forged dtype they would read pointers out of the file's bytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PICKLED[module.replace("numpy._core.", "numpy.core."), name]
        except KeyError:
            raise _ForeignObject(f"{module}.{name}") from None


class _Dtype:
    """Stands in for numpy.dtype: a number type and its byte order."""

    KINDS = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"])

    def __init__(self, kind: str, align: bool = False, copy: bool = False):
        if kind not in self.KINDS:
            raise _ForeignObject(f"arrays of type {kind!r:.20}")
        self.numpy = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        _, order, *fields = state
        if any(part is not None for part in fields[:3]):
            raise _ForeignObject("structured arrays")
        self.numpy = self.numpy.newbyteorder(order)


class _Array:
    """Stands in for numpy.ndarray."""

    def __setstate__(self, state: tuple) -> None:
        *_, self.shape, self.dtype, self.fortran, self.raw = state

    def tensor(self) -> Tensor:
        array = _numbers(self.dtype, self.raw).reshape(self.shape, order="F" if self.fortran else "C")
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))


class _Dictionary(dict):
    """Stands in for OrderedDict; the attributes of a module's state dict are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstructed_array(kind: type, shape: tuple, code: bytes) -> _Array:
    return _Array()


def _array_of_buffer(raw: bytes, dtype: _Dtype, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.__setstate__((shape, dtype, order == "F", raw))
    return array


def _scalar(dtype: _Dtype, raw: bytes | str) -> Any:
    return _numbers(dtype, raw).item()


def _encoded(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocol 2 writes no bytes."""
    return b""


def _numbers(dtype: _Dtype, raw: bytes | str) -> np.ndarray:
    # Python 2 wrote bytes as str.
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, dtype.numpy)


_PICKLED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstructed_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _array_of_buffer,
    ("collections", "OrderedDict"): _Dictionary,
    ("_codecs", "encode"): _encoded,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
}


def _as_plain(value: Any, done: dict[int, Any]) -> Any:
    """Containers rebuilt with tensors for arrays, each object once; nothing but data passes."""
    if value is None or type(value) in (bool, int, float, str, bytes, bytearray):
        return value
    if id(value) in done:
        if done[id(value)] is None:
            raise ValueError("a container that holds itself")
        return done[id(value)]
    done[id(value)] = None
    plain: Any
    if type(value) is _Array:
        plain = value.tensor()
    elif isinstance(value, dict):
        plain = {_as_plain(key, done): _as_plain(entry, done) for key, entry in value.items()}
    elif type(value) in (list, tuple):
        plain = type(value)(_as_plain(entry, done) for entry in value)
    else:
        raise _ForeignObject(type(value).__name__)
    done[id(value)] = plain
    return plain


def _not_by_name(content: Any) -> str:
    """What content is, if it is not a dictionary with names as keys."""
    if not isinstance(content, dict):
        return _kind(content)
    other = next((key for key in content if not isinstance(key, str)), "")
    return "" if isinstance(other, str) else f"a dictionary with the key {_shown(other)}"


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def _shown(name: Any) -> str:
    return f"{name!r:.60}"
