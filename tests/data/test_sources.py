"""Loaders on small files of one's own; numbers from the literature on the real data (marked network)."""

import gzip
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_lib.data import sources as s


@pytest.fixture
def own(tmp_path):
    """Write a manifest entry for a file of one's own and load it."""

    def load(kind, path, call=s.load):
        manifest = tmp_path / "sources.toml"
        manifest.write_text(f"[own]\nkind = '{kind}'\npath = '{path}'\n", encoding="utf-8")
        return call("own", manifest=manifest, raw=tmp_path / "raw")

    return load


def write(path, frame):
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def bad(frame, **columns):
    """``frame`` with the first value of each named column replaced, or the column gone where None is given."""
    frame = frame.copy()
    for column, value in columns.items():
        if value is None:
            frame = frame.drop(columns=column)
        else:
            frame[column] = [value, *frame[column][1:]]
    return frame


# ---- tables and experiments ---------------------------------------------------------------------------------------

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
        ("book.xlsx", b"PK", s.SourceError, r"cannot read '\.xlsx' files; known: \.csv, \.parquet, \.dta"),
        ("folder", None, s.SourceError, "must name a file of kind 'table'"),
    ],
)
def test_unreadable_tables(own, tmp_path, name, content, exception, message):
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(exception, match=message):
        own("table", name)


# ---- bandit logs --------------------------------------------------------------------------------------------------

ITEMS = pd.DataFrame(
    {"Unnamed: 0": [0, 1], "item_id": [0, 1], "item_feature_0": [-0.5, 0.7]}
    | {f"item_feature_{k}": ["aa", "bb"] for k in (1, 2, 3)}
)
LOG = pd.DataFrame(
    {
        "Unnamed: 0": [0, 1, 2],
        # the second time has no fraction of a second, as about one in a million has
        "timestamp": ["2019-11-24 00:00:34.762830+00:00", "2019-11-24 00:00:35+00:00", "2019-11-24 00:00:36.1+00:00"],
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
    assert frames["items", "women"].columns.tolist() == ["item_id", *(f"item_feature_{k}" for k in range(4))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"propensity_score": 0.0}, r"own: bts/women/women\.csv: column 'propensity_score': 1 value outside \(0, 1\]"),
        ({"propensity_score": 1.5}, r"column 'propensity_score': 1 value outside \(0, 1\], first 1\.5"),
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


# ---- ratings ------------------------------------------------------------------------------------------------------

RATINGS = pd.DataFrame({"user_id": [1, 2, 2], "item_id": [5, 5, 6], "rating": [3, 1, 5], "timestamp": [0, 86400, 1]})
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
    typed = ratings.rename(columns=lambda c: f"{c}:{'float' if c in ('rating', 'timestamp') else 'token'}")
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
        ({"ratings": bad(RATINGS, rating=6)}, r"own: x\.inter: column 'rating': 1 value outside \[1, 5\], first 6"),
        ({"ratings": bad(RATINGS, rating=2.5)}, "column 'rating' has 1 values that are not whole numbers"),
        ({"ratings": bad(RATINGS, user_id=2)}, r"own: x\.inter: 1 row repeat the key \(user_id, item_id\)"),
        ({"ratings": bad(RATINGS, item_id=9)}, "1 rows have a item_id that the table of attributes lacks"),
        ({"ratings": bad(RATINGS, timestamp=None)}, "no column 'timestamp'"),
        ({"users": [*USERS, "2\t3\tM\tnone\t1"]}, r"x\.user: 1 row repeat the key \(user_id\)"),
        ({"users": [USERS[0], "1\told\tM\tnone\t1"]}, r"x\.user: column 'age' has 1 values that are not whole numbers"),
        ({"films": [FILMS[0].replace("class", "sort"), *FILMS[1:]]}, r"x\.item: no column 'class'"),
    ],
)
def test_wrong_ratings(own, tmp_path, parts, message):
    write_ratings(tmp_path / "films", **parts)
    with pytest.raises(ValueError, match=message):
        own("ratings", "films")


# ---- Sachs --------------------------------------------------------------------------------------------------------


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


# ---- networks -----------------------------------------------------------------------------------------------------

SINGLE = 2**-24  # pyAgrum reads the probabilities of a .bif in single precision: half a unit in the last place below 1


def bif(low="<5", high=">=5", child=("0-3_days", "12+")):
    """Network dose -> stay, asymmetric, with a chance of 0.2 for the low dose."""
    return f"""network unknown {{
}}
variable stay {{
  type discrete [ 2 ] {{ {child[0]}, {child[1]} }};
}}
variable dose {{
  type discrete [ 2 ] {{ {low}, {high} }};
}}
probability ( dose ) {{
  table 0.2, 0.8;
}}
probability ( stay | dose ) {{
  ({low}) 0.9, 0.1;
  ({high}) 0.4, 0.6;
}}
"""


