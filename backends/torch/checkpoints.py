"""Reading weights from files: safetensors, or torch's own without running code."""

from __future__ import annotations

import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...compiler.errors import MissingFile, PlanformError
from ...compiler.files import opened

# Where training scripts keep the weights among other things.
_WRAPPERS: Final = ("state_dict", "model", "module")
# What DistributedDataParallel and torch.compile put before each name.
_PREFIXES: Final = ("module.", "_orig_mod.")


class CheckpointError(PlanformError, ValueError):
    """A file that holds no weights that can be read safely."""


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU; raises `CheckpointError` and OSError.

    Torch files are read with `weights_only`, so that no code in them runs. Weights within a training
    checkpoint are found under `state_dict` or `model`; prefixes of DistributedDataParallel and torch.compile
    are removed.
    """
    file = Path(path)
    if not os.path.lexists(file):
        raise MissingFile(f"there is no file {path}")
    with opened(file) as stream:
        _check_unpacked(file, stream)
    return _plain_names(_tensors(_read(file), file))


def _check_unpacked(file: Path, stream: BinaryIO) -> None:
    """Refuse compressed archives, which torch's are not: a small one may hold more than memory does."""
    if stream.read(4) != b"PK\x03\x04":
        return
    try:
        with zipfile.ZipFile(stream) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError):
        return  # torch says what is wrong with it
    if size > file.stat().st_size:
        raise CheckpointError(f"{file} unpacks to {size} bytes: it is compressed, as no file of weights is")


def _read(file: Path) -> Any:
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise CheckpointError(f"{file} is not a safetensors file: {error}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols: what cannot be read fails
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch advises to run the code in the file; what is wanted from its text is the name of the code.
        code = re.search(r"GLOBAL:? ([\w.]+)", str(error))
        if code is None:
            raise CheckpointError(f"{file} is not a file of weights") from None
        raise CheckpointError(
            f"{file} holds more than weights, which is not read: `{code[1]}` would be called"
        ) from None
    except OSError as error:
        if error.filename is None:  # not of opening it: the bytes end early
            raise CheckpointError(f"{file} is damaged: {error.strerror or error}") from None
        raise
    except Exception as error:
        # Damaged bytes make torch's reader trip over anything: KeyError, IndexError, RuntimeError and so on.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{file} is not a file of weights: {reason}") from None


def _tensors(found: Any, file: Path) -> dict[str, Tensor]:
    for _ in _WRAPPERS:
        inner = next((found[key] for key in _WRAPPERS if isinstance(_entry(found, key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{file} holds {type(found).__name__}, not weights by name")
    entries = cast("Mapping[Any, Any]", found)
    for name, value in entries.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{file}: `{name}` is {type(value).__name__}, not a tensor")
    return dict(entries)


def _entry(found: Any, key: str) -> Any:
    return cast("Mapping[Any, Any]", found).get(key) if isinstance(found, Mapping) else None


def _plain_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _plain_names({name.removeprefix(prefix): value for name, value in tensors.items()})
    return tensors
