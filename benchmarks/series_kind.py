"""The kinds of MR series: training, and what it is worth in data sets that the model has not seen.

    python benchmarks/series_kind.py compare    # weights, over-sampling, caps, learners: twelve groups of data sets (minutes)
    python benchmarks/series_kind.py measure    # the figures of the issue: leave one data set out, everything fitted inside (10 to 20 minutes)
    python benchmarks/series_kind.py train      # the model of the package, from all data sets (a minute)
    python benchmarks/series_kind.py speed      # 1,000,000 series
    python benchmarks/series_kind.py idc        # the MR series of IDC's index, where the workspace (DICOM_WORKBENCH_WORKSPACE) holds the source `idc`
    python benchmarks/series_kind.py peers      # dicom-sequence-classifier, where it is installed, on the same rows
    python benchmarks/series_kind.py report     # RESULTS_series_kind.md and the model card from what the others found

Reads `data/series_labels/train.parquet` of the shared folder (DICOM_WORKBENCH_SHARED, else ../shared). Only the model and
totals leave it. Needs scikit-learn and imbalanced-learn; the package scores without them.

The rows of one data set are no independent witnesses, so everything that is fitted is fitted without the data set on which
it is judged: the forest, the weights of the evidence, and the curves of the confidence. `measure` fits the last two on
what forests say that were trained on five sixths of the *other* data sets.
"""

import argparse
import hashlib
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.optimize import minimize
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from dicom_workbench.analysis import series_kind_model as scoring
from dicom_workbench.analysis.series_kind import kinds
from dicom_workbench.analysis.series_kind_rules import KINDS, columns

SHARED = Path(os.environ.get("DICOM_WORKBENCH_SHARED") or Path(__file__).resolve().parents[2] / "shared")
HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "dicom_workbench" / "analysis"
FOUND = Path(os.environ.get("SERIES_KIND_FOUND") or HERE.parent / "artefacts" / "series_kind")  # what the parts measured, one JSON each
CARD = PACKAGE / "series_kind_card.json"

LEARNED = list(scoring.LEARNED)
LABELS = {"FMAP": "field map", "FMAP-EPI": "EPI field map", "OTHER": "other"}
OTHER = LEARNED.index("other")
LEARNT_PLACE = [KINDS.index(name) for name in LEARNED]

# What whole data sets leave out together, and how often a training copy loses it. Fixed before training.
GROUPS = {
    "sequence": (["ScanningSequence", "SequenceVariant"], 0.3), "sequence name": (["SequenceName"], 0.35), "image type": (["ImageType"], 0.25),
    "words": (["SeriesDescription", "ProtocolName"], 0.45), "readout": (["PixelBandwidth", "EchoTrainLength"], 0.5),
    "slab": (["SliceThickness", "MRAcquisitionType"], 0.35), "maker": (["Manufacturer"], 0.4), "inversion time": (["InversionTime"], 0.3),
    "flip angle": (["FlipAngle"], 0.12), "options": (["ScanOptions"], 0.3),
}
WORDS = GROUPS["words"][0]
HEADER = [name for group, (names, _) in GROUPS.items() if group != "words" for name in names] + ["EchoTime", "RepetitionTime", "MagneticFieldStrength", "DiffusionBValue"]
ONLY_WORDS = 0.08  # share of data sets of a copy that keep nothing but the words
COPIES, TREES, INNER_TREES, INNER = 6, 100, 60, 6
WEIGHTS = ("data set", 0.0)  # chosen by `compare`

Array = np.ndarray[Any, Any]


class Rows:
    """The labelled series and their views."""

    def __init__(self) -> None:
        table = pl.read_parquet(SHARED / "data" / "series_labels" / "train.parquet")
        self.rows = columns(table)
        self.label = np.array([LEARNED.index(LABELS.get(label, label)) for label in table["label"]])
        self.dataset = table["dataset"].to_numpy()
        self.clear = (table["label_status"] != "ambiguous").to_numpy()
        self.maker = table["Manufacturer"].fill_null("not said").str.to_lowercase().str.extract("^(siemens|philips|ge)").fill_null("not said").to_numpy()
        self.datasets = np.unique(self.dataset)
        self.names: tuple[str, ...] = tuple(looked(self.rows.head(1)).columns)
        self.trees = [i for i, name in enumerate(self.names) if name not in scoring.WORDS_SAY]

    def without(self, names: list[str], where: Array | None = None) -> pl.DataFrame:
        return blank(self.rows, names, where)

    def views(self) -> dict[str, Array]:
        """Features of every series: header and words, header only, words only."""
        kinds_of = {"header and text": self.rows, "header only": self.without(WORDS), "text only": self.without(HEADER)}
        return {name: looked(rows).to_numpy() for name, rows in kinds_of.items()}


