"""A catalogue's files: what is read, and the one line that somebody gets who made a mistake."""

import datetime as dt
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from dicom_workbench.catalog import Catalogue, Source, load_source, location, source_hash
from dicom_workbench.catalog.source import FolderAcquisition, IndexAcquisition, SyntheticAcquisition
from dicom_workbench.standard import resources
from dicom_workbench.standard.errors import UsageError

EXAMPLE = """\
id = "chest"
title = "Chest radiographs of the teaching hospital"
institution = "Teaching hospital"
country = "ZM"
steward = "imaging-data@example.org"
access = "restricted"
licence = "Not for redistribution"
citation = ""
modalities = ["CR", "DX"]
body_parts = ["CHEST"]
population = "Adults and children"
deidentified = false
refresh = "monthly"

[acquisition]
kind = "folder"
root = "chest"
where = {Modality = ["CR", "DX"]}

[[approvals]]
board = "UNZABREC"
number = "17-2023"
purposes = ["ingest", "report", "release"]
granted = 2023-06-01
expires = 2027-05-31
consent = "waived"

[[approvals]]
board = "NHRA"
number = "N-3"
purposes = ["ingest"]
granted = 2023-06-01
expires = 2026-05-31
consent = "not_required"

[agreement]
parties = ["Teaching hospital", "University"]
number = "D-7"
expires = 2028-01-31
"""
ACQUISITION = EXAMPLE[EXAMPLE.index("[acquisition]") : EXAMPLE.index("[[approvals]]")]
APPROVALS = EXAMPLE[EXAMPLE.index("[[approvals]]") : EXAMPLE.index("[agreement]")]


def write(folder: Path, text: str = EXAMPLE, name: str = "chest") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def acquire(text: str) -> str:
    return EXAMPLE.replace(ACQUISITION, f"[acquisition]\n{text}\n")


def fault(file: Path) -> str:
    with pytest.raises(UsageError) as raised:
        load_source(file)
    assert raised.value.exit_code == 2
    assert raised.value.remedy, "no remedy"
    line = str(raised.value)
    assert "\n" not in line and str(file) in line
    return line


# ---- a complete file


def test_the_example_of_the_design_is_read(tmp_path):
    source = load_source(write(tmp_path))
    assert source.id == "chest" and source.modalities == ("CR", "DX") and source.deidentified is False
    assert isinstance(source.acquisition, FolderAcquisition)
    assert source.acquisition.where == {"Modality": ("CR", "DX")}
    assert [a.board for a in source.approvals] == ["UNZABREC", "NHRA"]
    assert source.approvals[0].expires == dt.date(2027, 5, 31)
    assert source.agreement is not None and source.agreement.parties == ("Teaching hospital", "University")


def test_a_source_cannot_be_changed_after_it_was_read(tmp_path):
    source = load_source(write(tmp_path))
    with pytest.raises(ValidationError):
        source.access = "open"
    with pytest.raises(ValidationError):
        source.approvals[0].expires = dt.date(2099, 1, 1)


def test_a_byte_order_mark_of_a_windows_editor_is_no_fault(tmp_path):
    file = tmp_path / "chest.toml"
    file.write_text(EXAMPLE, encoding="utf-8-sig")
    assert load_source(file).id == "chest"


# ---- one line for each mistake: (what is replaced, by what, the key, what the line says)

