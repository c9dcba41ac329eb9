import json
import math
from types import SimpleNamespace

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
    given["predictions"] = [
        Prediction("It rises.", True, "held"),
        Prediction("By 2.", False, "failed", "By 1."),
    ]
    path = write(**given)
    first = path.read_bytes()
    assert write(**given).read_bytes() == first
    content = results.read("99")
    assert content["metrics"] == [Metric("06", "effect", 0.051234568, 0.048, 0.054, truth=0.052)]
    assert (content["seed"], content["parameters"], content["skipped"]) == (
        0,
        {"days": 3},
        ["obd: no network"],
    )
    assert content["predictions"] == [
        {"sentence": "It rises.", "outcome": "held", "note": ""},
        {"sentence": "By 2.", "outcome": "failed", "note": "By 1."},
    ]
    assert content["facts"] == {"holds": True}
    assert results.read_all() == [content]
    assert results.compare(content, content) == []
    write(seed=1, metrics=(Metric("06", "effect", 0.05, 0.048, 0.054), Metric("06", "new", 1)))
    differences = " | ".join(results.compare(content, results.read("99")))
    for part in (
        "seed: 0 against 1",
        "metric 'new' only on one side",
        "effect = 0.0512",
        "predictions",
        "facts",
    ):
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
    assert content["predictions"] == [
        {"sentence": "The effect is above 1.", "outcome": outcome, "note": "note"}
    ]
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
    # another size: written, not compared
    write(parameters={"days": 10, "sizes": [1, 2]}, predictions=[planted])
    with pytest.raises(AssertionError, match="It rises"):
        write(parameters={"days": 14, "sizes": [1, 2]}, predictions=[planted])


def test_a_notebook_run_by_hand_reads_the_committed_results_and_leaves_them_alone(
    tmp_path, monkeypatch
):
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


def test_a_metric_of_what_has_a_value_and_an_interval():
    found = SimpleNamespace(value=1.5, low=1.0, high=2.0)
    assert Metric.of("06", "effect", found, truth=1.4, unit="s") == Metric(
        "06", "effect", 1.5, 1.0, 2.0, 1.4, "s"
    )


def test_the_mean_of_replicates_has_students_interval():
    """2.776445 is the 97.5% point at four degrees of freedom, 12.706205 at one."""
    values = [0.1, 0.4, 0.2, 0.9, 0.4]
    found = Metric.mean_of("06", "effect", values, truth=0.3, unit="s")
    half = 2.776445 * math.sqrt((0.3**2 + 0.2**2 + 0.5**2) / 4) / math.sqrt(5)
    assert (found.value, found.low, found.high) == pytest.approx(
        (0.4, 0.4 - half, 0.4 + half), abs=1e-6
    )
    assert (found.stage, found.name, found.truth, found.unit) == ("06", "effect", 0.3, "s")
    two = Metric.mean_of("06", "effect", iter([1, 2]))
    assert (two.low, two.high) == pytest.approx(
        (1.5 - 12.706205 / 2, 1.5 + 12.706205 / 2), abs=1e-6
    )
    with pytest.raises(ValueError, match="1 replicates give no interval; at least 2"):
        Metric.mean_of("06", "effect", [1])


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        (
            Metric("06", "e", 0.05123, 0.048, 0.054, truth=0.052),
            ("0.0512", "[0.0480, 0.0540]", "0.0520"),
        ),
        (Metric("06", "e", 12.34, 10.0, 20.0), ("12", "[10, 20]", "")),  # a width of 10 shows ones
        (Metric("06", "e", 12.34, 10.5, 20.0), ("12.3", "[10.5, 20.0]", "")),
        (Metric("06", "e", 1234.5, 0.0, 5000.0), ("1234", "[0, 5000]", "")),
        (Metric("06", "e", 0.25, 0.25, 0.25, truth=1), ("0.250", "[0.250, 0.250]", "1.000")),
        (Metric("06", "e", 3.0), ("3", "", "")),
        (Metric("06", "e", 3.5), ("3.500", "", "")),
        (Metric("06", "e", 2.0, 2.0, 2.0), ("2", "[2, 2]", "")),
    ],
)
def test_digits_are_those_of_the_interval(metric, shown):
    assert metric.rounded() == shown


