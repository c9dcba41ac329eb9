import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causal_lib.discovery.auditing import SEVERITIES, audit
from causal_lib.discovery.statistics import Statistics
from causal_lib.graph import CausalGraph
from causal_lib.knowledge import Knowledge
from causal_lib.worlds.random_models import random_dag, simulate

N = 120
RNG = np.random.default_rng(0)
A, B, C, E = RNG.normal(size=(4, N))
CITY = RNG.choice(["bonn", "kiel", "rome", "oslo"], N)
COUNTRY = pd.Series(CITY).map({"bonn": "de", "kiel": "de", "rome": "it", "oslo": "no"}).to_numpy()
COLOUR = RNG.choice(["red", "blue", "green"], N)


def rows(**columns):
    return pd.DataFrame({"a": A, "b": B} | columns)


def holes(n, value=np.nan):
    return np.concatenate([np.full(n, value), E[n:]])


def months():
    return pd.date_range("2024-01-01", periods=N)


# name -> (frame, settings, code, severity, columns, what the message says: the problem, then the
# way out)
CASES = {
    "all missing": (
        rows(z=np.nan),
        {},
        "all-missing",
        "error",
        "z",
        r"only missing values \(120 rows\); leave it out",
    ),
    "missing": (
        rows(z=holes(3)),
        {},
        "missing",
        "error",
        "z",
        "has 3 missing values; impute .* or drop the rows",
    ),
    "one missing": (rows(z=holes(1)), {}, "missing", "error", "z", "has 1 missing value;"),
    "missing category": (
        rows(z=[None, *COLOUR[1:]]),
        {},
        "missing",
        "error",
        "z",
        "has 1 missing value; impute",
    ),
    "missing, to be estimated": (
        rows(z=holes(3)),
        {"missing": "em"},
        "missing",
        "warning",
        "z",
        "has 3 missing values",
    ),
    "infinite": (
        rows(z=holes(2, np.inf)),
        {},
        "infinite",
        "error",
        "z",
        "has 2 infinite values; replace them",
    ),
    "minus infinite": (
        rows(z=holes(1, -np.inf)),
        {},
        "infinite",
        "error",
        "z",
        "has 1 infinite value; replace",
    ),
    "code for missing": (
        rows(z=holes(2, -999)),
        {},
        "far-value",
        "warning",
        "z",
        "holds -999 in 2 rows, far from all its other values, .* make it NaN or drop",
    ),
    "slip": (
        rows(z=holes(1, 1e7)),
        {},
        "far-value",
        "warning",
        "z",
        r"holds 1e\+07 in 1 rows, far from all its other values",
    ),
    "constant": (
        rows(z=7.0),
        {},
        "constant",
        "error",
        "z",
        r"is constant \(7.0 in 120 rows\); leave it out",
    ),
    "constant text": (rows(z="x"), {}, "constant", "error", "z", r"is constant \(x in 120 rows\)"),
    "constant where complete": (
        rows(y=holes(50), z=[*"q" * 30, *"p" * (N - 30)]),
        {"missing": "complete"},
        "constant",
        "error",
        "z",
        "is constant in 70 rows; leave it out",
    ),
    "identifier": (
        rows(z=[f"u{i}" for i in range(N)]),
        {},
        "identifier",
        "error",
        "z",
        "a different level in each of 120 rows; leave it out",
    ),
    "integer identifier": (
        rows(z=RNG.permutation(N)),
        {},
        "identifier",
        "warning",
        "z",
        "a different integer in each of 120 rows; leave it out if it is a key",
    ),
    "many levels": (
        pd.DataFrame({"a": np.arange(2002.0), "z": [f"u{i % 1001}" for i in range(2002)]}),
        {},
        "many-levels",
        "error",
        "z",
        "has 1,001 levels; merge the rare ones or leave it out",
    ),
    "date": (
        rows(z=months()),
        {},
        "date",
        "error",
        "z",
        r"is a date; leave it out, or make it a number",
    ),
    "date with a zone": (
        rows(z=months().tz_localize("Asia/Shanghai")),
        {},
        "date",
        "error",
        "z",
        "is a date",
    ),
    "period": (rows(z=months().to_period("D")), {}, "date", "error", "z", "is a date"),
    "time of day": (
        rows(z=months() - months()[0]),
        {},
        "unsupported",
        "error",
        "z",
        r"holds timedelta64\[..\] values; make them numbers",
    ),
    "lists": (
        rows(z=[[1]] * N),
        {},
        "unsupported",
        "error",
        "z",
        "holds list values; make them numbers",
    ),
    "complex": (rows(z=A + 1j), {}, "unsupported", "error", "z", "holds complex128 values"),
    "mixed types": (
        rows(z=pd.Series([1, "x"] * (N // 2), dtype=object)),
        {},
        "mixed-types",
        "error",
        "z",
        "mixes number and text values; make them",
    ),
    "numbers as text": (
        rows(z=RNG.integers(9, size=N).astype(str)),
        {},
        "numeric-text",
        "error",
        "z",
        r"reads as numbers; pd.to_numeric, or astype\('category'\)",
    ),
    "codes as integers": (
        rows(z=RNG.integers(5, size=N)),
        {},
        "integer-codes",
        "note",
        "z",
        r"has 5 integers, read as numbers; astype\('category'\)",
    ),
    "declared numeric": (
        rows(z=COLOUR),
        {"kinds": {"z": "numeric"}},
        "kind",
        "error",
        "z",
        "is declared numeric but is str; pd.to_numeric first",
    ),
    "declared categorical": (
        rows(z=RNG.integers(5, size=N)),
        {"kinds": {"z": "categorical"}},
        "kind",
        "error",
        "z",
        r"is declared categorical but is int64; astype\('category'\) first",
    ),
    "declared binary": (
        rows(z=RNG.integers(5, size=N)),
        {"kinds": {"z": "binary"}},
        "kind",
        "error",
        "z",
        "is declared binary but has 5 values; declare it",
    ),
    "too few rows": (
        rows().head(5),
        {},
        "too-few-rows",
        "error",
        "",
        "5 rows are too few for 2 columns: at least 6 are needed; leave some out",
    ),
    "too few rows for the levels": (
        pd.DataFrame({"a": A[:7], "z": list("ppqqrrs")}),
        {},
        "too-few-rows",
        "error",
        "",
        r"7 rows are too few for 2 columns \(4 encoded\): at least 8 are needed",
    ),
    "few rows": (
        rows().head(9),
        {},
        "few-rows",
        "warning",
        "",
        "9 rows are few for 2 columns: .* below 10; leave",
    ),
    "copy": (
        rows(z=A),
        {},
        "duplicate",
        "error",
        "za",
        "'z' is a linear function of 'a'; leave one of them out",
    ),
    "affine copy": (
        rows(z=3 - 0.01 * A),
        {},
        "duplicate",
        "error",
        "za",
        "is a linear function of 'a'; leave one",
    ),
    "boolean copy": (
        rows(y=A > 0, z=np.where(A > 0, "yes", "no")),
        {},
        "duplicate",
        "error",
        "yz",
        "'y' is a linear function of 'z'; leave one of them out",
    ),
    "relabelled category": (
        rows(y=COLOUR, z=pd.Series(COLOUR).map({"red": "x", "blue": "w", "green": "v"})),
        {},
        "duplicate",
        "error",
        "zy",
        "'z' is a one-to-one relabelling of 'y'; leave one of them out",
    ),
    "function of a category": (
        rows(y=CITY, z=COUNTRY),
        {},
        "function",
        "error",
        "zy",
        "'z' is a function of 'y'; leave one of them out",
    ),
    "function of a later category": (
        rows(y=COUNTRY, z=CITY),
        {},
        "function",
        "error",
        "yz",
        "'y' is a function of 'z'",
    ),
    "number by category": (
        rows(y=CITY, z=pd.Series(CITY).map({"bonn": 3, "kiel": 1, "rome": 4, "oslo": 9.0})),
        {},
        "collinear",
        "error",
        "zy",
        "'z' is a linear function of 'y'; leave one of them out",
    ),
    "sum": (
        rows(c=C, z=A - 2 * B),
        {},
        "collinear",
        "error",
        "zab",
        "'z' is a linear function of 'a', 'b'; leave one",
    ),
    "sum over large means": (
        rows(c=C, z=(A + 1e6) + (B - 1e6)).assign(a=A + 1e6, b=B - 1e6),
        {},
        "collinear",
        "error",
        "zab",
        "'z' is a linear function of 'a', 'b'",
    ),
    "nearly a sum": (
        rows(c=C, z=A + B + 1e-3 * E),
        {},
        "near-deterministic",
        "warning",
        "abz",
        r"'a' is determined by 'b', 'z' but for noise \(R² = 0.99999\d\); leave one of them out",
    ),
    "nearly a level": (
        rows(y=np.where(COLOUR == "red", 1.0, 0.0) + 1e-3 * E, z=COLOUR),
        {},
        "near-deterministic",
        "warning",
        "yz",
        "'y' is determined by 'z' but for noise",
    ),
    "rare levels": (
        rows(z=["x", "y", "y", *COLOUR[3:]]),
        {},
        "rare-level",
        "warning",
        "z",
        r"has 2 levels in fewer than 5 rows \(x, y\); merge",
    ),
    "rare event": (
        rows(z=np.arange(N) < 4),
        {},
        "rare-level",
        "warning",
        "z",
        r"has 1 level in fewer than 5 rows \(1\)",
    ),
    "leak": (
        rows(c=C, z=2 * A + 1e-3 * E),
        {"knowledge": Knowledge(tiers=[["z", "b"], ["a", "c"]])},
        "leakage",
        "warning",
        "za",
        "'z' of tier 0 is determined by 'a' of a later tier; if it was recorded after them, move "
        "it to their tier or leave",
    ),
    "leak of a sum": (
        rows(c=C, z=A + B),
        {"knowledge": Knowledge(tiers=[["z"], ["a"], ["b", "c"]])},
        "leakage",
        "warning",
        "zab",
        "'z' of tier 0 is determined by 'a', 'b' of a later tier",
    ),
    "leak of a category": (
        rows(y=CITY, z=COUNTRY),
        {"knowledge": Knowledge(tiers=[["z"], ["y"]])},
        "leakage",
        "warning",
        "zy",
        "'z' of tier 0 is determined by 'y'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_flaw_is_found_and_only_it(case):
    frame, settings, code, severity, columns, message = CASES[case]
    before = frame.copy(deep=True)
    result = audit(frame, **settings)
    (found,) = [f for f in result.findings if (f.code, f.columns) == (code, tuple(columns))]
    assert found.severity == severity
    assert re.search(message, found.message), found.message
    others = {f.code for f in result.findings if f is not found}
    # What comes along with the flaw itself: a leak is a copy too, few rows have rare levels.
    along = {
        "constant where complete": {"missing"},
        "too few rows for the levels": {"rare-level"},
        "leak": {"near-deterministic"},
        "leak of a sum": {"collinear"},
        "leak of a category": {"function"},
    }
    assert others == along.get(case, set())
    pd.testing.assert_frame_equal(frame, before)
    if severity == "error":
        with pytest.raises(ValueError, match=message):
            audit(frame, **settings, strict=True)
    elif not any(f.severity == "error" for f in result.findings):
        assert audit(frame, **settings, strict=True) == result.raise_errors() == result


SEEN_IN_MOMENTS = {
    "too-few-rows",
    "few-rows",
    "duplicate",
    "function",
    "collinear",
    "near-deterministic",
    "rare-level",
    "leakage",
}


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][2] in SEEN_IN_MOMENTS])
def test_statistics_alone_show_the_same(case):
    frame, settings, *_ = CASES[case]
    stats = Statistics.from_frame(frame)
    whole = audit(frame, **settings)
    alone = audit(stats, **settings)
    assert alone == whole == audit(frame, statistics=stats, **settings)


def test_constant_in_statistics():
    (found,) = audit(Statistics.from_frame(rows(y=1e9, z="x"))).findings[:1]
    assert (found.code, found.columns) == ("constant", ("y",))
    assert found.message.startswith(
        "column 'y' is constant in 120 rows; leave it out. If it varies"
    )


@pytest.mark.parametrize("kind", ["er", "scale-free", "tiered"])
@pytest.mark.parametrize("kinds", [None, "mixed"])
@pytest.mark.parametrize("mechanism", ["linear", "nonlinear"])
def test_clean_data_have_no_error(kind, kinds, mechanism):
    for seed in range(5):
        simulation = simulate(
            random_dag(15, kind=kind, seed=seed), 1000, kinds=kinds, mechanism=mechanism, seed=seed
        )
        knowledge = simulation.knowledge_of_tiers(4)
        result = audit(simulation.frame, knowledge=knowledge, strict=True)
        assert {f.code for f in result.findings} <= {"near-deterministic", "leakage", "rare-level"}
        if kinds == "mixed":  # no variable explains another nearly all
            assert result.findings == ()


def test_what_is_declared_is_not_guessed_at():
    frame = rows(i=np.arange(N) % 5, t=(np.arange(N) % 9).astype(str), k=np.arange(N), f=A > 0)
    assert {f.code for f in audit(frame).findings} == {
        "integer-codes",
        "numeric-text",
        "identifier",
    }
    kinds = {"i": "numeric", "t": "categorical", "k": "numeric", "f": "binary"}
    assert audit(frame, kinds=kinds).findings == ()


@given(st.integers(2, 4), st.integers(0, 10_000))
def test_collinear_group_is_a_smallest_dependent_one(size, seed):
    """Oracle: no proper subset of the named columns is dependent, the named columns are (ranks by
    numpy).
    """
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, 7)) @ rng.normal(size=(7, 7))
    values = np.column_stack([values, values[:, :size] @ rng.choice([-2.0, 1.0, 3.0], size)])[
        :, rng.permutation(8)
    ]
    frame = pd.DataFrame(values, columns=list("abcdefgh"))
    (found,) = [f for f in audit(frame).findings if f.severity == "error"]
    centred = frame - frame.mean()

    def rank(names):
        return np.linalg.matrix_rank(centred[list(names)], tol=1e-8)

    assert len(found.columns) == size + 1
    assert rank(found.columns) == size
    assert all(rank(subset) == size for subset in itertools.combinations(found.columns, size))


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 5))
def test_functions_of_categories_agree_with_pandas(seed, k, m):
    rng = np.random.default_rng(seed)
    a = rng.integers(k, size=40)
    b = rng.integers(m, size=k)[a] if seed % 3 else rng.integers(m, size=40)
    frame = pd.DataFrame({"a": a, "b": b}).astype(str).apply(lambda column: "l" + column)
    if (frame.nunique() < 2).any():
        return
    forth = (frame.groupby("a")["b"].nunique() < 2).all()
    back = (frame.groupby("b")["a"].nunique() < 2).all()
    expected = (
        [("duplicate", ("b", "a"))]
        if forth and back
        else [("function", ("b", "a"))]
        if forth
        else []
    )
    expected = expected or ([("function", ("a", "b"))] if back else [])
    assert [(f.code, f.columns) for f in audit(frame).findings if f.severity == "error"] == expected


