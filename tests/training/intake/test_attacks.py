"""Every hostile upload is refused with its reason, and on the way there nothing else changes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tests.training.intake.attacks import ATTACKS, Attack
from tests.training.intake.packing import Honest, honest, sent
from training import base, chat
from training.errors import IntakeError
from training.intake.bases import KnownBase, choose_base
from training.intake.take import read_upload, store_copy
from training.intake.unpack import SentFile
from training.lora import read_adapter
from training.masked_lora import MaskedLora

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def good(adapters: dict[str, Path]) -> Honest:
    return honest(adapters["wide"])


@pytest.fixture(scope="session")
def known(tiny_base: Path) -> KnownBase:
    return KnownBase("tiny", str(tiny_base), tiny_base, base.hash_base(tiny_base).weights)


@dataclass(frozen=True)
class Witness:
    """Another adapter on a loaded base, asked anew each time."""

    model: Any
    stack: MaskedLora
    ids: list[int]

    def logits(self) -> torch.Tensor:
        with torch.no_grad(), self.stack.rows([None, "narrow"]):
            return self.model(input_ids=torch.tensor([self.ids, self.ids]), use_cache=False).logits[:, -1]


@pytest.fixture(scope="session")
def witness(tiny_base: Path, adapters: dict[str, Path]) -> Witness:
    model, tokenizer = base.load_base(tiny_base, CPU, torch.float32)
    stack = MaskedLora(model, {"narrow": read_adapter(adapters["narrow"])})
    return Witness(model, stack, chat.encode_prompt(tokenizer, [{"role": "user", "content": "what is cheese?"}]))


def take_in(files: list[SentFile], folder: Path, known: KnownBase) -> Path:
    """All of the intake that comes before the effect gate."""
    adapter = read_upload(files, folder / "scratch")
    chosen, _ = choose_base(adapter.told, adapter.updates, [known], chosen=True)
    return store_copy(adapter, chosen.name, folder / "stored").folder


def contents(folder: Path) -> dict[str, str]:
    """Every file, link and folder under ``folder`` with a hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }


def test_there_are_as_many_attacks_as_promised() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_is_refused_and_nothing_else_changes(
    attack: Attack, good: Honest, known: KnownBase, witness: Witness, tmp_path: Path
) -> None:
    files = sent(tmp_path / "sent", attack.build(good), attack.sent_as)
    before, logits = contents(tmp_path), witness.logits()
    with pytest.raises(IntakeError, match=attack.reason) as refusal:
        take_in(files, tmp_path / "intake", known)
    assert refusal.value.message == f"The upload was refused: {refusal.value.reason}. Nothing of it was kept."
    assert refusal.value.message.isprintable()
    assert not (tmp_path / "intake/stored").exists()
    written = contents(tmp_path).keys() - before.keys()
    assert written <= {"intake", *(f"intake/scratch{end}" for end in ALLOWED_ENDS)}
    assert {path: hashed for path, hashed in contents(tmp_path).items() if path in before} == before
    assert base.hash_base(known.folder).weights == known.weights_hash
    assert torch.equal(witness.logits(), logits)


ALLOWED_ENDS = ("", "/adapter_config.json", "/adapter_model.safetensors", "/adapters.safetensors", "/manifest.json")


def test_the_witness_would_notice_a_changed_base(witness: Witness) -> None:
    weight = witness.model.model.norm.weight
    before, kept = witness.logits(), weight.detach().clone()
    with torch.no_grad():
        weight += 0.1
        assert not torch.equal(witness.logits(), before)
        weight.copy_(kept)
    assert torch.equal(witness.logits(), before)


def test_without_an_intake_the_library_lets_an_upload_rewrite_the_base(
    good: Honest, tiny_base: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    """Why all of this is here. When this fails, peft has closed the hole, and the intake may ask for less."""
    model, _ = base.load_base(tiny_base, CPU, torch.float32)
    loaded = PeftModel.from_pretrained(model, adapters["narrow"], adapter_name="narrow")
    norm = model.model.norm.weight
    before = norm.detach().clone()
    files = good.files(tensors={"base_model.model.model.norm.weight": before + 1})
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    loaded.load_adapter(tmp_path, adapter_name="hostile")
    assert not torch.equal(norm, before)
