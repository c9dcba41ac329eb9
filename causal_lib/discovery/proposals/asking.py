"""`propose`: pairs of variables in, a model's `Proposals` out, and what the data say to them."""

import itertools
import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from causal_lib.discovery.proposals.language_models import (
    Endpoint,
    LocalModel,
    Model,
    Refused,
    Reply,
)
from causal_lib.discovery.stability import Stability
from causal_lib.graph import CausalGraph
from causal_lib.progress import progress_bar

MAX_TEXT = 2_000  # characters of a name or a description
GIVE_UP = 3  # pairs in a row for which the endpoint failed


@dataclass(frozen=True)
class Proposal:
    """What the model proposes for ``first`` and ``second``, or the ``reason`` why it is refused.

    ``answer`` is '->', '<-', 'neither' or 'refused', ``confidence`` the mean of the two orders
    (None where a model tells none), ``replies`` are those to (first, second) and to (second,
    first), as far as they were understood.
    """

    first: str
    second: str
    answer: str
    confidence: float | None = None
    reason: str = ""
    replies: tuple[Reply, ...] = ()

    @property
    def edge(self) -> tuple[str, str] | None:
        """(cause, effect), None where no edge is proposed."""
        return {"->": (self.first, self.second), "<-": (self.second, self.first)}.get(self.answer)

    def __str__(self):
        cause, effect = map(_shown, self.edge or (self.first, self.second))
        return f"{cause} -> {effect}" if self.edge else f"{cause}, {effect}: {self.answer}"


@dataclass(frozen=True, repr=False)
class Proposals:
    """A model's `Proposal` for each pair, and after `score` the data's verdict on each; none of it
    is `Knowledge`.
    """

    items: tuple[Proposal, ...]
    about: Mapping[str, object]
    verdicts: tuple[tuple[str, str], ...] = ()

    def score(self, frequencies: Stability | CausalGraph) -> "Proposals":
        """The same with a verdict on each proposal: 'supports', 'contradicts' or 'silent', and why.

        An edge counts as found where most draws have the pair adjacent, and as directed where most
        of those direct it one way. A proposed edge is contradicted by the other direction and by no
        edge (it may still be indirect: we ask about direct causes); data that leave the direction
        open are silent. 'Neither' is supported by no edge. A graph counts as one draw. That data
        support an edge makes it no more certain than the method that found it.

        Raises ValueError where a variable of a proposal is absent.
        """
        seen = _frequencies(frequencies)
        return replace(self, verdicts=tuple(_verdict(one, seen) for one in self.items))

    @property
    def agreement(self) -> tuple[float, float, float] | None:
        """Share supported among those supported or contradicted, with its 95% Wilson interval; None
        without any.
        """
        said = [verdict for verdict, _ in self.verdicts if verdict != "silent"]
        if not said:
            return None
        good = said.count("supports")
        return good / len(said), *binomtest(good, len(said)).proportion_ci(method="wilson")

    def those(self, verdict: str) -> list[Proposal]:
        """The proposals that the data 'supports', 'contradicts' or are 'silent' on; `score` comes
        first.
        """
        return [
            one
            for one, (found, _) in zip(self.items, self.verdicts, strict=False)
            if found == verdict
        ]

    def as_prior(self, frequencies: Stability, weight: float = 10.0) -> Stability:
        """``frequencies`` in which each proposed direction has the votes of ``weight`` · confidence
        more draws.

        The order search has no place for a soft penalty, and its score is the same for every member
        of an equivalence class: what a proposal can decide is the direction where draws leave it
        open or disagree. So the draws with i → j or j → i vote, those with i — j abstain, and if
        the share s of i → j,

            s = (votes for + pseudo-votes) / (all votes + pseudo-votes),

        is above 1/2, it becomes that of i → j among the draws that have the edge. Else the draws
        overrule the proposal and stay as they are: it never speaks for the other direction. Whether
        there is an edge stays the data's too: 'neither' and refused answers change nothing, and no
        proposal adds an edge. The result's ``graph()`` keeps out cycles; it may have v-structures
        that no draw had. Draws of a bootstrap are not independent, so ``weight`` is a knob, no
        number of observations.

        Raises TypeError for anything but a `Stability`, ValueError for a negative weight or an
        absent variable.
        """
        if not isinstance(frequencies, Stability):
            raise TypeError(
                "frequencies: as_prior needs the Stability of edge_stability, whose draws vote"
            )
        if not 0 <= weight < np.inf:
            raise ValueError(f"weight: {weight} is not a finite number of draws, 0 or more")
        directed = frequencies.directed.copy()
        undirected = frequencies.undirected.copy()
        draws = frequencies.draws
        for one in self.items:
            i, j = (_index(frequencies, name) for name in one.edge or (one.first, one.second))
            pseudo = weight * (1.0 if one.confidence is None else one.confidence)
            votes = draws * (directed[i, j] + directed[j, i])
            adjacent = directed[i, j] + directed[j, i] + undirected[i, j]
            if not (one.edge and pseudo and adjacent):
                continue
            share = (draws * directed[i, j] + pseudo) / (votes + pseudo)
            if share > 0.5:
                directed[i, j] = adjacent * share
                directed[j, i] = adjacent * (1 - share)
                undirected[i, j] = undirected[j, i] = 0.0
        info = {**frequencies.info, "prior": {**self.about, "weight": weight}}
        return replace(frequencies, directed=directed, undirected=undirected, info=info)

    def to_frame(self) -> pd.DataFrame:
        """One row for each pair: proposal, confidence, why it was refused; after `score` the data's
        verdict and why.
        """
        table = pd.DataFrame(
            [(str(one), one.confidence, one.reason) for one in self.items],
            columns=["proposal", "confidence", "refused"],
        )
        verdicts = pd.DataFrame(list(self.verdicts), columns=["data", "because"])
        return table.join(verdicts) if self.verdicts else table

    def to_dict(self) -> dict:
        """Metadata and pairs as JSON types."""
        said = self.verdicts or ((None, None),) * len(self.items)
        keys = ("first", "second", "answer", "confidence", "reason")
        pairs = [
            {**{key: getattr(one, key) for key in keys}, "data": verdict, "because": why}
            for one, (verdict, why) in zip(self.items, said, strict=True)
        ]
        return {**self.about, "pairs": pairs}

    def __repr__(self):
        counts = [f"{sum(one.edge is not None for one in self.items)} edges proposed"]
        counts += [
            f"{sum(one.answer == what for one in self.items)} {what}"
            for what in ("neither", "refused")
        ]
        text = (
            f"Proposals of {self.about.get('model')} on {len(self.items)} pairs, no "
            f"knowledge: {', '.join(counts)}"
        )
        if self.verdicts:
            text += "; the data " + ", ".join(
                f"{verb} {len(self.those(found))}"
                for verb, found in [
                    ("support", "supports"),
                    ("contradict", "contradicts"),
                    ("are silent on", "silent"),
                ]
            )
        return text

    def _repr_html_(self):
        note = "Proposals of a language model, no knowledge"
        return f"<p>{note}</p>{self.to_frame().to_html(index=False, na_rep='')}"


