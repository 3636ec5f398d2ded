"""Plugins: a Python file that registers members of any kind (:data:`flowbench._core.registry.KINDS`) when it is run."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

from flowbench._core.errors import UserError
from flowbench._core.registry import KINDS, Registry, blame

_done: dict[str, tuple[str, ...]] = {}
_added: dict[tuple[str, str], tuple[str, ...]] = {}
"""The same for each kind."""
_digests: dict[str, str] = {}
"""sha256 of each loaded plugin's text, by file."""


def load_plugin(path: str | Path) -> tuple[str, ...]:
    """Runs the file, so that its ``@register`` lines take effect; a file already loaded is not run again, unless it has
    changed: then what it had registered is replaced.

    Returns:
        The names that it registered, without parameters.

    Raises:
        UserError: no such file, or any error inside it, as one sentence with file and line; then nothing of
            it is registered.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UserError(f"plugin {str(path)!r} is not a file")
    if file.suffix != ".py":
        raise UserError(f"plugin {str(path)!r} is not a Python file (*.py)")
    if str(file) in _done and not changed(file):
        return _done[str(file)]
    text = file.read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    module_name = f"flowbench_plugin_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None:
        raise UserError(f"plugin {str(path)!r} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    registries = tuple(KINDS.values())
    with ExitStack() as stack:
        for one in registries:
            stack.enter_context(one.all_or_nothing(_added.get((str(file), one.kind), ())))
        before = [set(r.entries) for r in registries]
        sys.modules[module_name] = module
        try:
            with blame(f"plugin {str(path)!r}", str(file)):
                # not by the loader, whose bytecode cache takes an edit of equal size in the same second for none
                exec(compile(text, str(file), "exec"), module.__dict__)
        except BaseException:
            del sys.modules[module_name]
            raise
    added = [[n for n in r.entries if n not in old] for r, old in zip(registries, before, strict=True)]
    _added.update({(str(file), r.kind): tuple(names) for r, names in zip(registries, added, strict=True)})
    _done[str(file)] = tuple(chain.from_iterable(added))
    _digests.pop(str(file), None)  # the one loaded last is the last
    _digests[str(file)] = digest
    return _done[str(file)]


def each_once(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Plugin files without those that are there already under another name."""
    return tuple({path.expanduser().resolve(): path for path in paths}.values())


def added_by(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The names that a loaded plugin registered, by their kind."""
    file = str(Path(path).expanduser().resolve())
    return {kind: names for (loaded, kind), names in _added.items() if loaded == file and names}


def changed(path: str | Path) -> bool:
    """Whether a plugin that was loaded is no longer what its file holds."""
    file = Path(path).expanduser().resolve()
    kept = _digests.get(str(file))
    return kept is not None and (not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != kept)


def behind(name: str, kinds: Sequence[str]) -> str | None:
    """The plugin, loaded last, that registered what ``name`` is made of, members of ``kinds``; None if no plugin did."""
    words = re.sub(r"\([^)]*\)", "", name).split("/")
    parts = {"/".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)}
    for file in reversed(_digests):
        if any(parts & set(_added.get((file, kind), ())) for kind in kinds):
            return file
    return None


def text_behind(name: str, kinds: Sequence[str] = ("formulation", "sampler")) -> str | None:
    """sha256 of the text of that plugin."""
    file = behind(name, kinds)
    return None if file is None else _digests[file]


def source_behind(name: str, registry: Registry[Any]) -> str:
    """sha256 of the file that registered a member: that of a plugin as it was loaded, or a module of a package."""
    if text := text_behind(name, (registry.kind,)):
        return text
    file = inspect.getsourcefile(registry[name].function)
    return hashlib.sha256(Path(file).read_bytes() if file else b"").hexdigest()
