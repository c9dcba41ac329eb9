"""``reports/references.bib`` is sound: braces close, no key twice, no field missing that the kind of
entry needs.
"""

import json
import re
import unicodedata

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


def links(number):
    """(text, address without its host) of every paper that the notebook ``number`` links."""
    [path] = paths.NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    hosts = r"https://(?:doi\.org/|arxiv\.org/abs/|www\.jstor\.org/|proceedings\.mlr\.press/)"
    return re.findall(rf"\[([^\]]+)\]\({hosts}([\w./:()-]+?)\)(?!\w)", prose)


def reference(address):
    """The fields of the entry of a DOI, an arXiv number or the end of a URL."""
    found = [
        fields
        for *_, fields in parse(TEXT)
        if address in (fields.get("doi"), fields.get("eprint"))
        or fields.get("url", "").endswith("/" + address)
    ]
    assert len(found) == 1, f"{len(found)} references have {address}"
    return found[0]


def plain(text):
    """``text`` without TeX's braces and without accents."""
    text = re.sub(r"\\[\"'`^~v]|[{}]", "", text).replace("\\o", "o").replace("ø", "o")
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


LINKING = ["01", "02", "03", "04", "05", "06", "07", "08", "09", "11", "12", "13", "14", "15", "16"]


@pytest.mark.parametrize("number", LINKING)
def test_every_paper_that_a_lesson_links_is_among_the_references(number):
    assert links(number)
    for _, address in links(number):
        reference(address)


@pytest.mark.parametrize("number", LINKING)
def test_a_link_that_names_a_year_names_the_first_author_and_year_of_the_reference(number):
    for text, address in links(number):
        if year := re.search(r"[ (](\d{4})\)?$", text):
            fields = reference(address)
            family = fields["author"].partition(",")[0]
            assert (year[1], plain(family) in plain(text)) == (fields["year"], True), text


def test_names_lose_their_accents():
    assert plain(r"K{\"u}nzel and Sch{\"o}lkopf") == plain("Künzel and Schölkopf")
    assert plain(r"Baltru{\v{s}}aitis") == plain("Baltrušaitis") == "Baltrusaitis"
