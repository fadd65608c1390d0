"""Initial content of weights as calls of torch.nn.init."""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from ....compiler.dtypes import FLOAT, is_complex
from ....compiler.graph.graph import Graph, Weight
from ....compiler.ops.core.init import Init, constant, fan_in_uniform, normal
from ..dtypes import torch_dtype
from ..errors import LoweringError
from ..leaves import static_shape
from .literals import literal, number

# How torch.nn.init calls an initialiser's arguments, and what it takes where they are not given.
_CALLS: Final[dict[str, tuple[str, dict[str, str], dict[str, Any]]]] = {
    "constant": ("constant_", {"value": "val"}, {}),
    "normal": ("normal_", {}, {"mean": 0.0, "std": 1.0}),
    "uniform": ("uniform_", {"low": "a", "high": "b"}, {"a": 0.0, "b": 1.0}),
    "trunc_normal": (
        "trunc_normal_",
        {"low": "a", "high": "b"},
        {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0},
    ),
    "kaiming_uniform": ("kaiming_uniform_", {}, {"a": 0, "mode": "fan_in", "nonlinearity": "leaky_relu"}),
    "kaiming_normal": ("kaiming_normal_", {}, {"a": 0, "mode": "fan_in", "nonlinearity": "leaky_relu"}),
    "xavier_uniform": ("xavier_uniform_", {}, {"gain": 1.0}),
    "xavier_normal": ("xavier_normal_", {}, {"gain": 1.0}),
    "orthogonal": ("orthogonal_", {}, {"gain": 1}),
    "eye": ("eye_", {}, {}),
}
_ORDER = ("mean", "std", "val", "a", "b", "mode", "nonlinearity", "gain")


def is_default(weight: Weight, leaf: nn.Module, slot: str, fan_in: int) -> bool:
    """Whether torch.nn initialises that weight so by itself; `fan_in` is that of the module's `weight`."""
    if isinstance(weight.init, Graph):
        return False
    kind = type(leaf).__name__
    if kind == "Linear" or kind.startswith("Conv"):
        own = {"weight": fan_in_uniform(), "bias": fan_in_uniform(fan_in)}
    elif "Norm" in kind:
        own = {name: constant(value) for name, value in _NORM.items()}
    else:
        own = {"weight": normal()} if kind == "Embedding" else {}
    if isinstance(leaf, nn.Embedding) and leaf.padding_idx is not None:
        return own.get(slot) == _without_zero_row(weight.init) and _zero_row(weight.init) in (
            leaf.padding_idx,
            leaf.padding_idx - leaf.num_embeddings,
        )
    return own.get(slot) == weight.init


def _zero_row(init: Init) -> Any:
    return dict(init.arguments).get("zero_row")


def _without_zero_row(init: Init) -> Init:
    return Init(init.kind, tuple(each for each in init.arguments if each[0] != "zero_row"))


_NORM = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}


def blank(weight: Weight) -> tuple[str, bool]:
    """A tensor of the weight's type as text, and whether it has its initial content already."""
    shape = ", ".join(number(size) for size in static_shape(weight)) or "()"
    dtype = "" if weight.type.dtype == FLOAT else f", dtype={torch_dtype(weight.type.dtype)}"
    if isinstance(weight.init, Init) and weight.init.kind == "constant":
        filled = dict(weight.init.arguments)["value"]
        if filled in (0, 1):
            return f"torch.{'ones' if filled else 'zeros'}({shape}{dtype})", True
        if weight.type.dtype == FLOAT:
            filled = float(filled)  # torch.full takes the type of what it is given
        sizes = literal(static_shape(weight))
        return f"torch.full({sizes}, {literal(filled, 'value')}{dtype})", True
    return f"torch.empty({shape}{dtype})", False


def lines(weight: Weight, tensor: str) -> list[str]:
    """Statements that fill a tensor by the weight's initialiser.

    As in `initialise.fill`, narrow types are drawn in f32, and the parts of complex ones one after the other.
    """
    dtype = weight.type.dtype
    assert isinstance(weight.init, Init)
    if weight.init.kind == "constant" or dtype in (FLOAT, "f32", "f64"):
        return _call(weight, tensor).split("\n")
    wide = ", dtype=torch.float64" if dtype == "c128" else ""
    drawn = _call(weight, f"torch.empty({tensor}.shape{wide})")
    parts = [f"{tensor}.real", f"{tensor}.imag"] if is_complex(dtype) else [tensor]
    return ["with torch.no_grad():", *[f"    {part}.copy_({drawn})" for part in parts]]


def _call(weight: Weight, tensor: str) -> str:
    init = weight.init
    assert isinstance(init, Init)
    if init.kind == "fan_in_uniform":
        given = dict(init.arguments).get("fan_in")
        shape = static_shape(weight)
        if given is None and len(shape) >= 2:
            return f"nn.init.kaiming_uniform_({tensor}, a=5**0.5)"
        fan_in = number(int(given) if given is not None else 1, "fan_in")
        return f"nn.init.uniform_({tensor}, -({fan_in}**-0.5), {fan_in}**-0.5)"
    if init.kind not in _CALLS:
        raise LoweringError(f"{weight.path}: torch has no initialiser `{init.kind}`")
    name, renamed, defaults = _CALLS[init.kind]
    arguments = {renamed.get(key, key): value for key, value in init.arguments}
    given = [key for key in _ORDER if key in arguments and arguments[key] != defaults.get(key)]
    shown = [f"{key}={literal(arguments[key], key)}" for key in given]
    if init.kind == "constant":
        shown = [text.partition("=")[2] for text in shown]
    written = f"nn.init.{name}({', '.join([tensor, *shown])})"
    row = _zero_row(init)
    return written if row is None else f"nn.init.zeros_({written}[{row}])"
