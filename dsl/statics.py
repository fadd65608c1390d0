"""Static functions and arithmetic: what is computed while elaborating, on numbers, sizes, lists and
strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from ..compiler.errors import PlanformError
from ..compiler.sizes import dims
from ..compiler.sizes.dims import Dim, SizeTooLarge
from . import limits
from .values import Record, kind_of

SIZES = "2**63, or a formula of sizes past its limit"


class StaticError(PlanformError):
    """A static computation that fails: `kind` is "value", "type", "size" (unbound) or "large"."""

    def __init__(self, kind: str, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fields = fields


def bounded(value: Any, *operands: Any) -> Any:
    """The value, if it is within the limits of numbers and lengths.

    It may be infinite only where one of the operands is.
    """
    if isinstance(value, int) and abs(value) > limits.MAX_INTEGER:
        raise StaticError("large", limit="2**63")
    if isinstance(value, float) and math.isinf(value) and not any(map(_infinite, operands)):
        raise StaticError("large", limit="the range of floats")
    if isinstance(value, (list, str)) and len(cast("list[Any]", value)) > limits.MAX_LENGTH:
        raise StaticError("many", what="the length of a list or string", limit=limits.MAX_LENGTH)
    return cast("Any", value)


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """`left op right` for static values; raises `StaticError`."""
    numbers = isinstance(left, (int, float, Dim)) and isinstance(right, (int, float, Dim))
    try:
        if numbers:
            return bounded(_number(op, left, right), left, right)
        if op == "+" and type(left) is type(right) and isinstance(left, (list, tuple, str)):
            return bounded(left + right)  # pyright: ignore[reportUnknownVariableType, reportOperatorIssue]
        if op == "+" and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
            # `shape(x)` is a tuple: `shape(x)[:2] + [n]` is meant to be the list.
            return bounded([*cast("list[Any]", left), *cast("list[Any]", right)])
        if (
            op == "*"
            and isinstance(left, (list, str))
            and isinstance(right, int)
            and not isinstance(right, bool)
        ):
            if len(cast("list[Any]", left)) * max(right, 0) > limits.MAX_LENGTH:
                raise StaticError("many", what="the length of a list or string", limit=limits.MAX_LENGTH)
            return cast("Any", left) * right
        if op == "*" and isinstance(right, list) and isinstance(left, int):
            return arithmetic("*", right, left)
    except ZeroDivisionError:
        raise StaticError("value", "division by zero") from None
    except SizeTooLarge:
        raise StaticError("large", limit=SIZES) from None
    except OverflowError:
        raise StaticError("large", limit="the range of floats") from None
    raise StaticError("operands", op=op, left=kind_of(left), right=kind_of(right))


def _number(op: str, left: Any, right: Any) -> Any:
    sizes = [value for value in (left, right) if isinstance(value, Dim)]
    if sizes and op == "/":
        raise StaticError("value", "`/` of a size would not be an integer: write `//`")
    if sizes and (isinstance(left, float) or isinstance(right, float) or (op == "**" and right in sizes)):
        # Of numbers it has a meaning: of a size once it is bound.
        raise StaticError("size", sizes=sizes)
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    if op == "//":
        return left // right
    if op == "%":
        return left % right
    if op == "/":
        return left / right
    if op == "**":
        if sizes and right < 0:
            raise StaticError("value", "a negative power of a size would not be an integer")
        if isinstance(left, int) and isinstance(right, int) and right >= 0:
            # Decided by the bit length, before computing.
            if abs(left) > 1 and (abs(left).bit_length() - 1) * right > 63:
                raise StaticError("large", limit="2**63")
            return left**right
        result = left**right
        if isinstance(result, complex):
            raise StaticError("value", "a root of a negative number")
        return result
    raise StaticError("operands", op=op, left=kind_of(left), right=kind_of(right))


def fractional(op: str, left: Any, right: Any) -> bool:
    """Whether an operation on a size that is not bound leaves the whole numbers: `H / 2`, `H ** -0.5`."""
    numbers = (int, float, Dim)
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if not (isinstance(left, numbers) and isinstance(right, numbers)):
        return False
    if not (isinstance(left, Dim) or isinstance(right, Dim)):
        return False
    if op == "**":
        return isinstance(right, Dim) or isinstance(left, float) or isinstance(right, float) or right < 0
    return op == "/" or isinstance(left, float) or isinstance(right, float)


def compare(op: str, left: Any, right: Any) -> bool:
    """A comparison of static values; raises `StaticError("size")` where sizes leave it open."""
    if isinstance(left, Dim) or isinstance(right, Dim):
        verdict = _compare_sizes(op, left, right)
        if verdict is None:
            raise StaticError("size", sizes=(left, right))
        return verdict
    if op == "==":
        return _same(left, right)
    if op == "!=":
        return not _same(left, right)
    ordered = (int, float)
    if (isinstance(left, ordered) and isinstance(right, ordered)) or (
        isinstance(left, str) and isinstance(right, str)
    ):
        a, b = cast("Any", left), cast("Any", right)
        return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]
    raise StaticError("operands", op=op, left=kind_of(left), right=kind_of(right))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        a, b = cast("list[Any]", left), cast("list[Any]", right)
        return len(a) == len(b) and all(compare("==", x, y) for x, y in zip(a, b, strict=True))
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _compare_sizes(op: str, left: Any, right: Any) -> bool | None:
    if not (isinstance(left, (int, Dim)) and isinstance(right, (int, Dim))):
        if op in ("==", "!=") and not isinstance(left, float) and not isinstance(right, float):
            return op == "!="
        raise StaticError("operands", op=op, left=kind_of(left), right=kind_of(right))
    if op == "==":
        return dims.equal(left, right)
    if op == "!=":
        verdict = dims.equal(left, right)
        return None if verdict is None else not verdict
    if op == ">=":
        return dims.at_least(left, right)
    if op == "<=":
        return dims.at_least(right, left)
    if op == ">":
        return dims.at_least(left, right + 1)
    return dims.at_least(right, left + 1)


def _length(value: Any) -> int:
    if not isinstance(value, (list, tuple, str, Record)):
        raise StaticError("type", wanted="a list, tuple, record or string", got=kind_of(value))
    return len(cast("list[Any]", value))


def _int(value: Any) -> int:
    if isinstance(value, Dim):
        raise StaticError("size", sizes=(value,))
    if isinstance(value, bool) or not isinstance(value, int):
        raise StaticError("type", wanted="an int", got=kind_of(value))
    return value


def _range(*bounds: Any) -> list[int]:
    if not 1 <= len(bounds) <= 3:
        raise StaticError("value", "`range` takes a stop, or a start and a stop, and a step")
    whole = [bounded(_int(bound)) for bound in bounds]
    if len(whole) == 3 and whole[2] == 0:
        raise StaticError("value", "the step of `range` is 0")
    found = range(*whole)
    if len(found) > limits.MAX_LENGTH:
        raise StaticError("many", what="the length of a list", limit=limits.MAX_LENGTH)
    return list(found)


def items(value: Any) -> list[Any]:
    """The items of a list or tuple; raises `StaticError`."""
    if isinstance(value, (list, tuple)):
        return list(cast("list[Any]", value))
    if isinstance(value, Record):
        return list(value)
    raise StaticError("type", wanted="a list", got=kind_of(value))


def _sum(value: Any) -> Any:
    result: Any = 0
    for item in items(value):
        result = arithmetic("+", result, item)
    return result


def _prod(value: Any) -> Any:
    result: Any = 1
    for item in items(value):
        result = arithmetic("*", result, item)
    return result


def _extreme(pick: Callable[..., Any], sizes: Callable[..., Any]) -> Callable[..., Any]:
    def choose(*given: Any) -> Any:
        found = items(given[0]) if len(given) == 1 else list(given)
        if not found:
            raise StaticError("value", "the list is empty")
        for item in found:
            if not isinstance(item, (int, float, Dim)):
                raise StaticError("type", wanted="numbers", got=kind_of(item))
        free = [item for item in found if isinstance(item, Dim)]
        if free and any(isinstance(item, float) for item in found):
            raise StaticError("size", sizes=free)
        if any(item != item for item in found):
            return math.nan
        return sizes(*found) if free else pick(found)

    return choose


def _number_of(value: Any) -> float | int:
    if isinstance(value, Dim):
        raise StaticError("size", sizes=(value,))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise StaticError("type", wanted="a number", got=kind_of(value))
    return value


def _whole(function: Callable[[float], int]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        return value if isinstance(value, (int, Dim)) else bounded(function(_finite(value)))

    return apply


def _finite(value: Any) -> float | int:
    """A number that has a whole part; raises `StaticError`."""
    number = _number_of(value)
    if not math.isfinite(number):
        raise StaticError("value", f"{number} has no whole part")
    return number


def _round(value: Any, digits: Any = None) -> Any:
    if digits is None:
        return _whole(round)(value)
    return round(_number_of(value), min(max(_int(digits), -20), 20))


def _float_function(function: Callable[[float], float]) -> Callable[[Any], float]:
    def apply(value: Any) -> float:
        try:
            return bounded(function(_number_of(value)), value)
        except ValueError:
            raise StaticError("value", "outside the domain of the function") from None
        except OverflowError:
            raise StaticError("large", limit="the range of floats") from None

    return apply


def round_to(value: Any, divisor: Any = 8, minimum: Any = None, limit: Any = 0.9) -> int:
    """The multiple of `divisor` nearest to `value`, at least `minimum` and not below `limit * value`.

    The rule of MobileNet's channel scaling, known as `make_divisible`; `minimum` is the divisor by default.
    """
    number, step = _finite(value), _int(divisor)
    if step < 1:
        raise StaticError("value", "the divisor must be at least 1")
    least = step if minimum is None else _int(minimum)
    found = max(least, int(number + step / 2) // step * step)
    return bounded(found + step if found < _number_of(limit) * number else found)


def _linspace(start: Any, stop: Any, count: Any) -> list[float]:
    number = _int(count)
    if not 0 <= number <= limits.MAX_LENGTH:
        raise StaticError("many", what="the length of a list", limit=limits.MAX_LENGTH)
    low, high = _number_of(start), _number_of(stop)
    if number == 1:
        return [float(low)]
    return [bounded(low + (high - low) * index / (number - 1), low, high) for index in range(number)]


def _ceil_div(number: Any, divisor: Any) -> Any:
    for value in (number, divisor):
        if isinstance(value, bool) or not isinstance(value, (int, float, Dim)):
            raise StaticError("type", wanted="a number or size", got=kind_of(value))
    return arithmetic("-", 0, arithmetic("//", arithmetic("-", 0, number), divisor))


def _enumerate(value: Any, start: Any = 0) -> list[Any]:
    found = items(value)
    bounded(_int(start) + len(found))
    return [(index, item) for index, item in enumerate(found, _int(start))]


def _zip(*lists: Any) -> list[Any]:
    unpacked = [items(value) for value in lists]
    if len({len(found) for found in unpacked}) > 1:
        raise StaticError(
            "value", "`zip` needs lists of one length, and got " + ", ".join(str(len(f)) for f in unpacked)
        )
    return list(zip(*unpacked, strict=True))


def _abs(value: Any) -> Any:
    return abs(_number_of(value))


def _to_int(value: Any) -> Any:
    if isinstance(value, (int, Dim)) and not isinstance(value, bool):
        return value
    if isinstance(value, bool):
        return int(value)
    return bounded(int(_finite(value)))


def _to_float(value: Any) -> float:
    return float(_number_of(value))


def _to_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Dim):
        return dims.render(value)
    if isinstance(value, (int, float)):
        return str(value)
    raise StaticError("type", wanted="a string or number", got=kind_of(value))


def _reversed(value: Any) -> list[Any]:
    return items(value)[::-1]


def _sorted(value: Any) -> list[Any]:
    return sorted(_number_of(item) for item in items(value))


def _any(value: Any) -> bool:
    return any(truth(item) for item in items(value))


def _all(value: Any) -> bool:
    return all(truth(item) for item in items(value))


def truth(value: Any) -> bool:
    """The bool; only bools are conditions."""
    if not isinstance(value, bool):
        raise StaticError("type", wanted="a bool", got=kind_of(value))
    return value


CONSTANTS = {"inf": math.inf, "nan": math.nan, "pi": math.pi}
"""Numbers that have a name, unless the plan gives it to something else."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "len": _length,
    "sum": _sum,
    "prod": _prod,
    "min": _extreme(min, dims.minimum),
    "max": _extreme(max, dims.maximum),
    "round": _round,
    "ceil": _whole(math.ceil),
    "floor": _whole(math.floor),
    "sqrt": _float_function(math.sqrt),
    "log": _float_function(math.log),
    "log2": _float_function(math.log2),
    "exp": _float_function(math.exp),
    "sin": _float_function(math.sin),
    "cos": _float_function(math.cos),
    "abs": _abs,
    "int": _to_int,
    "float": _to_float,
    "str": _to_str,
    "linspace": _linspace,
    "enumerate": _enumerate,
    "zip": _zip,
    "reversed": _reversed,
    "sorted": _sorted,
    "any": _any,
    "all": _all,
    "round_to": round_to,
    "ceil_div": _ceil_div,
}
