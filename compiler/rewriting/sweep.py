"""Rules that rewrite graphs, applied in one sweep from the inputs to the results.

A rule has a pattern, a check that may refuse with a reason, and a rewrite that builds the replacement. A pass
is a set of rules; running it builds a new graph. Rules are tried on values that are already rebuilt, so that
chains collapse within one sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from ..graph.graph import Builder, Graph, Node, Origin, Value, map_leaves
from ..graph.static import is_static_node, static_nodes
from ..graph.verify import GraphError, same_type
from ..ops import registry
from ..ops.core.base import Op
from ..ops.source import Input, ReadWeight
from ..sizes.dims import equal
from .match import Facts, Match, Pattern, Reject

# What a rewrite lowers, of what runs at each call: the number of operators; the multiply-adds; these and all
# other arithmetic; the elements that operators other than views write. None raises the multiply-adds.
Metric = Literal["operators", "macs", "operations", "activations"]


@dataclass(frozen=True)
class Rule:
    """A rewrite: what it looks for, when it refuses, what it builds, and which metric that lowers.

    `when` completes the pattern, in silence; `check` refuses with a reason that people are told. `rewrite`
    returns the values that take the place of the results of the pattern's root.
    """

    name: str
    metric: Metric
    pattern: Pattern
    rewrite: Callable[[Match, Editor], Value | Sequence[Value]]
    when: Callable[[Match], bool] = lambda match: True
    check: Callable[[Match], Reject | None] = lambda match: None


@dataclass(frozen=True)
class Refusal:
    """A rule that found its pattern and did not apply it."""

    rule: str
    reason: str
    node: Node

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the node that is in the way comes from."""
        return self.node.origins


@dataclass(frozen=True)
class Change:
    """A rule that was applied: what it replaced came from `origins`; the result stands at `path`."""

    rule: str
    metric: Metric
    path: str
    origins: tuple[Origin, ...]


@dataclass
class Log:
    """What sweeps did and what they refused.

    `applied` counts rewrites; `changes` lists those of what runs at each call, not of how weights are made.
    """

    applied: int = 0
    changes: list[Change] = field(default_factory=list[Change])
    refusals: list[Refusal] = field(default_factory=list[Refusal])


@dataclass(frozen=True)
class Pass:
    """Rules that are applied together in one sweep; `once` also to what runs once, before everything else."""

    name: str
    rules: tuple[Rule, ...]
    once: bool = True

    def run(self, graph: Graph, log: Log | None = None) -> Graph:
        """The rewritten graph; the graph itself where no rule applies."""
        return _sweep(graph, _by_root(self.rules), Log() if log is None else log, self.once)


