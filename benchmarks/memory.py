"""Arena sizes beside TVM's `StaticPlanBlockMemory`: `python benchmarks/memory.py [--json] [NETWORK...]`.

A plan's graph in eval mode, simplified and with each batch norm as the multiply and add that it is, is
translated operator by operator into Relax. TVM legalises it, fuses it into kernels and plans their memory;
the sum of the storages that it allocates is its pool. The very same kernels and tensors are then planned
here: first in TVM's order, each tensor in a place of its own; then in an order of our own, where a kernel
whose epilogue reads an operand element by element may put its result in that operand's place. Inputs,
weights and the result belong to the caller on both sides. Sizes do not depend on the machine.

Needs the extra `tvm`. Exits with 1 if a goal is missed, with 0 and a message where TVM is not installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

NETWORKS = ("mobilenetv2_100", "resnet50", "densenet121")
GOAL_SAME, GOAL_OWN = 0.77, 0.75
SIZES = {"B": 1, "H": 224, "W": 224}


def translate(graph: Any) -> Any:
    """The graph as a Relax module with one function, `main`; weights are its parameters."""
    relax = import_module("tvm.relax")
    builder = relax.BlockBuilder()
    known: dict[Any, Any] = {}

    def parameter(name: str, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        return relax.Var(name, relax.TensorType(shape, dtype))

    parameters: list[Any] = []
    for value, name in zip(graph.inputs, graph.input_names, strict=True):
        known[value] = parameter(name, value.shape)
        parameters.append(known[value])
    for node in graph.nodes:
        if node.op.name == "batch_norm_with":
            shape = (1, node.inputs[0].shape[1], 1, 1)
            known[node] = [parameter(f"{kind}{node.id}", shape) for kind in ("scale", "shift")]
            parameters += known[node]
        elif node.op.name == "weight" and node.results[0].type.dtype == "float":
            # Matrices are given as a product takes them, so that neither side transposes them at each call.
            shape = node.results[0].shape
            known[node.results[0]] = parameter(f"weight{node.id}", shape[::-1] if len(shape) == 2 else shape)
            parameters.append(known[node.results[0]])
    with builder.function("main", parameters, attrs={"num_input": len(graph.inputs)}):
        with builder.dataflow():
            for node in graph.operators():
                if node.op.name == "batch_norm_with":
                    operands = [known[node.inputs[0]], *known[node]]
                else:
                    operands = [known[value] for value in node.inputs]
                made = OPERATORS[node.op.name](relax.op, builder.emit, node, *operands)
                known[node.results[0]] = builder.emit(made)
            result = builder.emit_output(known[graph.outputs[0]])
        builder.emit_func_output(result)
    return builder.get()


def _conv(op: Any, emit: Any, node: Any, x: Any, weight: Any) -> Any:
    before, after = zip(*node.op.pad, strict=True)
    return op.nn.conv2d(
        x,
        weight,
        strides=list(node.op.stride),
        padding=[*before, *after],
        dilation=list(node.op.dilation),
        groups=node.op.groups,
    )


def _linear(op: Any, emit: Any, node: Any, x: Any, weight: Any, bias: Any) -> Any:
    return op.add(emit(op.matmul(x, weight)), bias)


def _window(name: str) -> Callable[..., Any]:
    def pool(op: Any, emit: Any, node: Any, x: Any) -> Any:
        sizes = [(each, each) for each in (node.op.kernel, node.op.stride, node.op.pad)]
        return getattr(op.nn, name)(x, *sizes)

    return pool


# Operators of our graph in Relax; each is given `relax.op`, what names a value, the node and its operands.
OPERATORS: dict[str, Callable[..., Any]] = {
    "conv_with": _conv,
    "linear_with": _linear,
    "batch_norm_with": lambda op, emit, node, x, scale, shift: op.add(emit(op.multiply(x, scale)), shift),
    "relu": lambda op, emit, node, x: op.nn.relu(x),
    "relu6": lambda op, emit, node, x: op.clip(x, 0, 6),
    "add": lambda op, emit, node, x, y: op.add(x, y),
    "concat": lambda op, emit, node, *xs: op.concat(list(xs), axis=node.op.axis),
    "max_pool": _window("max_pool2d"),
    "avg_pool": _window("avg_pool2d"),
    "global_avg_pool": lambda op, emit, node, x: op.mean(x, axis=[2, 3]),
}


def plan_in_tvm(module: Any, fuse: bool) -> tuple[Any, dict[str, frozenset[int]]]:
    """The module with its memory planned by TVM, and what its kernels may overwrite."""
    ir, relax = import_module("tvm.ir"), import_module("tvm.relax")
    passes = relax.transform
    module = ir.transform.Sequential([passes.LegalizeOps(), passes.AnnotateTIROpPattern()])(module)
    if fuse:
        module = passes.FuseOps()(module)
    overwritable = dict(_overwritable(module))
    if fuse:
        module = passes.FuseTIR()(module)
    rest = [
        passes.DeadCodeElimination(["main"]),
        passes.RewriteDataflowReshape(),
        passes.ToNonDataflow(),
        passes.RemovePurityChecking(),
        passes.CallTIRRewrite(),
        passes.StaticPlanBlockMemory(),
    ]
    return ir.transform.Sequential(rest)(module), overwritable


def _overwritable(module: Any) -> Iterator[tuple[str, frozenset[int]]]:
    """For each kernel, the operands that it reads only at the element that it writes.

    That is so where everything from the operand to the kernel's result is elementwise on tensors of the
    result's type. TVM marks the functions that are: patterns 0 (elementwise) and 1 (broadcast).
    """
    ir, relax = import_module("tvm.ir"), import_module("tvm.relax")
    call_tir, equal = ir.Op.get("relax.call_tir"), import_module("tvm_ffi").structural_equal

    def elementwise(name: str) -> bool:
        return int(module[name].attrs.get("op_pattern", 8)) <= 1

    def calls(function: Any) -> list[Any]:
        bindings = [each for block in function.body.blocks for each in block.bindings]
        return [each for each in bindings if isinstance(each.value, relax.Call) and each.value.op == call_tir]

    for variable, function in module.functions.items():
        if not isinstance(function, relax.Function):
            continue
        if variable.name_hint == "main":
            for each in calls(function):
                name, operands = each.value.args[0].name_hint, each.value.args[1].fields
                same = [n for n, one in enumerate(operands) if equal(one.ty, each.var.ty)]
                yield name, frozenset(same if elementwise(name) else ())
            continue
        # Values that do not reach the result elementwise, found from the result back.
        spoiled: set[Any] = set()
        for each in reversed(calls(function)):
            broken = each.var in spoiled or not elementwise(each.value.args[0].name_hint)
            for one in each.value.args[1].fields:
                if broken or not equal(one.ty, function.ret_ty):
                    spoiled.add(one)
        yield variable.name_hint, frozenset(n for n, one in enumerate(function.params) if one not in spoiled)


def problem_of(module: Any, overwritable: dict[str, frozenset[int]]) -> tuple[int, Any]:
    """TVM's pool in bytes, and the kernels and tensors that it planned as a problem for our planner."""
    from planform.compiler.memory import Problem, Task

    ir, relax = import_module("tvm.ir"), import_module("tvm.relax")
    width = {"float32": 4}
    pool = 0
    sizes: list[int] = []
    tasks: list[Task] = []
    buffer: dict[Any, int] = {}
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            value = binding.value
            if isinstance(value, relax.Var):
                if value in buffer:
                    buffer[binding.var] = buffer[value]
                continue
            if not isinstance(value, relax.Call):
                raise TypeError(f"{value} is neither a call nor a variable")
            if isinstance(value.op, ir.GlobalVar):
                *operands, result = value.args
                reads = tuple(dict.fromkeys(buffer[each] for each in operands if each in buffer))
                writes = (buffer[result],) if result in buffer else ()
                free = overwritable[value.op.name_hint]
                spoiled = {buffer.get(each) for n, each in enumerate(operands) if n not in free}
                fit = [read for read in reads if read not in spoiled]
                tasks.append(Task(reads, writes, tuple((each, read) for each in writes for read in fit)))
            elif value.op.name == "relax.memory.alloc_storage":
                pool += int(value.args[0].values[0])
            elif value.op.name == "relax.memory.alloc_tensor":
                count = width[str(binding.var.ty.dtype)]
                for size in binding.var.ty.shape.values:
                    count *= int(size)
                buffer[binding.var] = len(sizes)
                sizes.append(count)
            elif value.op.name != "relax.builtin.alloc_tensor":
                raise TypeError(f"what {value.op.name} does with memory is not known")
    return pool, Problem(tuple(sizes), tuple(tasks))


