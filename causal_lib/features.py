"""Features (article 3.2.2, 4.3.3): history, crosses, sound, importance and causal role."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information
from sklearn.model_selection import GroupShuffleSplit

from causal_lib.checks import (
    check_binary,
    check_columns,
    check_frame,
    check_ids,
    check_range,
    check_same_order,
)
from causal_lib.columns import (
    as_dates,
    as_days,
    as_labels,
    as_numbers,
    as_times,
    column_kind,
    number_of,
)
from causal_lib.data import schema
from causal_lib.ordering import canonical_places
from causal_lib.resampling import group_codes, mean_with_interval

_MI_ROWS = 5_000  # the nearest-neighbour estimator is slow on more rows
_FEW_VALUES = 20  # of a number: counted like levels, since neighbours would tie
_BINS = 5  # of a number that many rows share
_MOST_LEVELS = 255  # what the boosted trees take


def purchase_history(log: pd.DataFrame, *, outcome: str = "purchased") -> pd.DataFrame:
    """For each row what the user had bought strictly before its day, indexed like ``log``.

    Columns: ``user_purchases``, ``category_purchases`` (in the row's category) and
    ``days_since_purchase`` (missing where there was none). Nothing of the row's own day or of later
    days enters.

    Parameters
    ----------
    log : rows with `schema.KEY` (days as numbers), ``category`` and ``outcome`` (0/1), each key
        once.

    >>> log = pd.DataFrame({"user_id": 1, "item_id": [7, 8, 7], "day": [0, 0, 3],
    ...                     "category": ["a", "b", "a"], "purchased": [1, 1, 0]})
    >>> purchase_history(log)
       user_purchases  category_purchases  days_since_purchase
    0               0                   0                  NaN
    1               0                   0                  NaN
    2               2                   1                  3.0
    """
    check_frame(log, [*schema.KEY, "category", outcome], name="log", key=schema.KEY, complete=True)
    log = log.assign(**{column: number_of(log, column, name="log") for column in ("day", outcome)})
    check_range(log[outcome], 0, 1, name=f"log: column {outcome!r}")
    if (log[outcome] % 1 == 0).all():
        log = log.astype({outcome: int})  # counts of purchases are whole

    def at_rows(by_day, keys):
        return by_day.reindex(pd.MultiIndex.from_frame(log[[*keys, "day"]])).to_numpy()

    def bought_before(keys):
        daily = log.groupby([*keys, "day"])[outcome].sum()  # sorted by day inside a key
        return daily, at_rows(daily.groupby(level=keys).cumsum() - daily, keys)

    daily, by_user = bought_before(["user_id"])
    _, by_category = bought_before(["user_id", "category"])
    bought_on = daily.index.get_level_values("day").to_series(index=daily.index).where(daily > 0)
    last = bought_on.groupby(level="user_id").shift().groupby(level="user_id").ffill()
    since = log["day"] - at_rows(last, ["user_id"]).astype(float)
    columns = {
        "user_purchases": by_user,
        "category_purchases": by_category,
        "days_since_purchase": since,
    }
    return pd.DataFrame(columns, index=log.index)


def sequences(
    rows: pd.DataFrame,
    events: pd.DataFrame,
    channels: Sequence[str],
    *,
    length: int = 10,
    dtype: str = "float32",
) -> np.ndarray:
    """(n, length, 1 + channels): the user's last ``events`` before the day of each row.

    The latest event comes last. The first channel is 1 where there is an event; a user with fewer
    than ``length`` events has zeros before them. Nothing of the row's own day or of later days
    enters. Events of one day keep the order of ``events``.

    Parameters
    ----------
    rows : with user_id and day (a number or a time).
    events : for instance purchases: user_id, day and the numeric columns ``channels``.

    >>> done = pd.DataFrame({"user_id": [1, 1, 2], "day": [0, 2, 1], "price": [5.0, 7.0, 9.0]})
    >>> rows = pd.DataFrame({"user_id": [1, 1], "day": [2, 3]})
    >>> sequences(rows, done, ["price"], length=2)[:, :, 1]
    array([[0., 5.],
           [5., 7.]], dtype=float32)
    """
    channels = check_columns(channels, name="channels")
    check_frame(rows, ["user_id", "day"], name="rows", complete=True)
    check_frame(events, ["user_id", "day", *channels], name="events", complete=True)
    for column, kind in (("user_id", check_ids), ("day", column_kind)):
        kinds = [
            kind(table[column], name=name) for table, name in ((rows, "rows"), (events, "events"))
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"sequences: {column} is a {kinds[0]} in rows and a {kinds[1]} in events: nothing "
                "would match; convert one of them by astype"
            )
    rows = rows.assign(day=as_times(rows["day"], name="rows"))
    events = events.assign(day=as_times(events["day"], name="events"))
    if length < 1:
        raise ValueError(f"sequences: length={length} must be at least 1")
    events = events.sort_values(["user_id", "day"], kind="stable")
    values = np.column_stack([np.ones(len(events)), events[channels]]).astype(dtype)
    # A row's place among the events of all users, before those of its own day.
    user, day = (
        pd.concat([events[c], rows[c]], ignore_index=True).rank(method="dense")
        for c in ("user_id", "day")
    )
    key = (user * (len(day) + 1) + day).to_numpy()
    here = key[len(events) :]
    first = user.to_numpy()
    place = np.searchsorted(key[: len(events)], here, side="left")
    start = np.searchsorted(first[: len(events)], first[len(events) :], side="left")
    taken = place[:, None] + np.arange(-length, 0)
    return np.where((taken >= start[:, None])[:, :, None], values[np.maximum(taken, 0)], 0).astype(
        dtype
    )


def combine(frame: pd.DataFrame, pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """The crosses of ``pairs`` of columns, indexed like ``frame`` (which is not among the result).

    Two numbers, in any dtype, give their product. Two categories give their combined label. A
    number and a category give one column for each level, which holds the number at that level and 0
    elsewhere. A value that is missing in either column stays missing.

    >>> frame = pd.DataFrame({"price": [2.0, 3.0], "stock": [5, 7], "category": ["a", "b"]})
    >>> combine(frame, [("price", "stock"), ("price", "category")])
       price x stock  price x category=a  price x category=b
    0           10.0                 2.0                 0.0
    1           21.0                 0.0                 3.0
    """
    pairs = list(pairs)
    check_frame(frame, [c for pair in pairs for c in pair], name="frame")
    kinds = {column: column_kind(frame[column]) for pair in pairs for column in pair}
    for column, kind in kinds.items():
        if kind == "date":
            raise ValueError(f"frame: column {column!r} is a date; give days since some day")
        values = frame[column]
        # pandas' and Arrow's own dtypes do not mix in a product, nor with a numpy array
        if kind == "number" and not (
            is_numeric_dtype(values) and isinstance(values.dtype, np.dtype)
        ):
            frame = frame.assign(**{column: as_numbers(values)})
    crosses = {}
    for a, b in pairs:
        if kinds[a] != "number" and kinds[b] == "number":
            a, b = b, a
        known = frame[a].notna() & frame[b].notna()
        if kinds[b] == "number":
            crosses[f"{a} x {b}"] = frame[a] * frame[b]
        elif kinds[a] == "number":
            for level in sorted(frame[b].dropna().unique()):
                here = (frame[b] == level).to_numpy(dtype=bool, na_value=False)
                crosses[f"{a} x {b}={level}"] = (frame[a] * here).astype(float).where(known)
        else:
            crosses[f"{a} x {b}"] = (frame[a].astype(str) + " x " + frame[b].astype(str)).where(
                known
            )
    return pd.DataFrame(crosses, index=frame.index)


def log_mel(
    waves: np.ndarray,
    rate: float,
    *,
    bands: int = 20,
    window: int = 256,
    hop: int = 128,
    floor: float = 1e-6,
) -> np.ndarray:
    """(n, frames, bands) logarithm of the power of each wave in bands of equal width in mel.

    A frame is ``window`` samples under a periodic Hann window, scaled so that its squares sum to 1.
    Its one-sided power spectrum is summed under triangles, each 1 at its own centre and 0 at the
    neighbouring centres. Between the first and the last centre the triangles sum to 1, so that
    there the bands of a frame add up to its energy (Parseval). ``floor`` is added before the
    logarithm. mel = 2595 log10(1 + hertz / 700), from 0 to half of ``rate``. Needs TensorFlow.

    Parameters
    ----------
    waves : (n, samples).
    rate : samples in a second.
    window : samples in a frame, an even number.
    hop : samples from one frame to the next. Samples after the last whole frame are left out.

    Raises
    ------
    ValueError
        for waves that are no finite (n, samples) or are shorter than the window, arguments that are
        not positive, an odd window, and a band without a frequency of the spectrum (take fewer
        bands, or a longer window).

    Source: Stevens, Volkmann and Newman 1937; Davis and Mermelstein 1980.

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(1000) / 4000)
    >>> log_mel(tone[None], 4000).shape
    (1, 6, 20)
    """
    import tensorflow as tf  # takes seconds, and only sound needs it

    waves = np.asarray(waves, dtype=float)
    sizes = {"rate": rate, "bands": bands, "window": window, "hop": hop, "floor": floor}
    for name, value in sizes.items():
        if not 0 < value < np.inf:
            raise ValueError(f"log_mel: {name}={value} must be positive and finite")
    if waves.ndim != 2 or waves.shape[1] < window:
        raise ValueError(
            f"log_mel: waves has shape {waves.shape}; (n, samples) with at least window={window} "
            "samples is needed"
        )
    if window % 2:
        raise ValueError(f"log_mel: window={window} must be even")
    if bad := int((~np.isfinite(waves)).sum()):
        raise ValueError(f"log_mel: waves has {bad} missing or infinite samples")
    triangles = tf.signal.linear_to_mel_weight_matrix(
        bands, window // 2 + 1, float(rate), 0.0, rate / 2, tf.float64
    ).numpy()
    if empty := int((triangles.sum(axis=0) == 0).sum()):
        raise ValueError(
            f"log_mel: {empty} of {bands} bands hold no frequency of a window of {window}; take "
            "fewer bands"
        )
    spectrum = tf.signal.stft(waves, window, hop, fft_length=window).numpy()
    hann = tf.signal.hann_window(window, dtype=tf.float64).numpy()
    power = np.abs(spectrum) ** 2 / (hann @ hann * window)
    # the other half of the spectrum repeats this one, but for frequency 0 and half of the rate
    power[..., 1:-1] *= 2
    return np.log(power @ triangles + floor)


def importance(
    X: pd.DataFrame,
    y,
    *,
    method: str = "permutation",
    columns: Sequence[str] | None = None,
    groups=None,
    n_repeats: int = 10,
    max_rows: int = 20_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Predictive importance of each column of ``X`` for ``y``, largest first.

    Columns importance, low, high. ``"permutation"``: the fall of the ROC AUC on 30% held-out rows
    when the column is shuffled, under a gradient boosting fitted to the other 70%.
    ``"mutual_info"``: mutual information in nats on random rows: of numbers by nearest neighbours;
    of categories and numbers of at most 20 values by counts, less what chance alone gives. A number
    that is the same in many rows (an item's price, repeated in a log; fewer different values than
    half of the rows) is counted in five equally frequent bins: neighbours in it would be rows of
    the same item, so that a number drawn at random for each item had as much as the item. The 95%
    interval (Student's t over the repeats) covers the randomness of shuffling or drawing rows, not
    of the fit. The importance is predictive, not causal: a proxy or a consequence of the outcome
    may come first. The order of rows and of columns changes nothing, nor does a column's unit.

    Parameters
    ----------
    X : features: numbers, dates or categories (text); missing values are allowed with
        ``"permutation"``, under which the levels beyond the 254 most frequent count as one.
    y : zeros and ones, one per row.
    columns : the columns to measure (all); the model uses every column of ``X`` in any case.
    groups : one id per row (users); no group is both fitted and held out.
    n_repeats : at least 2.
    max_rows : more rows than this are sampled down by ``seed``.

    References
    ----------
    Breiman (2001), Random Forests; Kraskov et al. (2004), Estimating mutual information; Ross
    (2014), Mutual information between discrete and continuous data sets.
    """
    if method not in ("permutation", "mutual_info"):
        raise ValueError(
            f"importance: method={method!r} is unknown; choose 'permutation' or 'mutual_info'"
        )
    if n_repeats < 2:
        raise ValueError(
            f"importance: n_repeats={n_repeats} gives no interval; at least 2 are needed"
        )
    check_frame(X, name="X")
    columns = list(X.columns) if columns is None else check_columns(columns, name="columns")
    check_frame(X, columns, name="X")
    check_same_order(X=X, y=y, groups=groups)
    kinds = {column: column_kind(X[column], name="X") for column in X.columns}
    check_frame(X, X.columns, name="X", complete=method == "mutual_info", varying=True)
    y = check_binary(y, name="y")
    groups = np.arange(len(y)) if groups is None else group_codes(groups, sort=True)
    if not len(X) == len(y) == len(groups):
        raise ValueError(
            f"importance: X has {len(X)} rows, y {len(y)}, groups {len(groups)}; they must agree"
        )

    rng = np.random.default_rng(seed)
    codes = np.column_stack([_as_codes(X[c], kinds[c]) for c in X.columns])
    order, own = canonical_places(
        codes, y, np.bincount(groups)[groups], names=list(X.columns), clusters=groups
    )
    codes = codes[order][:, own]
    y = y[order]
    groups = pd.factorize(groups[order])[0]
    names = X.columns[own]
    places = np.sort(names.get_indexer(columns))
    columns = list(names[places])
    if method == "permutation":
        rows = np.sort(rng.permutation(len(X))[:max_rows])
        text = np.array([kinds[c] == "category" for c in names])
        codes = codes[rows]
        codes[:, text] = np.minimum(codes[:, text], _MOST_LEVELS - 1)
        y = y[rows]
        groups = groups[rows]
        fit, held_out = next(
            GroupShuffleSplit(1, test_size=0.3, random_state=seed).split(codes, y, groups)
        )
        for name, part in (("fitted", fit), ("held-out", held_out)):
            check_binary(y[part], name=f"y of the {name} rows")
        # small trees: as good as the default size on purchases and twice as fast
        small = {
            "max_iter": 50,
            "max_leaf_nodes": 15,
            "early_stopping": False,
            "random_state": seed,
        }
        model = HistGradientBoostingClassifier(categorical_features=text, **small)
        model.fit(codes[fit], y[fit])
        repeats = auc_falls(
            lambda X: model.predict_proba(X)[:, 1],
            codes[held_out],
            y[held_out],
            places,
            n_repeats,
            rng,
        )
    else:
        size = min(_MI_ROWS, max_rows, len(X) // 2)
        counted = codes[:, places]
        few = np.array([kinds[c] == "category" for c in columns])
        for column in np.flatnonzero(~few):
            counted[:, column], few[column] = _in_bins(counted[:, column])
        draws = (rng.permutation(len(X))[:size] for _ in range(n_repeats))
        repeats = np.array([_information(counted[rows], y[rows], few, seed) for rows in draws])
    return importance_table(repeats, columns)


def _as_codes(values, kind):
    """A column as floats (n,), missing as nan: numbers, days of a date, codes of levels.

    The codes are in the order of the levels; of very many, by how frequent they are.
    """
    if kind == "number":
        return as_numbers(values, name="X")
    if kind == "date":
        return as_days(values, as_dates(values).min())
    labels = as_labels(values)
    codes, levels = pd.factorize(labels, sort=values.nunique() <= _MOST_LEVELS)
    codes = codes.astype(float)
    if len(levels) > _MOST_LEVELS:
        rank = np.argsort(np.argsort(-np.bincount(codes[codes >= 0].astype(int)), kind="stable"))
        codes[codes >= 0] = rank[codes[codes >= 0].astype(int)]
    return np.where(codes < 0, np.nan, codes)


def _in_bins(values):
    """(n,) numbers, or bins of those that many rows share, and whether they are to be counted."""
    different = len(np.unique(values))
    if different <= _FEW_VALUES:
        return values, True
    if 2 * different >= len(values):
        return values, False
    ends = np.quantile(values, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(np.unique(ends), values), True


def _information(x, y, few, seed):
    """(k,) mutual information of each column of x (n, k) with y; ``few``: of levels, not numbers.

    Source: of numbers, Ross 2014; the expectation under chance, Vinh, Epps and Bailey 2010.
    """
    found = np.empty(x.shape[1])
    if not few.all():
        found[~few] = mutual_info_classif(x[:, ~few], y, discrete_features=False, random_state=seed)
    for column in np.flatnonzero(few):
        table = contingency_matrix(x[:, column], y, sparse=True, dtype=np.int64)
        chance = expected_mutual_information(table, len(y))
        found[column] = mutual_info_score(None, None, contingency=table) - chance
    return found


def importance_table(repeats: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Mean over ``repeats`` (n, names) with its 95% Student's t-interval, largest first.

    Columns importance, low, high; the index is called feature.
    """
    mean, low, high = mean_with_interval(repeats)
    table = pd.DataFrame({"importance": mean, "low": low, "high": high}, index=list(names))
    table = table.rename_axis("feature")
    return table.sort_values("importance", ascending=False, kind="stable")


def causal_roles(graph, treatment: str, outcome: str) -> dict[str, str]:
    """Role of each variable of a `CausalGraph` in the effect of ``treatment`` on ``outcome``.

    confounder: causes both, the outcome also on a path that avoids the treatment. instrument:
    causes the outcome only through the treatment. mediator: lies between the two. parent or
    ancestor of the outcome: causes the outcome, not the treatment. descendant of the outcome or of
    the treatment. proxy: no ancestor of the outcome.
    """
    causes = graph.ancestors(outcome)
    effects = graph.descendants(treatment)
    around = graph.subgraph(n for n in graph.names if n != treatment).ancestors(outcome)

    def role(name):
        if name in (treatment, outcome):
            return "treatment" if name == treatment else "outcome"
        if name in graph.descendants(outcome):
            return "descendant of the outcome"
        if name in effects:
            return "mediator" if name in causes else "descendant of the treatment"
        if name in graph.ancestors(treatment) and name in causes:
            return "confounder" if name in around else "instrument"
        if name in causes:
            return (
                "parent of the outcome"
                if name in graph.parents(outcome)
                else ("ancestor of the outcome")
            )
        return "proxy: no ancestor of the outcome"

    return {name: role(name) for name in graph.names}


_NOT_BEFORE = ("mediator", "outcome", "descendant", "treatment", "probability of exposure", "key")


def select_features(
    frame: pd.DataFrame,
    outcome: str = "purchased",
    *,
    k: int | None = None,
    graph=None,
    treatment: str = "exposed",
    roles: Mapping[str, str] = schema.ROLES,
    seed: int = 0,
) -> pd.DataFrame:
    """The columns of ``frame`` ranked by importance, with their causal roles.

    Columns of the result: importance, low, high (`importance`, permutation), role, selected.
    Eligible columns are fixed before the treatment. Each other column (mediator, consequence, the
    treatment itself) is measured in a model of its own with all eligible ones, because a column
    that gives the outcome away would hide all others.

    Parameters
    ----------
    frame : features and ``outcome``. Keys (role "key") are not ranked; ``user_id`` keeps the rows
        of a user in one half.
    k : how many eligible features to select; None selects those with importance intervals above 0.
    graph : a `CausalGraph` that gives the roles (`causal_roles`); ``roles`` adds what it lacks.
    roles : column -> role; a column without one is "unknown" and eligible.
    """
    check_frame(frame, [outcome], name="frame", complete=True)
    role = dict(roles) | ({} if graph is None else causal_roles(graph, treatment, outcome))
    names = [c for c in frame.columns if c != outcome and not role.get(c, "").startswith("key")]
    eligible = [c for c in names if not role.get(c, "").startswith(_NOT_BEFORE)]
    if not eligible:
        raise ValueError(
            f"select_features: no column of frame is fixed before {treatment!r}: {', '.join(names)}"
        )
    if k is not None and not 1 <= k <= len(eligible):
        raise ValueError(
            f"select_features: k={k} must lie between 1 and {len(eligible)}, the eligible columns"
        )

    how = {"groups": frame.get("user_id"), "seed": seed}
    table = importance(frame[eligible], frame[outcome], **how)
    selected = table.index[:k] if k is not None else table.index[table["low"] > 0]
    others = [c for c in names if c not in eligible]
    found = [importance(frame[[*eligible, c]], frame[outcome], columns=[c], **how) for c in others]
    table = pd.concat([table, *found])
    table["role"] = [role.get(c, "unknown") for c in table.index]
    table["selected"] = table.index.isin(selected)
    return table.sort_values("importance", ascending=False, kind="stable")


def auc_falls(
    predict: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    y: np.ndarray,
    columns: Iterable[int | Sequence[int]],
    n_repeats: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n_repeats, len(columns)) falls of the ROC AUC of ``predict(X)`` when columns are shuffled.

    An entry of ``columns`` is a number, or several numbers that are shuffled as one. All entries
    are shuffled in the same n_repeats orders, so that none depends on which others there are.
    """
    orders = [rng.permutation(len(X)) for _ in range(n_repeats)]

    # scikit-learn's permutation_importance always shuffles all columns, and each by itself
    def auc_of_shuffled(column, order):
        shuffled = X.copy()
        shuffled[:, column] = X[order][:, column]
        return roc_auc_score(y, predict(shuffled))

    whole = roc_auc_score(y, predict(X))
    return whole - np.array([[auc_of_shuffled(c, order) for c in columns] for order in orders])
