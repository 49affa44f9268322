"""A finished report as a document: titles, sentences, tables and plots, from which HTML and Markdown are both written.

Every figure in it is one of the report's own, so what ``arena verify`` says of those holds for these. The ranges are
the fixed ones: they are read once, after the last vote.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.domain.crowd_words import crowd_words
from app.domain.intervals import Interval
from app.domain.judge_words import worth_words
from app.domain.words import EVEN, Standing
from app.queries.cells import SIMULATED, Cell
from app.queries.crowd import MOST_IN_FULL
from app.queries.frozen_report import FrozenReport
from app.web.filters import UNKNOWN, count, percent, plural, some, span
from app.web.report_blocks import Block, Document, Facts, Plot, Point, Section, Table
from app.web.report_methods import methods
from app.web.report_origin import origin, verification

_WHAT_JUDGES_ARE = (
    "A judge is a model with a rubric. It saw the same pairs, as blind as people did. What judges prefer is in no "
    "number of people. Where both have voted, the last line is an estimate of what people prefer, with judges helping."
)
_PLACEBO = {
    Standing.BETTER: "The fixed range leaves out 50%: something other than the texts decides votes here.",
    Standing.WORSE: "The fixed range leaves out 50%: something other than the texts decides votes here.",
    Standing.OPEN: "The fixed range holds it.",
    Standing.TOO_EARLY: "There are too few votes for a range.",
    Standing.NOTHING_YET: "Nobody voted on them.",
}
_MEASURES = (
    "pairs", "judged", "half-judged, waiting", "without its verdict",
    "the same text in both orders", "twice what stood first", "twice what stood second", "p of that by chance",
    "replies", "without a legal choice", "calls that failed", "replies that were lost",
)  # fmt: skip
TO = "\N{EN DASH}"
_LEAST_P = 0.001
_ALPHA = 0.05
_TWO = 2
_DIFFERENCES = (
    "Each difference has a range of its own; whether the ranges of two win rates overlap says nothing about it. Where "
    "both sides have votes on the same prompts, it is taken prompt by prompt."
)


def document_of(report: FrozenReport) -> Document:
    """The report of a closed eval batch. Where orders were found mixed up, there is no result in it."""
    told = report.told
    batch = told["batch"]
    against = f"{some(batch['challengers'])} against {batch['baseline']}"
    crowd = () if told["mapping_suspect"] else tuple(_crowd(told["matchups"]))
    results = (*crowd, *_results(told), *_raters(told), *_judges(told), *_blindness(told))
    sections = () if told["mapping_suspect"] else results
    return Document(
        title=report.name,
        about=f"{against}, compared blind on {batch['suite']}.",
        warning=_warning(told),
        lead=(_crowd_sentence(told),) if crowd else tuple(one["fixed_sentence"] for one in told["matchups"]),
        sections=(
            *sections,
            Section("Checks", tuple(_checks(told))),
            Section("How this was measured", tuple(methods(told))),
            Section("What it was made from", tuple(Facts(rows) for rows in origin(told))),
            Section("Can this be trusted?", tuple(verification(report))),
        ),
    )


def cell_of(label: str, told: Mapping[str, Any]) -> Cell:
    """A slice of the report as the plots take it, with the fixed range alone."""
    fixed = Interval(*told["fixed"]) if told["fixed"] else None
    counts = {name: told[name] for name in ("n", "wins", "losses", "ties", "both_bad", "prompts")}
    rate = told["win_rate"]
    return Cell(label=label, **counts, win_rate=rate, live=None, fixed=fixed, standing=_standing(told["n"], fixed))


def finding(cell: Cell) -> str:
    """What the fixed range of a slice says, as the title of a plot."""
    return {
        Standing.BETTER: "The whole fixed range lies above 50%",
        Standing.WORSE: "The whole fixed range lies below 50%",
        Standing.OPEN: "The fixed range includes 50%: neither is shown to be better",
        Standing.TOO_EARLY: "Too few votes for a range",
        Standing.NOTHING_YET: "No votes",
    }[cell.standing]


def _standing(n: int, fixed: Interval | None) -> Standing:
    if fixed is None:
        return Standing.TOO_EARLY if n else Standing.NOTHING_YET
    if fixed.low > EVEN:
        return Standing.BETTER
    return Standing.WORSE if fixed.high < EVEN else Standing.OPEN


def _warning(told: Mapping[str, Any]) -> str:
    batch = told["batch"]
    if told["mapping_suspect"]:
        return str(told["canaries"]["sentence"])
    if batch["simulated_votes"]:
        return (
            f"Simulated. {count(batch['simulated_votes'])} of the {count(batch['votes'])} votes were made to learn the "
            "tool and are nobody's. What they say tells nothing about the checkpoints."
        )
    return ""


def _crowd(matchups: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """Before many comparisons, one line each."""
    if len(matchups) > MOST_IN_FULL:
        cells = [cell_of(f"{one['challenger']} against {one['baseline']}", one["raters"]["all"]) for one in matchups]
        yield Section("All comparisons", (_rates("Votes on every comparison", "Comparison", cells),))


def _crowd_sentence(told: Mapping[str, Any]) -> str:
    matchups = told["matchups"]
    baselines = {one["baseline"] for one in matchups}
    standings = [cell_of("", one["raters"]["all"]).standing for one in matchups]
    label = SIMULATED if told["batch"]["simulated_votes"] else ""
    return label + crowd_words(standings, baselines.pop() if len(baselines) == 1 else None, final=True)


def _results(told: Mapping[str, Any]) -> Iterator[Section]:
    several = len(told["matchups"]) > 1
    for number, matchup in enumerate(told["matchups"], 1):
        people = matchup["raters"]
        whole = cell_of("all prompts", people["all"])
        domains = [cell_of(name, cell) for name, cell in people["domains"].items()]
        categories = [cell_of(name, cell) for name, cell in people["categories"].items()]
        drawn = (whole, *(domains if len(domains) > 1 else ()), *(one for one in categories if one.fixed))
        first, second = matchup["baseline"], matchup["challenger"]
        yield Section(
            f"{second} against {first}" if several else "What people prefer",
            (
                *((matchup["fixed_sentence"],) if several else ()),
                Plot(f"people-{number}", finding(whole), drawn, first, second, "group of prompts"),
                _rates(f"Votes on {second} against {first}", "Slice", [whole], domains, categories),
                *_notes(matchup, slices=sum(one.fixed is not None for one in (*domains, *categories))),
                *_together(told["slices"]["rows"], matchup),
            ),
        )
    if told["trajectories"]:
        yield Section("Win rate over training", tuple(_trajectories(told["trajectories"])))
    if told["contrasts"]:
        yield Section("Differences", (_DIFFERENCES, _contrasts(told["contrasts"])))


def _trajectories(lines: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    """The checkpoints of each run in the order of training."""
    for line in lines:
        steps = line["steps"]
        early, late = (f"step {count(steps[place]['step'])}" for place in (0, -1))
        moved = f"the win rate of {line['run']} moved by {points(line['gap'])} points from {early} to {late}"
        ends = " to ".join(points(end) for end in line["fixed"]) if line["fixed"] else ""
        ranged = f"on prompts like these it could be anywhere from {ends}" if ends else "too few votes for a range"
        yield f"Against {line['baseline']}, {moved}; {ranged}."
        rows = [cell_of(f"{one['checkpoint']}, step {count(one['step'])}", one) for one in steps]
        yield _rates(f"Win rates of {line['run']} by training step", "Checkpoint", rows)


def _notes(matchup: Mapping[str, Any], *, slices: int) -> Iterator[str]:
    people, settled = matchup["raters"], matchup["settled"]
    if slices > 1:
        yield (
            f"{slices} slices have a range of their own at 95%. These ranges are not adjusted for each other, so about "
            "one in twenty would leave out 50% by chance alone. Read them as hints where to look next, and the first "
            "line as the result."
        )
    if people["all"]["both_bad"]:
        number = people["all"]["both_bad"]
        yield f"{count(number)} of the ties {plural(number, 'says', 'say')} that both texts are bad."
    alone = sum(settled.values())
    if alone:
        known = people["with_settled"]
        with_them = f" With them the win rate is {percent(known['win_rate'])}." if known["fixed"] else ""
        yield (
            f"{count(alone)} {plural(alone, 'pair')} needed no voter, because both texts are the same or one is empty: "
            f"the challenger won {count(settled['wins'])}, lost {count(settled['losses'])} and tied "
            f"{count(settled['ties'])}. They are not in the numbers above.{with_them}"
        )


def _together(rows: Sequence[Mapping[str, Any]], matchup: Mapping[str, Any]) -> Iterator[str]:
    """Which slices differ from one half by Holm's adjusted p-values."""
    sides = (matchup["baseline"], matchup["challenger"])
    tested = [row for row in rows if (row["baseline"], row["challenger"]) == sides and row["holm_p"] is not None]
    if len(tested) < _TWO:
        return
    named = [row["slice"] for row in tested if row["holm_p"] < _ALPHA]
    found = f"{', '.join(named)} {'differs' if len(named) == 1 else 'differ'}" if named else "none of them differs"
    yield f"Adjusted for all slices of this report (Holm), {found} from 50%."


