"""Text as confounder: the texts are real reviews, treatment and outcome are drawn by a rule of
their words, so the true effect is known.
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.stats import norm
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import Lasso

from causal_lib.data import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, prediction, report
from causal_lib.inference import effect
from causal_lib.metric import Metric

EFFECT = 0.5
"""Of the treatment on the outcome, in standard deviations of the outcome's noise."""
PRAISE = r"\b(?:love|perfect|comfortable|great|flattering)\b"
COMPLAINT = r"\b(?:small|large|huge|tight|return\w*|disappoint\w*)\b"
COLUMNS = ["Rating", "Age", "Positive Feedback Count", "Department Name"]
_ABOUT = "rating, age, department"
_EMBEDDINGS = (10, 50, 150)
_SELECTION = "double selection of words"
_ITSELF = "the confounder itself"


def confounder(texts: pd.Series) -> pd.Series:
    """Number of words of praise less that of words of complaint, standardised over the texts.

    >>> confounder(pd.Series(["Great, I love it", "too small", "a dress"])).round(2).tolist()
    [1.09, -0.87, -0.22]
    """
    lower = texts.str.lower()
    balance = lower.str.count(PRAISE) - lower.str.count(COMPLAINT)
    return (balance - balance.mean()) / balance.std()


def embedding(texts: pd.Series, size: int, seed: int) -> pd.DataFrame:
    """The first ``size`` singular vectors of the words' frequencies (tf-idf), each with variance 1;
    one row per text.
    """
    frequencies = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform(texts.str.lower())
    vectors = TruncatedSVD(size, algorithm="arpack", random_state=seed).fit_transform(frequencies)
    return pd.DataFrame(vectors / vectors.std(axis=0), columns=[f"e{i}" for i in range(size)])


def word_counts(texts: pd.Series) -> tuple[csr_matrix, np.ndarray]:
    """Counts of the words that at least five texts have, each with variance 1, and the words."""
    counter = CountVectorizer(min_df=5)
    counts = counter.fit_transform(texts.str.lower()).astype(float)
    mean = np.asarray(counts.mean(axis=0))
    variance = np.asarray(counts.multiply(counts).mean(axis=0)) - mean**2
    return counts.multiply(1 / np.sqrt(variance)).tocsr(), counter.get_feature_names_out()


def doubly_selected(words: csr_matrix, treatment: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Positions of the words that a lasso takes for the treatment or for the outcome (Belloni,
    Chernozhukov and Hansen 2014, doi:10.1093/restud/rdt044), with the penalty of their theory.
    """
    n, p = words.shape
    penalty = 1.1 * norm.ppf(1 - 0.025 / p) / np.sqrt(n)
    taken = np.zeros(p, dtype=bool)
    for target in (treatment, outcome):
        lasso = Lasso(penalty * target.std()).fit(words, target - target.mean())
        taken |= lasso.coef_ != 0
    return np.flatnonzero(taken)


def estimates(
    reviews: pd.DataFrame, draws: int = 20, seed: int = 0
) -> tuple[pd.DataFrame, list[str]]:
    """One row for each draw of treatment and outcome and each set of columns that is adjusted for:
    value of the estimate, and whether its 95% interval covers `EFFECT`. Also the words that double
    selection takes in the last draw.

    ``reviews`` have the columns "Review Text" and `COLUMNS`, and no missing value in them.
    """
    texts = reviews["Review Text"].reset_index(drop=True)
    hidden = confounder(texts)
    vectors = embedding(texts, max(_EMBEDDINGS), seed)
    words, names = word_counts(texts)
    frame = pd.concat([reviews[COLUMNS].reset_index(drop=True), vectors], axis=1)
    frame = frame.assign(confounder=hidden).astype({"Department Name": "category"})
    sets = {"nothing": [], _ABOUT: COLUMNS}
    sets |= {f"embedding of {k}": [*vectors.columns[:k]] for k in _EMBEDDINGS}
    sets |= {f"embedding of {max(_EMBEDDINGS)} and the other columns": [*COLUMNS, *vectors]}
    rows = []
    for number in range(draws):
        rng = np.random.default_rng([seed, number])
        chance = 1 / (1 + np.exp(-hidden.to_numpy()))
        on_top = (rng.random(len(frame)) < chance).astype(int)
        sales = EFFECT * on_top + hidden.to_numpy() + rng.standard_normal(len(frame))
        picked = doubly_selected(words, on_top, sales)
        chosen = pd.DataFrame(
            words[:, picked].toarray(), columns=[f"word {names[i]}" for i in picked]
        )
        drawn = pd.concat([frame, chosen], axis=1).copy().assign(on_top=on_top, sales=sales)
        for name, columns in {**sets, _SELECTION: [*chosen], _ITSELF: ["confounder"]}.items():
            found = effect(
                drawn,
                "on_top",
                "sales",
                adjustment=columns,
                estimator="regression",
                learners="linear",
            )
            row = {"draw": number, "method": name, "value": found.value}
            rows.append(row | {"covers": found.covers(EFFECT)})
    return pd.DataFrame(rows), names[picked].tolist()


@benchmark("inference.text", peer="the rule by which treatment and outcome were drawn")
def study(*, n: int = 5000, draws: int = 20, seed: int = 0) -> dict:
    """Error of an effect when a text decides treatment and outcome, by what is adjusted for:
    columns beside the text, embeddings of it, or words selected for treatment and outcome.
    """
    reviews = load("reviews").dropna(subset=["Review Text", *COLUMNS])
    table, words = estimates(reviews.sample(n, random_state=seed), draws, seed)
    claims, predictions = _judged(table)
    rows = []
    for name, part in table.groupby("method", sort=False):
        mean = Metric.mean_of("", "", part["value"])
        row = {"method": name, "mean": mean.value, "low": mean.low, "high": mean.high}
        rows.append(row | {"error": mean.value - EFFECT, "coverage": part["covers"].mean()})
    sizes = {"reviews": n, "draws": draws}
    return report(claims, predictions=predictions, **sizes, rows=rows, selected=words)


def _judged(table):
    """The claims and the predictions that they decide; these were made in a notebook, with the same
    numbers of reviews and draws.
    """
    error = (table.pivot_table(index="draw", columns="method", values="value") - EFFECT).abs()

    def lower_end(first, second):
        low = Metric.mean_of("", "", error[first] - error[second]).low
        return Claim.of(f"absolute error, {first} less {second}: lower end", [low], "above 0")

    shortest, *_, longest = (f"embedding of {k}" for k in _EMBEDDINGS)
    left = Claim.of(
        f"mean absolute error, {longest} over {_ABOUT}",
        [error[longest].mean() / error[_ABOUT].mean()],
        "at most 0.5",
    )
    covered = table.loc[table["method"] == _ITSELF, "covers"].astype(bool)
    judged = [
        (
            "Where a text decides treatment and outcome: no adjustment errs more than adjustment "
            "for rating, age and department, and this more than adjustment for an embedding of "
            "the text (intervals of the differences of absolute errors above 0).",
            [lower_end("nothing", _ABOUT), lower_end(_ABOUT, longest)],
        ),
        (
            "The embedding takes away at least half of the error that the other columns leave, a "
            "longer one more than a short one; adjusting for what really confounds covers the "
            "truth in at least 90% of the draws.",
            [
                left,
                lower_end(shortest, longest),
                Claim.of(f"{_ITSELF}: coverage", covered, "at least 0.9"),
            ],
        ),
    ]
    claims = [claim for _, parts in judged for claim in parts]
    return claims, [prediction(sentence, parts) for sentence, parts in judged]
