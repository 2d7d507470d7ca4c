"""Gateways, workers and other commands that tests start are forked from a process that has imported all of them.

To import them takes two seconds of CPU time, and the tests start a few hundred. A test starts them as a user does, by
`python -m gateway.cli`, and gets a child of its own process to wait for and to kill. `TESTS_FORK=0` in the environment
of the command or of all tests starts Python anew.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = (
    "gateway.cli",
    "tests.chaos.gateway",
    "tests.gateway.streams.clients.poster",
    "tests.ledger.archiver",
    "tests.ledger.poster",
)
_MAX_BYTES: Final = 1 << 17
_PR_SET_CHILD_SUBREAPER: Final = 36
_USUAL: Final = (True, None, None, None, -1)
"""`restore_signals`, `gid`, `gids`, `uid` and `umask` of `Popen`."""


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that Python reads when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_", "MALLOC_"))}


def _is_this_program(folder: Path) -> bool:
    """A folder with another program of the same name has that one started."""
    return not (folder / "gateway").exists() or (folder / "gateway").samefile(ROOT / "gateway")


class _Forker:
    """Starts when it is first asked. Ends when the tests do, as its socket is closed then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                file = theirs.fileno()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tests.command_processes", str(file)],
                    cwd=ROOT,
                    pass_fds=[file],
                    stdin=subprocess.DEVNULL,
                )
        return self._socket

    def start(self, request: dict[str, Any], files: Sequence[int]) -> int:
        """Returns the id of the process, which is a child of this one."""
        with self._lock, _adopting():
            connection = self._connected()
            socket.send_fds(connection, [json.dumps(request).encode()], files)
            return int(connection.recv(16))

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._process.wait(10)
            self._socket = None


@contextmanager
def _adopting() -> Iterator[None]:
    """Makes this process the parent of what its descendants leave behind."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


_forker: Final = _Forker()


class ForkedPopen(subprocess.Popen[Any]):
    """Differs from `Popen` only in the step that makes the child, and only for the gateway's commands."""

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *rest: Any,
    ) -> None:
        environment = dict(os.environ if env is None else env)
        fork = (
            not (isinstance(args, (str, bytes, os.PathLike)) or shell or executable or preexec_fn or pass_fds)
            and [*args][:2] == [sys.executable, "-m"]
            and args[2] in MODULES
            and rest[: len(_USUAL)] == _USUAL
            and environment.get("TESTS_FORK") != "0"
            and _of_python(environment) == _of_python(os.environ)
            and _is_this_program(Path(cwd or "."))
        )
        if not fork:
            files = (p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
            given = (args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell)
            super()._execute_child(*given, *files, *rest)  # type: ignore[misc]
            return
        request = {
            "module": args[2],
            "arguments": [os.fspath(one) for one in args[3:]],
            "environment": environment,
            "folder": os.fspath(cwd or Path.cwd()),
            "session": bool(rest[len(_USUAL)]),
        }
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = _forker.start(request, streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(  # type: ignore[attr-defined]
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
            )


@contextmanager
def forked() -> Iterator[None]:
    with mock.patch.object(subprocess, "Popen", ForkedPopen):
        try:
            yield
        finally:
            _forker.stop()


def _import_all() -> None:
    for name in MODULES:
        importlib.import_module(name)
    for name in MODULES:
        # A child imports it anew, as its `__main__`.
        del sys.modules[name]
    commands = importlib.import_module("gateway.commands")
    for module in pkgutil.iter_modules(commands.__path__, "gateway.commands."):
        importlib.import_module(module.name)


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Runs the command in this process, which ends with it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    if request["session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["", *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _serve(connection: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _import_all()
    # What is there by now stays as it is: a collection in a child would copy its pages.
    gc.freeze()
    while True:
        text, files, _, _ = socket.recv_fds(connection, _MAX_BYTES, 3)
        if not text:
            return
        between, told = os.pipe()
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild:
                os.write(told, str(grandchild).encode())
                os._exit(0)
            for file in (connection.detach(), between, told):
                os.close(file)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _become(json.loads(text), files)
            return
        os.waitpid(child, 0)
        connection.send(os.read(between, 16))
        for file in (*files, between, told):
            os.close(file)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
