"""Convolutions and linear maps of a deployed module by oneDNN: packed weights, activations in the kernel.

torch's eager operators lay the weights of a convolution out anew at every call, and take a matrix product to
MKL, which is slow on processors of other makers. The operators that torch's own compiler calls on the CPU do
neither, and apply an activation before the result leaves the registers. They hold for float32 on the CPU,
without gradients; elsewhere, and while torch compiles, exports or traces, the modules here compute the same
by the ordinary functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.jit._trace import is_tracing

# An activation as these operators take it: its name, scalars and algorithm.
Epilogue = tuple[str, tuple[float, ...], str]
NONE: Epilogue = ("none", (), "")

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "swish": F.silu,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


class _Packed(nn.Module):
    """What keeps a packed weight beside the weight that it was made from."""

    weight: Tensor
    # (address and version of the weight, the weight packed); never saved.
    _packed: tuple[tuple[int, int], Tensor] | None = None

    def _applies(self, x: Tensor) -> bool:
        """Whether oneDNN may be asked."""
        weight = self.weight
        return (
            not (torch.compiler.is_compiling() or is_tracing())
            and type(x) is Tensor
            and x.dtype is weight.dtype is torch.float32
            and x.device.type == weight.device.type == "cpu"
            and x.numel() > 0
            and not weight.is_inference()
            and not torch.is_autocast_enabled("cpu")
            and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        )

    def _weight_for(self, x: Tensor) -> Tensor:
        """The packed weight; it suits the first input best, and any."""
        weight = self.weight
        state = weight.data_ptr(), weight._version
        if self._packed is None or self._packed[0] != state:
            self._packed = state, self._pack(weight.detach(), x)
        return self._packed[1]

    def _pack(self, weight: Tensor, x: Tensor) -> Tensor:
        raise AssertionError("classes below say how")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}


class PackedLinear(_Packed, nn.Linear):
    """`torch.nn.Linear`, and an activation of its result."""

    def forward(self, input: Tensor, epilogue: Epilogue = NONE) -> Tensor:
        """[*, in] -> [*, out]."""
        if not self._applies(input):
            return _after(nn.Linear.forward(self, input), epilogue)
        name, scalars, algorithm = epilogue
        weight = self._weight_for(input)
        return torch.ops.mkldnn._linear_pointwise(input, weight, self.bias, name, scalars, algorithm)

    def _pack(self, weight: Tensor, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(weight, x.numel() // x.shape[-1])


class PackedConv2d(_Packed, nn.Conv2d):
    """`torch.nn.Conv2d`, and an activation of its result."""

    def forward(self, input: Tensor, epilogue: Epilogue = NONE) -> Tensor:
        """[B, in, H, W] -> [B, out, H', W']."""
        if input.dim() != 4 or not self._applies(input):
            return _after(nn.Conv2d.forward(self, input), epilogue)
        if self.weight.is_contiguous(memory_format=torch.channels_last):
            input = input.contiguous(memory_format=torch.channels_last)
        name, scalars, algorithm = epilogue
        weight = self._weight_for(input)
        where = self.padding, self.stride, self.dilation, self.groups
        return torch.ops.mkldnn._convolution_pointwise(
            input, weight, self.bias, *where, name, scalars, algorithm
        )

    def _pack(self, weight: Tensor, x: Tensor) -> Tensor:
        where: Any = self.padding, self.stride, self.dilation, self.groups
        return torch.ops.aten.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *where, list(x.shape))


def _after(x: Tensor, epilogue: Epilogue) -> Tensor:
    """The activation by torch's ordinary function."""
    name, scalars, algorithm = epilogue
    if name == "none":
        return x
    function = _FUNCTIONS[name]
    return function(x, approximate=algorithm) if name == "gelu" else function(x, *scalars)


def available() -> bool:
    """Whether this build of torch has oneDNN."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack(module: nn.Module) -> bool:
    """Let the float32 convolutions and linear maps on the CPU be packed; whether there is any."""
    found = False
    for leaf in module.modules():
        made = _packed_class(leaf)
        if made is None:
            continue
        weight = cast("Tensor", leaf.weight)
        if weight.dtype is torch.float32 and weight.device.type == "cpu":
            object.__setattr__(leaf, "__class__", made)  # the same attributes: only the call differs
            found = True
    return found


def _packed_class(leaf: nn.Module) -> type[nn.Module] | None:
    if type(leaf) is nn.Linear:
        return PackedLinear
    if type(leaf) is nn.Conv2d and leaf.padding_mode == "zeros" and isinstance(leaf.padding, tuple):
        return PackedConv2d
    return None


def fuse_epilogues(graph: fx.GraphModule) -> None:
    """Move each activation that alone reads a packed module's result into its call."""
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or not isinstance(modules.get(node.target), _Packed):
            continue
        if len(node.users) != 1 or node.kwargs:
            continue
        (user,) = node.users
        epilogue = _epilogue(user)
        if epilogue is not None and user.args[:1] == (node,):
            node.kwargs = {"epilogue": epilogue}
            user.replace_all_uses_with(node)
            graph.graph.erase_node(user)
    graph.recompile()


def _epilogue(node: fx.Node) -> Epilogue | None:
    """The activation that a node of the graph is; None if it is none, or one that oneDNN lacks."""
    make = _EPILOGUES.get(node.target) if node.op == "call_function" else None
    if make is None or any(isinstance(value, fx.Node) for value in (*node.args[1:], *node.kwargs.values())):
        return None
    try:
        return make(*node.args[1:], **node.kwargs)
    except TypeError:
        return None


def _plain(name: str) -> Epilogue:
    return name, (), ""


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0) -> Epilogue:
    return "hardtanh", (float(min_val), float(max_val)), ""


def _leaky(negative_slope: float = 0.01) -> Epilogue:
    return "leaky_relu", (float(negative_slope),), ""


def _gelu(approximate: str = "none") -> Epilogue:
    return "gelu", (), approximate


_EPILOGUES: dict[Any, Callable[..., Epilogue]] = {
    F.relu: partial(_plain, "relu"),
    torch.relu: partial(_plain, "relu"),
    F.relu6: partial(_hardtanh, 0.0, 6.0),
    F.hardtanh: _hardtanh,
    F.leaky_relu: _leaky,
    F.gelu: _gelu,
    F.silu: partial(_plain, "swish"),
    F.hardswish: partial(_plain, "hardswish"),
    F.hardsigmoid: partial(_plain, "hardsigmoid"),
    torch.sigmoid: partial(_plain, "sigmoid"),
    F.sigmoid: partial(_plain, "sigmoid"),
    torch.tanh: partial(_plain, "tanh"),
    F.tanh: partial(_plain, "tanh"),
}
