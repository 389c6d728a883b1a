"""The one place that knows how the workbench reads many files. Paths go in, a table comes out.

Falls back to what `scan` uses where the fast reader is absent; reading.py says so, from the column `parser`.
"""

import os
from functools import cache

import polars as pl
from common import KEYWORDS

from dicom_workbench.standard.attributes import COLUMNS

try:
    from dicom_workbench.acquire.batch import read_batch
    from dicom_workbench.acquire.plan import compile_plan
except ImportError:
    read_batch = None


@cache
def plan(attributes: tuple[str, ...]):
    return compile_plan(attributes)


def read(paths: list[str], attributes: tuple[str, ...] = tuple(KEYWORDS)) -> pl.DataFrame:
    if read_batch:
        return read_batch(paths, plan(attributes))[0]
    from dicom_workbench.acquire.row import Entry, encode_path
    from dicom_workbench.acquire.scan import Batch
    from dicom_workbench.acquire.scan import read_batch as read_slowly

    entries = tuple(Entry(encode_path(p), os.path.getsize(p), 0) for p in paths)
    return read_slowly(Batch("", entries, attributes=attributes))[0]


def read_helped(paths: list[str], threads: int) -> pl.DataFrame:
    """With I/O threads and access hints, for cold disks."""
    return read_batch(paths, plan(tuple(KEYWORDS)), threads=threads)[0]


ALL = tuple(COLUMNS)
