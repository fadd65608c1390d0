"""The functions that call kernels in a row: one call from outside runs all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType

from ..lowering.slices import TURN
from ..runtime.artifact import mark
from ..runtime.dtypes import storage_dtype
from ..runtime.program import Formula, Program, Step, segments
from ..tensor_ir.expressions import OPERATIONS


def drivers(program: Program) -> dict[str, Any]:
    """A function for each run of kernels between other steps; it calls kernels by name.

    It is called `call_<n>` or `constants_<n>`, and takes the table of pointers (64-bit numbers, one for each
    slot) and the sizes of the symbols in the order of `program.readings`.
    """
    found: dict[str, Any] = {}
    symbols = [reading.symbol for reading in program.readings]
    for phase, steps in (("constants", program.constants), ("call", program.steps)):
        for number, segment in enumerate(segments(steps)):
            if not segment[0].external:
                name = f"{phase}_{number}"
                found[name] = _driver(name, segment, program, symbols)
    # Does nothing: its name tells the library's program.
    found[mark(program)] = _driver(mark(program), (), program, symbols)
    return found


def _driver(name: str, steps: Sequence[Step], program: Program, symbols: Sequence[str]) -> Any:
    table = tirx.decl_buffer([max(len(program.slots), 1)], "int64", name="table")
    sizes = tirx.decl_buffer([max(len(symbols), 1)], "int64", name="sizes")
    bindings: list[Any] = []
    pointers: dict[tuple[int, str], Any] = {}

    def pointer(slot: int, dtype: str) -> Any:
        key = slot, dtype
        if key not in pointers:
            kind = PointerType(PrimType(storage_dtype(dtype)), "global")
            pointers[key] = tirx.Var(f"slot{slot}", kind)
            found = tirx.call_intrin(kind, "tirx.reinterpret", table[slot])
            bindings.append(tirx.Bind(pointers[key], found))
        return pointers[key]

    def size(formula: Formula) -> Any:
        if isinstance(formula, int):
            return tirx.const(formula, "int64")
        if isinstance(formula, str):
            return sizes[symbols.index(formula)]
        kind, *rest = formula
        return reduce(OPERATIONS[kind], [size(each) for each in rest])

    def call(step: Step, turn: Any) -> Any:
        if step.body:
            return loop(step)
        slots = [*step.operands, *step.results]
        arguments = [pointer(slot, program.slots[slot].dtype) for slot in slots]
        arguments += [turn if symbol == TURN else sizes[symbols.index(symbol)] for symbol in step.symbols]
        return tirx.Evaluate(tirx.call_extern("int32", step.function, *arguments))

    def loop(step: Step) -> Any:
        number, count = tirx.Var(TURN, "int64"), size(step.count)
        turn = count - 1 - number if step.reverse else number
        body = tirx.SeqStmt([call(each, turn) for each in step.body])
        turns = tirx.For(number, tirx.const(0, "int64"), count, tirx.ForKind.SERIAL, body)
        start = [call(each, tirx.const(0, "int64")) for each in step.start]
        return tirx.SeqStmt([*start, turns])

    calls = [call(step, tirx.const(0, "int64")) for step in steps]
    if not calls:
        calls = [tirx.Evaluate(tirx.const(0, "int32"))] * 2  # a sequence of one is none
    attributes = tvm.ir.make_node("ir.DictAttrs", global_symbol=name)
    return tirx.PrimFunc([table, sizes], tirx.SeqStmt([*bindings, *calls]), attrs=attributes)
