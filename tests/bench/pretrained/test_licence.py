"""Licences as cards and descriptions of data sets state them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.pretrained import licence
from bench.pretrained.hub import Place


@pytest.mark.parametrize(
    ("card", "stated"),
    [
        ("---\nlicense: mit\n---\n# A model", "mit"),
        ("---\ntags:\n- a\nlicense: cc-by-4.0  # of the images\nlanguage: en\n---\n", "cc-by-4.0"),
        ("---\nlicense:\n- mit\n- apache-2.0\ntags: [x]\n---\n", "mit, apache-2.0"),
        ("---\nlicense: ['mit', \"gpl-3.0\"]\n---\n", "mit, gpl-3.0"),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", "my-terms"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\ntags: a\n---\nlicense: mit", None),
        ("license: mit", None),
        ("---\nlicense: mit", None),
        ("---\nlicense:\n---\n", None),
        ("---\nlicense: \x1b[31mred\n---\n", "31mred"),
        ("", None),
    ],
)
def test_cards(card: str, stated: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licence.of_data(tmp_path) == stated
    assert licence.of_data(tmp_path / "00000.tar") == stated, "of the folder of a file"
    assert licence.of_model(Place(str(tmp_path), "--autoencoder ", "autoencoder", "diffusers")) == stated


def test_descriptions_of_data_sets(tmp_path: Path) -> None:
    assert licence.of_data(tmp_path) is None
    about = tmp_path / "dataset_info.json"
    for text, stated in (('{"license": "CC0"}', "CC0"), ('{"license": ""}', None), ("{", None), ("[]", None)):
        about.write_text(text)
        assert licence.of_data(tmp_path) == stated
    about.write_text(json.dumps({"license": "Free for\nresearch. " + "x" * 300}))
    assert licence.of_data(tmp_path) == ("Free for research. " + "x" * 300)[:200]