class Train:
    """Different rows of the clear series, in `copies` that lose groups of attributes by data set; n: how many series each stands for."""

    def __init__(self, rows: Rows, copies: int = COPIES) -> None:
        parts = []
        for copy in range(copies + 1):
            every = looked(rows.rows if copy == 0 else lossy(rows, copy))
            parts.append(
                every.with_columns(_y=pl.Series(rows.label), _d=pl.Series(rows.dataset), _h=every.hash_rows(1)).filter(pl.Series(rows.clear))
                .group_by("_h", "_y", "_d").agg(pl.all().first(), _n=pl.len()).sort("_d", "_y", "_h").with_columns(_c=pl.lit(copy)))
        table = pl.concat(parts)
        self.x = table.select(rows.names).to_numpy()
        self.y, self.d, self.n, self.c = (table[name].to_numpy() for name in ("_y", "_d", "_n", "_c"))
        self.trees = rows.trees
        self.names = rows.names
        self.described = ~self.x[:, self.trees].any(axis=1)


def looked(rows: pl.DataFrame) -> pl.DataFrame:
    return scoring.features(rows, scoring.opinions(rows))


def blank(rows: pl.DataFrame, names: list[str], where: Array | None) -> pl.DataFrame:
    if where is None:
        return rows.with_columns(pl.lit(None, dtype=rows.schema[name]).alias(name) for name in names)
    return rows.with_columns(pl.when(~pl.Series("w", where)).then(pl.col(name)).alias(name) for name in names)


def lossy(rows: Rows, copy: int) -> pl.DataFrame:
    """All series, in which each data set has lost groups of attributes by lot."""
    lot = np.random.default_rng([0, copy])
    lost = {group: {d for d in rows.datasets if lot.random() < share} for group, (_, share) in GROUPS.items()}
    bare = {d for d in rows.datasets if lot.random() < ONLY_WORDS}
    table = rows.rows
    for group, (names, _) in GROUPS.items():
        gone = lost[group] - bare if group == "words" else lost[group] | bare
        table = blank(table, names, np.isin(rows.dataset, list(gone)))
    return blank(table, ["EchoTime", "RepetitionTime"], np.isin(rows.dataset, list(bare)))


def weights(y: Array, d: Array, n: Array, c: Array, how: tuple[str, float]) -> Array:
    """Rows, data sets or the root between them count alike; then kinds are balanced: 0 not, 1 fully."""
    unit, balance = how
    if unit == "different rows":
        weight = np.ones(len(n))
    else:
        total = pl.DataFrame({"y": y, "d": d, "c": c, "n": n}).select(pl.col("n").sum().over("y", "d", "c"))["n"].to_numpy()
        weight = {"series": n.astype(float), "data set": n / total, "root": n / np.sqrt(total), "cap of 15": n * np.minimum(1, 15 / total)}[unit]
    kind = np.bincount(y, weight, minlength=len(LEARNED))
    weight = weight * np.maximum(kind, 1e-9)[y] ** -balance
    return np.asarray(weight / weight.mean())


def extra_trees(x: Array, y: Array, w: Array, trees: int = TREES) -> Any:
    return ExtraTreesClassifier(trees, min_samples_leaf=2, random_state=0, n_jobs=1).fit(x, y, sample_weight=w)


def vote(fitted: Any, x: Array) -> Array:
    """Rows x LEARNED; equal rows are asked once."""
    different, place = np.unique(x, axis=0, return_inverse=True)
    votes = np.zeros((len(different), len(LEARNED)))
    votes[:, fitted.classes_] = fitted.predict_proba(different)
    return np.asarray(votes[place.ravel()])


MEMBER = np.zeros((len(LEARNED), len(KINDS)))  # which kinds are right for a label: `other` is any kind outside the nine
MEMBER[np.arange(OTHER), LEARNT_PLACE[:OTHER]] = 1
MEMBER[OTHER, list(scoring.OUTSIDE)] = 1


def weigh(speaks: Array, y: Array, w: Array) -> Array:
    """The weights of the evidence, by maximum likelihood with a slight pull to 0."""
    right, w = MEMBER[y], w / w.sum()

    def loss(b: Array) -> tuple[float, Array]:
        p = scoring.shares(b, speaks)
        hit = (p * right).sum(axis=1) + 1e-12
        slope = -((w[:, None] * (p * right / hit[:, None] - p))[:, :, None] * speaks).sum(axis=(0, 1))
        return float(-(w * np.log(hit)).sum() + 0.002 * (b**2).sum()), slope + 0.004 * b

    return np.asarray(minimize(loss, np.ones(speaks.shape[2]), jac=True, method="L-BFGS-B").x)


