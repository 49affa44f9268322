"""Whatever bytes arrive, the answer is an adapter or a refusal in one sentence, never another error."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.intake.packing import CONFIG, LAYER, PREFIX, WEIGHTS, Honest, sent, tarred, zipped
from training.errors import IntakeError
from training.intake.take import Adapter, read_upload

GOOD = Honest(
    {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]},
    {f"{PREFIX}{LAYER}.lora_A.weight": torch.ones(2, 4), f"{PREFIX}{LAYER}.lora_B.weight": torch.ones(4, 2)},
)
PACKED = {
    "zip": zipped(GOOD.files()),
    "tar.gz": tarred(GOOD.files()),
    "config": GOOD.files()[CONFIG],
    "weights": GOOD.files()[WEIGHTS],
}
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6)


def damaged(content: bytes, changes: list[tuple[float, int]], keep: float) -> bytes:
    """Bytes exchanged at these places, and the end cut off."""
    spoilt = bytearray(content)
    for place, value in changes:
        spoilt[int(place * len(spoilt))] = value
    return bytes(spoilt[: max(1, round(keep * len(spoilt)))])


def upload(kind: str, content: bytes) -> bytes | dict[str, bytes]:
    files = GOOD.files()
    if kind in {"zip", "tar.gz"}:
        return content
    return {**files, CONFIG if kind == "config" else WEIGHTS: content}


def answer(kind: str, content: bytes, folder: Path) -> Adapter | str:
    files = sent(folder / "sent", upload(kind, content), "adapter.zip")
    try:
        return read_upload(files, folder / "scratch")
    except IntakeError as refusal:
        return refusal.message


@pytest.mark.parametrize("kind", PACKED)
@settings(max_examples=150, deadline=None)
@given(changes=CHANGES, keep=st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.5, 0.1]))
def test_a_damaged_upload_is_read_or_refused(kind: str, changes: list[tuple[float, int]], keep: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        said = answer(kind, damaged(PACKED[kind], changes, keep), Path(folder))
    if isinstance(said, str):
        assert said.startswith("The upload was refused: ")
        assert said.isprintable()
    else:
        assert (said.settings.r, len(said.updates)) == (2, 1)
