from pathlib import Path

import pytest

from tests.browser import screenshots
from tests.browser.states import STATES


def test_one_page_is_drawn_in_the_view_that_was_asked_for(
    chromium_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chromium_path.exists()
    screenshots.main([str(tmp_path), "empty", "--page", "settings", "--width", "390", "--scheme", "dark"])
    [picture] = tmp_path.glob("*.png")
    assert picture.name == "empty-settings-390-dark.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    sheet = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<img src="empty-settings-390-dark.png"' in sheet
    assert "empty drawn" in capsys.readouterr().out


def test_the_sheet_puts_the_views_of_a_page_side_by_side() -> None:
    sheet = screenshots.contact_sheet(
        [Path("a-home-1280-dark.png"), Path("a-home-390-light.png"), Path("b-x-390-dark.png")]
    )
    assert [sheet.count(f"<h2>{name}</h2>") for name in ("a-home", "b-x")] == [1, 1]
    assert sheet.count("<img") == 3


def test_an_unknown_state_is_answered_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        screenshots.main(["out", "nonsense"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(state in said for state in STATES)


def test_the_pictures_of_the_readme_are_there_and_shown() -> None:
    text = (screenshots.ROOT / "README.md").read_text(encoding="utf-8")
    for picture in screenshots.PICTURES:
        assert f"static/readme/{picture.file}" in text
        size = (screenshots.README / picture.file).stat().st_size
        assert 10_000 < size < 400_000, picture.file
