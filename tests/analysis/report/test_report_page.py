"""The whole page: what it says of runs of every kind, that it is one safe file of bounded size, and its command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from analysis import pairs
from analysis.ranking import ranking
from analysis.report import contents, embedded, page
from analysis.report.__main__ import main
from analysis.runs import run, synthetic
from flowbench._core.errors import UserError

from ..plotted import of_networks

NAMES = ("rf", "eps/linear", "v/cos")


def folder(out: Path, names: tuple[str, ...] = NAMES, **more: object) -> Path:
    truth = synthetic.Truth(names, tuple(-2.0 * i for i in range(len(names))))
    return synthetic.write(out, truth, **({"samples": 8, "weights": ("ema",), "pictures": 2} | more))  # type: ignore[arg-type]


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take a second or two, and have their own tests."""
    monkeypatch.setattr(embedded, "figures", lambda run, ranking: ((), {"plane": "left out here"}))
    monkeypatch.setattr(contents, "figures", embedded.figures)


def text_of(path: Path) -> str:
    return page.html(contents.read(run.read(path)))


class Page(HTMLParser):
    """The visible text, the attributes of all elements, and the elements that are not closed in order."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a small run, with everything."""
    return text_of(folder(tmp_path_factory.mktemp("whole")))


def test_elements_are_closed_and_ids_are_unique(whole: str) -> None:
    found = Page(whole)
    ids = found.ids()
    assert len(ids) == len(set(ids))
    named = {word for _, attrs in found.elements for word in (attrs.get("aria-labelledby") or "").split()}
    targets = {
        (attrs.get("href") or "")[1:]
        for _, attrs in found.elements
        if (attrs.get("href") or "").startswith("#")
    }
    assert named | targets <= set(ids)


def test_nothing_is_loaded_from_elsewhere(whole: str) -> None:
    for tag, attrs in Page(whole).elements:
        for name, value in attrs.items():
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
    assert not re.findall(r"url\((?!#)", whole)
    assert "@import" not in whole
    metas = [attrs for tag, attrs in Page(whole).elements if tag == "meta"]
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_order_of_the_parts(whole: str) -> None:
    parts = ["verdict", "ranking", "figures", "samples", "formulations", "failures", "provenance", "reading"]
    assert [name for name in Page(whole).ids() if name in parts] == parts


def test_the_table_holds_the_ranking(whole: str, tmp_path: Path) -> None:
    expected = ranking.rank(run.read(folder(tmp_path)))
    names = re.findall(r'data-name="([^"]*)"', whole)
    assert names == list(expected.names)
    ranks = re.findall(r'<tr[^>]*data-name.*?<td data-value="([^"]*)"', whole, re.DOTALL)
    assert [float(r) for r in ranks] == pytest.approx(list(expected.value("rank_all")))


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, whole: str) -> None:
    again = text_of(folder(tmp_path / "again"))
    title = r"<title>.*?</title>|<h1>.*?</h1>"
    assert re.sub(title, "", again) == re.sub(title, "", whole)


HOSTILE = (
    '<script>alert("1")</script>',
    "\"><img src=x onerror='alert(2)'>",
    "</style></script><u>&amp;--></u>",
    "{{ 7 * 7 }}",
)


def test_hostile_names_and_captions_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "COLOURS", HOSTILE)
    text = text_of(folder(tmp_path / "<i>run</i>", HOSTILE))
    found = Page(text)
    for name in HOSTILE:
        assert " ".join(name.split()) in found.text
    assert "<i>" not in text
    assert [tag for tag, _ in found.elements].count("script") == 1
    assert not {"u", "i", "iframe"} & {tag for tag, _ in found.elements}
    assert not [name for _, attrs in found.elements for name in attrs if name.startswith("on")]
    names = {str(attrs["data-name"]) for _, attrs in found.elements if "data-name" in attrs}
    assert names == set(HOSTILE)


