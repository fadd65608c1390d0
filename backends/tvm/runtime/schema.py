"""What the manifest of an artifact is made of: the type of each of its parts.

Checked before anything is built of them, so that all else may take the types for granted. It is written for
this manifest alone, since the runtime is to start fast and to need nothing but numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from ....compiler.errors import PlanformError
from .program import OPERATIONS, RELATIONS

Check = Callable[[Any, str], None]
"""Raises `SchemaError` unless a value, at a place of the manifest, is as it must be."""

MOST = 2**62
"""Bound of all integers: sums and products of two are still 128-bit at most, and bytes fit 64 bits."""
_DEPTH = 64
_KINDS = ("input", "output", "weight", "constant", "arena", "unused")
_PLAIN = (str, int, float, bool, type(None))


class SchemaError(PlanformError, ValueError):
    """A part of a manifest that is not what it must be; the message names the part."""


def _fail(at: str, wanted: str) -> SchemaError:
    return SchemaError(f"{at or 'the manifest'} is not {wanted}")


def _text(value: Any, at: str) -> None:
    if not isinstance(value, str):
        raise _fail(at, "a text")


def _flag(value: Any, at: str) -> None:
    if not isinstance(value, bool):
        raise _fail(at, "true or false")


def _int(least: int = -MOST) -> Check:
    def check(value: Any, at: str) -> None:
        if type(value) is not int or not least <= value <= MOST:
            raise _fail(at, f"a whole number of at least {least}" if least > -MOST else "a whole number")

    return check


def _one_of(*choices: str) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, str) or value not in choices:
            raise _fail(at, f"one of {', '.join(choices)}")

    return check


def _maybe(check: Check) -> Check:
    def maybe(value: Any, at: str) -> None:
        if value is not None:
            check(value, at)

    return maybe


def _either(*checks: Check) -> Check:
    def either(value: Any, at: str) -> None:
        errors: list[SchemaError] = []
        for check in checks:
            try:
                return check(value, at)
            except SchemaError as error:
                errors.append(error)
        raise errors[0]

    return either


def _list(item: Check) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, list):
            raise _fail(at, "a list")
        for number, part in enumerate(cast("list[Any]", value)):
            item(part, f"{at}[{number}]")

    return check


def _items(*parts: Check) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or len(cast("list[Any]", value)) != len(parts):
            raise _fail(at, f"a list of {len(parts)}")
        for number, (part, one) in enumerate(zip(cast("list[Any]", value), parts, strict=True)):
            one(part, f"{at}[{number}]")

    return check


def _map(item: Check) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            raise _fail(at, "an object")
        for key, part in cast("dict[str, Any]", value).items():
            item(part, f"{at}.{key}")

    return check


def _record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    others = optional or {}

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict):
            raise _fail(at, "an object")
        record = cast("dict[str, Any]", value)
        for name in fields:
            if name not in record:
                raise SchemaError(f"{at or 'the manifest'} has no {name}")
        for name, part in record.items():
            known = fields.get(name) or others.get(name)
            if known is None:
                raise SchemaError(f"{at or 'the manifest'} has {name}, which is not known")
            known(part, f"{at}.{name}" if at else name)

    return check


def formula(value: Any, at: str) -> None:
    """A number, the name of a symbol, or an operation on formulas."""
    pending = [(value, 0)]
    while pending:
        part, depth = pending.pop()
        if isinstance(part, str):
            continue
        if type(part) is int and abs(part) <= MOST:
            continue
        if not isinstance(part, list) or len(cast("list[Any]", part)) < 2 or depth > _DEPTH:
            raise _fail(at, "a size or a formula of sizes")
        kind, *rest = cast("list[Any]", part)
        if not isinstance(kind, str) or kind not in OPERATIONS:
            raise _fail(at, "a formula of known operations")
        if kind == "pow" and (len(rest) != 2 or type(rest[1]) is not int or not 0 <= rest[1] <= 64):
            raise _fail(at, "a formula with powers of at most 64")
        pending.extend((each, depth + 1) for each in rest)


def plain(value: Any, at: str) -> None:
    """What JSON holds, not nested without end."""
    pending = [(value, 0)]
    while pending:
        part, depth = pending.pop()
        if depth > _DEPTH:
            raise _fail(at, "nested less deep")
        if isinstance(part, dict):
            pending.extend((each, depth + 1) for each in cast("dict[str, Any]", part).values())
        elif isinstance(part, list):
            pending.extend((each, depth + 1) for each in cast("list[Any]", part))
        elif not isinstance(part, _PLAIN):
            raise _fail(at, "plain data")


def _tree(value: Any, at: str, depth: int = 0) -> None:
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) != 1 or depth > _DEPTH:
        raise _fail(at, "a structure of results")
    ((kind, content),) = cast("dict[str, Any]", value).items()
    if kind == "leaf":
        _int(0)(content, at)
    elif kind == "record" and isinstance(content, dict):
        for key, part in cast("dict[str, Any]", content).items():
            _tree(part, f"{at}.{key}", depth + 1)
    elif kind in ("tuple", "list") and isinstance(content, list):
        for number, part in enumerate(cast("list[Any]", content)):
            _tree(part, f"{at}[{number}]", depth + 1)
    elif kind != "value" or not isinstance(content, _PLAIN):
        raise _fail(at, "a structure of results")


_place = _int(0)
_shape = _list(formula)
_slot = _record(
    {
        "kind": _one_of(*_KINDS),
        "dtype": _text,
        "shape": _shape,
        "stored": _shape,
        "key": _maybe(_either(_text, _int(0))),
    }
)
_launch = _record(
    {
        "kernel": _text,
        "blocks": formula,
        "threads": _int(1),
        "slots": _list(_place),
        "symbols": _list(_text),
    }
)
_STEP: dict[str, Check] = {
    "function": _text,
    "operands": _list(_place),
    "results": _list(_place),
    "symbols": _list(_text),
    "over": _list(_place),
    "arguments": _maybe(_map(plain)),
    "about": _text,
    "start": _list(lambda value, at: _inner(value, at)),
    "body": _list(lambda value, at: _inner(value, at)),
    "count": _maybe(formula),
    "reverse": _flag,
    "launches": _list(_launch),
}
_step = _record(_STEP)
_steps = _list(_step)


def _inner(value: Any, at: str) -> None:
    # Loops of a plan are within each other a few times at most.
    if at.count(".body") + at.count(".start") > _DEPTH:
        raise _fail(at, "nested less deep")
    _step(value, at)


_guard = _items(_one_of(*RELATIONS), formula, formula, _text)
_check = _record({"slot": _place, "size": formula, "count": formula, "about": _text, "once": _flag})
_port = _record({"name": _text, "shape": _shape, "dtype": _text})
_reading = _record(
    {
        "symbol": _text,
        "input": _place,
        "axis": _place,
        "factor": _int(1),
        "offset": _int(),
        "least": _place,
    }
)
_program = _record(
    {
        "name": _text,
        "slots": _list(_slot),
        "constants": _steps,
        "steps": _steps,
        "inputs": _list(_port),
        "outputs": _list(_items(_place, _shape)),
        "tree": _tree,
        "readings": _list(_reading),
        "guards": _list(_guard),
        "checks": _list(_check),
        "offsets": _map(_place),
        "arena": _maybe(_place),
    }
)
_manifest = _record(
    {
        "kind": _text,
        "format": _int(1),
        "versions": _map(_text),
        "target": _map(plain),
        "architecture": _text,
        "features": _list(_text),
        "dtype": _text,
        "members": _map(_text),
        "program": _program,
    },
    # A build without weights has no plan yet, and says how its weights are packed.
    {"plan": _text, "about": _map(plain), "packings": _map(_items(_text, _maybe(_map(plain))))},
)


def check(manifest: Any) -> None:
    """Raise `SchemaError` unless a manifest is made of what manifests are made of."""
    _manifest(manifest, "")
    for key in manifest["program"]["offsets"]:
        if not key.isascii() or not key.isdigit() or len(key) > 9:
            raise _fail(f"program.offsets.{key}", "the number of a slot")
