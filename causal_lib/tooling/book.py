"""The book: an offline site of all notebooks in English and Chinese, from their committed outputs.

Sphinx with myst-nb draws the pages. Formulas become MathML, which browsers draw themselves, so
that no page loads anything from elsewhere. The Chinese text of a cell stands in its metadata
(``zh``); code and outputs are the same in both languages.
"""

import html
import io
import re
import shutil
import tempfile
from pathlib import Path

import nbformat

from causal_lib import paths
from causal_lib.extras import naming_extra
from causal_lib.tooling.notebooks import find, opening
from causal_lib.tooling.readme import glossary_page

LANGUAGES = {"en": "en", "zh": "zh_CN"}
"""Language of the book -> that of Sphinx's own words."""

_TITLES = {
    "en": {
        "book": "Causal discovery and inference in recommender systems",
        "intro": (
            "Seventeen and more lessons, from the raw log of a recommender to a decision. Read 00 "
            "to 06 in order, then choose. Each code cell and each number is the one that the "
            "committed notebooks hold."
        ),
        "lessons": "Lessons",
        "more": "More",
        "gallery": "Gallery of figures",
    },
    "zh": {
        "book": "推荐系统中的因果发现与因果推断",
        "intro": (
            "从推荐系统的原始日志一直讲到决策。先按顺序读 00 到 06，其余随意。"
            "代码与输出就是仓库里已提交的那些。"
        ),
        "lessons": "课程",
        "more": "其他",
        "gallery": "图集",
    },
}
_PAGES = ("reports/article.md", "reports/RESULTS.md", "reports/errata.md", "data/README.md")
_CHINESE = {"reports/article.md": "reports/article.zh-CN.md"}
"""Page -> its Chinese twin, which takes its name in the Chinese book."""
_OTHER_LANGUAGE = re.compile(r" ?\[(?:中文|English)\]\([\w./-]+\)")
_FILES = Path(__file__).with_name("book_files")


def build(out: Path, *, root: Path = paths.ROOT) -> list[str]:
    """Build the book of the checkout at ``root`` into the folder ``out``, which is replaced whole.

    The English site is ``out/index.html``, the Chinese ``out/zh/index.html``. Returns what Sphinx
    warned of, a line each. ValueError where a notebook has no first cell as `opening` needs it.
    """
    root = Path(root)
    out = Path(out)
    said = []
    with tempfile.TemporaryDirectory(dir=out.parent if out.parent.exists() else None) as scratch:
        made = Path(scratch) / "html"
        for language in LANGUAGES:
            source = Path(scratch) / f"source_{language}"
            write_source(source, language, root)
            place = made if language == "en" else made / language
            said += _sphinx(source, place, Path(scratch) / f"doctrees_{language}", language)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(made, out)
    return said


def write_source(folder: Path, language: str, root: Path) -> None:
    """Write the pages of one language, as Sphinx reads them, into ``folder``.

    The folder mirrors the repository (notebooks, reports), so that links between files hold.
    """
    words = _TITLES[language]
    books = find(root / "notebooks")
    (folder / "notebooks").mkdir(parents=True)
    (folder / "reports").mkdir()
    for part in ("results", "benchmarks", "figures"):
        if (root / "reports" / part).exists():
            shutil.copytree(root / "reports" / part, folder / "reports" / part)
    for file in _LINKED:
        if (root / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / file, folder / file)
    for path in books.values():
        book = _page(nbformat.read(path, as_version=4), language)
        book.cells[0].source += _switch(f"notebooks/{path.stem}", language)
        nbformat.write(book, folder / "notebooks" / path.name)
    pages = [page for page in _PAGES if (root / page).exists()]
    for page in pages:
        written = _CHINESE.get(page, page) if language == "zh" else page
        text = _OTHER_LANGUAGE.sub("", (root / written).read_text(encoding="utf-8"))
        (folder / page).parent.mkdir(exist_ok=True)
        text = _MARKER.sub("", text) + _switch(page.removesuffix(".md"), language)
        (folder / page).write_text(text, encoding="utf-8")
    glossary = glossary_page(root / "notebooks", language)
    (folder / "reports" / "glossary.md").write_text(
        glossary + _switch("reports/glossary", language), encoding="utf-8"
    )
    pages = ["reports/glossary.md", *pages]
    (folder / "gallery.md").write_text(_gallery(folder, books, language), encoding="utf-8")
    lessons = "\n".join(f"notebooks/{path.stem}" for path in books.values())
    others = "\n".join(["gallery", *(page.removesuffix(".md") for page in pages)])
    tree = "\n```{{toctree}}\n:maxdepth: 1\n:caption: {}\n{}\n```\n"
    (folder / "index.md").write_text(
        f"# {words['book']}\n\n{words['intro']}\n"
        + _switch("index", language)
        + tree.format(words["lessons"], lessons)
        + tree.format(words["more"], others),
        encoding="utf-8",
    )


def _page(book, language):
    """The notebook as the site shows it: one language, without the runner's tags."""
    for cell in book.cells:
        if cell.cell_type == "markdown":
            if language == "zh" and cell.metadata.get("zh"):
                cell.source = cell.metadata["zh"]
            cell.source = _MERMAID.sub("", cell.source)
        folded = "hide-input" in cell.metadata.get("tags", []) or _is_plumbing(cell)
        cell.metadata = {"tags": ["hide-input"] if folded else []}
    return book


