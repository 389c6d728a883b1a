"""Whole headers: the table of all elements against pydicom's `to_json_dict`, by CPU time.

python benchmarks/elements.py [FOLDER ...]

Folders of real files; without any, pydicom's own and, where they are installed or at hand, pydicom-data's and the real
files of the project's shared folder. Files that pydicom cannot turn into JSON count for neither. Both sides run in one
process, in turns, three times; the ratio of the medians is printed. pydicom stops before Pixel Data, and so do we.
"""

import gc
import importlib.util
import logging
import os
import statistics
import sys
import time
import warnings
from pathlib import Path

import pydicom
from pydicom import dcmread

from dicom_workbench.acquire.elements import Part, PartFile, element_frames

ROUNDS = 3


def folders() -> list[Path]:
    found = [Path(pydicom.__file__).parent / "data" / "test_files"]
    data = importlib.util.find_spec("data_store")
    if data and data.submodule_search_locations:
        found.append(Path(data.submodule_search_locations[0]))
    shared = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return [*found, *(p for p in [shared / "data" / "real"] if p.is_dir())]


def by_pydicom(paths: list[str]) -> int:
    return sum(len(dcmread(path, stop_before_pixels=True).to_json_dict()) for path in paths)


def by_workbench(paths: list[str]) -> int:
    return sum(len(frame) for frame in element_frames(Part(tuple(PartFile(path, path) for path in paths))))


def readable(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            by_pydicom([path])
        except Exception:  # no DICOM, or broken
            continue
        found.append(path)
    return found


def cpu(work, paths: list[str]) -> tuple[float, int]:
    gc.collect()
    start = time.process_time()
    count = work(paths)
    return (time.process_time() - start) / len(paths) * 1e6, count


def main(roots: list[Path]) -> None:
    for root in roots:
        paths = readable(sorted(str(p) for p in root.rglob("*") if p.is_file()))
        theirs, ours, rows = [], [], 0
        for _ in range(ROUNDS):
            theirs.append(cpu(by_pydicom, paths)[0])
            us, rows = cpu(by_workbench, paths)
            ours.append(us)
        them, us = statistics.median(theirs), statistics.median(ours)
        print(f"{root.name}: {len(paths):,} files, {rows / len(paths):,.0f} elements a file; to_json_dict {them:,.0f} µs, "
              f"elements {us:,.0f} µs a file: × {them / us:.1f}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    main([Path(a) for a in sys.argv[1:]] or folders())
