"""The explorer: its page shows the library's own numbers, its server shows nothing else."""

import http.client
import json
import os
import shutil
import socket
import threading
from copy import deepcopy
from http.server import ThreadingHTTPServer

import numpy as np
import pytest

from causal_lib.cli import main
from causal_lib.inference.nuisances import standard_error
from causal_lib.inference.robustness import sensitivity
from causal_lib.studies import LogError, Roles, choose_rule, open_log, study
from causal_lib.studies.explorer import explorer_page, make_server, page_data, read_study
from causal_lib.studies.gains import Scores
from causal_lib.studies.rules import _half
from causal_lib.studies.templates import LANGUAGES, texts_of
from tests.studies.conftest import ROLES, make_log

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
ODD = "<script>alert(1)</script>"
DEVICE = "de\"v'ice & <b>"
POSITIONS = [(0, 0), (3, 2), (9, 5), (-1, 1)]


@pytest.fixture(scope="module")
def odd_log():
    """A log whose effect varies, with names that would be markup."""
    rng = np.random.default_rng(5)
    log = make_log(1000, seed=1)
    chance = 0.3 + 0.4 * log["shown"] * (log["cost"] < 20)
    log["bought"] = (rng.random(len(log)) < chance).astype(int)
    return log.rename(columns={"cost": ODD, "device": DEVICE})


@pytest.fixture(scope="module")
def odd_roles():
    return Roles.from_dict(ROLES | {"before": [["age", DEVICE, "joined"], [ODD]]})


