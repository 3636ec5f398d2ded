"""Everything that a page shows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from analysis.comparisons import comparison, decided, pair_rows, race_outcome
from analysis.ranking import confirmation, pending, ranking, render, score_matrix
from analysis.ranking.blocks import seed_count
from analysis.ranking.result import Facts
from analysis.ranking.verdict import answer, worded
from analysis.report import findings
from analysis.report.cards import Card, cards
from analysis.report.embedded import Figure, figures
from analysis.report.failures import Failures, failures
from analysis.report.findings import Verdict
from analysis.report.gallery import Gallery, gallery
from analysis.report.page_provenance import Provenance, provenance
from analysis.report.page_table import Ranking, table
from analysis.report.phrases import name
from analysis.runs import networks, schema
from analysis.runs.run import Run
from analysis.tables.table import Table
from analysis.tables.wording import count
from flowbench._core.errors import UserError


@dataclass(frozen=True)
class Summary:
    """The verdict in one ``sentence``, and its ``state`` as a mark."""

    state: str
    sentence: str


@dataclass(frozen=True)
class Report:
    """What the page's template is given. Without a ``ranking`` or tables of ``scaling`` there was nothing to show, and the
    verdict is why; without a ``summary`` there was nothing to decide. ``race``, ``against`` (a baseline) and
    ``confirmation`` are tables above the ranking's, ``networks`` one of those of a run of several."""

    title: str
    facts: tuple[str, ...]
    verdict: Verdict
    failures: Failures
    provenance: Provenance
    summary: Summary | None = None
    networks: Table | None = None
    ranking: Ranking | None = None
    race: Table | None = None
    against: Table | None = None
    confirmation: Table | None = None
    figures: tuple[Figure, ...] = ()
    not_drawn: tuple[tuple[str, str], ...] = ()
    gallery: Gallery = field(default_factory=Gallery)
    cards: tuple[Card, ...] = ()
    seeds: int = 0
    scaling: tuple[Table, ...] = ()


def read(run: Run, where: Sequence[str] = ()) -> Report:
    """Everything about a run. If nothing of it can be ranked, the report has only that reason and the failures. The
    formulations are ranked within each of several networks (`analysis.runs.networks.apart`).

    ``where`` are the conditions that chose its rows. Raises `UserError` where recipes are mixed
    (`analysis.runs.schema.comparable`), and if all rows belong to a confirmation.
    """
    results = run.phase("rank")
    if results.frame.empty:
        raise UserError("the table has rows of a confirmation only: there is nothing to rank")
    whole, run = run, networks.separated(run)
    schema.comparable(run.phase("rank"))
    failed = failures(run)
    try:
        found = ranking.rank(run)
    except UserError as error:
        return unranked(run, str(error), failed, where)
    fresh, pairs = confirmation.confirmation(run), pair_rows.of_a_page(whole)
    settled, _ = pending.settled(results.frame)
    arrays = score_matrix.make(settled, run.metrics)
    shown = table(found)
    pictures = gallery(run, [row.formulation for row in shown.rows])
    drawn, reasons = figures(run, found)
    origin, raced, against = (
        provenance(run, found.facts.recipes),
        race_outcome.of_run(run),
        decided.of_run(run),
    )
    stopped: findings.Stopped | None = None
    if raced:
        stopped, state = "race", "decided" if raced.race.decided else "undecided"
        summary: Summary | None = Summary(state, race_outcome.worded(raced, name, name))
    elif against and against[1].program == decided.COMPARE:
        stopped = "comparison"
        summary = Summary(decided.state(against[0]), decided.worded(*against, name, name))
    else:
        said = answer(found, run)
        summary = Summary(said.state, worded(said, name, name)) if said else None
    return Report(
        title=run.name,
        facts=(*_facts(found.facts, where), *([origin.when] if origin.when else [])),
        verdict=findings.verdict(found, findings.pairs(found), fresh, stopped),
        failures=replace(failed, damaged=(*failed.damaged, *pictures.damaged)),
        provenance=origin,
        summary=summary,
        networks=pair_rows.table(pairs) if pairs else None,
        ranking=shown,
        race=race_outcome.table(raced) if raced else None,
        against=comparison.table(against[0]) if against else None,
        confirmation=render.confirmation_table(fresh) if fresh else None,
        figures=drawn,
        not_drawn=tuple(reasons.items()),
        gallery=pictures,
        cards=cards(run, settled, arrays, shown, pictures.cards, failed),
        seeds=found.facts.most_seeds,
    )


def unranked(run: Run, why: str, failed: Failures, where: Sequence[str]) -> Report:
    """The page of a run with nothing to show yet, and why."""
    sentence = f"{why[:1].upper()}{why[1:]}."
    return Report(
        title=run.name,
        facts=(f"only {', '.join(where)}",) if where else (),
        verdict=Verdict(lead=(sentence,)),
        failures=failed,
        provenance=provenance(run, {}),
    )


def _facts(facts: Facts, where: Sequence[str]) -> tuple[str, ...]:
    """What was compared, and on what data, in a few words."""
    return (
        count(facts.formulations, "formulation"),
        seed_count(facts.seed_counts),
        count(facts.settings, "setting"),
        ", ".join(facts.datasets),
        *chosen(facts.recipes, where),
    )


def chosen(recipes: Mapping[str, Mapping[str, str]], where: Sequence[str]) -> tuple[str, ...]:
    """How many images were measured, by the full names of metrics, and what chose the rows, in a few words."""
    names = [name for metric in ("clip", "fid") for name in recipes.get(metric, {}).values()]
    images = sorted({n for name in names if (n := schema.recipe(name).get("n"))})
    return (
        *([f"{' or '.join(images)} images per setting"] if images else []),
        *([f"only {', '.join(where)}"] if where else []),
    )
