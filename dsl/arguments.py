"""Static arguments of operators: written values checked against the declared types and normalised."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from ..compiler.errors import PlanformError
from ..compiler.ops.core.init import Init
from ..compiler.sizes.dims import Dim
from .values import DTypeValue, kind_of, show


class Mismatch(PlanformError):
    """A value that does not fit a declared type: what was wanted, and what came."""

    def __init__(self, wanted: str, value: Any) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.value = value

    @property
    def got(self) -> str:
        """The value in words."""
        if isinstance(self.value, (str, bool, int, float)):
            return show(self.value)
        return kind_of(self.value)


Check = Callable[[Any], Any]


def coerce(hint: Any, value: Any) -> Any:
    """The value as the operator's field takes it (lists become tuples); raises `Mismatch`."""
    return _checker(hint)(value)


def _int(value: Any) -> Any:
    if type(value) is int:
        return value
    raise Mismatch("an int", value)


def _size(value: Any) -> Any:
    if type(value) is int or isinstance(value, Dim):
        return value
    raise Mismatch("a size", value)


def _dim(value: Any) -> Any:
    if isinstance(value, Dim):
        return value
    raise Mismatch("a size", value)


def _float(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise Mismatch("a number", value)


def _bool(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise Mismatch("a bool", value)


def _str(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, DTypeValue):
        return value.name
    raise Mismatch("a string", value)


def _none(value: Any) -> Any:
    if value is None:
        return None
    raise Mismatch("none", value)


def _init(value: Any) -> Any:
    if isinstance(value, Init):
        return value
    raise Mismatch("an initialiser", value)


_PLAIN: dict[Any, Check] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
    Dim: _dim,
    Init: _init,
    type(None): _none,
    None: _none,
    Any: lambda value: _frozen(value),
}


def _frozen(value: Any) -> Any:
    """Nested lists as tuples."""
    if isinstance(value, (list, tuple)):
        return tuple([_frozen(item) for item in cast("list[Any]", value)])
    return value


@cache
def _checker(hint: Any) -> Check:
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    raise TypeError(f"an operator's argument cannot have the type {hint}")


def _literal(choices: tuple[Any, ...]) -> Check:
    def check(value: Any) -> Any:
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        raise Mismatch(" or ".join(show(choice) for choice in choices), value)

    return check


def _tuple(arguments: tuple[Any, ...]) -> Check:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = _checker(arguments[0])

        def check(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return tuple([item(part) for part in cast("list[Any]", value)])
            raise Mismatch("a list", value)

        return check
    parts = [_checker(argument) for argument in arguments]

    def check_fixed(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and len(cast("list[Any]", value)) == len(parts):
            items = cast("list[Any]", value)
            return tuple([part(item) for part, item in zip(parts, items, strict=True)])
        raise Mismatch(f"a list of {len(parts)}", value)

    return check_fixed


def _union(options: tuple[Any, ...]) -> Check:
    if set(options) == {int, Dim}:
        return _size
    checks = [_checker(option) for option in options]

    # Ask ints before floats and so on: the first that takes the value as it is.
    def check(value: Any) -> Any:
        wanted: list[str] = []
        for one in checks:
            try:
                return one(value)
            except Mismatch as error:
                if error.value is not value:
                    # The list is right, and one of its items is not.
                    raise
                if error.wanted not in wanted:
                    wanted.append(error.wanted)
        if "a size" in wanted:
            wanted = [name for name in wanted if name != "an int"]
        raise Mismatch(" or ".join(wanted), value)

    return check
