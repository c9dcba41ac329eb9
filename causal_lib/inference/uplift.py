"""Uplift: effects for each user and item, their calibration, recommendations under a budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from causal_lib.cards import card
from causal_lib.checks import (
    check_column_names,
    check_columns,
    check_contrast,
    check_frame,
    check_ids,
    check_no_copy,
    check_number,
    check_outcome,
    check_whole,
)
from causal_lib.columns import number_of
from causal_lib.graph import CausalGraph
from causal_lib.inference.covariates import Covariates
from causal_lib.inference.estimators import Sample
from causal_lib.inference.learners import (
    CANDIDATES,
    FINE_CANDIDATES,
    LEARNERS,
    Learned,
    Projection,
    Rows,
    explained,
)
from causal_lib.inference.least_squares import LeastSquares, stack_weights
from causal_lib.inference.models import LEAST_EXPLAINED, Fitting, fit, folds, is_zero_one
from causal_lib.inference.nuisances import (
    clustered_covariance,
    dr_scores,
    is_reversed,
    standard_error,
    turned,
    untreated_scores,
)
from causal_lib.inference.pretrained.roles import roles_of_encoded
from causal_lib.inference.support import doubts_of, judge_arms
from causal_lib.ordering import canonical_columns, canonical_order
from causal_lib.resampling import cluster_codes, percentile_ends, resampled_counts

GROUPS = 5
OBJECTIVES = ("uplift", "relevance", "revenue")
STACK = "stack"
_ADDED = ("uplift", "relevance", "objective", "expected", "low", "high", "why")
_MOST_SHOWN = 10
_BENDS = (0.5, 0.8)
_CLUSTERS_OF_BENDS = 200


@dataclass(frozen=True, eq=False, repr=False)
class UpliftModel:
    """Effects that vary between rows, by one learner or several, judged by doubly robust scores.

    Attributes
    ----------
    score : (n,) AIPW score of each training row: a noisy, unbiased measurement of its effect.
    predicted : (n,) the effect predicted by models that did not see the row (nor others of its
        cluster). The mean over the rows of a fold is set to that of all rows: how far the models
        of the folds differ in their level is chance, and opposite to the scores they are judged by.
    groups : (n,) cluster of each row.
    x : (n, columns) adjustment columns of the training rows as numbers, as the learners see them.
    learner : a name of `LEARNERS`, or 'stack'.
    events : whether the outcome is 0 or 1.
    chosen : one row per candidate, the average effect first: loss (mean squared distance of scores
        from its predictions of rows that it did not see), explained (how far its loss is below that
        of the average, as a share) and weight in the predictions.
    contrast : control and treated level, if given.
    aligned : (n,) ``predicted``, with the same spread in every fold: that which the predictions of
        ``model`` have on these rows. `recommend` regresses scores on it.
    untreated : (n,) AIPW score of the outcome that each training row has when not treated.
    covariates : the encoder of ``x``.
    verdict, reasons : what the training rows can say of the average effect, as of `effects.Effect`;
        ``reasons`` also tells where the learner 'pretrained' does not know such a table.
    """

    treatment: str
    outcome: str
    adjustment: tuple[str, ...]
    score: np.ndarray
    predicted: np.ndarray
    groups: np.ndarray
    x: pd.DataFrame
    learner: str
    model: Learned
    relevance_model: object
    covariates: Covariates | None = None
    verdict: str = "supported"
    reasons: tuple[str, ...] = ()
    events: bool = True
    chosen: pd.DataFrame | None = None
    contrast: tuple | None = None
    untreated: np.ndarray | None = None
    aligned: np.ndarray | None = None

    @classmethod
    def train(
        cls,
        frame: pd.DataFrame,
        treatment: str,
        outcome: str,
        adjustment: Sequence[str],
        *,
        learner: str | Sequence[str] | None = None,
        contrast: tuple | None = None,
        propensity: str | None = None,
        cluster: str | None = None,
        graph: CausalGraph | None = None,
        seed: int = 0,
    ) -> "UpliftModel":
        """Fit on ``frame``: ``adjustment`` is a back-door set, as of `effects.effect`.

        By default several learners predict rows that they did not see. Their predictions are
        weighed by least squares of the doubly robust scores, weights at least 0 and together at
        most 1; the rest is the weight of the average effect. Where rows do not differ visibly,
        predictions are near the average. `chosen` tells losses and weights.

        Parameters
        ----------
        treatment : column of 0 and 1, or of the levels named by ``contrast``.
        learner : None for a stack of `learners.CANDIDATES`, and of `learners.FINE_CANDIDATES` where
            held-out predictions explain half of the outcome's variance within the arms; several
            names for a stack of these; one name for its predictions as they are. Our own:
            'dr_linear' (ridge regression of the scores on the adjustment columns), 'dr' (boosted),
            'dr_coarse' (boosted by small trees); 't_linear' (one regression for each arm, logistic
            for events), 't_coarse' (boosted by small trees); 'x_fine' (as 'x', by trees of small
            leaves). CausalML's, boosted: 's', 't', 'x', 'r' (one outcome model with the
            treatment among its columns, one for each arm, the arms' imputed effects weighted by
            propensity, the regression of residuals on residuals); 'uplift_tree', 'uplift_forest'
            (outcome 0/1 and a randomised treatment, since they compare the arms of a leaf without
            adjustment; `calibration` shows the harm that confounding does). EconML's:
            'causal_forest'. 'pretrained': networks that were trained on random tables with known
            effects weigh many small learners, row by row; a table unlike those is answered by a
            stack of the small learners, and `reasons` says so.
        contrast : (control, treated), two levels of the treatment. Rows of other levels count in
            averages by what the outcome models predict for them, as in `effects.effect`.
        propensity : column of the known probabilities of treatment, in (0, 1), instead of
            estimated ones; for a treatment with two levels. 'uplift_tree', 'uplift_forest' and
            'causal_forest' make no use of it, their scores do.
        cluster : see `effects.effect`.
        graph : for the learner 'pretrained': a DAG, or a CPDAG over whose members the answer is
            averaged. By it a column that says nothing of the treatment is left out of the
            propensity, an instrument out of the outcome and the effect (see `pretrained.roles`). It
            does not check the adjustment set, `effects.effect` does. `Knowledge` enters by
            ``graph.cpdag(knowledge)``.

        Of a category of more than 30 levels the scores are adjusted for each level; the learners
        tell the 29 commonest apart. The order of the rows changes nothing, nor does that of the
        columns, nor the unit of one.

        Raises
        ------
        NoOverlapError, ValueError
            as `effects.effect`; ValueError for an unknown learner or one that the outcome does not
            fit.

        Source: van der Laan, Polley and Hubbard 2007 (stack); Kennedy 2023 (loss, dr); Künzel and
        others 2019 (s, t, x); Nie and Wager 2021 (r); Athey, Tibshirani and Wager 2019 (causal
        forest); Rzepakowski and Jaroszewicz 2012 (uplift trees).
        """
        names = _learner_names(learner)
        adjustment = check_columns(adjustment, name="adjustment")
        if graph is not None and names != ["pretrained"]:
            raise ValueError("graph: only the learner 'pretrained' makes use of it; leave it out")
        check_column_names(
            treatment=treatment, outcome=outcome, propensity=propensity, cluster=cluster
        )
        if treatment == outcome:
            raise ValueError(f"treatment and outcome are both {treatment!r}")
        if own := {treatment, outcome} & set(adjustment):
            raise ValueError(f"adjustment holds {', '.join(sorted(own))} itself")
        others = [column for column in (propensity, cluster) if column is not None]
        check_frame(frame, [treatment, outcome, *adjustment, *others], complete=True, name="train")
        fine = Covariates.fit(frame, sorted(adjustment), name="train")
        table = fine.table(frame, name="train")
        if table.shape[1] == 0:
            raise ValueError(
                "adjustment is empty: effects can vary only with columns; give some, or use effect"
            )
        t = _arms(frame[treatment], contrast)
        numbers = check_outcome(number_of(frame, outcome), outcome)
        check_no_copy(table, numbers, outcome)
        y, unit, start = _standardised(numbers)
        known = None if propensity is None else _known_propensities(frame, propensity, t)
        groups = cluster_codes(frame, cluster)
        reverse = is_reversed(t, y)
        codes = turned(t) if reverse else t
        table = table[canonical_columns(table, y, codes)]
        covariates = fine.with_few_levels(frame)
        x = covariates.table(frame, name="train")
        x = x[canonical_columns(x, y, codes)]
        order = canonical_order(table, codes, y, clusters=groups)
        table = table.iloc[order].reset_index(drop=True)
        roles = None
        if graph is not None:
            owners = covariates.owners(frame)
            roles = roles_of_encoded(graph, treatment, outcome, owners, list(x))
        rows = Rows(y, t, x, groups, seed, chances=known, roles=roles).take(order)
        how = Fitting(seed=seed)
        sample = Sample(
            rows.y,
            rows.t,
            table,
            rows.groups,
            np.ones(len(y)),
            how=how,
            known=rows.chances,
            reverse=reverse,
        )
        doubts = doubts_of(covariates, frame, np.ones(len(y)), outcome=outcome)
        judged = judge_arms(sample).doubted(doubts, None)
        means = sample.outcomes()
        rows = replace(rows, score=dr_scores(rows.y, rows.t, sample.chances, means)[0])
        untreated = untreated_scores(rows.y, rows.t, sample.chances, means)
        several = learner is None or not isinstance(learner, str)
        if learner is None and explained(rows.y, rows.t, means) >= LEAST_EXPLAINED:
            names = [*names, *FINE_CANDIDATES]
        predicted, aligned, model, chosen = _learn(rows, names, several)
        treated = rows.t == 1
        if model.outcomes is None:
            relevance = fit(rows.y[treated], rows.x[treated], seed, groups=rows.groups[treated])
        else:

            def relevance(new):
                return model.outcomes(new)[:, 1]

        back = np.argsort(order)
        chosen["loss"] *= unit**2
        return cls(
            treatment,
            outcome,
            tuple(adjustment),
            unit * rows.score[back],
            unit * predicted[back],
            groups,
            x,
            STACK if several else learner,
            model.times(unit),
            lambda new: start + unit * relevance(new),
            covariates,
            judged.verdict,
            (*judged.reasons, *([model.note] if model.note else [])),
            is_zero_one(numbers),
            chosen,
            None if contrast is None else tuple(contrast),
            start + unit * untreated[back],
            unit * aligned[back],
        )

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) effect for each row."""
        return self.model.predict(self._design(frame))

    def intervals(self, frame: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
        """Value, low and high of the effect of each row of ``frame``, on its index.

        Each interval is for its row alone. The default learner and 'dr': of the best quadratic
        approximation of the effect (see `learners.Projection`; `predict` is not bound to a
        quadratic). 'causal_forest': of its prediction, by EconML's bootstrap of little bags.
        'pretrained': of its prediction, as wide as its errors were on random tables that it was not
        trained on. It holds ``level`` of the effects on average over such tables, not in each one.

        Raises ValueError for other learners; for 'causal_forest' when trained with clusters, which
        its trees ignore; for 'pretrained' on a table unlike those of its training or a level above
        0.99; and for a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie in (0, 1), not {level}")
        if self.learner not in (STACK, "dr", "causal_forest", "pretrained"):
            raise ValueError(
                f"learner {self.learner!r} has no intervals; train with the default learner, "
                "'dr', 'causal_forest' or 'pretrained'"
            )
        x = self._design(frame)
        if self.learner in (STACK, "dr"):
            return Projection.of(self.score, self.x, self.groups).interval(x, level)
        if self.learner == "causal_forest" and self.groups.max() + 1 < len(self.groups):
            raise ValueError(
                "learner 'causal_forest' has no intervals with clusters, which its trees ignore; "
                "use the default learner"
            )
        low, high = self.model.interval(x, level)
        return pd.DataFrame(
            {"value": self.model.predict(x), "low": low, "high": high}, index=x.index
        )

    def relevance(self, frame: pd.DataFrame) -> np.ndarray:
        """(n,) expected outcome when treated: what a recommender without causality ranks by."""
        return self.relevance_model(self._design(frame))

    def calibration(self) -> pd.DataFrame:
        """Regression of scores on centred predictions: rows average, slope; value, low, high.

        A slope of 1 means that predictions vary as effects do; a slope of 0, that they do not rank
        the rows. It is nan where the predictions are all the same.
        Source: Chernozhukov and others 2018, arXiv 1712.04802.
        """
        found, influence, rank = self._calibration_line()
        rows = [
            _interval(value, part, self.groups)
            for value, part in zip(found, influence.T, strict=True)
        ]
        if rank < 2:
            rows[1] = (np.nan, np.nan, np.nan)
        return pd.DataFrame(rows, index=["average", "slope"], columns=["value", "low", "high"])

    def grouped(self, count: int = GROUPS) -> pd.DataFrame:
        """Average effect in ``count`` equal groups by predicted effect, the lowest first.

        Rows of the same prediction are in the same group; numbers that are left without rows are
        not in the table.
        """
        check_whole(count, name="count")
        if 2 * count > self.groups.max() + 1:
            raise ValueError(
                f"{count=}: {self.groups.max() + 1} rows or clusters are under 2 a group"
            )
        place = self._groups_of_effect(count)
        rows = []
        numbers = np.unique(place)
        for number in numbers:
            inside = place == number
            value = self.score[inside].mean()
            share = inside.mean()
            influence = inside / share * (self.score - value)
            rows.append((self.predicted[inside].mean(), *_interval(value, influence, self.groups)))
        columns = ["predicted", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns, index=pd.Index(numbers, name="group"))

    def qini(self) -> tuple[float, float, float]:
        """Area between the curve of gains, largest predicted effects first, and a random order.

        In outcomes per row: the gain of a share s of the rows beyond s times the average effect,
        averaged over s.
        Source: Radcliffe 2007, by AIPW scores instead of raw outcomes.
        """
        parts = self.score * (0.5 - self._rank_shares())
        return _interval(parts.mean(), parts - parts.mean(), self.groups)

    def auuc(self) -> tuple[float, float, float]:
        """Area under the curve of gains, with interval: `qini` plus half the average effect.

        In outcomes per row: the gain of treating a share s of the rows, averaged over s. Other
        packages divide it by the area of a perfect model.
        """
        parts = self.score * (1 - self._rank_shares())
        return _interval(parts.mean(), parts - parts.mean(), self.groups)

    def recommend(
        self,
        candidates: pd.DataFrame,
        *,
        k: int | None = None,
        per: str = "user_id",
        objective: str = "uplift",
        budget: float | None = None,
        cost: float | str = 1.0,
        price: str | None = None,
    ) -> tuple[pd.DataFrame, tuple[float, float, float]]:
        """Which candidates to treat, and what that adds.

        Parameters
        ----------
        candidates : one row per user and item that could be shown, with the adjustment columns.
        k : at most so many for each value of ``per``.
        objective : 'uplift' (outcomes added), 'revenue' (uplift times ``price``), 'relevance'
            (outcomes when treated, whether or not they would come anyway: for comparison).
        budget, cost : total that may be spent, and what a row costs (a number or a column): rows
            are taken by objective per unit of cost. Rows whose objective is not above 0 are never
            taken.

        Rows of equal objective are taken in the order in which they stand. ``candidates`` must not
        have columns of the names that are added.

        Returns
        -------
        The rows taken with uplift (as predicted), expected, low and high (what the scores of
        training rows say of a prediction like this, with the 95% interval), relevance, objective,
        why; and the added outcomes (revenue, for 'revenue') expected of all of them together with
        their 95% interval.

        Scores are regressed on held-out predictions by a line with bends at the median and at the
        highest fifth, a straight one with fewer than 200 rows or clusters: largest predictions are
        often off by another factor than the rest, and these rows are taken. The predictions of all
        folds have the same spread there: how far the spreads of their models differ is chance, and
        would make the slope too small (an error in the regressor). The interval of the total treats
        the rows taken as given. The total can be a little too low: models that did not see a row
        learnt from fewer rows than the model that ranks candidates, and may rank worse.
        `causal-lib bench inference.uplift` measures by how much.
        """
        if objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {objective!r}; known: {', '.join(OBJECTIVES)}")
        if objective == "revenue" and price is None:
            raise ValueError("objective 'revenue' needs price, the column of what an outcome earns")
        if k is not None:
            check_whole(k, name="k")
        if budget is not None and not check_number(budget, name="budget") > 0:
            raise ValueError(f"{budget=} must be above 0")
        used = [per] if k is not None else []
        used += [name for name in (price, cost) if isinstance(name, str)]
        check_frame(candidates, [*self.adjustment, *used], complete=True, name="candidates")
        if k is not None:
            check_ids(candidates[per], name="candidates")
        value = _amounts(candidates, price if objective == "revenue" else 1.0)
        costs = _amounts(candidates, cost)
        if (costs <= 0).any():
            raise ValueError(
                f"cost: {int((costs <= 0).sum())} rows cost nothing or less; leave cost out where "
                "nothing is limited"
            )
        if taken := [name for name in _ADDED if name in candidates.columns]:
            raise ValueError(
                f"candidates: {', '.join(map(repr, taken))} would be overwritten by a column of "
                "that name that recommend adds; rename it first"
            )
        uplift = self.predict(candidates)
        relevance = self.relevance(candidates)
        aim = (relevance if objective == "relevance" else uplift) * value
        place = np.argsort(-aim, kind="stable")
        place = place[aim[place] > 0]
        if k is not None:
            of = pd.Series(candidates[per].iloc[place].to_numpy())
            place = place[of.groupby(of).cumcount().to_numpy() < k]
        if budget is not None:
            place = place[np.argsort(-aim[place] / costs[place], kind="stable")]
            place = place[np.cumsum(costs[place]) <= budget]
        basis, found, influence = self._bent_line(uplift[place])
        covariance = clustered_covariance(influence, self.groups)
        expected = basis @ found
        half = norm.ppf(0.975) * np.sqrt(((basis @ covariance) * basis).sum(axis=1))
        table = candidates.iloc[place].assign(
            uplift=uplift[place],
            relevance=relevance[place],
            objective=aim[place],
            expected=expected,
            low=expected - half,
            high=expected + half,
            why=[
                self._reason(seen, gain)
                for seen, gain in zip(relevance[place], expected, strict=True)
            ],
        )
        whole = value[place] @ basis
        total = float(whole @ found)
        half = float(norm.ppf(0.975) * np.sqrt(whole @ covariance @ whole))
        return table, (total, total - half, total + half)

    def _reason(self, shown, gain):
        """The outcome when shown and anyway, as text: they differ by ``gain``.

        An event's probability is moved where the two would not both lie between 0 and 1.
        """
        if self.events:
            shown = min(max(shown, gain, 0.0), 1.0 + min(gain, 0.0))
        anyway = shown - gain
        # two digits of the gain, so that the difference is seen
        size = np.floor(np.log10(abs(gain))) if gain else 0.0
        if self.events:
            digits = int(np.clip(-1 - size, 0, 6))
            return f"{self.outcome}: {shown:.{digits}%} when shown, {anyway:.{digits}%} anyway"
        digits = int(np.clip(1 - size, 0, 12))
        return f"{self.outcome}: {shown:.{digits}f} when shown, {anyway:.{digits}f} anyway"

    def _bent_line(self, at):
        """Terms (m, k) of the predictions ``at`` (m,); coefficients (k,), influences (n, k) of the
        regression of scores on the same terms of held-out predictions.
        """
        known = self.predicted if self.aligned is None else self.aligned
        middle = known.mean()
        clusters = int(self.groups.max()) + 1
        bends = np.quantile(known, _BENDS) if clusters >= _CLUSTERS_OF_BENDS else ()

        def terms(predictions):
            columns = [predictions - middle]
            columns += [np.maximum(predictions - bend, 0.0) for bend in bends]
            return np.column_stack(columns)

        line = LeastSquares.of(terms(known), self.score)
        basis = np.column_stack([np.ones(len(at)), terms(at)])
        return basis, line.all_coefficients, line.influences

    def _calibration_line(self):
        """Intercept and slope of scores on centred predictions, influences (n, 2), the rank."""
        centred = self.predicted - self.predicted.mean()
        centred[np.abs(centred) <= 1e-12 * np.abs(self.predicted).max()] = 0.0  # rounding
        line = LeastSquares.of(centred[:, None], self.score)
        return line.all_coefficients, line.influences, line.rank

    def _rank_shares(self):
        """(n,) rank of each training row by predicted effect, the largest first, in (0, 1)."""
        return pd.Series(-self.predicted).rank().to_numpy() / (len(self.score) + 1)

    def _groups_of_effect(self, count):
        """(n,) group of each training row by predicted effect."""
        edges = np.quantile(self.predicted, np.linspace(0, 1, count + 1)[1:-1])
        return np.searchsorted(edges, self.predicted, side="right")

    def _design(self, frame):
        check_frame(frame, self.adjustment, complete=True, name="new")
        return self.covariates.table(frame, name="new")[self.x.columns]

    def __repr__(self):
        slope = self.calibration().loc["slope"]
        varies = (
            "the same effect predicted for every row"
            if np.isnan(slope["value"])
            else "slope of effects on predictions "
            f"{slope['value']:.2f} [{slope['low']:.2f}, {slope['high']:.2f}]"
        )
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        return (
            f"UpliftModel of {self.treatment}{levels} on {self.outcome} from "
            f"{len(self.score):,} rows; {varies}"
        )

    def _repr_html_(self):
        found = self.calibration()
        average = tuple(found.loc["average"])
        levels = f" ({self.contrast[0]} -> {self.contrast[1]})" if self.contrast else ""
        return card(
            f"Uplift of {self.treatment}{levels} on {self.outcome}",
            f"{_shown(*average)} on average",
            verdict=self.verdict,
            reasons=self.reasons,
            interval=average,
            facts=[
                ("slope of effects on predictions", _shown(*found.loc["slope"])),
                ("Qini", _shown(*self.qini())),
                ("learner", self.learner),
                ("adjusted for", ", ".join(self.adjustment)),
                ("rows", f"{len(self.score):,}"),
            ],
        )


def _shown(value, low, high):
    return "the same for every row" if np.isnan(value) else f"{value:.4g} [{low:.4g}, {high:.4g}]"


def incremental_outcomes(
    score: np.ndarray,
    uplift: np.ndarray,
    groups: np.ndarray,
    *,
    share: float = 0.1,
    n_boot: int = 200,
    seed: int = 0,
) -> tuple[float, float, float]:
    """True extra outcomes per 1,000 recommendations of the rows with the highest ``score``.

    Parameters
    ----------
    score : (n,) what the rows are ranked by; of rows that are alike at the end of the list, each
        counts with the share of them that there is room for. uplift : (n,) the true effect of
        recommending each row (simulations only).
    groups : (n,) what is resampled for the interval: users.

    Returns
    -------
    value, low, high : the 95% interval is a percentile bootstrap over groups, the ranking held
        fixed.
    """
    check_whole(n_boot, name="n_boot", low=2)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    score = np.asarray(score, dtype=float)
    if lost := int(np.isnan(score).sum()):
        raise ValueError(f"score: {lost} of {len(score)} values are missing; leave these rows out")
    wanted = max(1, round(share * len(score)))
    order = np.argsort(-score, kind="stable")
    last = score[order[wanted - 1]]
    above = int((score > last).sum())
    chosen = order[: int((score >= last).sum())]
    part = np.ones(len(chosen))
    part[above:] = (wanted - above) / (len(chosen) - above)
    codes = pd.factorize(np.asarray(groups)[chosen])[0]
    sums = np.bincount(codes, part * np.asarray(uplift)[chosen])
    counts = np.bincount(codes, part)
    rng = np.random.default_rng(seed)
    drawn = np.array([resampled_counts(len(counts), rng) for _ in range(n_boot)])
    low, high = percentile_ends(drawn @ sums / (drawn @ counts))
    return 1000 * float(sums.sum() / counts.sum()), 1000 * float(low), 1000 * float(high)


def _amounts(frame, amount):
    """(n,) values of the column ``amount``, or that number for every row."""
    if isinstance(amount, str):
        return number_of(frame, amount, name="candidates")
    return np.full(len(frame), check_number(amount, name="cost"))


def _interval(value, influence, groups):
    """Value with the 95% interval of a mean of ``influence``, summed within clusters."""
    half = norm.ppf(0.975) * standard_error(influence, groups)
    return float(value), float(value - half), float(value + half)


def _learner_names(learner):
    """The learners that are asked for; ValueError for one that is unknown."""
    if learner is not None and not isinstance(learner, str | list | tuple):
        raise ValueError(f"learner: a name or a list of names is needed, not {learner!r}")
    names = (
        [learner] if isinstance(learner, str) else list(CANDIDATES if learner is None else learner)
    )
    if not names:
        raise ValueError(f"learner is empty; known: {', '.join(LEARNERS)}")
    if unknown := [name for name in names if name not in LEARNERS]:
        raise ValueError(f"unknown learner {unknown[0]!r}; known: {', '.join(LEARNERS)}")
    return list(dict.fromkeys(names))


def _learn(rows, names, several):
    """Held-out predictions (n,), the same of equal spread in every fold (n,), the `Learned` of all
    rows, the table of candidates.

    Everything is in units of the standardised outcome.
    """
    n = len(rows.y)
    held_out = np.empty((n, len(names)))
    fold = np.empty(n, dtype=int)
    for number, (learn, rest) in enumerate(folds(rows.groups, rows.seed + 1)):
        part = rows.take(learn)
        for place, name in enumerate(names):
            held_out[rest, place] = LEARNERS[name](part).predict(rows.x.iloc[rest])
        fold[rest] = number
    levels = np.array([held_out[fold == number].mean(axis=0) for number in range(fold.max() + 1)])
    centred = held_out - levels[fold]
    average = rows.score.mean()
    left = rows.score - average
    weights = stack_weights(centred, left) if several else np.ones(1)
    loss = np.append((left**2).mean(), ((left[:, None] - centred) ** 2).mean(axis=0))
    chosen = pd.DataFrame(
        {
            "loss": loss,
            "explained": 1 - loss / loss[0],
            "weight": np.append(max(1 - weights.sum(), 0.0), weights),
        },
        index=pd.Index(["average", *names], name="candidate"),
    )
    if not several:
        predicted = held_out.mean() + centred[:, 0]
        model = LEARNERS[names[0]](rows)
        return predicted, _aligned(predicted, fold, model.predict(rows.x).std()), model, chosen
    predicted = np.empty(n)
    for number in range(fold.max() + 1):
        rest = fold == number
        predicted[rest] = average + centred[rest] @ stack_weights(centred[~rest], left[~rest])
    parts = [
        (weight, LEARNERS[name](rows).predict, held_out[:, place].mean())
        for place, (name, weight) in enumerate(zip(names, weights, strict=True))
        if weight > 0
    ]

    def predict(x):
        differences = [weight * (part(x) - level) for weight, part, level in parts]
        return average + np.sum(differences, axis=0) + np.zeros(len(x))

    return predicted, _aligned(predicted, fold, predict(rows.x).std()), Learned(predict), chosen


def _aligned(predicted, fold, spread):
    """``predicted`` (n,) with the same ``spread`` in every ``fold`` (n,); one without any stays."""
    middle = predicted.mean()
    found = np.full(len(predicted), middle)
    for number in range(fold.max() + 1):
        rest = fold == number
        own = predicted[rest] - predicted[rest].mean()
        size = own.std()
        if size > 1e-12 * abs(middle):
            found[rest] += own * (spread / size)
    return found


def _arms(values, contrast):
    """(n,) 0 control, 1 treated, 2 other levels; ValueError where that is not clear."""
    label = f"treatment {values.name!r}"
    found = values.drop_duplicates().tolist()
    shown = ", ".join(map(str, sorted(found, key=str)[:_MOST_SHOWN]))
    shown += ", ..." if len(found) > _MOST_SHOWN else ""
    if len(found) < 2:
        raise ValueError(
            f"{label}: only the value {shown} occurs in {len(values)} rows; an effect compares two"
        )
    if contrast is None:
        if set(found) != {0, 1}:
            raise ValueError(
                f"{label}: must be 0 or 1 in every row, or give contrast=(control, treated); it "
                f"has {len(found)} levels ({shown})"
            )
        contrast = (0, 1)
    check_contrast(contrast)
    for level in contrast:
        if level not in found:
            raise ValueError(f"contrast: {level!r} is no level of {label}; its levels: {shown}")
    arms = [np.asarray(values == level, dtype=bool) for level in contrast]
    return np.select(arms, [0, 1], 2).astype(np.int8)


def _standardised(numbers):
    """Outcomes (n,) of mean 0 and deviation 1, or events as 0 and 1; then their unit and origin."""
    levels = np.unique(numbers)
    if len(levels) == 2:
        return (numbers == levels[1]).astype(float), levels[1] - levels[0], levels[0]
    middle = numbers.mean()
    unit = (numbers - middle).std()
    return (numbers - middle) / unit, unit, middle


def _known_propensities(frame, column, t):
    """(n, 2) known propensities of control and treated."""
    treated = number_of(frame, column)
    if t.max() > 1:
        raise ValueError(
            f"propensity {column!r} is one of two levels, and the treatment has more: keep "
            "the rows of the two of contrast, or leave propensity out"
        )
    outside = (treated <= 0) | (treated >= 1)
    if outside.any():
        raise ValueError(
            f"propensity {column!r}: {int(outside.sum())} of {len(treated)} values are not "
            "between 0 and 1; leave out rows that could have had one arm only"
        )
    return np.column_stack([1 - treated, treated])
