"""A shop's catalogue in text, picture and sound with known truth: what confounds exposure and purchase is seen in one of them only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.datasets import load_digits, load_sample_images

from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge

QUALITIES = {"text": "praise", "image": "number", "audio": "brightness"}
"""Modality -> the quality of an item that is read, seen or heard in it, and in no other."""
_PRAISE = r"\b(?:love|perfect|comfortable|great|flattering)\b"
_COMPLAINT = r"\b(?:small|large|huge|tight|return\w*|disappoint\w*)\b"
_WORDS = [
    "love", "perfect", "comfortable", "great", "flattering", "small", "large", "huge", "tight", "returned", "disappointed", "dress",
    "shirt", "colour", "fabric", "size", "wear", "summer", "work", "bought", "length", "sleeves", "soft", "store", "price", "light",
    "and", "the", "this", "very", "with", "for", "is", "it",
]  # fmt: skip
SIDE = 12
"""Pixels of a picture's side."""
RATE, SECONDS = 4000, 0.25
"""Samples a second, and length, of a sound."""
_HARMONICS = np.arange(1, 7)
_EFFECT, _ON_PURCHASE, _ALONE, _PRICE, _ON_EXPOSURE = 0.8, 1.1, 1.5, -0.5, 0.6
"""Log-odds: of a purchase by exposure, the confounder, the outcome's own cause and price; of exposure by its own cause."""


@dataclass(frozen=True, repr=False, eq=False)
class Catalogue:
    """Items of a shop for a week, as logged, with what they look and sound like, and with their truth.

    Attributes
    ----------
    frame : one row an item: price (standardised logarithm), exposed (on the start page, 0/1), purchased (0/1).
    texts : (n,) reviews; images : (n, 12, 12), grey from 0 to 1; audio : (n, 1000), samples of a jingle at 4,000 a second.
    truth : aligned with ``frame``, never known of a real shop: praise, number, brightness (the qualities, about mean 0 and standard
        deviation 1), propensity (of exposure), chance_if_exposed, chance_if_not (of a purchase), purchase_if_exposed,
        purchase_if_not (0/1, what would happen).
    graph : the `CausalGraph` of qualities, exposure and purchase; knowledge : its tiers.
    visible_in : the modality of the confounder; confounder : its quality. on_exposure, on_purchase : those that act on one of the two.
    seed : what it was drawn with.
    """

    frame: pd.DataFrame
    texts: np.ndarray
    images: np.ndarray
    audio: np.ndarray
    truth: pd.DataFrame
    graph: CausalGraph
    knowledge: Knowledge
    visible_in: str
    seed: int

    @property
    def ate(self) -> float:
        """True average effect of exposure on the probability of a purchase, over the items."""
        return float((self.truth["chance_if_exposed"] - self.truth["chance_if_not"]).mean())

    @property
    def confounder(self) -> str:
        """The quality that acts on exposure and on purchase."""
        return QUALITIES[self.visible_in]

    @property
    def on_purchase(self) -> str:
        """The quality that acts on purchase alone."""
        return QUALITIES[_roles(self.visible_in)[1]]

    @property
    def on_exposure(self) -> str:
        """The quality that acts on exposure alone."""
        return QUALITIES[_roles(self.visible_in)[2]]

    def again(self, seed: int) -> pd.DataFrame:
        """A frame of the same items with exposure and purchase drawn anew by the same chances."""
        exposed, if_exposed, if_not = _draw(self.truth, np.random.default_rng([seed, 1]))
        return self.frame.assign(exposed=exposed, purchased=np.where(exposed == 1, if_exposed, if_not).astype(np.int8))

    def __repr__(self):
        return (
            f"Catalogue of {len(self.frame):,} items, {self.frame['exposed'].mean():.0%} exposed, {self.frame['purchased'].mean():.0%} "
            f"purchased; {self.confounder} confounds, visible in {self.visible_in} only; true effect of exposure {self.ate:.4f} "
            f"(seed {self.seed})"
        )


