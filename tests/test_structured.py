"""Structured reports: what was measured stays, who it was goes."""

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.structured import concept, content_action, prune, special
from dicom_workbench.privacy.tree import DataSet, Object, read, write
from dicom_workbench.standard.confidentiality import CONTENT_ITEMS, ContentItem

BASIC = load_policy("basic")
CLEANING = load_policy("basic", ["clean-structured-content", "clean-descriptors"])
SHIFTING = load_policy("basic", ["retain-modified-dates"])
WITH_UIDS = load_policy("basic", ["retain-uids"])
TEXT, PNAME, UIDREF, DATETIME = 0x0040A160, 0x0040A123, 0x0040A124, 0x0040A120
SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data" / "real"


def item(value_type: str, scheme: str, code: str, *children: Dataset, to: list[int] | None = None) -> Dataset:
    made, name = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = code, scheme, "whatever"
    made.RelationshipType, made.ValueType, made.ConceptNameCodeSequence = "CONTAINS", value_type, Sequence([name])
    if value_type == "TEXT":
        made.TextValue = f"text of {code}"
    if children:
        made.ContentSequence = Sequence(children)
    if to:
        made.ReferencedContentItemIdentifier = to
    return made


def report(*children: Dataset, syntax: str = ExplicitVRLittleEndian) -> Object:
    root = item("CONTAINER", "DCM", "126000", *children)
    root.SOPClassUID, root.SOPInstanceUID = ComprehensiveSRStorage, "1.2.3.4"
    root.file_meta = FileMetaDataset()
    root.file_meta.TransferSyntaxUID = syntax
    root.file_meta.MediaStorageSOPClassUID, root.file_meta.MediaStorageSOPInstanceUID = root.SOPClassUID, root.SOPInstanceUID
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, root, enforce_file_format=True)
    return read(buffer.getvalue())


def again(content: Object) -> Dataset:
    "The data set as pydicom reads it after we wrote it."
    syntax = pydicom.uid.UID(content.transfer_syntax)
    return pydicom.filereader.read_dataset(BytesIO(write(content.data)), syntax.is_implicit_VR, syntax.is_little_endian)


def codes(data: Dataset) -> list[str]:
    return [child.ConceptNameCodeSequence[0].CodeValue for child in data.get("ContentSequence", [])]


def first(content: Object) -> DataSet:
    sequence = content.data.get(0x0040A730)
    assert sequence and sequence.items
    return sequence.items[0]


@pytest.mark.parametrize("row", CONTENT_ITEMS, ids=lambda r: f"{r.scheme} {r.code} {r.value_type}")
def test_every_row_of_the_table_is_followed(row: ContentItem) -> None:
    found = first(report(item(row.value_type, row.scheme, row.code)))
    assert concept(found) == (row.scheme, row.code, row.value_type)
    basic = content_action(found, BASIC)
    if row.basic == "X":
        assert basic == "remove"
    elif row.value_type == "UIDREF":
        assert basic == "uid"
    elif row.value_type in ("IMAGE", "COMPOSITE", "WAVEFORM"):
        assert basic == "keep"  # its UIDs are mapped as all others are
    else:
        assert basic == "dummy"
    for option, code in row.options.items():
        wanted = "keep" if code == "K" else "clean" if option == "clean-descriptors" else "shift"
        assert content_action(found, load_policy("basic", [option])) == wanted


def test_codes_and_numbers_that_the_table_does_not_name_stay() -> None:
    for value_type in ("NUM", "CODE", "CONTAINER", "SCOORD", "SCOORD3D", "TCOORD", "IMAGE", "COMPOSITE", "WAVEFORM"):
        found = first(report(item(value_type, "99LOCAL", "x1")))
        assert content_action(found, BASIC) == content_action(found, CLEANING) == "keep"
        assert not special(found, BASIC)


def test_text_that_the_table_does_not_name_is_a_dummy_or_cleaned() -> None:
    found = first(report(item("TEXT", "99LOCAL", "x1")))
    assert special(found, BASIC) == {TEXT: "dummy"}
    assert special(found, CLEANING) == {TEXT: "clean"}
    assert special(first(report(item("TEXT", "DCM", "113880"))), load_policy("basic", ["retain-device-identity"])) == {TEXT: "keep"}


def test_names_dates_and_uids_that_it_does_not_name_are_left_to_the_table_of_attributes() -> None:
    for value_type in ("PNAME", "UIDREF", "DATE", "TIME", "DATETIME"):
        assert content_action(first(report(item(value_type, "99LOCAL", "x1"))), BASIC) == ""
    assert special(first(report(item("PNAME", "DCM", "121008"))), BASIC) == {PNAME: "dummy"}
    assert special(first(report(item("UIDREF", "DCM", "113769"))), BASIC) == {UIDREF: "uid"}
    assert special(first(report(item("UIDREF", "DCM", "113769"))), WITH_UIDS) == {UIDREF: "keep"}
    assert special(first(report(item("DATETIME", "DCM", "113809"))), SHIFTING) == {DATETIME: "shift"}


def test_old_snomed_codes_are_known() -> None:
    new, old = first(report(item("TEXT", "SCT", "271921002"))), first(report(item("TEXT", "SRT", "F-00033")))
    assert concept(new) == concept(old)
    assert concept(first(report(item("TEXT", "SRT", "T-D0050"))))[0] == "SRT"


