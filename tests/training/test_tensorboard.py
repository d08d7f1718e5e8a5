"""Event files for TensorBoard: records that TensorFlow's own reader reads again."""

import pytest
import tensorflow as tf

from toolkit.core import config
from toolkit.training.tensorboard import FOLDER, TAGS, VERSION, TensorBoardWriter
from tools import live, train


def test_each_epoch_is_there_at_once_with_all_its_numbers(tmp_path):
    (tmp_path / "run").mkdir()
    write = TensorBoardWriter(tmp_path / "run" / "tensorboard", (0, 5))
    row = {column: 0.5 + number for number, column in enumerate(TAGS)}
    write({**row, "phase": 0, "epoch": 4})
    write({**row, "phase": 1, "epoch": 0})
    (path,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert "tfevents" in path.name
    records = tf.data.TFRecordDataset(str(path))
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in records]
    assert events[0].file_version == VERSION
    found = {
        (value.tag, event.step): value.simple_value
        for event in events
        for value in event.summary.value
    }
    expected = {(TAGS[column], step): row[column] for column in TAGS for step in (4, 5)}
    assert found == pytest.approx(expected)


def test_what_cannot_be_written_does_not_end_the_training(tmp_path, capsys):
    (tmp_path / FOLDER).write_text("a file where the folder would be")
    row = dict.fromkeys(TAGS, 0.5) | {"phase": 0, "epoch": 0, "best": 1, "monitored": 0.5}
    with live.stages() as stages:
        report = train.report_epochs(stages, config.preset("tiny"), tmp_path)
        report(row)
        report(row)
    shown = capsys.readouterr().err
    assert shown.count("No more for TensorBoard: ") == 1 and shown.count("phase 1 of 2") == 2
