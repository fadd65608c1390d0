"""What builds died of: every call builds on every face with equal numbers, or a diagnostic says why not."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest
import torch

from planform import Model, PlanError, PlanFile
from planform.backends.torch import InputError
from planform.cli.app import run as command_line
from support.building import TOOLS, Batch, accepted, eager, faults
from support.emitted import load
from support.faces import answers, assert_equal, model
from support.pieces import Piece, names, pieces

inf = float("inf")
SEED = int(os.environ.get("PLANFORM_SEED", date.today().toordinal()))


def _equal(body: str, inputs: str, given: torch.Tensor, *wanted: torch.Tensor, **sizes: int) -> None:
    for face, results in answers(body, inputs, given, **sizes).items():
        for number, (result, expected) in enumerate(zip(results, wanted, strict=True)):
            assert_equal(result, expected, f"result {number} on {face}")


def test_an_adaptive_pool_may_have_more_bins_than_elements() -> None:
    x = torch.arange(12.0).reshape(1, 4, 3, 1)
    wanted = torch.nn.functional.adaptive_avg_pool2d(x, 7)
    _equal("return adaptive_avg_pool(x, [7, 7])", "x: [1, 4, 3, 1]", x, wanted)
    _equal("return adaptive_avg_pool(x, [7, 7])", "x: [B, 4, H, W]", x, wanted, B=1, H=3, W=1)


def test_scalars_beyond_the_type_are_infinite() -> None:
    x = torch.tensor([1.0, -2.0, 0.5])
    wanted = torch.tensor([inf, -inf, inf]), torch.tensor([-inf, -2.0, -inf])
    _equal("return x * 1e39, masked_fill(x, x > 0.0, -1e39)", "x: [N]", x, *wanted, N=3)


def test_a_nested_constant_is_an_operand() -> None:
    x = torch.ones(2, 2)
    _equal("return x + tensor([[1, 2], [3, 4]])", "x: [2, 2]", x, torch.tensor([[2.0, 3.0], [4.0, 5.0]]))
    assert model("return x + tensor([[1, 2], [3, 4]])", "x: [A, B]").file.check().ok


def test_constants_of_every_type() -> None:
    x = torch.zeros(2)
    body = "return x + tensor([1, 0], dtype=u8), tensor([2, 0], dtype=bool), tensor([-1, 5], dtype=i8)"
    wanted = torch.tensor([1.0, 0.0]), torch.tensor([True, False]), torch.tensor([-1, 5], dtype=torch.int8)
    _equal(body, "x: [N]", x, *wanted, N=2)


def test_one_operator_may_read_a_value_twice() -> None:
    x = torch.tensor([2.0, -1.0, 0.0])
    wanted = torch.tensor([4.0 + math.exp(4.0) + 2.0, 1.0, 1.0])
    for face, (found,) in answers("v = relu(x); y = v + v; return y + exp(y) + v", "x: [N]", x, N=3).items():
        torch.testing.assert_close(found, wanted, msg=face)


@pytest.mark.parametrize(
    "use",
    ["arange({})", "x * ({})", "reshape(x, [{}, -1])", "x[: {}]", "x * max({}, 3)", "x + full([1], {})"],
)
@pytest.mark.parametrize("divided", ["a // (b - 1)", "a % (b - 1)", "ceil_div(a, b - 1)"])
def test_a_size_that_divides_is_not_zero(divided: str, use: str) -> None:
    """Bound it is a diagnostic; free it is a guard of every module."""
    body = f"return {use.format(divided)}"
    with pytest.raises(PlanError, match="division by zero"):
        _ = model(body, "x: [a, b]", a=4, b=1).program
    free = model(body, "x: [a, b]")
    with pytest.raises(InputError, match="b must be at least 2, and here b = 1"):
        free.to_torch(seed=0).eval()(torch.zeros(4, 1))
    with pytest.raises(AssertionError, match="b must be at least 2"):
        load(free.to_source()).eval()(torch.zeros(4, 1))


def test_nothing_is_a_multiple_of_zero() -> None:
    free = model("require a % (b - 1) == 0; return x", "x: [a, b]")
    with pytest.raises(InputError, match="a must be a multiple of b - 1, and here a = 4, b = 1"):
        free.to_torch().eval()(torch.zeros(4, 1))
    emitted = load(free.to_source()).eval()
    with pytest.raises(AssertionError, match="b - 1 is 0"):
        emitted(torch.zeros(4, 1))
    with pytest.raises(AssertionError, match="a must be a multiple of b - 1"):
        emitted(torch.zeros(4, 4))
    assert emitted(torch.zeros(4, 3)).shape == (4, 3)


def test_powers_of_sizes() -> None:
    x = torch.tensor([[4.0], [8.0]])
    _equal("return x * a ** -1, x * (a ** (b - 3))", "x: [a, b]", x, x * 0.5, x * 0.25, a=2, b=1)
    for zero in ("x * (0 ** (b - 3))", "x * ((b - 1) ** -1)", "x * (a / (b - 1))"):
        with pytest.raises(PlanError, match="division by zero"):
            _ = model(f"return {zero}", "x: [a, b]", a=2, b=1).program


@pytest.mark.parametrize("body", ["x // 0", "x % 0", "x % false", "floor_divide(x, scalar=0)"])
def test_whole_numbers_are_not_divided_by_a_written_zero(body: str) -> None:
    with pytest.raises(PlanError, match="division by zero"):
        _ = model(f"return {body}", "x: i64[N]").program


def test_whole_numbers_over_a_size_that_may_be_zero() -> None:
    free = model("return x % (N - 4), x // (N - 4)", "x: i64[N]")
    with pytest.raises(InputError, match="N must be at least 5"):
        free.to_torch().eval()(torch.arange(4))
    x = torch.arange(7)
    _equal("return x % (N - 4), x // (N - 4)", "x: i64[N]", x, x % 3, x // 3, N=7)


def test_a_call_that_divides_by_zero_is_not_an_internal_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.plan"
    path.write_text("planform 1\nmodel network(x: i64[4]) { return 3 // (x - x) }\nplan net = network()\n")
    with pytest.raises(SystemExit) as end:
        raise SystemExit(command_line(["run", str(path)]))
    assert end.value.code == 1
    assert "a whole number is divided by zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dtype", "body"),
    [
        *(("u8", f"tensor([{each}, 0], dtype=u8)") for each in ("300", "-300", "nan", "256.5")),
        *(("i8", f"full([2], {each}, dtype=i8)") for each in ("128", "-129", "inf")),
        ("i64", "tensor([inf, 0], dtype=i64)"),
        ("i64", "tensor([1e30, 0], dtype=i64)"),
        *(("i8", each) for each in ("maximum(x, 300)", "minimum(x, -300)", "where(x > 0, x, 300)")),
        *(
            ("u8", each)
            for each in ("masked_fill(x, x > 0, 300)", "clamp(x, max=300)", "pad(x, [1, 1], value=-1)")
        ),
    ],
)
def test_written_numbers_are_of_their_type(dtype: str, body: str) -> None:
    """Torch refuses them when it is called; `check` says so before."""
    with pytest.raises(PlanError, match=f"{dtype} does not hold"):
        _ = model(f"return {body}", f"x: {dtype}[2]").program


def test_arithmetic_with_a_scalar_out_of_range_wraps() -> None:
    x = torch.tensor([200, 3], dtype=torch.uint8)
    wanted = torch.tensor([244, 47], dtype=torch.uint8), torch.tensor([199, 2], dtype=torch.uint8)
    _equal("return x + 300, x - 1", "x: u8[N]", x, *wanted, N=2)


def test_a_pool_of_whole_numbers_in_one_axis() -> None:
    x = torch.tensor([[[1, 5, 2, -7, -3, -9]]])
    _equal("return max_pool(x, 2)", "x: i64[B, 1, 6]", x, torch.tensor([[[5, 2, -3]]]), B=1)


def test_bounds_of_unsigned_numbers() -> None:
    """A comparison with 0 in TVM's simplifier ended the process."""
    x = torch.tensor([0, 200], dtype=torch.uint8)
    wanted = torch.tensor([0, 6], dtype=torch.uint8), x, torch.tensor([1, 6], dtype=torch.uint8)
    _equal("return relu6(x), relu(x), clamp(x, min=1, max=6)", "x: u8[N]", x, *wanted, N=2)


