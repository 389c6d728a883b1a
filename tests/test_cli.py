"""The command line: what it prints, where, and how it ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import APPROVAL

from dicom_workbench.cli import copy_tutorials, main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    "Run the command in an empty folder: (exit code, standard output, standard error)."
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dicom-workbench", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def one_clear_line(err: str) -> str:
    "The last line said; no traceback anywhere, and nothing but the workspace's line before it."
    lines = [line for line in err.strip().splitlines() if not line.startswith("Workspace: ")]
    assert "Traceback" not in err
    assert len(lines) == 1, err
    return lines[0]


@pytest.fixture
def ward(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "ward"
    shutil.copytree(samples / "dicomdirtests" / "77654033", folder)
    shutil.copy(samples / "README.txt", folder / "README.txt")
    return folder


def test_extract_writes_one_row_a_file_and_says_what_was_set_aside(run, ward: Path, tmp_path: Path) -> None:
    code, out, err = run("extract", ward, "-o", tmp_path / "t.parquet")
    table = pl.read_parquet(tmp_path / "t.parquet")
    assert code == 0 and out.strip() == str(tmp_path / "t.parquet")
    assert len(table) == sum(1 for p in ward.rglob("*") if p.is_file())
    assert "1 not_dicom" in err
    assert table["source_id"].unique().to_list() == ["extract"]


def test_extract_twice_gives_the_same_bytes_on_one_or_two_processes(run, ward: Path, tmp_path: Path) -> None:
    run("extract", ward, "-o", tmp_path / "a.parquet")
    run("extract", ward, "-o", tmp_path / "b.parquet", "--engine", "processes", "--workers", "2")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_json_is_the_only_thing_on_standard_output(run, ward: Path, tmp_path: Path, write_source) -> None:
    catalogue = write_source(ward)
    for words in (
        ("extract", ward, "-o", tmp_path / "t.parquet"), ("ingest", "ward", "--catalog", catalogue),
        ("sources", "--catalog", catalogue), ("report", "ward", "--catalog", catalogue, "-o", tmp_path / "out"), ("doctor",),
    ):
        code, out, _ = run(*words, "--json")
        assert code == 0
        json.loads(out)


WRONG = {
    "wrong folder": (("extract", "no/such/folder", "-o", "t.parquet"), 2, "no folder"),
    "empty folder": (("extract", "empty", "-o", "t.parquet"), 2, "no file"),
    "no parquet": (("extract", "empty", "-o", "t.xlsx"), 2, "no Parquet file"),
    "unknown engine": (("extract", "full", "-o", "t.parquet", "--engine", "steam"), 2, "no engine 'steam'"),
    "unknown source": (("ingest", "wrad"), 2, "no source 'wrad'"),
    "no source": (("ingest",), 2, "No source was named"),
    "source is a file": (("ingest", "afile", "--catalog", "cat"), 2, "is a file"),
    "source's folder is gone": (("ingest", "gone", "--catalog", "cat"), 2, "no folder"),
    "source's folder is empty": (("ingest", "empty", "--catalog", "cat"), 2, "is empty"),
    "unknown template": (("report", "pydicom_samples", "--template", "prifile"), 2, "no report template 'prifile'"),
    "unknown parameter": (("report", "pydicom_samples", "-p", "colour=red"), 2, "no parameter 'colour'"),
    "no parameter": (("report", "pydicom_samples", "-p", "colour"), 2, "is no parameter"),
    "no workspace yet": (("report", "pydicom_samples"), 2, "no workspace"),
    "a workspace that is none": (("ingest", "pydicom_samples", "--workspace", "full"), 2, "is not a workspace"),
    "a catalogue that is none": (("sources", "--catalog", "nowhere"), 2, "does not exist"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_clear_line(name: str, run, write_source, samples: Path) -> None:
    Path("empty").mkdir()
    Path("full").mkdir()
    shutil.copy(samples / "CT_small.dcm", "full")
    for id, root in (("afile", Path("full/CT_small.dcm")), ("gone", Path("nothing")), ("empty", Path("empty"))):
        catalogue = write_source(root.absolute(), id=id)
    shutil.copytree(catalogue, "cat")
    words, expected, phrase = WRONG[name]
    code, out, err = run(*words)
    assert (code, out) == (expected, "")
    assert phrase in one_clear_line(err)


def test_a_report_of_what_was_never_ingested_says_what_to_type(run, ward: Path, write_source) -> None:
    catalogue = write_source(ward)
    run("ingest", "ward", "--catalog", catalogue)
    code, _, err = run("report", "pydicom_samples")
    assert code == 2 and "dicom-workbench ingest pydicom_samples" in one_clear_line(err)
    code, _, err = run("report", "ward", "--catalog", catalogue, "--pin", "f" * 64)
    assert code == 2 and "no version" in one_clear_line(err)


@pytest.mark.parametrize("command", ["ingest", "report"])
def test_a_lapsed_approval_refuses_with_its_number(command: str, run, ward: Path, write_source) -> None:
    valid = APPROVAL.format(number="UNZA-7/2020", expires="2099-01-01")
    catalogue = write_source(ward, access="restricted", more=valid)
    assert run("ingest", "ward", "--catalog", catalogue)[0] == 0
    write_source(ward, access="restricted", more=APPROVAL.format(number="UNZA-7/2020", expires="2021-12-31"))
    code, out, err = run(command, "ward", "--catalog", catalogue, *(["-o", "out"] if command == "report" else []))
    assert code == 3 and out == "" and "UNZA-7/2020" in one_clear_line(err) and "2021-12-31" in err
    assert not Path("out").exists()


def test_nothing_passed_to_a_command_moves_the_date(run) -> None:
    for command in ("ingest", "report", "demo", "sources"):
        _, out, _ = run(command, "--help")
        assert not any(word in out for word in ("--date", "--on", "--today", "--force", "--skip"))


def test_sources_tells_gate_ingest_and_faults(run, ward: Path, write_source) -> None:
    lapsed = APPROVAL.format(number="N-1", expires="2021-12-31")
    catalogue = write_source(ward, access="restricted", more=lapsed)
    write_source(ward, id="open_ward")
    (catalogue / "broken.toml").write_text("id = \n")
    run("ingest", "open_ward", "--catalog", catalogue)
    code, out, _ = run("sources", "--catalog", catalogue, "--json")
    listed = json.loads(out)
    by_id = {s["id"]: s for s in listed["sources"]}
    assert code == 0 and len(listed["faults"]) == 1 and "broken.toml" in listed["faults"][0]
    assert not by_id["ward"]["gate"]["ingest"]["allowed"] and "N-1" in by_id["ward"]["gate"]["ingest"]["reasons"][0]
    assert by_id["open_ward"]["ingested"]["rows"] == sum(1 for p in ward.rglob("*") if p.is_file())
    code, out, err = run("sources", "--catalog", catalogue)
    assert code == 0 and "open_ward" in out and "N-1" in err


def test_with_all_one_refused_source_does_not_stop_the_others(run, ward: Path, write_source, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = write_source(ward, access="restricted", more=APPROVAL.format(number="N-1", expires="2099-12-31"))
    write_source(ward, id="open_ward")
    run("ingest", "ward", "open_ward", "--catalog", catalogue)
    write_source(ward, access="restricted", more=APPROVAL.format(number="N-1", expires="2021-12-31"))
    code, _, err = run("report", "--all", "--template", "source_profile", "--catalog", catalogue, "-o", "out")
    assert code == 3 and "N-1" in err
    page = Path("out/index.html").read_text()
    assert "open_ward/source_profile/report.html" in page and "N-1" in page


def test_demo_reads_every_file_of_pydicom_and_ends_with_the_report(run, samples: Path) -> None:
    code, out, err = run("demo")
    assert code == 0 and Path(out.strip()).is_file()
    total = sum(1 for p in samples.rglob("*") if p.is_file())
    assert f"now {total} files" in err
    from dicom_workbench.store import Lake

    rows = Lake.open().rows("pydicom_samples").select("status", "reason").collect()
    assert len(rows) == total
    assert rows.filter(pl.col("status") != "ok")["reason"].null_count() == 0


def test_no_name_of_a_patient_is_said(run, ward: Path, write_source, samples: Path) -> None:
    catalogue = write_source(ward)
    code, out, err = run("ingest", "ward", "--catalog", catalogue)
    table = Path("t.parquet")
    run("extract", ward, "-o", table)
    names = pl.read_parquet(table).select("PatientName", "PatientID").unpivot()["value"].drop_nulls().unique().to_list()
    assert names and code == 0
    for name in names:
        assert len(name) < 4 or (name not in out and name not in err)


def test_the_command_runs_as_a_program_too(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("dicom-workbench" + (".exe" if os.name == "nt" else ""))
    if not program.exists():
        pytest.skip("needs root of an installation: dicom-workbench is not installed beside this Python")
    wrong = subprocess.run([program, "extract", "nothing", "-o", "x.parquet"], cwd=tmp_path, capture_output=True, text=True)
    assert wrong.returncode == 2 and "no folder" in one_clear_line(wrong.stderr) and wrong.stdout == ""
    assert subprocess.run([program, "--frob"], capture_output=True).returncode == 2


def test_a_full_disk_under_extract_is_one_line(run, ward: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here (needs root on Linux)")
    try:
        code, _, err = run("extract", ward, "-o", small / "t.parquet")
        assert code == 1 and "disk is full" in one_clear_line(err)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_tutorials_are_copied_once_and_never_overwritten(tmp_path: Path) -> None:
    copied = copy_tutorials(tmp_path / "t")
    first = sorted((tmp_path / "t").glob("*.ipynb"))
    assert copied == len(first)
    for notebook in first:
        notebook.write_text("mine")
    assert copy_tutorials(tmp_path / "t") == 0
    assert all(notebook.read_text() == "mine" for notebook in first)


def test_control_c_ends_with_a_line_that_says_what_was_kept(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dicom_workbench.cli.Catalogue.open", stopped)
    code, _, err = run("sources")
    assert code == 130 and one_clear_line(err).startswith("Stopped. What was done is kept")
