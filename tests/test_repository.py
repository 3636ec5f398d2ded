"""The files that describe the project agree with it: version, licence, paths, and the marker of its types."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import flowbench

ROOT = Path(flowbench.ROOT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_has_version_licence_and_keywords_of_the_package() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for field in ("version", "license"):
        assert f"\n{field}: {PROJECT[field]}\n" in text
    assert "keywords:\n" + "".join(f"  - {word}\n" for word in PROJECT["keywords"]) in text
    assert f"abstract: {PROJECT['description']}\n" in text
    assert f"  - name: {PROJECT['authors'][0]['name']}\n" in text


def test_the_licence_has_all_its_sections() -> None:
    (name,) = PROJECT["license-files"]
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.findall(r"^   (\d)\. [A-Z]", text, re.MULTILINE) == [str(i) for i in range(1, 10)]
    assert "\n   APPENDIX: How to apply the Apache License" in text


def test_paths_in_the_guide_to_contributors_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [word for word in re.findall(r"`([\w./-]+)`", text) if "/" in word]
    linked = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(named) > 10
    assert [path for path in (*named, *linked) if not (ROOT / path).exists()] == []


def test_every_package_is_marked_as_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in (*flowbench.PACKAGES, "flowbench"))
