import pytest

from app.domain.checks import gold_words, leak_words, placebo_words, recognition_words, suspect_words, without_words
from app.domain.intervals import live, too_early
from app.domain.pairing import drawn
from app.domain.tally import ClusterSums, Tally, summarise
from app.domain.words import Standing


@pytest.mark.parametrize(
    ("tally", "behaves", "words"),
    [
        (Tally(0, 0, 0), None, "No votes yet on the placebo pairs"),
        (Tally(2, 1, 0), None, "preferred 2 to 1. Too early to say"),
        (Tally(9, 8, 1), True, "The placebo behaves: identical checkpoints were preferred 9 to 8, with 1 tie, and"),
        (Tally(14, 2, 2), False, "The placebo is off: identical checkpoints were preferred 14 to 2, with 2 ties, and"),
    ],
)
def test_the_placebo_in_words(tally: Tally, behaves: bool | None, words: str) -> None:
    assert words in placebo_words(tally, behaves)


@pytest.mark.parametrize(
    ("tally", "words"),
    [
        (Tally(0, 0, 0), "No votes yet on the gold pairs, of which the better text is known."),
        (Tally(4, 0, 0), "4 of 4 votes on gold pairs chose the text that is known to be better."),
        (Tally(3, 0, 1), "3 of 4 votes on gold pairs chose the text that is known to be better; 1 called it a tie."),
        (Tally(2, 1, 1), "better; 1 chose the worse one and 1 called it a tie."),
    ],
)
def test_gold_in_words(tally: Tally, words: str) -> None:
    assert gold_words(tally).endswith(words)


def test_the_stop_notice_counts() -> None:
    assert suspect_words(1, 8).startswith("Mapping suspect: 1 of 8 votes of the canary script")
    assert suspect_words(1, 1).startswith("Mapping suspect: 1 of 1 vote of the canary script")


def test_a_draw_depends_on_its_seed_and_purpose_alone() -> None:
    hashes = [f"{number:064x}" for number in range(40)]
    places = drawn(7, "placebo", hashes, 5)
    assert places == sorted(set(places)) == drawn(7, "placebo", hashes, 5)
    assert len(places) == 5
    assert set(places) <= set(drawn(7, "placebo", hashes, 9))
    assert len({tuple(places), tuple(drawn(8, "placebo", hashes, 5)), tuple(drawn(7, "gold", hashes, 5))}) == 3
    assert drawn(7, "placebo", hashes, 40) == list(range(40))


@pytest.mark.parametrize(
    ("flagged", "shown", "unchecked", "words"),
    [
        (0, 0, 0, "There is no pair yet in which a text could say who wrote it."),
        (0, 1, 0, "In the only pair no text says who wrote it."),
        (1, 1, 0, "In 1 of 1 pair a text says who wrote it."),
        (0, 57, 0, "In none of the 57 pairs does a text say who wrote it."),
        (3, 1057, 0, "In 3 of 1,057 pairs a text says who wrote it."),
        (0, 3, 1, "stay in all counts. In none of them does a text say who wrote it."),
        (
            2,
            3,
            1,
            "2 of 3 pairs were looked at; the others are from before texts were, and stay in all counts. In 2 of ",
        ),
        (0, 3, 3, "Whether a text says who wrote it is not known: these pairs are from before texts were looked at."),
    ],
)
def test_texts_that_name_their_author_in_words(flagged: int, shown: int, unchecked: int, words: str) -> None:
    assert words in leak_words(flagged, shown, unchecked)


@pytest.mark.parametrize(
    ("yes", "answered", "asked", "words"),
    [
        (0, 0, False, "Raters are not asked whether they recognised who wrote one of the texts."),
        (0, 0, True, "nobody has answered yet."),
        (0, 1, True, "The only rater who answered did not think that they recognised who"),
        (1, 1, True, "The only rater who answered thought that they recognised who"),
        (0, 12, True, "In none of 12 answers did a rater think"),
        (9, 40, True, "In 9 of 40 answers (23%) a rater thought"),
        (1, 2, False, "In 1 of 2 answers (50%) a rater thought"),
    ],
)
def test_recognition_in_words(yes: int, answered: int, asked: bool, words: str) -> None:
    assert words in recognition_words(yes, answered, asked=asked)


@pytest.mark.parametrize(
    ("wins", "losses", "with_all", "words"),
    [
        (18, 2, Standing.BETTER, "Without these pairs new is still better than old: a win rate of 90%, and"),
        (
            2,
            18,
            Standing.BETTER,
            "Without these pairs new is worse than old: a win rate of 10%, and the true one could",
        ),
        (10, 10, Standing.OPEN, "Without these pairs it is still open between new and old: a win rate of 50%, and"),
        (10, 10, Standing.WORSE, "With all votes it is worse."),
        (2, 1, Standing.BETTER, "Without these pairs: new is preferred in 2 of 3. Too early for a range: it needs"),
        (2, 1, Standing.TOO_EARLY, "and has 3."),
        (0, 0, Standing.TOO_EARLY, "Without these pairs: No votes yet on new against old."),
    ],
)
def test_what_is_left_in_words(wins: int, losses: int, with_all: Standing, words: str) -> None:
    tallies = [Tally(1, 0, 0)] * wins + [Tally(0, 1, 0)] * losses
    summary = summarise(ClusterSums.from_tallies(tallies))
    interval = None if summary is None or too_early(summary) else live(summary)
    said = without_words("these pairs", "new", "old", Tally(wins, losses, 0), summary, interval, with_all)
    assert words in said
    assert ("With all votes" in said) is ((with_all, wins) in {(Standing.BETTER, 2), (Standing.WORSE, 10)})
