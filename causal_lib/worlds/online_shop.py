"""A shop with known truth: a recommender decides what is shown, and shows what sells anyway.

A row is a candidate user-item-day, exposed or not, so "the effect of exposing" is defined.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from causal_lib.checks import check_range
from causal_lib.data import schema
from causal_lib.worlds.base import World, check_sizes, sigmoid, simulates, structure

AGE_BANDS = ["18-24", "25-34", "35-49", "50+"]
CATEGORIES = ["books", "clothing", "electronics", "home", "sports", "toys"]

SHOP_EDGES = {
    "activity": ["age_band"],
    "price_sensitivity": ["age_band", "city_tier"],
    "price": ["category", "quality"],
    "popularity": ["quality", "price"],
    "stock": ["popularity"],
    "exposed": ["activity", "popularity", "stock"],
    "position": ["exposed", "activity", "popularity", "stock"],
    "clicked": [
        "exposed",
        "position",
        "age_band",
        "price_sensitivity",
        "category",
        "price",
        "quality",
    ],
    "purchased": [
        "clicked",
        "activity",
        "price_sensitivity",
        "price",
        "stock",
        "quality",
        "popularity",
    ],
    "rating": ["purchased", "price", "quality"],
}
"""Variable to its direct causes in the shop: the equations below, read as a graph."""

# Taste added to the log-odds of a click: rows AGE_BANDS, columns CATEGORIES.
_TASTE = np.array(
    [
        [-0.3, 0.9, 0.8, -0.8, 0.3, -0.4],
        [-0.2, 0.5, 0.6, 0.0, 0.4, 0.2],
        [0.1, -0.2, 0.1, 0.7, 0.0, 0.6],
        [0.7, -0.6, -0.7, 0.8, -0.5, -0.3],
    ]
)
_CATEGORY_PRICE = np.array([-0.6, 0.1, 0.8, 0.2, 0.0, -0.3])  # shift of the log price
_LOG_PRICE = 3.2  # a typical price is exp(3.2), about 25 currency units
ATTENTION = -0.7
"""A click's probability falls as position to this power."""
PRICE_ON_POPULARITY = -0.4
"""What a unit of log price adds to an item's popularity."""


class _Setting(NamedTuple):
    """Coefficients that differ between the two tastes of the shop."""

    exposure_level: float  # log-odds of being exposed
    click_level: float  # log-odds of a click
    quality_on_click: float
    quality_on_popularity: float
    popularity_noise: float  # popularity that is bought: it has nothing to do with the item
    taste_rank: int
    taste_spread: float  # standard deviation of the taste of pairs, in log-odds


