"""The few renamings that explain why the names of a checkpoint are not those of a plan.

Names are paired by shape, by what their parts have in common, and by order; the pairs are then explained by
rules of the rename table, the one first that brings most names nearest to theirs. What is suggested is
checked: the rules take each name to a path of the plan of the same shape, no two to one, and leave alone what
fits as it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from .rename import RenameError, Rule, rename

# Bounds of the search: pairs of names of one shape that are weighed, rules, and rules tried for each.
_MOST_PAIRS = 250_000
_MOST_RULES = 24
_MOST_TRIED = 80
_FIELDS = "ijklmn"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Renamings:
    """Rules that take each of `names` (of the checkpoint) to its path; empty where nothing is explained."""

    rules: tuple[Rule, ...]
    names: Mapping[str, str]

    @property
    def paths(self) -> frozenset[str]:
        """The paths that the names become."""
        return frozenset(self.names.values())


def suggest(missing: Mapping[str, Shape], extra: Mapping[str, Shape], kept: Sequence[str] = ()) -> Renamings:
    """Renamings for `extra` names of a checkpoint to `missing` paths of a plan, both with shapes, in order.

    `kept` are names that fit as they are, which no rule may change.
    """
    pairs = _paired(missing, extra)
    rules = _explained(pairs, kept)
    while rules:
        done = _checked(rules, pairs, extra, kept, missing)
        if done is not None:
            # Rules that each name one name are no explanation.
            few = len(rules) <= max(1, len(done) // 2)
            return Renamings(tuple(rules), done) if few else Renamings((), {})
        rules = rules[:-1]
    return Renamings((), {})


def _checked(
    rules: Sequence[Rule],
    pairs: Mapping[str, str],
    extra: Mapping[str, Shape],
    kept: Sequence[str],
    missing: Mapping[str, Shape],
) -> dict[str, str] | None:
    """The names that the rules take to their paths; None if they take any to a path that is not its own."""
    try:
        renamed = rename([*extra, *kept], rules)
    except RenameError:
        return None
    done = {name: path for name, path in pairs.items() if renamed[name] == path}
    if any(renamed[name] != name for name in kept):
        return None
    if any(renamed[name] in missing for name in extra if name not in done):
        return None
    return done if all(extra[name] == missing[path] for name, path in done.items()) else None


# --- pairs ---


def _paired(missing: Mapping[str, Shape], extra: Mapping[str, Shape]) -> dict[str, str]:
    """A path for each name that has one: of its shape, the most alike first, then by order."""
    classes: dict[tuple[Shape, str], tuple[list[str], list[str]]] = {}
    for side, table in enumerate((extra, missing)):
        for name, shape in table.items():
            classes.setdefault((shape, name.rpartition(".")[2]), ([], []))[side].append(name)
    found: dict[str, str] = {}
    for names, paths in classes.values():
        found |= _matched(names, paths)
    # Some differ in their last part too, as `gamma` and `weight`.
    rest: dict[Shape, tuple[list[str], list[str]]] = {}
    for side, table in enumerate((extra, missing)):
        taken = set(found) if side == 0 else set(found.values())
        for name, shape in table.items():
            if name not in taken:
                rest.setdefault(shape, ([], []))[side].append(name)
    for names, paths in rest.values():
        found |= _matched(names, paths)
    return {name: found[name] for name in extra if name in found}


def _matched(names: Sequence[str], paths: Sequence[str]) -> dict[str, str]:
    """Names and paths of one shape: those that differ in numbers alone go together, in the numbers' order.

    Only as many names as paths do, since equal numbers prove nothing: layer 0 may be layer 1 elsewhere.
    """
    found: dict[str, str] = {}
    for level in _LEVELS:
        left = _grouped([name for name in names if name not in found], level)
        taken = set(found.values())
        right = _grouped([path for path in paths if path not in taken], level)
        if level is _LEVELS[-1]:
            # Names with numbers that count are never paired alone.
            left, right = ({k: v for k, v in group.items() if not _repeated(k)} for group in (left, right))
        if len(left) * len(right) > _MOST_PAIRS:
            return {}
        weighed = sorted(
            (-round(_likeness(old, new), 6), abs(a / len(left) - b / len(right)), a, b, old, new)
            for a, old in enumerate(left)
            for b, new in enumerate(right)
            if len(left[old]) == len(right[new])
        )
        for *_, old, new in weighed:
            if old in left and new in right:
                found |= dict(zip(left.pop(old), right.pop(new), strict=True))
    return found


# What counts in names: numbers at the ends of all parts; of all but the module's own; whole parts alone.
_LEVELS = tuple(
    re.compile(pattern) for pattern in (r"\d+(?=\.|$)", r"\d+(?=\..*\.)", r"(?<![^.])\d+(?=\.|$)", r"(?!)")
)


def _grouped(names: Sequence[str], level: re.Pattern[str]) -> dict[str, list[str]]:
    """Names by what is left of them without the numbers that count, each group in the numbers' order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(level.sub("#", name), []).append(name)
    return {
        key: sorted(group, key=lambda name: [int(number) for number in level.findall(name)])
        for key, group in found.items()
    }


