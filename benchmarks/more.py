"""What the workbench alone is asked: two processes, a rescan without changes, a cold cache. Run by reading.py.

python benchmarks/more.py processes|rescan|cold LIST.json RESULT.json
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from dicom_workbench.acquire import engines
from dicom_workbench.acquire.folder import list_files

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import ours


def batches(paths: list[str], size: int = 500) -> list[list[str]]:
    return [paths[n : n + size] for n in range(0, len(paths), size)]


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def processes(paths: list[str]) -> dict[str, object]:
    """Wall time of one process and of two warm ones, the frames brought back; best of five, for noisy machines."""
    work = batches(paths)

    def run(engine: str, some: list[list[str]]) -> None:
        for _ in engines.run(some, ours.read, engine, 2):
            pass

    run("processes", work[:4])  # the workers start and import
    seconds = timed(lambda: run("serial", work[:2])) / 2 * len(work)
    work *= max(1, round(3 / seconds))  # about three seconds a run
    one, two = [], []
    for _ in range(5):
        one.append(timed(lambda: run("serial", work)))
        two.append(timed(lambda: run("processes", work)))
    return {"one": min(one), "two": min(two), "ratio": min(one) / min(two), "files": sum(map(len, work))}


def rescan(paths: list[str]) -> dict[str, object]:
    """CPU per file of finding out that nothing changed: list, stat, compare with the table of the last scan."""
    root = os.path.commonpath(paths)

    def listing() -> pl.DataFrame:
        rows = [(e.path, e.file_size, e.mtime_ns) for e in list_files(root)]
        return pl.DataFrame(rows, schema={"path": pl.String, "file_size": pl.Int64, "mtime_ns": pl.Int64}, orient="row")

    before = listing()
    times = []
    for _ in range(5):
        times.append(timed(lambda: listing().join(before, on=before.columns, how="anti"), time.process_time))
    return {"us": statistics.median(times) / len(before) * 1e6, "files": len(before)}


def evict(paths: list[str]) -> None:
    """Ask the kernel to forget these files, and only these."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def heads(paths: list[str], hint: bool) -> None:
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        if hint:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 8192, 0)
        os.close(fd)


def cold(paths: list[str]) -> dict[str, object]:
    """Files per second of wall time with an evicted cache: 8 KiB reads, then the workbench; plain and helped."""
    if not hasattr(os, "posix_fadvise"):
        return {"skipped": "this system has no posix_fadvise"}
    os.sync()  # pages not yet written cannot be evicted
    threads, skipped = 8, {}
    with ThreadPoolExecutor(threads) as pool:
        plans: dict[str, Callable[[], object]] = {
            "heads warm": lambda: heads(paths, False),
            "heads cold, plain": lambda: heads(paths, False),
            "heads cold, 8 threads and hints": lambda: list(
                pool.map(lambda n: heads(paths[n::threads], True), range(threads))
            ),
            "workbench cold, plain": lambda: [ours.read_helped(b, 0) for b in batches(paths)],
            "workbench cold, as it decides itself": lambda: [ours.read(b) for b in batches(paths)],
            "workbench warm, plain": lambda: [ours.read_helped(b, 0) for b in batches(paths)],
            "workbench warm, as it decides itself": lambda: [ours.read(b) for b in batches(paths)],
        }
        try:
            ours.read_helped(paths[:1], threads)
            plans["workbench cold, 8 threads and hints"] = lambda: [ours.read_helped(b, threads) for b in batches(paths)]
        except NotImplementedError as absent:
            skipped = {"skipped": str(absent)}
        seconds: dict[str, list[float]] = {name: [] for name in plans}
        for _ in range(3):
            for name, work in plans.items():
                if "cold" in name:
                    evict(paths)
                seconds[name].append(timed(work))
    rates = {name: len(paths) / statistics.median(values) for name, values in seconds.items()}
    return {"files_per_second": rates} | skipped


if __name__ == "__main__":
    name, listing_file, target = sys.argv[1:]
    measured = {"processes": processes, "rescan": rescan, "cold": cold}[name](
        json.loads(Path(listing_file).read_text())
    )
    Path(target).write_text(json.dumps(measured))
