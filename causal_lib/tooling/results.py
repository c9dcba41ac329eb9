"""Results of notebooks: ``reports/results/NN.json``, written whole or not at all, byte-identical
for a seed.

A result row is a `Metric`: a value with its 95% interval and, on simulated data, the truth. A
`Prediction` is a sentence that was written before its number was known, with its outcome. Seconds
and memory never enter (they differ from run to run; see ``causal-lib bench``).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.metric import Metric
from causal_lib.paths import write_text

_DIGITS = 8  # enough for any use, few enough that another processor's rounding does not show
_VERSIONS = (
    "numpy",
    "pandas",
    "scikit-learn",
    "tensorflow",
    "torch",
    "econml",
    "causal-learn",
    "pyagrum",
)


OUTCOMES = ("held", "failed", "changed", "not tested")
"""Outcomes of a prediction.

"changed": its sentence was written, or written anew, after results had been seen.
"""


@dataclass(frozen=True)
class Prediction:
    """A sentence written before its number was known, whether it is ``true`` in this run, and the
    ``recorded`` outcome.

    Parameters
    ----------
    sentence : the prediction as it was first written, never inverted or weakened.
    true : whether this run bears it out; None where the run cannot tell (skipped data, sizes it was
        not made for).
    recorded : the outcome at the notebook's default parameters, "held", "failed" or "changed"; a
        rerun that comes out otherwise is an error of `write`. "" records nothing (a sentence about
        one machine's speed).
    note : of a failed one, what was found instead; of a changed one, what was changed after which
        result (required).

    >>> Prediction("The naive difference misses the truth.", True, "held").outcome
    'held'
    >>> Prediction("Attention beats weights by degree.", False, "failed", "By .004.").outcome
    'failed'
    """

    sentence: str
    true: bool | None
    recorded: str = ""
    note: str = ""

    def __post_init__(self):
        if self.recorded not in ("", "held", "failed", "changed"):
            raise ValueError(
                f"prediction {self.sentence!r}: recorded is {self.recorded!r}; 'held', 'failed', "
                "'changed' or ''"
            )
        if self.recorded == "changed" and not self.note:
            raise ValueError(
                f"prediction {self.sentence!r}: a changed one needs a note: what was "
                "changed, and when"
            )

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`, by this run. A changed sentence stays "changed" while it is true."""
        if self.true is None:
            return "not tested"
        if not self.true:
            return "failed"
        return "changed" if self.recorded == "changed" else "held"


def table(metrics: Iterable[Metric]) -> pd.DataFrame:
    """The headline table of ``metrics``: columns stage, metric, value, 95% interval, truth, unit
    (all text).
    """
    rows = [(m.stage, m.name, *m.rounded(), m.unit) for m in metrics]
    return pd.DataFrame(rows, columns=["stage", "metric", "value", "95% interval", "truth", "unit"])


def outcomes(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """The table of ``predictions``: columns prediction, outcome, note (all text)."""
    rows = [(p.sentence, p.outcome, p.note) for p in predictions]
    return pd.DataFrame(rows, columns=["prediction", "outcome", "note"])


def count(contents: Iterable[Mapping]) -> pd.Series:
    """How many predictions of these results (as `read` gives them) had each outcome, indexed by
    `OUTCOMES`.
    """
    found = pd.Series(
        [one["outcome"] for content in contents for one in content["predictions"]], dtype=object
    )
    return found.value_counts().reindex(OUTCOMES, fill_value=0)


def write(
    number: str,
    metrics: Iterable[Metric],
    *,
    seed: int,
    parameters: Mapping[str, object],
    predictions: Iterable[Prediction] = (),
    facts: Mapping[str, bool] | None = None,
    headline: Iterable[str] = (),
    skipped: Iterable[str] = (),
) -> Path:
    """Write ``results/<number>.json`` under `paths.reports`; only then compare the outcomes with
    the recorded ones.

    The outcomes are compared where ``parameters`` are those of the committed results, since a
    prediction is made for the defaults; with others they are only written. Returns the path.

    Parameters
    ----------
    number : two digits, the notebook's.
    metrics : rows of the headline table; names must be unique.
    seed : the seed that produced them.
    parameters : the notebook's parameters (JSON types only).
    predictions : with their outcomes; no sentence twice.
    facts : sentence -> whether it is true, of what holds by construction (a sum, a shape, an error
        that is raised), with any parameters.
    headline : names of the metrics that the README and the end of a run show; one may be lacking
        when parts were skipped.
    skipped : parts that were left out, each with its reason (real data that could not be had).

    Raises
    ------
    ValueError
        if two metrics share a name, ``headline`` names none of them, or a parameter could hold a
        secret.
    AssertionError
        after the file was written: if a fact is false, or an outcome is not the recorded one.
    """
    metrics = list(metrics)
    headline = list(headline)
    predictions = list(predictions)
    facts = {sentence: bool(true) for sentence, true in (facts or {}).items()}
    names = [m.name for m in metrics]
    skipped = list(skipped)
    unknown = [name for name in headline if name not in names]
    if unknown and not skipped:
        raise ValueError(
            f"results {number}: headline {unknown[0]!r} is no metric; metrics: {', '.join(names)}"
        )
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"results {number}: metric named twice: {', '.join(twice)}")
    sentences = [p.sentence for p in predictions] + list(facts)
    repeated = sorted({one for one in sentences if sentences.count(one) > 1})
    if repeated:
        raise ValueError(f"results {number}: the sentence stands twice: {repeated[0]}")
    secret = [k for k, v in parameters.items() if "://" in str(v)]
    if secret:
        raise ValueError(
            f"results {number}: parameter {secret[0]!r} holds a URL; URLs come from "
            "the environment only"
        )
    content = {
        "notebook": number,
        "seed": seed,
        "parameters": dict(parameters),
        "metrics": [_round(asdict(m)) for m in metrics],
        "headline": [name for name in headline if name in names],
        "predictions": [
            {"sentence": p.sentence, "outcome": p.outcome, "note": p.note} for p in predictions
        ],
        "facts": facts,
        "skipped": skipped,
        "versions": {name: version(name) for name in _VERSIONS},
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, default=_plain, allow_nan=False) + "\n"
    path = write_text(paths.reports() / "results" / f"{number}.json", text)
    defaults = _committed_parameters(number) in (None, json.loads(text)["parameters"])
    wrong = [f"the fact {sentence!r} is false" for sentence, true in facts.items() if not true]
    for p in predictions:
        if defaults and p.recorded and p.outcome not in (p.recorded, "not tested"):
            wrong.append(f"the prediction {p.sentence!r} {_came_out(p)}, recorded as {p.recorded}")
    if wrong:
        raise AssertionError(f"results {number} are written, but " + "; ".join(wrong))
    return path


def _came_out(prediction):
    if prediction.recorded == "changed":
        return "is false as changed"
    return "held" if prediction.outcome == "held" else "failed"


def _committed_parameters(number):
    path = paths.COMMITTED / "results" / f"{number}.json"
    return json.loads(path.read_text(encoding="utf-8"))["parameters"] if path.exists() else None


def read(number: str) -> dict:
    """The content of ``results/<number>.json``, its metrics as `Metric` objects; FileNotFoundError
    names the notebook.

    A notebook that is executed by hand reads what was written by hand before, else the committed
    results.
    """
    path = _files().get(number)
    if path is None:
        raise FileNotFoundError(
            f"no results of notebook {number} yet: run `causal-lib run {number}` first"
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    content["metrics"] = [Metric(**row) for row in content["metrics"]]
    return content


def read_all() -> list[dict]:
    """`read` for every results file there is, in the order of the notebooks."""
    return [read(number) for number in sorted(_files())]


def _files():
    folders = [paths.reports()] if paths.run_by_runner() else [paths.COMMITTED, paths.reports()]
    return {
        path.stem: path
        for folder in folders
        for path in (folder / "results").glob("[0-9][0-9].json")
    }


def compare(first: Mapping, second: Mapping) -> list[str]:
    """Sentences that say where two results (as `read` gives them) differ; empty when they agree."""
    differences = []
    for key in ("seed", "parameters", "headline", "predictions", "facts", "skipped"):
        if first[key] != second[key]:
            differences.append(f"{key}: {first[key]} against {second[key]}")
    left, right = ({m.name: m for m in side["metrics"]} for side in (first, second))
    differences += [
        f"metric {name!r} only on one side" for name in sorted(left.keys() ^ right.keys())
    ]
    differences += [
        f"{left[n]} against {right[n]}" for n in left if n in right and left[n] != right[n]
    ]
    return differences


def _round(row):
    return {
        k: float(f"{v:.{_DIGITS}g}") if isinstance(v, float | np.floating) else v
        for k, v in row.items()
    }


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")
