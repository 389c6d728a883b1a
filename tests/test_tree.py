"""The strict reader and writer: nothing is guessed, nothing that was not changed comes back different, and pydicom sees the same."""

import gzip
import io
import struct
import warnings
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_workbench.privacy.tree import (
    BIG,
    BULK,
    EXPLICIT,
    IMPLICIT,
    Broken,
    DataSet,
    Element,
    chunks,
    make_explicit,
    new,
    open_up,
    read,
    write,
)

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
NO_DICOM = {"README.txt", "crayons.icc", "rtplan.dump", "rtstruct.dump", "test1.json", "test_PN.json", "zipMR.gz", "no_meta.dcm"}
BROKEN = {"MR_truncated.dcm", "rtplan_truncated.dcm", "DICOMDIR-nooffset"}  # as pydicom's own tests say
FILES = sorted(p for p in SAMPLES.rglob("*") if p.is_file() and p.suffix in ("", ".dcm") and p.name not in NO_DICOM
               and "README" not in p.name)
READABLE = [p for p in FILES if p.name not in BROKEN]


def names(path: Path) -> str:
    return path.relative_to(SAMPLES).as_posix()


def tree_of(data: DataSet) -> list:
    """Tags with raw values, and items, as plain lists."""
    return [(e.tag, [tree_of(i) for i in e.items] if e.items is not None else e.value) for e in data]


def all_tags(data) -> list[int]:
    found = []
    for element in data:
        found.append(int(element.tag))
        items = element.items if isinstance(element, Element) else (element.value if element.VR == "SQ" else None)
        for item in items or []:
            found += all_tags(item)
    return found


def test_there_are_samples():
    assert len(READABLE) > 80


@pytest.mark.parametrize("path", READABLE, ids=names)
def test_what_nobody_changed_comes_back_byte_for_byte(path: Path):
    content = path.read_bytes()
    found = read(content)
    written = write(found.data)
    if found.deflated:
        content = zlib.decompressobj(-15).decompress(content[content.index(b"DICM") + 4 + len(write(found.meta)):])
    assert written == content[len(content) - found.padding - len(written):len(content) - found.padding]


@pytest.mark.parametrize("path", READABLE, ids=names)
def test_pydicom_finds_the_same_elements_at_every_level(path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sorted(all_tags(pydicom.dcmread(path, force=True)))
    assert sorted(all_tags(read(path.read_bytes()).data)) == expected


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_samples_are_broken(name: str):
    path = next(p for p in FILES if p.name == name)
    with pytest.raises(Broken):
        read(path.read_bytes())


@pytest.mark.parametrize("name", sorted(NO_DICOM))
def test_other_files_are_no_dicom(name: str):
    with pytest.raises(Broken, match="no DICOM"):
        read((SAMPLES / name).read_bytes())


def test_every_cut_through_a_header_is_broken_or_ends_between_elements():
    content = (SAMPLES / "CT_small.dcm").read_bytes()
    header = content.index(b"\xe0\x7f\x10\x00OW")
    ends = {e.stop for e in read(content).data}
    meta = read(content).data.elements[0].start
    for cut in range(header):
        try:
            read(content[:cut])
        except Broken as broken:
            assert cut not in ends or cut <= meta, broken.reason
        else:
            assert cut in ends


def test_every_cut_through_a_report_without_lengths_is_broken():
    content = (SAMPLES / "test-SR.dcm").read_bytes()
    ends = {e.stop for e in read(content).data}
    for cut in range(200, len(content), 7):
        if cut not in ends:
            with pytest.raises(Broken):
                read(content[:cut])


def nested(levels: int, explicit: bool = True, lengths: bool = False) -> bytes:
    """A patient's name at a depth."""
    inner = struct.pack("<HH", 0x0010, 0x0010) + (b"PN\4\0" if explicit else b"\4\0\0\0") + b"DOE^"
    for _ in range(levels):
        item = b"\xfe\xff\0\xe0" + (struct.pack("<I", len(inner)) + inner if lengths
                                    else b"\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0")
        head = struct.pack("<HH", 0x0008, 0x1140) + (b"SQ\0\0" if explicit else b"")
        inner = head + (struct.pack("<I", len(item)) + item if lengths
                        else b"\xff\xff\xff\xff" + item + b"\xfe\xff\xdd\xe0\0\0\0\0")
    return inner


@pytest.mark.parametrize("levels", [1, 120, 200, 3000])
@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_depth_has_no_limit(levels: int, explicit: bool, lengths: bool):
    content = nested(levels, explicit, lengths)
    found = read(content).data
    assert write(found) == content
    at = found
    for _ in range(levels):
        at = at.elements[0].items[0]
    assert at.value(0x00100010) == b"DOE^"


def test_a_name_at_a_depth_can_be_changed_and_all_lengths_are_right():
    for lengths in (True, False):
        found = read(nested(200, True, lengths)).data
        at = found
        for _ in range(200):
            at = at.elements[0].items[0]
        at.put(new(0x00100010, "PN", b"SOMEBODY^ELSE"))
        again = read(write(found)).data
        assert again.elements[0].undefined is not lengths
        for _ in range(200):
            again = again.elements[0].items[0]
        assert again.value(0x00100010) == b"SOMEBODY^ELSE"


@pytest.mark.parametrize("garbage", [b"x", b"\0\0\0x", b"\x10\0\x10\0", b"GARBAGE AT THE END", b"\xfe\xff\x0d\xe0\0\0\0\0"])
def test_bytes_behind_the_data_set_are_not_overlooked(garbage: bytes):
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm"):
        with pytest.raises(Broken):
            read((SAMPLES / name).read_bytes() + garbage)


@pytest.mark.parametrize("zeros", [1, 7, 8, 12, 511])
def test_zeros_behind_the_data_set_are_padding(zeros: int):
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm"):
        content = (SAMPLES / name).read_bytes()
        before, after = read(content), read(content + bytes(zeros))
        assert (after.padding - before.padding, tree_of(after.data)) == (zeros, tree_of(before.data))


def saved(ds: Dataset, little: bool = True, implicit: bool = False) -> bytes:
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, implicit_vr=implicit, little_endian=little)
    return stream.getvalue()


