"""Preprocessing (article 3.2.1, 4.3.2, 5.3.1): duplicates, missing values, scaling, splits without leakage.

The article's fragment fills missing values along the whole table (from one user to the next), scales with
statistics of all rows and splits at random. Here whatever is learnt is learnt on the training part only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from causal_lib.data import schema

CATEGORICAL = ("age_band", "city_tier", "category")
"""Attributes that are encoded one-hot; a city's tier is an ordered label, not a quantity."""

NUMERIC = tuple(c for c in schema.ATTRIBUTES if c not in CATEGORICAL)
"""Attributes that are scaled."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, repr=False)
class Prepared:
    """Features, labels and rows of the training, validation and test part, and what made them.

    ``X_*`` are float frames with named columns, ``y_*`` int8 series, ``rows_*`` the cleaned rows themselves (keys,
    propensities, ...); the three share their index. ``pipeline`` is the fitted scikit-learn `Pipeline`:
    ``pipeline.transform(new_rows)`` treats new data the same way. ``report`` counts what was read, removed, imputed.
    ``X, y = prepared`` gives all rows (training, validation, test, in this order), as the article writes it.
    """

    X_train: pd.DataFrame
    X_val: pd.DataFrame
    X_test: pd.DataFrame
    y_train: pd.Series
    y_val: pd.Series
    y_test: pd.Series
    rows_train: pd.DataFrame
    rows_val: pd.DataFrame
    rows_test: pd.DataFrame
    pipeline: Pipeline
    report: dict

    @property
    def X(self) -> pd.DataFrame:
        """Features of all rows: training, validation, test."""
        return pd.concat([self.X_train, self.X_val, self.X_test])

    @property
    def y(self) -> pd.Series:
        """Labels of all rows: training, validation, test."""
        return pd.concat([self.y_train, self.y_val, self.y_test])

    def __iter__(self):
        return iter((self.X, self.y))

    def __repr__(self):
        rows = ", ".join(f"{n:,} {part}" for part, n in self.report["rows"].items())
        return (
            f"{rows} rows with {self.X_train.shape[1]} features; of {self.report['rows_read']:,} rows read "
            f"{self.report['duplicates_removed']:,} were exact duplicates (removed); "
            f"{sum(self.report['imputed'].values()):,} missing values imputed"
        )


def preprocess_data(
    data: pd.DataFrame,
    *,
    outcome: str = "purchased",
    numeric: Sequence[str] = NUMERIC,
    categorical: Sequence[str] = CATEGORICAL,
    split: str = "time",
    validation: float = 0.2,
    test: float = 0.2,
    impute: str = "median",
    seed: int = 0,
) -> Prepared:
    """Features and labels of the three parts, and the fitted transformation that made them, as `Prepared`.

    Parameters
    ----------
    data : one row per user, item and day (`schema.KEY`); exact duplicates are removed and counted. Never modified.
    outcome : column of zeros and ones to predict.
    numeric, categorical : feature columns; the default is the attributes, all known before the exposure.
    split : ``"time"``: later days are validation, then test, no day in two parts (cut at the days that come nearest
        to the shares); ``"user"``: users are drawn by ``seed``, no user in two parts.
    validation, test : shares, each above 0, together below 1.
    impute : ``"median"``: training median (most frequent category) and a 0/1 column ``missingindicator_<column>``
        for each column with holes in training. ``"ffill"``: the article's forward fill, inside a user's history in
        the order of days (rows of one day in the order they stand), what is left by the training median. It fills
        an item's price with the price of whatever the user saw before: kept for comparison.
    seed : draws the users of ``split="user"``.

    Raises
    ------
    ValueError
        if a column is missing, empty, constant, infinite or negative where it cannot be; if a feature is a mediator
        or an outcome (its value is not known when the recommendation is made, so it would leak the answer); if rows
        repeat a key with different content; if a part is empty or holds one class only.
    """
    features = [*numeric, *categorical]
    _check_arguments(features, outcome, split, validation, test, impute)
    schema.check_frame(data, [*schema.KEY, outcome], name="data", complete=True)
    schema.check_frame(data, features, name="data", varying=True)
    _check_values(data, numeric)

    clean = data.drop_duplicates()
    conflicting = int(clean.duplicated(schema.KEY, keep=False).sum())
    if conflicting:
        raise ValueError(
            f"data: {conflicting} rows repeat a key ({', '.join(schema.KEY)}) with different content; keep one row a key"
        )
    y = pd.Series(schema.check_binary(clean[outcome], name=f"data: column {outcome!r}"), clean.index, name=outcome)
    part = _split(clean, split, validation, test, seed)
    for name in PARTS:
        schema.check_binary(y[part == name], name=f"data: column {outcome!r} in the {name} part")
    training = clean[part == "train"]
    schema.check_frame(training, features, name="training part of data", varying=True)

    pipeline = _pipeline(tuple(numeric), tuple(categorical), impute).fit(training)
    # All rows at once: a forward fill in a later part may look back into the user's training days.
    X = pipeline.transform(clean)
    holes = clean[features].isna().sum()
    report = {
        "rows_read": len(data),
        "duplicates_removed": len(data) - len(clean),
        "imputed": {c: int(n) for c, n in holes[holes > 0].items()},
        "rows": {name: int((part == name).sum()) for name in PARTS},
    }
    pieces = [table[part == name] for table in (X, y, clean) for name in PARTS]
    return Prepared(*pieces, pipeline=pipeline, report=report)


def _check_arguments(features, outcome, split, validation, test, impute):
    if not features:
        raise ValueError("preprocess_data: numeric and categorical name no column")
    twice = sorted({c for c in features if features.count(c) > 1})
    if twice:
        raise ValueError(f"preprocess_data: column {twice[0]!r} is named twice in numeric and categorical")
    leaking = [c for c in features if c == outcome or schema.ROLES.get(c, "").startswith(("mediator", "outcome"))]
    if leaking:
        raise ValueError(
            f"preprocess_data: feature {leaking[0]!r} ({schema.ROLES.get(leaking[0], 'the outcome')}) is not known "
            "before the outcome and would leak it; leave it out"
        )
    for name, value, known in (("split", split, ("time", "user")), ("impute", impute, ("ffill", "median"))):
        if value not in known:
            raise ValueError(f"preprocess_data: {name}={value!r} is unknown; choose from {', '.join(map(repr, known))}")
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            f"preprocess_data: validation={validation} and test={test} must be above 0 and together below 1"
        )


def _check_values(data, numeric):
    for column in numeric:
        if not pd.api.types.is_numeric_dtype(data[column].dtype):
            raise ValueError(f"data: column {column!r} is {data[column].dtype}, not numeric; name it in categorical")
        if column in ("price", "stock"):
            values = data[column].to_numpy(dtype=float, na_value=np.nan)
            schema.check_range(values, 0, np.inf, name=f"data: column {column!r}", open_low=column == "price")


def _split(frame, split, validation, test, seed):
    """The part of each row, an array of the names in `PARTS`."""
    if split == "time":
        order = frame["day"].to_numpy()
        shares = frame["day"].value_counts(normalize=True).sort_index().cumsum()
    else:
        users = np.random.default_rng(seed).permutation(np.unique(frame["user_id"]))
        order = pd.Series(range(len(users)), index=users).loc[frame["user_id"]].to_numpy()
        shares = pd.Series(np.arange(1, len(users) + 1) / len(users))
    first, second = (shares.index[np.abs(shares - s).argmin()] for s in (1 - validation - test, 1 - test))
    part = np.select([order <= first, order <= second], PARTS[:2], PARTS[2])
    empty = [name for name in PARTS if not (part == name).any()]
    if empty:
        raise ValueError(
            f"data: split={split!r} leaves the {empty[0]} part empty ({len(shares)} {'days' if split == 'time' else 'users'}); "
            "bring more of them or change validation and test"
        )
    return part


def _pipeline(numeric, categorical, impute):
    """The unfitted transformation; its output is a float frame."""
    steps = [
        ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(numeric)),
        (
            "categorical",
            make_pipeline(
                SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
            ),
            list(categorical),
        ),
    ]
    if impute == "median":
        indicator = MissingIndicator(features="missing-only", error_on_new=False)
        steps.append(("missing", indicator, [*numeric, *categorical]))
    arguments = {"numeric": numeric, "categorical": categorical, "ffill": impute == "ffill"}
    pipeline = Pipeline(
        [
            ("columns", FunctionTransformer(_columns, kw_args=arguments)),
            ("encode", ColumnTransformer(steps, verbose_feature_names_out=False)),
            ("float", FunctionTransformer(_as_float)),
        ]
    )
    return pipeline.set_output(transform="pandas")


def _columns(frame, numeric, categorical, ffill):
    """The feature columns with one missing value (NaN), forward-filled inside a user's history if asked."""
    needed = [*numeric, *categorical, *(("user_id", "day") if ffill else ())]
    schema.check_frame(frame, needed, name="rows to transform")
    values = {c: frame[c].to_numpy(dtype=float, na_value=np.nan) for c in numeric}
    # scikit-learn's encoders want Python objects and NaN, not pandas' own missing value.
    values |= {c: frame[c].astype(object).where(frame[c].notna(), np.nan) for c in categorical}
    chosen = pd.DataFrame(values, index=frame.index)
    if ffill:
        order = np.argsort(frame["day"].to_numpy(), kind="stable")
        filled = chosen.iloc[order].groupby(frame["user_id"].to_numpy()[order]).ffill()
        chosen = filled.iloc[np.argsort(order)]
    return chosen


def _as_float(frame):
    return frame.astype(float)
