"""The scorecard with sliders, judged by the quality room itself: what the page shows is what it computes."""

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dicom_workbench.catalog import load_source
from dicom_workbench.explore.answers import open_answers, stored_counts
from dicom_workbench.explore.masks import token
from dicom_workbench.explore.quality_board import MOST_BYTES, QualityBoard, slid, values_of
from dicom_workbench.quality import Result, load_profile, profiles, score_source, workspace_secret
from dicom_workbench.quality.rule import DIMENSIONS
from dicom_workbench.quality.score import count, score, scores
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.store import Lake
from dicom_workbench.store.ingest import ingest

FILES = 130  # more than the store keeps findings of
EVIL = "<script>alert(1)</script>"
WARD = """
id = "ward"
title = "Ward"
institution = "Test hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "open"
licence = "none"
modalities = ["CT"]
deidentified = false
refresh = "never"
[acquisition]
kind = "folder"
root = "data"
"""


def ward(place: Path, files: int = FILES) -> Lake:
    "A ward with faults: no patient's weight, ages that cannot be, a name that is a script."
    (place / "data").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        one = pydicom.dcmread(get_testdata_file(name))
        for n in range(files // 2):
            one.PatientID, one.PatientName = f"{EVIL}{n % 7}", f"{EVIL}^{n % 7}"
            one.StudyInstanceUID, one.SeriesInstanceUID = f"1.2.3.{n % 20}", f"1.2.3.{n % 20}.{n % 3}.{name[0] == 'C':d}"
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{one.SeriesInstanceUID}.{n}"
            one.PatientSex, one.PatientAge = ("X", "999Y") if n % 5 == 0 else ("M", "040Y")
            one.save_as(place / "data" / f"{EVIL.replace('/', '_')}{name[:2]}{n:03}.dcm")
    (place / "ward.toml").write_text(WARD, encoding="utf-8")
    lake = Lake.open(place / "workspace")
    ingest(load_source(place / "ward.toml"), place, lake)
    return lake


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, QualityBoard, dict[str, object]]:
    "The rules are asked from the board: the lake, the board, and its state before."
    board = QualityBoard(ward(tmp_path_factory.mktemp("ward")), "ward")
    before = board.state
    with pytest.raises(UsageError, match="dicom-workbench score ward"):
        _ = board.score
    job = board.compute().wait(120)
    assert (job.state, job.error) == ("done", "")
    return board._lake, board, before


@pytest.fixture(scope="module")
def lake(asked: tuple[Lake, QualityBoard, dict[str, object]]) -> Lake:
    return asked[0]


@pytest.fixture(scope="module")
def result(lake: Lake) -> Result:
    "The same from the quality room."
    return score_source(lake, "ward")


def stored_only(board: QualityBoard) -> QualityBoard:
    "As after `dicom-workbench score` alone."
    found = stored_counts(board._lake, board.source_id)
    assert found is not None
    board._kept, board._counts = None, found[0]
    return board


def act(board: QualityBoard, **message: object) -> dict[str, object]:
    board._hear(None, message, None)
    assert len(json.dumps(board.state, ensure_ascii=False).encode()) <= MOST_BYTES
    return board.state


def some_sliders(seed: int) -> dict[str, float]:
    draw = random.Random(seed)
    return {"weight:error": draw.randint(0, 40) / 20, "weight:warning": draw.randint(0, 40) / 20, "weight:info": draw.randint(0, 40) / 20,
            "dimension:completeness": draw.randint(0, 30) / 10, "dimension:uniqueness": draw.randint(0, 30) / 10, "reach": draw.randint(0, 50), "caution": draw.randint(1, 40) / 2}


def lost(board: QualityBoard) -> dict[str, float]:
    "The points of every page of the table, by rule; the sum that is shown last is checked on each."
    found: dict[str, float] = {}
    while True:
        shown = act(board, do="turn", start=len(found))["lost"]
        here = [float(row[5]) for row in shown["rows"]]
        ends = [float(points) for _, points in shown["ends"]]
        assert round(sum(here) + sum(ends[:-1]), 2) == ends[-1]
        before = len(found)
        found |= dict(zip((row[1] for row in shown["rows"]), here, strict=True))
        if len(found) == shown["total"] or len(found) == before:
            return found