def curve(share: Array, right: Array, w: Array, bins: int = 25) -> Array:
    """2 x knots: share and how often it was right, rising; from bins of equal weight."""
    order = np.argsort(share, kind="stable")
    share, right, w = share[order], right[order].astype(float), w[order]
    bin_of = np.minimum((np.cumsum(w) / w.sum() * bins).astype(int), bins - 1)
    sums = [np.bincount(bin_of, weights=v, minlength=bins) for v in (w, w * share, w * right)]
    used = sums[0] > 0
    x, rate = sums[1][used] / sums[0][used], sums[2][used] / sums[0][used]
    rising = IsotonicRegression(y_min=0.01, y_max=0.998).fit_transform(x, rate, sample_weight=sums[0][used])
    return np.stack([x, rising + np.arange(len(x)) * 1e-7])  # the tiny slope keeps the order of equal ones


def finish(train: Train, kept: Array, votes: Array, how: tuple[str, float] = ("data set", 0.5)) -> tuple[Array, Array, Array]:
    """Weights of the evidence and the two curves, from votes of forests that had not seen the rows' data sets."""
    speaks = scoring.evidence(votes[kept], scoring.said_in(train.x[kept], train.names))
    y = train.y[kept]
    b = weigh(speaks, y, weights(y, train.d[kept], train.n[kept], train.c[kept], how))
    share = scoring.shares(b, speaks)
    right = MEMBER[y, share.argmax(axis=1)] > 0
    even = weights(y, train.d[kept], train.n[kept], train.c[kept], ("data set", 0.0))
    bare = train.described[kept]
    return b, curve(share.max(axis=1)[~bare], right[~bare], even[~bare]), curve(share.max(axis=1)[bare], right[bare], even[bare], 8)


def answer(b: Array, measured: Array, described: Array, votes: Array, x: Array, rows: Rows) -> tuple[Array, Array]:
    """Label (place in LEARNED) and confidence of each row."""
    share = scoring.shares(b, scoring.evidence(votes, scoring.said_in(x, rows.names)))
    kind = share.argmax(axis=1)
    label = np.array([LEARNT_PLACE.index(k) if k in LEARNT_PLACE else OTHER for k in range(len(KINDS))])[kind]
    seen = x[:, rows.trees].any(axis=1)
    return label, np.where(seen, np.interp(share.max(axis=1), *measured), np.interp(share.max(axis=1), *described))


# --- judging


def f1(rows: Rows, said: Array, among: list[int], over: list[int], clear: bool = True, where: Array | None = None) -> float:
    pick = np.isin(rows.label, among) & (rows.clear if clear else True) & (True if where is None else where)
    return float(f1_score(rows.label[pick], said[pick], labels=over, average="macro", zero_division=0))


TASKS: dict[str, tuple[list[int], list[int]]] = {
    "T1, T2, FLAIR": ([0, 1, 2], [0, 1, 2]), "five kinds": ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
    "five kinds, BOLD and field maps in the folder": ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4]), "nine kinds": (list(range(9)), list(range(9))),
    "nine kinds, the others in the folder": (list(range(10)), list(range(9))),
}


def judged(rows: Rows, said: Array, sure: Array) -> dict[str, Any]:
    """All figures of one view."""
    nine, other = rows.clear & (rows.label < OTHER), rows.clear & (rows.label == OTHER)
    right = said == rows.label
    found: dict[str, Any] = {name: [round(f1(rows, said, *task), 4), round(f1(rows, said, *task, clear=False), 4)] for name, task in TASKS.items()}
    found["per kind"] = {name: round(v, 4) for name, v in zip(LEARNED, f1_score(rows.label[rows.clear], said[rows.clear], labels=range(10), average=None, zero_division=0), strict=True)}
    found["per make"] = {make: [int((nine & (rows.maker == make)).sum()), round(float(right[nine & (rows.maker == make)].mean()), 4)] for make in np.unique(rows.maker)}
    found["by confidence"] = []
    for least in (0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98):
        told, named = nine & (sure >= least) & (said < OTHER), other & (sure >= least) & (said < OTHER)
        found["by confidence"].append([least, round(told.sum() / nine.sum(), 4), round(float(right[told].mean()), 4) if told.any() else None, round(named.sum() / other.sum(), 4)])
    least = float(np.quantile(sure[nine], 0.15))
    told = nine & (sure >= least) & (said < OTHER)
    found["85 % answered"] = {"least confidence": round(least, 4), "answered": round(told.sum() / nine.sum(), 4), "accuracy": round(float(right[told].mean()), 4),
                              "of no named kind, called something": round((other & (sure >= least) & (said < OTHER)).sum() / other.sum(), 4)}
    edges = np.linspace(0, 1, 11)
    bins, gap = [], 0.0
    for low, high in itertools.pairwise(edges):
        inside = rows.clear & (sure > low) & (sure <= high)
        if inside.any():
            bins.append([round(float(low), 1), int(inside.sum()), round(float(sure[inside].mean()), 3), round(float(right[inside].mean()), 3)])
            gap += inside.sum() / rows.clear.sum() * abs(float(sure[inside].mean()) - float(right[inside].mean()))
    found["calibration"] = {"bins": bins, "expected error": round(gap, 4)}
    found["confusion"] = np.histogram2d(rows.label[rows.clear], said[rows.clear], bins=(range(11), range(11)))[0].astype(int).tolist()
    return found


