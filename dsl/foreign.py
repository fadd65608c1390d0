"""What users of Python, PyTorch and Keras write by habit, and what stands for it here: names, methods,
arguments, types and signs.

The tables hold what `did_you_mean` cannot find by spelling. Entries are help lines, but for `ARGUMENTS`,
where a name of a parameter stands for the parameters it may mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .suggest import did_you_mean

_MODULE = "operators have no prefix: `conv(x, 64, 3)`, `relu(x)`"
_NO_TRAINING = (
    "a plan says what a network is; losses and optimisers are written in Python, around `to_torch()`"
)

NAMES = {
    "True": "write `true`",
    "False": "write `false`",
    "None": "write `none`",
    "self": "blocks have no `self`: inputs and parameters are known by their names, and layers are called "
    "where they stand, as in `x -> conv1: conv(64, 3)`",
    "super": "blocks do not inherit; what varies is a parameter, as in `norm: block = batch_norm()`",
    "nn": _MODULE,
    "F": _MODULE,
    "torch": _MODULE,
    "np": _MODULE,
    "numpy": _MODULE,
    "math": "functions of numbers have no prefix: `sqrt(2)`, `log(2)`",
    "tf": _MODULE,
    "keras": _MODULE,
    "layers": _MODULE,
    "einops": "operators have no prefix: `rearrange(x, ...)`",
    "Dense": "write `linear(64)`",
    "Sequential": "write a pipe, `x -> f() -> g()`, or apply a list of blocks with `sequence` of std",
    "ModuleList": 'write a list of blocks, `[f(), g()]`, or a loop with labels `"{i}"`',
    "Identity": "write `identity()`",
    "Parameter": "write `param NAME: [SIZES] = zeros()`",
    "Activation": "call the activation: `x -> relu()`",
    "cat": "write `concat([a, b], axis=1)`",
    "view": "write `reshape(x, [B, -1])` or `rearrange`",
    "swapaxes": "write `transpose(x, 1, 2)`",
    "interpolate": "write `resize(scale=2)` or `resize(size=[H, W])`",
    "Upsample": "write `resize(scale=2)`",
    "UpSampling2D": "write `resize(scale=2)`",
    "Conv2DTranspose": "write `conv_transpose(64, 2, stride=2)`",
    "GlobalAveragePooling2D": "write `global_avg_pool()`",
    "AdaptiveAvgPool2d": "write `adaptive_avg_pool(1)`, or `mean(axis=[2, 3])` without the axes",
    "MaxPooling2D": "write `max_pool(2, stride=2)`",
    "AveragePooling2D": "write `avg_pool(2, stride=2)`",
    "MultiheadAttention": "write `self_attention(heads)` of std, or `scaled_dot_product_attention`",
    "LSTM": "run `lstm_cell` of std along an axis with `scan`",
    "GRU": "run `gru_cell` of std along an axis with `scan`",
    "print": "tests and reports are commands of `planform`, not statements",
    "zeros_like": "write `zeros(shape(x))`",
    "ones_like": "write `ones(shape(x))`",
    "bmm": "write `a @ b`",
    "mm": "write `a @ b`",
    "loss": _NO_TRAINING,
    "CrossEntropyLoss": _NO_TRAINING,
    "pow2": "write `x**2`",
}

METHODS = {
    "shape": "`shape(x)` gives the sizes of a tensor",
    "size": "`shape(x)` gives the sizes of a tensor, `shape(x)[0]` the first",
    "ndim": "`rank(x)` is the number of axes",
    "dim": "`rank(x)` is the number of axes",
    "T": "write `transpose(x, -2, -1)`",
    "mT": "write `transpose(x, -2, -1)`",
    "view": "write `reshape(x, [B, -1])` or `rearrange`",
    "contiguous": "tensors have no layout in memory that a plan could see; leave it out",
    "to": "write `cast(x, i64)`; devices are chosen when a plan is built",
    "float": "write `cast(x, float)`",
    "dtype": "element types are written in types: `x: i64[B, T]`",
    "device": "devices are chosen when a plan is built",
    "clone": "values never change, so they need no copies",
    "detach": "write `stop_gradient(x)`",
    "weight": "weights are read of shared blocks: `shared emb: embedding(100, 8)`, then `emb.weight`",
}

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "padding": ("pad",),
    "dim": ("axis", "axes"),
    "dims": ("axis", "axes"),
    "axis": ("axes",),
    "out_channels": ("out",),
    "out_features": ("out",),
    "filters": ("out",),
    "units": ("out",),
    "features": ("out",),
    "channels": ("out",),
    "num_groups": ("groups",),
    "rate": ("p", "dilation"),
    "drop_prob": ("p",),
    "dilation_rate": ("dilation",),
    "keepdims": ("keepdim",),
    "epsilon": ("eps",),
    "use_bias": ("bias",),
    "kernel_initializer": ("init",),
    "bias_initializer": ("bias_init",),
    "scale_factor": ("scale",),
    "upscale_factor": ("factor",),
    "num_embeddings": ("n", "rows"),
    "is_causal": ("causal",),
    "shape": ("sizes", "size"),
}

_FROM_THE_INPUT = "channels and features are those of the input; leave it out"
LEFT_OUT = {
    "in_channels": _FROM_THE_INPUT,
    "in_features": _FROM_THE_INPUT,
    "num_features": _FROM_THE_INPUT,
    "num_channels": _FROM_THE_INPUT,
    "normalized_shape": "the norm is over the last axis; leave it out, or give `axes`",
    "input_shape": _FROM_THE_INPUT,
    "inplace": "values never change; leave it out",
    "activation": "an activation is a call of its own: `-> relu()`",
    "batch_first": "axes are named by `axis`; leave it out",
    "device": "devices are chosen when a plan is built; leave it out",
    "name": "a name stands before the call as its label: `fc: linear(10)`",
}

TYPES = {
    "string": "write `str`",
    "boolean": "write `bool`",
    "double": "write `float`, or `f64[...]` for a tensor",
    "float32": "write `float[...]`, or `f32[...]` if it must not change with the program's float",
    "float16": "write `float[...]`, or `f16[...]` if it must not change with the program's float",
    "float64": "write `float[...]`, or `f64[...]` if it must not change with the program's float",
    "int64": "write `i64[...]`",
    "int32": "write `i32[...]`",
    "long": "write `i64[...]`",
    "Tensor": "write the shape, `[B, C, H, W]`, or `tensor` for any",
    "Optional": "write `T | none`",
    "Union": "write `A | B`",
    "List": "write `list[T]`",
    "Sequence": "write `list[T]`",
    "Tuple": "write `(A, B)`",
    "tuple": "write `(A, B)`",
    "dict": "write `record`, or `{name: T}`",
    "Dict": "write `record`, or `{name: T}`",
    "Callable": "write `block`",
    "Module": "write `block`",
    "number": "write `float`, which takes ints too",
}

DECLARATIONS = {
    "fn": "a part of a network is `block NAME(x: [B, C], ...) { ... }`",
    "func": "a part of a network is `block NAME(x: [B, C], ...) { ... }`",
    "function": "a part of a network is `block NAME(x: [B, C], ...) { ... }`",
    "module": "a part of a network is `block NAME(...) { ... }`, an entry point `model NAME(...) { ... }`",
    "network": "an entry point is `model NAME(x: [B, C, H, W], ...) { ... }`",
    "let": "write `NAME = value`",
    "var": "write `NAME = value`",
    "val": "write `NAME = value`",
    "layer": "layers are called where they stand: `x = x -> NAME: conv(64, 3)`",
}

# A sign that stops the parser: the pattern that holds around the place, where it begins, and what helps.
SIGNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), help)
    for pattern, help in (
        (r'(?<!\w)[fFrRbBuU]{1,2}(?=")', 'texts have no prefix: `"stage{i}"` fills in `i`'),
        (r'^\s*"""', "comments begin with `#`"),
        (r"^\s*//|/\*", "comments begin with `#`"),
        (r"=>|\|>|>>", "a value goes into a call by `->`: `x -> conv(64, 3)`"),
        (r"\|\|", "write `or`"),
        (r"\+\+|--", "write `i = i + 1`"),
        (r":=", "name the value on a line of its own: `n = 3`"),
        (r"^\s*@", "there are no decorators; `frozen` and `inline` stand before what they mean"),
        (r"^\s*\.\.\.", "an empty body is `{ }`, and a block returns a value"),
        (r"\d\.\.\.?\d", "the numbers from 0 to 2 are `range(3)`"),
        (r"(?<=[(,])\s*\*\*\w", "a list is spread by `*values`; named arguments are written out"),
    )
)


