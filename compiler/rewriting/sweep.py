"""Rules that rewrite graphs, applied in one sweep from the inputs to the results.

A rule has a pattern, a check that may refuse with a reason, and a rewrite that builds the replacement. A pass
is a set of rules; running it builds a new graph. Rules are tried on values that are already rebuilt, so that
chains collapse within one sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, map_leaves
from ..graph.verify import GraphError, same_type
from ..ops.source import Input, ReadWeight
from ..sizes.dims import equal
from .editor import Editor, graph_facts
from .match import Facts, Match
from .rule import Change, Log, Refusal, Rule


@dataclass(frozen=True)
class Pass:
    """Rules that are applied together in one sweep; `once` also to what runs once, before everything else."""

    name: str
    rules: tuple[Rule, ...]
    once: bool = True

    def run(self, graph: Graph, log: Log | None = None) -> Graph:
        """The rewritten graph; the graph itself where no rule applies."""
        return _sweep(graph, _by_root(self.rules), Log() if log is None else log, self.once)


def rebuild(graph: Graph, finish: Callable[[Node, Editor], Sequence[Value]], first: int = 0) -> Graph:
    """A new graph made node by node: `finish` is given each node rebuilt and returns what takes its place.

    It is asked from the node number `first` on. Bodies are kept; constraints are too, since a value that is
    not computed any more may still have to fit.
    """
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    editor = Editor(builder)
    facts = graph_facts(graph)
    new: dict[Value, Value] = {}
    keep: list[Value] = []
    for number, node in enumerate(graph.nodes):
        if isinstance(node.op, Input):
            made = builder.input(node.op.label, node.results[0].type).node
        elif isinstance(node.op, ReadWeight):
            made = builder.weight(graph.weights[node.op.path]).node
        else:
            made = builder.copy(node, [new[value] for value in node.inputs])
        made.origins = node.origins
        editor.enter(made, readers=False)
        for old, value in zip(node.results, made.results, strict=True):
            editor.carry(value, facts.uses(old), facts.readers(old))
        built = made.results if node.op.source or number < first else finish(made, editor)
        new.update(zip(node.results, built, strict=True))
        if "state" in node.effects:
            keep.extend(built)
    return builder.freeze(map_leaves(graph.output, new.__getitem__), keep)


def _sweep(graph: Graph, rules: dict[str, list[Rule]], log: Log, once: bool) -> Graph:
    first = _first_change(graph, rules, log, once)
    if first is None:
        return graph
    number, swept = first
    before = log.applied
    known = [swept]

    def finish(node: Node, editor: Editor) -> Sequence[Value]:
        bodies = known.pop() if known else _swept(node, rules, log, once)
        if bodies is not None:
            node.bodies = bodies
        # Cutting an empty axis gives no results at all.
        if not node.results or (not once and editor.is_static(node.results[0])):
            return node.results
        return _rewritten(node, editor, rules, log)

    found = rebuild(graph, finish, number)
    return found if log.applied > before or swept is not None else graph


def _first_change(
    graph: Graph, rules: dict[str, list[Rule]], log: Log, once: bool
) -> tuple[int, tuple[Graph, ...] | None] | None:
    """The number of the first node that a rule applies to, and its bodies if they change; None without one.

    Most sweeps change nothing, and what is before the first change need not be tried on a copy.
    """
    facts = graph_facts(graph)
    for number, node in enumerate(graph.nodes):
        if node.bodies:
            swept = _swept(node, rules, log, once)
            if swept is not None:
                return number, swept
        found = rules.get(node.op.name)
        if found is None or not node.results or (not once and facts.is_static(node.results[0])):
            continue
        refused = len(log.refusals)
        if next(_matches(node, facts, found, log), None) is not None:
            del log.refusals[refused:]  # the sweep says them again
            return number, None
    return None


def _swept(node: Node, rules: dict[str, list[Rule]], log: Log, once: bool) -> tuple[Graph, ...] | None:
    """A node's bodies rewritten, or None where no rule applies in any."""
    new = tuple([_sweep(body, rules, log, once) for body in node.bodies])
    return new if any(a is not b for a, b in zip(new, node.bodies, strict=True)) else None


# A value is not rewritten more often than this in one sweep.
_MOST = 100


def _rewritten(node: Node, editor: Editor, rules: dict[str, list[Rule]], log: Log) -> Sequence[Value]:
    results: tuple[Value, ...] = node.results
    for _ in range(_MOST):
        root = results[0].node
        if root.results != results:
            return results
        built = _first(root, editor, rules, log)
        if built is None:
            return results
        for old, value in zip(results, built, strict=True):
            editor.carry(value, editor.uses(old), editor.readers(old))
        editor.release(root)
        results = built
    return results


def _matches(root: Node, facts: Facts, rules: Sequence[Rule], log: Log) -> Iterator[tuple[Rule, Match]]:
    """The rules that apply to a node, with what they found."""
    if not any(facts.uses(value) for value in root.results):
        return
    for rule in rules:
        match = Match(facts, root)
        if not rule.pattern.match(root.results[0], match) or not rule.when(match):
            continue
        refused = rule.check(match)
        if refused is None:
            yield rule, match
        else:
            log.refusals.append(Refusal(rule.name, refused.reason, refused.node))


def _first(root: Node, editor: Editor, rules: dict[str, list[Rule]], log: Log) -> tuple[Value, ...] | None:
    """What the first rule that applies builds."""
    for rule, match in _matches(root, editor, rules.get(root.op.name, ()), log):
        before = len(editor.builder.nodes)
        built = editor.attempt(rule, match)
        if not all(same_type(old.type, new.type) for old, new in zip(root.results, built, strict=True)):
            log.refusals.append(Refusal(rule.name, _sizes_differ(rule, root, built), root))
            for node in {value.node for value in built if value.node.id >= before}:
                editor.release(node)
            continue
        log.applied += 1
        if editor.is_static(root.results[0]):
            return built
        origins = tuple(dict.fromkeys(origin for covered in match.nodes for origin in covered.origins))
        path = built[0].node.path or next((n.path for n in match.nodes if n.path), None) or ""
        log.changes.append(Change(rule.name, rule.metric, path, origins))
        return built
    return None


def _sizes_differ(rule: Rule, root: Node, built: Sequence[Value]) -> str:
    """The reason to refuse where sizes are not proved to stay; `GraphError` where they, or types, differ."""
    for old, new in zip(root.results, built, strict=True):
        a, b = old.type, new.type
        if (
            a.dtype != b.dtype
            or len(a.shape) != len(b.shape)
            or any(equal(left, right) is False for left, right in zip(a.shape, b.shape, strict=True))
        ):
            raise GraphError(f"{rule.name} gives {b} for {a}", Graph("", (), (), (), None, {}), root)
    return "the sizes of the result are not proved to stay as they are"


def _by_root(rules: Sequence[Rule]) -> dict[str, list[Rule]]:
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        if rule.pattern.roots is None:
            raise ValueError(f"the pattern of `{rule.name}` has no operator at its root")
        for name in rule.pattern.roots:
            found.setdefault(name, []).append(rule)
    return found
