"""A shop's catalogue in text, picture and sound with known truth.

The confounder of exposure and purchase is seen in one of the three only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.datasets import load_digits, load_sample_images

from causal_lib.worlds.base import World, check_sizes, simulates, structure

QUALITIES = {"text": "praise", "image": "number", "audio": "brightness"}
"""Modality to the quality of an item that is read, seen or heard in it, and in no other."""
_PRAISE = r"\b(?:love|perfect|comfortable|great|flattering)\b"
_COMPLAINT = r"\b(?:small|large|huge|tight|return\w*|disappoint\w*)\b"
_VOCABULARY = (
    "love perfect comfortable great flattering small large huge tight returned disappointed dress "
    "shirt colour fabric size wear summer work bought length sleeves soft store price light "
    "and the this very with for is it"
)
SIDE = 12
"""Pixels of a picture's side."""
RATE = 4000
"""Samples a second of a sound."""
SECONDS = 0.25
"""Length of a sound."""
_HARMONICS = np.arange(1, 7)
# Log-odds of a purchase by exposure, the confounder, the quality that acts on it alone and price,
# and log-odds of exposure by the quality that acts on it alone.
_EXPOSURE_ON_PURCHASE = 0.8
_CONFOUNDER_ON_PURCHASE = 1.1
_OWN_ON_PURCHASE = 1.5
_PRICE_ON_PURCHASE = -0.5
_OWN_ON_EXPOSURE = 0.6
_FIRST_SHOWN = 897
"""The items show the handwritten digits from this one on; the earlier ones are left to train on."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Catalogue(World):
    """Items of a shop for a week, as logged, with what they look and sound like, and their truth.

    Attributes
    ----------
    frame : one row per item: price (standardised logarithm), exposed (on the start page, 0/1),
        purchased (0/1).
    truth : praise, number, brightness (the qualities, about mean 0 and standard deviation 1),
        propensity (of exposure), chance_if_exposed, chance_if_not (of a purchase),
        purchase_if_exposed, purchase_if_not (0/1, what would happen).
    texts : (n,) reviews.
    images : (n, 12, 12), grey from 0 to 1.
    audio : (n, 1000), samples of a jingle at 4,000 a second.
    visible_in : the modality of the confounder.
    """

    texts: np.ndarray
    images: np.ndarray
    audio: np.ndarray
    visible_in: str

    contrasts: ClassVar = {"exposed -> purchased": ("chance_if_exposed", "chance_if_not")}

    @property
    def confounder(self) -> str:
        """The quality that acts on exposure and on purchase."""
        return _roles(self.visible_in)[0]

    @property
    def on_purchase(self) -> str:
        """The quality that acts on purchase alone."""
        return _roles(self.visible_in)[1]

    @property
    def on_exposure(self) -> str:
        """The quality that acts on exposure alone."""
        return _roles(self.visible_in)[2]

    def again(self, seed: int) -> pd.DataFrame:
        """A frame of the same items, exposure and purchase drawn anew with the same chances."""
        return self.frame[["price"]].join(_draw(self.truth, seed)[["exposed", "purchased"]])

    def _summary(self):
        return (
            f"{len(self.frame):,} items, {self.frame['exposed'].mean():.0%} exposed, "
            f"{self.frame['purchased'].mean():.0%} purchased; {self.confounder} confounds, "
            f"visible in {self.visible_in} only; true effect of exposure {self.ate:.4f}"
        )


@simulates("7.2")
def catalogue(
    n: int = 4000,
    seed: int = 0,
    *,
    visible_in: str = "text",
    texts: Sequence[str] | None = None,
    selection: float = 0.8,
) -> Catalogue:
    """A catalogue whose editors and customers see its items, while the log holds only a price.

    Each item has a review, a picture and a jingle, and a quality in each of them. praise: words of
    praise minus words of complaint. number: the handwritten digit on the picture, somewhere before
    a piece of a photograph. brightness: how strong the high harmonics of the jingle are, whose
    pitch and tremolo mean nothing. One quality confounds: it acts on exposure and on purchase. Of
    the other two, one acts on purchase alone, and more than the confounder does, and one on
    exposure alone, in turn: text, image, audio, text. Price acts on purchase. All effects are on
    log-odds. The qualities are independent of each other; worlds of one seed have the same items,
    whatever confounds.

    Parameters
    ----------
    n : items, 1 or more.
    seed : the same seed gives the same bytes.
    visible_in : 'text', 'image' or 'audio', the modality of the confounder.
    texts : real reviews, of which ``n`` are drawn without replacement, each a text that is not
        empty. None puts sentences together from a small vocabulary.
    selection : log-odds of exposure that a standard deviation of the confounder adds; finite, 0 for
        no confounding.

    Raises
    ------
    ValueError
        for a size out of range, an unknown modality, fewer texts than items, a text that is missing
        or empty, a selection that is not finite.

    Source: the article, section 7.2; pictures of scikit-learn, `load_digits` (Alpaydin and Kaynak
    1998) and `load_sample_images`. Semi-synthetic confounding by text follows Veitch, Sridhar and
    Blei 2020.

    >>> world = catalogue(n=50, visible_in="image")
    >>> world.confounder, sorted(world.graph.parents("purchased"))
    ('number', ['brightness', 'exposed', 'number', 'price'])
    """
    check_sizes(n=(n, 1), selection=(selection, -np.inf))
    if visible_in not in QUALITIES:
        known = ", ".join(map(repr, QUALITIES))
        raise ValueError(f"visible_in={visible_in!r} is unknown; choose {known}")
    # A stream for each part: what one of them draws changes nothing in the others.
    of_text, of_image, of_audio, of_price = (
        np.random.default_rng([seed, part]) for part in (2, 3, 4, 5)
    )
    reviews, praise = _reviews(n, texts, of_text)
    digit = of_image.integers(_FIRST_SHOWN, len(load_digits().target), size=n)
    brightness = of_audio.standard_normal(n)
    price = of_price.standard_normal(n)
    truth = pd.DataFrame(
        {
            "praise": praise,
            "number": (load_digits().target[digit] - 4.5) / np.sqrt(8.25),
            "brightness": brightness,
        }
    )
    confounder, on_purchase, on_exposure = _roles(visible_in)
    exposure = selection * truth[confounder] + _OWN_ON_EXPOSURE * truth[on_exposure]
    purchase = -1.2 + _CONFOUNDER_ON_PURCHASE * truth[confounder]
    purchase = purchase + _OWN_ON_PURCHASE * truth[on_purchase] + _PRICE_ON_PURCHASE * price
    truth["propensity"] = expit(exposure)
    truth["chance_if_exposed"] = expit(purchase + _EXPOSURE_ON_PURCHASE)
    truth["chance_if_not"] = expit(purchase)
    drawn = _draw(truth, seed)
    potential = ["purchase_if_exposed", "purchase_if_not"]
    causes = {
        "exposed": [confounder, on_exposure],
        "purchased": [confounder, on_purchase, "price", "exposed"],
    }
    tiers = [[*QUALITIES.values(), "price"], ["exposed"], ["purchased"]]
    graph, knowledge = structure(causes, tiers)
    return Catalogue(
        frame=pd.DataFrame({"price": price}).join(drawn[["exposed", "purchased"]]),
        truth=truth.join(drawn[potential]),
        graph=graph,
        knowledge=knowledge,
        seed=seed,
        texts=reviews,
        images=pictures(digit, of_image),
        audio=_jingles(brightness, of_audio),
        visible_in=visible_in,
    )


def pictures(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 12, 12) pictures: each numbered image of `load_digits` before a piece of a photograph.

    The items of a catalogue show the images from 897 on: those from 0 to 896 are left for a model
    to learn from.

    Parameters
    ----------
    digits : (n,) numbers of images.
    rng : draws the photograph, its piece, and where the digit stands.

    Raises
    ------
    ValueError
        for a number of no image.

    >>> pictures(np.array([0, 1]), np.random.default_rng(0)).shape
    (2, 12, 12)
    """
    digits = np.asarray(digits)
    ink = load_digits().images / 16
    photographs = _photographs()
    if bad := int(((digits < 0) | (digits >= len(ink))).sum()):
        raise ValueError(f"digits: {bad} numbers outside 0..{len(ink) - 1}")
    n = len(digits)
    ends = (len(photographs), photographs.shape[1] - SIDE, photographs.shape[2] - SIDE)
    which, top, left = (rng.integers(end, size=n)[:, None, None] for end in ends)
    row, column = np.indices((SIDE, SIDE))
    made = 0.3 * photographs[which, top + row, left + column]
    item = np.arange(n)[:, None, None]
    top, left = rng.integers(SIDE - 7, size=(2, n, 1, 1))
    row, column = np.indices((8, 8))
    made[item, top + row, left + column] += 0.7 * ink[digits]
    return made


