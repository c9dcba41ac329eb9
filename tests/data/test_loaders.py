"""Loaders of every kind on small files of one's own, and the registry of kinds."""

import bz2

import numpy as np
import pandas as pd
import pytest

from causal_lib.data import loaders
from causal_lib.data import sources as s


def write(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def bad(frame, **columns):
    """``frame`` with the first value of each named column replaced, or the column gone where None
    is given.
    """
    frame = frame.copy()
    for column, value in columns.items():
        if value is None:
            frame = frame.drop(columns=column)
        else:
            frame[column] = [value, *frame[column][1:]]
    return frame


def test_every_kind_says_what_it_needs_and_gives_and_load_shows_it(own, tmp_path):
    for name, kind in loaders.KINDS.items():
        assert callable(kind.load)
        assert f"- {name}: {kind.gives}. Needs {kind.needs}\n" in s.load.__doc__
    with pytest.raises(
        s.SourceError, match=f"kind 'tale' is unknown; known: {', '.join(loaders.KINDS)}"
    ):
        own("tale", "x.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(s.SourceError) as caught:
        own("potential-outcomes", "folder")
    assert loaders.KINDS["potential-outcomes"].needs in str(caught.value)


# ---- tables and experiments ----------------------------------------------------------------------

PEOPLE = pd.DataFrame(
    {
        "data_id": ["x", "x", "x"],
        "treat": [1, 0, 0],
        "age": [37, 22, 30],
        "educ": [11, 9, 12],
        "black": [1, 0, 1],
        "hisp": [0, 1, 0],
        "marr": [1, 0, 0],
        "nodegree": [1, 1, 0],
        "re74": [0.0, 0.0, 12.5],
        "re75": [0.0, 3.0, 0.0],
        "re78": [9930.0, 3595.9, 0.0],
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".dta"])
def test_an_experiment_of_one_s_own(own, tmp_path, suffix):
    path = tmp_path / f"people{suffix}"
    small = PEOPLE.astype({"age": "int8"})
    {
        ".csv": lambda: small.to_csv(path, index=False),
        ".parquet": lambda: small.to_parquet(path),
        ".dta": lambda: small.to_stata(path, write_index=False),
    }[suffix]()
    frame = own("experiment", path.name)
    pd.testing.assert_frame_equal(frame, PEOPLE.drop(columns="data_id"))
    assert (frame["age"] ** 2).max() == 37**2  # overflows in the one byte of the stored column


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"re78": None}, r"own: people\.csv: no column 're78'; columns there: data_id, treat"),
        ({"treat": 2}, r"own: people\.csv: column 'treat': 1 value outside \[0, 1\], first 2"),
        ({"treat": 0.5}, "column 'treat' has 1 values that are not whole numbers"),
        ({"re74": -1.0}, r"column 're74': 1 value outside \[0, inf\]"),
        ({"age": np.nan}, "column 'age' has 1 missing value"),
        ({"re75": np.inf}, "column 're75' has 1 infinite value"),
        ({"educ": "high"}, "column 'educ' has 1 values that are not whole numbers"),
    ],
)
def test_wrong_experiments(own, tmp_path, change, message):
    write(tmp_path / "people.csv", bad(PEOPLE.astype(object), **change))
    with pytest.raises(ValueError, match=message):
        own("experiment", "people.csv")


@pytest.mark.parametrize("name", ["people.csv", "people.csv.bz2", "people.parquet.brotli"])
def test_a_table_is_read_as_it_stands(own, tmp_path, name):
    if name.endswith(".brotli"):
        PEOPLE.to_parquet(tmp_path / name, compression="brotli")
    else:
        write(tmp_path / name, PEOPLE)
    pd.testing.assert_frame_equal(own("table", name), PEOPLE)


