"""Comparison of syntax trees."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from planform.dsl.source import Span
from planform.dsl.syntax import File, Node


def outline(part: Any) -> Any:
    """A syntax tree as nested tuples: kinds and fields without spans, comments and sources; floats as text,
    so that `1.0` is not `1`.
    """
    if isinstance(part, File):
        return ("File", part.version, outline(part.items))
    if isinstance(part, Node):
        values = (getattr(part, field.name) for field in fields(part) if field.name != "span")
        return (type(part).__name__, *map(outline, values))
    if isinstance(part, tuple) and not isinstance(part, Span):
        return tuple(map(outline, part))
    return repr(part) if isinstance(part, float) else part