class Editor:
    """The graph under construction, as rewrites see it."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self._uses: dict[Value, int] = {}
        self._static: set[Node] = set()
        self._readers: dict[Value, list[Node]] = {}
        self._origins: tuple[Origin, ...] = ()

    # --- facts ---

    def uses(self, value: Value) -> int:
        """How often a value is read, as an operand or as a result of the graph."""
        return self._uses[value]

    def is_static(self, value: Value) -> bool:
        """Whether a value depends on weights and constants alone, and its sizes are known."""
        return value.node in self._static

    def readers(self, value: Value) -> Sequence[Node]:
        """The nodes of the graph before the sweep that read what is now this value."""
        return self._readers.get(value, ())

    # --- building ---

    def add(self, name: str, *inputs: Value | None, path: str | None = None, **arguments: Any) -> Value:
        """The first result of a new application of the operator of that name; see `apply`."""
        return self.apply(registry()[name](**arguments), *inputs, path=path).results[0]  # pyright: ignore[reportArgumentType]

    def apply(self, op: Op, *inputs: Value | None, path: str | None = None) -> Node:
        """Apply an operator to operands in the order of its signature; None leaves an optional one out."""
        slots: list[str] = []
        names = [(operand.name, operand.arity) for operand in op.signature()]
        at = 0
        for _ in inputs:
            name, arity = names[at]
            slots.append(name)
            at += arity != "many"
        given = [(slot, value) for slot, value in zip(slots, inputs, strict=True) if value is not None]
        node = self.builder.add(op, [value for _, value in given], tuple(slot for slot, _ in given), path)
        node.origins = self._origins
        return self.enter(node)

    def with_operands(self, node: Node, **operands: Value) -> Node:
        """The same application with some operands exchanged or added."""
        given = dict(zip(node.slots, node.inputs, strict=True)) | operands
        order = [operand.name for operand in node.op.signature() if operand.name in given]
        made = self.builder.add(node.op, [given[slot] for slot in order], tuple(order), node.path)
        made.origins = self._origins
        return self.enter(made)

    def copy(self, node: Node, *inputs: Value) -> Value:
        """The first result of the same application to other operands of the same types."""
        made = self.builder.copy(node, inputs)
        made.origins = self._origins
        return self.enter(made).results[0]

    def enter(self, node: Node, readers: bool = True) -> Node:
        """Take note of a node that was added to the builder."""
        for value in node.results:
            self._uses[value] = 0
        if readers:
            for value in node.inputs:
                self._uses[value] += 1
        if is_static_node(node, self._static):
            self._static.add(node)
        return node

    def cast(self, value: Value, like: Value) -> Value:
        """The value in the element type of another."""
        return (
            value if value.type.dtype == like.type.dtype else self.add("cast", value, dtype=like.type.dtype)
        )

    # --- what the sweep asks ---

    def carry(self, value: Value, uses: int, readers: Sequence[Node]) -> None:
        """Let a rebuilt value be read as often as the value that it stands for."""
        self._uses[value] += uses
        self._readers.setdefault(value, []).extend(readers)

    def attempt(self, rule: Rule, match: Match) -> tuple[Value, ...]:
        """What the rule builds; the nodes get the origins of all that the match covers."""
        nodes = sorted(match.nodes, key=lambda node: node.id)
        self._origins = tuple(dict.fromkeys(origin for node in nodes for origin in node.origins))
        built = rule.rewrite(match, self)
        self._origins = ()
        return (built,) if isinstance(built, Value) else tuple(built)

    def release(self, node: Node) -> None:
        """A node is not needed any more, and neither is what only it read."""
        stack = [node]
        while stack:
            dead = stack.pop()
            for value in dead.inputs:
                self._uses[value] -= 1
                if all(self._uses[other] == 0 for other in value.node.results):
                    stack.append(value.node)


class Standing:
    """What is known of a graph as it stands: the `Facts` of a sweep that has changed nothing yet."""

    def __init__(self, graph: Graph) -> None:
        self._readers = graph.users()
        self._static = static_nodes(graph)
        self._uses: dict[Value, int] = {}
        for node in graph.nodes:
            for value in node.inputs:
                self._uses[value] = self._uses.get(value, 0) + 1
        for value in graph.outputs:
            self._uses[value] = self._uses.get(value, 0) + 1

    def uses(self, value: Value) -> int:
        """How often a value is read, as an operand or as a result of the graph."""
        return self._uses.get(value, 0)

    def is_static(self, value: Value) -> bool:
        """Whether a value depends on weights and constants alone, and its sizes are known."""
        return value.node in self._static

    def readers(self, value: Value) -> Sequence[Node]:
        """The nodes that read a value."""
        return self._readers[value]


# Passes look at the same graph in turn until none changes it.
_known: WeakKeyDictionary[Graph, Standing] = WeakKeyDictionary()


def standing(graph: Graph) -> Standing:
    """What is known of a graph, which is worked out once."""
    found = _known.get(graph)
    if found is None:
        found = _known[graph] = Standing(graph)
    return found


def rebuild(graph: Graph, finish: Callable[[Node, Editor], Sequence[Value]], first: int = 0) -> Graph:
    """A new graph made node by node: `finish` is given each node rebuilt and returns what takes its place.

    It is asked from the node number `first` on. Bodies are kept; constraints are too, since a value that is
    not computed any more may still have to fit.
    """
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    editor = Editor(builder)
    facts = standing(graph)
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
    facts = standing(graph)
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


__all__ = ["Change", "Editor", "Log", "Metric", "Pass", "Refusal", "Reject", "Rule", "rebuild"]
