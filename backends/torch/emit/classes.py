"""Instances that differ in numbers alone as one class with parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from ....compiler.names import USED, docstring, fresh
from .body import Body
from .instances import INDENT, Instance
from .literals import Hole, fill, holes, number, skeleton, wrap

_MEMBERS = frozenset(dir(nn.Module()))


class Class(NamedTuple):
    """A finished class: its source, and for each instance the call that makes it (numbers are holes)."""

    name: str
    source: str
    constructors: tuple[str, ...]


def key_of(instance: Instance) -> object:
    """What instances of one class have in common."""
    return (
        instance.block,
        skeleton(_whole_text(instance)),
        [(mode, body.arguments) for mode, body in instance.bodies],
    )


def make_class(name: str, instances: Sequence[Instance], documentation: str) -> Class:
    """The class of instances with equal keys."""
    first = instances[0]
    columns = list(zip(*[holes(_whole_text(instance)) for instance in instances], strict=True))
    parameters, fillings = _parameters(columns, _words(_whole_text(first)))
    sections = [first.members, first.initial, *[body.lines for _, body in first.bodies]]
    counts = [sum(len(holes(line)) for line in section) for section in sections]
    used_later: set[str] = set()
    texts: list[list[str]] = []
    start = 0
    for number_of_section, (section, count) in enumerate(zip(sections, counts, strict=True)):
        values = fillings[start : start + count]
        start += count
        if number_of_section:
            # Outside of __init__ parameters are attributes.
            words = {word for value in values for word in re.findall(r"[a-z_]\w*", value)}
            used_later |= words & parameters.keys()
            values = [_as_attributes(v, parameters) for v in values]
        lines = fill("\n".join(section), values)
        texts.append(lines.split("\n") if section else [])
    members, initial, *bodies = texts
    source = _source(
        name,
        documentation,
        parameters,
        used_later,
        members,
        initial,
        [
            (mode, Body(body.arguments, tuple(lines)))
            for (mode, body), lines in zip(first.bodies, bodies, strict=True)
        ],
    )
    constructors = [
        f"{name}({', '.join(f'{p}={_value(values[index], p)}' for p, values in parameters.items())})"
        for index in range(len(instances))
    ]
    return Class(name, source, tuple(constructors))


def _whole_text(instance: Instance) -> str:
    lines = [*instance.members, *instance.initial]
    for _, body in instance.bodies:
        lines += body.lines
    return "\n".join(lines)


def _value(text: str, hint: str) -> str:
    value = float(text) if any(mark in text for mark in ".en") else int(text)
    return number(value, hint)


def _words(text: str) -> frozenset[str]:
    """What a parameter cannot be called: attributes of `self` in the text, and what code calls."""
    own = re.findall(r'self(?:\.(\w+)|\.register_\w+\("(\w+)"|\.add_module\("(\w+)"|, "(\w+)")', text)
    return frozenset(word for group in own for word in group if word) | USED | _MEMBERS


def _parameters(
    columns: Sequence[tuple[Hole, ...]], taken: frozenset[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Parameters with their values for each instance, and what stands in each hole."""
    parameters: dict[str, tuple[str, ...]] = {}
    fillings: list[str] = []
    for column in columns:
        values = tuple(hole.value for hole in column)
        if len(set(values)) == 1:
            fillings.append(values[0])
            continue
        hint = _BOTH.get(column[0].hint, "") if _plays_both(values, columns) else column[0].hint
        hint = hint or column[0].hint or ("size" if all(_is_int(value) for value in values) else "rate")
        known = _expressed(values, parameters, hint)
        if known is None:
            known = fresh(hint, {*parameters, *taken}, between="")
            parameters[known] = values
        fillings.append(known)
    return parameters, fillings


# What a number is called that is both what comes in and what goes out.
_BOTH = {"in_channels": "channels", "in_features": "features"}