def intervals(rows: Rows, said: Array, times: int = 300) -> dict[str, list[float]]:
    """95 % intervals of the tasks: whole data sets are drawn again, never rows."""
    lot = np.random.default_rng(8)
    cells = {d: np.histogram2d(rows.label[rows.clear & (rows.dataset == d)], said[rows.clear & (rows.dataset == d)], bins=(range(11), range(11)))[0] for d in rows.datasets}
    found: dict[str, list[float]] = {name: [] for name in TASKS}
    for _ in range(times):
        table = sum(cells[d] for d in lot.choice(rows.datasets, len(rows.datasets)))
        for name, (among, over) in TASKS.items():
            part = np.asarray(table)[among]
            present = [k for k in over if part[among.index(k)].sum() > 0]  # a kind that was not drawn has no F1
            hit = np.array([part[among.index(k), k] for k in present])
            whole = np.array([part[among.index(k)].sum() + part[:, k].sum() for k in present])
            found[name].append(float((2 * hit / whole).mean()))
    return {name: [round(float(np.quantile(values, q)), 4) for q in (0.025, 0.975)] for name, values in found.items()}


def keep(name: str, found: Any) -> None:
    FOUND.mkdir(exist_ok=True)
    (FOUND / f"{name}.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


# --- the parts


def groups_of(datasets: Array, count: int) -> dict[str, int]:
    """Each data set's group, by the digest of its name: no order, no size, no content."""
    ranked = sorted(datasets, key=lambda d: hashlib.sha256(str(d).encode()).hexdigest())
    return {str(d): i % count for i, d in enumerate(ranked)}


def compare() -> None:
    """Choices, judged on twelve groups of data sets that the fit has not seen."""
    from imblearn.over_sampling import SMOTE, RandomOverSampler

    rows, group_count = Rows(), 12
    train, views, group_of = Train(rows), rows.views(), groups_of(rows.datasets, 12)
    group, view_group = (np.array([group_of[str(d)] for d in ds]) for ds in (train.d, rows.dataset))

    def sampled(sampler: Any) -> Callable[..., Any]:
        def fit(x: Array, y: Array, w: Array) -> Any:
            more_x, more_y = sampler.fit_resample(x, y)
            return extra_trees(more_x, more_y, np.ones(len(more_y)), INNER_TREES)
        return fit

    def plain(x: Array, y: Array, w: Array) -> Any:
        return extra_trees(x, y, w, INNER_TREES)

    def forest(x: Array, y: Array, w: Array) -> Any:
        return RandomForestClassifier(INNER_TREES, min_samples_leaf=2, random_state=0, n_jobs=1).fit(x, y, sample_weight=w)

    def boosted(x: Array, y: Array, w: Array) -> Any:
        return HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=15, min_samples_leaf=5, random_state=0).fit(x, y, sample_weight=w)

    ways: list[tuple[str, tuple[str, float], Callable[..., Any], bool]] = [
        *((f"extra trees, each {unit} alike, balance {balance}", (unit, balance), plain, True) for unit in ("series", "data set", "root") for balance in (0.0, 0.5, 1.0)),
        ("extra trees, at most 15 series a kind and data set, balance 0.5", ("cap of 15", 0.5), plain, True),
        ("extra trees, each different row once", ("different rows", 0.0), plain, True),
        ("the same, random over-sampling", ("different rows", 0.0), sampled(RandomOverSampler(random_state=0)), True),
        ("the same, SMOTE", ("different rows", 0.0), sampled(SMOTE(random_state=0, k_neighbors=3)), True),
        ("random forest, each data set alike, balance 0.0", ("data set", 0.0), forest, True),
        ("gradient boosting, each data set alike, balance 0.0", ("data set", 0.0), boosted, True),
        ("extra trees, each data set alike, balance 0.0, no attributes dropped", ("data set", 0.0), plain, False),
    ]
    before = FOUND / "compare.json"  # an interrupted comparison goes on where it stopped; delete the file to begin anew
    found = json.loads(before.read_text()) if before.exists() else []
    for name, how, fit, dropped in ways:
        if name in [row[0] for row in found]:
            continue
        votes = np.zeros((len(train.y), len(LEARNED)))
        seen = {view: np.zeros((len(rows.label), len(LEARNED))) for view in views}
        for fold in range(group_count):
            fitting = (group != fold) & (dropped | (train.c == 0))
            w = weights(train.y[fitting], train.d[fitting], train.n[fitting], train.c[fitting], how)
            fitted = fit(train.x[fitting][:, train.trees], train.y[fitting], w)
            votes[group == fold] = vote(fitted, train.x[group == fold][:, train.trees])
            for view, x in views.items():
                seen[view][view_group == fold] = vote(fitted, x[view_group == fold][:, train.trees])
        row: list[Any] = [name]
        said = {view: np.zeros(len(rows.label), dtype=int) for view in views}
        for fold in range(group_count):
            b, measured, described = finish(train, group != fold, votes)
            for view, x in views.items():
                at = view_group == fold
                said[view][at] = answer(b, measured, described, seen[view][at], x[at], rows)[0]
        row += [round(f1(rows, seen["header only"].argmax(axis=1), *TASKS["nine kinds"]), 4)]
        row += [round(f1(rows, said[view], *TASKS[task]), 4) for view in views for task in ("five kinds, BOLD and field maps in the folder", "nine kinds")]
        found.append(row)
        print(*row, flush=True)
        keep("compare", found)


