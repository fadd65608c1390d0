"""What expressions evaluate to, besides plain numbers, strings, lists, tuples and tensors
(`compiler.graph.Value`).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

from ..compiler.errors import PlanformError
from ..compiler.graph.graph import Value
from ..compiler.ops.core.base import Operator
from ..compiler.ops.core.init import Init
from ..compiler.sizes.dims import Dim, render
from . import syntax

if TYPE_CHECKING:
    from .scope import FileScope, Frame


class Poison:
    """The value of an expression that failed: whatever depends on it stays silent."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<poison>"


POISON = Poison()


class Poisoned(PlanformError):
    """Raised where a poisoned value is used; the statement around it is poisoned in silence."""


class Record(dict[str, Any]):
    """A record: named values."""


@dataclass(frozen=True, slots=True)
class DTypeValue:
    """An element type as a value: `cast(x, i64)`."""

    name: str


@dataclass(frozen=True, eq=False)
class BlockDef:
    """A block or model of a file, its parameters sorted into tensor inputs and static ones."""

    syntax: syntax.Block
    file: FileScope
    inputs: tuple[syntax.Param, ...]
    statics: tuple[syntax.Param, ...]

    @property
    def name(self) -> str:
        """The name in its file."""
        return self.syntax.target.name


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A static argument given to a block value: the value, and the text it came from."""

    value: Any
    expr: syntax.Expr | None = None
    frame: Frame | None = None


@dataclass(frozen=True, eq=False)
class BlockValue:
    """A block or operator with static arguments: what a call without its inputs is. `plan` names a plan."""

    target: BlockDef | type[Operator]
    arguments: dict[str, Bound] = field(default_factory=dict[str, Bound])
    plan: str | None = None
    bindings: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def name(self) -> str:
        """The name of the block or operator."""
        return self.target.name


@dataclass(eq=False)
class SharedValue:
    """One instance of a block: every use reads the same weights, under one path."""

    block: BlockValue
    path: str
    label: str
    frozen: bool
    region: Any
    span: Any
    outer: SharedValue | None = None
    weights: dict[str, Value] = field(default_factory=dict[str, Value])


def key_of(value: Any) -> Hashable:
    """What tells a static value from others: its kind and content, for tables whose values hold it.

    A block is its declaration and arguments. What has no content to compare is itself alone, which holds as
    long as the value lives.
    """
    kind = cast("type[Any]", type(value))
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return kind, tuple((name, key_of(item)) for name, item in items)
    if isinstance(value, (list, tuple)):
        return kind, tuple(key_of(item) for item in cast("list[Any]", value))
    if isinstance(value, BlockValue):
        arguments = {name: bound.value for name, bound in value.arguments.items()}
        return kind, value.target, value.plan, key_of(arguments), key_of(value.bindings)
    if isinstance(value, float):
        # As text: a zero has a sign, and what is not a number equals itself.
        return kind, value.hex()
    if is_dataclass(value) and not isinstance(value, type) and kind.__eq__ is not object.__eq__:
        return kind, tuple(key_of(getattr(value, each.name)) for each in fields(kind))
    try:
        hash(value)
    except TypeError:
        return kind, id(value)
    return kind, value


def is_tensorish(value: Any) -> bool:
    """Whether a value is a tensor, or a list, tuple or record with a tensor in it."""
    if isinstance(value, Value):
        return True
    if isinstance(value, (list, tuple)):
        return any(is_tensorish(item) for item in cast("list[Any]", value))
    if isinstance(value, Record):
        return any(is_tensorish(item) for item in value.values())
    return False


def kind_of(value: Any) -> str:
    """The kind of a value in the words of the language."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, int):
        return "an int"
    if isinstance(value, Dim):
        return "a size"
    if isinstance(value, float):
        return "a float"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Value):
        return f"a tensor {value.type}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, tuple):
        return "a tuple"
    if isinstance(value, Record):
        return "a record"
    if isinstance(value, Init):
        return "an initialiser"
    if isinstance(value, DTypeValue):
        return "a dtype"
    return "a block"


FRACTION = "a tensor f64[]"
"""The kind of what float arithmetic makes of a size that is not bound."""


def show(value: Any) -> str:
    """A value as text of the language, shortened."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, Dim):
        return render(value)
    if isinstance(value, Value):
        return str(value.type)
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        text = ", ".join(show(item) for item in items[:8]) + (", ..." if len(items) > 8 else "")
        return f"[{text}]" if isinstance(value, list) else f"({text})"
    if isinstance(value, Record):
        return "{" + ", ".join(f"{key} = {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (BlockValue, SharedValue)):
        return value.name if isinstance(value, BlockValue) else value.label
    if isinstance(value, DTypeValue):
        return value.name
    return str(value)


def to_value(value: Any) -> Any:
    """A Python value as one of the language: a dict is a record, a tuple or list a list."""
    if isinstance(value, dict):
        return Record({str(key): to_value(item) for key, item in cast("dict[Any, Any]", value).items()})
    if isinstance(value, (list, tuple)):
        return [to_value(item) for item in cast("list[Any]", value)]
    return value