def _plays_both(values: tuple[str, ...], columns: Sequence[tuple[Hole, ...]]) -> bool:
    hints = {column[0].hint for column in columns if tuple(hole.value for hole in column) == values}
    return any(name.startswith("out_") for name in hints)


def _expressed(values: tuple[str, ...], parameters: dict[str, tuple[str, ...]], hint: str) -> str | None:
    """The values by a parameter that there is: equal, or a small multiple."""
    for name in sorted(parameters, key=lambda name: name != hint):
        if parameters[name] == values:
            return name
    if all(value.isdigit() for value in values):
        for name, others in parameters.items():
            if not all(other.isdigit() and int(other) for other in others):
                continue
            factors = {int(value) / int(other) for value, other in zip(values, others, strict=True)}
            factor = factors.pop()
            if not factors and factor == int(factor) and factor > 1:
                return f"{int(factor)} * {name}"
    return None


def _as_attributes(text: str, parameters: dict[str, tuple[str, ...]]) -> str:
    return re.sub(r"[a-z_]\w*", lambda word: f"self.{word[0]}" if word[0] in parameters else word[0], text)


def _source(
    name: str,
    documentation: str,
    parameters: dict[str, tuple[str, ...]],
    kept: set[str],
    members: list[str],
    initial: list[str],
    bodies: list[tuple[str, Body]],
) -> str:
    kinds = {p: "int" if all(map(_is_int, values)) else "float" for p, values in parameters.items()}
    given = "".join(f", {parameter}: {kind}" for parameter, kind in kinds.items())
    lines = [f"class {name}(nn.Module):", f'{INDENT}"""{docstring(documentation)}"""', ""]
    init = ["super().__init__()", *[f"self.{p} = {p}" for p in parameters if p in kept], *members]
    if initial:
        init.append("self.reset_parameters()")
    if len(init) > 1:
        lines += _method(f"__init__(self{given})", init)
    if initial:
        lines += ["", *_method("reset_parameters(self)", ['"""Draw the initial weights."""', *initial])]
    if bodies:
        arguments = "".join(f", {argument}" for argument in bodies[0][1].arguments)
        if len(init) > 1:
            lines.append("")
        lines += _method(f"forward(self{arguments})", _by_mode(bodies))
    return "\n".join(lines)


def _is_int(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _method(head: str, lines: Sequence[str]) -> list[str]:
    found = wrap(f"{INDENT}def {head}:")
    for line in lines:
        found += wrap(f"{INDENT * 2}{line}")
    return found


def _by_mode(bodies: list[tuple[str, Body]]) -> list[str]:
    """One body, or the two of training and evaluation with what they share outside the condition."""
    modes = dict(bodies)
    if len(modes) == 1 or modes["train"].lines == modes["eval"].lines:
        return list(bodies[0][1].lines) or ["pass"]
    train, other = list(modes["train"].lines), list(modes["eval"].lines)
    before = 0
    while before < min(len(train), len(other)) and train[before] == other[before]:
        before += 1
    while before and (
        train[before - 1].startswith("for ") or _indented(train, before) or _indented(other, before)
    ):
        before -= 1
    after = 0
    while after < min(len(train), len(other)) - before and train[-1 - after] == other[-1 - after]:
        after += 1
    while after and (train[len(train) - after].startswith(" ") or other[len(other) - after].startswith(" ")):
        after -= 1
    head, tail = train[:before], train[len(train) - after :]
    train, other = train[before : len(train) - after], other[before : len(other) - after]
    found = [*head]
    if train and other:
        branches = [INDENT + line for line in train], [INDENT + line for line in other]
        found += ["if self.training:", *branches[0], "else:", *branches[1]]
        if train[-1].startswith("return ") and not tail:
            cut = found.index("else:")
            found = [*found[:cut], *other]
    elif train:
        found += ["if self.training:", *[INDENT + line for line in train]]
    else:
        found += ["if not self.training:", *[INDENT + line for line in other]]
    return [*found, *tail]


def _indented(lines: list[str], position: int) -> bool:
    return position < len(lines) and lines[position].startswith(" ")
