"""Listing what lies in a folder: everything is seen once, nothing hangs, nothing is dropped."""

import os
from pathlib import Path

import pytest

from dicom_workbench.acquire import scan
from dicom_workbench.acquire.folder import list_files
from dicom_workbench.acquire.row import decode_path, encode_path
from dicom_workbench.standard.errors import UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names, links and pipes")


def test_every_file_of_pydicom_is_listed_once(samples: Path) -> None:
    listed = [e.path for e in list_files(samples)]
    walked = [os.path.relpath(os.path.join(d, f), samples) for d, _, names in os.walk(samples) for f in names]
    assert sorted(listed) == sorted(encode_path(p) for p in walked)


@posix
def test_a_name_that_is_not_utf8_survives_the_table(tmp_path: Path, samples: Path) -> None:
    name = b"caf\xe9 100%.dcm"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as f:
        f.write((samples / "CT_small.dcm").read_bytes())
    table = scan(tmp_path, ["Modality"])
    assert table["path"].to_list() == ["caf%E9 100%25.dcm"]
    assert table["Modality"].to_list() == ["CT"]
    assert os.fsencode(decode_path(table["path"][0])) == name


@posix
def test_links_in_circles_pipes_and_dangling_links_become_rows(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    rows = scan(tmp_path, []).select("path", "status").rows()
    assert rows == [("a/up", "refused"), ("nowhere", "unreadable"), ("pipe", "refused")]


@posix
def test_a_linked_folder_is_followed(tmp_path: Path, samples: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "1.dcm").write_bytes(b"x")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    assert [e.path for e in list_files(tmp_path / "here")] == ["link/1.dcm"]


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_opened_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    try:
        assert [(e.path, e.status) for e in list_files(tmp_path)] == [("closed", "unreadable")]
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_missing_folder_and_a_file_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for wrong, words in ((tmp_path / "none", "no folder"), (tmp_path / "file", "is a file")):
        with pytest.raises(UsageError, match=words) as caught:
            list(list_files(wrong))
        assert "\n" not in str(caught.value) and caught.value.remedy
