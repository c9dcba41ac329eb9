"""The catalogue's truth against what was drawn from it; bounds are 4 standard errors unless said
otherwise.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from causal_lib.inference import NoOverlapError, effect, identify
from causal_lib.worlds import product_catalogue as module
from causal_lib.worlds.product_catalogue import QUALITIES, RATE, SIDE, catalogue, pictures

each = pytest.mark.parametrize("visible_in", list(QUALITIES))


@pytest.fixture(scope="module")
def worlds():
    return {modality: catalogue(6000, 3, visible_in=modality) for modality in QUALITIES}


def _close(draws, chances):
    draws = np.asarray(draws, dtype=float)
    chances = np.asarray(chances, dtype=float)
    assert abs((draws - chances).mean()) < 4 * np.sqrt((chances * (1 - chances)).sum()) / len(draws)


def _digest(world):
    frames = [
        pd.util.hash_pandas_object(frame, index=False).sum() for frame in (world.frame, world.truth)
    ]
    return [
        *frames,
        hash(tuple(world.texts)),
        hash(world.images.tobytes()),
        hash(world.audio.tobytes()),
    ]


# ---- bytes, sizes and wrong inputs ---------------------------------------------------------------


def test_same_seed_same_bytes():
    assert _digest(catalogue(60, 5)) == _digest(catalogue(60, 5))
    assert all(
        a != b for a, b in zip(_digest(catalogue(60, 5)), _digest(catalogue(60, 6)), strict=True)
    )


def test_worlds_of_one_seed_have_the_same_items():
    first, *rest = (catalogue(60, 5, visible_in=modality) for modality in QUALITIES)
    for other in rest:
        assert _digest(other)[2:] == _digest(first)[2:]
        assert other.frame["price"].equals(first.frame["price"])
        assert other.truth[[*QUALITIES.values()]].equals(first.truth[[*QUALITIES.values()]])


def test_shapes_and_ranges(worlds):
    world = worlds["text"]
    assert world.images.shape == (6000, SIDE, SIDE)
    assert world.audio.shape == (6000, RATE // 4)
    assert world.texts.shape == (6000,)
    assert 0 <= world.images.min() < world.images.max() <= 1
    assert np.isfinite(world.audio).all()
    assert list(world.frame) == ["price", "exposed", "purchased"]  # no quality, no chance is logged
    assert catalogue(1).frame.shape == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, not 0"),
        ({"visible_in": "video"}, "visible_in='video' is unknown; choose 'text', 'image', 'audio'"),
        ({"selection": np.nan}, "selection must be finite, not nan"),
        ({"selection": np.inf}, "selection must be finite, not inf"),
        ({"n": 3, "texts": ["good", "bad"]}, "texts: 2 are too few for n=3 items"),
        ({"n": 1, "texts": ["good", None, " "]}, "texts: 2 of 3 are missing or empty; drop them"),
        ({"n": 1, "texts": ["good", np.nan]}, "texts: 1 of 2 are missing or empty"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        catalogue(**arguments)


def test_pictures_of_unknown_digits_are_refused():
    with pytest.raises(ValueError, match=r"digits: 2 numbers outside 0..1796"):
        pictures(np.array([-1, 0, 1797]), np.random.default_rng(0))


# ---- what an item looks, reads and sounds like ---------------------------------------------------


def test_praise_is_words_of_praise_less_words_of_complaint():
    texts = [
        "I love it, perfect",
        "too small; I returned it",
        "a dress",
        "LOVE it but it is huge and lovely",
    ]
    world = catalogue(4, texts=texts)
    balance = {texts[0]: 2, texts[1]: -2, texts[2]: 0, texts[3]: 0}
    expected = np.array([balance[text] for text in world.texts]) / np.sqrt(2)  # mean 0, variance 2
    np.testing.assert_allclose(world.truth["praise"], expected, rtol=1e-12)
    assert sorted(world.texts) == sorted(texts)  # without replacement


def test_texts_that_all_say_the_same_have_no_praise():
    assert (catalogue(3, texts=["a dress"] * 3).truth["praise"] == 0).all()


def test_a_picture_is_a_digit_somewhere_before_a_piece_of_a_photograph():
    digits = load_digits().images / 16
    photographs = module._photographs()
    picture = pictures(np.array([1000]), np.random.default_rng(0))[0]
    found = []
    for top in range(SIDE - 7):
        for left in range(SIDE - 7):
            rest = picture.copy()
            rest[top : top + 8, left : left + 8] -= 0.7 * digits[1000]
            corner = np.argwhere(np.isclose(0.3 * photographs, rest[0, 0], atol=1e-12))
            found += [
                (which, y, x) for which, y, x in corner
                if (piece := photographs[which, y : y + SIDE, x : x + SIDE]).shape == rest.shape
                and np.allclose(0.3 * piece, rest, atol=1e-12)
            ]  # fmt: skip
    assert len(found) == 1


def test_number_is_the_digit_and_no_item_shows_one_that_is_left_to_learn_from(monkeypatch):
    asked = []
    monkeypatch.setattr(
        module, "pictures", lambda digits, rng: asked.append(digits) or pictures(digits, rng)
    )
    world = catalogue(3000, 1)
    (digits,) = asked
    assert digits.min() >= 897
    assert digits.max() <= 1796
    np.testing.assert_allclose(
        world.truth["number"] * np.sqrt(8.25) + 4.5, load_digits().target[digits], atol=1e-12
    )


def test_brightness_is_the_slope_of_the_harmonics():
    """The amplitude of harmonic h, by the lines of a spectrum, falls as h^-(1.5 - brightness/2)."""
    brightness = np.array([-2.0, 0.0, 2.0])
    waves = module._jingles(brightness, np.random.default_rng(0))
    long = np.abs(np.fft.rfft(waves * np.hanning(waves.shape[1]), 1 << 16)) ** 2
    hertz = np.fft.rfftfreq(1 << 16, 1 / RATE)
    for row, bright in zip(long, brightness, strict=True):
        # the pitch lies between 150 and 300, and no harmonic is louder
        low = (hertz > 130) & (hertz < 310)
        pitch = hertz[low][row[low].argmax()]
        # tremolo puts a part of the power at up to 12 hertz on either side: the band of +-40 holds
        # all of it
        power = [row[np.abs(hertz - h * pitch) < 40].sum() for h in (1, 2, 3)]
        slope = np.polyfit(np.log([1, 2, 3]), 0.5 * np.log(power), 1)[0]
        assert slope == pytest.approx(-(1.5 - bright / 2), abs=0.05)


def test_jingles_are_equally_loud_but_for_tremolo_and_noise():
    loud = module._jingles(np.linspace(-2, 2, 400), np.random.default_rng(0)).std(axis=1)
    assert abs(np.corrcoef(np.linspace(-2, 2, 400), loud)[0, 1]) < 4 / np.sqrt(400)


# ---- truth ---------------------------------------------------------------------------------------


@each
def test_what_happens_has_the_chances_of_the_truth(worlds, visible_in):
    world = worlds[visible_in]
    t = worlds[visible_in].truth
    _close(world.frame["exposed"], t["propensity"])
    for arm in ("exposed", "not"):
        _close(t[f"purchase_if_{arm}"], t[f"chance_if_{arm}"])
    lived = np.where(world.frame["exposed"] == 1, t["purchase_if_exposed"], t["purchase_if_not"])
    assert (world.frame["purchased"] == lived).all()
    assert t["propensity"].between(0, 1, inclusive="neither").all()


@each
def test_the_mean_of_the_potential_outcomes_is_the_declared_effect(worlds, visible_in):
    world = worlds[visible_in]
    t = worlds[visible_in].truth
    gain = t["purchase_if_exposed"] - t["purchase_if_not"]
    assert (gain >= 0).all()  # they share their chance
    assert abs(gain.mean() - world.ate) < 4 * gain.std() / np.sqrt(len(gain))
    assert world.ate == pytest.approx(
        (t["chance_if_exposed"] - t["chance_if_not"]).mean(), rel=1e-12
    )
    assert 0.05 < world.ate < 0.3


@each
def test_chances_are_those_of_the_equations(worlds, visible_in):
    """Written anew: log-odds are linear in the causes that the roles name, and in nothing else."""
    world = worlds[visible_in]
    t = world.truth
    price = world.frame["price"]
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    np.testing.assert_allclose(
        logit(t["propensity"]), 0.8 * t[world.confounder] + 0.6 * t[world.on_exposure], atol=1e-9
    )
    base = -1.2 + 1.1 * t[world.confounder] + 1.5 * t[world.on_purchase] - 0.5 * price
    np.testing.assert_allclose(logit(t["chance_if_not"]), base, atol=1e-9)
    np.testing.assert_allclose(logit(t["chance_if_exposed"]), base + 0.8, atol=1e-9)
    assert {world.confounder, world.on_exposure, world.on_purchase} == set(QUALITIES.values())


def test_each_quality_has_each_role_once(worlds):
    for role in ("confounder", "on_exposure", "on_purchase"):
        assert {getattr(world, role) for world in worlds.values()} == set(QUALITIES.values())
    for modality, world in worlds.items():
        assert world.confounder == QUALITIES[modality]


@each
def test_the_graph_asks_for_the_confounder_alone(worlds, visible_in):
    world = worlds[visible_in]
    assert world.graph.kind == "DAG"
    assert world.knowledge.violations(world.graph) == []
    assert world.graph.parents("exposed") == {world.confounder, world.on_exposure}
    assert world.graph.parents("purchased") == {
        world.confounder,
        world.on_purchase,
        "price",
        "exposed",
    }
    backdoor = identify(
        world.graph, "exposed", "purchased", hidden=[world.on_exposure, world.on_purchase]
    )
    assert world.confounder in backdoor.adjustment


def test_qualities_are_independent_and_standardised(worlds):
    qualities = (
        worlds["text"].truth[[*QUALITIES.values()]].assign(price=worlds["text"].frame["price"])
    )
    n = len(qualities)
    assert (qualities.mean().abs() < 4 / np.sqrt(n)).all()
    assert (abs(qualities.var() - 1) < 0.1).all()
    off = qualities.corr().to_numpy()[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 4 / np.sqrt(n)


# ---- what confounds, and where it is seen --------------------------------------------------------


@each
def test_only_the_confounder_takes_the_bias_away(worlds, visible_in):
    """The oracle covers the truth, the naive difference and every other quality miss it (99.9%)."""
    world = worlds[visible_in]
    frame = world.frame.join(world.truth[[*QUALITIES.values()]])
    for quality in QUALITIES.values():
        found = effect(frame, "exposed", "purchased", adjustment=[quality], estimator="aipw")
        assert found.covers(world.ate, 0.999) == (quality == world.confounder)
    naive = effect(frame, "exposed", "purchased", adjustment=[], estimator="difference")
    assert not naive.covers(world.ate, 0.999)


@each
def test_without_selection_nothing_confounds(visible_in):
    world = catalogue(6000, 3, visible_in=visible_in, selection=0.0)
    naive = effect(world.frame, "exposed", "purchased", adjustment=[], estimator="difference")
    assert naive.covers(world.ate, 0.999)


def test_strong_selection_leaves_no_overlap():
    world = catalogue(3000, 3, selection=6.0)
    frame = world.frame.join(world.truth["praise"])
    found = effect(frame, "exposed", "purchased", adjustment=["praise"], estimator="aipw")
    assert found.verdict == "extrapolated"
    with pytest.raises(
        NoOverlapError, match=r"extrapolated: .* of the rows seem to have no counte"
    ):
        effect(frame, "exposed", "purchased", adjustment=["praise"], strict=True)


@each
def test_again_draws_the_same_items_anew(worlds, visible_in):
    world = worlds[visible_in]
    assert world.again(world.seed).equals(world.frame)
    other = world.again(world.seed + 1)
    assert other["price"].equals(world.frame["price"])
    assert not other["exposed"].equals(world.frame["exposed"])
    assert other.dtypes.equals(world.frame.dtypes)
    _close(other["exposed"], world.truth["propensity"])
    chance = np.where(
        other["exposed"] == 1, world.truth["chance_if_exposed"], world.truth["chance_if_not"]
    )
    _close(other["purchased"], chance)


def test_again_is_unbiased_about_the_effect_given_the_truth():
    """Weighted by the true propensities, the mean over redraws comes to the declared effect."""
    world = catalogue(1000, 2)
    p = world.truth["propensity"]
    found = []
    for seed in range(200):
        frame = world.again(seed)
        found.append(
            (frame["purchased"] * (frame["exposed"] / p - (1 - frame["exposed"]) / (1 - p))).mean()
        )
    assert abs(np.mean(found) - world.ate) < 4 * np.std(found) / np.sqrt(len(found))


def test_it_tells_what_it_is(worlds):
    assert repr(worlds["image"]).startswith("Catalogue of 6,000 items, ")
    assert "number confounds, visible in image only; true effect of exposure" in repr(
        worlds["image"]
    )


def test_the_catalogue_stays_the_same(fingerprint):
    """Computed once: what changes a number changes every result that was made with the world."""
    small = catalogue(40, 4, visible_in="image", selection=1.1)
    found = [
        fingerprint(small.frame, small.truth), fingerprint(pd.DataFrame({"text": small.texts})), fingerprint(small.images),
        fingerprint(small.audio), fingerprint(small.again(9)),
    ]  # fmt: skip
    expected = [
        2.616690350775873,
        19.533037446522414,
        29.620022120859822,
        1.5944510602119808,
        0.9914690508228245,
    ]
    assert found == pytest.approx(expected, rel=1e-8)


def test_the_same_items_again_with_other_draws(worlds):
    world = worlds["audio"]
    other = world.again(77)
    assert other["price"].equals(world.frame["price"])
    _close(other["exposed"], world.truth["propensity"])
    chance = np.where(
        other["exposed"] == 1, world.truth["chance_if_exposed"], world.truth["chance_if_not"]
    )
    _close(other["purchased"], chance)
    assert not other["exposed"].equals(world.frame["exposed"])
    pd.testing.assert_frame_equal(world.again(world.seed), world.frame)
