"""Why a batch norm stays where no rule found anything to fold it into."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph.graph import Graph, Node
from ..rule import Refusal
from .channels import trail


def kept_norms(graph: Graph, refused: Sequence[Refusal]) -> list[Refusal]:
    """A refusal for each batch norm of the graph that is in none yet."""
    known = {origin for refusal in refused for origin in refusal.origins}
    users = graph.users()
    found: list[Refusal] = []
    for node in graph.nodes:
        if node.op.name == "batch_norm_with" and not known.intersection(node.origins):
            before = trail(node.inputs[0]).start.node
            after = [reader.op.title for reader in users[node.results[0]]] or ["the result"]
            names = " and ".join(dict.fromkeys(after))
            reason = (
                f"it stands between {_title(before)} and {names}, and neither is a linear map with weights"
            )
            found.append(Refusal("fold a scale and shift", reason, node))
    return found


def _title(node: Node) -> str:
    return "the input" if node.op.source else node.op.title
