"""`make check` refuses a planted fault in each language that is not Python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = ROOT / "console" / "check.py"


def _checked(folder: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(CHECK), str(folder))
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "biome.jsonc", tmp_path)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "right.ts").write_text("export const right = 1;\n")
    (tmp_path / "README.md").write_text("# One\n\n[itself](#one)\n")
    return tmp_path


def test_a_folder_without_faults_passes(folder: Path) -> None:
    found = _checked(folder)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("console/planted.ts", "export const same = (a: number) => a == a;\n", "noSelfCompare"),
        ("console/planted.mjs", "debugger;\n", "noDebugger"),
        ("console/planted.css", "p { colour: red; }\n", "noUnknownProperty"),
        ("planted.md", "[gone](docs/gone.md)\n", "Cannot find file `docs/gone.md`"),
        ("planted.md", "[gone](README.md#two)\n", "Cannot find heading for `#two`"),
    ],
)
def test_a_planted_fault_is_refused(folder: Path, file: str, text: str, told: str) -> None:
    (folder / file).write_text(text)
    found = _checked(folder)
    assert found.returncode == 1
    assert told in found.stdout + found.stderr


def test_a_cycle_of_imports_is_refused(folder: Path) -> None:
    for one, other in (("One", "Two"), ("Two", "One")):
        planted = f'import type {{ {other} }} from "./{other}";\nexport type {one} = {other} | string;\n'
        (folder / "console" / f"{one}.ts").write_text(planted)
    found = _checked(folder)
    assert found.returncode == 1
    assert "noImportCycles" in found.stdout + found.stderr


def test_a_wrong_type_is_refused(folder: Path) -> None:
    page = folder / "console" / "graphiql"
    (page / "src").mkdir(parents=True)
    shutil.copy(ROOT / "console" / "graphiql" / "tsconfig.json", page)
    (page / "src" / "planted.ts").write_text('export const count: number = "one";\n')
    found = _checked(folder)
    assert found.returncode == 1
    assert "error TS2322" in found.stdout


@pytest.mark.parametrize("fault", ["int unused;", "for (int i = 0; i < sizeof(int); i++) {}", "return 0;"])
def test_a_warning_of_the_c_compiler_is_an_error(tmp_path: Path, fault: str) -> None:
    source = (ROOT / "execution" / "serializer.c").read_text()
    planted = tmp_path / "execution" / "serializer.c"
    planted.parent.mkdir()
    planted.write_text(f"{source}\nvoid planted(void) {{ {fault} }}\n")
    found = _command("serializer.c", tmp_path)
    assert found.returncode != 0
    assert "planted" in found.stderr


def test_an_unquoted_variable_of_a_shell_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "planted").write_text("#!/bin/sh\nrm -r $1\n")
    subprocess.run(("git", "init", "--quiet"), cwd=tmp_path, check=True)
    subprocess.run(("git", "add", "planted"), cwd=tmp_path, check=True)
    found = _command("shellcheck", tmp_path)
    assert found.returncode != 0
    assert "SC2086" in found.stdout


def test_a_fault_of_the_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "Dockerfile").write_text("FROM python:latest\nUSER root\n")
    found = _command("hadolint", tmp_path)
    assert found.returncode != 0
    assert "DL3007" in found.stdout


def _command(part: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the line of `make check` that has the part in another folder."""
    make = ("make", "--no-print-directory", "--dry-run", "--assume-old=.venv/.installed-dev", "check")
    lines = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (line,) = (line.replace(".venv", str(ROOT / ".venv")) for line in lines if part in line)
    return subprocess.run(("sh", "-c", line), cwd=folder, capture_output=True, text=True, check=False)
