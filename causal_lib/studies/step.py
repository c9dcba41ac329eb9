"""`Step`: what one step of a study found, as JSON types, with its verdict and its sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from causal_lib.reasons import Reason
from causal_lib.studies.templates import LANGUAGES, say

VERDICTS = ("supported", "weak", "extrapolated", "refused")
"""From the best to the worst; the verdict of a whole is the worst of its parts."""


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One step's finding; prints as its sentences.

    Attributes
    ----------
    name : of the step.
    verdict : one of `VERDICTS`.
    says : sentences, each the key of one in ``sentences.toml`` with the values to put in; a value
        that is a `Reason` is said in the language of the sentence.
    reasons : why the verdict is not 'supported'; each a `Reason`, so that every language has it.
    facts, tables : numbers by name; rows by the name of their table. A `Reason` in a table is said
        in the language of the report.
    """

    name: str
    verdict: str = "supported"
    says: tuple[tuple[str, dict], ...] = ()
    reasons: tuple[Reason, ...] = ()
    facts: Mapping = field(default_factory=dict)
    tables: Mapping[str, list] = field(default_factory=dict)

    def __post_init__(self):
        if english := [one for one in self.reasons if not isinstance(one, Reason)]:
            raise TypeError(f"{english[0]!r} is no Reason: word it in reasons.toml")

    def sentences(self, language: str = "en") -> list[str]:
        """The sentences in ``language``."""
        return [say(key, language, **values) for key, values in self.says]

    def to_dict(self) -> dict:
        """The step as JSON types, with its sentences in English."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "sentences": self.sentences(),
            "reasons": list(self.reasons),
            "facts": plain(self.facts),
            "tables": plain(self.tables),
        }

    def stored(self) -> dict:
        """All of the step as JSON types: `Step.restored` gives the same step back."""
        return self.to_dict() | {
            name: plain(getattr(self, name), texts=True)
            for name in ("says", "reasons", "facts", "tables")
        }

    @classmethod
    def restored(cls, kept: Mapping) -> "Step":
        """The step that `stored` wrote."""
        return cls(
            kept["name"],
            kept["verdict"],
            tuple((key, _with_reasons(values)) for key, values in kept["says"]),
            tuple(_with_reasons(kept["reasons"])),
            _with_reasons(kept["facts"]),
            _with_reasons(kept["tables"]),
        )

    def __repr__(self):
        text = " ".join(self.sentences())
        why = "; ".join(self.reasons)
        if why:
            text = f"{text} {why[:1].upper()}{why[1:]}."
        return f"{self.name} ({self.verdict}): {text}"


def worst(*verdicts: str) -> str:
    """The gravest of ``verdicts``.

    >>> worst("supported", "weak")
    'weak'
    """
    return max(verdicts, key=VERDICTS.index)


def _with_reasons(value):
    """What `plain` gave, with the reasons whose texts were kept."""
    if isinstance(value, list):
        return [_with_reasons(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == set(LANGUAGES):
        return Reason.from_texts(value)
    return {key: _with_reasons(one) for key, one in value.items()}


def plain(value, *, texts: bool = False):
    """``value`` as JSON types; numbers that are not finite as None.

    With ``texts`` a `Reason` becomes its texts by language, else the English one.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one, texts=texts) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one, texts=texts) for one in value]
    if texts and isinstance(value, Reason):
        return dict(value.texts)
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value if value is None else str(value)
