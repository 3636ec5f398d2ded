"""The page of one formulation at several sizes: tables and figures of scaling, pictures and failures by size, no ranking."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis import scaling
from analysis.report import page, scaling_contents
from analysis.report.__main__ import main
from analysis.report.scaling_findings import verdict
from analysis.runs import run, synthetic

SIZES = [(depth, steps) for depth in (1, 2, 4) for steps in (100, 1000, 10_000)]


def folder(out: Path, **more: object) -> Path:
    options = {"sizes": SIZES, "samples": 8, "weights": ("ema",), "settings": ((50, 5.0), (5, 5.0))} | more
    return synthetic.write(out, synthetic.truth(("rf",)), **options)  # type: ignore[arg-type]


def text_of(path: Path, *where: str) -> str:
    return page.html(scaling_contents.read(run.read(path, where), where))


def words(html: str) -> str:
    shown = re.sub(
        r"<style>.*?</style>|<script>.*?</script>|<svg.*?</svg>|<[^>]*>", "", html, flags=re.DOTALL
    )
    return " ".join(shown.replace("\N{NO-BREAK SPACE}", " ").replace("&#39;", "'").split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("scaling"), pictures=2)


def test_the_page_has_the_tables_and_figures_of_scaling(whole: Path) -> None:
    html, found = text_of(whole), scaling.report(run.read(whole))
    shown = words(html)
    for table in found.tables():
        assert table.title in shown
        for note in table.notes:
            assert note in shown
        cells = [text for row in table.cells.to_numpy().tolist() for text in row]
        start = html.index(f'id="{table.name.replace("_", "-")}"')
        body = html[html.index("<tbody>", start) : html.index("</tbody>", start)]
        assert [words(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", body)] == cells
    for figure in (
        "Loss against compute",
        "Loss against parameters and training steps",
        "Quality against loss",
    ):
        assert figure in shown
    assert html.count("<svg") == 3


def test_nothing_is_ranked(whole: Path) -> None:
    html = text_of(whole)
    assert 'class="ranking"' not in html
    assert "leads" not in words(html)
    assert "rf · 3 depths · 3 training lengths · 3 seeds · synthetic · 8 images per setting" in words(html)


def test_ids_are_unique_and_links_have_targets(whole: Path) -> None:
    html = text_of(whole).partition("<script>")[0]
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    named = {word for value in re.findall(r'aria-labelledby="([^"]*)"', html) for word in value.split()}
    assert named | set(re.findall(r'href="#([^"]*)"', html)) <= set(ids)


def test_pictures_are_of_the_longest_training_of_each_depth(whole: Path) -> None:
    sheet = scaling_contents.read(run.read(whole)).gallery.sheets[0]
    names = [strip.formulation for strip in sheet.strips]
    assert names == [f"depth {depth}, 10,000 steps" for depth in (1, 2, 4)]
    assert len({strip.pictures[0].uri for strip in sheet.strips if strip.pictures[0]}) == 3


def test_failures_are_named_by_their_size(tmp_path: Path) -> None:
    states = iter(["diverged", None, None, "failed", None, "pending"])
    out = folder(
        tmp_path, sizes=[(1, 100), (1, 1000), (2, 100)], seeds=2, status=lambda f, d, s: next(states)
    )
    made = scaling_contents.read(run.read(out))
    assert [cell.formulation for cell in made.failures.diverged] == ["depth 1, 100 steps"]
    assert [cell.formulation for cell in made.failures.causes[0].cells] == ["depth 1, 1,000 steps"]
    assert "Provisional: 1 of 6 trainings not finished yet." in made.verdict.doubts


def test_one_recipe_with_the_values_of_all_sizes(whole: Path) -> None:
    (recipe,) = scaling_contents.read(run.read(whole)).provenance.recipes
    assert dict(recipe.fields)["model.depth"] == "1, 2, 4"
    assert dict(recipe.fields)["training.steps"] == "100, 1000, 10000"
    assert dict(recipe.fields)["training.batch"] == "64"
    assert recipe.size.startswith(f"147,456 to {147_456 * 64:,} parameters, ")


def test_without_a_finished_training_the_page_is_the_reason_and_the_failures(tmp_path: Path) -> None:
    out = folder(tmp_path, seeds=1, status=lambda f, d, s: "diverged")
    made = scaling_contents.read(run.read(out))
    assert "has no finished training (9 diverged)" in made.verdict.lead[0]
    assert not made.scaling
    assert len(made.failures.diverged) == 9


def test_a_depth_that_shallower_ones_do_not_reach_is_an_upper_bound(tmp_path: Path) -> None:
    """Depth 1 ends before depth 2 has a run: at every compute that depths 2 and 4 share, depth 2 is the best."""
    out = folder(tmp_path, sizes=[(1, 10), (1, 20), (2, 1000), (2, 100_000), (4, 1000), (4, 100_000)])
    found = scaling.report(run.read(out))
    bounds = found.optimal[found.optimal["depth"] == 2]
    assert len(bounds) > 1
    assert bounds["bound"].all()
    assert any("upper bound of the compute-optimal depth" in text for text in verdict(found).points)


def test_the_shallowest_of_all_depths_is_no_bound(whole: Path) -> None:
    found = scaling.report(run.read(whole))
    assert not found.optimal.loc[found.optimal["depth"] == 1, "bound"].any()


def test_the_command_chooses_the_page(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.html"
    assert main([str(whole), "--where", "model.depth=2", "--out", str(out)]) == 0
    assert "1 depth · 3 training lengths" in out.read_text("utf-8")
    assert main([str(whole), "--where", "model.depth=2", "training.steps=100", "--out", str(out)]) == 0
    assert 'class="ranking"' in out.read_text("utf-8")
    capsys.readouterr()
    synthetic.write(tmp_path / "two", synthetic.truth(("rf", "v/cos")), sizes=SIZES[:2], samples=8, seeds=1)
    assert main([str(tmp_path / "two")]) == 2
    error = capsys.readouterr().err
    assert "2 formulations (rf, v/cos), and scaling is of one: choose with --where formulation=rf" in error
    assert main([str(tmp_path / "two"), "--where", "formulation=rf", "--out", str(out)]) == 0