MISTAKES = [
    # dates
    ("expires = 2027-05-31", "expires = 2027-02-30", "approvals[0].expires", "no date of the calendar"),
    ("expires = 2026-05-31", "expires = 2026-13-01", "approvals[1].expires", "Write a day that exists"),
    ("expires = 2028-01-31", "expires = 2023-02-29", "agreement.expires", "2027-05-31"),
    ("granted = 2023-06-01", 'granted = "2023-06-01"', "approvals[0].granted", "without quotes"),
    ("expires = 2027-05-31", "expires = 2027-05-31T00:00:00", "approvals[0].expires", "is not a date"),
    ("expires = 2027-05-31", "expires = 20270531", "approvals[0].expires", "is not a date"),
    ("expires = 2026-05-31", "expires = 2023-05-31", "approvals[1].expires", "lies before granted (2023-06-01)"),
    ("expires = 2028-01-31", "expires = 2028-1-31", "agreement.expires", "Write a day that exists"),
    # keys
    ("country", "contry", "contry", "Did you mean country?"),
    ("consent", "concent", "approvals[0].concent", "Did you mean consent?"),
    ("parties", "partys", "agreement.partys", "Did you mean parties?"),
    ("root", "rot", "acquisition.rot", "Did you mean root?"),
    ("[agreement]", "[agrement]", "agrement", "Did you mean agreement?"),
    ('refresh = "monthly"', 'refresh = "monthly"\npassword = "hunter2"', "password", "is an unknown key"),
    ('title = "Chest radiographs of the teaching hospital"\n', "", "title", "is missing"),
    ('number = "N-3"\n', "", "approvals[1].number", "is missing"),
    ('number = "D-7"\n', "", "agreement.number", "is missing"),
    (ACQUISITION, "", "acquisition", "is missing"),
    ('kind = "folder"\n', "", "acquisition", "folder, archive, index, synthetic"),
    # types and values
    ("deidentified = false", 'deidentified = "false"', "deidentified", "neither true nor false"),
    ("deidentified = false", "deidentified = 0", "deidentified", "neither true nor false"),
    ('refresh = "monthly"', "refresh = 30", "refresh", "is not text"),
    ('licence = "Not for redistribution"', 'licence = " "', "licence", "is empty"),
    ('steward = "imaging-data@example.org"', 'steward = ""', "steward", "is empty"),
    ('modalities = ["CR", "DX"]', 'modalities = "CR"', "modalities", "is not a list"),
    ('modalities = ["CR", "DX"]', 'modalities = ["CR", "dx"]', "modalities[1]", "in capitals"),
    ('country = "ZM"', 'country = "Zambia"', "country", "ISO 3166"),
    ('access = "restricted"', 'access = "secret"', "access", "open"),
    ('consent = "not_required"', 'consent = "not-required"', "approvals[1].consent", "not_required"),
    ('purposes = ["ingest"]', 'purposes = ["ingest", "publish"]', "approvals[1].purposes[1]", "release"),
    ('purposes = ["ingest"]', "purposes = []", "approvals[1].purposes", "fewer than 1"),
    ('parties = ["Teaching hospital", "University"]', 'parties = ["University"]', "agreement.parties", "fewer than 2"),
    ("[agreement]", "[[agreement]]", "agreement", "is not a table"),
    # rules
    (APPROVALS, "", "approvals", "Add [[approvals]]"),
    ('id = "chest"', 'id = "breast"', "id", "rename the file to breast.toml"),
    ('id = "chest"', 'id = "Chest"', "id", "a-z"),
    # not TOML
    ('country = "ZM"', "country = ZM", "country", "Mend line 4"),
    ('country = "ZM"', 'country = "ZM"\ncountry = "ZW"', "country", "Mend line 5"),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), MISTAKES, ids=[f"{m[2]} {m[3][:18]}" for m in MISTAKES])
def test_a_mistake_is_told_in_one_line_with_file_key_and_remedy(tmp_path, old, new, key, says):
    assert old in EXAMPLE
    file = write(tmp_path, EXAMPLE.replace(old, new, 1))
    line = fault(file)
    assert line.startswith(f"{file}: {key}: ")
    assert says in line
    assert "hunter2" not in line and "secret" not in line


ACQUISITIONS = [
    ('kind = "dicomweb"', "acquisition.kind", "not yet"),
    ('kind = "dimse"', "acquisition.kind", "not yet"),
    ('kind = "film"', "acquisition.kind", "not yet"),
    ('kind = "ftp"', "acquisition", "folder, archive, index, synthetic"),
    ('kind = "folder"', "acquisition", "neither root nor package"),
    ('kind = "folder"\npackage = "pydicom"\nroot = "../elsewhere"', "acquisition", "leads out of its package"),
    ('kind = "folder"\npackage = "pydicom"\nroot = "/etc"', "acquisition", "leads out of its package"),
    ('kind = "folder"\npackage = "idc-index-data"', "acquisition.package", "idc_index_data"),
    ('kind = "folder"\nroot = "x"\nwhere = {Modalty = ["CR"]}', "acquisition.where", "Did you mean Modality?"),
    ('kind = "folder"\nroot = "x"\nwhere = {Modality = "CR"}', "acquisition.where.Modality", "is not a list"),
    ('kind = "folder"\nroot = "x"\nwhere = {Rows = [512]}', "acquisition.where.Rows[0]", "is not text"),
    ('kind = "folder"\nroot = "x"\ntable = "t.parquet"', "acquisition.table", "is an unknown key"),
    ('kind = "index"\nroot = "x"', "acquisition.table", "is missing"),
    ('kind = "index"\nroot = "x"\ntable = "../t.parquet"', "acquisition.table", "its folder as root"),
    ('kind = "index"\nroot = "x"\ntable = "t.csv"', "acquisition.table", "Parquet"),
    ('kind = "index"\nroot = "x"\ntable = "t.parquet"\ncolumns = {PatientId = {from = "pid"}}', "acquisition.columns", "PatientID"),
    ('kind = "index"\nroot = "x"\ntable = "t.parquet"\ncolumns = {PatientID = {form = "pid"}}', "acquisition.columns.PatientID.form", "Did you mean from?"),
    ('kind = "synthetic"\nseed = 1\ndefects = true', "acquisition.patients", "is missing"),
    ('kind = "synthetic"\npatients = 0\nseed = 1\ndefects = true', "acquisition.patients", "less than 1"),
    ('kind = "synthetic"\npatients = 5\nseed = 1.5\ndefects = true', "acquisition.seed", "whole number"),
    ('kind = "synthetic"\npatients = 5\nseed = 1\ndefects = 3', "acquisition.defects", "true or false"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "says"), ACQUISITIONS)
