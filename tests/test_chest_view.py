"""Which view a chest radiograph shows: labelled by hand, with who says so; and the chest radiographs of IDC."""

import ast
from pathlib import Path

import nbformat
import polars as pl
import pytest

from dicom_workbench.analysis.chest_view import VIEWS, WITNESSES, is_chest, resolve_one, resolve_views

NOTEBOOK = Path(__file__).resolve().parents[1] / "nbs/analysis/20_chest_view.ipynb"


def labelled() -> list[tuple[str, str, bool]]:
    "The list in the notebook: text, view, at the bed. It is read as text: nothing of the notebook runs."
    for cell in nbformat.read(NOTEBOOK, 4).cells:
        if cell.cell_type == "code" and cell.source.startswith('LABELLED = """'):
            lines = ast.literal_eval(ast.parse(cell.source).body[0].value).strip().splitlines()  # type: ignore[attr-defined]
            parts = [[part.strip() for part in line.split("|")] for line in lines if line.strip()]
            return [(p[0], p[1], "bed" in p[2:]) for p in parts]
    raise AssertionError("the notebook has no list of labelled strings")


LIST = labelled()


def test_the_list_is_long_and_no_string_stands_twice() -> None:
    assert len(LIST) >= 150 and len({text for text, _, _ in LIST}) == len(LIST)
    assert {view for _, view, _ in LIST} <= {*VIEWS, "frontal", "ambiguous", "unknown"}
    assert all(sum(v == view for _, v, _ in LIST) >= 3 for view in ("PA", "AP", "LATERAL", "ambiguous", "unknown"))


@pytest.mark.parametrize(("text", "view", "bed"), LIST, ids=[text for text, _, _ in LIST])
def test_labelled_by_hand(text: str, view: str, bed: bool) -> None:
    found = resolve_one({"SeriesDescription": text})
    assert (found["view"], found["bedside"]) == (view, bed)


STUDY_TEXTS = ("CHEST, PA & LATERAL", "CHEST PA - LAT", "XR CHEST 2 VIEWS", "Thorax de face et de profil", "CHST2", "CHEST ROUTINE PA/AP AND LATERAL")


@pytest.mark.parametrize("text", STUDY_TEXTS)
def test_a_text_about_the_whole_study_cannot_decide(text: str) -> None:
    "It stands on both series; with the orientation of one of them it can."
    alone = resolve_one({"StudyDescription": text})
    assert (alone["view"], alone["view_confidence"]) == ("ambiguous", "low")
    side = resolve_one({"StudyDescription": text, "PatientOrientation": "A\\F"})
    assert (side["view"], side["view_confidence"], side["view_from"]) == ("LATERAL", "high", "PatientOrientation")


def test_a_study_text_that_names_one_view_is_believed_a_little() -> None:
    found = resolve_one({"StudyDescription": "CHEST AP PORTABLE"})
    assert (found["view"], found["view_from"], found["view_confidence"], found["bedside"], found["bedside_from"]) == ("AP", "StudyDescription", "low", True, "StudyDescription")


@pytest.mark.parametrize(("facts", "view", "by", "confidence"), [
    ({"ViewPosition": "PA"}, "PA", "ViewPosition", "high"),
    ({"ViewPosition": "LL"}, "LATERAL", "ViewPosition", "high"),
    ({"SeriesDescription": "Chest PA"}, "PA", "SeriesDescription", "medium"),
    ({"PatientOrientation": "L\\F"}, "frontal", "PatientOrientation", "high"),
    ({"PatientOrientation": "L\\F", "SeriesDescription": "Chest AP"}, "AP", "PatientOrientation + SeriesDescription", "medium"),
    ({"ViewPosition": "", "ProtocolName": "CHEST PA", "StudyDescription": "CHEST PA"}, "PA", "ProtocolName", "medium"),
])
def test_who_says_so_and_how_sure_that_is(facts: dict[str, str], view: str, by: str, confidence: str) -> None:
    found = resolve_one(facts)
    assert (found["view"], found["view_from"], found["view_confidence"], found["view_conflict"]) == (view, by, confidence, False)


def test_a_contradiction_is_kept_and_lowers_the_confidence() -> None:
    found = resolve_one({"ViewPosition": "PA", "SeriesDescription": "CHEST LAT"})
    assert (found["view"], found["view_conflict"], found["view_confidence"], found["view_from"]) == ("PA", True, "low", "ViewPosition")


def test_the_order_of_the_witnesses_decides_not_the_order_of_the_columns() -> None:
    facts = {"StudyDescription": "CHEST LAT", "SeriesDescription": "CHEST AP", "ViewPosition": "PA"}
    assert resolve_one(facts) == resolve_one(dict(reversed(facts.items())))
    assert (WITNESSES[0][0], WITNESSES[-1][0]) == ("ViewPosition", "StudyDescription")


def test_nobody_says_anything() -> None:
    found = resolve_one({"SeriesDescription": None, "ViewPosition": ""})
    assert (found["view"], found["view_from"], found["view_confidence"]) == ("unknown", None, None)


def test_a_table_gives_what_single_rows_give_in_the_same_order() -> None:
    texts = [text for text, _, _ in LIST] * 3
    table = resolve_views(pl.LazyFrame({"Modality": "DX", "SeriesDescription": texts})).collect()
    assert table["SeriesDescription"].to_list() == texts
    assert table["view"].to_list() == [resolve_one({"SeriesDescription": t})["view"] for t in texts]


def test_other_modalities_have_no_view() -> None:
    table = resolve_views(pl.LazyFrame({"Modality": ["CT", "DX"], "ViewPosition": ["PA", "PA"]})).collect()
    assert table["view"].to_list() == [None, "PA"]


def test_body_part_decides_before_the_texts() -> None:
    frame = pl.DataFrame({"BodyPartExamined": ["CHEST", "HAND", None, None], "SeriesDescription": ["", "CHEST PA", "CXR AP", "THORACIC SPINE AP"]})
    assert frame.select(is_chest(frame.columns)).to_series().to_list() == [True, False, True, False]


@pytest.fixture(scope="module")
def chest(idc_table: Path) -> pl.LazyFrame:
    return pl.scan_parquet(idc_table).filter(pl.col("Modality").is_in(["CR", "DX"]), pl.col("BodyPartExamined") == "CHEST")


@pytest.mark.slow
def test_the_chest_radiographs_of_idc(chest: pl.LazyFrame, idc_table: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    known = duckdb.connect().execute(f"""select count(*), count(distinct StudyInstanceUID), count(distinct (collection_id, PatientID)) from '{idc_table}'
        where Modality in ('CR', 'DX') and BodyPartExamined = 'CHEST'""").fetchone()
    ours = chest.select(pl.len(), pl.col("StudyInstanceUID").n_unique().alias("studies"), pl.struct("collection_id", "PatientID").n_unique().alias("patients")).collect().row(0)
    assert ours == known == (15_519, 8_134, 2_157)
    columns = chest.collect_schema().names()
    assert resolve_views(chest).filter(is_chest(columns)).collect().height == 15_519


@pytest.mark.slow
def test_the_real_strings_of_the_list_are_real(idc_table: Path) -> None:
    "Those before the empty line of the notebook's list stand in IDC, as series or study descriptions."
    real = [text for text, _, _ in LIST][: [text for text, _, _ in LIST].index("Thorax p.a.")]
    told = pl.scan_parquet(idc_table).select("SeriesDescription", "StudyDescription").unpivot().select(pl.col("value").str.strip_chars()).unique().collect()["value"]
    assert len(real) > 100 and [t for t in real if t not in set(told)] == []