@pytest.mark.parametrize(
    ("name", "content", "exception", "message"),
    [
        ("empty.csv", b"", ValueError, r"own: empty\.csv cannot be read as \.csv"),
        ("header.csv", b"a,b\n", ValueError, r"own: header\.csv: has no rows"),
        ("binary.csv", b"\xff\xfe\x00\x81", ValueError, r"binary\.csv cannot be read as \.csv"),
        ("cut.parquet", b"PAR1", ValueError, r"cut\.parquet cannot be read as \.parquet"),
        ("cut.dta", b"junk", ValueError, r"cut\.dta cannot be read as \.dta"),
        (
            "cut.csv.bz2",
            bz2.compress(b"a,b\n" + b"1,2\n" * 1000)[:50],
            ValueError,
            r"cut\.csv\.bz2 cannot be read as \.bz2",
        ),
        ("~nobody-here/x.csv", None, s.SourceError, "names the home of nobody here"),
        (
            "book.xlsx",
            b"PK",
            s.SourceError,
            r"cannot read '\.xlsx' files; known: \.csv, \.parquet, \.dta",
        ),
        ("folder", None, s.SourceError, "must name a file of kind 'table'"),
    ],
)
def test_unreadable_tables(own, tmp_path, name, content, exception, message):
    if content is None:
        (tmp_path / name).mkdir(parents=True)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(exception, match=message):
        own("table", name)


# ---- bandit logs ---------------------------------------------------------------------------------

ITEMS = pd.DataFrame(
    {"Unnamed: 0": [0, 1], "item_id": [0, 1], "item_feature_0": [-0.5, 0.7]}
    | {f"item_feature_{k}": ["aa", "bb"] for k in (1, 2, 3)}
)
LOG = pd.DataFrame(
    {
        "Unnamed: 0": [0, 1, 2],
        # the second time has no fraction of a second, as about one in a million has
        "timestamp": [
            "2019-11-24 00:00:34.762830+00:00",
            "2019-11-24 00:00:35+00:00",
            "2019-11-24 00:00:36.1+00:00",
        ],
        "item_id": [0, 1, 1],
        "position": [3, 2, 1],
        "click": [0, 1, 0],
        "propensity_score": [0.5, 0.5, 1e-6],
        **{f"user_feature_{k}": ["a", "b", "a"] for k in range(4)},
        "user-item_affinity_0": [0.0, 1.0, 2.0],
        "user-item_affinity_1": [0.0, 0.0, 0.0],
    }
)


def write_log(folder, log=LOG, items=ITEMS):
    write(folder / "bts" / "women" / "women.csv", log)
    write(folder / "bts" / "women" / "item_context.csv", items)


def test_bandit_logs_of_one_s_own(own, tmp_path):
    write_log(tmp_path / "obd")
    frames = own("bandit", "obd")
    assert list(frames) == [("bts", "women"), ("items", "women")]
    log = frames["bts", "women"]
    assert log.columns.tolist() == [
        *["timestamp", "item_id", "position", "click", "propensity_score"],
        *["user_feature_0", "user_feature_1", "user_feature_2", "user_feature_3"],
        *["user_item_affinity_0", "user_item_affinity_1"],
    ]
    assert log["timestamp"].iloc[0] == pd.Timestamp("2019-11-24 00:00:34.762830", tz="UTC")
    assert log["user_item_affinity_0"].tolist() == [0.0, 1.0, 2.0]
    assert frames["items", "women"].columns.tolist() == [
        "item_id",
        *(f"item_feature_{k}" for k in range(4)),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"propensity_score": 0.0},
            r"own: bts/women/women\.csv: column 'propensity_score': 1 value outside \(0, 1\]",
        ),
        (
            {"propensity_score": 1.5},
            r"column 'propensity_score': 1 value outside \(0, 1\], first 1\.5",
        ),
        ({"propensity_score": None}, "no column 'propensity_score'"),
        ({"position": 4}, r"column 'position': 1 value outside \[1, 3\]"),
        ({"click": 2}, r"column 'click': 1 value outside \[0, 1\]"),
        ({"item_id": 7}, r"own: bts/women/women\.csv: 1 rows have a item_id that the table"),
        ({"timestamp": "yesterday"}, "column 'timestamp' has 1 values that are not times"),
        ({"user_feature_2": None}, "no column 'user_feature_2'"),
        ({"user-item_affinity_1": -1.0}, "column 'user-item_affinity_1': 1 value outside"),
    ],
)
def test_wrong_bandit_logs(own, tmp_path, change, message):
    write_log(tmp_path / "obd", bad(LOG, **change))
    with pytest.raises(ValueError, match=message):
        own("bandit", "obd")


