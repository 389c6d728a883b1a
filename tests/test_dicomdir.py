"""A DICOMDIR is a witness: what it names and what is not there is a row."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_workbench.acquire.dicomdir import NOT_THERE, named_files
from dicom_workbench.acquire.scan import plan, read_batch
from dicom_workbench.catalog import load_source
from dicom_workbench.store import Lake, levels
from dicom_workbench.store import ingest as ingest_source


def table(path: Path) -> pl.DataFrame:
    return pl.concat(read_batch(batch)[0] for batch in plan([path], ["Modality", "SOPInstanceUID"])).sort("path")


def missing(path: Path) -> list[str]:
    return table(path).filter(status="missing", reason=NOT_THERE)["path"].to_list()


@pytest.fixture
def disc(samples: Path, tmp_path: Path) -> Path:
    """pydicom's disc, with its DICOMDIR and the 31 files that it names."""
    target = tmp_path / "disc"
    shutil.copytree(samples / "dicomdirtests", target, ignore=shutil.ignore_patterns("TINY_ALPHA", "DICOMDIR-*"))
    return target


def test_a_whole_disc_misses_nothing_and_its_dicomdir_is_a_file_like_others(disc: Path) -> None:
    frame = table(disc)
    assert missing(disc) == []
    assert frame.filter(path="DICOMDIR")["status"].to_list() == ["ok"]


def test_a_deleted_file_is_a_row(disc: Path) -> None:
    (disc / "77654033" / "CR2" / "6247").unlink()
    shutil.rmtree(disc / "98892003" / "MR1")
    gone = missing(disc)
    assert "77654033/CR2/6247" in gone
    assert [p for p in gone if not p.startswith("77654033")] == sorted(
        "/".join(r.ReferencedFileID) for r in dcmread(disc / "DICOMDIR").DirectoryRecordSequence
        if r.get("ReferencedFileID") and list(r.ReferencedFileID)[:2] == ["98892003", "MR1"])
    assert table(disc)["path"].is_unique().all()


def test_upper_and_lower_case_and_versions_count_as_the_same(disc: Path) -> None:
    moved = disc.parent / "copy"
    for file in [p for p in disc.rglob("*") if p.is_file()]:
        target = moved / str(file.relative_to(disc)).lower()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target.with_name(target.name + ";1"))
    assert (moved / "dicomdir;1").is_file()
    assert missing(moved) == []


def test_a_dicomdir_alone_misses_everything_that_it_names(samples: Path, tmp_path: Path) -> None:
    alone = samples / "dicomdirtests" / "TINY_ALPHA" / "DICOMDIR"
    shutil.copy(alone, tmp_path)
    named = ["/".join(r.ReferencedFileID) for r in dcmread(alone).DirectoryRecordSequence if r.get("ReferencedFileID")]
    assert missing(tmp_path) == sorted(named) and len(named) == 50


def test_no_file_of_a_real_disc_is_called_missing(real: Path) -> None:
    discs = [file for file in real.rglob("DICOMDIR") if named_files(file.read_bytes())]
    assert len(discs) == 2
    assert all(missing(file.parent) == [] for file in discs)


def test_a_disc_in_a_folder_and_in_a_zip_misses_the_same(disc: Path) -> None:
    (disc / "77654033" / "CR2" / "6247").unlink()
    with zipfile.ZipFile(disc.parent / "disc.zip", "w") as z:
        for file in sorted(p for p in disc.rglob("*") if p.is_file()):
            z.write(file, f"CD 1/{file.relative_to(disc).as_posix()}")
    assert missing(disc.parent / "disc.zip") == ["disc.zip!CD 1/77654033/CR2/6247"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_records_out_of_use_and_odd_names(disc: Path) -> None:
    data = dcmread(disc / "DICOMDIR")
    images = [r for r in data.DirectoryRecordSequence if r.get("ReferencedFileID")]
    images[0].RecordInUseFlag, images[0].ReferencedFileID = 0, ["OUT", "OF", "USE"]
    images[1].ReferencedFileID = ["50%", "IM!1"]
    images[2].ReferencedFileID = ["LOST"]
    images[3].ReferencedFileID = ["LOST"]
    data.save_as(disc / "DICOMDIR")
    gone = missing(disc)
    assert sorted(gone) == ["50%25/IM%211", "LOST"]


@pytest.mark.parametrize("content", [b"", b"no DICOM", "cut", "loop"])
def test_a_broken_dicomdir_names_nothing_and_raises_nothing(content: bytes | str, disc: Path) -> None:
    whole = (disc / "DICOMDIR").read_bytes()
    broken = {"cut": whole[:3000], "loop": whole.replace(b"\x04\x00\x20\x12", b"\xff\xff\xff\xff")}.get(content, content)  # type: ignore[call-overload]
    (disc / "DICOMDIR").write_bytes(broken)
    table(disc)
    assert isinstance(named_files(broken), list)


def test_the_rows_of_a_disc_come_and_go_with_its_files(disc: Path, tmp_path: Path, write_source: Callable[..., Path]) -> None:
    lost = disc / "77654033" / "CR2" / "6247"
    kept = lost.read_bytes()
    lost.unlink()
    catalogue, lake = write_source(disc), Lake.open(tmp_path / "workspace")

    def run() -> tuple[int, int, dict[str, int]]:
        done = ingest_source(load_source(catalogue / "ward.toml"), catalogue, lake)
        return done.read, done.missing, done.statuses

    def row() -> list[tuple[str, str | None]]:
        return lake.rows("ward").filter(pl.col("path") == "77654033/CR2/6247").select("status", "reason").collect().rows()

    assert run()[2]["missing"] == 1 and row() == [("missing", NOT_THERE)]
    assert run()[:2] == (0, 0)
    instances = levels.instances(lake, "ward").collect()
    assert "DICOMDIR" not in instances["path"].to_list() and lost.name not in " ".join(instances["path"])
    lost.write_bytes(kept)
    assert run()[0] == 1 and row()[0][0] in ("ok", "truncated")
    lost.unlink()
    assert run()[1] == 0 and row() == [("missing", NOT_THERE)]
    data = dcmread(disc / "DICOMDIR")
    data.DirectoryRecordSequence = Sequence([Dataset()])
    data.save_as(disc / "DICOMDIR")
    assert run()[0] == 1 and row() == []
