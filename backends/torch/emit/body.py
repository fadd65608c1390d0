"""The statements of a block call's `forward`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import fx

from ....compiler.sizes.dims import Dim, Size, fold, maximum, minimum, power, prod, total
from .calls import Call, Item, Unsplittable, has_effects, ordered
from .expressions import ATOM, PRODUCT, SUM, Text, expression, value
from .literals import plain
from .trace import device_of_inputs, entry_symbols, size_at_run_time

_LONGEST = 72  # of an expression that stands inside another
_DEEPEST = 3
_NAMES = ("x", "y", "z", "u", "v", "w")


class Body(NamedTuple):
    """A `forward`: the names of its arguments, and its statements."""

    arguments: tuple[str, ...]
    lines: tuple[str, ...]


class _Pending(NamedTuple):
    text: Text
    depth: int
    uses: tuple[fx.Node, ...]
    effects: tuple[int, ...]


class BodyWriter:
    """Writes the statements of one call; `attribute(path)` is the access to what stands at a path."""

    def __init__(
        self, call: Call, attribute: Callable[[str], str], constant: Callable[[Any], str], live: bool = False
    ) -> None:
        self.call = call
        self.attribute = attribute
        self.constant = constant
        self.live = live
        self.lines: list[str] = []
        self.names: dict[fx.Node, str] = {}
        self.pending: dict[fx.Node, _Pending] = {}
        self.remaining: dict[fx.Node, int] = {}
        self.pinned: set[fx.Node] = set()
        self.tensors: list[fx.Node] = []

    def write(self) -> Body:
        """The body."""
        items = ordered(self.call)
        self._count(items)
        if self.call.parent is None:
            inputs = [node for node in self.call.nodes if node.op == "placeholder"]
            self.names |= {node: str(node.target) for node in inputs}  # of `compiler.names.arguments`
        else:
            inputs = list(self.call.arguments)
            self.names |= {node: _argument(number) for number, node in enumerate(inputs)}
        self.tensors = [node for node in inputs if "type" in node.meta]
        arguments = tuple(self.names[node] for node in inputs)
        if self.call.parent is None or any(map(_asks_the_inputs, self.call.nodes)):
            self.pinned.update(inputs)
        for number, item in enumerate(items):
            if isinstance(item, Call):
                self._inner(item, number)
            elif item.op == "output":
                self.lines.append(f"return {self._take(item.args[0], number)[0].code}")
            elif item.op != "placeholder":
                self._node(item, number)
        if self.call.parent is not None:
            results = list(self.call.results)
            texts = [self._take(node, len(items))[0].code for node in results]
            if texts:
                self.lines.append(f"return {', '.join(texts)}")
        return Body(arguments, tuple(self.lines))

    # --- counting uses ---

    def _count(self, items: list[Item]) -> None:
        for item in items:
            inputs = item.all_input_nodes if isinstance(item, fx.Node) else item.arguments
            for node in inputs:
                self.remaining[node] = self.remaining.get(node, 0) + 1
        for node in self.call.results:
            self.remaining[node] = self.remaining.get(node, 0) + 1

    # --- items ---

    def _node(self, node: fx.Node, number: int) -> None:
        if _always_inside(node):
            return
        if node in self.names:
            return  # unpacked already
        effectful = has_effects(node)
        if effectful:
            self._settle_effects(node.all_input_nodes)
        uses: list[fx.Node] = []
        depths = [0]
        effects: list[int] = []
        inputs = [n for n in node.all_input_nodes if n in self.pending and self.pending[n].effects]
        marks = [mark for n in inputs for mark in self.pending[n].effects]
        if marks != sorted(marks):
            for one in sorted(inputs, key=lambda n: self.pending[n].effects):
                self._settle(one)

        seen: set[fx.Node] = set()

        def operand(used: fx.Node) -> Text:
            text, depth, inner, marks = self._operand(used)
            if used not in seen:  # `v + v` is one use of `v`, as it is counted
                uses.extend(inner)
                depths.append(depth)
                effects.extend(marks)
                seen.add(used)
            return text

        if node.op == "call_module":
            given = [value(arg, operand).code for arg in node.args]
            given += [f"{key}={value(arg, operand).code}" for key, arg in node.kwargs.items()]
            text = Text(f"{self.attribute(str(node.target))}({', '.join(given)})")
        else:
            text = expression(node, operand, self.live)
        for used in node.all_input_nodes:
            self.pending.pop(used, None)
        if effectful:
            effects.append(number)
        made = _Pending(text, max(depths) + 1, tuple(uses), tuple(effects))
        parts = _unpacked(node)
        if parts is not None:
            self._assign_parts(made, parts)
        elif self._may_stand_inside(node, made):
            self.pending[node] = made
        else:
            self._assign([node], made)

    def _may_stand_inside(self, node: fx.Node, made: _Pending) -> bool:
        # Members of a list are called one by one, so that runs of calls can become one call or a loop.
        if node.op == "call_module" and self.attribute(str(node.target)).endswith("]"):
            return False
        if self.remaining.get(node, 0) != 1:
            return False
        if any(user_count(node, user) > 1 for user in node.users):
            return False
        return made.depth <= _DEEPEST and len(plain(made.text.code)) <= _LONGEST

    def _inner(self, call: Call, number: int) -> None:
        if call.has_effects:
            self._settle_effects(list(call.arguments))
        uses: list[fx.Node] = []
        texts: list[str] = []
        depths, effects = [0], list[int]()
        for node in call.arguments:
            text, depth, inner, marks = self._operand(node)
            texts.append(text.code)
            uses.extend(inner)
            self.pending.pop(node, None)
            depths.append(depth)
            effects.extend(marks)
        if call.has_effects:
            effects.append(number)
        target = self.attribute(call.path)
        made = _Pending(Text(f"{target}({', '.join(texts)})"), max(depths) + 1, tuple(uses), tuple(effects))
        results = list(call.results)
        if len(results) == 1 and not target.endswith("]") and self._may_stand_inside(results[0], made):
            self.pending[results[0]] = made
        else:
            self._assign(results, made)

    # --- statements ---

    def _assign(self, nodes: list[fx.Node], made: _Pending) -> None:
        for used in made.uses:
            self.remaining[used] -= 1
        dead = [n for n in dict.fromkeys(made.uses) if not self.remaining[n] and n not in self.pinned]
        wanted = [node for node in nodes if self.remaining.get(node, 0)]
        if not wanted:
            self.lines.append(made.text.code)
            return
        reusable = [self.names[n] for n in dead if n in self.names]
        for n in dead:
            self.names.pop(n, None)
        targets: list[str] = []
        for node in nodes:
            if node in wanted:
                taken = {*self.names.values(), *targets}
                name = next((r for r in reusable if r not in taken), None) or _fresh(taken)
                self.names[node] = name
                targets.append(name)
            else:
                targets.append("_")
        self.lines.append(f"{', '.join(targets)} = {made.text.code}")

    def _assign_parts(self, made: _Pending, parts: Mapping[int, fx.Node]) -> None:
        count = max(parts) + 1
        holder = [parts.get(index) for index in range(count)]
        for used in made.uses:
            self.remaining[used] -= 1
        for n in dict.fromkeys(made.uses):
            if not self.remaining[n] and n not in self.pinned:
                self.names.pop(n, None)
        targets: list[str] = []
        for part in holder:
            taken = {*self.names.values(), *targets}
            name = "_" if part is None else _fresh(taken)
            if part is not None:
                self.names[part] = name
            targets.append(name)
        self.lines.append(f"{', '.join(targets)}{',' if count == 1 else ''} = {made.text.code}")

    def _settle(self, node: fx.Node) -> None:
        self._assign([node], self.pending.pop(node))

    def _settle_effects(self, spared: list[fx.Node]) -> None:
        for node in [n for n, made in self.pending.items() if made.effects and n not in spared]:
            self._settle(node)

    # --- operands ---

    def _take(self, tree: Any, number: int) -> tuple[Text, list[fx.Node]]:
        uses: list[fx.Node] = []

        def operand(node: fx.Node) -> Text:
            text, _, inner, _ = self._operand(node)
            uses.extend(inner)
            return text

        return value(tree, operand), uses

    def _operand(self, node: fx.Node) -> tuple[Text, int, list[fx.Node], tuple[int, ...]]:
        if node in self.names:
            return Text(self.names[node]), 0, [node], ()
        if node in self.pending:
            made = self.pending[node]
            return made.text, made.depth, list(made.uses), made.effects
        if "constant" in node.meta:
            return Text(self.constant(node.meta["constant"])), 0, [], ()
        if node.op == "get_attr":
            return Text(self.attribute(str(node.target))), 0, [], ()
        if node.target is size_at_run_time:
            return self._size(node.meta["size"]), 0, [], ()
        assert node.target is device_of_inputs, node
        if self.tensors:
            return Text(f"{self.names[self.tensors[0]]}.device"), 0, [], ()
        return Text("next(self.parameters()).device"), 0, [], ()

    def _size(self, size: Size) -> Text:
        shapes = [node.meta["type"].shape for node in self.tensors]
        axes = [
            (axis, f"{self.names[node]}.shape[{number}]")
            for node, shape in zip(self.tensors, shapes, strict=True)
            for number, axis in enumerate(shape)
            if isinstance(axis, Dim)
        ]
        known: dict[Size, str] = {axis: text for axis, text in reversed(axes)}
        for axis, text in axes:
            difference = size - axis
            if isinstance(difference, int) and difference and size not in known:
                sign = "+" if difference > 0 else "-"
                known[size] = f"({text} {sign} {abs(difference)})"
        symbols: dict[str, tuple[Size, str]] = {}
        for name, (tensor, axis, factor, offset) in entry_symbols(
            [n.meta["type"] for n in self.tensors]
        ).items():
            text = f"{self.names[self.tensors[tensor]]}.shape[{axis}]"
            if offset:
                text = f"({text} {'-' if offset > 0 else '+'} {abs(offset)})"
            if factor != 1:
                text = f"{text} // {factor}" if offset else f"({text} // {factor})"
                text = text if text.startswith("((") or text.endswith(")") else f"({text})"
            symbols[name] = ((shapes[tensor][axis] - offset) // factor, text)

        def leaf(name: str) -> tuple[Size, Text]:
            if name not in symbols:
                raise Unsplittable(self.call.path)
            found, text = symbols[name]
            return found, Text(known.get(found, text))

        def combine(kind: str, args: tuple[tuple[Size, Text], ...]) -> tuple[Size, Text]:
            whole = _COMBINE[kind]([size for size, _ in args])
            if isinstance(whole, Dim) and whole in known:
                return whole, Text(known[whole])
            return whole, _written(kind, [text for _, text in args])

        if size in known:
            text = known[size]
            return Text(text[1:-1], SUM) if text.startswith("(") else Text(text)
        return fold(size, lambda number: (number, Text(str(number))), leaf, combine)[1]


_COMBINE: dict[str, Callable[[list[Size]], Size]] = {
    "add": total,
    "mul": prod,
    "floordiv": lambda args: args[0] // args[1],
    "mod": lambda args: args[0] % args[1],
    "pow": lambda args: power(args[0], args[1]) if isinstance(args[1], int) else args[0],
    "min": lambda args: minimum(*args),
    "max": lambda args: maximum(*args),
}


def _written(kind: str, args: list[Text]) -> Text:
    if kind in ("min", "max"):
        return Text(f"{kind}({', '.join(arg.code for arg in args)})")
    if kind == "add":
        # A plain number stands last, and a negative one is subtracted.
        args = sorted(args, key=lambda arg: arg.code.lstrip("-").isdigit() or arg.code.startswith("-"))
        code = args[0].code
        for arg in args[1:]:
            code += f" - {arg.code[1:]}" if arg.code.startswith("-") else f" + {arg.code}"
        return Text(code, SUM)
    if kind == "mul":
        if args[0].code == "-1":
            return Text(f"-{' * '.join(arg.at(ATOM) for arg in args[1:])}", PRODUCT)
        return Text(" * ".join(arg.at(ATOM) for arg in args), PRODUCT)
    sign = {"floordiv": "//", "mod": "%", "pow": "**"}[kind]
    return Text(f"{args[0].at(ATOM)} {sign} {args[1].at(ATOM)}", PRODUCT)


def user_count(node: fx.Node, user: fx.Node) -> int:
    """How often a node stands in another's arguments."""
    found = 0

    def look(other: fx.Node) -> fx.Node:
        nonlocal found
        found += other is node
        return other

    fx.map_arg((user.args, user.kwargs), look)
    return found


