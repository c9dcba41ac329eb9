"""The steps one by one and together, on logs whose truth is known."""

import errno
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causal_lib import effect, paths, studies
from causal_lib.cli import main
from causal_lib.graph import CausalGraph
from causal_lib.reasons import Reason
from causal_lib.studies import LogError, Rule, Step, open_log, study
from causal_lib.studies import run as running
from causal_lib.studies.gains import Scores
from causal_lib.studies.pictures import pictures
from causal_lib.studies.rules import Condition, _half
from causal_lib.studies.step import VERDICTS, worst
from causal_lib.studies.templates import texts_of
from tests.studies.conftest import ROLES, make_log

QUICK = {"draws": 3, "progress": False}
ODD = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def log():
    return make_log(1200, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def found(log, folder):
    return study(log, ROLES, folder=folder, **QUICK)


@pytest.fixture(scope="module")
def nothing():
    """A log without any effect."""
    return study(make_log(800, seed=2, effect=0.0), ROLES, **QUICK)


# ---- what comes out ------------------------------------------------------------------------------


def test_the_effect_is_that_of_the_verb_and_near_the_truth(found, log, roles):
    prepared = open_log(log, roles)
    own = effect(
        prepared.frame, "shown", "bought", adjustment=prepared.roles.columns_before, cluster="user"
    )
    assert found.steps["effect"].facts["value"] == own.value
    assert abs(own.value - 0.3) < 3 * own.standard_error
    naive = log.groupby("shown")["bought"].mean()
    assert found.steps["effect"].facts["naive"] == pytest.approx(naive[1] - naive[0])
    assert found.verdict == "supported"


def test_no_effect_gives_no_rule(nothing):
    assert not nothing.steps["effect"].facts["clear"]
    assert nothing.steps["rule"].verdict == "refused"
    assert "python" not in nothing.steps["rule"].facts


def test_a_rule_where_all_gain_alike():
    """A column that tells nothing: the rule is for all rows, or for none where the budget is less."""
    n = 300
    rng = np.random.default_rng(3)
    log = pd.DataFrame({"user": np.arange(n), "old": rng.integers(0, 2, n)})
    log["shown"] = rng.integers(0, 2, n)
    log["bought"] = (rng.random(n) < 0.2 + 0.6 * log["shown"]).astype(int)
    roles = {"treatment": "shown", "outcome": "bought", "unit": "user", "before": [["old"]]}
    for budget, said, in_chinese in (
        (1.0, "Rule: treat every row. On held-out units that earns ", "规则：全部处理。"),
        (0.5, "No rule fits the budget of 50% of the rows: ", "没有规则能满足 50% 的预算："),
    ):
        rule = study(log, roles | {"randomised": True}, budget=budget, **QUICK).steps["rule"]
        assert rule.sentences()[0].startswith(said)
        assert rule.sentences("zh")[0].startswith(in_chinese)
        assert rule.facts["recommended"] == (budget == 1)
        assert rule.verdict == ("supported" if budget == 1 else "weak")
    assert "the smallest is 100% of them" in rule.sentences()[0]


def test_a_treatment_that_harms_everybody_gives_the_rule_to_treat_nobody():
    n = 600
    rng = np.random.default_rng(4)
    log = pd.DataFrame({"user": np.arange(n), "age": rng.normal(size=n)})
    log["shown"] = rng.integers(0, 2, n)
    log["bought"] = (rng.random(n) < 0.7 - 0.5 * log["shown"]).astype(int)
    roles = {"treatment": "shown", "outcome": "bought", "unit": "user", "before": [["age"]]}
    rule = study(log, roles | {"randomised": True}, **QUICK).steps["rule"]
    assert rule.sentences()[0].startswith("Rule: treat no row. On held-out units that earns ")
    assert rule.sentences("zh")[0].startswith("规则：都不处理。")
    assert rule.facts["recommended"]


def test_rare_levels_that_some_draws_lose_do_not_stop_the_graph():
    n = 500
    rng = np.random.default_rng(5)
    log = pd.DataFrame({"user": np.arange(n), "age": rng.normal(size=n).round(2)})
    log["shop"] = [f"s{one}" for one in rng.integers(0, 60, n)]
    log["shown"] = rng.integers(0, 2, n)
    log["bought"] = (rng.random(n) < 0.2 + 0.4 * log["shown"]).astype(int)
    roles = {"treatment": "shown", "outcome": "bought", "unit": "user", "before": [["age", "shop"]]}
    assert study(log, roles, **QUICK).steps["graph"].facts


def test_an_effect_is_never_told_without_its_strength_against_hidden_causes(found):
    text = " ".join(found.conclusion())
    share = f"{found.steps['sensitivity'].facts['robustness']:.1%}"
    assert share in text
    assert "hidden cause" in text


def test_a_treatment_that_a_column_decides_is_refused():
    log = make_log(800)
    log["shown"] = (log["cost"] > 20).astype(int)
    found = study(log, ROLES | {"after": []}, **QUICK)
    assert found.verdict == "refused"
    assert found.steps["rule"].verdict == "refused"
    assert "cannot answer" in found.conclusion()[0]


def test_nothing_known_before_is_refused(log):
    found = study(log, ROLES | {"before": [], "unit": "", "time": ""}, **QUICK)
    assert found.verdict == "refused"


def test_a_randomised_treatment_needs_no_columns(log):
    log = log.assign(shown=np.random.default_rng(0).integers(0, 2, len(log)))
    found = study(log, ROLES | {"before": [], "after": [], "randomised": True}, **QUICK)
    assert found.steps["effect"].verdict == "supported"
    assert "known chances" in found.steps["sensitivity"].sentences()[0]


def test_a_negative_control_that_moves_lowers_the_verdict(log, found):
    frame = log.assign(control=log["bought"] + np.random.default_rng(0).normal(size=len(log)))
    prepared = open_log(frame, ROLES | {"negative_control": "control"})
    step = studies.probe(prepared, found.steps["identify"], found.steps["effect"])
    assert step.verdict == "weak"
    assert "seems to move control" in " ".join(step.reasons)


def test_the_graph_of_users_is_learnt_from_users(log):
    whole = log.assign(age=log["user"].str.len(), device=log["user"].str[-1])
    prepared = open_log(whole, ROLES | {"before": [["age", "device", "cost"]]})
    stages = studies.find_graph(prepared, draws=2).facts["stages"]
    assert [stage["rows"] for stage in stages] == [log["user"].nunique()]
    assert stages[0]["columns"] == ["age", "device"]


def test_a_given_graph_is_taken(log, found, folder, roles):
    given = studies.read_graph(folder / "graph.toml")
    step = studies.take_graph(open_log(log, roles), given)
    assert step.facts["given"]
    first = {tuple(row.values())[:3] for row in found.steps["graph"].tables["edges"]}
    assert {tuple(row.values()) for row in step.tables["edges"]} == first


def test_a_graph_as_a_study_wrote_it_gives_the_same_effect(log, found, folder, tmp_path):
    again = study(log, ROLES, graph=folder / "graph.toml", **QUICK)
    assert again.steps["effect"].to_dict() == found.steps["effect"].to_dict()
    text = (folder / "graph.toml").read_text(encoding="utf-8")
    (tmp_path / "graph.toml").write_text(text.replace("edges = [", "edges = [ "), encoding="utf-8")
    own = study(log, ROLES, graph=tmp_path / "graph.toml", **QUICK).steps["identify"]
    assert own.sentences()[0].startswith("Under the given graph")


def test_a_hidden_cause_that_would_turn_the_sign_undoes_the_effect():
    """As strong as age it would more than undo the small effect: the whole interval of what is
    left lies beyond zero.
    """
    rng = np.random.default_rng(0)
    log = make_log(3000, seed=0, effect=0.0)
    age = log["age"].fillna(40.0)
    pull = (age - 40) / 10
    shown = rng.random(3000) < 1 / (1 + np.exp(-pull))
    bought = rng.random(3000) < 1 / (1 + np.exp(1 - pull - 0.25 * shown))
    log = log.assign(age=age, shown=shown.astype(int), bought=bought.astype(int))
    step = study(log, ROLES, **QUICK).steps["sensitivity"]
    rows = pd.DataFrame(step.tables["hidden"]).set_index("as strong as")
    assert rows.loc["age", "high"] < 0 < step.facts["value"]
    assert step.facts["undone"]
    assert step.verdict == "weak"


def test_a_changed_graph_is_taken_by_the_next_run_and_kept(log, tmp_path):
    first = study(log, ROLES, folder=tmp_path, **QUICK)
    path = tmp_path / "graph.toml"
    written = path.read_bytes()
    assert not study(log, ROLES, folder=tmp_path, **QUICK).steps["graph"].facts.get("given")
    assert path.read_bytes() == written
    names = CausalGraph.from_dict(first.steps["graph"].facts["graph"]).names
    edge = next(name for name in names if name not in ("shown", "bought"))
    mine = f'hidden = []\nedges = [["{edge}", "->", "shown"], ["shown", "->", "bought"]]\n'
    path.write_text(mine, encoding="utf-8")
    for _ in range(2):
        found = study(log, ROLES, folder=tmp_path, **QUICK).steps["graph"]
        assert [row["cause"] for row in found.tables["edges"]] == [edge, "shown"]
        assert path.read_text(encoding="utf-8") == mine
    path.write_bytes(written.replace(b"hidden", b"hiden"))
    with pytest.raises(LogError, match="graph"):
        study(log, ROLES, folder=tmp_path, **QUICK)


def test_a_hidden_cause_in_a_given_graph_is_refused(log, tmp_path):
    path = tmp_path / "graph.toml"
    path.write_text(
        'hidden = ["mood"]\nedges = [["mood", "->", "shown"], ["mood", "->", "bought"], '
        '["shown", "->", "bought"]]',
        encoding="utf-8",
    )
    found = study(log, ROLES, graph=path, **QUICK)
    assert found.steps["identify"].verdict == "refused"
    assert found.verdict == "refused"
    assert "hidden common causes" in found.reasons[0]


def test_candidates_are_rows_that_were_not_treated(log, tmp_path):
    shown = log[log["shown"] == 1]
    rest = log[log["shown"] == 0].drop(columns=["shown", "clicked"])
    rest.to_csv(tmp_path / "more.csv", index=False)
    shown.to_csv(tmp_path / "log.csv", index=False)
    prepared = open_log(tmp_path / "log.csv", ROLES | {"candidates": str(tmp_path / "more.csv")})
    assert prepared.frame["shown"].value_counts().to_dict() == log["shown"].value_counts().to_dict()


def test_candidates_that_are_rows_of_the_log_need_a_time(log, tmp_path):
    log.drop(columns="time").to_csv(tmp_path / "log.csv", index=False)
    log[:7].drop(columns=["time", "shown"]).to_csv(tmp_path / "more.csv", index=False)
    roles = ROLES | {"candidates": str(tmp_path / "more.csv"), "time": ""}
    with pytest.raises(LogError, match=r"7 candidates \(user, item\) of more.csv are rows of the"):
        open_log(tmp_path / "log.csv", roles)


# ---- the order of rows, kept steps ---------------------------------------------------------------


def test_a_second_run_goes_on_after_the_last_kept_step(log, found, folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    for path in tmp_path.rglob("[67]_*.json"):
        path.unlink()

    def never(*given, **how):
        raise AssertionError("a kept step was made again")

    for name in ("find_graph", "identify_effect", "estimate_effect", "probe", "find_gains"):
        monkeypatch.setattr(running, name, never)
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()


def test_a_run_that_is_cut_leaves_whole_steps_and_no_report(log, tmp_path, monkeypatch):
    def cut(*given, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "estimate_effect", cut)
    with pytest.raises(KeyboardInterrupt):
        study(log, ROLES, folder=tmp_path, **QUICK)
    kept = sorted(path.name for path in tmp_path.rglob("*.json"))
    assert kept == ["0_audit.json", "1_graph.json", "2_identify.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["steps"]


STEP_BY = {
    "find_graph": "graph",
    "identify_effect": "identify",
    "estimate_effect": "effect",
    "probe": "sensitivity",
    "find_gains": "gains",
    "choose_rule": "rule",
    "advise": "next",
}


@pytest.mark.parametrize("function", STEP_BY)
def test_a_run_that_is_cut_in_a_step_keeps_those_before(
    function, log, folder, tmp_path, monkeypatch
):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    place = running.STEPS.index(STEP_BY[function])
    for path in tmp_path.rglob("*.json"):
        if int(path.name[0]) >= place:
            path.unlink()

    def cut(*given, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, function, cut)
    with pytest.raises(KeyboardInterrupt):
        study(log, ROLES, folder=tmp_path, **QUICK)
    assert sorted(int(path.name[0]) for path in tmp_path.rglob("*.json")) == list(range(place))
    assert [path.name for path in tmp_path.iterdir()] == ["steps"]


KILLED = """
import os, signal, sys
from causal_lib import paths
from causal_lib.studies import study
from tests.studies.conftest import ROLES, make_log

def replace(temporary, path, own=os.replace):
    if os.path.basename(path) == "6_rule.json":
        os.kill(os.getpid(), signal.SIGKILL)  # the whole step is in the temporary file
    own(temporary, path)

paths.os.replace = replace
study(make_log(1200, seed=1), ROLES, folder=sys.argv[1], draws=3, progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes otherwise")
def test_a_killed_process_leaves_no_lock_and_no_step_in_part(log, found, folder, tmp_path):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    for path in tmp_path.rglob("[67]_*.json"):
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=paths.ROOT,
        env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not list(tmp_path.rglob("[67]_*.json"))
    assert list(tmp_path.rglob(".6_rule.json*"))
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()


def test_two_studies_at_once_do_not_share_a_folder(log, found, folder, tmp_path):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    with (
        running._alone_in(tmp_path),
        pytest.raises(LogError, match="another study is writing into"),
    ):
        study(log, ROLES, folder=tmp_path, **QUICK)
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()


def test_a_folder_that_cannot_be_written_is_one_error(log, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot be written"):
        study(log, ROLES, folder=tmp_path / "file", **QUICK)


def test_a_full_disk_is_one_error_and_the_next_run_goes_on(
    log, found, folder, tmp_path, monkeypatch, capsys
):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    for path in tmp_path.rglob("[67]_*.json"):
        path.unlink()

    def full(temporary, path, own=os.replace):
        if os.path.basename(path) == "6_rule.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        own(temporary, path)

    with monkeypatch.context() as patched:
        patched.setattr(paths.os, "replace", full)
        with pytest.raises(LogError, match=r"cannot be written: .*No space left.*goes on after"):
            study(log, ROLES, folder=tmp_path, **QUICK)
    assert not list(tmp_path.rglob("*6_rule.json*"))
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()


def test_a_few_units_are_answered(log):
    few = log.assign(user=[f"u{one % 6}" for one in range(len(log))])
    found = study(few, ROLES, **QUICK)
    assert found.verdict == "weak"


def test_an_arm_of_a_few_rows_is_refused(log):
    treated = log["shown"].to_numpy().nonzero()[0]
    few = log.drop(index=treated[7:]).reset_index(drop=True)
    found = study(few, ROLES, **QUICK)
    assert found.verdict == "refused"
    assert "an arm has 7 rows" in found.conclusion()[0]


def test_what_cannot_be_told_from_nothing_has_no_size_to_look_for(nothing):
    told = " ".join(nothing.steps["next"].sentences("en"))
    # two arms, level 5%, power 80%: 4 (1.96 + 0.84)² over the square of a fifth
    assert "about 786 rows" in told
    assert "20% of the outcome's standard deviation" in told
    assert "3,200 rows like these would halve the interval" in told


def test_a_cause_of_many_levels_is_adjusted_for_level_by_level():
    rng = np.random.default_rng(5)
    n = 6000
    seller = rng.choice(150, n, p=rng.dirichlet(np.ones(150)))
    pull = rng.normal(size=150)[seller]
    shown = rng.random(n) < 1 / (1 + np.exp(-pull))
    bought = rng.random(n) < np.clip(0.3 + 0.12 * pull, 0.02, 0.8) + 0.1 * shown
    log = pd.DataFrame({"seller": [f"s{one}" for one in seller], "age": rng.normal(40, 10, n)})
    log = log.assign(shown=shown.astype(int), bought=bought.astype(int))
    roles = {"treatment": "shown", "outcome": "bought", "before": [["seller", "age"]]}
    found = study(log, roles, **QUICK).steps["effect"].facts
    assert found["low"] < 0.1 < found["high"] < found["naive"]


def test_earnings_are_told_by_the_row():
    log = make_log(1200, seed=1)
    log["bought"] *= 2e9
    told = " ".join(study(log, ROLES, **QUICK).steps["rule"].sentences("en"))
    assert "per row" in told
    assert "per 1 rows" not in told


def test_a_column_that_is_called_as_the_placebo_is_kept():
    log = make_log(2400, seed=1)
    own = open_log(log, ROLES)
    before = [["age", "device", "previous outcome"], ["cost"]]
    named = open_log(log.rename(columns={"joined": "previous outcome"}), ROLES | {"before": before})
    values = []
    for prepared in (own, named):
        columns = list(prepared.roles.columns_before)
        identified = Step("identify", facts={"strategy": "back-door", "adjustment": columns})
        effects = studies.estimate_effect(prepared, Step("graph"), identified)
        values.append(studies.probe(prepared, identified, effects).tables["controls"])
    assert values[0][0]["value"] == pytest.approx(values[1][0]["value"])


def test_damaged_steps_are_made_again(log, found, folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    for name in ("6_rule.json", "7_next.json"):
        [path] = tmp_path.rglob(name)
        path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()
    [scores] = tmp_path.rglob("scores.npy")
    scores.write_bytes(scores.read_bytes()[:500])
    made = []

    def gains(*given, own=running.find_gains, **how):
        made.append(own(*given, **how))
        return made[-1]

    monkeypatch.setattr(running, "find_gains", gains)
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()
    assert len(made) == 1


def test_kept_steps_give_the_same_study(found, log, folder):
    again = study(log, ROLES, folder=folder, **QUICK)
    assert again.to_dict() == json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_steps_of_another_version_are_made_anew_and_this_is_said(
    log, found, folder, tmp_path, monkeypatch, capsys
):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    made = []

    def advise(*given, own=running.advise):
        made.append("next")
        return own(*given)

    monkeypatch.setattr(running, "advise", advise)
    [last] = tmp_path.rglob("7_next.json")
    kept = json.loads(last.read_text(encoding="utf-8"))
    shown = QUICK | {"progress": True}
    monkeypatch.setenv("TQDM_DISABLE", "0")
    assert study(log, ROLES, folder=tmp_path, **shown).to_dict() == found.to_dict()
    assert made == []
    assert "another version" not in capsys.readouterr().err
    wrong = kept | {"made_by": "0.0.9", "says": [["advice_nothing", {}]]}
    last.write_text(json.dumps(wrong), encoding="utf-8")
    assert study(log, ROLES, folder=tmp_path, **shown).to_dict() == found.to_dict()
    assert made == ["next"]
    said = capsys.readouterr().err
    assert said.count("another version of causal_lib made the step next; it is made anew") == 1
    assert json.loads(last.read_text(encoding="utf-8")) == kept
    del wrong["made_by"]  # as before versions were kept
    last.write_text(json.dumps(wrong), encoding="utf-8")
    assert study(log, ROLES, folder=tmp_path, **QUICK).to_dict() == found.to_dict()
    assert made == ["next", "next"]


def test_every_step_is_made_anew_after_a_change_of_the_code(log, folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "steps", tmp_path / "steps")
    monkeypatch.setattr(paths, "code_digest", lambda: "another")

    def cut(*given, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "find_graph", cut)
    with pytest.raises(KeyboardInterrupt):
        study(log, ROLES, folder=tmp_path, **QUICK)


def test_another_log_setting_or_role_makes_other_steps(log, roles):
    prepared = open_log(log, roles)
    settings = running.Settings()
    keys = {
        running._hash(prepared, roles, None, settings),
        running._hash(prepared, roles, None, running.Settings(cost=0.1)),
        running._hash(open_log(log[:-1], roles), roles, None, settings),
        running._hash(prepared, replace(roles, after=()), None, settings),
    }
    assert len(keys) == 4


def test_a_step_comes_back_whole(found):
    assert any(isinstance(row["note"], Reason) for row in found.steps["audit"].tables["notes"])
    for step in found.steps.values():
        kept = json.loads(json.dumps(step.stored()))
        assert Step.restored(kept).stored() == kept


# ---- the rule ------------------------------------------------------------------------------------


def gains_log(n=2000, seed=3):
    """The treatment helps users of phones alone, and tablets are shown as often."""
    log = make_log(n, seed)
    rng = np.random.default_rng(seed)
    log["device"] = np.array(["phone", "o'tab", "desk"])[rng.integers(0, 3, n)]
    log["shown"] = rng.integers(0, 2, n)
    helped = 0.4 * log["shown"] * (log["device"] == "phone")
    log["bought"] = (rng.random(n) < 0.2 + helped).astype(int)
    return log


@pytest.fixture(scope="module")
def ruled():
    log = gains_log()
    return log, study(log, ROLES | {"after": []}, cost=0.1, **QUICK)


def test_the_rule_finds_who_gains(ruled):
    log, found = ruled
    step = found.steps["rule"]
    assert step.facts["recommended"]
    shown = Rule.from_dict(step.facts["rule"]).applies(log)
    net = 0.4 * (log["device"] == "phone") - 0.1
    best = net.clip(lower=0).mean()
    assert (shown * net).mean() > 0.8 * best
    over = step.facts["over"]["as today"]
    truth = ((shown.astype(int) - log["shown"]) * net).mean()
    assert over["low"] <= truth <= over["high"]


def test_the_code_of_a_rule_is_the_rule(ruled):
    log, found = ruled
    step = found.steps["rule"]
    shown = Rule.from_dict(step.facts["rule"]).applies(log)
    space = {}
    exec(step.facts["python"], space)
    assert [space["show"](row) for row in log.to_dict("records")] == shown.tolist()
    with sqlite3.connect(":memory:") as connection:
        log.to_sql("log", connection)
        rows = connection.execute(f"SELECT {step.facts['sql']} FROM log").fetchall()
    connection.close()
    assert [bool(one) for (one,) in rows] == shown.tolist()


def test_code_of_odd_names_levels_and_missing_values():
    reading = studies.open_log(make_log(), ROLES).readings
    rule = Rule(
        (
            (Condition("age", "<=", 40.0), Condition("device", "is not", "(missing)")),
            (Condition("device", "is", "o'tab"),),
        )
    )
    rows = [
        {"age": None, "device": "desk"},
        {"age": 50.0, "device": "desk"},
        {"age": 30.0, "device": None},
        {"age": 90.0, "device": "o'tab"},
    ]
    space = {}
    exec(rule.as_python(reading), space)
    fill = reading["age"].fill
    expected = [fill <= 40, False, False, True]
    assert [space["show"](row) for row in rows] == expected
    with sqlite3.connect(":memory:") as connection:
        pd.DataFrame(rows).to_sql("log", connection)
        query = f"SELECT {rule.as_sql(reading)} FROM log ORDER BY rowid"
        assert [bool(one) for (one,) in connection.execute(query)] == expected
    connection.close()


def test_a_rule_is_told_in_each_language():
    phone = Condition("device", "is", "phone")
    rule = Rule(((Condition("age", ">", 40.0), phone), (Condition("device", "is not", "desk"),)))
    assert str(rule) == "age > 40 and device is 'phone'; or device is not 'desk'"
    assert rule.told().in_language("zh") == "age > 40 且 device 是 'phone'；或 device 不是 'desk'"
    assert str(Rule(())) == "never"
    assert str(Rule(((),))) == "always"
    assert str(Rule(((Condition("age", "<=", 40.0),),))) == "age <= 40"


def test_a_kept_rule_is_told_in_each_language():
    rule = Rule(((Condition("device", "is", "phone"),),)).told()
    step = Step("rule", says=(("rule_refused", {"rule": rule}),), facts={"support": {"rule": rule}})
    kept = Step.restored(json.loads(json.dumps(step.stored())))
    assert kept.says[0][1]["rule"].in_language("zh") == "device 是 'phone'"
    assert kept.facts["support"]["rule"].in_language("zh") == "device 是 'phone'"
    assert step.to_dict()["facts"]["support"]["rule"] == "device is 'phone'"


def test_the_rule_and_who_gains_are_told_in_chinese(ruled):
    _, found = ruled
    said = found.steps["rule"].sentences("zh")[0] + found.steps["gains"].sentences("zh")[0]
    assert "phone" in said
    assert not re.search(r"\b(and|or|is|not|mostly)\b", said)


def test_rules_that_always_and_never_treat(own_log):
    assert Rule(((),)).applies(own_log).all()
    assert not Rule(()).applies(own_log).any()
    for rule, answer in ((Rule(((),)), True), (Rule(()), False)):
        space = {}
        exec(rule.as_python({}), space)
        assert space["show"]({}) is answer


def test_a_budget_is_kept_on_the_learning_half(ruled):
    log, found = ruled
    prepared = open_log(log, ROLES | {"after": []})
    names = ("identify", "effect", "gains")
    rng = np.random.default_rng(0)
    score = 0.4 * (log["device"] == "phone") + 0.1 * rng.normal(size=len(log))
    scores = Scores(score.to_numpy(), np.zeros(len(log)), score.to_numpy())
    step = studies.choose_rule(prepared, *(found.steps[name] for name in names), scores, budget=0.1)
    policies = {row["policy"]: row for row in step.tables["policies"]}
    assert policies["the rule"]["share"] < 0.15


def test_what_today_adds_is_its_outcome_less_that_of_nobody(ruled):
    """By hand: the treated rows' own scores, which hold their outcomes, have no part in it."""
    log, found = ruled
    prepared = open_log(log, ROLES | {"after": []})
    names = ("identify", "effect", "gains")
    rng = np.random.default_rng(0)
    score = 0.4 * (log["device"] == "phone") + 0.1 * rng.normal(size=len(log))
    untreated = 0.1 + 0.01 * rng.normal(size=len(log))
    scores = Scores(score.to_numpy(), untreated, score.to_numpy())
    step = studies.choose_rule(prepared, *(found.steps[name] for name in names), scores, budget=0.1)
    policies = {row["policy"]: row for row in step.tables["policies"]}
    test = ~_half(prepared.frame["user"].to_numpy(), 0)
    today = (log["bought"].to_numpy() - untreated)[test]
    assert policies["as today"]["value"] == pytest.approx(today.mean())
    shown = Rule.from_dict(step.facts["rule"]).applies(log)[test]
    more = (shown * score[test] - today).mean()
    assert step.facts["over"]["as today"]["value"] == pytest.approx(more)


# ---- the report ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """The tags of a page, and addresses that it would load."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.loaded = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.loaded += [value for name, value in attributes if name in ("src", "href")]


def test_names_are_data_and_no_markup(tmp_path):
    log = make_log().rename(columns={"cost": ODD, "device": "a|b `c` [d](e)"})
    log["a|b `c` [d](e)"] = "{{ 7 * 7 }}"
    log.loc[::2, "a|b `c` [d](e)"] = "<b>x</b>"
    roles = ROLES | {"before": [["age", ODD, "a|b `c` [d](e)"]]}
    found = study(log, roles, folder=tmp_path, **QUICK)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert "alert(1)" in text
    assert page.loaded == []
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in found._repr_html_()


def test_the_page_loads_nothing_and_holds_four_pictures(found, folder):
    signs = {row["sign"] for row in found.steps["graph"].tables["edges"]}
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.loaded == []
    assert page.tags.count("figure") == 4
    assert page.tags.count("svg") == 4 + len({"->", "--"} & signs)  # with the legend of the graph
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "report.md", "results.json", "graph.toml"} <= names


def test_every_sentence_is_there_in_both_languages_with_the_same_values():
    for key, texts in texts_of("sentences.toml").items():
        assert set(texts) == {"en", "zh"}, key
        fields = [set(re.findall(r"\{(\w+)", texts[language])) for language in ("en", "zh")]
        assert fields[0] == fields[1], key


class Words(HTMLParser):
    """The texts of a page that are no code."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.inside = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name == "alt"]
        if tag in ("style", "pre"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.found.append(data)


ENGLISH = re.compile(r"(?:[A-Za-z]{2,},? ){2,}[A-Za-z]{2,}")


def odd_studies():
    """Name -> log and roles whose studies say much."""
    log = make_log(700, seed=4).rename(columns={"age": "年龄"})
    before = [["年龄", "device", "joined", "click_rate"], ["cost"]]
    roles = ROLES | {"before": before}
    rng = np.random.default_rng(0)
    log["click_rate"] = rng.random(len(log))
    levels = [f"level {place}" for place in range(len(log))]
    log["device"] = np.where(rng.random(len(log)) < 0.1, levels, log["device"])
    lost = log.assign(bought=log["bought"].astype(float).mask(rng.random(len(log)) < 0.1))
    moved = log.assign(control=log["bought"] + rng.normal(size=len(log)))
    steep = log.assign(
        shown=(rng.random(len(log)) < 1 / (1 + np.exp(40 - log["年龄"].fillna(40)))).astype(int)
    )
    return {
        "missing outcomes": (pd.concat([lost, lost[:9]]), roles),
        "a control that moves": (moved, roles | {"negative_control": "control"}),
        "little overlap": (steep, roles | {"after": []}),
        "a column decides": (
            log.assign(shown=(log["cost"] > 20).astype(int)),
            roles | {"after": []},
        ),
        "nothing before": (log, roles | {"before": [], "unit": "", "time": ""}),
        "random": (
            log.assign(shown=rng.integers(0, 2, len(log)), city=np.arange(len(log)) % 5),
            roles | {"before": [], "after": [], "randomised": True, "unit": "city", "time": ""},
        ),
    }


@pytest.mark.parametrize("name", odd_studies())
def test_a_chinese_report_has_no_english_sentence(name, tmp_path):
    log, roles = odd_studies()[name]
    log.to_csv(tmp_path / "log.csv", index=False, encoding="gb18030", sep=";")
    found = study(tmp_path / "log.csv", roles, folder=tmp_path / "zh", language="zh", **QUICK)
    page = (tmp_path / "zh" / "report.html").read_text(encoding="utf-8")
    texts = [text for text in Words(page).found if ENGLISH.search(text)]
    assert texts == []
    lines = (tmp_path / "zh" / "report.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if ENGLISH.search(line)] == []
    assert all(not ENGLISH.search(text) for text in found.conclusion("zh"))
    assert ENGLISH.search(" ".join(found.conclusion("en")))


def test_every_sentence_is_said_somewhere():
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(studies.__file__).parent.glob("*.py")
    )
    for key in texts_of("sentences.toml"):
        head = key.split("_")[0] + "_"
        assert f'"{key}"' in source or f'f"{head}{{' in source, key


def test_the_report_in_chinese(found, tmp_path):
    found.write(tmp_path, "zh")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh"' in text
    assert "回答" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "What was assumed" not in text


def test_the_reasons_of_a_step_print_as_a_sentence():
    reasons = (Reason("no_effect"), Reason("constant", column="x"))
    step = Step("rule", "weak", (("rule_refused", {}),), reasons)
    text = "No effect can be told from zero, on average or for anyone; x: constant, left out."
    assert repr(step) == f"rule (weak): No rule can be learnt. {text}"


def test_a_step_takes_no_reason_without_chinese():
    with pytest.raises(TypeError, match="'no column' is no Reason"):
        Step("rule", "weak", reasons=("no column",))


def test_worst():
    assert worst(*VERDICTS) == "refused"
    assert worst("weak", "supported") == "weak"


# ---- the command ---------------------------------------------------------------------------------


def test_guess_then_study(log, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log.to_csv("own.csv", index=False)
    assert main(["study", "own.csv", "--guess"]) == 0
    assert "before holds all other columns" in capsys.readouterr().out
    assert main(["study", "own.csv", "-p", "draws=2", "--language", "zh"]) == 0
    written = capsys.readouterr()
    assert "study-own/report.html" in written.out
    results = json.loads((tmp_path / "study-own" / "results.json").read_text(encoding="utf-8"))
    assert results["roles"]["treatment"] == "shown"
    assert results["roles"]["after"] == ["clicked"]


def test_unknown_settings_of_the_verb(log):
    with pytest.raises(LogError, match="unknown setting 'colour'"):
        study(log, ROLES, colour=1)
    with pytest.raises(LogError, match="language"):
        study(log, ROLES, language="fr")


def test_predictions_that_are_all_alike_have_no_fifths(nothing):
    step = nothing.steps["gains"]
    for row in step.tables["fifths"]:
        assert np.isfinite(list(row.values())).all()
    assert ("gains" in pictures(nothing)) == bool(step.tables["fifths"])


def test_the_pictures_show_the_numbers_of_the_steps(found):
    drawn = pictures(found)
    scale = found.steps["effect"].facts["scale"]
    for name, table, ends in (
        ("effect", "effects", ("value", "low", "high")),
        ("gains", "fifths", ("value", "low", "high")),
        ("rule", "policies", ("value", "low", "high")),
    ):
        for row in found.steps[name].tables[table]:
            value, low, high = (f"{scale * row[end]:.4g}" for end in ends)
            assert f"{value} ({low}, {high})" in drawn[name], name
    assert "naive difference: " in drawn["effect"]


def test_an_interval_without_ends_is_drawn_as_a_dot(found):
    facts = dict(found.steps["effect"].facts) | {"naive_low": -np.inf, "naive_high": np.nan}
    odd = replace(
        found, steps=found.steps | {"effect": replace(found.steps["effect"], facts=facts)}
    )
    drawn = pictures(odd)["effect"]
    assert not re.search("nan|inf", drawn.replace("information", ""))
    assert f"naive difference: {1000 * facts['naive']:.4g}" in drawn


def test_the_pictures_of_a_chinese_report_are_in_chinese(found):
    words = {"effect": "直接相减", "gains": "第 1 组", "rule": "照现状", "graph": "原因"}
    for name, picture in pictures(found, "zh").items():
        assert words[name] in picture
        texts = Words(picture).found
        assert [text for text in texts if ENGLISH.search(text)] == []
        labels = re.findall('aria-label="([^"]*)"', picture)
        assert labels
        assert [text for text in labels if ENGLISH.search(text)] == []
