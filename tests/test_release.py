"""What may leave the house: no small count can be read or computed, and a released page shows nothing that was not let through."""

import json
import os
import re
from pathlib import Path

import nbformat
import numpy as np
import polars as pl
import pydicom
import pytest
from conftest import APPROVAL, SOURCE
from pydicom.uid import generate_uid
from scipy.optimize import linprog
from typer.testing import CliRunner

from dicom_workbench.catalog import Catalogue
from dicom_workbench.cli import app
from dicom_workbench.privacy.release import say
from dicom_workbench.privacy.suppression import FEW, THRESHOLD, Suppressed, hidden_values, intervals, suppress
from dicom_workbench.report import ReportResult, begin, blocks, run_report, templates
from dicom_workbench.report.released import ReportRelease
from dicom_workbench.report.run import parameters_of
from dicom_workbench.standard.errors import Refused, UsageError, WorkbenchError
from dicom_workbench.store import Lake, ingest

# ---- tables: an attacker with linear programming, and one who tries everything ------------------------------------------------


def random_table(seed: int, tall: int, wide: int, typical: int = 12, several: bool = False) -> pl.DataFrame:
    "Counts around the threshold, some zero; where `several`, a patient has many records and may stand in many cells."
    rng = np.random.default_rng(seed)
    patients = rng.poisson(rng.choice([1, typical, 4 * typical], size=(tall, wide)))
    n = patients * rng.integers(1, 9, size=(tall, wide)) if several else patients
    cells = [{"a": i, "b": j, "n": int(n[i, j]), "patients": int(patients[i, j])} for i in range(tall) for j in range(wide) if n[i, j]]
    return pl.DataFrame(cells, schema={"a": pl.Int64, "b": pl.Int64, "n": pl.Int64, "patients": pl.Int64})


def equations(table: Suppressed) -> tuple[pl.DataFrame, list[list[int]], list[int]]:
    "What is published, as equations over the cells that are not: every total that is shown, and the grand total."
    out = table.withheld.with_row_index("x")
    shown = table.cells.filter(pl.col("why").is_null())
    rows, sums = [[1] * out.height], [int(table.cells["n"].sum() - shown["n"].sum())]
    for column, margin in table.margins.items():
        for value, n in margin.filter(pl.col("why").is_null()).select(column, "n").iter_rows():
            rows.append((out[column].eq_missing(value)).cast(pl.Int64).to_list())
            sums.append(n - int(shown.filter(pl.col(column).eq_missing(value))["n"].sum()))
    return out, rows, sums


def bounds_by_linear_programming(table: Suppressed) -> list[tuple[float, float]]:
    out, rows, sums = equations(table)
    found = []
    for x in range(out.height):
        aim = np.zeros(out.height)
        aim[x] = 1
        low, high = (linprog(sign * aim, A_eq=rows, b_eq=sums, bounds=(0, None)) for sign in (1, -1))
        found.append((round(low.fun, 6), round(-high.fun, 6)))
    return found


TABLES = [pytest.param(seed, tall, wide, several, id=f"{tall}x{wide}-{seed}{'-several' if several else ''}")
          for tall, wide in [(2, 2), (3, 3), (4, 6), (6, 5), (3, 9)] for seed in range(5) for several in (False, True)]


@pytest.mark.parametrize(("seed", "tall", "wide", "several"), TABLES)
def test_linear_programming_cannot_narrow_a_cell_to_less_than_ten(seed: int, tall: int, wide: int, several: bool) -> None:
    cells = random_table(seed, tall, wide, several=several)
    table = suppress(cells, ["a", "b"], disjoint=not several)
    bounds = bounds_by_linear_programming(table)
    assert bounds == intervals(table).select("low", "high").rows()  # two ways to compute what an attacker knows
    named = dict.fromkeys(table.by)
    for row, (low, high) in zip(table.withheld.iter_rows(named=True), bounds, strict=True):
        if any(row[c] in hidden_values(table, c) for c in named) and row["n"] == 0:
            continue  # an empty cell of a row that is not shown at all
        assert low <= row["n"] <= high
        assert high - low >= THRESHOLD, (row, low, high)


