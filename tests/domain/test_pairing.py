import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import BadInputError
from app.domain.pairing import Matchup, matchups, planned_pairs, response_seed, settle, settled_outcome
from app.domain.terms import Design, Outcome, Settled

fingerprints = st.text("0123456789abcdef", min_size=8, max_size=8)
blank = st.text(" \t\n", max_size=3)
written = st.text(max_size=20).filter(str.strip)


def some_seed(
    batch_seed: int = 7, prompt: str = "c0ffee", replicate: int = 0, fingerprint: str = "ab12", twin: int = 0
) -> int:
    return response_seed(batch_seed, prompt, replicate, fingerprint, twin)


def test_a_response_seed_never_changes_between_versions() -> None:
    assert some_seed() == 8046839154748619558


@given(st.integers(), fingerprints, st.integers(0, 9), fingerprints, st.integers(0, 1))
def test_a_response_seed_fits_every_database(
    batch_seed: int, prompt: str, replicate: int, fingerprint: str, twin: int
) -> None:
    assert 0 <= response_seed(batch_seed, prompt, replicate, fingerprint, twin) < 2**63


def test_each_part_of_the_key_changes_the_seed() -> None:
    assert some_seed() == some_seed()
    changed = {
        some_seed(batch_seed=8),
        some_seed(prompt="c0ffe"),
        some_seed(replicate=1),
        some_seed(fingerprint="ab1"),
        some_seed(twin=1),
        some_seed(prompt="c0ffeea", fingerprint="b12"),
        some_seed(replicate=1, twin=1),
    }
    assert len(changed - {some_seed()}) == 7


def test_seeds_use_all_their_bits() -> None:
    seeds = [some_seed(replicate=replicate) for replicate in range(200)]
    for bit in range(63):
        ones = sum(seed >> bit & 1 for seed in seeds)
        assert 50 < ones < 150, bit


# ---------------------------------------------------------------------------------------------- settled pairs


@given(written)
def test_identical_texts_are_a_tie(text: str) -> None:
    assert settle(text, text) is Settled.IDENTICAL
    assert settled_outcome(Settled.IDENTICAL) is Outcome.TIE


@given(written, blank)
def test_an_empty_text_loses(text: str, nothing: str) -> None:
    assert settle(nothing, text) is Settled.EMPTY_FIRST
    assert settle(text, nothing) is Settled.EMPTY_SECOND
    assert settled_outcome(Settled.EMPTY_FIRST) is Outcome.SECOND
    assert settled_outcome(Settled.EMPTY_SECOND) is Outcome.FIRST


@given(blank, blank)
def test_two_empty_texts_are_a_tie(one: str, other: str) -> None:
    assert settle(one, other) is Settled.BOTH_EMPTY
    assert settled_outcome(Settled.BOTH_EMPTY) is Outcome.TIE


@given(written, written)
def test_two_different_texts_need_a_voter(one: str, other: str) -> None:
    assert (settle(one, other) is None) == (one != other)


def test_texts_that_differ_in_white_space_only_need_a_voter() -> None:
    assert settle("an answer", "an answer\n") is None


# --------------------------------------------------------------------------------------------------- matchups


def test_a_star_sets_every_challenger_against_the_baseline() -> None:
    assert matchups(Design.STAR, "base", ["c2", "c1"]) == [Matchup("base", "c2"), Matchup("base", "c1")]


def test_a_round_robin_adds_every_two_challengers_the_smaller_fingerprint_first() -> None:
    assert matchups(Design.ROUND_ROBIN, "z-base", ["c2", "c3", "c1"]) == [
        ("z-base", "c2"),
        ("z-base", "c3"),
        ("z-base", "c1"),
        ("c2", "c3"),
        ("c1", "c2"),
        ("c1", "c3"),
    ]


@given(st.sampled_from(Design), st.lists(fingerprints, min_size=2, max_size=7, unique=True))
def test_every_two_checkpoints_meet_at_most_once(design: Design, checkpoints: list[str]) -> None:
    baseline, *challengers = checkpoints
    found = matchups(design, baseline, challengers)
    assert len({frozenset(matchup) for matchup in found}) == len(found)
    assert [matchup.second for matchup in found if matchup.first == baseline] == challengers
    between = [matchup for matchup in found if baseline not in matchup]
    assert all(matchup.first < matchup.second for matchup in between)
    count = len(challengers)
    assert len(between) == (0 if design is Design.STAR else count * (count - 1) // 2)


@pytest.mark.parametrize("design", Design)
@pytest.mark.parametrize(
    ("challengers", "sentence"),
    [
        ([], "at least one challenger"),
        (["c1", "base"], "base is the baseline and cannot also be a challenger"),
        (["c1", "c2", "c1"], "c1 is named twice"),
    ],
)
def test_an_impossible_field_is_refused_in_one_sentence(design: Design, challengers: list[str], sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence) as refusal:
        matchups(design, "base", challengers)
    assert "nothing was launched" in refusal.value.message


def test_planned_pairs_are_matchups_on_prompts_and_replicates() -> None:
    field = matchups(Design.ROUND_ROBIN, "base", ["c1", "c2", "c3"])
    assert planned_pairs(prompts=57, replicates=2, matchups=len(field)) == 57 * 2 * 6
