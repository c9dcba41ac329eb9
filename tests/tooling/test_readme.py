import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causal_lib import cli, paths
from causal_lib.tooling import readme

FIRST = """# 01 Effects · 因果推断

**Question.** What does exposing an item do to purchases?

Runtime: quick 1 s, full 2 s.

**摘要。** 曝光的效应。更多。"""
PAGE = readme.Page(
    "README.md", "en", ("numbers", "notebooks", "predictions", "coverage", "choices")
)
CHINESE = readme.Page("README.zh-CN.md", "zh", PAGE.blocks)
README = "# T\n<!-- numbers:start -->\nold\n<!-- numbers:end -->\nmiddle\n" + "".join(
    f"<!-- {block}:start --><!-- {block}:end -->\n" for block in PAGE.blocks[1:]
)
NUMBERS = """
- en: "**It is {half.value}** {half.interval}, truth {half.truth}."
  zh: "**是 {half.value}**。"
  values: {half: "01 P(a|b)"}
"""
PREDICTIONS = [
    {"sentence": "It rises | falls.", "outcome": "failed", "note": "It stays."},
    {"sentence": "It moves.", "outcome": "failed", "note": ""},
    {"sentence": "It is there.", "outcome": "held", "note": ""},
    {"sentence": "It is blue.", "outcome": "changed", "note": "Red at first."},
    {"sentence": "It speaks.", "outcome": "not tested", "note": ""},
]
CLAIM = {
    "claim": "speed of a",
    "value": 1.2345678,
    "interval": [1, 2],
    "target": "at least 3",
    "held": False,
}


@pytest.fixture
def house(tmp_path):
    cells = [new_markdown_cell(FIRST), new_code_cell("days = 3", metadata={"tags": ["parameters"]})]
    cells.append(new_markdown_cell("It was naive.\n\n## 2 What exposure adds"))
    (tmp_path / "notebooks").mkdir()
    told = {"causal_lib": {"finding": "It adds | little.", "finding_zh": "增量很小。"}}
    book = new_notebook(cells=cells, metadata=told)
    nbformat.write(book, tmp_path / "notebooks" / "01_effects.ipynb")
    (tmp_path / "notebooks" / "numbers.yaml").write_text(NUMBERS, encoding="utf-8")
    answers = "- {heading: 6.1 推荐, english: Recommendation, cells: [01 2 What exposure adds]}"
    (tmp_path / "notebooks" / "coverage.yaml").write_text(answers, encoding="utf-8")
    for folder in ("results", "benchmarks"):
        (tmp_path / folder).mkdir()
    metric = {
        "stage": "01",
        "name": "P(a|b)",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "truth": 0.55,
        "unit": "",
    }
    content = {
        "notebook": "01",
        "metrics": [metric],
        "headline": [metric["name"]],
        "predictions": PREDICTIONS,
    }
    (tmp_path / "results" / "01.json").write_text(json.dumps(content))
    claims = [CLAIM, CLAIM | {"claim": "speed of b", "held": True}]
    (tmp_path / "benchmarks" / "quick.json").write_text(json.dumps({"claims": claims}))
    return tmp_path


def updated(text, house, page=PAGE):
    return readme.updated(text, page, notebooks=house / "notebooks", reports=house)


def test_blocks_are_made_from_results_and_notebooks(house):
    text = updated(README, house)
    assert text == updated(text, house)
    assert "- **It is 0.50** [0.40, 0.60], truth 0.55.\n" in text
    row = "| [01 Effects](notebooks/01_effects.ipynb) | It adds \\| little. | quick 1 s, full 2 s |"
    assert row in text
    assert "Of 4 predictions 1 held, 2 failed and 1 were changed" in text
    assert "| `effect(estimator=)` | `aipw`, " in text
    assert "`shop`" in text
    assert "old" not in text
    assert text.startswith("# T\n<!-- numbers:start -->\n- **It is")
    assert text.endswith("<!-- choices:end -->\n")
    link = "[01, 2](../notebooks/01_effects.ipynb) 2 What exposure adds"
    assert f"| 6.1 推荐 (Recommendation) | {link} |" in text
    chinese = updated(README, house, CHINESE)
    assert "- **是 0.50**。\n" in chinese
    assert "| [01 因果推断](notebooks/01_effects.ipynb) | 增量很小。 | quick" in chinese
    assert "4 条预测中，1 条应验，2 条落空，1 条在见到结果后改过。" in chinese
    assert f"| 6.1 推荐 | {link} |" in chinese


