"""What score_source leaves in the store: counts of every rule, scores of every level, the first findings; all of one version."""

import os
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from conftest import SOURCE
from polars.testing import assert_frame_equal

from dicom_workbench.catalog import Catalogue
from dicom_workbench.quality import last_score, load_profile, score_source, workspace_secret
from dicom_workbench.quality.run import EXAMPLES, last_findings
from dicom_workbench.store import Lake, ingest
from dicom_workbench.teach import synth


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    synth(folder / "files", 120, 3, defects=True, most=1, beside=folder / "beside")
    return folder / "files"


def ward(files: Path, folder: Path) -> Lake:
    (folder / "catalogue").mkdir(exist_ok=True)
    (folder / "catalogue" / "ward.toml").write_text(SOURCE.format(id="ward", access="open", root=files.as_posix(), more=""), encoding="utf-8")
    lake, found = Lake.open(folder / "lake"), Catalogue.open(folder / "catalogue")
    ingest(found.get("ward"), folder / "catalogue", lake)
    return lake


def test_the_store_holds_what_was_found(planted: Path, tmp_path: Path) -> None:
    lake = ward(planted, tmp_path)
    assert last_findings(lake, "ward") is None and last_score(lake, "ward") is None
    result = score_source(lake, "ward")
    every = result.findings(workspace_secret(lake.folder)).collect()
    stored = last_findings(lake, "ward").collect()
    assert stored["source_version"].unique().to_list() == [result.source_version]
    assert stored["profile_sha256"].unique().to_list() == [load_profile("research").hash]
    names = [name for name in every.columns if name != "source_id"]
    rare = every.group_by("rule").len().filter(pl.col("len") <= EXAMPLES)["rule"].to_list()
    assert len(rare) > 100
    order = [pl.col(name).fill_null("") for name in names]
    assert_frame_equal(stored.filter(pl.col("rule").is_in(rare)).select(names).sort(order), every.filter(pl.col("rule").is_in(rare)).select(names).sort(order))
    rules = pl.scan_parquet(lake.files("scores", "ward")).filter(pl.col("level") == "rule").collect()
    assert_frame_equal(rules.select("applicable", "violated", id="rule").sort("id"), result.rules().select("applicable", "violated", "id").sort("id"))
    assert last_score(lake, "ward") == result.scores()["total"].item()


def test_of_a_frequent_finding_the_first_are_stored_whatever_the_shards(planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = tmp_path / "few"
    for number, path in enumerate(sorted(planted.rglob("*.dcm"))[:260]):
        target = few / f"{number % 13}" / f"{number}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        target.write_bytes(target.read_bytes()[132:])  # no preamble: one finding a file
    found = []
    for size in (1000, 7):
        monkeypatch.setattr(sys.modules["dicom_workbench.acquire.scan"], "BATCH_FILES", size)
        monkeypatch.setattr(sys.modules["dicom_workbench.quality.run"], "PART_ROWS", size * 5)
        (tmp_path / f"{size}").mkdir()
        lake = ward(few, tmp_path / f"{size}")
        result = score_source(lake, "ward")
        stored = last_findings(lake, "ward").collect().filter(pl.col("rule") == "FRD-GROUP-LENGTH")
        every = result.findings(b"secret").filter(pl.col("rule") == "FRD-GROUP-LENGTH").collect()
        assert len(every) > 2 * EXAMPLES
        assert sorted(stored["path"]) == sorted(every["path"])[:EXAMPLES]
        found.append(stored.select("path", "SOPInstanceUID").sort("path"))
    assert found[0].equals(found[1])


def test_what_was_scored_is_not_what_is_there_any_more(planted: Path, tmp_path: Path) -> None:
    files = tmp_path / "files"
    shutil.copytree(planted, files)
    lake = ward(files, tmp_path)
    score_source(lake, "ward")
    versions = lake.table("scores").version(), lake.table("findings").version()
    score_source(lake, "ward")
    assert (lake.table("scores").version(), lake.table("findings").version()) == versions  # nothing new to say
    score_source(lake, "ward", "clinical_archive")
    assert last_findings(lake, "ward").select("profile").unique().collect().item() == "clinical_archive"
    next(files.rglob("*.dcm")).unlink()
    ward(files, tmp_path)
    assert last_findings(lake, "ward") is None and last_score(lake, "ward") is None


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_findings_and_scores_are_readable_by_their_owner_only(planted: Path, tmp_path: Path) -> None:
    lake = ward(planted, tmp_path)
    score_source(lake, "ward")
    assert {p.stat().st_mode & 0o777 for name in ("findings", "scores") for p in lake.files(name, "ward")} == {0o600}
    assert lake.folder.stat().st_mode & 0o077 == 0
