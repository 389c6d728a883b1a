"""The walk against pydicom: on real files, on files made by hand for every syntax, and on files that are cut off."""

import os
import struct
import zlib
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from dicom_workbench.acquire import walk as walking
from dicom_workbench.acquire.batch import read_batch
from dicom_workbench.acquire.plan import Limits, Odd, compile_plan
from dicom_workbench.acquire.reference import read_with_pydicom
from dicom_workbench.acquire.walk import walk
from dicom_workbench.standard.attributes import COLUMNS

PYDICOM = Path(pydicom.__file__).parent / "data"
SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "real"
CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def files_below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".md", ".csv"))


def differences(paths: list[Path], attributes: list[str] | None = None, learned: bool = False) -> list[tuple[str, str]]:
    """(file, column) of every cell in which the walk and pydicom disagree, frame columns included."""
    plan = compile_plan(attributes)
    if learned:
        for path in paths:
            read_batch([str(path)] * 14, plan)
        assert plan.runs
    table, shapes = read_batch([str(p) for p in paths], plan)
    found = []
    for path, row in zip(paths, table.iter_rows(named=True), strict=True):
        header = read_with_pydicom(path, attributes)
        expected = {name: header.values.get(name) for name in plan.columns} | {
            "status": header.status, "reason": header.reason, "complete": header.complete, "shape": header.shape,
            "file_size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        found += [(path.name, name) for name, value in expected.items() if row[name] != value]
        if header.shape is not None and shapes[header.shape] != header.tags:
            found.append((path.name, "tags"))
    return found


def image(**more: object) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CT, "1.2.3.4"
    ds.StudyDate, ds.Modality, ds.Manufacturer = "20240131", "CT", "Maker \\ of things"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Müller^Jörg", "A 1", ""
    ds.AdditionalPatientHistory = "a\\b stays one text"
    ds.SliceThickness, ds.PixelSpacing, ds.KVP = "1.50", ["0.5", "0.50"], ""
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    ds.InstanceNumber = 7
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, "MONOCHROME2", 4, 6
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = bytes(48)
    ds["PixelData"].VR = "OW"
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    return ds


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CT)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2")
    ds.save_as(path, enforce_file_format=True)
    return path


def row_of(path: Path, attributes: list[str] | None = None, limits: Limits | None = None) -> dict[str, object]:
    return read_batch([str(path)], compile_plan(attributes, limits))[0].row(0, named=True)


def undefined(ds: Dataset) -> Dataset:
    """All sequences and items with undefined length."""
    for element in ds.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
    return ds


def test_all_bundled_files_are_read_as_pydicom_reads_them() -> None:
    paths = files_below(PYDICOM)
    assert len(paths) > 150
    assert differences(paths) == []


def test_all_bundled_files_are_read_as_pydicom_reads_them_once_their_runs_are_learned() -> None:
    assert differences(files_below(PYDICOM), learned=True) == []


def test_pydicom_data_is_read_as_pydicom_reads_it() -> None:
    data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
    assert differences(files_below(Path(data_store.__file__).parent / "data")) == []


@pytest.mark.slow
def test_real_files_of_46_manufacturers_are_read_as_pydicom_reads_them() -> None:
    if not SHARED.is_dir():
        pytest.skip("no shared/data/real")
    assert differences(files_below(SHARED)) == []
    assert differences(files_below(SHARED), learned=True) == []


@pytest.mark.parametrize("attributes", [["PatientID"], ["Rows"], ["TransferSyntaxUID"], ["ViewCodeSequence_CodeMeaning"],
                                        ["SliceThickness", "Modality"], list(COLUMNS[::7])], ids=len)
def test_any_subset_of_attributes_works(attributes: list[str]) -> None:
    assert differences(files_below(PYDICOM / "test_files")[::3], attributes) == []