def measure(name: str, fuse: bool) -> dict[str, Any]:
    """TVM's pool and our arenas for a network, in bytes."""
    import planform
    from planform.compiler.memory import arrange
    from planform.compiler.rewriting.pipeline import optimise

    graph = optimise(planform.load(name).at(**SIZES).graph)
    pool, problem = problem_of(*plan_in_tvm(translate(graph), fuse))
    same = arrange(problem, reorder=False, in_place=False)
    own = arrange(problem)
    return {
        "network": name,
        "kernels": "fused" if fuse else "single",
        "count": len(problem.tasks),
        "tensors": len(problem.sizes),
        "tvm": pool,
        "bound": same.bound,
        "same": same.size,
        "own": own.size,
        "own_least": own.least,
        "in_place": len(own.over),
        "ratio_same": same.size / pool,
        "ratio_own": own.size / pool,
    }


def main() -> int:
    """Measure and print; 1 if a goal is missed."""
    try:
        tvm, tvm_ffi = import_module("tvm"), import_module("tvm_ffi")
    except ImportError:
        print("skipped: TVM is not installed; pip install 'planform[tvm]'", file=sys.stderr)
        return 0
    import planform

    names = [each for each in sys.argv[1:] if not each.startswith("-")] or NETWORKS
    rows = [measure(name, fuse) for fuse in (True, False) for name in names]
    versions = {
        "planform": planform.__version__,
        "tvm": tvm.__version__,
        "tvm_ffi": tvm_ffi.__version__,
        "python": sys.version.split()[0],
    }
    if "--json" in sys.argv[1:]:
        print(json.dumps({"versions": versions, "sizes": SIZES, "rows": rows}, indent=2))
    else:
        show(versions, rows)
    return 0 if all(met for _, met in goals(rows)) else 1


