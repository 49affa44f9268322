import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from app.setup.state import FILE_NAME, SetupPhase, SetupState, read_state, write_state

STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
INSTALLING = SetupState(SetupPhase.INSTALLING, "downloading torch", "Pages work meanwhile.", STARTED, None, "setup.log")


def test_what_was_written_is_read_with_the_time_of_writing(tmp_path: Path) -> None:
    write_state(tmp_path / "new", INSTALLING, NOW)
    assert read_state(tmp_path / "new") == replace(INSTALLING, updated_at=NOW)


def test_nothing_written_yet_reads_as_waiting(tmp_path: Path) -> None:
    assert read_state(tmp_path) == SetupState()
    assert read_state(tmp_path).state is SetupPhase.WAITING


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "flying"}', '{"state": "ready"}', "null"])
def test_an_unreadable_file_reads_as_waiting(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert read_state(tmp_path) == SetupState()


def test_the_file_is_plain_json_for_other_tools(tmp_path: Path) -> None:
    write_state(tmp_path, INSTALLING, NOW)
    assert json.loads((tmp_path / FILE_NAME).read_text()) == {
        "state": "installing",
        "step": "downloading torch",
        "message": "Pages work meanwhile.",
        "started_at": "2026-03-01T12:00:00+00:00",
        "updated_at": "2026-03-01T12:05:00+00:00",
        "log": "setup.log",
    }


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    write_state(tmp_path, INSTALLING, NOW)
    steps = [f"step {number} " + "x" * (number * 37 % 5000) for number in range(300)]

    def write_all() -> None:
        for step in steps:
            write_state(tmp_path, replace(INSTALLING, step=step), NOW)

    writer = Thread(target=write_all)
    writer.start()
    seen = {INSTALLING.step}
    while writer.is_alive():
        seen.add(read_state(tmp_path).step)
    writer.join()
    assert seen <= {INSTALLING.step, *steps}
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
