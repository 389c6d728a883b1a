"""The gate: who may use which source for what, on the days around each boundary."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_workbench.catalog import Allow, Catalogue, Deny, gate, require
from dicom_workbench.catalog.source import Agreement, Approval, FolderAcquisition, Source
from dicom_workbench.standard.errors import Refused

GRANTED, EXPIRES = dt.date(2023, 6, 1), dt.date(2027, 5, 31)
DAY = dt.timedelta(days=1)
PURPOSES = ("ingest", "report", "release")


def approval(board="UNZABREC", number="17-2023", purposes=PURPOSES, granted=GRANTED, expires=EXPIRES) -> Approval:
    return Approval(board=board, number=number, purposes=purposes, granted=granted, expires=expires, consent="waived")


def agreement(expires=EXPIRES) -> Agreement:
    return Agreement(parties=("A hospital", "A university"), number="D-7", expires=expires)


def source(*approvals: Approval, access="restricted", agreement=None) -> Source:
    return Source(
        id="chest", title="Chest", institution="A hospital", country="ZM", steward="imaging@example.org", access=access,
        licence="none", modalities=("CR",), deidentified=False, refresh="monthly",
        acquisition=FolderAcquisition(kind="folder", root="/data"), approvals=approvals, agreement=agreement,
    )  # fmt: skip


@pytest.mark.parametrize("access", ["open", "registered", "restricted"])
@pytest.mark.parametrize(("on", "allowed"), [
    (GRANTED - DAY, False), (GRANTED, True), (EXPIRES - DAY, True), (EXPIRES, True), (EXPIRES + DAY, False),
])  # fmt: skip
def test_an_approval_holds_from_its_first_to_its_last_day_whatever_the_tier(access, on, allowed):
    assert isinstance(gate(source(approval(), access=access), "ingest", on), Allow if allowed else Deny)


@pytest.mark.parametrize("access", ["open", "registered", "restricted"])
@pytest.mark.parametrize(("on", "allowed"), [(EXPIRES, True), (EXPIRES + DAY, False)])
def test_an_agreement_holds_to_its_last_day_whatever_the_tier(access, on, allowed):
    long = approval(expires=dt.date(2099, 12, 31))
    answer = gate(source(long, access=access, agreement=agreement()), "report", on)
    assert isinstance(answer, Allow if allowed else Deny)
    if not allowed:
        assert answer == Deny(("The agreement D-7 between A hospital and A university lapsed on 2027-05-31.",))


def test_an_open_source_needs_no_approval_and_others_do():
    on = dt.date(2025, 1, 1)
    assert isinstance(gate(source(access="open"), "release", on), Allow)
    for access in ("registered", "restricted"):
        assert gate(source(access=access), "ingest", on) == Deny((f"Access is {access}, and no approval is listed.",))
        assert isinstance(gate(source(access=access, agreement=agreement()), "ingest", on), Deny)


@pytest.mark.parametrize("given_purpose", PURPOSES)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_approval_covers_its_own_purposes_only(given_purpose, purpose):
    answer = gate(source(approval(purposes=(given_purpose,))), purpose, GRANTED)
    assert isinstance(answer, Allow) is (purpose == given_purpose)
    if purpose != given_purpose:
        assert answer.reasons == (
            f"UNZABREC approval 17-2023 (until 2027-05-31) covers {given_purpose} and not {purpose}.",
        )


def test_each_board_that_is_listed_has_to_approve():
    nhra = approval(board="NHRA", number="N-3", purposes=("ingest",))
    both = source(approval(), nhra)
    assert isinstance(gate(both, "ingest", GRANTED), Allow)
    assert gate(both, "report", GRANTED) == Deny(("NHRA approval N-3 (until 2027-05-31) covers ingest and not report.",))


def test_one_lapsed_board_denies_although_the_other_still_approves():
    nhra = approval(board="NHRA", number="N-3", expires=dt.date(2024, 2, 29))
    answer = gate(source(approval(), nhra), "ingest", dt.date(2024, 3, 1))
    assert answer == Deny(("NHRA approval N-3 lapsed on 2024-02-29.",))


def test_a_lapsed_approval_denies_although_the_same_board_has_renewed_it():
    old = approval(number="1-2020", granted=dt.date(2020, 1, 1), expires=dt.date(2023, 5, 31))
    answer = gate(source(old, approval()), "ingest", GRANTED)
    assert answer == Deny(("UNZABREC approval 1-2020 lapsed on 2023-05-31.",))


def test_two_approvals_of_one_board_may_share_the_purposes():
    two = source(approval(number="A", purposes=("ingest",)), approval(number="B", purposes=("report",)))
    assert isinstance(gate(two, "ingest", GRANTED), Allow)
    assert isinstance(gate(two, "report", GRANTED), Allow)
    assert len(gate(two, "release", GRANTED).reasons) == 2


def test_an_approval_that_begins_later_does_not_count_yet_but_disturbs_none():
    later = approval(number="B", granted=EXPIRES, expires=dt.date(2030, 1, 1))
    assert isinstance(gate(source(approval(), later), "ingest", GRANTED), Allow)
    assert gate(source(later), "ingest", GRANTED) == Deny(("UNZABREC approval B begins on 2027-05-31.",))


def test_all_reasons_are_told_at_once():
    nhra = approval(board="NHRA", number="N-3", purposes=("ingest",), expires=dt.date(2099, 1, 1))
    answer = gate(source(approval(), nhra, agreement=agreement()), "release", EXPIRES + DAY)
    assert len(answer.reasons) == 3
    for piece in ("17-2023", "N-3", "D-7", "2027-05-31", "2099-01-01"):
        assert piece in " ".join(answer.reasons)


def test_an_answer_of_yes_names_board_number_and_date_but_not_the_day_of_asking():
    chest = source(approval(), agreement=agreement())
    answers = {gate(chest, "report", GRANTED + n * DAY).because for n in range(100)}
    assert answers == {
        ("UNZABREC approval 17-2023 covers report until 2027-05-31.", "The agreement D-7 runs until 2027-05-31.")
    }


def test_a_no_is_false_even_for_careless_code():
    assert not gate(source(), "ingest", GRANTED)
    assert gate(source(approval()), "ingest", GRANTED)


@pytest.mark.parametrize("zone", [None, dt.UTC, dt.timezone(dt.timedelta(hours=14)), dt.timezone(dt.timedelta(hours=-12))])
def test_a_moment_is_no_day_whatever_its_time_zone(zone):
    with pytest.raises(TypeError, match="day"):
        gate(source(approval()), "ingest", dt.datetime(2025, 1, 1, 23, 30, tzinfo=zone))


@pytest.mark.parametrize("purpose", ["", "Ingest", "publish", None])
def test_an_unknown_purpose_is_never_allowed(purpose):
    with pytest.raises(ValueError, match="purpose"):
        gate(source(access="open"), purpose, GRANTED)


@pytest.mark.parametrize("field", ["granted", "expires", "purposes", "board"])
def test_an_approval_with_a_missing_field_cannot_be_made(field):
    fields = approval().model_dump()
    del fields[field]
    with pytest.raises(ValueError, match=field):
        Approval(**fields)


@given(st.data())
def test_no_day_outside_every_period_is_ever_allowed(data):
    days = st.dates(dt.date(2000, 1, 1), dt.date(2050, 1, 1))
    approvals = []
    for board in data.draw(st.lists(st.sampled_from("ABC"), min_size=1, max_size=4)):
        first, last = sorted((data.draw(days), data.draw(days)))
        purposes = tuple(data.draw(st.sets(st.sampled_from(PURPOSES), min_size=1)))
        approvals.append(approval(board=board, granted=first, expires=last, purposes=purposes))
    on, purpose = data.draw(days), data.draw(st.sampled_from(PURPOSES))
    permitted = all(a.expires >= on for a in approvals) and all(
        any(a.granted <= on and purpose in a.purposes for a in approvals if a.board == board)
        for board in {a.board for a in approvals}
    )
    answer = gate(source(*approvals), purpose, on)
    assert isinstance(answer, Allow) is permitted
    assert (answer.because if permitted else answer.reasons) != ()


def test_require_asks_about_today_and_refuses_with_number_and_steward():
    yesterday = dt.date.today() - DAY
    with pytest.raises(Refused) as refused:
        require(source(approval(granted=dt.date(2020, 1, 1), expires=yesterday)), "ingest")
    assert refused.value.exit_code == 3
    for piece in ("chest", "UNZABREC", "17-2023", yesterday.isoformat(), "imaging@example.org"):
        assert piece in str(refused.value)
    assert "\n" not in str(refused.value)


def test_require_allows_what_holds_today():
    tomorrow = dt.date.today() + DAY
    assert isinstance(require(source(approval(granted=dt.date(2020, 1, 1), expires=tomorrow)), "ingest"), Allow)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_all_sources_that_ship_are_allowed(purpose):
    for shipped in Catalogue.open():
        assert isinstance(gate(shipped, purpose, dt.date(2099, 12, 31)), Allow), shipped.id


def test_the_synthetic_hospital_s_fictional_approval_ends_with_the_century():
    hospital = Catalogue.open().get("synthetic_hospital")
    assert isinstance(gate(hospital, "ingest", dt.date(2100, 1, 1)), Deny)
