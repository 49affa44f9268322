"""The figures of a run as they are printed."""

from typing import Any

from app.bench.calibration import COVERED_AT_LEAST, LIVE_MISSES_AT_MOST, Calibrated, Misses
from app.bench.generation import GenerationMeasured, Writer
from app.bench.judge import JudgesMeasured
from app.bench.stats import StatsMeasured
from app.bench.strengths import StrengthsMeasured
from app.bench.train import Contestant, TrainMeasured
from app.bench.vote import Measured, cores
from app.providers.prices import in_words


def row(one: Measured) -> dict[str, object]:
    """One line of the table."""
    return {
        "database": one.database,
        "raters": one.raters,
        "votes": one.votes,
        "votes/s": one.votes_per_second,
        "issue p50/p99 ms": "{} / {}".format(*one.issue_ms),
        "vote p50/p99 ms": "{} / {}".format(*one.cast_ms),
        "vote : bare insert": one.cast_against_bare,
        "raters' own CPU": f"{one.generator_cpu:.0%} of one of {cores()} cores",
    }


def sentence(one: Measured) -> str:
    """What became of the votes."""
    checked = one.audit
    crash = (
        f"{one.acknowledged_before_crash} were acknowledged before kill -9, {one.lost_in_crash} of them missing then"
    )
    if one.holds:
        return (
            f"{one.database}: all {one.votes} acknowledged votes are there once ({crash}), tallies and seals verify, "
            f"orders {checked.first_is_a} to {checked.second_is_a}."
        )
    first = f" First: {checked.mismatches[0]}" if checked.mismatches else ""
    return (
        f"{one.database}: {checked.lost} votes lost and {checked.doubled} doubled of {one.votes} acknowledged "
        f"({crash}), {checked.uneven} pairs with uneven orders, {len(checked.mismatches)} mismatches.{first}"
    )


def judges_sentence(one: JudgesMeasured) -> str:
    """What became of the pairs and of the money."""
    ends = ", ".join(f"{count} {state}" for state, count in sorted(one.states.items()))
    calls = ", ".join(f"{count} {state}" for state, count in sorted(one.calls.items()))
    first = f" First mismatch: {one.mismatches[0]}" if one.mismatches else ""
    return (
        f"{one.once} of {one.wanted} showings of a pair ended in exactly one state ({ends}); {len(one.mismatches)} "
        f"mismatches.{first} Calls: {calls}. At kill -9, {one.in_flight_at_kill} calls had no reply; "
        f"{one.paid_again} were paid for again, and {one.paid_again_for_faults} more after replies that the server "
        f"spoiled. Simulated money: {in_words(one.spent_micro_dollars)} known, at most "
        f"{in_words(one.unknown_micro_dollars)} for lost replies, {in_words(one.charged_micro_dollars)} by the "
        f"server's books, cap {in_words(one.cap_micro_dollars)}. {one.seconds} s, {one.calls_per_second} calls/s."
    )


def stats_row(one: StatsMeasured) -> list[dict[str, object]]:
    """One line of the table for each number of verdicts."""
    return [
        {
            "database": one.database,
            "verdicts": step.verdicts,
            "results ms": step.results_ms,
            "statistics ms": step.statistics_ms,
            "live page ms": step.page_ms,
            "snapshot s": step.snapshot_seconds,
        }
        for step in one.steps
    ]


def stats_sentence(one: StatsMeasured) -> str:
    """Whether all numbers are the same, and whether time grows with verdicts."""
    few, many = one.steps[0], one.steps[-1]
    same = f"first difference: {one.differences[0]}" if one.differences else "tallies, votes and snapshot tell the same"
    return (
        f"{one.database}: {one.pairs} pairs, {same}. With {many.verdicts / few.verdicts:.0f} times the verdicts on "
        f"them the results take {one.growth:.2f} times as long. {many.imported_per_second:.0f} verdicts were imported "
        "in a second."
    )


def strengths_sentence(one: StrengthsMeasured) -> str:
    """How long Bradley-Terry takes."""
    ours = (
        f"Bradley-Terry strengths of {one.checkpoints} checkpoints from {one.verdicts} verdicts: {one.fit_ms} ms from "
        f"the tallies, {one.counted_ms} ms with counting them"
    )
    if one.evalica_ms is None:
        return f"{ours}. evalica is not installed here, so nothing was compared."
    return (
        f"{ours}, {one.evalica_ms} ms by evalica: {one.times_faster} times faster, {one.times_faster_counted} with "
        f"counting. The largest difference of two strengths is {one.furthest_apart:.1e}."
    )


def calibration_sentence(one: Calibrated) -> str:
    """How often intervals missed the truth."""
    votes, looks = sum(study.votes for study in one.studies), sum(study.looks for study in one.studies)
    return (
        f"{len(one.studies)} studies, {votes} votes, {looks} looks at the report. The live interval ever missed the "
        f"truth in {_missed(one.live)}, less than {LIVE_MISSES_AT_MOST:.0%} is wanted. At the end the fixed interval "
        f"missed in {_missed(one.fixed)} and, with a judge who is {100 * one.judge_off_by:+.0f} points off, the "
        f"combined one in {_missed(one.combined)}; at most {1 - COVERED_AT_LEAST:.0%} is wanted. "
        f"{one.seconds:.0f} s in {one.processes} processes."
    )


def _missed(found: Misses) -> str:
    low, high = found.interval
    return f"{found.missed} of {found.studies} ({low:.1%} to {high:.1%})"


def train_row(one: Contestant) -> dict[str, Any]:
    """One line of the table."""
    return {
        "contestant": one.name,
        "tokens/s": f"{one.tokens_per_second:.1f}",
        "of ours": f"{one.speed_of_ours:.2f}",
        "peak GB": f"{one.peak_bytes / 1e9:.2f}",
        "first loss": f"{one.first_loss:.3f}",
        "last loss": f"{one.last_loss:.3f}",
    }


def train_sentence(found: TrainMeasured) -> str:
    """How far we are from the peer, and from what the machine could do at most."""
    return (
        f"{found.speed_ratio:.2f} times the tokens a second of TRL at its better setting, {found.memory_ratio:.2f} "
        f"times its memory. Matrix products run at {found.flops / 1e9:.0f} GFLOP/s here, which would allow "
        f"{found.ceiling:.0f} tokens/s: {found.share_of_ceiling:.0%} of that is reached."
    )


def generation_row(one: Writer) -> dict[str, Any]:
    """One line of the table."""
    return {
        "contestant": one.name,
        "tokens/s": f"{one.tokens_per_second:.1f}",
        "of ours": f"{one.speed_of_ours:.2f}",
        "peak GB": f"{one.peak_bytes / 1e9:.2f}",
        "tokens": one.tokens,
        "cut": one.cut,
    }


def generation_sentence(found: GenerationMeasured) -> str:
    """How far we are from the peers, and from what memory allows."""
    beside = found.against_llama_cpp
    peers = (
        f"{found.against_one_by_one:.2f} times the tokens a second of transformers at its best batch size "
        f"({found.best_one_by_one.name}), checkpoint after checkpoint, and {found.against_mixed:.2f} times those of "
        "peft's mixed batches."
    )
    llama = (
        f"{beside:.2f} times those of llama.cpp, which answers as the bare base on 4-bit weights."
        if beside
        else "llama.cpp was not measured: it is where `pip install xllamacpp` was done and the small model is asked."
    )
    limit = (
        f"Reading the weights once for each step would allow {found.bandwidth_limit:.0f} tokens a second, of which "
        f"this is {found.share_of_bandwidth:.0%}."
    )
    return f"{peers} {llama} {limit}"
