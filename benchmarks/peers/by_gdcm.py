"""GDCM's Scanner: made for this task, one call for many files."""

import gdcm
from common import TAGS, measure

WANTED = [gdcm.Tag(int(tag[:4], 16), int(tag[4:], 16)) for tag in TAGS]


def read_all(paths):
    scanner, names = gdcm.Scanner(), gdcm.FilenamesType()
    for tag in WANTED:
        scanner.AddTag(tag)
    for path in paths:
        names.append(path)
    scanner.Scan(names)
    value = scanner.GetValue
    return [[value(p, tag) for tag in WANTED] if scanner.IsKey(p) else ValueError("not read") for p in paths]


gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()
measure(read_all)
