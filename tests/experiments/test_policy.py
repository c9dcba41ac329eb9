"""Benchmarks of inference at a small size."""

import sys

import numpy as np
import pytest

from causal_lib.experiments import policy as benchmark


def test_off_policy_is_timed_on_all_estimators():
    report = benchmark.off_policy(n=3000, k=5, repeats=1)
    assert len(report["values"]) == len(benchmark.ESTIMATORS)
    assert report["claims"][0]["value"] > 0


def test_without_the_package_obp_it_is_told(tmp_path):
    assert "make peers" in benchmark.open_bandit(folder=tmp_path)["skipped"]


def test_values_are_compared_with_the_peer_s(tmp_path):
    """A peer whose estimators are all inverse propensity weighting: only that one agrees."""
    package = tmp_path / "obp" / "ope"
    package.mkdir(parents=True)
    kinds = "\n".join(f"class {kind}(Ips): pass" for kind, _ in benchmark.OBP.values())
    (package / "estimators.py").write_text(
        "import numpy as np\n\n\nclass Ips:\n    def __init__(self, **settings): pass\n\n"
        "    def estimate_policy_value(self, reward, action, pscore, action_dist, **rest):\n"
        "        return (action_dist[np.arange(len(action)), action, 0] / pscore * reward).mean()\n\n\n" + kinds
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        patch.setattr(sys, "modules", dict(sys.modules))
        report = benchmark.open_bandit(n=3000, k=3, tables=2, folder=tmp_path)
    held = {claim["claim"].split(":")[0]: claim["held"] for claim in report["claims"]}
    assert held.pop("ips")
    assert not any(held.values())
    assert np.isfinite([claim["value"] for claim in report["claims"]]).all()
