"""Codes of what becomes of plans: modes, taps, models, claims."""

from __future__ import annotations

from .language import H, net
from .table import define

# ---------------------------------------------------------------- modes, taps, models

define(
    "E501",
    "`{path}` is no labelled call inside this value",
    '`tap(v, "label")` names a labelled call inside the call that made `v`.',
    net('y = x -> a: conv(8, 1)\nreturn tap(y, "layer4")'),
)
define(
    "E502",
    "{file} declares no plan `{name}`",
    "A plan is named after its file: `FILE:PLAN`.",
    net("return x"),
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
    net("return relu"),
    net("return 3"),
)
define(
    "E507",
    "`tap` names `{path}`, which the shared block ran {times} times",
    "A tap must name one value.",
    net(
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
    net("if mode == train {\n        return x -> fc: conv(4, 1)\n    }\n    return x -> fc: conv(5, 1)"),
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
    net("return x -> conv(8, 1)") + "claim p: params == 65\n",
    net("return x -> conv(8, 1)") + "budget p: params <= 60\n",
)
define(
    "E602",
    "`{metric}` is no metric",
    "Metrics are params, buffers, macs, flops, activations, depth, bytes, shape and weights.",
    net("return x") + "claim p: parms == 65\n",
)
define(
    "E603",
    "{metric} depends on the unbound {sizes}",
    "Bind sizes in the claim: `claim p: macs at (B=1, H=224, W=224) == 4.09G`.",
    net("return x -> conv(8, 1)") + "claim p: macs == 65\n",
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
    net("return x -> a: conv(8, 1)") + 'claim p: weights == "net.keys"\n',
    beside=(("net.keys", "b.weight [8, 8, 1, 1]\n"),),
)
define(
    "E606",
    "the weights of {file} cannot be read: {reason}",
    "A claim on weights names a file of the plan's project: text (`.keys`, `.txt`) with a path a line, each followed by "
    "its shape if wanted (`conv1.weight [64, 3, 7, 7]`), or `.safetensors`.",
    net("return x") + 'claim p: weights == "missing.keys"\n',
)
