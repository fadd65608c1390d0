"""What shape rules say: sizes that must agree, ranks, types; proved, refuted or kept as guards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from ...dtypes import DType, is_complex, is_float, is_integer
from ...errors import PlanformError
from ...sizes.dims import Size, at_least, holds, render, without_assumptions

Undecided = tuple[str, Size, Size, str]


class ShapeError(PlanformError):
    """Operands or arguments that do not fit an operator.

    `kind` is "size", "rank", "dtype" or "value". `operands` names the slots concerned, each with the axis
    (or None), so that a diagnostic can tell where their sizes came from. `argument` names the field at
    fault, and `at` the part of its text (offsets of a pattern's characters) where that is known. `mode` is
    the mode in which alone the operator refuses them.
    """

    def __init__(
        self,
        message: str,
        kind: str = "size",
        operands: tuple[tuple[str, int | None], ...] = (),
        argument: str | None = None,
        help: str | None = None,
        at: tuple[int, int] | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.operands = operands
        self.argument = argument
        self.help = help
        self.at = at
        self.mode = mode


_undecided: ContextVar[list[Undecided] | None] = ContextVar("undecided constraints", default=None)


@contextmanager
def collecting() -> Generator[list[Undecided]]:
    """Gather the constraints that the rules run inside cannot decide."""
    undecided: list[Undecided] = []
    token = _undecided.set(undecided)
    try:
        yield undecided
    finally:
        _undecided.reset(token)


def _leave(relation: str, left: Size, right: Size, message: str) -> None:
    """Leave a constraint to whoever collects them; nobody does where a rule is asked for its sizes alone."""
    undecided = _undecided.get()
    if undecided is not None:
        undecided.append((relation, left, right, message))


def _verdict(relation: str, left: Size, right: Size) -> bool | None:
    """Whether a relation holds; None also for one that only what is assumed refutes.

    Such a one contradicts what was asked before, and who collects the constraints can say so.
    """
    verdict = holds(relation, left, right)
    if verdict is False:
        with without_assumptions():
            return holds(relation, left, right)
    return verdict


def need_equal(left: Size, right: Size, what: str, *operands: tuple[str, int | None]) -> None:
    """`left` and `right` are the same size, or `ShapeError`; undecided, it becomes a guard."""
    if left is right:
        return
    verdict = (
        left == right if isinstance(left, int) and isinstance(right, int) else _verdict("==", left, right)
    )
    if verdict is None:
        _leave("==", left, right, what)
    elif not verdict:
        raise ShapeError(f"{what} differ: {render(left)} and {render(right)}", "size", operands)


def need_at_least(size: Size, least: Size, what: str, *operands: tuple[str, int | None]) -> None:
    """`size >= least`, or `ShapeError`; undecided, it becomes a guard."""
    verdict = (
        size >= least if isinstance(size, int) and isinstance(least, int) else _verdict(">=", size, least)
    )
    if verdict is None:
        _leave(">=", size, least, what)
    elif not verdict:
        raise ShapeError(f"{what} is {render(size)}, and must be at least {render(least)}", "size", operands)


def need_divisible(
    size: Size, by: Size, what: str, *operands: tuple[str, int | None], argument: str | None = None
) -> None:
    """`by` divides `size`, or `ShapeError`; undecided, it becomes a guard."""
    verdict = size % by == 0 if isinstance(size, int) and isinstance(by, int) else _verdict("%", size, by)
    if verdict is None:
        _leave("%", size, by, what)
    elif not verdict:
        raise ShapeError(
            f"{what} is {render(size)}, which {render(by)} does not divide", "size", operands, argument
        )


def need_rank(shape: tuple[Size, ...], least: int, most: int | None, what: str, operand: str = "x") -> None:
    """The rank lies in [least, most] (`most` None: no upper bound), or `ShapeError`."""
    rank = len(shape)
    if rank < least or (most is not None and rank > most):
        if most is None:
            wanted = f"at least {least}"
        elif least == most:
            wanted = f"{least}"
        else:
            wanted = f"{least} to {most}"
        raise ShapeError(f"{what} needs {wanted} axes, and got {rank}", "rank", ((operand, None),))


def need_positive(value: Size, argument: str) -> None:
    """The argument is at least 1, or `ShapeError`."""
    verdict = value >= 1 if isinstance(value, int) else at_least(value, 1)
    if verdict is False:
        raise ShapeError(
            f"`{argument}` is {render(value)}, and must be at least 1", "value", argument=argument
        )


def need_float(dtype: DType, what: str, operand: str = "x") -> None:
    """The type is real floating point, or `ShapeError`."""
    if not is_float(dtype):
        raise ShapeError(f"{what} needs a float tensor, and got {dtype}", "dtype", ((operand, None),))


def need_inexact(dtype: DType, what: str, operand: str = "x") -> None:
    """The type is floating point or complex, or `ShapeError`."""
    if not (is_float(dtype) or is_complex(dtype)):
        raise ShapeError(
            f"{what} needs a float or complex tensor, and got {dtype}", "dtype", ((operand, None),)
        )


def need_integer(dtype: DType, what: str, operand: str = "x") -> None:
    """The type is an integer, or `ShapeError`."""
    if not is_integer(dtype):
        raise ShapeError(f"{what} needs an integer tensor, and got {dtype}", "dtype", ((operand, None),))


def need_same_dtype(dtypes: dict[str, DType], what: str) -> None:
    """All types are one, or `ShapeError` (torch does not promote here)."""
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{slot} is {dtype}" for slot, dtype in dtypes.items())
        raise ShapeError(
            f"{what} needs operands of one type: {listed}", "dtype", tuple((slot, None) for slot in dtypes)
        )


def axis_of(axis: int, rank: int, argument: str = "axis") -> int:
    """A written axis counted from the front; negative ones count from the end.

    `ShapeError` outside [-rank, rank).
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"`{argument}` is {axis}, but there are {rank} axes", "value", argument=argument)
    return axis % rank if rank else 0


