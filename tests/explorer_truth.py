"""Rows as headers may hold them, for the tests of the explorers."""

import datetime
import random

import polars as pl

TEXTS = ["CT Thorax (1)", "ct thorax", "<b>MR</b>", "Čáp", "й", "山田", "a|b", "tab\tand\nline", "'quoted' \"twice\"", "\\d+", "", " ", "🩻"]


def wild_ward(n: int, seed: int) -> pl.DataFrame:
    "Rows of every type with nulls, odd text, bad dates, huge numbers."
    draw = random.Random(seed)

    def some(make, nulls: float = 0.15):
        return [None if draw.random() < nulls else make() for _ in range(n)]

    return pl.DataFrame({
        "Modality": some(lambda: draw.choice(["CT", "MR", "CR", "DX", "US", "<script>"])),
        "SeriesDescription": some(lambda: draw.choice(TEXTS) + draw.choice(["", " 1", " 2"])),
        "age_years": some(lambda: round(draw.uniform(0, 95), 3)),
        "KVP": some(lambda: draw.choice([80.0, 100.0, 120.0, 1e6, 0.0]), 0.5),
        "SeriesNumber": some(lambda: draw.choice([1, 2, 3, 500, 2_000_000_000, draw.randrange(100)])),
        "BitsStored": some(lambda: draw.choice([8, 12, 16])),
        "StudyDate": some(lambda: datetime.date(draw.choice([1900, 2015, 2016, 2017, 2020, 9999]), draw.randint(1, 12), 1)),
        "StudyTime": some(lambda: datetime.time(draw.randrange(24), draw.randrange(60))),
        "complete": some(lambda: draw.random() < 0.9),
        "path": [f"d/{i}{draw.choice(['', ' ', 'é', chr(10)])}.dcm" for i in range(n)],
    }, schema_overrides={"Modality": pl.String, "SeriesDescription": pl.String, "age_years": pl.Float64, "KVP": pl.Float64, "SeriesNumber": pl.Int64, "BitsStored": pl.Int64,
                         "StudyDate": pl.Date, "StudyTime": pl.Time, "complete": pl.Boolean, "path": pl.String})
