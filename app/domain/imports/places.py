"""Which replicate a row belongs to, where files give texts again and again instead of numbers."""

from app.domain.imports.items import PairItem, ResponseItem
from app.domain.imports.tables import key_of


class Places:
    """Finds for each pair of texts the first replicate in which its checkpoints gave these texts, or none yet."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str, int], str] = {}
        self._pairs: set[tuple[str, str, str, int]] = set()

    def place(
        self, prompt: str, one: tuple[str, str | None], other: tuple[str, str | None], *, anew: bool = False
    ) -> tuple[PairItem, list[ResponseItem]]:
        """The pair, and its responses where they are new. ``anew``: a pair that was placed before is another pair."""
        (a, text_a), (b, text_b) = one, other
        replicate = 0
        low, high = sorted((a, b))
        while not (self._fits(prompt, a, replicate, text_a) and self._fits(prompt, b, replicate, text_b)) or (
            anew and (prompt, low, high, replicate) in self._pairs
        ):
            replicate += 1
        self._pairs.add((prompt, low, high, replicate))
        new = []
        for name, text in ((a, text_a), (b, text_b)):
            if text is not None and (prompt, name, replicate) not in self._texts:
                self._texts[prompt, name, replicate] = key_of(text)
                new.append(ResponseItem(prompt, name, text, replicate))
        return PairItem(prompt, a, b, replicate), new

    def _fits(self, prompt: str, name: str, replicate: int, text: str | None) -> bool:
        there = self._texts.get((prompt, name, replicate))
        return there is None or text is None or there == key_of(text)
