"""Codes of what a plan means: names, values, shapes, weights, modes, claims."""

from __future__ import annotations

from ..compiler import size_limits
from .codes import define

H = "planform 1\n"


def _net(body: str, before: str = "") -> str:
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
    _net("return relu(y)"),
    _net("return x -> rulu()"),
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
    _net("C = 3\nreturn x", "").replace("[B, 8, 16, 16]", "[B, C, 16, 16]"),
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
    _net("y = relu(x)"),
)
define(
    "E111",
    "this statement is never reached",
    "Nothing after a `return` of the same body is run.",
    _net("return x\ny = relu(x)"),
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
    _net('return x -> conv("wide", 3)'),
    _net("if x { y = 1 }\nreturn x"),
    _net("for i in 3 { y = 1 }\nreturn x"),
)
define(
    "E202",
    "{message}",
    "A static expression cannot be computed: a division by zero, an index outside a list, a missing field.",
    _net("return x -> conv(8 // 0, 3)"),
    _net("a = [1, 2]\nreturn x -> conv(a[5], 3)"),
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
    f"formulas of unbound sizes: {size_limits.MAX_TERMS} terms of a sum, {size_limits.MAX_PARTS} parts, "
    f"{size_limits.MAX_DEPTH} within each other. What cannot be proved of them within {size_limits.MAX_WORK} terms for "
    f"one question, {size_limits.MAX_PROOF_WORK} for a plan, is checked when the network runs.",
    _net("return x -> conv(2**2**2**99, 3)"),
    _net("return x -> conv(10**400, 3)"),
)
define(
    "E205",
    "{what} exceeds the limit of {limit}",
    "Plan files are untrusted text, so that everything they ask for is bounded: single things, as lists, texts, "
    "tensors and calls within each other, and the work of a file altogether. Work is counted in units, of which an "
    "expression costs 1, an item that a static function goes through 1, 16 characters of text 1, a block call 30, "
    "an operator 20 and a weight 40. docs/language.md lists all limits.",
    _net('K = ["a" * 100000 for i in range(100000)]\nreturn x'),
    H
    + "block f(x: [B, C]) {\n    return f(x)\n}\nmodel net(x: [B, 8]) {\n    return f(x)\n}\nplan p = net()\n",
)
define(
    "E206",
    "{name} takes {wanted}, and {got}",
    "A call gives too many arguments, or lacks one.",
    _net("return x -> conv(8, 3, 1, 1, 1, 1, true, none, none, 5)"),
    _net("return x -> conv()"),
)
define(
    "E207",
    "{name} has no parameter `{argument}`",
    "A keyword argument must name a parameter.",
    _net("return x -> conv(8, 3, strides=2)"),
)
define(
    "E208",
    "{name} is given `{argument}` twice",
    "An argument is given once: by position or by name.",
    _net("return x -> conv(8, 3, out=9)"),
)
define(
    "E209",
    "{name} is given some of its inputs but not `{missing}`",
    "A call with none of its required inputs is a block value; with all, an application; with some, an error.",
    _net("return gather(x)"),
)
define(
    "E217",
    "this block value of {name} has its `{argument}` already",
    "Arguments by position fill parameters from the first on, in a call of a block value too. What the value was given "
    "when it was made is not given anew by position, which would be a mistake more often than not: give it by name.",
    _net("v = conv(8, 3)\nreturn x -> a: v(16)"),
)
define(
    "E210",
    "{what} cannot be called",
    "Blocks, operators, plans and static functions can be called.",
    _net("a = 3\nreturn a(x)"),
)
define(
    "E211",
    "cannot unpack {got} into {wanted} names",
    "The right-hand side of `a, b = ...` or the items of a loop must have as many parts as there are names.",
    _net("a, b = [1, 2, 3]\nreturn x"),
)
define(
    "E212",
    "required: {message}",
    "The author's `require` does not hold for these arguments.",
    _net('require 16 % 7 == 0, "the size must be a multiple of 7"\nreturn x'),
)
define(
    "E213",
    "`{op}` does not take {left} and {right}",
    "An operator of the language was applied to values that it has no meaning for.",
    _net('return x -> conv("a" * [1], 3)'),
)

