"""A report template run in this very process: seconds less a template than a kernel of its own, the same cells and the same cleaning."""

import ast
import os
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.formatters import DisplayFormatter

from dicom_workbench.catalog import catalogue as catalogue_names
from dicom_workbench.privacy.release import leaks, secrets_of
from dicom_workbench.report.html import to_html
from dicom_workbench.report.released import only_cleared, shown_text
from dicom_workbench.report.run import clean, environment, find_template
from dicom_workbench.store import Lake


def run_here(name: str, lake: Lake, source_id: str, catalogue: Path | None = None, released: int = 0, **parameters: Any) -> Any:
    "The executed notebook, as report.run leaves it before it is written. A cell that fails raises."
    notebook = nbformat.read(find_template(name), 4)
    given = {"source_id": source_id, "source_version": lake.source_version(source_id), **({"released": released} if released else {}), **parameters}
    place = {"DICOM_WORKBENCH_WORKSPACE": str(lake.folder)} | ({catalogue_names.VARIABLE: str(catalogue)} if catalogue else {})
    show, names = DisplayFormatter(), {"__name__": f"template_{name}"}
    folder = Path.cwd()
    try:
        os.chdir(find_template(name).parent)
        with environment(**place):
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs = _outputs(cell.source, names, show)
                    if "parameters" in cell.metadata.get("tags", []):
                        names.update(given)
    finally:
        os.chdir(folder)
    if released:
        only_cleared(notebook)
    return clean(notebook, given)


def _outputs(source: str, names: dict[str, Any], show: DisplayFormatter) -> list[Any]:
    "What a cell shows: its last expression."
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "template", "exec"), names)
    value = eval(compile(last, "template", "eval"), names) if last is not None else None
    if value is None:
        return []
    data, _ = show.format(value)
    return [nbformat.v4.new_output("execute_result", data, execution_count=1)]


def page_of(notebook: Any, cache: Path) -> str:
    return to_html(notebook, "A page", cache)


def leaked(notebook: Any, lake: Lake, source_id: str, name: str, beside: str = "") -> list[str]:
    "What the last look of a released page would find."
    return leaks(shown_text(notebook), secrets_of(lake.rows(source_id)), find_template(name).read_text(encoding="utf-8") + beside)
