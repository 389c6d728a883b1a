"""The workbench: 55 attributes, or `all` columns. Every frame is kept, as for somebody who wants one table."""

import sys
from collections import Counter

import ours
import polars as pl
from common import KEYWORDS, measure

WANTED = ours.ALL if sys.argv[4:] == ["all"] else tuple(KEYWORDS)
kept = []


class Rows:
    """A frame as rows of text, made only when somebody asks."""

    def __init__(self, frame):
        self.frame = frame

    def __iter__(self):
        unread = ~self.frame["status"].is_in(["ok", "recovered", "truncated"])
        for row, bad in zip(self.frame.select(KEYWORDS).iter_rows(), unread, strict=True):
            yield ValueError("not read") if bad else row


def read(paths):
    frame = ours.read(paths, WANTED)
    kept.append(frame)
    return Rows(frame)


def about():
    table = pl.concat(kept)
    count = {column: Counter(table[column].fill_null("none")) for column in ("parser", "status")}
    return {**count, "columns": len(WANTED), "incomplete": int((~table["complete"]).sum())}


measure(read, about=about)
