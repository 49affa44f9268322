"""Which server writes, and what it calls a checkpoint."""

import pytest

from app.domain.errors import BadInputError
from app.domain.serving import Serving, checked_url, read_names


def test_what_is_stored_is_read_back() -> None:
    serving = Serving("http://gpu:8000/v1", {"f1": "tiny", "f2": "brie"})
    assert Serving.of(serving.as_json()) == serving
    assert Serving.of(None) is None
    assert serving.place == "gpu:8000"


@pytest.mark.parametrize("url", ["http://gpu:8000/v1", " http://gpu:8000/v1/ ", "http://gpu:8000/v1//"])
def test_an_address_is_stored_in_one_way(url: str) -> None:
    assert checked_url(url) == "http://gpu:8000/v1"


@pytest.mark.parametrize(
    "url", ["gpu:8000/v1", "ftp://gpu/v1", "http://", "http://gpu:x/v1", "http://gpu:0/v1", "http://gpu/" + "v" * 300]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInputError, match="is no address of a server"):
        checked_url(url)


@pytest.mark.parametrize("url", ["http://me:secret@gpu/v1", "http://gpu/v1?key=secret", "http://gpu/v1#secret"])
def test_an_address_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(BadInputError, match="ARENA_GENERATION_API_KEY") as refusal:
        checked_url(url)
    assert "secret" not in refusal.value.message


def test_names_are_read_from_pairs() -> None:
    assert read_names(["base = SmolLM2-135M", "brie-v2/epoch-2=org/brie=2"]) == {
        "base": "SmolLM2-135M",
        "brie-v2/epoch-2": "org/brie=2",
    }


@pytest.mark.parametrize("pairs", [["brie"], ["=x"], ["brie="], ["brie=" + "x" * 201], ["a=b", "a=c"]])
def test_what_names_nobody_is_refused(pairs: list[str]) -> None:
    with pytest.raises(BadInputError, match="Nothing was launched"):
        read_names(pairs)
