"""Labels: which texts can name weights, and which names torch modules keep for themselves."""

from __future__ import annotations

import re

_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")

# The public attributes of torch.nn.Module (a test compares them with the installed torch).
RESERVED = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
    ]
)


def problem(label: str) -> str | None:
    """Why a text cannot be a label, or None if it can."""
    if len(label) > 200:
        return "it is longer than 200 characters"
    for part in label.split("."):
        if not _PART.fullmatch(part):
            return "each part between dots is a name or a number"
        if part in RESERVED:
            return f"`{part}` is an attribute of every torch module"
        if part.startswith("_"):
            return "names with a leading underscore belong to torch modules"
    return None