def test_ordinary_files_do_not_need_pydicom() -> None:
    table, _ = read_batch([str(p) for p in sorted((PYDICOM / "test_files" / "dicomdirtests").rglob("IM*"))])
    assert len(table) > 20
    assert set(table["parser"]) == {"scan"}


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_syntax_gives_the_same_row(tmp_path: Path, syntax: str) -> None:
    path = save(image(), tmp_path / "a.dcm", syntax)
    row = row_of(path)
    assert (row["status"], row["parser"], row["complete"]) == ("ok", "scan", True)
    assert row["PatientName"] == "Müller^Jörg"
    assert row["PatientBirthDate"] == "" and row["KVP"] == "" and row["ViewPosition"] is None
    assert (row["Rows"], row["PixelSpacing"], row["SliceThickness"]) == ("4", "0.5\\0.50", "1.50")
    assert row["Manufacturer"] == "Maker\\ of things"
    assert row["AdditionalPatientHistory"] == "a\\b stays one text"
    assert row["TransferSyntaxUID"] == syntax
    assert row["shape"] == row_of(save(image(), tmp_path / "b.dcm"))["shape"]
    assert differences([path]) == []


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("open_ended", [False, True], ids=["defined", "undefined"])
def test_first_items_of_sequences_become_columns(tmp_path: Path, syntax: str, open_ended: bool) -> None:
    code, region, dose = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodeMeaning = "R-10242", "cranio-caudal"
    modifier = Dataset()
    modifier.CodeValue, modifier.CodeMeaning = "never", "taken"
    code.ViewModifierCodeSequence = Sequence([modifier])
    region.CodeValue, region.CodeMeaning = "T-04000", "Brüst"
    dose.CTDIvol = 12.25
    ds = image(ViewCodeSequence=Sequence([code, modifier]), AnatomicRegionSequence=Sequence([region]),
               ExposureDoseSequence=Sequence([dose]), ProcedureCodeSequence=Sequence([]))
    path = save(undefined(ds) if open_ended else ds, tmp_path / "a.dcm", syntax)
    row = row_of(path)
    assert row["parser"] == "scan"
    assert (row["ViewCodeSequence_CodeValue"], row["ViewCodeSequence_CodeMeaning"]) == ("R-10242", "cranio-caudal")
    assert row["AnatomicRegionSequence_CodeMeaning"] == "Brüst"
    assert row["ExposureDoseSequence_CTDIvol"] == "12.25"
    assert row["ProcedureCodeSequence_CodeMeaning"] is None
    assert differences([path]) == []


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
@pytest.mark.parametrize("open_ended", [False, True], ids=["defined", "undefined"])
def test_functional_groups_fill_what_is_missing_above(tmp_path: Path, syntax: str, open_ended: bool) -> None:
    shared, measures, timing = Dataset(), Dataset(), Dataset()
    measures.SliceThickness, measures.PixelSpacing = "2.0", ["1", "1"]
    timing.RepetitionTime, timing.FlipAngle = "500", "90"
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    frames = []
    for n in range(3):
        frame, plane, echo = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = ["0", "0", str(n)]
        echo.EffectiveEchoTime = 4.5 + n
        again = Dataset()
        again.SliceThickness = "9.0"
        frame.PlanePositionSequence, frame.MREchoSequence = Sequence([plane]), Sequence([echo])
        frame.PixelMeasuresSequence = Sequence([again])
        frames.append(frame)
    ds = image(NumberOfFrames=3, PixelData=bytes(144), SharedFunctionalGroupsSequence=Sequence([shared]),
               PerFrameFunctionalGroupsSequence=Sequence(frames))
    del ds.SliceThickness
    path = save(undefined(ds) if open_ended else ds, tmp_path / "a.dcm", syntax)
    row = row_of(path)
    assert (row["status"], row["parser"], row["complete"]) == ("ok", "scan", True)
    assert row["SliceThickness"] == "2.0"              # shared comes before the frames
    assert row["PixelSpacing"] == "0.5\\0.50"          # the top level comes first
    assert (row["RepetitionTime"], row["FlipAngle"]) == ("500", "90")
    assert row["ImagePositionPatient"] == "0\\0\\0"    # of the first frame
    assert row["EchoTime"] == "4.5"                    # FD, as Python writes it, in a column of DS
    assert differences([path]) == []


