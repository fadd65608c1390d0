"""`planform fuse`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import typer

from ..compiler.names import printable
from .options import FINE, SCHEMA, Address, At, Failure, Json, Mode, Set, command, device_of, open_model
from .terminal import paint, say, say_json

if TYPE_CHECKING:
    from ..api.model import Model
    from ..compiler.devices import Device
    from ..compiler.dtypes import DType
    from ..compiler.fusion import Group, Partition, Refused
    from ..compiler.graph.graph import Node

_LONGEST_PERIOD = 12
T = TypeVar("T")


@command
def fuse(
    plan: Address,
    at: At = None,
    set: Set = None,
    target: Annotated[
        str,
        typer.Option("--target", metavar="TARGET", help="Whose kernels: cpu, cuda, or JSON, as for compile."),
    ] = "cpu",
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Ask a model of memory traffic what could run as one.")
    ] = False,
    mode: Annotated[
        Literal["eval", "train", "deploy"] | None,
        typer.Option("--mode", metavar="MODE", help="With --what-if: of which graph (deploy)."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="NAME", help="With --what-if: on which device (zen4)."),
    ] = None,
    cache: Annotated[
        int | None,
        typer.Option("--cache", min=0, metavar="BYTES", help="With --what-if: room for a block."),
    ] = None,
    blocks: Annotated[
        bool, typer.Option("--blocks/--no-blocks", help="With --what-if: depth-first blocks, or none.")
    ] = True,
    depth: Annotated[
        int, typer.Option("--depth", min=1, max=3, help="1: groups; 2: also boundaries; 3: also members.")
    ] = 2,
    all: Annotated[bool, typer.Option("--all", help="Write repeats out.")] = False,
    float_as: Annotated[
        Literal["f16", "bf16", "f32", "f64"], typer.Option("--float", help="What floats are, for bytes.")
    ] = "f32",
    json: Json = False,
) -> int:
    """Print which operators run as one kernel, the bytes that saves, and why not more are joined.

    The kernels are those that `planform compile --to tvm` makes. A boundary between two of them is shown by
    the lines of the plan on both sides, with the reason why they are two.
    """
    model = open_model(plan, at, set)
    options = {"--mode": mode, "--device": device, "--cache": cache, "--no-blocks": None if blocks else True}
    asked = [name for name, value in options.items() if value is not None]
    if asked and not what_if:
        raise Failure(f"{asked[0]} asks a model, and not the kernels that run", "add --what-if")
    if what_if:
        found = _modelled(model, mode or "deploy", _device(device, cache), blocks, float_as)
    else:
        found = _running(model, target, float_as)
    bound = model.bindings
    of = f"{found.device.name} · cache {found.device.near}" if found.device else f"kernels for {target}"
    if json:
        say_json(to_dict(found, model.name, mode or "deploy", None if what_if else target, bound, float_as))
        return FINE
    about = [mode or "deploy", *(f"{name}={size}" for name, size in bound.items()), float_as, of]
    say(f"{paint(model.name, 'bold')}  {paint(' · '.join(about), 'dim')}\n")
    _say_totals(found)
    _say_groups(found, all)
    if depth > 2:
        _say_members(found)
    if depth > 1:
        _say_boundaries(found, all)
    return FINE


def _running(model: Model, target: str, float_as: DType) -> Partition:
    """The kernels of a target."""
    from ..api.compile import deployed_model
    from ..backends.tvm.compile import partition_for

    return partition_for(deployed_model(model, float_as).graph, target, float_as)[0]


def _device(name: str | None, cache: int | None) -> Device:
    """The device of a name, with room for blocks of so many bytes."""
    found = device_of(name or "zen4")
    return found if cache is None else found.with_near(cache)


def _modelled(model: Model, mode: Mode, device: Device, blocks: bool, float_as: DType) -> Partition:
    """The kernels that a model of memory traffic would choose."""
    from ..compiler.cost import BindingError
    from ..compiler.fusion import partition

    try:
        return partition(model.graph_in(mode), None, device, float_as, blocks)
    except BindingError as error:
        raise Failure(str(error)) from None


def to_dict(
    found: Partition, plan: str, mode: str, target: str | None, bindings: dict[str, Any], float_as: str
) -> dict[str, Any]:
    """A partition for JSON; see docs/fusion.md."""
    from ..compiler.cost.sums import plain

    return {
        "planform_json": SCHEMA,
        "kind": "fuse",
        "plan": plan,
        "mode": mode,
        "target": target,
        "bindings": bindings,
        "float": float_as,
        "device": found.device.name if found.device else None,
        "cache": found.device.near if found.device else None,
        "balance": found.device.balance(float_as) if found.device else None,
        "operators": _operators(found),
        "prologue": len(found.prologue),
        "bytes_before": plain(found.before),
        "bytes_after": plain(found.after),
        "macs": plain(found.macs),
        "groups": [
            {
                "number": group.number,
                "kind": group.kind,
                "kernels": group.kernels,
                "operators": [_node_to_dict(node) for node in group.nodes],
                "inputs": len(group.inputs),
                "outputs": len(group.outputs),
                "bytes_before": plain(group.before),
                "bytes_after": plain(group.after),
                "macs": plain(group.macs),
                "buffer": group.buffer,
                "block": group.block._asdict() if group.block else None,
            }
            for group in found.groups
        ],
        "boundaries": [
            {
                "before": refused.before,
                "after": refused.after,
                "cause": refused.cause,
                "reason": refused.reason,
                "producer": _node_to_dict(refused.producer),
                "consumer": _node_to_dict(refused.consumer),
            }
            for refused in found.refusals
        ],
    }


class Line(NamedTuple):
    """Where an operator is written: `file:line`, and the text of the line; empty where it is not known."""

    where: str
    text: str


def line_of(node: Node) -> Line:
    """The line of the plan that an operator comes from: of its call, or of that of a library block."""
    from ..dsl.scope import Site

    place = node.origins[0].place if node.origins else None
    if not isinstance(place, Site):
        return Line("" if place is None else str(place), "")
    spans = [place.span, *(span for _, span in place.frame.chain())]
    span = next((span for span in spans if span.source.origin == "file"), place.span)
    return Line(f"{span.source.name}:{span.line}", span.source.line(span.line).strip())


def _node_to_dict(node: Node) -> dict[str, Any]:
    line = line_of(node)
    return {"op": node.op.title, "path": node.path, "line": line.where or None, "text": line.text or None}


def _operators(found: Partition) -> int:
    """How many operators there are; a view may be in several groups."""
    return len({node for group in found.groups for node in group.nodes})


def _say_totals(found: Partition) -> None:
    from ..compiler.sizes.dims import total
    from ..reports.cost import human

    running = sum([group.kernels > 0 for group in found.groups])
    text = f"{_operators(found)} operators in {running} kernels"
    if running < len(found.groups):
        text += f", {len(found.groups) - running} that move nothing"
    if found.prologue:
        text += f", and {len(found.prologue)} that run once"
    say(text)
    saved = ""
    if isinstance(found.before, int) and isinstance(found.after, int) and found.before:
        saved = f" ({found.after / found.before - 1:+.1%})"
    say(f"bytes  {human(found.before, 'B')} one by one, {human(found.after, 'B')} fused{saved}")
    again = total([group.block.again for group in found.groups if group.block])
    if again != 0:
        say(f"MACs   {human(found.macs)}, of which {human(again)} are done again")
    say()


def _say_groups(found: Partition, all: bool) -> None:
    """A line for each group: its number, kind and place, and its figures where they are numbers."""
    from ..reports.cost import human

    heads = ("#", "kind", "where", "MACs", "before", "after", "buffer")
    rows: list[tuple[str, ...]] = []
    for groups, repeat in _folded(found.groups, _signature, all):
        for number, group in enumerate(groups):
            times = "" if repeat == 1 else f" x{repeat}" if not number else " |"
            counts = (group.macs, group.before, group.after, group.buffer)
            units = ("", "B", "B", "B")
            figures = [
                human(count, unit) if isinstance(count, int) and count else ""
                for count, unit in zip(counts, units, strict=True)
            ]
            rows.append((str(group.number), group.kind + times, _place(group), *figures))
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = [
            cell.ljust(width) if head in ("kind", "where") else cell.rjust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        ]
        text = "  ".join(cells).rstrip()
        say(paint(text, "bold") if row is heads else text)


def _signature(group: Group) -> Hashable:
    return group.kind, tuple(node.op.title for node in group.nodes), group.before, group.after


def _place(group: Group) -> str:
    """The label path that the labelled operators of a group have in common, or its main operator's line."""
    paths = [node.path for node in group.nodes if node.path]
    if not paths:
        return line_of(group.main).where
    return paths[0] if len(paths) == 1 or paths[0] == paths[-1] else f"{paths[0]} .. {paths[-1]}"


