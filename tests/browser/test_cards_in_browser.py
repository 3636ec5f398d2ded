"""The report's cards in a real browser: by mouse, by keyboard, by address, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .screens import Opener

if TYPE_CHECKING:
    from playwright.sync_api import Page


def opened_cards(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "dialog.card", "cards => cards.filter(c => c.open).map(c => c.id)"
    )
    return found


def test_a_card_by_mouse(visit: Opener) -> None:
    page = visit()
    page.get_by_role("link", name="edm(-1.20,1.20)").click()
    page.wait_for_selector("dialog[open]")
    assert opened_cards(page) == ["card-edm-m1.20-1.20"]
    assert page.get_by_role("dialog", name="edm(-1.20,1.20)").is_visible()
    page.get_by_role("button", name="Card of the formulation ranked before").click()
    page.wait_for_selector("#card-edm-m1\\.20-1\\.20", state="hidden")
    assert len(opened_cards(page)) == 1
    page.get_by_role("button", name="Close").click()
    assert opened_cards(page) == []
    assert "#" not in page.url


def test_a_click_outside_a_card_closes_it_and_one_inside_does_not(visit: Opener) -> None:
    page = visit()
    page.get_by_role("link", name="eps/linear").click()
    page.wait_for_selector("dialog[open]")
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
    page.wait_for_selector("dialog[open]")
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
