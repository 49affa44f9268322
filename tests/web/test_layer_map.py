"""Where the cells of an adapter's layers lie, and how full they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.layer_map import layer_map


def test_cells_stand_by_kind_and_block() -> None:
    drawn = layer_map({"model.layers.0.q": 1.0, "model.layers.1.q": 2.0, "model.layers.1.mlp.up": 0.0, "lm_head": 4.0})
    assert drawn is not None
    assert [kind for _, kind in drawn.rows] == ["lm_head", "mlp.up", "q"]
    places = {cell.name: (cell.x, cell.width, cell.y) for cell in drawn.cells}
    assert places["model.layers.0.q"][:2] == (0, 50)
    assert places["model.layers.1.q"][:2] == (50, 50)
    assert places["lm_head"][:2] == (0, 100)
    assert places["model.layers.1.q"][2] == places["model.layers.0.q"][2] > places["model.layers.1.mlp.up"][2]
    assert drawn.largest.name == "lm_head"
    assert [tick.label for tick in drawn.ticks] == ["0", "1"]


def test_there_is_no_picture_of_nothing() -> None:
    assert layer_map({}) is None


NAMES = [f"model.layers.{block}.{kind}" for block in range(6) for kind in "qkv"]


@given(st.dictionaries(st.sampled_from([*NAMES, "lm_head"]), st.floats(0, 1e6), min_size=1))
def test_every_layer_is_drawn_once_inside_and_the_larger_is_the_fuller(norms: dict[str, float]) -> None:
    drawn = layer_map(norms)
    assert drawn is not None
    assert [cell.name for cell in drawn.cells] == list(norms)
    for cell in drawn.cells:
        assert cell.x >= 0
        assert cell.x + cell.width <= 100.01
        assert cell.y + cell.height <= drawn.height
        assert 0 < cell.opacity <= 1
    ordered = sorted(drawn.cells, key=lambda cell: cell.norm)
    assert [cell.opacity for cell in ordered] == sorted(cell.opacity for cell in ordered)
    if drawn.largest.norm > 0:
        assert drawn.largest.opacity == pytest.approx(1)
