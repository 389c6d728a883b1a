"""The engine of the rules: no answer depends on order, parts or names, and no defect makes a score better."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest
from polars.testing import assert_frame_equal

from dicom_workbench.acquire import scan
from dicom_workbench.quality import ask as engine
from dicom_workbench.quality import assess as passing
from dicom_workbench.quality.ask import looks_around
from dicom_workbench.quality.assess import assess
from dicom_workbench.quality.rule import make
from dicom_workbench.quality.rules import RULES
from dicom_workbench.quality.run import assess_table
from dicom_workbench.quality.score import SCOPES, Counts, count, load_profile, profiles, rule_table, score, scores
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.teach.hospital import make_table

UIDS = ("SOPInstanceUID", "MediaStorageSOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
PROFILE = load_profile("research")
WRONG = {  # one wrong value, and the rule that it is wrong by
    "PatientSex": ("W", "VAL-SEX"), "StudyDate": ("20231345", "VAL-DA-StudyDate"), "Modality": ("CTX", "VAL-MODALITY"),
    "KVP": ("-1", "PLA-KVP"), "ImageType": ("ORIGINAL", "VAL-VM-ImageType"), "SOPClassUID": (None, "CMP-SOPCLASS"),
    "PixelSpacing": ("0\\0", "CPU-SPACING-POS"), "RescaleSlope": ("0", "PLA-RESCALE"),
}


@pytest.fixture(scope="module")
def hospital() -> pl.DataFrame:
    "Large enough for families of rules: some 9,000 rows, with a tenth of the values of some columns made wrong."
    table = make_table(1000)
    chance = pl.int_range(pl.len()).hash(seed=5) % 10 == 0
    wrong = [pl.when(chance & (pl.col(name).hash(seed=i) % 3 == 0)).then(pl.lit(value)).otherwise(name).alias(name)
             for i, (name, (value, _)) in enumerate(WRONG.items())]
    return table.with_columns(wrong)


@pytest.fixture(scope="module")
def clean() -> pl.DataFrame:
    return make_table(200)


def rules_of(table: pl.DataFrame, parts: int = 1) -> pl.DataFrame:
    "id, applicable, violated of every rule."
    size = -(-len(table) // parts)
    answers, _ = assess_table([table.lazy().slice(start, size) for start in range(0, len(table), size)])
    return rule_table(count(answers), PROFILE).select("id", "applicable", "violated", "points_lost").sort("id")


def test_the_table_is_large_enough_for_families(hospital: pl.DataFrame) -> None:
    looks = {b: engine.columns_of((r.applies, r.fails)) for b, r in enumerate(assess_table(hospital.lazy())[0].row_rules)}
    families, every = engine.families_of(hospital, looks)
    assert sum(len(f.bits) for f in families) > 80
    assert every


def test_families_answer_as_every_row_does(hospital: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    by_family = assess_table(hospital.lazy())[0]
    for module in (engine, passing):
        monkeypatch.setattr(module, "SMALL", len(hospital) + 1)  # nothing is asked of families, nothing is read once only
    one_by_one = assess_table(hospital.lazy())[0]
    columns = by_family.patterns.columns
    assert_frame_equal(by_family.patterns.sort(columns), one_by_one.patterns.sort(columns))
    for level, table in by_family.levels.items():
        assert_frame_equal(table, one_by_one.levels[level])


def test_a_rule_of_one_line_says_the_same_of_each_line_alone(hospital: pl.DataFrame) -> None:
    "Whatever is asked once per combination must not look at other lines: each line alone, in other company, in another order."
    rows = [r for r in RULES if not r.repeated and not any(n.startswith(("#", "@")) or n == "PixelHash" for n in r.columns)]
    own = [r for r in rows if not looks_around(r)]
    assert len(own) > 0.8 * len(rows)
    names = sorted({n.removesuffix("|max") for r in own for n in r.columns if "|" in n})
    table = hospital.with_columns(make(names)).with_columns(pl.col(n).alias(f"{n}|max") for n in names)
    asked = [pl.col("i"), *[e.fill_null(False).alias(f"{r.id} {i}") for r in own for i, e in enumerate((r.applies, r.fails))]]
    some = table.with_row_index("i").sample(200, seed=1)
    together = table.with_row_index("i").select(asked).filter(pl.col("i").is_in(some["i"].to_list())).sort("i")
    alone = pl.concat([some.slice(n, 1).select(asked) for n in range(len(some))])
    assert_frame_equal(alone.sort("i"), together)


def test_order_and_parts_change_nothing(hospital: pl.DataFrame) -> None:
    whole = rules_of(hospital)
    assert whole["violated"].sum() > 500
    assert_frame_equal(rules_of(hospital.sample(fraction=1, shuffle=True, seed=3)), whole)
    assert_frame_equal(rules_of(hospital, parts=7), whole)
    assert_frame_equal(rules_of(hospital.sample(fraction=1, shuffle=True, seed=4), parts=3), whole)
    assert_frame_equal(rules_of(pl.concat([hospital.head(1), hospital.slice(1)]), parts=2), whole)


def test_renamed_ids_change_nothing(hospital: pl.DataFrame) -> None:
    "Every UID gets another last component, every patient another number of as many digits."
    new = [pl.when(pl.col(name) != "").then(pl.col(name) + "7").otherwise(name).alias(name) for name in UIDS]
    digits = pl.col("PatientID").str.replace_many([str(i) for i in range(10)], [str((i + 3) % 10) for i in range(10)])
    assert_frame_equal(rules_of(hospital.with_columns(*new, PatientID=digits)), rules_of(hospital))


def test_two_runs_are_the_same_to_the_last_byte(hospital: pl.DataFrame) -> None:
    first, second = (assess_table(hospital.lazy())[0] for _ in range(2))
    for scope in SCOPES:
        assert scores(first, PROFILE, scope).write_csv() == scores(second, PROFILE, scope).write_csv()


def test_scores_by_kind_are_the_scores_one_by_one(hospital: pl.DataFrame) -> None:
    answers, _ = assess_table([hospital.lazy().head(4000), hospital.lazy().slice(4000)])
    for scope in SCOPES:
        one_by_one = score(count(answers, scope), PROFILE)
        assert_frame_equal(scores(answers, PROFILE, scope), one_by_one.table())
        judged = ~np.isnan(one_by_one.total)
        assert np.allclose(one_by_one.lost.sum(axis=1)[judged], 100 - one_by_one.total[judged])


def total(table: pl.DataFrame) -> float:
    answers, _ = assess_table(table.lazy())
    return float(score(count(answers), PROFILE).total[0])


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_is_found_and_never_raises_the_score(clean: pl.DataFrame, name: str) -> None:
    value, rule = WRONG[name]
    place = clean.with_row_index("i").filter(pl.col(name).is_not_null() & (pl.col(name) != ""))["i"][0]
    worse = clean.with_columns(pl.when(pl.int_range(pl.len()) == place).then(pl.lit(value)).otherwise(name).alias(name))
    before, after = rules_of(clean), rules_of(worse)
    assert total(worse) <= total(clean)
    grew = after.join(before, on="id", suffix="_before").filter(pl.col("violated") > pl.col("violated_before"))
    assert rule in grew["id"].to_list()


def test_a_clean_series_never_lowers_the_score(clean: pl.DataFrame) -> None:
    series = clean["SeriesInstanceUID"].unique(maintain_order=True)
    wrong = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("W")).otherwise("PatientSex").alias("PatientSex")
    for some in (20, 60, 150):
        few = clean.filter(pl.col("SeriesInstanceUID").is_in(series.head(some).to_list()))
        more = clean.filter(pl.col("SeriesInstanceUID").is_in(series.head(some + 1).to_list()))
        assert total(more.with_columns(wrong)) >= total(few.with_columns(wrong)) - 1e-9


def test_scoring_anew_asks_no_rows(clean: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    "10,000 series and another profile: arithmetic on the stored counts, without polars and without the rules' expressions."
    counts = count(assess_table(clean.lazy())[0], "series")
    rows = np.arange(10_000) % len(counts.applies)
    many = Counts(counts.rules, pl.DataFrame(), counts.applies[rows], counts.fails[rows], counts.entities[rows])
    expected = score(counts, replace(PROFILE, caution=3.0)).total[rows]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a question was asked of a table")

    for method in ("select", "with_columns", "filter", "group_by", "join", "lazy"):
        monkeypatch.setattr(pl.DataFrame, method, never)
    monkeypatch.setattr(pl.LazyFrame, "collect", never)
    found = score(many, replace(PROFILE, caution=3.0))
    assert np.array_equal(found.total, expected, equal_nan=True)


def test_small_and_empty_parts_among_large_ones(hospital: pl.DataFrame) -> None:
    rows = hospital.lazy()
    parts = [rows.head(0), rows.head(5), rows.slice(5, 3000), rows.slice(3005), rows.head(0)]
    assert_frame_equal(
        rule_table(count(assess_table(parts)[0]), PROFILE).select("id", "applicable", "violated").sort("id"),
        rules_of(hospital).drop("points_lost"),
    )


def test_a_table_without_rows_has_no_score(hospital: pl.DataFrame) -> None:
    answers, _ = assess_table(hospital.lazy().head(0))
    assert answers.patterns.is_empty()
    assert scores(answers, PROFILE).row(0, named=True)["total"] is None
    assert all(len(scores(answers, PROFILE, scope)) == 0 for scope in ("series", "study", "patient"))


def test_no_parts_at_all() -> None:
    assert assess([], []).patterns.is_empty()


def test_a_table_of_contents_is_not_judged() -> None:
    "A DICOMDIR has no SOP Class UID inside; what it is stands in its file meta information."
    rows = scan([str(Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests")])
    kinds = rows.filter(pl.col("path").str.contains("DICOMDIR"))
    assert kinds["status"].is_in(["ok", "recovered"]).any() and kinds["SOPClassUID"].null_count() > 0
    found = rule_table(count(assess_table(rows.lazy())[0]), PROFILE).filter(pl.col("id").is_in(["CMP-SOPCLASS", "CMP-UID-SOP", "CMP-UID-STUDY"]))
    assert found["violated"].to_list() == [0, 0, 0] and found["applicable"].min() > 20


@pytest.mark.parametrize("name", profiles())
def test_every_pattern_of_a_profile_fits_a_rule(name: str) -> None:
    for pattern in load_profile(name).severities:
        assert any(r.id == pattern or (pattern.endswith("*") and r.id.startswith(pattern[:-1])) for r in RULES), pattern


def test_without_caution_a_rule_that_speaks_of_nobody_costs_nothing(hospital: pl.DataFrame) -> None:
    found = score(count(assess_table(hospital.lazy())[0], "study"), replace(PROFILE, caution=0.0))
    assert not np.isnan(found.total).any() and not np.isnan(found.lost).any()
    assert np.allclose(found.total + found.lost.sum(axis=1), 100)


@pytest.mark.parametrize("line", ["caution = -1", "reach = 2", "reach = nan", "caution = inf"])
def test_thresholds_that_make_no_sense_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.toml").write_text(f'title = "Mine"\n{line}\n')
    with pytest.raises(UsageError, match="reach is a share"):
        load_profile(str(tmp_path / "mine.toml"))