def test_a_number_that_no_result_has_and_a_notebook_without_a_finding_are_named(house):
    file = house / "notebooks" / "numbers.yaml"
    file.write_text(NUMBERS.replace("P(a|b)", "P(b|a)"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"entry 1: no result is named '01 P\(b\|a\)'"):
        updated(README, house)
    file.write_text(NUMBERS, encoding="utf-8")
    path = house / "notebooks" / "01_effects.ipynb"
    book = nbformat.read(path, as_version=4)
    del book.metadata["causal_lib"]["finding_zh"]
    nbformat.write(book, path)
    with pytest.raises(ValueError, match=r"01_effects.ipynb: .*causal_lib.finding_zh is missing"):
        updated(README, house, CHINESE)


def test_the_page_of_results_lists_what_failed_and_what_was_changed(house):
    page = readme.results_page(house)
    assert "| 01 | P(a\\|b) | 0.50 | [0.40, 0.60] | 0.55 |  |" in page
    assert "| 01 | 1 | 2 | 1 |\n| **01-01** | **1** | **2** | **1** |" in page
    assert "- 01: It rises | falls. *It stays.*\n- 01: It moves.\n" in page
    _, failed, changed = page.split("## Claims of benchmarks")[0].split("\n### ")
    assert "It rises" in failed
    assert "It moves" in failed
    assert "It is" not in failed
    assert "- 01: It is blue. *Red at first.*" in changed
    assert "It rises" not in changed
    assert "1 of 2 held" in page
    assert "| quick | speed of a | 1.235 | at least 3 | [1, 2] |" in page
    assert "speed of b" not in page


def test_the_generated_pages_are_up_to_date():
    for name, made in readme.PAGES.items():
        text = (paths.ROOT / name).read_text(encoding="utf-8")
        assert readme.updated(text, made) == text, "run `causal-lib report`"
    page = (paths.COMMITTED / "RESULTS.md").read_text(encoding="utf-8")
    assert readme.results_page() == page, "run `causal-lib report`"


@pytest.mark.parametrize(
    "text",
    [
        "",
        README.replace("<!-- numbers:end -->", ""),
        README + README,
        README.replace(":start", ":x").replace(":end", ":start").replace(":x", ":end"),
    ],
)
def test_a_page_without_its_markers_is_refused(house, text):
    with pytest.raises(ValueError, match=r"README.md: needs <!-- numbers:start --> and, after it"):
        updated(text, house)


def test_report_says_when_the_readme_is_not_there_and_writes_it_when_it_is(
    house, monkeypatch, capsys
):
    monkeypatch.setattr(paths, "ROOT", house)
    monkeypatch.setattr(paths, "COMMITTED", house)
    monkeypatch.setattr(paths, "is_checkout", lambda: True)
    assert cli.main(["report"]) == 1
    assert "README.md" in capsys.readouterr().err
    monkeypatch.setattr(readme, "updated", lambda text, page: text + page.path)
    monkeypatch.setattr(readme, "results_page", lambda: "a page")
    for name in readme.PAGES:
        (house / name).parent.mkdir(exist_ok=True)
        (house / name).write_text("text of ")
    assert cli.main(["report"]) == 0
    assert (house / "README.zh-CN.md").read_text() == "text of README.zh-CN.md"
    assert (house / "RESULTS.md").read_text() == "a page"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_lines_for_a_file_of_ones_own_run_as_they_are_printed(name, tmp_path, monkeypatch):
    text = (paths.ROOT / name).read_text(encoding="utf-8")
    [lines] = re.findall(r"(?s)```python\n(.+?)```", text)
    rng = np.random.default_rng(0)
    n = 2000
    log = pd.DataFrame({
        "user_id": [f"u{number}" for number in rng.integers(500, size=n)],
        "activity": rng.normal(size=n),
        "category": rng.choice(["book", "film"], size=n),
        "price": rng.gamma(2, 5, size=n).round(2),
    })  # fmt: skip
    log["shown"] = rng.random(n) < 1 / (1 + np.exp(-log["activity"] / 2))
    log["bought"] = rng.random(n) < 0.1 + 0.1 * log["shown"] + 0.02 * (log["activity"] > 0)
    log.to_csv(tmp_path / "log.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(lines, names)
    assert names["found"].low < 0.1 < names["found"].high
    assert names["found"].verdict in ("supported", "weak")