_SETTINGS = {
    "by_age": _Setting(-2.1, -0.7, 0.7, 0.3, 0.7, 0, 0.0),
    "learnable": _Setting(-1.2, -0.7, 0.3, 0.1, 0.9, 3, 1.8),
}
# probability that a buyer of opinion 1..5 leaves a rating
_RATES_GIVEN = np.array([0.55, 0.25, 0.12, 0.25, 0.60])


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Shop(World):
    """A simulated log of a shop with its truth.

    Attributes
    ----------
    users, items : one row each, with their attributes.
    frame : the candidates, one row per (user_id, item_id, day), with propensity (0, 1], exposed,
        position (missing when not exposed), clicked, purchased, rating (missing when not given).
    truth : position_if_exposed, click_if_exposed, purchase_if_exposed and purchase_if_not
        (probabilities of the potential outcomes), uplift (their difference), opinion (the rating
        that a buyer holds, given or not) and rating_propensity.
    taste : "by_age" or "learnable", see `shop`.
    user_taste, item_taste : (users, r) and (items, r) hidden factors, whose inner product is added
        to the log-odds of a click; r is 0 with taste "by_age".
    """

    users: pd.DataFrame
    items: pd.DataFrame
    taste: str
    user_taste: np.ndarray
    item_taste: np.ndarray

    contrasts: ClassVar = {"exposed -> purchased": ("purchase_if_exposed", "purchase_if_not")}

    @property
    def candidates(self) -> pd.DataFrame:
        """The frame: every user-item-day that might have been shown."""
        return self.frame

    @property
    def impressions(self) -> pd.DataFrame:
        """The exposed candidates."""
        return self.candidates[self.candidates["exposed"] == 1]

    def log(self) -> pd.DataFrame:
        """The candidates with the attributes of their user and item, one row per candidate."""
        user = self.candidates["user_id"].to_numpy()
        item = self.candidates["item_id"].to_numpy()
        wide = self.candidates[schema.KEY].copy()
        for table, rows, columns in (
            (self.users, user, schema.USER_ATTRIBUTES),
            (self.items, item, schema.ITEM_ATTRIBUTES),
        ):
            for column in columns:
                wide[column] = table[column].array.take(rows)
        logged = self.candidates.columns.drop(schema.KEY)
        return wide.assign(**{column: self.candidates[column] for column in logged})

    def raw(
        self, *, seed: int | None = None, duplicates: float = 0.01, missing: float = 0.05
    ) -> pd.DataFrame:
        """The log as it comes from a platform: in time order, with exact duplicates and gaps.

        Parameters
        ----------
        duplicates : share of rows written twice.
        missing : mean share of missing values in age_band, price_sensitivity, price and stock.
            price_sensitivity is missing at random given activity (inactive users reveal less), the
            others completely at random.
        seed : of the duplicates and gaps; the world's by default.
        """
        rng = np.random.default_rng([self.seed if seed is None else seed, 1])
        log = self.log()
        n = len(log)
        log["stock"] = log["stock"].astype("Int64")
        inactive = sigmoid(-log["activity"].to_numpy())
        chance = np.full(n, missing)
        chances = {
            "age_band": chance,
            "price_sensitivity": np.minimum(missing * inactive / inactive.mean(), 1.0),
            "price": chance,
            "stock": chance,
        }
        for column, lost in chances.items():
            log[column] = log[column].mask(rng.random(n) < lost)
        twice = np.sort(rng.choice(n, size=int(duplicates * n), replace=False))
        order = np.sort(np.concatenate([np.arange(n), twice]), kind="stable")
        return log.take(order).reset_index(drop=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The world as the store's tables: users, items, impressions, purchases, ratings."""
        bought = self.candidates[self.candidates["purchased"] == 1]
        rated = bought[bought["rating"].notna()]
        price = self.items["price"].to_numpy()[bought["item_id"].to_numpy()]
        shown = self.impressions[[*schema.KEY, "propensity", "position", "clicked"]]
        return {
            "users": self.users,
            "items": self.items,
            "impressions": shown.astype({"position": "int8"}),
            "purchases": bought[schema.KEY].assign(price=price, exposed=bought["exposed"]),
            "ratings": rated[[*schema.KEY, "rating"]].astype({"rating": "int8"}),
        }

    def potential_outcomes(self, user_id, item_id, position=1) -> pd.DataFrame:
        """Probabilities of click and purchase of any pairs, shown at ``position`` and not shown.

        With the places that a policy's own ranking gives its items, this simulates the policy.

        Parameters
        ----------
        user_id, item_id, position : ids and places from 1, broadcast against each other
            (``users[:, None]`` and ``items[None, :]`` give all pairs).

        Returns
        -------
        Frame with user_id, item_id, click_if_exposed, purchase_if_exposed, purchase_if_not and
        uplift; one row per pair.

        Raises
        ------
        ValueError
            for an id that is not there, or a position below 1.
        """
        rows = np.broadcast_arrays(*map(np.asarray, (user_id, item_id, position)))
        user, item, place = map(np.ravel, rows)
        for name, ids, table in (("user_id", user, self.users), ("item_id", item, self.items)):
            bad = (ids < 0) | (ids >= len(table))
            if bad.any():
                raise ValueError(
                    f"{name}: {int(bad.sum())} ids outside 0..{len(table) - 1}, first {ids[bad][0]}"
                )
        if not (place >= 1).all():
            raise ValueError(f"position must be 1 or more, not {place[~(place >= 1)][0]}")
        rates = self._rates(user, item, place)
        return pd.DataFrame(
            {
                "user_id": user,
                "item_id": item,
                "click_if_exposed": rates.click,
                "purchase_if_exposed": rates.if_exposed,
                "purchase_if_not": rates.organic,
                "uplift": rates.if_exposed - rates.organic,
            }
        )

    def true_taste(self) -> np.ndarray:
        """(users, items) log-odds of a click at position 1, without the means of users and items.

        It is the part of the log-odds that is a pair's own: neither activity nor quality.
        """
        user = self.users["user_id"].to_numpy()[:, None]
        click = self.potential_outcomes(user, self.items["item_id"])["click_if_exposed"].to_numpy()
        odds = np.log(click / (1 - click)).reshape(len(self.users), len(self.items))
        return odds - odds.mean(axis=0) - odds.mean(axis=1, keepdims=True) + odds.mean()

    def resimulate(self, show: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
        """The candidates under another policy: its slates, with the positions that follow.

        A row's potential outcome holds its rivals as the logging policy exposed them. A policy that
        exposes others moves them all to other positions; this is what it would get.

        Parameters
        ----------
        show : (n,) probability to expose each row of ``frame``.
        seed : of the exposures and of the noise that ranks the exposed.

        Returns
        -------
        Frame aligned with ``frame``: exposed, position (missing when not exposed), purchase (the
        probability of a purchase, given both).

        Raises
        ------
        ValueError
            for another length, or probabilities outside [0, 1].
        """
        show = np.asarray(show, dtype=float)
        if show.shape != (len(self.frame),):
            raise ValueError(
                f"show has shape {show.shape}; ({len(self.frame)},) is needed, one a candidate"
            )
        check_range(show, 0, 1, name="show")
        rng = np.random.default_rng([seed, 2])
        user = self.frame["user_id"].to_numpy()
        item = self.frame["item_id"].to_numpy()
        visits = len(self.frame.drop_duplicates(["user_id", "day"]))
        exposed = rng.random(len(show)) < show
        rank = _appeal(_features(self.users, self.items), item) + rng.gumbel(size=len(item))
        position = _positions(rank.reshape(visits, -1), exposed.reshape(visits, -1)).ravel()
        rates = self._rates(user, item, position)
        return pd.DataFrame(
            {
                "exposed": exposed.astype(np.int8),
                "position": pd.arrays.IntegerArray(position, ~exposed),
                "purchase": np.where(exposed, rates.if_exposed, rates.organic),
            },
            index=self.frame.index,
        )

    def two_rankings(self, *, seed: int = 0) -> pd.DataFrame:
        """The log if items were shown by popularity in the first half of the days and by price in
        the second, cheap ones first, whoever the user is: price, quality, popularity, stock,
        exposed, purchased, and ``week``, 'by popularity' or 'by price'.
        """
        log = self.log()
        second = (2 * self.frame["day"] > self.frame["day"].max()).to_numpy()
        by = np.where(second, -_standard(log["price"]), _standard(log["popularity"]))
        again = self.resimulate(1 / (1 + np.exp(0.5 - 1.5 * by)), seed=seed)
        rng = np.random.default_rng([seed, 3])
        log = log[["price", "quality", "popularity", "stock"]]
        return log.assign(
            exposed=again["exposed"],
            purchased=(rng.random(len(again)) < again["purchase"]).astype(int),
            week=np.where(second, "by price", "by popularity"),
        )

    def _rates(self, user, item, position):
        feature = _features(self.users, self.items)
        tastes = _taste(feature, self.user_taste, self.item_taste, user, item)
        return _rates(feature, user, item, position, tastes, _SETTINGS[self.taste])

    def _summary(self):
        logged = self.candidates
        return (
            f"{len(self.users):,} users, {len(self.items):,} items, {len(logged):,} candidates, "
            f"{int(logged['exposed'].sum()):,} exposed, {int(logged['clicked'].sum()):,} clicks, "
            f"{int(logged['purchased'].sum()):,} purchases; true effect of exposure {self.ate:.4f}"
        )


def _standard(column):
    values = column.to_numpy(dtype=float)
    return (values - values.mean()) / values.std()


@simulates("4.3")
def shop(
    n_users: int = 2000,
    n_items: int = 200,
    days: int = 14,
    seed: int = 0,
    *,
    slate: int = 10,
    taste: str = "by_age",
    price_factor: float = 1.0,
) -> Shop:
    """A shop whose logging recommender confounds exposure with organic demand.

    On each of ``days`` a user visits with a probability that rises with activity; ``slate``
    distinct items are candidates, drawn uniformly. Each is exposed independently with its
    propensity, which rises with the user's activity and the item's popularity and stock. Exposed
    items are ranked by popularity and stock with noise, and a lower position damps clicks. A
    purchase follows a click, or comes organically (by activity and popularity) without exposure;
    nothing out of stock is bought. Buyers rate more often when very pleased or displeased (missing
    not at random).

    The potential outcome under exposure of a row is that of adding it to its visit's slate as the
    others were exposed: one row's exposure moves others down a position, so effects are those under
    the logging policy.

    Parameters
    ----------
    n_users, n_items, days : sizes, 1 or more; n_items at least ``slate``.
    seed : the same seed gives the same bytes.
    slate : candidates per visit, 1 to 100.
    taste : what differs between users in what they click. "by_age": a small shift for each age band
        and category. Popular items are good, and there are a few clicks a user, so a personalised
        model gains nothing over popularity: the hard case. "learnable": beside it, the inner
        product of three hidden factors of user and item, independent normal, with a standard
        deviation of 1.8 in the log-odds. Popularity is mostly bought, so it says little of quality,
        and more is exposed.
    price_factor : all prices are set, by intervention, to so many times what they would be.
        Popularity, stock, exposure, position, clicks and purchases follow from them. Compare shops
        of several seeds: what is drawn after the stock differs.

    Raises
    ------
    ValueError
        for a size out of range, an unknown taste, and a price_factor that is not above 0.

    Source: the article, section 4.3.

    >>> world = shop(n_users=50, n_items=30, days=2, seed=0)
    >>> world.graph.kind, len(world.graph.edges)
    ('DAG', 32)
    """
    check_sizes(n_users=(n_users, 1), n_items=(n_items, slate), days=(days, 1), slate=(slate, 1))
    if slate > 100:
        raise ValueError(f"slate must be at most 100, not {slate}")
    if taste not in _SETTINGS:
        raise ValueError(f"taste must be one of {', '.join(_SETTINGS)}, not {taste!r}")
    if not 0 < price_factor < np.inf:
        raise ValueError(f"price_factor must be above 0 and finite, not {price_factor}")
    setting = _SETTINGS[taste]
    rng = np.random.default_rng(seed)
    users = _users(n_users, rng)
    items = _items(n_items, rng, setting, price_factor)
    feature = _features(users, items)
    # a generator of their own, so that a seed draws the same users and items with either taste
    factors = np.random.default_rng([seed, 3])
    user_taste = factors.standard_normal((n_users, setting.taste_rank))
    item_taste = factors.standard_normal((n_items, setting.taste_rank))
    item_taste *= setting.taste_spread / max(1, setting.taste_rank) ** 0.5

    visits = rng.random((days, n_users)) < sigmoid(-0.5 + 0.8 * feature["activity"])
    day, visitor = visits.nonzero()
    item = _distinct(len(visitor), n_items, slate, rng)  # (visits, slate)
    shape = item.shape

    appeal = _appeal(feature, item)
    activity = feature["activity"][visitor][:, None]
    propensity = 0.03 + 0.92 * sigmoid(setting.exposure_level + 0.9 * activity + appeal)
    exposed = rng.random(shape) < propensity
    position = _positions(appeal + rng.gumbel(size=shape), exposed).ravel()

    user = np.repeat(visitor, slate)
    item = item.ravel()
    exposed = exposed.ravel()
    n = len(user)
    tastes = _taste(feature, user_taste, item_taste, user, item)
    rates = _rates(feature, user, item, position, tastes, setting)
    clicked = exposed & (rng.random(n) < rates.click)
    bought_anyway = rng.random(n) < rates.organic
    purchased = bought_anyway | (clicked & (rng.random(n) < rates.buy_if_clicked))
    mean_opinion = 3.6 + 0.7 * feature["quality"] - 0.3 * feature["price_level"]
    opinion = np.rint(mean_opinion[item] + 0.9 * rng.standard_normal(n))
    opinion = np.clip(opinion, 1, 5).astype(np.int8)
    rating_propensity = np.where(purchased, _RATES_GIVEN[opinion - 1], 0.0)
    rated = rng.random(n) < rating_propensity

    candidates = pd.DataFrame(
        {
            "user_id": user.astype(np.int32),
            "item_id": item.astype(np.int32),
            "day": np.repeat(day, slate).astype(np.int16),
            "propensity": propensity.ravel(),
            "exposed": exposed.astype(np.int8),
            "position": pd.arrays.IntegerArray(position.copy(), ~exposed),
            "clicked": clicked.astype(np.int8),
            "purchased": purchased.astype(np.int8),
            "rating": pd.arrays.IntegerArray(opinion.copy(), ~rated),
        }
    )
    truth = pd.DataFrame(
        {
            "position_if_exposed": position,
            "click_if_exposed": rates.click,
            "purchase_if_exposed": rates.if_exposed,
            "purchase_if_not": rates.organic,
            "uplift": rates.if_exposed - rates.organic,
            "opinion": opinion,
            "rating_propensity": rating_propensity,
        }
    )
    steps = [[name] for name in ("exposed", "position", "clicked", "purchased", "rating")]
    graph, knowledge = structure(SHOP_EDGES, [schema.ATTRIBUTES, *steps])
    return Shop(
        frame=candidates,
        truth=truth,
        graph=graph,
        knowledge=knowledge,
        seed=seed,
        users=users,
        items=items,
        taste=taste,
        user_taste=user_taste,
        item_taste=item_taste,
    )


class _Rates(NamedTuple):
    click: np.ndarray  # if exposed
    buy_if_clicked: np.ndarray
    organic: np.ndarray
    if_exposed: np.ndarray


def _users(n, rng):
    age = rng.choice(len(AGE_BANDS), size=n, p=[0.25, 0.35, 0.25, 0.15])
    city = rng.choice(4, size=n, p=[0.2, 0.3, 0.3, 0.2]) + 1
    activity = np.array([0.4, 0.3, -0.2, -0.7])[age] + 0.9 * rng.standard_normal(n)
    thrift = np.array([0.5, 0.1, -0.3, -0.2])[age] + 0.4 * (city - 2.5)
    return pd.DataFrame(
        {
            "user_id": np.arange(n, dtype=np.int32),
            "age_band": pd.Categorical.from_codes(age, AGE_BANDS, ordered=True),
            "city_tier": city.astype(np.int8),
            "activity": activity,
            "price_sensitivity": thrift + 0.8 * rng.standard_normal(n),
        }
    )


def _items(n, rng, setting, price_factor):
    category = rng.integers(len(CATEGORIES), size=n)
    quality = rng.standard_normal(n)
    log_price = _LOG_PRICE + _CATEGORY_PRICE[category] + 0.25 * quality
    log_price += 0.5 * rng.standard_normal(n) + np.log(price_factor)
    popularity = setting.quality_on_popularity * quality
    popularity += PRICE_ON_POPULARITY * (log_price - _LOG_PRICE)
    popularity += setting.popularity_noise * rng.standard_normal(n)
    stock = rng.poisson(np.exp(1.4 - 0.6 * popularity + 0.9 * rng.standard_normal(n)))
    return pd.DataFrame(
        {
            "item_id": np.arange(n, dtype=np.int32),
            "category": pd.Categorical.from_codes(category, CATEGORIES),
            "price": np.round(np.exp(log_price), 2),
            "stock": stock.astype(np.int32),
            "quality": quality,
            "popularity": popularity,
        }
    )


def _features(users: pd.DataFrame, items: pd.DataFrame) -> Mapping[str, np.ndarray]:
    """What the equations read, as arrays over users or items, so that a row costs one look-up."""
    return {
        "activity": users["activity"].to_numpy(),
        "sensitivity": users["price_sensitivity"].to_numpy(),
        "age": users["age_band"].cat.codes.to_numpy(),
        "category": items["category"].cat.codes.to_numpy(),
        "quality": items["quality"].to_numpy(),
        "popularity": items["popularity"].to_numpy(),
        "in_stock": (items["stock"].to_numpy() > 0).astype(float),
        "price_level": (np.log(items["price"].to_numpy()) - _LOG_PRICE) / 0.7,
    }


def _appeal(feature, item):
    """What a candidate's exposure and place rise with, beside the user's activity."""
    return feature["popularity"][item] + 0.8 * feature["in_stock"][item]


def _positions(rank, exposed):
    """(visits, slate) positions: one more than the exposed rivals that are ranked higher."""
    # a loop over the slate's columns keeps memory flat
    above = np.zeros(rank.shape, dtype=np.int8)
    for other in range(rank.shape[1]):
        above += (rank[:, [other]] > rank) & exposed[:, [other]]
    return above + 1


def _taste(feature, user_taste, item_taste, user, item):
    """(n,) part of a click's log-odds that is due to age and category, and to the factors."""
    by_age = _TASTE[feature["age"][user], feature["category"][item]]
    return by_age + np.einsum("ij,ij->i", user_taste[user], item_taste[item])


def _rates(feature, user, item, position, taste, setting) -> _Rates:
    """The structural equations of click and purchase, as probabilities."""
    sensitivity = feature["sensitivity"][user]
    price_level = feature["price_level"][item]
    quality = feature["quality"][item]
    in_stock = feature["in_stock"][item]
    burden = 0.4 * sensitivity + 0.3 * price_level + 0.5 * sensitivity * price_level
    attention = np.asarray(position, dtype=float) ** ATTENTION
    odds = setting.click_level + setting.quality_on_click * quality - burden + taste
    click = sigmoid(odds) * attention
    buy = in_stock * sigmoid(-1.5 + 0.5 * quality - burden)
    item_demand = 1.3 * feature["popularity"] - 0.3 * feature["price_level"]
    demand = feature["activity"][user] + item_demand[item]
    organic = in_stock * sigmoid(-3.4 + demand)
    return _Rates(click, buy, organic, organic + (1 - organic) * click * buy)


def _distinct(rows, n, k, rng):
    """(rows, k) integers below ``n``, distinct in each row, uniform: Floyd's algorithm."""
    chosen = np.empty((rows, k), dtype=np.int32)
    for column, top in enumerate(range(n - k, n)):
        draw = rng.integers(top + 1, size=rows, dtype=np.int32)
        taken = (chosen[:, :column] == draw[:, None]).any(axis=1)
        chosen[:, column] = np.where(taken, top, draw)
    return chosen