def test_attention_over_no_keys_and_for_no_queries() -> None:
    body = "return scaled_dot_product_attention(q, k, k)"
    for queries, keys in ((4, 0), (0, 4)):
        inputs = f"q: [2, 3, {queries or 'M >= 0'}, 5], k: [2, 3, {keys or 'M >= 0'}, 5]"
        q, k = torch.randn(2, 3, queries, 5), torch.randn(2, 3, keys, 5)
        for face, (result,) in answers(body, inputs, q, k, M=0).items():
            assert_equal(result, torch.zeros(2, 3, queries, 5), face)


def test_a_size_that_may_be_zero_may_be_it_on_every_axis() -> None:
    x = torch.zeros(0, 0)
    _equal("return abs(x), sum(x)", "x: [S >= 0, S]", x, x, torch.tensor(0.0), S=0)
    with pytest.raises(PlanError, match="a size must be at least 1"):
        _ = model("return x", "x: [S, S]", S=0).program


# ------------------------------------------------------------ files with errors

_TWICE = """planform 1
model small(x: [B, 4]) { return x -> fc: linear(2) }
plan net = small()
plan other = small(width=3)
"""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (_TWICE, "E207"),
        (_TWICE.replace("small(width=3)", "small()") + "plan net = small()\n", "E102"),
        (_TWICE.replace("small(width=3)", "small()") + "table small {\n    a\n    1\n}\n", "E102"),
        (_TWICE.replace("small(width=3)", "small()") + "value = 1 // 0\n", "E202"),
    ],
)
def test_a_file_with_errors_does_not_build(text: str, code: str) -> None:
    file = PlanFile.from_text(text)
    assert [each.code for each in file.check().diagnostics] == [code]
    made = Model(file, "net", {})
    for build in (made.to_torch, made.to_source, made.to_tvm, made.cost, made.deploy, made.memory):
        with pytest.raises(PlanError) as error:
            build()
        assert [each.code for each in error.value.diagnostics] == [code]


