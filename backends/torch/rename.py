"""Renaming the tensors of a checkpoint to a plan's weight paths.

A map is a list of rules `old -> new`, one a line, with `#` comments; or a JSON object or list of pairs with
the same texts. Rules apply to each name one after the other, each to what the ones before it left.

- A rule matches the start of a name, up to a dot or the end: `features.0.0 -> conv_stem` takes
  `features.0.0.weight` to `conv_stem.weight`.
- `{i}` stands for a part between two dots, or for the rest of one (`layer{i}`), and is written back on the
  right. If it is a number, `{i+1}` and `{i-1}` count from it.
- `old -> -` (in JSON: null) leaves the tensor out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ...compiler.errors import PlanformError
from ...compiler.files import read_text

_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")
_COUNT = re.compile(r"\{([A-Za-z_]\w*)(?:\s*([+-])\s*(\d+))?\}")
_NAME = re.compile(r"[\w.{}+\- ]*")
DROP = "-"


class RenameError(PlanformError, ValueError):
    """A rename map that cannot be read or applied; the message names the rule."""


@dataclass(frozen=True)
class Rule:
    """One rule `old -> new`; `new` is None where the tensor is left out."""

    old: str
    new: str | None

    def __post_init__(self) -> None:
        known = _FIELD.findall(self.old)
        if not self.old or not _NAME.fullmatch(self.old) or re.search(r"[{}]", _FIELD.sub("", self.old)):
            raise RenameError(f"`{self}`: the left side is a name with fields such as {{i}}")
        if len(set(known)) < len(known):
            raise RenameError(f"`{self}`: a field stands twice on the left")
        if self.new is None:
            return
        if not self.new or not _NAME.fullmatch(self.new) or re.search(r"[{}]", _COUNT.sub("", self.new)):
            raise RenameError(f"`{self}`: the right side is a name with fields such as {{i}} or {{i+1}}")
        for name, _, _ in _COUNT.findall(self.new):
            if name not in known:
                raise RenameError(f"`{self}`: {{{name}}} does not stand on the left")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        texts = _FIELD.split(self.old)
        parts = [f"(?P<{text}>[^.]+)" if at % 2 else re.escape(text) for at, text in enumerate(texts)]
        return re.compile("".join(parts) + r"(?=\.|$)")

    def apply(self, name: str) -> tuple[bool, str | None]:
        """Whether the rule matches a name, and the name after it (None: left out)."""
        found = self._pattern.match(name)
        if found is None:
            return False, name
        if self.new is None:
            return True, None
        return True, _COUNT.sub(lambda field: self._field(field, found), self.new) + name[found.end() :]

    def _field(self, field: re.Match[str], found: re.Match[str]) -> str:
        name, sign, by = cast("tuple[str, str | None, str | None]", field.groups())
        text = found[name]
        if sign is None or by is None:
            return text
        if re.fullmatch(r"[0-9]{1,9}", text) is None:
            raise RenameError(f"`{self}`: {{{name}}} is `{text}` in `{found.string}`, not a number")
        return str(int(text) + int(sign + by))

    def __str__(self) -> str:
        return f"{self.old} -> {DROP if self.new is None else self.new}"


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a map's text, in lines or JSON; raises `RenameError`."""
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text)
    rules: list[Rule] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        old, arrow, new = (part.strip() for part in content.partition("->"))
        if not arrow or not old or not new:
            raise RenameError(f"line {number}: `{content}` is not of the form `old -> new`")
        rules.append(Rule(old, None if new == DROP else new))
    return tuple(rules)


def _from_json(text: str) -> tuple[Rule, ...]:
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        raise RenameError(f"the map is not JSON: {error}") from None
    pairs: Any = cast("dict[Any, Any]", found).items() if isinstance(found, dict) else found
    rules: list[Rule] = []
    for pair in cast("Iterable[Any]", pairs):
        fits = isinstance(pair, (list, tuple)) and len(cast("Sequence[Any]", pair)) == 2
        old, new = cast("Sequence[Any]", pair) if fits else (None, None)
        if not isinstance(old, str) or not (new is None or isinstance(new, str)):
            raise RenameError(f"{pair!r} is not a pair of texts")
        rules.append(Rule(old, None if new == DROP else new))
    return tuple(rules)


def read_rules(path: str | Path) -> tuple[Rule, ...]:
    """The rules of a map's file; raises `RenameError` and OSError."""
    try:
        return parse_rules(read_text(path))
    except UnicodeDecodeError:
        raise RenameError(f"{path} is not text") from None


def rename(names: Iterable[str], rules: Sequence[Rule]) -> Mapping[str, str | None]:
    """Each name after all rules (None: left out).

    Raises `RenameError` where a rule matches no name, which is nearly always a mistake, or where two names
    become one.
    """
    unused = set(rules)
    renamed: dict[str, str | None] = {}
    taken: dict[str, str] = {}
    for name in names:
        now: str | None = name
        for rule in rules:
            matched, now = rule.apply(now)
            if matched:
                unused.discard(rule)
            if now is None:
                break
        renamed[name] = now
        if now is not None and taken.setdefault(now, name) != name:
            raise RenameError(f"`{taken[now]}` and `{name}` both become `{now}`")
    for rule in rules:
        if rule in unused:
            raise RenameError(f"`{rule}` matches no tensor")
    return renamed
