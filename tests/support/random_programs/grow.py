"""Writes a random program, statement by statement; each is elaborated and run by itself before it is taken.

So values stay finite, of moderate size and not all alike, and what depends on order seldom has ties.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from planform import PlanError
from planform.api.plan_file import PlanFile
from planform.backends.torch.errors import LoweringError

from .drawing import draw, weights_of
from .reference import Evaluator
from .text import Input, RandomProgram, Statement

MOST = 3000
_LARGEST = 1e3
# Types of their own are not rounded to in float64, and so have no right answer there.
_NARROW = ("f16", "bf16", "f32", "c64")
# Results depend on the order of elements: where two are equal, positions are open, and little is told.
ORDERED = re.compile(r"\b(sort|argsort|top_k|argmax|argmin|max_pool_indices|nms|median|mode)\(")
# What is drawn at run time, and what has several right answers.
UNDEFINED = re.compile(r"\b(scatter|rrelu|rand\w*|bernoulli|gumbel\w*)\(")


@dataclass(frozen=True)
class Value:
    """A value with what it is in one run."""

    name: str
    dtype: str
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def rank(self) -> int:
        return self.tensor.dim()

    @property
    def real(self) -> bool:
        return self.dtype == "float"


@dataclass
class Grower:
    """A program while it is written."""

    rng: random.Random
    seed: int = 0
    values: list[Value] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    free: tuple[float, float] = (0.7, 0.25)
    labels: int = 0
    refused: list[str] = field(default_factory=list)

    # ------------------------------------------------------------ values

    def input(self, *shape: int, dtype: str = "float", below: int | None = None) -> Value:
        """A new input; axes are free by chance, the first one more often."""
        name = f"x{len(self.inputs)}"
        written: list[int | str] = []
        for axis, size in enumerate(shape):
            if size == 0 or (size > 1 and self.rng.random() < self.free[min(axis, 1)]):
                self.sizes[f"S{size}"] = size
                written.append(f"S{size}")
            else:
                written.append(size)
        self.inputs.append(Input(name, dtype, tuple(written), below))
        value = Value(name, dtype, draw(name, dtype, shape, self.seed, below))
        self.values.append(value)
        return value

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def pick(self, *ranks: int, dtype: str = "float") -> Value:
        """A value of one of the ranks, recent ones more often; a new input where there is none."""
        known = [v for v in self.values if v.dtype == dtype and (not ranks or v.rank in ranks)]
        if not known or (self.rng.random() < 0.04 and len(self.inputs) < 5):
            return self.fresh(self.rng.choice(ranks or (2, 3, 4)), dtype)
        if self.rng.random() < 0.65:
            known = known[-3:]
        return self.rng.choice(known)

    def fresh(self, rank: int, dtype: str = "float") -> Value:
        """A new input of a rank, of sizes as networks have them; some of them odd, 1 or 0."""
        rng = self.rng
        batch = rng.choice((1, 2, 2, 3))
        side = (1, 2, 3, 4, 5, 5, 6, 7, 7, 8, 9, 11, 12)
        channels = rng.choice((3, 4, 6, 8, 8, 12, 16, 16, 20, 24, 32))
        shape = {
            0: (),
            1: (rng.choice((1, 5, 8, 12)),),
            2: (batch, channels),
            3: (batch, channels, rng.choice((5, 7, 9, 12, 16, 17))),
            4: (batch, channels, rng.choice(side), rng.choice(side)),
            5: (
                batch,
                rng.choice((2, 4, 8)),
                rng.choice((2, 3, 4)),
                rng.choice((3, 4, 5)),
                rng.choice((3, 5)),
            ),
        }[rank]
        kind = rng.random()
        if kind < 0.012 and rank:
            shape = (0, *shape[1:])
        elif kind < 0.04 and rank in (1, 2, 3):
            # A long row, of no round length.
            shape = (1,) * (rank - 1) + (rng.choice((1021, 1024, 2003, 2500)),)
        elif kind < 0.06 and rank:
            shape = tuple(rng.choice((1, 1, size, 13)) if axis else 1 for axis, size in enumerate(shape))
        return self.input(*shape, dtype=dtype)

    def same(self, value: Value) -> Value:
        """A value of the same shape; by chance itself or a new input."""
        known = [v for v in self.values if v.real and v.shape == value.shape and v is not value]
        if known and self.rng.random() < 0.85:
            return self.rng.choice(known)
        if self.rng.random() < 0.4:
            return value
        return self.input(*value.shape)

    # ------------------------------------------------------------ statements

    def add(self, expression: str, results: int = 1) -> tuple[Value, ...]:
        """Take a statement if it is fine; its values, none where it is not."""
        if UNDEFINED.search(expression):
            return ()
        start = sum(len(each.results) for each in self.statements)
        names = tuple(f"v{start + index}" for index in range(results))
        statement = Statement(names, expression)
        operands = [value for value in self.values if value.name in statement.operands]
        if ORDERED.search(expression) and not all(map(_distinct, operands)) and self.rng.random() < 0.7:
            return ()
        if "angle(" in expression and any(map(_on_the_cut, operands)):
            return ()
        found = self.measure(statement, operands)
        if found is None:
            return ()
        self.statements.append(statement)
        self.values += found
        return tuple(found)

    def measure(self, statement: Statement, operands: list[Value]) -> list[Value] | None:
        """The values of a statement by itself; None where it is refused or has no fine values."""
        if not operands:
            operands = self.values[:1]
        inputs = tuple(Input(value.name, value.dtype, value.shape) for value in operands)
        made = RandomProgram(inputs, (statement,), statement.results, ({},), blocks="\n".join(self.blocks))
        try:
            program = PlanFile.from_text(made.text, "grown.plan").program("net", None, None, ("eval",))
            graph = program.graph
            if any("random" in node.op.effects for node in graph.nodes):
                return None
            weights = weights_of(program.weights, self.seed)
            wide = Evaluator(graph, program.weights, weights)([value.tensor for value in operands])
        except PlanError as error:
            self.refused.append(f"{statement.expression}: {error.diagnostics[0].message}")
            return None
        except (LoweringError, RuntimeError, IndexError, ValueError, TypeError) as error:
            self.refused.append(f"{statement.expression}: {error!r}"[:300])
            return None
        if len(wide) != len(statement.results) or not all(map(self._fine, wide)):
            return None
        output = graph.output if isinstance(graph.output, (tuple, list)) else (graph.output,)
        if any(value.type.dtype in _NARROW for value in (*graph.inputs, *output)):
            return None
        return [
            Value(name, value.type.dtype, tensor)
            for name, value, tensor in zip(statement.results, output, wide, strict=True)
        ]

    def _fine(self, tensor: Tensor) -> bool:
        if tensor.numel() > MOST:
            return False
        if not tensor.numel():
            return self.rng.random() < 0.3
        plain = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor.double()
        if not plain.isfinite().all() or plain.abs().max() > _LARGEST:
            return False
        alike = plain.numel() > 1 and bool((plain == plain.reshape(-1)[0]).all())
        return not alike or self.rng.random() < 0.2

    # ------------------------------------------------------------ the whole

    def finish(self) -> RandomProgram:
        """The program: what nothing reads is a result, and some values that others read too."""
        rng = self.rng
        read = {name for statement in self.statements for name in statement.operands}
        made = [name for statement in self.statements for name in statement.results]
        results = [name for name in made if name not in read or rng.random() < 0.12]
        if rng.random() < 0.1 and results:
            results.append(rng.choice(results))
        calls = [dict(self.sizes)]
        if self.sizes:
            changed = {name: self._other(size) for name, size in self.sizes.items()}
            calls.append(changed)
            if rng.random() < 0.5:
                one = rng.choice(sorted(self.sizes))
                calls.append({**self.sizes, one: self._other(self.sizes[one])})
        blocks = "\n".join(self.blocks)
        made_of = (tuple(self.inputs), tuple(self.statements), tuple(results), tuple(calls))
        return RandomProgram(*made_of, seed=self.seed, blocks=blocks).live()

    def _other(self, size: int) -> int:
        return self.rng.choice((size + 1, size + 2, 2 * size, max(size - 1, 1), 1, size, 3 * size + 1))


def _on_the_cut(value: Value) -> bool:
    """Whether complex numbers are so near to negative ones that their angle may have either sign."""
    x = value.tensor
    return x.is_complex() and bool(((x.imag.abs() < 1e-3) & (x.real <= 0)).any())


def _distinct(value: Value) -> bool:
    return value.tensor.is_complex() or torch.unique(value.tensor).numel() == value.tensor.numel()


def grow(seed: int, size: int | None = None) -> RandomProgram:
    """A program of about `size` statements; the same for the same seed."""
    from .motifs import MOTIFS, anything

    rng = random.Random(seed)
    grower = Grower(rng, seed % (2**31))
    grower.free = rng.choice(((0.0, 0.0), (0.9, 0.0), (0.9, 0.3), (0.7, 0.6)))
    size = size or rng.choice((3, 5, 7, 9, 12))
    grower.fresh(rng.choice((2, 3, 3, 4, 4, 4, 4, 5)))
    motifs, chances = zip(*MOTIFS.items(), strict=True)
    kind = rng.random()
    if kind < 0.1:
        motifs, chances = [anything], [1]
    elif kind < 0.5:
        # A few kinds alone, so that they meet.
        kept = rng.sample(range(len(motifs)), rng.choice((3, 5, 8)))
        motifs, chances = [motifs[i] for i in kept], [chances[i] for i in kept]
    for _ in range(6 * size):
        if len(grower.statements) >= size:
            break
        rng.choices(motifs, chances)[0](grower)
    if not grower.statements:
        grower.add(f"{grower.pick().name} * 2.0")
    program = grower.finish()
    if rng.random() < 0.3 and len(program.statements) > 1:
        start = rng.randrange(len(program.statements) - 1)
        fold = start, rng.randint(start + 1, len(program.statements))
        program = replace(program, fold=fold, twice=rng.random() < 0.5)
    program = settled(program)
    kind = rng.random()
    dtype = "f32" if kind < 0.8 else rng.choice(("f64", "f16", "bf16"))
    kind, special = rng.random(), ""
    if kind < 0.25:
        special = rng.choice(("zeros", "nonfinite", "huge" if dtype in ("f32", "bf16") else "nonfinite"))
    return replace(program, dtype=dtype, special=special)


def settled(program: RandomProgram) -> RandomProgram:
    """The program with sizes known where it asks for that."""
    while program.calls[0]:
        try:
            PlanFile.from_text(program.text, "grown.plan").program("net", None, None, ("eval",))
        except PlanError as error:
            said = error.diagnostics[0].message
            asked = [name for name in program.calls[0] if re.search(rf"\b{name}\b", said)]
            program = bound(program, asked or list(program.calls[0]))
        else:
            break
    return program


def bound(program: RandomProgram, names: Collection[str]) -> RandomProgram:
    """The program with those symbols known, as in its first call."""
    sizes = {name: size for name, size in program.calls[0].items() if name in names}
    inputs = tuple(
        replace(each, shape=tuple(sizes.get(str(size), size) for size in each.shape))
        for each in program.inputs
    )
    calls = tuple({name: size for name, size in call.items() if name not in sizes} for call in program.calls)
    return replace(program, inputs=inputs, calls=tuple(calls) if calls[0] else calls[:1])
