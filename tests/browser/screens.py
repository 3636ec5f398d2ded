"""Sizes of screens, how a test opens the report, and which rows it sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
Opener = Callable[..., "Page"]


def shown(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "table.ranking tbody:first-of-type tr",
        "rows => rows.filter(r => r.checkVisibility()).map(r => r.dataset.name)",
    )
    return sorted(found)
