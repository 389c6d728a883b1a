"""Keys and what is made with them: against HMAC as the standard library has it, and against the rules for UIDs and files."""

import hmac
import os
import pickle
import stat
import statistics
import subprocess
import sys
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from dicom_workbench.privacy.keys import ENVIRONMENT, Key, is_registered, keygen
from dicom_workbench.standard.confidentiality import storage_classes
from dicom_workbench.standard.errors import UsageError, WorkbenchError

SECRET = bytes(range(32))
KEY, OTHER = Key(SECRET), Key(bytes(32))
posix = pytest.mark.skipif(os.name != "posix", reason="posix has file modes")


# --- UIDs -----------------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=64))
def test_a_new_uid_is_one_that_a_uuid_generator_could_have_drawn(original):
    new = KEY.uid(original)
    if original.strip(" \0"):
        assert UID(new).is_valid and len(new) <= 44 and new.startswith("2.25.")
        drawn = uuid.UUID(int=int(new.removeprefix("2.25.")))
        assert (drawn.version, drawn.variant) == (4, uuid.RFC_4122)


@given(st.lists(st.text(max_size=64)))
def test_many_at_once_are_the_same_as_one_by_one(originals):
    assert KEY.uids(originals) == [KEY.uid(original) for original in originals]


def test_uids_are_hmacs_under_a_derived_key():
    subkey = hmac.new(SECRET, b"dicom-workbench uid", "sha256").digest()
    number = int.from_bytes(hmac.new(subkey, b"1.2.3.4", "sha256").digest()[:16], "big")
    random_bits = ~(0xF << 76 | 3 << 62)
    assert int(KEY.uid("1.2.3.4").removeprefix("2.25.")) & random_bits == number & random_bits


def test_identifiers_are_the_same_in_every_year():
    """Pinned: with another answer here, a second batch of the same patients no longer joins up with the first."""
    assert KEY.uid("1.2.3.4") == "2.25.313113555641758472459969285142717725548"
    assert KEY.pseudonym("UTH", "0012345", "") == "WWWQGSRKS7C10VV0"
    assert KEY.pseudonym("", "", "1.2.3") == "Z7W9051T5TA1A70Z"
    assert KEY.offset_days("UTH", "0012345", "") == -569
    assert KEY.token("path", "a/b.dcm") == "ffdeb9219d0fbdcf674273fde88d942516698fbfdaea28a9e79cd12129196e1e"


def test_another_key_makes_other_identifiers_of_everything():
    assert KEY.uid("1.2.3") != OTHER.uid("1.2.3")
    assert KEY.pseudonym("A", "1", "") != OTHER.pseudonym("A", "1", "")
    assert KEY.token("path", "x") != OTHER.token("path", "x")
    assert [KEY.offset_days("A", str(n), "") for n in range(9)] != [OTHER.offset_days("A", str(n), "") for n in range(9)]


def test_a_hundred_thousand_uids_are_a_hundred_thousand():
    originals = [f"1.2.840.113619.2.55.3.{n}" for n in range(100_000)]
    assert len(set(KEY.uids(originals))) == len(originals)


@pytest.mark.parametrize("uid", [CTImageStorage, ExplicitVRLittleEndian, "1.2.840.10008.1.1", "1.2.840.10008.1.4.1.1",
                                 "1.2.840.10008.2.16.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.6"])
def test_registered_uids_stay(uid):
    assert is_registered(uid) and KEY.uid(uid) == uid == KEY.uids([f"{uid}\0"])[0]


def test_every_storage_class_is_registered():
    assert all(map(is_registered, storage_classes()))


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.2.20210304.1", "1.2.840.100080", "1.2.840.10008.5.1.4.1.1.2.", "2.25.1"])
def test_a_uid_that_only_begins_like_a_registered_one_is_replaced(uid):
    assert not is_registered(uid) and KEY.uid(uid) != uid


def test_padding_is_no_part_of_a_uid_and_nothing_stays_nothing():
    assert KEY.uid("1.2.3\0") == KEY.uid("1.2.3") == KEY.uid(" 1.2.3 ")
    assert KEY.uid("") == KEY.uid("\0") == "" == KEY.uids([""])[0]


def test_bytes_that_are_no_text_still_have_an_identifier():
    broken = b"1.2.\xff\xfe".decode("utf-8", "surrogateescape")
    assert KEY.uid(broken) != KEY.uid(b"1.2.\xff\xfd".decode("utf-8", "surrogateescape"))
    assert KEY.uids([broken]) == [KEY.uid(broken)]
    assert KEY.pseudonym("", broken, "") and KEY.token("path", broken)


# --- patients -------------------------------------------------------------------------------------------------------------


def test_a_patient_is_an_issuer_and_an_id_whatever_the_study():
    assert KEY.pseudonym("UTH", "7", "1.2") == KEY.pseudonym("UTH", "7", "3.4") == KEY.pseudonym("UTH ", " 7\0", "")
    assert KEY.offset_days("UTH", "7", "1.2") == KEY.offset_days("UTH", "7", "3.4")
    assert KEY.pseudonym("UTH", "1", "") != KEY.pseudonym("Ndola", "1", "")


def test_without_an_id_a_study_is_a_patient():
    assert KEY.pseudonym("", "", "1.2") != KEY.pseudonym("", "", "1.3")
    assert KEY.pseudonym("UTH", "", "1.2") == KEY.pseudonym("", " ", "1.2")
    assert KEY.pseudonym("", "1.2", "") != KEY.pseudonym("", "", "1.2")


