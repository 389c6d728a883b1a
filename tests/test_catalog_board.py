"""The catalogue as a board: what is closed stays closed, reading goes on elsewhere and can be stopped, the store stays whole."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydicom.data import get_testdata_file

from dicom_workbench.acquire.scan import BATCH_FILES
from dicom_workbench.catalog import Catalogue
from dicom_workbench.explore.catalog_board import CatalogBoard, read_source
from dicom_workbench.explore.jobs import Job
from dicom_workbench.quality import last_score, score_source
from dicom_workbench.standard.errors import Refused, UsageError
from dicom_workbench.store import Lake
from dicom_workbench.store.ingest import ingest

EVIL = "<script>alert(1)</script>"
ENTRY = """
id = "{id}"
title = "{id} {evil}"
institution = "Test hospital {evil}"
country = "ZM"
steward = "imaging-data@example.org"
access = "{access}"
licence = "none"
modalities = ["CT"]
deidentified = false
refresh = "never"
[acquisition]
kind = "folder"
root = "data"
"""
APPROVAL = """
[[approvals]]
board = "UNZABREC {evil}"
number = "7"
purposes = ["ingest", "report"]
granted = 2020-01-01
expires = {expires}
consent = "waived"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    "A catalogue with an open source, one whose approval has lapsed, and a file with a fault."
    (tmp_path / "data").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (tmp_path / "data" / name).write_bytes(Path(get_testdata_file(name)).read_bytes())
    (tmp_path / "data" / "note.txt").write_text("no DICOM")
    (tmp_path / "ward.toml").write_text(ENTRY.format(id="ward", access="open", evil=EVIL))
    (tmp_path / "closed.toml").write_text(ENTRY.format(id="closed", access="restricted", evil=EVIL) + APPROVAL.format(expires="2021-12-31", evil=EVIL))
    (tmp_path / "broken.toml").write_text("id = 3")
    return tmp_path


def board_of(place: Path, **more: object) -> CatalogBoard:
    return CatalogBoard(Lake.open(place / "workspace"), Catalogue([place]), **more)  # type: ignore[arg-type]


def act(board: CatalogBoard, **message: object) -> dict[str, object]:
    board._hear(None, message, None)
    assert len(json.dumps(board.state, ensure_ascii=False).encode()) < 20_000
    return board.state


def row(board: CatalogBoard, id: str) -> dict[str, object]:
    return next(r for r in board.state["sources"] if r["id"] == id)


def test_size_ingest_and_score_are_those_of_the_store(place: Path) -> None:
    lake, catalogue = Lake.open(place / "workspace"), Catalogue([place])
    assert (row(board_of(place), "ward")["when"], row(board_of(place), "ward")["size"]) == ("not yet", "–")
    ingest(catalogue.get("ward"), place, lake)
    score_source(lake, "ward")
    (place / "data" / "MR_small.dcm").unlink()
    ingest(catalogue.get("ward"), place, lake)
    score_source(lake, "ward")
    board = board_of(place)
    facts = board.frame.filter(source="ward").row(0, named=True)
    files = list((place / "data").iterdir())
    assert (facts["files"], facts["rows"], facts["bytes"]) == (len(files), 3, sum(f.stat().st_size for f in files))
    assert facts["score"] == last_score(lake, "ward")
    assert row(board, "ward")["score"] == f"{facts['score']:.1f}" and "1 gone" in str(row(board, "ward")["bytes"])
    detail = dict(act(board, do="choose", id="ward")["detail"]["facts"])
    assert detail["Read"] == "1 missing, 1 not_dicom, 1 ok" and detail["Source version"] == lake.source_version("ward")
    assert board.state["faults"] and "broken.toml" in board.state["faults"][0]


def test_the_gate_is_shown_for_any_purpose_and_day(place: Path) -> None:
    board = board_of(place, purpose="report", on=dt.date(2021, 6, 1))
    assert row(board, "closed")["open"] and "until 2021-12-31" in row(board, "closed")["why"][0]
    act(board, do="day", day="2022-01-01")
    assert not row(board, "closed")["open"] and "lapsed on 2021-12-31" in row(board, "closed")["why"][0]
    act(board, do="purpose", name="release")
    act(board, do="day", day="2021-06-01")
    assert not row(board, "closed")["open"] and row(board, "ward")["open"]
    assert board.frame.filter(source="closed")["allowed"].to_list() == [False]


