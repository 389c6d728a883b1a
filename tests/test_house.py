"""The habits that .ci/run keeps, where developers see them: in the ordinary test run. And: each check can say no."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
ARROWS = [BIN / "lint-imports", "--no-logo", "--no-cache"]


def said_by(*command: str | Path, cwd: Path = ROOT, **environment: str) -> tuple[int, str]:
    """Exit code and words of a command."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTEST_ADDOPTS", "DICOM_WORKBENCH_REQUIRE_ALL")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env={**own, **environment})
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the checks look at, to spoil."""
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in (".ci", "nbs", "reports/templates", "dicom_workbench"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("check", ["check_sync.py", "check_notebooks.py", "readme.py", "rules.py"])
def test_the_tree_keeps_the_habit(check: str) -> None:
    code, words = said_by(sys.executable, f".ci/{check}", "--check")
    assert code == 0, words


def test_no_room_imports_against_the_arrows() -> None:
    code, words = said_by(*ARROWS)
    assert code == 0, words


def test_an_import_against_the_arrows_is_found(copy: Path) -> None:
    (copy / "dicom_workbench/standard/shortcut.py").write_text("from dicom_workbench import quality\n")
    code, words = said_by(*ARROWS, cwd=copy)
    assert code == 1
    assert "standard imports no other room" in words


def test_rooms_that_may_not_know_each_other_are_held_apart(copy: Path) -> None:
    (copy / "dicom_workbench/quality/peek.py").write_text("from dicom_workbench import privacy\n")
    code, words = said_by(*ARROWS, cwd=copy)
    assert code == 1
    assert "quality imports standard and store only" in words


def test_a_module_edited_by_hand_is_found(copy: Path) -> None:
    module = copy / "dicom_workbench/standard/errors.py"
    module.write_text(module.read_text() + "\nBY_HAND = True\n")
    code, words = said_by(sys.executable, ".ci/check_sync.py", cwd=copy)
    assert code == 1
    assert "dicom_workbench/standard/errors.py: differs from its notebook" in words


def test_a_module_whose_notebook_is_gone_is_found(copy: Path) -> None:
    (copy / "nbs/standard/90_errors.ipynb").unlink()
    code, words = said_by(sys.executable, ".ci/check_sync.py", cwd=copy)
    assert code == 1
    assert "dicom_workbench/standard/errors.py: no notebook exports it any more" in words


def spoil(notebook: Path, source: str, outputs: list[dict] | None = None) -> None:
    """Append a code cell to a notebook."""
    book = json.loads(notebook.read_text())
    cell = {"cell_type": "code", "execution_count": None, "id": "spoiled", "metadata": {}, "outputs": outputs or [],
            "source": source.splitlines(keepends=True)}
    book["cells"].append(cell)
    notebook.write_text(json.dumps(book))


def shown(text: str) -> list[dict]:
    return [{"output_type": "stream", "name": "stdout", "text": [text]}]


@pytest.mark.parametrize(
    ("source", "outputs", "complaint"),
    [
        ("<<<<<<< HEAD", None, "merge conflict"),
        ("#| export\nfrom math import *", None, "star import"),
        ("#| export\nimport math\npi = math.pi", None, "imports and other code"),
        ("print(path)", shown("/home/mwamba/scans\n"), "absolute path"),
        ("print(path)", shown("C:\\Users\\mwamba\n"), "absolute path"),
        ("x", shown("<object at 0x7f3a2b1c4d50>\n"), "memory address"),
    ],
)
def test_a_notebook_that_carries_it_is_named(
    copy: Path, source: str, outputs: list[dict] | None, complaint: str
) -> None:
    spoil(copy / "nbs/standard/90_errors.ipynb", source, outputs)
    code, words = said_by(sys.executable, ".ci/check_notebooks.py", cwd=copy)
    assert code == 1
    assert any(line.startswith("nbs/standard/90_errors.ipynb: cell ") and complaint in line for line in words.splitlines())


def test_a_readme_edited_by_hand_is_found(copy: Path) -> None:
    (copy / "README.md").write_text((ROOT / "README.md").read_text() + "by hand\n")
    code, words = said_by(sys.executable, ".ci/readme.py", "--check", cwd=copy)
    assert code == 1
    assert "edit the notebook" in words


def test_a_rule_that_the_documentation_lacks_is_found(copy: Path) -> None:
    (copy / "docs").mkdir()
    table = (ROOT / "docs/rules.md").read_text(encoding="utf-8")
    (copy / "docs/rules.md").write_text("".join(line for line in table.splitlines(keepends=True) if "`VAL-SEX`" not in line), encoding="utf-8")
    code, words = said_by(sys.executable, ".ci/rules.py", "--check", cwd=copy)
    assert code == 1
    assert "run `python .ci/rules.py`" in words


def test_the_readme_holds_the_line_that_runs_the_tests() -> None:
    code, words = said_by(sys.executable, ".ci/readme.py", "--test-line")
    assert code == 0
    assert words.count("\n") == 1
    assert 'pip install' in words and '".[dev]"' in words


def test_a_skip_for_a_missing_program_fails_where_everything_has_to_be_there(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    shutil.copy(ROOT / "tests/explorer_browser.py", tmp_path)  # conftest imports it
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_program(): pytest.skip('no chromium')\ndef test_data(): pytest.skip('no shared data')\n"
    )
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    assert said_by(*run)[1].rstrip().splitlines()[-1].startswith("2 skipped")
    code, words = said_by(*run, DICOM_WORKBENCH_REQUIRE_ALL="1")
    assert code == 1
    assert "1 failed, 1 skipped" in words
