"""What operators see of torch while a graph is lowered: every call is written down as an fx node."""

from __future__ import annotations

import keyword
import re
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.graph import CodeGen, PythonCode
from torch.fx.proxy import GraphAppendingTracer

# Functions that make tensors from nothing; they must be told where.
_FACTORIES = {
    *("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "tensor", "zeros"),
    *("rand", "randint", "randn", "randperm", "tril_indices", "triu_indices"),
    *("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"),
}


# `self.a.class`, as torch.fx writes the path of an attribute; it looks no further than `isidentifier`.
_PATH = re.compile(rf"(?<![\w.])self(?:\.\w+)*\.(?:{'|'.join(keyword.kwlist)})\b[.\w]*")


class Code(CodeGen):
    """The code of fx graphs whose modules and weights may be called like keywords."""

    def _gen_python_code(self, *args: Any, **kwargs: Any) -> PythonCode:
        made = super()._gen_python_code(*args, **kwargs)
        made.src = _PATH.sub(_by_getattr, made.src)
        return made


def _by_getattr(found: re.Match[str]) -> str:
    first, *rest = found[0].split(".")
    for part in rest:
        first = f'getattr({first}, "{part}")' if keyword.iskeyword(part) else f"{first}.{part}"
    return first


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
