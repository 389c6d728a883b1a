"""The explorer without its picture: what is counted, handed back and exported, checked by plain polars on the same rows."""

import csv
import datetime
import json
import os
import random
import stat
from pathlib import Path

import polars as pl
import pytest
from explorer_truth import wild_ward

from dicom_workbench.analysis.classify import ANSWERS
from dicom_workbench.explore.crossfilter import Crossfilter
from dicom_workbench.explore.dimensions import compact, dimension, round_edges
from dicom_workbench.explore.filters import Between, Chosen, Containing, code_of, expression_of
from dicom_workbench.explore.masks import column_facts, how_masked
from dicom_workbench.explore.selection import (
    Selection,
    bars,
    cohort,
    counts,
    frame,
    page,
    save_cohort,
    save_csv,
    save_parquet,
    size,
)
from dicom_workbench.explore.tables import Table, open_table, table_of
from dicom_workbench.standard.attributes import ATTRIBUTES
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.store import Lake, levels
from dicom_workbench.store import ingest as ingest_source

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\n\u202e{{7*7}}'


def selection(rows: pl.DataFrame, mask: bool = False) -> Selection:
    return Selection(table_of(rows), mask=mask, secret=b"s" * 32)


def explorer(rows: pl.DataFrame, **more: object) -> Crossfilter:
    return Crossfilter(rows, **{"mask": False, **more})  # type: ignore[arg-type]


def do(found: Crossfilter, **message: object) -> dict[str, object]:
    "What the page would send, and what it would be told."
    found._hear(None, message, [])
    return found.state


def state_size(found: Crossfilter) -> int:
    return len(json.dumps(found.state, ensure_ascii=False).encode())


# What is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_every_chart_counts_what_passes_the_other_filters(seed: int) -> None:
    "Random filters on a ward of wild values; the truth is polars' own filter and group_by on the untouched frame."
    draw = random.Random(seed)
    rows = wild_ward(700, seed)
    looking = selection(rows)
    charted = [c for c in rows.columns if looking.dimension(c).codes.size]
    assert len(charted) >= 7
    for _ in range(12):
        column = draw.choice(charted)
        own = looking.dimension(column)
        what = draw.random()
        if what < 0.1:
            looking.put(Containing("SeriesDescription", draw.choice(["a", "ct", "(", "<", "й"])))
        elif what < 0.2:
            looking.undo()
        elif own.bounds and what < 0.9:
            looking.brush(column, draw.randrange(own.size), draw.randrange(own.size))
        else:
            looking.toggle(column, draw.randrange(own.size + 1))
        truth = rows.filter(expression_of(looking.filters))
        assert size(looking) == truth.height
        assert frame(looking).collect().equals(truth)
        assert rows.filter(eval(code_of(looking.filters))).equals(truth)
        for c in charted:
            others = [f for f in looking.filters if f.column != c or isinstance(f, Containing)]
            seen, values = counts(looking, c), rows.filter(expression_of(others))[c]
            assert seen[-1] == values.null_count()
            assert seen.sum() == len(values)
            for slot in range(looking.dimension(c).size):
                if looking.dimension(c).kind == "bars":
                    one = looking.dimension(c).chosen([slot])
                else:
                    one = looking.dimension(c).between(slot, slot)
                assert seen[slot] == values.to_frame().filter(one.expression()).height, (c, one)


def test_bars_show_the_largest_what_is_chosen_and_the_rest_as_one() -> None:
    rows = pl.DataFrame({"Manufacturer": [f"M{i:02}" for i in range(30) for _ in range(i + 1)]})
    looking = selection(rows)
    shown, others = bars(looking, "Manufacturer", top=5)
    assert [(b.label, b.n) for b in shown] == [("M29", 30), ("M28", 29), ("M27", 28), ("M26", 27), ("M25", 26)]
    assert (others.label, others.n) == ("25 others", rows.height - sum(b.n for b in shown))
    looking.toggle("Manufacturer", looking.dimension("Manufacturer").codes_of(Chosen("Manufacturer", ("M00",)))[0])
    shown, others = bars(looking, "Manufacturer", top=5)
    assert "M00" in [b.label for b in shown] and len(shown) == 5
    assert sum(b.n for b in shown) + others.n == rows.height
    assert [b.label for b in bars(looking, "Manufacturer", containing="m1")[0]] == ["M19", "M18", "M17", "M16", "M15", "M14", "M13", "M12"]