def axes_of(axes: int | tuple[int, ...] | None, rank: int, argument: str = "axis") -> tuple[int, ...]:
    """Written axes counted from the front, all of them for None; `ShapeError` for one named twice."""
    if axes is None:
        return tuple(range(rank))
    found = tuple(axis_of(axis, rank, argument) for axis in ((axes,) if isinstance(axes, int) else axes))
    if len(set(found)) != len(found):
        raise ShapeError(f"`{argument}` names an axis twice", "value", argument=argument)
    return found


def broadcast(
    *shapes: tuple[Size, ...], what: str = "operands", slots: tuple[str, ...] = ()
) -> tuple[Size, ...]:
    """The common shape under NumPy's rule: missing leading axes are added, a 1 stretches.

    A symbol is never taken for 1, and what has at most one element, as `x[-1:]`, has one. `slots` names the
    operands for diagnostics, `what` their part (a phrase).
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Size] = [1] * rank
    holder: list[int] = [0] * rank
    for number, shape in enumerate(shapes):
        for axis in range(1, len(shape) + 1):
            size, sofar = shape[-axis], result[-axis]
            if size is sofar or size == 1:
                continue
            if sofar == 1:
                result[-axis], holder[-axis] = size, number
                continue
            concerned = ((slots[holder[-axis]], -axis), (slots[number], -axis)) if slots else ()
            label = f"sizes of axis {rank - axis}"
            if _at_most_one(size):
                need_at_least(size, 1, f"the size broadcast along axis {rank - axis}", *concerned[1:])
                continue
            if _at_most_one(sofar):
                need_at_least(sofar, 1, f"the size broadcast along axis {rank - axis}", *concerned[:1])
                result[-axis], holder[-axis] = size, number
                continue
            need_equal(sofar, size, f"{what}: {label}" if " " in what else label, *concerned)
            if isinstance(size, int):
                result[-axis] = size
    return tuple(result)


def _at_most_one(size: Size) -> bool:
    return not isinstance(size, int) and at_least(1, size) is True
