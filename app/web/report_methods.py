"""How a comparison was made, in plain English, for somebody who has never seen the arena. Written from its report."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.web.filters import count, plural
from app.web.report_blocks import Point


def methods(told: Mapping[str, Any]) -> Iterator[Point]:
    """One paragraph after the other, each about one decision that a reader may doubt."""
    batch, plan = told["batch"], told["provenance"]["plan"]
    k = plan["votes_per_pair"]
    yield Point(
        "Blind",
        "Voters saw a prompt and two texts side by side, in the same style and without names. Which text stood "
        "as A was drawn by the server for each ballot, from blocks in which both orders are equally frequent, and "
        "stored before anything was shown. A voter sent a choice and nothing else; which checkpoint it favours was "
        "computed from the stored order.",
    )
    yield Point(
        "Votes",
        f"The plan asked for {count(k)} {plural(k, 'vote')} on each of {count(batch['planned_pairs'])} pairs "
        f"and got {count(batch['votes'])} of {count(batch['votes_wanted'])}. Pairs were dealt at random, breadth first "
        "over the prompts. A verdict is never edited; one that was taken back is not counted.",
    )
    if plan["one_rater_may_meet_a_baseline_text_again"]:
        yield Point(
            "Repeats", "One rater may have read the same baseline text in several pairs: this was allowed at launch."
        )
    yield Point(
        "Win rate",
        "The share of votes that prefer the challenger, counted by checkpoint and never by side; a tie, also "
        "one of two bad texts, is half. At 50% nobody is preferred.",
    )
    yield Point(
        "Ranges",
        "Votes on the same prompt resemble each other, so the uncertainty is computed over prompts: the "
        "variance between them says as how many independent votes these count (Miller, arXiv 2411.00640). The fixed "
        "range is Wilson's interval with that number and Student's t over the prompts. It holds the true rate on "
        "prompts like these in 95 of 100 studies, when it is read once, after the last vote, as here. While votes come "
        "in, the pages of the arena show a wider, live range instead, which stays right however often somebody looks "
        "(Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, arXiv 1810.08240). It is not in this report.",
    )
    yield Point(
        "Too few",
        "Below 5 prompts, 5 votes that are not ties, or the weight of 10 independent votes there is no range, "
        "because it would hold almost anything.",
    )
    yield Point(
        "Settled pairs",
        "Two identical texts are a tie and an empty text loses without a voter. Such pairs stand beside "
        "the result and never in it, and neither do placebo, gold and canary pairs or pairs shown again.",
    )
    rule = told["excluded"]["sentence"] if told["excluded"]["rule"] else "This plan has none."
    yield Point("Leaving raters out", f"Only by a rule that was fixed at launch. {rule}")
    if told["judges"]:
        yield Point(
            "Judges",
            "A judge sees each pair in both orders, which together are one observation: their mean. A reply "
            "without a legal choice is kept and counted, and is never a verdict. What people and judges say together "
            "is prediction-powered inference (Angelopoulos and others, arXiv 2301.09633 and 2311.01453): the verdicts "
            "on all pairs, corrected by how far judges are off where people voted too, so that a bias of judges does "
            "not enter it.",
        )