def test_undo_goes_back_one_change_at_a_time_and_reset_can_be_undone() -> None:
    looking = selection(wild_ward(100, 1))
    looking.toggle("Modality", 0)
    first = looking.filters
    looking.toggle("Modality", 1)
    looking.reset()
    assert looking.filters == ()
    assert looking.undo() and looking.undo()
    assert looking.filters == first
    assert looking.undo() and not looking.undo()
    assert looking.filters == ()


def test_a_bar_clicked_twice_is_no_filter() -> None:
    looking = selection(wild_ward(100, 1))
    for code in (0, looking.dimension("Modality").size):
        looking.toggle("Modality", code)
        looking.toggle("Modality", code)
    looking.toggle("age_years", looking.dimension("age_years").size)
    looking.toggle("age_years", looking.dimension("age_years").size)
    assert looking.filters == ()


# Odd tables -------------------------------------------------------------------------------------------------------


def test_100_000_distinct_values() -> None:
    n = 300_000
    rows = pl.DataFrame({"SeriesDescription": pl.Series([f"text {i % 100_000}" for i in range(n)]), "Modality": pl.Series(["CT", "MR"] * (n // 2))})
    found = explorer(rows, charts=["SeriesDescription", "Modality"])
    assert found.state["charts"][0]["others"] == ["99,992 others", n - 8 * 3]
    assert state_size(found) < 20_000
    assert len(json.dumps(found.setup)) < 20_000
    answer = do(found, do="find", column="SeriesDescription", text="99999")
    assert [b[1] for b in answer["charts"][0]["bars"]] == ["text 99999"]
    answer = do(found, do="toggle", column="SeriesDescription", code=answer["charts"][0]["bars"][0][0])
    assert answer["n"] == 3


def test_as_many_values_as_rows_are_searched_not_drawn() -> None:
    n = 100_000
    rows = pl.DataFrame({"SeriesInstanceUID": [f"1.2.{i}" for i in range(n)]})
    found = explorer(rows, charts=["SeriesInstanceUID"])
    assert found.setup["charts"][0]["kind"] == "text"
    assert do(found, do="search", column="SeriesInstanceUID", text="1.2.4711")["n"] == 11  # itself and ten that begin so
    assert state_size(found) < 20_000


def test_nothing_but_nulls() -> None:
    rows = pl.DataFrame({"Modality": pl.Series([None] * 5, dtype=pl.String), "KVP": pl.Series([None] * 5, dtype=pl.Float64), "StudyDate": pl.Series([None] * 5, dtype=pl.Date), "void": [None] * 5})
    found = explorer(rows, charts=rows.columns, columns=rows.columns)
    assert [c["missing"] for c in found.state["charts"]] == [5, 5, 5, 5]
    answer = do(found, do="toggle", column="KVP", code=0)
    assert (answer["n"], answer["note"], found.code) == (5, "", "pl.col('KVP').is_null()")
    assert answer["table"]["rows"][0] == [None] * 4


@pytest.mark.parametrize("height", [0, 1])
def test_no_row_and_one_row(height: int) -> None:
    rows = wild_ward(5, 3).head(height)
    found = explorer(rows, charts=rows.columns)
    assert found.state["n"] == height
    assert len(found.state["table"]["rows"]) == height
    assert found.state["words"].startswith(f"{height} of {height} ")
    for column in rows.columns:
        for message in ({"do": "toggle", "column": column, "code": 0}, {"do": "brush", "column": column, "first": 0, "last": 3}, {"do": "sort", "column": column}):
            assert do(found, **message)["note"] == ""
    assert found.frame.collect().equals(rows.filter(expression_of(found.selection.filters)))


def test_an_empty_lake_of_columns() -> None:
    found = explorer(pl.DataFrame({"a": []}))
    assert found.state["words"] == "0 of 0 rows (–)"


def test_names_in_every_script_and_markup_stay_text() -> None:
    names = ["Wang^XiaoDong=王^小東", "بندا^جون", "ЗИМА^АННА", "Ünlü^Çağ", EVIL, "=HYPERLINK(\"x\")", ""]
    found = explorer(pl.DataFrame({"PatientName": names, "Modality": [EVIL] * 7}), charts=["PatientName", "Modality"])
    shown = [row[0] for row in found.state["table"]["rows"]]
    assert shown[:4] == names[:4]
    assert shown[4].startswith("<script>alert(1)</script>")
    answer = do(found, do="toggle", column="Modality", code=0)
    assert answer["n"] == 7
    assert pl.DataFrame({"Modality": [EVIL, "CT"]}).filter(eval(found.code)).height == 1


def test_wild_numbers() -> None:
    for values in ([-1e300, 1e300, 0.0], [float("inf"), 1.0, float("-inf")], [1e-12, 2e-12], [2_000_000_000.0] + [1.0] * 1000, [0.1 + 0.2] * 3, [float("nan"), None, 1.0]):
        looking = selection(pl.DataFrame({"KVP": pl.Series(values, dtype=pl.Float64)}))
        seen = counts(looking, "KVP")
        assert seen.sum() == len(values)
        assert len(seen) < 70
        assert seen[-1] == sum(v is None or v != v for v in values)


def test_edges_are_round_and_cover_what_is_common() -> None:
    import numpy as np

    edges = round_edges(np.array([0.5, 3.0, 97.0] * 100))
    assert edges[0] <= 0.5 and edges[-1] > 97
    assert all(e == round(e) for e in edges) and len(edges) < 60
    skewed = round_edges(np.concatenate([np.full(1000, 1.0), np.full(10, 5000.0)]))
    assert skewed[:4] == [1, 2, 5, 10] and skewed[-1] > 5000


def test_other_types_of_columns() -> None:
    rows = pl.DataFrame({
        "when": [datetime.datetime(2020, 1, 1), None], "StudyTime": [datetime.time(7, 30), None], "flag": [True, None], "cat": pl.Series(["a", None], dtype=pl.Categorical),
        "list": [["a", "b"], None], "struct": [{"a": 1}, None], "blob": [b"\x00", None], "dec": pl.Series([1, None], dtype=pl.Decimal(10, 2)), "dur": [datetime.timedelta(seconds=5), None], "u": pl.Series([2**40, None], dtype=pl.UInt64)})
    found = explorer(rows, charts=rows.columns, columns=rows.columns)
    for column in rows.columns:
        assert counts(found.selection, column).tolist()[-1] == 1
        assert do(found, do="toggle", column=column, code=found.selection.dimension(column).size)["n"] == 1
        do(found, do="reset")


# How much travels -------------------------------------------------------------------------------------------------


def test_no_state_is_larger_than_20_kb_whatever_the_headers_hold() -> None:
    n = 400
    wide = {f"Column{i}": [("語" * 300) + f"{i} {j % 9}" for j in range(n)] for i in range(16)}
    found = explorer(pl.DataFrame(wide), charts=list(wide), columns=list(wide)[:12])
    for i in range(16):
        assert do(found, do="toggle", column=f"Column{i}", code=0)["note"] == ""
        assert state_size(found) <= 20_000
    assert found.state["n"] > 0


def test_what_is_loaded_stays_small() -> None:
    from dicom_workbench.explore import crossfilter as module

    folder = Path(module.__file__).parent
    shipped = sum((folder / name).stat().st_size for name in ("crossfilter.js", "crossfilter.css"))
    assert shipped < 100_000
    script = (folder / "crossfilter.js").read_text()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "fetch(", "XMLHttpRequest", "import("):
        assert forbidden not in script
    assert "http" not in script.replace("http://www.w3.org/2000/svg", "")


def test_a_message_that_makes_no_sense_changes_nothing() -> None:
    found = explorer(wild_ward(50, 2))
    for message in ({}, {"do": "x"}, {"do": "toggle"}, {"do": "toggle", "column": "nope", "code": 1}, {"do": "toggle", "column": "Modality", "code": "x"},
                    {"do": "brush", "column": "age_years", "first": None, "last": 1}, {"do": "drop", "index": 99}, {"do": "save", "kind": "exe"}, {"do": "column", "kind": "chart", "column": "nope", "on": True}):
        answer = do(found, **message, seq=7)
        assert (answer["n"], answer["answers"], found.selection.filters) == (50, 7, ())
    assert do(found, do="page", start=10**9)["table"]["start"] == 49


# Identifiers ------------------------------------------------------------------------------------------------------


def test_every_name_and_number_of_a_person_is_masked() -> None:
    "By the standard's own types: no person's name and no unique identifier of an object is shown; nor numbers of patients."
    shown = {a.column for a in ATTRIBUTES if not how_masked(a.column)}
    assert not {a.column for a in ATTRIBUTES if a.vr == "PN"} & shown
    kinds = ("SOPClassUID", "TransferSyntaxUID", "MediaStorageSOPClassUID", "ImplementationClassUID")
    assert not {a.column for a in ATTRIBUTES if a.vr == "UI" and a.column not in kinds} & shown
    assert not {"PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "PatientBirthDate", "path", "ImageComments", "ReasonForStudy"} & shown
    assert set(column_facts()) - {a.column for a in ATTRIBUTES} - set(ANSWERS) == {"age_years", "size_mb", "file_size", "path", "modalities", "collection_id", "analysis_result_id", "licence", "source_id", "status", "reason",
                                                                     "parser", "complete", "copies", "first_study_date", "last_study_date", "instance_count", "series_count", "study_count"}


SECRETS = ("BANDA", "4711", "1957-03", "0302", "ACC-9", "smith/jane")


def masked_ward() -> pl.DataFrame:
    return pl.DataFrame({
        "PatientName": ["BANDA^JOHN", "BANDA^MARY", None], "PatientID": ["4711", "4711", "4712"], "PatientBirthDate": [datetime.date(1957, 3, 2), None, None],
        "AccessionNumber": ["ACC-9", None, "ACC-9"], "path": ["smith/jane.dcm", "b", "c"], "Modality": ["CT", "MR", "CT"]})


def test_masked_means_masked_everywhere(tmp_path: Path) -> None:
    found = Crossfilter(masked_ward(), charts=["Modality", "PatientID", "PatientName"], columns=masked_ward().columns, folder=tmp_path)
    for message in ({"do": "toggle", "column": "Modality", "code": 0}, {"do": "search", "column": "PatientName", "text": "banda"}, {"do": "sort", "column": "PatientID"},
                    {"do": "find", "column": "PatientID", "text": "47"}, {"do": "save", "kind": "csv"}, {"do": "save", "kind": "parquet"}, {"do": "save", "kind": "cohort"}):
        answer = do(found, **message)
        sent = json.dumps([answer, found.setup], default=str)
        assert not [s for s in SECRETS if s in sent], message
    assert "identifiers are hidden" in found.state["note"]
    assert [c["kind"] for c in found.setup["charts"]] == ["bars", "text", "text"]
    assert [f.column for f in found.selection.filters] == ["Modality"]  # neither searched nor chosen by an identifier
    written = "".join(f.read_bytes().decode("latin1") for f in tmp_path.iterdir())
    assert not [s for s in SECRETS if s in written]
    assert sorted(f.suffix for f in tmp_path.iterdir()) == [".csv", ".parquet"]
    assert found.frame.collect()["PatientID"].n_unique() == 2  # still to be told apart


def test_showing_identifiers_is_a_choice_and_the_log_is_told() -> None:
    told: list[tuple[str, dict[str, object]]] = []
    found = Crossfilter(masked_ward(), charts=["Modality", "PatientID"], columns=["PatientName"], log=lambda what, facts: told.append((what, dict(facts))))
    assert told == []
    answer = do(found, do="identify")
    assert answer["table"]["rows"][0] == ["BANDA^JOHN"]
    assert [b[1] for b in answer["charts"][1]["bars"]] == ["4711", "4712"]
    assert [what for what, _ in told] == ["show identifiers"]
    do(found, do="identify")
    assert len(told) == 1
    Crossfilter(masked_ward(), mask=False, log=lambda what, facts: told.append((what, dict(facts))))
    assert [what for what, _ in told] == ["show identifiers", "show identifiers"]
    assert not [s for s in SECRETS if s in json.dumps(told, default=str)]


# Exports ----------------------------------------------------------------------------------------------------------


def test_exports_hold_the_selected_rows_and_are_private(tmp_path: Path) -> None:
    rows = wild_ward(200, 5)
    looking = selection(rows)
    looking.toggle("Modality", 1)
    truth = rows.filter(expression_of(looking.filters))
    assert 0 < truth.height < rows.height
    assert pl.read_parquet(save_parquet(looking, tmp_path / "x" / "a.parquet")).equals(truth)
    with save_csv(looking, tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [r["SeriesDescription"] for r in read] == [v or "" for v in truth["SeriesDescription"]]
    listed = save_cohort(looking, tmp_path / "a.txt").read_text(encoding="utf-8").splitlines()
    assert listed == sorted(v.replace("\n", "%0A") for v in truth["path"].to_list())
    if os.name == "posix":
        assert {stat.S_IMODE(f.stat().st_mode) for f in tmp_path.rglob("a.*")} == {0o600}


def test_an_export_never_writes_over_another(tmp_path: Path) -> None:
    found = explorer(wild_ward(20, 1), folder=tmp_path)
    for _ in range(3):
        do(found, do="save", kind="csv")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["rows.csv", "rows_1.csv", "rows_2.csv"]


def test_rows_that_name_no_file_have_no_cohort() -> None:
    with pytest.raises(UsageError, match="neither a path"):
        cohort(selection(pl.DataFrame({"Modality": ["CT"]})))


# A source ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    from dicom_workbench.catalog import Catalogue

    found = Lake.open(tmp_path_factory.mktemp("lake"))
    entry = Catalogue.open().entry("pydicom_samples")
    ingest_source(entry.source, entry.folder, found)
    return found


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
def test_any_level_of_a_source(lake: Lake, level: str) -> None:
    found = Crossfilter(lake, "pydicom_samples", level, mask=False)
    view = getattr(levels, level)(lake, "pydicom_samples")
    assert found.state["total"] == view.select(pl.len()).collect().item()
    column = next(c["column"] for c in found.setup["charts"] if c["kind"] == "bars")
    do(found, do="toggle", column=column, code=0)
    key = {"patients": "PatientID", "studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}[level]
    truth = view.filter(eval(found.code)).select(key).collect()[key].sort().to_list()
    assert 0 < len(truth) < found.state["total"]
    assert found.frame.select(key).collect()[key].sort().to_list() == truth
    files = levels.instances(lake, "pydicom_samples").filter(pl.col(key).is_in(truth)).select("path").collect()["path"].sort().to_list()
    if level != "patients":  # of whom two issuers may have the same ID
        assert cohort(found.selection, found._members) == files


def test_a_large_level_is_gathered_once_elsewhere_and_is_the_same(lake: Lake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from dicom_workbench.explore import tables

    here = open_table(lake, "pydicom_samples", "series")
    monkeypatch.setattr(tables, "LARGE", 1)
    kept = open_table(lake, "pydicom_samples", "series")
    assert "Gathering the series of pydicom_samples" in capfd.readouterr().err
    assert kept.frame.collect().equals(here.frame.collect())
    files = list((lake.cache / "explore").iterdir())
    assert len(files) == 1
    if os.name == "posix":
        assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    before = files[0].stat().st_mtime_ns
    assert open_table(lake, "pydicom_samples", "series").height == here.height
    assert files[0].stat().st_mtime_ns == before
    assert capfd.readouterr().err == ""


def test_what_there_is_not_is_said_in_one_line(lake: Lake) -> None:
    for act in (lambda: Crossfilter(lake, "pydicom_samples", "frames"), lambda: Crossfilter(lake, "nope"), lambda: explorer(wild_ward(5, 1), charts=["Nope"])):
        with pytest.raises(UsageError):
            act()


@pytest.mark.slow
def test_a_million_series(idc_table: Path) -> None:
    "IDC's own table: counts against polars, and the bytes of an interaction."
    rows = pl.read_parquet(idc_table, columns=["SeriesInstanceUID", "Modality", "Manufacturer", "BodyPartExamined", "collection_id", "PatientSex", "series_size_MB", "instanceCount"])
    assert rows.height > 1_000_000
    found = explorer(rows, charts=["Modality", "Manufacturer", "BodyPartExamined", "collection_id", "PatientSex", "series_size_MB", "instanceCount"], columns=["SeriesInstanceUID", "Modality"])
    chosen = found.selection.dimension("Modality").codes_of(Chosen("Modality", ("MR",)))[0]
    answer = do(found, do="toggle", column="Modality", code=chosen)
    assert answer["n"] == rows.filter(Modality="MR").height
    assert state_size(found) < 20_000
    truth = rows.filter(Modality="MR").group_by("Manufacturer").len().sort("len", descending=True).head(3)["len"].to_list()
    assert [b[2] for b in answer["charts"][1]["bars"][:3]] == truth


def test_compact_keeps_every_value() -> None:
    for column in wild_ward(300, 9).iter_columns():
        assert compact(column).cast(column.dtype).to_list() == column.to_list()
        assert dimension(compact(column)).kind in ("bars", "histogram", "years", "hours", "text", "empty")


def test_a_table_is_asked_for_one_column_at_a_time() -> None:
    asked: list[str] = []
    rows = pl.LazyFrame({"a": [1], "b": [2]}).with_columns(pl.col("b").map_batches(lambda s: (asked.append(s.name), s)[1], return_dtype=pl.Int64))
    Table(rows).column("a")
    assert asked == []


def test_a_page_of_the_table_is_what_polars_sorts() -> None:
    rows = wild_ward(300, 4)
    looking = selection(rows)
    looking.put(Between("age_years", 10, 60))
    truth = rows.filter(pl.col("age_years").is_between(10, 60, closed="left")).sort("age_years", descending=True, nulls_last=True)
    shown = page(looking, ["age_years"], start=20, rows=30, sort="age_years", descending=True)
    assert [r[0] for r in shown] == truth["age_years"].to_list()[20:50]
