"""The report of training says what was measured."""

import numpy as np

from causal_lib.experiments import peers
from causal_lib.experiments.models.dnn import dnn


def test_training_is_reported_as_it_was_measured(monkeypatch):
    """Ours of all rows is off by 1e-5 in two losses; the mini-batches are as good after two of the
    three epochs.
    """
    losses = np.array([[0.7, 0.6], [0.5, 0.4], [3e-05, 0.25]])
    by_batches = np.array([[0.6, 0.5], [0.3, 0.24], [0.2, 0.3]])

    def measured(function, sizes, *, folder):
        found = {}
        seconds = 1.0
        if function == "network_training.article":
            found["losses"] = losses.tolist()
            seconds = 40.0 if sizes["dtype"] == "float64" else 10.0
        elif function == "network_training.own":
            batches = "batch_size" in sizes
            found["losses"] = (by_batches if batches else losses + 1e-5 * np.eye(3, 2))[
                : sizes["epochs"]
            ].tolist()
            seconds = 20.0 if not batches else 8.0 if sizes["epochs"] == 3 else 4.0
        return {**found, "rows": 1, "seconds": 2 * seconds, "cpu_seconds": seconds, "peak_mb": 1}

    monkeypatch.setattr(peers, "measure", measured)
    report = dnn(2, epochs=3, users=40, items=15, days=5)
    assert {one["claim"]: (round(one["value"], 6), one["held"]) for one in report["claims"]} == {
        "float64, all rows: largest distance of a loss from the article's": (1e-5, False),
        "mini-batches: our validation loss where we stop less the article's last": (-0.01, True),
        "float64, all rows: rows a CPU second, ours / the article's": (2, True),
        "float32, all rows: rows a CPU second, ours / the article's": (0.5, False),
        "float64, mini-batches: rows a CPU second, ours / the article's": (5, True),
        "float32, mini-batches: rows a CPU second, ours / the article's": (1.25, False),
        "float64, CPU seconds to the same validation loss, the article's / ours": (10, True),
        "float32, CPU seconds to the same validation loss, the article's / ours": (2.5, False),
    }
    assert [one["pairs"] for one in report["claims"]] == [1, 1, 2, 2, 2, 2, 2, 2]
    assert [run["our epochs until then"] for run in report["runs"]] == [2] * 4
    assert report["rows a CPU second"]["float64"]["article"] == round(report["rows"] * 3 / 40)
