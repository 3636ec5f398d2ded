"""The report's table in a real browser: sorting, filtering, keyboard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.ranking import ranking
from analysis.report import contents
from analysis.report import page as pages
from analysis.runs import run, synthetic

from .screens import Opener, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def column(page: Page, heading: str) -> list[str]:
    """The values to sort by of a column, in the order of the rows."""
    found: list[str] = page.evaluate(
        """heading => {
            const table = document.querySelector("table.ranking");
            const i = [...table.tHead.rows[0].cells].findIndex(c => c.innerText.trim() === heading);
            return [...table.tBodies[0].rows].map(r => i === 0 ? r.dataset.name : r.cells[i].dataset.value);
        }""",
        heading,
    )
    return found


def head(page: Page, heading: str) -> Any:
    return page.locator("table.ranking thead").get_by_role("button", name=heading, exact=True)


def sorted_by(page: Page) -> list[tuple[str, str]]:
    found = page.eval_on_selector_all(
        "table.ranking th[aria-sort]",
        "heads => heads.map(h => [h.innerText.trim(), h.getAttribute('aria-sort')])",
    )
    return [tuple(pair) for pair in found]


def numbers(values: list[str]) -> list[float]:
    return [float(v) if v else math.nan for v in values]


def test_columns_sort_by_number_best_first_and_back(visit: Opener) -> None:
    page = visit()
    assert sorted_by(page) == [("rank all", "ascending")]
    for heading, descending in (("CLIP", True), ("FID", False), ("val loss", False), ("5 steps", False)):
        for turned in (False, True):
            head(page, heading).click()
            found = numbers(column(page, heading))
            known = [v for v in found if v == v]
            assert known == sorted(known, reverse=descending != turned)
            assert found[: len(known)] == known, "absent values come last"
            assert sorted_by(page) == [(heading, "descending" if descending != turned else "ascending")]
    head(page, "formulation").click()
    names = column(page, "formulation")
    assert names == ["edm(-1.20,1.20)", "eps/linear", "rf", "rf/lognorm(0.00,1.00)", "rf/mode(1.29)", "v/cos"]


def test_absent_values_come_last_both_ways(visit: Opener) -> None:
    page, heading = visit(), "beats leader"
    page.get_by_label("all columns").check()
    for _ in range(2):
        head(page, heading).click()
        assert column(page, heading)[-1] == ""  # nothing beats the leader
        assert "" not in column(page, heading)[:-1]


def test_numbers_are_not_sorted_as_text(visit: Opener) -> None:
    page = visit()
    page.eval_on_selector_all(
        "table.ranking tbody:first-of-type tr",
        "rows => rows.forEach((r, i) => r.cells[1].dataset.value = [9, 10, 100, '', -1, 2][i])",
    )
    head(page, "rank all").click()
    assert column(page, "rank all") == ["100", "10", "9", "2", "-1", ""]
    head(page, "rank all").click()
    assert column(page, "rank all") == ["-1", "2", "9", "10", "100", ""]


def test_sorting_by_keyboard(visit: Opener) -> None:
    page = visit()
    head(page, "CLIP").focus()
    page.keyboard.press("Enter")
    assert sorted_by(page) == [("CLIP", "descending")]
    page.keyboard.press("Space")
    assert sorted_by(page) == [("CLIP", "ascending")]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_filtering_by_name_and_family(visit: Opener) -> None:
    page = visit()
    assert len(shown(page)) == 6
    page.get_by_label("Name contains").fill("RF 1.2")
    assert shown(page) == ["rf/mode(1.29)"]
    assert page.locator("#filter-count").inner_text() == "1 of 6 shown"
    page.get_by_label("Name contains").fill("")
    page.get_by_label("Family").select_option("rf/lognorm")
    assert shown(page) == ["rf/lognorm(0.00,1.00)"]
    page.get_by_label("Family").select_option("")
    assert len(shown(page)) == 6
    page.get_by_label("Name contains").fill("nothing like this")
    assert shown(page) == []
    assert page.locator("tbody.references").count() == 0 or page.locator("tbody.references").is_visible()


def test_a_family_with_two_blanks_can_be_chosen(browser: Browser, tmp_path: Path) -> None:
    out = synthetic.write(
        tmp_path, synthetic.truth(("a  b(1)", "a  b(2)", "rf")), samples=4, weights=("ema",)
    )
    pages.write(contents.read(run.read(out)), out / "report.html")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((out / "report.html").as_uri())
        page.get_by_label("Family").select_option(index=1)
        assert shown(page) == ["a  b(1)", "a  b(2)"]


def test_the_ranking_can_be_taken_away(visit: Opener, report: Path) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download as CSV").click()
    assert downloading.value.suggested_filename == "ranking.csv"
    expected = ranking.rank(run.read(report.parent)).frame()
    kept = pd.read_csv(downloading.value.path())
    pd.testing.assert_frame_equal(
        kept[["formulation", "rank_all", "clip"]], expected[["formulation", "rank_all", "clip"]]
    )
    page.get_by_role("button", name="Copy as LaTeX").click()
    page.get_by_text("copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(r"\begin{tabular}")
    assert all(name.split("(")[0] in copied for name in expected["formulation"])


def test_latex_can_be_copied_where_a_page_may_not_write_to_the_clipboard(visit: Opener) -> None:
    page = visit()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.get_by_role("button", name="Copy as LaTeX").click()
    assert page.get_by_label("The ranking as LaTeX").is_visible()
    selected = page.evaluate(
        """() => {
            const source = document.querySelector("#latex");
            return source.value.slice(source.selectionStart, source.selectionEnd);
        }"""
    )
    assert selected.startswith(r"\begin{tabular}")


def test_names_look_like_links_and_open_by_keyboard(visit: Opener) -> None:
    page = visit()
    link = page.get_by_role("link", name="eps/linear", exact=True)
    look = "e => [getComputedStyle(e).textDecorationLine, getComputedStyle(e).color]"
    line, colour = link.evaluate(look)
    assert line == "underline"
    assert colour == page.get_by_role("link", name="Figures", exact=True).evaluate(look)[1]
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert page.get_by_role("dialog").get_by_role("heading", name="eps/linear").is_visible()


def test_further_columns_on_demand(visit: Opener) -> None:
    page = visit()
    assert not head(page, "by FID").is_visible()
    page.get_by_label("all columns").check()
    assert head(page, "by FID").is_visible()
