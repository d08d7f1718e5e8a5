"""Isolation: what a hostile zip tries reaches nothing of this machine, ends with its run, and where
there is no isolation the result says so.

Each attack runs in a process of its own, because only that can be kept from this machine.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import in_process
from tests.support.marked import become_marked, find_marked, make_marker, wait_until
from tests.support.submissions import made
from toolkit.core.errors import InputError, SubmissionError
from toolkit.runtime import bubblewrap, checks, isolation, sandbox
from toolkit.runtime.isolation import Isolation
from toolkit.runtime.sandbox import Stopped
from toolkit.runtime.sandbox_process import KEPT_VARIABLES

needs_bubblewrap = pytest.mark.skipif(
    bubblewrap.find_reason() is not None, reason="bubblewrap does not work here"
)
PLAIN = Isolation("processes", "for a test")
IMAGES = {"images": np.zeros((2, 4, 4, 3), np.uint8)}
SECRET = "a-token-of-the-account"
# The attack runs when model.py is imported; predict tells whether it read the secret.
MODEL = """
import os, sys
TARGET, PORT, SECRET, MARKER = {target!r}, {port}, {secret!r}, {marker!r}
found = ""
try:
{attack}
except BaseException as error:
    print(type(error), error)
import numpy as np
class Model:
    def predict(self, X):
        return np.full(len(X), int({token!r} in found))
"""
# Every way out of an audit hook that was found in an earlier version, and some more.
ATTACKS = {
    "open": "open(TARGET, 'w').close()",
    "the detector's method": """
import __main__
__main__.Detector.__call__ = lambda *arguments: None
open(TARGET, 'w').close()
""",
    "ctypes": """
import ctypes
libc = ctypes.CDLL(None)
libc.open(TARGET.encode(), os.O_WRONLY | os.O_CREAT, 0o644)
libc.system(("echo > " + TARGET).encode())
""",
    "h5py": "import h5py; h5py.File(TARGET, 'w').close()",
    "sqlite3": "import sqlite3; sqlite3.connect(TARGET).execute('create table t (c)')",
    "dir_fd": """
folder = os.open(os.path.dirname(TARGET), os.O_RDONLY)
os.open(os.path.basename(TARGET), os.O_WRONLY | os.O_CREAT, dir_fd=folder)
""",
    "mkfifo": "os.mkfifo(TARGET)",
    "mknod": "os.mknod(TARGET)",
    "fork by ctypes": """
import ctypes
libc = ctypes.CDLL(None)
pid = libc.fork()
if pid == 0:
    libc.creat(TARGET.encode(), 0o644)
    libc._exit(0)
os.waitpid(pid, 0)
""",
    "fork_exec": """
from multiprocessing import util  # which calls it without telling audit hooks
words = [b"/bin/sh", b"-c", ("echo > " + TARGET).encode()]
os.waitpid(util.spawnv_passfds(b"/bin/sh", words, ()), 0)
""",
    "multiprocessing": """
import multiprocessing
if __name__ == "model":
    process = multiprocessing.get_context("spawn").Process(target=os.mknod, args=(TARGET,))
    process.start()
    process.join()
""",
    "udp": """
import socket
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.sendmsg([b"labels"], [], 0, ("127.0.0.1", PORT))
""",
    "udp by ctypes": """
import ctypes, socket, struct
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = struct.pack("=H", socket.AF_INET) + struct.pack(">H", PORT)
address += bytes([127, 0, 0, 1]) + bytes(8)
ctypes.CDLL(None).sendto(client.fileno(), b"labels", 6, 0, address, len(address))
""",
    "unix socket": """
import ctypes, socket, struct
client = socket.socket(socket.AF_UNIX)
address = struct.pack("=H", socket.AF_UNIX) + (SECRET + ".socket").encode()
if ctypes.CDLL(None).connect(client.fileno(), address, len(address)) == 0:
    found = SECRET_VALUE
""",
    "the secret's file": "found = open(SECRET).read()",
    "the environment": "found = repr(os.environ)",
    "the parent's environment": """
for place in os.listdir("/proc"):
    if place.isdigit() and int(place) != os.getpid():
        for name in ("environ", "cmdline"):
            try:
                found += open(f"/proc/{place}/{name}", errors="replace").read()
            except OSError:
                pass
found = found.replace(MARKER, "")
""",
    "the home folder": """
import glob
if glob.glob("/root/.*rc") + glob.glob("/home/*/.*rc"):
    found = SECRET_VALUE
