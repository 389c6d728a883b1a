"""The verifier's own reader, held to pydicom: the same elements, at the same places, with the same bytes."""

import io
import struct
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_workbench.privacy.extents import ITEM, Broken, read_extents

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
# pydicom reads these files differently on purpose: what is UN it opens, or it forgives what does not fit
ODD = {"UN_sequence.dcm", "priv_SQ.dcm", "rtplan_truncated.dcm", "MR_truncated.dcm", "DICOMDIR-nooffset", "DICOMDIR-empty.dcm"}


def whole_files() -> list[Path]:
    found = []
    for path in sorted(p for p in SAMPLES.rglob("*") if p.is_file()):
        if path.open("rb").read(132)[128:] == b"DICM" and path.name not in ODD:
            found.append(path)
    return found


def of_pydicom(ds: Dataset) -> list[tuple[int, int, bytes | None]]:
    "Level, tag and raw value of every element, in order; values of sequences are None."
    found = []

    def walk(data: Dataset, level: int) -> None:
        for tag in sorted(data.keys()):
            raw = data.get_item(tag)
            value = getattr(raw, "value", None)
            if raw.VR == "SQ" or (raw.VR is None and data[tag].VR == "SQ") or (raw.VR == "UN" and data[tag].VR == "SQ"):
                found.append((level, int(tag), None))
                for item in data[tag].value:
                    walk(item, level + 1)
            else:
                found.append((level, int(tag), value if isinstance(value, bytes) else b"" if value is None else None))

    walk(ds, 0)
    return found


def of_ours(content: bytes) -> list[tuple[int, int, bytes | None]]:
    reading, level, found = read_extents(content), {-1: 0}, []
    for number, row in enumerate(reading.rows):
        if row.tag == ITEM:
            level[number] = level[reading.rows[row.parent].parent] + 1
        else:
            value = None if row.vr == b"SQ" else reading.raw(row)
            found.append((level[row.parent], row.tag, value))
    return found


@pytest.mark.parametrize("path", whole_files(), ids=lambda p: p.name)
def test_pydicom_finds_the_same_elements_and_bytes(path):
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = of_pydicom(pydicom.dcmread(path))
    ours = of_ours(content)
    assert sorted((level, tag) for level, tag, _ in ours) == sorted((level, tag) for level, tag, _ in expected)
    theirs = {(level, tag, value) for level, tag, value in expected if value is not None}
    mine = {(level, tag, value) for level, tag, value in ours if value is not None}
    assert theirs <= mine | {(level, tag, b"") for level, tag, _ in ours}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_two_hundred_levels_are_read_in_every_encoding(syntax):
    ds = Dataset()
    ds.PatientName = "Bottom"
    for _ in range(200):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([ds])
        ds = outer
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    target = io.BytesIO()
    pydicom.dcmwrite(target, ds, enforce_file_format=True, overwrite=True)
    reading = read_extents(target.getvalue())
    assert reading.raw(reading.rows[-1]).strip() == b"Bottom"
    assert sum(row.tag == ITEM for row in reading.rows) == 200


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (b"\0\0" + struct.pack("<I", len(value)) if vr in (b"UN", b"OB", b"SQ") else struct.pack("<H", len(value))) + value


def file_of(*elements: bytes) -> bytes:
    meta = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + b"".join(elements)


def test_a_sequence_in_un_is_opened_and_what_only_looks_like_one_stays_closed():
    name = struct.pack("<HHI", 0x10, 0x10, 4) + b"Doe "
    hidden = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(name)) + name
    opened = read_extents(file_of(element(0x00081049, b"UN", hidden)))
    assert [row.tag for row in opened.rows] == [0x00081049, ITEM, 0x00100010]
    closed = read_extents(file_of(element(0x00081049, b"UN", hidden[:-2] + b"\xff"), element(0x00100020, b"LO", b"1 ")))
    assert [(row.tag, row.vr) for row in closed.rows] == [(0x00081049, b"UN"), (0x00100020, b"LO")]


@pytest.mark.parametrize("wrong", [
    element(0x00100010, b"PN", b"Doe ")[:-1],
    element(0x00100010, b"PN", b"Doe ")[:6] + b"\xff\x00Doe ",
    element(0x00100010, b"ZZ", b"Doe "),
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    element(0x00081140, b"SQ", b"\xfe\xff\x00\xe0\x00\x01\x00\x00"),
    element(0x00081140, b"SQ", element(0x00100010, b"PN", b"Doe ")),
    struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\x04\0\0\0abcd",
    element(0x00100010, b"PN", b"Doe ") + b"garbage behind the end",
])  # fmt: skip
def test_what_does_not_fit_is_broken(wrong):
    with pytest.raises(Broken):
        read_extents(file_of(element(0x00080060, b"CS", b"CT"), wrong))


def test_every_truncation_of_a_real_file_is_broken_or_ends_between_elements():
    content = (SAMPLES / "CT_small.dcm").read_bytes()
    whole = read_extents(content)
    ends = {row.end for row in [*whole.rows, *whole.meta] if row.parent < 0} | {whole.body, 132, 0}
    for cut in range(0, len(content) - 1, 7):
        try:
            read_extents(content[:cut])
        except Broken:
            continue
        assert cut in ends or cut < 132, cut