def test_nor_does_a_file_that_uses_one_with_errors(tmp_path: Path) -> None:
    (tmp_path / "parts.plan").write_text(
        "planform 1\nblock part(x: tensor) { return x }\nblock part(x: tensor) { return x }\n"
    )
    (tmp_path / "net.plan").write_text(
        'planform 1\nuse "parts.plan" (part)\nmodel network(x: [B]) { return part(x) }\nplan net = network()\n'
    )
    file = PlanFile(tmp_path / "net.plan")
    with pytest.raises(PlanError) as error:
        Model(file, "net", {}).to_torch()
    assert [each.code for each in error.value.diagnostics] == ["E102"]


# ------------------------------------------------------------ inputs of emitted files

_GIVEN = "x: [B, 3, H, W], t: i64[B], s: [2*B + 1], b: u8[B], f: [B*H]"
_FITS = (
    torch.zeros(2, 3, 4, 4),
    torch.zeros(2, dtype=torch.long),
    torch.zeros(5),
    torch.zeros(2, dtype=torch.uint8),
    torch.zeros(8),
)


@pytest.mark.parametrize(
    ("number", "wrong"),
    [
        (0, torch.zeros(2, 3, 4)),
        (0, torch.zeros(2, 4, 4, 4)),
        (0, torch.zeros(0, 3, 4, 4)),
        (0, torch.zeros(2, 3, 4, 4, dtype=torch.int32)),
        (0, [1, 2]),
        (1, torch.zeros(2)),
        (1, torch.zeros(3, dtype=torch.long)),
        (1, torch.zeros((), dtype=torch.long)),
        (2, torch.zeros(6)),
        (2, torch.zeros(7)),
        (3, torch.zeros(2, dtype=torch.int8)),
    ],
)
def test_emitted_files_refuse_what_modules_refuse(number: int, wrong: object) -> None:
    written = model("return x + 1.0, t, s, b, f", _GIVEN)
    given = [wrong if n == number else fits for n, fits in enumerate(_FITS)]
    with pytest.raises(InputError) as module:
        written.to_torch().eval()(*given)
    with pytest.raises(ValueError) as emitted:
        load(written.to_source()).eval()(*given)
    assert str(emitted.value) == str(module.value)
    with pytest.raises(ValueError) as deployed:
        load(written.to_source("deploy")).eval()(*given)
    assert str(deployed.value) == str(module.value)


