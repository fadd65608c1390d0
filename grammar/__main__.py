"""Rewrite the stored parser tables: `python -m planform.grammar`."""

from __future__ import annotations

from pathlib import Path

from . import dump

Path(__file__).with_name("tables.json").write_text(dump() + "\n", encoding="utf-8")
