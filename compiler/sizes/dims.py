"""Sizes: plain integers, or symbolic integers that are compared by proof.

A size is an `int` or a `Dim`. Arithmetic on sizes gives a plain integer whenever the result is constant, so
that a network with bound sizes never meets the algebra of symbols, which is loaded with the first of them.
`//` and `%` round down, as in Python.

    H = symbol("H")
    (H + 2 - 2 - 1) // 2 + 1      # (H + 1)//2, and so is ceil_div(H, 2)
    equal(H, W)                   # None: neither proved nor refuted
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, reduce
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from .formula import LIMIT, Leaf, SizeTooLarge, Tree, UnboundSize, fold_tree, render_tree
from .limits import writing

if TYPE_CHECKING:
    from . import proofs

__all__ = [
    "LIMIT",
    "Assumptions",
    "Dim",
    "Size",
    "SizeTooLarge",
    "UnboundSize",
    "assuming",
    "assumptions_in_force",
    "at_least",
    "ceil_div",
    "cleared",
    "contradictory",
    "divisible",
    "equal",
    "evaluate",
    "fold",
    "free_symbols",
    "holds",
    "maximum",
    "minimum",
    "power",
    "prod",
    "render",
    "simplified",
    "substitute",
    "symbol",
    "to_python",
    "total",
    "without_assumptions",
]

T = TypeVar("T")
CACHE_SIZE = 1 << 18
"""Results of arithmetic that are kept for each operation before its cache starts afresh."""


class Dim:
    """A symbolic integer: one canonical expression, made once.

    Equal expressions are the same object, so `==` and `hash` are structural and cost what identity costs.
    Whether two sizes have the same *value* is `equal(a, b)`. A `Dim` has no truth value, order or integer
    value of its own.
    """

    __slots__ = ("__weakref__", "expr", "known_tree")

    expr: Any
    known_tree: Tree | None

    def __init__(self) -> None:
        raise TypeError("use symbol() and arithmetic to make a symbolic size")

    def __add__(self, other: object) -> Size:
        return _add(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> Size:
        return _subtract(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rsub__(self, other: object) -> Size:
        return _subtract(other, self) if isinstance(other, (int, Dim)) else NotImplemented

    def __mul__(self, other: object) -> Size:
        return _multiply(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> Size:
        return _floor_divide(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rfloordiv__(self, other: object) -> Size:
        return _floor_divide(other, self) if isinstance(other, (int, Dim)) else NotImplemented

    def __mod__(self, other: object) -> Size:
        return _remainder(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rmod__(self, other: object) -> Size:
        return _remainder(other, self) if isinstance(other, (int, Dim)) else NotImplemented

    def __pow__(self, exponent: int) -> Size:
        return power(self, exponent)

    def __neg__(self) -> Size:
        return _subtract(0, self)

    def __pos__(self) -> Dim:
        return self

    def __bool__(self) -> NoReturn:
        self._refuse("truth value; compare it with equal() or at_least()")

    def __int__(self) -> NoReturn:
        self._refuse("integer value; bind its symbols with evaluate()")

    __index__ = __int__
    __float__ = __int__

    def __lt__(self, other: object) -> NoReturn:
        self._refuse("place in an order; compare it with at_least()")

    __le__ = __lt__
    __gt__ = __lt__
    __ge__ = __lt__

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(f"the size {self} is symbolic and has no {what}")

    def __repr__(self) -> str:
        return render(self)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: object) -> Dim:
        return self

    def __reduce__(self) -> tuple[Callable[[Tree], Size], tuple[Tree]]:
        return _from_tree, (_tree(self),)


Size: TypeAlias = int | Dim


# --- making sizes ---

_interned: WeakValueDictionary[Any, Dim] = WeakValueDictionary()
_LOCK = Lock()


def _size(expr: Any) -> Size:
    """The size of a canonical expression: a plain integer, or the one `Dim` of that expression."""
    if expr.is_Integer:
        return _within_limit(int(expr))
    found = _interned.get(expr)
    if found is None:
        from . import polynomials

        polynomials.check_extent(expr)
        with _LOCK:  # one expression must not become two objects
            found = _interned.get(expr)
            if found is None:
                found = object.__new__(Dim)
                found.expr = expr
                found.known_tree = None
                _interned[expr] = found
    return found


def _within_limit(value: int) -> int:
    if abs(value) > LIMIT:
        raise SizeTooLarge("a size exceeds 2**63")
    return value


def _expr(size: Size) -> Any:
    if isinstance(size, Dim):
        return size.expr
    from . import expressions

    return expressions.integer(size)


@lru_cache(maxsize=4096)
def symbol(name: str, minimum: int = 1) -> Dim:
    """The symbolic size of that name, at least `minimum`; equal arguments give the same object."""
    from . import polynomials

    made = _size(polynomials.symbol(name, minimum))
    assert isinstance(made, Dim)
    return made


def _memoised(operation: str) -> Callable[[Size, Size], Size]:
    """Symbolic arithmetic that does each calculation once."""
    cache: dict[tuple[Size, Size], Size] = {}

    def operate(a: Size, b: Size) -> Size:
        found = cache.get((a, b))
        if found is None:
            from . import algebra

            with writing():
                found = _size(algebra.BINARY[operation](_expr(a), _expr(b)))
            if len(cache) >= CACHE_SIZE:
                cache.clear()
            cache[a, b] = found
        return found

    return operate


_add = _memoised("add")
_subtract = _memoised("sub")
_multiply = _memoised("mul")
_floor_divide = _memoised("floordiv")
_remainder = _memoised("mod")
_power = _memoised("pow")
_smaller = _memoised("min")
_larger = _memoised("max")


def power(base: Size, exponent: int) -> Size:
    """`base ** exponent` for an exponent of at least 0; SizeTooLarge instead of an integer past the limit."""
    if exponent < 0:
        raise ValueError(f"a size is raised to the negative power {exponent}")
    if isinstance(base, int):
        if abs(base) > 1 and exponent > 64:
            raise SizeTooLarge("a size exceeds 2**63")
        return _within_limit(base**exponent)
    if exponent > 63:
        raise SizeTooLarge("a power of a size exceeds 2**63")
    return _power(base, exponent)


def ceil_div(a: Size, b: Size) -> Size:
    """`a / b`, rounded up."""
    return -(-a // b)


def minimum(*sizes: Size) -> Size:
    """The smallest of one or more sizes."""

    def step(a: Size, b: Size) -> Size:
        return min(a, b) if isinstance(a, int) and isinstance(b, int) else _smaller(a, b)

    return reduce(step, sizes)


def maximum(*sizes: Size) -> Size:
    """The largest of one or more sizes."""

    def step(a: Size, b: Size) -> Size:
        return max(a, b) if isinstance(a, int) and isinstance(b, int) else _larger(a, b)

    return reduce(step, sizes)


def prod(sizes: Iterable[Size]) -> Size:
    """The product; 1 for no sizes."""
    number = 1
    symbolic: Size = 1
    for size in sizes:
        if isinstance(size, int):
            number *= size
        else:
            symbolic = symbolic * size
    return _within_limit(number) * symbolic if isinstance(symbolic, Dim) else _within_limit(number * symbolic)


def total(sizes: Iterable[Size]) -> Size:
    """The sum; 0 for no sizes."""
    number = 0
    symbolic: list[Any] = []
    for size in sizes:
        if isinstance(size, int):
            number += size
        else:
            symbolic.append(size.expr)
    if not symbolic:
        return _within_limit(number)
    from . import expressions, polynomials

    with writing():
        return _size(polynomials.add(*symbolic, expressions.integer(number)))


# --- reading sizes ---


def _tree(size: Size) -> Tree:
    if isinstance(size, int):
        return size
    if size.known_tree is None:
        from . import walks

        size.known_tree = walks.to_tree(size.expr)
    return size.known_tree


def _combine(kind: str, args: tuple[Size, ...]) -> Size:
    match kind:
        case "add":
            return total(args)
        case "mul":
            return prod(args)
        case "floordiv":
            return args[0] // args[1]
        case "mod":
            return args[0] % args[1]
        case "min":
            return minimum(*args)
        case "max":
            return maximum(*args)
        case _:
            assert kind == "pow" and isinstance(args[1], int)
            return power(args[0], args[1])


def _from_tree(tree: Tree) -> Size:
    return fold_tree(tree, int, lambda leaf: symbol(leaf.name, leaf.minimum), _combine)


def fold(
    size: Size,
    on_int: Callable[[int], T],
    on_symbol: Callable[[str], T],
    on_op: Callable[[str, tuple[T, ...]], T],
) -> T:
    """Combine a size bottom-up, as when another library's expression is built from it.

    `on_op(kind, args)` has two or more arguments for "add", "mul", "min" and "max", and two for "floordiv",
    "mod" (both round down) and "pow". A difference is a sum with a product by a negative integer.
    """
    return fold_tree(_tree(size), on_int, lambda leaf: on_symbol(leaf.name), on_op)


def substitute(size: Size, bindings: Mapping[str, Size]) -> Size:
    """The size with symbols replaced, by name and all at once."""
    if isinstance(size, int):
        return size

    def leaf(found: Leaf) -> Size:
        return bindings[found.name] if found.name in bindings else symbol(found.name, found.minimum)

    return fold_tree(_tree(size), int, leaf, _combine)


def evaluate(size: Size, bindings: Mapping[str, int]) -> int:
    """The value when each symbol is given; raises UnboundSize, which names the symbols that are not."""
    if isinstance(size, int):
        return size
    if missing := free_symbols(size) - bindings.keys():
        raise UnboundSize(missing)
    value = substitute(size, bindings)
    assert isinstance(value, int)
    return value


def free_symbols(size: Size) -> frozenset[str]:
    """The names of the symbols in the size."""

    def union(_: str, args: tuple[frozenset[str], ...]) -> frozenset[str]:
        return frozenset[str]().union(*args)

    return fold(size, lambda _: frozenset[str](), lambda name: frozenset({name}), union)


def render(size: Size) -> str:
    """The size in plan notation, which is also Python: `(H + 1)//2`, `B*(H//7)*(W//7)`, `min(H, 4)`."""
    return render_tree(_tree(size))


def to_python(size: Size, names: Mapping[str, str]) -> str:
    """The size as a Python expression over the source text given for each symbol: {"H": "x.shape[2]"}."""
    return render_tree(_tree(size), names)


# --- deciding ---


class Fact(NamedTuple):
    """An assumption: `kind` is "divisible", "equal" or "at_least"."""

    kind: str
    a: Size
    b: Size


class Assumptions:
    """Facts about sizes, in force within `with assuming(assumptions)`.

    Facts that contradict each other prove anything.
    """

    def __init__(self) -> None:
        self.facts: tuple[Fact, ...] = ()
        # What was understood of the facts, one after the other, beside those around them.
        self._contexts: list[proofs.Context] = []

    def assume_divisible(self, size: Size, k: Size) -> None:
        """Record that `size % k == 0`: proofs write the size as k times a fresh integer."""
        self.facts += (Fact("divisible", size, k),)

    def assume_equal(self, a: Size, b: Size) -> None:
        """Record that `a == b`."""
        self.facts += (Fact("equal", a, b),)

    def assume_at_least(self, a: Size, b: Size) -> None:
        """Record that `a >= b`."""
        self.facts += (Fact("at_least", a, b),)

    def assume(self, relation: str, left: Size, right: Size) -> None:
        """Record a relation, as `holds` takes it."""
        self.facts += (Fact(_FACTS[relation], left, right),)

    def drop(self, relation: str, left: Size, right: Size) -> None:
        """Take back what `assume` recorded."""
        self.facts = tuple(fact for fact in self.facts if fact != Fact(_FACTS[relation], left, right))
        self._contexts = []

    def context(self, around: proofs.Context) -> proofs.Context:
        """The proof context of these facts within another."""
        known = self._contexts
        if not known or known[0] is not around:
            known = self._contexts = [around]
        for fact in self.facts[len(known) - 1 :]:
            known.append(known[-1].extended((fact.kind, _expr(fact.a), _expr(fact.b))))
        return known[-1]


_FACTS = {"==": "equal", ">=": "at_least", "%": "divisible"}


_in_force: ContextVar[tuple[Assumptions, ...]] = ContextVar("assumptions", default=())


@contextmanager
def assuming(assumptions: Assumptions) -> Generator[Assumptions]:
    """Let proofs use these assumptions, besides those of the blocks around it."""
    around = _in_force.get()
    token = _in_force.set(around if assumptions in around else (*around, assumptions))
    try:
        yield assumptions
    finally:
        _in_force.reset(token)


@contextmanager
def without_assumptions() -> Generator[None]:
    """Let proofs use no assumptions."""
    token = _in_force.set(())
    try:
        yield
    finally:
        _in_force.reset(token)


def assumptions_in_force() -> int:
    """A number of the facts that proofs may use now; what was proved under them holds under them alone."""
    if not any(assumptions.facts for assumptions in _in_force.get()):
        return -1
    return _context().number


def _context() -> proofs.Context:
    from . import proofs

    context = proofs.NOTHING
    for assumptions in _in_force.get():
        context = assumptions.context(context)
    return context


def equal(a: Size, b: Size) -> bool | None:
    """Whether two sizes have the same value: always (True), never (False), or it is not decided (None)."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return True if a is b else _context().equal(_expr(a), _expr(b))


