"""Einstein summation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from ..dtypes import is_complex, is_float, promote
from ..sizes.dims import Size, prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import wide
from .core.rules import ShapeError, need_equal

# An operand's axes: index names, and "..." for leading axes of any number.
Term = tuple[str, ...]


class Equation(NamedTuple):
    """A parsed pattern: the axes of each operand and of the result."""

    inputs: tuple[Term, ...]
    output: Term


@cache
def parse(pattern: str) -> Equation:
    """The axes of a pattern in torch's letters ("bij,bjk->bik") or einops' words ("b i j, b j k -> b i k").

    Words are those of a pattern with a space between two names of one operand. Raises `ShapeError`.
    """
    left, arrow, right = pattern.partition("->")
    if "->" in right:
        raise _mistake(pattern, "has two arrows")
    terms = left.split(",")
    words = any(re.search(r"\w\s+\w", term) for term in (*terms, right)) and any(
        re.search(r"\w\w", term) for term in (*terms, right)
    )
    inputs = tuple(_axes(term, pattern, words) for term in terms)
    if arrow:
        output = _axes(right, pattern, words)
    else:
        counts: dict[str, int] = {}
        for name in (name for term in inputs for name in term):
            counts[name] = counts.get(name, 0) + 1
        once = sorted(name for name, count in counts.items() if count == 1 and name != "...")
        output = (*(("...",) if "..." in counts else ()), *once)
    known = {name for term in inputs for name in term} | {"..."}
    for name in output:
        if name not in known:
            raise _mistake(pattern, f'has "{name}" in the result and in no operand')
        if output.count(name) > 1:
            raise _mistake(pattern, f'has "{name}" twice in the result')
    return Equation(inputs, output)


def _axes(term: str, pattern: str, words: bool) -> Term:
    name = r"[A-Za-z_]\w*" if words else r"[A-Za-z]"
    text = term.strip()
    if not re.fullmatch(rf"(?:(?:{name}|\.\.\.)\s*)*", text):
        raise _mistake(pattern, f'has "{text}", which is not a list of names')
    found = tuple(re.findall(rf"{name}|\.\.\.", text))
    if found.count("...") > 1:
        raise _mistake(pattern, 'has "..." twice in one operand')
    return found


def _mistake(pattern: str, what: str) -> ShapeError:
    return ShapeError(
        f'the pattern "{pattern}" {what}',
        "value",
        argument="pattern",
        help='write it as "b i j, b j k -> b i k"',
    )


class Einsum(Op, name="einsum"):
    """Sum of products over named axes: "b i j, b j k -> b i k" of [B, I, J] and [B, J, K] gives [B, I, K].

    Names that the result lacks are summed over; a name twice in one operand takes the diagonal; `...` stands
    for any axes, which broadcast; a size 1 stretches. Letters may be written together as in torch.einsum.
    Operands of different types are promoted first. Three and more are multiplied from left to right.
    """

    pattern: str
    role = "contraction"
    samples = (
        case({"pattern": "bhnd,bhmd->bhnm"}, (2, 3, 4, 5), (2, 3, 6, 5)),
        case({"pattern": "b h n m, b h m d -> b h n d"}, (2, 3, 4, 6), (2, 3, 6, 5)),
        case({"pattern": "...ij,...jk->...ik"}, (7, 2, 3), (3, 4)),
        case({"pattern": "i,j"}, (2,), (3,)),
        case({"pattern": "row row chan -> chan row"}, (3, 3, 2)),
        case({"pattern": "bi,oij,bj->bo"}, (2, 3), (4, 3, 5), (2, 5)),
        case({"pattern": "b c ... -> b ..."}, (2, 3, 4, 5)),
        case({"pattern": "ij,kj,k->i"}, (2, 3), (4, 3), (4,)),
    )

    def shape(self, *xs: Shape) -> Shape:
        inputs, output = self._bound(xs)
        sizes = self._sizes(inputs, xs)
        return tuple(sizes[name] for name in output)

    def axes(self, xs: tuple[Shape, ...]) -> Equation:
        """The names of the axes of operands of such shapes, and of the result, or `ShapeError`."""
        return self._bound(xs)

    def _bound(self, xs: tuple[Shape, ...]) -> Equation:
        """The pattern with `...` spelled out as axes ".1" (the last of them), ".2", ..."""
        equation = parse(self.pattern)
        if len(equation.inputs) != len(xs):
            raise ShapeError(
                f'the pattern "{self.pattern}" has {len(equation.inputs)} operands, and {len(xs)} are given',
                "value",
                argument="pattern",
            )
        most = 0
        inputs: list[Term] = []
        for number, (term, x) in enumerate(zip(equation.inputs, xs, strict=True)):
            spare = len(x) - len(term) + 1
            if "..." in term and spare >= 0:
                most = max(most, spare)
                inputs.append(_spell(term, spare))
            elif "..." in term or len(term) != len(x):
                raise ShapeError(
                    f'operand {number + 1} is "{" ".join(term)}" in the pattern, and has {len(x)} axes',
                    "rank",
                    (("xs", None),),
                    argument="pattern",
                )
            else:
                inputs.append(term)
        return Equation(tuple(inputs), _spell(equation.output, most))

    def _sizes(self, inputs: tuple[Term, ...], xs: tuple[Shape, ...]) -> dict[str, Size]:
        sizes: dict[str, Size] = {}
        for term, x in zip(inputs, xs, strict=True):
            own: dict[str, Size] = {}
            for name, size in zip(term, x, strict=True):
                need_equal(
                    own.setdefault(name, size), size, f'sizes of "{name}" in one operand', ("xs", None)
                )
            for name, size in own.items():
                sofar = sizes.setdefault(name, size)
                if sofar == 1:
                    sizes[name] = size
                elif size != 1:
                    need_equal(sofar, size, f'sizes of "{name}"', ("xs", None))
        return sizes

    def cost(self, out: Shape, *xs: Shape) -> Cost:
        inputs, output = self._bound(xs)
        sizes = self._sizes(inputs, xs)
        cost = Cost()
        sofar: dict[str, None] = dict.fromkeys(inputs[0])
        for number in range(1, len(inputs) + 1):
            later = set(output).union(*inputs[number:])
            if number == len(inputs):
                return cost + _summed(sofar, later, sizes)
            after = set(output).union(*inputs[number + 1 :])
            operand = dict.fromkeys(inputs[number])
            # What only one of the two has and nobody needs later is summed before the product.
            cost = cost + _summed(sofar, later, sizes) + _summed(operand, after | set(sofar), sizes)
            left = [name for name in sofar if name in later]
            right = [name for name in operand if name in after or name in left]
            both = dict.fromkeys((*left, *right))
            terms = prod(sizes[name] for name in both)
            summed = any(name not in after for name in both)
            cost = cost + (Cost(macs=terms) if summed else Cost(multiply=terms))
            sofar = {name: None for name in both if name in after}
        return cost

    def torch(self, t: Lowering, *xs: Any) -> Any:
        equation = self._equation()
        dtypes = [t.dtype_of(x) for x in xs]
        common = promote(dtypes)
        wanted = t.dtype(common)
        operands = [x if dtype == common else x.to(wanted) for x, dtype in zip(xs, dtypes, strict=True)]
        y = t.torch.einsum(equation, *operands)
        # torch sums small integers into i64.
        return y if is_float(common) or is_complex(common) else y.to(wanted)

    def _equation(self) -> str:
        """The pattern in single letters, with the result."""
        inputs, output = parse(self.pattern)
        letters = _letters((*inputs, output))
        spelled = ",".join("".join(letters[name] for name in term) for term in inputs)
        return f"{spelled}->{''.join(letters[name] for name in output)}"

    def te(self, t: Elements, *xs: Any) -> Any:
        inputs, output = self._bound(tuple(x.shape for x in xs))
        dtype = "int64" if t.dtype() == "bool" else wide(t.dtype())
        sizes: dict[str, Any] = {}
        for term, x in zip(inputs, xs, strict=True):
            for name, size in zip(term, x.shape, strict=True):
                if not _is_one(size):
                    sizes[name] = size
                sizes.setdefault(name, size)
        term, sofar = inputs[0], xs[0]
        for number in range(1, len(inputs)):
            # From left to right: a name is summed over as soon as no other operand has it.
            later = set(output).union(*inputs[number + 1 :])
            both = tuple(dict.fromkeys((*term, *inputs[number])))
            kept = tuple(name for name in both if name in later)
            last = number == len(inputs) - 1
            pair = [(term, sofar), (inputs[number], xs[number])]
            term, sofar = (
                (output if last else kept),
                _contract(t, pair, output if last else kept, sizes, dtype),
            )
        if term != output or len(inputs) == 1:
            sofar = _contract(t, [(term, sofar)], output, sizes, dtype)
        return sofar if sofar.dtype == t.dtype() else t.compute(t.shape(), lambda *i: sofar[i])

    def numpy(self, np: Any, *xs: Any) -> Any:
        return np.einsum(self._equation(), *xs, optimize=True)


def _contract(
    t: Elements, operands: Sequence[tuple[Term, Any]], kept: Term, sizes: dict[str, Any], dtype: str
) -> Any:
    """The product of operands, whose axes have names, summed over the names that are not kept."""
    summed = tuple(dict.fromkeys(name for term, _ in operands for name in term if name not in kept))

    def element(*index: Any) -> Any:
        at = dict(zip((*kept, *summed), index, strict=True))
        value: Any = None
        for term, x in operands:
            own = t.cast(
                x[tuple(0 if _is_one(s) else at[name] for name, s in zip(term, x.shape, strict=True))], dtype
            )
            value = own if value is None else value * own
        return value

    shape = tuple(sizes[name] for name in kept)
    if not summed:
        return t.compute(shape, element, dtype)
    return t.reduce("sum", shape, tuple(sizes[name] for name in summed), element, dtype)


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _spell(term: Term, count: int) -> Term:
    named = tuple(f".{number}" for number in range(count, 0, -1))
    return tuple(name for item in term for name in (named if item == "..." else (item,)))


def _summed(names: dict[str, None], kept: set[str], sizes: dict[str, Size]) -> Cost:
    """Summing over the names that are not kept: one addition less than terms for each sum."""
    before = prod(sizes[name] for name in names)
    after = prod(sizes[name] for name in names if name in kept)
    return Cost(add=before - after) if any(name not in kept for name in names) else Cost()


def _letters(terms: tuple[Term, ...]) -> dict[str, str]:
    """A letter for each name: its own where it is one."""
    names = dict.fromkeys(name for term in terms for name in term if name != "...")
    free = [
        letter for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in names
    ]
    letters = {name: name if len(name) == 1 and name.isalpha() else free.pop(0) for name in names}
    return letters | {"...": "..."}
