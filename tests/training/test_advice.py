"""What the validation loss says in words, and for how long it has not fallen."""

import math

import pytest

from training.advice import advice, measurements_since_best
from training.events import Evaluated


def measured(*losses: float) -> list[Evaluated]:
    """The base's loss, then the adapter's every ten steps."""
    return [Evaluated(10 * place, float(place), loss, math.exp(loss), 100) for place, loss in enumerate(losses)]


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((3.9,), ""),
        ((3.9, 3.4), ""),
        ((3.9, 3.465, 3.439), "is still falling (3.465 to 3.439 at the last measurement)"),
        ((3.9, 3.4, 3.395), ""),
        ((3.9, 3.4, 3.2, 3.5), "was lowest at step 20 (3.200) and is 3.500 at the end"),
        ((3.9, 4.1), "of the base is 3.900 and that of the adapter 4.100"),
        ((), ""),
    ],
)
def test_the_course_of_the_loss_in_words(losses: tuple[float, ...], said: str) -> None:
    assert said in advice(measured(*losses))
    assert bool(advice(measured(*losses))) is bool(said)


@pytest.mark.parametrize(
    ("losses", "passed"), [((3.9,), 0), ((3.9, 3.4), 0), ((3.9, 3.4, 3.5, 3.4), 2), ((3.0, 3.4, 3.5, 3.3), 0)]
)
def test_measurements_are_counted_since_the_first_that_was_lowest(losses: tuple[float, ...], passed: int) -> None:
    assert measurements_since_best(measured(*losses)) == passed
