"""Preprocessing: duplicates, missing values, scaling, splits without leakage.

Article 3.2.1, 4.3.2, 5.3.1. Its fragment fills missing values along the whole table (from one user
to the next), scales with statistics of all rows and splits at random. Here every statistic comes
from the training part only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from causal_lib.checks import check_binary, check_columns, check_frame, check_ids, check_range
from causal_lib.columns import as_times, column_kind, number_of
from causal_lib.data import schema

CATEGORICAL = ("age_band", "city_tier", "category")
"""Attributes that are encoded one-hot; a city's tier is an ordered label, not a quantity."""

NUMERIC = tuple(c for c in schema.ATTRIBUTES if c not in CATEGORICAL)
"""Attributes that are scaled."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, repr=False)
class Prepared:
    """The training, validation and test part; ``X, y = prepared`` gives all rows in this order.

    ``X_*`` are float frames with named columns, ``y_*`` int8 series, ``rows_*`` the cleaned rows
    themselves (keys, propensities, ...); the three share their index.
    ``pipeline.transform(new_rows)`` treats new data the same way. ``report`` counts what was read,
    removed and imputed.
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

    def __iter__(self):
        yield pd.concat([self.X_train, self.X_val, self.X_test])
        yield pd.concat([self.y_train, self.y_val, self.y_test])

    def __repr__(self):
        rows = ", ".join(f"{n:,} {part}" for part, n in self.report["rows"].items())
        return (
            f"{rows} rows with {self.X_train.shape[1]} features; "
            f"of {self.report['rows_read']:,} rows read "
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
    """Features and labels of the three parts, and the fitted transformation that made them.

    Parameters
    ----------
    data : one row per user, item and day (`schema.KEY`); exact duplicates are removed and counted.
        Never modified.
    outcome : column of zeros and ones to predict.
    numeric, categorical : feature columns; the default is the attributes, all known before the
        exposure. Numbers may have any dtype. New rows must hold the labels of a category in the
        type of the training rows; a label that training lacks is none of the known ones.
    split : ``"time"``: later days are validation, then test, no day in two parts (cut at the days
        that come nearest to the shares); ``"user"``: users are drawn by ``seed``, no user in two
        parts.
    validation, test : shares, each above 0, together below 1.
    impute : ``"median"``: training median (most frequent category) and a 0/1 column
        ``missingindicator_<column>`` for each column with missing values in training. ``"ffill"``:
        the article's forward fill, inside a user's history in the order of days (rows of one day in
        the order they stand), what is left by the training median. It fills an item's price with
        the price of whatever the user saw before: kept for comparison.

    Raises
    ------
    ValueError
        if a column is missing, empty, constant, infinite or negative where it cannot be; if a
        numeric one holds no numbers, or a categorical one mixed types, a label per row or more than
        20 fractions; if a feature is a mediator or an outcome (its value is not known when the
        recommendation is made, so it would leak the answer); if rows repeat a key with different
        content; if a part is empty or holds one class only.
    """
    numeric = check_columns(numeric, name="numeric")
    categorical = check_columns(categorical, name="categorical")
    features = check_columns([*numeric, *categorical], name="numeric and categorical")
    _check_arguments(features, outcome, split, impute, validation, test)
    _check_columns(data, features, numeric, outcome)

    clean = _without_duplicates(data)
    conflicting = int(clean.duplicated(schema.KEY, keep=False).sum())
    if conflicting:
        raise ValueError(
            f"data: {conflicting} rows repeat a key ({', '.join(schema.KEY)}) with different "
            "content; keep one row for each key"
        )
    labels = check_binary(clean[outcome], name=f"data: column {outcome!r}")
    y = pd.Series(labels, clean.index, name=outcome)
    part = _split(clean, split, validation, test, seed)
    for name in PARTS:
        check_binary(y[part == name], name=f"data: column {outcome!r} in the {name} part")
    training = clean[part == "train"]
    check_frame(training, features, name="training part of data", varying=True)

    kinds = {column: _kind_of_labels(training[column], "data") for column in categorical}
    pipeline = _pipeline(list(numeric), kinds, impute).fit(training)
    # All rows at once: a forward fill in a later part may look back into the user's training days.
    X = pipeline.transform(clean)
    missing = clean[features].isna().sum()
    report = {
        "rows_read": len(data),
        "duplicates_removed": len(data) - len(clean),
        "imputed": missing[missing > 0].to_dict(),
        "rows": {name: int((part == name).sum()) for name in PARTS},
    }
    pieces = [table[part == name] for table in (X, y, clean) for name in PARTS]
    return Prepared(*pieces, pipeline=pipeline, report=report)


def _check_arguments(features, outcome, split, impute, validation, test):
    for column in features:
        role = "outcome" if column == outcome else schema.ROLES.get(column, "")
        if role.startswith(("mediator", "outcome")):
            raise ValueError(
                f"preprocess_data: feature {column!r} ({role}) is not known before the outcome and "
                "would leak it; leave it out"
            )
    if not features:
        raise ValueError("preprocess_data: numeric and categorical name no column")
    choices = {"split": (split, ("time", "user")), "impute": (impute, ("median", "ffill"))}
    for name, (value, known) in choices.items():
        if value not in known:
            known = ", ".join(map(repr, known))
            raise ValueError(f"preprocess_data: {name}={value!r} is unknown; choose from {known}")
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            f"preprocess_data: {validation=} and {test=} must be above 0 and together below 1"
        )


