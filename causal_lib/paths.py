"""Where things live. The only module that knows the layout of the repository."""

import hashlib
import os
import secrets
from functools import cache
from pathlib import Path

_CODE = (".py", ".toml", ".j2", ".safetensors")  # files that decide what is computed and said


def _holds_checkout(folder):
    return (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file()


def _user_folder():
    import platformdirs

    try:
        folder = platformdirs.user_data_path("causal-lib", appauthor=False)
    except (
        RuntimeError
    ):  # HOME is not set and the user is not in the password file, as in some containers
        folder = Path()
    return folder if folder.is_absolute() else Path.cwd() / "causal-lib"


def _root():
    if named := os.environ.get("CAUSAL_LIB_ROOT"):
        return Path(named).absolute()
    beside = Path(__file__).resolve().parents[1]
    return beside if _holds_checkout(beside) else _user_folder()


ROOT = _root()
"""The folder that the environment variable ``CAUSAL_LIB_ROOT`` names. Without it, the repository
that the package lies in. Without either, the user's data folder (``~/.local/share/causal-lib`` on
Linux), or ``causal-lib`` in the working folder if the user has no home."""

NOTEBOOKS = ROOT / "notebooks"
DATA = ROOT / "data"
RAW = DATA / "raw"
COMMITTED = ROOT / "reports"


def is_checkout() -> bool:
    """Whether `ROOT` is a checkout of the repository; the package alone has no notebooks and no
    committed reports.
    """
    return _holds_checkout(ROOT)


def own_sources() -> Path:
    """The user's own list of data sets, which may be absent: ``data/sources.toml``.

    It lies under `ROOT` if that is a checkout or named by ``CAUSAL_LIB_ROOT``, else in the working
    folder.
    """
    folder = ROOT if is_checkout() or os.environ.get("CAUSAL_LIB_ROOT") else Path.cwd()
    return folder / "data" / "sources.toml"


def reports() -> Path:
    """Folder that a notebook's results and figures are written to.

    The runner names it by ``CAUSAL_LIB_REPORTS``: the run's own folder. A notebook that is executed
    by hand, in JupyterLab or by papermill, writes into ``reports/runs/by-hand``, so that the
    committed reports change only by a run of the runner.
    """
    return Path(os.environ.get("CAUSAL_LIB_REPORTS") or COMMITTED / "runs" / "by-hand")


def run_by_runner() -> bool:
    """Whether ``CAUSAL_LIB_REPORTS`` names the folder of results, as in a run of the runner and in
    the notebooks' checks.
    """
    return bool(os.environ.get("CAUSAL_LIB_REPORTS"))


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` to ``path`` as `write_bytes` does, in UTF-8."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` through a temporary file and a rename, so that a kill or a full
    disk leaves the old file or the new.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with no content
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


@cache
def code_digest(package: Path = Path(__file__).parent) -> str:
    """A text that is the same where the code, the words and the weights of the package are."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in _CODE:
            found.update(path.relative_to(package).as_posix().encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
