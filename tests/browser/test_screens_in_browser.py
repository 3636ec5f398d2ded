"""The report on narrow screens, in dark colours and on paper, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis.report import contents, page
from analysis.runs import run, synthetic

from .screens import PHONE, WIDE, Opener, shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser


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
                document.querySelector("#all-columns").click();
                const box = document.querySelector("#ranking .scroll");
                box.scrollLeft = 200;
                return [box.scrollLeft, box.scrollWidth > box.clientWidth];
            }"""
        )
        assert scrolled == [200, True]


def test_options_of_a_command_are_not_broken(browser: Browser, tmp_path: Path) -> None:
    out = synthetic.write(tmp_path, synthetic.truth(("rf", "v/cos")), samples=8, seeds=1)
    plan = json.loads((out / "grid.json").read_text())
    (out / "grid.json").write_text(
        json.dumps(plan | {"command": ["--validation-images=48", "--seeds", "1"] * 4})
    )
    page.write(contents.read(run.read(out)), out / "report.html")
    with browser.new_context(viewport=PHONE) as context:  # type: ignore[arg-type]
        opened = context.new_page()
        opened.goto((out / "report.html").as_uri())
        found = opened.evaluate(
            """() => [...document.querySelectorAll("code .option")].map(
                e => [e.textContent, e.getClientRects().length])"""
        )
    assert ["--validation-images", 1] in found
    assert {lines for _, lines in found} == {1}


def test_a_phone_shows_rank_clip_and_fid(visit: Opener) -> None:
    page = visit(viewport={"width": 375, "height": 800})
    box = page.locator("#ranking .scroll").bounding_box()
    assert box is not None
    for heading in ("rank all", "CLIP", "FID"):
        head = page.locator("table.ranking thead").get_by_role("button", name=heading, exact=True)
        place = head.bounding_box()
        assert place is not None
        assert box["x"] <= place["x"]
        assert place["x"] + place["width"] <= box["x"] + box["width"] + 1, heading
    assert not page.get_by_role("button", name="place", exact=True).is_visible()
    page.get_by_label("all columns").check()
    assert page.get_by_role("button", name="place", exact=True).is_visible()


def test_a_very_long_name_leaves_room_for_the_numbers(browser: Browser, tmp_path: Path) -> None:
    out = synthetic.write(tmp_path, synthetic.truth(("x" * 200, "rf")), samples=8)
    page.write(contents.read(run.read(out)), out / "report.html")
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