def _check_columns(data, features, numeric, outcome):
    check_frame(data, [*schema.KEY, outcome], name="data", complete=True)
    check_ids(data["user_id"], name="data")
    check_frame(data, features, name="data", varying=True)
    for column in numeric:
        values = number_of(data, column, name="data")
        if column in ("price", "stock"):
            label = f"data: column {column!r}"
            check_range(values, 0, np.inf, name=label, open_low=column == "price")


def _without_duplicates(data):
    try:
        return data.drop_duplicates()
    except TypeError:  # of a column of lists, which cannot be compared
        for column in data.columns:
            check_ids(data[column], name="data", noun="values")
        raise


def _kind_of_labels(values, name):
    """What the labels of a category are, see `check_ids`; ValueError where they are no labels."""
    kind = check_ids(values, name=name, noun="labels")
    if kind == "tuple":
        raise ValueError(
            f"{name}: column {values.name!r} holds tuples; join each to one text, as by "
            '.map("_".join)'
        )
    column_kind(values.astype("category"), name=name)  # many fractions are no labels
    if values.nunique() == len(values):
        raise ValueError(
            f"{name}: column {values.name!r} has a different label in each of {len(values)} "
            "training rows; leave it out"
        )
    return kind


def _split(frame, split, validation, test, seed):
    """The part of each row, an array of the names in `PARTS`."""
    if split == "time":
        order = as_times(frame["day"], name="data")
        shares = pd.Series(order).value_counts(normalize=True).sort_index().cumsum()
    else:
        users = np.random.default_rng(seed).permutation(np.unique(frame["user_id"]))
        order = pd.Series(range(len(users)), index=users).loc[frame["user_id"]].to_numpy()
        shares = pd.Series(np.arange(1, len(users) + 1) / len(users))
    first, second = (
        shares.index[np.abs(shares - share).argmin()] for share in (1 - validation - test, 1 - test)
    )
    part = np.select([order <= first, order <= second], PARTS[:2], PARTS[2])
    for name in PARTS:
        if name not in part:
            unit = "days" if split == "time" else "users"
            raise ValueError(
                f"data: split={split!r} leaves the {name} part empty ({len(shares)} {unit}); "
                "bring more of them or change validation and test"
            )
    return part


def _pipeline(numeric, kinds, impute):
    """The unfitted transformation to a float frame; ``kinds``: of the labels of each category."""
    categorical = list(kinds)
    scale = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    steps = [
        ("numeric", scale, numeric),
        (
            "categorical",
            make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot),
            categorical,
        ),
    ]
    if impute == "median":
        steps.append(("missing", MissingIndicator(error_on_new=False), [*numeric, *categorical]))
    arguments = {"numeric": numeric, "kinds": kinds, "ffill": impute == "ffill"}
    pipeline = Pipeline(
        [
            ("columns", FunctionTransformer(_columns, kw_args=arguments)),
            ("encode", ColumnTransformer(steps, verbose_feature_names_out=False)),
            ("float", FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": float})),
        ]
    )
    return pipeline.set_output(transform="pandas")


def _columns(frame, numeric, kinds, ffill):
    """The feature columns with NaN where missing, forward-filled by user if asked."""
    name = "rows to transform"
    needed = [*numeric, *kinds, *(("user_id", "day") if ffill else ())]
    check_frame(frame, needed, name=name)
    numbers = {
        # a column of None alone has no kind, and a single new row may well have such
        column: number_of(frame, column, name=name) if frame[column].notna().any() else np.nan
        for column in numeric
    }
    for column, kind in kinds.items():
        found = check_ids(frame[column], name=name, noun="labels")
        if found != kind and frame[column].notna().any():
            raise ValueError(
                f"{name}: column {column!r} holds labels of type {found}, first "
                f"{frame[column].dropna().iloc[0]!r}, and those of training are of type {kind}; "
                "convert them by astype"
            )
    # scikit-learn's encoders want Python objects and NaN, not pandas' own missing value
    labels = frame[[*kinds]].astype(object).where(frame[[*kinds]].notna(), np.nan)
    chosen = pd.concat([pd.DataFrame(numbers, frame.index, dtype=float), labels], axis=1)
    if ffill:
        order = np.argsort(as_times(frame["day"], name="rows"), kind="stable")
        filled = chosen.iloc[order].groupby(frame["user_id"].to_numpy()[order]).ffill()
        chosen = filled.iloc[np.argsort(order)]
    return chosen