def _contrasts(rows: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        "Differences of win rates in points, the one less the other",
        ("What", "Difference", "Fixed range", "Shared prompts"),
        (
            tuple(
                (
                    f"{row['one']} against {row['other']}",
                    points(row["gap"]),
                    " to ".join(points(end) for end in row["fixed"]) if row["fixed"] else "too few",
                    count(row["shared_prompts"]),
                )
                for row in rows
            ),
        ),
        wide="Shared prompts",
    )


def _raters(told: Mapping[str, Any]) -> Iterator[Section]:
    """How far people agree among themselves: the ceiling for every judge."""
    panel = told["panel"]
    if panel is None or panel["raw"] is None:
        return
    beyond = [
        f"{name} {panel[key]:.2f}"
        for name, key in (("Krippendorff's \N{GREEK SMALL LETTER ALPHA}", "alpha"), ("Gwet's AC1", "ac1"))
        if panel[key] is not None
    ]
    tail = f" Beyond chance: {', '.join(beyond)}." if beyond else ""
    number = f"{count(panel['units'])} {plural(panel['units'], 'pair')}"
    yield Section(
        "Do people agree?",
        (f"Two people agree with each other on {percent(panel['raw'])} of {number} with two votes or more.{tail}",),
    )


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.0f}".replace("-", "\u2212")


