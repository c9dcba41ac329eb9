import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib import paths
from causal_lib.metric import Metric
from causal_lib.tooling import results
from causal_lib.tooling.results import Prediction

ONE = Metric("06", "effect", 0.0512345678912, 0.048, 0.054, truth=0.052)


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path))
    return tmp_path


def write(number="99", metrics=(ONE,), *, seed=0, parameters=None, **options):
    return results.write(number, metrics, seed=seed, parameters=parameters or {}, **options)


def test_committed_results_are_complete_and_belong_to_a_notebook():
    files = sorted((paths.ROOT / "reports" / "results").glob("*.json"))
    assert files, "no committed results: run `make notebooks`"
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert content["notebook"] == path.stem
        assert list(paths.NOTEBOOKS.glob(f"{path.stem}_*.ipynb")), f"{path.name}: no such notebook"
        assert [sentence for sentence, true in content["facts"].items() if not true] == []
        assert {one["outcome"] for one in content["predictions"]} <= {"held", "failed", "changed"}
        assert content["skipped"] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value": math.nan}, "'effect': value is nan"),
        ({"value": 0.1, "truth": math.inf}, "truth is inf"),
        ({"value": 0.1, "low": 0.0}, "both ends"),
        ({"value": 0.1, "low": 0.2, "high": 0.3}, r"0.1 lies outside \[0.2, 0.3\]"),
    ],
)
def test_a_metric_must_be_finite_and_inside_its_interval(values, message):
    with pytest.raises(ValueError, match=message):
        Metric("06", "effect", **values)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"metrics": (ONE, ONE)}, ValueError, "results 99: metric named twice: effect"),
        ({"headline": ["size"]}, ValueError, "headline 'size' is no metric; metrics: effect"),
        ({"parameters": {"db": "mysql://root:hunter2@host"}}, ValueError, "'db' holds a URL"),
        ({"parameters": {"db": {1, 2}}}, TypeError, "cannot be written as JSON"),
        (
            {"predictions": [Prediction("It rises.", True)], "facts": {"It rises.": True}},
            ValueError,
            "stands twice: It rises",
        ),
    ],
)
def test_bad_results_are_refused_and_nothing_is_written(reports, arguments, error, message):
    with pytest.raises(error, match=message) as caught:
        write(**arguments)
    assert "hunter2" not in str(caught.value)
    assert not list(reports.rglob("*.json"))


def test_results_come_back_as_written_and_byte_identical(reports):
    given = {"parameters": {"days": 3}, "facts": {"holds": True}, "skipped": ["obd: no network"]}
    given["predictions"] = [Prediction("It rises.", True, "held"), Prediction("By 2.", False, "failed", "By 1.")]
    path = write(**given)
    first = path.read_bytes()
    assert write(**given).read_bytes() == first
    content = results.read("99")
    assert content["metrics"] == [Metric("06", "effect", 0.051234568, 0.048, 0.054, truth=0.052)]
    assert (content["seed"], content["parameters"], content["skipped"]) == (0, {"days": 3}, ["obd: no network"])
    assert content["predictions"] == [
        {"sentence": "It rises.", "outcome": "held", "note": ""},
        {"sentence": "By 2.", "outcome": "failed", "note": "By 1."},
    ]
    assert content["facts"] == {"holds": True}
    assert results.read_all() == [content]
    assert results.compare(content, content) == []
    write(seed=1, metrics=(Metric("06", "effect", 0.05, 0.048, 0.054), Metric("06", "new", 1)))
    differences = " | ".join(results.compare(content, results.read("99")))
    for part in ("seed: 0 against 1", "metric 'new' only on one side", "effect = 0.0512", "predictions", "facts"):
        assert part in differences
    with pytest.raises(FileNotFoundError, match="causal-lib run 05"):
        results.read("05")


OUTCOMES = [
    # true in this run, as recorded, outcome, words of the error
    (True, "held", "held", None),
    (False, "failed", "failed", None),
    (True, "changed", "changed", None),
    (None, "held", "not tested", None),
    (False, "", "failed", None),
    (False, "held", "failed", "failed, recorded as held"),
    (True, "failed", "held", "held, recorded as failed"),
    (False, "changed", "failed", "false as changed, recorded as changed"),
]


@pytest.mark.parametrize(("true", "recorded", "outcome", "message"), OUTCOMES)
def test_an_outcome_is_counted_as_it_came_out_and_written_before_it_is_compared(
    reports, true, recorded, outcome, message
):
    planted = Prediction("The effect is above 1.", true, recorded, "note")
    if message:
        with pytest.raises(AssertionError, match=f"are written, but the prediction .* {message}"):
            write(predictions=[planted])
    else:
        write(predictions=[planted])
    content = json.loads((reports / "results" / "99.json").read_text(encoding="utf-8"))
    assert content["predictions"] == [{"sentence": "The effect is above 1.", "outcome": outcome, "note": "note"}]
    assert results.count([content])[outcome] == 1
    assert sum(results.count([content])) == 1


def test_a_false_fact_is_written_and_raised(reports):
    with pytest.raises(AssertionError, match="the fact 'parts sum to the whole' is false"):
        write(facts={"parts sum to the whole": False, "true": True})
    assert results.read("99")["facts"] == {"parts sum to the whole": False, "true": True}


def test_outcomes_are_compared_at_the_committed_parameters_only(reports, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "COMMITTED", tmp_path / "committed")
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(paths.COMMITTED))
    write(parameters={"days": 14, "sizes": [1, 2]})
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(reports))
    planted = Prediction("It rises.", False, "held")
    write(parameters={"days": 10, "sizes": [1, 2]}, predictions=[planted])  # another size: written, not compared
    with pytest.raises(AssertionError, match="It rises"):
        write(parameters={"days": 14, "sizes": [1, 2]}, predictions=[planted])


def test_a_notebook_run_by_hand_reads_the_committed_results_and_leaves_them_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "COMMITTED", tmp_path)
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path))
    before = write("98").read_bytes()
    monkeypatch.delenv("CAUSAL_LIB_REPORTS")
    assert [one["notebook"] for one in results.read_all()] == ["98"]
    assert write("98", seed=5) == tmp_path / "runs" / "by-hand" / "results" / "98.json"
    assert results.read("98")["seed"] == 5
    assert (tmp_path / "results" / "98.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("It rises.", True, "true"), "recorded is 'true'; 'held', 'failed', 'changed' or ''"),
        (("It rises.", True, "changed"), "a changed one needs a note"),
    ],
)
def test_what_is_no_outcome_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Prediction(*arguments)


def test_a_write_that_dies_leaves_the_old_file_and_no_other(tmp_path):
    path = paths.write_text(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        paths.write_text(path, "new \ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text() == "old"


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_rounding_moves_a_number_by_less_than_a_tenth_of_the_interval(value, below, above):
    metric = Metric("06", "effect", value, value - below, value + above)
    text, interval, truth = metric.rounded()
    width = metric.high - metric.low
    allowed = max(width / 10, 5e-4) if width else 0.5  # half a unit of the last digit that is shown
    assert abs(float(text) - value) <= allowed * (1 + 1e-9)
    assert interval.startswith("[")
    assert truth == ""
    assert results.table([metric]).iloc[0].tolist() == ["06", "effect", text, interval, "", ""]
