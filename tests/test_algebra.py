"""docs/algebra.md, held on every face: torch eager, deployed, emitted source, kernels of bound and free sizes."""

from __future__ import annotations

import itertools

import pytest
import torch

from support.faces import answers, as_list, assert_equal, faces, model

inf, nan = float("inf"), float("nan")

SPECIAL = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, inf, -inf, nan, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38),
    *(12582912.0, 0.1, 7.0, 2.0, 1e30),
]
PAIRS = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=torch.float32).T.contiguous()

# What an optimiser would like to take for something simpler, and is not allowed to.
FLOATS = [
    *("x * 0.0", "0.0 * x", "x * -0.0", "x + 0.0", "x - 0.0", "x + -0.0", "0.0 - x", "x * 1.0", "x / 1.0"),
    *("x / 0.0", "x - x", "x / x", "x * y * 0.0", "(x + y) - y", "x - y - x", "x + x - x"),
    *("x + 12582912.0 - 12582912.0", "x * 1e30 * 1e30", "x * 1e30 * 1e-30", "x / 3.0 * 3.0", "x * 3.0 / 3.0"),
    *(
        "x * 2.0 * 3.0",
        "x + 1e30 - 1e30",
        "x / 1e30 / 1e30",
        "x * 0.1 + x * 0.2",
        "-(-x)",
        "-(x - y)",
        "y - x",
    ),
    *("x * inf", "x + inf - inf", "x * nan", "x / inf", "x * 1e39", "x + -1e39", "1e39 / x", "x * 1e-46"),
    *(
        "maximum(x, y)",
        "minimum(x, y)",
        "maximum(x, 0.0)",
        "minimum(x, -0.0)",
        "relu(x)",
        "relu(-x)",
        "abs(x)",
    ),
    *("clamp(x, min=0.0)", "clamp(x, max=1e39)", "clamp(x, min=-0.0, max=0.0)", "relu6(x)", "sign(x)"),
    *("x // 0.0", "x % 0.0", "x // y", "x // 1.0", "x % 1.0", "x // inf", "x % inf"),
    *("where(x > 0.0, x, -1e39)", "where(x == x, x, 0.0)", "where(x != x, 0.0, x)", "x ** 0.0", "x ** 1.0"),
    *("x ** 2.0", "x ** 0.5", "x ** -1.0", "reciprocal(reciprocal(x))", "floor(x)", "round(x)", "trunc(x)"),
    *(
        "leaky_relu(x, 0.0)",
        "x * (y - y)",
        "(x - y) + y",
        "(x * y) / y",
        "lerp(x, y, 0.0)",
        "lerp(x, y, 1.0)",
    ),
]
# Which zero these give is not promised.
SIGNS_OF_ZERO = {"clamp(x, min=0.0)", "clamp(x, min=-0.0, max=0.0)", "leaky_relu(x, 0.0)", "lerp(x, y, 1.0)"}
CONDITIONS = [
    *("x == x", "x != x", "x < x", "x <= x", "x > y", "x >= y", "x < y", "x <= y", "x == y", "x != y"),
    *("not (x < y)", "not (x == y)", "x < y and x >= y", "x < y or x >= y", "x + 1.0 > x", "x - 1.0 < x"),
    *("x * 2.0 < y * 2.0", "x + y == y + x", "x - y == 0.0", "x == 0.0", "x > nan", "x <= inf", "isnan(x)"),
    *("isinf(x)", "isfinite(x)", "isfinite(x * 0.0)", "cast(x, bool)", "not x"),
]


def test_floats_are_those_of_torch() -> None:
    body = "; ".join([f"v{n} = {each}" for n, each in enumerate([*FLOATS, *CONDITIONS])])
    names = ", ".join(f"v{n}" for n in range(len(FLOATS) + len(CONDITIONS)))
    found = answers(f"{body}; return {names}", "x: [N], y: [N]", PAIRS[0], PAIRS[1], N=len(PAIRS[0]))
    # Powers and divisions into subnormal numbers are those of one library or another.
    for face, results in found.items():
        for text, result, wanted in zip([*FLOATS, *CONDITIONS], results, found["eager"], strict=True):
            if text in SIGNS_OF_ZERO:
                result, wanted = result + 0.0, wanted + 0.0
            assert_equal(result, wanted, f"{text} on {face}")


def test_the_values_themselves() -> None:
    x = torch.tensor([1.5, inf, nan, -0.0, 1e-10])
    body = "return x * 0.0, x + 12582912.0 - 12582912.0, x * 1e30 * 1e30 * 1e-30, x + 0.0, x * inf"
    for face, results in answers(body, "x: [N]", x, N=5).items():
        wanted = [
            torch.tensor([0.0, nan, nan, -0.0, 0.0]),
            torch.tensor([2.0, inf, nan, 0.0, 0.0]),
            torch.tensor([inf, inf, nan, -0.0, inf]),
            torch.tensor([1.5, inf, nan, 0.0, 1e-10]),
            torch.tensor([inf, inf, nan, nan, inf]),
        ]
        for number, (result, expected) in enumerate(zip(results, wanted, strict=True)):
            assert_equal(result, expected, f"{number} on {face}")


