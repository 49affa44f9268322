"""``--exclude``: the rule by which raters are left out, as it is typed."""

import re
from collections.abc import Sequence

from app.domain.errors import BadInputError

_NAMES = {"gold<": "gold_min", "agreement<": "agreement_min", "fast>": "fast_max", "side>": "side_max"}
_TYPED = re.compile(r"([a-z]+[<>])([0-9]*\.?[0-9]+)(?:@([0-9]+))?")
EXCLUSION_HELP = "gold<0.7 (or gold<0.7@6: from 6 gold votes on), agreement<0.6, fast>0.5, side>0.9"


def exclusion_of(typed: Sequence[str]) -> dict[str, float]:
    """What was typed as the fields of a plan; ranges are checked at launch.

    Raises:
        BadInputError: one cannot be read, or is given twice.
    """
    rule: dict[str, float] = {}
    for one in typed:
        found = _TYPED.fullmatch(one.replace(" ", ""))
        name = _NAMES.get(found[1]) if found else None
        if found is None or name is None or name in rule:
            raise BadInputError(
                f"Nothing was launched: {one!r} cannot be read as a rule for leaving raters out, or is there twice. "
                f"Write {EXCLUSION_HELP}."
            )
        rule[name] = float(found[2])
        if found[3]:
            rule[f"{name.partition('_')[0]}_votes"] = int(found[3])
    return rule