def some() -> Dataset:
    ds, item = Dataset(), Dataset()
    ds.SOPClassUID, ds.PatientName, item.CodeValue, item.PatientName = "1.2.840.10008.5.1.4.1.1.2", "Doe^Jane", "T-1", "Doe^John"
    ds.ProcedureCodeSequence = Sequence([item, item])
    ds.Rows = 2
    return ds


@pytest.mark.parametrize(("little", "implicit", "encoding"), [(True, False, EXPLICIT), (True, True, IMPLICIT), (False, False, BIG)])
def test_what_pydicom_writes_without_a_header_is_read(little: bool, implicit: bool, encoding):
    found = read(saved(some(), little, implicit))
    assert found.data.encoding is encoding
    assert found.data.value(0x00100010) == b"Doe^Jane"
    assert [item.value(0x00100010) for item in found.data.get(0x00081032).items] == [b"Doe^John"] * 2


@pytest.mark.parametrize("change", ["longer item", "shorter item", "longer sequence", "longer element", "no such VR"])
def test_wrong_lengths_are_not_believed(change: str):
    content = bytearray(saved(some()))
    sequence = content.index(b"\x08\x00\x32\x10SQ")
    if change == "longer item":
        content[sequence + 16] += 2
    elif change == "shorter item":
        content[sequence + 16] -= 2
    elif change == "longer sequence":
        content[sequence + 8] += 2
    elif change == "longer element":
        content[content.index(b"\x28\x00\x10\x00US") + 6] += 2
    else:
        at = content.index(b"\x28\x00\x10\x00US") + 4
        content[at:at + 2] = b"Q1"
    with pytest.raises(Broken) as broken:
        read(bytes(content))
    assert "Doe" not in broken.value.reason


def un(tag: int, inside: bytes, undefined: bool = False, order: str = "<") -> bytes:
    head = struct.pack(order + "HH2s2xI", tag >> 16, tag & 0xFFFF, b"UN", 0xFFFFFFFF if undefined else len(inside))
    return head + inside + (b"\xfe\xff\xdd\xe0\0\0\0\0" if undefined else b"")


IMPLICIT_NAME = b"\x10\0\x10\0\4\0\0\0DOE^"
ITEM = b"\xfe\xff\0\xe0" + struct.pack("<I", len(IMPLICIT_NAME)) + IMPLICIT_NAME


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_sequence_that_its_writer_did_not_know_is_opened(undefined: bool, order: str):
    first = struct.pack(order + "HH2sH", 8, 5, b"CS", 10) + b"ISO_IR 100"
    last = struct.pack(order + "HH2sH", 0x28, 0x10, b"US", 2) + struct.pack(order + "H", 7)
    content = first + un(0x00081140, ITEM, undefined, order) + last
    found = read(content).data
    assert found.encoding is (EXPLICIT if order == "<" else BIG)
    assert found.elements[1].items[0].value(0x00100010) == b"DOE^"
    assert write(found) == content
    found.elements[1].items[0].put(new(0x00100010, "PN", b"SOMEBODY"))
    again = read(write(found)).data
    assert again.elements[1].items[0].value(0x00100010) == b"SOMEBODY"
    assert again.elements[2].value == last[-2:]


