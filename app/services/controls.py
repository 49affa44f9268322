"""Control pairs: two written texts of which one is known to be better, for raters (gold) and for the script (canaries).

They are data. A file of them becomes a suite that no form offers, two checkpoints of kind ``control`` that meet nobody,
and one response for each text; an eval batch draws its pairs from the newest version.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, BadRowError, ConflictError
from app.domain.leaks import self_identifies
from app.domain.names import CANARY, CONTROLS, GOLD
from app.domain.pairing import drawn
from app.domain.terms import CheckpointKind, FinishReason, PairKind, VoterKind
from app.models import Checkpoint, EvalBatch, Pair, Prompt, Response, Suite, Tally
from app.queries.leaks import names_of
from app.queries.seals import pair_seal
from app.services.files import NamedFile, read_file, rows, sha256_of_json, text_field
from app.services.suites import next_version, parse_suite

CANARY_PHRASE = "the grey heron by the lock"
"""Stands in the better text of each canary pair, and nowhere else: by it the script knows the winner."""

_ENGINE = "written by a person"
_KINDS = {GOLD: (PairKind.GOLD, VoterKind.RATER), CANARY: (PairKind.CANARY, VoterKind.SCRIPT)}


@dataclass(frozen=True)
class _Texts:
    worse: str
    better: str


def import_controls(session: Session, path: Path, *, now: datetime, name: str = GOLD) -> Suite:
    """Import a file of control pairs; the same content gives the version that is there already.

    The format stands in ``data/controls/README.md``.

    Raises:
        BadInputError: the file cannot be read or holds no pair, or ``name`` is no suite of control pairs.
        BadRowError: a row cannot be used; names file and line.
    """
    if name not in CONTROLS:
        raise BadInputError(
            f"Control pairs are kept as {' or '.join(CONTROLS)}, not as {name!r}. Nothing was imported."
        )
    file = read_file(path)
    header, prompts = parse_suite(file.content, file.name)
    texts = _texts(file, name)
    content = [[prompt.messages, pair.worse, pair.better] for prompt, pair in zip(prompts, texts, strict=True)]
    sha256 = sha256_of_json([header, content])
    there = session.scalar(select(Suite).where(Suite.name == name, Suite.sha256 == sha256))
    if there is not None:
        return there
    suite = next_version(session, name, file, header, prompts, now=now)
    suite.sha256 = sha256  # of what is said in the file, however it is written
    stored = session.scalars(select(Prompt).where(Prompt.suite_id == suite.id).order_by(Prompt.position)).all()
    for side in ("worse", "better"):
        said = {prompt.sha256: str(getattr(pair, side)) for prompt, pair in zip(stored, texts, strict=True)}
        _write(session, suite, side, said, now=now)
    session.flush()
    return suite


def _texts(file: NamedFile, name: str) -> list[_Texts]:
    found: list[_Texts] = []
    for line, row in rows(file.content, file.name):
        if "suite" in row and not found:
            continue
        pair = _Texts(*(text_field(row, side, file.name, line) for side in ("worse", "better")))
        if pair.worse.strip() == pair.better.strip():
            raise BadRowError(file.name, line, "the better and the worse text are the same")
        marked = [CANARY_PHRASE in text for text in (str(row.get("prompt", "")), pair.worse, pair.better)]
        if name == CANARY and marked != [False, False, True]:
            raise BadRowError(file.name, line, f"{CANARY_PHRASE!r} must stand in the better text and only there")
        found.append(pair)
    return found


def _write(session: Session, suite: Suite, side: str, said: dict[str, str], *, now: datetime) -> None:
    """One side of a version as a checkpoint, known as all are by its content, and its responses."""
    checkpoint = Checkpoint(
        name=f"control/{suite.name}@{suite.version}/{side}",
        kind=CheckpointKind.CONTROL,
        base_model_id=None,
        run_id=None,
        fingerprint=sha256_of_json(["control", suite.name, suite.version, side, said]),
        step=None,
        epoch=None,
        validation_loss=None,
        effect=None,
        origin={"suite": f"{suite.name}@{suite.version}", "side": side},
        created_at=now,
    )
    session.add(checkpoint)
    session.flush()
    session.add_all(
        Response(
            checkpoint_id=checkpoint.id,
            fingerprint=checkpoint.fingerprint,
            base_hash="",
            template_hash="",
            prompt_sha256=prompt_sha256,
            system_sha256=hashlib.sha256(b"").hexdigest(),
            sampling_sha256=sha256_of_json({}),
            seed=0,
            twin=0,
            sampling={},
            text=text,
            text_sha256=hashlib.sha256(text.encode()).hexdigest(),
            token_count=len(text.split()),
            finish_reason=FinishReason.STOP,
            engine=_ENGINE,
            created_at=now,
        )
        for prompt_sha256, text in said.items()
    )


def _newest(session: Session, name: str) -> Suite | None:
    return session.scalar(select(Suite).where(Suite.name == name).order_by(Suite.version.desc()).limit(1))


def form_controls(session: Session, batch: EvalBatch, *, secret: bytes, now: datetime) -> int:
    """Make the gold and canary pairs of a batch, drawn by its seed; returns how many. ``first`` is the worse text.

    Raises:
        ConflictError: there are fewer pairs than the plan asks for.
    """
    wanted = {GOLD: batch.gold_pairs, CANARY: batch.canary_pairs}
    return sum(_form(session, batch, name, count, secret=secret, now=now) for name, count in wanted.items() if count)


def _form(session: Session, batch: EvalBatch, name: str, count: int, *, secret: bytes, now: datetime) -> int:
    suite = _newest(session, name)
    prompts: Sequence[Prompt] = ()
    if suite is not None:
        prompts = session.scalars(select(Prompt).where(Prompt.suite_id == suite.id).order_by(Prompt.position)).all()
    if suite is None or len(prompts) < count:
        raise ConflictError(f"{name} holds {len(prompts)} pairs, and the plan asks for {count}.")
    kind, voter_kind = _KINDS[name]
    worse, better = (_side(session, suite, side) for side in ("worse", "better"))
    first, second = _responses(session, worse), _responses(session, better)
    names = names_of(session, batch.id)
    pairs = [
        Pair(
            id=uuid.uuid4(),
            eval_batch_id=batch.id,
            kind=kind,
            prompt_id=prompts[place].id,
            replicate=0,
            first_id=worse.id,
            second_id=better.id,
            first_response_id=first[prompts[place].sha256][0],
            second_response_id=second[prompts[place].sha256][0],
            settled=None,
            self_identifies=self_identifies(first[prompts[place].sha256][1], second[prompts[place].sha256][1], names),
            created_at=now,
        )
        for place in drawn(batch.seed, name, [prompt.sha256 for prompt in prompts], count)
    ]
    session.add_all(pairs)
    session.flush()
    for pair in pairs:
        pair.seal = pair_seal(session, pair, secret)
    session.add_all(Tally(pair_id=pair.id, voter_kind=voter_kind, eval_batch_id=batch.id) for pair in pairs)
    session.flush()
    return len(pairs)


def _side(session: Session, suite: Suite, side: str) -> Checkpoint:
    name = f"control/{suite.name}@{suite.version}/{side}"
    return session.scalars(select(Checkpoint).where(Checkpoint.name == name)).one()


def _responses(session: Session, checkpoint: Checkpoint) -> dict[str, tuple[uuid.UUID, str]]:
    """Id and text of what a side says, by the hash of the prompt."""
    found = session.execute(
        select(Response.prompt_sha256, Response.id, Response.text).where(Response.checkpoint_id == checkpoint.id)
    )
    return {prompt: (id_, text) for prompt, id_, text in found}
