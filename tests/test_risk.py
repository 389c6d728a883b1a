"""How well patients are hidden among each other: the same numbers as pycanon's, and of patients instead of rows."""

import numpy as np
import polars as pl
import pytest

from dicom_workbench.privacy.keys import Key
from dicom_workbench.privacy.policy import load_policy
from dicom_workbench.privacy.risk import (
    QUASI_IDENTIFIERS,
    SENSITIVE,
    assess_risk,
    classes,
    filled,
    k_anonymity,
    l_diversity,
    small_cells,
)
from dicom_workbench.privacy.tables import deidentify_table
from dicom_workbench.privacy.values import capped_age
from dicom_workbench.standard.attributes import COLUMNS
from dicom_workbench.standard.errors import UsageError


def ward(seed: int, rows: int = 400) -> pl.DataFrame:
    "Random rows with few values, some of them missing."
    rng = np.random.default_rng(seed)

    def some(values: list[str | None]) -> pl.Series:
        return pl.Series([values[i] for i in rng.integers(0, len(values), rows)], dtype=pl.String)
    return pl.DataFrame({
        "PatientID": some([str(i) for i in range(rows // 2)]), "PatientSex": some(["F", "M", "O", None]), "PatientAge": some(["047Y", "051Y", "063Y", ""]),
        "StudyDate": some(["20200101", "20200102", "20200103"]), "BodyPartExamined": some(["CHEST", "HAND", "KNEE", "SKULL"]),
        "StudyDescription": some(["a", "b"]),
    })


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("quasi", [["PatientSex"], ["PatientSex", "PatientAge"], ["PatientSex", "PatientAge", "StudyDate"]])
def test_k_and_l_are_those_of_pycanon(seed: int, quasi: list[str]) -> None:
    anonymity = pytest.importorskip("pycanon.anonymity", reason="no pycanon: `pip install pycanon`")
    pandas = pytest.importorskip("pandas")
    rows = ward(seed)
    theirs = pandas.DataFrame(rows.fill_null("").to_dict(as_series=False))
    assert k_anonymity(rows.lazy(), quasi) == anonymity.k_anonymity(theirs, quasi)
    for sensitive in ("BodyPartExamined", "StudyDescription"):
        assert l_diversity(rows.lazy(), quasi, sensitive) == anonymity.l_diversity(theirs, quasi, [sensitive])


@pytest.mark.parametrize("seed", range(5))
def test_patients_are_counted_and_not_rows(seed: int) -> None:
    rows, quasi = ward(seed), ["PatientSex", "PatientAge"]
    people = {key: {r["PatientID"] for r in group.iter_rows(named=True)} for key, group in rows.with_columns(pl.col(quasi).fill_null("")).group_by(quasi)}
    found = assess_risk(rows.lazy(), quasi)
    sizes = sorted(len(p) for p in people.values())
    assert sorted(classes(rows.lazy(), quasi, ["PatientID"]).collect()["n"]) == sizes
    assert (found.k, found.classes, found.patients) == (sizes[0], len(sizes), rows["PatientID"].n_unique())
    for many, said in ((2, found.unique), (10, found.few)):
        assert said == len(set().union(*(p for p in people.values() if len(p) < many)))
    assert found.k <= k_anonymity(rows.lazy(), quasi)


def test_small_cells_are_all_that_are_small() -> None:
    rows = ward(1)
    cells = small_cells(rows.lazy(), ["PatientSex", "PatientAge"], threshold=12)
    naive = rows.with_columns(pl.col("PatientSex", "PatientAge").fill_null("")).group_by("PatientSex", "PatientAge").agg(pl.col("PatientID").n_unique())
    assert dict(zip(cells.select("PatientSex", "PatientAge").rows(), cells["patients"], strict=True)) == {(s, a): n for s, a, n in naive.iter_rows() if n < 12}


def test_nobody_is_hidden_in_an_empty_table() -> None:
    rows = ward(1).head(0).lazy()
    found = assess_risk(rows, ["PatientSex"])
    assert (found.k, found.patients, found.highest, l_diversity(rows, ["PatientSex"], "StudyDescription")) == (0, 0, 0.0, 0)


def test_a_column_that_is_missing_is_said() -> None:
    with pytest.raises(UsageError, match="no columns of the table"):
        assess_risk(ward(1).lazy(), ["PatientSize"])


def test_the_lists_name_columns_of_the_store() -> None:
    assert set(QUASI_IDENTIFIERS) | set(SENSITIVE) <= set(COLUMNS)
    assert filled(ward(1).with_columns(EthnicGroup=pl.lit(" ")).lazy(), QUASI_IDENTIFIERS) == ["PatientSex", "PatientAge", "StudyDate"]


def test_the_basic_policy_hides_everybody_and_its_options_less() -> None:
    rows = ward(2).with_columns(SOPClassUID=pl.lit("1.2.840.10008.5.1.4.1.1.2"), StudyInstanceUID=pl.lit("1.2.3"))
    quasi = ["PatientSex", "PatientAge", "StudyDate"]
    risks = [assess_risk(deidentify_table(rows.lazy(), load_policy("basic", options), Key(bytes(32))), quasi)
             for options in ([], ["retain-patient-characteristics"], ["retain-patient-characteristics", "retain-full-dates"])]
    before = assess_risk(rows.lazy(), quasi)
    assert risks[0].classes <= 2 and risks[0].k > 50
    assert risks[0].k > risks[1].k >= risks[2].k
    assert (risks[2].classes, risks[2].k) == (before.classes, before.k)


def test_nobody_stays_older_than_90() -> None:
    ages = [f"{i:03}Y" for i in (0, 45, 89, 90, 91, 104, 120)]
    rows = pl.LazyFrame({"PatientID": [str(i) for i in range(len(ages))], "PatientAge": ages, "StudyInstanceUID": "1.2", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"})
    new = deidentify_table(rows, load_policy("basic", ["retain-patient-characteristics"]), Key(bytes(32))).collect()
    assert new["PatientAge"].to_list() == [capped_age(a.encode()).decode() for a in ages] == ["000Y", "045Y", "089Y", "090Y", "090Y", "090Y", "090Y"]


@pytest.mark.slow
def test_a_million_real_series(idc_table) -> None:
    import duckdb

    index = pl.scan_parquet(idc_table).select("PatientID", "collection_id", "PatientSex", "PatientAge", pl.col("StudyDate").cast(pl.String), "BodyPartExamined")
    found = assess_risk(index, ["PatientSex", "PatientAge", "StudyDate"], ["collection_id", "PatientID"])
    quasi = "coalesce(PatientSex, ''), coalesce(PatientAge, ''), coalesce(StudyDate::varchar, '')"
    who = "collection_id || '|' || PatientID"
    sizes = f"select {who} as p, [{quasi}] as q, count(distinct {who}) over (partition by {quasi}) as n from '{idc_table}'"
    k, many, unique = duckdb.connect().execute(f"select min(n), count(distinct q), count(distinct p) filter (n = 1) from ({sizes})").fetchone()
    assert (found.k, found.classes, found.unique) == (k, many, unique)
