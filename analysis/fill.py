"""``python -m analysis.fill PAGE ...``: put into a Markdown page what the commands print that it names.

A page names a command in a comment, and has its output up to the next ``<!-- end -->``:

    <!-- python -m analysis.claims results/headline-digits --format md -->
    <!-- end -->

So no number of such a table is typed, and ``--check`` finds the page whose numbers are no longer what its commands print.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import flowbench
from analysis.runs import options
from flowbench._core import atomic
from flowbench._core.command import entry
from flowbench._core.errors import UserError

DESCRIPTION = """Run the analysis commands that a Markdown page names in comments `<!-- python -m analysis.NAME ... -->`,
in this copy's folder, and put what each prints between its comment and the next `<!-- end -->`."""
ALLOWED = ("claims", "learning_rates", "pairs", "rank", "scaling", "solvers")
"""Commands that read results and print."""
BEGIN, END = (
    re.compile(r"<!--[ \t]*python -m analysis\.(\S+?)((?:[ \t][^\n]*?)?)[ \t]*-->[ \t]*\n"),
    "<!-- end -->",
)
ANY = re.compile(r"<!--\s*python -m analysis\.[^\n]*")
"""Whatever may be meant as a command."""


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser("fill", DESCRIPTION)
    made.add_argument("pages", nargs="+", type=Path, metavar="PAGE", help="a Markdown file")
    made.add_argument(
        "--check", action="store_true", help="write nothing: exit 1 if a page is not what it should be"
    )
    args = made.parse(argv)
    wrong = 0
    for page in args.pages:
        if not page.is_file():
            raise UserError(f"there is no page {str(page)!r}")
        before, ends = read(page)
        after = filled(before, str(page))
        changed = after != before
        wrong += changed
        if changed and not args.check:
            atomic.write_text(page, after.replace("\n", ends))
        state = (
            "as it should be"
            if not changed
            else f"run python -m analysis.fill {page}"
            if args.check
            else "written"
        )
        print(f"{page}: {state}")
    return int(args.check and wrong > 0)


def read(page: Path) -> tuple[str, str]:
    """A page, and how its lines end. Raises `UserError` if it is no text."""
    try:
        text = page.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{page} is not UTF-8 ({error})") from None
    return text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"


def filled(text: str, name: str) -> str:
    """A page with what its commands print. Raises `UserError` for a comment that is cut off or without its end, and as the
    commands do."""
    parts, at = [], 0
    for comment in ANY.finditer(text):
        if not BEGIN.match(text, comment.start()):
            raise UserError(
                f"{name}: {comment.group()!r} is not <!-- python -m analysis.NAME ... --> alone on its line"
            )
    while match := BEGIN.search(text, at):
        stop = text.find(END, match.end())
        following = BEGIN.search(text, match.end())
        if stop < 0 or (following and following.start() < stop):
            raise UserError(f"{name}: {match.group().strip()} has no {END} after it")
        try:
            found = printed(match.group(1), match.group(2))
        except UserError as error:
            raise UserError(f"{name}: {match.group().strip()}: {error}") from None
        parts += [text[at : match.end()], "\n", found, "\n\n"]
        at = stop
    return "".join([*parts, text[at:]])


def printed(command: str, words: str) -> str:
    """What an analysis command prints. Raises `UserError` for one that does not just read results, and if it fails."""
    if command not in ALLOWED:
        raise UserError(f"a page cannot name analysis.{command}: choose from {', '.join(ALLOWED)}")
    module = importlib.import_module(f"analysis.{command}" + (".__main__" if command == "scaling" else ""))
    try:
        argv = shlex.split(words)
    except ValueError as error:
        raise UserError(f"its words cannot be read ({error})") from None
    out = io.StringIO()
    try:
        with contextlib.chdir(flowbench.ROOT), contextlib.redirect_stdout(out):
            module.command(argv)
    except SystemExit:
        raise UserError("--help and --version print no results") from None
    return out.getvalue().strip()


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
