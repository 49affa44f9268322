import re
from pathlib import Path

import pytest

from app.web.render import make_environment

ROOT = Path(__file__).resolve().parents[2] / "templates"
TEMPLATES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.html"))
FORBIDDEN = {
    "an inline style": r"\sstyle=|<style",
    "an inline script": r"<script(?![^>]*\ssrc=)|\son[a-z]+=",
    "code in an attribute": r"hx-on|[\"']js:|javascript:",
    "a trigger filter": r"hx-trigger=\"[^\"]*\[",
    "a file from elsewhere": r"(?:src|href)=\"(?:https?:)?//",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_compiles(name: str) -> None:
    assert make_environment().get_template(name).name == name


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_that_the_content_security_policy_refuses(name: str, what: str) -> None:
    found = re.search(FORBIDDEN[what], (ROOT / name).read_text(encoding="utf-8"))
    assert found is None, f"{name} has {what}: {found}"


@pytest.mark.parametrize("name", [name for name in TEMPLATES if "/_" in name and name != "vote/_done.html"])
def test_a_fragment_is_called_like_the_id_of_its_root(name: str) -> None:
    group, part = name.removesuffix(".html").split("/_")
    first_tag = re.search(r"<[a-z][^>]*", (ROOT / name).read_text(encoding="utf-8"))
    assert first_tag is not None
    assert f'id="{group}-{part}"' in first_tag[0]


def test_no_style_rule_of_the_voting_page_names_one_side() -> None:
    css = (ROOT.parent / "static/css/vote.css").read_text(encoding="utf-8")
    assert not re.search(r"nth-(?:child|of-type)|first-child|last-child|#text-|value=|--first|--second", css)


def test_htmx_starts_only_when_its_extensions_are_there() -> None:
    """A deferred htmx starts a moment after itself, possibly before the next script has arrived."""
    tags = re.findall(r"<script[^>]*>", (ROOT / "base.html").read_text(encoding="utf-8"))
    core, extension = (next(tag for tag in tags if name in tag) for name in ("vendor/htmx-", "vendor/hx-sse-"))
    assert "defer" not in core
    assert "defer" in extension
    assert tags.index(core) < tags.index(extension)
