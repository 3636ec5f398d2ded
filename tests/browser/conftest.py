"""A real browser without a window: the system's Chromium, driven by playwright. Where one is absent, tests are skipped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis.report import contents, page
from analysis.runs import run, synthetic

from .screens import WIDE, Opener

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NAMES = ("rf/lognorm(0.00,1.00)", "eps/linear", "edm(-1.20,1.20)", "rf/mode(1.29)", "rf", "v/cos")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; closed with the module, as playwright keeps an event loop running."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield found
        found.close()


def write(folder: Path, **more: object) -> Path:
    """The page of a synthetic run with everything: a formulation that diverged, one that failed, pictures."""
    fate = {("v/cos", 1): "diverged", ("rf", 2): "failed"}
    out = synthetic.write(
        folder,
        synthetic.Truth(NAMES, (2.0, 1.8, 0.5, 0.0, -0.5, -2.0)),
        samples=16,
        pictures=8,
        status=lambda f, d, s: fate.get((f, s)),
        **more,  # type: ignore[arg-type]
    )
    page.write(contents.read(run.read(out)), out / "report.html")
    return out / "report.html"


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that most tests look at."""
    return write(tmp_path_factory.mktemp("report"))


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Opener]:
    """Opens the report; at the end, no request may have been sent and no error logged."""
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