@pytest.fixture(scope="module")
def folder(odd_log, odd_roles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    study(odd_log, odd_roles, folder=folder, draws=3, progress=False)
    return folder


@pytest.fixture(scope="module")
def kept(folder):
    return read_study(folder)


@pytest.fixture(scope="module")
def prepared(odd_log, odd_roles):
    return open_log(odd_log, odd_roles)


@pytest.fixture(scope="module")
def scores(folder):
    return Scores(*np.load(next(folder.rglob("scores.npy"))))


@pytest.fixture(scope="module")
def rule_at(odd_log, odd_roles, folder, prepared, scores):
    """The library's own rule at a budget and a cost."""
    steps = study(odd_log, odd_roles, folder=folder, draws=3, progress=False).steps

    def chosen(budget, cost):
        used = [steps[name] for name in ("identify", "effect", "gains")]
        return choose_rule(prepared, *used, scores, budget=budget, cost=cost)

    return chosen


# ---- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", POSITIONS)
def test_each_position_of_the_sliders_is_the_rule_that_the_library_chooses(kept, rule_at, position):
    policy = page_data(kept)["policy"]
    budget = policy["budgets"][position[0]]
    cost = policy["costs"][position[1]]
    own = rule_at(budget, cost)
    place = policy["which"][position[0]][position[1]]
    part = policy["parts"][0]
    assert policy["rules"][place]["en"] == own.facts["text"]
    rows = {row["policy"]: row for row in own.tables["policies"]}
    assert part["shares"][place] == rows["the rule"]["share"]
    scale = policy["per"]
    for name, found in {
        "the rule": part["worth"][place],
        "as today": part["today"],
        "show everything": part["everything"],
    }.items():
        expected = [scale * rows[name][end] for end in ("value", "low", "high")]
        assert found[position[1]] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    more = [scale * own.facts["over"]["as today"][end] for end in ("value", "low", "high")]
    assert part["more"][place][position[1]] == pytest.approx(more, rel=1e-9, abs=1e-9)


def test_the_sliders_start_where_the_study_stands(kept):
    policy = page_data(kept)["policy"]
    facts = kept["steps"]["rule"]["facts"]
    budget, cost = policy["start"]
    assert policy["budgets"][budget] == facts["budget"]
    assert policy["costs"][cost] == facts["cost"]
    assert policy["rules"][policy["which"][budget][cost]]["en"] == facts["text"]


def test_rules_and_parts_are_told_in_both_languages(kept):
    """The page says in Chinese what the English page says, of each rule that a slider chooses."""
    data = page_data(kept)
    rules = data["policy"]["rules"]
    assert any("且" in one["zh"] or "是" in one["zh"] or one["zh"] == "任何情况" for one in rules)
    for one in rules:
        assert (" and " in one["en"]) == (" 且 " in one["zh"])
        assert not {"and", "or", "not", "is", "always", "never"} & set(one["zh"].split())
    levels = [one["name"] for one in data["populations"] if one["key"] == "part"]
    assert all((" is " in one["en"]) == (" 是 " in one["zh"]) for one in levels)


def test_a_study_of_a_version_that_kept_rules_as_text_is_refused(kept, tmp_path):
    old = deepcopy(kept)
    grid = old["steps"]["rule"]["facts"]["grid"]
    grid["rules"] = ["always" for _ in grid["rules"]]
    (tmp_path / "results.json").write_text(json.dumps(old), encoding="utf-8")
    with pytest.raises(LogError, match="not that of a study by this version; run the study again"):
        read_study(tmp_path)


def test_the_effect_in_a_part_is_the_mean_score_of_its_rows(kept, prepared, scores):
    found = [one for one in page_data(kept)["populations"] if one["key"] == "part"]
    assert found
    units = prepared.frame["user"].to_numpy()
    held_out = ~_half(units, 0)
    score = scores.score
    for one in found:
        column, sign, value = one["name"]["en"].rsplit(" ", 2)
        if sign == "is":
            inside = (prepared.frame[column].astype(str) == value.strip("'")).to_numpy()
        else:
            cut = prepared.frame.loc[held_out, column].median()
            assert f"{cut:.4g}" == value
            below = (prepared.frame[column] <= cut).to_numpy()
            inside = below if sign == "<=" else ~below
        own = score[inside]
        half = 1.959963984540054 * standard_error(own - own.mean(), units[inside])
        expected = [1000 * own.mean(), 1000 * (own.mean() - half), 1000 * (own.mean() + half)]
        assert one["effects"][0]["interval"] == pytest.approx(expected)
        assert one["rows"] == inside.sum()


def test_the_parts_of_a_column_make_up_the_whole(kept):
    parts = kept["steps"]["rule"]["facts"]["grid"]["parts"]
    whole = parts[0]
    halves = [part for part in parts[1:] if part["part"]["sign"] in ("<=", ">")][:2]
    assert sum(part["held_out"] for part in halves) == whole["held_out"]
    for key in ("today", "everything"):
        together = sum(part["held_out"] * part[key][3][0] for part in halves)
        assert together == pytest.approx(whole["held_out"] * whole[key][3][0])


def test_the_strength_of_a_hidden_cause_is_that_of_the_library(kept, prepared):
    hidden = page_data(kept)["hidden"]
    facts = kept["steps"]["sensitivity"]["facts"]
    own = sensitivity(
        prepared.frame, "shown", "bought", kept["steps"]["identify"]["facts"]["adjustment"],
        estimator="regression", target="overlap", cluster=prepared.cluster, multiples=(),
    )  # fmt: skip
    of_treatment, of_outcome = hidden["strengths"]
    for i, j in [(0, 0), (3, 8), (len(of_treatment) - 1, len(of_outcome) - 1)]:
        expected = [1000 * end for end in own.under(of_treatment[i], of_outcome[j])]
        assert hidden["under"][i][j] == pytest.approx(expected)
    i, j = hidden["column_at"]
    assert of_treatment[i] == facts["with_treatment"]
    assert hidden["under"][i][j][0] == pytest.approx(1000 * facts["value_if"])


def test_every_text_is_there_in_both_languages_with_the_same_values():
    for key, texts in texts_of("explorer.toml").items():
        assert set(texts) == set(LANGUAGES), key
        fields = [sorted(part[: part.find("}")] for part in text.split("{")[1:]) for text in
                  texts.values()]  # fmt: skip
        assert [one.partition(":")[0] for one in fields[0]] == [
            one.partition(":")[0] for one in fields[1]
        ], key


# ---- edges ---------------------------------------------------------------------------------------


def small_study(
    edges, adjustment, *, tiers=(("a", "b", "c"),), kind="DAG", tables=None, found=None
):
    names = sorted({name for edge in edges for name in edge.split() if len(name) == 1})
    rows = [
        {"cause": e.split()[0], "sign": e.split()[1], "effect": e.split()[2], "found": 0.4}
        for e in edges
    ]
    graph = {"names": names, "edges": edges, "kind": kind}
    steps = {
        "graph": {"facts": {"graph": graph, "given": False, **(found or {})}, "tables": {"edges": rows}},
        "identify": {
            "facts": {"strategy": "back-door", "adjustment": adjustment},
            "tables": tables or {},
        },
        "effect": {"facts": {}, "tables": {}},
        "sensitivity": {"facts": {}},
        "rule": {"facts": {}},
    }  # fmt: skip
    return {"roles": {"treatment": "t", "outcome": "y", "before": tiers}, "steps": steps}


def evidence(given):
    return {one["name"]: one for one in page_data(given)["edges"]}


def test_an_edge_decides_where_its_reversal_opens_a_path():
    # without adjustment c blocks t <- a -> c <- b -> y; with c -> a the path is open
    edges = ["a -> t", "a -> c", "b -> c", "b -> y", "t -> y"]
    found = evidence(small_study(edges, []))
    assert found["a -> c"]["decides"]
    assert "decides the effect" in found["a -> c"]["says"]["en"][-1]
    assert not found["a -> t"]["decides"]
    assert "exclude the other direction" in found["a -> t"]["says"]["en"][-1]
    assert "is the question" in found["t -> y"]["says"]["en"][-1]
    # c adjusted for with a: the path is closed in either direction
    assert "does not decide" in evidence(small_study(edges, ["a", "c"]))["a -> c"]["says"]["en"][-1]


def test_an_edge_that_cannot_be_turned_round_closes_a_cycle():
    edges = ["a -> b", "b -> c", "a -> c", "c -> t", "t -> y"]
    assert "cycle" in evidence(small_study(edges, ["c"]))["a -> c"]["says"]["en"][-1]


def test_the_share_of_an_open_edge_and_its_frequency_are_told():
    tables = {"deciding": [{"edge": "a -- b", "decides": 0.75}]}
    given = small_study(
        ["a -- b", "a -> t", "t -> y"], [], kind="CPDAG", tables=tables,
        found={"draws": 30, "directions": [[0.1, 0.2], [0.4, 0.0], [0.4, 0.0]]},
    )  # fmt: skip
    said = " ".join(evidence(given)["a -- b"]["says"]["en"])
    assert "40% of 30 draws" in said
    assert "a → b in 10%, b → a in 20%" in said
    assert "75%" in said
    assert evidence(given)["a -- b"]["decides"]


# ---- folders -------------------------------------------------------------------------------------


def test_a_study_below_a_folder_is_found_and_several_are_refused(folder, tmp_path, kept):
    text = json.dumps(kept)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text, encoding="utf-8")
        if name == "one":
            assert read_study(tmp_path) == kept
    with pytest.raises(LogError, match=r"holds 2 studies; choose one: .*one, .*two"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no results.json"),
        ('{"steps": {"graph": {"fa', "cut short or no JSON .* run the study again"),
        ("", "cut short or no JSON"),
        ("\x00", "cut short or no JSON"),
        ("[]", "is not that of a study"),
        ('{"steps": {}}', "is not that of a study"),
        ('{"metrics": [1]}', "is not that of a study"),
    ],
)
def test_a_folder_that_is_no_study(tmp_path, text, message, capsys):
    if text is not None:
        (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(LogError, match=message):
        read_study(tmp_path)
    assert main(["explore", str(tmp_path), "--no-browser"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(LogError, match="is no folder"):
        read_study(tmp_path / "none")


def test_the_page_of_a_study_without_rule_or_effect_says_why(kept):
    refused = deepcopy(kept)
    for name in ("effect", "sensitivity", "gains", "rule"):
        refused["steps"][name] |= {
            "verdict": "refused", "facts": {}, "tables": {}, "reasons": ["no <b>overlap</b>"]
        }  # fmt: skip
    page = explorer_page(refused)
    assert "no &lt;b&gt;overlap&lt;/b&gt;" in page
    assert 'id="budget"' not in page
    older = deepcopy(kept)
    del older["steps"]["rule"]["facts"]["grid"]
    del older["conclusion_zh"]
    assert "earlier version" in explorer_page(older)


# ---- the server ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(kept):
    server, address = make_server(explorer_page(kept, nonce="n0"), nonce="n0")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, address
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server, path, *, method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for one in host if host is not None else [f"127.0.0.1:{server.server_port}"]:
        connection.putheader("Host", one)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_only_the_whole_address_is_answered(served):
    server, address = served
    path = address.split(str(server.server_port))[1]
    answer, body = ask(server, path)
    assert answer.status == 200
    assert b"<!DOCTYPE html>" in body
    assert "script-src 'nonce-n0'" in answer.headers["Content-Security-Policy"]
    assert server.server_address[0] == "127.0.0.1"
    wrong = ["/", path[:-1], path + "?a=1", path + "results.json", path[:-2] + "/", "/../", "/é"]
    for one in wrong[:-1]:
        answer, body = ask(server, one)
        assert answer.status == 404, one
        assert b"DOCTYPE" not in body


def test_another_host_is_refused_even_with_the_token(served):
    server, address = served
    path = address.split(str(server.server_port))[1]
    port = server.server_port
    own = f"127.0.0.1:{port}"
    for host in (["evil.example"], [f"evil.example:{port}"], [], [own, own], ["127.0.0.1"]):
        answer, body = ask(server, path, host=host)
        assert answer.status == 403, host
        assert b"DOCTYPE" not in body
    assert ask(server, path, host=[f"localhost:{port}"])[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT"])
def test_only_get_is_answered(served, method):
    server, address = served
    answer, body = ask(server, address.split(str(server.server_port))[1], method=method)
    assert answer.status == 501
    assert b"data" not in body


def test_a_port_that_cannot_be_had(served, folder, capsys):
    port = served[0].server_port
    with pytest.raises(LogError, match=f"port {port} is in use; give another by --port"):
        make_server("", port=port)
    assert main(["explore", str(folder), "--no-browser", "--port", str(port)]) == 2
    assert "in use" in capsys.readouterr().err
    with pytest.raises(LogError, match="70000 is no port"):
        make_server("", port=70000)


def test_no_name_of_this_machine_is_asked_for(monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asks the network"))
    server, address = make_server("")
    server.server_close()
    assert address.startswith("http://127.0.0.1:")


def test_the_command_prints_the_address_and_ends_by_interrupt(folder, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    opened = []
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupted)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["explore", str(folder), "--no-browser"]) == 0
    assert opened == []
    assert main(["explore", str(folder)]) == 0
    assert opened[0] in capsys.readouterr().out


# ---- in a browser --------------------------------------------------------------------------------


def shown(tab, place):
    """The numbers of a line of a table: [value, low, high], exact and as they are written."""
    cells = tab.locator(f"{place} data")
    exact = [float(cells.nth(i).get_attribute("value")) for i in range(cells.count())]
    written = [float(cells.nth(i).inner_text()) for i in range(cells.count())]
    assert written == [float(f"{one:.4g}") for one in exact]
    return exact


@pytest.mark.skipif(
    BROWSER is None and os.environ.get("CI") != "true", reason="no chromium, no google-chrome"
)
def test_the_page_in_a_browser(served, kept, rule_at):
    from playwright.sync_api import sync_playwright

    assert BROWSER is not None, "CI has no browser: apt-get install chromium"
    _, address = served
    data = page_data(kept)
    policy = data["policy"]
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 390, "height": 844})
        tab.on("console", lambda said: wrong.append(said.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda one: wrong.append("a dialog"))
        tab.on("request", lambda asked: asked.url == address or wrong.append(asked.url))
        tab.goto(address)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.locator("script:not([type])").count() == 1
        assert tab.locator("h1 script, main script, main b").count() == 0
        for position in POSITIONS:
            budget, cost = (range(len(policy[key]))[at] for key, at in
                            zip(("budgets", "costs"), position, strict=True))  # fmt: skip
            tab.fill("#budget", str(budget))
            tab.fill("#cost", str(cost))
            own = rule_at(policy["budgets"][budget], policy["costs"][cost])
            rows = own.tables["policies"]
            assert tab.inner_text("#rule") == " ".join(own.facts["text"].split())
            for line, row in enumerate([rows[0], rows[1], rows[2]], start=1):
                expected = [policy["per"] * row[end] for end in ("value", "low", "high")]
                found = shown(tab, f"#policies tbody tr:nth-child({line})")
                assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        # by keyboard alone
        tab.focus("#budget")
        tab.fill("#budget", "1")
        tab.keyboard.press("ArrowRight")
        assert tab.input_value("#budget") == "2"
        assert tab.get_attribute("#budget", "aria-valuetext") == tab.inner_text("#budget-told")
        for number, population in enumerate(data["populations"]):
            tab.select_option("#population", str(number))
            row = population["effects"][0]["interval"]
            assert shown(tab, "#effects tr:first-child") == pytest.approx(row)
        tab.fill("#with_treatment", "6")
        tab.fill("#with_outcome", "9")
        assert shown(tab, "#left tr") == pytest.approx(data["hidden"]["under"][6][9])
        low, high = data["hidden"]["under"][6][9][1:]
        assert tab.locator("#undone").is_visible() == (low <= 0 <= high)
        tab.locator(".edge").nth(1).focus()
        tab.keyboard.press("Enter")
        assert data["edges"][1]["name"] in tab.inner_text("#evidence")
        assert "none, if the tiers" in tab.inner_text("#deciding")
        tab.locator("#language").click()
        assert data["edges"][1]["says"]["zh"][-1] in tab.inner_text("#evidence")
        assert "What does" not in tab.inner_text("main")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        unnamed = tab.evaluate(
            "[...document.querySelectorAll('input, select, button, [role=button]')].filter(one => "
            "!(one.labels && one.labels.length) && !one.ariaLabel && !one.innerText).length"
        )
        assert unnamed == 0
        browser.close()
    assert wrong == []
