"""The lake: nothing lost, nothing twice, whatever happens in the middle."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest
from pydicom import dcmread
from pydicom.misc import is_dicom

from dicom_workbench.acquire import scan
from dicom_workbench.catalog import Catalogue
from dicom_workbench.standard.errors import UsageError, WorkbenchError
from dicom_workbench.store import Lake, ingest, levels
from dicom_workbench.store.lake import FAULTS


def ingest_ward(catalogue: Path, lake: Lake, **options):
    found = Catalogue.open(catalogue)
    return ingest(found.get("ward"), found.entry("ward").folder, lake, **options)


@pytest.fixture
def ward(tmp_path: Path, samples: Path) -> Path:
    "A folder with some thirty of pydicom's files."
    folder = tmp_path / "ward"
    shutil.copytree(samples / "dicomdirtests", folder / "tree")
    for name in ("CT_small.dcm", "MR_small.dcm", "README.txt", "MR_truncated.dcm"):
        shutil.copy(samples / name, folder / name)
    return folder


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["dicom_workbench.acquire.scan"], "BATCH_FILES", 7)


def contents(lake: Lake) -> list[tuple]:
    columns = ["path", "file_size", "status", "Modality", "SOPInstanceUID"]
    return lake.rows("ward").select(columns).sort("path").collect().rows()


def test_the_lake_holds_what_the_scan_reads(ward: Path, write_source, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    done = ingest_ward(write_source(ward), lake)
    same = ["path", "file_size", "mtime_ns", "status", "shape", "PatientID", "StudyDate", "PixelSpacing"]
    stored = lake.rows("ward").select(same).sort("path").collect()
    assert stored.equals(scan(ward).select(same))
    assert done.rows == len(stored) == sum(done.statuses.values())


@pytest.mark.parametrize("name", ["My Documents", "Übung 1", "a+b & c"])
def test_a_workspace_may_have_a_name_with_blanks(ward: Path, write_source, tmp_path: Path, name: str) -> None:
    lake = Lake.open(tmp_path / name / "ws")
    ingest_ward(write_source(ward), lake)
    (ward / "CT_small.dcm").unlink()
    again = ingest_ward(write_source(ward), Lake.open(tmp_path / name / "ws"))
    assert len(contents(lake)) == again.rows and levels.patients(lake, "ward").collect().height
    assert all(shard.is_file() for shard in lake.files("instances", "ward"))


@pytest.mark.parametrize("name", ["#1", "50%", "[old]", "what?"])
def test_a_name_that_the_table_format_cannot_bear_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="stumbles over"):
        Lake.open(tmp_path / name / "ws")


def test_processes_give_the_same_version_as_one(ward: Path, write_source, tmp_path: Path) -> None:
    catalogue = write_source(ward)
    one = ingest_ward(catalogue, Lake.open(tmp_path / "one"))
    two = ingest_ward(catalogue, Lake.open(tmp_path / "two"), engine="processes", workers=2)
    assert one.source_version == two.source_version


def test_a_copy_elsewhere_with_other_times_has_the_same_version(ward: Path, write_source, tmp_path: Path) -> None:
    first = ingest_ward(write_source(ward), Lake.open(tmp_path / "one"))
    copy = tmp_path / "elsewhere"
    shutil.copytree(ward, copy, copy_function=shutil.copyfile)
    second = ingest_ward(write_source(copy), Lake.open(tmp_path / "two"))
    assert first.source_version == second.source_version


def test_an_unchanged_source_is_not_read_and_not_committed_again(ward: Path, write_source, tmp_path: Path) -> None:
    catalogue, lake = write_source(ward), Lake.open(tmp_path / "ws")
    first = ingest_ward(catalogue, lake)
    version = lake.delta_version("ward")
    again = ingest_ward(catalogue, lake)
    assert (again.read, again.unchanged, lake.delta_version("ward")) == (0, first.rows, version)


def test_changed_vanished_and_new_files_in_one_commit(ward: Path, write_source, tmp_path: Path) -> None:
    catalogue, lake = write_source(ward), Lake.open(tmp_path / "ws")
    before = ingest_ward(catalogue, lake)
    version = lake.delta_version("ward")
    (ward / "CT_small.dcm").write_bytes((ward / "MR_small.dcm").read_bytes())
    (ward / "README.txt").unlink()
    shutil.copy(ward / "MR_small.dcm", ward / "new.dcm")
    after = ingest_ward(catalogue, lake)
    assert (after.read, after.missing, after.rows) == (2, 1, before.rows + 1)
    assert lake.delta_version("ward") == version + 1
    rows = {path: (status, modality) for path, _, status, modality, _ in contents(lake)}
    assert rows["CT_small.dcm"] == ("ok", "MR")
    assert rows["README.txt"] == ("missing", None)
    assert rows["new.dcm"] == ("ok", "MR")
    old = lake.rows("ward", before.source_version).select("path").collect()
    assert "new.dcm" not in old["path"].to_list() and "README.txt" in old["path"].to_list()
    (ward / "README.txt").write_text("back again")
    back = ingest_ward(catalogue, lake)
    assert (back.read, back.rows) == (1, after.rows)
    assert {p: s for p, _, s, _, _ in contents(lake)}["README.txt"] == "not_dicom"


CHILD = """
import sys
from pathlib import Path
from dicom_workbench.catalog import Catalogue
from dicom_workbench.store import Lake, ingest
sys.modules["dicom_workbench.acquire.scan"].BATCH_FILES = 7
c = Catalogue.open(sys.argv[1])
ingest(c.get("ward"), c.entry("ward").folder, Lake.open(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
@pytest.mark.parametrize("point", FAULTS)
@pytest.mark.parametrize("second", [False, True], ids=["first-run", "rescan"])
def test_a_killed_run_loses_no_row_and_doubles_none(
    point: str, second: bool, ward: Path, write_source, tmp_path: Path, small_batches: None
) -> None:
    catalogue, workspace = write_source(ward), tmp_path / "ws"
    if second:
        ingest_ward(catalogue, Lake.open(workspace))
        (ward / "CT_small.dcm").write_bytes((ward / "MR_small.dcm").read_bytes())
        (ward / "README.txt").unlink()
        shutil.copytree(ward / "tree", ward / "tree2")
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(catalogue), str(workspace)], env={**os.environ, "DICOM_WORKBENCH_FAULT": point}
    )
    assert killed.returncode == -9
    lake = Lake.open(workspace)
    ingest_ward(catalogue, lake)
    assert ingest_ward(catalogue, lake).read == 0
    reference = Lake.open(tmp_path / "never-killed")
    if second:  # the reference has to have seen the file that is gone
        (ward / "README.txt").write_text("any text")
    found = [row for row in contents(lake) if row[2] != "missing"]
    ingest_ward(catalogue, reference)
    expected = [row for row in contents(reference) if not (second and row[0] == "README.txt")]
    assert found == expected
    assert len({row[0] for row in contents(lake)}) == len(contents(lake))
    shapes = lake.shapes("ward").collect()
    assert shapes.equals(reference.shapes("ward").collect().filter(pl.col("shape").is_in(shapes["shape"].to_list())))


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_a_resumed_run_keeps_the_shards_that_were_finished(ward: Path, write_source, tmp_path: Path, small_batches: None) -> None:
    catalogue, workspace = write_source(ward), tmp_path / "ws"
    subprocess.run([sys.executable, "-c", CHILD, str(catalogue), str(workspace)], env={**os.environ, "DICOM_WORKBENCH_FAULT": "before-commit"})
    shards = {p: p.stat().st_mtime_ns for p in (workspace / "instances").rglob("*.parquet")}
    assert len(shards) > 3
    lake = Lake.open(workspace)
    ingest_ward(catalogue, lake)
    assert {p: p.stat().st_mtime_ns for p in lake.files("instances", "ward")} == shards