def test_a_data_set_that_is_no_content_item_has_nothing_special() -> None:
    found = first(report(item("TEXT", "DCM", "121071")))
    name = found.get(0x0040A043)
    assert name and name.items and not special(name.items[0], BASIC)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_removed_items_are_gone_and_references_by_position_follow(syntax: str) -> None:
    content = report(
        item("TEXT", "DCM", "121106"),                                             # Comment: goes
        item("NUM", "DCM", "121033"),                                              # Subject Age: goes
        item("CONTAINER", "DCM", "125007", item("TEXT", "DCM", "121106"), item("NUM", "DCM", "113813")),
        item("NUM", "DCM", "113830", to=[1, 3, 2]),                                 # of the dose length product
        item("NUM", "DCM", "113830", to=[1, 3, 1]),                                 # of the comment: goes with it
        item("CODE", "DCM", "121071", to=[1]),
        syntax=syntax,
    )
    assert prune(content.data, BASIC) == 4
    data = again(content)
    assert codes(data) == ["125007", "113830", "121071"]
    assert codes(data.ContentSequence[0]) == ["113813"]
    assert list(data.ContentSequence[1].ReferencedContentItemIdentifier) == [1, 1, 1]
    assert data.ContentSequence[2].ReferencedContentItemIdentifier == 1


def test_references_that_lead_nowhere_go() -> None:
    content = report(item("NUM", "DCM", "113830", to=[1, 7]), item("NUM", "DCM", "113813"))
    assert prune(content.data, BASIC) == 1
    assert codes(again(content)) == ["113813"]


def test_references_in_a_chain_go_when_the_last_one_goes() -> None:
    content = report(item("NUM", "DCM", "1", to=[1, 2]), item("NUM", "DCM", "2", to=[1, 3]), item("NUM", "DCM", "121033"), item("NUM", "DCM", "3"))
    assert prune(content.data, BASIC) == 3
    assert codes(again(content)) == ["3"]


def test_findings_below_a_removed_text_stay() -> None:
    content = report(item("TEXT", "DCM", "121106", item("NUM", "DCM", "113813")))
    assert prune(content.data, BASIC) == 0
    assert special(first(content), BASIC) == {TEXT: "dummy"}


def test_a_container_that_is_removed_takes_its_children_along() -> None:
    content = report(item("CONTAINER", "DCM", "121000", item("NUM", "DCM", "113813")), item("NUM", "DCM", "113813"))
    assert prune(content.data, BASIC) == 2
    assert codes(again(content)) == ["113813"]


def test_no_empty_content_sequence_is_left() -> None:
    content = report(item("CONTAINER", "DCM", "125007", item("TEXT", "DCM", "121106")))
    prune(content.data, BASIC)
    assert "ContentSequence" not in again(content).ContentSequence[0]


def test_nothing_to_remove_leaves_the_bytes_alone() -> None:
    content = report(item("NUM", "DCM", "113813"), item("CODE", "DCM", "121071", to=[1, 1]))
    before = write(content.data)
    assert prune(content.data, BASIC) == 0
    assert write(content.data) == before


def test_an_acquisition_context_is_treated_like_a_report() -> None:
    image = Dataset()
    image.AcquisitionContextSequence = Sequence([item("NUM", "DCM", "121033"), item("CODE", "DCM", "113953")])
    image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    buffer = BytesIO()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID, image.file_meta.MediaStorageSOPInstanceUID = image.SOPClassUID, "1.2.3"
    pydicom.dcmwrite(buffer, image, enforce_file_format=True)
    content = read(buffer.getvalue())
    assert prune(content.data, BASIC) == 1
    assert [i.ConceptNameCodeSequence[0].CodeValue for i in again(content).AcquisitionContextSequence] == ["113953"]


def test_ten_thousand_levels_and_as_many_references_are_no_trouble() -> None:
    depth = 10_000
    opening = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    name = b"\x40\x00\x40\xa0CS\x04\x00NUM "
    meta = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    content = read(bytes(128) + b"DICM" + meta + name + (opening + name) * depth + closing * depth)
    assert prune(content.data, BASIC) == 0
    wide = report(*[item("NUM", "DCM", str(at), to=[1, at + 1]) for at in range(1, 3000)], item("NUM", "DCM", "121033"))
    assert prune(wide.data, BASIC) == 3000


def real_reports() -> Iterator[Path]:
    for path in sorted(SHARED.rglob("*")):
        if path.is_file() and path.stat().st_size < 150_000:
            head = path.read_bytes()
            if head[128:132] == b"DICM" and b"1.2.840.10008.5.1.4.1.1.88." in head[:1000]:
                yield path


def count(data: Dataset, wanted: str) -> int:
    waiting, n = [data], 0
    while waiting:
        current = waiting.pop()
        n += current.get("ValueType") == wanted
        waiting.extend(current.get("ContentSequence", []))
    return n


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: set DICOM_WORKBENCH_SHARED")
def test_numbers_and_codes_of_real_reports_stay() -> None:
    seen = kept = 0
    for path in real_reports():
        before = pydicom.dcmread(path)
        content = read(path.read_bytes())
        prune(content.data, BASIC)
        after = again(content)
        for value_type in ("NUM", "CODE", "SCOORD"):
            seen += count(before, value_type)
            kept += count(after, value_type)
    assert seen > 1000
    assert kept >= 0.995 * seen