def _judges(told: Mapping[str, Any]) -> Iterator[Section]:
    if not told["judges"]:
        return
    blocks: list[Block] = [_WHAT_JUDGES_ARE]
    for number, matchup in enumerate(told["matchups"], 1):
        first, second = matchup["baseline"], matchup["challenger"]
        simulated = [name for name, judge in matchup["judge"].items() if judge["simulated"]]
        if simulated:
            blocks.append(f"Simulated, so they tell nothing about the checkpoints: {', '.join(simulated)}.")
        rows = [cell_of("people", matchup["raters"]["all"])]
        rows += [cell_of(name, judge["all"]) for name, judge in matchup["judge"].items()]
        if len(matchup["judge"]) > 1:
            rows.append(cell_of("all judges", matchup["judges"]["all"]))
        combined = matchup["combined"]
        rows += [cell_of("people and judges", combined["all"])] if combined else []
        title = "People, judges, and both together"
        blocks.append(Plot(f"voters-{number}", title, tuple(rows), first, second, "voter"))
        blocks.append(_rates(f"Voters on {second} against {first}", "Voter", rows))
        if combined:
            blocks.append(worth_words(combined["multiplier"]))
        blocks += [judge["gap"]["sentence"] for judge in matchup["judge"].values() if judge["gap"]]
    blocks += [_agreement(told["agreement"])] if told["agreement"] else []
    blocks.append(_reliability(told["judges"]))
    yield Section("People and judges", tuple(blocks))


def _agreement(rows: Iterable[Mapping[str, Any]]) -> Table:
    return Table(
        "How far two voters agree on the same pairs, and Cohen's κ; people with people is the ceiling",
        ("Voters", "Pairs", "Agree", "Fixed range", "κ"),
        (
            tuple(
                (
                    f"{row['one']} and {row['other']}",
                    count(row["n"]),
                    percent(row["raw"]),
                    span(*row["fixed"]) if row["fixed"] else "too few",
                    UNKNOWN if row["kappa"] is None else f"{row['kappa']:.2f}",
                )
                for row in rows
            ),
        ),
        wide="Pairs",
    )


