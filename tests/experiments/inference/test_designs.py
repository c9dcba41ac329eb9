"""The designs of the coverage study: shares, truths, membership, cache and claims, with a stand-in
for the estimator.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causal_lib.experiments.inference import coverage as study

LINEAR = study.Design(1000, "linear")


@pytest.mark.parametrize("name", study.DESIGNS)
def test_a_design_has_the_share_and_the_average_effect_that_it_states(name):
    design = study.DESIGNS[name]
    found = study.population(design, 100_000, np.random.default_rng(3))
    frame = found["frame"]
    # 10 rows of a cluster are alike: a tenth as many are independent
    rows = 10_000 if design.clusters else 100_000
    error = 4 * np.sqrt(design.share * (1 - design.share) / rows)
    assert frame["t"].mean() == pytest.approx(design.share, abs=error)
    assert found["propensity"].mean() == pytest.approx(design.share, abs=error)
    _, truth = study._everybody(design)
    gain = found["gain"]
    assert gain.mean() == pytest.approx(truth, abs=4 * gain.std() / np.sqrt(rows))
    # what inverse propensities find, where they have counterparts
    if design.overlap != "bad":
        weight = frame["t"] / found["propensity"] - (1 - frame["t"]) / (1 - found["propensity"])
        score = weight * (frame["y"] - frame["y"].mean())
        assert score.mean() == pytest.approx(truth, abs=5 * score.std() / np.sqrt(rows))
    assert set(design.columns) <= set(frame.columns)
    again = study.population(design, 50, np.random.default_rng(3))["frame"]
    pd.testing.assert_frame_equal(
        again, study.population(design, 50, np.random.default_rng(3))["frame"]
    )


def test_bad_overlap_is_bad_and_good_is_good():
    def outside(overlap):
        design = study.Design(1000, "curved", overlap=overlap)
        e = study.population(design, 50_000, np.random.default_rng(0))["propensity"]
        return ((e < 0.05) | (e > 0.95)).mean()

    assert outside("good") < 0.001
    assert 0.02 < outside("weak") < 0.1
    assert outside("bad") > 0.3


def test_the_truth_among_members_is_that_of_the_population_they_stand_for():
    design = study.Design(1000, "curved", overlap="bad")
    drawn = study.population(design, 1000, np.random.default_rng(4))
    inside = abs(drawn["propensity"] - 0.5) < 0.45
    found = study.truth_among(design, drawn, inside)
    large = study.population(design, 400_000, np.random.default_rng(5))
    expected = large["gain"][abs(large["propensity"] - 0.5) < 0.45].mean()
    assert found == pytest.approx(expected, abs=0.02)
    high = drawn["frame"]["a"].to_numpy() > 0.5
    expected = large["gain"][large["frame"]["a"] > 0.5].mean()
    assert study.truth_among(design, drawn, high) == pytest.approx(expected, abs=0.02)
    # the drawn members' own mean differs from it by their number, not by 0
    assert study.truth_among(design, drawn, np.ones(1000)) == 1


def _effect(support=None, verdict="supported", calls=None):
    def effect(frame, treatment, outcome, *, adjustment, estimator, seed, cluster=None):
        if calls is not None:
            calls.append((len(frame), estimator, seed, cluster, tuple(adjustment)))
        found = {"verdict": verdict, "reasons": (), "value": 1.1, "low": 0.9, "high": 1.3}
        found |= {"diagnostics": {"uncorrected": 1.05} if estimator == "pretrained" else {}}
        return SimpleNamespace(**found, support=support(frame) if support else None)

    return effect


def test_an_answer_is_judged_by_the_population_that_its_verdict_names(monkeypatch):
    def support(frame):
        members = (frame["a"] > 1).to_numpy()
        return SimpleNamespace(
            members=members, share=members.mean(), value=1.8, low=1.6, high=1.9, rule="a above 1"
        )

    monkeypatch.setattr(study, "effect", _effect(support, "weak"))
    table = study.design_answers([LINEAR.name], 3, n_jobs=1)
    assert table["method"].tolist() == ["default", "ipw", "known models"] * 3
    table = table[table["method"] != "known models"]
    # E[1 + 0.5 a | a > 1] = 1 + 0.5 x 1.525
    assert table["named_truth"].astype(float).to_numpy() == pytest.approx([1.7626] * 6, abs=0.03)
    assert table["truth"].tolist() == [1.0] * 6
    assert table["covers"].all()
    monkeypatch.setattr(study, "effect", _effect())
    table = study.design_answers([LINEAR.name], 2, methods=("default",), n_jobs=1)
    assert table["covers"].tolist() == [True, True]
    assert table["named_truth"].isna().all()
    assert "uncorrected" not in table
    table = study.design_answers([LINEAR.name], 1, methods=("pretrained",), n_jobs=1)
    assert table["uncorrected"].tolist() == [1.05]


def test_refusals_are_rows_and_estimators_and_clusters_are_passed_on(monkeypatch):
    calls = []
    clusters = next(name for name, one in study.DESIGNS.items() if one.clusters)
    monkeypatch.setattr(study, "effect", _effect(calls=calls))
    study.design_answers([clusters], range(5, 6), n_jobs=1)
    assert calls == [
        (300, None, 5, "group", ("a", "b", "c", "d")),
        (300, "ipw", 5, "group", tuple("abcd")),
    ]

    def refuses(*_, **__):
        raise study_error

    study_error = ValueError("no counterparts")
    monkeypatch.setattr(study, "effect", refuses)
    table = study.design_answers([LINEAR.name], 2, n_jobs=1)
    assert table["verdict"].tolist() == ["refused", "refused", "known"] * 2
    assert table.loc[table["verdict"] == "refused", "covers"].isna().all()
    summary = study.design_summary(table)
    assert summary["questions"].tolist() == [2, 2, 2]


def test_a_study_goes_on_from_its_file(monkeypatch, tmp_path):
    path = tmp_path / "answers.jsonl"
    calls = []
    monkeypatch.setattr(study, "effect", _effect(calls=calls))
    names = list(study.DESIGNS)[:2]
    first = study.design_answers(names[:1], 2, cache_file=path, n_jobs=1)
    assert len(calls) == 4
    # a run that was stopped in the middle of a line
    with path.open("a", encoding="utf-8") as file:
        file.write('{"design": "linear, 1')
    both = study.design_answers(names, range(1, 3), cache_file=path, n_jobs=1)
    assert len(calls) == 4 + 2 + 4
    assert sorted(set(both["number"])) == [1, 2]
    assert len(both) == 12
    again = study.design_answers(names, range(1, 3), cache_file=path, n_jobs=1)
    assert len(calls) == 10
    columns = ["design", "number", "method"]
    pd.testing.assert_frame_equal(
        again.sort_values(columns).reset_index(drop=True),
        both.sort_values(columns).reset_index(drop=True),
    )
    assert len(first) == 6


def test_known_models_cover_as_often_as_they_state_and_designs_have_draws_of_their_own():
    clusters = study.Design(300, "linear", clusters=True).name
    names = [LINEAR.name, study.Design(1000, "curved").name, clusters]
    table = study.design_answers(names, 300, methods=("known models",), n_jobs=1)
    shares = table.groupby("design")["covers"].mean()
    assert shares.between(0.91, 0.985).all()  # three standard errors of 300 sets
    errors = table.assign(z=(table["value"] - 1) / (table["high"] - table["low"]))
    wide = errors.pivot_table(index="number", columns="design", values="z")
    assert abs(wide.corr().to_numpy() - np.eye(3)).max() < 0.2
    assert abs(wide.mean() / wide.std()).max() < 0.2


def test_the_claims_follow_the_answers(monkeypatch):
    name = LINEAR.name
    heavy = study.Design(10_000, "heavy").name
    rows = []
    for method, held in (("default", 94), ("ipw", 85)):
        for number in range(100):
            row = {"design": name, "number": number, "method": method, "truth": 1.0, "sd": 2.0}
            rows.append(row | {"verdict": "supported", "value": 1.03, "covers": number < held})
            rows.append(
                row | {"verdict": "weak", "value": 9.0, "covers": number < 91, "design": heavy}
            )
    claims = {claim.name: claim for claim in study._design_claims(pd.DataFrame(rows), 50)}
    assert claims["default, supported: coverage, least of any design"].value == 0.94
    assert claims["default, supported: coverage, least of any design"].held
    assert not claims["ipw, supported: coverage, least of any design"].held
    weak = "weak or extrapolated: coverage of the population named, least of any design"
    assert claims[f"default, {weak}"].value == 0.91
    bias = "default, supported, 1,000 rows: largest bias of any design, sd of the outcome"
    assert claims[bias].value == pytest.approx(0.015)
    assert not claims[bias].held
    assert study._design_claims(pd.DataFrame(rows), fewest=101) == []
    monkeypatch.setattr(study, "effect", _effect())
    found = study.designs(2, designs=[name], n_jobs=1)
    assert found["claims"][0]["value"] == 1.0
    assert [row["questions"] for row in found["rows"]] == [2, 2, 2]
    assert found["runs"] == {"fewest": 2, "most": 2}


def test_the_default_is_compared_with_known_models_on_the_sets_that_it_calls_supported():
    rows = []
    for number in range(4):
        row = {"design": LINEAR.name, "number": number, "truth": 1.0}
        verdict = "weak" if number == 3 else "supported"
        rows.append(
            row | {"method": "default", "verdict": verdict, "value": 1.2, "covers": number > 0}
        )
        rows.append(row | {"method": "known models", "verdict": "known"})
        rows[-1] |= {"value": 0.9, "covers": number < 3}
    less, ratio = study._against_known_models(pd.DataFrame(rows))
    assert less.value == pytest.approx(2 / 3 - 1)
    assert not less.held
    assert ratio.value == pytest.approx(2)
    assert study._against_known_models(pd.DataFrame(rows[::2])) == []


def test_designs_may_have_different_numbers_of_sets():
    """Of 100 sets a design counts from 12 on: that with 8 of 10 supported does not."""
    rows = []
    for design, sets, weak in ((LINEAR, 100, 4), (study.Design(10_000), 10, 2)):
        for number in range(sets):
            row = {"design": design.name, "number": number, "method": "default", "truth": 1.0}
            row |= {"verdict": "weak" if number < weak else "supported"}
            rows.append(row | {"value": 1.0, "covers": True, "share": None, "sd": 2.0})
    found = study.designs_report(pd.DataFrame(rows))
    assert found["runs"] == {"fewest": 10, "most": 100}
    assert [row["questions"] for row in found["rows"]] == [4, 96, 2, 8]
    claims = {claim["claim"]: claim["value"] for claim in found["claims"]}
    calm = "default, good overlap and enough rows: called supported, least of any design"
    assert claims[calm] == 0.96


def test_designs_of_which_all_rows_have_counterparts():
    plain = [name for name in study.DESIGNS if study._is_plain(name)]
    assert study.Design(100).name in plain
    assert study.Design(10_000, "200 levels").name in plain
    for other in (
        study.Design(1000, "200 levels"),
        study.Design(300, share=0.05),
        study.Design(300, "curved", overlap="weak"),
    ):
        assert other.name in study.DESIGNS
        assert other.name not in plain