def test_a_metric_is_told_with_its_unit():
    assert repr(Metric("06", "delay", -2.5, -3.0, -2.0, truth=-2.6, unit="s")) == (
        "06: delay = -2.5 s [-3.0, -2.0], truth -2.6"
    )
    assert repr(Metric("06", "rows", 3)) == "06: rows = 3"


def test_the_file_as_it_is_written(reports):
    """The headline without what was skipped; whole numbers stay whole; eight digits; nothing else
    in the folder.
    """
    metrics = [ONE, Metric("06", "rows", 3, unit="rows")]
    path = write(
        "97",
        metrics,
        seed=4,
        headline=["rows", "lost"],
        skipped=["obd: no network"],
        parameters={"b": 1, "a": [2]},
    )
    assert path == reports / "results" / "97.json"
    assert [p.name for p in path.parent.iterdir()] == ["97.json"]
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    assert text == json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    assert (content["notebook"], content["seed"], content["headline"]) == ("97", 4, ["rows"])
    assert list(content["parameters"]) == ["b", "a"]
    assert content["metrics"][0]["value"] == 0.051234568
    assert content["metrics"][1] == {
        "stage": "06", "name": "rows", "value": 3, "low": None, "high": None, "truth": None, "unit": "rows",
    }  # fmt: skip
    assert '"value": 3,' in text
    assert {"numpy", "pandas", "torch"} <= set(content["versions"])
    assert write("97", metrics, headline=["effect", "rows"]).exists()
    assert results.read("97")["headline"] == ["effect", "rows"]
    with pytest.raises(ValueError, match="Out of range float values"):
        write("97", metrics, parameters={"share": math.nan})


def test_differences_of_two_results():
    def made(**change):
        content = {
            "seed": 0,
            "parameters": {"days": 3},
            "headline": ["a"],
            "predictions": [],
            "facts": {},
            "skipped": [],
        }
        return content | {"metrics": [Metric("06", "a", 1), Metric("06", "b", 2)]} | change

    assert results.compare(made(), made(notebook="05")) == []
    for key, value in {
        "parameters": {},
        "headline": [],
        "facts": {"f": True},
        "skipped": ["x"],
    }.items():
        (found,) = results.compare(made(), made(**{key: value}))
        assert found == f"{key}: {made()[key]} against {value}"
    other = made(metrics=[Metric("06", "b", 2.5), Metric("06", "c", 2)])
    assert results.compare(made(), other) == [
        "metric 'a' only on one side",
        "metric 'c' only on one side",
        "06: b = 2 against 06: b = 2.500",
    ]


def test_tables_of_metrics_and_outcomes():
    table = results.table([ONE, Metric("06", "rows", 3, unit="rows")])
    assert table.columns.tolist() == ["stage", "metric", "value", "95% interval", "truth", "unit"]
    assert table.iloc[0].tolist() == ["06", "effect", "0.0512", "[0.0480, 0.0540]", "0.0520", ""]
    assert table.iloc[1].tolist() == ["06", "rows", "3", "", "", "rows"]
    told = results.outcomes(
        [Prediction("It rises.", True, "changed", "was 3"), Prediction("By 2.", None, "held")]
    )
    assert told.to_dict("list") == {
        "prediction": ["It rises.", "By 2."], "outcome": ["changed", "not tested"], "note": ["was "
                                                                                             "3", ""],
    }  # fmt: skip
    counted = results.count(
        [{"predictions": [{"outcome": "held"}] * 3}, {"predictions": [{"outcome": "failed"}]}]
    )
    assert counted.to_dict() == {"held": 3, "failed": 1, "changed": 0, "not tested": 0}


def test_an_outcome_of_a_changed_sentence_in_a_run_with_other_parameters():
    assert Prediction("It rises.", False, "changed", "was 3").outcome == "failed"
    assert Prediction("It rises.", True).outcome == "held"
