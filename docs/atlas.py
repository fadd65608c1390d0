"""The page docs/atlas.md: each plan of the atlas, its figures, its length and how it was verified.

What a plan says is read from its file; what only people know, the reference and how it was compared, stands
in docs/references.toml.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path
from statistics import median

from lengths import SHARED_BY, own_library, plan_lines, python_lines

from planform.api.locate import EXAMPLES, examples
from planform.api.plan_file import PlanFile
from planform.compiler.sizes.dims import prod, total
from planform.dsl import syntax

REFERENCES = Path(__file__).with_name("references.toml")
GOAL = 1 / 3

_INTRODUCTION = """
# Atlas

<!-- Written by docs/generate.py from the plans and docs/references.toml; edit those instead. -->

The networks of `examples/`: what each says about itself, how it was verified, and how long it is beside a
reference in Python. `tests/test_examples.py` derives every claim again, so all claims counted here hold; a
plan's number of parameters is claimed in its file or derived for this page.

- [Verification](#verification) says what its words mean.
- [Lengths](#lengths) compares all files.
- [Rows of the atlas](#rows-of-the-atlas) leads from the `atlas` of a file's `about` to the file.
"""

_VERIFICATION = """
## Verification

*Weights* are loaded into the plan under their own names, or with the renaming that the test shows, and none
is left over. *Outputs* are compared in float64 with relative tolerance 1e-9, in eval and in train mode,
after all parameters and buffers were drawn anew; *gradients* are those of all parameters after one step,
and *buffers* the running statistics behind it. *Recorded* are projections of all these, computed once by
code that cannot be installed as a package. *Equations* means a module that the test puts together from
torch's own layers, in the order of the paper. Quick tests compare small networks of a family; slow ones the
variants themselves.
"""

_LENGTHS = """
## Lengths

Lines of code: neither blank, nor only comment or docstring. Plans are in canonical layout, of at most 120
columns.

- *File* is the whole plan; *network* is the same without `about` and claims. Both name all variants.
- *std* are the declarations of the library that the file uses and fewer than {shared} files do.
- *Reference* are the classes and functions listed with each file, as released. A class counts whole, with
  the services that it has beside the network, such as feature extraction and changing the head; options
  that no variant of the plan takes count too. What several models of the reference share (builders, norms,
  attention of a general kind) counts only where it is listed, and functions that only name a variant do not
  count.
- What a plan imports from another plan counts on neither side.
- *Ratio* is (network + std) / reference, the goal being a third or less; *with claims* is (file + std) /
  reference.
"""


@dataclass(frozen=True)
class Reference:
    """What docs/references.toml says of a plan file; `lines` is None where there is nothing to count."""

    verified: str
    tests: tuple[str, ...] = ()
    source: str | None = None
    lines: int | None = None
    note: str = ""
    classes: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Book:
    """docs/references.toml: where references come from, and what is known of each plan file."""

    sources: dict[str, dict[str, str]]
    plans: dict[str, Reference]

    @classmethod
    def read(cls, text: str) -> Book:
        """The book of a text; raises TOMLDecodeError, and TypeError for a field that is not known."""
        data = tomllib.loads(text)
        plans = {name: Reference(**entry) for name, entry in data["plans"].items()}
        return cls(data["sources"], plans)

    def place(self, source: str) -> str:
        """A source in words: package and version, or repository and commit."""
        known = self.sources[source]
        if "version" in known:
            return f"{source} {known['version']}"
        return f"[{known['repository']}](https://github.com/{known['repository']}) at {known['at']}"


@dataclass(frozen=True)
class Entry:
    """A plan file with its lengths."""

    path: Path
    reference: Reference | None
    std: dict[str, int]

    @property
    def name(self) -> str:
        """`convnets/dla.plan`."""
        return self.path.relative_to(EXAMPLES).as_posix()

    @cached_property
    def file(self) -> PlanFile:
        """The file, read."""
        return PlanFile(self.path)

    @cached_property
    def lengths(self) -> tuple[int, int, int]:
        """Lines of the whole file, of the network alone, and of what it uses of the library."""
        lines = plan_lines(self.path)
        return lines.all, lines.network, sum(self.std.values())

    def ratio(self, claims: bool = False) -> float | None:
        """Lines of the plan to those of the reference; None without one."""
        if self.reference is None or self.reference.lines is None:
            return None
        everything, network, std = self.lengths
        return ((everything if claims else network) + std) / self.reference.lines

    def params(self) -> dict[str, tuple[int, int | None]]:
        """Parameters of each plan: of eval mode, and of train mode where the file claims them."""
        claimed = {(plan, mode): count for plan, mode, count in self._claimed()}
        return {
            plan: (
                claimed.get((plan, "eval")) or self._derived(plan),
                claimed.get((plan, "train")),
            )
            for plan in self.file.plans
        }

    def _claimed(self) -> list[tuple[str, str, int]]:
        """The exact numbers of parameters that the file claims; tests derive each again."""
        found: list[tuple[str, str, int]] = []
        for claim in self.claims:
            said = re.fullmatch(r"params(?:\(mode=(\w+)\))?", claim.metric.span.text)
            exact = claim.op == "==" and claim.tolerance is None and not claim.bindings
            if (
                said
                and exact
                and isinstance(claim.value, syntax.Number)
                and isinstance(claim.value.value, int)
            ):
                found.append((claim.subject.name, said[1] or "eval", claim.value.value))
        return found

    def _derived(self, plan: str) -> int:
        graph = self.file.program(plan, modes=("eval",)).graphs["eval"]
        return int(total([prod(w.type.shape) for w in graph.weights.values() if w.kind == "param"]))

    @property
    def claims(self) -> list[syntax.Claim]:
        """Claims and budgets of the file."""
        return [item for item in self.file.syntax.items if isinstance(item, syntax.Claim)]


def page() -> str:
    """The text of docs/atlas.md."""
    book = Book.read(REFERENCES.read_text(encoding="utf-8"))
    std = own_library(examples())
    entries = [
        Entry(path, book.plans.get(path.relative_to(EXAMPLES).as_posix()), std[path]) for path in examples()
    ]
    parts = [cleandoc(_INTRODUCTION), cleandoc(_VERIFICATION), *_lengths(entries, book)]
    folder = ""
    for entry in entries:
        if entry.path.parent.name != folder:
            folder = entry.path.parent.name
            parts.append(f"## {folder}")
        parts += _section(entry, book)
    return "\n\n".join([*parts, *_rows(entries)]) + "\n"


def _lengths(entries: list[Entry], book: Book) -> list[str]:
    rows = [
        "| Plan | File | Network | std | Reference | Ratio | With claims |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for entry in entries:
        everything, network, std = entry.lengths
        ratio, whole = entry.ratio(), entry.ratio(claims=True)
        lines = entry.reference.lines if entry.reference is not None else None
        cells = [str(lines or "none"), _hundredths(ratio), _hundredths(whole)]
        rows.append(f"| {_link(entry)} | {everything} | {network} | {std} | {' | '.join(cells)} |")
    ratios = [ratio for entry in entries if (ratio := entry.ratio()) is not None]
    wholes = [ratio for entry in entries if (ratio := entry.ratio(claims=True)) is not None]
    within = sum(ratio <= GOAL for ratio in ratios), sum(ratio <= GOAL for ratio in wholes)
    summary = (
        f"Of {len(entries)} files {len(ratios)} have a reference to count. The network is a third of it or "
        f"less in {within[0]}, the file with its claims in {within[1]}; the medians are "
        f"{median(ratios):.2f} and {median(wholes):.2f}."
    )
    sources = [f"- {name}: {book.place(name)}" for name, known in book.sources.items() if "at" in known]
    installed = ", ".join(book.place(name) for name, known in book.sources.items() if "version" in known)
    counted = (
        f"Counted from installed packages: {installed}. Counted by hand, with docs/lengths.py on a checkout, "
        "because the development extra does not have them:"
    )
    return [
        cleandoc(_LENGTHS).format(shared={3: "three"}.get(SHARED_BY, SHARED_BY)),
        "\n".join(rows),
        summary,
        counted,
        "\n".join(sources),
    ]


def _section(entry: Entry, book: Book) -> list[str]:
    about = entry.file.scope.about
    facts = []
    if "paper" in about:
        facts.append(f"- Paper: {_papers(about['paper'])}")
    if "code" in about:
        facts.append(f"- Follows: {about['code']}")
    facts.append(f"- Claims: {len(entry.claims)}")
    reference = entry.reference
    if reference is not None:
        tests = ", ".join(f"[{Path(test).name}](../{test})" for test in reference.tests)
        facts.append(f"- Verified: {reference.verified}{f' ({tests})' if tests else ''}")
    facts.append(f"- Length: {_length(entry, book)}")
    if reference is not None and reference.note:
        facts.append(f"- Note: {reference.note}")
    return [f"### {_link(entry)}: {about['title']}", "\n".join(facts), _plans(entry)]


def _length(entry: Entry, book: Book) -> str:
    everything, network, _ = entry.lengths
    text = f"{network} lines, {everything} with `about` and claims"
    if entry.std:
        text += "; of std " + ", ".join(f"{name} {lines}" for name, lines in entry.std.items())
    reference = entry.reference
    if reference is None or reference.lines is None or reference.source is None:
        return text
    listed = "; ".join(f"{file}: {', '.join(names)}" for file, names in reference.classes.items())
    return f"{text}; against {reference.lines} of {book.place(reference.source)} ({listed})"


def _plans(entry: Entry) -> str:
    counts = entry.params()
    training = any(train is not None for _, train in counts.values())
    head = ["| Plan | Parameters |", "|---|--:|"]
    if training:
        head = ["| Plan | Parameters | In training |", "|---|--:|--:|"]
    rows = [
        f"| {plan} | {count:,} |" + (f" {f'{train:,}' if train is not None else ''} |" if training else "")
        for plan, (count, train) in counts.items()
    ]
    return "\n".join([*head, *rows])


def _rows(entries: list[Entry]) -> list[str]:
    found = sorted((entry.file.scope.about["atlas"], _link(entry)) for entry in entries if _has_row(entry))
    rows = [f"| {row} | {link} |" for row, link in found]
    return ["## Rows of the atlas", "\n".join(["| Row | Plan |", "|---|---|", *rows])]


def _has_row(entry: Entry) -> bool:
    return "atlas" in entry.file.scope.about


def _link(entry: Entry) -> str:
    return f"[{entry.path.name}](../examples/{entry.name})"


def _papers(text: str) -> str:
    return re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _hundredths(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def count(source: str, classes: dict[str, list[str]]) -> int | None:
    """Lines of code in an installed package, read and not imported; None where it is not installed."""
    package = find_spec(source)
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent
    return sum(
        python_lines((folder / file).read_text(encoding="utf-8"), names) for file, names in classes.items()
    )


def recounted(text: str) -> str:
    """The text of docs/references.toml with the lines of references that are installed packages."""
    book = Book.read(text)
    for name, reference in book.plans.items():
        if reference.source is None or "version" not in book.sources[reference.source]:
            continue
        lines = count(reference.source, reference.classes)
        if lines is not None:
            head = re.escape(f'[plans."{name}"]')
            text = re.sub(rf"({head}\n(?:(?!\[).*\n)*?lines = )\d+", rf"\g<1>{lines}", text)
    return text
