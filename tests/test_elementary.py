"""Functions of single numbers in kernels: their error in units in the last place, and their special values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import erf, erfc, inf, nan
from typing import Any

import numpy as np
import pytest
import torch
import tvm
import tvm_ffi
from tvm import tirx

from planform.backends.tvm.codegen.codegen import generate
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.runtime.arena import aligned_copy
from planform.backends.tvm.tensor_ir.loops import Loops
from planform.backends.tvm.tensor_ir.math.elementary import Functions

Function = Callable[..., Any]


def _kernel(name: str, dtype: str, arity: int) -> Any:
    """A loop over the function, as a function of arrays of one length: operands, then the result."""
    size = tirx.Var("n", "int64")
    operands = [tirx.decl_buffer([size], dtype, name=f"x{number}") for number in range(arity)]
    functions, loops = Functions(), Loops()
    functions.let = loops.let
    with loops.loop(size) as at:
        value = getattr(functions, name)(*(tirx.BufferLoad(each, [at]) for each in operands))
        result = tirx.decl_buffer([size], str(value.ty.dtype), name="y")
        loops.store(result, value, at)
    attributes = tvm.ir.make_node("ir.DictAttrs", global_symbol="call")
    function = tirx.PrimFunc([*operands, result], loops.body(), attrs=attributes)
    module = tvm.IRModule({tvm.ir.GlobalVar("call"): function})
    return generate(module, host().target), str(value.ty.dtype)


_library = cache(_kernel)


def evaluate(name: str, *operands: np.ndarray) -> np.ndarray:
    """The function of each element."""
    library, dtype = _library(name, str(operands[0].dtype), len(operands))
    arrays = [aligned_copy(each) for each in (*operands, np.empty(operands[0].shape, dtype))]
    library["call"](*map(tvm_ffi.from_dlpack, arrays))
    return arrays[-1]


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The distance from the exact values in units in the last place of float32."""
    rounded = exact.astype(np.float32)
    same = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    with np.errstate(all="ignore"):
        unit = np.spacing(np.abs(rounded)).astype(np.float64)
        return np.where(same, 0.0, np.nan_to_num(np.abs(found - exact) / unit, nan=inf))


def _all_floats(low: float, high: float, count: int = 400_000) -> np.ndarray:
    """Numbers between bounds, evenly by their bits and evenly by value, of both signs where bounds are."""
    positive = np.arange(0, np.float32(high).view(np.int32), 4001, dtype=np.int32).view(np.float32)
    values = np.concatenate([positive, -positive, np.linspace(low, high, count, dtype=np.float32)])
    return np.unique(values[(values >= low) & (values <= high)])


_math_erf = np.vectorize(erf, otypes=[np.float64])
_math_erfc = np.vectorize(erfc, otypes=[np.float64])


def _wide(function: Function) -> Function:
    """The function in numpy's widest type."""
    return lambda x: function(x.astype(np.longdouble)).astype(np.float64)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


EXACT: dict[str, tuple[Function, float, float]] = {
    "exp": (_wide(np.exp), -110, 95),
    "exp2": (_wide(np.exp2), -155, 130),
    "expm1": (_wide(np.expm1), -110, 95),
    "log": (_wide(np.log), 0, 3.4e38),
    "log2": (_wide(np.log2), 0, 3.4e38),
    "log10": (_wide(np.log10), 0, 3.4e38),
    "log1p": (_wide(np.log1p), -1, 3.4e38),
    "tanh": (_wide(np.tanh), -30, 30),
    "sigmoid": (_wide(_sigmoid), -110, 110),
    "silu": (_wide(lambda x: x * _sigmoid(x)), -115, 115),
    "softplus": (_wide(lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))), -110, 110),
    "erf": (lambda x: _math_erf(x.astype(np.float64)), -6, 6),
    "gelu": (lambda x: x * 0.5 * _math_erfc(-np.float64(np.sqrt(0.5)) * x.astype(np.float64)), -16, 16),
    "sqrt": (_wide(np.sqrt), 0, 3.4e38),
    "rsqrt": (_wide(lambda x: 1 / np.sqrt(x)), 1e-45, 3.4e38),
    "sin": (_wide(np.sin), -1e4, 1e4),
    "cos": (_wide(np.cos), -1e4, 1e4),
    "tan": (_wide(np.tan), -100, 100),
    "asin": (_wide(np.arcsin), -1, 1),
    "acos": (_wide(np.arccos), -1, 1),
    "atan": (_wide(np.arctan), -1e6, 1e6),
    "sinh": (_wide(np.sinh), -95, 95),
    "cosh": (_wide(np.cosh), -95, 95),
    "asinh": (_wide(np.arcsinh), -1e6, 1e6),
    "acosh": (_wide(np.arccosh), 1, 1e6),
    "atanh": (_wide(np.arctanh), -1, 1),
}