def of_name(name: str, known: Iterable[str]) -> list[str]:
    """Help for an unknown name."""
    return [NAMES[name]] if name in NAMES else did_you_mean(name, known)


def of_method(name: str, operators: Iterable[str]) -> list[str]:
    """Help for a field that a tensor does not have: `x.view(...)`."""
    if name in METHODS:
        return [METHODS[name]]
    if name in operators:
        return [f"operators are not methods: `{name}(x, ...)` or `x -> {name}(...)`"]
    return [NAMES[name]] if name in NAMES else did_you_mean(name, operators)


def of_argument(name: str, known: list[str]) -> list[str]:
    """Help for an argument that a callee with these parameters does not have."""
    meant = [other for other in ARGUMENTS.get(name, ()) if other in known]
    if meant:
        return [f"write `{meant[0]}`"]
    if name in LEFT_OUT:
        return [LEFT_OUT[name]]
    listed = [f"its parameters are {', '.join(f'`{n}`' for n in known)}"] if known else []
    return did_you_mean(name, known) or listed


def of_type(name: str, known: Iterable[str]) -> list[str]:
    """Help for an unknown type."""
    if name in TYPES:
        return [TYPES[name]]
    if len(name) == 1 and name.isupper():
        return ["a shape stands in square brackets: `[B, C]`"]
    return did_you_mean(name, known)


def sign_at(line: str, column: int) -> tuple[int, int, str] | None:
    """A sign of other languages that holds a column of a line: its start, its end, and what helps."""
    for pattern, help in SIGNS:
        for match in pattern.finditer(line):
            blank = len(match[0]) - len(match[0].lstrip())
            # The parser stops at the sign or at what follows it at once.
            if match.start() + blank <= column <= match.end():
                return match.start() + blank, match.end(), help
    return None
