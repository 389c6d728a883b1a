"""Faults planted into real acquisition settings are found; untouched protocols are left alone."""
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dicom_workbench.analysis.anomalies import deviation, isolation, odd_settings
from dicom_workbench.analysis.operations import SETTINGS
from dicom_workbench.standard.attributes import attribute
from dicom_workbench.standard.values import typed
from dicom_workbench.teach import make_table

GROUP = ["dataset", "ProtocolName"]


def average_precision(score: np.ndarray, truth: np.ndarray) -> float:
    order = np.argsort(-score, kind="stable")
    hits = truth[order]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


SAME = [*GROUP, "ManufacturerModelName", "RepetitionTime"]  # a name alone holds several protocols; those differ in flip angle by design


@pytest.mark.parametrize(("column", "factor", "group", "least"), [
    ("EchoTime", 10.0, GROUP, 0.99), ("EchoTime", 0.001, GROUP, 0.99), ("RepetitionTime", 10.0, GROUP, 0.99), ("FlipAngle", 2.0, SAME, 0.94)])
def test_planted_faults_come_first(shared: Path, column: str, factor: float, group: list[str], least: float) -> None:
    rows = pl.read_parquet(shared / "data/series_labels/train.parquet").filter(
        pl.col("label") == "BOLD", pl.col("label_status") == "ok", pl.col(column) > 0).sort("row_id").filter(pl.len().over(group) >= 12)
    wrong = np.random.default_rng(7).random(len(rows)) < 0.02
    planted = rows.with_columns((pl.col(column) * pl.when(pl.Series(wrong)).then(factor).otherwise(1.0)).alias(column))
    score = planted.select(deviation(pl.col(column), group).fill_null(0)).to_series().to_numpy()
    judged = planted.select(deviation(pl.col(column), group).is_not_null()).to_series().to_numpy()
    assert wrong[judged].sum() >= 10
    found = average_precision(score[judged], wrong[judged])
    assert found >= least, found


def test_the_forest_alone_is_worse(shared: Path) -> None:
    pytest.importorskip("sklearn")
    rows = pl.read_parquet(shared / "data/series_labels/train.parquet").filter(pl.col("label") == "BOLD", pl.col("EchoTime") > 0).sort("row_id")
    rows = rows.filter(pl.len().over("dataset", "ProtocolName") >= 12)
    wrong = np.random.default_rng(7).random(len(rows)) < 0.02
    planted = rows.with_columns((pl.col("EchoTime") * pl.when(pl.Series(wrong)).then(10.0).otherwise(1.0)).alias("EchoTime"))
    forest = average_precision(isolation(planted, ["EchoTime", "RepetitionTime", "FlipAngle"]).to_numpy(), wrong)
    robust = average_precision(planted.select(deviation(pl.col("EchoTime"), GROUP).fill_null(0)).to_series().to_numpy(), wrong)
    assert robust > forest


def test_swapped_kilovolts_are_found() -> None:
    table = make_table(600, 3).filter(pl.col("Modality") == "DX")
    rows = table.with_columns([typed(pl.col(c), attribute(c).vr, attribute(c).vm).alias(c) for c in SETTINGS if c in table.columns]).with_row_index("row")
    assert odd_settings(rows.lazy(), ["KVP"]).is_empty()
    wrong = rows.filter(pl.len().over("StationName", "ProtocolName") >= 20)["row"].to_list()[::40][:3]
    swapped = rows.with_columns(KVP=pl.when(pl.col("row").is_in(wrong)).then(pl.col("KVP") / 20).otherwise("KVP"))
    assert sorted(odd_settings(swapped.lazy(), ["KVP"])["row"].to_list()) == wrong
