"""Who is imaged: the same numbers from another engine (DuckDB), and what is left out."""
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dicom_workbench.analysis.population import (
    IONISING,
    age_by_sex,
    by_facility,
    by_period,
    dates_of,
    exclusions,
    most_studies,
    repeated_ionising,
    studies_per_patient,
    study_rows,
)
from dicom_workbench.analysis.representative import ages_of, compare_with, read_population
from dicom_workbench.standard.attributes import attribute
from dicom_workbench.standard.errors import UsageError
from dicom_workbench.standard.values import typed
from dicom_workbench.teach import make_table

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def series() -> pl.DataFrame:
    table = make_table(1500, 3)
    wanted = [c for c in table.columns if c[0].isupper()]
    typed_rows = table.with_columns([typed(pl.col(c), attribute(c).vr, attribute(c).vm).alias(c) for c in wanted])
    return typed_rows.group_by("SeriesInstanceUID").agg(pl.col(*[c for c in wanted if c != "SeriesInstanceUID"]).first(), instance_count=pl.len().cast(pl.Int64))


@pytest.fixture(scope="module")
def sql(series: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[tuple[Any, ...]]]:
    file = tmp_path_factory.mktemp("duckdb") / "series.parquet"
    series.drop([c for c, kind in series.schema.items() if kind == pl.Null]).write_parquet(file)
    con = duckdb.connect()
    con.execute(f"create view series as select * from read_parquet('{file}')")
    return lambda query: con.execute(query).fetchall()


@pytest.fixture(scope="module")
def rows(series: pl.DataFrame) -> pl.DataFrame:
    return study_rows(series.lazy())


SCOPE = "Modality not in ('SR','SEG','PR','KO','RTSTRUCT','RTPLAN','RTDOSE','RTRECORD','REG','ANN','M3D','DOC','RWV','FID','PLAN')"
AGE = """try_cast(regexp_extract(PatientAge, '^([0-9]{3})[DWMY]$', 1) as double)
         / case right(PatientAge, 1) when 'D' then 365.25 when 'W' then 52.18 when 'M' then 12 else 1 end"""


def test_sizes_equal_another_engine(sql: Callable[[str], list[tuple[Any, ...]]], rows: pl.DataFrame) -> None:
    known = sql(f"""select InstitutionName facility, count(distinct PatientID) patients, count(distinct StudyInstanceUID) studies,
        count(*) series, sum(instance_count)::bigint images from series where {SCOPE} group by all order by studies desc, facility""")
    assert by_facility(rows).rows() == known and len(known) >= 3
    years = sql(f"""select date_trunc('year', StudyDate)::date y, Modality m, count(distinct PatientID), count(distinct StudyInstanceUID) from series
        where {SCOPE} group by all order by y, m""")
    assert by_period(rows).rows() == years


def test_ages_equal_another_engine(sql: Callable[[str], list[tuple[Any, ...]]], rows: pl.DataFrame) -> None:
    known = sql(f"""with s as (select PatientID p, StudyInstanceUID s, max({AGE}) age from series where {SCOPE} and PatientAge <> '000Y' group by all)
        select case when age < 5 then '0–4' when age < 15 then '5–14' when age < 30 then '15–29' when age < 45 then '30–44' when age < 60 then '45–59'
        when age < 75 then '60–74' else '75 and over' end g, count(distinct p) patients, count(distinct s) studies from s where age is not null group by g order by g""")
    found = studies_per_patient(rows).filter(pl.col("age_group").is_not_null()).with_columns(pl.col("age_group").cast(pl.String))
    assert sorted(found.select("age_group", "patients", "studies").rows()) == sorted(known)
    assert age_by_sex(rows)["studies"].sum() >= by_facility(rows, "modality")["studies"].sum()


