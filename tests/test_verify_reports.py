"""The verifier and structured reports: a UID that an option keeps may stay, exactly there and only with the option."""

import copy
import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dicom_workbench.privacy.deidentify import deidentify_object
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.verify import verify_object

KEY = Key(bytes(32))
REPORT = Path(str(get_testdata_file("reportsi.dcm")))
OWN = "1.3.99999.4711.20240229.815"  # nobody's
IRRADIATION_EVENT, ITEM_OF_NO_TABLE = ("113769", "DCM"), ("x1", "99LOCAL")  # PS3.15 Table E.3.4-1: U, and K with retain-uids


def coded(code: str, scheme: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = code, scheme, "An item"
    return ds


def report(concept: tuple[str, str], uid: str = OWN) -> bytes:
    "pydicom's report with one more content item, inside a container."
    ds = pydicom.dcmread(REPORT)
    inner, outer = Dataset(), Dataset()
    inner.RelationshipType, inner.ValueType, inner.ConceptNameCodeSequence, inner.UID = "CONTAINS", "UIDREF", [coded(*concept)], uid
    outer.RelationshipType, outer.ValueType, outer.ConceptNameCodeSequence = "CONTAINS", "CONTAINER", [coded("113706", "DCM")]
    outer.ContinuityOfContent, outer.ContentSequence = "SEPARATE", [inner]
    ds.ContentSequence.append(outer)
    target = io.BytesIO()
    ds.save_as(target)
    return target.getvalue()


def kept(content: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(content)).ContentSequence[-1].ContentSequence[-1].UID)


def with_uid(content: bytes, uid: str) -> bytes:
    ds = copy.deepcopy(pydicom.dcmread(io.BytesIO(content)))
    ds.ContentSequence[-1].ContentSequence[-1].UID = uid
    target = io.BytesIO()
    ds.save_as(target)
    return target.getvalue()


@pytest.mark.parametrize("options", [["retain-uids"], ["retain-uids", "retain-full-dates"], ["retain-uids", "clean-structured-content"]])
def test_a_uid_that_an_option_keeps_in_a_report_passes(options: list[str]) -> None:
    original, policy = report(IRRADIATION_EVENT), load_policy("basic", options)
    output = deidentify_object(original, policy, KEY).data
    assert kept(output) == OWN
    assert verify_object(output, original, policy, KEY) == []


@pytest.mark.parametrize("concept", [IRRADIATION_EVENT, ITEM_OF_NO_TABLE])
def test_without_the_option_the_same_uid_is_condemned(concept: tuple[str, str]) -> None:
    original, policy = report(concept), load_policy()
    output = deidentify_object(original, policy, KEY).data
    assert kept(output) == KEY.uid(OWN)
    assert verify_object(output, original, policy, KEY) == []
    found = {(p.check, p.path.rpartition(".")[2]) for p in verify_object(with_uid(output, OWN), original, policy, KEY)}
    assert {("uid", "(0040,A124)"), ("identifier", "(0040,A124)")} <= found


def test_the_option_does_not_excuse_items_of_which_the_table_says_nothing() -> None:
    original, policy = report(ITEM_OF_NO_TABLE), load_policy("basic", ["retain-uids"])
    output = deidentify_object(original, policy, KEY).data
    assert kept(output) == KEY.uid(OWN)
    assert ("uid", "(0040,A124)") in {(p.check, p.path.rpartition(".")[2]) for p in verify_object(with_uid(output, OWN), original, policy, KEY)}


def test_what_an_option_keeps_must_be_what_it_was() -> None:
    original, policy = report(IRRADIATION_EVENT), load_policy("basic", ["retain-uids", "clean-structured-content"])
    output = deidentify_object(original, policy, KEY).data
    other = with_uid(output, "1.3.99999.1.2.3")
    assert verify_object(other, original, policy, KEY)
