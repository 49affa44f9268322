"""The figures of a run as they are printed."""

from app.bench.vote import Measured, cores


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