def test_repeated_ionising_studies_equal_a_self_join(sql: Callable[[str], list[tuple[Any, ...]]], rows: pl.DataFrame) -> None:
    kinds = ",".join(f"'{m}'" for m in IONISING)
    known = sql(f"""with s as (select PatientID p, StudyInstanceUID u, min(StudyDate) d from series where Modality in ({kinds}) and {SCOPE} group by all),
        w as (select a.p, a.u, count(*) n from s a join s b on a.p = b.p and b.d <= a.d and b.d > a.d - 365 group by all), m as (select p, max(n) n from w group by p)
        select count(*), count(*) filter (n >= 2), count(*) filter (n >= 3), count(*) filter (n >= 5) from m""")[0]
    assert tuple(repeated_ionising(rows)["patients"].to_list()[:4]) == known
    assert known[1] > 0


def test_a_phantom_without_a_name_is_no_patient() -> None:
    days = [datetime.date(2024, 1, 1 + n % 5) for n in range(150)]
    frame = pl.LazyFrame({"PatientID": "cube", "StudyInstanceUID": [str(n) for n in range(150)], "Modality": "CT", "StudyDate": days})
    assert exclusions(study_rows(frame)).select("excluded", "studies").rows() == [("over 100 studies, more than one a day", 150)]
    assert most_studies(study_rows(frame)).is_empty()


def test_shifted_dates_forbid_trends() -> None:
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=n) for n in range(1000)]
    frame = pl.LazyFrame({"PatientID": [str(n) for n in range(1000)], "StudyInstanceUID": [str(n) for n in range(1000)], "Modality": "CT", "StudyDate": days})
    assert not dates_of(study_rows(frame)).usable
    assert dates_of(study_rows(frame.filter(pl.col("StudyDate").dt.weekday() < 6))).usable


def test_census_and_who_layouts(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("Location,Period,Dim1,Dim2,Value\nZM,2020,Male,0-4 years,100\nZM,2020,Female,0-4 years,90\nZM,2020,Both sexes,0-4 years,190\nZM,2020,Male,5+,10\n")
    (tmp_path / "un.csv").write_text("AgeGrp,PopMale,PopFemale\n0-4,100,90\n5+,10,0\n")
    who, un = read_population(tmp_path / "who.csv"), read_population(tmp_path / "un.csv")
    assert who["people"].sum() == un["people"].sum() == 200
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError):
        read_population(tmp_path / "odd.csv")
    (tmp_path / "twice.csv").write_text("age,male,female\n0-9,1,1\n5-14,1,1\n")
    with pytest.raises(UsageError, match="overlap"):
        read_population(tmp_path / "twice.csv")
    assert ages_of("80 and over") == (80, 131)


def test_patients_who_cannot_be_compared_are_counted(rows: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("age,male,female\n" + "\n".join(f"{a}-{a + 9},100,100" for a in range(0, 130, 10)) + "\n")
    seen = compare_with(rows, read_population(tmp_path / "people.csv"))
    assert seen.patients + seen.without == by_facility(rows.with_columns(facility=pl.lit("all")))["patients"].sum()
    assert abs(seen.table["share"].sum() - 1) < 0.002


@pytest.mark.slow
def test_every_table_of_idc_equals_another_engine(idc_table: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, Path(__file__).resolve().parents[1] / "benchmarks/population.py", "--numbers"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count(" 0 differ") == 8, done.stdout + done.stderr


@pytest.mark.slow
def test_series_added_and_removed_between_releases_of_idc(tmp_path: Path) -> None:
    import subprocess
    import sys

    import idc_index_data

    from dicom_workbench.analysis.drift import change

    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path), "idc-index-data==24.2.2"], capture_output=True)
    if done.returncode:
        pytest.skip("only on a machine that reaches a package index")
    found = change(pl.scan_parquet(tmp_path / "idc_index_data" / "idc_index.parquet").select("SeriesInstanceUID", "BodyPartExamined"),
                   pl.scan_parquet(idc_index_data.IDC_INDEX_PARQUET_FILEPATH).select("SeriesInstanceUID", "BodyPartExamined"))
    assert (found.added, found.removed) == (11_407, 127)
