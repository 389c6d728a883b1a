"""Known answers: what the rules find in a planted hospital is what the ledger says, to the last finding."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from conftest import SOURCE

from dicom_workbench.catalog import Catalogue
from dicom_workbench.quality import RULES, Result, score_source
from dicom_workbench.quality.findings import patient_hashes
from dicom_workbench.store import Lake, ingest
from dicom_workbench.teach import synth
from dicom_workbench.teach.plant import Expected, Planter
from dicom_workbench.teach.synth import PLANTERS, planter_ids, synth_source
from dicom_workbench.teach.synth import SOURCE as SOURCE_PLANTERS

SECRET = b"of the test"
KEY = {"instance": "path", "series": "SeriesInstanceUID", "study": "StudyInstanceUID", "patient": "patient"}
Finding = tuple[str, str, str]  # rule, entity on the level of the rule, attribute


def assessed(files: Path, workspace: Path) -> tuple[Result, pl.DataFrame]:
    "The hospital through the whole pipeline: ingested into a lake and scored; and the patients that there are."
    catalogue = workspace / "catalogue"
    catalogue.mkdir(parents=True)
    (catalogue / "ward.toml").write_text(SOURCE.format(id="ward", access="open", root=files.as_posix(), more=""), encoding="utf-8")
    lake, found = Lake.open(workspace / "lake"), Catalogue.open(catalogue)
    ingest(found.get("ward"), catalogue, lake, pixel_hash=True)
    people = lake.rows("ward").select("IssuerOfPatientID", "PatientID").unique().collect()
    return score_source(lake, "ward"), people.with_columns(pl.when(pl.all() != "").then(pl.all()))


def found(result: Result) -> Counter[Finding]:
    lines = result.findings(SECRET).select("rule", "level", "attribute", *KEY.values()).collect()
    return Counter((line["rule"], line[KEY[line["level"]]] or "", line["attribute"] or "") for line in lines.iter_rows(named=True))


def expected(ledger: Iterable[Expected], people: pl.DataFrame) -> Counter[Finding]:
    hashes: dict[str, list[str]] = {}
    for _, patient, hashed in patient_hashes(people, SECRET).iter_rows():
        hashes.setdefault(patient or "", []).append(hashed)
    lines = set[Finding]()
    for line in ledger:
        entities = hashes[line.patient] if line.level == "patient" else [getattr(line, KEY[line.level])]
        lines |= {(line.rule, entity, line.attribute) for entity in entities}
    return Counter(lines)


def differences(seen: Counter[Finding], wanted: Counter[Finding]) -> dict[str, tuple[int, int]]:
    "Rule -> (missing, extra); counts only, since entities are identifiers."
    missing, extra = (Counter(rule for rule, _, _ in (one - other).elements()) for one, other in ((wanted, seen), (seen, wanted)))
    return {rule: (missing[rule], extra[rule]) for rule in sorted(missing | extra)}


def test_differences_are_counted_per_rule_in_both_directions() -> None:
    one, two, three = ("A", "x", ""), ("A", "y", ""), ("B", "x", "KVP")
    assert differences(Counter([one, two]), Counter([two, three])) == {"A": (0, 1), "B": (1, 0)}
    assert differences(Counter([one, one]), Counter([one])) == {"A": (0, 1)}
    assert differences(Counter([one, three]), Counter([three, one])) == {}


def test_every_rule_has_its_planter() -> None:
    assert {rule.id for rule in RULES} - set(planter_ids()) == set()
    assert set(planter_ids()) - {rule.id for rule in RULES} == set()


def test_every_expected_finding_has_the_level_of_its_rule() -> None:
    levels = {rule.id: rule.level for rule in RULES}
    said = [(rule, level) for p in (*PLANTERS, *SOURCE_PLANTERS) for rule, level, _ in ((p.id, p.level, p.attribute), *p.breaks)]
    assert [(rule, level) for rule, level in said if levels[rule] != level] == []


def test_nothing_is_found_in_a_clean_hospital(tmp_path: Path) -> None:
    synth(tmp_path / "files", 400, 1, beside=tmp_path / "beside")
    result, _ = assessed(tmp_path / "files", tmp_path / "workspace")
    assert {rule.id for rule in RULES} - {rule.id for rule in result.answers.rules} == set(), "never asked"
    assert differences(found(result), Counter()) == {}


@pytest.mark.parametrize(("seed", "patients", "most"), [(1, 400, 1), (2, 800, 2), (1, 400, 3)])
def test_the_planted_defects_are_found_and_nothing_else(tmp_path: Path, seed: int, patients: int, most: int) -> None:
    done = synth(tmp_path / "files", patients, seed, defects=True, most=most, beside=tmp_path / "beside")
    assert done.unplanted == []
    result, people = assessed(tmp_path / "files", tmp_path / "workspace")
    assert differences(found(result), expected(done.ledger, people)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("planter", "patients"), [(p, 4000 if p.id == "FRD-ROUND-DOSE" else 300) for p in SOURCE_PLANTERS], ids=[p.id for p in SOURCE_PLANTERS])
def test_a_defect_of_the_whole_source_is_found_in_every_study(tmp_path: Path, planter: Planter, patients: int) -> None:
    done = synth_source(tmp_path / "files", planter.id, patients, beside=tmp_path / "beside")
    result, people = assessed(tmp_path / "files", tmp_path / "workspace")
    assert len(done.ledger) > 200
    assert differences(found(result), expected(done.ledger, people)) == {}
