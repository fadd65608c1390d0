"""The runtimes: each makes a case callable in this process, with the number of threads that it is told.

All compute in float32, also where the processor could do with less. Each gets the image in the form that it
likes best, made ahead of the call.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .cases import build_timm

Call = Callable[[], Any]


class Contestant:
    """A case for one runtime: what can be done ahead is done here, what counts as compiling in `build`."""

    def __init__(self, network: str, folder: Path, batch: int) -> None:
        self.limit = int(os.environ["OMP_NUM_THREADS"])
        self.network, self.folder, self.batch = network, folder, batch
        self.images = np.ascontiguousarray(np.load(folder / "images.npy")[:batch])
        self.expected = np.load(folder / "results.npy")[:batch]

    def build(self) -> Call:
        """The network ready to be called on the images."""
        raise TypeError("a contestant says how it builds")

    def threads(self) -> int:
        """The number of threads as the runtime says it, after the calls."""
        raise TypeError("a contestant says how many threads it has")

    def error(self, found: Any) -> float:
        """The largest error, as a part of the largest result in float64."""
        found = np.asarray(found, np.float64)
        assert found.shape == self.expected.shape
        return float(np.abs(found - self.expected).max() / np.abs(self.expected).max())


class WithTorch(Contestant):
    """One that needs torch, at least to build: importing it does not count as compiling."""

    def __init__(self, network: str, folder: Path, batch: int) -> None:
        super().__init__(network, folder, batch)
        self.torch = import_module("torch")
        self.torch.set_num_threads(self.limit)
        self.weights = self.torch.load(folder / "weights.pt")


class Eager(WithTorch):
    """timm's network as it is."""

    def __init__(self, network: str, folder: Path, batch: int) -> None:
        super().__init__(network, folder, batch)
        self.model = build_timm(network)
        self.model.load_state_dict(self.weights)

    def build(self) -> Call:
        """The module itself."""
        return self.inferring(self.model, self.torch.from_numpy(self.images))

    def inferring(self, model: Callable[[Any], Any], images: Any) -> Call:
        """Calls that record nothing for gradients."""
        return self.torch.inference_mode()(lambda: model(images))

    def threads(self) -> int:
        """As torch has it."""
        return self.torch.get_num_threads()


class Inductor(Eager):
    """`torch.compile` with what its guide to inference on processors recommends."""

    def build(self) -> Call:
        """Weights frozen, channels last."""
        config: Any = import_module("torch._inductor.config")
        config.freezing = True
        last = self.torch.channels_last
        model = self.torch.compile(self.model.to(memory_format=last), dynamic=False)
        return self.inferring(model, self.torch.from_numpy(self.images).to(memory_format=last))


class OnnxRuntime(Contestant):
    """A session with all of its optimisations."""

    def build(self) -> Call:
        """From the file of the exporter."""
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.limit, 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        path = str(self.folder / f"onnxruntime_{self.batch}.onnx")
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.options = session.get_session_options()
        feed = {session.get_inputs()[0].name: self.images}
        return lambda: session.run(None, feed)[0]

    def threads(self) -> int:
        """As the session has it."""
        return self.options.intra_op_num_threads


class OpenVino(Contestant):
    """A model compiled for latency."""

    def build(self) -> Call:
        """From its own file; results and the image are not copied."""
        openvino = import_module("openvino")
        options = {
            "INFERENCE_NUM_THREADS": self.limit,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        path = str(self.folder / f"openvino_{self.batch}.xml")
        self.compiled = openvino.Core().compile_model(path, "CPU", options)
        request = self.compiled.create_infer_request()
        return lambda: request.infer(self.images, share_inputs=True, share_outputs=True)[0]

    def threads(self) -> int:
        """As the compiled model has it."""
        return int(self.compiled.get_property("INFERENCE_NUM_THREADS"))


class Planform(WithTorch):
    """The plan of the same name."""

    def build(self) -> Call:
        """From the text of the plan, bound to the size of the images."""
        import planform

        plan = bound(planform.load(self.network), self.images.shape)
        model = plan.to_tvm(weights=self.weights)
        return lambda: model(self.images)

    def threads(self) -> int:
        """As TVM's runtime has it."""
        return import_module("planform.backends.tvm.runtime.libraries").threads()


CONTESTANTS: Mapping[str, type[Contestant]] = {
    "eager": Eager,
    "inductor": Inductor,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "planform": Planform,
}


def bound(plan: Any, shape: Sequence[int]) -> Any:
    """The plan with the free sizes of its image bound."""
    named = zip(plan.graph.inputs[0].shape, shape, strict=True)
    return plan.at(**{str(size): int(value) for size, value in named if not isinstance(size, int)})


def work(network: str, batch: int, size: Sequence[int]) -> tuple[int, int]:
    """Multiply-adds of a call of the deployed plan, and those of its 3x3 convolutions of all channels.

    Convolutions count as they are defined, whatever algorithm a runtime has for them.
    """
    import planform

    rows = bound(planform.load(network), [batch, *size]).cost("deploy").rows
    found = [(int(row.cost.macs), row.node) for row in rows if row.cost.macs]
    square = [n for n, node in found if "conv" in node.op.name and _dense_3x3(node.inputs[1].shape)]
    return sum(n for n, _ in found), sum(square)


def _dense_3x3(shape: Sequence[Any]) -> bool:
    return tuple(shape[2:]) == (3, 3) and shape[1] != 1