# ---------------------------------------------------------------- shapes and operators

define(
    "E301",
    "{where} {message}",
    "Sizes that must agree do not. The labels show where each size came from.",
    _net("return x + (x -> conv(4, 1))"),
)
define(
    "E302",
    "{where} {message}",
    "A tensor has the wrong number of axes for an operator or a declared shape.",
    _net("return x -> flatten() -> conv(4, 1)"),
)
define(
    "E303",
    "{where} {message}",
    "A tensor has the wrong element type for an operator or a declared shape.",
    _net("return x -> conv(4, 1) -> embedding(10, 4)"),
)
define(
    "E304",
    "{where} {message}",
    "An argument of an operator has a value that it cannot take.",
    _net("return x -> conv(4, 1, stride=0)"),
    _net("return x -> softmax(axis=7)"),
)
define(
    "E305",
    "{name} is {got}, and is declared as {wanted}",
    "A value does not fit the type written for it.",
    _net("y: [B, 9, 16, 16] = x\nreturn y"),
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
    _net("y = x -> a: conv(8, 1)\nreturn y -> a: conv(8, 1)"),
)
define(
    "E402",
    "a second unlabelled `{name}` in one scope",
    "A call that owns weights takes its own name as its label; a second one needs a label, since weight paths are never "
    "numbered.",
    _net("return x -> conv(8, 1) -> conv(8, 1)"),
)
define(
    "E403",
    "`{label}` cannot be a label: {reason}",
    "Labels become attribute names of torch modules, so they are names or numbers joined by dots, and not one of the "
    "names that torch modules reserve.",
    _net("return x -> forward: conv(8, 1)"),
    _net('return x -> "a..b": conv(8, 1)'),
)
define(
    "E404",
    "a use of the shared block `{name}` cannot be labelled",
    "A shared block has one path, given where it is declared.",
    _net("shared g: conv(8, 1)\nreturn x -> a: g()"),
)
define(
    "E405",
    "the shared block `{name}` would need its weight `{weight}` as {wanted}, and has it as {got}",
    "All uses of a shared block read the same weights, so they must agree on their shapes.",
    _net(
        "shared g: linear(8)\ny = x -> g() -> conv(8, 1) -> mean(axis=1)\nreturn (y -> g(), x -> mean(axis=3) -> g())"
    ),
)
define(
    "E406",
    "`{name}` has no weight `{weight}`",
    "`shared_name.weight` reads a weight of a shared block after its first use, which fixes its shape.",
    _net("shared g: linear(8)\nreturn x @ g.weight"),
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
    _net("buffer b: [8]\nreturn x"),
)
define(
    "E409",
    "`{init}` cannot fill the weight `{path}`: {reason}",
    "Initialisers are those of torch.nn.init: some need the two axes of a matrix, and all but `constant` draw fractions.",
    _net("param b: [8] = kaiming_uniform()\nreturn x + mean(b)"),
    _net("return x -> conv(8, 1, bias=true, bias_init=orthogonal())"),
)

# ---------------------------------------------------------------- modes, taps, models

define(
    "E501",
    "`{path}` is no labelled call inside this value",
    '`tap(v, "label")` names a labelled call inside the call that made `v`.',
    _net('y = x -> a: conv(8, 1)\nreturn tap(y, "layer4")'),
)
define(
    "E502",
    "{file} declares no plan `{name}`",
    "A plan is named after its file: `FILE:PLAN`.",
    _net("return x"),
    ask="resnet50",
)
define(
    "E504",
    "a plan needs a model, and this is {got}",
    "`plan NAME = model(args)` configures a model.",
    H + "plan p = 3\n",
    H + "block f(x: [B, C]) {\n    return x\n}\nplan p = f()\n",
)
define(
    "E505",
    "the entry has no size `{name}` to bind",
    "`at (...)` binds sizes that the model's input patterns name.",
    H + "model net(x: [B, 8]) {\n    return x\n}\nplan p = net() at (H=3)\n",
)
define(
    "E506",
    "a model's result must be tensors, and holds {got}",
    "What a model returns is tensors: one, or a tuple, list or record of them.",
    _net("return relu"),
    _net("return 3"),
)
define(
    "E507",
    "`tap` names `{path}`, which the shared block ran {times} times",
    "A tap must name one value.",
    _net(
        'y = x -> a: twice()\nreturn tap(y, "g")',
        "block twice(x: [B, C, H, W]) {\n    shared g: conv(8, 1)\n    return g(g(x))\n}\n",
    ),
)

