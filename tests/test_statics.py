"""Static values: whatever is computed of whatever, there is a value or a reason."""

from __future__ import annotations

from inspect import signature
from itertools import product
from typing import Any

import pytest

from planform.api.plan_file import PlanFile
from planform.compiler.sizes.dims import symbol
from planform.dsl import statics
from planform.dsl.diagnostics import PlanError
from planform.dsl.statics import StaticError

B, H = symbol("B"), symbol("H")
# Of every kind, with what arithmetic is known to stumble over.
NUMBERS: list[Any] = [0, 1, -3, 7, 2**62, True, 0.0, 1.5, -2.5, 1e308, -1e308, B, B + 1, H // 2, B * H]
OTHERS: list[Any] = [[], [1, 2], [1.5, B], [[1], "a"], (1, 2), (B, 2.0), "", "ab", None, len]


def computed(function: Any, *given: Any) -> None:
    try:
        function(*given)
    except StaticError as error:
        assert error.kind in ("value", "type", "size", "large", "many", "operands")


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "//", "%", "**"])
def test_arithmetic_gives_a_value_or_a_reason(op: str) -> None:
    for left, right in product([*NUMBERS, *OTHERS], repeat=2):
        computed(statics.arithmetic, op, left, right)


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">="])
def test_comparisons_give_a_value_or_a_reason(op: str) -> None:
    for left, right in product([*NUMBERS, *OTHERS], repeat=2):
        computed(statics.compare, op, left, right)


@pytest.mark.parametrize("name", statics.FUNCTIONS)
def test_functions_give_a_value_or_a_reason(name: str) -> None:
    function = statics.FUNCTIONS[name]
    for count in range(4):
        try:
            signature(function).bind(*[None] * count)
        except TypeError:
            continue
        given = [*NUMBERS, *OTHERS] if count < 3 else [*NUMBERS[::2], *OTHERS[::2]]
        for arguments in product(given, repeat=count):
            computed(function, *arguments)


@pytest.mark.parametrize(
    ("expression", "code", "told"),
    [
        ("B * 1.5", "E201", "must be a size, and is a tensor f64[]"),
        ("2 ** B", "E201", "must be a size, and is a tensor f64[]"),
        ("round_to(B * 1.5)", "E201", "must be a number, and is a tensor f64[]"),
        ("max(B, 0.5)", "E203", "B"),
        ("B ** -1", "E201", "must be a size, and is a tensor f64[]"),
        ("B / 2", "E201", "must be a size, and is a tensor f64[]"),
        ("ceil_div(B, 0.5)", "E203", "B"),
        ("ceil_div(4, 0)", "E202", "division by zero"),
        ("ceil_div([1], 2)", "E201", "a number or size"),
        ("min(B, [1])", "E201", "numbers"),
        ("exp(4611686018427387904)", "E204", "the range of floats"),
    ],
)
def test_what_has_no_value_is_a_diagnostic(expression: str, code: str, told: str) -> None:
    text = f"planform 1\nmodel net(x: [B, 4]) {{\n    n = {expression}\n    return x -> linear(n)\n}}\nplan p = net()\n"
    with pytest.raises(PlanError) as raised:
        PlanFile.from_text(text).program("p", {}, {}, ("eval",))
    (found,) = raised.value.diagnostics
    assert found.code == code
    assert told in found.message


def test_bound_sizes_are_numbers() -> None:
    text = "planform 1\nmodel net(x: [B, 4]) {\n    return x -> linear(int(B * 1.5) + 2 ** B)\n}\nplan p = net() at (B=4)\n"
    (result,) = PlanFile.from_text(text).program("p", {}, {}, ("eval",)).graphs["eval"].outputs
    assert result.shape == (4, 22)