def test_r_squared_of_a_near_deterministic_column_is_that_of_the_regression():
    z = A + B + C + 0.02 * E
    frame = rows(c=C, z=z, e=COLOUR)
    X = np.column_stack(
        [np.ones(N), A, B, C, pd.get_dummies(COLOUR, drop_first=True).to_numpy(dtype=float)]
    )
    left = np.mean((z - X @ np.linalg.lstsq(X, z, rcond=None)[0]) ** 2) / z.var()
    assert audit(frame, near=left * 0.999).findings == ()
    found = audit(frame, near=left * 1.001).findings
    assert [(f.code, set(f.columns)) for f in found] == [("near-deterministic", set("abcz"))]
    assert f"R² = {1 - left:.6f}" in found[0].message


def test_several_errors_are_listed_together_gravest_first():
    frame = rows(i=np.arange(N) % 5, y=1, z=holes(3), k=A)
    result = audit(frame)
    assert [f.severity for f in result.findings] == ["error"] * 3 + ["note"]
    with pytest.raises(
        ValueError,
        match=r"^log:\n- column 'y' is constant .*\n- column 'z' has 3 .*\n- column 'k' is a linear",
    ):
        result.raise_errors("log")
    table = result.to_frame()
    assert table.columns.tolist() == ["severity", "code", "columns", "message"]
    assert table["columns"].tolist() == ["y", "z", "k, a", "i"]
    assert json.loads(json.dumps(result.to_dict()))["findings"][2]["columns"] == ["k", "a"]
    start = (
        "Audit of 120 rows and 6 columns: 3 errors, 1 note: constant (y); missing (z); "
        "duplicate (k, a); "
    )
    assert repr(result) == start + "integer-codes (i)"
    assert result._repr_html_().count("<tr") == 5
    assert set(table["severity"]) <= set(SEVERITIES)


