"""Dose: what the reports of eleven manufacturers say, by another program's word; what counts once; and the hospital's known totals.

The oracle is OpenREM 0.10.0. Its test files are not ours to give away (GPL), so they are looked for in ../shared, or
brought from the package index for the time of the test; `data/openrem_values.csv` holds the numbers that its own tests
assert of them, and nothing else of it.
"""

import copy
import csv
import json
import math
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pydicom
import pytest
from pydicom.multival import MultiValue
from typer.testing import CliRunner

from dicom_workbench.acquire.scan import scan
from dicom_workbench.analysis.content import Unreadable, read_content
from dicom_workbench.analysis.dose import DOSE, mark_superseded, read_report, read_reports
from dicom_workbench.analysis.dose_picture import read_picture
from dicom_workbench.analysis.dose_summary import (
    effective_dose,
    facility_medians,
    header_dose,
    known_contrast,
    patient_dose,
    reference_levels,
    study_dose,
)
from dicom_workbench.catalog import Catalogue
from dicom_workbench.report import run_report
from dicom_workbench.report.dose_files import folder_of, source_dose
from dicom_workbench.store import Lake, ingest, levels
from dicom_workbench.teach import answers, synth

SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or Path(__file__).parents[2] / "shared")
VALUES = Path(__file__).parent / "data" / "openrem_values.csv"


def from_index(requirement: str, kind: str, folder: Path) -> Path | None:
    """One archive of the package index, not installed; None where there is no index, or it cannot be asked."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", f"--{kind}-binary", ":all:", "-d", str(folder), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        return None
    return next((file for file in folder.iterdir() if file.is_file()), None)


@pytest.fixture(scope="session")
def openrem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with OpenREM's 42 test files."""
    here = SHARED / "data" / "real" / "OpenREM-0.10.0-pypi"
    if here.is_dir():
        return here
    folder = tmp_path_factory.mktemp("openrem")
    archive = from_index("OpenREM==0.10.0", "no", folder)
    if archive is None or not tarfile.is_tarfile(archive):
        pytest.skip("OpenREM's files are neither in shared/ nor on the package index")
    files = folder / "files"
    files.mkdir()
    with tarfile.open(archive) as packed:
        for member in packed:
            if "/test_files/" in member.name and member.name.endswith(".dcm") and (stream := packed.extractfile(member)):
                (files / Path(member.name).name).write_bytes(stream.read())
    return files


