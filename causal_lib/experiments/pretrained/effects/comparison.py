"""The pretrained learner of effects beside its peers, on tables that it never saw.

The claims were written before any of these benchmarks was run. Seeds differ from the training's;
of `HELD_OUT` the training has seen no table, only the limits of familiarity have seen some.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from causal_lib import paths
from causal_lib.data.sources import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, Measurements, report
from causal_lib.experiments.inference.coverage import DESIGNS, design_answers
from causal_lib.experiments.inference.standard import DEFAULT, PEERS, acic
from causal_lib.experiments.inference.uplift import COLUMNS, SEEDS, campaign
from causal_lib.experiments.pretrained.effects.tables import FAMILIES, HELD_OUT, draw
from causal_lib.inference.covariates import design
from causal_lib.inference.learners import causalml_part
from causal_lib.inference.pretrained import learner
from causal_lib.inference.pretrained.candidates import NAMES
from causal_lib.inference.pretrained.features import OF_CANDIDATES
from causal_lib.inference.uplift import UpliftModel

SEED = 10**6  # the benchmark's root; the training's are small
FRESH = 500  # rows whose effects are asked for
LEVEL = 0.9
RULES = ("least R-loss", "least DR-loss", "r_stack", "median of candidates")
"""What may be done with the candidates without a network and without the truth."""
_OURS = "pretrained"
_WITH_ROLES = "pretrained, roles of columns known"
_WITHOUT_ROLES = "pretrained, on the same tables"
_DEFAULT = "UpliftModel: default"
_FOREST = "EconML's CausalForestDML()"
_X = "CausalML's BaseXRegressor(XGBRegressor())"


@benchmark(
    "pretrained.effects",
    peer="EconML's causal forest and CausalML's X-learner at their defaults, rules that choose "
    "among the same candidates, UpliftModel's default, on the same tables",
)
def effects(
    *,
    tables: int = 3,
    compared: int = 2,
    largest_compared: int = 250,
    sizes: Sequence[int] = (250, 1000, 4000),
    families: Sequence[str] | None = None,
    n_jobs: int = 2,
) -> dict:
    """Errors of individual effects on 3 tables of each family and size, of families that the
    networks were trained on and that were held out; coverage of the intervals of single rows.
    The peers answer 2 of the 3 tables of 250 rows of each held-out family.
    """
    wanted = [*FAMILIES, *HELD_OUT] if families is None else list(families)
    jobs = [
        joblib.delayed(_scored)(
            family,
            n,
            number,
            family in HELD_OUT and n <= largest_compared and number < compared,
        )
        for family in wanted
        for n in sizes
        for number in range(tables)
    ]
    found = Measurements("number")
    for rows in joblib.Parallel(n_jobs, return_as="generator")(jobs):
        found.rows += rows
    claims = _claims(found, wanted, sizes)
    means, _ = found.tables(5, "list")
    # of candidates and rules the means are enough
    found.rows = [row for row in found.rows if row["method"] not in {*NAMES, *RULES}]
    _, rows = found.tables(5, "list")
    return report(claims, means=means, rows=rows)


def _setting(family, n):
    return f"{family}{_of(n)}"


def _of(n):
    return f", {n:,} rows"


def _scored(family, n, number, with_peers):
    """Rows of `Measurements` of one table."""
    seed = [SEED, [*FAMILIES, *HELD_OUT].index(family), n, number]
    table = draw(family, seed, n=n, queries=FRESH)
    truth = table.effect[n:]
    unit = table.y.std()
    rows = (table.y, table.t, table.x[:n], table.groups, 0)
    fitted = learner.fit(*rows)
    low, high = fitted.interval(table.x[n:], LEVEL) if fitted.familiar else (truth, truth)
    answers = {_OURS: fitted.answer(table.x[n:]).effects, **_by_rules(fitted, table.x[n:])}
    if with_peers:
        answers |= _by_peers(table, n)
    if set(table.roles) != {"unknown"}:
        known = learner.fit(*rows, roles=[(table.roles, 1.0)])
        answers[_WITH_ROLES] = known.answer(table.x[n:]).effects
        answers[_WITHOUT_ROLES] = answers[_OURS]
    found = []
    for name, effects in answers.items():
        row = {
            "setting": _setting(family, n),
            "number": number,
            "method": name,
            "rmse": float(np.sqrt(((effects - truth) ** 2).mean())) / unit,
            "familiar": float(fitted.familiar),
            "covered": np.nan,
        }
        if name == _OURS and fitted.familiar:
            row["covered"] = float(((low <= truth) & (truth <= high)).mean())
        found.append(row)
    return found


def _by_rules(fitted, x):
    """Effects by `RULES` and by each candidate. The losses choose among the candidates that are no
    stacks: a stack has the least loss by its making.
    """
    values = fitted.unit * fitted.candidates.predict(x).effects
    found = dict(zip(NAMES, values.T, strict=True))
    fitted_only = NAMES.index("constant")
    for name in ("R-loss", "DR-loss"):
        rank = fitted.table.candidates[:, OF_CANDIDATES.index(f"{name} rank")]
        found[f"least {name}"] = values[:, rank[: fitted_only + 1].argmin()]
    found["median of candidates"] = np.median(values[:, :fitted_only], axis=1)
    return found


def _by_peers(table, n):
    """Effects by the peers; not a number from one that refuses the table."""
    names = [f"x{j}" for j in range(table.x.shape[1])]
    frame = pd.DataFrame(table.x[:n], columns=names)
    frame = frame.assign(t=table.t, y=table.y, group=table.groups)
    fresh = pd.DataFrame(table.x[n:], columns=names)
    found = {}
    for name, peer in ((_DEFAULT, _default), (_FOREST, _forest), (_X, _cross)):
        try:
            found[name] = peer(frame, names, fresh)
        except ValueError:
            found[name] = np.full(len(fresh), np.nan)
    return found


def _default(frame, names, fresh):
    clusters = frame["group"].nunique() < len(frame)
    how = {"cluster": "group"} if clusters else {}
    return UpliftModel.train(frame, "t", "y", names, **how).predict(fresh)


def _forest(frame, names, fresh):
    from econml.dml import CausalForestDML

    model = CausalForestDML(discrete_treatment=True, random_state=0)
    model.fit(frame["y"].to_numpy(), frame["t"].to_numpy(), X=frame[names].to_numpy())
    return np.ravel(model.effect(fresh.to_numpy()))


def _cross(frame, names, fresh):
    from xgboost import XGBRegressor

    model = causalml_part("meta").BaseXRegressor(XGBRegressor(random_state=0, n_jobs=1))
    model.fit(X=frame[names].to_numpy(), treatment=frame["t"].to_numpy(), y=frame["y"].to_numpy())
    return np.ravel(model.predict(fresh.to_numpy()))


def _claims(found, families, sizes):
    """Ratios of mean errors over the tables of a family and size that both answered."""

    def ratio(family, n, other):
        of_other = found.of(_setting(family, n), other, "rmse")
        ours = found.of(_setting(family, n), _OURS, "rmse")[: len(of_other)]
        both = ~np.isnan(of_other)
        return ours[both].mean() / of_other[both].mean()

    claims = []
    held_out = [family for family in families if family in HELD_OUT]
    for n in sizes if held_out else ():
        best = min(RULES, key=lambda rule: np.mean([1 / ratio(f, n, rule) for f in held_out]))
        of_best = [ratio(family, n, best) for family in held_out]
        name = f"held out, {n:,} rows: RMSE, pretrained / the best rule without the network"
        claims.append(Claim.of(f"{name}, mean over families", of_best, "at most 0.9"))
        claims.append(Claim.of(f"{name}, the worst family", [max(of_best)], "at most 1.05"))
        if _FOREST not in {row["method"] for row in found.rows if row["setting"].endswith(_of(n))}:
            continue
        for peer in (_FOREST, _X):
            of_peer = [ratio(family, n, peer) for family in held_out]
            claims.append(
                Claim.of(f"held out, {n:,} rows: RMSE, pretrained / {peer}", of_peer, "at most 0.8")
            )
        of_default = [ratio(family, n, _DEFAULT) for family in held_out]
        claims.append(
            Claim.of(
                f"held out, {n:,} rows: RMSE, pretrained / {_DEFAULT}", of_default, "at most 0.9"
            )
        )
    with_roles, without = (
        np.concatenate(
            [found.of(_setting(f, n), method, "rmse") for f in held_out for n in sizes]
            or [np.array([])]
        )
        for method in (_WITH_ROLES, _WITHOUT_ROLES)
    )
    if len(with_roles):
        claims.append(
            Claim.of(
                "held out: mean RMSE, with the roles of columns / without",
                [with_roles.mean() / without.mean()],
                "at most 0.95",
            )
        )
    for what, group, low, high in (
        ("trained on", FAMILIES, 0.88, 0.92),
        ("held out, not flagged", HELD_OUT, 0.80, 0.95),
    ):
        covered = np.concatenate(
            [
                found.of(_setting(family, n), _OURS, "covered")
                for family in families
                if family in group
                for n in sizes
            ]
            or [np.array([])]
        )
        covered = covered[~np.isnan(covered)]
        if len(covered):
            sentence = f"{what}: coverage of the 90% intervals of rows"
            claims.append(Claim.of(sentence, covered, f"at least {low}"))
            claims.append(Claim.of(sentence, covered, f"at most {high}"))
    return claims


# ---- published sets, averages, campaigns ---------------------------------------------------------


@benchmark(
    "pretrained.effects_acic",
    peer="EconML's and CausalML's defaults, UpliftModel's, on the same rows",
)
def effects_acic(sets: int = 10, *, n: int | None = None, n_jobs: int = 2) -> dict:
    """Errors of individual effects on the ten outcome sets of ACIC 2016, in standard deviations of
    the outcome, by the pretrained learner. On all rows the others' errors are those of the report
    of inference.standard, which are of the same rows.
    """
    committed = paths.ROOT / "reports" / "benchmarks" / "inference.standard.json"
    if n is None and committed.exists():
        table = pd.DataFrame(json.loads(committed.read_text(encoding="utf-8"))["rows"])
        table = table[table["method"].isin([DEFAULT, *PEERS]) & (table["set"] <= sets)]
    else:
        table = acic(sets, methods=(DEFAULT, *PEERS), n=n, n_jobs=n_jobs)
    table = table.assign(individual=table["individual"].astype(float))
    errors = table.pivot_table(index="set", columns="method", values="individual", dropna=False)
    jobs = (joblib.delayed(_acic_error)(k, n) for k in range(1, sets + 1))
    ours = pd.Series(joblib.Parallel(n_jobs)(jobs), index=errors.index)
    best = errors[PEERS].min(axis=1)
    claims = [
        Claim.of(
            "sets with an error of at most the set's best peer's", ours <= best, "at least 0.8"
        ),
        Claim.of("RMSE of individual effects", ours, "at most 0.21"),
        Claim.of("RMSE, pretrained / default UpliftModel", ours / errors[DEFAULT], "at most 1"),
    ]
    table = errors.assign(**{_OURS: ours}).reset_index()
    return report(claims, rows=table.astype(object).where(table.notna(), None).to_dict("records"))


def _acic_error(number, n):
    data = load("acic2016")
    truth = data[number][:n]
    y = np.where(truth["z"] == 1, truth["y1"], truth["y0"])
    covariates = data["covariates"][:n]
    x = design(covariates, list(covariates)).to_numpy()
    fitted = learner.fit(y, truth["z"].to_numpy(), x, np.arange(len(y)), 0)
    off = fitted.answer(x).effects - (truth["mu1"] - truth["mu0"]).to_numpy()
    return float(np.sqrt((off**2).mean()) / y.std())


@benchmark("pretrained.effect_averages", peer="AIPW, the default, on the same rows")
def effect_averages(
    runs: int = 400,
    *,
    designs: Sequence[str] | None = None,
    cache_file: str | Path | None = None,
    n_jobs: int = 2,
) -> dict:
    """Coverage and error of the average effect by the estimator 'pretrained', on the data sets of
    inference.designs, with and without the correction by the influence function.

    ``runs`` data sets of each of ``designs``. Those in ``cache_file`` are read, see
    `design_answers`.
    """
    wanted = list(designs or DESIGNS)
    methods = (_OURS, "default")
    table = design_answers(wanted, runs, methods=methods, cache_file=cache_file, n_jobs=n_jobs)
    table["error"] = (table["value"] - table["truth"]).abs()
    off = (table["uncorrected"] - table["truth"]).abs()
    table["uncorrected_error"] = off
    table["uncorrected_covers"] = (off <= (table["high"] - table["low"]) / 2).where(off.notna())
    claims = []
    means = []
    for name in wanted:
        of_design = table[(table["design"] == name) & (table["verdict"] != "refused")]
        ours, default = (of_design[of_design["method"] == method] for method in methods)
        means.append(
            {
                "design": name,
                "answered": len(ours),
                "coverage": ours["covers"].astype(float).mean(),
                "default's coverage": default["covers"].astype(float).mean(),
                "coverage without the correction": ours["uncorrected_covers"].astype(float).mean(),
                "error": ours["error"].mean(),
                "default's error": default["error"].mean(),
                "error without the correction": ours["uncorrected_error"].mean(),
            }
        )
        if not len(ours):
            continue
        covered = ours["covers"].astype(float)
        claims += [
            Claim.of(f"{name}: coverage of the 95% interval", covered, "at least 0.92"),
            Claim.of(f"{name}: coverage of the 95% interval", covered, "at most 0.98"),
            Claim.of(
                f"{name}: error of the average / AIPW's",
                [ours["error"].mean() / default["error"].mean()],
                "at most 1",
            ),
        ]
    return report(claims, runs=runs, means=_plain(means))


def _plain(rows):
    """``rows`` with None for what is not a number."""
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]


@benchmark("pretrained.effect_campaigns", peer="UpliftModel's default on the same campaigns")
def effect_campaigns(seeds: Sequence[int] = SEEDS, *, n: int = 20_000, n_jobs: int = 2) -> dict:
    """Qini of the pretrained learner on the ten campaigns of inference.uplift, by true effects."""
    jobs = (joblib.delayed(_campaign)(seed, n) for seed in seeds)
    found = Measurements("seed")
    for rows in joblib.Parallel(n_jobs, return_as="generator")(jobs):
        found.rows += rows
    ahead = found.difference("campaigns", "qini", _OURS, _DEFAULT)
    claims = [
        Claim.of("campaigns with a Qini of at least the default's", ahead >= 0, "at least 0.8")
    ]
    means, rows = found.tables(6, "list")
    return report(claims, means=means, rows=rows)


def _campaign(seed, n):
    frame = campaign(seed, n)
    fresh = campaign(seed, n, part=1)
    gains = fresh["effect"].to_numpy()
    rows = []
    for name, chosen in ((_OURS, "pretrained"), (_DEFAULT, None)):
        model = UpliftModel.train(frame, "t", "y", COLUMNS, learner=chosen)
        predicted = model.predict(fresh)
        ranks = pd.Series(-predicted).rank().to_numpy() / (n + 1)
        rows.append(
            {
                "setting": "campaigns",
                "seed": seed,
                "method": name,
                "qini": float((gains * (0.5 - ranks)).mean()),
                "rmse": float(np.sqrt(((predicted - gains) ** 2).mean())),
            }
        )
    return rows
