"""Child steps that begin with the heavy libraries already imported: forked from a server that did nothing but import.

Importing torch and transformers takes a child 4 to 14 s, and the tests have some 500 children. What is tested stays the
same in all else: each step has a process of its own, with its own session, environment, folder, log and end. The real
beginning, a new interpreter, is what tests/test_worker.py and the tests that run the command line as a process have.

`Popen` here stands in for `deploytk.worker.Popen`. As a script this is the server: `python warm.py DESCRIPTOR`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: What costs most to import and starts no thread by it. Not ultralytics, which reads its settings when it is imported.
LIBRARIES = (
    "torch", "torchvision", "torch._dynamo", "torch.onnx", "numpy", "scipy.stats", "sklearn.base", "matplotlib.pyplot",
    "cv2", "PIL.Image", "onnx", "onnxruntime", "timm", "transformers.trainer", "transformers.models.auto.modeling_auto",
    "peft", "accelerate", "datasets", "optimum.onnxruntime", "optimum.exporters.onnx",
)  # fmt: skip
#: Read by native libraries when they are loaded: a child that needs another value begins anew.
_LOADED_WITH = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LD_PRELOAD", "LD_LIBRARY_PATH")
_MODULE = "deploytk.worker"
_MOST = 1 << 20  # bytes of a request: the environment is the largest of it


class _Server:
    """The process that has imported, started when it is first needed."""

    def __init__(self) -> None:
        self._ours: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {name: os.environ.get(name) for name in _LOADED_WITH}

    def start(self) -> None:
        """Begin to import; the first child waits until it is done."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            argv = [sys.executable, __file__, str(theirs.fileno())]
            nothing = subprocess.DEVNULL
            self._process = subprocess.Popen(
                argv, pass_fds=(theirs.fileno(),), stdin=nothing, stdout=nothing, stderr=nothing
            )
        atexit.register(self.end)

    def end(self) -> None:
        """Let it go."""
        if self._ours and self._process:
            self._ours.close()
            self._process.wait()

    def serves(self, argv: list[str], environment: dict[str, str]) -> bool:
        """Whether this child can begin warm."""
        wanted = {name: environment.get(name) for name in _LOADED_WITH}
        return argv[:3] == [sys.executable, "-m", _MODULE] and wanted == self._environment

    def ask(self, told: dict[str, Any], descriptors: list[int]) -> socket.socket:
        """The line on which the child is told of."""
        if self._ours is None:
            self.start()
        assert self._ours
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # an id and an end stay two messages
        with theirs:
            socket.send_fds(self._ours, [json.dumps(told).encode()], [theirs.fileno(), *descriptors])
        return ours


SERVER = _Server()


def Popen(argv: list[str], **how: Any) -> Any:  # noqa: N802 (it stands for the class)
    """A child as `subprocess.Popen` starts it: warm where it is a step of deploytk's, or else anew."""
    if SERVER.serves(argv, how["env"]):
        return Warm(argv, **how)
    return subprocess.Popen(argv, **how)


class Warm:
    """What `deploytk.worker` uses of a `Popen`."""

    def __init__(
        self, argv: list[str], *, stdin: int, stdout: Any, stderr: int, start_new_session: bool, pass_fds: Any, env: Any
    ) -> None:
        assert (stdin, stderr, start_new_session) == (subprocess.DEVNULL, subprocess.STDOUT, True)
        self.returncode: int | None = None
        told = {"argv": argv[2:], "env": env, "folder": str(Path.cwd()), "pass": list(pass_fds)}
        self._line = SERVER.ask(told, [stdout.fileno(), *pass_fds])
        self.pid = int(self._told(None))

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, as `subprocess.Popen.wait` gives it."""
        if self.returncode is None:
            self.returncode = int(self._told(timeout))
            self._line.close()
        return self.returncode

    def _told(self, timeout: float | None) -> bytes:
        self._line.settimeout(timeout)
        try:
            said = self._line.recv(16)
        except TimeoutError:
            raise subprocess.TimeoutExpired("a warm child", timeout or 0.0) from None
        if not said:
            raise RuntimeError("the server of warm children is gone (tests/warm.py)")
        return said


def _serve(line: socket.socket) -> None:
    """Fork for each request, until the tests have gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # handlers need nobody to wait for them
    while True:
        request, descriptors, _, _ = socket.recv_fds(line, _MOST, 16)
        if not request:
            return
        if os.fork() == 0:
            line.close()
            _handle(json.loads(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _handle(told: dict[str, Any], descriptors: list[int]) -> None:
    """Have the child, which tells its id, tell its end, and end."""
    from deploytk.worker import die_with_parent

    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    answer = socket.socket(fileno=descriptors[0])
    child = os.fork()
    if child == 0:
        _become(told, answer, descriptors[1:])
    for descriptor in descriptors[1:]:
        os.close(descriptor)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        answer.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(told: dict[str, Any], answer: socket.socket, descriptors: list[int]) -> None:
    """Be the child: all that a new interpreter would have of its own, then its task."""
    os.setsid()
    answer.send(str(os.getpid()).encode())
    answer.close()
    output, *passed = descriptors
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, ours in ((0, nothing), (1, output), (2, output), *zip(told["pass"], passed, strict=True)):
        os.dup2(ours, number)
    os.environ.clear()
    os.environ.update(told["env"], DEPLOYTK_PARENT=str(os.getppid()))
    os.chdir(told["folder"])
    sys.path[:0] = [told["folder"], *filter(None, told["env"].get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = told["argv"]
    tempfile.tempdir = None
    code = 1
    try:
        code = _task(Path(told["argv"][-1]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # As an interpreter ends: what a library has registered for its end is done.
        atexit._run_exitfuncs()
        os._exit(code)


def _task(task: Path) -> int:
    from deploytk import worker

    worker.die_with_parent()
    return 1 if worker._orphaned() else worker._child(task)


def _main() -> None:
    import importlib

    line = socket.socket(fileno=int(sys.argv[1]))
    sys.path.remove(str(Path(__file__).parent))
    import deploytk  # noqa: F401 (before any library, as in every process of its own)

    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    # No collection of garbage in a child looks through what was imported: each page it touches would be copied.
    gc.collect()
    gc.freeze()
    _serve(line)


if __name__ == "__main__":
    _main()
