"""keygen, deidentify and verify as they are typed: what they print, where, and how they end."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from conftest import APPROVAL

from dicom_workbench.cli import main

GOOD = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm")
BAD = ("MR_truncated.dcm", "README.txt")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    "Run the command in an empty folder: (exit code, standard output, standard error)."
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dicom-workbench", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def ward(tmp_path: Path, samples: Path) -> Path:
    folder = tmp_path / "ward"
    folder.mkdir()
    for name in (*GOOD, *BAD):
        shutil.copy(samples / name, folder)
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text("5e" * 32 + "\n")
    return file


def test_keygen_makes_a_key_that_only_its_owner_reads_and_never_overwrites_one(run) -> None:
    code, out, _ = run("keygen", "k")
    content = Path("k").read_bytes()
    assert code == 0 and out.strip() == "k" and len(content) == 65 and bytes.fromhex(content.decode().strip())
    assert os.name != "posix" or Path("k").stat().st_mode & 0o777 == 0o600
    code, out, err = run("keygen", "k")
    assert code == 1 and out == "" and "exists already" in err and Path("k").read_bytes() == content
    assert content.decode().strip() not in err
    assert run("keygen", "k2")[0] == 0 and Path("k2").read_bytes() != content


def test_the_three_commands_one_after_the_other(run, ward: Path) -> None:
    run("keygen", "k")
    code, out, err = run("deidentify", ward, "out", "--key", "k", "--workers", "1")
    assert code == 0 and out.strip() == "out"
    assert "5 files: 3 delivered, 2 quarantined" in err and "1 held back: no DICOM" in err and "outside the catalogue's gate" in err
    code, out, err = run("verify", "out", "--against", ward, "--key", "k")
    assert (code, out) == (0, "passed\n") and "3 objects judged" in err and "3 with their originals" in err


def test_the_key_may_be_named_by_the_environment(run, ward: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_WORKBENCH_KEY_FILE", str(key))
    assert run("deidentify", ward, "out", "--workers", "1")[0] == 0


def test_json_is_the_only_thing_on_standard_output(run, ward: Path, key: Path) -> None:
    code, out, _ = run("deidentify", ward, "out", "--key", key, "--workers", "1", "--json")
    told = json.loads(out)
    assert code == 0 and told["delivered"] == 3 and sum(told["quarantined"].values()) == 2 and told["policy"]["edition"] == "2026d"
    written = json.loads(Path("out/summary.json").read_text())
    assert {name: told[name] for name in written} == written
    code, out, _ = run("verify", "out", "--against", ward, "--key", key, "--json")
    assert code == 0 and json.loads(out)["passed"] is True and json.loads(out)["manifest"] == []
    assert json.loads(run("keygen", "k", "--json")[1]) == {"key": "k"}


def test_nothing_said_names_a_patient_or_a_file_of_the_originals(run, ward: Path, key: Path) -> None:
    said = "".join(run("deidentify", ward, "out", "--key", key, "--workers", "1")[1:]) + "".join(run("verify", "out", "--against", ward, "--key", key)[1:])
    for name in GOOD:
        ds = pydicom.dcmread(ward / name)
        for value in (name, str(ds.PatientName), str(ds.PatientID), str(ds.SOPInstanceUID), str(ds.StudyInstanceUID)):
            assert len(value) < 4 or value not in said
    assert not any(name in said for name in BAD) and key.read_text().strip() not in said


# ---- a mistake is one line

WRONG = {
    "no key": (("deidentify", "WARD", "out"), 2, "There is no key"),
    "key is gone": (("deidentify", "WARD", "out", "--key", "nokey"), 1, "key file cannot be read"),
    "key is no key": (("deidentify", "WARD", "out", "--key", "notes"), 1, "holds no key"),
    "unknown option": (("deidentify", "WARD", "out", "--key", "KEY", "--option", "keep-everything"), 2, "'keep-everything' is no option"),
    "contradiction": (("deidentify", "WARD", "out", "--key", "KEY", "--option", "retain-full-dates", "--option", "retain-modified-dates"), 2, "kept and shifted"),
    "unknown profile": (("deidentify", "WARD", "out", "--key", "KEY", "--profile", "strict"), 2, "no profile 'strict'"),
    "input is gone": (("deidentify", "nowhere", "out", "--key", "KEY"), 2, "no file or folder 'nowhere'"),
    "input is empty": (("deidentify", "empty", "out", "--key", "KEY"), 2, "There is no file"),
    "output inside input": (("deidentify", "WARD", "WARD/out", "--key", "KEY"), 2, "among the originals"),
    "output is input": (("deidentify", "WARD", "WARD", "--key", "KEY"), 2, "among the originals"),
    "input inside output": (("deidentify", "WARD", "WARD/..", "--key", "KEY"), 2, "lie inside"),
    "output is a file": (("deidentify", "WARD", "notes", "--key", "KEY"), 2, "which is a file"),
    "output is taken": (("deidentify", "WARD", "taken", "--key", "KEY"), 2, "is not empty"),
    "no workers": (("deidentify", "WARD", "out", "--key", "KEY", "--workers", "0"), 2, "0 workers"),
    "no recipient": (("deidentify", "WARD", "out", "--key", "KEY", "--recipient", "me"), 2, "no age recipient"),
    "mapping in the result": (("deidentify", "WARD", "out", "--key", "KEY", "--mapping", "out/m"), 2, "original identifiers"),
    "index source": (("deidentify", "idc", "out", "--key", "KEY"), 2, "holds no files"),
    "source and folder": (("deidentify", "pydicom_samples", "WARD", "out", "--key", "KEY"), 2, "is a source of the catalogue"),
    "nothing to verify": (("verify", "nowhere"), 2, "no folder 'nowhere'"),
    "originals are gone": (("verify", "taken", "--against", "nowhere"), 2, "no folder 'nowhere'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_clear_line(name: str, run, ward: Path, key: Path) -> None:
    for folder in ("empty", "taken"):
        Path(folder).mkdir()
    Path("taken/mine.txt").write_text("mine")
    Path("notes").touch(mode=0o600)
    Path("notes").write_text("no key\n")
    words, expected, phrase = WRONG[name]
    code, out, err = run(*(word.replace("WARD", str(ward)).replace("KEY", str(key)) for word in words))
    assert (code, out) == (expected, "")
    assert phrase in err and "Traceback" not in err and len(err.strip().splitlines()) == 1, err
    assert not Path("out").exists()


def test_a_key_that_others_may_read_is_refused(run, ward: Path, key: Path) -> None:
    if os.name != "posix":
        pytest.skip("modes are of posix")
    key.chmod(0o640)
    code, _, err = run("deidentify", ward, "out", "--key", key)
    assert code == 1 and "Others may read the key" in err and len(err.strip().splitlines()) == 1


def test_without_pyrage_one_line_says_what_to_install(run, ward: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    code, out, err = run("deidentify", ward, "out", "--key", key, "--recipient", "age1")
    assert (code, out) == (1, "") and "pip install" in err and len(err.strip().splitlines()) == 1 and not Path("out").exists()


def test_a_folder_called_like_a_source_is_neither_until_it_is_said(run, ward: Path, key: Path) -> None:
    shutil.copytree(ward, "pydicom_samples")
    code, _, err = run("deidentify", "pydicom_samples", "out", "--key", key, "--workers", "1")
    assert code == 2 and "./pydicom_samples" in err
    assert run("deidentify", "./pydicom_samples", "out", "--key", key, "--workers", "1")[0] == 0


# ---- how it ends

def test_where_nothing_could_be_delivered_the_command_fails(run, tmp_path: Path, ward: Path, key: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for name in BAD:
        shutil.copy(ward / name, folder)
    code, _, err = run("deidentify", folder, "out", "--key", key, "--workers", "1")
    assert code == 1 and "0 delivered, 2 quarantined" in err


def test_a_leak_that_is_planted_afterwards_ends_with_3(run, ward: Path, key: Path) -> None:
    run("deidentify", ward, "out", "--key", key, "--workers", "1")
    victim = next(path for path in Path("out").glob("*/*/*/*") if pydicom.dcmread(path).Modality == "MR")
    ds = pydicom.dcmread(victim)
    ds.ImageComments = f"seen with {pydicom.dcmread(ward / 'MR_small.dcm').PatientID}"
    ds.save_as(victim)
    for words in (("--against", ward, "--key", key), ("--against", ward), ()):
        code, out, err = run("verify", "out", *words)
        assert (code, out) == (3, "failed\n") and "was changed" in err
    Path("out/manifest.jsonl").unlink()
    code, out, err = run("verify", "out", "--against", ward, "--key", key)
    assert code == 3 and "identifier" in err


def test_a_manifest_of_another_key_or_a_missing_file_ends_with_3(run, ward: Path, key: Path) -> None:
    run("deidentify", ward, "out", "--key", key, "--workers", "1")
    run("keygen", "other")
    assert run("verify", "out")[0] == 0
    code, _, err = run("verify", "out", "--key", "other")
    assert code == 3 and "seal" in err
    next(Path("out").glob("*/*/*/*")).unlink()
    assert run("verify", "out")[0] == 3


def test_originals_are_no_deidentified_files(run, ward: Path) -> None:
    code, out, err = run("verify", ward)
    assert (code, out) == (3, "failed\n") and not any(name in err for name in GOOD)
    assert any(name in run("verify", ward, "--show-paths")[2] for name in GOOD)


def test_a_folder_without_dicom_proves_nothing(run) -> None:
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a")
    code, _, err = run("verify", "texts")
    assert code == 3 and "nothing was proved" in err


# ---- sources and the gate

RELEASE = APPROVAL.replace('"report"]', '"report", "release"]')


def test_a_source_is_deidentified_only_where_release_is_approved(run, ward: Path, key: Path, write_source) -> None:
    catalogue = write_source(ward, access="restricted", more=APPROVAL.format(number="UNZA-7/2020", expires="2099-12-31"))
    code, out, err = run("deidentify", "ward", "out", "--key", key, "--catalog", catalogue)
    assert code == 3 and out == "" and "UNZA-7/2020" in err and "not release" in err and not Path("out").exists()
    write_source(ward, access="restricted", more=RELEASE.format(number="UNZA-8/2020", expires="2021-12-31"))
    code, _, err = run("deidentify", "ward", "out", "--key", key, "--catalog", catalogue)
    assert code == 3 and "lapsed" in err and not Path("out").exists()
    write_source(ward, access="restricted", more=RELEASE.format(number="UNZA-9/2020", expires="2099-12-31"))
    code, out, err = run("deidentify", "ward", "out", "--key", key, "--catalog", catalogue, "--workers", "1")
    assert code == 0 and out.strip() == "out" and "outside the catalogue" not in err


def test_of_a_source_with_where_only_what_belongs_to_it(run, ward: Path, key: Path, write_source) -> None:
    catalogue = write_source(ward)
    file = catalogue / "ward.toml"
    file.write_text(file.read_text() + 'where = {Modality = ["MR", "RTPLAN"]}\n')
    assert run("deidentify", "ward", "out", "--key", key, "--catalog", catalogue, "--workers", "1")[0] == 0
    modalities = sorted(pydicom.dcmread(path).Modality for path in Path("out").glob("*/*/*/*"))
    assert modalities == ["MR", "RTPLAN"]


def test_a_synthetic_source_is_written_and_deidentified(run, key: Path, tmp_path: Path) -> None:
    catalogue = tmp_path / "cat"
    catalogue.mkdir()
    shipped = Path(__file__).resolve().parents[1] / "data_catalog" / "synthetic_hospital.toml"
    text = re.sub("patients = .*", "patients = 2", re.sub("defects = .*", "defects = false", shipped.read_text().replace('"synthetic_hospital"', '"tiny"')))
    (catalogue / "tiny.toml").write_text(text)
    code, out, err = run("deidentify", "tiny", "out", "--key", key, "--catalog", catalogue, "--workers", "1", "--json")
    told = json.loads(out)
    assert code == 0 and told["patients"] == 2 and told["delivered"] == told["files"] > 2, err


# ---- crosswalk, mapping, disk

def test_crosswalk_and_mapping_are_said_and_the_mapping_is_warned_of(run, ward: Path, key: Path) -> None:
    pyrage = pytest.importorskip("pyrage", reason='no pyrage: pip install "dicom-workbench[privacy]"')
    identity = pyrage.x25519.Identity.generate()
    code, _, err = run("deidentify", ward, "out", "--key", key, "--workers", "1", "--recipient", str(identity.to_public()), "--mapping", "m")
    assert code == 0 and "out/crosswalk.age" in err.replace(os.sep, "/") and "Warning" in err and "in the clear" in err
    assert pyrage.decrypt(Path("out/crosswalk.age").read_bytes(), [identity]).count(b"\n") > 6
    assert Path("m/uid_mapping.csv").read_text().startswith("id_old,id_new\n")
    assert run("verify", "out", "--against", ward, "--key", key)[0] == 0


def test_a_full_disk_is_one_line_and_the_run_goes_on_afterwards(run, ward: Path, key: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (needs root on Linux)")
    try:
        code, out, err = run("deidentify", ward, small / "out", "--key", key, "--workers", "1")
        assert (code, out) == (1, "") and "disk is full" in err and len(err.strip().splitlines()) == 1
        subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
        assert run("deidentify", ward, small / "out", "--key", key, "--workers", "1")[0] == 0
        run("deidentify", ward, "out", "--key", key, "--workers", "1")
        trees = [{p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()} for top in (small / "out", Path("out"))]
        assert trees[0] == trees[1]
    finally:
        subprocess.run(["umount", str(small)], check=True)
