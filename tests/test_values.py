"""The readers of raw DICOM strings, held against Python, pydicom and the real table of NCI's Imaging Data Commons."""

import datetime as dt
import math
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.data import get_charset_files
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, DSfloat, PersonName, validate_value

from dicom_workbench.standard import values

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

READERS = {
    "DA": values.date,
    "TM": values.time,
    "DT": values.datetime,
    "AS": values.age_in_years,
    "DS": values.number,
    "IS": values.integer,
}
RETIRED = re.compile(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}|[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")
VALUE_LIKE = st.text(alphabet="0123456789.:+-eE DWMYxnaif_\\\0^=٣", max_size=30)
ANY_TEXT = st.one_of(st.text(max_size=80), VALUE_LIKE)


def column(*raw: str | None) -> pl.DataFrame:
    return pl.DataFrame({"raw": pl.Series(raw, dtype=pl.String)})


def read(expression, *raw: str | None) -> list:
    return column(*raw).select(expression(pl.col("raw"))).to_series().to_list()


def valid(vr: str, *raw: str | None) -> list[bool | None]:
    return read(lambda e: values.is_valid(e, vr), *raw)


# ---- whatever comes, nothing raises


@settings(max_examples=300)
@given(st.lists(st.one_of(st.none(), ANY_TEXT), min_size=1, max_size=8))
def test_any_text_gives_null_or_a_value_that_is_valid_retired_or_merely_too_long(raw):
    for vr, reader in READERS.items():
        read_values, judged = read(reader, *raw), valid(vr, *raw)
        for text, value, ok in zip(raw, read_values, judged, strict=True):
            if value is None or ok:
                continue
            bare = text.strip(" \0")
            too_long_or_big = vr in ("DS", "IS") and (len(bare) > 12 or abs(int(value)) > 2**31 - 1)
            assert RETIRED.fullmatch(bare) or too_long_or_big, (vr, text, value)


@settings(max_examples=150)
@given(st.lists(st.one_of(st.none(), ANY_TEXT), min_size=1, max_size=8))
def test_every_function_takes_any_text_and_keeps_the_column_s_name(raw):
    frame, column_ = column(*raw), pl.col("raw")
    expressions = [values.present(column_), values.split(column_), *(r(column_) for r in READERS.values())]
    expressions += [values.is_valid(column_, vr) for vr in [*values.SYNTAX, *values.LONGEST, "UT", "US or SS"]]
    expressions += [values.person_name(column_, p) for p in ("family", "given", "middle", "prefix", "suffix")]
    expressions += [values.typed(column_, vr, vm) for vr in [*values.SYNTAX, "US", "FD", "LT"] for vm in ("1", "1-n")]
    for expression in expressions:
        assert frame.select(expression).columns == ["raw"]


@given(st.one_of(st.none(), ANY_TEXT))
def test_an_absent_or_empty_value_is_never_judged_and_any_other_always_is(raw):
    carries = raw is not None and raw.strip(" \0\\") != ""
    for vr in [*values.SYNTAX, *values.LONGEST, "UT"]:
        assert (valid(vr, raw)[0] is not None) is carries
    assert read(values.present, raw) == [carries]


# ---- days


@given(st.dates())
def test_every_day_of_the_calendar_is_read_and_valid(day):
    raw = f"{day.year:04}{day.month:02}{day.day:02}"
    old = f"{day.year:04}.{day.month:02}.{day.day:02}"
    assert read(values.date, raw, raw + " ", old) == [day, day, day]
    assert valid("DA", raw, f"{raw}\\{raw}", old) == [True, True, False]
    assert DA(raw) == day


@given(st.integers(0, 9999), st.integers(0, 99), st.integers(0, 99))
def test_a_day_is_valid_exactly_if_python_knows_it(year, month, day):
    raw = f"{year:04}{month:02}{day:02}"
    try:
        expected = dt.date(year, month, day)
    except ValueError:
        expected = None
    assert read(values.date, raw) == [expected]
    assert valid("DA", raw) == [expected is not None]


@pytest.mark.parametrize("raw", ["00000000", "00010000", "99999999", "2024", "202402", "2024-02-29", "20240229\n", "²0240229"])
def test_placeholders_and_other_notations_are_no_day(raw):
    assert read(values.date, raw) == [None]
    assert valid("DA", raw) == [False]


def test_leap_days_follow_the_gregorian_calendar():
    assert valid("DA", "19000229", "20000229", "20230229", "20240229", "00000229") == [False, True, False, True, False]


# ---- times and moments


@given(st.times())
def test_every_time_is_read_to_the_microsecond_like_pydicom(time):
    raw = time.strftime("%H%M%S.%f")
    assert read(values.time, raw, time.strftime("%H:%M:%S.%f")) == [time, time]
    assert valid("TM", raw) == [True]
    assert TM(raw) == time


@given(st.text(alphabet="0123456789.", min_size=1, max_size=14))
def test_a_time_is_valid_and_read_exactly_where_pydicom_s_syntax_allows_it(raw):
    try:
        validate_value("TM", raw, config.RAISE)
        ours = True
    except ValueError:
        ours = False
    assert valid("TM", raw) == [ours]
    assert (read(values.time, raw)[0] is not None) is ours


@given(st.times(), st.integers(1, 6))
def test_a_fraction_may_have_one_to_six_digits(time, digits):
    raw = time.strftime("%H%M%S.") + f"{time.microsecond:06}"[:digits]
    kept = int(f"{time.microsecond:06}"[:digits].ljust(6, "0"))
    assert read(values.time, raw) == [time.replace(microsecond=kept)]


def test_a_leap_second_is_read_as_second_59_like_pydicom():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = TM("235960")
    assert read(values.time, "235960", "235960.5") == [theirs, dt.time(23, 59, 59, 500000)]
    assert read(values.datetime, "20161231235960") == [dt.datetime(2016, 12, 31, 23, 59, 59)]
    assert valid("TM", "235960", "235961") == [True, False]


@given(st.datetimes(), st.sampled_from(["", "+0000", "+0200", "-1200", "+1400"]))
def test_a_moment_is_the_local_time_as_written_whatever_its_offset(moment, offset):
    written = f"{moment.year:04}" + moment.strftime("%m%d%H%M%S.%f")
    assert read(values.datetime, written + offset) == [moment]
    assert valid("DT", written + offset) == [True]


@pytest.mark.parametrize(("raw", "expected"), [
    ("2019", dt.datetime(2019, 1, 1)),
    ("201902", dt.datetime(2019, 2, 1)),
    ("20190228", dt.datetime(2019, 2, 28)),
    ("2019022807", dt.datetime(2019, 2, 28, 7)),
    ("201902280730", dt.datetime(2019, 2, 28, 7, 30)),
    ("2019-0500", dt.datetime(2019, 1, 1)),
    ("201900", None), ("20190229", None), ("2019022824", None), ("20190228-0000", None), ("20190228+1401", None),
])  # fmt: skip
def test_a_moment_may_be_cut_off_anywhere_after_its_year(raw, expected):
    assert read(values.datetime, raw) == [expected]
    assert valid("DT", raw) == [expected is not None]


# ---- numbers


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_python_s_own_writing_of_a_float_is_read_back_exactly(value):
    read_back = read(values.number, repr(value))[0]
    assert read_back == value and math.copysign(1, read_back) == math.copysign(1, value)


@given(st.floats(-1e300, 1e300))  # near the largest double, rounding to 16 characters gives infinity
def test_a_decimal_string_by_pydicom_is_valid_and_has_its_value(value):
    ours = str(DSfloat(value, auto_format=True))
    assert valid("DS", ours) == [True]
    assert read(values.number, ours)[0] == float(ours)


@given(st.text(alphabet="0123456789.+-eE", min_size=1, max_size=16))
def test_a_decimal_string_is_valid_exactly_where_pydicom_accepts_it(raw):
    try:
        validate_value("DS", raw, config.RAISE)
        theirs = True
    except ValueError:
        theirs = False
    assert valid("DS", raw) == [theirs]
    value = read(values.number, raw)[0]
    assert value == (float(raw) if theirs and math.isfinite(float(raw)) else None)


@pytest.mark.parametrize("raw", ["nan", "NaN", "inf", "-Infinity", "0x10", "1_000", "1,5", "1 5", "1\\2", "", " ", ".", "e5", "١٢"])
def test_what_only_a_programmer_calls_a_number_is_none(raw):
    assert read(values.number, raw) == [None]
    assert read(values.integer, raw) == [None]


@given(st.integers(-(2**70), 2**70))
def test_whole_numbers_are_read_as_far_as_64_bits_go_and_valid_in_32(value):
    raw = str(value)
    assert read(values.integer, raw) == [value if -(2**63) <= value < 2**63 else None]
    assert valid("IS", raw) == [-(2**31) <= value < 2**31 and len(raw) <= 12]


@pytest.mark.parametrize("value", [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 0, 999999999, 1999999999, 2147483599])
def test_integer_strings_end_at_32_bits(value):
    assert valid("IS", str(value)) == [-(2**31) <= value < 2**31]


def test_numbers_in_padding_are_read():
    assert read(values.number, " 1.50 ", "3\0") == [1.5, 3.0]
    assert read(values.integer, " +7 ") == [7]


# ---- ages


@pytest.mark.parametrize(("raw", "years"), [
    ("034Y", 34.0), ("006M", 0.5), ("000D", 0.0), ("000W", 0.0), ("000M", 0.0), ("155Y", 155.0),
    ("000Y", None), ("42", None), ("042y", None), ("N-A", None), ("42Y", None), ("0042Y", None), ("", None), (None, None),
])  # fmt: skip
def test_years_from_an_age_string(raw, years):
    assert read(values.age_in_years, raw) == [years]


def test_four_weeks_are_as_long_as_28_days():
    weeks, days = read(values.age_in_years, "004W", "028D")
    assert weeks == pytest.approx(days, rel=1e-12)


# ---- UIDs, codes, texts


@given(st.text(alphabet="0123456789.", min_size=1, max_size=70))
def test_a_uid_is_valid_exactly_where_pydicom_says_so(raw):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert valid("UI", raw) == [bool(UID(raw).is_valid)]


def test_one_bad_value_among_many_makes_the_element_invalid():
    long = "1." + "2" * 62
    assert valid("UI", f"1.2\\{long}", f"1.2\\{long}3", "1.2\\1.02", "1.2\\\\1.3") == [True, False, False, True]
    assert valid("CS", "ORIGINAL\\PRIMARY", "ORIGINAL\\Primary", "A\\" + "B" * 17) == [True, False, False]
    assert valid("DA", "20240101\\20240230") == [False]


@given(st.text(min_size=1, max_size=20))
def test_a_code_string_is_valid_exactly_where_pydicom_accepts_it(raw):
    bare = raw.strip(" \0")
    if not bare or "\\" in bare:
        return
    try:
        validate_value("CS", bare, config.RAISE)
        theirs = True
    except ValueError:
        theirs = False
    assert valid("CS", raw) == [theirs]


def test_lengths_are_counted_in_characters_and_for_each_value():
    assert valid("SH", "é" * 16, "é" * 17, f"{'a' * 16}\\{'b' * 16}") == [True, False, True]
    assert valid("LO", "x" * 64, "x" * 65, "line\nbreak", "\x1b$B") == [True, False, False, True]
    assert valid("AE", "STORE_SCP", "é", "x" * 17) == [True, False, False]
    assert valid("LT", "a\\b\r\n" * 2048, "x" * 10241) == [True, False]
    assert valid("PN", "x" * 64 + "=" + "y" * 64, "x" * 65) == [True, False]


def test_a_vr_that_dicom_lacks_is_a_programming_error():
    with pytest.raises(ValueError, match="'QQ'"):
        values.is_valid(pl.col("raw"), "QQ")


def test_every_vr_of_the_dictionary_can_be_asked_about():
    from pydicom.datadict import DicomDictionary

    for vr in sorted({entry[0] for entry in DicomDictionary.values()} - {"NONE"}):
        assert valid(vr, None) == [None]


# ---- names


@pytest.mark.parametrize("file", get_charset_files("*.dcm"), ids=lambda f: Path(f).stem)
def test_parts_of_names_in_every_script_are_pydicom_s(file):
    name: PersonName = pydicom.dcmread(file).get("PatientName", PersonName(""))
    raw = str(name)
    for part, theirs in (("family", name.family_name), ("given", name.given_name), ("suffix", name.name_suffix)):
        assert read(lambda e, p=part: values.person_name(e, p), raw) == [theirs or None]
    assert valid("PN", raw) == [True if raw else None]


def test_the_first_of_several_names_counts_and_its_first_script():
    assert read(lambda e: values.person_name(e, "family"), "Mwale^A\\Zulu^B", "=山田^太郎", "^Given") == ["Mwale", None, None]
    assert read(lambda e: values.person_name(e, "given"), "Mwale\\Zulu^B", "Mwale=a^b", "^Given ") == [None, None, "Given"]
    with pytest.raises(ValueError, match="nick"):
        values.person_name(pl.col("raw"), "nick")


# ---- several values, and columns


@given(st.lists(st.text(alphabet="abc ", max_size=4), min_size=1, max_size=5))
def test_split_undoes_the_joining(parts):
    raw = "\\".join(parts)
    expected = [p.strip() for p in parts] if raw.strip() else []
    assert read(values.split, raw) == [expected]


@pytest.mark.parametrize(("vr", "vm", "dtype"), [
    ("DA", "1", pl.Date), ("TM", "1", pl.Time), ("DT", "1", pl.Datetime("us")), ("AS", "1", pl.String),
    ("DS", "1", pl.Float64), ("FD", "1", pl.Float64), ("FL", "1", pl.Float64), ("DS", "2", pl.String), ("DS", "1-n", pl.String),
    ("IS", "1", pl.Int64), ("US", "1", pl.Int64), ("SS", "1", pl.Int64), ("UL", "1", pl.Int64), ("SL", "1", pl.Int64),
    ("IS", "1-n", pl.String), ("CS", "1", pl.String), ("UI", "1", pl.String), ("PN", "1", pl.String),
])  # fmt: skip
def test_columns_of_a_view_have_the_type_of_their_vr(vr, vm, dtype):
    frame = column("", None, "junk!").select(values.typed(pl.col("raw"), vr, vm))
    assert frame.schema == {"raw": dtype}
    assert frame["raw"].to_list()[:2] == [None, None]
    assert column().select(values.typed(pl.col("raw"), vr, vm)).schema == {"raw": dtype}


# ---- the real table


@pytest.fixture(scope="module")
def idc() -> pl.LazyFrame:
    spec = find_spec("idc_index_data")
    if spec is None or spec.origin is None:
        pytest.skip('no real series table: pip install "dicom-workbench[idc]"')
    return pl.scan_parquet(Path(spec.origin).parent / "idc_index.parquet")


def test_ages_of_a_million_real_series_are_counted_right(idc):
    age = pl.col("PatientAge")
    found = idc.select(
        malformed=(~values.is_valid(age, "AS")).sum(),
        placeholder=(age == "000Y").sum(),
        placeholder_read=values.age_in_years(age.filter(age == "000Y")).count(),
        valid=values.is_valid(age, "AS").sum(),
        read=values.age_in_years(age).count(),
        months=values.age_in_years(age).filter(age.str.ends_with("M")).count(),
        days=values.age_in_years(age).filter(age.str.ends_with("D")).count(),
        oldest=values.age_in_years(age).max(),
    ).collect().row(0, named=True)  # fmt: skip
    assert found["malformed"] == 49
    assert (found["placeholder"], found["placeholder_read"]) == (10_622, 0)
    assert found["read"] == found["valid"] - 10_622
    assert (found["months"], found["days"], found["oldest"]) == (5_666, 917, 155.0)


def test_uids_and_days_of_a_million_real_series_are_all_valid(idc):
    day = pl.col("StudyDate").str.replace_all("-", "")
    found = idc.select(
        uids=pl.sum_horizontal((~values.is_valid(pl.col(c), "UI")).sum() for c in ("StudyInstanceUID", "SeriesInstanceUID")),
        several=(~values.is_valid(pl.col("TransferSyntaxUID").str.replace_all(",", "\\"), "UI")).sum(),
        days=(~values.is_valid(day, "DA")).sum(),
        first=values.date(day).min(),
        same=(values.date(day) == pl.col("StudyDate").str.to_date("%Y-%m-%d")).all(),
    ).collect().row(0, named=True)  # fmt: skip
    assert (found["uids"], found["several"], found["days"]) == (0, 0, 0)
    assert found["same"] and found["first"] == dt.date(1880, 9, 9)