def _is_plumbing(cell):
    """Whether a code cell only imports, or only writes the results: its code is folded."""
    if cell.cell_type != "code":
        return False
    return "results.write(" in cell.source or bool(re.match(r"(?:import|from) ", cell.source))


_LINKED = (
    "reports/references.bib",
    "reports/reproductions.toml",
    "causal_lib/data/sources.toml",
    "notebooks/full.yaml",
)
"""Files that pages link to and that are no pages."""


def _switch(page, language):
    """A link to the same page in the other language, as HTML since it leaves the language's site.

    The Chinese site lies in the folder ``zh`` of the English one.
    """
    up = "../" * page.count("/")
    if language == "en":
        return f'\n\n<a class="language" href="{up}zh/{page}.html">中文</a>\n'
    return f'\n\n<a class="language" href="{up}../{page}.html">English</a>\n'


_MERMAID = re.compile(r"(?ms)^```mermaid\n.*?^```\n?")
_MARKER = re.compile(r"<!-- \w+:(?:start|end) -->\n?")


def untranslated(notebook: nbformat.NotebookNode) -> list[int]:
    """Indices of markdown cells that have no Chinese text."""
    return [
        index
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "markdown" and not str(cell.metadata.get("zh", "")).strip()
    ]


def _gallery(folder, books, language):
    """A page of all figures that notebooks write, each with a link to its notebook."""
    lines = [f"# {_TITLES[language]['gallery']}", ""]
    for number, path in books.items():
        figures = sorted((folder / "reports" / "figures").glob(f"{number}_*.png"))
        if not figures:
            continue
        said = opening(path)
        title = said["title"] if language == "en" else f"{number} {said['chinese']}"
        lines += [f"## [{title}](notebooks/{path.name})", "", '<div class="gallery">', ""]
        lines += [f"![{figure.stem}](reports/figures/{figure.name})" for figure in figures]
        lines += ["", "</div>", ""]
    return "\n".join(lines)


def _sphinx(source, out, doctrees, language):
    """Draw one language's pages; what Sphinx warned of, a line each."""
    with naming_extra():
        from sphinx.application import Sphinx
        from sphinx.util.docutils import docutils_namespace

    warned = io.StringIO()
    settings = {
        "project": _TITLES[language]["book"],
        "html_title": _TITLES[language]["book"],
        "language": LANGUAGES[language],
        "extensions": ["myst_nb", "causal_lib.tooling.book"],
        "html_theme": "furo",
        "html_static_path": [str(_FILES)],
        "html_css_files": ["book.css"],
        "html_math_renderer": "mathml",
        "html_show_sphinx": False,
        "html_show_copyright": False,
        "html_copy_source": False,
        "html_show_search_summary": False,  # it fetches pages, which a browser forbids to files
        "nb_execution_mode": "off",
        "nb_merge_streams": True,
        "myst_enable_extensions": ["dollarmath", "amsmath"],
        "myst_heading_anchors": 3,
        "myst_dmath_double_inline": True,
        "suppress_warnings": ["myst.header"],  # a cell may begin below the level of the one before
        "nb_mime_priority_overrides": [("html", "application/vnd.jupyter.widget-view+json", None)],
    }
    with docutils_namespace():
        app = Sphinx(
            str(source), None, str(out), str(doctrees), "html", confoverrides=settings,
            status=None, warning=warned,
        )  # fmt: skip
        app.build()
    shutil.rmtree(out / ".doctrees", ignore_errors=True)
    return [line for line in warned.getvalue().splitlines() if line.strip()]


def setup(app):
    """Register with Sphinx: formulas as MathML, and how Chinese text is split for the search."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.add_search_language(_chinese_search())
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _chinese_search():
    """A search language that splits Chinese into pairs of neighbouring characters.

    Sphinx's own needs a dictionary for it, and its page names a stemmer that is not there.
    """
    from sphinx.search import SearchLanguage

    class ChinesePairs(SearchLanguage):
        lang = "zh"
        language_name = "Chinese"
        js_splitter_code = (_FILES / "split_chinese.js").read_text(encoding="utf-8")

        def split(self, text):
            pairs = [run[i : i + 2] for run in _HAN.findall(text) for i in range(len(run) - 1)]
            return [*re.findall(r"[a-z0-9_]+", text.lower()), *pairs]

        def word_filter(self, word):
            return len(word) > 1

    return ChinesePairs


_HAN = re.compile(r"[\u4e00-\u9fff]+")


def _inline(translator, node):
    from docutils import nodes

    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(translator, node):
    from docutils import nodes

    translator.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def mathml(tex: str, display: str) -> str:
    """A formula as MathML; one that the converter does not know stays as its TeX source."""
    from latex2mathml.converter import convert

    tex = tex.replace("\\displaystyle", "").strip()
    try:
        return convert(tex, display=display)
    except Exception:  # the converter has no error type of its own
        return f"<code>{html.escape(tex)}</code>"
