"""fw-file-rs (Rust): the header's bytes, then the wanted keywords."""

from common import KEYWORDS, each, measure
from fw_file_rs.dcm import parse_header, read_until_pixels


def read(path):
    found = parse_header(read_until_pixels(path), KEYWORDS)
    return [found.get(keyword) for keyword in KEYWORDS]


measure(each(read))
