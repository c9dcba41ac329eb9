"""Every benchmark runs at its smallest size by today's code, and says what its committed report
says: claims, targets, keys.

The numbers are not compared: they are those of a small problem. Peers that live in an environment
of their own are played by `fake_peers`, the language model by `Hesitant`. Everything is written to
a temporary folder.
"""

import gc
import json
import os
import re
import sys
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path

import pytest
import torch

from causal_lib import paths
from causal_lib.data.packages import SourceError
from causal_lib.discovery.proposals import Reply
from causal_lib.experiments import bench, peers
from causal_lib.experiments.costs import report as costs
from causal_lib.experiments.costs.methods import MEASURED
from causal_lib.experiments.pretrained import examples
from causal_lib.experiments.pretrained.effects import examples as effect_examples
from causal_lib.experiments.pretrained.effects.recipe import Recipe as EffectRecipe
from causal_lib.experiments.pretrained.recipe import Recipe
from causal_lib.experiments.programs.call import call

PEERS = Path(__file__).parent / "fake_peers"
COMMITTED = paths.ROOT / "reports" / "benchmarks"
# A report that is older than a part of today's: worlds.shop was measured before claims and CPU
# seconds were written, policy.off_policy before a value told its bounds and the mean of its weights.
NOT_YET = {
    "policy.off_policy": {"bounds", "unsupported", "mean_weight", "mean_weight_error"},
    "worlds.shop": {"claims", "cpu_seconds"},
}
# Claims or rows are of single sizes, designs or networks, and the smallest run has not all of them.
IN_PART = {"discovery.hidden", "pretrained.effect_averages", "pretrained.effects"}
# The peer of a claim is chosen with hindsight, so it depends on the data.
HINDSIGHT = {
    "pretrained.families": r"(?<=pretrained - )(flop|pc)$",
    "discovery.mixed": r"(?<=order - ).*",
}
# Text that names a part of the benchmark, so that a part that is dropped is seen; its sizes may
# differ.
LABELS = {
    "setting", "method", "network", "prior", "estimator", "what", "ranking", "axis", "stage", "dtype",
    "propensity", "outcome",
}  # fmt: skip
RUN = peers.run  # the real ones, which `measured` takes out
FORKED = peers.forked


class Hesitant:
    """A language model that names the first of two variables, now and then neither."""

    about = dict.fromkeys(("backend", "package", "model", "transformers", "prompt"), "none")

    def reply(self, data, seed):
        first = len(data) % 3 > 0
        return Reply(
            "first" if first else "neither", 0.5, (0.5, 0.2, 0.3) if first else (0.2, 0.3, 0.5)
        )


