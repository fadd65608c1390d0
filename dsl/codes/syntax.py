"""Codes E001 to E049: text, limits and syntax."""

from __future__ import annotations

from .table import define

_H = "planform 1\n"


def _in_body(*lines: str) -> str:
    """A file with these lines as the body of a block."""
    return _H + "block f(x: tensor) {\n" + "".join(f"    {line}\n" for line in lines) + "    return x\n}\n"


define(
    "E001",
    "{found} cannot stand here; expected {expected}",
    "The text does not follow the grammar at this place. The message lists what could have stood here.",
    _H + "plan 3 = f()\n",
    _in_body("y = x +* 2"),
    _in_body("y = f(a b)"),
)
define(
    "E002",
    "a file begins with `planform 1`",
    "The first line names the version of the language, so that a file keeps its meaning when the language "
    "grows. Only comments and blank lines may come before it.",
    "",
    "block f(x: tensor) { return x }\n",
    "# only a comment",
)
define(
    "E003",
    "version {version} of the language is not known; this program reads version {known}",
    "The file was written for another version of the language.",
    "planform 2\n",
    "planform 1.5\n",
)
define(
    "E004",
    "the file has more than {limit} {what}",
    "Files are limited in size, so that reading one is quick whoever wrote it. Split the file and import "
    "its parts with `use`.",
    _H + "#" + "x" * (1 << 20),
    _H + "K = [" + "1," * 60_000 + "]\n",
)
define(
    "E005",
    "nested more than {limit} levels deep",
    "Brackets, bodies and expressions may be nested up to a fixed depth. A long chain such as `a + b + c + "
    "...` nests as well, once for each operator: name intermediate values, or use `sum([...])`.",
    _H + "K = " + "(" * 65 + "1" + ")" * 65 + "\n",
    _H + "K = " + "-" * 65 + "1\n",
    _H + "K = " + "+".join("1" * 66) + "\n",
)
define(
    "E006",
    "the number is too large",
    "Integers are at most 9,223,372,036,854,775,807 (2**63 - 1), other numbers at most about 1.8e308, and "
    "either is written in at most 40 characters.",
    _H + "K = 9223372036854775808\n",
    _H + "K = 1e400\n",
    _H + "K = 0." + "1" * 50 + "\n",
)
define(
    "E007",
    "the text is not closed",
    'A text begins and ends with a double quote on one line. Write `\\"` for a quote, `\\n` for a line break '
    "and `\\{` for a brace within it; a bare `{` opens an expression.",
    _H + 'K = "abc\n',
    _H + 'K = "abc {1 + \n',
    _H + 'K = "abc\\\n',
)
define(
    "E008",
    "the character {found} is not part of the language",
    "Outside texts and comments only letters, digits, blanks and the language's own signs may stand.",
    _H + "K = 3 $ 4\n",
    _H + "K = 'abc'\n",
    _H + "K = 3;\n",
    _H + "K = 3 ¬ 4\n",
)
define(
    "E009",
    "`{opener}` is not closed",
    "A bracket was opened and the text went on to something that cannot stand inside it. The place where it"
    " was opened is shown too; the missing bracket belongs somewhere in between.",
    _H + "K = (1 + 2\n",
    _H + "block f(x: tensor) {\n    return x\n\nplan p = f()\n",
    _in_body("y = conv(x, 3"),
    _H + "block f(x: tensor {\n    return x\n}\n",
)
define(
    "E010",
    "`{found}` closes nothing",
    "There is no open bracket of this kind here.",
    _H + "K = 1)\n",
    _H + "K = [1)\n",
    _H + "}\n",
)
define(
    "E011",
    "`=` names a value or an argument; equality is tested with `==`",
    "As in Python, `=` binds and `==` compares.",
    _in_body("if x = 3 { y = x }"),
    _H + "claim a: params = 3\n",
)
define(
    "E012",
    "a body stands in braces: `{{` instead of `:`",
    "Bodies of blocks, conditions and loops are delimited by `{` and `}`; indentation has no meaning.",
    _H + "block f(x: tensor):\n    return x\n",
    _in_body("for i in range(3):", "    y = x"),
)
define(
    "E013",
    "`{word}` is Python, not Planform",
    "The language borrows Python's expressions, not its statements.",
    _H + "def f(x):\n    return x\n",
    _H + "import torch\n",
    _H + "class Net(Module):\n",
    _in_body("while x { y = x }"),
    _in_body("if x { y = x }", "elif x { y = x }"),
    _H + "K = lambda x: x\n",
)
define(
    "E014",
    "`{word}` begins no {kind}",
    "At the top of a file stand `about`, `use`, `table`, `block`, `inline block`, `model`, `plan`, `claim`,"
    " `budget` and `NAME = value`; in a body stand assignments, `return`, `if`, `for`, `require`, `param`, "
    "`buffer`, `const`, `shared`.",
    _H + "blok f(x: tensor) { return x }\n",
    _H + "modle f(x: tensor) { return x }\n",
    _in_body("retrun x"),
    _H + "planform 1\n",
)
define(
    "E015",
    "{after} takes a call, such as `relu()`",
    "A stage of a pipe is a call, and a label names the weights of one call.",
    _in_body("y = x -> relu"),
    _in_body("y = x -> fc: 3"),
    _in_body("y = fc: x + 1"),
)
define(
    "E016",
    "an argument without a name follows one with a name",
    "Arguments are given by place first, then by name.",
    _in_body("y = conv(x, k=3, 64)"),
)
define(
    "E017",
    "the argument `{name}` is given twice",
    "Each argument of a call is given once.",
    _in_body("y = conv(x, k=3, k=5)"),
)
define(
    "E018",
    "the parameter `{name}` is declared twice",
    "The parameters of a block have different names.",
    _H + "block f(x: tensor, x: int) { return x }\n",
)
define(
    "E019",
    "the parameter `{name}` has no default but follows one that has",
    "Among static parameters, those without default come first, so that calls can give them by place.",
    _H + "block f(x: tensor, a: int = 1, b: int) { return x }\n",
)
define(
    "E020",
    "the table has two columns named `{name}`",
    "The columns of a table become the fields of its records, so their names differ.",
    _H + "table t {\n    a | a\n    1 | 2\n}\n",
)
define(
    "E021",
    "a row of {cells} cells in a table of {columns} columns",
    "Every row of a table has one cell for each column. Write `none` where there is no value.",
    _H + "table t {\n    a | b\n    1 | 2 | 3\n}\n",
)
define(
    "E022",
    "a column's head is a name",
    "The first row of a table names its columns.",
    _H + "table t {\n    a | 3\n    1 | 2\n}\n",
)
define(
    "E023",
    "the line computes a value and does not use it",
    "Nothing in the language acts by side effect, so a value must be named (`y = ...`) or returned (`return"
    " ...`).",
    _in_body("conv(x, 3)"),
    _in_body("x -> relu()"),
    _in_body("3 + 4"),
)
define(
    "E024",
    "only a name can be called",
    "The callee is a name, a dotted name or an element of a named list: `conv(x)`, `parts.head(x)`, "
    "`heads[0](x)`. Give a block value a name first: `act = gelu()`, then `act(x)`.",
    _in_body("y = f(3)(x)"),
    _in_body("y = 3(x)"),
)
define(
    "E025",
    "this text must be plain",
    "Files, sources and names of plans are fixed when the file is read, so they take no expressions in "
    "braces.",
    _H + 'use "parts{1}.plan" (a)\n',
)
define(
    "E026",
    "`{escape}` is not an escape",
    'Texts know `\\"`, `\\\\`, `\\n`, `\\t`, `\\{` and `\\}`.',
    _H + 'K = "a\\d"\n',
)
define(
    "E027",
    "`{name}` is not a type",
    "Types are shapes (`[B, C]`, `i64[B, T]`), `tensor`, `int`, `float`, `bool`, `str`, `record`, `dtype`, "
    "`block`, `none`, `size`, `list[T]`, `{k: T}`, `(A, B)` and `T | none`.",
    _H + "block f(x: Tensor) { return x }\n",
    _H + "block f(x: i65[B]) { return x }\n",
    _H + "block f(x: f32) { return x }\n",
)
define(
    "E028",
    "`{kind} {name}` needs a shape",
    "A declared weight has a shape, as in `param w: [K, C] = zeros()`; a buffer or constant has a shape or "
    "a value.",
    _in_body("param w"),
    _in_body("param w = zeros()"),
    _in_body("buffer b"),
)
define(
    "E029",
    "the field `{name}` is given twice",
    "The fields of a record have different names.",
    _H + "K = {a = 1, a = 2}\n",
    _H + 'about { title = "a", title = "b" }\n',
)
define(
    "E030",
    "`{op}=` is not part of the language",
    "Values never change; a name is bound anew: `y = y + x`.",
    _in_body("x += 1"),
    _in_body("x //= 2"),
)
define(
    "E031",
    "the line ends too early; expected {expected}",
    "A line break ends a statement, except inside `( )` and `[ ]` and before a line that begins with `->` "
    "or `else`.",
    _in_body("y = x +", "    1"),
    _in_body("y = x ->", "    relu()"),
    _H + "block f(x: tensor)\n{\n    return x\n}\n",
)
define(
    "E032",
    "`{word}` is a word of the language and cannot be a name here",
    "The words `if else for in is and or not when true false none` are never names; the words that begin "
    "statements are names everywhere but at the beginning of a statement.",
    _H + "K = for\n",
    _in_body("param = 3"),
    _in_body("when = 3"),
)
define(
    "E033",
    "the smallest size of an axis is an integer",
    "`[P >= 0]` declares an axis that may be empty.",
    _H + "block f(x: [P >= 0.5]) { return x }\n",
)
define(
    "E034",
    "a label cannot open a statement",
    "A label names the weights of a call and stands before it: after `->`, or first in a right-hand side, "
    "argument, list item or parenthesis.",
    _in_body("fc: linear(3)"),
    _in_body('"fc.0": linear(3)'),
)
define(
    "E035",
    "`{word}` belongs into a body",
    "Statements stand in the braces of a block or model; at the top of a file stand declarations.",
    _H + "return 3\n",
    _H + "for i in range(3) { a = 1 }\n",
    _H + "param w: [3]\n",
)
define(
    "E036",
    "`{word}` is declared at the top of a file, not inside a body",
    "Blocks, tables, plans and claims are not nested.",
    _in_body("block g(x: tensor) { return x }"),
    _in_body("table t {"),
)
define(
    "E037",
    "only a name can be bound",
    "Values never change, so there is no assignment to an element or field: build a new list or record instead, "
    "as in `feats = feats + [x]`.",
    _in_body("x[0] = 3"),
    _in_body("x.y = 3"),
)
define(
    "E038",
    "the name `{name}` is bound twice at once",
    "The names on one left-hand side, of one loop or of one import differ.",
    _in_body("a, a = x, x"),
    _H + "use std (a, a)\n",
    _H + "K = [1 for a, a in [2]]\n",
)
define(
    "E041",
    "{found} is not part of the language",
    "A sign of another language, at a place where none of this one can stand.",
    _in_body("y = x => relu()"),
    _in_body("y = x |> relu()"),
    _in_body("// a comment"),
    _in_body('"""A comment."""'),
    _in_body("i++"),
    _in_body("if true || false { y = x }"),
    _in_body('y = x -> f"conv{1}": conv(8, 3)'),
    _in_body("for i in 0..3 { y = x }"),
    _H + "@jit\nmodel f(x: [B]) {\n    return x\n}\n",
)
define(
    "E042",
    "the label `{label}` must be quoted",
    "A label is a name without quotes, such as `fc`, or a text: names and numbers joined by dots, with expressions "
    "in braces where they vary.",
    _in_body("return x -> head.fc: linear(10)"),
    _in_body("return x -> layer1.0.conv1: conv(10, 3)"),
    _in_body("return x -> 0: conv(10, 3)"),
    _in_body("y = head.fc: linear(x, 10)"),
    _in_body("y = f(head.fc: linear(x, 10))"),
    _in_body("y = [0: linear(x, 10)]"),
    _in_body("return x -> conv-1: conv(10, 3)"),
)
define(
    "E040",
    "a binding has a name: `at (B=1, H=224)`",
    "`at` gives sizes to symbols, by name.",
    _H + "plan p = f() at (3)\n",
    _H + "claim p: params at (3) == 4\n",
)