def test_explicit_items_in_an_unknown_sequence_are_read_too():
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + b"\x08\0\0\x01SH\2\0NA" + b"\xfe\xff\x0d\xe0\0\0\0\0"  # real: a Hologic mammogram
    content = b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + un(0x00081140, item, True)
    found = read(content).data
    assert found.elements[1].items[0].value(0x00080100) == b"NA"
    assert write(found) == content


def test_an_unknown_value_that_is_no_sequence_stays_a_value():
    content = b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + un(0x00081140, b"not items at all")
    element = read(content).data.elements[1]
    assert element.items is None
    assert not open_up(element)
    assert element.value == b"not items at all"


def test_implicit_items_in_an_explicit_data_set_are_read():
    content = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<I", len(ITEM)) + ITEM
    found = read(content).data
    assert found.elements[0].items[0].encoding is IMPLICIT
    assert found.elements[0].items[0].value(0x00100010) == b"DOE^"
    assert write(found) == content


def test_a_deflated_data_set_with_a_trailer_of_gzip_is_whole_and_with_anything_else_is_not():
    content = (SAMPLES / "image_dfl.dcm").read_bytes()
    found = read(content)
    assert found.deflated
    start = 132 + len(write(found.meta))
    inner = write(found.data)
    packed = gzip.compress(inner, mtime=0)[10:]  # without gzip's header: data, checksum, length
    assert tree_of(read(content[:start] + packed).data) == tree_of(found.data)
    with pytest.raises(Broken, match="behind the data set"):
        read(content[:start] + packed + b"DOE^JANE")
    with pytest.raises(Broken, match="no end"):
        read(content[:start] + packed[:-60])


def test_compressed_pixels_need_their_end():
    content = (SAMPLES / "JPEG2000.dcm").read_bytes()
    assert content[-8:] == b"\xfe\xff\xdd\xe0\0\0\0\0"
    for cut in (1, 8, 20, 500):
        with pytest.raises(Broken):
            read(content[:-cut])


def test_bulk_is_handed_on_without_a_copy():
    found = read((SAMPLES / "CT_small.dcm").read_bytes()).data
    views = [piece for piece in chunks(found) if isinstance(piece, memoryview)]
    assert [len(view) > BULK for view in views] == [True] * len(views)
    assert views[-1].obj is found.elements[-1].buffer


def test_an_implicit_data_set_can_be_written_explicitly():
    found = read((SAMPLES / "MR_small_implicit.dcm").read_bytes())
    before = tree_of(found.data)
    make_explicit(found.data)
    again = read(write(found.data)).data
    assert again.encoding is EXPLICIT
    assert tree_of(again) == before
    explicit = pydicom.dcmread(SAMPLES / "MR_small.dcm")
    assert [(e.tag, e.vr) for e in again] == [(int(e.tag), e.VR if not e.tag.is_private or e.tag.is_private_creator else "UN")
                                              for e in explicit if e.tag in {e.tag for e in again}]


def test_new_elements_stand_in_order_and_have_even_values():
    data = DataSet([new(0x00080005, "CS", b"ISO_IR 100"), new(0x00280010, "US", b"\1\0")], EXPLICIT)
    data.put(new(0x00100010, "PN", b"ODD"))
    data.put(new(0x00080005, "CS", b"ISO_IR 192"))
    assert [(e.tag, e.value) for e in data] == [(0x00080005, b"ISO_IR 192"), (0x00100010, b"ODD "), (0x00280010, b"\1\0")]
    assert new(0x00080018, "UI", b"1.2").value == b"1.2\0"
    ds = pydicom.dcmread(io.BytesIO(write(data)), force=True)
    assert (ds.PatientName, ds.Rows) == ("ODD", 1)


def test_a_value_too_long_for_its_vr_is_not_written_wrongly():
    with pytest.raises(Broken, match="too long"):
        write(DataSet([new(0x00080018, "UI", b"1" * 70_000)], EXPLICIT))
