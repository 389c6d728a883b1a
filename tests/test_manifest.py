"""The manifest of a de-identified folder: what it proves, and what it keeps to itself."""

import hashlib
import json
from pathlib import Path

import pytest

from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.manifest import (
    DELIVERED,
    FIRST,
    MANIFEST,
    QUARANTINED,
    Record,
    check_chain,
    check_outputs,
    content_token,
    path_token,
    write_manifest,
)

KEY, OTHER = Key(bytes(range(32))), Key(bytes(32))
IMAGES = {f"AAAAAAAA/BBBBBBBB/CCCCCCCC/DDDDDDD{n}": f"image {n}".encode() for n in "234"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    "A folder with three files, one quarantined, and its manifest."
    records = [Record("00ff", QUARANTINED, "no DICOM", input="aa")]
    for name, content in IMAGES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        records.append(Record("11ff", DELIVERED, output=name, sha256=hashlib.sha256(content).hexdigest(), size=len(content)))
    (tmp_path / "quarantine.csv").write_bytes(b"path,reason\n")
    others = {"quarantine.csv": hashlib.sha256(b"path,reason\n").hexdigest()}
    write_manifest(tmp_path / MANIFEST, {"policy": "basic"}, records, others, KEY)
    return tmp_path


def lines(out: Path) -> list[bytes]:
    return (out / MANIFEST).read_bytes().splitlines()


def rewrite(out: Path, new: list[bytes]) -> list[str]:
    (out / MANIFEST).write_bytes(b"".join(line + b"\n" for line in new))
    return check_chain(out / MANIFEST, KEY)


def test_a_manifest_as_it_was_written_passes_with_and_without_the_key(out: Path) -> None:
    assert check_chain(out / MANIFEST) == [] == check_chain(out / MANIFEST, KEY)
    assert check_outputs(out, KEY) == []


def test_every_line_names_the_sha256_of_the_line_before(out: Path) -> None:
    before = FIRST
    for line in lines(out):
        assert json.loads(line)["previous"] == before
        before = hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize("number", range(6))
def test_a_line_that_was_changed_dropped_doubled_or_swapped_is_found(out: Path, number: int) -> None:
    good = lines(out)
    assert len(good) == 6
    assert rewrite(out, [*good[:number], *good[number + 1:]])
    assert rewrite(out, [*good[:number], good[number], *good[number:]])
    assert rewrite(out, [*good[:number], good[number].replace(b'"previous"', b'"x":1,"previous"'), *good[number + 1:]])
    if number:
        assert rewrite(out, [*good[:number - 1], good[number], good[number - 1], *good[number + 1:]])
    assert rewrite(out, good) == []


def test_what_is_no_manifest_is_said_to_be_none(out: Path) -> None:
    good = lines(out)
    for wrong in ([], [b"[]"], [b"{}"], [b"no json"], [*good, good[-1]], [b"\xff" * 9], good[1:]):
        assert rewrite(out, wrong)


def test_whoever_writes_a_chain_anew_without_the_key_is_found_by_the_seal(out: Path) -> None:
    records = [Record("11ff", DELIVERED, output=name, sha256="00") for name in IMAGES]
    write_manifest(out / MANIFEST, {"policy": "basic"}, records, {}, OTHER)
    assert check_chain(out / MANIFEST) == []
    assert check_chain(out / MANIFEST, KEY) == ["the seal was not made with this key"]


def test_an_output_that_was_changed_removed_or_added_is_found(out: Path) -> None:
    changed, gone, _ = IMAGES
    (out / changed).write_bytes(b"image 9")
    (out / gone).unlink()
    (out / "more").write_bytes(b"")
    assert check_outputs(out) == [f"{changed}: was changed", f"{gone}: is missing", "files that the manifest does not name: 1"]


def test_a_summary_and_crosswalks_beside_it_are_no_strangers(out: Path) -> None:
    for name in ("summary.json", "crosswalk.age", "crosswalk-2.age"):
        (out / name).write_bytes(b"")
    assert check_outputs(out) == []


def test_a_short_number_cannot_be_found_by_trying_without_the_key() -> None:
    tokens = {path_token(KEY, f"{n:04}") for n in range(10_000)}
    assert len(tokens) == 10_000
    for token in (path_token(KEY, "4711"), content_token(KEY, b"4711")):
        plain = {hashlib.sha256(f"{n:04}".encode()).hexdigest() for n in range(10_000)}
        assert token not in plain
        assert token not in {path_token(OTHER, f"{n:04}") for n in range(10_000)}
