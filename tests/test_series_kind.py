"""Series kinds: what is said, what is left unsaid, in which order; the stored model; and every real MR series."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dicom_workbench.acquire.scan import scan
from dicom_workbench.analysis.series_kind import ANSWER, KINDS, kinds
from dicom_workbench.analysis.series_kind_model import digest, model
from dicom_workbench.analysis.series_kind_rules import laws, named, words

MPRAGE = {"EchoTime": 2.3, "RepetitionTime": 2300.0, "InversionTime": 900.0, "FlipAngle": 9.0, "ScanningSequence": "GR\\IR", "SequenceVariant": "SK\\SP\\MP", "MRAcquisitionType": "3D"}
FLAIR = {"EchoTime": 88.0, "RepetitionTime": 9000.0, "InversionTime": 2500.0, "FlipAngle": 150.0, "ScanningSequence": "SE\\IR", "MRAcquisitionType": "2D"}
BOLD = {"EchoTime": 30.0, "RepetitionTime": 2000.0, "FlipAngle": 77.0, "ScanningSequence": "EP\\GR", "MRAcquisitionType": "2D", "ImageType": "ORIGINAL\\PRIMARY\\EPI\\NONE"}


def answer(**attributes: object) -> dict[str, object]:
    return kinds(pl.LazyFrame([{"Modality": "MR", **attributes}])).collect().row(0, named=True)


def test_physics_alone_names_a_kind() -> None:
    assert answer(**MPRAGE)["kind"] == "T1"
    assert answer(**FLAIR)["kind"] == "FLAIR"
    assert answer(**BOLD)["kind"] == "BOLD"
    assert answer(**FLAIR)["kind_basis"] == "physics"


@pytest.mark.parametrize(("description", "kind"), [
    ("AX T1 FLAIR", "T1"), ("AX T2 FLAIR +C", "FLAIR"), ("AX T2* GRE", "SWI/T2*"), ("COR T2 TSE", "T2"), ("ep2d_diff_ADC", "DWI"), ("3D TOF MRA", "angiography"),
    ("WIPB0SENSE", "field map"), ("SpinEchoFieldMap_AP", "EPI field map"), ("pcasl_3d", "ASL"), ("DSC perfusion", "perfusion"), ("AAHead_Scout", "localiser"),
    ("SAG PD FSE", "other"), ("rfMRI_REST_AP", "BOLD"), ("SUB post-pre", "derived"),
])
def test_words_alone_name_a_kind(description: str, kind: str) -> None:
    said = answer(SeriesDescription=description)
    assert said["kind"] == kind
    assert said["kind_basis"] == "text"
    assert 0.7 <= said["kind_confidence"] <= 1  # type: ignore[operator]


def test_a_name_that_the_physics_contradicts_is_a_conflict() -> None:
    said = answer(SeriesDescription="t2_tse_tra", **FLAIR)
    assert said["kind"] == "FLAIR"
    assert said["kind_conflict"] is True
    assert "T2" in str(said["kind_reason"])
    assert said["kind_confidence"] < answer(SeriesDescription="flair", **FLAIR)["kind_confidence"]  # type: ignore[operator]


def test_a_localizer_within_a_functional_protocol_is_bold() -> None:
    assert answer(SeriesDescription="localizer_1_168v", **BOLD)["kind"] == "BOLD"


def test_what_says_nothing_is_unknown_and_never_guessed() -> None:
    for silent in ({}, {"SeriesDescription": "TRAM"}, {"SeriesDescription": ""}, {"EchoTime": 0.0, "SeriesDescription": "7"}):
        said = answer(**silent)
        assert (said["kind"], said["kind_confidence"], said["kind_basis"], said["kind_conflict"]) == ("unknown", 0, "none", False)
        assert said["kind_reason"]


def test_another_modality_has_no_kind() -> None:
    assert set(answer(Modality="CT", SeriesDescription="T1").values()) == {None}


def test_rows_keys_and_order_stay() -> None:
    frame = pl.DataFrame({
        "source_id": ["a"] * 5, "SeriesInstanceUID": ["5", "3", "4", "1", "2"], "Modality": ["MR", "CT", "MR", None, "MR"],
        "SeriesDescription": ["AX FLAIR", "HEAD", None, "T1", "AX FLAIR"]})
    said = kinds(frame.lazy(), chunk=2).collect()
    assert said.columns == ["source_id", "SeriesInstanceUID", *ANSWER]
    assert said["SeriesInstanceUID"].to_list() == frame["SeriesInstanceUID"].to_list()
    assert said["kind"].to_list() == ["FLAIR", None, "unknown", None, "FLAIR"]
    assert said.schema == {"source_id": pl.String, "SeriesInstanceUID": pl.String, **ANSWER}


def test_an_empty_table_and_one_without_any_attribute_are_answered() -> None:
    assert kinds(pl.LazyFrame(schema={"SeriesInstanceUID": pl.String, "Modality": pl.String})).collect().height == 0
    assert kinds(pl.LazyFrame({"SeriesInstanceUID": ["1"]})).collect()["kind"].to_list() == ["unknown"]


def test_raw_strings_and_typed_numbers_are_the_same() -> None:
    raw = {name: str(value) for name, value in FLAIR.items()}
    assert answer(**raw) == answer(**FLAIR)


def test_damaged_values_do_not_stop_the_answer() -> None:
    for odd in ("", "\\", "abc", "1e400", "-5", "NaN", "88\\90", "8" * 400):
        assert answer(EchoTime=odd, RepetitionTime=odd, ImageType=odd, SeriesDescription=odd, ScanningSequence=odd)["kind"] in (*KINDS, "unknown")


def test_the_reason_never_quotes_a_description() -> None:
    said = answer(SeriesDescription="T1 BANDA JOHN 1970", ProtocolName="MWANSA", **MPRAGE)
    assert not any(name in str(said["kind_reason"]) for name in ("BANDA", "JOHN", "1970", "MWANSA"))


def test_the_tables_name_only_kinds_and_their_examples_hold() -> None:
    assert {w.kind for w in words()} | {law.kind for law in laws()} <= set(KINDS)
    for word in words():
        number = named(pl.Series([word.example]))["word"][0]
        assert number is not None, word
        assert words()[number].kind == word.kind, word


def test_the_model_is_small_plain_and_the_one_that_was_measured() -> None:
    stored = Path(str(files("dicom_workbench.analysis") / "series_kind_model.npz"))
    assert stored.stat().st_size < 1_500_000
    with np.load(stored, allow_pickle=False) as arrays:  # would raise on an object
        assert all(arrays[name].dtype.kind in "iufU" for name in arrays.files)
    card = json.loads((files("dicom_workbench.analysis") / "series_kind_card.json").read_text())
    assert card["measure"]["rules"] == card["train"]["rules"] == digest()
    assert card["measure"]["data sets"] == 84
    assert (np.diff(model().measured[1]) >= 0).all()
    assert (np.diff(model().described[1]) >= 0).all()


def test_the_bars_were_met_where_the_model_had_not_seen_the_data_set() -> None:
    views = json.loads((files("dicom_workbench.analysis") / "series_kind_card.json").read_text())["measure"]["views"]
    full = views["header and text"]
    bars = {"T1, T2, FLAIR": 0.99, "five kinds": 0.96, "five kinds, BOLD and field maps in the folder": 0.94, "nine kinds": 0.93}
    assert {task: full[task][0] for task, bar in bars.items() if full[task][0] < bar} == {}
    assert views["header only"]["nine kinds"][0] >= 0.80
    assert full["85 % answered"]["accuracy"] >= 0.985
    assert full["85 % answered"]["of no named kind, called something"] < 0.20


def test_every_real_mr_series_gets_an_answer_or_says_why_not(real: Path) -> None:
    files_read = scan(real).filter((pl.col("Modality") == "MR") & pl.col("status").is_in(["ok", "recovered", "truncated"]))
    series = files_read.group_by("SeriesInstanceUID", maintain_order=True).agg(pl.all().exclude("SeriesInstanceUID").min())
    said = kinds(series.lazy()).collect()
    assert len(said) == len(series) >= 45
    assert said["kind"].null_count() == said["kind_reason"].null_count() == 0
    known = pl.concat([series.select("SeriesDescription", "path"), said.drop("SeriesInstanceUID")], how="horizontal")

    def of(text: str) -> set[str]:
        return set(known.filter(pl.col("path").str.contains(text))["kind"])

    assert of("dcm_qa_mosaic") == {"BOLD"}
    assert of("dcm_qa_nih") == {"BOLD"}
    assert set(known.filter(pl.col("SeriesDescription").str.contains("(?i)scout|localizer"))["kind"]) == {"localiser"}
    assert (said["kind"] == "unknown").sum() <= 6


def test_series_without_pixels_get_the_same_answer(real: Path) -> None:
    series = scan(real / "neurolabusc+dcm_qa_nih").filter(pl.col("Modality") == "MR").group_by("SeriesInstanceUID", maintain_order=True).agg(pl.all().exclude("SeriesInstanceUID").min())
    pixels = ["Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation", "SamplesPerPixel"]
    assert kinds(series.lazy()).collect().equals(kinds(series.drop(pixels).lazy()).collect())


def test_numpy_asks_the_trees_as_scikit_learn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import series_kind as bench

    lot = np.random.default_rng(3)
    x = lot.integers(0, 40, (600, 12)).astype(np.uint8)
    y = (x[:, 0] // 8 + x[:, 3] // 10) % 10
    fitted = ensemble.ExtraTreesClassifier(20, min_samples_leaf=2, random_state=0).fit(x, y)
    stored = bench.packed(fitted, [str(i) for i in range(12)])
    mine = bench.scoring.Model(tuple(stored["names"]), *(stored[name] for name in bench.scoring.Model._fields[1:7]), np.ones(1), np.ones((2, 1)), np.ones((2, 1)))
    fresh = lot.integers(0, 40, (300, 12)).astype(np.uint8)
    assert np.abs(bench.scoring.ask(mine, fresh) - bench.vote(fitted, fresh)).max() < 1 / 255
