"""Row rules only, by another library: python by_quality.py NAME TABLES RULES. Prints one line of JSON.

RULES holds polars expressions (serialised, so that this environment needs no dicom_workbench): `make`, the typed columns
that the rules speak of, and for each rule an expression that is true where a row passes.
"""

import json
import pickle
import resource
import sys
from pathlib import Path

import polars as pl


def used() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def by_pointblank(table: pl.DataFrame, rules: dict[str, pl.Expr]) -> dict[str, int]:
    import pointblank as pb

    validation = pb.Validate(table)
    for expression in rules.values():
        validation = validation.col_vals_expr(expr=expression)
    return dict(zip(rules, validation.interrogate(get_first_n=0, collect_extracts=False).n_failed().values(), strict=True))


def by_dataframely(table: pl.DataFrame, rules: dict[str, pl.Expr]) -> dict[str, int]:
    import dataframely as dy

    columns = {name: dy.Any() for name in table.columns}
    checks = {f"r{i}": dy.rule()(lambda cls, e=e: e) for i, e in enumerate(rules.values())}
    found = type("Rows", (dy.Schema,), columns | checks).filter(table)[1].counts()
    return {name: found.get(f"r{i}", 0) for i, name in enumerate(rules)}


def main() -> None:
    name, tables, rules = sys.argv[1], sorted(Path(sys.argv[2]).glob("*.parquet")), pickle.loads(Path(sys.argv[3]).read_bytes())
    checks = {id: pl.Expr.deserialize(e) for id, e in rules["passes"].items()}
    make = [pl.Expr.deserialize(e) for e in rules["make"]]
    ask = {"pointblank": by_pointblank, "dataframely": by_dataframely}[name]
    failed: dict[str, int] = {}
    start = used()
    rows = 0
    part = int(sys.argv[4])
    for file in tables:
        total = pl.scan_parquet(file).select(pl.len()).collect().item()
        for first in range(0, total, part):
            table = pl.scan_parquet(file).slice(first, part).select(rules["columns"]).with_columns(make).collect()
            rows += len(table)
            for id, n in ask(table, checks).items():
                failed[id] = failed.get(id, 0) + n
    print(json.dumps({"rows": rows, "cpu": used() - start, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "failed": failed}))


main()