def naive(rows: Rows) -> dict[str, float]:
    """The lesson: one forest on the header without rules, judged on random rows and on data sets that it has not seen."""
    x = rows.views()["header only"]
    plain = [i for i in rows.trees if not rows.names[i].startswith("physics")]
    x, y, d = x[rows.clear][:, plain], rows.label[rows.clear], rows.dataset[rows.clear]
    nine = y < OTHER
    x, y, d = x[nine], y[nine], d[nine]
    found = {}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    by_lot = [(a, b) for a, b in folds.split(x, y)]
    by_set = [(np.flatnonzero(d != s), np.flatnonzero(d == s)) for s in np.unique(d)]
    for name, splits in (("random rows", by_lot), ("data sets", by_set)):
        said = np.zeros(len(y), dtype=int)
        for fit, test in splits:
            table = pl.DataFrame(x[fit]).with_columns(_y=pl.Series(y[fit]))
            small = table.group_by(table.columns).len()
            forest = ExtraTreesClassifier(INNER_TREES, random_state=0).fit(small.drop("_y", "len").to_numpy(), small["_y"].to_numpy(), sample_weight=small["len"].to_numpy())
            said[test] = vote(forest, x[test]).argmax(axis=1)
        found[name] = round(float(f1_score(y, said, average="macro")), 4)
    return found


def measure() -> None:
    """Leave one data set out; forest, weights and curves fitted without it."""
    start = time.process_time()
    rows = Rows()
    train, views = Train(rows), rows.views()
    said = {view: np.zeros(len(rows.label), dtype=int) for view in views}
    sure = {view: np.zeros(len(rows.label)) for view in views}
    for number, out in enumerate(rows.datasets):
        kept = train.d != out
        group_of = groups_of(np.unique(train.d[kept]), INNER)
        group = np.array([group_of.get(str(d), -1) for d in train.d])
        votes = np.zeros((len(train.y), len(LEARNED)))
        for fold in range(INNER):
            fitting, asked = kept & (group != fold), group == fold
            fitted = extra_trees(
                train.x[fitting][:, train.trees], train.y[fitting], weights(train.y[fitting], train.d[fitting], train.n[fitting], train.c[fitting], WEIGHTS), INNER_TREES)
            votes[asked] = vote(fitted, train.x[asked][:, train.trees])
        b, measured, described = finish(train, kept, votes)
        fitted = extra_trees(train.x[kept][:, train.trees], train.y[kept], weights(train.y[kept], train.d[kept], train.n[kept], train.c[kept], WEIGHTS))
        at = rows.dataset == out
        for view, x in views.items():
            said[view][at], sure[view][at] = answer(b, measured, described, vote(fitted, x[at][:, train.trees]), x[at], rows)
        print(f"{number + 1} of {len(rows.datasets)}", out, f"{time.process_time() - start:.0f} s", flush=True)
    found = {view: judged(rows, said[view], sure[view]) for view in views}
    for view in views:
        found[view]["intervals"] = intervals(rows, said[view])
    both = {
        "views": found, "naive": naive(rows), "rules": scoring.digest(), "data sets": len(rows.datasets), "series": len(rows.label), "clear": int(rows.clear.sum()),
        "different training rows": len(train.y), "cpu seconds": round(time.process_time() - start), "weights": list(WEIGHTS)}
    keep("measure", both)
    np.savez_compressed(FOUND / "measure_rows.npz", **{f"{what} {view}": v[view] for what, v in (("said", said), ("sure", sure)) for view in views})
    print(json.dumps({view: {k: found[view][k] for k in (*TASKS, "85 % answered")} for view in views}, indent=1))