def catalogue(
    n: int = 4000,
    seed: int = 0,
    *,
    visible_in: str = "text",
    texts: Sequence[str] | None = None,
    selection: float = 0.8,
) -> Catalogue:
    """A catalogue whose editors and customers look at its items (the article's 7.2), while the log holds no more than a price.

    Each item has a review, a picture and a jingle, and a quality in each of them. praise: words of praise less words of
    complaint. number: the handwritten digit on the picture, somewhere before a piece of a photograph. brightness: how strong the
    high harmonics of the jingle are, whose pitch and tremolo mean nothing. One quality confounds: it acts on exposure and on
    purchase. Of the other two one acts on purchase alone, and more than the confounder does, and one on exposure alone, in turn:
    text, image, audio, text. Price acts on purchase. All acts on log-odds. The qualities are independent of each other; worlds of
    one seed have the same items, whatever confounds.

    Parameters
    ----------
    n : items, 1 or more.
    seed : the same seed gives the same bytes.
    visible_in : 'text', 'image' or 'audio', the modality of the confounder.
    texts : real reviews, of which ``n`` are drawn without replacement, each a text that is not empty. None puts sentences
        together from a small vocabulary.
    selection : log-odds of exposure that a standard deviation of the confounder adds; finite, 0 for no confounding.

    Raises
    ------
    ValueError
        for a size out of range, an unknown modality, fewer texts than items, a text that is missing or empty, a selection that is
        not finite.

    Source: pictures of scikit-learn, `load_digits` (Alpaydin and Kaynak 1998) and `load_sample_images`. The way of semi-synthetic
    confounding by text is that of Veitch, Sridhar and Blei 2020.

    >>> world = catalogue(n=50, visible_in="image")
    >>> world.confounder, sorted(world.graph.parents("purchased"))
    ('number', ['brightness', 'exposed', 'number', 'price'])
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    if visible_in not in QUALITIES:
        raise ValueError(f"visible_in={visible_in!r} is unknown; choose {', '.join(map(repr, QUALITIES))}")
    if not np.isfinite(selection):
        raise ValueError(f"selection must be finite, not {selection}")
    # A stream for each part: what one of them draws changes nothing in the others.
    of_text, of_image, of_audio, of_price = (np.random.default_rng([seed, part]) for part in (2, 3, 4, 5))
    read, praise = _reviews(n, texts, of_text)
    digit = of_image.integers(*_SHOWN, size=n)
    brightness = of_audio.standard_normal(n)
    qualities = {
        "praise": praise,
        "number": (load_digits().target[digit] - 4.5) / np.sqrt(8.25),
        "brightness": brightness,
    }
    frame = pd.DataFrame({"price": of_price.standard_normal(n)})
    truth = pd.DataFrame(qualities)
    confounds, alone, exposes = (truth[QUALITIES[modality]] for modality in _roles(visible_in))
    truth["propensity"] = expit(selection * confounds + _ON_EXPOSURE * exposes)
    others = -1.2 + _ON_PURCHASE * confounds + _ALONE * alone + _PRICE * frame["price"]
    truth["chance_if_exposed"], truth["chance_if_not"] = expit(others + _EFFECT), expit(others)
    exposed, truth["purchase_if_exposed"], truth["purchase_if_not"] = _draw(truth, np.random.default_rng([seed, 1]))
    purchased = np.where(exposed == 1, truth["purchase_if_exposed"], truth["purchase_if_not"])
    frame = frame.assign(exposed=exposed, purchased=purchased.astype(np.int8))
    images, audio = pictures(digit, of_image), _jingles(brightness, of_audio)
    return Catalogue(frame, read, images, audio, truth, _graph(visible_in), _knowledge(), visible_in, seed)


_SHOWN = (897, 1797)
"""First and last (less one) of the handwritten digits that items show; the others are left to train on."""


def pictures(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 12, 12) pictures of the numbered images ``digits`` (n,) of `load_digits`, each anywhere before a piece of a photograph.

    The items of a catalogue show the images from 897 on: those from 0 to 896 are left for a model to learn from.

    >>> pictures(np.array([0, 1]), np.random.default_rng(0)).shape
    (2, 12, 12)
    """
    digits = np.asarray(digits)
    ink, photographs = load_digits().images / 16, _photographs()
    if bad := int(((digits < 0) | (digits >= len(ink))).sum()):
        raise ValueError(f"digits: {bad} numbers outside 0..{len(ink) - 1}")
    n, (_, height, width) = len(digits), photographs.shape
    which, top, left = (
        rng.integers(end, size=n)[:, None, None] for end in (len(photographs), height - SIDE, width - SIDE)
    )
    row, column = np.indices((SIDE, SIDE))
    made = 0.3 * photographs[which, top + row, left + column]
    item, high, wide = np.arange(n)[:, None, None], *rng.integers(SIDE - 7, size=(2, n, 1, 1))
    row, column = np.indices((8, 8))
    made[item, high + row, wide + column] += 0.7 * ink[digits]
    return made