def propose(
    variables: Iterable[str] | Mapping[str, str],
    pairs: Iterable[tuple[str, str]] | None = None,
    *,
    model: Model | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Proposals:
    """A language model's `Proposals` of direct causes among ``variables``, each pair asked in both
    orders.

    Names and descriptions are sent as escaped JSON inside a marked block, and the answer can only
    name V1 or V2: no text in them can become part of an answer. Two orders that contradict each
    other are no proposal.

    Parameters
    ----------
    variables : names, or name -> description in a line.
    pairs : which to ask about, in any order; all when left out (d (d - 1) questions).
    model : an `Endpoint`, a `LocalModel` or anything like them; left out, the endpoint of the
        environment (CAUSAL_LIB_LLM_URL, CAUSAL_LIB_LLM_MODEL, CAUSAL_LIB_LLM_KEY) where one is
        named, else the local model.
    seed : sent to the endpoint, which may or may not heed it.
    progress : whether a bar is shown.

    Raises
    ------
    ValueError
        for a variable that is no text, is empty, too long or named twice, a pair that is none, or
        given twice.
    ProposalError
        when no model can be asked.

    Source: Kıcıman and others 2023, arXiv 2305.00050 (the pairwise question).
    """
    if isinstance(variables, str):
        raise ValueError("variables: must be names or a mapping, not one text")
    given = (
        list(variables.items())
        if isinstance(variables, Mapping)
        else [(name, "") for name in variables]
    )
    for name, text in given:
        if not isinstance(name, str) or not isinstance(text, str) or not name:
            raise ValueError(
                f"variables: {name!r:.50} and its description must be text, the name not empty"
            )
        if max(len(name), len(text)) > MAX_TEXT:
            raise ValueError(
                f"variables: {_shown(name)} has {max(len(name), len(text)):,} characters, at most "
                f"{MAX_TEXT:,}"
            )
    described = dict(given)
    if len(described) < len(given):
        raise ValueError("variables: a name is given twice")
    place = {name: i for i, name in enumerate(described)}
    chosen = {}
    for pair in itertools.combinations(described, 2) if pairs is None else pairs:
        pair = (pair,) if isinstance(pair, str) else tuple(pair)
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= place.keys():
            raise ValueError(
                f"pairs: {', '.join(_shown(str(name)) for name in pair)} are not two "
                "of the variables"
            )
        pair = tuple(sorted(pair, key=place.__getitem__))
        if pair in chosen:
            raise ValueError(f"pairs: {_shown(pair[0])}, {_shown(pair[1])} is given twice")
        chosen[pair] = None
    if model is None:
        model = (
            Endpoint.from_environment() if os.environ.get("CAUSAL_LIB_LLM_URL") else LocalModel()
        )
    items = []
    failures = 0
    for pair in progress_bar(chosen, show=progress, desc="pairs"):
        if failures >= GIVE_UP:
            items.append(
                Proposal(
                    *pair,
                    "refused",
                    reason=f"not asked: the endpoint failed {GIVE_UP} pairs in a row",
                )
            )
            continue
        one, down = _asked(pair, described, model, seed)
        items = [*items, one]
        failures = failures + 1 if down else 0
    return Proposals(tuple(items), {**model.about, "seed": seed})


def _asked(pair, described, model, seed):
    """The `Proposal` of a pair, and whether the endpoint failed."""
    replies = []
    for asked in (pair, pair[::-1]):
        try:
            replies.append(model.reply(_data(asked, described), seed))
        except Refused as refused:
            return Proposal(
                *pair, "refused", reason=str(refused), replies=tuple(replies)
            ), refused.down
    turned = {"first": "second", "second": "first"}
    there = replies[0].choice
    back = turned.get(replies[1].choice, replies[1].choice)
    if there != back:
        return Proposal(
            *pair, "refused", reason="contradictory in the other order", replies=tuple(replies)
        ), False
    sure = [reply.confidence for reply in replies if reply.confidence is not None]
    answer = {"first": "->", "second": "<-", "neither": "neither"}[there]
    return Proposal(
        *pair, answer, math.fsum(sure) / 2 if len(sure) == 2 else None, replies=tuple(replies)
    ), False


def _data(pair, described):
    """Two variables as ASCII JSON on one line; < and > are escaped, so that no name can end the
    block or start a role.
    """
    about = {
        f"V{i}": {"name": name, "description": described[name]} for i, name in enumerate(pair, 1)
    }
    return json.dumps(about).replace("<", "\\u003c").replace(">", "\\u003e")


def descriptions(network: str) -> dict[str, str]:
    """Name -> description in a line of the variables of network ``network`` ('alarm', 'asia',
    'child', 'sachs').
    """
    tables = tomllib.loads(
        Path(__file__).with_name("descriptions.toml").read_text(encoding="utf-8")
    )
    if network not in tables:
        raise ValueError(f"no descriptions of network {network!r}; known: {', '.join(tables)}")
    return tables[network]


def _shown(name):
    """A name on one line, at most 60 characters, what does not print as escapes."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _index(frequencies, name):
    if name not in frequencies.names:
        raise ValueError(
            f"frequencies: no variable {_shown(name)!r}; variables: {', '.join(frequencies.names)}"
        )
    return frequencies.names.index(name)


def _frequencies(found):
    if isinstance(found, Stability):
        return found
    shares = (found.adjacency, found.undirected, ~found.skeleton)
    return Stability(found.names, *(share.astype(float) for share in shares), 1)


def _verdict(one, seen):
    i, j = (_index(seen, name) for name in one.edge or (one.first, one.second))
    adjacent = 1 - seen.none[i, j]
    if one.answer == "refused":
        return "silent", "no proposal"
    if one.answer == "neither":
        return ("contradicts", "an edge") if adjacent > 0.5 else ("supports", "no edge")
    if adjacent <= 0.5:
        return "contradicts", "no edge"
    for k, m, verdict in (
        (i, j, ("supports", "same direction")),
        (j, i, ("contradicts", "other direction")),
    ):
        if seen.directed[k, m] > adjacent / 2 + 1e-12:
            return verdict
    return "silent", "direction open"