def train_model() -> None:
    """The model of the package: the forest from all data sets; weights and curves from forests that leave a sixth of the data sets out."""
    rows = Rows()
    train = Train(rows)
    group_of = groups_of(rows.datasets, 12)
    group = np.array([group_of[str(d)] for d in train.d])
    votes = np.zeros((len(train.y), len(LEARNED)))
    for fold in range(12):
        fitting = group != fold
        w = weights(train.y[fitting], train.d[fitting], train.n[fitting], train.c[fitting], WEIGHTS)
        votes[group == fold] = vote(extra_trees(train.x[fitting][:, train.trees], train.y[fitting], w), train.x[group == fold][:, train.trees])
    b, measured, described = finish(train, np.ones(len(train.y), dtype=bool), votes)
    fitted = extra_trees(train.x[:, train.trees], train.y, weights(train.y, train.d, train.n, train.c, WEIGHTS))
    stored = packed(fitted, [rows.names[i] for i in rows.trees])
    path = PACKAGE / "series_kind_model.npz"
    np.savez_compressed(path, **stored, weights=b, measured=measured, described=described)
    mine = scoring.Model(tuple(rows.names[i] for i in rows.trees), *(stored[f] for f in scoring.Model._fields[1:7]), b, measured, described)  # type: ignore[arg-type]
    gap = float(np.abs(scoring.ask(mine, np.ascontiguousarray(train.x[:, train.trees])) - vote(fitted, train.x[:, train.trees])).max())
    keep("train", {
        "bytes": path.stat().st_size, "trees": TREES, "nodes": len(stored["feature"]), "largest difference to scikit-learn": round(gap, 5), "rules": scoring.digest(),
        "evidence": dict(zip(scoring.EVIDENCE, b.round(3).tolist(), strict=True)), "different training rows": len(train.y)})
    print((FOUND / "train.json").read_text())


def packed(fitted: Any, names: list[str]) -> dict[str, Array]:
    """scikit-learn's trees as the arrays of `series_kind_model.Model`."""
    roots, feature, step, left, right, votes, nodes, leaves = [], [], [], [], [], [], 0, 0
    for estimator in fitted.estimators_:
        tree = estimator.tree_
        leaf = tree.children_left < 0
        share = np.zeros((int(leaf.sum()), len(LEARNED)))
        share[:, fitted.classes_] = tree.value[leaf, 0]
        share /= share.sum(axis=1, keepdims=True)
        place = np.cumsum(leaf) - 1 + leaves
        roots.append(nodes)
        feature.append(np.where(leaf, -1, tree.feature))
        step.append(np.where(leaf, 0, np.floor(np.clip(tree.threshold, 0, 254))))
        left.append(np.where(leaf, place, tree.children_left + nodes))
        right.append(np.where(leaf, 0, tree.children_right + nodes))
        votes.append(np.round(share * 255))
        nodes, leaves = nodes + len(leaf), leaves + len(share)
    join = np.concatenate
    return {
        "names": np.array(names), "roots": np.array(roots, dtype=np.int32), "feature": join(feature).astype(np.int16), "step": join(step).astype(np.uint8),
        "left": join(left).astype(np.int32), "right": join(right).astype(np.int32), "votes": join(votes).astype(np.uint8)}


