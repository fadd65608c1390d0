"""Reports for people: costs and structures on a terminal. rich is loaded when something is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..compiler.ops.core.counts import KINDS
from ..compiler.sizes.dims import Size, render

if TYPE_CHECKING:
    from ..compiler.cost import CostReport, Group
    from ..compiler.cost.groups import By
    from ..compiler.cost.sums import Sums

_UNITS = ("", "k", "M", "G", "T", "P", "E")
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 8


def human(size: Size, unit: str = "") -> str:
    """A number with a decimal prefix (25.56 M, 425.9 MB); a formula as it is."""
    if not isinstance(size, int):
        return render(size)
    value, prefix = float(size), 0
    # 999.95 would be printed as 1000.0.
    while abs(value) >= 999.95 and prefix < len(_UNITS) - 1:
        value, prefix = value / 1000, prefix + 1
    if not prefix:
        return f"{size} {unit}".rstrip()
    return f"{value:.{2 if abs(value) < 99.995 else 1}f} {_UNITS[prefix]}{unit}"


def cost_view(report: CostReport, by: By = "scope", depth: int | None = 2, width: int = 100) -> Any:
    """A cost report as a rich renderable of at most `width` columns: totals, and a table of groups.

    `by` and `depth` are those of `CostReport.groups`. Shares are of the MACs; equal neighbours are one row,
    whose numbers are those of all of them.
    """
    from rich.console import Group as Stack

    return Stack(_title(report), "", _totals(report), _table(report, by, depth, min(width, 100)))


def print_cost(report: CostReport, by: By = "scope", depth: int | None = 2, console: Any = None) -> None:
    """Print a cost report."""
    from rich.console import Console

    console = console or Console()
    console.print(cost_view(report, by, depth, console.width), width=min(console.width, 100))


def cost_html(report: CostReport, depth: int | None = 2) -> str:
    """A cost report as an HTML table, for notebooks."""
    from ..compiler.names import markup as escape

    sums = report.sums
    about = [report.mode, *(f"{name}={value}" for name, value in report.bindings.items()), report.float_as]
    heads = ("scope", "call", "params", "MACs", "activations", "bytes")
    rows: list[tuple[int, tuple[str, ...]]] = []
    for level, label, group in _lines(report.groups("scope", depth)):
        call = group.block or (group.op if group.op != label else "") or ""
        rows.append((level, (label, call, *_figures(group.sums))))
    rows.append((0, ("all", "", *_figures(sums))))

    def cells(level: int, texts: tuple[str, ...]) -> str:
        first = f'<td style="text-align:left;padding-left:{0.5 + 1.5 * level}em">{escape(texts[0])}</td>'
        second = f'<td style="text-align:left">{escape(texts[1])}</td>'
        rest = "".join(f'<td style="text-align:right">{escape(text)}</td>' for text in texts[2:])
        return f"<tr>{first}{second}{rest}</tr>"

    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "\n".join(cells(level, texts) for level, texts in rows)
    title = f"<b>{escape(report.plan)}</b> {escape(' · '.join(about))}"
    return f"<p>{title}</p>\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _figures(sums: Sums) -> tuple[str, ...]:
    """Parameters, MACs, activations and bytes for people; nothing where there are none."""
    counts = (human(sums.params), human(sums.macs), human(sums.activations), human(sums.bytes, "B"))
    return tuple("" if text in ("0", "0 B") else text for text in counts)


def print_structure(text: str, console: Any = None) -> None:
    """Print the structure that `compiler.draw.draw` gives as text, in colours."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console()
    for number, line in enumerate(text.rstrip("\n").split("\n")):
        shown = Text(line, no_wrap=True, overflow="ellipsis")
        if number:
            shown.highlight_regex(r"^[│├└─ ]+", "dim")
            shown.highlight_regex(r"  +(?=\S).*$", "cyan")
            shown.highlight_regex(r" x\d+\b", "bold magenta")
        else:
            shown.highlight_regex(r"^[^(]+", "bold")
        console.print(shown, soft_wrap=False)


