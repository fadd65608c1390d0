"""Comparisons: of two tensors, or of a tensor and a scalar."""

from __future__ import annotations

from .core.base import case
from .core.counts import Cost
from .elementwise import by_operator
from .pointwise import Binary

_SAMPLES = (
    case({}, (2, 3), (2, 3)),
    case({}, (4, 1, 3), (2, 1)),
    case({"scalar": 0}, (2, 3)),
    case({"scalar": 0.5, "reverse": True}, ("i64", (3,))),
    case({}, ("bool", (2, 3)), ("i64", (3,))),
)


class Equal(Binary, name="eq"):
    """Whether equal, `==`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    compute = by_operator("eq")
    samples = (*_SAMPLES, case({}, ("complex", (3,)), (3,)))


class NotEqual(Binary, name="ne"):
    """Whether different, `!=`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    compute = by_operator("ne")
    samples = Equal.samples


class Less(Binary, name="lt"):
    """Whether less, `<`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    gives = "bool"
    compute = by_operator("lt")
    samples = _SAMPLES


class LessEqual(Binary, name="le"):
    """Whether less or equal, `<=`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    gives = "bool"
    compute = by_operator("le")
    samples = _SAMPLES


class Greater(Binary, name="gt"):
    """Whether greater, `>`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    gives = "bool"
    compute = by_operator("gt")
    samples = _SAMPLES


class GreaterEqual(Binary, name="ge"):
    """Whether greater or equal, `>=`: [*s], [*s] -> bool[*s] under broadcasting."""

    counts = Cost(compare=1)
    accepts = "bif"
    gives = "bool"
    compute = by_operator("ge")
    samples = _SAMPLES
