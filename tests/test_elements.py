"""The long table of all elements, against pydicom's own recursion over the same files."""

import errno
import gzip
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_workbench.acquire.element_notes import note_stream
from dicom_workbench.acquire.element_rows import Rows
from dicom_workbench.acquire.element_walk import walk_elements
from dicom_workbench.acquire.elements import (
    COLUMNS,
    Part,
    PartFile,
    _join,
    element_frames,
    read_elements,
    write_elements,
    write_elements_shard,
)
from dicom_workbench.acquire.reference import text_of
from dicom_workbench.acquire.row import Entry
from dicom_workbench.acquire.scan import Batch
from dicom_workbench.cli import main

BULK = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
Element = tuple[str, str, str | None, str]  # tag path, VR, text (None: not compared), private creator


def by_pydicom(data: Dataset, prefix: str = "") -> Iterator[Element]:
    """Every element as pydicom sees it; text as the reference reader writes it."""
    for tag in sorted(data.keys()):
        raw = data.get_item(tag)
        element = data[tag]
        vr, text = element.VR, None
        creator = ""
        if tag.is_private and not tag.is_private_creator:
            reserved = data.get(tag.group << 16 | tag.element >> 8)
            creator = str(reserved.value) if reserved is not None and tag.element >> 8 >= 0x10 else ""
        if vr == "SQ":
            text = str(len(element.value))
        elif isinstance(raw, RawDataElement) and vr not in BULK and " or " not in vr and len(raw.value or b"") <= 1 << 16:
            encodings = convert_encodings(data.get("SpecificCharacterSet", None) or data._parent_encoding)
            try:
                text = text_of(raw.value or b"", vr, encodings, raw.is_little_endian)
            except ValueError:
                text = None
        elif not isinstance(raw, RawDataElement) and isinstance(element.value, str):
            text = element.value
        yield f"{prefix}{tag:08X}", vr, text, creator
        if vr == "SQ":
            for i, item in enumerate(element.value):
                yield from by_pydicom(item, f"{prefix}{tag:08X}[{i}].")


def table(path: Path) -> pl.DataFrame:
    """The elements of one file, read in this process."""
    return pl.concat(element_frames(Part((PartFile(path.name, str(path)),))))