def _repeated(name: str) -> bool:
    """Whether a name is one of a module that is numbered."""
    return _LEVELS[1].search(name) is not None


def _likeness(name: str, path: str) -> float:
    """How much two names have in common: words that are alike, and numbers that do not count."""
    left, right = _words(name), _words(path)
    words = sum(max((_alike(a, b) for b in right), default=0.0) for a in left)
    words += sum(max((_alike(a, b) for a in left), default=0.0) for b in right)
    return words / max(1, len(left) + len(right))


@lru_cache(maxsize=1 << 14)
def _words(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))


@lru_cache(maxsize=1 << 16)
def _alike(a: str, b: str) -> float:
    if a == b:
        return 1.0
    if a.startswith(b) or b.startswith(a):
        return 0.8
    return 0.7 * SequenceMatcher(None, a, b).ratio()


# --- rules ---


def _explained(pairs: Mapping[str, str], kept: Sequence[str]) -> list[Rule]:
    """Rules, one after the other, that take names nearer to their paths and touch none that fits."""
    now = dict(zip(pairs, pairs, strict=True))
    rules: list[Rule] = []
    while len(rules) < _MOST_RULES:
        tried = Counter(
            rule for name, path in pairs.items() if now[name] != path for rule in _rules(now[name], path)
        )
        best: tuple[int, int, int] = (0, 0, 0)
        chosen: Rule | None = None
        for rule, _ in tried.most_common(_MOST_TRIED):
            gain = _gain(rule, pairs, now, kept)
            if gain is not None and (*gain, -len(str(rule))) > best:
                best, chosen = (*gain, -len(str(rule))), rule
        if chosen is None:
            break
        rules.append(chosen)
        now = {name: chosen.apply(text)[1] or text for name, text in now.items()}
    return rules


def _gain(
    rule: Rule, pairs: Mapping[str, str], now: Mapping[str, str], kept: Sequence[str]
) -> tuple[int, int] | None:
    """By how much a rule brings names nearer, and how many it settles; None if it moves any other away."""
    nearer = settled = 0
    try:
        if any(rule.apply(name)[0] for name in kept):
            return None
        for name, text in now.items():
            after = rule.apply(text)[1] or text
            if after != text:
                step = _distance(text, pairs[name]) - _distance(after, pairs[name])
                if step <= 0:
                    return None
                nearer += step
                settled += after == pairs[name]
    except RenameError:
        return None
    return nearer, settled


def _rules(name: str, path: str) -> Iterator[Rule]:
    """Rules that take a name to its path, or part of the way: its first different part."""
    old, new = name.split("."), path.split(".")
    same = 0
    while same < min(len(old), len(new)) - 1 and old[-1 - same] == new[-1 - same]:
        same += 1
    first = next(
        (at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    cuts = {(len(old) - cut, len(new) - cut) for cut in range(same + 1)}
    if first < min(len(old), len(new)):
        cuts.add((first + 1, first + 1))
    for left, right in sorted(cuts):
        yield from _general(".".join(old[:left]), ".".join(new[:right]))


def _general(old: str, new: str) -> Iterator[Rule]:
    """The rule as it is, and with fields for the numbers at the ends of parts."""
    if old == new:
        return
    for level in (_LEVELS[0], re.compile(r"\d+(?=\.)"), _LEVELS[2]):
        numbers, targets = level.findall(old), level.findall(new)
        if numbers and len(numbers) == len(targets) <= len(_FIELDS):
            left = iter(_FIELDS)
            right = iter(zip(_FIELDS, numbers, targets, strict=False))
            yield Rule(
                level.sub(lambda _, left=left: f"{{{next(left)}}}", old),
                level.sub(lambda _, right=right: _counted(*next(right)), new),
            )
    yield Rule(old, new)


def _counted(field: str, before: str, after: str) -> str:
    by = int(after) - int(before)
    return f"{{{field}{by:+d}}}" if by else f"{{{field}}}"


@lru_cache(maxsize=1 << 16)
def _distance(a: str, b: str) -> int:
    """How many parts of a name must be changed, added or removed to have the other."""
    left, right = a.split("."), b.split(".")
    row = list(range(len(right) + 1))
    for i, x in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(right, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
