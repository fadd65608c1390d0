"""What an operator is: one class that declares its arguments, shape rule, weights, cost and lowerings.

An `Op` stands in graphs; all that it reads, weights too, are operands. A `Layer` is what the language
offers on top: it declares the weights of a call and lowers to a core operator that reads them, so that
`conv(64, 3)` and
`conv_with(x, w)` become the same node. Class bodies annotate the arguments as written in the language;
defining a class registers it under its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from math import copysign, inf
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    Self,
    cast,
    dataclass_transform,
    get_type_hints,
)

from ...dtypes import FLOAT, DType, promote
from ...sizes.dims import Size, assumptions_in_force
from .counts import Cost
from .frozen import Frozen
from .init import Init
from .rules import ShapeError, Undecided, collecting

if TYPE_CHECKING:
    from ...graph.graph import Graph, Node
    from ...types import TensorType

Shape = tuple[Size, ...]
Sizes = Size | tuple[Size, ...]
Mode = Literal["train", "eval", "deploy"]
# How an operator's result follows from its operands, apart from what it computes; fusion goes by it.
#   elementwise   one element of the result for each element of the operands, which broadcast
#   view          other axes over the same memory: nothing is moved
#   move          elements in another place: what reads the result can read the operand instead
#   reduction     rows are read as a whole
#   window        a window of the operand for each element, without weights
#   contraction   sums of products: convolutions, linear maps, matrix products, attention
#   opaque        anything else: sorting, transforms, recurrences, random numbers, state
Role = Literal["elementwise", "view", "move", "reduction", "window", "contraction", "opaque"]


class Operand(NamedTuple):
    """A tensor that an operator takes: `arity` is "one", "optional" or "many" (a list, or all leading
    tensors).
    """

    name: str
    arity: str


class Argument(NamedTuple):
    """A static argument: its name, type hint and default (`MISSING` if required)."""

    name: str
    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is MISSING


class Case(NamedTuple):
    """A sample: arguments, and for each operand its shape or `(dtype, shape)`; used by the conformance
    tests.
    """

    arguments: dict[str, Any]
    operands: tuple[Any, ...]


def case(arguments: dict[str, Any], *operands: Any) -> Case:
    """A sample of an operator: `case({"out": 8}, (2, 3))`; an operand may be `("i64", (2, 3))`; a list is a
    list operand.
    """
    return Case(arguments, operands)


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """A weight that a layer declares: shape, initialiser, kind ("param" or "buffer") and type."""

    shape: Shape
    init: Init
    kind: str = "param"
    dtype: DType = FLOAT
    persistent: bool = True


REGISTRY: dict[str, type[Operator]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Operator(Frozen):
    """Base of `Op` and `Layer`: name, documentation, arguments, samples, registry."""

    name: ClassVar[str] = ""
    samples: ClassVar[tuple[Case, ...]] = ()
    # Made by the compiler alone: no name of the language.
    internal: ClassVar[bool] = False
    # Whose parameters are the operands: the rule that every class of the kind has.
    _rule: ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not name:
            return
        if name in REGISTRY:
            raise ValueError(f"operator {name} is registered twice")
        if not (cls.__doc__ or "").strip() or (cls.__doc__ or "").startswith(cls.__name__ + "("):
            raise ValueError(f"operator {name} has no docstring")
        cls.name = name
        REGISTRY[name] = cls

    @classmethod
    @cache
    def arguments(cls) -> dict[str, Argument]:
        """The static arguments in order."""
        hints = get_type_hints(cls)
        found: dict[str, Argument] = {}
        for item in fields(cls):  # pyright: ignore[reportArgumentType]  # subclasses are dataclasses by the hook
            default = item.default if item.default_factory is MISSING else item.default_factory()
            found[item.name] = Argument(item.name, hints[item.name], default)
        return found

    def within(self, largest: float) -> Self:
        """The operator whose float arguments beyond the largest number of a type are infinite, as they are in
        that type.
        """
        changed: dict[str, Any] = {
            name: copysign(inf, value)
            for name in self.arguments()
            if isinstance(value := getattr(self, name), float) and largest < abs(value) < inf
        }
        return replace(cast("Any", self), **changed) if changed else self

    @classmethod
    @cache
    def signature(cls) -> tuple[Operand, ...]:
        """The operands in order, read off the rule's parameters."""
        found: list[Operand] = []
        for parameter in list(inspect.signature(getattr(cls, cls._rule)).parameters.values())[1:]:
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                found.append(Operand(parameter.name, "many"))
            elif parameter.default is None:
                found.append(Operand(parameter.name, "optional"))
            else:
                found.append(Operand(parameter.name, "one"))
        return tuple(found)

    @classmethod
    @cache
    def many(cls) -> str | None:
        """The name of the list operand, if there is one."""
        return next((operand.name for operand in cls.signature() if operand.arity == "many"), None)

    @classmethod
    def arrange(cls, slots: Sequence[str], things: Sequence[Any]) -> dict[str, Any]:
        """`things` by slot name; those of the list operand gathered in a list."""
        many = cls.many()
        if many is None:
            return dict(zip(slots, things, strict=True))
        found: dict[str, Any] = {many: []}
        for slot, thing in zip(slots, things, strict=True):
            if slot == many:
                found[many].append(thing)
            else:
                found[slot] = thing
        return found

    @classmethod
    def call(cls, method: Callable[..., Any], arranged: dict[str, Any], *leading: Any) -> Any:
        """Call a rule or lowering with arranged operands after the `leading` arguments."""
        many = cls.many()
        if many is None:
            return method(*leading, **arranged)
        rest = {name: thing for name, thing in arranged.items() if name != many}
        return method(*leading, *arranged[many], **rest)

    def __str__(self) -> str:
        shown: list[str] = []
        for argument in self.arguments().values():
            value = getattr(self, argument.name)
            if argument.required or value != argument.default:
                shown.append(f"{argument.name}={_text(value)}")
        return f"{self.title}({', '.join(shown)})"

    __repr__ = __str__

    def __getstate__(self) -> dict[str, Any]:
        # A remembered hash holds in one process only: the hashes of strings differ from run to run.
        return {key: value for key, value in self.__dict__.items() if key != "_hash"}

    @property
    def title(self) -> str:
        """The name for people: a core operator goes by its layer's name."""
        return self.name.removesuffix("_with")