@pytest.mark.parametrize("suffix", [".bif", ".bif.gz"])
def test_a_network_keeps_direction_tables_and_strange_states(own, tmp_path, suffix):
    path = tmp_path / f"toy{suffix}"
    path.write_bytes(gzip.compress(bif().encode(), mtime=0) if suffix.endswith("gz") else bif().encode())
    network = own("network", path.name)
    assert network == s.Network(("stay", "dose"), (("dose", "stay"),), path)
    net = own("network", path.name, s.bayes_net)
    assert net.variable("dose").labels() == ("<5", ">=5")
    assert net.variable("stay").labels() == ("0-3_days", "12+")
    assert net.cpt("stay")[{"dose": ">=5"}].tolist() == pytest.approx([0.4, 0.6], abs=SINGLE)


state = st.text(
    st.characters(codec="ascii", exclude_characters=" ,;(){}[]|\"'\\", categories=["L", "N", "P", "S"]), min_size=1
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(low=state, high=state)
def test_any_state_survives(own, tmp_path, low, high):
    if low == high or "//" in low + high or "/*" in low + high:  # comments in the format
        return
    path = tmp_path / "toy.bif"
    path.write_text(bif(low, high), encoding="utf-8")
    net = own("network", path.name, s.bayes_net)
    assert net.variable("dose").labels() == (low, high)
    assert net.cpt("stay")[{"dose": low}].tolist() == pytest.approx([0.9, 0.1], abs=SINGLE)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("toy.bif", b"variable {", r"toy\.bif cannot be read as a network: line "),
        ("toy.bif", b"\xff\xff", r"toy\.bif cannot be read as a network"),
        ("toy.bif.gz", b"no gzip", r"toy\.bif\.gz cannot be read as a network"),
        ("toy.bif.gz", gzip.compress(bif().encode(), mtime=0)[:60], r"toy\.bif\.gz cannot be read as a network"),
        ("toy.bif", bif().replace("0.9, 0.1", "0.9, 0.3").encode(), r"toy\.bif: .*stay"),
    ],
    # Ids of their own: bytes in them would have to be the same in every worker of xdist.
    ids=["syntax", "encoding", "no gzip", "cut gzip", "a row that does not sum to 1"],
)
def test_wrong_networks(own, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        own("network", name)


def test_a_table_is_no_network(own, tmp_path):
    write(tmp_path / "people.csv", PEOPLE)
    with pytest.raises(s.SourceError, match="own is of kind 'table', not a network"):
        own("table", "people.csv", s.bayes_net)


# ---- priors, potential outcomes -----------------------------------------------------------------------------------


def test_priors_of_one_s_own(own, tmp_path):
    (tmp_path / "prior.yaml").write_text("men:\n  alpha: [1, 2.5]\n  beta: [3, 4]\n")
    frames = own("prior", "prior.yaml")
    pd.testing.assert_frame_equal(frames["men"], pd.DataFrame({"alpha": [1.0, 2.5], "beta": [3.0, 4.0]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("men:\n  alpha: [1, 0]\n  beta: [3, 4]\n", "campaign 'men': a Beta prior needs alpha and beta above 0"),
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


OUTCOMES = pd.DataFrame({"z": [0, 1], "y0": [1.0, 2.0], "y1": [2.0, 4.0], "mu0": [1.0, 2.0], "mu1": [2.0, 3.0]})


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


# ---- the real data ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    """`load` after a fetch of everything in the repository's manifest."""
    try:
        s.fetch(progress=False)
    except s.SourceError as error:
        if "no network" in str(error) and os.environ.get("CI") != "true":
            pytest.skip("no package registry can be reached")
        raise
    return s.load


@pytest.mark.network
def test_real_obd(real):
    frames = real("obd")
    for campaign, items, clicks in [("all", 80, (38, 42)), ("men", 34, (46, 69)), ("women", 46, (46, 46))]:
        random, bts = frames["random", campaign], frames["bts", campaign]
        assert len(random) == len(bts) == 10_000
        assert (random["click"].sum(), bts["click"].sum()) == clicks
        assert np.allclose(
            random["propensity_score"], 1 / items, rtol=1e-12
        )  # the nearest double, rewritten in decimals
        assert frames["items", campaign]["item_id"].tolist() == list(range(items))
        assert random.filter(like="affinity").shape[1] == items
    weights = 1 / 46 / frames["bts", "women"]["propensity_score"]
    assert 2 <= weights.sum() ** 2 / (weights**2).sum() < 2.5  # effective sample size of the hopeless direction


@pytest.mark.network
def test_real_movielens(real):
    frames = real("ml-100k")
    assert {name: frame.shape for name, frame in frames.items()} == {
        "ratings": (100_000, 4),
        "users": (943, 5),
        "items": (1_682, 4),
    }
    counts = frames["ratings"]["rating"].value_counts().sort_index()
    assert counts.tolist() == [6_110, 11_370, 27_145, 34_174, 21_201]  # as published with the data
    assert frames["ratings"].groupby("user_id").size().min() == 20  # users with fewer were left out by the publisher
    assert frames["items"].loc[frames["items"]["release_year"].isna(), "item_id"].tolist() == [267, 1412]
    assert str(frames["ratings"]["timestamp"].min().date()) == "1997-09-20"


@pytest.mark.network
def test_real_lalonde(real):
    nsw, cps = real("nsw"), real("cps")
    treated = nsw.loc[nsw["treat"] == 1, "re78"].mean()
    # Dehejia and Wahba (1999): 1,794 in the experiment, -8,498 against CPS-1; printed to the dollar
    assert treated - nsw.loc[nsw["treat"] == 0, "re78"].mean() == pytest.approx(1794, abs=0.5)
    assert treated - cps["re78"].mean() == pytest.approx(-8498, abs=0.5)


@pytest.mark.network
def test_real_sachs_data_and_graph_speak_of_the_same_proteins(real):
    frame = real("sachs")
    assert frame.shape == (853, 11)
    assert sorted(frame.columns) == sorted(real("network-sachs").nodes)
    assert frame.iloc[0, :3].tolist() == [26.4, 13.2, 8.82]
    # raf phosphorylates mek: the strongest and best known edge
    assert np.log(frame)[["Raf", "Mek"]].corr().iloc[0, 1] > 0.5


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "edges", "known"),
    [
        ("alarm", 46, ("HYPOVOLEMIA", "LVEDVOLUME")),
        ("asia", 8, ("smoke", "lung")),
        ("child", 25, ("BirthAsphyxia", "Disease")),
        ("insurance", 52, ("Age", "SocioEcon")),
        ("sachs", 17, ("Raf", "Mek")),
    ],
)
def test_real_networks(real, name, edges, known):
    network = real(f"network-{name}")
    assert len(network.edges) == edges
    assert known in network.edges
    assert known[::-1] not in network.edges


@pytest.mark.network
def test_real_asia_answers_as_published(real):
    import pyagrum

    # Lauritzen and Spiegelhalter (1988): a visit to Asia raises tuberculosis from 1.04% to 5%
    net = s.bayes_net("network-asia")
    assert pyagrum.getPosterior(net, target="tub", evs={})[{"tub": "yes"}] == pytest.approx(0.0104, abs=SINGLE)
    assert pyagrum.getPosterior(net, target="tub", evs={"asia": "yes"})[{"tub": "yes"}] == pytest.approx(
        0.05, abs=SINGLE
    )


def test_load_or_skip_says_what_was_skipped_and_ci_allows_none(tmp_path, capsys, monkeypatch):
    skipped = []
    monkeypatch.setenv("CI", "false")
    assert s.load_or_skip("nsw", skipped, raw=tmp_path) is None
    assert skipped == ["real data 'nsw': nsw has not been fetched (nsw_mixtape.dta): run `causal-lib data fetch nsw`"]
    assert "SKIPPED real data 'nsw'" in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    with pytest.raises(s.SourceError, match="has not been fetched"):
        s.load_or_skip("nsw", skipped, raw=tmp_path)


@pytest.mark.network
def test_real_priors_and_potential_outcomes(real):
    prior = real("bts-prior")
    assert {name: len(frame) for name, frame in prior.items()} == {"all": 80, "men": 34, "women": 46}
    acic = real("acic2016")
    assert acic["covariates"].shape == (4802, 58)
    assert acic["covariates"].select_dtypes("category").columns.tolist() == ["x_2", "x_21", "x_24"]
    assert len(acic) == 11
    # the noise of the outcomes has mean 0 and one spread
    noise = np.concatenate(
        [(acic[k][f"y{arm}"] - acic[k][f"mu{arm}"]).to_numpy() for k in range(1, 11) for arm in (0, 1)]
    )
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(len(noise))


@pytest.mark.network
def test_real_credit(real):
    german, cards = real("german_credit"), real("credit_cards")
    assert german["creditability"].value_counts().to_dict() == {"good": 700, "bad": 300}
    # the file holds sex in blocks, so it says nothing of the rows (data/README.md)
    sex = german["personal_status_and_sex"]
    assert (sex != sex.shift()).sum() == sex.nunique() == 4
    assert cards.shape == (30_000, 4)
    assert cards[["LateSept", "LateApril"]].isin([0, 1]).all(axis=None)
    assert not cards.isna().any(axis=None)


@pytest.mark.network
def test_real_texts(real):
    reviews, headlines, films = real("reviews"), real("headlines"), real("film_reviews")
    assert reviews.shape == (23_486, 10)
    assert reviews["Review Text"].isna().sum() == 845
    assert reviews["Recommended IND"].isin([0, 1]).all()
    # whoever recommends it rates it higher
    assert reviews.groupby("Recommended IND")["Rating"].mean().diff().iloc[1] > 1
    days = pd.to_datetime(headlines["Date"], format="%Y-%m-%d")
    assert (str(days.min().date()), str(days.max().date()), days.nunique()) == ("2020-01-02", "2020-07-18", 170)
    assert set(days.value_counts()) == {20, 40}
    assert films["category"].value_counts().to_dict() == {"fresh": 7_403, "rotten": 5_405, "plot": 1_097}
    assert (films.loc[films["text"].isna(), "category"] == "plot").all()
