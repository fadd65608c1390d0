"""A random program as text: statements, inputs, and comments that tell what it is called with."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_NAME = re.compile(r"\b[vx]\d+\b")
_COMMENT = re.compile(r"^# (seed|dtype|calls|below|special|backends): (.*)$", re.MULTILINE)
Calls = tuple[dict[str, int], ...]


@dataclass(frozen=True)
class Statement:
    """`v1, v2 = expression`; the names in it are values `v<n>` and inputs `x<n>`."""

    results: tuple[str, ...]
    expression: str

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_NAME.findall(self.expression)))

    def renamed(self, names: dict[str, str]) -> Statement:
        """With other operands."""
        swapped = _NAME.sub(lambda match: names.get(match[0], match[0]), self.expression)
        return replace(self, expression=swapped)

    def __str__(self) -> str:
        return f"    {', '.join(self.results)} = {self.expression}"


@dataclass(frozen=True)
class Input:
    """An input: its element type, and on each axis a size or a symbol; integers are drawn `below` a number."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    below: int | None = None

    def __str__(self) -> str:
        kind = "" if self.dtype == "float" else self.dtype
        sizes = (f"{size} >= 0" if size == "S0" else str(size or "S0 >= 0") for size in self.shape)
        return f"{self.name}: {kind}[{', '.join(sizes)}]"


@dataclass(frozen=True)
class RandomProgram:
    """A model with a plan `net`, and what it is called with.

    `calls` are the sizes of the symbols, one set for each call; the first are those that it is also bound at.
    `seed` draws inputs and weights; `dtype` is what the plan's floats are; `special` names what some elements of
    inputs are, which is not there while the program is written.
    """

    inputs: tuple[Input, ...]
    statements: tuple[Statement, ...]
    results: tuple[str, ...]
    calls: Calls
    seed: int = 0
    dtype: str = "f32"
    special: str = ""
    blocks: str = ""
    # Statements from one number up to another that stand in a block of their own, which is called once or twice.
    fold: tuple[int, int] | None = None
    twice: bool = False

    @property
    def below(self) -> dict[str, int]:
        return {each.name: each.below for each in self.inputs if each.below is not None}

    @property
    def text(self) -> str:
        """The file."""
        called = "; ".join(" ".join(f"{name}={size}" for name, size in call.items()) for call in self.calls)
        below = " ".join(f"{name}={limit}" for name, limit in self.below.items())
        about = [f"# seed: {self.seed}", f"# dtype: {self.dtype}", f"# calls: {called}", f"# below: {below}"]
        if self.special:
            about.append(f"# special: {self.special}")
        blocks = [self.blocks.strip("\n")] if self.blocks else []
        statements, results = list(map(str, self.statements)), self.results
        inner = self.statements[slice(*self.fold)] if self.fold else ()
        if self.fold and inner:
            block, calls, more = self._folded(inner, self.statements[self.fold[1] :])
            blocks += block
            statements[slice(*self.fold)] = calls
            results += more
        body = [*statements, f"    return ({', '.join(results)},)"]
        head = f"model network({', '.join(map(str, self.inputs))}) {{"
        return "\n".join(["planform 1", *about, *blocks, head, *body, "}", "plan net = network()", ""])

    def _folded(
        self, inner: tuple[Statement, ...], later: tuple[Statement, ...]
    ) -> tuple[list[str], list[str], tuple[str, ...]]:
        """A block of statements, its calls, and further results."""
        made = [name for statement in inner for name in statement.results]
        read = {name for statement in later for name in statement.operands} | set(self.results)
        given = dict.fromkeys(n for statement in inner for n in statement.operands if n not in made)
        out = [name for name in made if name in read]
        head = f"block part({', '.join(f'{name}: tensor' for name in given)}) {{"
        shown = ", ".join(out) if len(out) == 1 else f"({', '.join(out)})"
        block = [head, *map(str, inner), f"    return {shown}", "}"]
        call = f"({', '.join(given)}) -> {{}}: part()" if given else "{}: part()"
        calls = [f"    {', '.join(out)} = {call.format('part1')}"]
        if not self.twice:
            return block, calls, ()
        more = tuple(f"{name}000" for name in out)
        return block, [*calls, f"    {', '.join(more)} = {call.format('part2')}"], more

    def live(self) -> RandomProgram:
        """Without what no result reads."""
        needed = set(self.results)
        kept: list[Statement] = []
        for statement in reversed(self.statements):
            if needed & set(statement.results):
                kept.append(statement)
                needed |= set(statement.operands)
        # A model takes something, if only to ignore it.
        inputs = tuple(each for each in self.inputs if each.name in needed) or self.inputs[:1]
        symbols = {size for each in inputs for size in each.shape}
        calls = tuple({name: size for name, size in call.items() if name in symbols} for call in self.calls)
        return replace(self, inputs=inputs, statements=tuple(reversed(kept)), calls=calls)


@dataclass(frozen=True)
class Setting:
    """What the comments of a text say."""

    seed: int
    dtype: str
    calls: Calls
    below: dict[str, int]
    backends: tuple[str, ...] = ()
    special: str = ""


def setting_of(text: str) -> Setting:
    """The comments of a program's text."""
    said = {name: value.strip() for name, value in _COMMENT.findall(text)}
    calls = tuple(_pairs(call) for call in said.get("calls", "").split(";"))
    backends = tuple(name.strip() for name in said.get("backends", "").split(",") if name.strip())
    below = _pairs(said.get("below", ""))
    dtype, special = said.get("dtype", "f32"), said.get("special", "")
    return Setting(int(said.get("seed", 0)), dtype, calls, below, backends, special)


def _pairs(written: str) -> dict[str, int]:
    return {name: int(value) for name, _, value in (pair.partition("=") for pair in written.split())}