def _title(report: CostReport) -> Any:
    from rich.text import Text

    about = [report.mode, *(f"{name}={value}" for name, value in report.bindings.items()), report.float_as]
    return Text.assemble((report.plan, "bold"), "  ", (" · ".join(about), "dim"))


def _totals(report: CostReport) -> Any:
    from rich.table import Table
    from rich.text import Text

    sums = report.sums
    params = human(sums.params)
    if sums.frozen:
        params += f" ({human(sums.trainable)} trainable, {human(sums.frozen)} frozen)"
    if sums.buffers:
        params += f", and {human(sums.buffers)} elements of buffers"
    # Numbers share a line; formulas have one each.
    between = ", " if _known(sums) else "\n"
    counts = [(kind, getattr(sums.cost, kind)) for kind in KINDS]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("params", params)
    grid.add_row("MACs", human(sums.macs))
    grid.add_row("FLOPs", human(sums.flops))
    others = between.join(f"{human(count)} {kind}" for kind, count in counts if count != 0)
    if others:
        grid.add_row("operations", Text(others))
    grid.add_row("activations", Text(human(sums.activations)))
    traffic = (f"{human(sums.bytes_read, 'B')} read", f"{human(sums.bytes_written, 'B')} written")
    grid.add_row("bytes", Text(between.join(traffic)))
    return grid


def _known(sums: Sums) -> bool:
    return all(isinstance(size, int) for size in (sums.flops, sums.bytes, sums.activations))


def _table(report: CostReport, by: By, depth: int | None, width: int) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    known = _known(report.sums)
    heads = ["operator" if by == "op" else by]
    heads += ["call"] if by == "scope" else ["n"]
    heads += ["params", "MACs"]
    if known:
        heads += ["share", "", *(["activations"] if width >= 90 else []), "bytes"]
    whole = report.sums.macs
    rows: list[dict[str, str]] = []
    for level, label, group in _lines(report.groups(by, depth)):
        macs = group.sums.macs
        share = macs / whole if isinstance(macs, int) and isinstance(whole, int) and whole else 0.0
        rows.append(
            {
                heads[0]: "  " * level + label,
                "call": group.block or (group.op if group.op != label else "") or "",
                "n": str(group.sums.operators),
                "params": human(group.sums.params) if group.sums.params else "",
                "MACs": human(macs) if macs != 0 else "",
                "share": f"{share:.1%}" if share else "",
                "": _bar(share),
                "activations": human(group.sums.activations),
                "bytes": human(group.sums.bytes, "B"),
            }
        )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, width=None if known else width)
    for head in heads:
        # Only names and formulas give way where the terminal is narrow.
        formulas = head == "MACs" and not known
        text = head in (heads[0], "call", "") or formulas
        longest = _BAR if head == "" else max([len(head), *(len(row[head]) for row in rows)])
        table.add_column(
            head,
            justify="left" if text else "right",
            style={"call": "dim", "": "cyan"}.get(head, ""),
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if head and text else longest,
            ratio=3 if formulas else None,
        )
    for row in rows:
        cells: list[Any] = [row[head] for head in heads]
        table.add_row(Text(cells[0], style="" if cells[0].startswith(" ") else "bold"), *cells[1:])
    return table


def _lines(groups: Sequence[Group], level: int = 0, scope: str = "") -> Iterator[tuple[int, str, Group]]:
    """The groups of a tree in order: their depth, and their label within the group around them."""
    for group in groups:
        ends = [end.removeprefix(f"{scope}.").removeprefix("*.") for end in group.label.split(" .. ")]
        label = " .. ".join(ends)
        yield level, f"{label} x{group.repeat}" if group.repeat > 1 else label, group
        yield from _lines(group.children, level + 1, group.label)


def _bar(share: float) -> str:
    eighths = round(share * _BAR * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
