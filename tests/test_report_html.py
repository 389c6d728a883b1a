"""The page: self-contained, byte-stable, and whatever a header says is shown, never run."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import polars as pl
import pytest

from dicom_workbench.explore import charts
from dicom_workbench.report import blocks
from dicom_workbench.report.html import chart_output, to_html, vega_bundle

EVIL = [
    "<script>alert(1)</script>", "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "<!--<script>", "]]><svg onload=alert(1)>",
    "&lt;b&gt;", "javascript:alert(1)", "{{7*7}} ${7*7}", "datum.n > 1 ? 'a' : 'b'", "'] + alert(1) + ['",
]


class Tags(HTMLParser):
    "Every element of a page with its attributes."

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def notebook(*outputs: dict, markdown: str = "# Title\n\n## Section") -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_markdown_cell(markdown)]
    for data in outputs:
        cells.append(nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data)]))
    return nbformat.v4.new_notebook(cells=cells)


def shown(block: blocks.Block) -> dict:
    return {"text/html": block.html, "text/plain": block.text}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def evil_page(cache: Path) -> str:
    counts = pl.DataFrame({"value": EVIL, "n": list(range(1, len(EVIL) + 1))})
    chart = chart_output(charts.bars(counts, "Which values?", top=20).to_dict())
    pieces = [blocks.table(counts), blocks.card(EVIL[0], [(v, v) for v in EVIL], EVIL[1]), blocks.figures(blocks.Figure(v, v, v) for v in EVIL),
              blocks.look_first(blocks.Pointer(v, v, v, v) for v in EVIL), blocks.details(EVIL[0], blocks.note(EVIL[1]))]
    return to_html(notebook(chart, {"text/plain": EVIL[0]}, *map(shown, pieces), markdown=f"# {EVIL[0]}\n\n## {EVIL[1]}"), EVIL[0], cache)


def test_values_never_become_elements(evil_page: str) -> None:
    tags = Tags(evil_page).seen
    scripts = [attrs for tag, attrs in tags if tag == "script"]
    assert [a.get("type") for a in scripts] == ["application/json", None, None]
    assert not [tag for tag, attrs in tags if tag in ("img", "iframe", "object", "embed", "form", "link", "base")]
    assert not [a for _, attrs in tags for a in attrs if a.startswith("on")]
    body = Tags(re.sub(r"<figure.*?</figure>", "", evil_page, flags=re.S)).seen
    assert "svg" not in [tag for tag, _ in body]


def test_every_value_is_shown_as_it_is(evil_page: str) -> None:
    cells = re.findall(r"<td>(.*?)</td>", evil_page, flags=re.S)
    assert [html.unescape(c) for c in cells] == EVIL


def test_the_specification_survives_its_script_element(evil_page: str) -> None:
    inside = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', evil_page, flags=re.S)
    assert inside and "<" not in inside[1]
    rows = next(iter(json.loads(inside[1])["datasets"].values()))
    assert {row["label"] for row in rows} == {" ".join(v.split()) for v in EVIL}


def test_nothing_refers_to_another_place(evil_page: str) -> None:
    for _, attrs in Tags(evil_page).seen:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attrs.get(name) or "#").startswith(("#", "data:"))
    style = re.search(r"<style>(.*?)</style>", evil_page, flags=re.S)
    assert style and "url(" not in style[1] and "@import" not in style[1]


def test_the_policy_allows_no_inline_script_and_no_eval(evil_page: str) -> None:
    policy = dict(part.split(" ", 1) for part in next(a["content"] for t, a in Tags(evil_page).seen if t == "meta" and a.get("http-equiv")).split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"].count("'sha256-") == 2
    assert "unsafe" not in policy["script-src"] and "http" not in str(policy)


def test_the_same_notebook_gives_the_same_bytes(cache: Path) -> None:
    def once(cell_id: str) -> str:
        nb = notebook(chart_output(charts.bars(pl.DataFrame({"value": ["CT"], "n": [1]}), "?").to_dict()))
        for i, cell in enumerate(nb.cells):
            cell["id"] = f"{cell_id}{i}"
        return to_html(nb, "t", cache)

    assert once("a") == once("b")


def test_vega_is_kept_once_and_a_broken_copy_beside_it_is_ignored(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    script = vega_bundle(folder)
    kept = list(folder.iterdir())
    assert len(kept) == 1
    (folder / f".{kept[0].name}.1.part").write_text("half")
    assert vega_bundle(folder) == script


def test_a_page_without_charts_carries_no_script(cache: Path) -> None:
    page = to_html(notebook({"text/plain": "1"}), "t", cache)
    assert "<script" not in page and len(page) < 20_000


def test_what_went_to_standard_error_is_left_out(cache: Path) -> None:
    nb = notebook()
    nb.cells.append(nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("stream", name="stderr", text="/home/me/secret"),
                                                            nbformat.v4.new_output("stream", name="stdout", text="told <b>")]))
    page = to_html(nb, "t", cache)
    assert "secret" not in page and "told &lt;b&gt;" in page


def test_the_code_is_at_the_end_and_folded(cache: Path) -> None:
    page = to_html(notebook({"text/plain": "result"}), "t", cache)
    assert page.index("result") < page.index("How this page was made") < page.index("<code>1</code>")


def test_a_modality_has_one_colour_in_every_chart() -> None:
    few = charts.bars(pl.DataFrame({"value": ["CT", "MR"], "n": [1, 2]}), "?", colour=charts.modality_colour).to_dict()
    many = charts.bars(pl.DataFrame({"value": ["CR", "CT", "MR", "US"], "n": [9, 8, 7, 6]}), "?", colour=charts.modality_colour).to_dict()

    def colours(spec: dict) -> dict[str, str]:
        return {row["label"]: row["colour"] for rows in spec["datasets"].values() for row in rows}

    assert colours(few).items() <= colours(many).items()
    assert colours(few)["CT"] == "#0072B2"  # Okabe and Ito's blue, and the same next year


def test_colours_of_pictures_differ_in_grey() -> None:
    def grey(colour: str) -> float:
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * r + 0.587 * g + 0.114 * b

    present, empty, absent = (grey(charts.STATES[s]) for s in ("present", "empty", "absent"))
    assert min(empty - present, absent - empty) > 25


@pytest.mark.parametrize("top", [1, 3, 12])
def test_bars_lose_no_record(top: int) -> None:
    counts = pl.DataFrame({"value": [None, *map(str, range(30))], "n": range(1, 32)})
    spec = charts.bars(counts, "?", top=top).to_dict()
    drawn = next(iter(spec["datasets"].values()))
    assert sum(row["n"] for row in drawn) + 1 == counts["n"].sum()
    assert "496 series; no value recorded in 1 (0.2 %)" in spec["title"]["subtitle"]
    assert len(drawn) == top + 1


def test_a_chart_of_nothing_is_drawn() -> None:
    for chart in (charts.bars(pl.DataFrame(schema={"value": pl.String, "n": pl.Int64}), "?"),
                  charts.by_year(pl.DataFrame({"year": [None], "n": [3]}, schema={"year": pl.Int32, "n": pl.Int64}), "?")):
        assert "<svg" in chart_output(chart.to_dict())["image/svg+xml"]


def test_tables_group_counts_and_leave_years() -> None:
    page = blocks.table(pl.DataFrame({"year": [2019], "n": [1_044_191], "share": [0.26], "ok": [True], "none": [None]})).html
    assert re.findall(r"<td[^>]*>(.*?)</td>", page) == ["2019", "1,044,191", "0.3", "yes", "–"]
