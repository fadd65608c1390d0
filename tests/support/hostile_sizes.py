"""Plan texts that ask for long formulas and many proofs about sizes, and what must come of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from support.hostile import HEAD, Hostile

SIZES = [f"S{number}" for number in range(500)]


def net(shape: str, lines: Iterable[str], result: str = "x", tail: str = "") -> str:
    """A file with these lines in a model of one input."""
    inside = "".join(f"    {line}\n" for line in (*lines, f"return {result}"))
    return f"{HEAD}model net(x: {shape}) {{\n{inside}}}\nplan p = net()\n{tail}"


def many(lines: Iterable[str], result: str = "x0") -> str:
    """A file with these lines in a model of five hundred inputs, each of its own size."""
    inputs = ", ".join(f"x{number}: [{size}, 3]" for number, size in enumerate(SIZES))
    inside = "".join(f"    {line}\n" for line in (*lines, f"return {result}"))
    return f"{HEAD}model net({inputs}) {{\n{inside}}}\nplan p = net()\n"


def _remainders(count: int, shift: int = 7) -> list[str]:
    return [f"require (B * {i} + {shift}) % ({i} + 5) >= 1" for i in range(count)]


def _model(number: int) -> str:
    """A model and its plan, with constraints of their own."""
    text = net("[B, 3]", _remainders(40, number + 1)).removeprefix(HEAD)
    return text.replace("net(", f"net{number}(").replace("plan p", f"plan p{number}")


def _axes(names: Iterable[str]) -> str:
    return " ".join(names)


def _convs(kind: str, count: int, rest: str) -> list[str]:
    return [f'y = y -> "{kind}{i}": {kind}(3, {rest})' for i in range(count)]


_LETTERS = [f"a{i}" for i in range(200)]
_HW, _BHW, _IMAGE = "[H, W, 3]", "[B, H, W]", "[B, 3, H, W]"

_TEXTS: dict[str, tuple[str | None, Callable[[], str]]] = {
    "remainders": (None, lambda: net("[B, 3]", _remainders(200))),
    "thousands of remainders": (None, lambda: net("[B, 3]", _remainders(2000))),
    "polynomials": (
        None,
        lambda: net(_BHW, [f"require (H + {i})**3 * W >= B**2 * {i + 1}" for i in range(200)]),
    ),
    "remainders of minima": (
        None,
        lambda: net(
            _BHW,
            [f"require min(H, W * {i}, B + {i}) % {i + 2} == max(H % {i + 2}, 0)" for i in range(200)],
        ),
    ),
    "a high power": (None, lambda: net(_HW, ["require (H + 1)**30 % (W**7) == 3"])),
    "high powers": (
        None,
        lambda: net(_HW, [f"require (H + W)**{i} % (W**{i // 2}) >= 1" for i in range(2, 43)]),
    ),
    "powers of sums": (
        "E204",
        lambda: net(_HW, [f"require ((H + {i})**20 + W) % ((W + 1)**10 + H) >= 1" for i in range(60)]),
    ),
    "nested minima": (
        "E204",
        lambda: net(_HW, ["n = H", *[f"n = min(n + {i}, max(W, n - {i}))" for i in range(40)]]),
    ),
    "a minimum of hundreds": (
        "E204",
        lambda: net(_HW, [f"n = min({', '.join(f'(H * {i} + W) // {i + 3}' for i in range(1, 300))})"]),
    ),
    "remainders of remainders": (
        "E204",
        lambda: net("[B, 3]", ["n = B", *[f"n = (n * ({i} + 3) + B) % ({i} + 7)" for i in range(20)]]),
    ),
    "equal sizes": (
        None,
        lambda: net(
            f"[{', '.join(SIZES[:60])}]",
            [f"require {a} == {b}" for a in SIZES[:60] for b in SIZES[:60] if a < b],
        ),
    ),
    "a chain of orders": (
        None,
        lambda: many(f"require {SIZES[i]} >= {SIZES[i + 1]} + {i % 3}" for i in range(499)),
    ),
    "multiples and products": (
        None,
        lambda: many(
            f"require {SIZES[i]} % {i + 2} == 0\n    require {SIZES[i]} * {SIZES[(i * 7 + 1) % 500]} >= {SIZES[i * 3 % 500]}"
            for i in range(500)
        ),
    ),
    "sums of unlike sizes": (
        None,
        lambda: many(["y = x0", *[f"y = y + x{i}" for i in range(1, 500)]], "y"),
    ),
    "a concatenation": (
        None,
        lambda: many([], f"concat([{', '.join(f'x{i}' for i in range(500))}], axis=0)"),
    ),
    "claims at many sizes": (
        "E601",
        lambda: net(
            _IMAGE,
            ["y = x -> c: conv(8, 3)"],
            "y",
            "".join(f"claim p: macs at (B={i}, H=32, W=32) == 0\n" for i in range(1, 4000)),
        ),
    ),
    "plans": (
        "E205",
        lambda: net("[B, 3]", [], tail="".join(f"plan p{i} = net()\n" for i in range(12_000))),
    ),
    "plans with proofs": (
        "E205",
        lambda: HEAD + "".join(_model(number) for number in range(100)),
    ),
    "two hundred axes turned around": (
        None,
        lambda: net(
            f"[{', '.join(SIZES[:200])}]",
            [f'y = x -> rearrange("{_axes(_LETTERS)} -> {_axes(reversed(_LETTERS))}")'],
            "y",
        ),
    ),
    "groups of axes": (
        None,
        lambda: net("[H, W]", ['x = x -> rearrange("(a b) (c d) -> (a c) (b d)", a=2, c=3)'] * 60),
    ),
    "sums over axes": (
        None,
        lambda: net("[A, B, C, D]", ['x = einsum(x, x, "a b c d, a b c d -> a b c d")'] * 300),
    ),
    "slices with steps": (
        "E204",
        lambda: net(_BHW, [f"x = x[:, {i % 3}::{i % 5 + 2}, :]" for i in range(40)]),
    ),
    "slices from both ends": (
        "E204",
        lambda: net(_BHW, [f"x = x[:, {i % 3}:-{i % 5 + 1}, :]" for i in range(400)]),
    ),
    "sums of slices": (
        "E204",
        lambda: net(_BHW, ["y = x", *[f"y = y[:, :H - {i}, :] + x[:, {i}:, :]" for i in range(1, 200)]], "y"),
    ),
    "strides": (
        None,
        lambda: net(
            _IMAGE,
            [f'x = x -> "c{i}": conv(3, {i % 7 + 1}, stride={i % 3 + 1}, pad={i % 2})' for i in range(60)],
        ),
    ),
    "down and up": (
        None,
        lambda: net(
            _IMAGE,
            [
                "y = x",
                *_convs("conv", 30, "3, stride=2, pad=1"),
                *_convs("conv_transpose", 30, "4, stride=2, pad=1"),
            ],
            "x + y",
        ),
    ),
    "paddings": (
        None,
        lambda: net(_IMAGE, [f"x = x -> pad([0, -W % {i + 2}, 0, -H % {i + 3}])" for i in range(60)]),
    ),
    "pools": (
        "E204",
        lambda: net(
            _IMAGE,
            [
                f"x = x -> pad([{i}, {i}, 1, {i}]) -> avg_pool({i % 5 + 2}, stride={i % 3 + 2})"
                for i in range(99)
            ],
        ),
    ),
    "inferred axes": (
        "E204",
        lambda: net(_BHW, ["y = x", *[f"y = y -> reshape([{i + 2}, -1])" for i in range(100)]], "y"),
    ),
    "blocks of free sizes": (
        None,
        lambda: (
            HEAD
            + "block f(x: [B, C, H, W]) {\n    y = x -> c: conv(C, 3, pad=1, stride=2) -> resize([H, W])\n    return x + y\n}\n"
            + net(_IMAGE, ['for i in range(2000) { x = x -> "b{i}": f() }']).removeprefix(HEAD)
        ),
    ),
}
SIZE_CASES = {name: Hostile(code, text) for name, (code, text) in _TEXTS.items()}
