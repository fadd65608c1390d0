"""Codes of what a plan means: names, values, shapes, weights."""

from __future__ import annotations

from ...compiler.sizes import limits
from .table import define

H = "planform 1\n"


def net(body: str, before: str = "") -> str:
    """A file with a model of that body, and a plan of it."""
    return (
        H
        + before
        + "model net(x: [B, 8, 16, 16]) {\n    "
        + body.replace("\n", "\n    ")
        + "\n}\nplan p = net()\n"
    )


# ---------------------------------------------------------------- names and declarations

define(
    "E101",
    "`{name}` is not defined",
    "A name must be declared before it is used: as a parameter, by an assignment, by a block or table of the file, by "
    "`use`, or as an operator of the registry. Names that a shape pattern binds are sizes of the call's inputs.",
    net("return relu(y)"),
    net("return x -> rulu()"),
)
define(
    "E102",
    "`{name}` is declared twice",
    "A file declares each name once; imports count as declarations.",
    H + "A = 1\nA = 2\n",
)
define(
    "E103",
    "`{name}` is a size of the input and cannot be assigned",
    "Names bound by a shape pattern denote sizes of the call's inputs for the whole block. Choose another name.",
    net("C = 3\nreturn x", "").replace("[B, 8, 16, 16]", "[B, C, 16, 16]"),
)
define(
    "E104",
    "there is no file `{path}`",
    "`use` names a file relative to the file that it stands in; `use atlas` one of the networks that come with the "
    "package, which `planform list` shows.",
    H + 'use "missing.plan" (a)\n',
    H + 'use atlas "convnets/resnett.plan" (bottleneck)\n',
    H + 'use atlas "../pyproject.plan" (a)\n',
)
define(
    "E105",
    "`{path}` leaves the project",
    "Plan files are untrusted text: `use` reaches files of the same project and the standard library, nothing else.",
    H + 'use "../../../../../../etc/passwd" (a)\n',
    H + 'use "/etc/passwd" (a)\n',
)
define(
    "E106",
    "`{name}` is not declared in {place}",
    "`use` names blocks, models, plans, tables or values that the other file declares.",
    H + "use std (no_such_block)\n",
    H + 'use atlas "convnets/resnet.plan" (botleneck)\n',
)
define(
    "E107",
    "files import each other in a circle: {circle}",
    "A file cannot import itself, directly or through others.",
    H + 'use "other.plan" (a)\n',
    beside=(("other.plan", H + 'use "net.plan" (b)\n'),),
)
define(
    "E108",
    "`{name}` is not a library",
    '`use std (...)` is the standard library, `use atlas "convnets/resnet.plan" (...)` a network that comes with the '
    'package; other files are quoted: `use "parts.plan" (...)`.',
    H + "use stdlib (a)\n",
)
define(
    "E109",
    "`{name}` is a reserved word of the language",
    "Some words keep their meaning everywhere.",
    H + "mode = 1\n",
)
define(
    "E110",
    "`return` is missing",
    "Every block returns a value on every path that its static conditions take.",
    net("y = relu(x)"),
)
define(
    "E111",
    "this statement is never reached",
    "Nothing after a `return` of the same body is run.",
    net("return x\ny = relu(x)"),
)

define(
    "E112",
    "`use {name}` {reason}",
    "The library `std` is one name space; the atlas has a file for each network.",
    H + 'use std "conv.plan" (squeeze_excite)\n',
    H + "use atlas (bottleneck)\n",
)

# ---------------------------------------------------------------- static values