@pytest.fixture(scope="session")
def reports_of_angiography(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The four RF reports of the pyskindose wheel."""
    archive = from_index("pyskindose==25.1.1", "only", tmp_path_factory.mktemp("pyskindose"))
    if archive is None or not zipfile.is_zipfile(archive):
        pytest.skip("pyskindose's files are neither in shared/ nor on the package index")
    with zipfile.ZipFile(archive) as packed:
        return [packed.read(name) for name in sorted(packed.namelist()) if name.endswith(".dcm")]


def dose_of(folder: Path, names: list[str]) -> pl.DataFrame:
    """What counts of some files that belong together."""
    data = {name: (folder / name).read_bytes() for name in names}
    reports = [read_report(content, name) for name, content in data.items()]
    dose = pl.concat(read_picture(data[name], name) if report.is_empty() else report for name, report in zip(data, reports, strict=True))
    if dose.is_empty():
        dose = header_dose(scan([str(folder / name) for name in names]).lazy())
    return mark_superseded(dose).filter(~pl.col("superseded"))


def told(dose: pl.DataFrame, row: dict[str, str]) -> list[float | str]:
    """Our values for a row of the oracle."""
    events = dose.filter(level="event")
    if row["level"] == "count":
        events = events if row["quantity"] == "events" else events.filter(event_type=row["quantity"])
        return [events.select(pl.struct("path", "number").n_unique()).item()]
    if row["level"] == "total":
        totals = dose.filter(level="total") if dose["source"][0] != "header" else dose
        of = totals.filter(quantity=row["quantity"])
        of = of.filter(laterality=row["side"]) if row["side"] else of
        return [of["value"].sum()] if dose["source"][0] == "header" else of["value"].to_list()
    one = events.filter(pl.col("number").fill_null(1) == int(row["number"]))
    return one[row["quantity"]].to_list() if row["quantity"] in DOSE else one.filter(quantity=row["quantity"])["value"].to_list()


def same(ours: float | str | None, theirs: str, unit: str) -> bool:
    if isinstance(ours, str) or ours is None or not unit:
        return ours == theirs
    factor = 1000 if unit == "s" else 1  # OpenREM keeps the exposure time of CT in s, ours is in ms
    return math.isclose(ours, float(theirs), rel_tol=1e-6, abs_tol=1e-12) or (unit == "s" and math.isclose(ours, float(theirs) * factor, rel_tol=1e-6))


def test_equals_what_openrem_asserts_of_its_files(openrem: Path) -> None:
    rows = list(csv.DictReader(VALUES.open(encoding="utf-8")))
    assert len(rows) >= 200
    known: dict[str, pl.DataFrame] = {}
    wrong = []
    for row in rows:
        if row["files"] not in known:
            known[row["files"]] = dose_of(openrem, row["files"].split(";"))
        ours = told(known[row["files"]], row)
        if not any(same(value, row["expected"], row["unit"]) for value in ours):
            wrong.append((*row.values(), ours))
    assert not wrong, f"{len(wrong)} of {len(rows)} differ, first {wrong[:3]}"


NO_DOSE = {"ESR_non-dose.dcm"}


def is_report(file: Path) -> bool:
    return bool(pydicom.dcmread(file, specific_tags=["Modality"], stop_before_pixels=True).get("Modality") == "SR")


def test_every_dose_report_of_openrem_has_a_total_and_events(openrem: Path) -> None:
    reports = [file for file in sorted(openrem.glob("*.dcm")) if is_report(file)]
    assert len(reports) == 30
    for file in reports:
        dose = read_report(file.read_bytes(), file.name)
        if file.name in NO_DOSE:
            assert dose.is_empty()
            continue
        summed = dose.filter(pl.col("quantity").is_in(["DLP", "DAP", "dose_rp", "AGD", "DAP_fluoroscopy", "dose_rp_fluoroscopy"]), pl.col("value").is_not_null())
        assert set(summed["level"]) >= {"total"}, file.name
        assert dose.filter(level="event").height, file.name


def test_no_unit_of_a_real_report_is_unknown(openrem: Path) -> None:
    dose = pl.concat([read_report(file.read_bytes(), file.name) for file in sorted(openrem.glob("*.dcm"))])
    lost = dose.filter(pl.col("value").is_null(), pl.col("value_given").is_not_null())
    assert lost.is_empty(), lost.select("path", "quantity", "unit_given").unique().rows()


def test_reports_of_another_collection_parse(reports_of_angiography: list[bytes]) -> None:
    assert len(reports_of_angiography) == 4
    for data in reports_of_angiography:
        dose = read_report(data)
        assert dose.filter(level="total", quantity="DAP")["value"].is_not_null().any()
        assert dose.filter(level="event").height


def test_events_are_within_the_total_of_their_plane(reports_of_angiography: list[bytes], openrem: Path) -> None:
    """Totals of a system can hold more than its events (fluoroscopy that was not kept), never less."""
    everything = [*reports_of_angiography, *(file.read_bytes() for file in sorted(openrem.glob("RF-*.dcm")))]
    assert len(everything) == 13
    for dose in map(read_report, everything):
        for plane, total in dose.filter(level="total", quantity="DAP").drop_nulls("value").select("plane", "value").iter_rows():
            events = dose.filter(level="event", quantity="DAP", plane=plane)["value"].sum()
            assert events <= total * 1.02 + 1e-6, plane


def test_two_planes_are_two_totals_and_one_study(openrem: Path, tmp_path: Path) -> None:
    """A real report of one plane gets a second accumulated block, as a biplane system writes it."""
    report = pydicom.dcmread(openrem / "RF-RDSR-Siemens-Zee.dcm")
    blocks = [item for item in report.ContentSequence if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeValue == "113702"]
    assert len(blocks) == 1
    second = copy.deepcopy(blocks[0])
    for block, code, words in ((blocks[0], "113620", "Plane A"), (second, "113621", "Plane B")):
        for item in block.ContentSequence:
            concept = item.ConceptNameCodeSequence[0].CodeValue
            if concept == "113764":
                item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodeMeaning = code, words
            if concept == "113722" and block is second:
                item.MeasuredValueSequence[0].NumericValue = "0.000004"
    report.ContentSequence.insert(report.ContentSequence.index(blocks[0]) + 1, second)
    report.save_as(tmp_path / "biplane.dcm")
    dose = read_report((tmp_path / "biplane.dcm").read_bytes())
    assert dict(dose.filter(level="total", quantity="DAP").select("plane", "value").iter_rows()) == {"Plane A": 1.6e-5, "Plane B": 4e-6}
    assert study_dose(dose).filter(quantity="DAP")["value"].to_list() == [pytest.approx(2.0e-5)]


def test_both_breasts_have_their_own_dose_and_the_study_their_sum(openrem: Path) -> None:
    dose = read_report((openrem / "MG-RDSR-Hologic_2D.dcm").read_bytes())
    totals = dict(dose.filter(level="total", quantity="AGD").select("laterality", "value").iter_rows())
    assert totals == {"L": 1.3, "R": 1.28}
    assert study_dose(dose).filter(quantity="AGD")["value"].to_list() == [pytest.approx(2.58)]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1, 1)])
def test_a_report_that_contains_earlier_ones_counts_alone(openrem: Path, order: tuple[int, ...]) -> None:
    files = [openrem / f"CT-RDSR-Siemens-Multi-{n}.dcm" for n in order]
    dose = read_reports((f"{i}/{file.name}", file.read_bytes()) for i, file in enumerate(files))
    study = study_dose(dose)
    assert study.select("value", "objects", "witness").rows() == [(236.09, 1, "report")]


def test_a_continued_exam_is_added_up(openrem: Path) -> None:
    """Two reports of one study whose events are others are no successors of each other."""
    dose = read_reports((name, (openrem / name).read_bytes()) for name in ("CT-RDSR-Siemens-Continued-1.dcm", "CT-RDSR-Siemens-Continued-2.dcm"))
    assert not dose["superseded"].any()
    totals = dose.filter(level="total", quantity="DLP")["value"]
    assert totals.len() == 2
    assert study_dose(dose)["value"].sum() == pytest.approx(totals.sum())


def test_a_report_counts_before_the_picture_of_the_same_study(openrem: Path) -> None:
    picture = read_picture((openrem / "CT-SC-Philips_Brilliance16P.dcm").read_bytes(), "picture")
    report = read_report((openrem / "CT-RDSR-Siemens-Multi-3.dcm").read_bytes(), "report")
    same_study = picture.with_columns(pl.lit(report["StudyInstanceUID"][0]).alias("StudyInstanceUID"), pl.lit(report["PatientID"][0]).alias("PatientID"))
    assert study_dose(pl.concat([report, same_study])).select("value", "witness").rows() == [(236.09, "report")]
    assert study_dose(picture).select("value", "witness", "contrast").rows() == [(pytest.approx(1102.446093), "dose picture", "with")]


def test_contrast_is_taken_from_the_reports_own_code(openrem: Path) -> None:
    found = study_dose(read_report((openrem / "CT-RDSR-Philips_BigBore4DCT.dcm").read_bytes()))
    assert found["contrast"].to_list() == ["with"]
    found = study_dose(read_report((openrem / "CT-RDSR-Siemens-Multi-3.dcm").read_bytes()))
    assert found["contrast"].to_list() == ["without"]


def walked(data_set: pydicom.Dataset) -> list[tuple[str, str, float | None]]:
    """Concept, value type and number of every item, as pydicom has them."""
    found = []
    todo = [data_set]
    while todo:
        item = todo.pop()
        concept = item.ConceptNameCodeSequence[0].CodeValue if item.get("ConceptNameCodeSequence") else ""
        measured = item.get("MeasuredValueSequence")
        try:
            values = measured[0].NumericValue if measured else None
            number = None if values is None else float(values[0] if isinstance(values, MultiValue) else values)  # one has two numbers in one item
        except ValueError:  # '10.50/ 15.00' stands in one of them
            number = None
        found.append((concept, str(item.get("ValueType", "")), number))
        todo += reversed(list(item.get("ContentSequence", [])))
    return found


def test_content_is_what_pydicom_reads(openrem: Path) -> None:
    for file in sorted(openrem.glob("*.dcm")):
        if is_report(file) and file.stat().st_size < 400_000:
            ours = [(item.concept.value, item.value_type, item.number) for item in read_content(file.read_bytes()).root.walk()]
            assert ours == walked(pydicom.dcmread(file)), file.name


def test_texts_come_in_the_reports_own_character_set(openrem: Path) -> None:
    file = openrem / "CT-RDSR-Siemens_Flash-TAP-SS.dcm"
    theirs = {str(item.TextValue) for item in pydicom.dcmread(file).walk_items()} if hasattr(pydicom.Dataset, "walk_items") else {
        str(element.value).strip() for element in pydicom.dcmread(file).iterall() if element.keyword == "TextValue"}
    assert {item.text for item in read_content(file.read_bytes()).root.walk() if item.value_type == "TEXT"} == theirs
    assert any(not text.isascii() for text in theirs)


@pytest.mark.parametrize("cut", [200, 1000, 5000, 9001])
def test_a_broken_report_is_no_report_and_no_crash(openrem: Path, cut: int) -> None:
    data = (openrem / "CT-RDSR-ToshibaPixelMed.dcm").read_bytes()
    try:
        read_content(data[:cut])
    except Unreadable:
        pass
    assert isinstance(read_report(data[:cut]), pl.DataFrame)
    assert read_picture(b"no DICOM at all").is_empty()


# The hospital that does not exist


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("hospital") / "files"
    synth(folder, 60, 3)
    return scan([str(folder)])


def test_the_hospitals_dose_is_its_known_dose(hospital: pl.DataFrame) -> None:
    known = answers(60, 3)["dose"]
    dose = header_dose(hospital.lazy()).join(hospital.select("path", "Modality"), on="path")
    given = dose.group_by("Modality", "quantity").agg(pl.col("value_given").sum())
    for column, quantity, each in (("dap_thousandth_dgy_cm2", "DAP", 1000), ("entrance_thousandth_mgy", "entrance_dose", 1000),
                                   ("organ_tenthousandth_dgy", "AGD", 10_000), ("ctdivol_hundredth_mgy", "CTDIvol", 100)):
        ours = {modality: round(value * each) for modality, value in given.filter(quantity=quantity).select("Modality", "value_given").iter_rows()}
        assert ours == {modality: value for modality, value in known.select("modality", column).iter_rows() if value}, column


def test_the_hospitals_ctdivol_is_known_image_by_image(hospital: pl.DataFrame) -> None:
    known = answers(60, 3)["ctdivol"]
    dose = header_dose(hospital.lazy()).filter(quantity="CTDIvol").join(hospital.select("path", "SeriesDescription"), on="path")
    ours = dose.group_by(facility="InstitutionName", protocol="SeriesDescription", ctdi=(pl.col("value") * 100).round().cast(pl.Int64)).agg(images=pl.len())
    expected = known.filter(pl.col("ctdi") > 0)
    assert sorted(ours.select("protocol", "ctdi", "images").rows()) == sorted(expected.select("protocol", "ctdi", "images").cast({"ctdi": pl.Int64}).rows())


def test_units_of_the_headers_are_those_of_the_standard(hospital: pl.DataFrame) -> None:
    dose = header_dose(hospital.lazy())
    factors = {(q, round(v / g, 9)) for q, v, g in dose.select("quantity", "value", "value_given").iter_rows()}
    assert factors <= {("DAP", 1e-5), ("entrance_dose", 1.0), ("entrance_dose", 100.0), ("AGD", 100.0), ("CTDIvol", 1.0)}


def test_contrast_of_the_hospitals_ct_is_known(hospital: pl.DataFrame) -> None:
    agents = hospital.filter(Modality="CT").group_by("StudyInstanceUID").agg((pl.col("ContrastBolusAgent").fill_null("") != "").any())
    expected = {uid: "with" if given else "without" for uid, given in agents.iter_rows()}
    assert dict(known_contrast(hospital.lazy()).iter_rows()) == expected
    assert set(expected.values()) == {"with", "without"}


# Sums, medians and estimates


def test_nobodys_single_dose_is_compared_with_a_reference_level() -> None:
    studies = pl.DataFrame({"StudyInstanceUID": ["1"], "IssuerOfPatientID": [""], "PatientID": ["p"], "InstitutionName": ["h"], "procedure": ["CT"], "quantity": ["DLP"],
                            "unit": ["mGy.cm"], "value": [9000.0], "region": ["HEAD"], "protocol": [""], "contrast": ["without"]})
    judged = facility_medians(studies, reference_levels())
    assert judged.select("median", "ratio", "judged").rows() == [(None, None, "fewer than 20 patients")]


def test_the_default_levels_are_those_published_for_zambia() -> None:
    levels = reference_levels()
    assert levels.filter(region="brain", contrast="without").select("ctdivol_mgy", "dlp_mgy_cm").rows() == [(70.5, 1455.0)]
    assert levels.filter(region="chest", contrast="with")["dlp_mgy_cm"].to_list() == [666.7]


def test_doses_without_a_patient_are_nobodys() -> None:
    rows = [{"StudyInstanceUID": str(n), "PatientID": who, "procedure": "CT", "quantity": "DLP", "unit": "mGy.cm", "value": 100.0} for n, who in enumerate(["", "a", "a"])]
    frame = pl.DataFrame(rows).with_columns(IssuerOfPatientID=pl.lit(""))
    assert patient_dose(frame).select("PatientID", "studies", "value").rows() == [("a", 2, 200.0)]


def test_an_estimate_has_its_range_and_only_for_a_known_region(openrem: Path) -> None:
    found = effective_dose(study_dose(read_picture((openrem / "CT-SC-Philips_Brilliance16P.dcm").read_bytes())))
    low, middle, high = found.select("low_msv", "estimate_msv", "high_msv").row(0)
    assert low < middle < high
    assert found["region"].to_list() == ["chest-abdomen-pelvis"]


# The command


def test_the_command_writes_a_table_and_says_what_was_found(openrem: Path, tmp_path: Path) -> None:
    import dicom_workbench.cli  # noqa: F401  (registers the commands)
    from dicom_workbench.console import app

    output = tmp_path / "dose.parquet"
    done = CliRunner().invoke(app, ["dose", str(openrem), "-o", str(output), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    dose = pl.read_parquet(output)
    assert dict(dose.schema) == DOSE
    assert document["rows"] == dose.height
    assert document["objects"]["rdsr"] == 28  # two of the 29 have one UID
    assert document["objects"]["sc"] == 1
    assert dose["path"].str.contains("^/").sum() == 0
    assert study_dose(dose).height == document["studies"]


def test_the_command_says_that_paths_are_outside_the_gate(openrem: Path, tmp_path: Path) -> None:
    import dicom_workbench.cli  # noqa: F401
    from dicom_workbench.console import app

    done = CliRunner().invoke(app, ["dose", str(openrem / "CT-RDSR-Siemens-Multi-3.dcm"), "-o", str(tmp_path / "d.parquet")])
    assert done.exit_code == 0
    assert "outside the catalogue's gate" in done.output
    assert "236.09" not in done.output  # nobody's dose on the screen


# The report

SOURCE = """id = "{id}"
title = "Dose reports"
institution = "A test"
country = "ZZ"
steward = "a-role@example.org"
access = "open"
licence = "none"
citation = "none"
modalities = ["CT"]
body_parts = []
population = "test files"
deidentified = true
refresh = "never"

[acquisition]
kind = "folder"
root = '{root}'
"""


@pytest.fixture(scope="module")
def ingested(openrem: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Catalogue]:
    folder = tmp_path_factory.mktemp("dose_source")
    (folder / "catalogue").mkdir()
    (folder / "catalogue" / "reports.toml").write_text(SOURCE.format(id="reports", root=openrem.as_posix()))
    lake, catalogue = Lake.open(folder / "workspace"), Catalogue.open(folder / "catalogue")
    ingest(catalogue.get("reports"), catalogue.entry("reports").folder, lake)
    return lake, catalogue


def test_a_source_tells_what_its_files_tell(ingested: tuple[Lake, Catalogue], openrem: Path) -> None:
    lake, catalogue = ingested
    found = source_dose(levels.instances(lake, "reports"), *folder_of(catalogue.get("reports"), catalogue))
    assert not found.unread
    direct = read_reports((file.name, file.read_bytes()) for file in sorted(openrem.glob("*.dcm")) if is_report(file))
    ours, theirs = (frame.filter(pl.col("source") == "rdsr") for frame in (found.dose, direct))
    assert study_dose(ours).drop("objects").equals(study_dose(theirs).drop("objects"))
    assert ours.filter("superseded")["SOPInstanceUID"].n_unique() == 2  # Multi-1 and Multi-2


def test_where_the_folder_is_gone_it_says_so_and_tells_what_the_store_has(ingested: tuple[Lake, Catalogue]) -> None:
    lake, _ = ingested
    found = source_dose(levels.instances(lake, "reports"), None, "the folder of the source is not here")
    assert sum(found.unread.values()) == found.asked == 30
    assert set(found.dose["source"]) == {"header", "sc"}
    assert found.dose.filter(pl.col("source") == "sc")["value"].to_list() == [1102.4]


@pytest.mark.slow
def test_the_report_names_nobody_and_no_single_dose(ingested: tuple[Lake, Catalogue], tmp_path: Path) -> None:
    lake, catalogue = ingested
    done = run_report(lake, catalogue.get("reports"), "dose", out=tmp_path, catalogue=Path(catalogue.entry("reports").folder))
    page = done.html.read_text(encoding="utf-8").split('<details class="dw-fold dw-made">')[0]
    rows = levels.instances(lake, "reports").select("PatientID", "PatientName", "StudyInstanceUID").collect()
    for value in {v for column in rows.get_columns() for v in column.drop_nulls().to_list() if len(v) > 5}:
        assert value not in page
    assert "1,102.4" not in page
    assert "Kafwimbi" in page
