"""Learned runs of headers: the same rows as the plain walk, whatever the order; nothing is learned from damaged files."""

import os
import pickle
import random
from pathlib import Path

import pydicom
import pytest

from dicom_workbench.acquire import heads as fetching
from dicom_workbench.acquire.batch import read_batch
from dicom_workbench.acquire.plan import RUN, Node, Plan, compile_plan
from dicom_workbench.acquire.walk import walk

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = ["CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtplan.dcm",
         "image_dfl.dcm", "test-SR.dcm", "693_J2KI.dcm"]
MIXED = [str(FILES / name) for name in NAMES] * 16


def plain() -> Plan:
    plan = compile_plan()
    plan.learns = False
    return plan


def runs_of(plan: Plan) -> list[object]:
    found, nodes = [], [table.root for table, _ in plan.syntaxes.values()]
    while nodes:
        node = nodes.pop()
        nodes += [child for child in node.values() if isinstance(child, Node)]
        found += [step[1] for step in node.values() if isinstance(step, tuple) and step[0] == RUN]
    return found


@pytest.mark.parametrize("seed", range(3))
def test_learned_runs_do_not_change_a_row_in_any_order(seed: int) -> None:
    paths = random.Random(seed).sample(MIXED, len(MIXED))
    expected, shapes = read_batch(paths, plain())
    plan = compile_plan()
    for _ in range(3):
        table, found = read_batch(paths, plan)
        assert table.equals(expected) and found == shapes
    assert plan.runs >= len(NAMES) - 2 and all(run.hits for run in runs_of(plan)[:5])


@pytest.mark.parametrize("name", NAMES)
def test_no_byte_of_a_header_can_change_unseen(tmp_path: Path, name: str) -> None:
    """Bytes all over the head changed, one a file: learned or not, the row is the same."""
    content = (FILES / name).read_bytes()
    paths = []
    for at in range(132, min(len(content), 2600), 11):
        paths.append(str(tmp_path / f"{at}.dcm"))
        Path(paths[-1]).write_bytes(content[:at] + bytes([content[at] ^ 0x11]) + content[at + 1:])
    plan = compile_plan()
    read_batch([str(FILES / name)] * 30, plan)
    learned = plan.runs
    assert learned
    expected, shapes = read_batch(paths, plain())
    table, found = read_batch(paths, plan)
    assert table.equals(expected) and found == shapes


def test_a_run_is_cut_where_files_part_and_the_rest_still_hits(tmp_path: Path) -> None:
    paths = []
    for n in range(60):
        ds = pydicom.dcmread(FILES / "MR_small.dcm")
        ds.PatientID = "P" * (2 + 2 * (n % 5))
        ds.SliceLocation = "1." + "0" * (n % 7)
        paths.append(str(tmp_path / f"{n}.dcm"))
        ds.save_as(paths[-1])
    plan = compile_plan()
    for _ in range(4):
        assert read_batch(paths, plan)[0].equals(read_batch(paths, plain())[0])
    assert sum(run.hits for run in runs_of(plan)) > 2 * len(paths)


def test_cut_and_damaged_files_teach_nothing(tmp_path: Path) -> None:
    content = (FILES / "CT_small.dcm").read_bytes()
    cut, broken = tmp_path / "cut.dcm", tmp_path / "broken.dcm"
    cut.write_bytes(content[:-1000])
    broken.write_bytes(content[:600] + b"\xff" * 8 + content[608:])
    plan = compile_plan()
    table, _ = read_batch([str(cut), str(broken)] * 50, plan)
    assert set(table["status"]) != {"ok"} and table["status"][0] == "truncated"
    assert plan.runs == 0


def test_a_plan_that_has_learned_can_be_sent_to_another_process() -> None:
    plan = compile_plan(["PatientID", "Rows"])
    expected = read_batch(MIXED, plan)[0]
    again = pickle.loads(pickle.dumps(plan))
    assert plan.runs and not again.runs and again.columns == plan.columns
    assert read_batch(MIXED, again)[0].equals(expected)


def test_runs_are_few_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    from dicom_workbench.acquire import runs

    monkeypatch.setattr(runs, "_MOST_RUNS", 5)
    plan = compile_plan()
    assert read_batch(MIXED, plan)[0].equals(read_batch(MIXED, plain())[0])
    assert plan.runs == 5


def test_a_size_that_the_listing_knew_is_believed_until_the_file_looks_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    content = (FILES / "MR_small.dcm").read_bytes()
    path.write_bytes(content)
    table, _ = read_batch([str(path), str(path)], known=[(len(content), 5), None])
    assert table["mtime_ns"].to_list() == [5, path.stat().st_mtime_ns]
    assert table["status"].to_list() == ["ok", "ok"]
    table, _ = read_batch([str(path)], known=[(len(content) - 1000, 5)])  # it has grown since
    assert (table["status"][0], table["file_size"][0], table["mtime_ns"][0]) == ("ok", len(content), path.stat().st_mtime_ns)
    path.write_bytes(content[:-1000])
    table, _ = read_batch([str(path)], known=[(len(content) - 1000, 5)])
    assert (table["status"][0], table["file_size"][0]) == ("truncated", len(content) - 1000)


@pytest.mark.parametrize("threads", [1, 3])
def test_heads_fetched_ahead_give_the_same_rows(tmp_path: Path, threads: int) -> None:
    paths = [*MIXED[:70], str(tmp_path / "none"), str(tmp_path), *MIXED[70:]]
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    assert read_batch(paths, threads=threads)[0].equals(read_batch(paths, threads=0)[0])
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_slow_disk_is_noticed_and_a_fast_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_batch(MIXED, threads=0)[0]
    for slow, helped in ((-1.0, True), (1e9, False)):
        monkeypatch.setattr(fetching, "_SLOW", slow)
        heads = fetching.Heads(MIXED, None)
        for n in range(len(MIXED)):
            heads.walk(n, compile_plan(["PatientID"]), None) if n < fetching.PROBED else None
        assert heads.ahead is helped
        heads.close()
        assert read_batch(MIXED)[0].equals(expected)


def test_heads_that_nobody_asked_for_are_closed() -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    heads = fetching.Heads(MIXED, 2)
    heads.walk(0, compile_plan(["PatientID"]), None)
    heads.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_a_second_window_is_learned_too(tmp_path: Path) -> None:
    ds = pydicom.dcmread(FILES / "MR_small.dcm")
    block = ds.private_block(0x0009, "MAKER CSA", create=True)
    block.add_new(0x10, "OB", bytes(100_000))
    path = tmp_path / "a.dcm"
    ds.save_as(path)
    plan = compile_plan()
    rows = [walk(str(path), plan)[0][0] for _ in range(16)]
    assert all(row == rows[0] for row in rows)
    assert any(run.hits and run.parts[0].node.tag >= 0x00091000 for run in runs_of(plan))


def test_where_handfuls_are_slow_too_threads_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*MIXED[:70], str(tmp_path / "none"), str(tmp_path), *MIXED[70:]] * 4
    expected = read_batch(paths, threads=0)[0]
    for slow, still_slow, hints in ((-1.0, 1e9, True), (-1.0, -1.0, True), (-1.0, -1.0, False)):
        monkeypatch.setattr(fetching, "_SLOW", slow)
        monkeypatch.setattr(fetching, "_STILL_SLOW", still_slow)
        monkeypatch.setattr(fetching, "_HINTS", hints and hasattr(os, "posix_fadvise"))
        assert read_batch(paths)[0].equals(expected)