def test_numbers_are_written_as_python_writes_them(tmp_path: Path) -> None:
    for syntax in SYNTAXES:
        path = save(image(SpiralPitchFactor=0.1, PregnancyStatus=4, CTDIvol=1e-07), tmp_path / "a.dcm", syntax)
        row = row_of(path)
        assert (row["SpiralPitchFactor"], row["PregnancyStatus"], row["CTDIvol"]) == ("0.1", "4", "1e-07")
        assert differences([path]) == []


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [False, True])
def test_a_number_that_is_us_or_ss_is_what_the_pixels_are(tmp_path: Path, syntax: str, signed: bool) -> None:
    ds, numbers = image(PixelRepresentation=int(signed)), (-1024, 32767) if signed else (12, 65535)
    for keyword, number in zip(("SmallestImagePixelValue", "LargestImagePixelValue"), numbers, strict=True):
        ds.add_new(keyword, "SS" if signed else "US", number)
    path = save(ds, tmp_path / "a.dcm", syntax)
    row = row_of(path)
    assert (row["SmallestImagePixelValue"], row["LargestImagePixelValue"]) == tuple(map(str, numbers))
    assert row["parser"] == "scan"
    assert differences([path]) == []
    assert differences([path], ["LargestImagePixelValue"]) == []


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_file_meta_information_becomes_columns(tmp_path: Path, syntax: str) -> None:
    content, paths = save(image(), tmp_path / "a.dcm", syntax).read_bytes(), []
    class_uid = pydicom.uid.PYDICOM_IMPLEMENTATION_UID.encode()
    for name, old, new in (("same", b"", b""), ("other", b"1.2.3.4\0", b"1.2.3.9\0"), ("writer", b"PYDICOM ", b"PYD\xc4COM "),
                           ("escape", b"PYDICOM ", b"PYD\x1bCOM "), ("implementation", class_uid, class_uid[:-2] + b"77")):
        paths.append(tmp_path / f"{name}.dcm")
        paths[-1].write_bytes(content.replace(old, new, 1) if old else content)
    rows = [row_of(path) for path in paths]
    assert [row["MediaStorageSOPInstanceUID"] for row in rows[:2]] == ["1.2.3.4", "1.2.3.9"]
    assert rows[0]["MediaStorageSOPClassUID"] == CT and rows[4]["ImplementationClassUID"].endswith("77")
    assert rows[0]["ImplementationVersionName"].startswith("PYDICOM")
    assert differences(paths) == []
    assert differences(paths[:2], ["ImplementationClassUID", "MediaStorageSOPClassUID"]) == []


def test_files_whose_meta_information_is_as_long_but_otherwise_divided_are_told_apart(tmp_path: Path) -> None:
    paths = []
    for n, (uid, version) in enumerate((("1.2.3.4", "LONGNAME12"), ("1.2.3.4.56", "LONGNAM"), ("1.2.3", "LONGNAME1234"))):
        ds = image(SOPInstanceUID=uid)
        paths.append(save(ds, tmp_path / f"{n}.dcm"))
        ds.file_meta.ImplementationVersionName = version
        ds.save_as(paths[-1])
    assert [row_of(p)["ImplementationVersionName"] for p in paths * 2] == ["LONGNAME12", "LONGNAM", "LONGNAME1234"] * 2
    assert differences(paths * 2) == []


@pytest.mark.parametrize("charset, name", [
    ("ISO_IR 100", "Buc^Jérôme"), ("ISO_IR 144", "Люкceмбypг"), ("ISO_IR 126", "Διονυσιος"), ("ISO_IR 127", "قباني^لنزار"),
    ("ISO_IR 138", "שרון^דבורה"), ("GB18030", "Wang^XiaoDong=王^小东"), ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"), ("ISO_IR 166", "นามสกุล"),
    (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"), (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東")])
def test_names_in_many_scripts(tmp_path: Path, charset: str | list[str], name: str) -> None:
    path = save(image(SpecificCharacterSet=charset, PatientName=name, StudyDescription="plain"), tmp_path / "a.dcm")
    assert row_of(path)["PatientName"] == name
    assert differences([path]) == []


