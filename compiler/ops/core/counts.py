"""What an operator does, counted: multiply-adds and single operations by kind."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...sizes.dims import Size

KINDS = ("add", "multiply", "divide", "compare", "transcendental")


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations of one application; sizes may be symbolic.

    A `macs` is one multiply-add. The other kinds count one each: `add` (and subtract), `multiply`, `divide`
    (and remainder), `compare` (also min, max, select), `transcendental` (exp, log, sqrt, tanh, erf, sin,
    power, ...).
    """

    macs: Size = 0
    add: Size = 0
    multiply: Size = 0
    divide: Size = 0
    compare: Size = 0
    transcendental: Size = 0

    @property
    def flops(self) -> Size:
        """2 x macs plus the other operations."""
        return 2 * self.macs + self.add + self.multiply + self.divide + self.compare + self.transcendental

    def __add__(self, other: Cost) -> Cost:
        return Cost(*[getattr(self, f.name) + getattr(other, f.name) for f in fields(self)])

    def scaled(self, times: Size) -> Cost:
        """The cost of that many applications."""
        return Cost(*[getattr(self, f.name) * times for f in fields(self)])


NOTHING = Cost()