def test_a_mistake_in_how_to_reach_the_data_is_told(tmp_path, text, key, says):
    file = write(tmp_path, acquire(text))
    line = fault(file)
    assert line.startswith(f"{file}: {key}: ") and says in line


def test_several_mistakes_are_counted(tmp_path):
    text = EXAMPLE.replace('country = "ZM"', 'country = "z"').replace('refresh = "monthly"', "refresh = 3")
    assert "(and 1 more)" in fault(write(tmp_path, text))


@pytest.mark.parametrize("access", ["registered", "restricted"])
def test_a_tier_that_needs_an_approval_is_not_read_without_one(tmp_path, access):
    text = EXAMPLE.replace(APPROVALS, "").replace('"restricted"', f'"{access}"')
    assert f"approvals: is missing, and access is {access}" in fault(write(tmp_path, text))


def test_an_open_source_is_read_without_approval_and_agreement(tmp_path):
    text = EXAMPLE[: EXAMPLE.index("[[approvals]]")].replace('"restricted"', '"open"')
    assert load_source(write(tmp_path, text)).approvals == ()


@pytest.mark.parametrize("name", ["Chest", "1chest", "chest-x", "c" * 65, "brüste"])
def test_a_name_that_is_no_id_is_refused_even_if_file_and_id_agree(tmp_path, name):
    assert ": id: " in fault(write(tmp_path, EXAMPLE.replace('id = "chest"', f'id = "{name}"'), name))


def test_what_is_no_file_or_no_text_is_told(tmp_path):
    assert "no such file" in fault(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    assert "cannot be read" in fault(tmp_path / "folder.toml")
    (tmp_path / "latin.toml").write_bytes('title = "Köln"'.encode("latin-1"))
    assert "UTF-8" in fault(tmp_path / "latin.toml")
    assert ": id: is missing" in fault(write(tmp_path, "", "empty"))


# ---- fingerprint


def test_the_hash_ignores_comments_and_order_and_notices_every_value(tmp_path):
    whole = source_hash(load_source(write(tmp_path)))
    moved = EXAMPLE.replace('country = "ZM"\n', "").replace("\n[acquisition]", 'country = "ZM"  # Zambia\n\n[acquisition]', 1)
    assert source_hash(load_source(write(tmp_path, moved))) == whole
    assert len(whole) == 64
    for old, new in [("17-2023", "18-2023"), ("2027-05-31", "2027-06-30"), ("false", "true"), ('["CR", "DX"]}', '["CR"]}')]:
        assert source_hash(load_source(write(tmp_path, EXAMPLE.replace(old, new)))) != whole


def test_the_hash_is_the_same_in_another_process(tmp_path):
    file = write(tmp_path)
    code = "import sys; from dicom_workbench.catalog import *; print(source_hash(load_source(sys.argv[1])))"
    root = Path(__file__).resolve().parents[1]
    other = subprocess.run([sys.executable, "-c", code, str(file)], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == source_hash(load_source(file))


# ---- where the data lies


def at(tmp_path: Path, text: str) -> Path:
    return location(load_source(write(tmp_path, acquire(text))), tmp_path)


def test_a_relative_root_starts_at_the_catalogue_and_an_absolute_one_stays(tmp_path):
    assert at(tmp_path, 'kind = "folder"\nroot = "x/y"') == tmp_path / "x" / "y"
    elsewhere = (tmp_path / "elsewhere").as_posix()
    assert at(tmp_path, f'kind = "archive"\nroot = "{elsewhere}"') == tmp_path / "elsewhere"
    assert at(tmp_path, 'kind = "index"\nroot = "x"\ntable = "t.parquet"') == tmp_path / "x" / "t.parquet"


def test_a_root_in_a_package_lies_where_python_would_import_it(tmp_path):
    import pydicom

    inside = Path(pydicom.__file__).parent
    assert at(tmp_path, 'kind = "folder"\npackage = "pydicom"') == inside
    assert at(tmp_path, 'kind = "folder"\npackage = "pydicom"\nroot = "data/test_files"') == inside / "data" / "test_files"


def test_a_package_that_is_not_installed_is_named_with_what_to_type(tmp_path):
    with pytest.raises(UsageError, match="no_such_package_here is not installed") as raised:
        at(tmp_path, 'kind = "folder"\npackage = "no_such_package_here"')
    assert raised.value.remedy == "pip install no_such_package_here"


def test_without_the_extra_idc_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("dicom_workbench.catalog.source.find_spec", lambda name: None)
    with pytest.raises(UsageError) as raised:
        Catalogue.open().location("idc")
    assert 'pip install "dicom-workbench[idc]"' in str(raised.value)


def test_finding_a_package_does_not_import_it(tmp_path):
    package = tmp_path / "heavy_data_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from dicom_workbench.catalog.source import _package; print(_package('heavy_data_package'))"
    )
    root = Path(__file__).resolve().parents[1]
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True)
    assert Path(run.stdout.strip()) == package