def speed() -> None:
    """A million series: the labelled ones again and again, echo times moved a little, descriptions numbered, so that few rows are the same."""
    table = pl.read_parquet(SHARED / "data" / "series_labels" / "train.parquet")
    lot, count = np.random.default_rng(1), 1_000_000
    many = table[lot.integers(0, len(table), count)].with_columns(
        SeriesInstanceUID=pl.int_range(count).cast(pl.String), EchoTime=pl.col("EchoTime") * pl.Series(lot.uniform(0.95, 1.05, count)),
        RepetitionTime=pl.col("RepetitionTime") * pl.Series(lot.uniform(0.95, 1.05, count)), FlipAngle=pl.col("FlipAngle") + pl.Series(lot.integers(-3, 4, count)),
        SeriesDescription=pl.col("SeriesDescription") + " " + pl.Series(lot.integers(0, 9999, count)).cast(pl.String))
    file = FOUND / "million.parquet"
    FOUND.mkdir(exist_ok=True)
    many.write_parquet(file)
    del many
    texts = pl.scan_parquet(file).select(pl.col("SeriesDescription").n_unique()).collect().item()
    cpu, wall = time.process_time(), time.perf_counter()
    answers = kinds(pl.scan_parquet(file)).collect()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    keep("speed", {
        "series": len(answers), "different descriptions": texts, "seconds": round(wall, 1), "cpu seconds": round(cpu, 1),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "answered": round(float((answers["kind"] != "unknown").mean()), 3)})  # type: ignore[arg-type]
    file.unlink()
    print((FOUND / "speed.json").read_text())


def idc() -> None:
    """IDC's index: descriptions only. There is no truth, so only counts, and how sure the answers are."""
    from dicom_workbench.store import Lake, levels

    table = levels.series(Lake.open(None), "idc").filter(pl.col("Modality") == "MR")
    cpu = time.process_time()
    said = kinds(table).collect()
    cpu = time.process_time() - cpu
    by_kind = said.group_by("kind").agg(pl.len(), pl.col("kind_confidence").median().round(3)).sort("len", "kind", descending=True)
    keep("idc", {"series": len(said), "without an answer or a stated abstention": said["kind"].null_count() + said["kind_reason"].null_count(),
                 "answered": round(float((said["kind"] != "unknown").mean()), 3), "cpu seconds": round(cpu, 1), "kinds": by_kind.rows()})  # type: ignore[arg-type]
    print((FOUND / "idc.json").read_text())


def peers() -> None:
    """dicom-sequence-classifier on the same rows; it needs no pixels. (dcm-classifier wants 2.5 GB of packages and files with pixels: quoted.)"""
    from dicom_sequence_classifier.Model.DICOMMetaData import DicomMetadata  # type: ignore[import-not-found]
    from dicom_sequence_classifier.Services.DICOMCheckers import classify_dicom  # type: ignore[import-not-found]

    rows = Rows()
    table = rows.rows.with_columns(Modality=pl.lit("MR"))
    means = {"t1": "T1", "t2": "T2", "flair": "FLAIR", "dti": "DWI", "asl": "ASL"}
    said = np.full(len(rows.label), OTHER)
    for place, row in enumerate(table.iter_rows(named=True)):
        several = {name: (row[name] or "").split("\\") for name in ("ImageType", "ScanningSequence")}
        word = classify_dicom(DicomMetadata(**{name: several.get(name, row.get(name)) for name in DicomMetadata.__dataclass_fields__})).lower()
        said[place] = next((LEARNED.index(kind) for start, kind in means.items() if word.startswith(start)), OTHER)
    keep("peers", [["dicom-sequence-classifier 1.0.5, measured here", *(round(f1(rows, said, *TASKS[task]), 3) for task in list(TASKS)[:4])]])
    print((FOUND / "peers.json").read_text())


QUOTED = [  # as given with the data (data/series_labels/README.md), on the same rows; not measured here
    ["dcm-classifier 0.9.9, features rebuilt from the columns (quoted)", 1.000, 0.953, 0.698, 0.387], ["dicom-sequence-classifier 1.0.5 (quoted)", 0.716, 0.387, 0.371, 0.270],
    ["regex rules on text only (quoted)", 0.897, 0.856, 0.852, 0.820], ["ExtraTrees, header only (quoted)", 0.983, 0.769, 0.750, 0.716],
    ["regex rules, then ExtraTrees (quoted)", 0.962, 0.919, 0.896, 0.876]]