def test_a_character_set_that_no_codec_can_have_costs_its_own_file_only(tmp_path: Path) -> None:
    path = save(image(SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 144", b"I\0O_IR 144", 1))
    table = read_batch([str(path), str(PYDICOM / "test_files" / "CT_small.dcm")])[0]
    assert table["status"].to_list() == ["damaged", "ok"]
    assert differences([path]) == []


def test_an_item_in_a_character_set_of_its_own_is_left_to_pydicom(tmp_path: Path) -> None:
    region = Dataset()
    region.SpecificCharacterSet, region.CodeMeaning = "ISO_IR 100", "Brüst"
    path = save(image(AnatomicRegionSequence=Sequence([region])), tmp_path / "a.dcm")
    assert row_of(path)["AnatomicRegionSequence_CodeMeaning"] == "Brüst"
    assert differences([path]) == []


def test_one_value_that_is_no_utf8_does_not_hurt_the_others(tmp_path: Path) -> None:
    good = save(image(), tmp_path / "a.dcm")
    content = good.read_bytes()
    bad = tmp_path / "b.dcm"
    bad.write_bytes(content.replace(b"20240131", b"2024\xe9131").replace(b"A 1 ", b"A\xff1 "))
    assert differences([good, bad, good]) == []
    table, _ = read_batch([str(good), str(bad)])
    assert table["StudyDate"].to_list() == ["20240131", "2024\u00e9131"]


def test_large_private_blocks_are_jumped_over_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = image(WindowCenter="40")
    block = ds.private_block(0x0029, "MAKER CSA", create=True)
    block.add_new(0x10, "OB", bytes(300_000))
    block.add_new(0x20, "OB", bytes(300_000))
    path = save(ds, tmp_path / "a.dcm")
    read = []
    original = walking._read_at
    monkeypatch.setattr(walking, "_read_at", lambda fd, n, at: read.append(n) or original(fd, n, at))
    (_, _, fault, complete), _ = walk(str(path), compile_plan())
    assert (fault, complete) == ("", True)
    assert sum(read) < 40_000
    assert differences([path]) == []


def test_a_wanted_value_across_the_edge_of_the_first_read(tmp_path: Path) -> None:
    for n in range(7900, 8200, 24):
        ds = image(ImageComments="x" * n)
        path = save(ds, tmp_path / "a.dcm")
        assert row_of(path)["ImageComments"] == "x" * n
        assert differences([path]) == []


def test_group_lengths_and_retired_groups_are_no_surprise(tmp_path: Path) -> None:
    ds = image(ReasonForStudy="cough", RequestedProcedureDescription="CT chest")
    for group in (0x0008, 0x0010, 0x0028):
        ds.add_new(group << 16, "UL", 100)
    path = save(ds, tmp_path / "a.dcm")
    row = row_of(path)
    assert (row["parser"], row["ReasonForStudy"], row["RequestedProcedureDescription"]) == ("scan", "cough", "CT chest")
    assert differences([path]) == []


def report(items: int, open_ended: bool) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality, ds.PatientID = SR, "1.2.3.5", "SR", "A1"
    title = Dataset()
    title.CodeValue, title.CodeMeaning = "113701", "X-Ray Radiation Dose Report"
    ds.ConceptNameCodeSequence = Sequence([title])
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "UNVERIFIED"
    content = []
    for n in range(items):
        inner, outer = Dataset(), Dataset()
        inner.ValueType, inner.TextValue = "TEXT", f"item {n}"
        outer.ValueType, outer.ContentSequence = "CONTAINER", Sequence([inner])
        content.append(outer)
    ds.ContentSequence = Sequence(content)
    return undefined(ds) if open_ended else ds


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.name)
@pytest.mark.parametrize("items", [3, 2000])
@pytest.mark.parametrize("open_ended", [False, True], ids=["defined", "undefined"])
def test_reports_are_whole_only_with_their_end(tmp_path: Path, syntax: str, items: int, open_ended: bool) -> None:
    path = save(report(items, open_ended), tmp_path / "a.dcm", syntax)
    row = row_of(path)
    assert (row["status"], row["complete"], row["parser"]) == ("ok", True, "scan")
    assert row["ConceptNameCodeSequence_CodeValue"] == "113701" and row["CompletionFlag"] == "COMPLETE"
    assert differences([path]) == []
    content = path.read_bytes()
    middle = content.index(b"item 1") + 6  # behind it two sequences end: cut where a delimiter is the last thing
    for n in (len(content) - 1, len(content) - 8, len(content) - 16, middle, middle + 8, middle + 16, middle + 24):
        path.write_bytes(content[:n])
        assert row_of(path)["status"] == "truncated", n


def test_a_long_report_is_not_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(report(3000, True), tmp_path / "a.dcm")
    seen = []
    original = walking.skip_items
    monkeypatch.setattr(walking, "skip_items", lambda table, buf, p, depths: seen.append(p) or original(table, buf, p, depths))
    assert row_of(path)["status"] == "ok"
    assert len(seen) <= 1  # the title's code sequence


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "reportsi.dcm", "JPEG2000.dcm",
                                  "image_dfl.dcm", "rtplan.dcm", "test-SR.dcm"])