def test_emitted_files_take_what_fits_and_are_traced() -> None:
    written = model("return x + 1.0, t, s, b, f", _GIVEN)
    module = load(written.to_source()).eval()
    assert [tuple(each.shape) for each in module(*_FITS)] == [tuple(each.shape) for each in _FITS]
    with pytest.raises(AssertionError, match=r"f: axis 0 must be B\*H"):
        module(*_FITS[:4], torch.zeros(9))
    plain = load(model("return x * 2.0", "x: [B, 3]").to_source()).eval()
    x = torch.ones(2, 3)
    for traced in (torch.fx.symbolic_trace(plain), torch.jit.trace(plain, x)):
        torch.testing.assert_close(traced(x), 2 * x)
    exported = torch.export.export(plain, (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.testing.assert_close(exported.module()(torch.ones(5, 3)), torch.full((5, 3), 2.0))


# ------------------------------------------------------------ every operator


def _sorted(tried: Iterable[Piece]) -> tuple[list[Piece], list[Piece], list[Piece]]:
    """Calls that are fine bound, free too, and free alone."""
    bound: list[Piece] = []
    both: list[Piece] = []
    alone: list[Piece] = []
    for piece in tried:
        free = accepted(piece, free=True)
        if accepted(piece):
            bound.append(piece)
            if free:
                both.append(piece)
        elif free:
            alone.append(piece)
    return bound, both, alone


def _refused(piece: Piece) -> str | None:
    """What is wrong where sizes that a plan does not take bound pass its guards when it is free."""
    try:
        eager(Batch([piece], free=True))
    except InputError:
        return None
    except Exception as error:
        return f"{piece}: {type(error).__name__}: {error}"
    return f"{piece}: no guard refuses it"


def test_a_sample_of_calls_builds_on_every_face() -> None:
    rng = random.Random(11)
    tried = [rng.choice(list(dict.fromkeys(pieces(name)))) for name in rng.sample(names(), 60)]
    bound, both, alone = _sorted(tried)
    assert len(bound) > 20 and len(both) > 20
    assert list(faults(bound)) == []
    assert list(faults(both, True, ("emitted", "tvm"), TOOLS[:1])) == []
    assert [found for piece in alone if (found := _refused(piece))] == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(24))
def test_more_calls_build_on_every_face(part: int) -> None:
    """Others each day; all of them, 27 thousand, take hours."""
    rng = random.Random(SEED + part)
    tried: list[Piece] = []
    for name in names()[part::24]:
        every = list(dict.fromkeys(pieces(name)))
        tried += rng.sample(every, min(6, len(every)))
    bound, both, alone = _sorted(tried)
    assert list(faults(bound)) == []
    assert list(faults(both, True, tools=TOOLS)) == []
    assert [found for piece in alone if (found := _refused(piece))] == []
