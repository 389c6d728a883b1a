"""What a notebook must not carry: merge conflicts, error outputs, paths of one machine, star imports, big outputs.

nbdev-export of a notebook with conflict marker cells succeeds, with both versions in the module: hence the first one.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = [ROOT / "nbs", ROOT / "reports" / "templates"]
CONFLICT = re.compile(r"^(<{7}|>{7})( |$)", re.MULTILINE)
OWN_PATH = re.compile(r"(?<![\w.~:/-])(?!/home/me/)/(?:home|root|work|tmp|usr|opt|mnt|private|Users)/\w|\b[A-Z]:\\\\?\w")
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}")
MOST = 200_000  # characters of output in one notebook


def notebooks() -> list[Path]:
    return sorted(p for folder in FOLDERS for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def mixes_imports(source: str) -> bool:
    """nbdev cannot tell what to show of a cell that holds imports and other code."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a magic; export would have complained
        return False
    kinds = {isinstance(node, (ast.Import, ast.ImportFrom)) for node in body}
    return len(kinds) == 2


def faults_of_source(source: str) -> Iterator[str]:
    if CONFLICT.search(source):
        yield "a merge conflict marker: settle it, then `nbdev-export`."
    if OWN_PATH.search(source):
        yield "an absolute path of one machine: use a relative path or a temporary folder (/home/me/… in an example)."
    if re.search(r"^#\| *exports?\b", source, re.MULTILINE):
        if re.search(r"^from \S+ import \*", source, re.MULTILINE):
            yield "a star import in an exported cell: name what is used."
        if mixes_imports(source):
            yield "imports and other code in one exported cell: give the imports their own cell."


def faults_of_output(output: dict) -> Iterator[str]:
    text = json.dumps(output, ensure_ascii=False)
    if output["output_type"] == "error":
        yield "an error output: repair the cell and run it again."
    if OWN_PATH.search(text):
        yield "an absolute path in an output: show a relative one and run it again."
    if ADDRESS.search(text):
        yield "a memory address in an output: it changes with every run."


def faults(notebook: Path) -> Iterator[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    outputs = [(number, o) for number, cell in enumerate(cells) for o in cell.get("outputs", [])]
    for number, cell in enumerate(cells):
        yield from (f"cell {number}: {fault}" for fault in faults_of_source("".join(cell["source"])))
    for number, output in outputs:
        yield from (f"cell {number}: {fault}" for fault in faults_of_output(output))
    if len(json.dumps([o for _, o in outputs])) > MOST:
        yield f"more than {MOST:,} characters of outputs: show less."
    if outputs and "templates" in notebook.parts:
        yield "a report template with outputs: `nbdev-clean --clear-all --fname` it."


if __name__ == "__main__":
    wrong = [f"{p.relative_to(ROOT)}: {fault}" for p in notebooks() for fault in faults(p)]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(notebooks())} notebooks clean")
