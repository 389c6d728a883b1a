"""Damaged headers: whatever bytes a file holds, the walk gives a row, and the row is the one that pydicom gives."""

import time
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_workbench.acquire.batch import read_batch
from dicom_workbench.acquire.plan import compile_plan
from dicom_workbench.acquire.reference import read_with_pydicom
from dicom_workbench.acquire.row import STATUSES

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
BASES = [(FILES / name).read_bytes() for name in (
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "test-SR.dcm", "image_dfl.dcm",
    "rtplan.dcm", "examples_jpeg2k.dcm", "nested_priv_SQ.dcm")]
PLAN = compile_plan()


@pytest.fixture(scope="module", autouse=True)
def the_runs_of_the_whole_files_are_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The dangerous case: a mutant that is nearly what the walk has learned."""
    path = tmp_path_factory.mktemp("bases") / "base.dcm"
    for content in BASES:
        path.write_bytes(content)
        read_batch([str(path)] * 30, PLAN)
    assert PLAN.runs >= len(BASES)


FUZZ = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def mutants(draw: st.DrawFn, changes: int = 4) -> bytes:
    """A real file with a few bytes of its header changed, put in, taken out, or the end cut off."""
    content = bytearray(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, changes))):
        at = draw(st.integers(128, min(len(content) - 1, 3000)))
        kind = draw(st.sampled_from(["set", "set", "length", "insert", "delete", "cut"]))
        if kind == "set":
            content[at] = draw(st.integers(0, 255))
        elif kind == "length":
            content[at:at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\1\0\0\0"]))
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "delete":
            del content[at:at + draw(st.integers(1, 16))]
        else:
            del content[max(at, 140):]
    return bytes(content)


def row_of(path: Path) -> dict[str, object]:
    table, _ = read_batch([str(path)], PLAN)
    assert len(table) == 1
    return table.row(0, named=True)


@FUZZ
@given(content=mutants())
def test_a_damaged_header_never_raises_and_never_hangs(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "mutant.dcm"
    path.write_bytes(content)
    start = time.process_time()
    row = row_of(path)
    assert row["status"] in STATUSES
    assert (row["reason"] in (None, "no Pixel Data")) == (row["status"] == "ok")
    assert time.process_time() - start < 10  # a hang, not a race: the walk takes some 0.0001 s


@FUZZ
@given(content=mutants(changes=1))
def test_what_the_walk_says_of_a_damaged_header_pydicom_says_too(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutant.dcm"
    path.write_bytes(content)
    row, header = row_of(path), read_with_pydicom(str(path))
    if row["status"] == "ok" and row["complete"]:
        assert {name: row[name] for name in PLAN.columns} == {name: header.values.get(name) for name in PLAN.columns}
        assert row["shape"] == header.shape


@FUZZ
@given(content=st.binary(max_size=3000))
def test_arbitrary_bytes_are_a_row(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.dcm"
    for prefix in (b"", bytes(128) + b"DICM", BASES[0][:400], BASES[1][:400]):
        path.write_bytes(prefix + content)
        assert row_of(path)["status"] in STATUSES