def goals(rows: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    """Each goal with whether it is met; they are set for the kernels that TVM fuses."""
    found: list[tuple[str, bool]] = []
    for row in rows:
        if row["kernels"] == "fused":
            for key, goal, what in (
                ("ratio_same", GOAL_SAME, "the same kernels and order"),
                ("ratio_own", GOAL_OWN, "own order, in place"),
            ):
                text = f"{row['network']}, {what}: {row[key]:.3f} of TVM's pool, at most {goal}"
                found.append((text, row[key] <= goal))
    return found


def show(versions: dict[str, str], rows: list[dict[str, Any]]) -> None:
    """The figures for people."""
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    sizes = ", ".join(f"{name}={size}" for name, size in SIZES.items())
    print(f"bytes at {sizes}, float32, 64-byte alignment\n")
    print(
        f"{'network':<16} {'kernels':<12} {'TVM':>10} {'live':>10} {'same order':>10} {'ratio':>6} "
        f"{'own':>10} {'ratio':>6}"
    )
    for row in rows:
        print(
            f"{row['network']:<16} {row['kernels']:<6} {row['count']:>5} {row['tvm']:>10} {row['bound']:>10} "
            f"{row['same']:>10} {row['ratio_same']:>6.3f} {row['own']:>10} {row['ratio_own']:>6.3f}"
        )
    print("\nGoals")
    for text, met in goals(rows):
        print(f"  {'met   ' if met else 'MISSED'}  {text}")


if __name__ == "__main__":
    sys.exit(main())
