"""A formulation as a command line names it: ``rf/lognorm(0,1)``, or one of a plugin file, ``my.py:late(2)``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowbench._core.errors import UserError, nearest
from flowbench._core.plugin import load_plugin, text_behind
from formulations.formulation_registry import registry
from formulations.specs import get

FORM = re.compile(r"(?P<file>.*?\.py)(?::(?P<name>.*))?", re.DOTALL)


@dataclass(frozen=True)
class Named:
    """The canonical ``name`` of a formulation, and the plugin ``file`` that it was read from, if any."""

    name: str
    file: Path | None = None


def named(text: str) -> Named:
    """The one formulation that ``text`` names; a plugin file is loaded.

    ``FILE.py:NAME`` takes NAME from what the file registers: ``late`` is ``late`` or, where there is none, ``my/late``.
    Parameters, a sampler, a space and a weight may follow as in every name, and a base may stand before a sampler that the
    file registers: ``my.py:rf/ramp(2)``. ``FILE.py`` alone is the only formulation of the file.

    Raises:
        UserError: an unknown name, a name that several formulations of the file have, or a mistake in the file.
    """
    match = FORM.fullmatch(text.strip())
    if match is None:
        return Named(get(text).name)
    file = Path(match["file"])
    added = load_plugin(file)
    own = [name for name in added if name in registry.entries]
    if match["name"] is None:
        return Named(get(_only(own, file)).name, file)
    name = match["name"].strip()
    found = _spelt(name, own, file)
    if found is None and _of_sampler(name, added):
        found = name
    if found is None:
        wanted = nearest(name, [*own, *(word.rpartition("/")[2] for word in own if "/" in word)])
        raise UserError(f"{file} registers no formulation {name!r}, but {_listed(own)}; {wanted}")
    return Named(get(found).name, file)


def _only(own: Sequence[str], file: Path) -> str:
    """The only formulation of a file."""
    if len(own) == 1:
        return own[0]
    if not own:
        raise UserError(f"{file} registers no formulation")
    raise UserError(
        f"{file} registers several formulations, {_listed(own)}: choose one, for example {file}:{own[0]}"
    )


def _spelt(name: str, own: Sequence[str], file: Path) -> str | None:
    """``name`` with the whole of the registered word that it begins with; the longest such word counts, whole names before
    their last parts. None if it begins with none."""
    for shortened in (False, True):
        words = {word: word.rpartition("/")[2] if shortened else word for word in own}
        fitting = [word for word, said in words.items() if _begins(name, said)]
        longest = max((len(words[word]) for word in fitting), default=0)
        fitting = [word for word in fitting if len(words[word]) == longest]
        if len(fitting) > 1:
            raise UserError(f"{file}:{name} may be {_listed(fitting, 'or')}: write the whole name")
        if fitting:
            return fitting[0] + name[longest:]
    return None


def _begins(name: str, word: str) -> bool:
    """Whether a name is a word, or a word followed by parameters, a sampler, a space or a weighting."""
    return name.startswith(word) and name[len(word) : len(word) + 1] in ("", "(", "/", "@", "+")


def _of_sampler(name: str, added: Sequence[str]) -> bool:
    """Whether a known formulation has one of the ``added`` samplers in its name."""
    try:
        whole = get(name).name
    except UserError:
        return False
    words = re.split(r"[/(),@+]", whole)
    return text_behind(whole) is not None and any(word in words for word in added)


def _listed(words: Sequence[str], link: str = "and") -> str:
    """``'my/late(k)' and 'my/early'``, by their templates."""
    names = [repr(registry.entries[word].template) for word in words]
    return f" {link} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "none"