def at_least(a: Size, b: Size) -> bool | None:
    """Whether `a >= b`: always (True), never (False), or it is not decided (None)."""
    if isinstance(a, int) and isinstance(b, int):
        return a >= b
    return True if a is b else _context().at_least(_expr(a), _expr(b))


def divisible(a: Size, k: Size) -> bool | None:
    """Whether `a % k == 0`: always (True), never (False), or it is not decided (None)."""
    if isinstance(a, int) and isinstance(k, int):
        return a % k == 0
    return _context().divisible(_expr(a), _expr(k))


def holds(relation: str, left: Size, right: Size) -> bool | None:
    """Whether `left == right`, `left >= right` or `left % right == 0` ("%"): always, never, or undecided."""
    decide = {"==": equal, ">=": at_least, "%": divisible}
    return decide[relation](left, right)


def contradictory() -> bool:
    """Whether the assumptions in force are seen to contradict each other, or the ranges of the symbols."""
    return _context().contradiction


def simplified(size: Size) -> Size:
    """The size as the assumptions in force let it be written: `(H + 3)//4` is `H//4` where 4 divides H.

    Ranges and residues of single symbols are used; no symbol is replaced by another.
    """
    if isinstance(size, int) or not _in_force.get():
        return size
    return _size(_context().simplified(size.expr))


def cleared(left: Size, right: Size) -> tuple[Size, Size]:
    """Sizes of which the first is at least the second exactly if that is so of those given, in fewest terms:
    `H` and 8 for `H//8` and 1.
    """
    from . import facts

    try:
        sides = facts.cleared(_expr(left), _expr(right))
    except SizeTooLarge:
        return left, right
    return _size(sides[0]), _size(sides[1])