@cache
def _photographs():
    """(2, 427, 640) grey, from 0 to 1."""
    coloured = load_sample_images().images
    return np.stack([photograph.mean(axis=2) / 255 for photograph in coloured])


def _reviews(n, texts, rng):
    """(texts, praise) of ``n`` items; praise is standardised over all texts that there are."""
    if texts is None:
        texts = pd.Series(
            [" ".join(words) for words in rng.choice(_VOCABULARY.split(), size=(n, 20))]
        )
    else:
        texts = pd.Series(list(texts), dtype=object)
        if bad := sum(not isinstance(text, str) or not text.strip() for text in texts):
            raise ValueError(f"texts: {bad} of {len(texts)} are missing or empty; drop them")
        if len(texts) < n:
            raise ValueError(f"texts: {len(texts)} are too few for n={n} items")
    lower = texts.str.lower()
    balance = lower.str.count(_PRAISE) - lower.str.count(_COMPLAINT)
    balance = balance.to_numpy(dtype=float)
    praise = (balance - balance.mean()) / (balance.std() or 1.0)
    kept = rng.choice(len(texts), size=n, replace=False)
    return texts.to_numpy(dtype=object)[kept], praise[kept]


def _jingles(brightness, rng):
    """(n, samples) sums of harmonics h of amplitude h^-(1.5 - brightness/2), with a little noise.

    Pitch and tremolo are random.
    """
    n = len(brightness)
    seconds = np.arange(int(RATE * SECONDS)) / RATE
    # an octave from 150 Hz: the sixth harmonic stays below half of RATE
    pitch = 150 * 2 ** rng.random((n, 1))
    depth = 0.6 * rng.random((n, 1))
    speed = 4 + 8 * rng.random((n, 1))
    start = rng.random((n, len(_HARMONICS)))
    amplitude = _HARMONICS ** -(1.5 - brightness[:, None] / 2)
    amplitude /= np.linalg.norm(amplitude, axis=1, keepdims=True)  # all equally loud
    sound = 0.02 * rng.standard_normal((n, len(seconds)))
    swell = 1 + depth * np.sin(2 * np.pi * speed * seconds)
    # sin(h x) is the imaginary part of exp(i x)^h: a power is cheaper than a sine
    turn = np.exp(2j * np.pi * pitch * seconds)
    power = swell.astype(complex)
    for size, phase in zip(amplitude.T, start.T, strict=True):
        power *= turn
        sound += ((size * np.exp(2j * np.pi * phase))[:, None] * power).imag
    return sound


def _draw(truth, seed):
    """Exposure, both potential purchases, which share their draw, and the actual one."""
    exposed, bought = np.random.default_rng([seed, 1]).random((2, len(truth)))
    drawn = pd.DataFrame(
        {
            "exposed": exposed < truth["propensity"],
            "purchase_if_exposed": bought < truth["chance_if_exposed"],
            "purchase_if_not": bought < truth["chance_if_not"],
        }
    )
    drawn["purchased"] = drawn["purchase_if_exposed"].where(
        drawn["exposed"], drawn["purchase_if_not"]
    )
    return drawn.astype(np.int8)


def _roles(visible_in):
    """Qualities: of the confounder, of what acts on purchase alone and on exposure alone."""
    qualities = list(QUALITIES.values())
    place = list(QUALITIES).index(visible_in)
    return [qualities[(place + step) % 3] for step in range(3)]