def test_a_clean_audit_says_so():
    result = audit(rows())
    assert repr(result) == "Audit of 120 rows and 2 columns: nothing found"
    assert "nothing found" in result._repr_html_()
    assert result.to_frame().empty


def test_limits_are_where_they_are_said_to_be():
    assert {f.code for f in audit(rows().head(6)).findings} == {"few-rows"}  # D + 4
    assert audit(rows().head(10)).findings == ()  # 5 D
    for five in (rows(z=[*"p" * 5, *"q" * (N - 5)]), rows(z=np.arange(N) < 5)):
        assert audit(five, rare=5).findings == ()
        assert [f.code for f in audit(five, rare=6).findings] == ["rare-level"]


def test_column_names_are_text():
    with pytest.raises(ValueError, match=r"2 of 2 are not, first 0 .int.; rename them"):
        audit(pd.DataFrame({0: A, 1: A}))


def test_only_flawed_columns():
    assert [f.code for f in audit(rows(z=1)[["z"]]).findings] == ["constant"]
    assert {f.code for f in audit(pd.DataFrame({"a": [1.0, None], "b": [None, 2.0]})).findings} == {
        "missing",
        "constant",
    }


UNFIT = {
    "no frame": (lambda: audit([1]), TypeError, "DataFrame is needed, not list"),
    "no rows": (lambda: audit(rows().head(0)), ValueError, "has no rows"),
    "name twice": (
        lambda: audit(rows().set_axis(["a", "a"], axis=1)),
        ValueError,
        "column 'a' stands 2 times",
    ),
    "kind of an absent column": (
        lambda: audit(rows(), kinds={"q": "numeric"}),
        ValueError,
        "no column 'q'; columns: a",
    ),
    "unknown kind": (
        lambda: audit(rows(), kinds={"a": "text"}),
        ValueError,
        "unknown kind 'text' of column 'a'",
    ),
    "knowledge of absent columns": (
        lambda: audit(rows(), knowledge=Knowledge(tiers=[["q"]])),
        ValueError,
        "knowledge names q",
    ),
    "graph of other columns": (
        lambda: audit(
            Statistics.from_frame(rows()),
            knowledge=Knowledge().fixing(CausalGraph.from_edges("pq")),
        ),
        ValueError,
        "knowledge names p, q",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_audited(case):
    call, error, message = UNFIT[case]
    with pytest.raises(error, match=message):
        call()


def test_floats_may_be_declared_binary():
    two = rows(z=np.where(A > 0, 0.5, 2.0))
    assert audit(two, kinds={"z": "binary"}).findings == ()
    (found,) = audit(rows(z=E), kinds={"z": "binary"}).findings
    assert (found.code, found.severity) == ("kind", "error")
    assert "is declared binary but has 120 values" in found.message


def test_limits_of_codes_levels_and_identifiers():
    def codes(frame):
        return [f.code for f in audit(frame).findings]

    ten, eleven = (np.arange(N) % k for k in (10, 11))
    assert codes(rows(z=ten)) == ["integer-codes"]
    assert codes(rows(z=eleven)) == []
    assert codes(rows(z=np.arange(N) % 2)) == []
    few = pd.DataFrame({"a": A[:30], "b": B[:30]})
    assert codes(few.assign(z=np.arange(30) % 3)) == ["integer-codes"]
    assert codes(few.head(29).assign(z=np.arange(29) % 3)) == []  # under ten rows a code
    thousand = pd.DataFrame(
        {
            "a": np.random.default_rng(0).normal(size=2400),
            "z": [f"u{k % 1000}" for k in range(2400)],
        }
    )
    assert "many-levels" not in codes(thousand)
    assert codes(rows(z=["1", "x"] * (N // 2))) == []
    assert codes(rows(z=np.arange(N) + 0.5)) == []  # numbers that are no codes


def test_what_is_allowed_is_not_raised_and_one_error_is_told_by_itself():
    frame = rows(z=A, y=1)
    with pytest.raises(
        ValueError, match=r"^log: column 'z' is a linear function of 'a'; leave one of them out$"
    ):
        audit(frame).raise_errors("log", allow=("constant",))
    assert audit(frame).raise_errors(allow=("constant", "duplicate")).findings
    with pytest.raises(ValueError, match=r"^frame:\n- column"):
        audit(frame).raise_errors()


def test_leaks_go_from_later_to_earlier_tiers_only():
    frame = rows(c=C, z=2 * A + 1e-3 * E)
    early = Knowledge(tiers=[["z"], ["a"]])
    assert [f.columns for f in audit(frame, knowledge=early).findings if f.code == "leakage"] == [
        ("z", "a")
    ]
    turned = Knowledge(tiers=[["a"], ["z"]])
    assert [f.columns for f in audit(frame, knowledge=turned).findings if f.code == "leakage"] == [
        ("a", "z")
    ]
    same = Knowledge(tiers=[["a", "z"], ["c"]])
    assert [f for f in audit(frame, knowledge=same).findings if f.code == "leakage"] == []
    loose = Knowledge(tiers=[["z"], ["c"]])  # a stands in no tier
    assert [f for f in audit(frame, knowledge=loose).findings if f.code == "leakage"] == []
    (found,) = [
        f
        for f in audit(frame, knowledge=Knowledge(tiers=[["c"], ["z"], ["a"]])).findings
        if f.code == "leakage"
    ]
    assert "'z' of tier 1 is determined by 'a'" in found.message
    assert [f.code for f in audit(frame, knowledge=early, near=1e-9).findings] == []


def test_the_own_indicators_of_a_category_do_not_count_as_other_variables():
    """With a rare first level the indicators of the others nearly add up to one."""
    rng = np.random.default_rng(0)
    n = 60_000
    city = np.where(rng.random(n) < 0.5, "b", "c")
    city[:5] = "a"
    frame = pd.DataFrame({"city": city, "x": rng.normal(size=n), "y": rng.normal(size=n)})
    assert audit(frame, near=1e-3, rare=3).findings == ()


def test_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1.0, 2.0], [3.0, 1.0]], columns=["1", "1"])
    with pytest.raises(ValueError, match="column '1' stands 2 times; rename one"):
        audit(frame)


@pytest.mark.parametrize("change", [lambda x: x + 1e15, lambda x: x * 1e-300])
def test_a_column_that_varies_too_little_for_its_size_is_told_so(change):
    x = np.random.default_rng(0).normal(size=(2, 90))
    frame = pd.DataFrame({"x": change(x[0]), "y": x[1]})
    found = audit(frame).findings[0]
    assert (found.code, found.columns) == ("constant", ("x",))
    assert "If it varies, then by less than numbers of its size hold (mean " in found.message