def test_a_file_outside_where_is_a_row_without_values(ward: Path, write_source, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    ingest_ward(write_source(ward, more='where = {Modality = ["MR"]}'), lake)
    rows = lake.rows("ward").select("path", "status", "Modality", "PatientID", "PatientName", "SOPInstanceUID").collect()
    ct = rows.filter(pl.col("path") == "CT_small.dcm").row(0)
    assert ct == ("CT_small.dcm", "refused", None, None, None, None)
    assert set(levels.instances(lake, "ward").select("Modality").collect()["Modality"]) == {"MR"}


def test_elements_follow_their_files_through_a_rescan(ward: Path, write_source, tmp_path: Path) -> None:
    catalogue, lake = write_source(ward), Lake.open(tmp_path / "ws")
    ingest_ward(catalogue, lake)
    with pytest.raises(UsageError, match="--elements"):
        lake.elements("ward")
    assert ingest_ward(catalogue, lake, elements=True).read > 0
    modality = pl.col("keyword") == "Modality", pl.col("path") == "CT_small.dcm"
    assert lake.elements("ward").filter(*modality).select("value").collect()["value"].to_list() == ["CT"]
    (ward / "CT_small.dcm").write_bytes((ward / "MR_small.dcm").read_bytes())
    assert ingest_ward(catalogue, lake, elements=True).read == 1
    assert lake.elements("ward").filter(*modality).select("value").collect()["value"].to_list() == ["MR"]
    seen = set(lake.elements("ward").select("path").unique().collect()["path"])
    assert seen <= {path for path, _, status, _, _ in contents(lake) if status != "not_dicom"}


def test_elements_of_files_that_where_leaves_out_are_not_kept(ward: Path, write_source, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    ingest_ward(write_source(ward, more='where = {Modality = ["MR"]}'), lake, elements=True)
    kept = set(lake.elements("ward").filter(pl.col("keyword") == "Modality").select("value").unique().collect()["value"])
    assert kept == {"MR"}


def test_pixel_hashes_are_kept_once_asked_for(ward: Path, write_source, tmp_path: Path) -> None:
    catalogue, lake = write_source(ward, more='where = {Modality = ["CT", "MR"]}'), Lake.open(tmp_path / "ws")
    with zipfile.ZipFile(ward / "more.zip", "w") as archive:
        archive.write(ward / "CT_small.dcm", "again.dcm")
    ingest_ward(catalogue, lake)
    assert "PixelHash" not in lake.rows("ward").collect_schema().names()
    before = lake.source_version("ward")
    assert ingest_ward(catalogue, lake, pixel_hash=True).read > 2
    assert lake.source_version("ward") != before

    def hashes() -> dict[str, str | None]:
        return dict(lake.rows("ward").select("path", "PixelHash").collect().iter_rows())

    found = hashes()
    assert len(found["CT_small.dcm"] or "") == 32
    assert found["more.zip!again.dcm"] == found["CT_small.dcm"] != found["MR_small.dcm"]
    assert found["README.txt"] is None and found["MR_truncated.dcm"] is None
    left_out = set(lake.rows("ward").filter(pl.col("status") == "refused").select("path").collect()["path"])
    assert left_out and not any(found[path] for path in left_out)
    data = dcmread(ward / "MR_small.dcm")
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    data.save_as(ward / "MR_small.dcm")
    (ward / "CT_small.dcm").unlink()
    assert ingest_ward(catalogue, lake).read == 1  # nobody has to ask again
    assert hashes() == found | {"CT_small.dcm": None}
    assert levels.instances(lake, "ward").filter(pl.col("SOPInstanceUID") == "1.2.3.4").collect().height == 1


def test_levels_count_patients_studies_series_and_instances_as_pydicom_does(ward: Path, write_source, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    ingest_ward(write_source(ward), lake)
    known = {"SOPInstanceUID": set(), "SeriesInstanceUID": set(), "StudyInstanceUID": set(), "PatientID": set()}
    for path in ward.rglob("*"):
        if path.is_file() and is_dicom(path) and path.name != "DICOMDIR":
            data = dcmread(path, stop_before_pixels=True)
            for keyword, values in known.items():
                if data.get(keyword):
                    values.add(str(data[keyword].value))
    counts = [view(lake, "ward").select(pl.len()).collect().item() for view in (levels.instances, levels.series, levels.studies, levels.patients)]
    assert counts == [len(values) for values in known.values()]


def test_children_that_disagree_are_counted(tmp_path: Path, samples: Path, write_source) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number, (sex, date) in enumerate([("F", "20200101"), ("M", "20200101"), ("", "20200102")]):
        data = dcmread(samples / "CT_small.dcm")
        data.PatientSex, data.StudyDate = sex, date
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.save_as(folder / f"{number}.dcm")
    lake = Lake.open(tmp_path / "ws")
    ingest_ward(write_source(folder), lake)
    study = levels.studies(lake, "ward").select("PatientSex_conflict", "StudyDate_conflict", "PatientID_conflict", "instance_count").collect()
    assert study.rows() == [(1, 1, 0, 3)]
    patient = levels.patients(lake, "ward").select("PatientSex_conflict", "study_count").collect()
    assert patient.rows() == [(1, 1)]


def test_an_unreadable_value_is_null_in_the_view_and_raw_in_the_store(tmp_path: Path, samples: Path, write_source) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    raw = (samples / "CT_small.dcm").read_bytes()
    assert raw.count(b"20040119") > 0
    (folder / "1.dcm").write_bytes(raw.replace(b"20040119", b"2004-1-9"))
    lake = Lake.open(tmp_path / "ws")
    ingest_ward(write_source(folder), lake)
    assert lake.rows("ward").select("StudyDate").collect().item() == "2004-1-9"
    assert levels.instances(lake, "ward").select("StudyDate").collect().item() is None


def test_a_workspace_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UsageError, match="is not a workspace"):
        Lake.open(tmp_path / "photos")


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_workspace_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    assert (lake.folder.stat().st_mode & 0o777, (lake.folder / ".gitignore").read_text()) == (0o700, "*\n")


def test_a_full_disk_is_one_line_and_loses_nothing(ward: Path, write_source, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root on Linux)")
    try:
        lake = Lake.open(small / "ws")
        catalogue = write_source(ward)
        first = ingest_ward(catalogue, lake)
        (small / "ballast").write_bytes(b"x" * max(0, shutil.disk_usage(small).free - 8192))
        shutil.copytree(ward / "tree", ward / "tree2")
        with pytest.raises(WorkbenchError, match="disk of the workspace is full"):
            ingest_ward(catalogue, lake)
        assert len(contents(lake)) == first.rows
        (small / "ballast").unlink()
        assert ingest_ward(catalogue, lake).rows > first.rows
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_sources_do_not_disturb_each_other(ward: Path, write_source, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    catalogue = write_source(ward)
    write_source(ward / "tree", id="tree")
    found = Catalogue.open(catalogue)
    first = ingest(found.get("ward"), catalogue, lake)
    ingest(found.get("tree"), catalogue, lake)
    assert lake.source_version("ward") == first.source_version
    assert lake.source_version("ward", lake.delta_version("tree")) == first.source_version
    assert lake.sources() == ["tree", "ward"]


def test_idc_sample_is_written_in_dicom_syntax(idc_table: Path, tmp_path: Path) -> None:
    sample = pl.read_parquet(idc_table, n_rows=20_000)
    sample.write_parquet(tmp_path / "idc_index.parquet")
    shipped = Catalogue.open().entry("idc").file.read_text()
    text = shipped.replace('id = "idc"', 'id = "sample"').replace('package = "idc_index_data"', f'root = "{tmp_path.as_posix()}"')
    assert text.count("sample") >= 1 and "idc_index_data" not in text
    folder = tmp_path / "catalogue"
    folder.mkdir()
    (folder / "sample.toml").write_text(text)
    catalogue, lake = Catalogue.open(folder), Lake.open(tmp_path / "ws")
    done = ingest(catalogue.get("sample"), folder, lake)
    assert done.rows == 20_000
    rows = lake.rows("sample").sort("SeriesInstanceUID").collect()
    theirs = sample.sort("SeriesInstanceUID")
    assert rows["StudyDate"].to_list() == [d and d.replace("-", "") for d in theirs["StudyDate"].to_list()]
    assert rows["IssuerOfPatientID"].to_list() == theirs["collection_id"].to_list()
    assert rows["instance_count"].sum() == theirs["instanceCount"].sum()
    assert rows["Manufacturer"].to_list() == theirs["Manufacturer"].to_list()  # a comma there is plain text
    several = theirs["TransferSyntaxUID"].str.contains(",")
    assert (rows["TransferSyntaxUID"].str.contains(r"\\") == several).all()
    assert levels.studies(lake, "sample").select(pl.len()).collect().item() == theirs["StudyInstanceUID"].n_unique()
    assert ingest(catalogue.get("sample"), folder, lake).read == 0


@pytest.mark.slow
def test_the_whole_idc_table_has_the_known_counts(idc_table: Path, tmp_path: Path) -> None:
    catalogue, lake = Catalogue.open(), Lake.open(tmp_path / "ws")
    ingest(catalogue.get("idc"), catalogue.entry("idc").folder, lake)
    counts = [view(lake, "idc").select(pl.len()).collect().item() for view in (levels.series, levels.studies, levels.patients)]
    assert counts == [1_044_191, 168_507, 86_451]
    twice = levels.patients(lake, "idc").group_by("PatientID").len().filter(pl.col("len") > 1)
    assert twice.select(pl.len()).collect().item() == 89
    both = levels.patients(lake, "idc").filter(pl.col("PatientSex_conflict") > 0).select(pl.len()).collect().item()
    assert both == 459
    chest = catalogue.get("idc_chest_xray")
    assert ingest(chest, catalogue.entry(chest.id).folder, lake).rows == 15_519
