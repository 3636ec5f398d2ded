"""Why something failed, as data: sentences are made where it is printed. No torch."""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from typing import Any

from flowbench._core import atomic
from flowbench._core.errors import UserError


@dataclass(frozen=True)
class Failure:
    """``kind`` is the class of an exception or another word, ``message`` a sentence for the user, ``cause`` equal for
    failures that are alike, and fit for the name of a file."""

    kind: str
    message: str
    cause: str

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """An exception. Two are alike if one kind of error was raised in one place; a user's mistake if it has the same
        sentence; and a file that cannot be written if the system gives the same reason."""
        kind = type(error).__name__
        if isinstance(error, atomic.Unwritable):
            return cls(kind, f"{error.filename}: {error.strerror}", f"errno{error.errno}")
        if isinstance(error, UserError):
            return cls(kind, str(error), digest(kind, str(error)))
        places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        return cls(kind, f"{kind}: {error}".removesuffix(": "), digest(kind, *places))

    @classmethod
    def read(cls, kept: Any) -> Failure | None:
        """From a JSON file; None if there is none."""
        if not isinstance(kept, dict) or not {"kind", "message", "cause"} <= kept.keys():
            return None
        return cls(str(kept["kind"]), str(kept["message"]), str(kept["cause"]))


def digest(*words: str) -> str:
    """8 hexadecimal digits of sha256."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
