"""Coat and Yahoo! R3 from tiny files in their formats, good and bad."""

import pandas as pd
import pytest

from causal_lib.data import sources as s

COAT = {
    "train.ascii": "0 5 0\n1 0 0\n",
    "test.ascii": "3 0 0\n0 0 2\n",
    "user_item_features/user_features.ascii": "1 0\n0 1\n",
    "user_item_features/item_features.ascii": "1\n0\n1\n",
}
STUDY = "ydata-ymusic-rating-study-v1_0"
YAHOO = {f"{STUDY}-train.txt": "1\t14\t5\n1\t35\t1\n2\t14\t3\n", f"{STUDY}-test.txt": "2\t9\t1\n"}


@pytest.fixture
def own(tmp_path):
    """Write ``files`` (local name -> text or bytes; None: absent) and load them as ``kind``."""

    def load(kind, files):
        (tmp_path / "mine").mkdir()
        for local, content in files.items():
            if content is not None:
                path = tmp_path / "mine" / local
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        manifest = tmp_path / "sources.toml"
        manifest.write_text(f"[own]\nkind = '{kind}'\npath = 'mine'\n", encoding="utf-8")
        return s.load("own", manifest=manifest, raw=tmp_path / "raw")

    return load


def ratings(*rows):
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rating"])


# ---- Coat ----------------------------------------------------------------------------------------


def test_coat(own):
    frames = own("coat", COAT)
    assert list(frames) == ["train", "test", "users", "items"]
    pd.testing.assert_frame_equal(frames["train"], ratings((0, 1, 5), (1, 0, 1)))
    pd.testing.assert_frame_equal(frames["test"], ratings((0, 0, 3), (1, 2, 2)))
    users = pd.DataFrame({"user_id": [0, 1], "feature_0": [1, 0], "feature_1": [0, 1]})
    pd.testing.assert_frame_equal(frames["users"], users)
    pd.testing.assert_frame_equal(
        frames["items"], pd.DataFrame({"item_id": [0, 1, 2], "feature_0": [1, 0, 1]})
    )


@pytest.mark.parametrize(("gone", "left"), [("user", "items"), ("item", "users")])
def test_coat_s_attributes_are_optional(own, gone, left):
    frames = own("coat", COAT | {f"user_item_features/{gone}_features.ascii": None})
    assert list(frames) == ["train", "test", left]


@pytest.mark.parametrize(
    "text",
    ["0 5 0 \r\n1 0 0\r\n", "0\t5\t0\n1\t0\t0", "  0  5 0\n1 0 0\n\n \n"],
    ids=["Windows", "tabs, no last line end", "blanks"],
)
def test_white_space_does_not_matter(own, text):
    pd.testing.assert_frame_equal(
        own("coat", COAT | {"train.ascii": text})["train"], ratings((0, 1, 5), (1, 0, 1))
    )


