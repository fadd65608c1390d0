"""What a compiled plan does at a call: places in memory, and steps that read and write them.

All of it is plain data, so that an artifact can hold it, and the runtime needs neither the graph nor TVM's
compiler. Sizes are ints or formulas, as nested lists: `["mul", "B", 64]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import add, floordiv, mod, mul
from operator import pow as power
from typing import Any, Literal

Formula = Any
Kind = Literal["input", "output", "weight", "constant", "arena", "unused"]
RELATIONS = ("==", ">=", "%")
"""What a guard may ask of two sizes; `%` is that the first is a multiple of the second."""
TURN = "turn"
"""The symbol that counts the turns of a loop."""
OPERATIONS = {"add": add, "mul": mul, "floordiv": floordiv, "mod": mod, "pow": power, "min": min, "max": max}


def value_of(formula: Formula, symbols: Mapping[str, int]) -> int:
    """The number that a formula gives."""
    if isinstance(formula, int):
        return formula
    if isinstance(formula, str):
        return symbols[formula]
    kind, *rest = formula
    return reduce(OPERATIONS[kind], [value_of(each, symbols) for each in rest])


@dataclass(frozen=True)
class Slot:
    """A place in memory. `key` is the path of a weight, or the number of an input or output.

    `shape` is the value's, `stored` that of the elements in memory, which a packed layout may fill up.
    """

    kind: Kind
    dtype: str
    shape: tuple[Formula, ...]
    stored: tuple[Formula, ...]
    key: str | int | None = None


@dataclass(frozen=True)
class Launch:
    """A kernel of a GPU: so many blocks of so many threads, over these slots and then these symbols."""

    kernel: str
    blocks: Formula
    threads: int
    slots: tuple[int, ...]
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A kernel, or an operator that numpy runs (then `arguments` are its arguments, by name).

    `over` are operands (slots) whose place the first result may take. `about` says where it comes from. A
    loop runs `start`, and `body` `count` times, the symbol `turn` going up from 0, or down to it if
    `reverse`; its operands and results are all that these read and write. On a GPU
    a kernel is `launches` in a row.
    """

    function: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    symbols: tuple[str, ...] = ()
    over: tuple[int, ...] = ()
    arguments: Mapping[str, Any] | None = None
    about: str = ""
    start: tuple[Step, ...] = ()
    body: tuple[Step, ...] = ()
    count: Formula = None
    reverse: bool = False
    launches: tuple[Launch, ...] = ()

    @property
    def external(self) -> bool:
        """Whether it is no kernel."""
        return self.arguments is not None


@dataclass(frozen=True)
class Port:
    """An input: its name, shape and type."""

    name: str
    shape: tuple[Formula, ...]
    dtype: str


@dataclass(frozen=True)
class SymbolSource:
    """A symbol's value: `(size of that axis of that input - offset) / factor`, at least `least`."""

    symbol: str
    input: int
    axis: int
    factor: int
    offset: int
    least: int = 0


@dataclass(frozen=True)
class Check:
    """Positions that data gives: of `count` ones, the least and the greatest are found in a slot, i64[2].

    They must be at least 0 and less than `size`; `about` says what reads at them, and where in the plan. With
    `once` neither they nor the size depend on a call: they are constants, checked when these are made.
    """

    slot: int
    size: Formula
    count: Formula
    about: str
    once: bool = False


@dataclass(frozen=True)
class Program:
    """Slots; the steps that make constants once, and those of each call; the interface.

    `outputs` are, leaf by leaf, (slot, shape): several may view one slot. `tree` is the structure of the
    results, with numbers of leaves. `guards` are relations that must hold of the sizes, `checks` of positions
    that data gives. `order` and `offsets` place the arena's slots where all sizes are numbers.
    """

    name: str
    slots: tuple[Slot, ...]
    constants: tuple[Step, ...]
    steps: tuple[Step, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[tuple[int, tuple[Formula, ...]], ...]
    tree: Any
    readings: tuple[SymbolSource, ...]
    guards: tuple[tuple[str, Formula, Formula, str], ...] = ()
    checks: tuple[Check, ...] = ()
    offsets: Mapping[int, int] = field(default_factory=dict)
    arena: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "tree": _tree_to_dict(self.tree)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Program:
        """From what `to_dict` gave, also after JSON made lists of tuples and texts of numbers."""
        return cls(
            data["name"],
            tuple(
                Slot(**{**each, "shape": tuple(each["shape"]), "stored": tuple(each["stored"])})
                for each in data["slots"]
            ),
            tuple(_step(each) for each in data["constants"]),
            tuple(_step(each) for each in data["steps"]),
            tuple(Port(each["name"], tuple(each["shape"]), each["dtype"]) for each in data["inputs"]),
            tuple((slot, tuple(shape)) for slot, shape in data["outputs"]),
            _tree_of(data["tree"]),
            tuple(SymbolSource(**each) for each in data["readings"]),
            tuple((relation, left, right, message) for relation, left, right, message in data["guards"]),
            tuple(Check(**each) for each in data["checks"]),
            {int(slot): offset for slot, offset in data["offsets"].items()},
            data["arena"],
        )


def _step(data: Mapping[str, Any]) -> Step:
    lists = ("operands", "results", "symbols", "over")
    inner = {name: tuple(_step(each) for each in data[name]) for name in ("start", "body")}
    launches = tuple(
        Launch(**{**each, "slots": tuple(each["slots"]), "symbols": tuple(each["symbols"])})
        for each in data.get("launches", ())
    )
    return Step(**{**data, **{name: tuple(data[name]) for name in lists}, **inner, "launches": launches})


def is_leaf(tree: Any) -> bool:
    """Whether a tree is the number of a result."""
    return isinstance(tree, dict) and set(tree) == {"leaf"} and isinstance(tree["leaf"], int)


def _tree_to_dict(tree: Any) -> Any:
    """A tree as JSON that tells tuples from lists, and the numbers of results from records."""
    if is_leaf(tree):
        return {"leaf": tree["leaf"]}
    if isinstance(tree, dict):
        return {"record": {key: _tree_to_dict(item) for key, item in tree.items()}}
    if isinstance(tree, (tuple, list)):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [_tree_to_dict(item) for item in tree]}
    return {"value": tree}


def _tree_of(data: Mapping[str, Any]) -> Any:
    ((kind, content),) = data.items()
    if kind == "record":
        return {key: _tree_of(item) for key, item in content.items()}
    if kind in ("tuple", "list"):
        items = [_tree_of(item) for item in content]
        return tuple(items) if kind == "tuple" else items
    return dict(data) if kind == "leaf" else content


def segments(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """Steps cut so that kernels in a row are together, and what numpy runs is by itself."""
    found: list[list[Step]] = []
    for step in steps:
        if found and not step.external and not found[-1][0].external:
            found[-1].append(step)
        else:
            found.append([step])
    return [tuple(each) for each in found]
