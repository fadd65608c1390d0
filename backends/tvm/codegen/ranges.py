"""Looks at kernels whether each number that an index is made of fits its bits, wherever loops stand."""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import PointerType, TensorLoad
from tvm.ir.transform import Sequential

from ..tensor_ir.indices import FAR
from ..tensor_ir.loops import type_of
from .codegen import module_of

_LIMIT = 1 << 31


def overflowing(function: Any) -> list[str]:
    """The parts of indices, bounds of loops and conditions that have 32 bits, and may need more.

    What is read from memory is taken for a position that its operator has checked: at most `FAR` from 0.
    """
    module = Sequential([tirx.transform.FlattenBuffer()])(module_of({"kernel": function}))
    (flat,) = module.functions.values()
    return _Function(flat.body).found()


class _Function:
    def __init__(self, body: Any) -> None:
        self.analyzer = tvm.sym.Analyzer()
        # What names stand for, and all that indices are made of.
        self.bindings: dict[Any, Any] = {}
        self.roots: list[Any] = []
        tvm_ffi.structural_walk(body, (object, self._enter), order="pre")

    def found(self) -> list[str]:
        """Those that do not fit, as text."""
        left, seen, found = list(self.roots), set[Any](), dict[str, None]()
        while left:
            for node in _parts(left.pop()):
                if isinstance(node, tirx.Var) and node in self.bindings and node not in seen:
                    seen.add(node)
                    left.append(self.bindings[node])
                if isinstance(node, _ARITHMETIC) and type_of(node) == "int32" and not self._fits(node):
                    found[str(node)] = None
        return list(found)

    def _enter(self, node: Any) -> None:
        if isinstance(node, tirx.For):
            least: Any = node.min
            self.roots.extend((least, least + node.extent))
            self._know(node.loop_var, node.min, node.extent)
        elif isinstance(node, tirx.AttrStmt) and node.attr_key == "thread_extent":
            self._know(node.node.var, tirx.const(0, type_of(node.value)), node.value)
        elif isinstance(node, tirx.Bind):
            if isinstance(node.var.ty, PointerType):
                return
            self.bindings[node.var] = node.value
            if type_of(node.value) in ("int32", "int64"):
                bound: Any = self.analyzer.const_int_bound(_without_loads(node.value))
                if abs(bound.min_value) < _FINITE and abs(bound.max_value) < _FINITE:
                    count = bound.max_value - bound.min_value + 1
                    kind = type_of(node.value) if max(abs(bound.min_value), count) < _LIMIT else "int64"
                    least, extent = tirx.const(bound.min_value, kind), tirx.const(count, kind)
                    self._know(node.var, least, extent)
        elif isinstance(node, (tirx.BufferStore, TensorLoad)):
            self.roots.extend(node.indices)
        elif isinstance(node, tirx.IfThenElse) and not _reads(node.condition):
            self.roots.append(node.condition)

    def _know(self, variable: Any, least: Any, extent: Any) -> None:
        self.analyzer.bind(variable, tvm.ir.Range.from_min_extent(least, extent))

    def _fits(self, node: Any) -> bool:
        bound: Any = self.analyzer.const_int_bound(_without_loads(node))
        return bound.min_value >= -_LIMIT and bound.max_value < _LIMIT


_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul)
_FINITE = 1 << 60


def _parts(value: Any) -> list[Any]:
    """All parts of an expression but those of other indices, which are looked at by themselves."""
    found: list[Any] = []
    tvm_ffi.structural_walk(_without_loads(value), (object, found.append))
    return found


def _reads(value: Any) -> bool:
    found: list[Any] = []
    tvm_ffi.structural_walk(value, (TensorLoad, found.append))
    return bool(found)


def _without_loads(value: Any) -> Any:
    """An expression with numbers less than `FAR` from 0 for all that it reads."""
    kinds = {kind: tirx.Var("read", kind) for kind in ("int32", "int64")}

    def bounded(load: Any) -> Any:
        kind = type_of(load)
        if kind not in kinds:
            return load
        far = tirx.const(FAR, kind)
        return tirx.max(tirx.min(kinds[kind], far), -far)

    return tvm_ffi.structural_map(value, (TensorLoad, bounded))
