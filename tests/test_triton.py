"""TensorFlow and Triton in one process, with the Triton that pip installs beside the default torch
on Linux.
"""

import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from causal_lib import paths

VERSION = "3.7.1"
LINUX = (
    sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
)

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(
        not LINUX, reason="pip installs Triton beside torch on Linux with glibc only"
    ),
]


@pytest.fixture(scope="module")
def site():
    """A folder for PYTHONPATH that holds Triton; where torch brought one along, an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        if find_spec("triton") is None:
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
            ]
            pip = subprocess.run(
                [*command, f"triton=={VERSION}", "--dest", folder],
                capture_output=True,
                text=True,
                check=False,
            )
            wheels = list(Path(folder).glob("*.whl"))
            if not wheels and not os.environ.get("CI"):
                pytest.skip(f"triton {VERSION} could not be downloaded")
            assert len(wheels) == 1, pip.stderr
            # CUDA's tools are a third of it, and no import needs them
            with zipfile.ZipFile(wheels[0]) as archive:
                skipped = ("triton/backends/nvidia/bin/", "triton/backends/nvidia/lib/")
                archive.extractall(
                    folder, [name for name in archive.namelist() if not name.startswith(skipped)]
                )
            wheels[0].unlink()
        yield folder


def run(site, code):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([site, str(paths.ROOT)]),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=site,
    )


def test_the_fault_is_still_there_without_the_library(site):
    # When this fails, TensorFlow or Triton has mended the clash, and causal_lib/_triton.py can go.
    assert run(site, "import tensorflow, triton").returncode == -11  # a segmentation fault


# Triton is not only loaded but also used: its LLVM starts, and its compiler makes a module.
USED = """
from triton._C.libtriton import ir, llvm
llvm.init_targets()
context = ir.context()
ir.load_dialects(context)
print(ir.builder(context).create_module())
"""


@pytest.mark.parametrize(
    "imports",
    [
        "from causal_lib.models import dnn, gnn",
        "from causal_lib.models import gnn, dnn",
        "import tensorflow; from causal_lib.models import gnn",
        "import tensorflow, causal_lib, torch; "
        "torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])",
        "import torch, causal_lib, tensorflow; "
        "torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])",
        "import triton; from causal_lib.models import dnn",
    ],
)
def test_tensorflow_and_triton_load_in_any_order(site, imports):
    ended = run(site, imports + USED)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.startswith("module {")


def test_importing_the_library_loads_neither(site):
    ended = run(
        site, "import causal_lib, sys; print({'triton', 'tensorflow', 'torch'} & set(sys.modules))"
    )
    assert ended.stdout == "set()\n", ended.stderr


def test_flags_and_finder_are_left_as_they_were(site):
    ended = run(
        site,
        "import sys; flags = sys.getdlopenflags(); import causal_lib, triton; from causal_lib "
        "import _triton;"
        "_triton.make_loadable();"
        "print(sys.getdlopenflags() == flags, sum(type(f).__name__ == '_TritonFinder' for f in "
        "sys.meta_path))",
    )
    assert ended.stdout == "True 1\n", ended.stderr
