"""Plan texts that ask for too much, and what must come of each: the code of its diagnostic, or None where it is fine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

HEAD = "planform 1\n"
END = "model net(x: [B, 3, 32, 32]) {\n    return x\n}\nplan p = net()\n"


def static(*lines: str) -> str:
    """A file whose values are computed when it is read."""
    return HEAD + "\n".join(lines) + "\n" + END


def body(*lines: str, result: str = "x") -> str:
    """A file with these lines in a model."""
    inside = "".join(f"    {line}\n" for line in (*lines, f"return {result}"))
    return f"{HEAD}model net(x: [B, 3, 32, 32]) {{\n{inside}}}\nplan p = net()\n"


def doubled(first: str, again: str, times: int = 64) -> str:
    return body(f"a = {first}", f"for i in range({times}) {{ a = {again} }}")


def chained(blocks: int, calls: str) -> str:
    """Blocks each of which calls the one before it, several times."""
    text = HEAD + "block f0(x: tensor) {\n    return x\n}\n"
    for number in range(1, blocks):
        text += f"block f{number}(x: tensor) {{\n    return x {calls.format(number - 1)}\n}}\n"
    return text + f"model net(x: [B, 3, 32, 32]) {{\n    return f{blocks - 1}(x)\n}}\nplan p = net()\n"


@dataclass(frozen=True)
class Hostile:
    code: str | None
    text: Callable[[], str]


def _case(code: str | None, text: Callable[[], str]) -> Hostile:
    return Hostile(code, text)


DEEP = 900
CASES: dict[str, Hostile] = {
    # ------------------------------------------------------------ static values
    "long texts in a list": _case("E205", lambda: static('K = ["a" * 100000 for i in range(100000)]')),
    "long texts joined": _case("E205", lambda: static('K = ["{i}" + "a" * 99000 for i in range(100000)]')),
    "sums of ranges": _case("E205", lambda: static("K = sum([sum(range(100000)) for i in range(100000)])")),
    "sums of one range": _case(
        "E205", lambda: static("r = range(100000)", "K = sum([sum(r) for i in range(100000)])")
    ),
    "loops in loops": _case(
        "E205",
        lambda: body(
            "n = 0", *[f"for i{k} in range(100000) {{" for k in range(9)], "n = n + 1", "}" * 9 + " # end"
        ).replace("}}}}}}}}}", "\n".join("}" * 9)),
    ),
    "comprehensions in comprehensions": _case(
        "E205", lambda: static("K = [1 for i in range(9999) for j in range(9999)]")
    ),
    "members of a list": _case(
        "E205", lambda: static("r = range(100000)", "K = [-1 in r for i in range(100000)]")
    ),
    "equal lists": _case("E205", lambda: static("r = range(100000)", "K = [r == r for i in range(100000)]")),
    "copies of a list": _case(
        "E205", lambda: static("r = range(100000)", "K = [r[1:] for i in range(100000)]")
    ),
    "lists by repetition": _case("E205", lambda: static("K = [[1] * 100000 for i in range(100000)]")),
    "sorted lists": _case(
        "E205", lambda: static("r = range(100000)", "K = [sorted(r) for i in range(1000)]")
    ),
    "zips": _case(
        "E205", lambda: static("r = range(100000)", "K = [zip(r, r, r, r, r, r) for i in range(100000)]")
    ),
    "spread arguments": _case(
        "E205", lambda: static("r = range(100000)", "K = [max(*r) for i in range(100000)]")
    ),
    "records": _case(
        "E205", lambda: static("K = [{a = i, b = {c = i, d = range(1000)}} for i in range(100000)]")
    ),
    "lists doubled": _case("E205", lambda: doubled("[1]", "a + a")),
    "texts doubled": _case("E205", lambda: doubled('"a"', "a + a")),
    "texts within texts": _case("E205", lambda: doubled('"a"', '"{a}{a}{a}{a}{a}{a}{a}{a}"')),
    "lists of the same twice": _case("E205", lambda: doubled("[1]", "[a, a]", 60)),
    "records of the same twice": _case("E205", lambda: doubled("{k = 1}", "{k = a, l = a}", 60)),
    "tuples of the same twice": _case("E205", lambda: doubled("(1, 2)", "(a, a)", 60)),
    "lists within lists": _case("E205", lambda: doubled("[1]", "[a]", DEEP)),
    "equal lists within lists": _case(
        "E205", lambda: body("a = [1]", f"for i in range({DEEP}) {{ a = [a] }}", "c = a == a")
    ),
    "a tensor of lists within lists": _case(
        "E205", lambda: body("a = [1]", f"for i in range({DEEP}) {{ a = [a] }}", "const c = a")
    ),
    "many tensors of lists": _case(
        "E205", lambda: body("for i in range(100000) { const c: [100000] = range(100000) }")
    ),
    "an integer without end": _case("E204", lambda: static("K = 10**10**9")),
    "powers of powers": _case("E204", lambda: static("K = " + "**".join("2" * 30))),
    "products without end": _case("E204", lambda: doubled("2", "a * a")),
    "a range of a huge number": _case("E204", lambda: static("K = range(round_to(1e308, 8))")),
    "a range of 2**62": _case("E205", lambda: static("K = range(2**62)")),
    "numbers beyond 2**63": _case("E204", lambda: static("K = enumerate([1, 2], 9223372036854775807)")),
    "floats without end": _case("E204", lambda: static("K = exp(1e308)")),
    "a linspace": _case("E205", lambda: static("K = linspace(0, 1, 10**12)")),
    "repetition by a huge number": _case("E205", lambda: static("K = [1] * 2**62")),
    "errors in a loop": _case("E202", lambda: body("for i in range(1000) { y = [1][2] }")),
    "lists joined": _case("E205", lambda: body("a = []", "for i in range(99999) { a = a + [i] }")),
    # ------------------------------------------------------------ nesting
    **{
        f"deep {name}": _case(
            "E005", lambda opening=opening, closing=closing: static(f"K = {opening * DEEP}1{closing * DEEP}")
        )
        for name, opening, closing in [
            ("parentheses", "(", ")"),
            ("lists", "[", "]"),
            ("records", "{a = ", "}"),
            ("calls", "abs(", ")"),
            ("signs", "-", ""),
            ("negations", "not ", ""),
            ("powers", "2**", ""),
            ("texts", '"{', '}"'),
            ("equalities", "(1 == ", ")"),
            ("comprehensions", "[", " for i in range(2)]"),
            ("conditionals", "(1 if true else ", ")"),
            ("indices", "x[", "]"),
        ]
    },
    "a chain of sums": _case("E005", lambda: static("K = 1" + " + 1" * DEEP)),
    "a chain of equalities": _case(None, lambda: static("K = 1" + " == 1" * DEEP)),
    "nested equalities in a loop": _case(
        None, lambda: body("a = true", f"for i in range({DEEP}) {{ a = a == true }}")
    ),
    "deep ifs": _case("E005", lambda: body("if true {" * DEEP, "y = x", "}" * DEEP)),
    "deep loops": _case("E005", lambda: body("for i in range(2) {" * DEEP, "y = x", "}" * DEEP)),
    "else ifs": _case("E005", lambda: body("if false { y = x }" + " else if false { y = x }" * DEEP)),
    "a long pipe": _case(None, lambda: body("y = x" + " -> relu()" * DEEP, result="y")),
    "deep types": _case(
        "E005", lambda: HEAD + f"block f(x: {'(' * DEEP}[B]{')' * DEEP}) {{\n    return x\n}}\n"
    ),
    "deep list types": _case(
        "E005", lambda: HEAD + f"block f(x: {'list[' * DEEP}[B]{']' * DEEP}) {{\n    return x\n}}\n"
    ),
    # ------------------------------------------------------------ long files
    "a million cells": _case("E004", lambda: HEAD + "table t {\n" + "a|b\n" + "1|2\n" * 250_000 + "}\n"),
    "a long list": _case("E004", lambda: static("K = [" + "1," * 500_000 + "]")),
    "many records": _case("E004", lambda: static("K = [" + "{a=1}," * 170_000 + "]")),
    "many declarations": _case("E004", lambda: HEAD + "".join(f"a{i}=1\n" for i in range(100_000))),
    "many interpolations": _case("E004", lambda: static('K = "' + "{1}" * 300_000 + '"')),
    "a long line": _case("E004", lambda: static("K = " + "x" * (1 << 21))),
    "blank lines": _case(None, lambda: HEAD + "\n" * 1_000_000),
    "comments": _case("E004", lambda: HEAD + "#\n" * 500_000),
    "blanks before nothing": _case(None, lambda: HEAD + " \t" * 500_000 + "\n"),
    "escapes": _case(None, lambda: static('K = "' + "\\n" * 45_000 + '"')),
    "wrong escapes": _case("E026", lambda: static('K = "' + "\\d" * 500_000 + '"')),
    "an open text": _case("E007", lambda: HEAD + 'K = "' + "a" * 1_000_000),
    "open brackets": _case("E005", lambda: HEAD + "K = " + "[" * 1_000_000),
    "broken declarations": _case("E009", lambda: HEAD + "block f(\n" * 110_000),
    "foreign characters": _case("E008", lambda: HEAD + "K = " + "§" * 1_000_000),
    "one underscored number": _case("E006", lambda: static("K = 1" + "_1" * 400_000)),
    "a label of a hundred thousand characters": _case(
        "E403", lambda: body('s = "a b" * 33000', 'y = "{s}": conv(x, 3, 3)', result="y")
    ),
    "an unknown name of half a million characters": _case("E101", lambda: static("K = " + "x" * 500_000)),
    # ------------------------------------------------------------ blocks and graphs
    "a block that calls itself": _case(
        "E205",
        lambda: HEAD + "block f(x: tensor) {\n    return f(x)\n}\n" + END.replace("return x", "return f(x)"),
    ),
    "a block that calls itself twice": _case(
        "E205",
        lambda: (
            HEAD + "block f(x: tensor) {\n    return f(f(x))\n}\n" + END.replace("return x", "return f(x)")
        ),
    ),
    "blocks that double": _case("E205", lambda: chained(60, "-> f{0}() -> f{0}()")),
    "operators that double": _case("E205", lambda: chained(60, "-> relu() -> f{0}() -> f{0}()")),
    "arguments that double": _case(
        "E205",
        lambda: (
            HEAD
            + "block f(x: tensor, n: int) {\n    return x if n == 0 else f(x, n - 1) + f(x, n - 1)\n}\n"
            + END.replace("return x", "return f(x, 60)")
        ),
    ),
    "deep blocks with deep bodies": _case(
        "E205",
        lambda: (
            HEAD
            + "block f(x: tensor, n: int) {\n"
            + "if true {\n" * 25
            + "y = "
            + "(" * 25
            + "f(x, n - 1)"
            + ")" * 25
            + "\n"
            + "}\n" * 25
            + "    return y\n}\n"
            + END.replace("return x", "return f(x, 60)")
        ),
    ),
    "many operators": _case("E205", lambda: body("for i in range(100000) { x = relu(x) }")),
    "many weights": _case(
        "E205",
        lambda: body(
            'for i in range(100000) { x = "c{i}": conv(x, 3, 1) }'.replace("x = ", "x = x -> ").replace(
                "conv(x, ", "conv("
            )
        ),
    ),
    "a sum of a value with itself": _case(None, lambda: body(f"for i in range({DEEP}) {{ x = x + x }}")),
    "constants on constants": _case(
        None, lambda: body("c = ones([1])", f"for i in range({DEEP}) {{ c = c + 1.0 }}", result="x + c")
    ),
    "a declared constant on constants": _case(
        None,
        lambda: body(
            "c = ones([1])", f"for i in range({DEEP}) {{ c = c + 1.0 }}", "buffer b: [1] = c", result="x + b"
        ),
    ),
    "a weight of 10**18 elements": _case(
        "E205", lambda: body("param w: [1000000000, 1000000000] = zeros()", result="x")
    ),
    "a constant of 10**18 elements": _case("E205", lambda: body("w = zeros([1000000000, 1000000000])")),
    "a weight of 2**63 channels": _case(
        "E205", lambda: body("y = x -> conv(9223372036854775807, 3)", result="y")
    ),
    "a concatenation that doubles": _case(
        "E205", lambda: body("for i in range(64) { x = concat([x, x], axis=1) }")
    ),
    "a concatenation of free sizes that doubles": _case(
        "E204", lambda: body("for i in range(70) { x = concat([x, x], axis=0) }")
    ),
    "an arange without end": _case("E304", lambda: body("y = arange(5, 1e308, 1e-5)")),
    "a name that is declared again and again": _case("E102", lambda: HEAD + "a = 1\n" * 24_000),
    "names that std does not have": _case(
        "E106", lambda: HEAD + "use std (" + ", ".join(f"a{i}" for i in range(30_000)) + ")\n" + END
    ),
    "many axes": _case(None, lambda: body("for i in range(200) { x = x[none, ...] }")),
    "plans without end": _case(
        "E205",
        lambda: (
            body("for i in range(3000) { x = relu(x) }")
            + "".join(f"plan p{i} = net()\n" for i in range(9000))
        ),
    ),
    "claims without end": _case(
        "E205",
        lambda: (
            body("for i in range(3000) { x = relu(x) }")
            + "".join(f"claim p: macs at (B={i}) == 0\n" for i in range(5000))
        ),
    ),
    "values without end": _case(
        "E205", lambda: HEAD + "".join(f"a{i} = sum(range(90000))\n" for i in range(9000)) + END
    ),
    "tables of values without end": _case(
        "E205", lambda: HEAD + "table t {\n a\n" + "range(90000)\n" * 9000 + "}\n" + END
    ),
    "an about without end": _case(
        "E205",
        lambda: HEAD + "about {\n" + "".join(f"k{i} = range(90000)\n" for i in range(9000)) + "}\n" + END,
    ),
}
