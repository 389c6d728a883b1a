"""What every series is for, how it lies and what it shows; one row in, one row out; the command, and corrections by people."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import SOURCE
from template_runner import leaked, page_of, run_here
from typer.testing import CliRunner

from dicom_workbench.acquire import scan
from dicom_workbench.analysis.classify import (
    ANSWERS,
    classify,
    gather,
    keep_corrections,
    kept_corrections,
    read_corrections,
    read_table,
    series_of,
    uncertain,
)
from dicom_workbench.analysis.series_facts import FACTS, ROLES, kernels, plane_and_angle, series_facts, words
from dicom_workbench.analysis.series_kind import KINDS
from dicom_workbench.catalog import Catalogue
from dicom_workbench.cli import app
from dicom_workbench.report.released import shown_text
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.store import Lake, ingest

CT, MR, SC = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"

# Read and labelled by hand before the tables were run on them: + given, - not given, ? nothing is said, or both.
CONTRAST = """
CT|CT CHEST W CONTRAST|+
CT|CT THORAX W/O DYE|-
CT|CT ABD/PEL W/WO|?
CT|CT ABDOMEN WITHOUT AND WITH CONTRAST|?
CT|CT_CHEST_ABDOMEN_PELVIS_W|+
CT|CT ABDOMEN NONENH & ENHANCED|?
CT|Thorax mit KM|+
CT|Thorax ohne KM|-
CT|Abdomen nativ|-
CT|Schaedel nativ und KM|?
CT|Abdomen portalvenös m.KM|+
CT|TDM TAP avec injection|+
CT|TDM thorax sans injection|-
CT|Scanner cérébral sans puis avec injection|?
CT|TAC CRANEO SIN CONTRASTE|-
CT|TAC ABDOMEN CON CONTRASTE|+
CT|TC DE TORAX SEM CONTRASTE|-
CT|TC ABDOME COM CONTRASTE|+
CT|CT CHEST PULMONARY ANGIO|+
CT|HEAD PLAIN|-
CT|C-SPINE|?
CT|ABD + C SPINE|?
CT|CT HEAD C-|-
CT|Body 3.0 CE|+
CT|CALCIUM SCORE|-
CT|LOW DOSE LUNG SCREENING|?
CT|CT COLONOGRAPHY WITH ORAL CONTRAST|?
CT|EDGE ENHANCED HEAD|?
MR|AX T1 +C|+
MR|AX T1 POST GAD|+
MR|SAG T1 PRE|-
MR|T1 POST FOSSA|?
MR|T2 TSE POST OP|?
MR|t1_tse_tra_km|+
MR|MRA TOF ANGIO|?
MR|T1 FS 1 PRE 1 POST|?
MR|MRI BRAIN W + W/O|?
MR|BREAST W/O followed by W CONTRAST|?
MR|AX T1 PRE SAT|?
US|LIVER POST|?
"""
REGIONS = """
CT|CT_AbdPelvis|abdomen, pelvis
CT|CT CHEST ABD PELVIS|chest, abdomen, pelvis
CT|PETCT_Skull_MidThigh|whole body
CT|HEAD FIRST SUPINE LUNG|chest
CT|Schädel nativ|head
CT|LWS sag|spine
MR|Knie rechts|lower limb
MR|IRM DU GENOU DROIT|lower limb
MR|RM DE COLUNA LOMBAR|spine
CT|TC DE CRANIO|head
CT|TAC DE TORAX|chest
CT|FEMORAL HEAD|None
MR|MRI PROSTATE|pelvis
CT|SURGEON|None
CT|Radius|upper limb
"""


def lines(text: str) -> list[list[str]]:
    return [line.split("|") for line in text.strip().splitlines()]


def facts(**columns: list[object]) -> pl.DataFrame:
    return series_facts(pl.DataFrame(columns, strict=False))


@pytest.mark.parametrize("column", ["SeriesDescription", "StudyDescription"])
def test_words_on_contrast_medium_are_read_as_a_person_reads_them(column: str) -> None:
    rows = lines(CONTRAST)
    found = facts(Modality=[m for m, _, _ in rows], SOPClassUID=[MR if m == "MR" else CT if m == "CT" else None for m, _, _ in rows], **{column: [t for _, t, _ in rows]})
    said = {"+": "given", "-": "not given", "?": ("unknown", "oral only")}
    wrong = [(text, answer) for (_, text, sign), answer in zip(rows, found["contrast"], strict=True) if answer not in (said[sign] if sign == "?" else (said[sign],))]
    assert wrong == []


def test_regions_are_read_in_five_languages() -> None:
    rows = lines(REGIONS)
    found = facts(Modality=[m for m, _, _ in rows], SeriesDescription=[t for _, t, _ in rows])
    assert [str(r) for r in found["region"]] == [r for _, _, r in rows]


def test_a_recorded_agent_outranks_a_name_and_the_contradiction_is_told() -> None:
    found = facts(Modality=["CT"] * 4, SOPClassUID=[CT] * 4, ContrastBolusAgent=["ISOVUE 300", "NONE", "ORAL", ""], SeriesDescription=["nativ", "ABD", "ABD", "ABD W CONTRAST"])
    assert found["contrast"].to_list() == ["given", "not given", "oral only", "given"]
    assert found["contrast_from"].to_list() == ["ContrastBolusAgent"] * 3 + ["SeriesDescription"]
    assert found["contrast_conflict"].to_list() == [True, False, False, False]


def test_a_text_about_the_study_says_nothing_about_its_scout() -> None:
    found = facts(Modality=["CT", "CT"], SOPClassUID=[CT, CT], SeriesDescription=["Topogram", "5 mm"], StudyDescription=["CT ABD W CONTRAST"] * 2)
    assert found.select("role", "contrast").rows() == [("localiser", "unknown"), ("image", "given")]


def test_plane_and_tilt_agree_with_the_normal_of_the_slice() -> None:
    rng = np.random.default_rng(8)
    names, text, tilts = [], [], []
    for _ in range(200):
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        normal = np.abs(np.cross(axes[0], axes[1]))
        tilts.append(float(np.degrees(np.arccos(min(1.0, normal.max())))))
        names.append("oblique" if tilts[-1] >= 30 else ("sagittal", "coronal", "axial")[int(normal.argmax())])
        text.append("\\".join(f"{v:.8f}" for v in (*axes[0], *axes[1])))
    plane, angle = plane_and_angle(pl.col("iop"))
    found = pl.DataFrame({"iop": text}).select(plane=plane, angle=angle)
    assert found["plane"].to_list() == names and np.allclose(found["angle"], tilts, atol=0.06)
    nothing = pl.DataFrame({"iop": ["", "1\\0\\0", "a\\b\\c\\d\\e\\f", "0\\0\\0\\0\\0\\0", "1\\0\\0\\1\\0\\0", None]}).select(plane)
    assert nothing.to_series().null_count() == 6


def test_roles_of_scouts_screenshots_dose_pages_and_films() -> None:
    found = facts(
        Modality=["CT", "CT", "CT", "MR", "CT", "OT", "SR", None, "CT", "MR"], SOPClassUID=[CT, SC, CT, MR, CT, SC, "1.2.840.10008.5.1.4.1.1.88.67", None, CT, MR],
        ImageType=["ORIGINAL\\PRIMARY\\LOCALIZER", "DERIVED\\SECONDARY\\SCREEN SAVE", "DERIVED \\SECONDARY\\MPR", None, None, None, None, None, None, None],
        SeriesDescription=["AP", "x", "cor", "AAHead_Scout", "Patient Protocol", None, None, None, "LUNG SCREEN LOW DOSE", "localizer faces run1"],
        ConversionType=[None, "WSD", None, None, None, "DF", None, None, None, None], instance_count=[1, 1, 90, 128, 1, 1, 1, 1, 300, 240])
    # a head scout of 128 images, or a functional localizer of 240: names alone do not make a scout of so many images
    assert found["role"].to_list() == ["localiser", "screenshot", "derived image", "image", "dose report", "digitised film", "dose report", "unknown", "image", "image"]
    assert found["derived_as"][2] == "reformat" and found["role_from"][0] == "ImageType"
    assert set(found["role"]) <= set(ROLES)


def test_a_kernel_means_something_for_its_maker_only() -> None:
    seen = pl.DataFrame({"Manufacturer": ["SIEMENS", "SIEMENS", "Siemens Healthineers", "GE MEDICAL SYSTEMS", "Philips", "TOSHIBA", "GE MEDICAL SYSTEMS", None],
                         "ConvolutionKernel": ["B30f", "B70f", "Bl57f\\3", "BONEPLUS", "YA", "FC51", "B30f", "LUNG"], "SeriesDescription": [None] * 8}, schema_overrides={"SeriesDescription": pl.String})
    assert kernels(seen)["kernel"].to_list() == ["soft", "sharp", "lung", "bone", "sharp", "lung", None, "lung"]


def test_every_word_of_the_table_is_a_pattern_that_finds_itself_alone_only() -> None:
    assert {w.fact for w in words()} >= {"role", "derived", "plane", "contrast", "oral", "phase", "region", "agent", "laterality", "blank"}
    found = facts(Modality=["CT", "MR"], SeriesDescription=["AXILLA", "CORONARY"])  # neither axial nor coronal
    assert found["plane"].to_list() == [None, None]


def test_mammograms_have_a_view_and_a_side() -> None:
    found = facts(Modality=["MG"] * 4, ViewPosition=["MLO", None, "CC\\MLO", None], ImageLaterality=["R", None, "L\\R", None], SeriesDescription=[None, "L CC", None, "RMLO"])
    assert found["view"].to_list()[:3] == ["MLO", "CC", "several"]
    assert found["laterality"].to_list() == ["right", "left", "both", "right"] and found["region"].unique().to_list() == ["breast"]


def test_one_row_in_one_row_out_in_the_same_order_whatever_is_absent() -> None:
    n = 300
    frame = pl.DataFrame({"SeriesInstanceUID": [f"1.{i * 7919 % n}" for i in range(n)], "Modality": [("MR", "CT", None, "XX")[i % 4] for i in range(n)], "SeriesDescription": ["ax T2", None, "\0", "'; --"] * (n // 4)})
    whole = classify(frame.lazy()).collect()
    assert whole["SeriesInstanceUID"].to_list() == frame["SeriesInstanceUID"].to_list() and whole.columns == [*frame.columns, *ANSWERS]
    assert whole.filter(Modality="MR")["kind"].null_count() == 0 and whole.filter(pl.col("Modality") != "MR")["kind"].null_count() == n // 2
    for columns in ([], ["Modality"], ["SeriesDescription"], ["SeriesInstanceUID"]):
        few = classify(frame.select(columns or pl.lit(1).alias("x")).lazy()).collect()
        assert set(FACTS) <= set(few.columns) and len(few) == (n if columns else 1)
    assert classify(frame.lazy().clear()).collect().height == 0
    assert classify(whole.lazy()).collect().equals(whole)  # again: answers are replaced, not doubled


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Lake:
    "pydicom's own files in a lake."
    lake = Lake.open(tmp_path_factory.mktemp("ward") / "workspace")
    entry = Catalogue.open().entry("pydicom_samples")
    ingest(entry.source, entry.folder, lake)
    return lake


def test_every_series_of_real_files_is_there(ward: Lake, samples: Path) -> None:
    found = classify(series_of(ward, "pydicom_samples")).collect()
    rows = ward.rows("pydicom_samples").filter(pl.col("status").is_in(["ok", "recovered", "truncated"]), pl.col("SOPClassUID").fill_null("") != "1.2.840.10008.1.3.10").collect()
    assert set(found["SeriesInstanceUID"].drop_nulls()) == {u for u in rows["SeriesInstanceUID"].drop_nulls() if u}
    assert found["instance_count"].sum() >= rows.filter(pl.col("SOPInstanceUID").is_not_null())["SOPInstanceUID"].n_unique()
    assert found["role"].null_count() == 0
    ct = classify(gather(scan([samples / "CT_small.dcm"]).lazy())).collect().row(0, named=True)
    assert (ct["role"], ct["plane"], ct["kernel"], ct["contrast"]) == ("image", "axial", "soft", "given")  # ORIGINAL\\PRIMARY\\AXIAL, STANDARD, ISOVUE
    reports = found.filter(Modality="SR")
    assert reports.height and set(reports["role"]) <= {"report", "dose report"}


def test_every_series_of_the_shared_files_gets_an_answer(real: Path) -> None:
    table = scan([real], engine="serial")
    read = table.filter(pl.col("status").is_in(["ok", "recovered", "truncated"]))
    found = classify(gather(table.lazy())).collect()
    assert found["SeriesInstanceUID"].drop_nulls().n_unique() == read.filter(pl.col("SeriesInstanceUID") != "", pl.col("SOPClassUID").fill_null("") != "1.2.840.10008.1.3.10")["SeriesInstanceUID"].n_unique()
    mr = found.filter(Modality="MR")
    assert mr["kind"].is_in([*KINDS, "unknown"]).all() and mr["kind_confidence"].is_between(0, 1).all() and mr["kind_reason"].null_count() <= (mr["kind"] == "unknown").sum()
    openrem = found.join(read.filter(pl.col("path").str.contains("OpenREM.*RDSR")).select("SeriesInstanceUID").unique(), on="SeriesInstanceUID", how="semi")
    assert openrem.height > 20 and (openrem["role"] == "dose report").all()


def test_a_person_outranks_every_rule_and_the_rest_stays(tmp_path: Path) -> None:
    frame = pl.DataFrame({"SeriesInstanceUID": ["1.1", "1.2", "1.3"], "Modality": ["MR"] * 3, "SeriesDescription": ["ax FLAIR", "qwertz", "DTI"]})
    before = classify(frame.lazy()).collect()
    keep_corrections(pl.DataFrame({"SeriesInstanceUID": ["1.2", "1.2"], "kind": ["T1", "ASL"]}), tmp_path / "c" / "said.csv")
    assert (tmp_path / "c" / "said.csv").stat().st_mode & 0o077 == 0
    after = classify(frame.lazy(), read_corrections(tmp_path / "c" / "said.csv")).collect()
    assert after.row(1, named=True)["kind"] == "ASL" and after["kind_basis"][1] == "review" and after["kind_confidence"][1] == 1.0
    assert after[[0, 2]].equals(before[[0, 2]])
    assert "1.2" in uncertain(before.lazy()).collect()["SeriesInstanceUID"].to_list() and "1.2" not in uncertain(after.lazy()).collect()["SeriesInstanceUID"].to_list()
    (tmp_path / "wrong.csv").write_text("SeriesInstanceUID,kind\n1.1,banana\n")
    with pytest.raises(UsageError, match="no kind 'banana'"):
        read_corrections(tmp_path / "wrong.csv")


def test_the_command_reads_tables_of_images_and_of_series_and_sources(tmp_path: Path, samples: Path, ward: Lake) -> None:
    run = CliRunner()
    scan([samples / "CT_small.dcm", samples / "MR_small.dcm"]).write_parquet(tmp_path / "t.parquet")
    assert run.invoke(app, ["classify", str(tmp_path / "t.parquet"), "-o", str(tmp_path / "a.parquet")]).exit_code == 0
    scan([samples / "CT_small.dcm", samples / "MR_small.dcm"]).write_csv(tmp_path / "t.csv")
    assert run.invoke(app, ["classify", str(tmp_path / "t.csv"), "-o", str(tmp_path / "b.csv")]).exit_code == 0
    a, b = pl.read_parquet(tmp_path / "a.parquet"), pl.read_csv(tmp_path / "b.csv", infer_schema=False)
    assert a.height == 2 and a["kind"].to_list() == b["kind"].to_list() and a["role"].to_list() == b["role"].to_list()
    told = run.invoke(app, ["classify", "pydicom_samples", "-o", str(tmp_path / "c.parquet"), "--workspace", str(ward.folder), "--json"])
    document = json.loads(told.stdout)
    assert document["series"] == pl.read_parquet(tmp_path / "c.parquet").height == classify(series_of(ward, "pydicom_samples")).collect().height
    assert (tmp_path / "c.parquet").stat().st_mode & 0o077 == 0
    assert sum(k["series"] for k in document["kinds"]) == document["mr"]


@pytest.mark.parametrize("table", ["missing.parquet", "no_such_source", "empty.csv", "nonsense.parquet", "notes.csv"])
def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "nonsense.parquet").write_text("nonsense")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    done = CliRunner().invoke(app, ["classify", table, "-o", "out.parquet"])
    assert done.exception is not None and getattr(done.exception, "exit_code", 0) == 2 and not (tmp_path / "out.parquet").exists()


def test_a_table_of_an_index_is_taken_as_it_is(tmp_path: Path) -> None:
    pl.DataFrame({"SeriesInstanceUID": ["1.1", "1.2"], "Modality": ["MR", "CT"], "SeriesDescription": ["T2 ax", "LUNG"], "instance_count": [20, 300]}).write_parquet(tmp_path / "index.parquet")
    assert classify(read_table(tmp_path / "index.parquet")).collect().select("kind", "role").rows() == [("T2", "image"), (None, "image")]


def test_the_report_tells_inside_what_it_may_not_tell_outside(ward: Lake, tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    uid = "1.2.3.4.5.6.7.8"
    keep_corrections(pl.DataFrame({"SeriesInstanceUID": [uid], "kind": ["T1"]}), ward.folder / "corrections" / "pydicom_samples.csv")
    assert kept_corrections(ward, "pydicom_samples").height == 1
    inside = run_here("series", ward, "pydicom_samples")
    page = page_of(inside, ward.cache)
    for words_ in ("What are the series for?", "Which kinds of MR series are there?", "In which planes", "Corrections by people", "How sure is each kind?"):
        assert words_ in page, words_
    assert uid not in page
    outside = run_here("series", ward, "pydicom_samples", released=10)
    assert leaked(outside, ward, "pydicom_samples", "series") == []
    assert "Names of MR series" not in shown_text(outside)


def test_a_source_without_mr_says_so(tmp_path: Path, samples: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ct.dcm").write_bytes((samples / "CT_small.dcm").read_bytes())
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "ward.toml").write_text(SOURCE.format(id="ward", access="open", root=str(tmp_path / "data"), more=""))
    found = Catalogue.open(tmp_path / "catalogue")
    lake = Lake.open(tmp_path / "workspace")
    ingest(found.get("ward"), found.entry("ward").folder, lake)
    text = shown_text(run_here("series", lake, "ward", tmp_path / "catalogue"))
    assert "Which kinds of MR series are there? Not available in this source: it has no MR series." in text
