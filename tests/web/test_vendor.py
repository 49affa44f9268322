import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(script: Path, *arguments: Path | str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def test_vendored_files_are_what_their_record_says() -> None:
    done = run(ROOT / "static/vendor/update.py", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    recorded = {entry["file"] for entry in json.loads((ROOT / "static/vendor/VENDOR.json").read_text())}
    lying_there = {str(path.relative_to(ROOT)) for path in (ROOT / "static/vendor").glob("*.js")}
    assert lying_there <= recorded


def test_templates_use_no_attribute_or_event_of_an_older_htmx() -> None:
    """The check that htmx ships names each leftover with file and line."""
    done = run(ROOT / "tests/web/vendor/htmx-upgrade-check.py", ROOT / "templates", ROOT / "static/js")
    assert "Scanning" in done.stderr
    assert (done.returncode, done.stdout) == (0, "")
