"""Reasons: each is worded in both languages in one place, and is an ordinary string."""

import ast
import copy
import json
import pickle
from pathlib import Path
from string import Formatter

import pytest

import causal_lib
from causal_lib import reasons
from causal_lib.inference import far_values, support
from causal_lib.inference.nuisances import NoOverlapError
from causal_lib.reasons import Reason
from causal_lib.studies import columns

PACKAGE = Path(causal_lib.__file__).parent
SENTENCES = reasons._sentences()
# words whose key is computed, from the names of arms and targets
WORDS = {*support.ARMS, *support._MEMBERS.values(), "control_or_treated"}
WORDS |= {*columns.EPOCHS, *columns.DAYS, "is", "is_not"}
WORDS |= {f"the_{role}" for role in far_values.ROLES}


def fields(text):
    return {name for _, name, *_ in Formatter().parse(text) if name is not None}


def calls():
    """(file, call) of every `Reason` that the package makes of a key."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "reasons.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Reason", "Reason.chain"):
                found.append((path.name, node))
    return found


def is_reason(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) in ("Reason", "Reason.of")


@pytest.mark.parametrize("key", SENTENCES)
def test_every_sentence_has_both_languages(key):
    texts = SENTENCES[key]
    assert set(texts) == {"en", "zh"}
    allowed = fields(texts["en"])
    if texts["en"] == "{text}":  # an error's own words, which Chinese leaves to results.json
        allowed |= {"treatment", "outcome"}
    assert fields(texts["zh"]) <= allowed
    assert any("\u4e00" <= sign <= "\u9fff" for sign in texts["zh"])


def test_every_sentence_is_given_somewhere_and_every_one_that_is_given_is_there():
    keys = {
        node.args[0].value: (file, node)
        for file, node in calls()
        if isinstance(node.args[0], ast.Constant)
    }
    assert len(keys) > 40
    assert set(keys) | WORDS | {"as_said"} == set(SENTENCES)


def test_every_value_of_a_sentence_is_given():
    for file, node in calls():
        if not isinstance(node.args[0], ast.Constant) or len(node.args) > 1:  # a chain
            continue
        given = {one.arg for one in node.keywords}
        if None in given:  # a mapping, which its own tests fill
            continue
        needed = set().union(*map(fields, SENTENCES[node.args[0].value].values()))
        assert given >= needed, f"{file}: {ast.unparse(node)}"


def test_no_judgement_is_worded_outside_of_the_file():
    """`Step` refuses other strings itself; a `Judgement` is made in one module."""
    tree = ast.parse((PACKAGE / "inference" / "support.py").read_text(encoding="utf-8"))
    told = [
        node.args[-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("reasons.append", "reasons.insert")
    ]
    assert len(told) > 5
    assert [ast.unparse(one) for one in told if not is_reason(one)] == []


def test_a_reason_is_a_string_in_english():
    found = Reason("few_clusters", arm=Reason("treated"), clusters=3)
    assert found == "the treated come from 3 clusters"
    assert f"{found}!" == "the treated come from 3 clusters!"
    assert json.loads(json.dumps([found])) == [found]
    assert found.in_language("zh") == "处理组只来自 3 个单位"
    assert {found: 1}["the treated come from 3 clusters"] == 1


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_copy_knows_both_languages(again):
    found = Reason("constant", column="<b>")
    assert again(found) == found
    assert again(found).in_language("zh") == found.in_language("zh")


def test_values_are_no_formats():
    assert Reason("constant", column="{text}") == "{text}: constant, left out"


def test_an_error_gives_its_reason_or_its_message():
    reason = Reason("few_folds", clusters=2, folds=5)
    assert Reason.of(NoOverlapError(reason)) is reason
    plain = Reason.of(ValueError("a {b} c"))
    assert plain == "a {b} c"
    assert "results.json" in plain.in_language("zh")
    assert Reason.of(ValueError()) == ""


def test_a_chain_is_said_in_each_language():
    found = Reason.chain("either", ["a > 1", Reason.chain("both", ["b <= 2", Reason("always")])])
    assert found == "a > 1; or b <= 2 and always"
    assert found.in_language("zh") == "a > 1；或 b <= 2 且 任何情况"
    assert Reason.chain("both", ["a > 1"]) == "a > 1"
