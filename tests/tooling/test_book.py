"""The book: built whole from the committed notebooks, its links followed, its pages opened in a
browser without network.
"""

import os
import shutil
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causal_lib import cli, paths
from causal_lib.tooling import book
from causal_lib.tooling.notebooks import find
from causal_lib.tooling.readme import anchor_of, glossary_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site") / "book"
    warned = book.build(out)
    assert warned == []
    return out


def pages(site):
    return sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)


def test_every_notebook_has_a_page_in_both_languages_with_all_its_pictures(site):
    for path in find().values():
        pictures = sum(
            "image/png" in output.get("data", {})
            for cell in nbformat.read(path, as_version=4).cells
            for output in cell.get("outputs", [])
        )
        for place in (site, site / "zh"):
            page = BeautifulSoup(
                (place / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8"),
                "html.parser",
            )
            assert len(page.select(".cell_output img")) == pictures


def test_every_link_leads_to_a_file_and_an_anchor_that_are_there(site):
    parsed = {
        path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in pages(site)
    }
    anchors = {
        path: {tag["id"] for tag in page.select("[id]")} | {""} for path, page in parsed.items()
    }
    lost = []
    for path, page in parsed.items():
        for tag in page.select("a[href], img[src], script[src], link[href]"):
            address = urlsplit(tag.get("href") or tag.get("src"))
            if address.scheme in ("http", "https", "mailto", "data"):
                # a reader may go elsewhere, a page may not load from there
                loads = tag.name != "a" and address.scheme.startswith("http")
                if loads and tag.get("rel") != ["canonical"]:
                    lost.append(f"{path.relative_to(site)} loads {tag}")
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            if not target.exists():
                lost.append(f"{path.relative_to(site)} -> {address.path}")
            elif target in anchors and unquote(address.fragment) not in anchors[target]:
                lost.append(f"{path.relative_to(site)} -> {target.name}#{address.fragment}")
    assert lost == []


@pytest.mark.skipif(
    BROWSER is None and os.environ.get("CI") != "true", reason="no chromium, no google-chrome"
)
def test_a_browser_shows_every_page_without_error_without_network_and_no_wider_than_a_telephone(
    site,
):
    from playwright.sync_api import sync_playwright

    assert BROWSER is not None, "CI has no browser: apt-get install chromium"
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 844})
        tab.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request",
            lambda asked: (
                asked.url.startswith(("file:", "data:")) or wrong.append(f"asks for {asked.url}")
            ),
        )
        for path in pages(site):
            tab.goto(path.as_uri())
            width = tab.evaluate("document.documentElement.scrollWidth")
            if width > 390:
                wrong.append(f"{path.relative_to(site)} is {width} pixels wide")
        for place, query in ((site, "overlap"), (site / "zh", "后门路径")):
            tab.goto((place / "search.html").as_uri() + f"?q={query}")
            tab.wait_for_selector("#search-results li a")
        browser.close()
    assert wrong == []


def test_a_page_takes_its_chinese_text_from_the_metadata_and_folds_solutions(tmp_path):
    first = "# 01 Effects · 效应\n\n**Question.** Why?\n\nRuntime: 1 s.\n\n**摘要。** 短。"
    cells = [
        new_markdown_cell(first, metadata={"zh": "# 01 效应\n\n短。"}),
        new_code_cell("import numpy"),
        new_code_cell("# Solution 1\nassert 1", metadata={"tags": ["hide-input", "solution"]}),
        new_code_cell("x = 1", metadata={"tags": ["parameters"]}),
        new_markdown_cell("Not translated: $x^2$"),
    ]
    written = new_notebook(cells=cells)
    assert book.untranslated(written) == [4]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(written, tmp_path / "notebooks" / "01_effects.ipynb")
    (tmp_path / "notebooks" / "glossary.yaml").write_text(
        "- {term: A b, zh: 甲, en: An A., zh_text: 是甲。}", encoding="utf-8"
    )
    for language, title in (("en", "# 01 Effects"), ("zh", "# 01 效应")):
        book.write_source(tmp_path / language, language, tmp_path)
        page = nbformat.read(tmp_path / language / "notebooks/01_effects.ipynb", as_version=4)
        assert page.cells[0].source.startswith(title)
        assert [cell.metadata.tags for cell in page.cells] == [
            [],
            ["hide-input"],
            ["hide-input"],
            [],
            [],
        ]
    words = (tmp_path / "zh" / "reports" / "glossary.md").read_text(encoding="utf-8")
    assert "## A b\n\n甲：是甲。" in words


def test_formulas_become_mathml_and_an_unknown_one_stays_tex(monkeypatch):
    assert book.mathml(r"\frac{a}{b}", "block").startswith("<math")
    assert "<mfrac>" in book.mathml(r"\frac{a}{b}", "inline")
    assert book.mathml(r"\left( a < ", "inline") == r"<code>\left( a &lt;</code>"


def test_the_glossary_is_whole_and_its_page_up_to_date():
    terms = yaml.safe_load((paths.NOTEBOOKS / "glossary.yaml").read_text(encoding="utf-8"))
    anchors = [anchor_of(entry["term"]) for entry in terms]
    assert len(set(anchors)) == len(anchors)
    assert all(entry["en"].endswith(".") and entry["zh_text"].endswith("。") for entry in terms)
    page = (paths.COMMITTED / "glossary.md").read_text(encoding="utf-8")
    assert page == glossary_page(), "run `causal-lib report`"


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path, capsys):
    (tmp_path / "letter.txt").write_text("mine")
    assert cli.main(["book", "--output", str(tmp_path)]) == 2
    assert "holds no book" in capsys.readouterr().err
    assert (tmp_path / "letter.txt").read_text() == "mine"