def test_before_anything_was_asked_it_says_what_to_do(asked: tuple[Lake, QualityBoard, dict[str, object]]) -> None:
    _, board, before = asked
    assert (before["scored"], before["command"]) == (False, "dicom-workbench score ward")
    assert board.score is not None and board.state["scored"] and board.job["state"] == "done"


def test_what_was_scored_before_the_last_ingest_is_no_score(tmp_path: Path) -> None:
    lake = ward(tmp_path, 4)
    score_source(lake, "ward")
    assert QualityBoard(lake, "ward").state["scored"]
    pydicom.dcmread(get_testdata_file("CT_small.dcm")).save_as(tmp_path / "data" / "new.dcm")
    ingest(load_source(tmp_path / "ward.toml"), tmp_path, lake)
    assert not QualityBoard(lake, "ward").state["scored"]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_sliders_score_as_the_quality_room_does(result: Result, lake: Lake, stored: bool, seed: int) -> None:
    board = QualityBoard(lake, "ward", profile="clinical_archive")
    board = stored_only(board) if stored else board
    assert board.score == load_score(result, "clinical_archive")
    state = act(board, do="set", values=some_sliders(seed), seq=seed)
    mine = slid(load_profile("clinical_archive"), some_sliders(seed))
    truth = score(count(result.answers), mine)
    assert board.score == round(float(truth.total[0]), 2)
    assert [card[1] for card in state["cards"][1:]] == ["–" if np.isnan(truth.dimensions[d][0]) else f"{round(float(truth.dimensions[d][0]), 2):.1f}" for d in DIMENSIONS]
    assert state["cards"][0][1] == f"{board.score:.2f}" and board.answers == seed
    points = lost(board)
    assert round(sum(points.values()), 2) == round(100 - board.score, 2)
    costs = dict(zip((r.id for r in result.answers.rules), truth.lost[0], strict=True))
    assert all(abs(points[id] - costs[id]) <= 0.0101 for id in points)


def load_score(result: Result, profile: str) -> float:
    return round(float(score(count(result.answers), load_profile(profile)).total[0]), 2)


def test_each_profile_stands_beside_the_others_and_yours(result: Result, lake: Lake, tmp_path: Path) -> None:
    board = QualityBoard(lake, "ward")
    shown = {row[1]: row[3] for row in board.state["eyes"]["rows"]}
    assert shown == {name: f"{load_score(result, name):.2f}" for name in profiles()} and len(shown) == 4
    state = act(board, do="set", values={"weight:info": 1})
    assert [row[1] for row in state["eyes"]["rows"] if row[2]] == ["yours"] and state["changed"]
    file = board.save_profile(tmp_path / "mine.toml")
    assert load_profile(str(file)).hash == board.profile.hash
    assert file.read_text(encoding="utf-8").splitlines()[1:] == state["toml"].splitlines()[1:]
    again = QualityBoard(lake, "ward", profile=str(file))
    assert again.score == board.score
    assert not act(board, do="profile", name="deidentified")["changed"]
    assert values_of(board.profile) == values_of(load_profile("deidentified"))


@pytest.mark.parametrize("level", ["series", "study", "patient"])
def test_the_lowest_follow_the_sliders(lake: Lake, result: Result, level: str) -> None:
    board = QualityBoard(lake, "ward", level=level, mask=False)
    for seed in (5, 6):
        state = act(board, do="set", values=some_sliders(seed))
        truth = scores(result.answers, board.profile, level)
        low = truth.filter(pl.col("total") < 99.995).sort("total").head(10)
        assert [float(row[1]) for row in state["worst"]["rows"]] == [float(f"{v:.1f}") for v in low["total"]]
        key = {"series": "SeriesInstanceUID", "study": "StudyInstanceUID", "patient": "PatientID"}[level]
        totals = dict(truth.select(key, "total").iter_rows())
        assert all(f"{totals[name]:.1f}" == shown for name, shown, *_ in state["worst"]["rows"])
        assert sum(n for _, _, n in state["worst"]["bins"]) == truth["total"].drop_nulls().len()