@given(st.tuples(st.text(max_size=6), st.text(max_size=6)), st.tuples(st.text(max_size=6), st.text(max_size=6)))
def test_no_two_patients_share_a_pseudonym_by_how_their_words_divide(one, two):
    one, two = (tuple(part.strip(" \0") for part in pair) for pair in (one, two))
    if one != two and one[1] and two[1]:
        assert KEY.pseudonym(*one, "") != KEY.pseudonym(*two, "")


@given(st.text(max_size=70), st.text(min_size=1, max_size=70))
def test_a_pseudonym_is_valid_as_a_name_an_id_and_a_file(issuer, patient_id):
    new = KEY.pseudonym(issuer, patient_id, "1.2")
    assert len(new) == 16 and set(new) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_offsets_are_whole_days_into_the_past_and_differ():
    days = [KEY.offset_days("UTH", str(n), "") for n in range(20_000)]
    assert min(days) >= -3650 and max(days) <= -1 and all(isinstance(n, int) for n in days)
    assert len(set(days)) > 3_500
    assert abs(statistics.fmean(days) + 1825.5) < 40  # five standard errors


def test_one_identifier_says_nothing_about_another():
    """Derived keys: the same words give unrelated numbers for each purpose."""
    words = "7:patient3:UTH1:7"
    assert len({KEY.token("uid", words), KEY.token("patient", words), KEY.token("offset", words), KEY._digest("patient", words).hex(),
                KEY._digest("uid", words).hex(), KEY._digest("offset", words).hex()}) == 6


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_tokens_of_different_purposes_or_texts_differ(purpose, text, other, another):
    if (purpose, text) != (other, another):
        assert KEY.token(purpose, text) != KEY.token(other, another)


# --- the secret -----------------------------------------------------------------------------------------------------------


def test_the_secret_is_never_shown():
    for shown in (repr(KEY), str(KEY), f"{KEY}", repr([KEY]), repr({"key": KEY})):
        assert SECRET.hex() not in shown and "Key(" in shown and len(shown) < 20
    assert not hasattr(KEY, "__dict__")


def test_a_key_travels_to_other_processes_and_keeps_only_what_it_needs():
    pickled = pickle.dumps(KEY)
    assert pickle.loads(pickled).uid("1.2.3") == KEY.uid("1.2.3")
    assert SECRET not in pickled  # derived keys travel, the key they come from does not


@pytest.mark.parametrize("secret", [b"", b"short", bytes(31), bytes(33)])
def test_a_key_has_32_bytes(secret):
    with pytest.raises(WorkbenchError, match="32 bytes"):
        Key(secret)


# --- the file -------------------------------------------------------------------------------------------------------------


def test_a_new_key_file_is_64_hexadecimal_digits_and_a_newline(tmp_path):
    path = keygen(tmp_path / "key")
    content = path.read_bytes()
    assert len(content) == 65 and content.endswith(b"\n") and len(bytes.fromhex(content.decode().strip())) == 32
    assert Key.load(path).uid("1.2.3") == Key(bytes.fromhex(content.decode().strip())).uid("1.2.3")
    assert keygen(tmp_path / "another").read_bytes() != content


@posix
def test_a_new_key_file_is_its_owners_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        assert stat.S_IMODE(keygen(tmp_path / "key").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_key_is_never_overwritten(tmp_path):
    path = keygen(tmp_path / "key")
    content = path.read_bytes()
    with pytest.raises(WorkbenchError, match="exists already"):
        keygen(path)
    assert path.read_bytes() == content


@posix
def test_a_key_is_not_written_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkbenchError):
        keygen(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(WorkbenchError, match="cannot be written"):
        keygen(tmp_path / "nowhere" / "key")


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610, 0o700 | 0o001])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode):
    path = keygen(tmp_path / "key")
    path.chmod(mode)
    with pytest.raises(WorkbenchError, match="Others may read") as caught:
        Key.load(path)
    assert "chmod 600" in caught.value.remedy


@posix
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_that_only_its_owner_may_touch_is_taken(tmp_path, mode):
    path = keygen(tmp_path / "key")
    path.chmod(mode)
    assert Key.load(str(path)).uid("1.2") == Key.load(path).uid("1.2")


@pytest.mark.parametrize("content", [
    b"", b"secret passphrase\n", b"ab" * 32, b"ab" * 31 + b"\n", b"ab" * 33 + b"\n", b"AB" * 32 + b"\n", b"zz" * 32 + b"\n",
    b"ab" * 32 + b"\r\n", b" " + b"ab" * 32 + b"\n", b"ab" * 32 + b"\n\n", bytes(range(128, 193)), b"\xef\xbb\xbf" + b"ab" * 32 + b"\n"])
def test_nothing_else_is_a_key_and_the_message_does_not_repeat_it(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(WorkbenchError, match="holds no key") as caught:
        Key.load(path)
    text = f"{caught.value} {caught.value.args}"
    assert "passphrase" not in text and "abab" not in text


def test_a_key_file_that_is_not_there_or_is_a_folder_is_said(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(WorkbenchError, match="cannot be read"):
            Key.load(path)


def test_the_environment_names_a_key(tmp_path, monkeypatch):
    path = keygen(tmp_path / "key")
    with pytest.raises(UsageError, match="no key"):
        Key.load()
    monkeypatch.setenv(ENVIRONMENT, str(path))
    assert Key.load().uid("1.2") == Key.load(path).uid("1.2")
    other = keygen(tmp_path / "other")
    assert Key.load(other).uid("1.2") != Key.load().uid("1.2")  # what is named beats the environment


def test_keys_and_policies_are_light_to_import():
    code = "import sys, dicom_workbench.privacy.keys, dicom_workbench.privacy.policy; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