def test_the_page_has_no_paths_of_the_machine(tmp_path: Path, no_figures: None) -> None:
    out = folder(tmp_path / "run", status=lambda f, d, s: "failed" if f == "rf" and s == 1 else None)
    grid = out / "grid.json"
    grid.write_text(grid.read_text().replace('"--synthetic"', f'"--out", "{out}"'))
    failed = next(cell.id for _, cell in run.read(out).cells("failed"))
    (out / "cells" / failed / "error.txt").write_text(f'File "{tmp_path}/site/x.py", line 3\n')
    (out / "cells" / next(cell.id for _, cell in run.read(out).cells()) / "status.json").write_text("{")
    text = text_of(out)
    assert "--out …/run" in Page(text).text
    assert "…/x.py" in text
    assert "status.json cannot be read" in text
    assert str(tmp_path) not in text
    assert not re.search(r"(?<![\w.=<])/(?:tmp|home|root|var)/", re.sub(r"data:image[^\"]*", "", text))


@pytest.mark.long
def test_sixty_one_formulations_with_pictures_stay_below_five_megabytes(tmp_path: Path) -> None:
    names = tuple(f"rf/mode({i / 10:.2f})" for i in range(61))
    text = text_of(folder(tmp_path, names, weights=("ema", "raw"), pictures=16, seeds=2))
    assert len(text.encode()) < 5_000_000
    found = Page(text)
    assert sum(tag == "dialog" for tag, _ in found.elements) == 61
    assert sum(tag == "img" for tag, _ in found.elements) >= 61 * 4


def test_large_pictures_are_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    rng = np.random.default_rng(0)

    def large(_: object, count: int, fid: float) -> object:
        return rng.integers(0, 256, (count, 3, 128, 128), dtype=np.uint8)

    monkeypatch.setattr(synthetic, "_pictures", large)
    names = tuple(f"f/{i}" for i in range(20))
    out = folder(tmp_path, names, pictures=8, seeds=1, settings=((50, 5.0), (5, 5.0)))
    assert len(text_of(out).encode()) < 4_000_000


def words(out: Path) -> str:
    return Page(text_of(out)).text


def test_a_running_grid(tmp_path: Path, no_figures: None) -> None:
    found = words(folder(tmp_path, seeds=3, status=lambda f, d, s: "pending" if s == 2 else None))
    assert "Provisional: 6 of 9 cells are done. The ranking leaves out seed 2 on synthetic" in found
    assert found.index("Provisional") < found.index("rf leads")
    assert "3 still to come" in found


def test_a_grid_without_anything_to_rank_yet(tmp_path: Path, no_figures: None) -> None:
    found = words(folder(tmp_path, seeds=1, status=lambda f, d, s: "pending"))
    assert "0 of 3 cells are finished" in found
    assert "leads" not in found
    assert "Ranking" not in found


def test_all_diverged(tmp_path: Path, no_figures: None) -> None:
    found = words(folder(tmp_path, status=lambda f, d, s: "diverged"))
    assert "No formulation has a CLIP score or FID in any setting" in found
    assert "9 diverged" in found
    assert "leads" not in found


def test_one_seed(tmp_path: Path, no_figures: None) -> None:
    found = words(folder(tmp_path, seeds=1))
    assert "rf leads with mean front 1.00, by one seed" in found
    assert "2 of 2 others are behind rf" in found
    assert 'class="tied"' not in text_of(tmp_path)


def test_one_formulation(tmp_path: Path, no_figures: None) -> None:
    assert "Only rf is here: there is nothing to compare it with." in words(folder(tmp_path, ("rf",)))


