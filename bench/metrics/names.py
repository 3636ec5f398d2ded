"""Full names of metrics: a name carries the recipe, and values of two recipes are never put in one ranking.

``clip[tinyclip-1a2b3c4d,native32,n=256]``: extractor with the digest of its weights, preprocessing, images
per value. ``fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]``: also the reference set, its
digest and its size; of ``--reference FILE`` the file's name and digest. ``precision[text=5e6f7a8b,...]``: also
a digest of the plugin that computes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bench.encoders import reads_text
from bench.metrics.metric import Measure, Reference


def full_name(measure: Measure, reference: Reference, n: int) -> str | None:
    """The name of a metric's values over ``n`` images; None where the extractor cannot give what it needs."""
    extractor, data = reference.extractor, reference.data
    if measure.columns[0].needs == "texts" and not reads_text(extractor):
        return None
    parts = [f"text={measure.version}"] if measure.version else []
    if "features" in measure.uses:
        parts += [_part(extractor.name), _part(extractor.preprocessing)]
    if "reference" in measure.uses:
        validation = f"{_part(data.name.partition(':')[0])}-{_part(data.digest)}-{len(reference.features)}"
        given = reference.given.name if reference.given and measure.moments else None
        parts.append(f"ref={given or validation}")
    return f"{measure.name}[{','.join([*parts, f'n={n}'])}]"


def full_names(measures: Iterable[Measure], reference: Reference, n: int) -> dict[str, str | None]:
    """The ``NAME_name`` of all metrics whose values depend on more than images and this version of flowbench."""
    named = [measure for measure in measures if measure.version or "features" in measure.uses]
    return {f"{measure.name}_name": full_name(measure, reference, n) for measure in named}


def _part(text: str) -> str:
    if not text or any(c in text for c in ",[]"):
        raise ValueError(f"{text!r} cannot be part of a metric's name: it is empty or holds one of , [ ]")
    return text
