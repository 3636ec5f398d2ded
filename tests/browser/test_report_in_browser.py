"""The report in a real browser: sorting, filtering, cards, keyboard, narrow screens, dark colours, paper, no network."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis import run, synthetic
from analysis.notes import HEADINGS
from analysis.report import gather, page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
Opener = Callable[..., "Page"]


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Opener]:
    """Opens the report; at the end, nothing may have been asked of anybody or complained about."""
    contexts, troubles, requests = [], [], []

    def opened(anchor: str = "", **options: Any) -> Page:
        context = browser.new_context(**({"viewport": WIDE} | options))
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        context.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri() + anchor)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
    assert {url for url in requests if not url.startswith("data:")} <= {report.as_uri()}
    assert requests


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
    page, heading = visit(), HEADINGS["wins"]
    page.get_by_label("all columns").check()
    for _ in range(2):
        head(page, heading).click()
        assert column(page, heading)[-1] == ""  # nobody beats the leader but the leader
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


def shown(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "table.ranking tbody:first-of-type tr",
        "rows => rows.filter(r => r.checkVisibility()).map(r => r.dataset.name)",
    )
    return sorted(found)


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


def test_further_columns_on_demand(visit: Opener) -> None:
    page = visit()
    assert not head(page, "by FID").is_visible()
    page.get_by_label("all columns").check()
    assert head(page, "by FID").is_visible()


def opened_cards(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "dialog.card", "cards => cards.filter(c => c.open).map(c => c.id)"
    )
    return found


def test_a_card_by_mouse(visit: Opener) -> None:
    page = visit()
    page.get_by_role("link", name="edm(-1.20,1.20)").click()
    assert opened_cards(page) == ["card-edm-m1.20-1.20"]
    assert page.get_by_role("dialog", name="edm(-1.20,1.20)").is_visible()
    page.get_by_role("button", name="Card of the formulation ranked before").click()
    page.wait_for_selector("#card-edm-m1\\.20-1\\.20", state="hidden")
    assert len(opened_cards(page)) == 1
    page.get_by_role("button", name="Close").click()
    assert opened_cards(page) == []
    assert "#" not in page.url


def test_a_click_beside_a_card_closes_it_and_one_inside_does_not(visit: Opener) -> None:
    page = visit()
    page.get_by_role("link", name="eps/linear").click()
    box = page.locator("dialog[open]").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 3, box["y"] + 30)  # its padding
    assert opened_cards(page) == ["card-eps-linear"]
    page.mouse.click(2, 2)
    assert opened_cards(page) == []


def test_a_card_by_keyboard(visit: Opener) -> None:
    page = visit()
    link = page.get_by_role("link", name="eps/linear")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    assert opened_cards(page) == ["card-eps-linear"]
    inside = "document.activeElement.closest('dialog')?.id"
    for _ in range(3):
        page.keyboard.press("Tab")
        assert page.evaluate(inside) in ("card-eps-linear", None)  # None: the browser's own controls
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#card-eps-linear"


def test_an_address_opens_its_card_and_back_closes_it(visit: Opener) -> None:
    page = visit("#card-rf")
    assert opened_cards(page) == ["card-rf"]
    assert "made up: rf" in page.locator("dialog[open]").inner_text()
    assert "RuntimeError: made up" in page.locator("dialog[open]").inner_text()
    page = visit()
    page.get_by_role("link", name="eps/linear").click()
    page.go_back()
    page.wait_for_selector("dialog[open]", state="detached")


def test_anchors_of_the_parts(visit: Opener) -> None:
    page = visit()
    links = page.get_by_role("navigation", name="Contents").get_by_role("link")
    targets = links.evaluate_all("links => links.map(l => l.getAttribute('href'))")
    assert targets[0] == "#verdict"
    for target in targets:
        assert page.locator(target).count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_without_scripts_everything_can_be_read(visit: Opener) -> None:
    page = visit("#card-rf", java_script_enabled=False)
    assert page.locator("#card-rf").is_visible()
    assert page.locator("#card-rf").get_by_role("link", name="Close").is_visible()
    assert not page.locator("#card-eps-linear").is_visible()
    assert page.locator("table.ranking").is_visible()
    assert not page.locator(".controls").is_visible()


@pytest.mark.parametrize("anchor", ["", "#card-rf-lognorm-0.00-1.00"])
def test_a_narrow_screen_never_scrolls_sideways(visit: Opener, anchor: str) -> None:
    page = visit(anchor, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wider = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => {
            if (e.closest(".scroll") || !e.checkVisibility() || e.closest(".skip, .hidden")) return false;
            const box = e.getBoundingClientRect();
            return box.width > 0 && (box.right > 361 || box.left < -1);
        }).map(e => e.outerHTML.slice(0, 100))"""
    )
    assert wider == []
    if not anchor:
        lines = page.evaluate(
            """() => [...document.querySelectorAll(".sheet tbody code")].map(
                e => e.getClientRects()[0].height / parseFloat(getComputedStyle(e).fontSize))"""
        )
        assert max(lines) < 5  # a long name takes a few lines, not one for each letter
        scrolled = page.evaluate(
            """() => {
                const box = document.querySelector("#ranking .scroll");
                box.scrollLeft = 200;
                return [box.scrollLeft, box.scrollWidth > box.clientWidth];
            }"""
        )
        assert scrolled == [200, True]


