"""Arrays by name in the safetensors format, with as many as possible at multiples of 64 bytes.

The format wants the arrays one right after the other, so those whose size is such a multiple come first.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from math import prod

import numpy as np

from ....compiler.errors import PlanformError

_ALIGNMENT = 64
_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "uint16": "U16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
}
_TYPES = {name: np.dtype(ours) for ours, name in _NAMES.items()}


class WeightsError(PlanformError, ValueError):
    """Bytes that are no arrays in this format."""


def to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of a file with these arrays."""
    order = sorted(arrays, key=lambda name: (arrays[name].nbytes % _ALIGNMENT != 0, name))
    table: dict[str, object] = {}
    end = 0
    for name in order:
        array = arrays[name]
        table[name] = {
            "dtype": _NAMES[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    header = json.dumps(table, ensure_ascii=False).encode("utf-8")
    header += b" " * (-(8 + len(header)) % _ALIGNMENT)
    parts = [np.ascontiguousarray(arrays[name]).tobytes() for name in order]
    return b"".join([struct.pack("<Q", len(header)), header, *parts])


def from_bytes(content: memoryview) -> dict[str, np.ndarray]:
    """The arrays, read where they lie; raises ValueError, KeyError or TypeError if it is not the format."""
    if len(content) < 8:
        raise WeightsError("the weights end early")
    (length,) = struct.unpack_from("<Q", content)
    table = json.loads(bytes(content[8 : 8 + length]))
    data = content[8 + length :]
    found: dict[str, np.ndarray] = {}
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        dtype, shape = _TYPES[entry["dtype"]], tuple(entry["shape"])
        first, last = entry["data_offsets"]
        if not all(type(size) is int and size >= 0 for size in (*shape, first, last)):
            raise WeightsError(f"{name} has sizes that are none")
        if last - first != prod(shape) * dtype.itemsize or not 0 <= first <= last <= len(data):
            raise WeightsError(f"{name} has the wrong size")
        found[name] = np.frombuffer(data[first:last], dtype).reshape(shape)
    return found