def test_a_made_up_source_lies_nowhere():
    with pytest.raises(UsageError, match="synthetic_hospital"):
        Catalogue.open().location("synthetic_hospital")


# ---- catalogues


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path_factory, monkeypatch):
    monkeypatch.delenv("DICOM_WORKBENCH_CATALOG", raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


SHIPPED = ["idc", "idc_chest_xray", "pydicom_samples", "synthetic_hospital"]


def ids(catalogue: Catalogue) -> list[str]:
    return [source.id for source in catalogue]


def test_four_sources_ship_without_a_fault():
    catalogue = Catalogue.open()
    assert ids(catalogue) == SHIPPED
    assert catalogue.faults == []


def test_the_user_s_catalogue_stands_beside_the_shipped_one(tmp_path):
    write(tmp_path)
    catalogue = Catalogue.open(tmp_path)
    assert ids(catalogue) == sorted([*SHIPPED, "chest"])
    entry = catalogue.entry("chest")
    assert (entry.file, entry.folder) == (tmp_path / "chest.toml", tmp_path)
    assert catalogue.location("chest") == tmp_path / "chest"
    assert catalogue.entry("idc").folder == resources.folder("catalog")


def test_argument_before_variable_before_the_folder_at_hand(tmp_path, monkeypatch):
    for name in ("argument", "variable", "data_catalog"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, EXAMPLE.replace('id = "chest"', f'id = "by_{name}"'), f"by_{name}")
    monkeypatch.chdir(tmp_path)
    assert "by_data_catalog" in ids(Catalogue.open())
    monkeypatch.setenv("DICOM_WORKBENCH_CATALOG", str(tmp_path / "variable"))
    assert set(ids(Catalogue.open())) - set(SHIPPED) == {"by_variable"}
    assert set(ids(Catalogue.open("argument"))) - set(SHIPPED) == {"by_argument"}
    monkeypatch.setenv("DICOM_WORKBENCH_CATALOG", "")
    assert set(ids(Catalogue.open())) - set(SHIPPED) == {"by_data_catalog"}


def test_in_a_checkout_the_shipped_catalogue_counts_once(monkeypatch):
    shipped = resources.folder("catalog")
    assert ids(Catalogue.open(shipped)) == SHIPPED
    monkeypatch.chdir(shipped.parent)
    assert ids(Catalogue.open()) == SHIPPED


def test_one_id_in_two_catalogues_is_an_error_that_names_both(tmp_path):
    shutil.copy(resources.folder("catalog") / "idc.toml", tmp_path)
    with pytest.raises(UsageError) as raised:
        Catalogue.open(tmp_path)
    for piece in ("source idc ", str(tmp_path / "idc.toml"), str(resources.folder("catalog") / "idc.toml"), "Rename"):
        assert piece in str(raised.value)


def test_an_installed_package_inside_a_checkout_sees_its_sources_once(tmp_path, monkeypatch):
    shutil.copytree(resources.folder("catalog"), tmp_path / "data_catalog")
    monkeypatch.chdir(tmp_path)
    assert [s.id for s in Catalogue.open()].count("idc") == 1


@pytest.mark.parametrize("by", ["--catalog", "DICOM_WORKBENCH_CATALOG"])
def test_a_named_catalogue_that_is_no_folder_is_told(tmp_path, monkeypatch, by):
    file = write(tmp_path)
    for wrong, says in ((tmp_path / "none", "does not exist"), (file, "is a file")):
        monkeypatch.setenv("DICOM_WORKBENCH_CATALOG", str(wrong))
        with pytest.raises(UsageError, match=says) as raised:
            Catalogue.open(wrong if by == "--catalog" else None)
        assert str(wrong) in raised.value.message and by in raised.value.remedy


def test_an_unknown_source_is_told_with_those_it_may_have_been():
    with pytest.raises(UsageError, match="idc_chest_xray") as raised:
        Catalogue.open().get("idc_chest_xrays")
    assert "'idc_chest_xrays'" in raised.value.message
    assert "dicom-workbench sources" in raised.value.remedy
    with pytest.raises(UsageError) as raised:
        Catalogue.open().get("qqq")
    assert "Did you mean" not in str(raised.value)


def test_a_broken_file_hides_no_other_source(tmp_path):
    write(tmp_path)
    broken = write(tmp_path, EXAMPLE.replace('country = "ZM"', ""), "broken")
    catalogue = Catalogue.open(tmp_path)
    assert ids(catalogue) == sorted([*SHIPPED, "chest"])
    assert len(catalogue.faults) == 1 and str(broken) in catalogue.faults[0]
    assert catalogue.entry("broken").source is None
    with pytest.raises(UsageError) as raised:
        catalogue.get("broken")
    assert str(raised.value) == catalogue.faults[0]


def test_what_an_editor_leaves_behind_is_no_source(tmp_path):
    (tmp_path / "._chest.toml").write_bytes(b"\0\5\26\7")
    (tmp_path / "chest.toml~").write_text("old")
    assert ids(Catalogue.open(tmp_path)) == SHIPPED


# ---- the sources that ship, against the data they describe


def test_pydicom_s_folder_holds_its_images_and_no_code():
    folder = Catalogue.open().location("pydicom_samples")
    assert (folder / "CT_small.dcm").is_file()
    assert not list(folder.rglob("*.py"))


def test_the_synthetic_hospital_is_made_of_fiction():
    hospital = Catalogue.open().get("synthetic_hospital")
    assert isinstance(hospital.acquisition, SyntheticAcquisition)
    assert hospital.access == "restricted" and hospital.agreement is not None
    assert all("Fictional" in a.board and a.expires == dt.date(2099, 12, 31) for a in hospital.approvals)


@pytest.fixture
def idc() -> tuple[Catalogue, pl.LazyFrame]:
    if find_spec("idc_index_data") is None:
        pytest.skip('no real series table: pip install "dicom-workbench[idc]"')
    catalogue = Catalogue.open()
    return catalogue, pl.scan_parquet(catalogue.location("idc"))


def test_idc_chest_xray_selects_the_15519_chest_radiographs(idc):
    catalogue, table = idc
    chest = catalogue.get("idc_chest_xray")
    assert isinstance(chest.acquisition, IndexAcquisition)
    rows = table.filter(pl.col(c).is_in(list(keep)) for c, keep in chest.acquisition.where.items())
    assert rows.select(pl.len()).collect().item() == 15_519
    assert catalogue.location("idc_chest_xray") == catalogue.location("idc")


def test_idc_maps_columns_that_exist_and_declares_all_with_several_values(idc):
    catalogue, table = idc
    idc_source = catalogue.get("idc")
    assert isinstance(idc_source.acquisition, IndexAcquisition)
    columns, there = idc_source.acquisition.columns, table.collect_schema()
    assert {column.source or name for name, column in columns.items()} <= set(there)
    assert columns["IssuerOfPatientID"].source == "collection_id"
    assert {name for name, column in columns.items() if column.multi} == {
        "TransferSyntaxUID", "PhotometricInterpretation", "PixelRepresentation",
    }  # fmt: skip
    assert set(table.select("Modality").unique().collect()["Modality"]) == set(idc_source.modalities)


def test_both_idc_sources_describe_the_same_table_in_the_same_way():
    texts = [tomllib.loads((resources.folder("catalog") / f"{n}.toml").read_text())["acquisition"] for n in ("idc", "idc_chest_xray")]
    texts[1].pop("where")
    assert texts[0] == texts[1]


def test_the_models_hold_every_key_of_the_design():
    table = tomllib.loads(EXAMPLE)
    assert set(table) == set(Source.model_fields)
