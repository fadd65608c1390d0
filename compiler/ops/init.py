"""Initialisers: data that a backend interprets. Names and arguments follow torch.nn.init."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Init:
    """An initialiser: a kind of torch.nn.init, or a documented one of ours, and its arguments by name.

    `zero_row` on a normal one names a row that starts as zero (the padding row of an embedding).
    """

    kind: str
    arguments: tuple[tuple[str, float | str | int], ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{key}={value}' for key, value in self.arguments)})"


def zeros() -> Init:
    """All zero."""
    return Init("constant", (("value", 0.0),))


def ones() -> Init:
    """All one."""
    return Init("constant", (("value", 1.0),))


def constant(value: float) -> Init:
    """All `value`."""
    return Init("constant", (("value", float(value)),))


def normal(std: float = 1.0, mean: float = 0.0) -> Init:
    """Normal with the given mean and standard deviation."""
    return Init("normal", (("mean", mean), ("std", std)))


def uniform(low: float = 0.0, high: float = 1.0) -> Init:
    """Uniform in [low, high)."""
    return Init("uniform", (("low", low), ("high", high)))


def trunc_normal(std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0) -> Init:
    """Normal, drawn anew outside [low, high] (absolute bounds, as in torch.nn.init.trunc_normal_)."""
    return Init("trunc_normal", (("high", high), ("low", low), ("mean", mean), ("std", std)))


def kaiming_uniform(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Init:
    """He et al. 2015 (arXiv:1502.01852), uniform."""
    return Init("kaiming_uniform", (("a", a), ("mode", mode), ("nonlinearity", nonlinearity)))


def kaiming_normal(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Init:
    """He et al. 2015 (arXiv:1502.01852), normal."""
    return Init("kaiming_normal", (("a", a), ("mode", mode), ("nonlinearity", nonlinearity)))


def xavier_uniform(gain: float = 1.0) -> Init:
    """Glorot and Bengio 2010, uniform."""
    return Init("xavier_uniform", (("gain", gain),))


def xavier_normal(gain: float = 1.0) -> Init:
    """Glorot and Bengio 2010, normal."""
    return Init("xavier_normal", (("gain", gain),))


def orthogonal(gain: float = 1.0) -> Init:
    """Saxe et al. 2013 (arXiv:1312.6120): (semi-)orthogonal over the trailing axes flattened."""
    return Init("orthogonal", (("gain", gain),))


def identity_map() -> Init:
    """The identity matrix, as in torch.nn.init.eye_."""
    return Init("eye")


def fan_in_uniform(fan_in: int | None = None) -> Init:
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
