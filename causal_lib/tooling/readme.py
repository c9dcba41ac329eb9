"""Pages that are made from results: the generated blocks of both READMEs, and
``reports/RESULTS.md``.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from causal_lib import paths
from causal_lib.tooling.notebooks import article_answers, find, opening
from causal_lib.tooling.results import OUTCOMES, count
from causal_lib.tooling.runner import headline

# heads of the tables: headline, predictions, notebooks, the article's headings, choices; the words
# above the failed
READMES = {
    "README.md": (
        ["Stage", "Metric", "Value", "95% interval", "Truth", "Unit"],
        ["Notebook", "Held", "Failed", "Changed after seeing results"],
        ["Notebook", "Question", "Runtime"],
        ["Article", "Answered in"],
        ["Registry", "Names"],
        "The failed ones, as they were first written",
    ),
    "README.zh-CN.md": (
        ["阶段", "指标", "数值", "95% 区间", "真值", "单位"],
        ["笔记本", "应验", "落空", "见到结果后改过"],
        ["笔记本", "摘要", "运行时间"],
        ["文章", "答在何处"],
        ["登记表", "名称"],
        "落空的预测（最初的原话）",
    ),
}


def updated(
    text: str, name: str, *, notebooks: Path = paths.NOTEBOOKS, reports: Path = paths.COMMITTED
) -> str:
    """The README ``text`` with its generated blocks made anew from the committed results and the
    notebooks.

    ``text`` holds the comments ``<!-- headline:start -->``, ``<!-- headline:end -->`` and the same
    for ``predictions``, ``notebooks``, ``coverage`` and ``choices``, each once (ValueError
    otherwise); ``name``, "README.md" or "README.zh-CN.md", decides the language.
    """
    metrics, predicted, books, answers, registries, failures = READMES[name]
    rows = []
    for path in find(notebooks).values():
        said = opening(path)
        if name == "README.md":
            title = said["title"]
            about = said["question"]
        else:
            title = f"{path.name[:2]} {said['chinese']}"
            about = said["summary"]
        rows.append([f"[{title}](notebooks/{path.name})", about, said["runtime"]])
    answered = []
    for entry in article_answers(notebooks):
        heading = f"{entry.heading} ({entry.english})" if name == "README.md" else entry.heading
        cells = [
            f"[{path.stem[:2]}, {index}](notebooks/{path.name}) {title}"
            for path, index, title in entry.cells
        ]
        answered.append([heading, "<br>".join(cells)])
    contents = _contents(reports)
    failed = _listed(contents, "failed")
    blocks = {
        "headline": _table([metrics, *headline(reports).to_numpy()]),
        "predictions": [
            *_table([predicted, *_counts(contents)]),
            f"\n<details><summary>{failures}: {len(failed)}</summary>\n",
            *failed,
            "\n</details>",
        ],
        "notebooks": _table([books, *rows]),
        "coverage": _table([answers, *answered]),
        "choices": _table([registries, *_choices()]),
    }
    for block, lines in blocks.items():
        start = f"<!-- {block}:start -->"
        end = f"<!-- {block}:end -->"
        if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
            raise ValueError(f"{name}: needs {start} and, after it, {end}, each once")
        text = "\n".join([text[: text.index(start)] + start, *lines, text[text.index(end) :]])
    return text


def results_page(reports: Path = paths.COMMITTED) -> str:
    """The Markdown of ``RESULTS.md``: how many predictions held, failed and were changed, and
    which; failed benchmark claims.
    """
    contents = _contents(reports)
    claims = benchmark_claims(reports)
    lost = [(name, claim) for name, claim in claims if not claim["held"]]
    # Every claim on costs is also a prediction of notebook 08.
    parts = [
        "# Results\n\nWritten by `causal-lib report` from `results/` and `benchmarks/`; do not "
        "edit.",
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


def benchmark_claims(reports: Path = paths.COMMITTED) -> list[tuple[str, dict]]:
    """Every claim of the reports in ``benchmarks/``, as (name of the benchmark, the claim as it is
    stored).
    """
    files = sorted((Path(reports) / "benchmarks").glob("*.json"))
    stored = [(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in files]
    return [(name, claim) for name, content in stored for claim in content.get("claims", ())]


def _choices():
    """Rows of the README's table of registries: what is chosen from, and the names."""
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
    return [[what, ", ".join(f"`{name}`" for name in names)] for what, names in registries.items()]


def _contents(reports):
    files = sorted((Path(reports) / "results").glob("[0-9][0-9].json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def _counts(contents: Iterable[Mapping]):
    """Rows of held, failed and changed predictions for each notebook that has any, and a last row
    of all.
    """
    rows = [[content["notebook"], *count([content])[list(OUTCOMES[:3])]] for content in contents]
    rows = [row for row in rows if sum(row[1:])]
    return (
        [
            *rows,
            ["**00-16**", *(f"**{sum(column)}**" for column in list(zip(*rows, strict=True))[1:])],
        ]
        if rows
        else []
    )


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