def test_a_bare_table(tmp_path: Path) -> None:
    lines = ["formulation,dataset,weights,steps,cfg,clip,fid"]
    lines += [f"{name},d,ema,50,5,{30 - i},{20 + i}" for i, name in enumerate(NAMES)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    found = words(tmp_path / "table.csv")
    assert "rf leads with mean front 1.00, by one seed" in found
    assert "There are no pictures: the run's cells are not in the folder of its table." in found
    assert "None: every cell was trained and measured." in found


def test_a_confirmation_comes_first(tmp_path: Path, no_figures: None) -> None:
    out = folder(tmp_path)
    synthetic.write(
        out, synthetic.Truth(NAMES[:2], (0.0, -2.0)), samples=8, weights=("ema",), first_seed=1000
    )
    found = words(out)
    assert found.index("Confirmed on fresh seeds (1000 to 1002): rf leads again") < found.index(
        "On the seeds that chose them, rf leads"
    )
    assert "made up" in found


def test_mixed_recipes_are_refused_as_the_ranking_refuses_them(tmp_path: Path, no_figures: None) -> None:
    found = run.read(folder(tmp_path, sizes=((2, 100), (4, 100))))
    with pytest.raises(UserError, match="mixes 2 recipes") as refused:
        contents.read(found)
    with pytest.raises(UserError) as expected:
        ranking.rank(found)
    assert str(refused.value) == str(expected.value)
    one = page.html(contents.read(run.read(tmp_path, ["model.depth=4"])))
    assert "model.depth" in one


def test_networks_are_compared_above_the_ranking_as_the_command_compares_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    out = of_networks(tmp_path / "run", samples=8).path
    found = words(out)
    section = found[found.index("Against mmdit") : found.index("Name contains")]
    assert "alldit" in section  # two cells of one row
    assert pairs.main([str(out), "--by", "model", "--baseline", "mmdit", "--formulations", "all"]) == 0
    notes = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
    assert len(notes) == 2
    assert all(note in section for note in notes)
    assert contents.read(run.read(out, ["model=dit"])).networks is None


def test_a_long_command_scrolls_where_it_is_advised_and_is_whole(tmp_path: Path, no_figures: None) -> None:
    out = synthetic.write(
        tmp_path, synthetic.truth(("rf", "v/cos"), 0.0), seeds=1, weights=("ema",), samples=8
    )
    plan = json.loads((out / "grid.json").read_text())
    settings = [f"{steps}:5" for steps in range(5, 90)]
    scrolling = 'class="command"'
    for command, expected in ((["--settings", *settings], 1), (["--settings", *settings[:2]], 0)):
        (out / "grid.json").write_text(json.dumps(plan | {"command": command}))
        text = text_of(out)
        assert text.count(scrolling) == expected
        assert f"{' '.join(command[1:])} --seeds 3" in Page(text).text.replace("  ", " ")


def test_the_command_writes_the_file_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], no_figures: None
) -> None:
    out = folder(tmp_path / "run")
    assert main([str(out)]) == 0
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert capsys.readouterr().out.startswith(f"{out / 'report.html'}: ")
    assert main([str(out), "--where", "steps=50", "--out", str(tmp_path / "x.html")]) == 0
    assert (
        "9 settings · synthetic · 8 images per setting · only steps=50"
        in Page((tmp_path / "x.html").read_text("utf-8")).text
    )
    assert not list(tmp_path.glob(".x.html*"))


def test_damaged_pictures_are_reported_and_left_out(tmp_path: Path, no_figures: None) -> None:
    out = folder(tmp_path)
    cells = (cell for _, cell in run.read(out).cells() if (cell.formulation, cell.seed) == ("rf", 0))
    home = out / "cells" / next(cells).id
    file = next(home.glob("images-*")) / "ema-50-5.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    found = words(out)
    assert f"…/cells/{home.name}/{file.parent.name}/{file.name} cannot be read" in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda out: ["nowhere"], "there is no 'nowhere'"),
        (lambda out: [str(out), "--out", str(out)], "is a folder: name a file"),
        (lambda out: [str(out), "--out", str(out / "no" / "x.html")], "there is no folder"),
        (lambda out: [str(out), "--where", "steps=7"], "has no such rows"),
        (lambda out: [str(out), "--outt", "x"], "unknown option '--outt': did you mean '--out'"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: Callable[[Path], list[str]], message: str
) -> None:
    assert main(arguments(folder(tmp_path, seeds=1))) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, analysis.report.__main__ as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('pandas', 'scipy', 'matplotlib', 'jinja2', 'torch') if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")