@pytest.mark.parametrize(
    ("change", "exception", "message"),
    [
        ({"train.ascii": None}, s.SourceError, r"own: train\.ascii is not there; `path =` must name the folder of kind 'coat'"),
        ({"test.ascii": None}, s.SourceError, r"own: test\.ascii is not there"),
        ({"train.ascii": "0 5 0\n1 0\n"}, ValueError, r"train\.ascii: line 2 has 2 columns where 3 are needed \(1 such in 2 lines\)"),
        ({"test.ascii": "0 5 0\n\n1 0 0 1\n"}, ValueError, r"test\.ascii: line 2 has 0 columns where 3 are needed \(2 such in 3 lines\)"),
        ({"train.ascii": "0 6 0\n1 0 7\n"}, ValueError, r"own: train\.ascii: 2 values outside \[0, 5\], first 6"),
        ({"test.ascii": "0 5 0\n-1 0 0\n"}, ValueError, r"own: test\.ascii: 1 value outside \[0, 5\], first -1"),
        ({"train.ascii": "0 5 0\n1 x 2.0\n"}, ValueError, r"own: train\.ascii: line 2: 'x' is no integer .*\(2 such\)"),
        ({"train.ascii": "0 5 0\n1 1_0 0\n"}, ValueError, r"line 2: '1_0' is no integer"),
        ({"train.ascii": "0 5 0\n1 2-3 0\n"}, ValueError, r"line 2: '2-3' is no integer"),
        ({"train.ascii": f"0 5 0\n{10**18} 0 0\n"}, ValueError, r"line 2: '10{18}' is no integer of 18 digits at most"),
        ({"train.ascii": b"0 5 0\n1 \xff 0\n"}, ValueError, r"own: train\.ascii: line 2: .* is no integer"),
        ({"train.ascii": "\n \n"}, ValueError, r"own: train\.ascii is empty"),
        ({"test.ascii": "0 0 0\n0 0 0\n"}, ValueError, r"own: test\.ascii: has no rows"),
        ({"test.ascii": "0 5\n1 0\n"}, ValueError, r"own: train\.ascii is 2 x 3, test\.ascii 2 x 2"),
        ({"test.ascii": "0 5 0\n"}, ValueError, r"own: train\.ascii is 2 x 3, test\.ascii 1 x 3"),
        (
            {"user_item_features/user_features.ascii": "1 0\n0 1\n0 0\n"},
            ValueError,
            r"own: user_item_features/user_features\.ascii has 3 rows, the matrices of ratings have 2 users",
        ),
        ({"user_item_features/item_features.ascii": "1\n0\n"}, ValueError, r"item_features\.ascii has 2 rows, .* have 3 items"),
        ({"user_item_features/item_features.ascii": "1\n0\n2\n"}, ValueError, r"item_features\.ascii: 1 value outside \[0, 1\]"),
        ({"user_item_features/user_features.ascii": "1 0\n1\n"}, ValueError, r"user_features\.ascii: line 2 has 1 columns"),
    ],
)  # fmt: skip
def test_wrong_coats(own, change, exception, message):
    with pytest.raises(exception, match=message):
        own("coat", COAT | change)


# ---- Yahoo! R3 -----------------------------------------------------------------------------------


def test_yahoo_r3(own):
    frames = own("yahoo-r3", YAHOO)
    assert list(frames) == ["train", "test"]
    pd.testing.assert_frame_equal(frames["train"], ratings((1, 14, 5), (1, 35, 1), (2, 14, 3)))
    pd.testing.assert_frame_equal(frames["test"], ratings((2, 9, 1)))


@pytest.mark.parametrize(
    ("part", "content", "exception", "message"),
    [
        ("train", None, s.SourceError, r"own: ydata-\S+-train\.txt is not there; .* folder of kind 'yahoo-r3'"),
        ("test", None, s.SourceError, r"own: ydata-\S+-test\.txt is not there"),
        ("train", "1\t2\t3\n1\t3\n", ValueError, r"-train\.txt: line 2 has 2 columns where 3 are needed \(1 such in 2 lines\)"),
        ("test", "1\t2\t3\t4\n", ValueError, r"-test\.txt: line 1 has 4 columns where 3 are needed"),
        ("train", "1\t2\t6\n", ValueError, r"-train\.txt: column 'rating': 1 value outside \[1, 5\], first 6"),
        ("train", "1\t2\t0\n", ValueError, r"-train\.txt: column 'rating': 1 value outside \[1, 5\], first 0"),
        ("train", "-1\t2\t1\n", ValueError, r"column 'user_id': 1 value outside \[0, inf\]"),
        ("train", "user\tsong\trating\n1\t2\t3\n", ValueError, r"line 1: 'user' is no integer .*\(3 such\)"),
        ("test", "1\t2\t3\n4\t2\t3\n1\t2\t5\n", ValueError, r"-test\.txt: 1 row repeat the key \(user_id, item_id\)"),
        ("test", "", ValueError, r"-test\.txt is empty"),
    ],
)  # fmt: skip
def test_wrong_songs(own, part, content, exception, message):
    with pytest.raises(exception, match=message):
        own("yahoo-r3", YAHOO | {f"{STUDY}-{part}.txt": content})


@pytest.mark.parametrize("kind", ["coat", "yahoo-r3"])
def test_a_file_is_no_folder(tmp_path, kind):
    (tmp_path / "mine.txt").write_text("1\t2\t3\n")
    manifest = tmp_path / "sources.toml"
    manifest.write_text(f"[own]\nkind = '{kind}'\npath = 'mine.txt'\n")
    with pytest.raises(
        s.SourceError, match=f"train.* is not there; `path =` must name the folder of kind '{kind}'"
    ):
        s.load("own", manifest=manifest, raw=tmp_path)