def _asks_the_inputs(node: fx.Node) -> bool:
    return node.target in (size_at_run_time, device_of_inputs)


def _always_inside(node: fx.Node) -> bool:
    return node.op == "get_attr" or _asks_the_inputs(node)


def _unpacked(node: fx.Node) -> dict[int, fx.Node] | None:
    """The parts by index if the node's result is only ever taken apart."""
    parts: dict[int, fx.Node] = {}
    for user in node.users:
        index = user.args[1] if user.target is operator.getitem and len(user.args) == 2 else None
        if not isinstance(index, int) or isinstance(index, bool) or index < 0 or index in parts:
            return None
        if user.meta.get("node") is not node.meta.get("node"):
            return None
        parts[index] = user
    known = node.meta.get("node")
    if (
        len(parts) < 2
        or known is None
        or len(known.results) != len(parts)
        or sorted(parts) != list(range(len(parts)))
    ):
        return None
    return parts


def _argument(number: int) -> str:
    return ("x", "y", "z")[number] if number < 3 else f"x{number + 1}"


def _fresh(taken: set[str]) -> str:
    return next(name for name in _names() if name not in taken)


def _names() -> Iterator[str]:
    yield from _NAMES
    number = 1
    while True:
        yield from (f"{name}{number}" for name in _NAMES)
        number += 1
