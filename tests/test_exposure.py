"""Exposure index of radiographs: against what consoles stored themselves, and the known answers of the synthetic hospital."""
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from dicom_workbench.acquire.scan import scan
from dicom_workbench.analysis.exposure import STANDARD_SCALE, exposures, repeat_rates, repeats, spread
from dicom_workbench.standard.attributes import attribute
from dicom_workbench.standard.values import typed
from dicom_workbench.teach import answers, make_table


def typed_rows(table: pl.DataFrame) -> pl.LazyFrame:
    wanted = [c for c in table.columns if c[0].isupper()]
    return table.lazy().with_columns([typed(pl.col(c), attribute(c).vr, attribute(c).vm).alias(c) for c in wanted])


def test_repeats_and_rejects_are_those_that_the_hospital_made() -> None:
    found = repeat_rates(repeats(typed_rows(make_table(1500, 3))))
    known = answers(1500, 3)["repeats"].rename({"station": "StationName"})
    both = known.join(found, on="StationName", suffix="_found", how="left")
    assert both["repeats"].sum() > 50
    for name in ("radiographs", "repeats", "marked"):
        assert both[name].to_list() == both[f"{name}_found"].to_list(), name


def test_a_shorter_window_finds_fewer_repeats() -> None:
    rows = typed_rows(make_table(300, 3))
    long, short = (repeat_rates(repeats(rows, within)).get_column("repeats").sum() for within in (timedelta(minutes=10), timedelta(seconds=1)))
    assert 0 <= short < long


def test_scales_of_makers_stay_apart() -> None:
    groups = spread(exposures(typed_rows(make_table(1500, 3))))
    assert STANDARD_SCALE in groups["scale"].to_list() and len(groups["scale"].drop_nulls()) >= 2
    assert groups["scale"].is_unique().all()


def test_the_recomputed_index_is_what_the_console_stored(shared: Path) -> None:
    table = scan([str(shared / "data/real")])
    found = exposures(typed_rows(table)).filter(pl.col("di_stored").is_not_null(), pl.col("ExposureIndex") > 0, pl.col("TargetExposureIndex") > 0).collect()
    assert len(found) >= 5
    assert found["di_differs"].sum() == 0, found.select("path", "di", "di_stored")


@pytest.mark.parametrize(("maker", "expected"), [("FUJIFILM Corporation", "Fujifilm"), ("GEMINI", "GEMINI"), ("EASTMAN KODAK COMPANY", "Carestream")])
def test_makers(maker: str, expected: str) -> None:
    row = pl.LazyFrame({"Modality": ["CR"], "Manufacturer": [maker], "Sensitivity": [200.0]})
    assert exposures(row).collect()["scale"].to_list() == [f"{expected}, sensitivity"]
