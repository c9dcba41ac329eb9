"""Structure of every notebook; what its cells compute is checked by nbval and by its own asserts."""

import ast
import json
import os
import re
import runpy

import nbformat
import nbval.kernel
import pytest

from causal_lib import paths
from causal_lib.tooling.book import untranslated
from causal_lib.tooling.notebooks import (
    UsageError,
    article_answers,
    defaults,
    hygiene,
    limits,
    opening,
    plan,
)

BOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
each_notebook = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]


def tree(cell):
    """The cell's syntax tree, IPython's own lines (%magic, !command) left out."""
    return ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", cell.source))


def test_there_are_notebooks_and_their_parameters_fit_both_profiles():
    assert BOOKS, "no notebook found: every other test here would pass on nothing"
    results = paths.ROOT / "reports" / "results"
    assert len(plan(results=results)) == len(plan(profile="full", results=results)) == len(BOOKS)


@each_notebook
def test_the_first_cell_opens_the_notebook(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert len(re.findall(r"(?m)^# ", first.source)) == 1
    assert opening(path)["title"].startswith(path.name[:2] + " ")


@each_notebook
def test_one_cell_of_literal_parameters(path):
    # fails itself unless one cell is tagged and holds literals only
    assert "seed" in defaults(path)


UNLIMITED = {  # any value will do
    ("01", "log"),
    ("02", "log"),
    ("07", "confounding"),
    ("18", "log"),
    ("18", "roles"),
}


@each_notebook
def test_every_parameter_states_its_limits_and_the_default_keeps_them(path):
    stated = limits(path)
    silent = {(path.name[:2], name) for name, found in stated.items() if not found}
    assert silent == {one for one in UNLIMITED if one[0] == path.name[:2]}
    assert [
        limit.broken(value)
        for name, value in defaults(path).items()
        for limit in stated[name]
        if limit.broken(value)
    ] == []


@pytest.mark.parametrize(
    ("number", "given", "message"),
    [
        (
            "01",
            {"replicates": 1},
            "'replicates' of 01_preprocessing.ipynb is 1; it must be at least 2",
        ),
        (
            "03",
            {"batch_size": 0},
            "'batch_size' of 03_model_training.ipynb is 0; it must be at least 1",
        ),
        ("03", {"n_boot": 19}, "'n_boot' of 03_model_training.ipynb is 19; it must be at least 20"),
        (
            "05",
            {"n_boot": 19},
            "'n_boot' of 05_causal_discovery.ipynb is 19; it must be at least 20",
        ),
        (
            "07",
            {"bins": "[4, 3, 1]"},
            "'bins' of 07_mathematics.ipynb has 3 values; it must have exactly 4 values",
        ),
        ("07", {"effect": 0}, "'effect' of 07_mathematics.ipynb is 0.0; it must be other than 0"),
        ("09", {"seeds": 2}, "'seeds' of 09_interpretability.ipynb is 2; it must be at least 3"),
        (
            "10",
            {"splits": 1},
            "'splits' of 10_personalised_recommendation.ipynb is 1; it must be at least 2",
        ),
        ("10", {"ratings": "netflix"}, "must be one of semi-synthetic, coat, yahoo-r3"),
        (
            "11",
            {"budget": 0.99},
            "'budget' of 11_risk_control.ipynb is 0.99; it must be at most 0.95",
        ),
        ("06", {"share": 1.5}, "'share' of 06_causal_inference.ipynb is 1.5; it must be at most 1"),
        ("16", {"runs": 1}, "'runs' of 16_reproductions.ipynb is 1; it must be at least 2"),
    ],
)
def test_a_size_with_which_a_notebook_would_fail_late_is_refused_before_it_starts(
    number, given, message
):
    with pytest.raises(UsageError, match=re.escape(message)):
        plan([number], given, results=paths.ROOT / "reports" / "results")


def test_notebook_04_evaluates_the_networks_of_03():
    found = {}
    for number in ("03", "04"):
        text = (paths.COMMITTED / "results" / f"{number}.json").read_text(encoding="utf-8")
        found[number] = {one["name"]: one["value"] for one in json.loads(text)["metrics"]}
    for network in ("dense network", "graph network"):
        assert found["04"][f"{network}, AUC as logged"] == found["03"][f"test AUC, {network}"]


@each_notebook
def test_at_most_40_cells(path):
    assert len(read(path).cells) <= 40


@each_notebook
def test_every_markdown_cell_has_its_chinese_text(path):
    """It stands in the metadata; the Chinese book is made of it."""
    assert untranslated(read(path)) == []


@each_notebook
def test_executed_in_order_by_the_runner(path):
    counts = [cell.execution_count for cell in code(read(path))]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks`"


@each_notebook
def test_outputs_are_fit_to_commit(path):
    assert hygiene(read(path)) == []


@each_notebook
def test_predictions_go_to_the_results_with_a_recorded_outcome_and_the_last_cell_is_compared(path):
    cells = code(read(path))
    calls = [node for cell in cells for node in ast.walk(tree(cell)) if isinstance(node, ast.Call)]
    # it compares outcomes and facts
    [write] = [call for call in calls if ast.unparse(call.func) == "results.write"]
    assert "predictions" in {keyword.arg for keyword in write.keywords}
    assert "results.write(" in cells[-1].source
    stored = json.loads(
        (paths.COMMITTED / "results" / f"{path.name[:2]}.json").read_text(encoding="utf-8")
    )
    assert stored["predictions"] or stored["facts"]
    assert cells[-1].source.startswith("# NBVAL_CHECK_OUTPUT")
    assert read(path).cells[-1].cell_type == "code"
    assert cells[-1].outputs, "the compared cell shows nothing"


@each_notebook
def test_the_kernel_is_python3_and_no_papermill_metadata_is_left(path):
    book = read(path)
    assert book.metadata.kernelspec.name == "python3"
    assert "papermill" not in book.metadata
    assert not [cell for cell in book.cells if {"papermill", "execution"} & set(cell.metadata)]


@each_notebook
def test_only_a_lesson_defines_functions_and_nothing_is_silenced(path):
    for number, cell in enumerate(code(read(path)), 1):
        nodes = list(ast.walk(tree(cell)))
        if "lesson" not in cell.metadata.get("tags", []):
            defined = [
                n.name
                for n in nodes
                if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            ]
            assert defined == [], f"code cell {number}"
        assert not re.search(r"(filterwarnings|simplefilter)\(\s*[\"']ignore", cell.source), (
            f"code cell {number}"
        )


def test_every_heading_of_the_article_is_answered_and_the_pages_say_where():
    covered = article_answers()
    answered = [entry.heading for entry in covered]
    assert all(entry.cells for entry in covered)
    for name in ("reports/article.md", "reports/article.zh-CN.md"):
        table = (
            (paths.ROOT / name).read_text(encoding="utf-8").partition("<!-- coverage:start -->")[2]
        )
        assert len(re.findall(r"(?m)^\| (?:\d\.|Q\d|优点|缺点|附录)", table)) == len(answered)
    articles = sorted(paths.ROOT.parent.glob("*/article/*.txt"))
    if not articles:  # its text is not ours to redistribute
        pytest.skip(
            "the article is not beside the checkout (*/article/*.txt), so only its list of "
            "headings was checked"
        )
    printed = re.sub(
        r"(?ms)^```.*?^```", "", articles[0].read_text(encoding="utf-8")
    )  # comments of code are no headings
    assert re.findall(r"(?m)^#{2,4} (.+?)\s*$", printed) == answered


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ("- {heading: '6.1', english: x, cells: []}", "no cell answers '6.1'"),
        (
            "- {heading: '6.1', english: x, cells: [01 Nothing]}",
            "'01 Nothing', under '6.1', heads 0 cells",
        ),
        (
            "- {heading: '6.1', english: x, cells: [01 Twice]}",
            "'01 Twice', under '6.1', heads 2 cells",
        ),
        (
            "- {heading: '6.1', english: x, cells: [02 Once]}",
            "'02 Once', under '6.1', heads 0 cells",
        ),
    ],
)
def test_an_answer_that_is_not_there_is_refused(tmp_path, answers, says):
    cells = [
        nbformat.v4.new_markdown_cell(f"text\n\n## {title}") for title in ("Once", "Twice", "Twice")
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_effects.ipynb")
    (tmp_path / "coverage.yaml").write_text(answers)
    with pytest.raises(ValueError, match=re.escape(says)):
        article_answers(tmp_path)


@pytest.mark.parametrize(("deaths", "starts"), [(0, 1), (2, 3), (3, 3)])
def test_under_nbval_a_kernel_is_started_at_most_three_times(monkeypatch, deaths, starts):
    # the file replaces it
    monkeypatch.setattr(nbval.kernel, "start_new_kernel", nbval.kernel.start_new_kernel)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # and adds to it
    patiently = runpy.run_path(str(paths.NOTEBOOKS / "conftest.py"))["_patiently"]
    started = []

    def start(name):
        started.append(name)
        if len(started) <= deaths:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return "kernel"

    if deaths == 3:
        with pytest.raises(RuntimeError, match="Kernel died"):
            patiently(start)("python3")
    else:
        assert patiently(start)("python3") == "kernel"
    assert len(started) == starts


def test_the_overview_needs_every_other_notebook():
    """It counts their predictions; one that it does not need is not there when it runs."""
    overview = next(path for path in BOOKS if path.name.startswith("00_"))
    needed = nbformat.read(overview, as_version=4).metadata["causal_lib"]["needs"]
    assert needed == [path.name[:2] for path in BOOKS if path != overview]
