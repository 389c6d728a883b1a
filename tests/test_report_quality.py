"""The quality report: sums add up, nothing names a person or a file, the same bytes every time."""

import html
import json
import re
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from conftest import SOURCE

from dicom_workbench.catalog import Catalogue
from dicom_workbench.quality import RULES, load_profile, score_source, summary
from dicom_workbench.report import ReportResult, run_report
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.store import Lake, ingest

EVIL = "<script>alert(1)</script>"
FILES = ("report.html", "report.ipynb", "manifest.json")
UID = re.compile(r"(?<![\w.])[012](?:\.\d+){5,}")


def made_of(folder: Path, files: Path, out: str = "out", id: str = "ward", **options: object) -> ReportResult:
    "A source over a folder, read and reported."
    catalogue = folder / "catalogue"
    catalogue.mkdir(parents=True, exist_ok=True)
    (catalogue / f"{id}.toml").write_text(SOURCE.format(id=id, access="open", root=files.as_posix(), more=""))
    lake, found = Lake.open(folder / "workspace"), Catalogue.open(catalogue)
    ingest(found.get(id), found.entry(id).folder, lake)
    return run_report(lake, found.get(id), "quality", out=folder / out, catalogue=catalogue, **options)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    "pydicom's own files, read."
    lake, found = Lake.open(tmp_path_factory.mktemp("samples") / "workspace"), Catalogue.open()
    ingest(found.get("pydicom_samples"), found.entry("pydicom_samples").folder, lake)
    return lake


def of_samples(lake: Lake, out: Path, **options: object) -> ReportResult:
    return run_report(lake, Catalogue.open().get("pydicom_samples"), "quality", out=out, **options)


