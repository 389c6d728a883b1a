"""The crosswalk: complete for its recipient, nothing for anybody else."""

import csv
import io
import os
import sys
from pathlib import Path

import pytest

from dicom_workbench.privacy.crosswalk import MAPPINGS, Crosswalk, recipient_of, write_crosswalk, write_mapping
from dicom_workbench.standard.errors import UsageError, WorkbenchError

pyrage = pytest.importorskip("pyrage", reason='no pyrage: pip install "dicom-workbench[privacy]"')


@pytest.fixture
def crosswalk() -> Crosswalk:
    made = Crosswalk()
    for number in range(300):  # objects of three patients and ten studies
        made.add((f"P-{number % 3}", f"NEW{number % 3}"), {f"1.2.{number % 10}": f"2.25.{number % 10}", f"1.2.3.{number}": f"2.25.3{number}"})
    return made


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_the_recipient_reads_every_pair_once(crosswalk: Crosswalk, tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    written = write_crosswalk(crosswalk, tmp_path / "c.age", recipient_of(str(identity.to_public())))
    rows = rows_of(pyrage.decrypt((tmp_path / "c.age").read_bytes(), [identity]))
    assert len(rows) == written == 3 + 10 + 300
    assert {(r["id_old"], r["id_new"]) for r in rows if r["kind"] == "patient_id"} == {(f"P-{n}", f"NEW{n}") for n in range(3)}
    assert {(r["id_old"], r["id_new"]) for r in rows if r["kind"] == "uid"} >= {("1.2.7", "2.25.7"), ("1.2.3.299", "2.25.3299")}


def test_nobody_else_reads_anything_and_nothing_is_left_in_the_clear(crosswalk: Crosswalk, tmp_path: Path) -> None:
    write_crosswalk(crosswalk, tmp_path / "c.age", recipient_of(str(pyrage.x25519.Identity.generate().to_public())))
    stored = (tmp_path / "c.age").read_bytes()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(stored, [pyrage.x25519.Identity.generate()])
    assert b"P-1" not in stored and b"2.25.7" not in stored and b"id_old" not in stored
    assert [path.name for path in tmp_path.iterdir()] == ["c.age"]


def test_identifiers_of_any_shape_come_back_as_they_were(tmp_path: Path) -> None:
    odd = ['comma,and "quotes"', "two\nlines", "Ωμέγα", "=cmd()", " padded "]
    crosswalk = Crosswalk()
    for number, text in enumerate(odd):
        crosswalk.add((text, f"N{number}"), {})
    identity = pyrage.x25519.Identity.generate()
    write_crosswalk(crosswalk, tmp_path / "c.age", recipient_of(str(identity.to_public())))
    rows = rows_of(pyrage.decrypt((tmp_path / "c.age").read_bytes(), [identity]))
    assert {r["id_old"]: r["id_new"] for r in rows} == {text: f"N{number}" for number, text in enumerate(odd)}


def test_an_object_without_a_patient_id_has_no_row_for_one() -> None:
    crosswalk = Crosswalk()
    crosswalk.add(("", "NEW"), {"1.2.3": "2.25.1"})
    assert crosswalk.rows().get_column("kind").to_list() == ["uid"]


def test_the_recipient_may_stand_in_a_file_as_age_keygen_writes_it(tmp_path: Path) -> None:
    public = str(pyrage.x25519.Identity.generate().to_public())
    for text in (public + "\n", f"# created: 2026\n# public key: {public}\n"):
        (tmp_path / "to").write_text(text)
        assert str(recipient_of(str(tmp_path / "to"))) == public


@pytest.mark.parametrize("text", ["", "age1xyz", "nobody@example.org", "ssh-ed25519 AAAA", "no/such/file"])
def test_a_recipient_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no age recipient"):
        recipient_of(text)


def test_a_secret_identity_is_refused_and_not_repeated() -> None:
    secret = str(pyrage.x25519.Identity.generate())
    with pytest.raises(UsageError, match="secret identity") as told:
        recipient_of(secret)
    assert secret not in str(told.value)


def test_without_pyrage_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(WorkbenchError, match=r"pyrage, which is not installed.*pip install"):
        recipient_of("age1xyz")


def test_mapping_tables_are_for_their_owner_only_and_as_the_scorer_wants_them(crosswalk: Crosswalk, tmp_path: Path) -> None:
    for _ in range(2):  # the second time over the first
        assert [path.name for path in write_mapping(crosswalk, tmp_path / "m")] == ["uid_mapping.csv", "patid_mapping.csv"]
    for kind, name in MAPPINGS.items():
        content = (tmp_path / "m" / name).read_bytes()
        assert content.startswith(b"id_old,id_new\n")
        assert len(rows_of(content)) == {"uid": 310, "patient_id": 3}[kind]
        if os.name == "posix":
            assert (tmp_path / "m" / name).stat().st_mode & 0o777 == 0o600