def differences(path: Path) -> list[object]:
    """What the table says otherwise than pydicom; empty where they agree, or where pydicom cannot read the file."""
    frame = table(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = dcmread(path, stop_before_pixels=True)
            theirs = {e[0]: e[1:] for part in (data.file_meta, data) for e in by_pydicom(part)}
        except Exception:
            return []
    ours = {r[0]: r[1:] for r in frame.select("tag_path", "vr", "value", "private_creator").iter_rows()}
    assert len(ours) == len(frame), "an element stands twice in the table"
    assert frame.null_count().sum_horizontal().item() == 0
    found: list[object] = []
    for tag in sorted((ours.keys() | theirs.keys()) - {"7FE00008", "7FE00009", "7FE00010"}):
        mine, other = ours.get(tag), theirs.get(tag)
        if mine is None or other is None:
            found.append((tag, mine, other))
        elif mine[0] not in other[0].split(" or ") or mine[2] != other[2]:
            found.append((tag, mine, other))
        elif other[1] is not None and mine[1] != other[1] and mine[1] != other[1].encode("utf-8", "replace").decode():
            found.append((tag, mine, other))
    return found


def readable(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size < 50_000_000)


def test_every_element_of_every_sample_is_as_pydicom_reads_it(samples: Path) -> None:
    files = readable(samples)
    assert len(files) > 100
    assert {p.name: d for p in files if (d := differences(p))} == {}


def test_all_character_sets_are_decoded_as_the_reference_does() -> None:
    files = [Path(p) for p in get_charset_files("*.dcm")]
    assert len(files) > 10
    assert {p.name: d for p in files if (d := differences(p))} == {}


@pytest.mark.slow
def test_every_element_of_the_real_files_is_as_pydicom_reads_it(real: Path) -> None:
    files = readable(real)
    assert len(files) > 500
    assert {p.name: d for p in files if (d := differences(p))} == {}


@pytest.mark.slow
def test_every_element_of_pydicom_data_is_as_pydicom_reads_it() -> None:
    data = pytest.importorskip("data_store", reason="pydicom-data is not installed")
    files = readable(Path(next(iter(data.__path__))))
    assert len(files) > 50
    assert {p.name: d for p in files if (d := differences(p))} == {}


def test_ordinary_files_need_no_pydicom(samples: Path) -> None:
    for name in ("CT_small.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "image_dfl.dcm", "reportsi.dcm"):
        rows = Rows()
        walk_elements(str(samples / name), rows)
        assert len(rows.kinds) > 15, name


def saved(data: Dataset, path: Path, syntax: str) -> Path:
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.save_as(path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian)
    return path


def values(path: Path) -> dict[str, tuple[str, str, str, str]]:
    return {r[0]: r[1:] for r in table(path).select("tag_path", "keyword", "vr", "value", "private_creator").iter_rows()}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_nested_private_and_binary_elements(tmp_path: Path, syntax: str) -> None:
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 100"
    item.PatientName = "Müller^Jörg"
    outer = Dataset()
    outer.ReferencedSOPSequence = [Dataset(), item]
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientName = "Mwansa^Chipo="
    data.OtherPatientIDs = ["A ", "B"]
    data.PixelRepresentation = 1
    data.SmallestImagePixelValue = -2
    data.FrameIncrementPointer = [0x00181063, 0x0018A001]
    data.EventTimeOffset = 0.1
    data.RequestedProcedureDescription = ""
    data.OtherPatientIDsSequence = []
    data.ReferencedStudySequence = [outer]
    block = data.private_block(0x0041, "WORKBENCH TEST", create=True)
    block.add_new(1, "OB", b"\1\2\3\4")
    block.add_new(2, "UT", "x" * 70_000)
    data["SmallestImagePixelValue"].VR = "SS"
    path = saved(data, tmp_path / "made.dcm", syntax)
    found = values(path)
    assert found["00081110"] == ("ReferencedStudySequence", "SQ", "1", "")
    assert found["00081110[0].00081199"][2] == "2"
    assert found["00081110[0].00081199[1].00100010"] == ("PatientName", "PN", "Müller^Jörg", "")
    assert not [tag for tag in found if tag.startswith("00081110[0].00081199[0].")]
    assert found["00100010"][2] == str(data.PatientName)
    assert found["00280106"][1:3] == ("SS", "-2")
    assert found["00280009"][2] == "00181063\\0018A001"
    assert found["00321060"][2] == ""
    assert found["00082134"][1:3] == ("FD", "0.1")
    assert found["00101002"][2] == "0"
    implicit = syntax == ImplicitVRLittleEndian
    assert found["00411001"] == ("", "UN" if implicit else "OB", "[4 bytes]", "WORKBENCH TEST")
    assert found["00411002"][2] == "[70000 bytes]"
    assert found["00020010"][2] == syntax
    assert differences(path) == []


def test_pixel_data_is_named_and_not_read(samples: Path) -> None:
    assert values(samples / "CT_small.dcm")["7FE00010"] == ("PixelData", "OW", "[32768 bytes]", "")
    assert values(samples / "JPEG2000.dcm")["7FE00010"] == ("PixelData", "OB", "[encapsulated]", "")


def test_a_truncated_file_keeps_what_comes_before(tmp_path: Path) -> None:
    whole = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole[:1500])
    ours, all_of_it = values(cut), values(Path(get_testdata_file("CT_small.dcm")))
    assert 20 < len(ours) < len(all_of_it)
    last = max(ours)  # its value is cut, as in the table of files, where the status says so
    assert {k: v for k, v in ours.items() if all_of_it[k] != v and k != last} == {}
    assert all_of_it[last][2].startswith(ours[last][2])


def deep(levels: int, defined: bool) -> bytes:
    inside = b""
    for _ in range(levels):
        if defined:
            inside = b"\x08\0\x40\x11SQ\0\0" + (len(inside) + 8).to_bytes(4, "little") + b"\xfe\xff\0\xe0" + len(inside).to_bytes(4, "little") + inside
        else:
            inside = (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" + inside
                      + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0")
    return inside


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("preamble", [True, False])
def test_nesting_without_end_is_refused_and_leaves_no_elements(tmp_path: Path, defined: bool, preamble: bool) -> None:
    whole = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    start = 144 + int.from_bytes(whole[140:144], "little")
    path = tmp_path / "deep.dcm"
    for levels, refused in ((5, False), (200, True)):
        path.write_bytes((whole[:start] if preamble else b"") + b"\x08\0\x18\0UI\x06\x001.2.3\0" + deep(levels, defined))
        rows = Rows()
        with path.open("rb") as stream:
            why = note_stream(stream, path.stat().st_size, rows)
        assert (why == "sequences nested too deep") == refused
        assert (len(rows.kinds) == 0) == refused


def test_what_is_no_dicom_has_no_elements(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Not DICOM. " * 100)
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "broken.dcm.gz").write_bytes(b"\x1f\x8b\x08\0\0\0")
    frame = read_elements(tmp_path)
    assert frame.shape == (0, len(COLUMNS)) and frame.columns == list(COLUMNS)


def test_members_of_an_archive_are_files_of_their_own(samples: Path, tmp_path: Path) -> None:
    inside = ["CT_small.dcm", "MR_small_implicit.dcm", "rtplan_truncated.dcm"]
    with zipfile.ZipFile(tmp_path / "ward.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("notes.txt", "no DICOM")
        for name in inside:
            packed.write(samples / name, name)
    (tmp_path / "one.dcm.gz").write_bytes(gzip.compress((samples / "CT_small.dcm").read_bytes()))
    frame = read_elements(tmp_path).with_columns(name=pl.col("path").str.split("!").list.last())
    assert set(frame["path"]) == {"one.dcm.gz", *(f"ward.zip!{name}" for name in inside)}
    wanted = ["tag_path", "keyword", "vr", "value", "private_creator"]
    for name in inside:
        assert frame.filter(name=name).select(wanted).equals(table(samples / name).select(wanted))
    assert frame.filter(name="one.dcm.gz").select(wanted).equals(table(samples / "CT_small.dcm").select(wanted))


def test_a_refused_member_leaves_no_elements(samples: Path, tmp_path: Path) -> None:
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.write(samples / "CT_small.dcm", "deep.dcm")
    with zipfile.ZipFile(tmp_path / "ward.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner.zip", inner.getvalue())
        packed.writestr("bomb.dcm", (samples / "CT_small.dcm").read_bytes()[:3000] + bytes(100 << 20))
        packed.write(samples / "MR_small.dcm", "MR_small.dcm")
    frame = read_elements(tmp_path)
    assert frame["path"].unique().to_list() == ["ward.zip!MR_small.dcm"]
    assert frame.filter(tag_path="00080060")["value"].to_list() == ["MR"]


SEEDS = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "reportsi.dcm", "nested_priv_SQ.dcm", "image_dfl.dcm", "UN_sequence.dcm"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6), st.floats(0.01, 1))
def test_a_damaged_file_never_raises(tmp_path: Path, name: str, flips: list[tuple[float, int]], kept: float) -> None:
    raw = bytearray(Path(get_testdata_file(name)).read_bytes()[:20_000])
    for place, byte in flips:
        raw[int(place * len(raw))] = byte
    path = tmp_path / "mutant.dcm"
    path.write_bytes(raw[: int(len(raw) * kept) + 1])
    frame = table(path)
    assert frame.null_count().sum_horizontal().item() == 0
    assert frame["tag_path"].str.contains(r"^([0-9A-F]{8}\[\d+\]\.)*[0-9A-F]{8}$").all()
    frame.write_parquet(BytesIO())


def test_the_parquet_file_holds_the_same_table_and_the_same_bytes_on_every_engine(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_workbench.acquire.elements.BATCH_FILES", 20)
    monkeypatch.setattr("dicom_workbench.acquire.elements._ROWS", 500)
    first = write_elements(samples, tmp_path / "a.parquet")
    second = write_elements(samples, tmp_path / "b.parquet", engine="processes", workers=2)
    frame = pl.read_parquet(first.path)
    assert first.path.read_bytes() == second.path.read_bytes()
    assert frame.equals(read_elements(samples))
    assert frame["path"].is_sorted()
    assert (first.rows, first.files) == (len(frame), len(readable(samples)))
    assert first.files - first.without == frame["path"].n_unique()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_a_shard_names_its_run_and_leaves_the_source_to_the_partition(samples: Path, tmp_path: Path) -> None:
    entries = tuple(Entry(name, 1, 1) for name in ("CT_small.dcm", "MR_small.dcm"))
    batch = Batch(str(samples), (*entries, Entry("gone.dcm", None, None, "unreadable", "no such file")), "ward", "run1")
    shard = write_elements_shard(batch, tmp_path / "run1")
    frame = pl.read_parquet(shard)
    assert frame.columns == [name for name in COLUMNS if name != "source_id"]
    assert frame["run_id"].unique().to_list() == ["run1"]
    assert frame["path"].unique(maintain_order=True).to_list() == ["CT_small.dcm", "MR_small.dcm"]
    before = shard.stat().st_mtime_ns
    assert write_elements_shard(batch, tmp_path / "run1").stat().st_mtime_ns == before


@pytest.fixture
def extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `dicom-workbench extract`: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dicom-workbench", "extract", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_extract_writes_the_elements_beside_the_table(extract, samples: Path, tmp_path: Path) -> None:
    folder = samples / "dicomdirtests" / "77654033"
    code, out, err = extract(folder, "-o", "t.parquet", "--elements", "e.parquet")
    elements, files = pl.read_parquet("e.parquet"), pl.read_parquet("t.parquet")
    assert code == 0 and out.split() == ["t.parquet", "e.parquet"]
    assert f"{len(elements):,} elements" in err
    assert set(elements["path"]) == set(files.filter(pl.col("status").is_in(["ok", "truncated"]))["path"])
    assert set(elements["source_id"]) == {"extract"}
    ids = elements.filter(tag_path="00100020").select("path", PatientID="value")
    assert files.select("path", "PatientID").join(ids, on=["path", "PatientID"]).height == len(ids)


@pytest.mark.parametrize("words", [("--elements", "e.xlsx"), ("--elements", "no/e.parquet"), ("--elements", "t.parquet")])
def test_a_wrong_elements_table_is_said_before_anything_is_read(extract, samples: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    code, _, err = extract(samples, "-o", "t.parquet", *words)
    assert code == 2 and len(err.strip().splitlines()) == 1 and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_under_the_elements_is_one_line(extract, samples: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root on Linux)")
    try:
        (small / "other").write_bytes(bytes(24_000))
        code, _, err = extract(samples / "dicomdirtests", "-o", "t.parquet", "--elements", small / "e.parquet")
        assert code == 1 and "disk is full" in err and "Traceback" not in err
        pl.select(value=pl.int_range(20_000).hash(0).cast(pl.String)).write_parquet("piece.parquet")
        with pytest.raises(OSError) as full:
            _join([Path("piece.parquet")] * 2, small / "e.parquet")
        assert full.value.errno == errno.ENOSPC
        assert [p.name for p in small.iterdir()] == ["other"]
    finally:
        subprocess.run(["umount", str(small)], check=True)
