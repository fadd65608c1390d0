"""Which calls of a plan become modules of torch.nn at their label path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ...compiler.dtypes import DType, is_complex, is_float
from ...compiler.graph.graph import Node, Weight
from ...compiler.graph.program import Program
from .dtypes import torch_dtype
from .errors import LoweringError


def weights_of(node: Node) -> dict[str, str]:
    """The weights that a node reads directly: their paths by slot."""
    return {
        slot: value.node.op.path  # pyright: ignore[reportAttributeAccessIssue]
        for slot, value in zip(node.slots, node.inputs, strict=True)
        if value.node.op.name == "weight"
    }


def static_shape(weight: Weight) -> tuple[int, ...]:
    """The weight's sizes, which a plan always knows."""
    sizes = tuple(size for size in weight.type.shape if isinstance(size, int))
    if len(sizes) != len(weight.type.shape):
        raise LoweringError(f"{weight.path}: the size of a weight is not known: {weight.type}")
    return sizes


def build(node: Node, library: Any) -> Any:
    """What the operator's `module` makes of the operands' shapes; None without one."""
    make = getattr(node.op, "module", None)
    if make is None:
        return None
    return node.op.call(make, node.op.arrange(node.slots, [value.shape for value in node.inputs]), library)


def leaf_modules(program: Program) -> dict[str, nn.Module]:
    """The leaf modules by path, on the meta device.

    A labelled call is a leaf if torch.nn has its class, the weights that it reads lie right under its label,
    all that read these weights are equal calls, and the module owns exactly these weights.
    """
    labelled: dict[str, list[Node]] = {}
    readers: dict[str, set[Any]] = {}
    for graph in program.graphs.values():
        for node in graph.nodes:
            if node.path is not None and not node.op.source:
                labelled.setdefault(node.path, []).append(node)
            for path in weights_of(node).values():
                readers.setdefault(path, set()).add(_in_training(node))
    found: dict[str, nn.Module] = {}
    with torch.device("meta"):
        for path, nodes in labelled.items():
            first, *others = nodes
            weights = weights_of(first)
            if any(
                _in_training(other) != _in_training(first) or weights_of(other) != weights for other in others
            ):
                continue
            if any(own != f"{path}.{slot}" or len(readers[own]) > 1 for slot, own in weights.items()):
                continue
            module = build(first, SHAPES)
            if module is not None and _owns(
                module, {slot: program.weights[own] for slot, own in weights.items()}
            ):
                # Its call may change its state, so that fx must not remove it where the result is not used.
                if any("state" in node.effects for node in nodes):
                    module._is_impure = True
                found[path] = module
    return found


def _in_training(node: Node) -> Any:
    """The operator apart from the mode, with the names of its operands."""
    return node.op.in_mode("train") or node.op, node.slots


def _owns(module: nn.Module, weights: Mapping[str, Weight]) -> bool:
    owned = {name: ("param", tuple(tensor.shape)) for name, tensor in module.named_parameters()}
    owned |= {name: ("buffer", tuple(tensor.shape)) for name, tensor in module.named_buffers()}
    return owned == {name: (weight.kind, weight.type.shape) for name, weight in weights.items()}


class LeafCall:
    """A node's leaf as an operator's `call_module` is given it: a call is recorded, attributes are real."""

    def __init__(self, node: Node, record: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self._node = node
        self._record = record

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call of the module."""
        return self._record(args, kwargs)

    def __getattr__(self, name: str) -> Any:
        with torch.device("meta"):
            return getattr(build(self._node, SHAPES), name)


class _Shapes:
    """The `Lowering` that `module` methods are given: the library itself, and operands that are shapes."""

    torch, nn, F = torch, nn, nn.functional
    shape, rank = staticmethod(tuple), staticmethod(len)

    def size(self, size: Any) -> Any:
        """The size itself."""
        return size

    def dtype(self, dtype: DType) -> torch.dtype:
        """Irrelevant to a module whose weights are replaced."""
        return torch_dtype(dtype)


SHAPES = _Shapes()
Materialise = Callable[[Weight], torch.Tensor]


def register(
    root: nn.Module, weights: Mapping[str, Weight], leaves: Mapping[str, nn.Module], make: Materialise
) -> None:
    """Fill a module with the weights at their paths, in order; plain modules stand at the paths between."""
    for path, weight in weights.items():
        parts = path.split(".")
        owner, name = root, parts[-1]
        for depth, part in enumerate(parts[:-1], 1):
            owner = _child(owner, part, leaves.get(".".join(parts[:depth])))
        tensor = make(weight)
        if weight.kind == "buffer":
            owner._buffers[name] = tensor
            if not weight.persistent:
                owner._non_persistent_buffers_set.add(name)
        else:
            differentiable = is_float(weight.type.dtype) or is_complex(weight.type.dtype)
            owner._parameters[name] = nn.Parameter(tensor, requires_grad=weight.trainable and differentiable)
    for path, leaf in leaves.items():
        *parts, name = path.split(".")
        owner = root
        for part in parts:
            owner = _child(owner, part, None)
        _child(owner, name, leaf)


class Scope(nn.Module):
    """What stands under a label that is no call of one torch module: modules and weights by name.

    Children with numbers for names can be reached by index, as in `torch.nn.Sequential`: `module.layer1[0]`.
    """

    def __getitem__(self, index: int) -> nn.Module:
        found = self._modules.get(str(index if index >= 0 else len(self._modules) + index))
        if found is None:
            raise IndexError(f"there is no module {index} among {', '.join(self._modules) or 'none'}")
        return found

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[nn.Module]:
        return (module for module in self._modules.values() if module is not None)


def _child(owner: nn.Module, name: str, leaf: nn.Module | None) -> nn.Module:
    known = owner._modules.get(name)
    if known is None:
        known = leaf if leaf is not None else Scope()
        owner._modules[name] = known
    return known
