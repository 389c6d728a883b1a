"""Workload and operations: the known answers of the synthetic hospital, and weeks that were lost on purpose."""
from datetime import date, timedelta

import polars as pl
import pytest

from dicom_workbench.analysis.operations import film_share, gaps, scenario, utilisation, volume, workload
from dicom_workbench.standard.attributes import attribute
from dicom_workbench.standard.values import typed
from dicom_workbench.teach import answers, make_table


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    table = make_table(1500, 3)
    wanted = [c for c in table.columns if c[0].isupper()]
    return table.with_columns([typed(pl.col(c), attribute(c).vr, attribute(c).vm).alias(c) for c in wanted])


@pytest.fixture(scope="module")
def known() -> dict[str, pl.DataFrame]:
    return answers(1500, 3)


def test_volume_by_facility_and_day(rows: pl.DataFrame, known: dict[str, pl.DataFrame]) -> None:
    found = volume(rows.lazy(), ["InstitutionName", "date"]).select("InstitutionName", "date", "studies")
    assert found.rows() == known["volume"].sort("facility", "date").rows()


def test_rooms_and_hours(rows: pl.DataFrame, known: dict[str, pl.DataFrame]) -> None:
    assert utilisation(rows.lazy()).select("StationName", "studies").rows() == known["rooms"].rows()
    assert volume(rows.lazy(), ["hour"]).select("hour", "studies").rows() == known["hours"].rows()


def test_studies_by_reader(rows: pl.DataFrame, known: dict[str, pl.DataFrame]) -> None:
    found = workload(rows.lazy().group_by("StudyInstanceUID").agg(pl.col("NameOfPhysiciansReadingStudy").min()))
    expected = {(name or None): n for name, n in known["workload"].select("reader", "studies").rows()}
    assert dict(found.rows()) == expected


def test_share_of_film_by_year(rows: pl.DataFrame, known: dict[str, pl.DataFrame]) -> None:
    found = film_share(rows.lazy()).select("year", "radiographs", "film")
    assert found.rows() == known["film"].sort("year").rows()
    assert found["film"].sum() > 0


def test_weeks_that_were_lost_are_gaps() -> None:
    lost = [date(2024, 3, 4) + timedelta(days=n) for n in range(14)]
    days = [d for d in (date(2024, 1, 1) + timedelta(days=n) for n in range(200)) if d.isoweekday() <= 6 and d not in lost]
    frame = pl.LazyFrame({"StudyInstanceUID": [f"{d}.{n}" for d in days for n in range(5)], "InstitutionName": "A", "StudyDate": [d for d in days for _ in range(5)]})
    found = gaps(frame)
    assert found.select("first_day", "last_day").rows() == [(date(2024, 3, 3), date(2024, 3, 17))]


def test_scenario_refuses_nonsense() -> None:
    with pytest.raises(ValueError):
        scenario(10, 1, 0, 8)
    assert scenario(10, 0, 5, 8).backlog == 10