""",
}


def indent(code):
    return "\n".join(f"    {line}" for line in code.strip("\n").splitlines())


def attack_zip(tmp_path, attack, port=9, files=(), **values):
    """A zip that makes `attack` when it is imported."""
    target, secret = tmp_path / "target", tmp_path / "secret"
    secret.write_text(SECRET)
    code = attack.replace("SECRET_VALUE", repr(SECRET))
    source = MODEL.format(
        target=str(target),
        port=port,
        secret=str(secret),
        marker=values.get("marker", ""),
        token=SECRET,
        attack=indent(code),
    )
    return made(tmp_path / "attack.zip", source, files), target


@contextmanager
def listen():
    """A UDP socket on the loopback device; what arrived is appended to the list."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.05)
        arrived = []
        yield server.getsockname()[1], arrived
        with suppress(TimeoutError):
            arrived.append(server.recv(100))


def make_attack(name, tmp_path, where=None):
    """The outcome of an attack, and whether it reached this machine."""
    with listen() as (port, arrived), socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/secret.socket")
        server.listen()
        path, target = attack_zip(tmp_path, ATTACKS[name], port)
        outcome = sandbox.run(path, IMAGES, isolation=where)
    read = outcome.labels("images").tolist() != [0, 0]
    return outcome, os.path.lexists(target) or bool(arrived) or read


