"""The texts of a study: page, Markdown, roles and rules as jinja2 templates, sentences as TOML."""

import tomllib
from functools import cache
from importlib import resources

from causal_lib.reasons import Reason

LANGUAGES = ("en", "zh")


def render(name: str, **values) -> str:
    """Template ``name`` of this folder with ``values``; those of HTML escape every value."""
    return _environment().get_template(name).render(**values)


def say(key: str, language: str = "en", **values) -> str:
    """The sentence ``key`` of ``sentences.toml`` in ``language`` with ``values`` put in; those that
    are a `Reason` in the same language.
    """
    for name, value in values.items():
        if isinstance(value, Reason):
            values[name] = value.in_language(language)
    return texts_of("sentences.toml")[key][language].format(**values)


@cache
def texts_of(name: str) -> dict[str, dict]:
    """The TOML file ``name`` of this folder."""
    return tomllib.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))


def known(key: str) -> bool:
    """Whether there is a sentence ``key``."""
    return key in texts_of("sentences.toml")


def word(text: str, language: str) -> str:
    """A heading of a table, or a word in it, in ``language``."""
    return text if language == "en" else texts_of("words.toml").get(text, text)


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
    return made
