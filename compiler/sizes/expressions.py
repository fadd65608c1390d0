"""Expressions of integers: symbols, functions of our own, powers, products and sums of them, in one form.

A sum holds terms, each with an integer in front, and a constant; a product holds atoms, each once with its
power. What is equal has equal parts in equal order, so that `==` and `hash` are structural. Nothing is
simplified beyond that: see `polynomials` and `algebra`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

# Where a kind stands among the arguments of sums and products; of integers the small ones come first.
_INTEGERS = {0: 0, 1: 1, -1: 2}
_OTHER_INTEGER, _SYMBOL, _POWER, _PRODUCT, _SUM, _FUNCTION = range(3, 9)


class Expr:
    """An expression of integers. `args` are its parts; symbols and integers have none."""

    __slots__ = ("_hash", "_key", "args")

    is_Integer = is_Symbol = is_Add = is_Mul = is_Pow = False
    args: tuple[Expr, ...]

    def _content(self) -> Any:
        return self.args

    def _place(self) -> tuple[Any, ...]:
        """A key to sort by: the kind, the number of parts, and theirs."""
        raise NotImplementedError

    @property
    def key(self) -> tuple[Any, ...]:
        """The place in a sum or product."""
        try:
            return self._key
        except AttributeError:
            self._key = self._place()
            return self._key

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            self._hash = hash((type(self).__name__, self._content()))
            return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other):
            return False
        same = cast("Expr", other)
        return hash(self) == hash(same) and self._content() == same._content()

    def split(self) -> tuple[int, Expr]:
        """The integer in front of a term, and the rest; an integer is in front of 1."""
        return 1, self

    def terms(self) -> tuple[Expr, ...]:
        """The terms of a sum; anything else is its only one."""
        return (self,)

    def factors(self) -> tuple[Expr, ...]:
        """The factors of a product; anything else is its only one."""
        return (self,)

    def has(self, part: Expr | type[Expr]) -> bool:
        """Whether the expression is or holds that one, or one of that class."""
        found = isinstance(self, part) if isinstance(part, type) else self == part
        return found or any(arg.has(part) for arg in self.args)

    def atoms(self, kind: type[Expr]) -> dict[Expr, None]:
        """The parts of a class, each once, inner ones first."""
        found: dict[Expr, None] = {}
        for arg in self.args:
            found |= arg.atoms(kind)
        return found | {self: None} if isinstance(self, kind) else found

    def __int__(self) -> int:
        raise TypeError(f"{self} is no constant")

    def __add__(self, other: Expr | int) -> Expr:
        return added((self, integer(other)))

    __radd__ = __add__

    def __neg__(self) -> Expr:
        return scaled(self, -1)

    def __sub__(self, other: Expr | int) -> Expr:
        return added((self, scaled(integer(other), -1)))

    def __rsub__(self, other: Expr | int) -> Expr:
        return added((integer(other), scaled(self, -1)))

    def __mul__(self, other: Expr | int) -> Expr:
        if isinstance(other, int):
            return scaled(self, other)
        return added([multiplied((left, right)) for left in self.terms() for right in other.terms()])

    __rmul__ = __mul__

    def __truediv__(self, other: Expr) -> Expr:
        """By a product without an integer in front; powers may become negative."""
        return multiplied((self, *[raised(base, -power) for base, power in powers_of(other).items()]))

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.args))})"

    def __repr__(self) -> str:
        return str(self)


class Integer(Expr):
    """A constant."""

    __slots__ = ("value",)
    is_Integer = True

    def __init__(self, value: int) -> None:
        self.value = value
        self.args = ()

    def _content(self) -> int:
        return self.value

    def _place(self) -> tuple[Any, ...]:
        return _INTEGERS.get(self.value, _OTHER_INTEGER), "", 0, self.value

    def split(self) -> tuple[int, Expr]:
        """The integer in front of 1."""
        return self.value, ONE

    def __int__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return str(self.value)


class Symbol(Expr):
    """An unknown integer, known by its name."""

    __slots__ = ("name",)
    is_Symbol = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.args = ()

    def _content(self) -> str:
        return self.name

    def _place(self) -> tuple[Any, ...]:
        return _SYMBOL, "", 0, self.name

    def __str__(self) -> str:
        return self.name


class Function(Expr):
    """A function of expressions that is opaque to sums and products; each class below is one."""

    __slots__ = ()

    def __init__(self, *args: Expr) -> None:
        self.args = args

    def _place(self) -> tuple[Any, ...]:
        return _FUNCTION, type(self).__name__, len(self.args), *[arg.key for arg in self.args]


class Pow(Expr):
    """A power, other than the first, of a symbol or function."""

    __slots__ = ("base", "exponent")
    is_Pow = True

    def __init__(self, base: Expr, exponent: int) -> None:
        self.base = base
        self.exponent = exponent
        self.args = (base, Integer(exponent))

    def _place(self) -> tuple[Any, ...]:
        return _POWER, "", 2, self.base.key, self.args[1].key


class Mul(Expr):
    """A product: an integer other than 1, if any, and powers of atoms in order."""

    __slots__ = ()
    is_Mul = True

    def __init__(self, args: tuple[Expr, ...]) -> None:
        self.args = args

    def _place(self) -> tuple[Any, ...]:
        return _PRODUCT, "", len(self.args), *[arg.key for arg in self.args]

    def split(self) -> tuple[int, Expr]:
        """The integer in front, and the product without it."""
        first = self.args[0]
        if not isinstance(first, Integer):
            return 1, self
        return first.value, self.args[1] if len(self.args) == 2 else Mul(self.args[1:])

    def factors(self) -> tuple[Expr, ...]:
        """The integer and the powers."""
        return self.args


class Add(Expr):
    """A sum: a constant other than 0, if any, and terms in order."""

    __slots__ = ()
    is_Add = True

    def __init__(self, args: tuple[Expr, ...]) -> None:
        self.args = args

    def _place(self) -> tuple[Any, ...]:
        return _SUM, "", len(self.args), *[arg.key for arg in self.args]

    def terms(self) -> tuple[Expr, ...]:
        """The constant and the terms."""
        return self.args


ZERO, ONE = Integer(0), Integer(1)


def integer(value: Expr | int) -> Expr:
    """A constant; an expression stays as it is."""
    return Integer(value) if isinstance(value, int) else value


def added(parts: Iterable[Expr]) -> Expr:
    """The sum, like terms together."""
    table: dict[Expr, int] = {}
    for part in parts:
        for term in part.terms():
            coefficient, monomial = term.split()
            table[monomial] = table.get(monomial, 0) + coefficient
    return joined(table)


def joined(table: Mapping[Expr, int], constant: int = 0) -> Expr:
    """The sum of products, each times its integer; the product 1 stands for the constant."""
    constant += table.get(ONE, 0)
    found = [_term(monomial, n) for monomial, n in table.items() if n and monomial != ONE]
    found.sort(key=_key_of)
    if constant:
        found.insert(0, Integer(constant))
    if len(found) == 1:
        return found[0]
    return Add(tuple(found)) if found else ZERO


def scaled(e: Expr, factor: int) -> Expr:
    """The expression times an integer, over all terms of a sum."""
    if factor == 1:
        return e
    table: dict[Expr, int] = {}
    for term in e.terms():
        coefficient, monomial = term.split()
        table[monomial] = factor * coefficient
    return joined(table)


def multiplied(parts: Iterable[Expr]) -> Expr:
    """The product of terms; none of them is a sum."""
    number = 1
    powers: dict[Expr, int] = {}
    for part in parts:
        for factor in part.factors():
            if isinstance(factor, Integer):
                number *= factor.value
            elif isinstance(factor, Pow):
                powers[factor.base] = powers.get(factor.base, 0) + factor.exponent
            else:
                powers[factor] = powers.get(factor, 0) + 1
    if not number:
        return ZERO
    found = [raised(base, power) for base, power in powers.items() if power]
    found.sort(key=_key_of)
    if not found:
        return Integer(number)
    return _term(found[0] if len(found) == 1 else Mul(tuple(found)), number)


def raised(base: Expr, power: int) -> Expr:
    """The power of a symbol or function."""
    if power == 0:
        return ONE
    return base if power == 1 else Pow(base, power)


def powers_of(monomial: Expr) -> dict[Expr, int]:
    """The power of each atom of a product without an integer in front."""
    found: dict[Expr, int] = {}
    for factor in monomial.factors():
        if isinstance(factor, Pow):
            found[factor.base] = factor.exponent
        elif factor != ONE:
            found[factor] = 1
    return found


def _term(monomial: Expr, coefficient: int) -> Expr:
    if coefficient == 1:
        return monomial
    return Mul((Integer(coefficient), *monomial.factors()))


def _key_of(e: Expr) -> tuple[Any, ...]:
    return e.key
