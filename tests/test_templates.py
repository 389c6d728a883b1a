"""The templates of the analyses: what they show inside, what may leave the house, and what they say where a source has no answer."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from conftest import SOURCE
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from template_runner import leaked, page_of, run_here

from dicom_workbench.catalog import Catalogue
from dicom_workbench.console import made_up
from dicom_workbench.report import run_report, templates
from dicom_workbench.report.many import needs_of, told_by
from dicom_workbench.report.released import LEFT_OUT, shown_text
from dicom_workbench.store import Lake, ingest

TEMPLATES = ("population", "chest_xray", "exposure", "operations", "drift", "dose")
SOURCES = ("hospital", "pydicom_samples")
SECRETS = ("Mwansakapwe", "SECRETID", "ROOMSEVEN", "NORTHROOM", "CORNERROOM", "Mumba", "Chilonga", "Kasengele", "Phiri", "Lungu", "FILED UNDER", "2023-0", "202301")
SMALL = re.compile(r"(?<![\w.,/–-])[0-9](?: of [\d,]+)? (?:patients?|studies|study|series|images?|radiographs?|instances?|objects?|files?)\b")


def text_of(notebook: Any) -> str:
    "What a reader of the page sees, without its markup."
    return "\n".join(o["data"].get("text/plain", "") for c in notebook.cells for o in c.get("outputs", []))


def source_file(catalogue: Path, id: str, root: str, deidentified: str = "false", more: str = "") -> None:
    catalogue.mkdir(parents=True, exist_ok=True)
    text = SOURCE.format(id=id, access="open", root=root, more=more).replace("deidentified = false", f"deidentified = {deidentified}")
    (catalogue / f"{id}.toml").write_text(text, encoding="utf-8")


HOSPITAL = SOURCE.split("[acquisition]")[0].format(id="hospital", access="open") + '[acquisition]\nkind = "synthetic"\npatients = 70\nseed = 1\ndefects = false\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    "A small synthetic hospital and pydicom's own files."
    folder = tmp_path_factory.mktemp("house")
    (folder / "catalogue").mkdir()
    (folder / "catalogue" / "hospital.toml").write_text(HOSPITAL)
    lake, found = Lake.open(folder / "workspace"), Catalogue.open(folder / "catalogue")
    for name in SOURCES:
        ingest(made_up(found.get(name), lake), found.entry(name).folder, lake)
    return lake, folder / "catalogue"


def radiograph(number: int, shot: int, rng: np.random.Generator) -> FileDataset:
    "One of a few images of a patient; patients 0 to 2 are rare in everything."
    rare, uid = number < 3, [str(number), str(shot)]
    ds = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    ds.file_meta.TransferSyntaxUID, ds.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, DigitalXRayImageStorageForPresentation
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid(entropy_srcs=["o", *uid])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(entropy_srcs=["s", str(number)]), generate_uid(entropy_srcs=["e", *uid])
    ds.PatientID, ds.PatientName, ds.PatientSex, ds.PatientAge = f"SECRETID{number:03}", f"Mwansakapwe{number:03}^Chileshe", "O" if rare else "FM"[number % 2], f"{3 if rare else 20 + number % 50:03}Y"
    day = date(2023, 1, 2) + timedelta(days=int(rng.integers(0, 90)) * 4 % 90)
    ds.StudyDate = ds.AcquisitionDate = day.strftime("%Y%m%d")
    ds.StudyTime, ds.AcquisitionTime = f"{8 + number % 6:02}0000", f"{8 + number % 6:02}{shot:02}00"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "AP" if rare else ("PA", "LL")[shot % 2]
    ds.PatientOrientation = ["L", "F"] if ds.ViewPosition != "LL" else ["A", "F"]
    ds.StationName = "CORNERROOM" if rare else ("ROOMSEVEN", "NORTHROOM")[number % 2]
    ds.InstitutionName = "Kasengele Clinic" if rare else "Chilonga Hospital"
    ds.OperatorsName, ds.NameOfPhysiciansReadingStudy, ds.Manufacturer = "Mumba^Joseph", "Lungu^Grace", "SIEMENS"
    ds.ProtocolName, ds.SeriesDescription, ds.StudyDescription = "CHEST FILED UNDER Phiri", "CHEST", "CHEST FILED UNDER Phiri"
    ds.ExposureIndex, ds.TargetExposureIndex = str(round(400 * 10 ** float(rng.normal(0, 0.05)), 1)), "400"
    ds.ImageAndFluoroscopyAreaDoseProduct, ds.KVP, ds.Exposure = str(round(float(rng.gamma(4, 0.3)), 3)), "120" if not rare else "12", "3"
    return ds


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    "Sixty patients with chest radiographs; three are rare in sex, age, room, clinic and view, and came with the second delivery."
    folder = tmp_path_factory.mktemp("ward")
    files, rng = folder / "catalogue" / "files", np.random.default_rng(5)
    files.mkdir(parents=True)
    source_file(folder / "catalogue", "ward", "files")
    lake, found = Lake.open(folder / "workspace"), Catalogue.open(folder / "catalogue")
    for numbers in (range(3, 60), range(3)):
        for number in numbers:
            for shot in range(2 + number % 2):
                radiograph(number, shot, rng).save_as(files / f"Mwansakapwe{number:03}-{shot}.dcm", enforce_file_format=True)
        ingest(found.get("ward"), found.entry("ward").folder, lake)
    return lake, folder / "catalogue"


@pytest.fixture(scope="module")
def bare(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    "One CT image without sex, age, date, dose or station."
    folder = tmp_path_factory.mktemp("bare")
    files = folder / "catalogue" / "files"
    files.mkdir(parents=True)
    ds = pydicom.dcmread(samples / "CT_small.dcm", stop_before_pixels=True)
    for keyword in ("PatientSex", "PatientAge", "PatientBirthDate", "StudyDate", "StudyTime", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionTime", "ContentTime", "StationName", "InstitutionName",
                    "KVP", "ExposureTime", "BodyPartExamined"):
        if keyword in ds:
            delattr(ds, keyword)
    ds.save_as(files / "a.dcm")
    source_file(folder / "catalogue", "bare", "files")
    lake, found = Lake.open(folder / "workspace"), Catalogue.open(folder / "catalogue")
    ingest(found.get("bare"), found.entry("bare").folder, lake)
    return lake, folder / "catalogue"


Pages = Callable[[str, str, int], Any]


@pytest.fixture(scope="module")
def pages(house: tuple[Lake, Path], ward: tuple[Lake, Path], bare: tuple[Lake, Path]) -> Pages:
    "Executed notebooks by template, source and threshold; each is run once."
    kept: dict[tuple[str, str, int], Any] = {}
    places = {"ward": ward, "bare": bare} | dict.fromkeys(SOURCES, house)

    def page(name: str, source: str, released: int) -> Any:
        key = name, source, released
        if key not in kept:
            lake, catalogue = places[source]
            kept[key] = run_here(name, lake, source, catalogue, released)
        return kept[key]
    return page


@pytest.mark.parametrize("released", [0, 10], ids=["inside", "released"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_every_cell_of_every_template_answers(pages: Pages, name: str, source: str, released: int) -> None:
    text = text_of(pages(name, source, released))
    assert "None of" in text or len(text) > 500
    assert ("May be released." if released else "May be used for reports.") in text
    for line in text.splitlines():
        if "ot available in this source" in line:
            assert re.search(r"ot available in this source: \w+", line), line  # with the reason


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("released", [0, 10], ids=["inside", "released"])
def test_what_a_source_cannot_answer_is_said_with_the_reason(pages: Pages, name: str, released: int) -> None:
    text = text_of(pages(name, "bare", released))
    expected = {"population": "no study has an age", "chest_xray": "it has no chest radiograph", "exposure": "it has no image of modality CR or DX", "operations": "no study has a date",
                "dose": "no object tells a dose", "drift": "The two hold the same series" if not released else "is not told"}[name]
    assert expected in text


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_planted_is_on_a_released_page(pages: Pages, ward: tuple[Lake, Path], name: str) -> None:
    lake, catalogue = ward
    inside, outside = pages(name, "ward", 0), pages(name, "ward", 10)
    page = page_of(outside, lake.cache)
    for secret in SECRETS:
        assert secret not in page and secret not in json.dumps(outside), secret
    assert leaked(outside, lake, "ward", name, Catalogue.open(catalogue).get("ward").model_dump_json()) == []
    if name in ("population", "operations", "exposure"):  # or the test would prove nothing
        assert any(secret in shown_text(inside) for secret in SECRETS)


@pytest.mark.parametrize("source", ["ward", *SOURCES])
@pytest.mark.parametrize("name", TEMPLATES)
def test_no_released_count_is_about_few(pages: Pages, name: str, source: str) -> None:
    assert SMALL.findall(text_of(pages(name, source, 10))) == []


@pytest.mark.parametrize("source", ["ward", "hospital"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_released_page_leaves_no_cell_out_and_has_something_to_say(pages: Pages, name: str, source: str) -> None:
    assert LEFT_OUT not in text_of(pages(name, source, 10))
    assert len(re.findall(r"about [\d,]+|\d+ %|Chart|chart|Histogram", text_of(pages(name, source, 10)))) >= 2


def test_the_three_rare_ones_cannot_be_computed(pages: Pages) -> None:
    "57 of 60 patients are women or men, and 57 were in the two large rooms: no page tells a count of the rest."
    population, chest = text_of(pages("population", "ward", 10)), text_of(pages("chest_xray", "ward", 10))
    assert "60 patients" in population and "other" not in population.lower().split("which kinds")[0]
    assert "AP 7" not in chest and "station 3" not in chest
    views = next(line for line in chest.splitlines() if "Which views are there?" in line)
    assert "LATERAL" in views and "AP " not in views


def test_places_are_numbers_outside_and_names_inside(pages: Pages) -> None:
    assert "ROOMSEVEN" in text_of(pages("operations", "ward", 0)) and "station 1" in text_of(pages("operations", "ward", 10))


def test_three_patients_that_came_later_are_not_told(pages: Pages) -> None:
    inside, outside = text_of(pages("drift", "ward", 0)), text_of(pages("drift", "ward", 10))
    assert "7 added" in inside and "0 removed" in inside
    assert "Added, of those after: fewer than 10 patients" in outside
    assert not re.search(r"\b(142|149)\b", outside)  # series before and after: their difference is the three


def test_known_answers_of_the_hospital_are_on_the_page(pages: Pages) -> None:
    from dicom_workbench.teach import answers

    known = answers(70, 1)
    text = text_of(pages("exposure", "hospital", 0))
    repeats = int(known["repeats"]["repeats"].sum())
    assert repeats and re.search(rf"\b{repeats} probable repeats", text), repeats
    read = known["workload"].filter(known["workload"]["reader"] != "")
    assert f"{len(read)} people are named as readers, for {read['studies'].sum()} of {known['workload']['studies'].sum()} studies" in text_of(pages("operations", "hospital", 0))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_index_finds_title_figures_and_warnings(pages: Pages, name: str) -> None:
    title, figures, warnings = told_by(pages(name, "bare", 0))
    assert title and (figures or warnings)


def test_every_template_that_ships_says_what_it_needs() -> None:
    assert all(need.says for need in needs_of().values()), [n for n, need in needs_of().items() if not need.says]
    assert set(TEMPLATES) <= set(templates())


@pytest.mark.slow
@pytest.mark.parametrize("released", [0, 10], ids=["inside", "released"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_same_bytes_twice(house: tuple[Lake, Path], tmp_path: Path, name: str, released: int) -> None:
    lake, catalogue = house
    made = [run_report(lake, Catalogue.open(catalogue).get("hospital"), name, out=tmp_path / place, catalogue=catalogue, released=released) for place in ("a", "b")]
    for file in ("report.html", "report.ipynb", "manifest.json"):
        assert made[0].html.with_name(file).read_bytes() == made[1].html.with_name(file).read_bytes(), file
    shutil.rmtree(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize("released", [0, 10], ids=["inside", "released"])
@pytest.mark.parametrize("name", sorted(templates()))
def test_idc_answers_and_leaks_nothing(idc_lake: Lake, name: str, released: int) -> None:
    done = run_here(name, idc_lake, "idc_chest_xray", None, released)
    assert LEFT_OUT not in text_of(done)
    if released:
        assert SMALL.findall(text_of(done)) == [] and leaked(done, idc_lake, "idc_chest_xray", name, Catalogue.open(None).get("idc_chest_xray").model_dump_json()) == []


@pytest.fixture(scope="module")
def idc_lake(idc_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake, found = Lake.open(tmp_path_factory.mktemp("idc")), Catalogue.open(None)
    ingest(found.get("idc_chest_xray"), found.entry("idc_chest_xray").folder, lake)
    return lake