def test_a_cut_file_is_never_ok_and_complete_with_missing_values(tmp_path: Path, name: str) -> None:
    whole = (PYDICOM / "test_files" / name).read_bytes()
    source = tmp_path / "whole.dcm"
    source.write_bytes(whole)
    expected = row_of(source)
    cells = [c for c in COLUMNS if expected[c] is not None]
    paths = []
    for n in range(1, len(whole), max(1, len(whole) // 600)):
        paths.append(tmp_path / f"{n}.dcm")
        paths[-1].write_bytes(whole[:n])
    assert differences(paths) == []
    table, _ = read_batch([str(p) for p in paths])
    for path, row in zip(paths, table.iter_rows(named=True), strict=True):
        if row["reason"] == "no Pixel Data":  # cut between two elements behind the description of the pixels
            assert (row["status"], row["complete"]) == ("ok", True)
        elif row["status"] == "ok":
            assert [c for c in cells if row[c] != expected[c]] == [], path.name
        elif row["complete"]:
            assert row["status"] == "truncated"
            assert [c for c in cells if row[c] != expected[c]] == [], path.name
        else:
            assert row["status"] in ("truncated", "damaged", "not_dicom")


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.name)
def test_an_image_cut_between_elements_is_a_header_without_pixels_or_truncated(tmp_path: Path, syntax: str) -> None:
    ds = image(WindowCenter="40", WindowWidth="400")
    path = save(ds, tmp_path / "whole.dcm", syntax)
    content = path.read_bytes()
    cuts: dict[int, int] = {}
    for element in list(ds)[1:]:  # the offset at which each element begins, and the last tag before it
        part = Dataset()
        for e in ds:
            if e.tag < element.tag:
                part.add(e)
        cuts[save(part, tmp_path / "part.dcm", syntax).stat().st_size] = int(max(e.tag for e in part))
    assert len(cuts) > 20
    assert sum(last >= 0x00280103 for last in cuts.values()) == 3
    for n, last in cuts.items():
        path.write_bytes(content[:n])
        row = row_of(path)
        if last >= 0x00280103:
            assert (row["status"], row["reason"], row["complete"]) == ("ok", "no Pixel Data", True)
        else:
            assert row["status"] == "truncated" and not row["complete"], n
        assert differences([path]) == []


def test_pixel_data_shorter_than_the_image_is_truncated(tmp_path: Path) -> None:
    path = save(image(PixelData=bytes(46)), tmp_path / "a.dcm")
    assert (row_of(path)["status"], row_of(path)["reason"]) == ("truncated", "Pixel Data is shorter than the image")
    assert differences([path]) == []


def test_pixel_data_is_checked_with_attributes_that_were_not_asked_for(tmp_path: Path) -> None:
    path = save(image(), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-1])
    assert row_of(path, ["PatientID"])["status"] == "truncated"