@pytest.fixture(scope="module")
def page(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    return seen(of_samples(lake, tmp_path_factory.mktemp("out")))


def seen(done: ReportResult) -> str:
    "The page without the code that made it: what a reader is told."
    page, code = done.html.read_text().split('<details class="dw-fold dw-made">')
    assert "report = begin(" in code
    return page


def ledger(page: str) -> list[tuple[Decimal, str]]:
    "The table of lost points as a reader sees it: points and words."
    table = page[page.index("Where the points went</h2>"):]
    rows = re.findall(r"<tr><td class=dw-n>([\d.]+)</td><td>(.*?)</td>", table[:table.index("</table>")])
    return [(Decimal(points), html.unescape(words)) for points, words in rows]


def test_the_points_that_are_shown_add_up_to_what_is_missing(page: str) -> None:
    shown = ledger(page)
    total = Decimal(re.search(r"points lost, and ([\d.]+) left", page)[1])
    assert len(shown) == 15 + 2
    assert shown[-1][1].startswith("Sum")
    assert sum(points for points, _ in shown[:-1]) == shown[-1][0] == 100 - total


@pytest.mark.parametrize("top", [1, 500])
def test_they_add_up_however_many_rules_are_named(lake: Lake, tmp_path: Path, top: int) -> None:
    shown = ledger(seen(of_samples(lake, tmp_path, parameters={"top": top})))
    assert sum(points for points, _ in shown[:-1]) == shown[-1][0] > 0


def test_it_tells_the_score_that_the_command_tells(lake: Lake, page: str) -> None:
    said = score_source(lake, "pydicom_samples").document()["score"]
    assert f"{said['total']:.2f} left" in page
    figures = re.findall(r"<div><b>(.*?)</b><span>(.*?)</span>", page)
    assert figures[0] == (f"{said['total']:.1f}", "of 100: the score")
    assert {words: number for number, words in figures[1:5]} == {d: f"{v:.1f}" for d, v in said["dimensions"].items()}


def test_every_rule_is_there_once_asked_or_not(page: str) -> None:
    tables = page[page.index("Every rule</h2>"):page.index("Provenance</h2>")]
    ids = re.findall(r"<td class=dw-id>([A-Z]{3}-[\w-]+)</td>", tables)
    assert sorted(ids) == sorted(r.id for r in RULES)


def test_signals_stand_apart_and_are_no_accusation(page: str) -> None:
    costly = page[page.index("Look at this first</h2>"):page.index("For review by a person</h2>")]
    assert not [r.id for r in RULES if r.category == "provenance" and r.id in costly]
    assert "FRD-UID-MAKER" in page
    assert "fraud" not in page.lower()


def test_no_uid_path_or_identifier_is_in_it(lake: Lake, page: str) -> None:
    rows = lake.rows("pydicom_samples").select("path", "PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID").collect()
    words = re.sub(r"<style\b.*?</style>|<[^>]+>", " ", page, flags=re.S)  # with the data of the charts
    values = {v for column in rows for v in column.drop_nulls() if len(v) > 5}
    assert len(values) > 300
    assert not sorted(v for v in values if v in words)
    assert not UID.search(words)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_script_text_of_a_header_is_never_an_element(samples: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for i in range(3):
        ds = pydicom.dcmread(samples / "CT_small.dcm")
        ds.PatientName, ds.PatientID, ds.PatientSex, ds.Manufacturer, ds.Modality = EVIL, "JOHNDOE77", EVIL[:16], EVIL, EVIL[:16]
        ds.StudyDescription, ds.SOPInstanceUID = EVIL, f"{ds.SOPInstanceUID}.{i}"
        ds.save_as(files / f"secret{i}.dcm")
    page = made_of(tmp_path, files).html.read_text()
    assert page.count("<script") == page.count('<script type="application/json"') + (2 if "data-chart" in page else 0)
    for private in (EVIL, "JOHNDOE77", "secret0", str(tmp_path)):
        assert private not in page and html.escape(private) not in page


def test_the_same_bytes_in_another_workspace(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "README.txt"):
        shutil.copy(samples / name, files / name)
    one = made_of(tmp_path / "one", files)
    shutil.copytree(files, tmp_path / "else" / "where")
    monkeypatch.chdir(tmp_path)
    two = made_of(tmp_path / "two" / "deeper", tmp_path / "else" / "where")
    for name in FILES[:2]:  # the manifest names the hash of the catalogue entry, in which the folder is another
        assert re.sub(r"sha256 [0-9a-f]{64}", "", (one.html.parent / name).read_text()) == re.sub(r"sha256 [0-9a-f]{64}", "", (two.html.parent / name).read_text()), name


def test_a_second_run_gives_the_same_bytes_and_writes_nothing_into_the_lake(lake: Lake, page: str, tmp_path: Path) -> None:
    before = sorted((str(p.relative_to(lake.folder)), p.stat().st_mtime_ns) for p in lake.folder.rglob("*") if p.is_file() and "cache" not in p.parts)
    again = of_samples(lake, tmp_path)
    after = sorted((str(p.relative_to(lake.folder)), p.stat().st_mtime_ns) for p in lake.folder.rglob("*") if p.is_file() and "cache" not in p.parts)
    assert seen(again) == page
    assert before == after


def test_another_profile_is_another_score_and_says_so(lake: Lake, page: str, tmp_path: Path) -> None:
    done = of_samples(lake, tmp_path, parameters={"profile": "clinical_archive"})
    other = seen(done)
    assert load_profile("clinical_archive").hash in other and load_profile("research").hash in page
    totals = [re.search(r"([\d.]+) left", p)[1] for p in (page, other)]
    assert totals[0] != totals[1]
    assert all(f"<td class=dw-n>{t}</td>" in p for p in (page, other) for t in totals)  # both compare both
    assert json.loads(done.manifest.read_text())["parameters"]["profile"] == "clinical_archive"


def studies(page: str) -> list[list[str]]:
    "The table of the studies to open first, as a reader sees it."
    table = page[page.index("Which studies to open first</h2>"):]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(<td.*?)</tr>", table[:table.index("</table>")])]


def test_the_worst_studies_are_numbered_and_lowest_first(lake: Lake, page: str) -> None:
    shown = studies(page)
    known = sorted(score_source(lake, "pydicom_samples").scores("study")["total"].drop_nulls())
    assert [row[0] for row in shown] == [str(n) for n in range(1, 11)]
    assert [float(row[1]) for row in shown] == [round(v, 1) for v in known[:10]]


def test_names_are_shown_only_to_who_asks_for_them(lake: Lake, page: str, tmp_path: Path) -> None:
    done = of_samples(lake, tmp_path, parameters={"show_values": 1})
    asked = seen(done)
    result = score_source(lake, "pydicom_samples")
    worst = result.scores("study").drop_nulls("total").sort("total", "StudyInstanceUID")["StudyInstanceUID"][0]
    assert studies(asked)[0][1] == worst and worst not in page
    examples = asked[asked.index("An example of each of"):asked.index("What the number means</h2>")]
    first = result.rules().filter(pl.col("points_lost") > 0, pl.col("level") == "instance", pl.col("category") != "provenance")["id"][0]
    paths = result.findings(b"secret").filter(pl.col("rule") == first).select(pl.col("path").min()).collect().item()
    assert paths in html.unescape(examples) and "names an example of each" not in asked.split("so is this page")[0]
    assert "An example of each of" not in page


def test_an_unknown_profile_is_one_line(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no profile 'reserch'"):
        of_samples(lake, tmp_path, parameters={"profile": "reserch"})


def test_a_source_without_any_dicom_is_not_judged(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "notes.txt").write_text("not DICOM, but long enough to be looked at " * 20)
    page = seen(made_of(tmp_path, files))
    assert "<b>not judged</b>" in page and "Nothing could be judged" in page and "No study could be judged" in page


def year_of_files(samples: Path, files: Path, years: list[int], **more: str) -> None:
    files.mkdir()
    for i, year in enumerate(years):
        ds = pydicom.dcmread(samples / "CT_small.dcm")
        ds.StudyDate, ds.PatientID = f"{year}0401", f"P{i}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (f"{u}.{i}" for u in (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID))
        for keyword, value in more.items():
            setattr(ds, keyword, value)
        ds.save_as(files / f"{i}.dcm")


def test_the_years_are_shown_where_dates_are_true(samples: Path, tmp_path: Path) -> None:
    year_of_files(samples, tmp_path / "files", [2004, 2005, 2005, 2007])
    page = seen(made_of(tmp_path, tmp_path / "files"))
    assert "Has the quality changed over the years?" in page and "No score per year" not in page
    assert "n = 4 studies; none missing" in page


def test_a_stray_year_is_named_and_not_drawn() -> None:
    years = pl.DataFrame({"year": [1900, 2019, 2020, 2021], "score": [90.0, 95, 96, 97], "n": [1, 300, 1, 250]})
    assert summary.main_years(years)["year"].to_list() == [2019, 2020, 2021]
    few = years.head(2).with_columns(n=pl.lit(1))
    assert summary.main_years(few)["year"].to_list() == [1900, 2019]


def test_no_trend_where_the_headers_say_that_dates_were_shifted(samples: Path, tmp_path: Path) -> None:
    year_of_files(samples, tmp_path / "files", [2004, 2005, 2007], LongitudinalTemporalInformationModified="MODIFIED")
    page = seen(made_of(tmp_path, tmp_path / "files"))
    assert "No score per year is shown: 3 of 3 headers say" in page and page.count("data-chart") == 1


def test_no_trend_where_the_catalogue_says_de_identified(page: str) -> None:
    assert "No score per year is shown: the catalogue says" in page and page.count("data-chart") == 1


def test_bins_hold_every_judged_score_once() -> None:
    scores = np.array([0, 12.5, 99.99, 100, 100, np.nan, 50])
    found = summary.bins(scores)
    assert found["n"].sum() == 6 and found["upper"][-1] == 100 and found["lower"][0] == 0
    for lower, upper, n in found.iter_rows():
        inside = (scores > lower) & (scores <= upper) | ((lower == 0) & (scores == 0))
        assert n == inside.sum()


def test_an_index_of_series_is_reported_too(idc_table: Path, tmp_path: Path) -> None:
    lake, found = Lake.open(tmp_path / "ws"), Catalogue.open()
    ingest(found.get("idc_chest_xray"), found.entry("idc_chest_xray").folder, lake)
    one, two = (run_report(lake, found.get("idc_chest_xray"), "quality", out=tmp_path / d) for d in "12")
    page = seen(one)
    for name in FILES:
        assert (one.html.parent / name).read_bytes() == (two.html.parent / name).read_bytes()
    shown = ledger(page)
    assert sum(points for points, _ in shown[:-1]) == shown[-1][0]
    rows = lake.rows("idc_chest_xray").select("PatientID", "StudyInstanceUID", "SeriesInstanceUID").collect()
    assert f"<b>{rows.height:,}</b><span>series judged</span>" in page
    words = re.sub(r"<style\b.*?</style>|<script>.*?</script>|<[^>]+>", " ", page, flags=re.S)
    assert not UID.search(words)
    assert not [v for v in rows["PatientID"].unique().drop_nulls() if len(v) > 8 and v in words]
    assert "needs single objects, an index has one row a series" in page


@pytest.mark.slow
def test_a_million_series(idc_table: Path, tmp_path: Path) -> None:
    lake, found = Lake.open(tmp_path / "ws"), Catalogue.open()
    ingest(found.get("idc"), found.entry("idc").folder, lake)
    page = run_report(lake, found.get("idc"), "quality", out=tmp_path / "out").html.read_text()
    assert len(page) < 2_000_000
    assert all(n in page for n in ("1,044,191", "168,507", "9,277 of 729,822 series", "459 of 40,617 patients"))
    assert sum(points for points, _ in ledger(page)[:-1]) == ledger(page)[-1][0]


def test_nothing_asked_is_nothing_lost() -> None:
    table = pl.DataFrame(schema={"title": pl.String, "id": pl.String, "level": pl.String, "violated": pl.Int64, "applicable": pl.Int64, "points_lost": pl.Float64})
    assert summary.lost_points(table)["points_lost"].to_list() == [0.0]
    assert summary.first(table).is_empty()
