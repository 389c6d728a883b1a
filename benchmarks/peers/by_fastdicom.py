"""fastdicom (Rust): reads the header, keeps every element as an object."""

import fastdicom
from common import KEYWORDS, each, measure


def read(path):
    ds = fastdicom.dcmread(path, stop_before_pixels=True)
    return [ds.get(keyword, None) for keyword in KEYWORDS]


measure(each(read))