@pytest.mark.parametrize("name", EXACT)
def test_float32_errs_by_a_few_ulps_at_most(name: str) -> None:
    function, low, high = EXACT[name]
    x = _all_floats(low, high)
    with np.errstate(all="ignore"):
        error = ulps(evaluate(name, x), function(x))
    worst = int(error.argmax())
    assert error[worst] <= (5 if name == "gelu" else 4), f"{name}({x[worst]!r}) is off by {error[worst]:.2f}"


@pytest.mark.parametrize("name", EXACT)
def test_float64_is_that_of_numpy(name: str) -> None:
    function, low, high = EXACT[name]
    x = _all_floats(low, high, 2000)[::50].astype(np.float64)
    with np.errstate(all="ignore"):
        wanted = function(x)
    np.testing.assert_allclose(evaluate(name, x), wanted, rtol=1e-14, atol=1e-300)


SPECIAL = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39, inf, -inf, nan, 3.4e38, -3.4e38], np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_special_values(name: str) -> None:
    torch_name = getattr(torch, name, None) or getattr(torch.nn.functional, name)
    wanted = torch_name(torch.from_numpy(SPECIAL).double()).numpy()
    with np.errstate(all="ignore"):
        found = evaluate(name, SPECIAL)
        assert (ulps(found, wanted) <= 4).all(), list(zip(SPECIAL, found, wanted, strict=True))
    odd = name in ("expm1", "log1p", "tanh", "erf", "gelu", "silu", "sqrt", "sin", "tan", "asin", "atan")
    if odd:
        assert np.signbit(evaluate(name, SPECIAL[:2])).tolist() == [False, True]


PAIRS = (
    *("floor_divide", "remainder", "maximum", "minimum", "atan2", "pow"),
    *("eq", "ne", "lt", "ge", "logical_and", "logical_or", "logical_xor"),
)
EXACTLY = (
    *("sign", "floor", "ceil", "trunc", "round", "neg", "abs", "relu"),
    *("isnan", "isinf", "isfinite", "logical_not"),
)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_those_of_torch(name: str) -> None:
    numbers = np.array([0.0, -0.0, 1.0, -1.0, 5.5, -5.5, 2.0, 0.3, 1e30, inf, -inf, nan], np.float32)
    x, y = (each.ravel().copy() for each in np.meshgrid(numbers, numbers))
    found = evaluate(name, x, y).astype(np.float32)
    wanted = getattr(torch, name)(torch.from_numpy(x), torch.from_numpy(y)).numpy().astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (np.signbit(found) == np.signbit(wanted))[~np.isnan(wanted)].all()


@pytest.mark.parametrize("name", EXACTLY)
def test_exact_functions_are_those_of_torch(name: str) -> None:
    x = np.concatenate([SPECIAL, np.array([0.5, 1.5, 2.5, -0.5, -1.5, -0.3, 3.7], np.float32)])
    np.testing.assert_array_equal(evaluate(name, x), getattr(torch, name)(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_integers_divide_as_in_torch(name: str) -> None:
    x, y = (each.ravel().copy() for each in np.meshgrid(np.arange(-9, 10), np.arange(-9, 10)))
    x, y = x[y != 0], y[y != 0]
    wanted = getattr(torch, name)(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_array_equal(evaluate(name, x, y), wanted)


@pytest.mark.parametrize("name", ["eq", "ne", "logical_xor", "lt"])
def test_booleans_compare_as_in_torch(name: str) -> None:
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    wanted = getattr(torch, name)(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_array_equal(evaluate(name, x, y), wanted)
