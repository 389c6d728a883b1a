"""How fast a big radiation dose report is read, beside a program that walks it with pydicom; CPU seconds of one run.

    python benchmarks/dose.py [FILE]

Without a file: the largest report among the real files in ../shared (an angiography with 316 events, 3.3 MB). Both ways
must give the same items: concept, value type, value and unit of every one. A bar of 20 is what issue 7 asks for.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from dicom_workbench.analysis.content import read_content
from dicom_workbench.analysis.dose import read_report

FILE = Path("data/real/OpenREM-0.10.0-pypi/RF-Pat-Orientation-Modifier-Missing.dcm")
BAR, ROUNDS = 20, 5
Told = tuple[str, str, float | str | None, str]  # concept, value type, value, unit


def walked(file: Path) -> list[Told]:
    """Every item, as a plain pydicom program reads it."""
    found: list[Told] = []

    def item(data_set: Dataset) -> None:
        concept = data_set.ConceptNameCodeSequence[0].CodeValue if data_set.get("ConceptNameCodeSequence") else ""
        kind = data_set.get("ValueType", "")
        value: float | str | None = None
        unit = ""
        if kind == "NUM" and data_set.get("MeasuredValueSequence"):
            measured = data_set.MeasuredValueSequence[0]
            value = float(measured.NumericValue)
            unit = measured.MeasurementUnitsCodeSequence[0].CodeValue
        elif kind == "CODE" and data_set.get("ConceptCodeSequence"):
            value = data_set.ConceptCodeSequence[0].CodeValue
        elif kind in ("TEXT", "DATETIME", "UIDREF", "PNAME"):
            value = str(data_set.get({"TEXT": "TextValue", "DATETIME": "DateTime", "UIDREF": "UID", "PNAME": "PersonName"}[kind], ""))
        found.append((concept, kind, value, unit))
        for child in data_set.get("ContentSequence", []):
            item(child)

    item(pydicom.dcmread(file))
    return found


def ours(file: Path) -> list[Told]:
    """The same from `read_content`."""
    found: list[Told] = []
    for item in read_content(file.read_bytes()).root.walk():
        value = item.number if item.value_type == "NUM" else item.code.value if item.value_type == "CODE" else item.text
        found.append((item.concept.value, item.value_type, value or None if item.value_type in ("CONTAINER", "CODE") else value, item.unit.value))
    return found


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> int:
    """Measure and print."""
    shared = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).parents[2] / "shared"))
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / FILE
    if not file.exists():
        print(f"{file.name} is not here: name a report, or set DICOM_WORKBENCH_SHARED.")
        return 1
    if [(c, k, u) for c, k, _, u in ours(file)] != [(c, k, u) for c, k, _, u in walked(file)]:
        print("The two ways differ.")
        return 1
    data = file.read_bytes()
    read_content(data), read_report(data)  # imports and tables are loaded
    fast, rows, slow = [], [], []
    for _ in range(ROUNDS):  # in turns, so that a busy moment strikes all
        fast.append(seconds(lambda: read_content(data)))
        rows.append(seconds(lambda: read_report(data)))
        slow.append(seconds(lambda: walked(file)))
    ratio = statistics.median(s / f for s, f in zip(slow, fast, strict=True))
    items = len(walked(file))
    print(f"{file.stat().st_size / 1e6:.1f} MB, {items:,} items; Python {platform.python_version()}, pydicom {pydicom.__version__}; CPU seconds, median of {ROUNDS}")
    for name, times in (("read_content: the tree", fast), ("read_report: rows of DOSE", rows), ("walked with pydicom", slow)):
        print(f"  {name:28} {statistics.median(times):7.3f}   ({min(times):.3f} to {max(times):.3f})")
    print(f"read_content is {ratio:.1f} times faster (bar: {BAR})")
    return 0 if ratio >= BAR else 2


if __name__ == "__main__":
    sys.exit(main())
