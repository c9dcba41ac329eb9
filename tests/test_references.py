"""``reports/references.bib`` is sound: braces close, no key twice, no field missing that the kind of
entry needs.
"""

import json
import re

import pytest

from causal_lib import paths

REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "misc": {"author", "title", "howpublished", "year"},
}
TEXT = (paths.ROOT / "reports" / "references.bib").read_text(encoding="utf-8")


def parse(text):
    """Entries of a .bib as a list of (kind, key, fields); ValueError where braces do not close."""
    found = []
    at = 0
    while (start := re.compile(r"@(\w+)\{([^,\s]+),").search(text, at)) is not None:
        depth = 1
        end = opened = start.end()
        fields = {}
        while depth:
            if end == len(text) or (depth == 1 and text[end] == "@"):
                raise ValueError(f"{start[2]}: braces do not close")
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 2 and text[end] == "{":
                name = text[:end].rsplit("\n", 1)[-1].strip(" =")
                opened = end + 1
            elif depth == 1 and text[end] == "}":
                fields[name] = text[opened:end]
            end += 1
        found.append((start[1], start[2], fields))
        at = end
    return found


def problems(text):
    """What is wrong with a .bib, as sentences."""
    try:
        found = parse(text)
    except ValueError as error:
        return [str(error)]
    keys = [key for _, key, _ in found]
    return [f"{key}: given twice" for key in sorted({k for k in keys if keys.count(k) > 1})] + [
        f"{key}: no {name}"
        for kind, key, fields in found
        for name in sorted(REQUIRED[kind] - fields.keys())
    ]


def test_the_references_are_sound_and_sorted():
    assert problems(TEXT) == []
    keys = [key for _, key, _ in parse(TEXT)]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (TEXT.replace("{MIT Press}", "{MIT Press"), "goodfellow2016deep: braces do not close"),
        (TEXT + TEXT.split("\n\n")[1], "abadi2016tensorflow: given twice"),
        (re.sub(r"  year = \{1995\},\n", "", TEXT), "pearl1995causal: no year"),
    ],
)
def test_a_broken_copy_is_seen(broken, says):
    assert says in problems(broken)


@pytest.mark.parametrize("number", ["07", "08", "09", "11", "12", "13", "15", "16"])
def test_every_paper_that_a_lesson_links_is_among_the_references(number):
    [path] = paths.NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    linked = re.findall(r"(?:doi\.org|arxiv\.org/abs)/([\w./()-]+?)\)", prose)
    assert linked
    fields = [one for *_, one in parse(TEXT)]
    known = {one.get("doi") for one in fields} | {one.get("eprint") for one in fields}
    assert set(linked) <= known
