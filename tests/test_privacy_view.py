"""A file beside its de-identified copy, judged by pydicom, which reads both."""

import json
from pathlib import Path

import polars as pl
import pydicom
import pytest
from pydicom.tag import Tag

from dicom_workbench.explore.comparison import ACTIONS, compare, reason_of
from dicom_workbench.explore.privacy_view import MOST_BYTES, PrivacyView
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import OPTIONS, load_policy
from dicom_workbench.standard.confidentiality import ROWS
from dicom_workbench.standard.errors import UsageError

KEY = Key(bytes(range(32)))
FILES = ("CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "rtplan.dcm", "JPEG2000.dcm", "rtdose_1frame.dcm", "waveform_ecg.dcm", "reportsi.dcm")
CHOICES = ((), ("retain-uids", "retain-safe-private", "retain-full-dates"), ("retain-modified-dates", "clean-descriptors", "clean-structured-content"), ("retain-patient-characteristics", "retain-device-identity", "retain-institution-identity", "clean-graphics"))


def act(view: PrivacyView, **message: object) -> None:
    view._hear(None, message, None)


@pytest.mark.parametrize("options", CHOICES)
@pytest.mark.parametrize("name", FILES)
def test_what_is_told_is_what_happened(samples: Path, name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    content = (samples / name).read_bytes()
    found = compare(content, load_policy("basic", options), KEY)
    assert found.outcome.status == "delivered" and found.problems == ()
    (tmp_path / "copy.dcm").write_bytes(found.outcome.data)
    before, after = pydicom.dcmread(samples / name), pydicom.dcmread(tmp_path / "copy.dcm")
    top = {int(path, 16): action for path, action in found.elements.filter(~pl.col("tag_path").str.contains(".", literal=True)).select("tag_path", "action").iter_rows()}
    for tag, action in top.items():
        if tag >> 16 == 2:
            continue
        here, there = tag in before, tag in after
        if action == "remove":
            assert here and not there
        elif action == "add":
            assert there and not here
        else:
            assert here and there, (name, Tag(tag), action)
            a, b = before[tag], after[tag]
            if a.VR == "SQ":
                continue
            if action == "keep":
                assert a.value == b.value or (not a.value and not b.value), (name, Tag(tag))
            elif action == "empty":
                assert not b.value and a.value
            elif action == "uid":
                assert a.VR == "UI" and a.value != b.value
            else:
                assert a.value != b.value and b.value not in (None, ""), (name, Tag(tag), action)
    assert {int(e.tag) for e in (*before, *after) if int(e.tag) <= 0x7FE00010} <= set(top)
    told = sum(found.counts.values())
    assert told == found.elements.height and set(found.counts) == set(ACTIONS)


def test_items_that_moved_up_are_matched_with_themselves(samples: Path) -> None:
    content = (samples / "test-SR.dcm").read_bytes()
    found = compare(content, load_policy("basic", ["clean-structured-content"]), KEY)
    codes = found.elements.filter(pl.col("keyword").is_in(["CodeValue", "ValueType", "RelationshipType"]), pl.col("tag_path").str.starts_with("0040A730"), pl.col("after").is_not_null(), pl.col("before").is_not_null())
    assert codes.height > 50
    assert codes.filter(pl.col("before") != pl.col("after")).is_empty()


def test_each_row_of_the_table_gives_a_reason_that_names_its_code() -> None:
    policy, everything = load_policy("basic"), load_policy("basic", [o for o in OPTIONS if o != "retain-full-dates"])
    for row in ROWS:
        if "x" in row.tag or row.tag == "private":
            continue
        tag = int(row.tag.replace(",", ""), 16)
        if tag >> 16 == 2:
            continue
        assert reason_of(policy, (tag,), "1.2.840.10008.5.1.4.1.1.2").code == row.basic
        why = reason_of(everything, (tag,), "1.2.840.10008.5.1.4.1.1.2")
        chosen = {o for o in row.options if o in everything.options}
        assert (why.option in chosen and why.code == row.options[why.option]) if chosen else why.option == ""


def test_options_re_run_the_file_and_those_that_contradict_leave_each_other_out(samples: Path) -> None:
    view = PrivacyView(samples / "CT_small.dcm", mask=False, key=KEY)
    act(view, do="option", word="retain-full-dates", on=True)
    assert view.frame.filter(keyword="StudyDate")["action"].item() == "keep"
    act(view, do="option", word="retain-modified-dates", on=True)
    assert view.policy.options == {"retain-modified-dates"}
    assert view.frame.filter(keyword="StudyDate")["action"].item() == "shift"
    act(view, do="option", word="no such option", on=True)
    act(view, do="only", action="shift", on=True)
    assert {r[0] for r in view.state["rows"]} == {"shift"}
    act(view, do="profile", name="dose-survey")
    assert view.policy.name == "dose-survey" and view.comparison is not None
    with pytest.raises(UsageError):
        PrivacyView(samples / "CT_small.dcm", options=("nonsense",))


def test_masked_views_show_no_identifier_whatever_the_options_keep(samples: Path) -> None:
    told: list[str] = []
    data = pydicom.dcmread(samples / "CT_small.dcm")
    view = PrivacyView({"Banda.dcm": samples / "CT_small.dcm"}, options=("retain-uids", "retain-full-dates", "retain-patient-characteristics"), log=lambda what, _: told.append(what))
    pages = []
    for start in range(0, view.state["total"], 20):
        act(view, do="turn", start=start)
        pages.append(json.dumps([view.state, view.setup], ensure_ascii=False))
    shown = "".join(pages)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID", "AccessionNumber"):
        assert not data.get(keyword) or str(data.get(keyword)) not in shown, keyword
    assert "Banda" not in shown and told == []
    act(view, do="search", text=str(data.PatientName))
    assert view.state["total"] == 0
    act(view, do="identifiers")
    assert told == ["show identifiers"]
    assert view.state["total"] == 1


def test_a_file_that_is_set_aside_says_why_and_what_was_planned(samples: Path) -> None:
    content = (samples / "CT_small.dcm").read_bytes()
    view = PrivacyView(content + b"trailing garbage" * 3, mask=False, key=KEY)
    if view.comparison is not None:
        assert view.comparison.outcome.status == "quarantined"
        assert view.state["status"][0][0] and "Set aside" in view.state["status"][0][1]
        assert view.frame.filter(keyword="PatientName")["after"].item() is None
    broken = PrivacyView(b"no dicom at all", mask=False)
    assert broken.state["status"][0][0] and broken.state["rows"] == []
    missing = PrivacyView(samples / "there is no such file", mask=False)
    assert "cannot be read" in missing.state["status"][0][1]


def test_states_fit_into_a_message_and_nasty_names_stay_text(samples: Path, tmp_path: Path) -> None:
    data = pydicom.dcmread(samples / "CT_small.dcm")
    data.PatientName = "<script>alert(1)</script>"
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageComments = "日本語 عربى " * 300
    data.save_as(tmp_path / "nasty.dcm")
    view = PrivacyView(tmp_path / "nasty.dcm", mask=False, options=("clean-descriptors",), key=KEY)
    for start in range(0, view.state["total"], 20):
        act(view, do="turn", start=start)
        assert len(json.dumps(view.state, ensure_ascii=False).encode()) <= MOST_BYTES
    assert view.frame.filter(keyword="PatientName")["before"].item() == "<script>alert(1)</script>"


def test_every_action_has_a_sign_of_its_own_and_readable_ink() -> None:
    assert len({a.sign for a in ACTIONS.values()}) == len(ACTIONS) == len({a.colour for a in ACTIONS.values()})
    for action in ACTIONS.values():
        assert contrast(action.colour, action.ink) >= 3  # WCAG, large or bold signs


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
