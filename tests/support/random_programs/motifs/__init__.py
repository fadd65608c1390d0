"""The kinds of statements that programs are grown of: pieces of networks, views, and any operator."""

from __future__ import annotations

from collections.abc import Callable

from ..grow import Grower
from .attention import attention, einsum, heads, matmul
from .blocks import stage
from .maps import conv, depthwise_chain, linear, transposed, twice
from .norms import norm, pool, resize
from .operators import anything
from .values import constants, elements, indices, integers, masks, recurrence, regions, rows, spectrum
from .views import join, split, view

MOTIFS: dict[Callable[[Grower], None], float] = {
    conv: 4,
    depthwise_chain: 2,
    transposed: 1.5,
    linear: 2.5,
    twice: 3,
    norm: 3,
    pool: 2,
    resize: 1,
    attention: 2,
    heads: 1.5,
    matmul: 1,
    einsum: 0.8,
    view: 5,
    split: 3,
    join: 2.5,
    elements: 4,
    rows: 2.5,
    spectrum: 0.6,
    recurrence: 1.5,
    stage: 1.5,
    indices: 1,
    masks: 1,
    integers: 0.8,
    constants: 1,
    regions: 0.5,
    anything: 9,
}