def test_encapsulated_pixel_data_needs_its_delimiter(tmp_path: Path) -> None:
    ds = image(PixelData=pydicom.encaps.encapsulate([bytes(100), bytes(50)]), NumberOfFrames=2)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = save(ds, tmp_path / "a.dcm", RLELossless)
    content = path.read_bytes()
    assert row_of(path)["status"] == "ok"
    path.write_bytes(content + bytes(10))  # padding behind the delimiter: the fragments are walked
    assert row_of(path)["status"] == "ok"
    for n in (1, 8, 60):
        path.write_bytes(content[:-n])
        assert (row_of(path)["status"], row_of(path)["complete"]) == ("truncated", True)
        assert differences([path]) == []


def test_tags_that_do_not_ascend_go_to_pydicom(tmp_path: Path) -> None:
    path = save(image(), tmp_path / "a.dcm")
    content = path.read_bytes()
    at = content.index(b"\x10\0\x20\0LO")
    path.write_bytes(content[:at] + b"\x10\0\x20\1LO" + content[at + 6:])
    with pytest.raises(Odd):
        walk(str(path), compile_plan())
    assert differences([path]) == []


def test_limits_refuse(tmp_path: Path) -> None:
    big = save(image(ImageComments="x" * 9000), tmp_path / "big.dcm")
    assert row_of(big, limits=Limits(header_bytes=8000))["status"] == "refused"
    ds = Dataset()
    for _ in range(70):
        outer = Dataset()
        outer.ContentSequence = Sequence([ds])
        ds = outer
    deep = report(1, False)
    deep.ReferencedSeriesSequence = ds.ContentSequence
    deep = save(undefined(deep), tmp_path / "deep.dcm")
    assert (row_of(deep)["status"], row_of(deep)["reason"]) == ("refused", "sequences nested too deep")
    assert row_of(big, limits=Limits(seconds=-1.0))["status"] in ("ok", "refused")


def test_a_deflated_bomb_is_refused_without_filling_memory(tmp_path: Path) -> None:
    path = save(image(), tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + struct.unpack("<I", content[140:144])[0]
    packer = zlib.compressobj(9, wbits=-15)
    inner = zlib.decompress(content[start:], -15)
    bomb = packer.compress(inner[:-56]) + packer.compress(b"\xe0\x7f\x10\0OW\0\0" + struct.pack("<I", 64 << 20))
    bomb += b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    path.write_bytes(content[:start] + bomb)
    row = row_of(path, limits=Limits(inflated_bytes=1 << 20))
    assert (row["status"], row["reason"], row["PatientID"]) == ("refused", "unpacks to more than the limit", None)


def test_what_is_no_file_or_no_dicom_is_a_row(tmp_path: Path) -> None:
    text, empty = tmp_path / "a.txt", tmp_path / "empty"
    text.write_text("hello " * 500)
    empty.write_bytes(b"")
    table, _ = read_batch([str(tmp_path / "none"), str(tmp_path), str(text), str(empty), os.fsencode(text)])
    assert table["status"].to_list() == ["unreadable", "unreadable", "not_dicom", "not_dicom", "not_dicom"]
    assert not any(str(tmp_path) in (reason or "") for reason in table["reason"])


def test_an_empty_batch_has_the_columns() -> None:
    table, shapes = read_batch([], compile_plan(["PatientID", "Rows"]))
    assert (len(table), shapes) == (0, {})
    assert table.columns[-2:] == ["PatientID", "Rows"]


def test_without_positioned_reads_the_rows_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(p) for p in files_below(PYDICOM / "test_files")][::2]
    expected, _ = read_batch(paths)
    monkeypatch.setattr(walking, "_positioned", None)  # as on Windows
    assert read_batch(paths)[0].equals(expected)


def test_the_tree_of_headers_is_given_up_when_it_is_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    from dicom_workbench.acquire import plan as planning

    monkeypatch.setattr(planning, "_MOST_NODES", 200)
    paths = [str(p) for p in files_below(PYDICOM / "test_files")]
    expected, shapes = read_batch(paths)
    monkeypatch.undo()
    again, same = read_batch(paths)
    assert again.equals(expected) and same == shapes