def _say_members(found: Partition) -> None:
    from ..compiler.graph.text import print_node

    say("\nmembers")
    for group in found.groups:
        say(f"  {paint(f'{group.number} {group.kind}', 'bold')}")
        if group.block is not None:
            block = group.block
            cut = "whole samples" if block.axis is None else f"{block.rows} positions of axis {block.axis}"
            say(f"    {block.strips} strips of {cut}")
        for node in group.nodes:
            say(f"    {print_node(node)}")


def _say_boundaries(found: Partition, all: bool) -> None:
    """Each boundary once for the same lines and cause: the lines on both sides, and the reason."""
    kinds: dict[Hashable, list[Refused]] = {}
    for number, refused in enumerate(found.refusals):
        lines = line_of(refused.producer), line_of(refused.consumer)
        kinds.setdefault(number if all else (lines, refused.cause), []).append(refused)
    if not kinds:
        return
    say("\nwhy they are not one")
    for those in kinds.values():
        first = those[0]
        times = f"  x{len(those)}" if len(those) > 1 else ""
        say(f"\n  {paint(f'{first.before} | {first.after}', 'bold')}{times}  {first.reason}")
        say(f"    {_named(first.producer)} -> {_named(first.consumer)}")
        for line in dict.fromkeys((line_of(first.producer), line_of(first.consumer))):
            say(f"    {paint(line.where, 'dim')}  {printable(line.text)}".rstrip())


def _named(node: Node) -> str:
    """The operator, and its label path or the scope of its call."""
    path = node.path or (node.region.path if node.region else "")
    return f"{node.op.title} ({path})" if path else node.op.title


def _folded(things: Sequence[T], key: Callable[[T], Hashable], all: bool) -> Iterator[tuple[list[T], int]]:
    """Things in order with equal neighbours, whole periods too, taken together: one period, and how often."""
    keys = [key(thing) for thing in things]
    at = 0
    while at < len(things):
        period, repeat = 1, 1
        for length in range(1, 1 if all else _LONGEST_PERIOD + 1):
            times = 1
            while keys[at + times * length : at + (times + 1) * length] == keys[at : at + length]:
                times += 1
                if at + times * length > len(keys):
                    break
            if times > 1 and times * length > period * repeat:
                period, repeat = length, times
        yield list(things[at : at + period]), repeat
        at += period * repeat
