"""Initialisers: data that a backend interprets. Names and arguments follow torch.nn.init."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from ...dtypes import DType, integer_range, is_complex, is_float
from ...errors import PlanformError
from ...sizes.dims import Size


@dataclass(frozen=True, slots=True)
class Init:
    """An initialiser: a kind of torch.nn.init, or a documented one of ours, and its arguments by name.

    `zero_row` on a normal one names a row that starts as zero (the padding row of an embedding).
    """

    kind: str
    arguments: tuple[tuple[str, float | str | int], ...] = ()

    @property
    def title(self) -> str:
        """What plans call it."""
        return {"eye": "identity_map"}.get(self.kind, self.kind)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{key}={value}' for key, value in self.arguments)})"


class Missing(PlanformError):
    """An argument that an initialiser needs and is not given: its name."""


class BadArgument(PlanformError):
    """An argument that an initialiser does not take: its name, what is wanted, and what came."""

    def __init__(self, argument: str, wanted: str, value: Any) -> None:
        super().__init__(argument, wanted, value)
        self.argument = argument
        self.wanted = wanted
        self.value = value


_F32 = (2 - 2.0**-23) * 2.0**127


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that an argument takes. The limit keeps what is drawn within f32."""

    wanted: str
    least: float = -1e37
    most: float = 1e37
    whole: bool = False
    infinite: bool = False

    def holds(self, value: Any) -> bool:
        """Whether the argument takes the value."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return False
        return self.least <= value <= self.most or (self.infinite and not math.isfinite(value))


Number = Annotated[float, Range("a number between -1e37 and 1e37")]
Content = Annotated[float, Range("a number that f32 holds", -_F32, _F32, infinite=True)]
NotNegative = Annotated[float, Range("a number between 0 and 1e37", 0.0)]
Positive = Annotated[float, Range("a number between 1e-37 and 1e37", 1e-37)]
Count = Annotated[int, Range("an int of at least 1", 1, 2**63, whole=True)]
Mode = Literal["fan_in", "fan_out"]
# Those of torch.nn.init.calculate_gain; `a` is read by leaky_relu alone.
Nonlinearity = Literal[
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
]


def zeros() -> Init:
    """All zero."""
    return Init("constant", (("value", 0.0),))


def ones() -> Init:
    """All one."""
    return Init("constant", (("value", 1.0),))


def constant(value: Content) -> Init:
    """All `value`."""
    # Large integers are kept: a float has 53 bits.
    return Init("constant", (("value", value if abs(value) > 2**53 else float(value)),))


def normal(std: NotNegative = 1.0, mean: Number = 0.0) -> Init:
    """Normal with the given mean and standard deviation."""
    return Init("normal", (("mean", mean), ("std", std)))


def uniform(low: Number = 0.0, high: Number = 1.0) -> Init:
    """Uniform in [low, high)."""
    return Init("uniform", (("low", low), ("high", high)))


def trunc_normal(std: Positive = 1.0, mean: Number = 0.0, low: Number = -2.0, high: Number = 2.0) -> Init:
    """Normal, drawn anew outside [low, high] (absolute bounds, as in torch.nn.init.trunc_normal_)."""
    return Init("trunc_normal", (("high", high), ("low", low), ("mean", mean), ("std", std)))


def kaiming_uniform(
    a: Number = 0.0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu"
) -> Init:
    """He et al. 2015 (arXiv:1502.01852), uniform."""
    return Init("kaiming_uniform", (("a", a), ("mode", mode), ("nonlinearity", nonlinearity)))


def kaiming_normal(a: Number = 0.0, mode: Mode = "fan_in", nonlinearity: Nonlinearity = "leaky_relu") -> Init:
    """He et al. 2015 (arXiv:1502.01852), normal."""
    return Init("kaiming_normal", (("a", a), ("mode", mode), ("nonlinearity", nonlinearity)))


def xavier_uniform(gain: NotNegative = 1.0) -> Init:
    """Glorot and Bengio 2010, uniform."""
    return Init("xavier_uniform", (("gain", gain),))


def xavier_normal(gain: NotNegative = 1.0) -> Init:
    """Glorot and Bengio 2010, normal."""
    return Init("xavier_normal", (("gain", gain),))


def orthogonal(gain: Number = 1.0) -> Init:
    """Saxe et al. 2013 (arXiv:1312.6120): (semi-)orthogonal over the trailing axes flattened."""
    return Init("orthogonal", (("gain", gain),))


def identity_map() -> Init:
    """The identity matrix, as in torch.nn.init.eye_."""
    return Init("eye")


def fan_in_uniform(fan_in: Count | None = None) -> Init:
    """Uniform within 1/sqrt(fan_in): torch's default for weights and biases of linear and convolution layers.

    Without `fan_in` it is that of the weight's own shape (all axes but the first).
    """
    return Init("fan_in_uniform", () if fan_in is None else (("fan_in", fan_in),))


INITIALISERS: dict[str, Callable[..., Init]] = {
    function.__name__: function
    for function in (
        zeros,
        ones,
        constant,
        normal,
        uniform,
        trunc_normal,
        kaiming_uniform,
        kaiming_normal,
        xavier_uniform,
        xavier_normal,
        orthogonal,
        identity_map,
        fan_in_uniform,
    )
}


def parameters(name: str) -> tuple[str, ...]:
    """The arguments of an initialiser, in order."""
    return tuple(inspect.signature(INITIALISERS[name]).parameters)


def make(name: str, given: Mapping[str, Any]) -> Init:
    """The initialiser of that name with arguments of a plan; raises `Missing` and `BadArgument`."""
    function = INITIALISERS[name]
    arguments: dict[str, Any] = {}
    hints = get_type_hints(function, include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        if key not in given and parameter.default is inspect.Parameter.empty:
            raise Missing(key)
        arguments[key] = given.get(key, parameter.default)
        wanted = _refusal(hints[key], arguments[key])
        if wanted is not None:
            raise BadArgument(key, wanted, arguments[key])
    if arguments.get("low", 0) > arguments.get("high", 1):
        # The bound that is written is to blame, not the default.
        blamed, side, other = ("high", "least", "low") if "high" in given else ("low", "most", "high")
        raise BadArgument(blamed, f"at {side} `{other}`, which is {arguments[other]}", arguments[blamed])
    if name == "trunc_normal" and not _can_be_drawn(**arguments):
        wanted = "so near to `low` and `high` that draws fall between them"
        raise BadArgument("mean", wanted, arguments["mean"])
    return function(**arguments)


def _can_be_drawn(std: float, mean: float, low: float, high: float) -> bool:
    """Whether torch draws between the bounds in bounded time.

    It draws anew what it rejects: from the normal distribution where 30% of that lie between the bounds, else
    uniformly between them, where few draws are kept if the density falls steeply or f32 cannot resolve it.
    """
    kept = (math.erf((high - mean) / std / 2**0.5) - math.erf((low - mean) / std / 2**0.5)) / 2
    if kept > 0.3:
        return True
    outside = max(low - mean, mean - high, 0.0) / std
    steep = outside * max((high - low) / std, 1.0)
    return steep <= 1000 and max(abs(low), abs(high), abs(mean)) <= 1e4 * std


def _refusal(hint: Any, value: Any) -> str | None:
    """What an argument of a type takes, if that is not the value."""
    if get_origin(hint) is Annotated:
        (span,) = (part for part in get_args(hint) if isinstance(part, Range))
        return None if span.holds(value) else span.wanted
    if get_origin(hint) is Literal:
        choices: tuple[str, ...] = get_args(hint)
        return None if value in choices else " or ".join(f'"{choice}"' for choice in choices)
    options = [option for option in get_args(hint) if option is not type(None)]
    return None if value is None else _refusal(options[0], value)


# How many axes the weight has at least; `eye` takes matrices alone.
_LEAST_RANK: Final = {
    **dict.fromkeys(
        ("kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal", "orthogonal"), 2
    ),
    "eye": 2,
}


def misfit(init: Init, shape: tuple[Size, ...], dtype: DType) -> str | None:
    """Why an initialiser cannot fill a weight of that shape and type, or None if it can."""
    rank = len(shape)
    if rank < _LEAST_RANK.get(init.kind, 0):
        return f"it needs at least two axes, and the weight has {rank}"
    if init.kind == "eye" and rank != 2:
        return f"it is a matrix, and the weight has {rank} axes"
    if init.kind.startswith("xavier") and 0 in shape:
        return "it divides by the number of elements, and there are none"
    if is_float(dtype) or is_complex(dtype):
        return None
    if init.kind != "constant":
        return f"it draws fractions, and the weight is {dtype}"
    (value,) = (value for key, value in init.arguments if key == "value")
    least, most = integer_range(dtype)
    if not isinstance(value, (int, float)) or value != math.floor(value) or not least <= value <= most:
        return f"a weight of type {dtype} holds whole numbers from {least} to {most}"
    return None
