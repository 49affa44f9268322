import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import screenshots
from tests.browser.contact_sheet import contact_sheet
from tests.browser.states import STATES


def test_one_page_is_drawn_in_the_view_that_was_asked_for(
    chromium: Browser, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    screenshots._draw_states(chromium, ["empty"], tmp_path, "settings", [(390, 844, "dark")])
    [picture] = tmp_path.glob("*.png")
    assert picture.name == "empty-settings-390-dark.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    sheet = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert 'src="empty-settings-390-dark.png"' in sheet
    said = capsys.readouterr().out
    assert "empty: 1 page, 1 picture\n" in said
    assert str(tmp_path / "index.html") in said


def test_the_sheet_shows_a_page_in_all_its_states_together() -> None:
    files = ["a-home-1280-dark.png", "a-home-390-light.png", "a-home-1280-light.png", "b-run-done-390-dark.png"]
    sheet = contact_sheet([*files, "study_room-home-390-dark.png"])
    assert re.findall("<h2[^>]*>(.*?)</h2>", sheet) == ["home", "run"]
    assert re.findall("<h3>(.*?)</h3>", sheet) == ["home: a", "home: study room", "run-done: b"]
    assert re.findall('src="(.*?)"', sheet)[:3] == [files[2], files[0], files[1]]
    assert re.findall('href="#(.*?)"', sheet) == re.findall('id="(.*?)"', sheet)
    assert "<script" not in sheet


def test_an_unknown_state_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        screenshots.main(["out", "nonsense"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(state in said for state in STATES)


def test_the_pictures_of_the_readme_are_there_and_shown() -> None:
    text = (screenshots.ROOT / "README.md").read_text(encoding="utf-8")
    for file in re.findall(r"static/readme/([\w-]+\.png)", text):
        assert file in {picture.file for picture in screenshots.PICTURES}, file
    for picture in screenshots.PICTURES:
        size = (screenshots.README / picture.file).stat().st_size
        assert 10_000 < size < 200_000, picture.file
