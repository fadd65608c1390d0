"""A contest as Markdown, and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any

from planform.compiler.drawing.svg import SANS

from .figures import GOAL_WORST, OURS, PEERS, Case, Entrant, compile_ratios, mean

COLOURS = ("#4f46e5", "#0d9488", "#d97706", "#be185d")
INK, PALE = "#334155", "#cbd5e1"
# Widths and heights of the picture, in pixels.
NAMES, CHART, BAR, GAP, HEAD = 230, 560, 12, 10, 64
# Where the axis ends, as a ratio; longer bars are cut there.
LONGEST = 2.0


def markdown(about: Mapping[str, Any], cases: Sequence[Case], goals: Sequence[Mapping[str, Any]]) -> str:
    """The whole report; `about` tells of the machine and the run."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    peak = about["peak_gmacs"]
    counts = f"{about['processes']} processes of each contestant, {about['rounds']} turns of each"
    days = sorted({case.date for case in cases})
    dates = " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))
    commits = Counter(case.commit or "not recorded" for case in cases)
    found = ", ".join(f"{commit} ({count})" for commit, count in commits.most_common())
    lines = [
        "# Kernels of ours beside other runtimes, on a processor",
        "",
        f"    {about['command']}",
        "",
        f"{dates}. {about['cpu']}, {about['threads']} threads on {about['cores']} cores. {versions}.",
        "" if peak is None else f"Peak: {peak:.1f} G multiply-adds a second, measured on all threads.",
        "",
        f"Commits of the project, and how many rows are of each: {found}."
        + (f" {about['kept']} rows are of runs before this one." if about["kept"] else ""),
        "",
        "![The ratios, with their spread](tvm_cpu.svg)",
        "",
        f"{counts}, {about['seconds']} s a turn. A peer that two processes show to be more than"
        f" {about['drop']} times slower than the best, or one process more than"
        f" {about['drop'] ** 2:.4g} times, has no more.",
        "",
        "Latencies are in ms, float32, medians over processes of medians over calls; a peer's is that of its"
        " better setting of malloc (`+`: raised thresholds), ours that of the default. *Ratio* is ours to the"
        " best peer's; below 1 ours is faster. *Spread* is the least and the greatest ratio of processes that"
        " ran side by side. *Floor* is what the multiply-adds of the deployed network take at the peak, and"
        " *closed* how much of the gap between it and the best peer is closed: more than all where fewer"
        " multiplications do, as by Winograd. *Error* is beside float64, as a part of the largest result; *of"
        " peers* is the greatest of theirs. A dash stands for what is not there.",
        "",
    ]
    for batch in dict.fromkeys(case.batch for case in cases):
        some = [case for case in cases if case.batch == batch]
        sides = [side for side in PEERS if any(case.best(side) for case in some)]
        lines += [f"## Batch {batch}", "", *_latencies(some, sides), ""]
        average = mean(some)
        if average is not None and isfinite(average):
            lines += [f"Geometric mean of the ratios: {average:.3f}.", ""]
    lines += _compiling(cases)
    failed = [(case, side, why) for case in cases for side, why in case.failed.items()]
    if failed or about["missing"]:
        lines += ["## Not measured", ""]
        lines += [f"- {side}: {', '.join(names)} not installed" for side, names in about["missing"].items()]
        lines += [f"- {case.network}, batch {case.batch}, {side}: {why}" for case, side, why in failed]
        lines += [""]
    lines += ["## Goals", "", "At batch 1:", ""]
    lines += [f"- {'met' if goal['met'] else '**missed**'}: {told(goal)}" for goal in goals]
    return "\n".join(lines) + "\n"


def told(goal: Mapping[str, Any]) -> str:
    """A goal and what was reached, in words."""
    return f"{goal['text']}: {goal['value']:.3f}, at most {goal['most']:.2f}"


def _latencies(cases: Sequence[Case], sides: Sequence[str]) -> list[str]:
    heads = ["network", "floor", *sides, "ours", "ratio", "spread", "closed", "error", "of peers"]
    rows: list[list[str]] = []
    for case in cases:
        cells = [_ms(case, case.best(side), case.peer) for side in sides]
        spread = "–" if case.spread is None else "{:.2f} to {:.2f}".format(*case.spread)
        peers = [error for side, error in case.errors.items() if side != OURS]
        row = [case.network, _number(case.floor, ".1f"), *cells, _ms(case, case.ours), _ratio(case.ratio)]
        row += [spread, _number(case.closed, ".0%"), _number(case.errors.get(OURS), ".0e")]
        rows.append([*row, _number(max(peers, default=None), ".0e")])
    return _table(heads, rows)


