"""`Reason`: why an answer is less than supported, or what was done to a log, in two languages."""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from importlib import resources


class Reason(str):
    """The sentence ``key`` of ``reasons.toml`` in English, with ``values`` put in.

    It is an ordinary string, which can say itself in the other languages of the file. Where a value
    is a `Reason`, it is said in the same language.

    >>> Reason("constant", column="cost").in_language("zh")
    'cost：取值不变，不使用'
    """

    texts: Mapping[str, str]

    def __new__(cls, key: str, /, **values):
        """The sentence ``key``; KeyError where there is none, or where a value is missing."""
        return cls.from_texts(
            {
                language: text.format(
                    **{name: in_language(value, language) for name, value in values.items()}
                )
                for language, text in _sentences()[key].items()
            }
        )

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> "Reason":
        """The reason whose ``texts``, by language, were kept."""
        made = str.__new__(cls, texts["en"])
        made.texts = dict(texts)
        return made

    @classmethod
    def of(cls, error: Exception) -> "Reason":
        """The reason that ``error`` was raised with, or its message, which is English only."""
        [*said] = error.args
        if said and isinstance(said[0], cls):
            return said[0]
        return cls("as_said", text=str(error))

    @classmethod
    def chain(cls, key: str, parts: Iterable[str]) -> str:
        """``parts``, at least one, joined by the sentence ``key`` of ``one`` and ``other``."""
        return reduce(lambda one, other: cls(key, one=one, other=other), parts)

    def in_language(self, language: str) -> str:
        """The sentence in ``language``, 'en' or 'zh'."""
        return self.texts[language]

    def __reduce__(self):
        return Reason.from_texts, (self.texts,)


def in_language(value: str, language: str) -> str:
    """``value`` in ``language`` where it is a `Reason`, else as it is."""
    return value.in_language(language) if isinstance(value, Reason) else value


@cache
def _sentences():
    text = resources.files("causal_lib").joinpath("reasons.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