define(
    "E201",
    "{what} must be {wanted}, and is {got}",
    "An argument or operand has the wrong kind of value.",
    net('return x -> conv("wide", 3)'),
    net("if x { y = 1 }\nreturn x"),
    net("for i in 3 { y = 1 }\nreturn x"),
)
define(
    "E202",
    "{message}",
    "A static expression cannot be computed: a division by zero, an index outside a list, a missing field.",
    net("return x -> conv(8 // 0, 3)"),
    net("a = [1, 2]\nreturn x -> conv(a[5], 3)"),
)
define(
    "E203",
    "the {what} depends on the unbound {sizes}",
    "Conditions, loop bounds, list lengths and weight shapes must be known when a plan is elaborated. Give the size as a "
    "static parameter, or bind it: `plan p = net() at (H=224, W=224)`.",
    H + "model net(x: [B, 8, H, H]) {\n    if H > 7 { x = relu(x) }\n    return x\n}\nplan p = net()\n",
)
define(
    "E204",
    "a number grows past {limit}",
    "Sizes and static integers are bounded, so that no plan text can make the compiler compute without end. So are "
    f"formulas of unbound sizes: {limits.MAX_TERMS} terms of a sum, {limits.MAX_PARTS} parts, "
    f"{limits.MAX_DEPTH} within each other. What cannot be proved of them within {limits.MAX_WORK} terms for "
    f"one question, {limits.MAX_PROOF_WORK} for a plan, is checked when the network runs.",
    net("return x -> conv(2**2**2**99, 3)"),
    net("return x -> conv(10**400, 3)"),
)
define(
    "E205",
    "{what} exceeds the limit of {limit}",
    "Plan files are untrusted text, so that everything they ask for is bounded: single things, as lists, texts, "
    "tensors and calls within each other, and the work of a file altogether. Work is counted in units, of which an "
    "expression costs 1, an item that a static function goes through 1, 16 characters of text 1, a block call 30, "
    "an operator 20, a weight 40 and a step of proofs about sizes 12. docs/language.md lists all limits.",
    net('K = ["a" * 100000 for i in range(100000)]\nreturn x'),
    H
    + "block f(x: [B, C]) {\n    return f(x)\n}\nmodel net(x: [B, 8]) {\n    return f(x)\n}\nplan p = net()\n",
)
define(
    "E206",
    "{name} takes {wanted}, and {got}",
    "A call gives too many arguments, or lacks one.",
    net("return x -> conv(8, 3, 1, 1, 1, 1, true, none, none, 5)"),
    net("return x -> conv()"),
)
define(
    "E207",
    "{name} has no parameter `{argument}`",
    "A keyword argument must name a parameter.",
    net("return x -> conv(8, 3, strides=2)"),
)
define(
    "E208",
    "{name} is given `{argument}` twice",
    "An argument is given once: by position or by name.",
    net("return x -> conv(8, 3, out=9)"),
)
define(
    "E209",
    "{name} is given some of its inputs but not `{missing}`",
    "A call with none of its required inputs is a block value; with all, an application; with some, an error.",
    net("return gather(x)"),
)
define(
    "E217",
    "this block value of {name} has its `{argument}` already",
    "Arguments by position fill parameters from the first on, in a call of a block value too. What the value was given "
    "when it was made is not given anew by position, which would be a mistake more often than not: give it by name.",
    net("v = conv(8, 3)\nreturn x -> a: v(16)"),
)
define(
    "E210",
    "{what} cannot be called",
    "Blocks, operators, plans and static functions can be called.",
    net("a = 3\nreturn a(x)"),
)
define(
    "E211",
    "cannot unpack {got} into {wanted} names",
    "The right-hand side of `a, b = ...` or the items of a loop must have as many parts as there are names.",
    net("a, b = [1, 2, 3]\nreturn x"),
)
define(
    "E212",
    "required: {message}",
    "The author's `require` does not hold for these arguments.",
    net('require 16 % 7 == 0, "the size must be a multiple of 7"\nreturn x'),
)
define(
    "E213",
    "`{op}` does not take {left} and {right}",
    "An operator of the language was applied to values that it has no meaning for.",
    net('return x -> conv("a" * [1], 3)'),
)

# ---------------------------------------------------------------- shapes and operators

