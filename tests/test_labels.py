"""Labels become attributes of torch modules: the names that those reserve are known."""

from __future__ import annotations

from torch import nn

from planform.dsl.labels import RESERVED, problem


def test_reserved_names_are_those_of_torch() -> None:
    public = {name for name in dir(nn.Module()) if not name.startswith("_")}
    assert public <= RESERVED


def test_labels_are_dotted_names_and_numbers() -> None:
    for good in ("conv1", "layer1.0.conv", "0", "a.10.b_c"):
        assert problem(good) is None
    for bad in ("", ".", "a..b", "a.", "1a", "forward", "layer.train", "_hidden", "a b", "x" * 300, "ä"):
        assert problem(bad) is not None