def test_a_closed_source_is_not_read_whatever_day_is_asked_for(place: Path) -> None:
    board = board_of(place, on=dt.date(2021, 6, 1))  # it was open then
    assert row(board, "closed")["open"] and not row(board, "closed")["may"]
    note = act(board, do="ingest", id="closed")["note"]
    assert "closed may not be used for ingest" in note and "lapsed on 2021-12-31" in note
    with pytest.raises(Refused):
        board.ingest("closed")
    with pytest.raises(Refused):  # the other process asks by itself
        read_source(str(place / "workspace"), str(place / "closed.toml"))
    job = Job("dicom_workbench.explore.catalog_board:read_source", str(place / "workspace"), str(place / "closed.toml")).wait(60)
    assert (job.state, job.refused) == ("failed", True)
    assert board._running is None and Lake.open(place / "workspace").sources() == []
    with pytest.raises(UsageError):
        board_of(place, reading=False).ingest("ward")
    assert [r["id"] for r in board_of(place, sources=["ward"]).state["sources"]] == ["ward"]


def many(place: Path, files: int) -> None:
    for n in range(files):
        os.link(place / "data" / "CT_small.dcm", place / "data" / f"{n:05}.dcm")


def test_reading_can_be_cancelled_and_goes_on_where_it_was(place: Path) -> None:
    told: list[str] = []
    board = board_of(place, log=lambda what, facts: told.append(what))
    board.ingest("ward").wait(60)
    lake = board._lake
    before = lake.source_version("ward")
    assert board.job["words"] == "ward: 3 files read, 0 unchanged; now 3 files."
    many(place, BATCH_FILES + 100)
    seen: list[tuple[int, int]] = []
    job = board.ingest("ward")
    inner = job._told

    def stop(job: Job) -> None:
        inner(job)  # type: ignore[misc]
        if job.running and job.done:
            seen.append((job.done, job.total))
            job.cancel()

    job._told = stop
    job.wait(120)
    assert job.state == "cancelled" and 0 < seen[0][0] < seen[0][1] == BATCH_FILES + 100
    assert lake.source_version("ward") == before and row(board, "ward")["size"] == "3 files"  # what was there is there
    assert not any(psutil.pid_exists(p.pid) for p in [job._process] if p.poll() is None)
    shards = {f: f.stat().st_mtime_ns for f in (lake.folder / "instances").rglob("*.parquet")}
    board.ingest("ward").wait(120)
    assert board.job["state"] == "done"
    now = {f: f.stat().st_mtime_ns for f in (lake.folder / "instances").rglob("*.parquet")}
    assert len(shards) >= 2 and all(now.get(f) == changed for f, changed in shards.items())  # what was read is not read again
    apart = Lake.open(place / "apart")
    ingest(Catalogue([place]).get("ward"), place, apart)
    assert lake.source_version("ward") == apart.source_version("ward")
    assert told == ["ingest", "ingest", "ingest"]


def test_one_at_a_time(place: Path) -> None:
    many(place, 300)
    board = board_of(place)
    board.ingest("ward")
    assert "is being read" in act(board, do="ingest", id="ward")["note"]
    act(board, do="cancel")
    assert board.job["state"] == "cancelled" and "goes on with what was read" in board.job["words"]


@pytest.mark.skipif(os.name != "posix", reason="only on posix")
def test_the_work_ends_with_the_kernel_that_asked_for_it(tmp_path: Path) -> None:
    "Even when the kernel is killed, and with the readers that were started."
    (tmp_path / "slow.py").write_text("import os, subprocess, time\ndef work(file, progress):\n    child = subprocess.Popen(['sleep', '600'])\n"
                                      "    open(file, 'w').write(f'{os.getpid()} {child.pid}')\n    progress(1, 9, 'now')\n    time.sleep(600)\n")
    code = f"from dicom_workbench.explore.jobs import Job; import time; Job('slow:work', {str(tmp_path / 'pids')!r}, told=lambda j: print(j.done, flush=True)); time.sleep(600)"
    paths = os.pathsep.join([str(Path(__file__).resolve().parents[1]), str(tmp_path)])
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True) as kernel:
        assert kernel.stdout is not None and kernel.stdout.readline().strip() == "1"
        below = [psutil.Process(int(pid)) for pid in (tmp_path / "pids").read_text().split()]
        kernel.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def test_nonsense_from_the_page_is_answered(place: Path) -> None:
    board = board_of(place)
    for message in ({"do": "purpose", "name": "fun"}, {"do": "day", "day": "2021-02-30"}, {"do": "choose", "id": EVIL}, {"do": "ingest", "id": "../ward"}, {"do": "ingest", "id": "broken"}, {"do": "rm"}, {}):
        assert act(board, **message)["note"]
    assert act(board, do="choose", id="")["note"] == ""


def test_importing_the_room_costs_no_charts() -> None:
    code = "import sys, dicom_workbench.explore as e; assert 'altair' not in sys.modules and 'ipywidgets' not in sys.modules; [getattr(e, name) for name in e.__all__]; assert 'altair' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])})
