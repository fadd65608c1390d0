"""Patterns of einsum: both spellings, exact counts, and mistakes."""

from __future__ import annotations

import pytest

from planform.compiler.ops.core.counts import Cost
from planform.compiler.ops.core.rules import ShapeError
from planform.compiler.ops.einsum import Einsum, parse


def test_letters_and_words_mean_the_same() -> None:
    assert parse("bhnd,bhmd->bhnm") == parse("b h n d, b h m d -> b h n m")
    assert parse("batch row, row col -> batch col").inputs == (("batch", "row"), ("row", "col"))
    assert parse("...ij,jk").output == ("...", "i", "k")


@pytest.mark.parametrize(
    ("pattern", "shapes", "cost"),
    [
        ("bhnd,bhmd->bhnm", [(2, 3, 4, 5), (2, 3, 6, 5)], Cost(macs=2 * 3 * 4 * 5 * 6)),
        ("i,j->ij", [(4,), (5,)], Cost(multiply=20)),
        ("ij->j", [(4, 5)], Cost(add=15)),
        ("ii->i", [(4, 4)], Cost()),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], Cost(macs=2 * 3 * 4 + 2 * 4 * 5)),
    ],
)
def test_counts(pattern: str, shapes: list[tuple[int, ...]], cost: Cost) -> None:
    op = Einsum(pattern=pattern)
    assert op.cost(op.shape(*shapes), *shapes) == cost


@pytest.mark.parametrize("pattern", ["ij->ik", "ij->ii", "i1->i", "i->i->i", "......->i", "i..->i"])
def test_mistakes_are_refused(pattern: str) -> None:
    with pytest.raises(ShapeError, match="pattern"):
        parse(pattern)
