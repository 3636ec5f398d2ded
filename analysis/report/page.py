"""A report as one HTML file, made of the templates, the style and the script of this folder; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from analysis.report.contents import Report
from analysis.report.phrases import BEGIN, END
from analysis.runs.private import without_paths
from flowbench._core import atomic
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from jinja2 import Environment


LONG = 240
"""Characters of a command that scrolls in a sentence."""


def html(report: Report) -> str:
    """The page. The same report gives the same text."""
    script, style = _file("page.js"), _file("style.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Styles may stand in attributes, as SVG has them; scripts only the one below; nothing may be fetched.
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template("page.html")
    return page.render(r=report, script=Markup(script), style=Markup(style), policy=policy)


def write(report: Report, file: Path) -> None:
    """Write the page whole. Raises `UserError` if it cannot be written."""
    text = html(report)
    try:
        atomic.write_text(file, text)
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be written: {error.strerror}") from error


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_private,
    )
    made.filters |= {"sentence": _sentence, "breakable": _breakable, "code": _code, "interval": _interval}
    return made


def _private(value: Any) -> Any:
    """Applied to everything that a template writes; markup was made by us."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return without_paths(value)
    return value


def _sentence(text: str) -> Markup:
    """A sentence with its names of formulations set apart."""
    made = Markup()
    text = without_paths(text).replace(" %", "\N{NO-BREAK SPACE}%")
    for i, part in enumerate(text.replace(END, BEGIN).split(BEGIN)):
        made += _code(part, len(part) > LONG) if i % 2 else escape(part)
    return made


def _code(text: str, scrolls: bool = False) -> Markup:
    """A name or a command, whose options are not broken after their hyphens."""
    parts = re.split(r"(?<!\S)(-[\w.-]+)", without_paths(text))
    option = Markup('<span class="option">{}</span>')
    command = Markup(' class="command" tabindex="0"') if scrolls else ""
    return Markup("<code{}>{}</code>").format(
        command,
        Markup().join(option.format(part) if i % 2 else part for i, part in enumerate(parts)),
    )


def _breakable(name: str) -> Markup:
    """A long name that may be broken where its parts end."""
    return Markup("<wbr>").join(re.split(r"(?<=[/(,@+])", name))


def _interval(text: str) -> Markup:
    """A number with its interval in brackets, if it has one, set apart."""
    number, bracket, rest = without_paths(text).partition(" [")
    return escape(number) + (Markup(' <span class="margin">[{}</span>').format(rest) if bracket else "")


def _file(name: str) -> str:
    return (resources.files("analysis.report") / name).read_text(encoding="utf-8")
