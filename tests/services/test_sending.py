"""An upload in pieces: whatever breaks off, the bytes are those that were sent, once and in order."""

import errno
import hashlib
import os
import threading
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import ArenaError, BadInputError, ConflictError, NotFoundError, TooLargeError, UnavailableError
from app.services import receiving, sending
from app.services.sending import Sending, add_piece, begin_sending, find_sending, taking

ME = uuid.uuid4()
CONTENT = bytes(range(256)) * 5


def begun(artifacts: Path, *files: tuple[str, int]) -> Sending:
    return begin_sending(files or [("mine.zip", len(CONTENT))], artifacts=artifacts, account_id=ME)


@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, len(CONTENT) - 1), max_size=6), data=st.data())
def test_pieces_of_any_size_make_what_was_sent(
    cuts: set[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    artifacts = tmp_path_factory.mktemp("artifacts")
    new = begun(artifacts, ("../a.json", 3), ("b.safetensors", len(CONTENT)))
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(CONTENT)], strict=True):
        for again in range(data.draw(st.integers(1, 2))):  # a piece whose answer was lost is sent once more
            if again:
                with pytest.raises(ConflictError, match=f"{end} bytes of b.safetensors are here"):
                    add_piece(new, 1, start, CONTENT[start:end])
            else:
                add_piece(new, 1, start, CONTENT[start:end])
        assert find_sending(new.id, artifacts=artifacts, account_id=ME).received == [0, end]
    add_piece(new, 0, 0, b"{}\n")
    with taking(new) as kept:
        assert [(one["name"], one["bytes"]) for one in kept.files] == [("a.json", 3), ("b.safetensors", len(CONTENT))]
        assert kept.files[1]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert {path.name: path.read_bytes() for path in kept.folder.iterdir()} == {"0": b"{}\n", "1": CONTENT}
    assert kept.folder.parent == artifacts / "uploads"


def test_what_is_whole_is_taken_once_and_not_added_to(tmp_path: Path) -> None:
    new = begun(tmp_path)
    add_piece(new, 0, 0, CONTENT[:-1])
    with pytest.raises(ConflictError, match="1 bytes of this upload have not come yet"), taking(new):
        pass
    add_piece(new, 0, len(CONTENT) - 1, CONTENT[-1:])
    with pytest.raises(RuntimeError, match="the name is taken"), taking(new):
        raise RuntimeError("the name is taken")
    with taking(new) as kept:
        pass
    for late in (lambda: add_piece(new, 0, len(CONTENT), b""), lambda: taking(new).__enter__()):
        with pytest.raises(NotFoundError, match="it is whole"):
            late()
    with pytest.raises(NotFoundError):
        find_sending(new.id, artifacts=tmp_path, account_id=ME)
    assert (kept.folder / "0").read_bytes() == CONTENT


def test_whoever_waits_to_add_while_all_is_taken_finds_it_gone(tmp_path: Path) -> None:
    new = begun(tmp_path)
    add_piece(new, 0, 0, CONTENT)
    met: list[ArenaError] = []

    def late() -> None:
        try:
            add_piece(new, 0, len(CONTENT), b"")
        except ArenaError as error:
            met.append(error)

    thread = threading.Thread(target=late)
    with taking(new):
        thread.start()
    thread.join()
    assert [type(error) for error in met] == [NotFoundError]


def test_of_two_who_send_the_same_piece_one_adds_it(tmp_path: Path) -> None:
    new = begun(tmp_path)
    start, met = threading.Barrier(4), list[type]()

    def send() -> None:
        start.wait()
        try:
            add_piece(new, 0, 0, CONTENT)
        except ConflictError as error:
            met.append(type(error))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met == [ConflictError] * 3
    assert new.file(0).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        ([], BadInputError, "No file was chosen"),
        ([("a.zip", 0)], BadInputError, "a.zip is empty"),
        ([("a.zip", -5)], BadInputError, "a.zip is empty"),
        ([(f"{number}", 1) for number in range(9)], BadInputError, "More than 8 files"),
        ([("a.zip", receiving.LARGEST), ("b.zip", 1)], TooLargeError, "A checkpoint may have 4 GB"),
    ],
)
def test_what_can_be_no_checkpoint_is_refused_before_it_is_sent(
    files: list[tuple[str, int]], error: type[ArenaError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        begin_sending(files, artifacts=tmp_path, account_id=ME)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(UnavailableError, match=r"No space left.*Nothing was added"):
            begun(tmp_path)
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_piece_that_does_not_belong_there_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = begun(tmp_path)
    add_piece(new, 0, 0, CONTENT[:100])
    for number, at, piece, error in (
        (0, 99, b"x", ConflictError),
        (0, 101, b"x", ConflictError),
        (0, 100, CONTENT, BadInputError),
        (1, 0, b"x", NotFoundError),
        (-1, 0, b"x", NotFoundError),
    ):
        with pytest.raises(error):
            add_piece(new, number, at, piece)
    monkeypatch.setattr(sending, "LARGEST_PIECE", 10)
    with pytest.raises(TooLargeError, match="A piece may have"):
        add_piece(new, 0, 100, b"x" * 11)
    assert new.file(0).read_bytes() == CONTENT[:100]


def test_nobody_goes_on_with_what_another_began(tmp_path: Path) -> None:
    new = begun(tmp_path)
    with pytest.raises(NotFoundError):
        find_sending(new.id, artifacts=tmp_path, account_id=uuid.uuid4())
    with pytest.raises(NotFoundError):
        find_sending(uuid.uuid4(), artifacts=tmp_path, account_id=ME)


def test_a_full_disk_is_said_and_what_came_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = begun(tmp_path)
    add_piece(new, 0, 0, CONTENT[:100])
    with monkeypatch.context() as patched:
        patched.setattr(Sending, "file", lambda *_: Path("/dev/full"))
        patched.setattr(Sending, "received", [100])
        with pytest.raises(UnavailableError, match=r"No space left.*What was sent before is kept"):
            add_piece(new, 0, 100, CONTENT[100:])
    add_piece(new, 0, 100, CONTENT[100:])
    with taking(new) as kept:
        assert kept.files[0]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
