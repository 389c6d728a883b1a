"""Notebooks as text: a git-ignored py:percent mirror in .nbpy/, the .ipynb stays the only committed source.

    python .ci/mirror.py pull [NB ...]   notebooks -> .nbpy/
    python .ci/mirror.py push [PY ...]   .nbpy/ -> notebooks (ids and outputs kept), cleaned and exported
    python .ci/mirror.py run  [NB ...]   execute notebooks in place, so that their outputs teach

Without names: every notebook (pull; run leaves the report templates out), or every text that is newer than its
notebook (push). A text that is newer than its notebook is never overwritten by pull.
"""

import os
import subprocess
import sys
from contextlib import chdir
from difflib import SequenceMatcher
from pathlib import Path

import jupytext
import nbformat
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent  # the nbdev of this Python, whatever the path says
MIRROR = ROOT / ".nbpy"
FOLDERS = [ROOT / "nbs", ROOT / "reports" / "templates"]
KERNEL = {"display_name": "python3", "language": "python", "name": "python3"}


def notebooks() -> list[Path]:
    return sorted(p for folder in FOLDERS for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def text_of(notebook: Path) -> Path:
    return (MIRROR / notebook.resolve().relative_to(ROOT)).with_suffix(".py")


def notebook_of(text: Path) -> Path:
    return (ROOT / text.resolve().relative_to(MIRROR)).with_suffix(".ipynb")


def pull(names: list[str]) -> None:
    for notebook in [Path(n) for n in names] or notebooks():
        target = text_of(notebook)
        if target.exists() and target.stat().st_mtime > notebook.stat().st_mtime:
            print(f"kept {target.relative_to(ROOT)}: newer than its notebook; push it, or delete it and pull again")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(jupytext.read(notebook), target, fmt="py:percent")
        stamp = notebook.stat().st_mtime
        os.utime(target, (stamp, stamp))  # in step: not newer until somebody edits it


def merge(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> None:
    """Give unchanged and edited cells the ids and outputs they had before."""
    key = [(c.cell_type, c.source) for c in old.cells]
    want = [(c.cell_type, c.source) for c in new.cells]
    for op, i1, i2, j1, j2 in SequenceMatcher(None, key, want, autojunk=False).get_opcodes():
        if op == "equal":
            for o, n in zip(old.cells[i1:i2], new.cells[j1:j2], strict=True):
                n["id"] = o["id"]
                if n.cell_type == "code":
                    n["outputs"], n["execution_count"] = o.get("outputs", []), o.get("execution_count")
        elif op == "replace":
            for o, n in zip(old.cells[i1:i2], new.cells[j1:j2], strict=False):
                if o.cell_type == n.cell_type:
                    n["id"] = o["id"]


def push(names: list[str]) -> None:
    texts = [Path(n) for n in names]
    if not texts:
        texts = [t for t in sorted(MIRROR.rglob("*.py"))
                 if not notebook_of(t).exists() or t.stat().st_mtime > notebook_of(t).stat().st_mtime]
    for text in texts:
        notebook = notebook_of(text)
        new = jupytext.read(text, fmt="py:percent")
        if notebook.exists():
            merge(nbformat.read(notebook, 4), new)
        new["metadata"] = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
        notebook.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new, notebook)
        print("wrote", notebook.relative_to(ROOT))
    clean()
    subprocess.run([BIN / "nbdev-export"], cwd=ROOT, check=True)


def clean() -> None:
    for folder in FOLDERS:
        subprocess.run([BIN / "nbdev-clean", "--fname", str(folder)], cwd=ROOT, check=True)


def run(names: list[str]) -> None:
    from execnb.shell import CaptureShell
    from fastcore.nbio import read_nb, write_nb

    for notebook in [Path(n).resolve() for n in names] or [n for n in notebooks() if FOLDERS[0] in n.parents]:
        nb = read_nb(notebook)
        shell = CaptureShell(path=notebook.parent)
        with chdir(notebook.parent):  # where nbdev-test and JupyterLab run it too
            shell.run_all(nb, exc_stop=True, preproc=lambda cell: "#| eval: false" in cell.source)
        shell.close()
        write_nb(nb, notebook)
        print("ran", notebook.relative_to(ROOT))
    clean()


if __name__ == "__main__":
    actions = {"pull": pull, "push": push, "run": run}
    if len(sys.argv) < 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    MIRROR.mkdir(exist_ok=True)
    with FileLock(MIRROR / "lock"):  # two people, one tree
        actions[sys.argv[1]](sys.argv[2:])
