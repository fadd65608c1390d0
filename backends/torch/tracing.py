"""What operators see of torch while a graph is lowered: every call is written down as an fx node."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.graph import CodeGen, PythonCode
from torch.fx.proxy import GraphAppendingTracer

from ...compiler.names import is_attribute

# Functions that make tensors from nothing; they must be told where.
_FACTORIES = {
    *("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "tensor", "zeros"),
    *("rand", "randint", "randn", "randperm", "tril_indices", "triu_indices"),
    *("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"),
}


class _Path(str):
    """A path of attributes, some of which are called like keywords.

    torch.fx writes `self.a.class` for it unless a part says that it is no identifier.
    """

    __slots__ = ()

    def split(self, *args: Any) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The parts."""
        return [_Part(part) for part in super().split(*args)]


class _Part(str):
    __slots__ = ()

    def isidentifier(self) -> bool:
        return is_attribute(str(self))


class Code(CodeGen):
    """The code of fx graphs whose modules and weights may be called like keywords."""

    def _gen_python_code(self, nodes: Any, *args: Any, **kwargs: Any) -> PythonCode:
        for node in nodes:
            if node.op in ("call_module", "get_attr") and not all(map(is_attribute, node.target.split("."))):
                node.target = _Path(node.target)
        return super()._gen_python_code(nodes, *args, **kwargs)


class Tracer(GraphAppendingTracer):
    """Appends to an fx graph; names new nodes by the plan's node that is being lowered and remembers it."""

    def __init__(self, graph: fx.Graph) -> None:
        super().__init__(graph)
        self.prefix: str | None = None
        self.marks: dict[str, Any] = {}

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: Any = None, type_expr: Any = None
    ) -> fx.Node:
        """Append a node; without a name it is called after the plan's node and its own function."""
        if name is None and self.prefix is not None and kind in ("call_function", "call_method"):
            called = target if isinstance(target, str) else getattr(target, "__name__", "value")
            name = f"{self.prefix}_{called.strip('_')}"
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        node.meta.update(self.marks)
        return node


class Namespace:
    """A module of torch whose functions are recorded instead of run; classes and constants are themselves."""

    def __init__(self, module: types.ModuleType, tracer: Tracer, device: Callable[[], Any]) -> None:
        self._module = module
        self._tracer = tracer
        self._device = device

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, types.ModuleType):
            return Namespace(found, self._tracer, self._device)
        if isinstance(found, type) or not callable(found):
            return found

        def record(*args: Any, **kwargs: Any) -> Any:
            if name in _FACTORIES and self._module is torch and "device" not in kwargs:
                device = self._device()
                if device is not None:
                    kwargs["device"] = device
            proxy = self._tracer.create_proxy("call_function", found, args, kwargs)
            proxy.node.meta["called"] = f"{self._module.__name__}.{name}"
            return proxy

        return record
