import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from causal_lib import cli, paths
from causal_lib.tooling import readme

FIRST = """# 01 Effects · 因果推断

**Question.** What does exposing an item do to purchases?

Runtime: quick 1 s, full 2 s.

**摘要。** 曝光的效应。更多。"""
BLOCKS = ("headline", "predictions", "notebooks", "coverage", "choices")
README = "# T\n<!-- headline:start -->\nold\n<!-- headline:end -->\nmiddle\n" + "".join(
    f"<!-- {block}:start --><!-- {block}:end -->\n" for block in BLOCKS[1:]
)
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
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "01_effects.ipynb")
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
        "truth": None,
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


def updated(text, house, name="README.md"):
    return readme.updated(text, name, notebooks=house / "notebooks", reports=house)


def test_readme_blocks_are_made_from_results_and_notebooks(house):
    text = updated(README, house)
    assert text == updated(text, house)
    assert "| 01 | P(a\\|b) | 0.50 | [0.40, 0.60] |  |  |" in text
    question = "What does exposing an item do to purchases?"
    assert (
        f"| [01 Effects](notebooks/01_effects.ipynb) | {question} | quick 1 s, full 2 s |" in text
    )
    assert "| `effect(estimator=)` | `aipw`, " in text
    assert "`shop`" in text
    assert "old" not in text
    assert text.startswith("# T\n<!-- headline:start -->\n| Stage |")
    assert text.endswith("<!-- choices:end -->\n")
    assert (
        "| 6.1 推荐 (Recommendation) | [01, 2](notebooks/01_effects.ipynb) 2 What exposure adds |"
        in text
    )
    chinese = updated(README, house, "README.zh-CN.md")
    assert (
        "| [01 因果推断](notebooks/01_effects.ipynb) | 曝光的效应。 | quick 1 s, full 2 s |"
        in chinese
    )
    assert "| 阶段 |" in chinese
    assert "| 6.1 推荐 | [01, 2](notebooks/01_effects.ipynb) 2 What exposure adds |" in chinese


@pytest.mark.parametrize("name", list(readme.READMES))
def test_the_readmes_count_failed_predictions_and_list_them(house, name):
    text = updated(README, house, name)
    assert "| 01 | 1 | 2 | 1 |\n| **00-16** | **1** | **2** | **1** |" in text
    failed = text.split("<summary>")[1]
    assert failed.split("</summary>")[0].endswith(": 2")
    assert "- 01: It rises | falls. *It stays.*\n- 01: It moves.\n" in failed


def test_the_page_of_results_lists_what_failed_and_what_was_changed(house):
    page = readme.results_page(house)
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
    for name in readme.READMES:
        text = (paths.ROOT / name).read_text(encoding="utf-8")
        assert readme.updated(text, name) == text, "run `causal-lib report`"
    page = (paths.COMMITTED / "RESULTS.md").read_text(encoding="utf-8")
    assert readme.results_page() == page, "run `causal-lib report`"


@pytest.mark.parametrize(
    "text",
    [
        "",
        README.replace("<!-- headline:end -->", ""),
        README + README,
        README.replace(":start", ":x").replace(":end", ":start").replace(":x", ":end"),
    ],
)
def test_a_readme_without_its_markers_is_refused(house, text):
    with pytest.raises(ValueError, match=r"README.md: needs <!-- headline:start --> and, after it"):
        updated(text, house)


def test_report_says_when_the_readme_is_not_there_and_writes_it_when_it_is(
    house, monkeypatch, capsys
):
    monkeypatch.setattr(paths, "ROOT", house)
    monkeypatch.setattr(paths, "COMMITTED", house)
    monkeypatch.setattr(paths, "is_checkout", lambda: True)
    assert cli.main(["report"]) == 1
    assert "README.md" in capsys.readouterr().err
    monkeypatch.setattr(readme, "updated", lambda text, name: text + name)
    monkeypatch.setattr(readme, "results_page", lambda: "a page")
    for name in readme.READMES:
        (house / name).write_text("text of ")
    assert cli.main(["report"]) == 0
    assert (house / "README.zh-CN.md").read_text() == "text of README.zh-CN.md"
    assert (house / "RESULTS.md").read_text() == "a page"
