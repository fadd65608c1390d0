"""Whether a program is one that can be run: before anything of an artifact is loaded.

Every slot that a step, a result or a reading names exists and is of a kind that may stand there, formulas
read symbols that are read from the inputs, and no two values that are needed at one time share a place in the
arena. What kernels do with the slots is theirs: a library names the program it was made for (`signature`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, cast

from ....compiler.dtypes import DTYPES
from ....compiler.errors import PlanformError
from . import schema
from .dtypes import numpy_dtype, tvm_dtype
from .numpy_ops import function_of
from .program import TURN, Formula, Program, Slot, Step, value_of

MOST_BYTES = 1 << 47
"""What no machine has for one value or arena."""
_HELD = ("weight", "constant", "unused")
_TYPES = frozenset(tvm_dtype(dtype) for dtype in DTYPES)
_ALIGNMENT = 64


class ProgramError(PlanformError, ValueError):
    """A program that cannot be run; the message says why."""


def signature(program: Program) -> str:
    """The digest of all that the kernels of a program take for granted of it.

    Constants may have become weights since the kernels were made, and names are free.
    """
    data = program.to_dict()
    slots = [
        [
            "held" if each["kind"] in _HELD else each["kind"],
            each["dtype"],
            each["shape"] if each["kind"] not in _HELD else None,
            each["stored"],
        ]
        for each in data["slots"]
    ]
    readings = [{**each, "least": 0} for each in data["readings"]]
    told = [slots, data["steps"], readings, data["offsets"], data["arena"], data["outputs"]]
    told += [[each for each in data["checks"] if not each["once"]]]
    told += [[[each["shape"], each["dtype"]] for each in data["inputs"]]]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=_number).encode()).hexdigest()


def _number(value: Any) -> Any:
    return value.item()


def verify(program: Program) -> None:
    """Raise `ProgramError` unless the program can be run; what it is made of has the right types."""
    symbols = _readings(program)
    for number, slot in enumerate(program.slots):
        _slot(f"slot {number}", slot, symbols)
    _interface(program, symbols)
    for relation, left, right, _ in program.guards:
        _formulas(f"a guard ({relation})", (left, right), symbols)
    _steps(program, symbols)
    _checks(program, symbols)
    _arena(program)


def _fail(what: str, why: str) -> ProgramError:
    return ProgramError(f"{what} {why}")


def _readings(program: Program) -> frozenset[str]:
    found: set[str] = set()
    for reading in program.readings:
        what = f"the symbol {reading.symbol}"
        if reading.symbol in found or reading.symbol == TURN:
            raise _fail(what, "is read twice")
        if reading.input >= len(program.inputs) or reading.axis >= len(program.inputs[reading.input].shape):
            raise _fail(what, "is read from an axis that is not there")
        found.add(reading.symbol)
    return frozenset(found)


def _names(formula: Formula) -> Iterator[str]:
    pending = [formula]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, (list, tuple)):
            pending.extend(part[1:])


def _formulas(what: str, formulas: Iterable[Formula], symbols: frozenset[str]) -> None:
    for formula in formulas:
        for name in _names(formula):
            if name not in symbols:
                raise _fail(what, f"reads {name}, which no input tells")
        if not any(_names(formula)):
            try:
                value_of(formula, {})
            except ZeroDivisionError:
                raise _fail(what, "divides by zero") from None


def _known(formulas: Sequence[Formula]) -> bool:
    return not any(True for formula in formulas for _ in _names(formula))


def _bytes(what: str, slot: Slot, symbols: Mapping[str, int]) -> int:
    sizes = [value_of(size, symbols) for size in slot.stored]
    bytes = prod(sizes) * numpy_dtype(slot.dtype).itemsize
    if any(size < 0 for size in sizes) or bytes > MOST_BYTES:
        raise _fail(what, f"has the sizes {sizes}")
    return bytes


def _slot(what: str, slot: Slot, symbols: frozenset[str]) -> None:
    if slot.dtype not in _TYPES:
        raise _fail(what, f"holds {slot.dtype}, which is no type")
    held = slot.kind in ("weight", "constant")
    _formulas(what, (*slot.shape, *slot.stored), frozenset() if held else symbols)
    if _known(slot.stored):
        _bytes(what, slot, {})
    if slot.kind == "weight" and not isinstance(slot.key, str):
        raise _fail(what, "is a weight without a name")


def _interface(program: Program, symbols: frozenset[str]) -> None:
    slots = program.slots
    for number, port in enumerate(program.inputs):
        what = f"the input {port.name}"
        if number >= len(slots) or slots[number].kind != "input":
            raise _fail(what, "has no slot")
        slot = slots[number]
        _formulas(what, port.shape, symbols)
        if not slot.dtype == port.dtype or not tuple(slot.shape) == tuple(slot.stored) == tuple(port.shape):
            raise _fail(what, "is not what its slot holds")
    if any(slot.kind == "input" for slot in slots[len(program.inputs) :]):
        raise _fail("a slot", "is an input that nobody gives")
    for number, (slot, shape) in enumerate(program.outputs):
        what = f"the result {number}"
        if slot >= len(slots) or slots[slot].kind != "output":
            raise _fail(what, "has no slot")
        _formulas(what, shape, symbols)
        stored = slots[slot].stored
        if _known((*shape, *stored)) and _count(shape) != _count(stored):
            raise _fail(what, "has another size than its slot")
    if list(_leaves(program.tree)) != list(range(len(program.outputs))):
        raise _fail("the structure of the results", "does not name each of them once, in order")


def _count(shape: Sequence[Formula], symbols: Mapping[str, int] | None = None) -> int:
    return prod([value_of(size, symbols or {}) for size in shape])


def _leaves(tree: Any) -> Iterator[int]:
    if isinstance(tree, dict):
        if set(tree) == {"leaf"} and isinstance(tree["leaf"], int):
            yield tree["leaf"]
            return
        for item in tree.values():
            yield from _leaves(item)
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _leaves(item)


def _steps(program: Program, symbols: frozenset[str]) -> None:
    held = {number for number, slot in enumerate(program.slots) if slot.kind in ("weight", "constant")}
    made = {number for number, slot in enumerate(program.slots) if slot.kind == "weight"}
    for number, step in enumerate(program.constants):
        what = f"step {number} of the constants"
        _step(what, step, program, frozenset())
        if not made.issuperset(step.operands):
            raise _fail(what, "reads what is not made before it")
        if any(program.slots[slot].kind != "constant" for slot in step.results):
            raise _fail(what, "makes what is no constant")
        made.update(step.results)
    if not held <= made:
        raise _fail("a constant", "is made by no step")
    made |= {number for number, slot in enumerate(program.slots) if slot.kind == "input"}
    for number, step in enumerate(program.steps):
        what = f"step {number}"
        _step(what, step, program, symbols)
        if not made.issuperset(step.operands):
            raise _fail(what, "reads what is not made before it")
        if any(program.slots[slot].kind not in ("arena", "output") for slot in step.results):
            raise _fail(what, "writes what is not its own")
        made.update(step.results)
    if any(slot not in made for slot, _ in program.outputs):
        raise _fail("a result", "is made by no step")


def _step(what: str, step: Step, program: Program, symbols: frozenset[str], inside: bool = False) -> None:
    slots = program.slots
    own = {*step.operands, *step.results}
    if any(slot >= len(slots) or slots[slot].kind == "unused" for slot in own):
        raise _fail(what, "names a slot that is not there")
    if not step.results or len(set(step.results)) != len(step.results) or not set(step.over) <= own:
        raise _fail(what, "has results or places that cannot be")
    allowed = symbols | {TURN} if inside else symbols
    for name in step.symbols:
        if name not in allowed:
            raise _fail(what, f"reads {name}, which no input tells")
    for launch in step.launches:
        if any(slot >= len(slots) or slots[slot].kind == "unused" for slot in launch.slots):
            raise _fail(what, "names a slot that is not there")
        if not set(launch.symbols) <= allowed or launch.threads > 1024:
            raise _fail(what, "has a launch that cannot be")
        _formulas(what, (launch.blocks,), symbols)
    if step.external:
        if step.body or step.start or step.launches or inside:
            raise _fail(what, "is an operator and a loop at once")
        _operator(what, step, slots, symbols)
    if bool(step.body) != (step.count is not None) or (step.start and not step.body):
        raise _fail(what, "is half of a loop")
    if step.count is not None:
        _formulas(what, (step.count,), symbols)
    for each in (*step.start, *step.body):
        _step(what, each, program, symbols, inside=True)
        if not own.issuperset((*each.operands, *each.results)):
            raise _fail(what, "does not say all that its loop reads and writes")


def _checks(program: Program, symbols: frozenset[str]) -> None:
    for number, check in enumerate(program.checks):
        what = f"check {number}"
        slot = program.slots[check.slot] if check.slot < len(program.slots) else None
        if slot is None or slot.kind not in (
            ("constant",) if check.once else ("constant", "weight", "output")
        ):
            raise _fail(what, "reads what is not there after a call")
        if slot.dtype != "int64" or tuple(slot.stored) != (2,):
            raise _fail(what, "reads what are no extremes")
        _formulas(what, (check.size, check.count), frozenset() if check.once else symbols)


def _operator(what: str, step: Step, slots: Sequence[Slot], symbols: frozenset[str]) -> None:
    if step.function == "copy":
        if len(step.operands) != 1 or len(step.results) != 1:
            raise _fail(what, "copies more than one value")
        return
    arguments = step.arguments or {}
    names, shapes = arguments.get("slots"), arguments.get("shapes")
    if not all(
        isinstance(each, (list, tuple)) and len(each) == len(step.operands) for each in (names, shapes)
    ):
        raise _fail(what, "does not say what its operands are")
    for operand, shape in zip(step.operands, cast("Sequence[Any]", shapes), strict=True):
        try:
            schema.formula(["add", 0, *shape], what)
        except (schema.SchemaError, TypeError):
            raise _fail(what, "has an operand of no shape") from None
        _formulas(what, shape, symbols)
        stored = slots[operand].stored
        if _known((*shape, *stored)) and _count(shape) != _count(stored):
            raise _fail(what, "has an operand of another size than its slot")
    try:
        function_of(step, slots)
    except Exception as error:
        raise _fail(what, f"is no operator that can be run ({type(error).__name__}: {error})") from None


def _arena(program: Program) -> None:
    """Places are inside the arena, and apart from those of all values that are needed at the same time."""
    own = {number for number, slot in enumerate(program.slots) if slot.kind == "arena"}
    if program.arena is None:
        if program.offsets:
            raise _fail("the arena", "has places and no size")
        return
    if set(program.offsets) != own:
        raise _fail("the arena", "has places for other values than its own")
    if not all(_known(program.slots[number].stored) for number in own):
        raise _fail("the arena", "has a size, and its values have none")
    ends = {
        number: offset + _bytes(f"slot {number}", program.slots[number], {})
        for number, offset in program.offsets.items()
    }
    room = sum(
        -(-(ends[number] - offset) // _ALIGNMENT) * _ALIGNMENT for number, offset in program.offsets.items()
    )
    if any(end > program.arena for end in ends.values()) or program.arena > room:
        raise _fail("the arena", f"has {program.arena} bytes, which its values do not fit")
    if any(offset % _ALIGNMENT for offset in program.offsets.values()):
        raise _fail("the arena", "has places that are not aligned")
    _apart(program, ends)


def _apart(program: Program, ends: Mapping[int, int]) -> None:
    last: dict[int, int] = {}
    for number, step in enumerate(program.steps):
        last.update(dict.fromkeys((*step.operands, *step.results), number))
    live: set[int] = set()
    for number, step in enumerate(program.steps):
        for slot in step.results:
            if slot not in program.offsets:
                continue
            shared = set(step.over) if slot == step.results[0] else set[int]()
            for other in live:
                apart = ends[other] <= program.offsets[slot] or ends[slot] <= program.offsets[other]
                dies = other in shared and last[other] == number
                if other != slot and not apart and not dies:
                    raise _fail(f"step {number}", f"writes slot {slot} over slot {other}, which is needed")
            live.add(slot)
        live = {slot for slot in live if last[slot] > number}


def check_sizes(program: Program, symbols: Mapping[str, int]) -> str | None:
    """Why the program cannot be run at some sizes of its inputs, None if it can: values fit into memory."""
    try:
        for number, slot in enumerate(program.slots):
            if slot.kind in ("input", "output", "arena"):
                _bytes(f"slot {number}", slot, symbols)
        for number, (slot, shape) in enumerate(program.outputs):
            if _count(shape, symbols) != _count(program.slots[slot].stored, symbols):
                return f"the result {number} has another size than its slot"
    except ZeroDivisionError:
        return "a size is divided by zero"
    except ProgramError as error:
        return str(error)
    return None
