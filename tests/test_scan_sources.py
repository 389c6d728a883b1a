"""A list of paths on standard input: every line is a row, whatever it names."""

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from dicom_workbench.acquire.folder import list_paths

posix = pytest.mark.skipif(os.name != "posix", reason="needs posix file names")


def extract(said: bytes, folder: Path) -> tuple[int, str, pl.DataFrame | None]:
    """Exit code, standard error, the table."""
    target = folder / "t.parquet"
    done = subprocess.run([sys.executable, "-c", "from dicom_workbench.cli import main; main()", "extract", "-", "-o", str(target)], input=said,
                          capture_output=True, cwd=folder)
    return done.returncode, done.stderr.decode(), pl.read_parquet(target) if target.exists() else None


@pytest.fixture
def ward(samples: Path, tmp_path: Path) -> Path:
    (tmp_path / "ward").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (tmp_path / "ward" / name).write_bytes((samples / name).read_bytes())
    return tmp_path


def test_every_line_is_a_row(ward: Path) -> None:
    said = f"./ward/CT_small.dcm\n{ward}/ward/MR_small.dcm\nward/gone.dcm\nward\n\nward/CT_small.dcm\n".encode()
    code, _, table = extract(said, ward)
    assert code == 0 and table is not None
    rows = {path: (status, reason, modality) for path, status, reason, modality in table.select("path", "status", "reason", "Modality").rows()}
    assert rows == {
        "ward/CT_small.dcm": ("ok", None, "CT"),
        (ward / "ward/MR_small.dcm").as_posix(): ("ok", None, "MR"),
        "ward/gone.dcm": ("missing", "listed and not there", None),
        "ward": ("refused", "a folder: list the files in it", None),
    }


@posix
def test_zero_bytes_separate_names_with_line_ends_and_bytes_that_are_no_text_survive(ward: Path, samples: Path) -> None:
    for name in (b"two\nlines.dcm", b"caf\xe9.dcm"):
        with open(os.path.join(os.fsencode(ward), name), "wb") as f:
            f.write((samples / "CT_small.dcm").read_bytes())
    code, _, table = extract(b"two\nlines.dcm\0caf\xe9.dcm\0", ward)
    assert code == 0 and table is not None
    assert table.select("path", "status").rows() == [("caf%E9.dcm", "ok"), ("two%0Alines.dcm", "ok")]


@pytest.mark.parametrize("said", [b"", b"\n\n", b"\0"])
def test_an_empty_list_is_said_in_one_line(said: bytes, ward: Path) -> None:
    code, error, table = extract(said, ward)
    assert code == 2 and table is None
    assert error.startswith("The list on standard input is empty.") and len(error.splitlines()) == 1


def test_lists_of_windows(tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(b"x")
    assert [e.status for e in list_paths(BytesIO(b"\xef\xbb\xbf" + os.fsencode(tmp_path / "1.dcm") + b"\r\n"))] == [""]