def test_a_very_long_name_leaves_room_for_the_numbers(browser: Browser, tmp_path: Path) -> None:
    out = synthetic.write(tmp_path, synthetic.truth(("x" * 200, "rf")), samples=8)
    page.write(gather.gather(run.read(out)), out / "report.html")
    with browser.new_context(viewport=WIDE) as context:  # type: ignore[arg-type]
        opened = context.new_page()
        opened.goto((out / "report.html").as_uri())
        box = opened.locator("table.ranking tbody tr").first.locator("td").first.bounding_box()
    assert box is not None
    assert box["x"] < WIDE["width"] / 2


def luminance(colour: str) -> float:
    parts = [float(v) / 255 for v in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("anchor", ["", "#card-rf"])
def test_text_stands_out_from_its_ground(visit: Opener, scheme: str, anchor: str) -> None:
    """WCAG 2.1 AA: a contrast of 4.5 for all text (1.4.3)."""
    page = visit(anchor, color_scheme=scheme)
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(grounds) < 0.2) == (scheme == "dark")
    pairs = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e =>
            e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
            && !e.closest("svg, script, style")
        ).map(e => {
            let ground = e;
            const clear = e => getComputedStyle(e).backgroundColor === "rgba(0, 0, 0, 0)";
            while (ground !== document.body && clear(ground)) ground = ground.parentElement;
            return [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor, e.outerHTML.slice(0, 80)];
        })"""
    )
    assert len(pairs) > 100
    for text, ground, element in pairs:
        light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, element)


def test_figures_take_the_page_s_colour_of_text(visit: Opener) -> None:
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        text = page.evaluate("getComputedStyle(document.body).color")
        colours = page.eval_on_selector_all(
            "#figures svg *",
            "parts => parts.flatMap(p => [getComputedStyle(p).stroke, getComputedStyle(p).fill])",
        )
        assert text in colours
        assert "rgb(26, 27, 28)" not in colours


def test_every_figure_has_a_name(visit: Opener) -> None:
    page = visit()
    assert page.locator("#figures svg").count() > 3
    for figure in page.locator("#figures figure").all():
        name = figure.get_by_role("heading").inner_text()
        assert figure.get_by_role("img", name=name).count() == 1


def test_every_control_has_a_name(visit: Opener) -> None:
    page = visit()
    unnamed = page.eval_on_selector_all(
        "button, input, select, a, summary",
        """parts => parts.filter(p => !(p.innerText.trim() || p.getAttribute("aria-label") || p.labels?.length
            || p.textContent.trim())).map(p => p.outerHTML)""",
    )
    assert unnamed == []


def test_paper_shows_everything(visit: Opener) -> None:
    page = visit("#card-rf")
    page.emulate_media(media="print")
    page.wait_for_selector("dialog[open]", state="detached")
    hidden = page.evaluate(
        """() => [...document.querySelectorAll("dialog.card, section, table, details > *, tr, td, figure, img")]
            .filter(e => !e.checkVisibility({contentVisibilityAuto: true})).map(e => e.outerHTML.slice(0, 100))"""
    )
    assert hidden == []
    assert page.locator(".controls").is_hidden()
    assert page.get_by_role("navigation").is_hidden()
    assert page.get_by_role("button", name="Close").count() == 0
    page.emulate_media(media="screen")
    page.wait_for_selector("details[open]", state="detached")


def test_paper_shows_what_was_filtered_out(visit: Opener) -> None:
    page = visit()
    page.get_by_label("Name contains").fill("eps")
    assert shown(page) == ["eps/linear"]
    page.emulate_media(media="print")
    assert len(shown(page)) == 6


def test_motion_is_reduced_where_it_is_asked_for(visit: Opener) -> None:
    smooth = "getComputedStyle(document.documentElement).scrollBehavior"
    assert visit(reduced_motion="reduce").evaluate(smooth) == "auto"
    assert visit(reduced_motion="no-preference").evaluate(smooth) == "smooth"


def test_pictures_are_not_blurred(visit: Opener) -> None:
    page = visit()
    found = page.eval_on_selector_all(
        "#samples img",
        "images => images.map(i => [getComputedStyle(i).imageRendering, i.complete, i.naturalWidth])",
    )
    assert found
    assert all(how == "pixelated" and complete and width == 16 for how, complete, width in found)
