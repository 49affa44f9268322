"""What is kept of an upload before anybody has looked into it."""

import hashlib
import io
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.domain.errors import BadInputError, ConflictError, NotFoundError
from app.domain.terms import BaseModelState, CheckpointKind, IntakeState
from app.models import Checkpoint, Intake, Job
from app.queries.intake import add_page, intake_row
from app.services import intake as intakes
from app.services.intake import CHECKPOINT_FILES, TakenIn, add_intake
from app.services.receiving import KeptUpload, kept_upload
from tests.factories import NOW, make_adapter, make_base, sha256
from tests.fixtures import on_sqlite


def kept(folder: Path, *names: str, called: str = "") -> KeptUpload:
    files = [(name, io.BytesIO(name.encode())) for name in names or ("mine.zip",)]
    with kept_upload(files, artifacts=folder, called=called) as stored:
        return stored


def test_bytes_lie_under_numbers_whatever_they_were_called(tmp_path: Path) -> None:
    names = ("../../etc/passwd", "C:\\temp\\adapter_config.json")
    stored = kept(tmp_path, *names)
    assert sorted(path.name for path in stored.folder.iterdir()) == ["0", "1"]
    assert stored.folder.parent == tmp_path / "uploads"
    assert [told["name"] for told in stored.files] == ["passwd", "adapter_config.json"]
    assert stored.files[0]["sha256"] == hashlib.sha256(names[0].encode()).hexdigest()
    assert stored.files[0]["bytes"] == len(names[0])


@pytest.mark.parametrize("files", [[], [("a.zip", b"")], [(f"{number}", b"x") for number in range(9)]])
def test_nothing_too_much_and_empty_files_leave_nothing(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    sent = [(name, io.BytesIO(content)) for name, content in files]
    with (
        pytest.raises(BadInputError, match=r"Nothing was added|nothing was added"),
        kept_upload(sent, artifacts=tmp_path),
    ):
        pass
    assert list(tmp_path.glob("uploads/*")) == []


@on_sqlite
def test_an_upload_that_could_not_be_registered_is_removed(session: Session, tmp_path: Path) -> None:
    files = [("mine.zip", io.BytesIO(b"x"))]
    with (
        pytest.raises(ConflictError, match="Add the base model first"),
        kept_upload(files, artifacts=tmp_path) as stored,
    ):
        add_intake(session, stored, now=NOW)
    assert list((tmp_path / "uploads").iterdir()) == []


@on_sqlite
@pytest.mark.parametrize(
    ("names", "called", "name"),
    [
        (("My Adapter (v2).tar.gz",), "", "My-Adapter-v2"),
        (("brie.zip",), "", "brie"),
        (("….zip",), "", "adapter"),
        (("adapter_config.json", "adapter_model.safetensors"), "", "adapter"),
        (("adapter_config.json", "adapter_model.safetensors"), "epoch 2", "epoch-2"),
    ],
)
def test_it_is_called_after_what_was_sent(
    names: tuple[str, ...], called: str, name: str, session: Session, tmp_path: Path
) -> None:
    make_base(session, tmp_path)
    assert add_intake(session, kept(tmp_path, *names, called=called), now=NOW).name == name
    assert add_intake(session, kept(tmp_path, *names, called=called), now=NOW).name == f"{name}-2"


@on_sqlite
def test_a_chosen_name_must_be_free_and_usable(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    add_intake(session, kept(tmp_path), now=NOW, name="mine")
    with pytest.raises(ConflictError, match="There is a checkpoint 'mine' already"):
        add_intake(session, kept(tmp_path), now=NOW, name="mine")
    with pytest.raises(BadInputError, match="cannot be the name of a checkpoint"):
        add_intake(session, kept(tmp_path), now=NOW, name="../mine")


@on_sqlite
def test_a_base_model_that_is_not_here_is_said_at_once(session: Session, tmp_path: Path) -> None:
    base = make_base(session, tmp_path)
    with pytest.raises(NotFoundError, match="Known: tiny"):
        add_intake(session, kept(tmp_path), now=NOW, base="huge")
    base.state = BaseModelState.WAITING
    with pytest.raises(ConflictError, match="not on this machine yet"):
        add_intake(session, kept(tmp_path), now=NOW, base="tiny")


def taken_in(base_id: object, fingerprint: str = "a") -> TakenIn:
    return TakenIn(base_id, "folder", sha256(fingerprint), 10, {"passed": True}, ("A note.",))  # type: ignore[arg-type]


@on_sqlite
def test_a_name_that_was_taken_meanwhile_gets_a_number(session: Session, tmp_path: Path) -> None:
    base = make_base(session, tmp_path)
    intake = add_intake(session, kept(tmp_path), now=NOW, name="mine")
    taken = Checkpoint(
        name="mine", kind=CheckpointKind.EXTERNAL, base_model_id=None, fingerprint=sha256("x"), created_at=NOW
    )
    session.add(taken)
    session.flush()
    assert intakes.accept(session, intake, taken_in(base.id), now=NOW).name == "mine-2"


@on_sqlite
def test_what_came_of_an_upload_is_told(session: Session, tmp_path: Path) -> None:
    base = make_base(session, tmp_path)
    good, bad = (add_intake(session, kept(tmp_path), now=NOW, name=name) for name in ("good", "bad"))
    assert add_page(session).base_models == ("tiny",)
    assert {row.name: row.state for row in add_page(session).rows} == {
        "good": IntakeState.WAITING,
        "bad": IntakeState.WAITING,
    }
    intakes.accept(session, good, taken_in(base.id), now=NOW)
    intakes.refuse(session, bad, "The upload was refused: no.", now=NOW)
    row = intake_row(session, good.id)
    assert (row.state, row.checkpoint, row.base_model, row.notes) == (IntakeState.READY, "good", "tiny", ("A note.",))
    assert intake_row(session, bad.id).reason == "The upload was refused: no."


@on_sqlite
def test_the_weights_of_a_run_are_recognised(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    adapter = make_adapter(session, tmp_path)
    intake = add_intake(session, kept(tmp_path), now=NOW)
    same = TakenIn(adapter.base_model_id, "folder", adapter.fingerprint, 10, {}, ())  # type: ignore[arg-type]
    assert intakes.accept(session, intake, same, now=NOW) is adapter
    assert intake.notes.startswith("These are the weights of brie-v1/epoch-2")


@on_sqlite
def test_the_check_is_a_job_of_its_own(session: Session, tmp_path: Path) -> None:
    make_base(session, tmp_path)
    intake = add_intake(session, kept(tmp_path), now=NOW)
    assert session.get_one(Job, intake.job_id).subject_id == intake.id
    assert intakes.find_intake(session, intake.id) is intake
    assert session.get_one(Intake, intake.id).state is IntakeState.WAITING


def test_people_are_told_the_names_that_the_check_allows() -> None:
    from training.intake.members import ALLOWED  # noqa: PLC0415

    assert set(CHECKPOINT_FILES) == set(ALLOWED)
