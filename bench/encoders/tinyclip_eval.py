"""How well a dual encoder reads held-out pictures: retrieval, classification, and binding of words.

``text`` below is a function from captions to features ``[N, D]`` (``TinyCLIP.text_features``), ``image`` are
features ``[N, D]`` of the pictures of ``captions``; all features have one length, so that products rank as
cosines do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from torch import Tensor
from torch.nn.functional import cosine_similarity

from bench.config.seeds import seed_for
from bench.data import Split
from bench.encoders.tinyclip_twins import Twins
from bench.encoders.tokenizer import Tokenizer, words_of

TextFeatures = Callable[[Sequence[str]], Tensor]
POOL = 256
"""Pairs among which the right partner is to be found."""
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def swap_words(caption: str, words: Collection[str]) -> str | None:
    """``caption`` with its two different words that are among ``words`` exchanged; None if there are not
    two."""
    parts = words_of(caption)
    places = [i for i, word in enumerate(parts) if word in words]
    if len(places) != 2 or parts[places[0]] == parts[places[1]]:
        return None
    i, j = places
    parts[i], parts[j] = parts[j], parts[i]
    return " ".join(parts)


def replace_words(caption: str, mapping: Mapping[str, str]) -> str | None:
    """``caption`` with words replaced by ``mapping``, None if it has none of them."""
    parts = words_of(caption)
    changed = [mapping.get(word, word) for word in parts]
    return " ".join(changed) if changed != parts else None


def preference(
    image: Tensor, captions: Sequence[str], others: Sequence[str | None], text: TextFeatures
) -> tuple[float, float] | None:
    """How often a picture is nearer to its caption than to another one, and by how much cosine on average.

    Pairs without another caption (None) are left out; None if none remains.
    """
    pairs = [(i, other) for i, other in enumerate(others) if other is not None]
    if not pairs:
        return None
    kept = image[[i for i, _ in pairs]]
    right, wrong = text([captions[i] for i, _ in pairs]), text([other for _, other in pairs])
    gap = cosine_similarity(kept, right) - cosine_similarity(kept, wrong)
    return float((gap > 0).float().mean()), float(gap.mean())


def retrieval(
    image: Tensor, captions: Sequence[str], text: TextFeatures, pool: int = POOL
) -> tuple[float, float]:
    """R@1 of the caption for a picture, and of the picture for a caption, among ``pool`` pairs, averaged over
    pools.

    A partner with the same caption counts as right.
    """
    features, names = text(captions), np.asarray(captions, dtype=object)
    hits = []
    for start in range(0, max(1, len(captions) - pool + 1), pool):
        part = slice(start, start + pool)
        scores = image[part] @ features[part].T
        found = [names[part][scores.argmax(axis).numpy()] for axis in (1, 0)]
        hits.append([float((row == names[part]).mean()) for row in found])
    to_text, to_image = np.mean(hits, axis=0)
    return float(to_text), float(to_image)


def classification(image: Tensor, captions: Sequence[str], text: TextFeatures) -> float:
    """Share of pictures whose own caption is the nearest of all distinct captions."""
    names = sorted(set(captions))
    best = (image @ text(names).T).argmax(1).tolist()
    return float(np.mean([names[i] == caption for i, caption in zip(best, captions, strict=True)]))


def random_twins(captions: Sequence[str], tokenizer: Tokenizer, twins: Twins) -> dict[str, list[str | None]]:
    """A ``swap`` and a ``replace`` twin of each caption, None where there is none."""
    rng = np.random.default_rng(seed_for("tinyclip-held-out"))
    ids = tokenizer.encode(captions)
    made = {"swap": twins.swap(ids, rng), "replace": twins.replace(ids, rng)}
    return {
        name: [
            tokenizer.decode(row) if (row != own).any() else None for row, own in zip(rows, ids, strict=True)
        ]
        for name, rows in made.items()
    }


def shapes_twins(captions: Sequence[str]) -> dict[str, list[str | None]]:
    """Captions of ``scenes`` with their colours, shapes or sizes changing places, or the relation turned round; captions
    of ``shapes``, which have one of each, with another colour, shape or size."""
    from bench.data.shapes import COLORS, SHAPES, SIZES

    kinds = {"colors": COLORS, "shapes": SHAPES, "sizes": SIZES}
    found = {name: [changed(caption, words) for caption in captions] for name, words in kinds.items()}
    return {**found, "relation": [replace_words(caption, OPPOSITE) for caption in captions]}


def changed(caption: str, words: Sequence[str]) -> str | None:
    """``caption`` with its two of ``words`` exchanged, or its only one replaced by the one that follows in ``words``."""
    if sum(word in words for word in words_of(caption)) == 1:
        return replace_words(caption, dict(zip(words, (*words[1:], words[0]), strict=True)))
    return swap_words(caption, words)


def measure(
    image: Tensor, split: Split, tokenizer: Tokenizer, twins: Twins, text: TextFeatures, shapes: bool
) -> dict[str, float]:
    """All held-out numbers of one split, by name; ``shapes`` asks for the binding of its words as well.

    Captions that repeat at least four times on average are classes: their number is an accuracy.
    """
    captions = split.captions
    distinct = len(set(captions))
    numbers: dict[str, float] = {}
    if 4 * distinct <= len(captions):  # classes
        numbers[f"accuracy among {distinct} captions"] = classification(image, captions, text)
    else:
        pool = min(POOL, len(captions))
        numbers[f"R@1 of {pool}, image to text"], numbers[f"R@1 of {pool}, text to image"] = retrieval(
            image, captions, text, pool
        )
    own = text(captions)
    numbers["cosine, mean"] = float(cosine_similarity(image, own).mean())
    numbers["cosine, shuffled captions"] = float(cosine_similarity(image, own.roll(1, 0)).mean())
    others = {f"one {name}": list(c) for name, c in random_twins(captions, tokenizer, twins).items()}
    if shapes:
        others |= {f"binding of {name}": c for name, c in shapes_twins(captions).items()}
    for name, wrong in others.items():
        if (found := preference(image, captions, wrong, text)) is not None:
            numbers[f"{name}, right"], numbers[f"{name}, cosine gap"] = found
    return {name: round(value, 4) for name, value in numbers.items()}
