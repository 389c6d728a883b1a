"""How fast the synthetic hospital is made, as a table and as files.

    python benchmarks/hospital.py [ROWS]        # about that many rows; 1,000,000 by default

CPU seconds count; the wall clock of a shared machine does not. The yardstick beside our writer is pydicom writing the
same objects (400 of them).
"""

import resource
import shutil
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import polars as pl
from pydicom import dcmread

from dicom_workbench.teach import write_hospital, write_table
from dicom_workbench.teach.hospital import patient_files

ROWS_PER_PATIENT = 10


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(rows: int) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        start, wall = cpu(), time.perf_counter()
        shards = write_table(folder / "rows", rows // ROWS_PER_PATIENT)
        count = pl.scan_parquet(shards).select(pl.len()).collect().item()
        spent = cpu() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"table: {count:,} rows, {spent:.1f} CPU-s, {time.perf_counter() - wall:.1f} s wall, {count / spent:,.0f} rows per CPU-s, {peak:,} MB")
        start, wall = cpu(), time.perf_counter()
        files = write_hospital(folder / "files", 1000)
        ours = (cpu() - start) / files
        print(f"files: {files:,}, {1 / ours:,.0f} per CPU-s, {files / (time.perf_counter() - wall):,.0f} per s wall")
        some = [content for part in patient_files(80, 1) for _, content in part][:400]
        objects = [dcmread(BytesIO(content)) for content in some]
        start = cpu()
        for data in objects:
            for element in data.iterall():
                element.value  # noqa: B018  pydicom reads lazily; writing needs the value
            data.save_as(BytesIO())
        theirs = (cpu() - start) / len(objects)
        print(f"pydicom writes the same objects at {1 / theirs:,.0f} per CPU-s: ours takes {ours / theirs:.2f} of its time, disk included")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1].replace(",", "")) if len(sys.argv) > 1 else 1_000_000)