define(
    "E301",
    "{where} {message}",
    "Sizes that must agree do not. The labels show where each size came from.",
    net("return x + (x -> conv(4, 1))"),
)
define(
    "E302",
    "{where} {message}",
    "A tensor has the wrong number of axes for an operator or a declared shape.",
    net("return x -> flatten() -> conv(4, 1)"),
)
define(
    "E303",
    "{where} {message}",
    "A tensor has the wrong element type for an operator or a declared shape.",
    net("return x -> conv(4, 1) -> embedding(10, 4)"),
)
define(
    "E304",
    "{where} {message}",
    "An argument of an operator has a value that it cannot take.",
    net("return x -> conv(4, 1, stride=0)"),
    net("return x -> softmax(axis=7)"),
)
define(
    "E305",
    "{name} is {got}, and is declared as {wanted}",
    "A value does not fit the type written for it.",
    net("y: [B, 9, 16, 16] = x\nreturn y"),
)
define(
    "E306",
    "the entry's {what} must be known",
    "The inputs of a model become the inputs of the program, so their number of axes must be known: bind them, or write "
    "the pattern out.",
    H + "model net(x: [B, C, ...]) {\n    return x\n}\nplan p = net()\n",
    H + "model net(x: tensor) {\n    return x\n}\nplan p = net()\n",
)
define(
    "E307",
    "no sizes satisfy {needed}",
    "What cannot be decided of unbound sizes is checked when the network runs, and counts as given from there on. "
    "These constraints contradict each other, or the sizes that the inputs may have, so that no input would pass.",
    H
    + "model net(x: [B, 32, H, W]) {\n"
    + '    y = x -> rearrange("b d h w -> b (h w) d") -> norm: layer_norm()\n'
    + "    return x + y\n}\nplan p = net()\n",
    H + "model net(x: [B, H, W]) {\n    require H > W\n    require W > H\n    return x\n}\nplan p = net()\n",
)

# ---------------------------------------------------------------- weights and labels

define(
    "E401",
    "two weights have the path `{path}`",
    "Each weight has a path of its own; it is what checkpoints bind to. Give the calls different labels, or declare the "
    "block `shared` if one set of weights is meant.",
    net("y = x -> a: conv(8, 1)\nreturn y -> a: conv(8, 1)"),
)
define(
    "E402",
    "a second unlabelled `{name}` in one scope",
    "A call that owns weights takes its own name as its label; a second one needs a label, since weight paths are never "
    "numbered.",
    net("return x -> conv(8, 1) -> conv(8, 1)"),
)
define(
    "E403",
    "`{label}` cannot be a label: {reason}",
    "Labels become attribute names of torch modules, so they are names or numbers joined by dots, and not one of the "
    "names that torch modules reserve.",
    net("return x -> forward: conv(8, 1)"),
    net('return x -> "a..b": conv(8, 1)'),
)
define(
    "E404",
    "a use of the shared block `{name}` cannot be labelled",
    "A shared block has one path, given where it is declared.",
    net("shared g: conv(8, 1)\nreturn x -> a: g()"),
)
define(
    "E405",
    "the shared block `{name}` would need its weight `{weight}` as {wanted}, and has it as {got}",
    "All uses of a shared block read the same weights, so they must agree on their shapes.",
    net(
        "shared g: linear(8)\ny = x -> g() -> conv(8, 1) -> mean(axis=1)\nreturn (y -> g(), x -> mean(axis=3) -> g())"
    ),
)
define(
    "E406",
    "`{name}` has no weight `{weight}`",
    "`shared_name.weight` reads a weight of a shared block after its first use, which fixes its shape.",
    net("shared g: linear(8)\nreturn x @ g.weight"),
)
define(
    "E407",
    "the shape of the weight `{path}` depends on the unbound {sizes}",
    "Weights have fixed shapes. Bind the size, or give it as a static parameter.",
    H + "model net(x: [B, H]) {\n    return x -> linear(4)\n}\nplan p = net()\n",
)
define(
    "E408",
    "`{name}` needs {what}",
    "`param`, `buffer` and `const` declare a tensor with a shape and what it starts from.",
    net("buffer b: [8]\nreturn x"),
)
define(
    "E409",
    "`{init}` cannot fill the weight `{path}`: {reason}",
    "Initialisers are those of torch.nn.init: some need the two axes of a matrix, and all but `constant` draw fractions.",
    net("param b: [8] = kaiming_uniform()\nreturn x + mean(b)"),
    net("return x -> conv(8, 1, bias=true, bias_init=orthogonal())"),
)