@needs_bubblewrap
@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_reaches_this_machine(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CODABENCH_TOKEN", SECRET)
    outcome, reached = make_attack(name, tmp_path)
    assert not reached
    assert outcome.isolation.isolated


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_one(name, tmp_path, monkeypatch):
    """Without isolation it reaches this machine, or the detector has noticed and refused it."""
    # As the parent's environment is what the system shows, it has the secret from its start.
    monkeypatch.setitem(ATTACKS, "the environment", "found = open(SECRET).read()")
    outcome, reached = make_attack(name, tmp_path, PLAIN)
    noticed = outcome.connections + outcome.writes + outcome.processes
    assert reached or noticed or name in ("the home folder", "the parent's environment")
    assert "not isolated" in outcome.isolation.statement


@needs_bubblewrap
def test_a_numpy_of_the_zip_runs_after_the_detector_or_not_at_all(tmp_path):
    path, target = attack_zip(tmp_path, "")
    evil = f"import os; os.mknod({str(target)!r})"
    made(
        path,
        MODEL.format(target="", port=0, secret="", marker="", token="x", attack="    pass"),
        [("numpy.py", evil), ("json.py", evil), ("zipfile.py", evil)],
    )
    assert sandbox.run(path, IMAGES).labels("images").tolist() == [0, 0]
    assert not target.exists()


@needs_bubblewrap
def test_a_folder_called_site_packages_gives_no_rights(tmp_path):
    """The detector lets installed packages ask the system; a zip's own folder is none of them."""
    code = "import subprocess; subprocess.run(['/bin/true'])"
    source = (
        "import sys; sys.path.insert(0, 'site-packages')\nimport deep\nclass Model:\n"
        "    def predict(self, X): return X[:, 0, 0, 0]"
    )
    for where in (isolation.choose_isolation(), PLAIN):
        path = made(tmp_path / "s.zip", source, [("site-packages/deep.py", code)])
        outcome = sandbox.run(path, IMAGES, isolation=where)
        assert outcome.stage == "import" and "subprocess" in outcome.processes[0]


@needs_bubblewrap
@pytest.mark.slow  # imports TensorFlow in the process of the zip
def test_tensorflow_writes_nothing_here(tmp_path):
    path, target = attack_zip(tmp_path, "import tensorflow as tf; tf.io.write_file(TARGET, 'x')")
    assert sandbox.run(path, IMAGES).labels("images").tolist() == [0, 0]
    assert not target.exists()


@needs_bubblewrap
def test_what_a_zip_sees(tmp_path):
    """Of this machine only programs and libraries; no other process; no environment."""
    source = """
import os, json
import numpy as np
class Model:
    def predict(self, X):
        seen = {"root": sorted(os.listdir("/")), "etc": sorted(os.listdir("/etc")),
            "processes": [name for name in os.listdir("/proc") if name.isdigit()],
            "network": [line.split(":")[0].strip() for line in open("/proc/net/dev")][2:],
            "environment": sorted(os.environ), "user": os.getuid()}
        return np.array(json.dumps(seen))
"""
    seen = str(sandbox.run(made(tmp_path / "s.zip", source), IMAGES).array("images"))
    values = json.loads(seen)
    programs = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"}
    interpreter = {Path(sys.prefix).parts[1], Path(sys.base_prefix).parts[1]}
    assert set(values["root"]) <= programs | interpreter | {
        "app",
        "dev",
        "etc",
        "proc",
        "sys",
        "tmp",
        "var",
    }
    assert set(values["etc"]) <= {
        "alternatives",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "localtime",
        "passwd",
    }
    assert values["network"] == ["lo"]
    assert len(values["processes"]) <= 3
    allowed = {"PATH", "HOME", "TMPDIR", "TF_CPP_MIN_LOG_LEVEL", "PWD", "LC_CTYPE"}
    assert set(values["environment"]) <= allowed | set(KEPT_VARIABLES)


RUNAWAY = """
import os, subprocess, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", MARKER])
    os._exit(0)
"""


@needs_bubblewrap
def test_a_process_that_left_its_group_ends_with_the_run(tmp_path):
    marker = make_marker("runaway")
    code = "import __main__\n__main__.Detector.__call__ = lambda *arguments: None\n" + RUNAWAY
    path, _ = attack_zip(tmp_path, code, marker=marker)
    assert sandbox.run(path, IMAGES).stage == "done"
    assert wait_until(lambda: not find_marked(marker))


HUNGRY = """
import numpy as np, time
class Model:
    def predict(self, X):
        self.kept = [np.ones(25_000_000) for _ in range(5)]
        time.sleep(30)
"""
GREEDY = """
import numpy as np, tempfile
class Model:
    def predict(self, X):
        with tempfile.TemporaryFile() as file:
            for _ in range(300):
                file.write(bytes(10_000_000))
        return X[:, 0, 0, 0]
"""
FORKING = """
import __main__, os, time
__main__.Detector.__call__ = lambda *arguments: None
class Model:
    def predict(self, X):
        for _ in range(300):
            if os.fork() == 0:
                time.sleep(30)
        time.sleep(30)
"""


@pytest.mark.parametrize(
    "where", [pytest.param(None, marks=needs_bubblewrap), PLAIN], ids=["isolated", "plain"]
)
@pytest.mark.parametrize(
    ("source", "reason", "memory"),
    [(HUNGRY, "memory", 400_000_000), (FORKING, "processes", isolation.MEMORY_LIMIT)],
    ids=["memory", "processes"],
)
def test_memory_and_processes_are_bounded(source, reason, memory, where, tmp_path):
    started = time.monotonic()
    with pytest.raises(Stopped) as stopped:
        path = made(tmp_path / "s.zip", source)
        sandbox.run(path, IMAGES, isolation=where, memory_limit=memory)
    assert stopped.value.reason == reason
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    "where", [pytest.param(None, marks=needs_bubblewrap), PLAIN], ids=["isolated", "plain"]
)
def test_the_disk_is_bounded(where, tmp_path, monkeypatch):
    """A file may not grow without end, wherever it lies."""
    monkeypatch.setattr(bubblewrap, "DISK", 50_000_000)
    monkeypatch.setattr("toolkit.runtime.sandbox_process.DISK_LIMIT", 50_000_000)
    path = made(tmp_path / "s.zip", GREEDY)
    try:
        outcome = sandbox.run(path, IMAGES, isolation=where)
    except Stopped as stopped:
        assert stopped.reason == "disk"
    except SubmissionError as error:  # the signal for a file that is too large
        assert "ended with code" in error.sentence
    else:
        assert "Errno 28" in outcome.calls["images"].error or "Errno 27" in (
            outcome.calls["images"].error
        )


