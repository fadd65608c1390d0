"""Diagnostics: what is wrong, where, why, and what helps. Codes and texts live in one table, `codes.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..compiler.errors import PlanformError
from .codes import CODES
from .limits import MAX_REPORTED
from .source import Span

_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Label:
    """A span with what is to be said of it."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One root cause: a code of the table, the place, related places, the call chain and help."""

    code: str
    message: str
    primary: Label
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """`error` for codes E..., `warning` for W...."""
        return "warning" if self.code.startswith("W") else "error"


class PlanError(PlanformError):
    """Raised with the diagnostics that stopped a reading of a plan."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)[:MAX_REPORTED]
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in self.diagnostics))


def diagnostic(
    code: str,
    span: Span,
    text: str = "",
    *,
    secondary: Iterable[Label] = (),
    notes: Iterable[str] = (),
    help: Iterable[str] = (),
    **fields: Any,
) -> Diagnostic:
    """Build a diagnostic: the message is the code's template filled with `fields`."""
    shown = {name: _clipped(value) if isinstance(value, str) else value for name, value in fields.items()}
    message = CODES[code].message.format(**shown)
    return Diagnostic(code, message, Label(span, text), tuple(secondary), tuple(notes), tuple(help))


def _clipped(text: str) -> str:
    """A text of a plan as far as a message shows it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def fail(code: str, span: Span, text: str = "", **fields: Any) -> PlanError:
    """Make an error of one diagnostic, to be raised."""
    return PlanError([diagnostic(code, span, text, **fields)])
