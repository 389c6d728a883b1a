"""The policy on a table: what it does to files, it does to their rows."""

import os
import stat
from pathlib import Path

import polars as pl
import pydicom
import pytest
from pydicom.uid import generate_uid

from dicom_workbench.acquire import scan
from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.tables import (
    DEIDENTIFIED,
    deidentify_rows,
    deidentify_source,
    deidentify_table,
    mapped_uids,
    write_deidentified,
)
from dicom_workbench.standard.attributes import ATTRIBUTES, COLUMNS
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.store import Lake, levels

KEY = Key(bytes(range(32)))
OPTIONS = {
    "basic": (),
    "research": ("retain-modified-dates", "clean-descriptors", "retain-patient-characteristics", "retain-device-identity"),
    "full dates": ("retain-full-dates", "retain-uids", "retain-institution-identity"),
}


def of_files(rows: pl.DataFrame, folder: Path, out: Path, policy, issuer: str = "") -> pl.DataFrame:
    "The table of the files after each of them was de-identified; those that were quarantined are left out."
    names = {}
    for i, path in enumerate(rows["path"]):
        outcome = deidentify_object((folder / path).read_bytes(), policy, KEY, issuer)
        if outcome.status == "delivered":
            (out / f"{i}.dcm").write_bytes(outcome.data)
            names[f"{i}.dcm"] = path
    found = scan(out)
    return found.with_columns(path=pl.col("path").replace_strict(names))


@pytest.fixture(scope="module")
def original(samples: Path) -> pl.DataFrame:
    "pydicom's own files: the readable ones that are whole, without directories."
    rows = scan(samples)
    kept = rows.filter(pl.col("status") == "ok", pl.col("SOPClassUID").is_not_null(), pl.col("SOPClassUID") != "1.2.840.10008.1.3.10", ~pl.col("path").str.contains("!"), pl.col("file_size") < 2_000_000)
    return kept.sort("path")


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_table_of_the_files_and_the_files_of_the_table_say_the_same(original: pl.DataFrame, samples: Path, tmp_path: Path, name: str) -> None:
    policy = load_policy("basic", OPTIONS[name])
    files = of_files(original, samples, tmp_path, policy)
    assert files.height > 80
    table = deidentify_rows(original, policy, KEY).with_columns(path=original["path"])
    both = table.join(files, on="path", suffix=":file")
    assert both.height == files.height
    multi_frame = [a.column for a in ATTRIBUTES if a.functional_group]  # in files these may stand elsewhere, where other rules hold
    wrong = {}
    of_the_writer = {"ImplementationClassUID", "ImplementationVersionName"}  # of a new file it is us; a table has none
    for column in sorted({*COLUMNS} - of_the_writer):
        mine = both.filter(pl.col(column).ne_missing(pl.col(f"{column}:file"))).select("path", pl.col("SOPClassUID").alias("sop"), column, f"{column}:file")
        if column in multi_frame or column.startswith("MediaStorage"):  # a file gets them even where it had none
            mine = mine.filter(pl.col(column).is_not_null(), pl.col(f"{column}:file").is_not_null())
        if mine.height:
            wrong[column] = mine.head(3).rows()
    assert wrong == {}


def planted(tmp_path: Path, samples: Path) -> pl.DataFrame:
    "One CT twice over, with names where they belong and where they do not."
    for i, (issuer, patient) in enumerate([("UTH", "0012345"), ("", "0012345"), ("", "")]):
        ds = pydicom.dcmread(samples / "CT_small.dcm")
        ds.IssuerOfPatientID, ds.PatientID, ds.PatientName = issuer, patient, "Mwansakapwe^Chileshe"
        ds.StudyInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid()
        ds.StationName, ds.ManufacturerModelName, ds.ProtocolName = "ROOMSEVEN", "LightSpeed ROOMSEVEN", "Chest Mwansakapwe"
        ds.StudyDescription, ds.AccessionNumber, ds.ImageComments = "CT CHEST Mwansakapwe 12345678", "ACC778899", "seen by Dr Chileshe"
        ds.PatientAge, ds.PatientBirthDate = "093Y", "19100101"
        (tmp_path / "Mwansakapwe").mkdir(exist_ok=True)
        ds.save_as(tmp_path / "Mwansakapwe" / f"{i}.dcm")
    return scan(tmp_path)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_no_planted_identifier_is_left_in_any_column(tmp_path: Path, samples: Path, name: str) -> None:
    rows = planted(tmp_path, samples)
    text = deidentify_rows(rows, load_policy("basic", OPTIONS[name]), KEY).write_csv().lower()
    secret = ["mwansakapwe", "chileshe", "0012345", "acc778899", "12345678"]
    secret += ["roomseven"] if "device" not in " ".join(OPTIONS[name]) else []
    secret += list(rows["SOPInstanceUID"]) if "retain-uids" not in OPTIONS[name] else []
    assert [s for s in secret if s in text] == []


