"""Inception-v3 against torchvision, with its auxiliary head in train mode, and timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

import planform
from support.parity import assert_initialised_alike, assert_parity

FILE = Path(__file__).parents[2] / "examples/convnets/inception_v3.plan"


def test_is_torchvisions(torchvision: ModuleType) -> None:
    """75 pixels are the least; the auxiliary head needs 17 x 17 cells, and so 299."""
    reference = torchvision.models.inception_v3(init_weights=False, dropout=0.0, num_classes=10)
    assert_parity(
        planform.load(FILE, plan="inception_v3", dropout_rate=0.0, classes=10),
        reference,
        size=75,
        modes=["eval"],
    )


@pytest.mark.slow
def test_auxiliary_head_is_torchvisions(torchvision: ModuleType) -> None:
    reference = torchvision.models.inception_v3(init_weights=False, dropout=0.0)
    assert_parity(
        planform.load(FILE, plan="inception_v3", dropout_rate=0.0), reference, size=299, modes=["train"]
    )


@pytest.mark.slow
def test_starts_as_timms(timm: ModuleType) -> None:
    assert_initialised_alike(
        planform.load(FILE, plan="inception_v3"), partial(timm.create_model, "inception_v3", aux_logits=True)
    )
