"""The role that a node plays in fusion: its operator's, unless it runs bodies or has effects."""

from __future__ import annotations

from ..graph.graph import Node
from ..ops.core.base import Role


def role_of(node: Node) -> Role:
    """The role of a node; what has effects or bodies is opaque."""
    return "opaque" if node.bodies or node.effects else node.op.role_given(node.slots)
