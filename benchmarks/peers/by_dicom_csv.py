"""dicom-csv: what join_tree does with each file, on the list of files, and its table at the end of each batch."""

import logging
import warnings

import pandas as pd
from common import KEYWORDS, measure
from dicom_csv.crawler import get_file_meta

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
SPREAD = {"ImagePositionPatient": 3, "PixelSpacing": 2, "ImageOrientationPatient": 6}  # one column a number


def read_all(paths):
    found = [next(iter(get_file_meta(path))) for path in paths]
    pd.DataFrame(found)
    return [row_of(meta) if meta["NoError"] else ValueError("not read") for meta in found]


def row_of(meta):
    row = []
    for keyword in KEYWORDS:
        parts = [meta[f"{keyword}{n}"] for n in range(SPREAD.get(keyword, 0)) if f"{keyword}{n}" in meta]
        row.append(parts or meta.get(keyword))
    return row


measure(read_all)
