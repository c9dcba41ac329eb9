"""Distances from lenskit's metrics: seen where there are any."""

import json

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.models import metrics as benchmark
from causal_lib.experiments.peers import PeerError


@pytest.mark.parametrize("wrong", [None, "recall", "precision", "NDCG", "DCG", "MRR", "Gini"])
def test_metrics_are_compared_one_by_one(wrong, monkeypatch):
    """A peer that computes them plainly, all right or one of them off by 1e-8 for one user."""

    def plain(function, *, python, folder):
        tables = {name: pd.read_csv(folder / f"{name}.csv") for name in ("cases", "lists", "truth")}
        told = []
        for case, users, items, k in tables["cases"].itertuples(index=False):
            lists, truth = (
                tables[name][tables[name]["case"] == case] for name in ("lists", "truth")
            )
            values = {
                name: [None] * users for name in ("recall", "precision", "NDCG", "DCG", "MRR")
            }
            for user, own in truth.groupby("user")["item"]:
                listed = lists.loc[lists["user"] == user, "item"]
                ranks = [rank for rank, item in enumerate(listed, start=1) if item in set(own)]
                gain = sum(1 / np.log2(1 + rank) for rank in ranks)
                best = sum(1 / np.log2(1 + rank) for rank in range(1, min(k, len(own)) + 1))
                one = [
                    len(ranks) / len(own),
                    len(ranks) / k,
                    gain / best,
                    gain,
                    1 / ranks[0] if ranks else 0,
                ]
                for name, value in zip(values, one, strict=True):
                    values[name][user] = value + 1e-8 * (name == wrong and user == case == 0)
            counts = np.bincount(lists["item"], minlength=items)
            gini = np.abs(counts[:, None] - counts).sum() / (2 * items * counts.sum())
            told.append({"users": values, "Gini": gini + 1e-8 * (wrong == "Gini" and case == 0)})
        return json.loads(json.dumps(told))

    monkeypatch.setattr(benchmark, "run", plain)
    report = benchmark.metrics(3)
    failed = [one["claim"].split(":")[0] for one in report["claims"] if not one["held"]]
    assert failed == ([wrong] if wrong else [])
    assert len(report["claims"]) == 6


def test_without_lenskit_it_is_said_how_to_get_it(tmp_path):
    with pytest.raises(PeerError, match="no environment of peers; build it with `make peers`"):
        benchmark.metrics(1, python=tmp_path / "python")