@pytest.mark.parametrize("seed", range(12))
def test_linear_programming_cannot_narrow_a_value_of_a_single_row(seed: int) -> None:
    cells = random_table(seed, 1, 7).select("b", "n", "patients")
    table = suppress(cells, ["b"])
    if cells["n"].sum() < THRESHOLD:
        assert table.shown.is_empty()
        return
    for low, high in bounds_by_linear_programming(table):
        assert high - low >= THRESHOLD


def everything(table: Suppressed) -> np.ndarray:
    "Every table of whole numbers that agrees with what is published, one a row."
    out, rows, sums = equations(table)
    most = [min(s for row, s in zip(rows, sums, strict=True) if row[x]) for x in range(out.height)]
    guesses = np.indices([m + 1 for m in most], dtype=np.int16).reshape(out.height, -1).T
    return guesses[(guesses @ np.array(rows, dtype=np.int16).T == np.array(sums, dtype=np.int16)).all(axis=1)]


def small_tables() -> list[Suppressed]:
    "Tables of which at most four cells are left out: few enough to try everything."
    found = []
    for seed in range(60):
        n = np.random.default_rng(seed).choice([0, 2, 5, 11, 14, 17, 20], size=(3, 3), p=[0.05, 0.05, 0.05, 0.25, 0.2, 0.2, 0.2])
        cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(3) for j in range(3)])
        table = suppress(cells, ["a", "b"])
        found += [table] if 0 < table.withheld.height <= 4 else []
    return found


def test_trying_everything_leaves_each_cell_open() -> None:
    tables = small_tables()
    assert len(tables) > 20
    for table in tables:
        found = everything(table)
        assert table.withheld["n"].to_list() in found.tolist()
        assert (found.max(axis=0) - found.min(axis=0) >= THRESHOLD).all()


def test_a_cell_between_two_blocks_is_not_given_away() -> None:
    "Two blocks of four cells and one cell between them: every line leaves out two or three, and yet that one could be computed."
    n = np.full((4, 4), 60)
    n[:2, :2] = n[2:, 2:] = [[5, 6], [6, 5]]
    n[0, 2] = 3
    few = n < THRESHOLD
    cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(4) for j in range(4)])
    naive = cells.with_columns(why=pl.Series(["few" if f else None for f in few.ravel()]))
    margins = {c: cells.group_by(c).agg(pl.col("n", "patients").sum()).sort(c).with_columns(why=pl.lit(None, dtype=pl.String)) for c in ("a", "b")}
    assert (3, 3) in bounds_by_linear_programming(Suppressed(("a", "b"), naive, margins))
    assert all(high - low >= THRESHOLD for low, high in bounds_by_linear_programming(suppress(cells, ["a", "b"])))


@pytest.mark.parametrize(("seed", "tall", "wide", "several"), TABLES[::3])
def test_no_cell_that_is_shown_is_about_few_patients(seed: int, tall: int, wide: int, several: bool) -> None:
    cells = random_table(seed, tall, wide, several=several)
    shown = suppress(cells, ["a", "b"], disjoint=not several).shown.join(cells, on=["a", "b"], how="left")
    assert (shown["patients"].fill_null(0) >= THRESHOLD).all()


def test_what_a_line_leaves_out_is_about_enough_patients() -> None:
    "The sum of what is left out is known, so it must not be small itself."
    table = suppress(pl.DataFrame({"v": ["a", "b", "c", "d"], "n": [500, 40, 4, 3]}).with_columns(patients="n"), ["v"])
    assert set(table.withheld["v"]) == {"b", "c", "d"}


def test_cells_that_share_patients_do_not_protect_each_other() -> None:
    "Two cells of eight patients each may be the same eight."
    cells = pl.DataFrame({"v": ["a", "b", "c", "d"], "n": [500, 60, 30, 20], "patients": [200, 30, 8, 8]})
    assert set(suppress(cells, ["v"]).withheld["v"]) == {"b", "c", "d"}
    assert set(suppress(cells, ["v"], disjoint=True).withheld["v"]) == {"c", "d"}


def test_zero_is_a_small_count() -> None:
    cells = pl.DataFrame({"a": ["x", "x", "y"], "b": ["u", "v", "u"], "n": [30, 40, 50]}).with_columns(patients="n")
    table = suppress(cells, ["a", "b"])
    assert ("y", "v", 0, 0, FEW) in table.cells.rows()
    assert table.shown.is_empty()  # with two rows and two columns the totals would tell it


