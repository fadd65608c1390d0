"""Torch calls as Python expressions."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import fx
from torch.fx.node import _get_qualified_name

from ....compiler.names import quoted
from .literals import literal

ATOM, POWER, UNARY, PRODUCT, SUM, AND, XOR, OR, COMPARE = range(9, 0, -1)


class Text(NamedTuple):
    """An expression and how strongly it binds."""

    code: str
    strength: int = ATOM

    def at(self, strength: int) -> str:
        """The code, in parentheses if it binds less strongly."""
        return self.code if self.strength >= strength else f"({self.code})"


_INFIX: dict[Any, tuple[str, int]] = {
    operator.add: ("+", SUM),
    operator.sub: ("-", SUM),
    operator.mul: ("*", PRODUCT),
    operator.truediv: ("/", PRODUCT),
    operator.floordiv: ("//", PRODUCT),
    operator.mod: ("%", PRODUCT),
    operator.matmul: ("@", PRODUCT),
    operator.and_: ("&", AND),
    operator.xor: ("^", XOR),
    operator.or_: ("|", OR),
    operator.eq: ("==", COMPARE),
    operator.ne: ("!=", COMPARE),
    operator.lt: ("<", COMPARE),
    operator.le: ("<=", COMPARE),
    operator.gt: (">", COMPARE),
    operator.ge: (">=", COMPARE),
}
_PREFIX = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
_PLAIN_NAMES = {"torch.sym_max": "max", "torch.sym_min": "min"}

# Settings that one number gives for all axes, and what torch takes where they are not given.
_PER_AXIS = {"kernel_size", "stride", "padding", "dilation", "output_padding"}
_DEFAULTS: dict[str, Any] = {
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "ceil_mode": False,
    "return_indices": False,
}

Operand = Callable[[fx.Node], Text]


def expression(node: fx.Node, operand: Operand, live: bool = False) -> Text:
    """The node's call over its operands' texts; `live` lets `training=True` follow the module's mode."""
    target, args = node.target, node.args
    if node.op == "call_method":
        receiver, *rest = args
        return _method(receiver, str(target), rest, node.kwargs, operand)
    if node.meta.get("called") == "torch.matmul":
        target = operator.matmul
    if target in _INFIX and len(args) == 2:
        sign, strength = _INFIX[target]
        right = strength + 1
        left = strength + 1 if strength == COMPARE else strength
        first, second = value(args[0], operand), value(args[1], operand)
        return Text(f"{first.at(left)} {sign} {second.at(right)}", strength)
    if target is operator.pow:
        first, second = value(args[0], operand), value(args[1], operand)
        return Text(f"{first.at(ATOM)} ** {second.at(UNARY)}", POWER)
    if target in _PREFIX:
        return Text(f"{_PREFIX[target]}{value(args[0], operand).at(UNARY)}", UNARY)
    if target is operator.getitem:
        return Text(f"{value(args[0], operand).at(ATOM)}[{_index(args[1], operand)}]")
    if target is getattr:
        return Text(f"{value(args[0], operand).at(ATOM)}.{args[1]}")
    assert callable(target)
    name = str(node.meta.get("called") or _get_qualified_name(target))
    if name.startswith("torch.Tensor."):
        receiver, *rest = args
        return _method(receiver, name.removeprefix("torch.Tensor."), rest, node.kwargs, operand)
    name = _PLAIN_NAMES.get(name, name.replace("torch.nn.functional.", "F."))
    kwargs = dict(node.kwargs)
    follows = ""
    if live and kwargs.get("training") is True:
        del kwargs["training"]
        follows = ", training=self.training"
    return Text(f"{name}({_arguments(name, args, kwargs, operand)}{follows})")


def _method(receiver: Any, name: str, args: Any, kwargs: Mapping[str, Any], operand: Operand) -> Text:
    return Text(f"{value(receiver, operand).at(ATOM)}.{name}({_arguments('', args, kwargs, operand)})")


def value(thing: Any, operand: Operand, hint: str = "") -> Text:
    """An argument: an operand, a structure of such or a plain value."""
    if isinstance(thing, fx.Node):
        return operand(thing)
    if isinstance(thing, (tuple, list)):
        items = [value(item, operand, hint).code for item in thing]
        if isinstance(thing, list):
            return Text(f"[{', '.join(items)}]")
        return Text(f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})")
    if isinstance(thing, Mapping):
        pairs = [f"{quoted(str(key))}: {value(item, operand).code}" for key, item in thing.items()]
        return Text(f"{{{', '.join(pairs)}}}")
    if isinstance(thing, slice):
        bounds = [value(bound, operand).code for bound in (thing.start, thing.stop, thing.step)]
        return Text(f"slice({', '.join(bounds)})")
    negative = isinstance(thing, (int, float)) and not isinstance(thing, bool) and thing < 0
    return Text("..." if thing is Ellipsis else literal(thing, hint), UNARY if negative else ATOM)


def _index(thing: Any, operand: Operand) -> str:
    if isinstance(thing, tuple):
        return ", ".join(_index(item, operand) for item in thing) + ("," if len(thing) == 1 else "")
    if isinstance(thing, slice):
        bounds = (thing.start, thing.stop, thing.step)
        start, stop, step = ("" if bound is None else value(bound, operand).code for bound in bounds)
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return value(thing, operand).code


def _arguments(name: str, args: Any, kwargs: Mapping[str, Any], operand: Operand) -> str:
    windows = "conv" in name or "pool" in name
    shown = [value(arg, operand).code for arg in args]
    while windows and shown and args[len(shown) - 1] is None:
        shown.pop()
    for key, given in kwargs.items():
        if windows:
            given = same_everywhere(key, given)
            default = 1 if key == "stride" and "conv" in name else _DEFAULTS.get(key, ...)
            if given == default:
                continue
        if key == "keepdim" and given is False:
            continue
        plain = windows and key == "kernel_size" and len(shown) == 1
        shown.append(f"{'' if plain else f'{key}='}{value(given, operand, key).code}")
    return ", ".join(shown)


def same_everywhere(name: str, given: Any) -> Any:
    """One number for a setting that has the same number for every axis."""
    if name in _PER_AXIS and isinstance(given, tuple) and given and all(item == given[0] for item in given):
        return given[0]
    return given


class Construction(NamedTuple):
    """A call of a class of torch.nn."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def text(self) -> str:
        """The call as a person writes it: required arguments by position, others by name unless default."""
        kind = getattr(torch.nn, self.name)
        signature = inspect.signature(kind)
        shown: list[str] = []
        first = next(iter(signature.parameters), None)
        for key, given in signature.bind(*self.args, **self.kwargs).arguments.items():
            default = signature.parameters[key].default
            given = same_everywhere(key, given)
            if key == "normalized_shape" and isinstance(given, (tuple, list)) and len(given) == 1:
                given = given[0]
            if default is inspect.Parameter.empty or (key == first and given != default):
                shown.append(literal(given, key))
            elif given != default or type(given) is not type(default):
                shown.append(literal(given, key) if key == "kernel_size" else f"{key}={literal(given, key)}")
        return f"nn.{self.name}({', '.join(shown)})"


class Constructors:
    """Stands for torch.nn while `module` methods run: a class gives the text of its call."""

    def __getattr__(self, name: str) -> Callable[..., Construction]:
        return lambda *args, **kwargs: Construction(name, args, kwargs)
