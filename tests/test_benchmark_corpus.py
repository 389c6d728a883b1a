"""The corpus of benchmarks/: what it is made of, judged by pydicom."""

import csv
import importlib.util
import warnings
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

pytest.importorskip("data_store", reason="needs the package pydicom-data")
SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "corpus.py"
if not SOURCE.exists():
    pytest.skip("no benchmarks/ beside the tests", allow_module_level=True)
spec = importlib.util.spec_from_file_location("benchmark_corpus", SOURCE)
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "60"
    return folder, corpus.build(folder, files=60, seed=7)


@pytest.fixture(scope="module")
def read(built):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the base files are odd on purpose
        return [dcmread(path) for path in built[1]]


def test_every_file_is_read_to_its_end_by_pydicom(built, read):
    assert len(read) == len(set(built[1])) == 60
    for path, ds in zip(built[1], read, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ds.SOPClassUID and sum(1 for _ in ds.iterall()) > 20, path.name


def test_sop_instance_uids_are_unique_and_agree_with_the_file_meta(read):
    uids = [ds.SOPInstanceUID for ds in read]
    assert len(set(uids)) == 60
    assert [ds.file_meta.MediaStorageSOPInstanceUID for ds in read] == uids


def test_files_of_one_folder_are_one_series_of_one_patient(built, read):
    folders = {}
    for path, ds in zip(built[1], read, strict=True):
        key = ds.StudyInstanceUID, ds.SeriesInstanceUID
        assert folders.setdefault(path.parent, key) == key
    assert len(set(folders.values())) == len(folders)
    patients = {}
    for path, ds in zip(built[1], read, strict=True):
        if ds.get("PatientID"):
            assert patients.setdefault(path.parents[2], ds.PatientID) == ds.PatientID
    assert len(set(patients.values())) == len(patients) > 1


def test_the_mix_has_every_transfer_syntax_that_the_notes_name(read):
    syntaxes = Counter(ds.file_meta.TransferSyntaxUID.name for ds in read)
    assert {"Implicit VR Little Endian", "Explicit VR Big Endian", "Deflated Explicit VR Little Endian"} <= set(
        syntaxes
    )
    assert any(name.startswith("JPEG 2000") for name in syntaxes)
    assert syntaxes["Explicit VR Little Endian"] > 30


def test_marked_files_have_sequences_of_undefined_length(built, read):
    with (built[0] / "files.csv").open(newline="") as lines:
        changes = {built[0] / row["path"]: row["change"].split() for row in csv.DictReader(lines)}
    marked = [ds for path, ds in zip(built[1], read, strict=True) if "undefined" in changes[path]]
    assert marked
    for ds in marked:
        sequences = [element for element in ds if element.VR == "SQ"]
        assert sequences and all(element.is_undefined_length for element in sequences)


def test_native_pixel_data_fits_rows_and_columns(read):
    fits = [
        ds["PixelData"].value
        for ds in read
        if "PixelData" in ds and not ds.file_meta.TransferSyntaxUID.is_compressed and ds.BitsAllocated >= 8
        and ds.SOPClassUID.name == "CT Image Storage"
        and len(ds.PixelData) == ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    ]  # fmt: skip
    natives = [
        ds for ds in read
        if ds.SOPClassUID.name == "CT Image Storage" and not ds.file_meta.TransferSyntaxUID.is_compressed
    ]  # fmt: skip
    assert len(fits) == len(natives) > 10


def test_group_lengths_say_how_long_their_group_is(built, read):
    judged = 0
    for path, ds in zip(built[1], read, strict=True):
        data = path.read_bytes()
        for tag in ds.keys():
            if tag.element == 0 and tag.group > 2:
                start = data.index(tag.group.to_bytes(2, "little") + b"\0\0UL\4\0") + 12
                behind = start + ds[tag].value
                later = min((t.group for t in ds.keys() if t.group > tag.group), default=None)
                assert behind == len(data) or int.from_bytes(data[behind : behind + 2], "little") == later
                judged += 1
    assert judged


def test_one_seed_gives_the_same_bytes_and_another_seed_others(built, tmp_path):
    again = corpus.build(tmp_path / "again", files=60, seed=7)
    names = [path.relative_to(built[0]) for path in built[1]]
    assert [path.relative_to(tmp_path / "again") for path in again] == names
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built[1]]
    other = corpus.build(tmp_path / "other", files=60, seed=8)
    assert {path.read_bytes() for path in other}.isdisjoint(path.read_bytes() for path in built[1])


def test_a_folder_with_other_files_is_never_emptied(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit):
        corpus.build(tmp_path, files=60)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
