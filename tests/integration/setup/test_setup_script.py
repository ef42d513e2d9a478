"""scripts/setup in a folder with spaces. What it downloads is stood in for by a small `uv`."""

import os
import shutil
import stat
import subprocess

import pytest

from greenlight.core.settings import PROJECT

FAKE_UV = """#!/usr/bin/env bash
# Stands in for uv: keeps a journal, makes environments whose python is the real one.
if [[ $1 == --version ]]; then echo "uv {version} (fake)"; exit; fi
echo "$*" >> journal
if [[ $1 == venv ]]; then
  mkdir -p "${{@: -1}}/bin"
  ln -sf "$(command -v python3.11)" "${{@: -1}}/bin/python"
fi
if [[ "$*" == *"${{FAIL:-nothing fails}}"* ]]; then echo "no route to host" >&2; exit 1; fi
"""


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "a folder with spaces"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT / "scripts/setup", folder / "scripts/setup")
    for path in [PROJECT / "pyproject.toml", *PROJECT.glob("requirements*.txt")]:
        shutil.copy(path, folder)
    uv = folder / ".greenlight/tools/uv/bin/uv"
    uv.parent.mkdir(parents=True)
    script = (folder / "scripts/setup").read_text()
    version = script.partition("UV_VERSION=")[2].split()[0]
    uv.write_text(FAKE_UV.format(version=version))
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    return folder


def setup(folder, *words, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    return subprocess.run(
        [str(folder / "scripts/setup"), *words],
        env=clean | environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def journal(folder):
    path = folder / "journal"
    return path.read_text().splitlines() if path.exists() else []


def test_the_plan_says_what_would_be_done_and_does_nothing(checkout):
    before = sorted(checkout.rglob("*"))
    done = setup(checkout, "--plan", "dev", "ml")
    assert "would bring .venv to requirements.txt requirements-dev.txt" in done.stdout
    assert "would bring .venv-ml to requirements-ml.txt" in done.stdout
    assert sorted(checkout.rglob("*")) == before


def test_a_second_run_touches_nothing(checkout):
    first = setup(checkout, "core", "ml", "serve", "autogptq")
    assert first.returncode == 0, first.stderr
    calls = journal(checkout)
    second = setup(checkout, "core", "ml", "serve", "autogptq")
    assert second.stdout.count("up to date") == 4
    assert journal(checkout) == calls


def test_a_changed_lock_is_installed_and_only_that_one(checkout):
    setup(checkout, "core", "serve")
    calls = len(journal(checkout))
    with (checkout / "requirements-serve.txt").open("a") as lock:
        lock.write("# changed\n")
    done = setup(checkout, "core", "serve")
    assert done.stdout.count("up to date") == 1
    assert any("requirements-serve.txt" in call for call in journal(checkout)[calls:])


def test_the_test_tools_stay_when_only_the_core_is_asked_for(checkout):
    setup(checkout, "dev")
    calls = journal(checkout)
    assert "up to date" in setup(checkout, "core").stdout
    assert journal(checkout) == calls


def test_the_orchestration_environment_is_installed_with_hashes(checkout):
    setup(checkout, "dev")
    (sync,) = [call for call in journal(checkout) if "pip sync" in call]
    assert "--require-hashes requirements.txt requirements-dev.txt" in sync


def test_torch_comes_before_the_quantizer_that_is_built_against_it(checkout):
    setup(checkout, "ml")
    first, second, *_ = [call for call in journal(checkout) if "pip install" in call]
    assert "build-gptqmodel.txt" in first
    assert "--no-build-isolation-package gptqmodel -r requirements-ml.txt" in second
    pinned = (checkout / ".greenlight/tools/build-gptqmodel.txt").read_text()
    assert "torch==2" in pinned


def test_which_torch_is_the_machines_choice_unless_told_or_a_wheel_is_at_hand(checkout, tmp_path):
    def chosen(**environment):
        shutil.rmtree(checkout / ".venv-ml", ignore_errors=True)
        (checkout / "journal").unlink(missing_ok=True)
        setup(checkout, "ml", **environment)
        return next(call for call in journal(checkout) if "build-gptqmodel" in call)

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert "--torch-backend=auto" in chosen(PIP_FIND_LINKS=str(wheels))
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    assert "--torch-backend" not in chosen(PIP_FIND_LINKS=str(wheels))
    assert "--torch-backend=cu128" in chosen(GREENLIGHT_TORCH_BACKEND="cu128")


def test_a_failed_step_says_which_why_and_what_to_do_and_is_done_again(checkout):
    done = setup(checkout, "core", FAIL="pip sync")
    assert done.returncode == 1
    assert 'the step "Install requirements.txt into .venv" failed' in done.stderr
    assert "no route to host" in done.stderr
    assert "run the same command again" in done.stderr
    assert "up to date" not in setup(checkout, "core").stdout
    assert "up to date" in setup(checkout, "core").stdout


def test_nothing_is_written_outside_the_folder(checkout, tmp_path):
    home = tmp_path / "user home"
    home.mkdir()
    assert setup(checkout, "core", "ml", HOME=str(home)).returncode == 0
    assert list(home.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a folder with spaces", "user home"]


def test_an_unknown_target_names_the_known_ones(checkout):
    done = setup(checkout, "cuda")
    assert done.returncode == 1
    assert 'no target is called "cuda"; there are system core' in done.stderr