def test_wrong_bandit_folders(own, tmp_path):
    (tmp_path / "obd").mkdir()
    with pytest.raises(s.SourceError, match=r"no POLICY/CAMPAIGN/CAMPAIGN\.csv under the folder"):
        own("bandit", "obd")
    write_log(tmp_path / "obd", items=bad(ITEMS, item_id=1))
    with pytest.raises(ValueError, match=r"item_context\.csv: 1 row repeat the key \(item_id\)"):
        own("bandit", "obd")
    (tmp_path / "obd/bts/women/item_context.csv").unlink()
    with pytest.raises(s.SourceError, match=r"item_context\.csv is not there"):
        own("bandit", "obd")


# ---- ratings -------------------------------------------------------------------------------------

RATINGS = pd.DataFrame(
    {"user_id": [1, 2, 2], "item_id": [5, 5, 6], "rating": [3, 1, 5], "timestamp": [0, 86400, 1]}
)
USERS = [
    "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token",
    "1\t24\tM\tnone\t00501",
    "2\t53\tF\tNA\tT8H1N",
]
FILMS = [
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    '5\t"Quoted\t1995\tComedy Crime',
    "6\tunkonwn\tunkonwn\tunknown",
]


def write_ratings(folder, ratings=RATINGS, users=USERS, films=FILMS):
    folder.mkdir()
    typed = ratings.rename(
        columns=lambda c: f"{c}:{'float' if c in ('rating', 'timestamp') else 'token'}"
    )
    typed.to_csv(folder / "x.inter", sep="\t", index=False)
    (folder / "x.user").write_text("\n".join(users), encoding="utf-8")
    (folder / "x.item").write_text("\n".join(films), encoding="utf-8")


def test_ratings_of_one_s_own(own, tmp_path):
    write_ratings(tmp_path / "films")
    frames = own("ratings", "films")
    assert list(frames) == ["ratings", "users", "items"]
    assert frames["ratings"]["rating"].tolist() == [3, 1, 5]
    assert frames["ratings"]["timestamp"].iloc[1] == pd.Timestamp("1970-01-02", tz="UTC")
    # words that pandas would read as missing, and a zip code that starts with zeros, are kept
    assert frames["users"]["occupation"].tolist() == ["none", "NA"]
    assert frames["users"]["zip_code"].tolist() == ["00501", "T8H1N"]
    assert frames["items"]["title"].tolist() == ['"Quoted', "unkonwn"]
    assert frames["items"]["release_year"].tolist() == [1995, pd.NA]
    assert frames["items"]["genres"].iloc[0] == "Comedy Crime"


def test_ratings_without_attributes(own, tmp_path):
    write(tmp_path / "mine.csv", RATINGS.assign(user_id=[2**60 + 1, 2**60 + 3, 2**60 + 3]))
    frames = own("ratings", "mine.csv")
    assert list(frames) == ["ratings"]
    assert frames["ratings"]["user_id"].iloc[0] == 2**60 + 1  # no float can hold it


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"ratings": bad(RATINGS, rating=6)},
            r"own: x\.inter: column 'rating': 1 value outside \[1, 5\], first 6",
        ),
        (
            {"ratings": bad(RATINGS, rating=2.5)},
            "column 'rating' has 1 values that are not whole numbers",
        ),
        (
            {"ratings": bad(RATINGS, user_id=2)},
            r"own: x\.inter: 1 row repeat the key \(user_id, item_id\)",
        ),
        (
            {"ratings": bad(RATINGS, item_id=9)},
            "1 rows have a item_id that the table of attributes lacks",
        ),
        ({"ratings": bad(RATINGS, timestamp=None)}, "no column 'timestamp'"),
        (
            {"ratings": bad(RATINGS, timestamp=1.5e12)},  # milliseconds
            "column 'timestamp': 1 value outside .*first 1.5e",
        ),
        *(
            (
                {"ratings": bad(RATINGS.astype(object), user_id=large)},
                "column 'user_id': 1 value outside",
            )
            for large in (2**63, 2**64 - 1, 1e20)
        ),
        ({"users": [*USERS, "2\t3\tM\tnone\t1"]}, r"x\.user: 1 row repeat the key \(user_id\)"),
        (
            {"users": [USERS[0], "1\told\tM\tnone\t1"]},
            r"x\.user: column 'age' has 1 values that are not whole numbers",
        ),
        ({"films": [FILMS[0].replace("class", "sort"), *FILMS[1:]]}, r"x\.item: no column 'class'"),
    ],
)
def test_wrong_ratings(own, tmp_path, parts, message):
    write_ratings(tmp_path / "films", **parts)
    with pytest.raises(ValueError, match=message):
        own("ratings", "films")