def _reliability(judges: Collection[Mapping[str, Any]]) -> Table:
    """What each judge did, in columns: names are few and measures many."""

    def figures(judge: Mapping[str, Any]) -> tuple[str, ...]:
        bias, unparsed = judge["position_bias"], judge["unparsed"]
        p = bias["p"]
        return (
            *(count(judge[name]) for name in ("pairs", "judged", "waiting", "lost")),
            percent(bias["consistency"]),
            *(count(bias[name]) for name in ("f", "s")),
            UNKNOWN if p is None else f"under {_LEAST_P}" if p < _LEAST_P else f"{p:.3f}",
            *(count(number) for number in (unparsed["replies"], unparsed["n"], judge["failed"], judge["unknown"])),
        )

    rows = tuple(zip(_MEASURES, *(figures(judge) for judge in judges), strict=True))
    names = tuple(judge["judge"] for judge in judges)
    return Table("How far each judge can be believed", ("Judge", *names), (rows[:4], rows[4:8], rows[8:]))


def _blindness(told: Mapping[str, Any]) -> Iterator[Section]:
    leaks = told["leaks"]
    recognised = leaks["recognised"]
    blocks: list[Block] = [leaks["sentence"], recognised["sentence"]]
    for matchup, without in zip(leaks["matchups"], recognised["without"], strict=True):
        rows = [cell_of("all votes", matchup["all"])]
        if leaks["flagged_pairs"]:
            rows.append(cell_of("without pairs that name an author", matchup["without_flagged"]))
        if recognised["yes"]:
            rows.append(cell_of("without votes that recognised one", without["all"]))
        if len(rows) > 1:
            blocks.append(_rates(f"{matchup['challenger']} against {matchup['baseline']}", "Votes", rows))
    yield Section("Could anybody tell who wrote a text?", tuple(blocks))


def _checks(told: Mapping[str, Any]) -> Iterator[Block]:
    canaries, placebo, gold, excluded = (told[name] for name in ("canaries", "placebo", "gold", "excluded"))
    if not told["mapping_suspect"]:
        yield Point("Canaries", _canaries(canaries))
    if placebo is None:
        yield Point("Placebo", "This plan has no pairs of the baseline with itself.")
    else:
        itself = cell_of("the baseline against itself", placebo["all"])
        same = "Two texts of the same checkpoint met, so 50% must come out."
        yield Point("Placebo", f"{same} {_PLACEBO[itself.standing]}")
        yield _rates("The baseline against itself", "Placebo", [itself])
    yield Point("Gold pairs", gold["sentence"] if gold else "This plan has none.")
    yield Point("Raters left out", _left_out(excluded))
    for matchup in told["matchups"]:
        everybody = matchup["raters"]["with_everybody"]
        if everybody:
            title = f"{matchup['challenger']} against {matchup['baseline']}, with and without them"
            rows = [cell_of("without them", matchup["raters"]["all"]), cell_of("with everybody", everybody)]
            yield _rates(title, "Votes", rows)


def _left_out(excluded: Mapping[str, Any]) -> str:
    number, votes = excluded["raters"], excluded["votes"]
    if not excluded["rule"]:
        return "Nobody: this plan has no rule for it."
    told = f"{count(number)}, with {count(votes)} {plural(votes, 'vote')}." if number else "Nobody fell under the rule."
    return f"{told} {excluded['sentence']}"


def _canaries(canaries: Mapping[str, Any] | None) -> str:
    if canaries is None:
        return "This plan has none, so whether orders are mixed up was not tested."
    if not canaries["runs"]:
        return "The script that knows the winners has not voted, so whether orders are mixed up was not tested."
    right, wrong = canaries["right"], canaries["wrong"]
    arrived = f"{count(right)} {plural(right, 'vote')} of a script that knows the winner arrived on it"
    return f"{arrived}, {count(wrong)} did not."


def _rates(caption: str, what: str, *groups: list[Cell]) -> Table:
    """Slices as rows: what was won, the rate, and the fixed range."""
    return Table(
        caption,
        (what, f"Won{TO}lost{TO}tied", "Prompts", "Rate", "Fixed range"),
        tuple(tuple(_rate(cell) for cell in group) for group in groups if group),
        wide="Prompts",
    )


def _rate(cell: Cell) -> tuple[str, ...]:
    return (
        cell.label,
        TO.join(count(number) for number in (cell.wins, cell.losses, cell.ties)),
        count(cell.prompts),
        percent(cell.win_rate) if cell.fixed else UNKNOWN,
        span(*cell.fixed) if cell.fixed else "too few" if cell.n else "no votes",
    )
