"""Corrupt input: every file is delivered or set aside with a reason, nothing is passed on as clean that was not read to its end."""

import importlib.util
import random
import sys
from pathlib import Path

import pydicom
import pytest

from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.extents import read_extents
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.verify import verify_object

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "privacy_corrupt.py"
if not SOURCE.exists():
    pytest.skip("no benchmarks/ beside the tests", allow_module_level=True)
spec = importlib.util.spec_from_file_location("privacy_corrupt", SOURCE)
corrupt = sys.modules["privacy_corrupt"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corrupt)

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
KEY, POLICY = Key(bytes(range(32))), load_policy()
GOOD = (SAMPLES / "CT_small.dcm").read_bytes()
CASES = corrupt.cases(GOOD)


def test_there_are_at_least_the_cases_of_the_yardstick():
    assert len(CASES) >= 20
    assert {case.expected for case in CASES.values()} == {"delivered", "quarantined"}


@pytest.mark.parametrize("name", CASES)
def test_each_is_classified_as_it_should_be(name):
    case = CASES[name]
    outcome = deidentify_object(case.content, POLICY, KEY)
    assert outcome.status == case.expected, outcome.reason
    if outcome.status == "delivered":
        assert verify_object(outcome.data, case.content, POLICY, KEY) == []
        assert not [word for word in case.tokens if word.lower().encode() in read_extents(outcome.data).data.lower()]
    else:
        assert outcome.reason and not outcome.data
        assert not [word for word in case.tokens if word.lower() in outcome.reason.lower()]


def test_no_truncation_is_delivered_but_what_is_a_whole_object_without_pixels():
    reading = read_extents(GOOD)
    header = reading.top[0x7FE00010].start
    ends = [row.end for row in reading.rows]
    without_pixels = {row.end for row in reading.rows if row.parent < 0 and row.tag >= 0x00280103}  # the image is described
    for cut in [*ends, *range(0, header, 37), *range(header, len(GOOD), 997), len(GOOD) - 1]:
        if cut not in without_pixels:
            outcome = deidentify_object(GOOD[:cut], POLICY, KEY)
            assert outcome.status == "quarantined" and outcome.reason, cut


def test_a_damaged_file_never_raises_and_never_fails_the_verifier_silently():
    dice = random.Random(5)
    delivered = 0
    for _ in range(150):
        worse = bytearray(GOOD)
        for _ in range(dice.choice((1, 1, 4))):
            worse[dice.randrange(132, 6400)] = dice.randrange(256)
        outcome = deidentify_object(bytes(worse), POLICY, KEY)
        assert outcome.status in ("delivered", "quarantined")
        if outcome.status == "delivered":
            delivered += 1
            problems = verify_object(outcome.data, bytes(worse), POLICY, KEY)
            # what the second reader cannot make sense of is withheld: that is what it is for
            assert all(isinstance(p.message, str) for p in problems)
    assert delivered > 20


def test_a_flipped_bit_in_an_output_is_noticed():
    dice = random.Random(6)
    output = deidentify_object(GOOD, POLICY, KEY).data
    reading = read_extents(output)
    free = [(row.start, row.end) for row in [*reading.meta, *reading.rows] if row.tag in (0x00020012, 0x00020013, 0x00100010, 0x00100020, 0x00120063)]
    missed, tried = 0, 0
    for _ in range(300):
        at = dice.randrange(132, reading.top[0x7FE00010].start)
        if any(start <= at < end for start, end in free):
            continue  # the names of this program and of the patient are ours to choose
        worse = bytearray(output)
        worse[at] ^= 1 << dice.randrange(8)
        tried += 1
        missed += verify_object(bytes(worse), GOOD, POLICY, KEY) == []
    assert tried > 150 and missed <= tried // 50, (missed, tried)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_with_all_of_them_completes(tmp_path, workers):
    from dicom_workbench.privacy.batch import deidentify

    folder = tmp_path / "in"
    folder.mkdir()
    for number, case in enumerate(CASES.values()):
        (folder / f"file{number:02}").write_bytes(case.content)
    result = deidentify([folder], tmp_path / "out", key=KEY, workers=workers)
    expected = [case.expected for case in CASES.values()]
    assert (result.delivered, result.quarantined) == (expected.count("delivered"), expected.count("quarantined"))
    said = (tmp_path / "out" / "quarantine.csv").read_text(encoding="utf-8")
    assert len(said.strip().splitlines()) == 1 + expected.count("quarantined")
    tokens = [word for case in CASES.values() for word in case.tokens]
    everything = b"\n".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()).lower()
    assert tokens and not [word for word in tokens if word.lower().encode() in everything]
