"""How much of the confounding in an item's text, picture or sound its embedding takes away, over
draws of exposure and purchase.
"""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from causal_lib.data import load
from causal_lib.experiments.bench import benchmark
from causal_lib.experiments.claims import Claim, Measurements, prediction, report
from causal_lib.features import log_mel
from causal_lib.metric import Metric
from causal_lib.models import build_image_model, embed, train_model
from causal_lib.worlds import QUALITIES, RATE, catalogue, pictures

SIZE = {"text": 20, "image": 8, "audio": 8}
"""Modality -> numbers of its embedding."""
DEGREE = {"text": 1, "image": 2, "audio": 2}
"""Modality -> 2 where a model has the squares and products of these numbers too."""
LENGTHS = {"text": (2, 10, 20, 100), "image": (1, 2, 4, 8), "audio": (1, 2, 4, 8)}
NOISES = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Standard deviations of the noise on the pictures."""


def reader(seed: int, n_pictures: int, epochs: int):
    """A small convolutional network that has learnt which digit a picture shows, from digits that
    no item of a catalogue shows.
    """
    rng = np.random.default_rng(seed)
    learn = rng.integers(0, 720, size=n_pictures)
    check = rng.integers(720, 897, size=n_pictures // 6)
    seen = [pictures(digits, rng)[..., None] for digits in (learn, check)]
    label = [np.eye(10)[load_digits().target[digits]] for digits in (learn, check)]
    network = build_image_model((12, 12, 1), n_outputs=10, filters=16, dtype="float64", seed=seed)
    train_model(
        network,
        seen[0],
        label[0],
        seen[1],
        label[1],
        epochs=epochs,
        batch_size=32,
        learning_rate=0.003,
        seed=seed,
    )
    return network


def embeddings(world, network, seed: int) -> dict[str, np.ndarray]:
    """Modality -> the longest embedding of a catalogue's items, shorter ones are its first columns;
    ``words`` -> the TF-IDF of their texts.
    """
    words = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform(world.texts)
    length = min(LENGTHS["text"][-1], words.shape[1] - 1)
    svd = TruncatedSVD(length, algorithm="arpack", random_state=seed)
    hidden = embed(network, world.images[..., None])
    mel = log_mel(world.audio, RATE).reshape(len(world.audio), -1)
    return {
        "words": csr_matrix(words),
        "text": svd.fit_transform(words),
        "image": PCA(SIZE["image"], svd_solver="full").fit_transform(hidden),
        "audio": PCA(SIZE["audio"], svd_solver="full").fit_transform(mel),
    }


def _columns(values, degree):
    """Standardised columns, with squares and products where ``degree`` is 2."""
    wide = make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False))
    wide = wide.fit_transform(values)
    return pd.DataFrame(wide, columns=[f"x{i}" for i in range(wide.shape[1])])


def supervised(words: csr_matrix, frame: pd.DataFrame) -> pd.DataFrame:
    """Two numbers of each text: the log-odds of exposure and of purchase by ridge-penalised
    logistic regressions on all words, cross-fitted.
    """
    model = LogisticRegression(C=1.0, max_iter=1000)
    return pd.DataFrame(
        {
            f"x of {target}": cross_val_predict(
                model, words, frame[target], method="decision_function"
            )
            for target in ("exposed", "purchased")
        }
    )


def standardised(frame: pd.DataFrame, columns: pd.DataFrame) -> float:
    """The effect by a regression of each arm on ``columns``: the mean over all rows of what the
    exposed's predicts less what the others' does. It is `effect(..., estimator="regression")`
    without the propensities, which count in its verdict alone.
    """
    x = np.column_stack([np.ones(len(frame)), columns])
    means = []
    for arm in (0, 1):
        rows = frame["exposed"].to_numpy() == arm
        beta = np.linalg.lstsq(x[rows], frame["purchased"].to_numpy()[rows], rcond=None)[0]
        means.append((x @ beta).mean())
    return means[1] - means[0]


def _sets(embedding, network, world, modality):
    """What is adjusted for -> its columns, in the world whose confounder is in ``modality``."""
    wide = {m: _columns(embedding[m][:, : SIZE[m]], DEGREE[m]) for m in QUALITIES}
    editors = next(m for m, quality in QUALITIES.items() if quality == world.on_exposure)
    found = {
        "none": world.frame[[]],
        "what moves the editors alone": wide[editors],
        "all three": pd.concat([x.add_prefix(m) for m, x in wide.items()], axis=1),
    }
    for length in LENGTHS[modality]:
        part = embedding[modality][:, :length]
        found[f"{length} numbers"] = _columns(part, DEGREE[modality])
    if modality == "image":
        noise = np.random.default_rng([world.seed, 2]).standard_normal(world.images.shape)
        for sd in NOISES:
            hidden = embed(network, (world.images + sd * noise)[..., None])
            part = PCA(SIZE["image"], svd_solver="full").fit_transform(hidden)
            found[f"8 numbers, noise {sd:g}"] = _columns(part, DEGREE["image"])
    return found


@benchmark("inference.multimodal", peer="no adjustment")
def study(
    *, n: int = 4000, draws: int = 20, n_pictures: int = 5000, epochs: int = 8, seed: int = 0
) -> dict:
    """Bias that embeddings of text, pictures and sound leave, over 20 draws of exposure and
    purchase of the same 4,000 items.
    """
    texts = load("reviews")["Review Text"].dropna()
    network = reader(seed, n_pictures, epochs)
    worlds = {m: catalogue(n, seed, visible_in=m, texts=texts) for m in QUALITIES}
    embedding = embeddings(worlds["text"], network, seed)  # the items are the same in all three
    table = Measurements("draw")
    for modality, world in worlds.items():
        sets = _sets(embedding, network, world, modality)
        for draw in range(seed + 1, seed + 1 + draws):
            frame = world.again(draw)
            if modality == "text":
                sets["2 numbers, supervised"] = supervised(embedding["words"], frame)
            for name, columns in sets.items():
                error = standardised(frame, columns) - world.ate
                table.add(f"confounder in {modality}", draw, name, error=error)
    claims, predictions = _judged(table)
    rows = []
    for (setting, method), part in pd.DataFrame(table.rows).groupby(
        ["setting", "method"], sort=False
    ):
        mean = Metric.mean_of("", method, part["error"])
        row = {"setting": setting, "method": method}
        rows.append(row | {"error": mean.value, "low": mean.low, "high": mean.high})
    return report(claims, predictions=predictions, draws=draws, rows=rows)


def _judged(table):
    """Claims and predictions. Those of the share of the bias and of the editors belong to
    predictions of notebook 14, which has their other half.
    """

    def error(m, method):
        return table.of(f"confounder in {m}", method, "error")

    def end(name, values, which, target):
        interval = Metric.mean_of("", name, values)
        whole = f"{name}: {which} end of the 95% interval"
        return Claim.of(whole, [getattr(interval, which)], target)

    shares = []
    stays = []
    harm = []
    shorter = []
    price = []
    for m in QUALITIES:
        name = f"confounder in {m}"
        right = error(m, f"{SIZE[m]} numbers")
        none = error(m, "none")
        share = 2 / 3 if m == "text" else 1 / 2
        less = f"{name}: right embedding less {share:.2f} of no adjustment"
        shares.append(end(less, right - share * none, "high", "below 0"))
        if m != "audio":
            stays.append(end(f"{name}: right embedding", right, "low", "above 0"))
        more = error(m, "what moves the editors alone") - none
        harm.append(end(f"{name}: editors' embedding less no adjustment", more, "low", "above 0"))
        more = error(m, f"{LENGTHS[m][0]} numbers") - error(m, f"{LENGTHS[m][-1]} numbers")
        shorter.append(end(f"{name}: shortest less longest", more, "low", "above 0"))
        if m == "image":
            more = error(m, "8 numbers, noise 0.4") - error(m, "8 numbers, noise 0")
            shorter.append(end(f"{name}: noisiest less clean", more, "low", "above 0"))
        apart = abs((error(m, "all three") - right).mean())
        name = f"{name}: all three less right embedding, mean, absolute"
        price.append(Claim.of(name, [apart], "below 0.01"))
    half = error("text", "2 numbers, supervised") - 0.5 * error("text", "20 numbers")
    name = "confounder in text: supervised less half of 20 numbers"
    learnt = [end(name, half, "high", "below 0")]
    predictions = [
        prediction(
            "Of text and picture something stays: the interval of that mean error lies above 0. "
            "The interval of a single estimate does not know.",
            stays,
            "held",
        ),
        prediction(
            "A shorter embedding leaves more bias, in every modality, and so do noisier pictures "
            "(intervals of the difference of extremes above 0).",
            shorter,
            "held",
        ),
        prediction(
            "An embedding that is learnt for the purpose does better than a longer one that is "
            "not: two numbers of a text, cross-fitted logistic regressions of exposure and of "
            "purchase on all its words, leave less than half of the bias that 20 unsupervised "
            "numbers leave (20 draws, upper end of the interval of the difference below 0).",
            learnt,
            "failed",
        ),
        prediction(
            "Who does not know where the confounder is pays little by a plain regression: the mean "
            "error with all three embeddings is within 0.01 of that with the right one, in each "
            "world (mean of 20 draws).",
            price,
            "held",
        ),
    ]
    return [*shares, *stays, *harm, *shorter, *learnt, *price], predictions
