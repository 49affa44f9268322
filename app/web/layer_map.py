"""Geometry of the picture of an adapter's layers: one strip a kind of layer, one cell a block of the model."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.web.charts import Tick

ROW_HEIGHT = 44
_CELL_Y, _CELL_HEIGHT = 22, 16
_FAINTEST = 0.06
"""Opacity of the smallest change, so that a layer that is changed never looks like one that is not."""
_BLOCK = re.compile(r"(?:.*\.)?(\d+)\.(.+)")


@dataclass(frozen=True)
class LayerCell:
    """One layer: percent across, pixels down, opacity in [0, 1], and what it stands for."""

    x: float
    y: int
    width: float
    height: int
    opacity: float
    name: str
    norm: float


@dataclass(frozen=True)
class LayerMap:
    """The whole picture: ``height`` in pixels, rows as (pixels, kind of layer), block numbers as ticks."""

    height: int
    rows: tuple[tuple[int, str], ...]
    cells: tuple[LayerCell, ...]
    ticks: tuple[Tick, ...]
    largest: LayerCell


def layer_map(norms: Mapping[str, float]) -> LayerMap | None:
    """Lay out the norm of each layer's update by its kind and the number of its block; None when there is none.

    The darkest cell is the largest norm. A layer outside of the numbered blocks takes a whole strip.
    """
    if not norms:
        return None
    placed = {name: _place(name) for name in norms}
    blocks = sorted({block for block, _ in placed.values() if block is not None})
    kinds = sorted({kind for _, kind in placed.values()})
    count = max(1, len(blocks))
    top = max(norms.values())
    cells = tuple(
        LayerCell(
            x=0.0 if block is None else round(100 * blocks.index(block) / count, 3),
            y=kinds.index(kind) * ROW_HEIGHT + _CELL_Y,
            width=100.0 if block is None else round(100 / count, 3),
            height=_CELL_HEIGHT,
            opacity=round(_FAINTEST + (1 - _FAINTEST) * (norms[name] / top if top else 0.0), 3),
            name=name,
            norm=norms[name],
        )
        for name, (block, kind) in placed.items()
    )
    shown = blocks if count <= 1 else [blocks[0], blocks[count // 2], blocks[-1]]
    ticks = tuple(
        Tick(round(100 * (blocks.index(block) + 0.5) / count, 3), str(block)) for block in dict.fromkeys(shown)
    )
    rows = tuple((index * ROW_HEIGHT + 14, kind) for index, kind in enumerate(kinds))
    return LayerMap(len(kinds) * ROW_HEIGHT, rows, cells, ticks, max(cells, key=lambda cell: cell.norm))


def _place(name: str) -> tuple[int | None, str]:
    """The block that a layer belongs to, and its kind: ``model.layers.3.mlp.up_proj`` is ``mlp.up_proj`` of 3."""
    match = _BLOCK.fullmatch(name)
    return (int(match[1]), match[2]) if match else (None, name)
