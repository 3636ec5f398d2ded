"""The public face: ``import flowbench as fb``, then ``fb.train``, ``load``, ``rank``, ``compare`` (:mod:`flowbench.api`)
and ``fb.formulations``, each imported when it is first used.

Looks, before anything else is imported, whether flowbench can run here at all: each of its packages imports this first.
Written for old versions of Python, too: a machine that cannot run it gets one sentence instead of a traceback.
"""

import importlib
import importlib.util
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import formulations as formulations
    from flowbench._core.errors import UserError as UserError
    from flowbench.api import TrainedRun as TrainedRun
    from flowbench.api import compare as compare
    from flowbench.api import load as load
    from flowbench.api import rank as rank
    from flowbench.api import sheet as sheet
    from flowbench.api import train as train

    __version__: str

PUBLIC = dict.fromkeys(("train", "load", "rank", "compare", "sheet", "TrainedRun"), "flowbench.api")
PUBLIC.update(UserError="flowbench._core.errors", formulations="")
"""What is public, and the module that has it; a package stands for itself."""

STARTED = time.perf_counter()
"""When this process began, before anything heavy was imported: for the timings."""
PACKAGES = ("analysis", "bench", "formulations", "samplers")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check_python():
    # type: () -> None
    """End with one sentence if Python is too old."""
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit("error: flowbench needs Python 3.11 or newer, and this is " + sys.version.split()[0])


def check_shadows():
    # type: () -> None
    """End with one sentence if a file or folder where the command runs hides one of our packages from ``python -m``."""
    for name in PACKAGES:
        found = importlib.util.find_spec(name) if name not in sys.modules else sys.modules[name].__spec__
        # a folder without Python files hides what an editable installation adds
        place = found and (found.origin or next(iter(found.submodule_search_locations or ()), None))
        place = os.path.abspath(place) if place else ""
        if place and not place.startswith(ROOT + os.sep):
            sys.exit(
                f"error: {place} hides flowbench's own {name!r}: run the command in another folder, or rename that one"
            )


def report_missing():
    # type: () -> None
    """From here on a dependency that is not installed is one sentence, and so is Ctrl-C while others are imported."""
    usual = sys.excepthook

    def report(kind, error, trace):  # type: ignore[no-untyped-def]
        name = str(getattr(error, "name", "") or "").partition(".")[0]
        if issubclass(kind, ModuleNotFoundError) and name and name not in PACKAGES:
            print(
                f"error: the package {name!r} is not installed for {sys.executable}: "
                f"in flowbench's folder, pip install -e .",
                file=sys.stderr,
            )
        elif issubclass(kind, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = report


def version():
    # type: () -> str
    """The installed version of flowbench."""
    from importlib import metadata

    try:
        return metadata.version("flowbench")
    except metadata.PackageNotFoundError:  # run from its folder
        return "of a folder that is not installed"


def __getattr__(name):
    # type: (str) -> object
    """What is public, imported when it is first used."""
    if name == "__version__":
        return version()
    if name in PUBLIC:
        found = importlib.import_module(PUBLIC[name] or name)
        return getattr(found, name) if PUBLIC[name] else found
    near = ""
    if not name.startswith("_"):
        from flowbench._core.errors import nearest

        near = "; " + nearest(name, PUBLIC)
    raise AttributeError("module 'flowbench' has no attribute " + repr(name) + near)


def __dir__():
    # type: () -> list[str]
    """What is public, for completion."""
    return sorted({*globals(), *PUBLIC})


def is_command():
    # type: () -> bool
    """Whether this process is ``python -m`` one of our packages: being imported, or run already where a folder hides it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return sys.argv[:1] == ["-m"] or (spec is not None and spec.name.partition(".")[0] in PACKAGES)


check_python()
if is_command():
    check_shadows()
    report_missing()
