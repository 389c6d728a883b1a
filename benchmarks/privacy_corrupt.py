"""Corrupt and odd files for de-identifiers: each with a name in it, and what has to become of it.

    python benchmarks/privacy_corrupt.py FOLDER

Delivered: it can be read to its end, however odd; then nothing of the patient may be left. Quarantined: it cannot, and a copy
that looks clean would be a lie.
"""

import argparse
import io
import random
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

NAME, NUMBER = "QUBOKAVITE", "QUMIRANOPE"


@dataclass(frozen=True)
class Case:
    content: bytes
    expected: str  # delivered or quarantined
    tokens: tuple[str, ...] = (NAME, NUMBER)


def written(ds: Dataset) -> bytes:
    target = io.BytesIO()
    ds.save_as(target, enforce_file_format=False)
    return target.getvalue()


def changed(good: bytes, change) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(good))
    change(ds)
    return written(ds)


def deep(levels: int):
    def change(ds: Dataset) -> None:
        inner = Dataset()
        inner.PatientName, inner.PatientID, inner.StudyDate = NAME, NUMBER, "17550101"
        for _ in range(levels):
            outer = Dataset()
            outer.ReferencedSeriesSequence = Sequence([inner])
            inner = outer
        ds.ReferencedInstanceSequence = Sequence([inner])

    return change


def very_deep(good: bytes, levels: int) -> bytes:
    "Deeper than pydicom can write: items of undefined length by hand, in explicit little endian before the pixels."
    at = good.index(b"\xe0\x7f\x10\x00")
    opening = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    name = struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", len(NAME)) + NAME.encode()
    head = struct.pack("<HH2sHI", 0x5400, 0x0100, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return good[:at] + head + opening * levels + name + closing * levels + closing + good[at:]


def bad_dates(ds: Dataset) -> None:
    for keyword, value in (("StudyDate", "2004-01-19"), ("SeriesDate", "yesterday"), ("ContentDate", "20041399"), ("AcquisitionDate", "19")):
        ds[pydicom.tag.Tag(keyword)] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(keyword), "DA", len(value), value.encode(), 0, False, True)


def with_length(good: bytes, tag: bytes, length: int) -> bytes:
    "Another length in the header of a short element."
    at = good.index(tag)
    return good[: at + 6] + struct.pack("<H", length) + good[at + 8 :]


def cases(good: bytes) -> dict[str, Case]:
    "Name -> case; `good` is an uncompressed explicit little endian image, such as pydicom's CT_small.dcm."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def named(ds: Dataset) -> None:
            ds.PatientName, ds.PatientID = NAME, NUMBER
            if "DataSetTrailingPadding" in ds:
                del ds.DataSetTrailingPadding

        good = changed(good, named)
        pixels = good.index(b"\xe0\x7f\x10\x00")
        name = b"\x10\x00\x10\x00PN"
        group = good.index(b"\x10\x00\x10\x00")
        text = f"Patient: {NAME}\n".encode() * 40
        quarantined = {
            "truncated in the pixels": good[: pixels + 1000],
            "truncated by one byte": good[:-1],
            "truncated in the header of the pixels": good[: pixels + 6],
            "truncated in the header": good[: group + 60],
            "truncated in the file meta": good[:200],
            "empty": b"",
            "text": text,
            "random bytes": random.Random(1).randbytes(5000),
            "only a preamble": bytes(128) + b"DICM",
            "only file meta": good[: good.index(b"\x08\x00\x05\x00CS")],
            "a length that is too long": with_length(good, name, 0x2000),
            "a length that is too short": with_length(good, name, 2),
            "a length beyond the end": with_length(good, name, 0xFFFE),
            "text behind the data set": good + b"\n" + text,
            "another file behind the data set": good + good,
            "a sequence without an end": good[:pixels] + struct.pack("<HH2sHI", 0x7FD0, 0x0010, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + good[pixels:],
            "a VR that does not exist": good.replace(name, b"\x10\x00\x10\x00?!", 1),
            "deflated, and cut": deflated(good)[:-400],
            "an HTML page": b"<html><body>" + text + b"</body></html>",
            "compressed pixels without an end": compressed(good)[:-8],
        }
        delivered = {
            "good": good,
            "bad dates": changed(good, bad_dates),
            "120 levels deep": changed(good, deep(120)),
            "200 levels deep": changed(good, deep(200)),
            "3000 levels deep": very_deep(good, 3000),
            "without preamble and file meta": good[good.index(b"\x08\x00\x05\x00CS") :],
            "deflated": deflated(good),
            "compressed pixels": compressed(good),
            "a preamble of something else": (b"II*\0" + NAME.encode()).ljust(128, b"\0") + good[128:],
        }
    return {name: Case(content, "quarantined") for name, content in quarantined.items()} | {
        name: Case(content, "delivered") for name, content in delivered.items()}


def deflated(good: bytes) -> bytes:
    def change(ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian

    return changed(good, change)


def compressed(good: bytes) -> bytes:
    return changed(good, lambda ds: ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("target", type=Path)
    target = arguments.parse_args().target
    target.mkdir(parents=True, exist_ok=True)
    good = (Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm").read_bytes()
    for name, case in cases(good).items():
        (target / f"{case.expected} {name}".replace(" ", "_")).write_bytes(case.content)


if __name__ == "__main__":
    main()