def report() -> None:
    """RESULTS_series_kind.md, and the card that the notebooks read."""
    parts = {name: json.loads((FOUND / f"{name}.json").read_text()) for name in ("compare", "measure", "train", "speed", "peers", "idc") if (FOUND / f"{name}.json").exists()}
    CARD.write_text(json.dumps({**parts, "peers": [*parts.get("peers", []), *QUOTED], "learned": LEARNED}, separators=(",", ":")) + "\n", encoding="utf-8")
    m = parts["measure"]
    full, header, text = (m["views"][view] for view in ("header and text", "header only", "text only"))
    best = full["85 % answered"]
    lines = [
        "# Kinds of MR series: results", "", "Written by `python benchmarks/series_kind.py report`; do not edit. Leave one data set out: "
        f"{m['series']:,} series of {m['data sets']} data sets, {m['clear']:,} with a clear label (`ok`, `relabelled`); forest, weights of the evidence and curves of confidence "
        f"are all fitted without the data set that is judged. Rules frozen before this measurement (digest {m['rules']}); their writer had seen the descriptions and parameters of "
        "these data sets, and after earlier figures the floor of a forest's vote was raised and GRASE put before rest among the words. Macro-F1; in brackets with the ambiguous rows; "
        "95 % interval by drawing whole data sets again.", "", "| task | bar | header and text | interval | header only | text only |", "| --- | ---: | ---: | --- | ---: | ---: |"]
    bars = {"T1, T2, FLAIR": "0.99", "five kinds": "0.96", "five kinds, BOLD and field maps in the folder": "0.94", "nine kinds": "0.93; header only 0.80"}
    for task in TASKS:
        low, high = full["intervals"][task]
        lines.append(f"| {task} | {bars.get(task, '–')} | {full[task][0]:.3f} ({full[task][1]:.3f}) | {low:.3f} to {high:.3f} | "
                     f"{header[task][0]:.3f} ({header[task][1]:.3f}) | {text[task][0]:.3f} ({text[task][1]:.3f}) |")
    lines += [
        "", f"- {best['answered']:.1%} of the series of the nine kinds answered (confidence at least {best['least confidence']:.3f}): accuracy {best['accuracy']:.4f} (bar 0.985); "
        f"of the {sum(full['confusion'][9])} series of no named kind {best['of no named kind, called something']:.1%} are then called something (bar: under 20 %).",
        f"- Expected calibration error: {full['calibration']['expected error']:.3f} header and text, {header['calibration']['expected error']:.3f} header only, "
        f"{text['calibration']['expected error']:.3f} text only.",
        f"- The lesson: one forest on the header, without rules, has {m['naive']['random rows']:.4f} on random rows and {m['naive']['data sets']:.4f} on data sets that it has not seen.",
        "", "## By confidence (header and text)", "", "| least confidence | answered | accuracy | no named kind, called something |", "| ---: | ---: | ---: | ---: |"]
    lines += [f"| {c:g} | {a:.1%} | {acc:.4f} | {o:.1%} |" for c, a, acc, o in full["by confidence"] if acc is not None]
    lines += ["", "## By kind (F1) and by make (share right)", "", "| kind | header and text | header only | text only |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {k} | {full['per kind'][k]:.3f} | {header['per kind'][k]:.3f} | {text['per kind'][k]:.3f} |" for k in LEARNED]
    lines += ["", "| make | series | header and text | header only |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {k} | {v[0]:,} | {v[1]:.3f} | {header['per make'][k][1]:.3f} |" for k, v in full["per make"].items()]
    lines += ["", "## Peers on the same rows (quoted: from the README of the data)", "", "| | T1, T2, FLAIR | five | five, BOLD and field maps present | nine |",
              "| --- | ---: | ---: | ---: | ---: |"]
    lines += [f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for name, *values in [*parts.get("peers", []), *QUOTED]]
    if "compare" in parts:
        lines += ["", "## Weights, over-sampling, caps, learners", "", "Twelve groups of data sets; forest of 60 trees. First the trees alone on the header, then with rules and weights.", "",
                  "| | trees alone, nine | both: five in the folder | both: nine | header: five in the folder | header: nine | text: five in the folder | text: nine |",
                  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
        lines += [f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + " |" for name, *values in parts["compare"]]
    if "train" in parts:
        lines += ["", f"Model: {parts['train']['trees']} trees, {parts['train']['nodes']:,} nodes, {parts['train']['bytes']:,} bytes; votes differ from scikit-learn's by at most "
                  f"{parts['train']['largest difference to scikit-learn']}."]
    if "speed" in parts:
        s = parts["speed"]
        lines += [f"Speed: {s['series']:,} series ({s['different descriptions']:,} different descriptions) in {s['seconds']} s ({s['cpu seconds']} CPU s), peak {s['peak MB']:,} MB."]
    if "idc" in parts:
        i = parts["idc"]
        lines += ["", f"IDC's index: {i['series']:,} MR series, words only, in {i['cpu seconds']} CPU s; {i['without an answer or a stated abstention']} without an answer or a stated abstention, "
                  f"{i['answered']:.1%} named: " + ", ".join(f"{kind} {count:,}" for kind, count, _ in i["kinds"]) + "."]
    (HERE / "RESULTS_series_kind.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["compare", "measure", "train", "speed", "idc", "peers", "report"])
    chosen = parser.parse_args().part
    {"compare": compare, "measure": measure, "train": train_model, "speed": speed, "idc": idc, "peers": peers, "report": report}[chosen]()
    sys.exit(0)
