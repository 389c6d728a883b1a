"""pydicom: `stop_before_pixels` and 55 gets; `specific_tags`; `json`: the whole header by to_json_dict."""

import logging
import sys
import warnings

from common import KEYWORDS, each, measure
from pydicom import dcmread

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


def read(path):
    ds = dcmread(path, stop_before_pixels=True)
    return [ds.get(keyword) for keyword in KEYWORDS]


def read_specific(path):
    ds = dcmread(path, stop_before_pixels=True, specific_tags=KEYWORDS)
    return [ds.get(keyword) for keyword in KEYWORDS]


def read_json(path):
    return [len(dcmread(path, stop_before_pixels=True).to_json_dict())]


measure(each({"": read, "specific_tags": read_specific, "json": read_json}["".join(sys.argv[4:])]))