LEAST = {"i8": -(2**7), "i16": -(2**15), "i32": -(2**31), "i64": -(2**63)}
TORCH = {"i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64, "u8": torch.uint8}
WHOLE = [
    *(
        "x + 1 > x",
        "x - 1 < x",
        "x + 1",
        "x - 1",
        "x * 2",
        "x * y",
        "x + y",
        "x - y",
        "(x + y) - y",
        "-x",
        "abs(x)",
    ),
    *(
        "x * x",
        "x ** 2",
        "x ** 3",
        "x ** 7",
        "x * 2 > x",
        "-x < 0",
        "abs(x) >= 0",
        "x - y > 0",
        "x > y",
        "x == x",
    ),
    *(
        "x * 2 // 2",
        "x // -1",
        "x % -1",
        "x // 2",
        "x % 2",
        "x // -3",
        "x % -3",
        "maximum(x, y)",
        "minimum(x, -y)",
    ),
    *("x // where(y == 0, 1, y)", "x % where(y == 0, 1, y)", "sign(x)", "clamp(x, min=0)", "x * 0", "x - x"),
    *(
        "sum(x, axis=0)",
        "prod(x, axis=0)",
        "cumsum(x, axis=0)",
        "cast(x, i16)",
        "cast(x, u8)",
        "cast(x, bool)",
    ),
    *("square(x)", "x @ y", "amax(x, axis=0)", "amin(x, axis=0)"),
    # LLVM is not to take any of these for a sum that stays in range.
    *(
        "x + -1",
        "x - -1",
        "x * -1",
        "x + -2",
        "x - y + -1",
        "x + 100",
        "x - 100",
        "1 - x",
        "-1 - x",
        "x * 3 + -3 > x",
    ),
]


@pytest.mark.parametrize("dtype", ["i64", "i32", "i8", "u8", "i16"])
def test_integers_wrap_as_in_torch(dtype: str) -> None:
    least = LEAST.get(dtype, 0)
    most = -least - 1 if least else 255
    numbers = [
        least,
        least + 1,
        most,
        most - 1,
        0,
        1,
        most // 2 + 1,
        3,
        2,
        100,
        *([-1, -2, -3] if least else [5, 6, 7]),
    ]
    pairs = torch.tensor(list(itertools.product(numbers, numbers)), dtype=TORCH[dtype]).T.contiguous()
    shown = [each for each in WHOLE if least or not any(sign in each for sign in ("-1", "-2", "-3"))]
    body = "; ".join(f"v{n} = {each}" for n, each in enumerate(shown))
    names = ", ".join(f"v{n}" for n in range(len(shown)))
    given = f"x: {dtype}[N], y: {dtype}[N]"
    found = answers(f"{body}; return {names}", given, *pairs, N=len(pairs[0]))
    for face, results in found.items():
        for text, result, wanted in zip(shown, results, found["eager"], strict=True):
            assert_equal(result, wanted, f"{text} of {dtype} on {face}")


def test_the_largest_integer_has_no_successor() -> None:
    x = torch.tensor([2**63 - 1, 2**63 - 2, -(2**63)])
    for face, (larger, sum_, quotient, rest) in answers(
        "return x + 1 > x, x + 1, x // -1, x % -1", "x: i64[N]", x, N=3
    ).items():
        assert larger.tolist() == [False, True, True], face
        assert sum_.tolist() == [-(2**63), 2**63 - 1, -(2**63) + 1], face
        assert quotient.tolist() == [-(2**63) + 1, -(2**63) + 2, -(2**63)], face
        assert rest.tolist() == [0, 0, 0], face


OUTSIDE = [70000.0, -70000.0, 300.0, -300.0, 1e10, -1e10, 3e9, -3e9, 1e20, -1e20, inf, -inf, nan, 1.9, -1.9]
OUTSIDE += [2.0**31, -(2.0**31), 2.0**63, -(2.0**63), 255.9, 2147483520.0, 4294967296.0, -0.5]


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16"])
def test_casts_out_of_range(dtype: str) -> None:
    floats = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
    x = torch.tensor(OUTSIDE * 5, dtype=floats[dtype])
    body = "return " + ", ".join(f"cast(x, {to})" for to in ("i8", "i16", "i32", "i64", "u8", "bool"))
    for face, results in answers(body, f"x: {dtype}[N]", x, N=len(x)).items():
        for result, wanted in zip(
            results,
            [x.to(to) for to in (*[TORCH[n] for n in ("i8", "i16", "i32", "i64", "u8")], torch.bool)],
            strict=True,
        ):
            assert_equal(result, wanted, f"{wanted.dtype} on {face}")
    if dtype == "f32":
        (short,) = answers("return cast(x, i16)", "x: [N]", torch.tensor([70000.0, 1e10, nan]), N=3)["bound"]
        assert short.tolist() == [4464, 0, 0]


def test_a_cast_of_a_scalar_is_that_of_an_element() -> None:
    found = answers("return cast(full([2], 70000.0), i16) + cast(x, i16)", "x: [N]", torch.zeros(2), N=2)
    assert {face: results[0].tolist() for face, results in found.items()} == {
        face: [4464, 4464] for face in found
    }


def test_a_fully_masked_row_of_written_attention_is_not_a_number() -> None:
    body = "return (softmax(q @ transpose(k, -1, -2) * 0.25 + m, axis=-1)) @ v"
    q, k, v = (torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(n)) for n in range(3))
    mask = torch.zeros(5, 5)
    mask[1], mask[2, :3] = -inf, -inf
    given = "q: [B, 3, 5, 8], k: [B, 3, 5, 8], v: [B, 3, 5, 8], m: [5, 5]"
    deployed = model(body, given).deploy()
    assert any(node.op.name == "scaled_dot_product_attention" for node in deployed.graph.operators())
    nothing = torch.zeros(2, 3, 5, dtype=torch.bool)
    nothing[..., 1] = True
    found = answers(body, given, q, k, v, mask, B=2)
    for face, (result,) in found.items():
        torch.testing.assert_close(result, found["eager"][0], equal_nan=True, msg=face)
        assert bool(result[nothing].isnan().all()), face