def test_a_folder_is_no_prior(own, tmp_path):
    (tmp_path / "prior").mkdir()
    with pytest.raises(s.SourceError, match="must name a file of kind 'prior'"):
        own("prior", "prior")


# ---- Sachs ---------------------------------------------------------------------------------------


def test_sachs_takes_the_observational_rows_and_the_network_s_names(own, tmp_path):
    values = np.arange(900 * 11, dtype=float).reshape(900, 11) + 1
    write(tmp_path / "cyto.csv", pd.DataFrame(values, columns=list(s.SACHS_NAMES)))
    frame = own("cytometry", "cyto.csv")
    assert frame.shape == (853, 11)
    assert frame["Erk"].tolist() == values[:853, 5].tolist()
    values[3, 0] = -1
    write(tmp_path / "cyto.csv", pd.DataFrame(values, columns=list(s.SACHS_NAMES)))
    with pytest.raises(ValueError, match="column 'praf': 1 value outside"):
        own("cytometry", "cyto.csv")


def test_sachs_conditions_are_blocks_of_rows(own, tmp_path):
    values = np.arange(7466 * 11, dtype=float).reshape(7466, 11) + 1
    write(tmp_path / "cyto.csv", pd.DataFrame(values, columns=list(s.SACHS_NAMES)))
    frame = own("cytometry-conditions", "cyto.csv")
    sizes = frame["condition"].value_counts(sort=False)
    assert sizes.to_dict() == s.SACHS_CONDITIONS
    assert frame.loc[frame["condition"] == "PMA", "Raf"].iloc[0] == values[5846, 0]
    write(tmp_path / "cyto.csv", pd.DataFrame(values[:-1], columns=list(s.SACHS_NAMES)))
    with pytest.raises(ValueError, match="7,465 rows, the nine conditions have 7,466"):
        own("cytometry-conditions", "cyto.csv")


# ---- priors, potential outcomes ------------------------------------------------------------------


def test_priors_of_one_s_own(own, tmp_path):
    (tmp_path / "prior.yaml").write_text("men:\n  alpha: [1, 2.5]\n  beta: [3, 4]\n")
    frames = own("prior", "prior.yaml")
    pd.testing.assert_frame_equal(
        frames["men"], pd.DataFrame({"alpha": [1.0, 2.5], "beta": [3.0, 4.0]})
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "men:\n  alpha: [1, 0]\n  beta: [3, 4]\n",
            "campaign 'men': a Beta prior needs alpha and beta above 0",
        ),
        ("men:\n  alpha: [1]\n", "campaign 'men': a Beta prior needs"),
        ("men:\n  alpha: [1, x]\n  beta: [3, 4]\n", "does not hold alpha and beta"),
        ("men:\n  alpha: [1, 2]\n  beta: [3]\n", "does not hold alpha and beta"),
        ("- 1\n", "does not hold alpha and beta"),
        ("men: [\n", "does not hold alpha and beta"),
    ],
)
def test_wrong_priors(own, tmp_path, text, message):
    (tmp_path / "prior.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        own("prior", "prior.yaml")


OUTCOMES = pd.DataFrame(
    {"z": [0, 1], "y0": [1.0, 2.0], "y1": [2.0, 4.0], "mu0": [1.0, 2.0], "mu1": [2.0, 3.0]}
)


def test_potential_outcomes_of_one_s_own(own, tmp_path):
    write(tmp_path / "acic/x.csv", pd.DataFrame({"x_1": [1, 2], "x_2": ["A", "B"]}))
    for number in (1, 2):
        write(tmp_path / f"acic/zymu_{number}.csv", OUTCOMES)
    frames = own("potential-outcomes", "acic")
    assert list(frames) == ["covariates", 1, 2]
    assert frames["covariates"]["x_2"].dtype == "category"
    pd.testing.assert_frame_equal(frames[2], OUTCOMES)
    write(tmp_path / "acic/zymu_2.csv", OUTCOMES.iloc[:1])
    with pytest.raises(ValueError, match=r"zymu_2\.csv has 1 rows, x\.csv has 2"):
        own("potential-outcomes", "acic")
    write(tmp_path / "acic/zymu_2.csv", bad(OUTCOMES, z=2))
    with pytest.raises(ValueError, match="column 'z': 1 value outside"):
        own("potential-outcomes", "acic")