def test_every_failing_row_is_found_down_to_the_file(lake: Lake, result: Result) -> None:
    board = QualityBoard(lake, "ward", mask=False)
    every = result.findings(workspace_secret(lake.folder)).collect()
    failed = board.rules.filter(pl.col("violated") > 0)
    assert {"instance", "series", "study", "patient"} <= set(failed["level"])
    for id, level, violated in failed.select("id", "level", "violated").iter_rows():
        mine, truth = board.failing(id, 0, 1000), every.filter(pl.col("rule") == id)
        assert mine.height == violated
        if level == "instance":
            assert set(mine["path"]) == set(truth["path"])
        elif level == "series":
            assert set(mine["SeriesInstanceUID"]) == set(truth["SeriesInstanceUID"])
    paged = pl.concat([board.failing("VAL-SEX", start, 7) for start in range(0, 26, 7)])
    assert paged.equals(board.failing("VAL-SEX", 0, 1000)) and paged.height == 26
    shown = act(board, do="rule", id="VAL-SEX")["failing"]
    assert shown["columns"][0] == "File" and "script" in shown["rows"][0][0] and not shown["more"]


def test_the_store_keeps_a_hundred_and_says_so(lake: Lake, result: Result) -> None:
    stored = stored_only(QualityBoard(lake, "ward"))
    rule = next(id for id, level, v in stored.rules.select("id", "level", "violated").iter_rows() if level == "instance" and v == FILES)
    shown = act(stored, do="rule", id=rule)["failing"]
    assert shown["more"] and shown["total"] == 100 and f"the first 100 of {FILES} objects" in shown["words"]
    assert "do not follow the sliders" in stored.state["worst"]["note"]


def test_no_identifier_leaves_the_kernel_while_masked(lake: Lake) -> None:
    told: list[str] = []
    board = QualityBoard(lake, "ward", log=lambda what, facts: told.append(what))
    for id in board.rules.filter(pl.col("violated") > 0)["id"]:
        text = json.dumps(act(board, do="rule", id=id))
        assert "script" not in text and "1.2.3." not in text and ".dcm" not in text
    for level in ("series", "study", "patient"):
        assert "1.2.3." not in json.dumps(act(board, do="level", level=level))
    assert told == []
    secret = workspace_secret(lake.folder)
    assert {name for name, *_ in board.state["worst"]["rows"]} <= {token(f"{EVIL}{n}", secret) for n in range(7)}
    act(board, do="identifiers")
    assert told == ["show identifiers"] and EVIL in json.dumps(board.state, ensure_ascii=False)
    QualityBoard(lake, "ward", mask=False, log=lambda what, facts: told.append(what))
    assert len(told) == 2


def test_signals_stay_outside_of_the_score_and_are_no_verdict(lake: Lake) -> None:
    board = QualityBoard(lake, "ward")
    act(board, do="set", values={"weight:info": 2, "weight:warning": 2, "weight:error": 2})
    signals = board.rules.filter(pl.col("category") == "provenance")
    assert signals.filter(pl.col("violated") > 0).height and signals["points_lost"].sum() == 0
    assert {row[1] for row in board.state["signals"]["rows"]} == set(signals.filter(pl.col("violated") > 0)["id"])
    assert not set(lost(board)) & set(signals["id"])
    assert "fraud" not in json.dumps(board.state).lower()


def test_nonsense_from_the_page_is_answered(lake: Lake) -> None:
    board = QualityBoard(lake, "ward")
    before = board.score
    for message in ({"do": "set", "values": {"weight:error": 7}}, {"do": "set", "values": {"weight:error": float("nan")}}, {"do": "set", "values": {"__class__": 1}}, {"do": "set", "values": {"caution": 0}}, {"do": "set", "values": {"reach": "<b>"}},
                    {"do": "rule", "id": EVIL}, {"do": "profile", "name": "../../etc/passwd"}, {"do": "level", "level": "galaxy"}, {"do": "eval"}, {}):
        assert act(board, **message)["note"]
    assert board.score == before and act(board, do="find", text=EVIL)["lost"]["total"] == 0


def test_asking_can_be_cancelled_and_nothing_is_half_done(lake: Lake) -> None:
    board = QualityBoard(lake, "ward")
    before = lake.files("scores", "ward"), lake.files("findings", "ward"), board.score
    job = board.compute()
    act(board, do="cancel")
    job.wait(30)
    assert job.state == "cancelled" and board.job["state"] == "cancelled"
    assert (lake.files("scores", "ward"), lake.files("findings", "ward"), QualityBoard(lake, "ward").score) == before
    assert open_answers(lake, "ward") is not None
    with pytest.raises(UsageError):
        QualityBoard(lake, "ward", asking=False).compute()