def test_attention_that_is_called_is_zero_there() -> None:
    body = "return scaled_dot_product_attention(q, q, q, m)"
    q, mask = torch.randn(2, 3, 5, 8), torch.zeros(5, 5)
    mask[1] = -inf
    for face, (result,) in answers(body, "q: [B, 3, 5, 8], m: [5, 5]", q, mask, B=2).items():
        assert bool((result[..., 1, :] == 0).all()), face
        assert bool(result.isfinite().all()), face


def test_scalars_that_would_spoil_weights_stay() -> None:
    image = torch.randn(1, 3, 6, 6)
    for scalars in ("1e30 * 1e30", "1e-30 * 1e-30 * 1e30", "0.0", "inf"):
        written = model(f"return (x -> c: conv(4, 3)) * {scalars}", "x: [1, 3, 6, 6]")
        eager, fast = written.to_torch(seed=0).eval(), written.to_torch(mode="deploy", seed=0)
        with torch.inference_mode():
            wanted = as_list(eager(image))
            torch.testing.assert_close(as_list(fast(image)), wanted, equal_nan=True)
            torch.testing.assert_close(as_list(written.to_tvm(seed=0)(image)), wanted, equal_nan=True)


KERNELS = ("bound", "free")
TINY = [1e-45, -1e-45, 1e-39, -1e-39, 2.9e-39, 3e-39, 5e-40]


def test_a_scalar_over_a_tensor() -> None:
    """Kernels round the quotient once; modules give torch's product with the reciprocal."""
    x = torch.tensor([*SPECIAL, *TINY, 1e38])
    scalars = ["0.0", "-0.0", "2", "3", "1.0", "-1.0", "1e30", "inf", "1e39", "1e-46", "nan"]
    found = answers("return " + ", ".join(f"{each} / x" for each in scalars), "x: [N]", x, N=len(x))
    assert {*KERNELS, "eager"} < set(found)
    for face, results in found.items():
        for text, result in zip(scalars, results, strict=True):
            scalar = torch.tensor(float(text))
            exact = (scalar.double() / x.double()).float()
            assert_equal(result, exact if face in KERNELS else float(text) / x, f"{text} / x on {face}")
    zero = found["eager"][0][x == 1e-39], found["bound"][0][x == 1e-39]
    assert bool(zero[0].isnan().all()) and zero[1].tolist() == [0.0]


def test_remainders_by_subnormal_numbers() -> None:
    pairs = torch.tensor(list(itertools.product([1.0, -1.0, 3e-39, 5.0, 1e-45, -1e-39, 0.0], TINY))).T
    x, y = pairs.contiguous()
    exact = torch.remainder(x.double(), y.double()).float()
    found = answers("return x % y", "x: [N], y: [N]", x, y, N=len(x))
    for face in KERNELS:
        assert_equal(found[face][0], exact, face)
    for face in set(found) - {*KERNELS}:
        assert_equal(found[face][0], torch.remainder(x, y), face)


def test_whole_numbers_over_zero() -> None:
    runs = faces("return x // y, x % y", "x: i64[N], y: i64[N]", {"N": 3})
    x, y = torch.tensor([5, -5, 0]), torch.tensor([0, 0, 0])
    for face, run in runs.items():
        if face in KERNELS:
            assert [each.tolist() for each in run(x, y)] == [[0, 0, 0], [0, 0, 0]]
        else:
            with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                run(x, y)


def test_the_faces_are_all_there() -> None:
    assert set(faces("return x", "x: [N]", {"N": 2})) == {
        *("eager", "deploy", "source", "deployed source", "bound", "free", "free eager")
    }
