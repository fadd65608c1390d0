"""Calls of the members of a list of modules one after the other, as one call or a loop."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ....compiler.names import fresh

_CALL = re.compile(
    r"^(?P<targets>[\w, ]+) = (?P<list>self[^=]*?)\[(?P<index>\d+)\]\((?P<arguments>.*)\)$", re.DOTALL
)


def compressed(lines: Sequence[str], lists: Mapping[str, int]) -> tuple[list[str], set[str]]:
    """The statements with runs of calls shortened, and the lists that are called as a whole.

    `lists` gives the length of each list of modules by its text.
    """
    found: list[str] = []
    whole: set[str] = set()
    position = 0
    while position < len(lines):
        run = _run(lines, position, lists)
        first = _CALL.match(lines[position])
        if first is None or run < 2:
            found.append(lines[position])
            position += 1
            continue
        targets, modules, arguments = first["targets"], first["list"], first["arguments"]
        start = int(first["index"])
        simple = _top_level_commas(arguments) == 0 and "," not in targets
        if simple and start == 0 and run == lists[modules]:
            whole.add(modules)
            found.append(f"{targets} = {modules}({arguments})")
        else:
            # The first call may start from other variables than it leaves its results in.
            second = _CALL.match(lines[position + 1])
            assert second is not None
            if second["arguments"] != arguments:
                origin = _origin(arguments, second["arguments"], targets)
                if origin is None:
                    found.append(lines[position])
                    position, run, start = position + 1, run - 1, start + 1
                else:
                    found.append(f"{targets} = {origin}")
            block = fresh("block", set(re.findall(r"(?<!\.)\b\w+", "\n".join(lines))), between="")
            found += _loop(block, targets, modules, second["arguments"], start, run, lists[modules])
        position += run
    return found, whole


def _origin(first: str, later: str, target: str) -> str | None:
    """The variable that stands in the first call where the later ones have `target`, if all else is equal."""
    before, _, behind = later.partition(target)
    origin = first[len(before) : len(first) - len(behind)]
    return origin if origin.isidentifier() and before + origin + behind == first else None


def returned(lines: Sequence[str]) -> list[str]:
    """The statements with a last assignment that is returned at once turned into a `return`."""
    found = list(lines)
    if len(found) > 1 and not found[-2].startswith(" "):
        target, _, made = found[-2].partition(" = ")
        if found[-1] == f"return {target}":
            found[-2:] = [f"return {made}"]
    return found


def _loop(
    block: str, targets: str, modules: str, arguments: str, start: int, run: int, length: int
) -> list[str]:
    if run == 1:
        return [f"{targets} = {modules}[{start}]({arguments})"]
    bounds = (
        ""
        if not start and run == length
        else f"[{start or ''}:{'' if start + run == length else start + run}]"
    )
    return [f"for {block} in {modules}{bounds}:", f"    {targets} = {block}({arguments})"]


def _run(lines: Sequence[str], position: int, lists: Mapping[str, int]) -> int:
    """How many statements from there call consecutive members, each on the result of the one before."""
    first = _CALL.match(lines[position])
    if first is None or first["list"] not in lists:
        return 0
    arguments = None
    count = 1
    while position + count < len(lines):
        found = _CALL.match(lines[position + count])
        if (
            found is None
            or (found["targets"], found["list"]) != (first["targets"], first["list"])
            or int(found["index"]) != int(first["index"]) + count
        ):
            break
        if arguments is None:
            arguments = found["arguments"]
            # Each takes what the one before gave, and nothing that a loop could not hold.
            if not set(first["targets"].split(", ")) <= set(re.findall(r"\w+", arguments)):
                break
            if _top_level_commas(arguments) == 0 and arguments != first["targets"]:
                break
        elif found["arguments"] != arguments:
            break
        count += 1
    return count


def _top_level_commas(text: str) -> int:
    depth = found = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        found += letter == "," and depth == 0
    return found