_NORM = (
    H + "model net(x: [B, 8, H, W]) {\n    return x -> mean([2, 3]) -> norm: batch_norm()\n}\nplan p = net()"
)
define(
    "E508",
    "{where} {message}",
    "Evaluation takes these operands and training does not: one value has no variance, for example. The plan can be run, "
    "costed and compiled for evaluation. What asks for training needs other sizes, most often a larger batch.",
    _NORM + '\nclaim p: params(mode="train") at (B=1) == 16\n',
)
define(
    "E509",
    "the weight `{path}` is {left} in eval mode and {right} in train mode",
    "Both modes read one table of weights, so that a checkpoint does not depend on the mode.",
    _net("if mode == train {\n        return x -> fc: conv(4, 1)\n    }\n    return x -> fc: conv(5, 1)"),
)
define(
    "W905",
    "`{name}` is for evaluation alone at these sizes: {message}",
    "The plan binds sizes, or has them in the types of its inputs, that evaluation takes and training refuses. It can be "
    "run, costed and compiled for evaluation; a module of it raises an error where it is called in training mode.",
    _NORM + " at (B=1)\n",
)

define(
    "W906",
    "`{name}` runs only where `{guard}`",
    "The sizes are free in the type of the input, and an operator needs them to be as it says: two that are equal, a "
    "batch of a certain size, or one that is a number. It is checked when the network runs. Where it is meant, `require` "
    "says so, or the type of the input: `x: [B, N, N]`.",
    H + "model net(x: [B, 8, H, W]) {\n    return x + transpose(x, 2, 3)\n}\nplan p = net()\n",
)

# ---------------------------------------------------------------- claims

define(
    "E601",
    "{subject}: {metric} is {got}, and {kind} says {op} {wanted}",
    "A claim of the literature or a budget of the author does not hold for what the compiler derives.",
    _net("return x -> conv(8, 1)") + "claim p: params == 65\n",
    _net("return x -> conv(8, 1)") + "budget p: params <= 60\n",
)
define(
    "E602",
    "`{metric}` is no metric",
    "Metrics are params, buffers, macs, flops, activations, depth, bytes, shape and weights.",
    _net("return x") + "claim p: parms == 65\n",
)
define(
    "E603",
    "{metric} depends on the unbound {sizes}",
    "Bind sizes in the claim: `claim p: macs at (B=1, H=224, W=224) == 4.09G`.",
    _net("return x -> conv(8, 1)") + "claim p: macs == 65\n",
)
define(
    "E604",
    "a claim about `{name}`, which is no plan of this file",
    "Claims name plans of the file that they stand in.",
    H + "claim p: params == 65\n",
)
define(
    "E605",
    "{subject}: its weights are not those of {file}: {what}",
    "The paths of the plan's weights, in both modes, are held against a file beside it: a text of paths, one a line and "
    "each with its shape if wanted (`planform weights list NAME --keys` writes one, of a plan or a checkpoint), or a "
    "safetensors file. A checkpoint binds by these paths.",
    _net("return x -> a: conv(8, 1)") + 'claim p: weights == "net.keys"\n',
    beside=(("net.keys", "b.weight [8, 8, 1, 1]\n"),),
)
define(
    "E606",
    "the weights of {file} cannot be read: {reason}",
    "A claim on weights names a file of the plan's project: text (`.keys`, `.txt`) with a path a line, each followed by "
    "its shape if wanted (`conv1.weight [64, 3, 7, 7]`), or `.safetensors`.",
    _net("return x") + 'claim p: weights == "missing.keys"\n',
)
