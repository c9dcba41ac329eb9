"""A real mariadbd in a temporary directory: the fixtures of tests marked ``mysql``."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import quote

import pymysql
import pytest

PASSWORD = "s3cr3t/P@ss:w%rd"  # every character that needs care in a URL
_HUNG = 600  # seconds after which a program is given up, however busy the machine
_PLACES = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/usr/local/bin"]
)


@pytest.fixture(scope="session")
def mariadb():
    """Socket and port of a running server with the user ``shop`` (password `PASSWORD`)."""
    programs = [shutil.which(name, path=_PLACES) for name in ("mariadbd", "mariadb-install-db")]
    if None in programs:
        reason = (
            "mariadbd or mariadb-install-db is not installed (Debian: apt-get install "
            "mariadb-server)"
        )
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # not tmp_path: a socket's path must be under 108 characters
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    server = None
    try:
        port, server = _start(*programs, folder)
        yield {"unix_socket": str(folder / "socket"), "port": port}
    finally:
        if server:
            server.terminate()
            try:
                server.wait(_HUNG)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder)


def _start(server, install, folder):
    user = f"--user={getpass.getuser()}"  # as root the server refuses to run unless it is told to
    data = f"--datadir={folder / 'data'}"
    subprocess.run(
        [
            install,
            "--no-defaults",
            data,
            user,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        check=True,
        timeout=_HUNG,
        capture_output=True,
    )
    options = [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}", data, user]
    options += [
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=off",
    ]
    options += [
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-file-size=32M",
        "--innodb-flush-log-at-trx-commit=0",
    ]
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                [server, "--no-defaults", f"--port={port}", *options], stdout=log, stderr=log
            )
        if _ready(process, folder):
            return port, process
        said = (folder / "log").read_text(errors="replace")
        # else somebody took the port since the probe let go of it
        if "Address already in use" not in said:
            break
    pytest.fail(f"mariadbd does not answer:\n{said[-3000:]}")


def _ready(process, folder):
    """Whether the server answers, and has the user; False where it ended, or hangs."""
    hung = time.monotonic() + _HUNG
    while process.poll() is None and time.monotonic() < hung:
        try:
            with administrator(folder / "socket") as root:
                for host in ("localhost", "127.0.0.1"):
                    root.execute("CREATE USER shop@%s IDENTIFIED BY %s", (host, PASSWORD))
                    root.execute("GRANT ALL ON `shop\\_%%`.* TO shop@%s", (host,))
            return True
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    return False


class administrator:
    """A cursor of the server's root user; also the second connection that kills a first one."""

    def __init__(self, path):
        self._connection = pymysql.connect(unix_socket=str(path), user="root", autocommit=True)

    def __enter__(self):
        return self._connection.cursor()

    def __exit__(self, *error):
        self._connection.close()


@pytest.fixture
def mysql_url(mariadb):
    """URL of a fresh, empty database on the server."""
    name = f"shop_{uuid.uuid4().hex[:12]}"
    with administrator(mariadb["unix_socket"]) as root:
        root.execute(f"CREATE DATABASE {name}")
    yield f"mysql+pymysql://shop:{quote(PASSWORD, safe='')}@127.0.0.1:{mariadb['port']}/{name}"
    with administrator(mariadb["unix_socket"]) as root:
        root.execute(f"DROP DATABASE {name}")


@pytest.fixture
def kill_connection(mariadb):
    """Function that cuts the server connection of a given id, from outside."""

    def kill(identity):
        with administrator(mariadb["unix_socket"]) as root:
            root.execute(f"KILL CONNECTION {int(identity)}")

    return kill
