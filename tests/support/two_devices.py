"""Runs the command line on two virtual CPU devices: two_devices.py ARGUMENT...

A process of its own, because TensorFlow makes its devices once, when it is first used.
"""

import sys

import tensorflow as tf

from tools import cli

if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    sys.exit(cli.main(sys.argv[1:]))