FORGERIES = {
    "it writes a report of its own": """
import json, os
for fd in range(3, 256):
    try:
        os.write(fd, json.dumps({"token": "0" * 32, "error": None, "kind": "ndarray", "dtype": None,
            "shape": [], "size": 0, "peak_bytes": 0, "connections": [], "writes": [],
            "processes": []}).encode() + b"\\n")
    except OSError:
        pass
""",
    "it writes without end": """
import os
for fd in range(3, 256):
    try:
        while True:
            os.write(fd, b"x" * 65536)
    except OSError:
        pass
""",
    "it exits with code 0": "import os; os._exit(0)",
    "it closes the pipe and waits": """
import os, time
os.closerange(3, 256)
time.sleep(60)
""",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_result_gains_nothing(name, tmp_path):
    path = made(tmp_path / "s.zip", FORGERIES[name] + "\nclass Model:\n    pass")
    started = time.monotonic()
    with pytest.raises((SubmissionError, Stopped)):
        sandbox.run(path, IMAGES, time_limit=3)
    assert time.monotonic() - started < 10


def test_arrays_are_checked_before_they_are_made(tmp_path):
    """Of a forged reply with the right token: a size of petabytes, a type of Python objects."""
    forge = """
import json, sys, __main__
import numpy as np
def answer(self, request):
    if request["step"] != "predict":
        return original(self, request)
    reply, content = original(self, request)
    reply.update(VALUES)
    return reply, content
original, __main__.Harness.answer = __main__.Harness.answer, answer
class Model:
    def predict(self, X):
        return np.zeros(len(X), int)
"""
    for values in (
        {"shape": [10**9, 10**6], "size": 8 * 10**15},
        {"shape": [-1, -2]},
        {"dtype": "|O"},
        {"dtype": "<i9"},
        {"dtype": "<U2000000000", "size": 16 * 10**9},
        {"shape": [2] * 40},
        {"kind": 7},
        {"more": 1},
    ):
        path = made(tmp_path / "s.zip", forge.replace("VALUES", repr(values)))
        with pytest.raises(SubmissionError, match="disturbed"):
            sandbox.run(path, IMAGES)


def test_what_is_no_plain_array_is_not_sent(tmp_path):
    source = """
import numpy as np
class Model:
    def predict(self, X):
        return np.array([len(X), None], dtype=object)
"""
    call = sandbox.run(made(tmp_path / "s.zip", source), IMAGES).calls["images"]
    assert call.output is None and call.kind == "ndarray"


def test_times_are_taken_outside(tmp_path):
    source = """
import time
real = time.sleep
time.perf_counter = time.monotonic = time.time = lambda: 0.0
class Model:
    def predict(self, X):
        real(0.3)
        return X[:, 0, 0, 0]
"""
    outcome = sandbox.run(made(tmp_path / "s.zip", source), IMAGES)
    assert outcome.calls["images"].seconds >= 0.3


KILLED = """
import sys
from pathlib import Path
import numpy as np
from toolkit.runtime import sandbox
from toolkit.runtime.isolation import Isolation
where = Isolation(sys.argv[2])
sandbox.run(Path(sys.argv[1]), {"images": np.zeros((1, 4, 4, 3), np.uint8)}, isolation=where)
"""


@pytest.mark.parametrize(
    "engine", [pytest.param("bubblewrap", marks=needs_bubblewrap), "processes"]
)
def test_a_killed_parent_leaves_no_process(engine, tmp_path):
    """A process, because it is killed."""
    marker = make_marker("orphan")
    path = made(tmp_path / "s.zip", become_marked(marker))
    parent = subprocess.Popen([sys.executable, "-c", KILLED, path, engine])
    assert wait_until(lambda: find_marked(marker))
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not find_marked(marker))


def test_without_isolation_the_result_says_so(tmp_path):
    path = made(tmp_path / "s.zip")
    found = {check.name: check for check in checks.validate(path, isolation=PLAIN)}
    assert found["isolation"].status == "warning"
    assert "not isolated: run only zips you trust" in found["isolation"].detail
    # Nothing was seen; that is not "no network".
    assert found["network"].detail == "none noticed"
    shown = in_process("validate", path, "--evaluator", "none", "--backend", "processes", "--json")
    assert '"isolated": false' in shown.stdout and "run only zips you trust" in shown.stdout


def test_isolation_that_is_wanted_and_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(bubblewrap, "find_reason", lambda: "bwrap is not installed")
    with pytest.raises(InputError, match="cannot isolate: bwrap is not installed"):
        isolation.choose_isolation("bubblewrap")
    chosen = isolation.choose_isolation()
    assert not chosen.isolated
    assert chosen.statement == ("not isolated: run only zips you trust (bwrap is not installed)")


def test_many_runs_leave_nothing_behind(tmp_path):
    """No descriptor, thread, process or folder; 200 real validations are measured in
    docs/performance.md."""
    path = made(tmp_path / "s.zip")
    for round_number in range(6):
        sandbox.run(path, IMAGES)
        if round_number == 0:  # what the first run loads stays
            before = count_descriptors(), threading.active_count()
    assert (count_descriptors(), threading.active_count()) == before


def count_descriptors():
    return len(os.listdir("/dev/fd"))
