"""A network of timm with weights that are nothing trivial, images, and what they give in float64.

The weights are timm's initial ones, with norms drawn anew and the statistics of batch norms measured on
noise. Every contestant reads the same files of a case: weights, images and results for torch, and the
network in the formats of the other runtimes for each batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
# The modules that a contestant needs beside torch and timm.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "eager": (),
    "inductor": (),
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "planform": ("tvm",),
}


def build_timm(network: str) -> Any:
    """The peer's network in eval mode."""
    sys.path.insert(0, str(ROOT / "tests"))
    from support.torchvision_shim import import_timm

    return import_timm().create_model(network).eval()


def drawn(network: str) -> Any:
    """The network with drawn norms and measured statistics; the same at each call."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = build_timm(network)
    norms = [m for m in model.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm))]
    with torch.no_grad():
        for norm in norms:
            if norm.weight is not None:
                norm.weight.uniform_(0.5, 1.5)
            if norm.bias is not None:
                norm.bias.uniform_(-0.2, 0.2)
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = None
        if any(isinstance(norm, nn.BatchNorm2d) for norm in norms):
            model.train()(torch.randn(4, *image_size(model)))
    return model.eval()


def image_size(model: Any) -> tuple[int, int, int]:
    """Channels, height and width of a network's images."""
    return tuple(model.default_cfg["input_size"])


def missing(side: str) -> list[str]:
    """The modules that a contestant needs and that are not installed."""
    return [name for name in NEEDS[side] if find_spec(name) is None]


def prepare(network: str, batches: Sequence[int], sides: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write a case; the size of an image, and by contestant why its format could not be written."""
    import torch

    model = drawn(network)
    images = torch.randn(max(batches), *image_size(model))
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(weights, folder / "weights.pt")
    np.save(folder / "images.npy", images.numpy())
    with torch.no_grad():
        np.save(folder / "results.npy", model.double()(images.double()).numpy())
    failed: dict[str, str] = {}
    writers: Mapping[str, Callable[..., None]] = {"onnxruntime": _write_onnx, "openvino": _write_openvino}
    for side, writer in writers.items():
        if side not in sides:
            continue
        try:
            for batch in batches:
                # Afresh, because exporters may leave traces in the modules.
                written = build_timm(network)
                written.load_state_dict(weights)
                writer(written, images[:batch], folder / f"{side}_{batch}")
        except Exception as error:
            failed[side] = f"{type(error).__name__}: {error}".splitlines()[0]
    return {"size": list(images.shape[1:]), "failed": failed}


def _write_onnx(model: Any, images: Any, path: Path) -> None:
    """By the exporter that reads the graph of `torch.export`, or the older one that traces."""
    import torch

    file = path.with_suffix(".onnx")
    try:
        torch.onnx.export(model, (images,), str(file), dynamo=True, verbose=False)
    except Exception:
        torch.onnx.export(model, (images,), str(file), dynamo=False)


def _write_openvino(model: Any, images: Any, path: Path) -> None:
    openvino = import_module("openvino")
    made = openvino.convert_model(model, example_input=images, input=list(images.shape))
    openvino.save_model(made, str(path.with_suffix(".xml")), compress_to_fp16=False)