def test_basic_leaves_no_date_of_the_patient(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples)
    text = deidentify_rows(rows, load_policy(), KEY).write_csv()
    days = {v[:8] for c in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate", "InstanceCreationDate") for v in rows[c].drop_nulls() if len(v) >= 8}
    assert len(days) >= 3
    assert [d for d in days if d in text] == []


def test_shifted_dates_keep_their_distances(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples).with_columns(StudyDate=pl.Series(["20200101", "20200201", "20210101"]), PatientID=pl.lit("7"), IssuerOfPatientID=pl.lit(None, dtype=pl.String))
    new = deidentify_rows(rows, load_policy("basic", ["retain-modified-dates"]), KEY)
    old, moved = (f["StudyDate"].str.to_date("%Y%m%d") for f in (rows, new))
    assert (moved - old).n_unique() == 1 and old[0] != moved[0]
    assert (moved[0] - old[0]).days == KEY.offset_days("", "7", "")
    assert new["StudyTime"].to_list() == rows["StudyTime"].to_list()
    assert new["LongitudinalTemporalInformationModified"].unique().to_list() == ["MODIFIED"]


def test_two_hospitals_patient_1_stay_two_and_who_has_no_number_is_known_by_the_study(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples)
    new = deidentify_rows(rows, load_policy(), KEY, issuer="UTH")
    expected = [KEY.pseudonym(i or "UTH", p or "", "" if p else s) for i, p, s in rows.select("IssuerOfPatientID", "PatientID", "StudyInstanceUID").iter_rows()]
    assert new["PatientID"].to_list() == expected
    assert new["PatientID"].n_unique() == 2  # the issuer that was named is the one that the first file carries
    assert deidentify_rows(rows, load_policy(), KEY)["PatientID"].n_unique() == 3


def test_ages_over_89_and_the_birth_dates_that_tell_them_are_capped(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples)
    new = deidentify_rows(rows, load_policy("basic", ["retain-patient-characteristics", "retain-modified-dates"]), KEY)
    assert new["PatientAge"].unique().to_list() == ["090Y"]
    assert new["PatientBirthDate"].unique().to_list() == [""]


def test_the_four_markings_stand_in_every_readable_row(original: pl.DataFrame, tmp_path: Path, samples: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM, but long enough to be looked at " * 20)
    rows = pl.concat([planted(tmp_path, samples)])
    new = deidentify_rows(rows, load_policy(), KEY)
    read = new.filter(pl.col("status") == "ok")
    assert read.height == 3
    for column in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence_CodeValue", "LongitudinalTemporalInformationModified"):
        assert read[column].null_count() == 0 and new.filter(pl.col("status") == "not_dicom")[column].null_count() == 1, column


def test_a_column_that_nobody_knows_is_left_out(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples).with_columns(Remarks=pl.lit("Mwansakapwe"), patientname=pl.lit("x"))
    new = deidentify_table(rows.lazy(), load_policy(), KEY).collect()
    assert not {"Remarks", "patientname"} & set(new.columns)
    assert new["file_size"].null_count() == new["mtime_ns"].null_count() == new["shape"].null_count() == new.height
    assert new["source_id"].unique().to_list() == [DEIDENTIFIED]


def test_a_path_becomes_a_name_without_a_history(tmp_path: Path, samples: Path) -> None:
    rows = planted(tmp_path, samples)
    one, other = (deidentify_rows(rows, load_policy(), k)["path"] for k in (KEY, Key(bytes(32))))
    assert one.n_unique() == 3 and not set(one) & set(other)
    assert one.str.contains("^[0-9a-f]{32}$").all()


def test_rows_do_not_depend_on_their_neighbours(original: pl.DataFrame) -> None:
    policy = load_policy("basic", OPTIONS["research"])
    whole = deidentify_rows(original, policy, KEY)
    apart = pl.concat([deidentify_rows(original[i:i + 1], policy, KEY) for i in range(0, original.height, 7)])
    assert apart.equals(whole[::7])


def test_no_row_is_no_reason_to_fail(original: pl.DataFrame) -> None:
    assert deidentify_table(original.head(0).lazy(), load_policy(), KEY).collect().height == 0
    with pytest.raises(UsageError, match="no attribute"):
        deidentify_table(pl.LazyFrame({"a": [1]}), load_policy(), KEY)


def test_uids_in_bulk_are_the_keys_uids() -> None:
    uids = [generate_uid(entropy_srcs=[str(i)]) for i in range(500)] + ["1.2.840.10008.1.2", "", "1.2.3 ", "1.2.3"]
    assert mapped_uids(pl.Series(uids), KEY).to_list() == KEY.uids(uids)


def test_the_file_is_for_its_owner_only_and_replaced_as_a_whole(original: pl.DataFrame, tmp_path: Path) -> None:
    target = tmp_path / "t.parquet"
    target.write_text("old")
    target.chmod(0o644)
    assert write_deidentified(original.lazy(), target, load_policy(), KEY) == original.height
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert pl.read_parquet(target)["path"].is_sorted()


def test_a_source_becomes_another_source_with_levels_of_its_own(original: pl.DataFrame, tmp_path: Path) -> None:
    lake = Lake.open(tmp_path / "ws")
    shard = lake.shard_folder("instances", "ward", "r") / "1.parquet"
    shard.parent.mkdir(parents=True)
    original.drop("source_id").write_parquet(shard)
    lake.commit("instances", "ward", [shard], note={"source_version": "0" * 64})
    one = deidentify_source(lake, "ward", "ward_open", load_policy(), KEY)
    two = deidentify_source(lake, "ward", "ward_open", load_policy("basic", OPTIONS["research"]), KEY)
    assert one != two == lake.source_version("ward_open")
    assert lake.rows("ward_open").collect().height == original.height  # replaced, not added
    assert lake.rows("ward_open", one).select("StudyDate").collect().equals(lake.rows("ward_open", one).select("StudyDate").collect())
    was, now = (levels.studies(lake, s).collect() for s in ("ward", "ward_open"))
    assert set(now["StudyInstanceUID"]) == set(KEY.uids(was["StudyInstanceUID"]))
    assert sorted(now["instance_count"]) == sorted(was["instance_count"])
    with pytest.raises(UsageError, match="own place"):
        deidentify_source(lake, "ward", "ward", load_policy(), KEY)


def test_an_index_has_one_row_a_series_and_keeps_its_counts(idc_table: Path) -> None:
    names = {"collection_id": "IssuerOfPatientID", "instanceCount": "instance_count"}
    index = pl.scan_parquet(idc_table).select("collection_id", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientSex", "StudyDate", "instanceCount").head(20_000).rename(names)
    raw = index.with_columns(pl.col("StudyDate").cast(pl.String).str.replace_all("-", "")).collect()
    new = deidentify_table(raw.lazy(), load_policy(), KEY).collect()
    assert new["instance_count"].equals(raw["instance_count"]) and new["Modality"].equals(raw["Modality"])
    assert new["SeriesInstanceUID"].to_list() == KEY.uids(raw["SeriesInstanceUID"])
    assert new.select(pl.col("PatientID").n_unique()).item() == raw.select(pl.struct("IssuerOfPatientID", "PatientID").n_unique()).item()
    assert new["IssuerOfPatientID"].drop_nulls().is_empty()
