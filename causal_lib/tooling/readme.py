"""Pages that are made from results and notebooks: the generated blocks of both READMEs and of the
pages on the article, ``reports/RESULTS.md`` and the glossary.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import yaml

from causal_lib import paths
from causal_lib.metric import Metric
from causal_lib.tooling.notebooks import article_answers, find, opening
from causal_lib.tooling.results import OUTCOMES, count
from causal_lib.tooling.runner import headline


@dataclass(frozen=True)
class Page:
    """A page with generated blocks: its path from the repository's root, its language ("en" or
    "zh") and the ``blocks`` between ``<!-- NAME:start -->`` and ``<!-- NAME:end -->``.
    """

    path: str
    language: str
    blocks: tuple[str, ...]


PAGES = {
    page.path: page
    for page in (
        Page("README.md", "en", ("numbers", "notebooks", "predictions", "choices")),
        Page("README.zh-CN.md", "zh", ("numbers", "notebooks", "predictions", "choices")),
        Page("reports/article.md", "en", ("coverage",)),
        Page("reports/article.zh-CN.md", "zh", ("coverage",)),
    )
}

_HEADS = {
    "en": {
        "notebooks": ["Notebook", "Finding", "Runtime"],
        "coverage": ["Article", "Answered in"],
        "choices": ["Registry", "Names"],
        "predictions": (
            "Of {total} predictions {held} held, {failed} failed and {changed} were changed after "
            "seeing results. [RESULTS.md](reports/RESULTS.md) lists the failed and the changed "
            "ones, as they were first written."
        ),
    },
    "zh": {
        "notebooks": ["笔记本", "结论", "运行时间"],
        "coverage": ["文章", "答在何处"],
        "choices": ["登记表", "名称"],
        "predictions": (
            "{total} 条预测中，{held} 条应验，{failed} 条落空，{changed} 条在见到结果后改过。"
            "落空的和改过的，连同最初的原话，列在 [RESULTS.md](reports/RESULTS.md)。"
        ),
    },
}


def updated(
    text: str, page: Page, *, notebooks: Path = paths.NOTEBOOKS, reports: Path = paths.COMMITTED
) -> str:
    """The ``text`` of a page with its blocks made anew from the committed results and notebooks.

    ``text`` holds ``<!-- NAME:start -->`` and, after it, ``<!-- NAME:end -->`` for each block of
    the page, once; ValueError otherwise.
    """
    for block in page.blocks:
        start = f"<!-- {block}:start -->"
        end = f"<!-- {block}:end -->"
        if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
            raise ValueError(f"{page.path}: needs {start} and, after it, {end}, each once")
        lines = _BLOCKS[block](page, Path(notebooks), Path(reports))
        text = "\n".join([text[: text.index(start)] + start, *lines, text[text.index(end) :]])
    return text


def _numbers(page, notebooks, reports):
    """The sentences of ``numbers.yaml`` beside the notebooks, with their numbers from the results.

    Each entry has an ``en`` and a ``zh`` sentence and ``values``: name in the sentence -> "NN
    metric". A sentence says ``{name.value}``, ``{name.interval}`` or ``{name.truth}``.
    """
    metrics = {
        f"{content['notebook']} {row['name']}": Metric(**row)
        for content in _contents(reports)
        for row in content["metrics"]
    }
    file = notebooks / "numbers.yaml"
    lines = []
    for place, entry in enumerate(yaml.safe_load(file.read_text(encoding="utf-8")), 1):
        values = {}
        for name, key in entry["values"].items():
            if key not in metrics:
                raise ValueError(f"{file.name}: entry {place}: no result is named {key!r}")
            parts = dict(zip(("value", "interval", "truth"), metrics[key].rounded(), strict=True))
            values[name] = SimpleNamespace(**parts)
        lines.append(f"- {entry[page.language].strip().format(**values)}")
    return lines


def _notebooks(page, notebooks, reports):
    """A row for each notebook: title, the finding that its metadata tell, runtime."""
    rows = []
    for path in find(notebooks).values():
        said = opening(path)
        told = nbformat.read(path, as_version=4).metadata.get("causal_lib", {})
        key = "finding" if page.language == "en" else "finding_zh"
        if not told.get(key):
            raise ValueError(f"{path.name}: its metadata causal_lib.{key} is missing")
        chinese = f"{path.name[:2]} {said['chinese']}"
        title = said["title"] if page.language == "en" else chinese
        rows.append([f"[{title}](notebooks/{path.name})", told[key], said["runtime"]])
    return _table([_HEADS[page.language]["notebooks"], *rows])


def _predictions(page, notebooks, reports):
    """One sentence with the counts of all predictions."""
    found = count(_contents(reports))
    counts = {name: int(found[name]) for name in OUTCOMES[:3]}
    return [_HEADS[page.language]["predictions"].format(total=sum(counts.values()), **counts)]


def _coverage(page, notebooks, reports):
    """A row for each heading of the article with the cells that answer it."""
    rows = []
    for entry in article_answers(notebooks):
        english = page.language == "en"
        heading = f"{entry.heading} ({entry.english})" if english else entry.heading
        cells = [
            f"[{path.stem[:2]}, {index}](../notebooks/{path.name}) {title}"
            for path, index, title in entry.cells
        ]
        rows.append([heading, "<br>".join(cells)])
    return _table([_HEADS[page.language]["coverage"], *rows])


def _choices(page, notebooks, reports):
    """A row for each registry: what is chosen from it, and the names."""
    from causal_lib import worlds
    from causal_lib.data.loaders import KINDS
    from causal_lib.discovery.methods import METHODS
    from causal_lib.inference.estimators import ESTIMATORS
    from causal_lib.models.recommender import RECOMMENDERS
    from causal_lib.policy.estimators import ESTIMATORS as POLICY_ESTIMATORS

    registries = {
        "`discover(method=)`": METHODS,
        "`effect(estimator=)`": ESTIMATORS,
        "`policy_value(estimator=)`": POLICY_ESTIMATORS,
        "`train_recommender(method=)`": RECOMMENDERS,
        "`causal_lib.worlds`": worlds.listing().index,
        "`kind` of a source": KINDS,
    }
    rows = [[what, ", ".join(f"`{name}`" for name in names)] for what, names in registries.items()]
    return _table([_HEADS[page.language]["choices"], *rows])


_BLOCKS = {
    "numbers": _numbers,
    "notebooks": _notebooks,
    "predictions": _predictions,
    "coverage": _coverage,
    "choices": _choices,
}


_HEADLINE = ["Stage", "Metric", "Value", "95% interval", "Truth", "Unit"]


def results_page(reports: Path = paths.COMMITTED) -> str:
    """The Markdown of ``RESULTS.md``: the headline numbers; how many predictions held, failed and
    were changed, and which; failed benchmark claims.
    """
    contents = _contents(reports)
    claims = benchmark_claims(reports)
    lost = [(name, claim) for name, claim in claims if not claim["held"]]
    # Every claim on costs is also a prediction of notebook 08.
    parts = [
        "# Results\n\nWritten by `causal-lib report` from `results/` and `benchmarks/`; do not "
        "edit.",
        "## Headline numbers\n\nEach with its 95% interval and, on simulated data, the truth. The "
        "interval is over users, rows or replicates; the notebook says which.",
        "\n".join(_table([_HEADLINE, *headline(reports).to_numpy()])),
        "## Predictions\n\n"
        "A prediction is counted as it was first written. *Held* and *failed* are computed by the "
        "notebook. *Changed* means that the "
        "sentence was written, or written anew, after results had been seen. Facts that hold by "
        "construction are not counted.",
        "\n".join(
            _table(
                [
                    ["Notebook", *(outcome.capitalize() for outcome in OUTCOMES[:3])],
                    *_counts(contents),
                ]
            )
        ),
        "### Failed",
        "\n".join(_listed(contents, "failed")),
        "### Changed after seeing results",
        "\n".join(_listed(contents, "changed")),
        f"## Claims of benchmarks\n\n{len(claims) - len(lost)} of {len(claims)} held. Those that "
        "failed:",
        "\n".join(
            _table(
                [
                    ["Benchmark", "Claim", "Value", "Target", "Interval or range"],
                    *(
                        [
                            name,
                            c["claim"],
                            f"{c['value']:.4g}",
                            c["target"],
                            _ends(c.get("interval") or c["range"]),
                        ]
                        for name, c in lost
                    ),
                ]
            )
        ),
    ]
    return "\n\n".join(parts) + "\n"


def glossary_page(notebooks: Path = paths.NOTEBOOKS, language: str = "en") -> str:
    """The Markdown of the glossary, made from ``glossary.yaml`` beside the notebooks, in "en" or
    "zh". Each term is a heading in both, so that a link to it is `anchor_of` it.
    """
    file = Path(notebooks) / "glossary.yaml"
    terms = yaml.safe_load(file.read_text(encoding="utf-8"))
    lines = ["# Glossary" if language == "en" else "# 术语表", ""]
    for entry in sorted(terms, key=lambda one: one["term"].lower()):
        text = f"({entry['zh']}) {entry['en']}"
        if language == "zh":
            text = f"{entry['zh']}：{entry['zh_text']}"
        lines.append(f"## {entry['term']}\n\n{text}\n")
    return "\n".join(lines)


def anchor_of(term: str) -> str:
    """The anchor of a term of the glossary, as forges and the book give it to the heading.

    >>> anchor_of("Markov equivalence class")
    'markov-equivalence-class'
    """
    return term.lower().replace(" ", "-")


def benchmark_claims(reports: Path = paths.COMMITTED) -> list[tuple[str, dict]]:
    """Every claim of the reports in ``benchmarks/``, as (name of the benchmark, the claim as it is
    stored).
    """
    files = sorted((Path(reports) / "benchmarks").glob("*.json"))
    stored = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in files]
    return [(name, claim) for name, content in stored for claim in content.get("claims", ())]


def _contents(reports):
    files = sorted((Path(reports) / "results").glob("[0-9][0-9].json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def _counts(contents: Iterable[Mapping]):
    """Rows of held, failed and changed predictions for each notebook that has any, and a last row
    of all.
    """
    rows = [[content["notebook"], *count([content])[list(OUTCOMES[:3])]] for content in contents]
    rows = [row for row in rows if sum(row[1:])]
    if not rows:
        return []
    sums = [f"**{sum(column)}**" for column in list(zip(*rows, strict=True))[1:]]
    return [*rows, [f"**{rows[0][0]}-{rows[-1][0]}**", *sums]]


def _listed(contents, outcome):
    """A Markdown list item for each prediction with this outcome: notebook, sentence, what is
    known.
    """
    return [
        f"- {content['notebook']}: {one['sentence']}" + (f" *{one['note']}*" if one["note"] else "")
        for content in contents
        for one in content["predictions"]
        if one["outcome"] == outcome
    ]


def _ends(pair):
    return f"[{pair[0]:.4g}, {pair[1]:.4g}]"


def _table(rows):
    """Lines of a Markdown table; the first row is its head."""
    lines = [
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    ]
    lines.insert(1, "| --- " * len(rows[0]) + "|")
    return lines
