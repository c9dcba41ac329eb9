"""Files that dependencies leave in the temporary folder."""

import os
import subprocess
import sys

import pytest

from causal_lib import paths

LAYERS = """
import importlib.util, sys, tempfile
from pathlib import Path
import causal_lib
import torch
from torch_geometric.nn import GATConv, SAGEConv

x, edges = torch.ones(3, 2), torch.tensor([[0, 1], [1, 2]])
for layer in (SAGEConv(2, 2), GATConv(2, 2)):
    layer(x, edges)
written = [Path(sys.modules[name].__file__) for name in sys.modules if "_propagate" in name or "_edge_updater" in name]
assert all(path.parent == Path(tempfile.gettempdir()) and path.exists() for path in written)
print(len(written), flush=True)

mine = Path(tempfile.gettempdir()) / "wave_propagate.py"  # a module of the user's with such a name
mine.write_text("speed = 3")
spec = importlib.util.spec_from_file_location("wave_propagate", mine)
sys.modules["wave_propagate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["wave_propagate"])
"""


@pytest.mark.parametrize("bytecode", ["", "1"])
def test_the_modules_that_layers_generate_are_removed_at_exit_and_nothing_else(tmp_path, bytecode):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": bytecode}
    done = subprocess.run(
        [sys.executable, "-c", LAYERS],
        capture_output=True,
        text=True,
        env=environment,
        cwd=paths.ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3  # two layers, one of which computes on edges too
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith("wave_propagate.")} == set()
    assert "wave_propagate.py" in left