class Lowering(Protocol):
    """What a torch lowering is given: the library, and what the graph knows of the operands."""

    torch: Any
    nn: Any
    F: Any

    def shape(self, operand: Any) -> tuple[Any, ...]:
        """The operand's sizes: ints where known, fx proxies of run-time ints where symbolic."""
        ...

    def rank(self, operand: Any) -> int:
        """The operand's number of axes."""
        ...

    def dtype_of(self, operand: Any) -> DType:
        """The operand's type in the plan."""
        ...

    def size(self, size: Size) -> Any:
        """An int, or the fx proxy that computes a symbolic size at run time."""
        ...

    def dtype(self, dtype: DType) -> Any:
        """The torch dtype, with the float variable bound."""
        ...

    def scan(
        self, axis: int, reverse: bool, sequence: Any, state: Sequence[Any], captured: Sequence[Any]
    ) -> Any:
        """Run the node's body along an axis: (outputs, *last state)."""
        ...


class Elements(Protocol):
    """What a `te` is given: tensors as functions of an index, and scalar functions by their names in torch.

    Operands are read by subscript, `x[n, c]`, and have `shape` (ints, or expressions where symbolic) and
    `dtype`. `te` returns a tensor for each result. See
    `backends/tvm/tensor_ir/expressions.py`, which is what it gets.
    """

    node: Node

    def shape(self, result: int = 0) -> tuple[Any, ...]:
        """The sizes of a result."""
        ...

    def dtype(self, result: int = 0) -> str:
        """The type of a result, as `cast` and `const` take it."""
        ...

    def type(self, dtype: DType) -> str:
        """A type of the plan, as `cast` and `const` take it."""
        ...

    def size(self, size: Size) -> Any:
        """A size as an int or an expression."""
        ...

    def compute(
        self,
        shape: Sequence[Any],
        function: Callable[..., Any],
        dtype: str | None = None,
        keep: bool = False,
        cuts: tuple[int, Sequence[Any]] | None = None,
    ) -> Any:
        """Each element by itself; with `keep` stored, since it is dear and read more than once.

        `cuts` are an axis and positions on it from which on elements are worked out in another way.
        """
        ...

    def reduce(
        self,
        combine: str,
        shape: Sequence[Any],
        extents: Sequence[Any],
        function: Callable[..., Any],
        dtype: str | None = None,
    ) -> Any:
        """Elements combined over `extents`: by "sum", "prod", "max", "min", "any" or "all"."""
        ...

    def build(
        self, results: Sequence[tuple[Sequence[Any], str]], emit: Callable[[Any, list[Any]], None]
    ) -> list[Any]:
        """Results that statements write."""
        ...

    def read(self, x: Any, index: Sequence[Any]) -> Any:
        """An operand at the index of a result that it is broadcast to."""
        ...

    def const(self, value: Any, dtype: str | None = None) -> Any:
        """A number of a type; of the result's, unless given."""
        ...

    def number(self, value: Any) -> Any:
        """A scalar argument: a Python number, or a symbolic size as an expression."""
        ...

    def cast(self, value: Any, dtype: str) -> Any:
        """A value in another type, as torch converts."""
        ...

    def index_type(self, *sizes: Any) -> str:
        """The type of an index below these sizes, and of what is combined with it in a choice."""
        ...

    def position(self, i: Any, most: Any) -> Any:
        """An index that is to be multiplied, wide enough for results up to `most`."""
        ...

    def quotient(self, x: Any, y: Any) -> Any:
        """X // y in an index, of numbers that are not negative."""
        ...

    def select(self, condition: Any, yes: Any, no: Any) -> Any:
        """One of two values, both of which are worked out."""
        ...

    def guard(self, condition: Any, read: Callable[[], Any], other: Any) -> Any:
        """What `read` gives where the condition holds, else `other`; nothing is read where it does not."""
        ...

    def let(self, value: Any) -> Any:
        """A value that is worked out once though it is used twice."""
        ...

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A scalar function: `exp`, `maximum`, `relu`, ..."""
        ...


class Op(Operator):
    """A core operator: stands in graphs, reads values, computes values.

    A subclass gives `shape` (and `dtype` where promotion is not the rule), `cost` and `torch`.
    """

    _rule = "shape"
    # What says nothing else is opaque: fusion leaves it alone, which is always right.
    role: ClassVar[Role] = "opaque"
    # A reduction that combines elements in any order, so that a kernel may do it as they are made.
    accumulates: ClassVar[bool] = False
    # A movement whose places are dear to work out, so that it is made once where elements are read often.
    searches: ClassVar[bool] = False
    # A source takes no operands and computes nothing at run time (inputs, weights).
    source: ClassVar[bool] = False

    # The rules below take the operator's own operands, so they are declared by convention, not by override.
    # `...` stands for them by name: shapes in most rules, element types in `dtype`, fx proxies in `torch`.
    #   shape(self, ...) -> Shape | list[Shape]      sizes of the result; a list means several results
    #   dtype(self, ...) -> DType | list[DType]      optional; otherwise promotion of all operands
    #   cost(self, out, ...) -> Cost                 `out` is what `shape` returned
    #   cost_complex(self, out, ...) -> Cost         optional; used where an operand is complex
    #   reads(self, ...) -> dict[str, Size]          optional; elements read of a slot, where not all
    #   writes(self, ...) -> dict[str, Size]         optional; elements written to an operand
    #   positions(self, out, ...) -> Positions       optional; the operand that holds positions, and of what
    #   spans(self, types, given) -> list[Span]      optional; bounds of integers, see `spans`
    #   repetitions(self, ...) -> Size               optional; how often the bodies run
    #   torch(self, t, ...) -> result(s)             functional; `t` is a `Lowering`
    #   module(self, t, ...) -> nn.Module | None     optional; the torch.nn class of a labelled call
    #   te(self, t, ...) -> tensor(s)                the defining computation; `t` is an `Elements`
    #   numpy(self, np, ...) -> array(s)             what runs where loops cannot say it; `np` is numpy
    #   call_module(self, t, module, ...) -> result  optional; otherwise `module(...)` without weights
    shape: ClassVar[Callable[..., Shape | list[Shape]]]
    cost: ClassVar[Callable[..., Cost]]
    torch: ClassVar[Callable[..., Any]]

    @property
    def view(self) -> bool:
        """Whether it only looks at the same data otherwise: it moves nothing, and costs no bytes."""
        return self.role == "view"

    def role_given(self, slots: Collection[str]) -> Role:
        """The role where just the operands of these names are there."""
        return self.role

    @property
    def effects(self) -> frozenset[str]:
        """What it does besides its result: subset of {"random", "state"}."""
        return frozenset()

    def in_mode(self, mode: Mode) -> Op | None:
        """The operator in a mode; None where it is the identity."""
        return self

    def unchanged(self, types: Sequence[TensorType]) -> bool:
        """Whether the result is the first operand for all values, infinities and NaN included.

        Such a call leaves no operator in any mode.
        """
        return False

    def infer(
        self, types: tuple[TensorType, ...], slots: tuple[str, ...], bodies: tuple[Graph, ...] = ()
    ) -> tuple[tuple[TensorType, ...], tuple[Undecided, ...]]:
        """Types of the results, and the constraints that are neither proved nor refuted.

        Raises `ShapeError`.
        """
        # What is proved under assumptions need not hold elsewhere.
        key = (self, types, slots, assumptions_in_force())
        known = None if bodies else _inferred.get(key)
        if known is None:
            with collecting() as undecided:
                inferred = self._infer(types, slots)
            known = inferred, tuple(undecided)
            if not bodies:
                if len(_inferred) > _MEMORY:
                    _inferred.clear()
                _inferred[key] = known
        return known

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        from ...types import TensorType

        shapes = self.call(self.shape, self.arrange(slots, [type.shape for type in types]))
        rule = getattr(self, "dtype", None)
        if rule is None:
            dtypes: DType | list[DType] = promote(type.dtype for type in types)
        else:
            dtypes = self.call(rule, self.arrange(slots, [type.dtype for type in types]))
        several = cast("list[Shape]", shapes if isinstance(shapes, list) else [shapes])
        each = dtypes if isinstance(dtypes, list) else [dtypes] * len(several)
        for shape in several:
            for size in shape:
                if isinstance(size, int) and size < 0:
                    raise ShapeError(f"the result has a negative size: {size}")
        return tuple(TensorType(tuple(shape), dtype) for shape, dtype in zip(several, each, strict=True))


class Layer(Operator):
    """What the language offers with weights of its own: declares them and lowers to a core operator.

    A subclass gives `weights(self, x, ...) -> dict[str, WeightSpec]`, whose keys are operand names of the
    core operator, and `core(self, x, ...) -> Op`; both take the shapes of the operands. The operands of the
    core
    operator are the layer's followed by the weights.
    """

    _rule = "weights"
    weights: ClassVar[Callable[..., dict[str, WeightSpec]]]
    core: ClassVar[Callable[..., Op]]


_MEMORY = 50_000
_inferred: dict[Any, tuple[tuple[TensorType, ...], tuple[Undecided, ...]]] = {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item) for item in cast("tuple[Any, ...]", value)) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return "none" if value is None else str(value)
