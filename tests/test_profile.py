"""What the profile counts, against another engine and against published numbers."""

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pydicom
import pytest
from conftest import SOURCE

from dicom_workbench.analysis.profile import Views, concerns, first_concerns, one_row_a_series, profile
from dicom_workbench.catalog import Catalogue
from dicom_workbench.store import Lake, ingest

INDEX = """
[acquisition]
kind = "index"
root = "tables"
table = "sample.parquet"
[acquisition.columns]
IssuerOfPatientID = { from = "collection_id" }
instance_count = { from = "instanceCount" }
"""


def index_source(folder: Path, table: pl.DataFrame) -> tuple[Lake, str]:
    "A lake with one index source of these rows."
    (folder / "tables").mkdir()
    table.write_parquet(folder / "tables" / "sample.parquet")
    head = SOURCE.format(id="sample", access="open", root="", more="").split("[acquisition]")[0]
    (folder / "sample.toml").write_text(head + INDEX)
    lake, catalogue = Lake.open(folder / "ws"), Catalogue.open(folder)
    ingest(catalogue.get("sample"), folder, lake)
    return lake, "sample"


@pytest.fixture(scope="module")
def sample(idc_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    folder = tmp_path_factory.mktemp("idc")
    whole = pl.scan_parquet(idc_table).filter(pl.col("PatientID").hash(seed=1) % 50 == 0).collect()
    lake, _ = index_source(folder, whole)
    return lake, folder / "tables" / "sample.parquet"


def test_counts_agree_with_another_engine(sample: tuple[Lake, Path]) -> None:
    lake, table = sample
    found = profile(Views.of(lake, "sample"))
    sql = f"""select count(distinct (collection_id, PatientID)), count(distinct StudyInstanceUID), count(*), sum(instanceCount) from '{table}'"""
    patients, studies, series, objects = duckdb.sql(sql).fetchall()[0]
    assert (found.counts, found.described) == ({"patient": patients, "study": studies, "series": series}, objects)
    assert found.files is None and found.statuses.is_empty()


def test_values_agree_with_another_engine(sample: tuple[Lake, Path]) -> None:
    lake, table = sample
    found = profile(Views.of(lake, "sample"))
    for column in ("Modality", "BodyPartExamined"):
        theirs = dict(duckdb.sql(f"select {column}, count(*) from '{table}' group by 1").fetchall())
        assert dict(found.values[column].select("value", "n").iter_rows()) == theirs
    folded = duckdb.sql(f"select lower(trim(Manufacturer)) m, count(*) from '{table}' group by 1").fetchall()
    ours = {(v.lower() if v is not None else None): n for v, n in found.values["Manufacturer"].select("value", "n").iter_rows()}
    assert ours == dict(folded)


def test_years_agree_with_another_engine(sample: tuple[Lake, Path]) -> None:
    lake, table = sample
    found = profile(Views.of(lake, "sample"))
    theirs = duckdb.sql(f"select year(StudyDate::date), Modality, count(*) from '{table}' group by all").fetchall()
    assert sorted(found.years_by_modality.rows(), key=str) == sorted(theirs, key=str)
    one_date = f"select StudyInstanceUID, min(StudyDate::date) d from '{table}' group by 1"
    assert sorted(found.years.rows(), key=str) == sorted(duckdb.sql(f"select year(d), count(*) from ({one_date}) group by 1").fetchall(), key=str)


def test_completeness_and_conflicts_agree_with_another_engine(sample: tuple[Lake, Path]) -> None:
    lake, table = sample
    found = profile(Views.of(lake, "sample"))
    present = dict(found.completeness.select("column", "present").iter_rows())
    keys = {"PatientSex": "(collection_id, PatientID)", "PatientAge": "StudyInstanceUID", "Manufacturer": "SeriesInstanceUID"}
    for column, key in keys.items():
        assert present[column] == duckdb.sql(f"select count(distinct {key}) from '{table}' where {column} is not null").fetchall()[0][0], column
    for column, level, key in [("PatientSex", "patient", "(collection_id, PatientID)"), ("PatientAge", "study", "StudyInstanceUID"), ("StudyDate", "study", "StudyInstanceUID")]:
        sql = f"select count(*) from (select {key} k from '{table}' group by 1 having count(distinct {column}) > 1)"
        ours = found.conflicts.filter(pl.col("column") == column, pl.col("level") == level)["n"].sum()
        assert ours == duckdb.sql(sql).fetchall()[0][0], column


@pytest.mark.slow
def test_the_whole_idc_table_has_its_published_numbers(idc_table: Path, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    catalogue = Catalogue.open()
    ingest(catalogue.get("idc"), catalogue.entry("idc").folder, lake)
    found = profile(Views.of(lake, "idc"))
    assert found.counts == {"patient": 86_451, "study": 168_507, "series": 1_044_191}
    modalities = dict(found.values["Modality"].select("value", "n").iter_rows())
    assert (modalities["CT"], modalities["SR"], modalities["XC"]) == (270_830, 270_687, 4)
    makers = found.values["Manufacturer"].drop_nulls("value")
    assert (makers.height, makers["spellings"].sum()) == (121, 128)
    conflicts = {(c, level): n for c, level, n in found.conflicts.select("column", "level", "n").iter_rows()}
    assert [conflicts[k] for k in [("PatientSex", "patient"), ("StudyDate", "study"), ("PatientAge", "study"), ("PatientID", "study")]] == [459, 651, 383, 1]
    assert "Sex recorded differently within one patient" in [c.words for c in first_concerns(found)]


def test_an_index_that_repeats_a_series_counts_it_once(tmp_path: Path) -> None:
    rows = pl.DataFrame({"collection_id": ["a", "a", "a"], "PatientID": ["1", "1", "2"], "StudyInstanceUID": ["1.1", "1.1", "1.2"], "SeriesInstanceUID": ["2.1", "2.1", "2.2"],
                         "Modality": ["CT", "CT", "MR"], "StudyDate": ["2019-01-02", "2019-01-02", ""], "Manufacturer": ["a", "a", ""], "instanceCount": [3, 4, 5]})
    lake, source = index_source(tmp_path, rows)
    assert not one_row_a_series(lake.rows(source))
    found = profile(Views.of(lake, source))
    assert found.counts == {"patient": 2, "study": 2, "series": 2}
    assert (found.described, dict(found.values["Modality"].select("value", "n").iter_rows())) == (12, {"CT": 1, "MR": 1})


@pytest.fixture(scope="module")
def ward(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    "Ten files of pydicom: two objects that stand in two files each (one of them cut short), a text file, no SOP Instance UID, an empty sex, two sexes of one patient."
    folder = tmp_path_factory.mktemp("ward")
    files = folder / "files"
    files.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_truncated.dcm", "README.txt", "examples_palette.dcm"):
        shutil.copy(samples / name, files / name)
    shutil.copy(samples / "CT_small.dcm", files / "again.dcm")
    for i, sex in enumerate(["F", "M", ""]):
        ds = pydicom.dcmread(samples / "CT_small.dcm")
        ds.PatientID, ds.PatientSex = "P9" if sex else "P8", sex
        for uid in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(ds, uid, f"2.25.{100 + i}")
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(files / f"sex{i}.dcm")
    nobody = pydicom.dcmread(samples / "CT_small.dcm")  # without an identity it is a file, but no object of a patient
    nobody.PatientID, nobody.StudyInstanceUID, nobody.SeriesInstanceUID = "P7", "2.25.7", "2.25.70"
    del nobody.SOPInstanceUID
    nobody.save_as(files / "nobody.dcm")
    (folder / "ward.toml").write_text(SOURCE.format(id="ward", access="open", root="files", more=""))
    lake = Lake.open(folder / "ws")
    ingest(Catalogue.open(folder).get("ward"), folder, lake)
    return lake, files


def test_every_file_is_counted_by_status_and_none_by_path(ward: tuple[Lake, Path]) -> None:
    lake, files = ward
    found = profile(Views.of(lake, "ward"))
    assert found.files == len(list(files.iterdir())) == found.statuses["n"].sum()
    assert found.statuses.columns == ["status", "reason", "n"]
    by_status = dict(found.statuses.group_by("status").agg(pl.col("n").sum()).iter_rows())
    assert by_status["not_dicom"] == 1 and by_status["truncated"] == 1
    assert found.copies == 2


def test_present_empty_and_absent_agree_with_pydicom(ward: tuple[Lake, Path]) -> None:
    lake, files = ward
    headers = {}
    for path in sorted(files.glob("*.dcm")):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if "SOPInstanceUID" in ds:
            ds.update({element.tag: element for element in ds.file_meta if element.tag.group == 2})  # columns, too
            headers.setdefault(ds.SOPInstanceUID, ds)
    found = profile(Views.of(lake, "ward")).completeness
    for column in found.filter(pl.col("level") == "instance", pl.col("applies_to") == "", ~pl.col("column").str.contains("_"))["column"]:
        if column in ("SOPInstanceUID", "SpecificCharacterSet"):
            continue
        want = [sum(column in ds and bool(str(ds[column].value if ds[column].value is not None else "")) for ds in headers.values()),
                sum(column in ds and not str(ds[column].value if ds[column].value is not None else "") for ds in headers.values()),
                sum(column not in ds for ds in headers.values())]
        ours = list(found.filter(pl.col("column") == column).select("present", "empty", "absent").row(0))
        assert ours == want, column


def test_denominators_are_the_records_of_the_level(ward: tuple[Lake, Path], sample: tuple[Lake, Path]) -> None:
    for lake, source in ((ward[0], "ward"), (sample[0], "sample")):
        found = profile(Views.of(lake, source))
        everywhere = found.completeness.filter(pl.col("applies_to") == "")
        assert everywhere.select("level", "n").unique().sort("level").rows() == sorted(found.counts.items())


def test_scoped_attributes_are_asked_of_their_modality_only(ward: tuple[Lake, Path]) -> None:
    found = profile(Views.of(ward[0], "ward"))
    n = dict(found.completeness.select("column", "n").iter_rows())
    assert (n["KVP"], n["EchoTime"], n["TransducerType"]) == (4, 1, 1)  # four CT objects; MR_truncated is MR_small, cut short; one US series


def test_two_sexes_of_one_patient_are_told_in_words(ward: tuple[Lake, Path]) -> None:
    found = profile(Views.of(ward[0], "ward"))
    told = {c.words: (c.n, c.total) for c in concerns(found)}
    assert told["Sex recorded differently within one patient"] == (1, found.counts["patient"])
    assert told["Files that end too early"] == (1, found.files)


def test_a_rare_contradiction_comes_before_common_gaps_of_its_size(ward: tuple[Lake, Path]) -> None:
    ranked = concerns(profile(Views.of(ward[0], "ward")))
    assert [c.rank for c in ranked] == sorted((c.rank for c in ranked), reverse=True)
    first = first_concerns(profile(Views.of(ward[0], "ward")))
    assert len(first) == 3 and max(sum(c.kind == o.kind for o in first) for c in first) <= 2
