"""Arguments of another type than a function declares, as a mistake in one sentence: for functions that users call."""

from __future__ import annotations

import functools
import inspect
import os
import reprlib
import sys
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from flowbench._core.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
KINDS: dict[Any, tuple[type, str]] = {
    str: (str, "text"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    os.PathLike: (os.PathLike, "a path"),
    Literal: (str, "text"),
    NoneType: (NoneType, "None"),
}
"""What stands for a type of a hint: numbers of NumPy are numbers, too."""


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: arguments of another type than the hints have raise :class:`UserError`. A list is any collection."""
    signature = inspect.signature(function)
    given = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    # without the type of the result, which may be imported for type checkers only
    hints = get_type_hints(SimpleNamespace(__annotations__=given), vars(sys.modules[function.__module__]))

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            hint = hints.get(name, Any)
            several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            for each in value if several else [value]:
                if not fits(each, hint):
                    shown = " ".join(reprlib.repr(each).split())
                    raise UserError(f"{function.__name__}({name}={shown}): {wanted(hint)} is wanted")
        return function(*args, **kwargs)

    return call


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type that a hint has."""
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return any(fits(value, each) for each in get_args(hint))
    if kind is Sequence:
        if not isinstance(value, Collection) or isinstance(value, str | bytes):
            return False
        return all(fits(each, get_args(hint)[0]) for each in value)
    return kind is Any or isinstance(value, KINDS[kind][0])


def wanted(hint: Any) -> str:
    """``text or a path``."""
    kind = get_origin(hint) or hint
    if kind in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(wanted, get_args(hint))))
    return f"a list of {wanted(get_args(hint)[0])}" if kind is Sequence else KINDS[kind][1]