def _costs():
    """Three sizes on each axis, for an exponent needs as many."""
    base = {
        "rows": 120,
        "variables": 6,
        "columns": 4,
        "interactions": 300,
        "users": 40,
        "items": 30,
    }
    grids = {axis: (size, size * 3 // 2, size * 2) for axis, size in base.items()}
    small = {}
    for name, method in MEASURED.items():
        small[name] = replace(
            method,
            base={axis: base[axis] for axis in method.base},
            grids={axis: grids[axis] for axis in method.grids},
            python=method.python and Path(sys.executable),
        )
    return small


SMALLEST = {
    "costs": {"repeats": 1, "worlds": 1, "users": 100, "methods": _costs()},
    "discovery.hidden": {
        "networks": ["child", "ecoli70"],
        "n": 300,
        "seeds": 1,
        "d": 10,
        "d_mixed": 10,
        "larger": 20,
    },
    "discovery.interventions": {
        "d": 6,
        "n_targets": 2,
        "graphs": 2,
        "rows": (60, 40),
        "worlds": 1,
        "n_users": 30,
    },
    "discovery.interventions_peer": {
        "d": 5,
        "n_targets": 2,
        "graphs": 1,
        "rows": (60, 40),
        "python": sys.executable,
    },
    "discovery.large": {
        "networks": ["sachs", "pathfinder", "diabetes", "pigs"],
        "sizes": [200],
        "methods": ["order-counts"],
        "seeds": 1,
        "cache": Path(os.devnull),
    },
    "discovery.mixed": {"d": 6, "n": 300, "graphs": 2},
    "discovery.networks": {"n": 600, "samples": 1, "draws": 2},
    "discovery.peers": {"d": 8, "n": 300, "graphs": 2, "python": sys.executable},
    "discovery.proposals": {"n": 300, "samples": 2, "draws": 5, "apart": 3, "model": Hesitant()},
    "discovery.rankings": {"worlds": 1, "n_users": 30},
    "discovery.repeats": {
        "n_users": 200,
        "n_items": 50,
        "days": 7,
        "models": 2,
        "n": 300,
        "draws": 5,
    },
    "discovery.scale": {"d": 6, "n": 300, "graphs": 2},
    "discovery.settings": {"d": 8, "n": 300, "graphs": 1, "python": sys.executable},
    "discovery.speed": {
        "sizes": [(d, degree, 1) for d in (20, 50, 100, 200) for degree in (2, 4)],
        "large": (60, 2, 1),
        "n": 300,
        "restarts": 0,
    },
    "discovery.stability": {"d": 5, "n": 500, "draws": 3, "cores": 1},
    "discovery.stages": {"worlds": 2, "n_users": 200, "n_items": 50, "days": 7},
    "discovery.statistics": {"parts": 2, "rows": 200, "pairs": 1},
    "discovery.statistics_reader": {"parts": 2, "rows": 200, "pairs": 1},
    "discovery.table": {"rows": 400, "d": 6, "pairs": 1},
    "discovery.tiers": {"d": 10, "n": 300, "graphs": 2},
    "errata": {"graph": ("uxmy", ("u -> x", "u -> y", "x -> m", "m -> y"))},
    "inference.changes": {"counts": {"none": 1, "one": 2, "two": 1}, "users": 150},
    "inference.coverage": {"runs": 2, "n": 300, "n_jobs": 1},
    "inference.designs": {
        "runs": 2,
        "designs": [
            "linear, 1,000 rows, 50.0% treated, good overlap",
            "curved, 300 rows, 50.0% treated, bad overlap",
        ],
        "n_jobs": 1,
    },
    "inference.estimators": {"n_users": 200, "n_items": 100, "days": 5, "n": 1200},
    "inference.loans": {"n": 2000, "larger": 2000, "strengths": (0.0, 1.0)},
    "inference.multimodal": {"n": 600, "draws": 2, "n_pictures": 100, "epochs": 1},
    "inference.opinions": {"worlds": 2, "n_users": 300, "n_topics": 24, "days": 40, "n_jobs": 1},
    "inference.panel": {"runs": 1, "n_jobs": 1},
    "inference.programme": {},
    "inference.standard": {"sets": 2, "n": 550, "n_jobs": 1},
    "inference.text": {"n": 600, "draws": 2},
    "inference.uplift": {"seeds": (8, 9), "n": 1500, "runs": 2, "rows": 400, "n_jobs": 1},
    "inference.verdicts": {
        "seeds": 1,
        "problems": ["an arm that is not in the log", "100 rows, straight lines"],
    },
    "inference.what_if": {"n_boot": 2, "splits": 1},
    "models.architectures": {
        "seeds": 2,
        "converged": 1,
        "n_users": 200,
        "n_items": 50,
        "days": 10,
        "epochs": 2,
        "smaller": (150, 50),
        "most_steps": 3,
        "sampled_epochs": 1,
        "n_boot": 20,
    },
    "models.debiased": {
        "seeds": 2,
        "trials": 1,
        "epochs": 1,
        "n_jobs": 1,
        "ratings_size": {"n_users": 60, "n_items": 50},
        "clicks_size": {"n_users": 100, "n_items": 30, "days": 20},
    },
    "models.dnn": {"pairs": 1, "epochs": 2, "users": 40, "items": 15, "days": 5},
    "models.frameworks": {
        "seeds": 2,
        "n_users": 100,
        "n_items": 40,
        "epochs": 1,
        "n_boot": 20,
    },
    "models.learnable": {
        "seeds": 2,
        "trials": 1,
        "size": {"n_users": 60, "n_items": 30, "days": 20},
    },
    "models.lightgcn": {"seeds": 2, "epochs": 1, "python": sys.executable},
    "models.metrics": {"seeds": 3, "python": sys.executable},
    "models.propensities": {"seeds": 2, "n_users": 150, "epochs": 2},
    "models.rankings": {"seeds": 2, "n_users": 80, "n_items": 120, "days": 30, "n_boot": 20},
    "models.size": {"rows": 5000, "n_users": 200, "n_items": 100},
    "policy.off_policy": {"n": 3000, "k": 10, "repeats": 2},
    "policy.open_bandit": {"n": 3000, "k": 3, "tables": 1, "folder": PEERS},
    "policy.rare_clicks": {"logs": 3, "rounds": (1500,)},
    "policy.support": {"logs": 1, "n": 2000},
    "policy.two_policies": {},
    "pretrained.ablations": {"recipe": Recipe(examples=4, validation=4, steps=2), "n_jobs": 1},
    "pretrained.effect_ablations": {
        "recipe": EffectRecipe(examples=4, validation=4, familiar=4, networks=1, steps=2),
        "n_jobs": 1,
    },
    "pretrained.effect_averages": {
        "runs": 1,
        "designs": ["linear, 300 rows, 50.0% treated, good overlap"],
        "n_jobs": 1,
    },
    "pretrained.effect_campaigns": {"seeds": [9], "n": 1500, "n_jobs": 1},
    "pretrained.effects": {
        "tables": 2,
        "compared": 1,
        "sizes": [200],
        "families": ["linear", "wave"],
        "n_jobs": 1,
    },
    "pretrained.effects_acic": {"sets": 2, "n": 300, "n_jobs": 1},
    # with fewer rows some family has no edge of a probability above .9, and no claim about such
    "pretrained.families": {"d": 6, "n": 2000, "tables": 1},
    "pretrained.fitted": {"d": 5, "n": 200, "tables": 1, "limit": 1, "python": sys.executable},
    "pretrained.fresh": {"d": 6, "n": 300, "tables": 1},
    "pretrained.knowledge": {"d": 6, "n": 200, "tables": 1},
    "pretrained.networks": {"n": 300, "samples": 1},
    "pretrained.speed": {"n": 200, "tables": 1},
    "scale": {"rows": (400, 600, 900), "columns": (10, 12, 14), "at_rows": 400, "threads": 1},
    "study.logs": {"seeds": 1, "n": 2000, "n_refused": 500, "n_jobs": 1},
    "worlds.shop": {"n_users": 50, "n_items": 20, "days": 3, "drawn": 1000, "pairs": 1},
}
"""Benchmark -> the sizes at which it still goes through all of its code, as arguments."""


def unsized(text):
    """``text`` without its numbers.

    >>> unsized("ER2, d=50, 4 tiers: shd")
    'ER#, d=#, # tiers: shd'
    """
    return re.sub(r"\d+([,.]\d+)*", "#", text)


def shape(value):
    """Keys and kinds of JSON: lists stand for what their elements have together, None for whatever
    may be left out.
    """
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [reduce(merged, map(shape, value), None)]
    if isinstance(value, bool) or value is None:
        return value if value is None else "bool"
    return "text" if isinstance(value, str) else "number"


def merged(a, b):
    if a is None or b is None:
        return b if a is None else a
    if isinstance(a, dict) and isinstance(b, dict):
        return {key: merged(a.get(key), b.get(key)) for key in {**a, **b}}
    if isinstance(a, list) and isinstance(b, list):
        return [merged(a[0], b[0])]
    return a if a == b else f"{a} or {b}"


def differences(old, new, at="report"):
    """What of two shapes is not the same, a sentence each."""
    if old is None or new is None:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        found = [f"{at}: no {key!r} any more" for key in old.keys() - new.keys()]
        found += [f"{at}: {key!r} is new" for key in new.keys() - old.keys()]
        for key in old.keys() & new.keys():
            found += differences(old[key], new[key], f"{at}.{key}")
        return found
    if isinstance(old, list) and isinstance(new, list):
        return differences(old[0], new[0], f"{at}[]")
    return [] if old == new else [f"{at}: {old} became {new}"]


def labels(value):
    """What is measured: the `LABELS` of each row, without their numbers, whether the rows stand one
    by one or as columns.
    """
    if not isinstance(value, dict):
        return {one for part in value for one in labels(part)} if isinstance(value, list) else set()
    own = {
        key: value[key]
        for key in sorted(LABELS & value.keys())
        if isinstance(value[key], str | list)
    }
    own = {key: [part] if isinstance(part, str) else part for key, part in own.items()}
    rows = zip(*own.values(), strict=True) if own else []
    found = {
        tuple((key, unsized(part)) for key, part in zip(own, row, strict=True)) for row in rows
    }
    return found.union(*map(labels, value.values()))


def without(value, keys):
    if isinstance(value, dict):
        return {key: without(one, keys) for key, one in value.items() if key not in keys}
    return [without(one, keys) for one in value] if isinstance(value, list) else value


def claimed(name, report):
    """Name without its numbers, statistic, target and further keys of each claim, in order."""
    told = []
    for one in report.get("claims", []):
        text = unsized(re.sub(HINDSIGHT.get(name, "$^"), "the best", one["claim"]))
        spread = {"interval", "range"} & one.keys()  # a mean of one value has no interval
        told.append(
            (text, one["statistic"], one["target"], len(spread), tuple(sorted(one.keys() - spread)))
        )
    return told


def predicted(report):
    """The sentences of the predictions that a report decides."""
    return [one["sentence"] for one in report.get("predictions", [])]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Reports, figures and examples go to a temporary folder; threads and modules are as before."""
    monkeypatch.setenv("CAUSAL_LIB_REPORTS", str(tmp_path))
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(PEERS), str(paths.ROOT), os.environ.get("PYTHONPATH", "")]),
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(examples, "SHARD", 4)
    monkeypatch.setattr(effect_examples, "SHARD", 4)
    monkeypatch.setattr(
        "causal_lib.experiments.pretrained.effects.ablations.make",
        lambda *parts, **how: effect_examples.make(*parts, **how | {"folder": tmp_path}),
    )
    monkeypatch.setattr(
        "causal_lib.experiments.pretrained.ablations.make", partial(examples.make, folder=tmp_path)
    )
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run_in_fork(function, arguments=None, *, python=None, folder=None, **how):
    """`peers.run` in a process that is forked from one with the imports done: they are most of what
    a run costs.
    """
    if python is not None:
        return RUN(function, arguments, python=python, folder=folder, **how)
    return json.loads(
        FORKED(call_in, folder, function, json.dumps(arguments or {}), imports=costs._IMPORTS)
    )


def call_in(folder, function, arguments):
    os.chdir(folder)
    sys.path.insert(0, str(peers.PROGRAMS))
    return json.dumps(call(function, json.loads(arguments)), allow_nan=False)


def in_this_process(job, *arguments, **how):
    """`peers.forked` for what needs TensorFlow, whose threads are set once a process; a plain call
    for all the others.
    """
    network = getattr(arguments[0], "work", None) is MEASURED["dense network"].work
    if network or arguments[0] == "purchase, dense network":
        return FORKED(job, *arguments, **how)
    return job(*arguments)


@pytest.fixture
def small_heap():
    """What is imported is no garbage: `costs` would look through all of it before each of its
    measurements.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def measured(name, monkeypatch):
    """The report of today's code at the smallest size."""
    monkeypatch.setattr(peers, "run", run_in_fork)
    monkeypatch.setattr(peers, "forked", in_this_process)
    found = bench.find(name)
    report = found.function(**SMALLEST[name])
    report |= {
        "benchmark": name,
        "machine": {},
        "description": found.description,
        "peer": found.peer,
    }
    return json.loads(json.dumps(report, allow_nan=False))


def test_every_benchmark_has_a_report_and_a_smallest_size():
    assert list(SMALLEST) == bench.known()
    reports = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in COMMITTED.glob("*.json")
    }
    assert sorted(reports) == bench.known()
    assert all(report["benchmark"] == name for name, report in reports.items())


@pytest.mark.parametrize("name", SMALLEST)
def test_a_small_run_of_todays_code_says_what_the_report_says(
    name, monkeypatch, small_heap, request
):
    if name == "scale":
        pytest.importorskip("duckdb")
    if name.startswith("pretrained.effect"):
        request.getfixturevalue("tiny_effects")
    try:
        found = measured(name, monkeypatch)
    except SourceError as error:  # real data
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    committed = json.loads((COMMITTED / f"{name}.json").read_text(encoding="utf-8"))
    assert (found["description"], found["peer"]) == (committed["description"], committed["peer"])
    older = NOT_YET.get(name, set())
    assert not [key for key in older if f'"{key}"' in json.dumps(committed)]
    found = without(found, older)
    part = name in IN_PART
    here = claimed(name, found)
    there = claimed(name, committed)
    assert set(here) <= set(there) if part else here == there
    old, new = (shape(without(report, {"claims", "machine"})) for report in (committed, found))
    assert differences(old, new) == []
    # The outcome of a prediction is that of the sizes; its sentence stays as it was written.
    told = {"predictions"}
    measured_here = labels(without(found, told))
    measured_there = labels(without(committed, told))
    assert measured_here <= measured_there if part else measured_here == measured_there
    assert predicted(found) == predicted(committed)