@cache
def _photographs():
    """(2, 427, 640) grey, from 0 to 1."""
    return np.stack([photograph.mean(axis=2) / 255 for photograph in load_sample_images().images])


def _reviews(n, texts, rng):
    """(texts, praise) of ``n`` items; praise is standardised over all texts that there are."""
    if texts is None:
        texts = pd.Series([" ".join(words) for words in rng.choice(_WORDS, size=(n, 20))])
    else:
        texts = pd.Series(list(texts), dtype=object)
        if bad := sum(not isinstance(text, str) or not text.strip() for text in texts):
            raise ValueError(f"texts: {bad} of {len(texts)} are missing or empty; drop them")
        if len(texts) < n:
            raise ValueError(f"texts: {len(texts)} are too few for n={n} items")
    lower = texts.str.lower()
    balance = (lower.str.count(_PRAISE) - lower.str.count(_COMPLAINT)).to_numpy(dtype=float)
    praise = (balance - balance.mean()) / (balance.std() or 1.0)
    kept = rng.choice(len(texts), size=n, replace=False)
    return texts.to_numpy(dtype=object)[kept], praise[kept]


def _jingles(brightness, rng):
    """(n, samples) sums of harmonics h with amplitude h^-(1.5 - brightness/2), of any pitch and tremolo, with a little noise."""
    n, seconds = len(brightness), np.arange(int(RATE * SECONDS)) / RATE
    pitch = 150 * 2 ** rng.random((n, 1))  # an octave from 150 Hz: the sixth harmonic stays below half of RATE
    depth, speed, start = 0.6 * rng.random((n, 1)), 4 + 8 * rng.random((n, 1)), rng.random((n, len(_HARMONICS)))
    amplitude = _HARMONICS ** -(1.5 - brightness[:, None] / 2)
    amplitude /= np.linalg.norm(amplitude, axis=1, keepdims=True)  # all equally loud
    sound = 0.02 * rng.standard_normal((n, len(seconds)))
    swell = 1 + depth * np.sin(2 * np.pi * speed * seconds)
    # sin(h x) is the imaginary part of exp(i x)^h: one power more for each harmonic is cheaper than its sine
    turn, power = np.exp(2j * np.pi * pitch * seconds), swell.astype(complex)
    for size, phase in zip(amplitude.T, start.T, strict=True):
        power *= turn
        sound += ((size * np.exp(2j * np.pi * phase))[:, None] * power).imag
    return sound


def _draw(truth, rng):
    """Exposure and the two potential purchases, drawn by their chances; the purchases share their chance."""
    exposed, bought = rng.random((2, len(truth)))
    arms = (bought < truth[f"chance_if_{arm}"].to_numpy() for arm in ("exposed", "not"))
    return [drawn.astype(np.int8) for drawn in (exposed < truth["propensity"].to_numpy(), *arms)]


def _roles(visible_in):
    """Modalities of the confounder, of what acts on purchase alone and of what acts on exposure alone."""
    names = [*QUALITIES]
    place = names.index(visible_in)
    return [names[(place + step) % 3] for step in range(3)]


def _graph(visible_in):
    confounds, alone, exposes = (QUALITIES[modality] for modality in _roles(visible_in))
    edges = [
        (confounds, "exposed"),
        (exposes, "exposed"),
        *((cause, "purchased") for cause in (confounds, alone, "price", "exposed")),
    ]
    return CausalGraph.from_edges([*QUALITIES.values(), "price", "exposed", "purchased"], edges)


def _knowledge():
    return Knowledge(tiers=[[*QUALITIES.values(), "price"], ["exposed"], ["purchased"]])
