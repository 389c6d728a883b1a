"""What may leave the house: no small count can be read or computed, and a released page shows nothing that was not let through."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import polars as pl
import pytest
from scipy.optimize import linprog

from dicom_workbench.privacy.suppression import FEW, THRESHOLD, Suppressed, hidden_values, intervals, suppress
from dicom_workbench.standard.errors import UsageError

# ---- tables: an attacker with linear programming, and one who tries everything ------------------------------------------------


def random_table(seed: int, tall: int, wide: int, typical: int = 12, several: bool = False) -> pl.DataFrame:
    "Counts around the threshold, some zero; where `several`, a patient has many records and may stand in many cells."
    rng = np.random.default_rng(seed)
    patients = rng.poisson(rng.choice([1, typical, 4 * typical], size=(tall, wide)))
    n = patients * rng.integers(1, 9, size=(tall, wide)) if several else patients
    cells = [{"a": i, "b": j, "n": int(n[i, j]), "patients": int(patients[i, j])} for i in range(tall) for j in range(wide) if n[i, j]]
    return pl.DataFrame(cells, schema={"a": pl.Int64, "b": pl.Int64, "n": pl.Int64, "patients": pl.Int64})


def equations(table: Suppressed) -> tuple[pl.DataFrame, list[list[int]], list[int]]:
    "What is published, as equations over the cells that are not: every total that is shown, and the grand total."
    out = table.withheld.with_row_index("x")
    shown = table.cells.filter(pl.col("why").is_null())
    rows, sums = [[1] * out.height], [int(table.cells["n"].sum() - shown["n"].sum())]
    for column, margin in table.margins.items():
        for value, n in margin.filter(pl.col("why").is_null()).select(column, "n").iter_rows():
            rows.append((out[column].eq_missing(value)).cast(pl.Int64).to_list())
            sums.append(n - int(shown.filter(pl.col(column).eq_missing(value))["n"].sum()))
    return out, rows, sums


def bounds_by_linear_programming(table: Suppressed) -> list[tuple[float, float]]:
    out, rows, sums = equations(table)
    found = []
    for x in range(out.height):
        aim = np.zeros(out.height)
        aim[x] = 1
        low, high = (linprog(sign * aim, A_eq=rows, b_eq=sums, bounds=(0, None)) for sign in (1, -1))
        found.append((round(low.fun, 6), round(-high.fun, 6)))
    return found


TABLES = [pytest.param(seed, tall, wide, several, id=f"{tall}x{wide}-{seed}{'-several' if several else ''}")
          for tall, wide in [(2, 2), (3, 3), (4, 6), (6, 5), (3, 9)] for seed in range(5) for several in (False, True)]


@pytest.mark.parametrize(("seed", "tall", "wide", "several"), TABLES)
def test_linear_programming_cannot_narrow_a_cell_to_less_than_ten(seed: int, tall: int, wide: int, several: bool) -> None:
    cells = random_table(seed, tall, wide, several=several)
    table = suppress(cells, ["a", "b"], disjoint=not several)
    bounds = bounds_by_linear_programming(table)
    assert bounds == intervals(table).select("low", "high").rows()  # two ways to compute what an attacker knows
    named = dict.fromkeys(table.by)
    for row, (low, high) in zip(table.withheld.iter_rows(named=True), bounds, strict=True):
        if any(row[c] in hidden_values(table, c) for c in named) and row["n"] == 0:
            continue  # an empty cell of a row that is not shown at all
        assert low <= row["n"] <= high
        assert high - low >= THRESHOLD, (row, low, high)


@pytest.mark.parametrize("seed", range(12))
def test_linear_programming_cannot_narrow_a_value_of_a_single_row(seed: int) -> None:
    cells = random_table(seed, 1, 7).select("b", "n", "patients")
    table = suppress(cells, ["b"])
    if cells["n"].sum() < THRESHOLD:
        assert table.shown.is_empty()
        return
    for low, high in bounds_by_linear_programming(table):
        assert high - low >= THRESHOLD


def everything(table: Suppressed) -> np.ndarray:
    "Every table of whole numbers that agrees with what is published, one a row."
    out, rows, sums = equations(table)
    most = [min(s for row, s in zip(rows, sums, strict=True) if row[x]) for x in range(out.height)]
    guesses = np.indices([m + 1 for m in most], dtype=np.int16).reshape(out.height, -1).T
    return guesses[(guesses @ np.array(rows, dtype=np.int16).T == np.array(sums, dtype=np.int16)).all(axis=1)]


def small_tables() -> list[Suppressed]:
    "Tables of which at most four cells are left out: few enough to try everything."
    found = []
    for seed in range(60):
        n = np.random.default_rng(seed).choice([0, 2, 5, 11, 14, 17, 20], size=(3, 3), p=[0.05, 0.05, 0.05, 0.25, 0.2, 0.2, 0.2])
        cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(3) for j in range(3)])
        table = suppress(cells, ["a", "b"])
        found += [table] if 0 < table.withheld.height <= 4 else []
    return found


def test_trying_everything_leaves_each_cell_open() -> None:
    tables = small_tables()
    assert len(tables) > 20
    for table in tables:
        found = everything(table)
        assert table.withheld["n"].to_list() in found.tolist()
        assert (found.max(axis=0) - found.min(axis=0) >= THRESHOLD).all()


def test_a_cell_between_two_blocks_is_not_given_away() -> None:
    "Two blocks of four cells and one cell between them: every line leaves out two or three, and yet that one could be computed."
    n = np.full((4, 4), 60)
    n[:2, :2] = n[2:, 2:] = [[5, 6], [6, 5]]
    n[0, 2] = 3
    few = n < THRESHOLD
    cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(4) for j in range(4)])
    naive = cells.with_columns(why=pl.Series(["few" if f else None for f in few.ravel()]))
    margins = {c: cells.group_by(c).agg(pl.col("n", "patients").sum()).sort(c).with_columns(why=pl.lit(None, dtype=pl.String)) for c in ("a", "b")}
    assert (3, 3) in bounds_by_linear_programming(Suppressed(("a", "b"), naive, margins))
    assert all(high - low >= THRESHOLD for low, high in bounds_by_linear_programming(suppress(cells, ["a", "b"])))


@pytest.mark.parametrize(("seed", "tall", "wide", "several"), TABLES[::3])
def test_no_cell_that_is_shown_is_about_few_patients(seed: int, tall: int, wide: int, several: bool) -> None:
    cells = random_table(seed, tall, wide, several=several)
    shown = suppress(cells, ["a", "b"], disjoint=not several).shown.join(cells, on=["a", "b"], how="left")
    assert (shown["patients"].fill_null(0) >= THRESHOLD).all()


def test_what_a_line_leaves_out_is_about_enough_patients() -> None:
    "The sum of what is left out is known, so it must not be small itself."
    table = suppress(pl.DataFrame({"v": ["a", "b", "c", "d"], "n": [500, 40, 4, 3]}).with_columns(patients="n"), ["v"])
    assert set(table.withheld["v"]) == {"b", "c", "d"}


def test_cells_that_share_patients_do_not_protect_each_other() -> None:
    "Two cells of eight patients each may be the same eight."
    cells = pl.DataFrame({"v": ["a", "b", "c", "d"], "n": [500, 60, 30, 20], "patients": [200, 30, 8, 8]})
    assert set(suppress(cells, ["v"]).withheld["v"]) == {"b", "c", "d"}
    assert set(suppress(cells, ["v"], disjoint=True).withheld["v"]) == {"c", "d"}


def test_zero_is_a_small_count() -> None:
    cells = pl.DataFrame({"a": ["x", "x", "y"], "b": ["u", "v", "u"], "n": [30, 40, 50]}).with_columns(patients="n")
    table = suppress(cells, ["a", "b"])
    assert ("y", "v", 0, 0, FEW) in table.cells.rows()
    assert table.shown.is_empty()  # with two rows and two columns the totals would tell it


def test_more_is_left_out_where_the_threshold_is_higher() -> None:
    cells = random_table(3, 5, 5, 20)
    ten, thirty = (suppress(cells, ["a", "b"], t).withheld.height for t in (10, 30))
    assert ten < thirty


def test_a_lower_threshold_is_refused() -> None:
    with pytest.raises(UsageError, match="never released"):
        suppress(random_table(1, 2, 2), ["a", "b"], threshold=9)


def test_little_is_left_out_where_nearly_everything_is_large() -> None:
    "Protection costs: but one small cell in a hundred must not cost the table."
    n = np.random.default_rng(5).integers(80, 400, size=(10, 10))
    n[4, 7] = 3
    cells = pl.DataFrame([{"a": i, "b": j, "n": int(n[i, j]), "patients": int(n[i, j])} for i in range(10) for j in range(10)])
    assert suppress(cells, ["a", "b"]).withheld.height == 4
