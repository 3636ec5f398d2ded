"""From a name to a formulation: ``base[/sampler][@space][+weight]``.

Bases: ``rf``; ``edm(Pm,Ps)``, ``edm(Pm,Ps,sd)``, ``edm/rf``, ``edm/cos``; ``<target>/<path>`` with targets x,
eps, v, u, F(sd) and paths rf, linear, ztlinear, cos, vp(beta_min,beta_max), ve, trig(sd), poly(n); and what
was registered. One formulation has one canonical name, the study's where there is one: ``u/rf`` is ``rf``,
``F(0.50)/ve/lognorm(m,s)`` is ``edm(m,s)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import samplers
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import Call, number, parse, split_top
from formulations.formulation import Formulation, Scalar, ones
from formulations.formulation_registry import ALIASES, made_by_plugin, registry, taken
from formulations.paths import PATHS, Path
from formulations.targets import TARGETS, karras_input, quarter_log_sigma
from formulations.weights import SPACES, WEIGHTS, eps_space, product, v_space, x_space
from samplers.sampler_registry import registry as sampler_registry


@dataclass(frozen=True)
class Spec:
    """A name taken apart: everything in canonical spelling."""

    base: str
    target: Call | None
    path: Call | None
    plugin: Call | None
    sampler: str | None
    space: str | None = None
    weight: Call | None = None


@lru_cache(maxsize=8192)
def get(spec: str) -> Formulation:
    """The formulation of that name, e.g. ``get("rf/lognorm(0,1)")``; any spelling of the numbers is read.

    ``edm/rf`` and ``edm/cos`` are not defined in the paper. Reading A, the default: EDM's F-loss with the
    log-SNR law of rectified flow (sigma = u / (1 - u)) and of the cosine path (sigma = tan(pi u / 2)).
    Reading B, ``edm/rf(B)``: the law for which the whole weight w(lambda) is that of rf and v/cos,
    e^(-lambda/2); this is one formulation, sigma = 0.5 tan(pi u / 2), so ``edm/cos(B)`` has the same name. In
    ``rf/mode(1.29)`` the value is the one written; the study's own values are -1 + k 2.75 / 6, printed with
    two decimals.

    Raises:
        UserError: an unknown part (with the nearest valid ones), or a parameter out of range.
    """
    parts = read(spec)
    formulation = _assemble(parts)
    return replace(formulation, name=_name(parts))


for each in (registry, sampler_registry):  # names are made of both
    each.caches.append(get.cache_clear)


def read(spec: str) -> Spec:
    """Takes a name apart; the sampler, loss space and weight are checked, numbers are not yet."""
    rest, *weights = split_top(spec.strip(), "+")
    rest, *spaces = split_top(rest, "@")
    if len(weights) > 1 or len(spaces) > 1:
        raise UserError(f"{spec!r}: at most one '@space' and one '+weight' can be given")
    weight = _known(parse(weights[0]), WEIGHTS, "weight", spec) if weights else None
    space = _space(spaces[0], spec) if spaces else None
    if space and weight and weight.word != "bell":
        raise UserError(f"{spec!r}: '+{weight.word}' already fixes the space of the loss; drop '@{space}'")
    segments = [parse(s) for s in split_top(rest, "/")] if rest else []
    if not segments:
        raise UserError(f"{spec!r} names no formulation; {nearest('rf', ['rf', 'edm', 'eps/linear'])}")
    found = _registered(segments) or _edm(segments, spec) or _general(segments, spec)
    space = None if space and _is_own_space(found, space) else space
    return replace(found, space=space, weight=weight)


def _known(call: Call, table: dict[str, Any], kind: str, spec: str) -> Call:
    """The call with aliases resolved and all its parameters, or an error that names the nearest ``kind``."""
    word = ALIASES.get(call.word, call.word)
    if word not in table:
        raise UserError(f"{spec!r}: no {kind} is called {call.word!r}; {nearest(call.word, table)}")
    defaults = table[word][1]
    if len(call.args) > len(defaults) or any(isinstance(a, Call) for a in call.args):
        takes = f"takes {len(defaults)} numbers" if defaults else "takes no numbers"
        raise UserError(f"{spec!r}: the {kind} {word!r} {takes}")
    return Call(word, call.args + defaults[len(call.args) :])


def _space(text: str, spec: str) -> str:
    word = ALIASES.get(text, text)
    if word not in SPACES:
        raise UserError(f"{spec!r}: no loss space is called {text!r}; {nearest(text, SPACES)}")
    return word


def _registered(segments: list[Call]) -> Spec | None:
    """The longest leading part of the name that was registered."""
    for count in range(min(len(segments), 8), 0, -1):
        head = segments[:count]
        name = "/".join(c.word for c in head)
        if any(c.args for c in head[:-1]) or taken(name):
            continue
        entry = registry.entries.get(name)
        if entry is None and not _builtin(segments):
            entry = registry.find(name)
        if entry is not None:
            if any(isinstance(a, Call) for a in head[-1].args):
                raise UserError(f"{entry.template!r} takes numbers, not {head[-1]}")
            call = Call(name, tuple(float(a) for a in entry.complete(head[-1].args, str(head[-1]))))
            return Spec(str(call), None, None, call, _one_sampler(segments[count:], str(call)))
    return None


def _builtin(segments: list[Call]) -> bool:
    """Whether the built-in grammar reads the name, so that installed packages need not be asked."""
    first = ALIASES.get(segments[0].word, segments[0].word)
    if first in {"rf", "edm"}:
        return True
    return first in TARGETS and len(segments) > 1 and ALIASES.get(segments[1].word, segments[1].word) in PATHS


def _one_sampler(segments: list[Call], base: str) -> str | None:
    """Canonical name of the sampler after a base; ``uniform`` is the default and is not written."""
    if len(segments) > 1:
        raise UserError(f"{base}/{'/'.join(map(str, segments))}: after {base!r} only one sampler can follow")
    if not segments:
        return None
    try:
        name = samplers.get(str(segments[0])).name
    except UserError as error:
        raise UserError(f"'{base}/{segments[0]}': {error}") from error
    return None if name == "uniform" else name


def _edm(segments: list[Call], spec: str) -> Spec | None:
    """``edm``, ``edm(Pm,Ps[,sd])``, ``edm/rf``, ``edm/cos``, their reading B, and ``edm/<sampler>``."""
    head, rest = segments[0], segments[1:]
    if head.word != "edm":
        return None
    args = [a for a in head.args if not isinstance(a, Call)]
    if len(args) != len(head.args) or len(args) not in {0, 2, 3}:
        raise UserError(f"{spec!r}: the form is edm(Pm,Ps) or edm(Pm,Ps,sd), with numbers")
    sd = args[2] if len(args) == 3 else 0.5
    mean, deviation = args[:2] or (-1.2, 1.2)
    sampler: str | None = samplers.get(f"lognorm({mean!r},{deviation!r})").name
    if rest and rest[0].word in {"rf", "cos"} and not args and len(rest) == 1:
        sampler = _matched(rest[0], spec)
    elif rest:
        sampler = _one_sampler(rest, "edm")
    target, path = Call("F", (sd,)), Call("ve")
    return Spec(_edm_base(sd, sampler), target, path, None, sampler)


def _matched(call: Call, spec: str) -> str | None:
    """The sampler of ``edm/rf`` and ``edm/cos``; see ``get`` for the two readings."""
    reading = call.args[0] if call.args else Call("A")
    if len(call.args) > 1 or not isinstance(reading, Call) or reading.word not in {"A", "B"} or reading.args:
        raise UserError(f"{spec!r}: the readings are 'edm/{call.word}' (A) and 'edm/{call.word}(B)'")
    if reading.word == "B":
        return READING_B
    return "cosmap" if call.word == "cos" else None


READING_B = "shift(0.50,cosmap)"


def _edm_base(sd: float, sampler: str | None) -> str:
    """The base name of F on ve; the sampler is part of it where the study names it."""
    if sampler is not None and sampler.startswith("lognorm("):
        return f"edm({sampler[8:-1]})" if sd == 0.5 else f"edm({sampler[8:-1]},{number(sd)})"
    if sd != 0.5:
        return f"F({number(sd)})/ve"
    return {None: "edm/rf", "cosmap": "edm/cos", READING_B: "edm/rf(B)"}.get(sampler, "edm")


def _general(segments: list[Call], spec: str) -> Spec:
    """``rf`` and ``<target>/<path>``."""
    head, rest = segments[0], segments[1:]
    if head.word == "rf":
        if head.args:
            raise UserError(f"{spec!r}: rf takes no numbers")
        return Spec("rf", Call("u"), Call("rf"), None, _one_sampler(rest, "rf"))
    word = ALIASES.get(head.word, head.word)
    if word not in TARGETS:
        near = nearest(spec, _suggestions())
        if sampler_registry.find(word):
            near = f"{word!r} is a timestep sampler, which follows a base: 'rf/{spec}'"
        raise UserError(f"no formulation is called {spec!r}; {near}")
    target = _known(head, TARGETS, "target", spec)
    if not rest:
        raise UserError(f"{spec!r} lacks a path: write {word}/<path>, e.g. '{word}/cos'")
    path = _known(rest[0], PATHS, "path", spec)
    if path.word == "ve" and word in {"u", "v"}:
        raise UserError(
            f"{spec!r}: on ve, v and velocity have no bounded size; use 'F(1)/ve' (v-prediction) or 'eps/ve'"
        )
    sampler = _one_sampler(rest[1:], f"{target}/{path}")
    if word == "F" and path.word == "ve":
        sd = target.args[0]
        assert isinstance(sd, float)
        return Spec(_edm_base(sd, sampler), target, path, None, sampler)
    base = "rf" if (word, path.word) == ("u", "rf") else f"{target}/{path}"
    return Spec(base, target, path, None, sampler)


suggested: list[Callable[[], Iterable[str]]] = [lambda: (e.template for e in registry.entries.values())]
"""Where names come from that are near a misspelt one; the catalogue adds its own."""


def _suggestions() -> list[str]:
    return list(dict.fromkeys(name for listed in suggested for name in listed()))


def _is_own_space(spec: Spec, space: str) -> bool:
    """Whether the target is itself the quantity of the loss space, so that the space changes nothing."""
    if spec.target is None or spec.path is None:
        return False
    if space != "v":
        return spec.target.word == space
    return spec.target.word == ("v" if _path(spec.path).preserving else "u")


def _name(spec: Spec) -> str:
    name = spec.base
    if spec.sampler is not None and not (name.startswith("edm(") or name in {"edm/cos", "edm/rf(B)"}):
        name += f"/{spec.sampler}"
    return name + (f"@{spec.space}" if spec.space else "") + (f"+{spec.weight}" if spec.weight else "")


@lru_cache(maxsize=256)
def _path(call: Call) -> Path:
    return PATHS[call.word][0](*call.args)


def _assemble(spec: Spec) -> Formulation:
    """Builds the formulation that the parts describe."""
    made = made_by_plugin(spec.plugin) if spec.plugin else _builtin_formulation(spec)
    preserving = bool(getattr(made.path, "preserving", False))
    spaces: dict[str, Scalar] = {"x": x_space, "eps": eps_space, "v": v_space(preserving)}
    weight, formula = made.weight, made.formula
    if spec.space:
        weight, formula = spaces[spec.space], f"{formula}; loss {SPACES[spec.space]}"
    if spec.weight:
        constructor, _, text = WEIGHTS[spec.weight.word]
        made_weight = constructor(*spec.weight.args)
        weight = product(weight, made_weight) if spec.weight.word == "bell" else made_weight
        formula = f"{formula}; weight {text}"
    law = samplers.get(spec.sampler) if spec.sampler else made.sampler
    return replace(made, sampler=law, weight=weight, formula=formula)


def _builtin_formulation(spec: Spec) -> Formulation:
    assert spec.target is not None
    assert spec.path is not None
    path = _path(spec.path)
    constructor, _, text = TARGETS[spec.target.word]
    c_in, c_noise = path.c_in, Formulation.c_noise
    if spec.target.word == "F":
        sd = spec.target.args[0]
        assert isinstance(sd, float)
        c_in = karras_input(sd)
        text = text.replace("sd", f"{sd:g}")
        c_noise = quarter_log_sigma if spec.path.word == "ve" else c_noise
    target = constructor(*spec.target.args)
    return Formulation(
        path,
        target,
        weight=ones,
        c_in=c_in,
        c_noise=c_noise,
        domain=path.domain,
        schedule=path.schedule,
        ode_time=path.ode_time,
        formula=f"{path.formula}; output {text}",
    )
