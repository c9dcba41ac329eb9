"""The texts of a study: page, Markdown, roles and rules as jinja2 templates, sentences as TOML."""

import re
import tomllib
from functools import cache
from importlib import resources
from string import Formatter

LANGUAGES = ("en", "zh")


def render(name: str, **values) -> str:
    """Template ``name`` of this folder with ``values``; those of HTML escape every value."""
    return _environment().get_template(name).render(**values)


def say(key: str, language: str = "en", **values) -> str:
    """The sentence ``key`` of ``sentences.toml`` in ``language`` with ``values`` put in."""
    return texts_of("sentences.toml")[key][language].format(**values)


@cache
def texts_of(name: str) -> dict[str, dict]:
    """The TOML file ``name`` of this folder."""
    return tomllib.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))


def known(key: str) -> bool:
    """Whether there is a sentence ``key``."""
    return key in texts_of("sentences.toml")


def in_language(text: str, language: str) -> str:
    """A reason or note in ``language``; as it is where ``chinese.toml`` lacks it.

    >>> in_language("cost: constant, left out", "zh")
    'cost：取值不变，不使用'
    """
    if language == "en":
        return text
    for pattern, answer in _texts():
        if found := pattern.fullmatch(text):
            values = {name: in_language(part, language) for name, part in found.groupdict().items()}
            return answer.format(**values)
    return text


def word(text: str, language: str) -> str:
    """A heading of a table, or a word in it, in ``language``."""
    return text if language == "en" else texts_of("chinese.toml")["words"].get(text, text)


@cache
def _texts():
    """Patterns of English texts, and the Chinese ones with the same names in braces."""
    found = []
    for english, chinese in texts_of("chinese.toml")["texts"].items():
        pattern = ""
        for fixed, name, kind, _ in Formatter().parse(english):
            pattern += re.escape(fixed)
            if name:
                value = r"[\d.,%e+-]+" if kind == "n" else ".*?"
                pattern += f"(?P<{name}>{value})"
        found.append((re.compile(pattern, re.DOTALL), chinese))
    return found


@cache
def _environment():
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("causal_lib.studies", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["in_language"] = in_language
    return made
