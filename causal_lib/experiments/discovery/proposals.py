"""Benchmark of the proposals of a 135M model on networks whose graph is known: directions, false
edges, order, a prior.

Claims, written before anything was measured, for the local model on alarm, asia, child and sachs
together:

- The direction of an edge that there is, by the letters' probabilities with both orders averaged,
  is right no more often than by a coin: the 95% interval of the share reaches down to 1/2.
- With names X1, X2, ..., numbered at random and without descriptions, that interval holds 1/2. That
  is the control.
- More than half of those pairs get no proposal, since the two orders contradict each other.
- Among replies that name a cause, the place in the question matters: the share of the first-named
  is over .1 away from 1/2.
- Replies name a cause as often where there is no edge: the share is at most .1 higher where there
  is one.
- As a soft prior the proposals add at most .02 to directed F1, and averaged ones at most .02 more
  than coins.
- Proposals that are all true do add to it, so the prior could help.

The graphs were measured twice: the first prior could direct an open edge against its own proposal;
the claims stayed. SHD is that from the true DAG, to which an open edge counts as wrong: coins lower
it too. Intervals of shares are Wilson's, as though pairs were independent; those of F1 and SHD are
over samples, which share the network.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from scipy.stats import binomtest

from causal_lib.data.sources import bayes_net
from causal_lib.discovery.bootstrap import edge_stability
from causal_lib.discovery.distances import directed_f1, shd
from causal_lib.discovery.proposals.asking import Proposal, Proposals, descriptions, propose
from causal_lib.discovery.proposals.language_models import LocalModel, Model, ProposalError
from causal_lib.discovery.stability import Stability
from causal_lib.discovery.statistics import Statistics
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, report
from causal_lib.graph import CausalGraph
from causal_lib.progress import progress_bar
from causal_lib.worlds.random_models import sample_network

NETWORKS = ("alarm", "asia", "child", "sachs")
COINS = 20


@benchmark("discovery.proposals", peer="coins, neutral names, no prior, a prior of true directions")
def study(
    *,
    networks: Sequence[str] = NETWORKS,
    n: int = 2000,
    samples: int = 5,
    draws: int = 50,
    apart: int = 15,
    weight: float = 10.0,
    model: Model | None = None,
) -> dict:
    """Directions that a language model proposes from names, four networks; and as a soft prior, 5
    samples of 2,000 rows.

    Where no local model is installed, the report says so and has no numbers. ``apart`` pairs
    without an edge are drawn from each network. Priors have ``weight`` draws; the order search ran
    on ``draws`` bootstrap draws of each of ``samples`` samples of ``n`` rows.
    """
    try:
        model = model or LocalModel()
    except ProposalError as error:
        return report([], skipped={"local model": str(error)})
    rows = []
    kept = {"adjacent": [], "neutral": [], "apart": []}
    for network in progress_bar(networks, delay=0, desc="networks"):
        net = bayes_net(f"network-{network}")
        rng = np.random.default_rng(0)
        truth = CausalGraph.from_pyagrum(net)
        seen = [_stability(net, n, draws, seed) for seed in range(samples)]
        edges, gaps = (_pairs(truth, marks) for marks in (truth.skeleton, ~truth.skeleton))
        gaps = [gaps[k] for k in sorted(rng.permutation(len(gaps))[:apart])]
        found = [
            pair
            for one in seen
            for pair in _pairs(truth, one.graph().subgraph(truth.names).skeleton)
        ]
        asked = propose(descriptions(network), dict.fromkeys([*edges, *gaps, *found]), model=model)
        number = {
            name: f"X{k + 1}"
            for name, k in zip(truth.names, rng.permutation(len(truth.names)), strict=True)
        }
        bare = propose(
            sorted(number.values()), [(number[a], number[b]) for a, b in edges], model=model
        )
        back = {new: name for name, new in number.items()}
        bare = [replace(one, first=back[one.first], second=back[one.second]) for one in bare.items]
        parts = {"adjacent": _about(asked, edges), "neutral": bare, "apart": _about(asked, gaps)}
        for part, items in parts.items():
            kept[part] += [(network, one, truth) for one in items]
        for seed, one in enumerate(seen):
            rows += [
                {"network": network, "seed": seed, **row}
                for row in _discovery(one, truth, asked, weight, seed)
            ]
    tables = [
        _table(name, kept, networks if name == "all" else [name]) for name in ("all", *networks)
    ]
    return report(
        _claims(tables, rows),
        skipped={},
        about={
            **model.about,
            "rows": n,
            "samples": samples,
            "draws": draws,
            "apart": apart,
            "weight": weight,
        },
        table=tables,
        means=_means(rows, networks),
        rows=rows,
        proposals=[
            {"network": name, "proposal": str(one), "reason": one.reason}
            for name, one, _ in kept["adjacent"]
        ],
        versions={package: version(package) for package in ("numpy", "torch")},
    )


def _pairs(truth, marks):
    return [(truth.names[i], truth.names[j]) for i, j in np.argwhere(np.triu(marks, 1))]


def _about(proposals, pairs):
    return [
        one for one in proposals.items if {one.first, one.second} in [set(pair) for pair in pairs]
    ]


def _stability(net, n, draws, seed) -> Stability:
    frame = sample_network(net, n, seed=seed + 1)
    statistics = Statistics.from_frame(frame, n_boot=draws, seed=seed).shrunk(0.001)
    return edge_stability(statistics, seed=seed, restarts=5, progress=False)


def leaning(one: Proposal) -> Proposal:
    """The direction that the probabilities of the two orders, averaged as logarithms, favour; as a
    proposal.
    """
    there, back = (reply.shares for reply in one.replies)
    favour = math.log(there[0]) + math.log(back[1]) - math.log(there[1]) - math.log(back[0])
    return Proposal(one.first, one.second, "->" if favour > 0 else "<-", replies=one.replies)


def _right(one, truth):
    return bool(one.edge and one.edge[1] in truth.children(one.edge[0]))


def _share(hits):
    """Share, 95% Wilson interval and number of ``hits``, a list of bool."""
    if not hits:
        return {"share": None, "low": None, "high": None, "pairs": 0}
    low, high = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return {
        "share": sum(hits) / len(hits),
        "low": float(low),
        "high": float(high),
        "pairs": len(hits),
    }


def _table(name, kept, networks):
    """One row of the table: what came of the pairs of ``networks``."""
    parts = {
        part: [(one, truth) for network, one, truth in all_ if network in networks]
        for part, all_ in kept.items()
    }
    row = {"network": name}
    causes = {}
    for part, items in parts.items():
        answers = [one.answer for one, _ in items]
        row[part] = {
            "pairs": len(items),
            **{what: answers.count(what) for what in ("neither", "refused")},
        }
        row[part]["edges"] = len(items) - row[part]["neither"] - row[part]["refused"]
        causes[part] = [reply.choice for one, _ in items for reply in one.replies]
        row[part]["replies"] = {
            what: causes[part].count(what) for what in ("first", "second", "neither")
        }
        named = [choice == "first" for choice in causes[part] if choice != "neither"]
        row[part]["first-named wins"] = _share(named)
        row[part]["names a cause"] = _share([choice != "neither" for choice in causes[part]])
        if part != "apart":
            row[part]["right"] = sum(_right(one, truth) for one, truth in items)
            row[part]["wrong"] = row[part]["edges"] - row[part]["right"]
            row[part]["right of proposed"] = _share(
                [_right(one, truth) for one, truth in items if one.edge]
            )
            row[part]["right by both orders averaged"] = _share(
                [_right(leaning(one), truth) for one, truth in items]
            )
        else:
            row[part]["false proposals"] = _share([one.edge is not None for one, _ in items])
    return row


def _discovery(seen, truth, asked, weight, seed):
    """Directed F1 and SHD from the true DAG with each prior on the pairs that the draws found."""
    truth = truth.subgraph(seen.names)
    found = {frozenset(pair) for pair in _pairs(truth, seen.graph().skeleton)}
    items = [one for one in asked.items if {one.first, one.second} in found]
    lean = [leaning(one) for one in items]
    rng = np.random.default_rng(seed)
    true = [
        replace(one, answer=way)
        for one in lean
        for way in ("->", "<-")
        if _right(replace(one, answer=way), truth)
    ]
    coins = [
        [replace(one, answer=("->", "<-")[rng.integers(2)]) for one in lean] for _ in range(COINS)
    ]
    priors = {
        "none": [[]],
        "proposals": [items],
        "averaged": [lean],
        "coins": coins,
        "true directions": [true],
    }
    for name, several in priors.items():
        graphs = [Proposals(tuple(one), {}).as_prior(seen, weight).graph() for one in several]
        f1 = float(np.mean([directed_f1(graph, truth, seed) for graph in graphs]))
        distance = float(np.mean([shd(graph, truth) for graph in graphs]))
        votes = sum(one.edge is not None for one in several[0])
        open_ = float(np.mean([np.triu(graph.undirected).sum() for graph in graphs]))
        yield {
            "prior": name,
            "f1": round(f1, 6),
            "shd": round(distance, 6),
            "votes": votes,
            "open": round(open_, 6),
        }


def _of(rows, prior, what, networks=None):
    """(samples,) means over ``networks``."""
    chosen = [
        row
        for row in rows
        if row["prior"] == prior and (networks is None or row["network"] in networks)
    ]
    return np.array(
        [
            np.mean([r[what] for r in chosen if r["seed"] == seed])
            for seed in sorted({r["seed"] for r in chosen})
        ]
    )


def _means(rows, networks):
    """By network and prior: F1 and SHD, and what the prior adds to them with its t-interval over
    samples.
    """
    found = []
    for name in ("all", *networks):
        among = None if name == "all" else [name]
        for prior in dict.fromkeys(row["prior"] for row in rows):
            row = {"network": name, "prior": prior}
            for what in ("f1", "shd"):
                values, without = (_of(rows, which, what, among) for which in (prior, "none"))
                difference = Claim.of("", values - without, "at most 0")
                row |= {what: float(values.mean()), f"{what} added": difference.value}
                row[f"{what} interval"] = difference.interval
            found.append(row | {"votes": float(_of(rows, prior, "votes", among).mean())})
    return found


def _claims(tables, rows):
    whole = tables[0]
    adjacent = whole["adjacent"]
    lean = adjacent["right by both orders averaged"]
    bare = whole["neutral"]["right by both orders averaged"]
    more = [
        row["adjacent"]["names a cause"]["share"] - row["apart"]["names a cause"]["share"]
        for row in tables[1:]
    ]
    named = adjacent["first-named wins"]["share"]
    away = 0.0 if named is None else abs(named - 0.5)
    f1 = {
        prior: _of(rows, prior, "f1")
        for prior in ("none", "proposals", "averaged", "coins", "true directions")
    }
    return [
        Claim.of("directions, names: low end of the share right", [lean["low"]], "at most 0.5"),
        Claim.of(
            "directions, neutral names: low end of the share right", [bare["low"]], "at most 0.5"
        ),
        Claim.of(
            "directions, neutral names: high end of the share right", [bare["high"]], "at least 0.5"
        ),
        Claim.of(
            "adjacent pairs refused, share", [adjacent["refused"] / adjacent["pairs"]], "above 0.5"
        ),
        Claim.of(
            "share of the first-named among causes named, distance from 1/2", [away], "above 0.1"
        ),
        Claim.of("replies that name a cause, adjacent - apart, by network", more, "at most 0.1"),
        Claim.of(
            "directed F1, prior of the proposals - no prior",
            f1["proposals"] - f1["none"],
            "at most 0.02",
        ),
        Claim.of(
            "directed F1, averaged orders - coins", f1["averaged"] - f1["coins"], "at most 0.02"
        ),
        Claim.of(
            "directed F1, true directions - no prior", f1["true directions"] - f1["none"], "above 0"
        ),
    ]
