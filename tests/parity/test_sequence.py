"""Convolutional recurrent networks and spatial message passing against torch's own layers and plain loops."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from shutil import copy
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import planform
from planform.api.model import Model
from support.parity import assert_parity, images

FOLDER = Path(__file__).parents[2] / "examples/sequence"
SLICES = """
    rnn.weight_ih_l0 -> lstm1.weight_ih
    rnn.weight_hh_l0 -> lstm1.weight_hh
    rnn.bias_ih_l0 -> lstm1.bias_ih
    rnn.bias_hh_l0 -> lstm1.bias_hh
"""


def clips(frames: int, size: int) -> Tensor:
    """Two clips of noise."""
    return images(2 * frames, size).unflatten(0, (2, frames))


class Recurrent(nn.Module):
    """Frames through a trunk one after another, torch's LSTM over them, a class for each."""

    def __init__(self, trunk: nn.Module, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.rnn = nn.LSTM(features, hidden, batch_first=True)
        self.fc8_final = nn.Linear(hidden, classes)

    def forward(self, clip: Tensor) -> Tensor:
        seen = torch.stack([self.trunk(frame) for frame in clip.unbind(1)], 1) if not self.training else None
        if seen is None:
            # Batch statistics are those of all frames.
            seen = self.trunk(clip.flatten(0, 1)).unflatten(0, clip.shape[:2])
        frames = self.fc8_final(self.rnn(seen)[0])
        return frames if self.training else frames.softmax(2).mean(1)


def hybrid() -> nn.Module:
    def pool() -> nn.Module:
        return nn.Sequential(
            nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        )

    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 7, 2),
            pool1=pool(),
            conv2=nn.Conv2d(96, 384, 5, 2, groups=2),
            pool2=pool(),
            conv3=nn.Conv2d(384, 512, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(512, 512, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(512, 384, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, 2, ceil_mode=True),
            flat=nn.Flatten(),
            fc6=nn.LazyLinear(4096),
            relu6=nn.ReLU(),
        )
    )


def still(name: str, **sizes: int) -> Model:
    """A plan of LRCN without dropout."""
    return planform.load(FOLDER / "lrcn.plan", plan=name, dropout_rates=[0.0, 0.0]).at(**sizes)


@pytest.mark.slow
def test_lrcn_is_torchs_layers() -> None:
    reference = Recurrent(hybrid(), 4096, 256, 101)
    reference(clips(1, 67).float())
    rules = SLICES + "\n".join(f"trunk.{name} -> {name}" for name in ("conv{i}", "fc6"))
    assert_parity(still("lrcn_rgb", T=3, H=67, W=67), reference, [clips(3, 67)], rules=rules)


@pytest.mark.slow
def test_cnn_lstm_is_torchvisions_resnet_under_torchs_lstm(torchvision: ModuleType) -> None:
    """Its trunk is cut out of the plan of another file."""
    trunk = torchvision.models.resnet18()
    trunk.fc = nn.Identity()
    rules = SLICES + "trunk -> cnn"
    reference = Recurrent(trunk, 512, 512, 101)
    assert_parity(still("cnn_lstm", T=2), reference, [clips(2, 64)], rules=rules)


def pass_messages(x: Tensor, kernels: nn.ModuleDict) -> Tensor:
    """Equation 1 of the paper in the directions that have a kernel."""
    for name, conv in kernels.items():
        axis = 2 if name in ("down", "up") else 3
        slices = list(x.unbind(axis))
        order = range(len(slices)) if name in ("down", "right") else range(len(slices) - 1, -1, -1)
        for before, at in pairwise(order):
            slices[at] = slices[at] + conv(slices[before]).relu()
        x = torch.stack(slices, axis)
    return x


def kernels(channels: int, size: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            name: nn.Conv1d(channels, channels, size, padding=size // 2, bias=False)
            for name in ("down", "up", "right", "left")
        }
    )


class Passing(nn.Module):
    """The message passing alone."""

    def __init__(self) -> None:
        super().__init__()
        self.message = kernels(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return pass_messages(x, self.message)


MESSAGE_RULES = "".join(
    f"message.{name} -> message.{name}.conv\n" for name in ("down", "up", "right", "left")
)


def test_messages_are_passed_in_four_directions(tmp_path: Path) -> None:
    """Over 5 rows and 7 columns, in steps that are written out; over 20 columns in a loop."""
    model = "model net(x: [B, 3, H, W]) { return x -> message: scnn(kernel=5) }\nplan p = net()\n"
    (tmp_path / "net.plan").write_text(f'planform 1\nuse "scnn.plan" (scnn)\n{model}', encoding="utf-8")
    copy(FOLDER / "scnn.plan", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    for width in (7, 20):
        x = images(2, width)[:, :, :5]
        ours = planform.load(tmp_path / "net.plan", plan="p").at(H=5, W=width)
        assert_parity(ours, Passing(), [x], rules=MESSAGE_RULES)


class Messages(nn.Module):
    """LargeFOV of torchvision's VGG-16, messages along rows and columns in plain loops, maps and lanes."""

    def __init__(self, vgg: nn.Module, side: int, passing: bool = True) -> None:
        super().__init__()
        layers = list(vgg.features)  # pyright: ignore
        self.trunk = nn.ModuleList()
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.Conv2d) and number > 33:
                layer.dilation = layer.padding = (2, 2)
            # The last two poolings are gone.
            self.trunk.append(nn.Identity() if number in (33, 43) else layer)
        self.fc6, self.bn6 = nn.Conv2d(512, 1024, 3, padding=4, dilation=4, bias=False), nn.BatchNorm2d(1024)
        self.fc7, self.bn7 = nn.Conv2d(1024, 128, 1, bias=False), nn.BatchNorm2d(128)
        self.message = kernels(128, 9) if passing else nn.ModuleDict()
        self.score = nn.Conv2d(128, 5, 1)
        self.exist1, self.exist2 = nn.Linear(5 * (side // 16) ** 2, 128), nn.Linear(128, 4)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = image
        for layer in self.trunk:
            x = layer(x)
        x = pass_messages(self.bn7(self.fc7(self.bn6(self.fc6(x)).relu())).relu(), self.message)
        x = self.score(x)
        lanes = nn.functional.avg_pool2d(x.softmax(1), 2).flatten(1)
        maps = nn.functional.interpolate(x, scale_factor=8, mode="bilinear", align_corners=True)
        return {"maps": maps, "exists": self.exist2(self.exist1(lanes).relu()).sigmoid()}


def vgg_rules() -> str:
    """torchvision's numbers of VGG's layers -> stage and place."""
    rules, number = "", 0
    for stage, depth in enumerate((2, 2, 3, 3, 3), start=1):
        for place in range(1, depth + 1):
            rules += f"trunk.{number} -> conv{stage}_{place}\ntrunk.{number + 1} -> bn{stage}_{place}\n"
            number += 3
        number += 1
    return rules


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lane_scnn", "lane_baseline"])
def test_scnn_is_a_plain_loop_over_slices(name: str, torchvision: ModuleType) -> None:
    reference = Messages(torchvision.models.vgg16_bn(), 64, name == "lane_scnn")
    rules = vgg_rules() + (MESSAGE_RULES if name == "lane_scnn" else "")
    ours = planform.load(FOLDER / "scnn.plan", plan=name, dropout_rate=0.0).at(H=64, W=64)
    assert_parity(ours, reference, rules=rules)
