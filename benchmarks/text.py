"""Cleaning of free text: how much of real descriptions stays, and how many planted names go.

    python benchmarks/text.py [--names names.json]

Retention: the SeriesDescription and StudyDescription of NCI Imaging Data Commons (package idc-index-data), by collection.
The vocabulary was written while looking at three quarters of the collections (crc32 of the name, modulo 4, is not 3); the
last quarter was never looked at and is reported apart.

Recall: names planted into descriptions, once with the header that names them, in every spelling, and once without. The
lists are those of tests/data/names.csv; `--names` takes more: {"anything": ["name", …], …}.
"""

import argparse
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from dicom_workbench.privacy.text import Cleaner, fold, harvest

HERE = Path(__file__).resolve().parent
TEXTS = ("CT CHEST", "t2_tse_tra_p2", "MRI Brain w/o contrast", "XR HIP AP", "Thorax seitlich im Stehen", "US abdome total")


def descriptions() -> pl.DataFrame:
    import idc_index_data

    table = pl.scan_parquet(Path(idc_index_data.__path__[0]) / "idc_index.parquet")
    columns = ("StudyDescription", "SeriesDescription")
    frames = [table.group_by("collection_id", pl.col(c).alias("text")).agg(rows=pl.len()).with_columns(column=pl.lit(c)) for c in columns]
    return pl.concat(frames).drop_nulls().collect().sort("collection_id", "column", "text")


def retention() -> None:
    totals: dict[tuple[str, str], list[int]] = {}
    started, texts = time.process_time(), 0
    for collection, text, rows, column in descriptions().select("collection_id", "text", "rows", "column").iter_rows():
        part = "unseen quarter" if zlib.crc32(collection.encode()) % 4 == 3 else "seen"
        cleaner = Cleaner()
        cleaner.clean(text)
        texts += 1
        for key in ((part, column), (part, "both"), ("all", "both"), ("all", column)):
            total = totals.setdefault(key, [0] * 6)
            for i, n in enumerate((cleaner.kept * rows, cleaner.seen * rows, rows * (cleaner.kept == cleaner.seen), rows, cleaner.kept, cleaner.seen)):
                total[i] += n
    spent = time.process_time() - started
    print(f"{'collections':15} {'column':18} {'series':>9} {'words kept, by series':>22} {'texts wholly kept':>18} {'words of distinct texts':>24}")
    for (part, column), t in sorted(totals.items()):
        print(f"{part:15} {column:18} {t[3]:9,} {t[0] / t[1]:22.1%} {t[2] / t[3]:18.1%} {t[4] / t[5]:24.1%}")
    print(f"{1e6 * spent / texts:.1f} µs of CPU a text (distinct ones, each with a cleaner of its own)")


def spellings(family: str, given: str) -> Iterator[str]:
    "How a name of the header may turn up in a text."
    yield from (f"{family} {given}", f"{given} {family}", f"{family}, {given[0]}.", f"{given[0]}. {family}", f"{family}^{given}",
                f"{given}_{family}", f"{family}{given}", f"{family[:3]} {family[3:]}", f"{family[:2]}-{family[2:]}", " ".join(family),
                f"{family}'s", f"{family}1")


def left(output: str, name: str) -> bool:
    "Is the name still a word of the text, or written apart?"
    words = "".join(c if c.isalnum() else " " for c in fold(output)).split()
    return fold(name) in words or (len(name) > 3 and any(fold(name) == "".join(words[i:j]) for i in range(len(words)) for j in range(i, min(i + len(name), len(words)) + 1)))


def recall(names: list[str], title: str) -> None:
    gone = planted = 0
    absent = 0
    for i, family in enumerate(names):
        given = names[(i * 7 + 3) % len(names)]
        cleaner = Cleaner(harvest({"PatientName": [f"{family}^{given}"]}))
        for form in (str.upper, str.lower, str.title):
            for said in spellings(family, given):
                for text in (f"{TEXTS[i % len(TEXTS)]} {form(said)}", f"{form(said)} {TEXTS[i % len(TEXTS)]}"):
                    planted += 1
                    output = cleaner.clean(text)
                    gone += not (left(output, family) or (f"{given}" in said and left(output, given)))
        output = Cleaner().clean(f"{TEXTS[i % len(TEXTS)]} {family.upper()}")
        absent += not left(output.removeprefix(TEXTS[i % len(TEXTS)]), family)
    print(f"{title:24} {len(names):7,} names: in the header {gone / planted:.4%} of {planted:,} gone; not in the header {absent / len(names):.3%} gone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=Path)
    asked = parser.parse_args()
    listed = pl.read_csv(HERE.parent / "tests/data/names.csv")
    for kind in sorted(set(listed["kind"])):
        recall(listed.filter(pl.col("kind") == kind)["name"].to_list(), kind)
    for title, names in (json.loads(asked.names.read_text()) if asked.names else {}).items():
        recall([name for name in names if len(name) > 1], title)
    retention()


if __name__ == "__main__":
    main()