def test_more_is_left_out_where_the_threshold_is_higher() -> None:
    cells = random_table(3, 5, 5, 20)
    ten, thirty = (suppress(cells, ["a", "b"], t).withheld.height for t in (10, 30))
    assert ten < thirty


def test_a_lower_threshold_is_refused() -> None:
    with pytest.raises(UsageError, match="never released"):
        suppress(random_table(1, 2, 2), ["a", "b"], threshold=9)


def test_little_is_left_out_where_nearly_everything_is_large() -> None:
    "Protection costs: but one small cell in a hundred must not cost the table."
    n = np.random.default_rng(5).integers(80, 400, size=(10, 10))
    n[4, 7] = 3
    cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(10) for j in range(10)])
    assert suppress(cells, ["a", "b"]).withheld.height == 4


# ---- pages: what is released, what stays inside --------------------------------------------------------------------------------

TEMPLATES = ("source_profile", "quality", "privacy")
BOTH = '''
[[approvals]]
board = "UNZABREC"
number = "17-2023"
purposes = ["ingest", "report", "release"]
granted = 2020-01-01
expires = 2099-12-31
consent = "waived"
'''


def ward_files(folder: Path, samples: Path) -> None:
    "Forty patients with a CT or MR each, three with what is rare; names, stations and comments as in life."
    for i in range(40):
        ds = pydicom.dcmread(samples / ("CT_small.dcm" if i % 2 else "MR_small.dcm"), stop_before_pixels=True)
        ds.PatientID, ds.PatientName = f"SECRETID{i:03}", f"Mwansakapwe{i:03}^Chileshe"
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(ds, keyword, generate_uid(entropy_srcs=[keyword, str(i)]))
        ds.PatientSex, ds.StudyDate, ds.StationName = "O" if i < 3 else "FM"[i % 2], f"{1959 if 12 <= i < 24 else 2019 + i % 3}0307", "ROOMSEVEN"
        ds.Manufacturer, ds.ImageComments = "RAREMAKER" if i == 5 else "SIEMENS", f"seen by Dr Mumba, ward {i}"
        ds.save_as(folder / f"Mwansakapwe{i:03}.dcm")


