"""Runs command lines one after another: python -m tests.support.several_devices FILE.json

FILE.json lists the arguments of each. A process of its own, because TensorFlow and JAX make their
devices once, when they are first used. TensorFlow has two virtual CPU devices here; JAX has as many
as XLA_FLAGS says. VICTIM, a path in the environment, has this process killed when the history in
it has a few rows, as a host that fails.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import tensorflow as tf

from tools import cli

ROWS = 4


def die_with(history: Path) -> None:
    while not history.exists() or len(history.read_text().splitlines()) < ROWS:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    if victim := os.environ.get("VICTIM"):
        threading.Thread(target=die_with, args=(Path(victim),), daemon=True).start()
    for words in json.loads(Path(sys.argv[1]).read_text()):
        if code := cli.main(words):
            sys.exit(code)
