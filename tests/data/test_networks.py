"""Networks from .bif files: directions, tables and states of any name; refusals of what is none."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causal_lib.data import networks
from causal_lib.data import sources as s
from causal_lib.worlds.random_models import sample_gaussian_network

# pyAgrum reads the probabilities of a .bif in single precision: half a unit in the last place below
# 1
SINGLE = 2**-24


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
    path.write_bytes(
        gzip.compress(bif().encode(), mtime=0) if suffix.endswith("gz") else bif().encode()
    )
    network = own("network", path.name)
    assert network == s.Network(("stay", "dose"), (("dose", "stay"),), path)
    net = own("network", path.name, s.bayes_net)
    assert net.variable("dose").labels() == ("<5", ">=5")
    assert net.variable("stay").labels() == ("0-3_days", "12+")
    assert net.cpt("stay")[{"dose": ">=5"}].tolist() == pytest.approx([0.4, 0.6], abs=SINGLE)


state = st.text(
    st.characters(
        codec="ascii", exclude_characters=" ,;(){}[]|\"'\\", categories=["L", "N", "P", "S"]
    ),
    min_size=1,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
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
        (
            "toy.bif.gz",
            gzip.compress(bif().encode(), mtime=0)[:60],
            r"toy\.bif\.gz cannot be read as a network",
        ),
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
    (tmp_path / "people.csv").write_text("a,b\n1,2\n")
    with pytest.raises(s.SourceError, match="own is of kind 'table', not a network"):
        own("table", "people.csv", s.bayes_net)


def test_read_network_and_read_bif_agree_on_a_file(tmp_path):
    path = tmp_path / "toy.bif"
    path.write_text(bif(), encoding="utf-8")
    assert networks.read_network(path).edges == (("dose", "stay"),)
    assert set(networks.read_bif(path).names()) == {"dose", "stay"}


GAUSSIAN = {
    "nodes": ["y", "x"],
    "arcs": [["x", "y"]],
    "cpds": {
        "x": {"coefficients": {"(Intercept)": [1.0]}, "variance": [4.0], "parents": []},
        "y": {"coefficients": {"(Intercept)": [0.5], "x": [-2.0]}, "variance": [1.0]},
    },
}


def test_a_gaussian_network_keeps_direction_and_numbers(own, tmp_path):
    path = tmp_path / "toy.json"
    path.write_text(json.dumps(GAUSSIAN))
    network = own("gaussian-network", path.name)
    assert network.edges == (("x", "y"),)
    assert network.weights.tolist() == [[0, 0], [-2, 0]]
    assert network.intercepts.tolist() == [0.5, 1]
    assert network.variances.tolist() == [1, 4]
    frame = sample_gaussian_network(network, 40_000, seed=1)
    # y = 0.5 - 2 x + e: mean -1.5, variance 4 * 4 + 1, covariance with x -8
    expected = {"mean": [-1.5, 1], "cov": [[17, -8], [-8, 4]]}
    assert np.allclose(frame.mean(), expected["mean"], atol=4 * np.sqrt(17 / 40_000))
    assert np.allclose(frame.cov(), expected["cov"], atol=4 * 17 * np.sqrt(2 / 40_000))
    assert frame.equals(sample_gaussian_network(network, 40_000, seed=1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": ["y", "x"]},
        GAUSSIAN | {"arcs": [["y", "x"]]},
        GAUSSIAN | {"arcs": [["x", "y"], ["y", "x"]]},
        GAUSSIAN | {"cpds": {}},
        [],
    ],
)
def test_wrong_gaussian_networks(own, tmp_path, wrong):
    (tmp_path / "toy.json").write_text(json.dumps(wrong))
    with pytest.raises(ValueError, match=r"toy\.json cannot be read as a Gaussian network"):
        own("gaussian-network", "toy.json")
