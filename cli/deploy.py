"""`planform deploy`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

import typer

from ..compiler.names import printable
from .options import FINE, SCHEMA, Address, At, Json, Set, command, open_model
from .terminal import paint, say, say_json

if TYPE_CHECKING:
    from ..compiler.graph.graph import Graph, Origin
    from ..compiler.rewriting.pipeline import Deployed
    from ..compiler.rewriting.rule import Change, Refusal

T = TypeVar("T")


class Line(NamedTuple):
    """A line of a plan: `file:line`, and its text."""

    where: str
    text: str


@command
def deploy(
    plan: Address,
    at: At = None,
    set: Set = None,
    all: Annotated[bool, typer.Option("--all", help="Write repeats out.")] = False,
    json: Json = False,
) -> int:
    """Print what becomes one operator once weights are fixed, and what does not, with the reason.

    Batch norms and scales go into the weights beside them, parallel and consecutive linear maps are merged.
    """
    model = open_model(plan, at, set)
    found = model.deploy()
    if json:
        say_json(to_dict(found))
        return FINE
    say(f"{paint(model.name, 'bold')}\n")
    before, after = _count(model.graph), _count(found.graph)
    say(f"operators  {before} become {after}")
    say(f"weights    {_elements(model.graph):,} numbers become {_elements(found.graph):,}".replace(",", " "))
    if found.changes:
        say("\nmerged")
        _say_changes(found.changes, all)
    if found.refusals:
        say("\nnot merged")
        _say_refusals(found.refusals, all)
    return FINE


def to_dict(found: Deployed) -> dict[str, Any]:
    """A deployed program as JSON with stable keys; see docs/cli.md."""
    return {
        "planform_json": SCHEMA,
        "kind": "deploy",
        "plan": found.source.name,
        "operators": _count(found.source.graph),
        "deployed": _count(found.graph),
        "weights": {path: list(weight.type.shape) for path, weight in found.graph.weights.items()},
        "merged": [
            {
                "rule": change.rule,
                "metric": change.metric,
                "path": change.path or None,
                "lines": [line._asdict() for line in lines_of(change.origins)],
            }
            for change in found.changes
        ],
        "refused": [
            {
                "rule": refusal.rule,
                "reason": refusal.reason,
                "path": refusal.node.path,
                "lines": [line._asdict() for line in lines_of(refusal.origins)],
            }
            for refusal in found.refusals
        ],
    }


def lines_of(origins: Sequence[Origin]) -> tuple[Line, ...]:
    """The lines of the plan that operators come from, each once; a library block's is where it is called."""
    from ..dsl.scope import Site

    found: dict[Line, None] = {}
    for origin in origins:
        if isinstance(origin.place, Site):
            spans = [origin.place.span, *(span for _, span in origin.place.frame.chain())]
            span = next((span for span in spans if span.source.origin == "file"), origin.place.span)
            found[Line(f"{span.source.name}:{span.line}", span.source.line(span.line).strip())] = None
    return tuple(found)


def _say_changes(changes: Sequence[Change], all: bool) -> None:
    for group in _grouped(changes, all, lambda change: (change.rule, lines_of(change.origins))):
        _say_group(group[0].rule, "", [change.path for change in group], lines_of(group[0].origins))


def _say_refusals(refusals: Sequence[Refusal], all: bool) -> None:
    for group in _grouped(refusals, all, lambda each: (each.rule, each.reason, lines_of(each.origins))):
        first = group[0]
        _say_group(
            first.rule, first.reason, [each.node.path or "" for each in group], lines_of(first.origins)
        )


def _grouped(items: Sequence[T], all: bool, key: Callable[[T], Hashable]) -> list[list[T]]:
    groups: dict[Hashable, list[T]] = {}
    for number, item in enumerate(items):
        groups.setdefault(number if all else key(item), []).append(item)
    return list(groups.values())


def _say_group(rule: str, reason: str, paths: Sequence[str], lines: Sequence[Line]) -> None:
    named = [path for path in paths if path]
    ends = " .. ".join(dict.fromkeys(named[:1] + named[-1:]))
    times = f" x{len(paths)}" if len(paths) > 1 else ""
    say(f"\n  {rule}{times}{paint(f'  {ends}', 'dim') if ends else ''}")
    if reason:
        say(f"    {reason}")
    for line in lines:
        say(f"    {paint(line.where, 'dim')}  {printable(line.text)}")


def _count(graph: Graph) -> int:
    return sum(1 for _ in graph.operators())


def _elements(graph: Graph) -> int:
    from ..compiler.sizes.dims import prod

    return sum(int(str(prod(weight.type.shape))) for weight in graph.weights.values())
