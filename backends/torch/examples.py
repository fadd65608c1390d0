"""What a traced call would give, seen on an example without data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from ...compiler.sizes.dims import Size, free_symbols
from ...compiler.sizes.symbols import value_of
from ...compiler.types import TensorType
from .dtypes import torch_dtype

# For every symbol: what kernels fit into and small numbers divide.
_SIZE = 840


class Examples:
    """Runs traced nodes on the meta device; `known` gives the plan's type of a node, if it has one.

    Only ranks and types of the results mean something: sizes that are symbols have one arbitrary value.
    """

    def __init__(self, known: Callable[[fx.Node], TensorType | None], dtype: torch.dtype) -> None:
        self._known = known
        self._dtype = dtype
        self._found: dict[fx.Node, Any] = {}

    def of(self, node: fx.Node) -> Any:
        """The example of a node's result."""
        if node not in self._found:
            self._found[node] = self._make(node)
        return self._found[node]

    def _make(self, node: fx.Node) -> Any:
        known = self._known(node)
        if known is not None:
            shape = [_value(size) for size in known.shape]
            return torch.empty(shape, dtype=torch_dtype(known.dtype, self._dtype), device="meta")
        # Marks that stand for sizes and devices in traces that are to be printed.
        if "size" in node.meta:
            return _value(node.meta["size"])
        if "device" in node.meta:
            return torch.device("meta")
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.of)
        if node.target is getattr:
            return torch.device("meta") if args[1] == "device" else getattr(args[0], str(args[1]))
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target), node
        return node.target(*args, **kwargs)


def _value(size: Size) -> int:
    return value_of(size, dict.fromkeys(free_symbols(size), _SIZE))
