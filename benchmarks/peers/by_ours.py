"""The workbench: 55 attributes, or `all` columns. Every frame is kept, as for somebody who wants one table."""

import os
import sys
from collections import Counter

import polars as pl
from common import KEYWORDS, measure
from dicom_workbench.acquire.row import Entry, encode_path
from dicom_workbench.acquire.scan import Batch, read_batch
from dicom_workbench.standard.attributes import COLUMNS

WANTED = COLUMNS if sys.argv[4:] == ["all"] else tuple(KEYWORDS)
kept = []


def batch_of(paths):
    entries = [Entry(encode_path(p), info.st_size, info.st_mtime_ns) for p in paths for info in [os.stat(p)]]
    return Batch("", tuple(entries), attributes=WANTED)


def read(batch):
    frame, _ = read_batch(batch)
    kept.append(frame)
    return Rows(frame)


class Rows:
    """The frame as rows of text, made only when somebody asks."""

    def __init__(self, frame):
        self.frame = frame

    def __iter__(self):
        unread = ~self.frame["status"].is_in(["ok", "recovered", "truncated"])
        for row, bad in zip(self.frame.select(KEYWORDS).iter_rows(), unread, strict=True):
            yield ValueError("not read") if bad else row


def about():
    table = pl.concat(kept)
    count = {column: Counter(table[column].fill_null("none")) for column in ("parser", "status")}
    return {**count, "columns": len(WANTED), "incomplete": int((~table["complete"]).sum())}


measure(read, prepare=batch_of, about=about)