def _compiling(cases: Sequence[Case]) -> list[str]:
    compiled = [case for case in cases if case.batch == 1 and case.compile]
    if not compiled:
        return []
    sides = (*PEERS[1:], OURS)
    ratios = compile_ratios(compiled)
    rows = [
        [
            case.network,
            *[_number(case.compile.get(side), ".2f") for side in sides],
            _ratio(ratios.get(case.network)),
        ]
        for case in compiled
    ]
    return [
        "## Compiling",
        "",
        "Seconds from a network in memory to the first result at batch 1, with nothing cached; those of ONNX"
        " Runtime and OpenVINO begin with the converted file. *Ratio* is ours to `torch.compile`.",
        "",
        *_table(["network", "inductor", "onnxruntime", "openvino", "ours", "ratio"], rows),
        "",
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]


def _ms(case: Case, entrant: Entrant | None, best: Entrant | None = None) -> str:
    if entrant is None:
        return "–"
    text = f"{case.latency(entrant):.2f}" + ("+" if entrant[1] == "raised" else "")
    return f"**{text}**" if entrant == best else text


def _ratio(value: float | None) -> str:
    return _number(value, ".3f")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def picture(cases: Sequence[Case]) -> str:
    """The ratios to the best peer as bars, with their spread, and the floor as a tick; SVG."""
    networks = list(dict.fromkeys(case.network for case in cases))
    batches = list(dict.fromkeys(case.batch for case in cases))
    step = BAR * len(batches) + GAP
    bottom = HEAD + step * len(networks)
    width, height = NAMES + CHART + 60, bottom + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" role="img" font-family="{SANS}" font-size="12" fill="{INK}">',
        "<title>Latency beside the best other runtime</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{NAMES}" y="20" font-size="14">Latency as a part of the best other runtime’s</text>',
    ]
    at = float(NAMES)
    for batch, colour in zip(batches, COLOURS, strict=False):
        parts.append(f'<rect x="{at:.0f}" y="31" width="{BAR}" height="{BAR - 2}" fill="{colour}"/>')
        parts.append(f'<text x="{at + BAR + 5:.0f}" y="40">batch {batch}</text>')
        at += 90
    parts.append(f'<path d="M{at:.0f} 30v12" stroke="{INK}" stroke-width="2"/>')
    parts.append(f'<text x="{at + 8:.0f}" y="40">floor of the multiply-adds</text>')
    for tenth in range(0, int(LONGEST * 10) + 1, 2):
        x, colour = _x(tenth / 10), INK if tenth == 10 else PALE
        parts.append(f'<path d="M{x:.1f} {HEAD - 6}V{bottom}" stroke="{colour}" stroke-width="1"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tenth / 10:.1f}</text>')
    x = _x(GOAL_WORST)
    parts.append(f'<path d="M{x:.1f} {HEAD - 6}V{bottom}" stroke="#dc2626" stroke-dasharray="4 3"/>')
    found = {(case.network, case.batch): case for case in cases}
    for row, network in enumerate(networks):
        top = HEAD + row * step
        middle = top + BAR * len(batches) / 2 + 4
        name = escape(network)
        parts.append(f'<text x="{NAMES - 8}" y="{middle:.1f}" text-anchor="end">{name}</text>')
        for place, batch in enumerate(batches):
            case = found.get((network, batch))
            if case is not None:
                parts += _bar(case, top + place * BAR, COLOURS[place % len(COLOURS)])
    return "\n".join([*parts, "</svg>", ""])


def _bar(case: Case, top: float, colour: str) -> list[str]:
    if case.ratio is None or case.spread is None or case.peer is None:
        return [f'<text x="{NAMES + 4}" y="{top + BAR - 2}" font-size="10">not measured</text>']
    end, middle = _x(case.ratio), top + (BAR - 2) / 2
    low, high = map(_x, case.spread)
    parts = [
        f'<rect x="{NAMES}" y="{top}" width="{end - NAMES:.1f}" height="{BAR - 2}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#0f172a" stroke-width="1.5"/>',
        f'<text x="{max(end, high) + 4:.1f}" y="{top + BAR - 3}" font-size="10">{case.ratio:.2f}</text>',
    ]
    if case.floor is not None:
        x = _x(case.floor / case.latency(case.peer))
        parts.append(f'<path d="M{x:.1f} {top - 1}v{BAR}" stroke="{INK}" stroke-width="2"/>')
    return parts


def _x(ratio: float) -> float:
    return NAMES + CHART * min(ratio, LONGEST) / LONGEST