@pytest.fixture(scope="module")
def open_ward(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    folder = tmp_path_factory.mktemp("ward")
    files = folder / "catalogue" / "files"
    files.mkdir(parents=True)
    ward_files(files, samples)
    (folder / "catalogue" / "ward.toml").write_text(SOURCE.format(id="ward", access="restricted", root="files", more=BOTH))
    lake, found = Lake.open(folder / "workspace"), Catalogue.open(folder / "catalogue")
    ingest(found.get("ward"), found.entry("ward").folder, lake)
    return lake, folder / "catalogue"


def made(ward: tuple[Lake, Path], out: Path, template: str | Path = "source_profile", released: int = 10) -> ReportResult:
    return run_report(ward[0], Catalogue.open(ward[1]).get("ward"), template, out=out, catalogue=ward[1], released=released)


@pytest.fixture(scope="module")
def pages(open_ward: tuple[Lake, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ReportResult]:
    return {name: made(open_ward, tmp_path_factory.mktemp("out"), name) for name in TEMPLATES}


def evidence_of(ward: tuple[Lake, Path], done: ReportResult) -> Path:
    kept = json.loads(done.manifest.read_text())["sha256"]["report.html"][:16]
    return ward[0].folder / "releases" / "ward" / f"{done.template}-{kept}.json"


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_that_identifies_is_in_any_file_of_a_released_report(pages: dict[str, ReportResult], name: str) -> None:
    for file in pages[name].html.parent.iterdir():
        text = file.read_text()
        for secret in ("Mwansakapwe", "SECRETID", "ROOMSEVEN", "Dr Mumba", "RAREMAKER", "20190307", "2019-03-07"):
            assert secret not in text, (file.name, secret)
        assert not [u for u in re.findall(r"(?<![\w.])[012](?:\.\d+){5,}", re.sub(r"<script>.*?</script>", "", text, flags=re.S)) if not u.startswith("1.2.840.10008")]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_count_of_fewer_than_ten_patients_is_told(pages: dict[str, ReportResult], name: str) -> None:
    "Of forty patients: a number from 1 to 9 with a noun of records behind it would be about few."
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", pages[name].html.read_text().split('<details class="dw-fold dw-made">')[0], flags=re.S)
    found = re.findall(r"(?<![\w.,])[0-9](?: of [\d,]+)? (?:patients?|studies|study|series|objects?|files?)\b", text)
    assert found == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_that_ships_has_something_to_release(pages: dict[str, ReportResult], name: str) -> None:
    page = pages[name].html.read_text()
    assert "May be released" in page or "nothing here is about fewer than 10 patients" in page
    assert page.count("left out of the released page") == 0
    assert len(nbformat.read(pages[name].notebook, 4).cells) > 10


def test_all_templates_that_ship_can_be_released() -> None:
    assert {"source_profile", "quality", "privacy"} <= {name for name, path in templates().items() if "released" in parameters_of(path)}


def test_a_rare_value_goes_together_with_one_that_hides_it(pages: dict[str, ReportResult], open_ward: tuple[Lake, Path]) -> None:
    decisions = json.loads(evidence_of(open_ward, pages["source_profile"]).read_text())["decisions"]
    sexes = next(d for d in decisions if d["where"] == "Who is imaged?")
    assert [(w["PatientSex"], w["n"], w["why"]) for w in sexes["withheld"]] == [("F", 18, "neighbour"), ("O", 3, "few")]
    small = next(w for w in sexes["withheld"] if w["why"] == "few")
    assert small["low"] == 0 and small["high"] >= 10
    assert "3 (7.5 %)" not in pages["source_profile"].html.read_text()


def test_the_evidence_stays_inside_and_is_for_its_owner(pages: dict[str, ReportResult], open_ward: tuple[Lake, Path]) -> None:
    for name, done in pages.items():
        kept = evidence_of(open_ward, done)
        told = json.loads(kept.read_text())
        assert told["report"] == json.loads(done.manifest.read_text()) and told["decisions"], name
        assert sorted(p.name for p in done.html.parent.iterdir()) == ["manifest.json", "report.html", "report.ipynb"]
        if os.name == "posix":
            assert kept.stat().st_mode & 0o777 == 0o600 and kept.parent.stat().st_mode & 0o077 == 0
        for file in done.html.parent.iterdir():
            assert str(open_ward[0].folder) not in file.read_text()
    assert not list((open_ward[0].folder / "releases").rglob("*.part"))


def test_the_same_bytes_again_and_the_page_inside_is_another(pages: dict[str, ReportResult], open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    again = made(open_ward, tmp_path)
    for file in again.html.parent.iterdir():
        assert file.read_bytes() == (pages["source_profile"].html.parent / file.name).read_bytes()
    inside = made(open_ward, tmp_path, released=0)
    assert inside.html.parent != again.html.parent
    assert "RAREMAKER" in inside.html.read_text()
    assert json.loads(inside.manifest.read_text())["gate"]["purpose"] == "report" and json.loads(again.manifest.read_text())["gate"]["purpose"] == "release"


def test_the_gate_is_asked_for_release_too(open_ward: tuple[Lake, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "ward.toml").write_text(SOURCE.format(id="ward", access="restricted", root="files", more=APPROVAL.format(number="9-2020", expires="2099-12-31")))
    with pytest.raises(Refused, match=r"9-2020.*not release"):
        made((open_ward[0], closed), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("DICOM_WORKBENCH_CATALOG", str(closed))
    monkeypatch.setenv("DICOM_WORKBENCH_WORKSPACE", str(open_ward[0].folder))
    begin("ward")
    with pytest.raises(Refused, match="not release"):
        begin("ward", "", 10)


def test_a_lower_threshold_is_no_threshold(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="never released"):
        made(open_ward, tmp_path, released=9)


def test_with_a_higher_threshold_less_is_told(open_ward: tuple[Lake, Path], pages: dict[str, ReportResult], tmp_path: Path) -> None:
    strict = made(open_ward, tmp_path, released=30)
    assert "fewer than 30 patients" in strict.html.read_text()
    assert len(strict.html.read_text()) < len(pages["source_profile"].html.read_text())


def own(folder: Path, *code: str, released: bool = True) -> Path:
    head = 'source_id: str = ""\nsource_version: str = ""' + ("\nreleased: int = 0" if released else "")
    first = f"import polars as pl\nfrom dicom_workbench.report import begin, blocks\nfrom dicom_workbench.explore import charts\nfrom dicom_workbench.privacy.release import fixed, say\nreport = begin(source_id, source_version{', released' if released else ''})\nrelease = report.release\nrows = report.lake.rows(source_id).collect()"
    cells = [nbformat.v4.new_code_cell(head, metadata={"tags": ["parameters"]}), *map(nbformat.v4.new_code_cell, (first, *code))]
    path = folder / "mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}), path)
    return path


WRONG = (
    "rows['PatientName'].to_list()", "print(rows['PatientName'].to_list())", "blocks.table(rows.select('PatientName'))", "blocks.note(rows['PatientName'][0])",
    "charts.bars(rows.select(value='PatientName', n=pl.lit(1)), 'Who?')", "blocks.stack(release.note(say('a')), blocks.note(rows['PatientName'][0]))",
    "from IPython.display import HTML, display\nHTML(rows['PatientName'][0])", "display(rows['PatientName'][0])",
)


def test_what_did_not_go_through_the_gate_is_dropped_whatever_it_is(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    template = own(tmp_path, *WRONG, "release.note(say('This may stay.'))")
    done = made(open_ward, tmp_path, template)
    assert "Mwansakapwe" in made(open_ward, tmp_path, template, released=0).html.read_text()
    for file in done.html.parent.iterdir():
        assert "Mwansakapwe" not in file.read_text()
    page = done.html.read_text()
    assert page.count("left out of the released page") == len(WRONG) and "This may stay." in page


def test_a_number_that_nobody_answered_for_stops_the_report(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="release gate") as error:
        made(open_ward, tmp_path / "out", own(tmp_path, "release.note(f'{rows[\"PatientName\"][0]}')"))
    assert "Mwansakapwe" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_no_block_takes_a_value_that_nobody_answered_for() -> None:
    release, name = ReportRelease(on=True), "Mwansakapwe"
    for wrong in (
        lambda: release.note(name), lambda: release.figures([blocks.Figure("12", "files")]), lambda: release.card("a", [("name", name)]), lambda: release.told({"name": [name]}),
        lambda: release.look_first([blocks.Pointer("3 patients", say("a"))]), lambda: release.look_first([blocks.Pointer("Sex", name)]),
        lambda: release.made_of(blocks.note(name)), lambda: release.details("3 of them", release.note(say("a"))),
        lambda: release.spread(pl.DataFrame({"lower": [0.0], "upper": [1.0], "n": [20], "patients": [20]}), "How?", "score", f"lowest {1.5}"),
    ):
        with pytest.raises(WorkbenchError, match="release gate") as error:
            wrong()
        assert name not in str(error.value)


def test_the_last_look_stops_what_a_template_vouched_for_wrongly(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a value of PatientName, UID, path") as error:
        made(open_ward, tmp_path / "out", own(tmp_path, "release.note(fixed(rows['path'][0]))", "release.stated(blocks.table(rows.select('PatientName', 'SOPInstanceUID')))"))
    assert "Mwansakapwe" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_template_that_knows_nothing_of_releases_cannot_be_released(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be released"):
        made(open_ward, tmp_path, own(tmp_path, "1", released=False))


def test_released_is_no_parameter_for_people(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="set by the run itself"):
        run_report(open_ward[0], Catalogue.open(open_ward[1]).get("ward"), own(tmp_path, "1"), {"released": 10}, out=tmp_path, catalogue=open_ward[1])


def test_the_command_says_where_the_evidence_is(open_ward: tuple[Lake, Path], tmp_path: Path) -> None:
    asked = ["report", "ward", "--released", "--template", str(own(tmp_path, "release.note(say('a'))")), "-o", str(tmp_path), "--workspace", str(open_ward[0].folder), "--catalog", str(open_ward[1])]
    answer = CliRunner().invoke(app, asked)
    assert answer.exit_code == 0, answer.output
    assert "ward/mine_released/report.html" in answer.stdout.replace("\\", "/")
    assert CliRunner().invoke(app, [*asked, "--threshold", "5"]).exit_code != 0
