import fcntl
import os
import re
import sys
from pathlib import Path

import pytest

from app.setup import ROOT, extras
from app.setup.extras import Environment, SetupError, install_extra, progress_words, repair, requirements

FAKE_PIP = """
import os, sys
with open({calls!r}, "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
print("Collecting fastapi>=0.1")
print("  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.1 MB)")
print("Installing collected packages: a, b, c")
if os.environ.get("FAKE_PIP_FAILS"):
    print("ERROR: No matching distribution found for torch==2.13.0")
    sys.exit(1)
"""


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    """An environment whose Python only notes what it was asked."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    (tmp_path / "fake_pip.py").write_text(FAKE_PIP.format(calls=str(tmp_path / "calls")))
    python.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{tmp_path}/fake_pip.py' \"$@\"\n")
    python.chmod(0o755)
    return Environment(python=python, prefix=tmp_path / "venv")


def calls(env: Environment) -> list[str]:
    noted = env.prefix.parent / "calls"
    return noted.read_text().splitlines() if noted.exists() else []


def distribution(env: Environment, name: str, *files: str) -> Path:
    folder = env.prefix / f"lib/python3.11/site-packages/{name}.dist-info"
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).touch()
    return folder


def test_the_base_holds_no_torch_and_the_training_extra_pins_it() -> None:
    assert not [line for line in requirements("base") if line.startswith(("torch", "transformers", "peft"))]
    assert "torch==2.13.0" in requirements("train")


def test_an_unknown_extra_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SetupError, match=r"no extra named trian.*base, logging, quantized, s3, servers, test, train"):
        requirements("trian")


def test_where_nothing_can_be_installed_one_sentence_says_so(env: Environment, tmp_path: Path) -> None:
    (env.prefix / ".arena-lock").mkdir()  # as unwritable as the environment of an image, for root too
    with pytest.raises(SetupError, match=r"Nothing can be installed into .*venv .*worker-cpu"):
        install_extra("train", tmp_path / "log", lambda _: None, env=env)
    assert calls(env) == []


def test_a_broker_needs_no_package_of_another_extra() -> None:
    """The page's image has the base alone; kombu's Redis transport imports what only this extra of kombu names."""
    assert any(line.startswith("kombu[redis]") for line in requirements("base"))


@pytest.mark.parametrize("extra", ["base", "train", "test", "servers", "s3"])
def test_every_requirement_is_pinned(extra: str) -> None:
    pins = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    wanted = {re.split(r"[\[<>=; ]", line)[0] for line in requirements(extra)}
    assert wanted - pins == set(), "make constraints.txt anew: its first lines hold the command"


def test_an_install_is_done_once_and_says_how_it_goes(env: Environment, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        install_extra("test", tmp_path / "setup.log", told.append, env=env)
    assert told == ["looking up fastapi", "downloading torch (190.1 MB)", "unpacking 3 packages"]
    (call,) = calls(env)
    assert call.startswith("-m pip install")
    assert f"--constraint {ROOT / 'constraints.txt'}" in call
    assert all(line in call for line in requirements("test"))
    assert "Collecting fastapi" in (tmp_path / "setup.log").read_text()


def test_a_failed_install_leaves_no_stamp_and_is_tried_again(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "setup.log"
    monkeypatch.setenv("FAKE_PIP_FAILS", "1")
    with pytest.raises(
        SetupError, match=r"(?s)No matching distribution found for torch==2\.13\.0.*start again"
    ) as caught:
        install_extra("test", log, lambda _: None, env=env)
    assert str(log) in str(caught.value)
    monkeypatch.delenv("FAKE_PIP_FAILS")
    install_extra("test", log, lambda _: None, env=env)
    assert len(calls(env)) == 2


def test_packages_left_half_unpacked_are_forgotten_before_the_next_try(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = distribution(env, "whole-1.0", "METADATA", "INSTALLER", "RECORD")
    half = distribution(env, "half-1.0", "METADATA", "RECORD")
    monkeypatch.setenv("FAKE_PIP_FAILS", "1")
    with pytest.raises(SetupError):
        install_extra("test", tmp_path / "setup.log", lambda _: None, env=env)
    assert half.exists(), "the first try met no interruption, so it looks at nothing"
    monkeypatch.delenv("FAKE_PIP_FAILS")
    install_extra("test", tmp_path / "setup.log", lambda _: None, env=env)
    assert whole.exists()
    assert not half.exists()


def test_repair_names_what_it_removed(env: Environment) -> None:
    distribution(env, "whole-1.0", "INSTALLER", "RECORD")
    distribution(env, "b-1.0", "METADATA")
    distribution(env, "a-2.0", "RECORD")
    assert repair(env) == ["a-2.0.dist-info", "b-1.0.dist-info"]
    assert repair(env) == []


def test_pips_own_settings_do_not_send_packages_elsewhere(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.python.write_text(f"#!/bin/sh\nenv > '{tmp_path}/environment'\n")
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    install_extra("s3", tmp_path / "setup.log", lambda _: None, env=env)
    seen = (tmp_path / "environment").read_text()
    assert "PIP_INDEX_URL=https://mirror.example/simple" in seen
    assert not {"PIP_USER=", "PIP_TARGET=", "PIP_PREFIX="} & {
        line.partition("=")[0] + "=" for line in seen.splitlines()
    }


@pytest.mark.skipif(sys.platform != "linux", reason="--torch chooses a build on Linux only")
def test_a_build_of_torch_is_fetched_from_its_own_index(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARENA_TORCH_INDEX", "https://mirror.example/torch")
    install_extra("train", tmp_path / "setup.log", lambda _: None, "cpu", env)
    torch_alone, the_rest = calls(env)
    assert torch_alone.endswith("--no-deps --index-url https://mirror.example/torch torch==2.13.0")
    assert "--index-url" not in the_rest


@pytest.mark.skipif(sys.platform != "linux", reason="--torch chooses a build on Linux only")
@pytest.mark.parametrize(
    ("version", "choice", "swapped"),
    [("2.13.0+cpu", "cpu", False), ("2.13.0+cpu", "cuda", True), ("2.13.0", "cuda", False), ("2.13.0", "cpu", True)],
)
def test_torch_is_swapped_only_for_another_build(
    env: Environment, tmp_path: Path, version: str, choice: str, swapped: bool
) -> None:
    install_extra("train", tmp_path / "setup.log", lambda _: None, env=env)
    folder = distribution(env, f"torch-{version}", "INSTALLER", "RECORD")
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    before = len(calls(env))
    install_extra("train", tmp_path / "setup.log", lambda _: None, choice, env)
    assert any("--force-reinstall" in call for call in calls(env)[before:]) is swapped


def test_a_second_installer_waits_for_the_first(env: Environment, tmp_path: Path) -> None:
    """While pip runs, the lock is held, and pip itself holds it too."""
    env.python.write_text(f"#!/bin/sh\nls -l /proc/$$/fd > '{tmp_path}/held' 2>/dev/null\necho Collecting x\n")
    states: list[bool] = []

    def try_lock(_words: str) -> None:
        with (env.prefix / ".arena-lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                states.append(True)
            else:
                states.append(False)

    install_extra("s3", tmp_path / "setup.log", try_lock, env=env)
    assert states == [True]
    if os.path.isdir("/proc/self/fd"):  # noqa: PTH112
        assert ".arena-lock" in (tmp_path / "held").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Collecting torch==2.13.0 (from -c x)\n", "looking up torch"),
        ("  Downloading numpy-2.4.6-cp311-cp311-manylinux.whl (16.9 MB)\n", "downloading numpy (16.9 MB)"),
        ("Installing collected packages: mpmath, torch\n", "unpacking 2 packages"),
        ("Requirement already satisfied: six\n", None),
        ("\n", None),
    ],
)
def test_pip_is_translated_for_people(line: str, words: str | None) -> None:
    assert progress_words(line) == words


def test_the_stamp_follows_the_constraints(env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_extra("s3", tmp_path / "setup.log", lambda _: None, env=env)
    monkeypatch.setattr(extras, "current", lambda: env)
    assert extras.extra_installed("s3")
    other = tmp_path / "other"
    other.mkdir()
    (other / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (other / "constraints.txt").write_text((ROOT / "constraints.txt").read_text() + "new==1.0\n")
    monkeypatch.setattr(extras, "ROOT", other)
    assert not extras.extra_installed("s3")
