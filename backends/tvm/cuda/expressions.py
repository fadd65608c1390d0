"""What expressions and statements hold, and expressions with others in the place of variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad

from ..tensor_ir.loops import Buffer, Expr, type_of


def nodes(value: Any) -> list[Any]:
    """All parts of an expression or statement."""
    found: list[Any] = []
    tvm_ffi.structural_walk(value, (object, found.append), order="post")
    return found


def loads(value: Expr) -> list[Any]:
    """The reads of memory in an expression."""
    return [node for node in nodes(value) if isinstance(node, TensorLoad)]


def variables(value: Any) -> set[Any]:
    """All variables, and buffers, that an expression or statement names."""
    return {node for node in nodes(value) if isinstance(node, tirx.Var)}


def buffers(body: Any) -> list[Buffer]:
    """The buffers that statements read or write, each once."""
    found: dict[Buffer, None] = {}
    for node in nodes(body):
        if isinstance(node, TensorLoad):
            found[node.source] = None
        elif isinstance(node, tirx.BufferStore):
            found[node.buffer] = None
    return list(found)


def substituted(value: Expr, given: Mapping[Expr, Expr]) -> Expr:
    """The expression with others for its variables."""
    return tvm_ffi.structural_map(value, (tirx.Var, lambda variable: given.get(variable, variable)))


def is_choice(value: Any) -> bool:
    """Whether an expression is one of two others, of which only that one is worked out."""
    return isinstance(value, Call) and str(getattr(value.op, "name", "")).endswith("if_then_else")


def with_known_bits(body: Any) -> Any:
    """Statements in which the bits of numbers are numbers: C has an address for variables alone."""

    def known(call: Any) -> Any:
        if not str(getattr(call.op, "name", "")).endswith("reinterpret"):
            return call
        (given,) = call.args
        if not isinstance(given, (tirx.FloatImm, tirx.IntImm)):
            return call
        kind = type_of(call)
        found = np.array(given.value, type_of(given)).view(kind)
        return tirx.const(found.item(), kind)

    return tvm_ffi.structural_map(body, (Call, known))
