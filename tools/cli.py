"""The `cbtool` command: the table of commands, and the one place where errors become exit codes."""

import atexit
import errno
import gc
import logging
import os
import sys
import traceback
from pathlib import Path

import click

from toolkit.core.errors import CbtoolError, InputError, LimitError
from toolkit.core.files import write_error
from tools import contracts, live, output, signals
from tools.lazy import LazyGroup, Target

ROOT = Path(__file__).resolve().parents[1]
# The help lines repeat the first lines of the commands' docstrings, so that the list of commands
# is shown without importing them; a test compares the two.
COMMANDS = {
    "augmentations": Target("tools.lists:augmentations", "List the augmentations."),
    "backbones": Target("tools.lists:backbones", "List the backbones."),
    "bench": Target("tools.bench:bench", "Compare speed with stock code; backtest estimates."),
    "build": Target("tools.build:build", "Write submission.zip from runs or a Keras model."),
    "bundle": Target("tools.bundle:bundle", "Write a competition for CodaBench."),
    "cancel": Target("tools.submissions:cancel", "Cancel submission ID."),
    "competitions": Target("tools.competitions:competitions", "Find, join and show competitions."),
    "data": Target("tools.data:data", "Inspect, clean, convert or download training data."),
    "delete": Target("tools.submissions:delete", "Delete submission ID for good."),
    "demo": Target("tools.demo:demo", "Run all stages on synthetic cells."),
    "doctor": Target("tools.doctor:doctor", "Check this machine, and say what to mend."),
    "evaluate": Target("tools.evaluate:evaluate", "Score a run; estimate the hidden test score."),
    "init": Target("tools.init:init", "Describe a competition in competition.toml."),
    "leaderboard": Target("tools.leaderboard:leaderboard", "Show a phase's leaderboard."),
    "login": Target("tools.account:login", "Log in at CodaBench, once."),
    "logout": Target("tools.account:logout", "Remove the stored token of a server."),
    "logs": Target("tools.submissions:logs", "Print the logs of submission ID."),
    "presets": Target("tools.lists:presets", "List the presets of train, or print one."),
    "rehearse": Target("tools.rehearse:rehearse", "Run ZIP through a competition's programs."),
    "report": Target("tools.report:report", "Write a page about a run, or compare runs."),
    "reproduce": Target("tools.reproduce:reproduce", "Train a preset again; compare its scores."),
    "runs": Target("tools.runs:runs", "Compare runs; keep the submissions ledger."),
    "score": Target("tools.score:score", "Run ZIP on FILE.npz and score its labels."),
    "status": Target("tools.submissions:status", "Show the status and score of submission ID."),
    "time": Target("tools.time:time", "Time ZIP, and project to N images."),
    "train": Target("tools.train:train", "Clean, split and train."),
    "tune": Target("tools.tune:tune", "Search for good settings within some hours."),
    "upload": Target("tools.upload:upload", "Upload ZIP to CodaBench and follow it to its score."),
    "validate": Target("tools.validate:validate", "Check ZIP's layout, code and behaviour."),
    "whoami": Target("tools.account:whoami", "Show your CodaBench account and free storage."),
}


@click.group(
    cls=LazyGroup,
    targets=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="cbtool", prog_name="cbtool")
@contracts.competition_option
@live.quiet_option
@click.pass_context
def cli(context: click.Context, competition_file: Path | None) -> None:
    """Turn a competition's training file into a checked and scored CodaBench submission.

    The stages: data clean, train, evaluate, build, validate, time, score, rehearse, upload. Start
    with `cbtool demo`; compare with `cbtool runs list`. For another competition than AN2DL 2024,
    describe it first: `cbtool init`.
    """
    # Keras reads it when it is imported, which happens inside the commands. Only training runs on
    # another backend: what is submitted is TensorFlow's.
    if context.invoked_subcommand != "train":
        os.environ["KERAS_BACKEND"] = "tensorflow"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0 ok; 1 a check failed; 2 wrong use or bad input; 3 CodaBench refused; 4 out of time or memory;
    130 interrupted, 143 and 129 by SIGTERM and SIGHUP.
    """
    # TensorFlow reads these when it is imported, which happens inside the commands.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow warns about how it runs keras-cv's layers; the user cannot change that.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # Python looks for unreachable objects again when it ends: among TensorFlow's that takes more
    # than a second, for which the user waits after the last line.
    atexit.register(gc.freeze)
    try:
        with signals.interruptible():
            result = cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as interruption:
        click.echo("Interrupted. No incomplete file was left under its final name.", err=True)
        return signals.find_exit_code(interruption)
    except CbtoolError as error:
        problem = error
    except OSError as error:
        if "CBTOOL_TRACEBACK" in os.environ:
            raise
        problem = _system_error(error)
    except MemoryError:
        problem = LimitError(
            "this machine has too little memory for this command.",
            "Use a smaller network, smaller batches, or fewer images.",
        )
    output.error(problem)
    return problem.exit_code


def _system_error(error: OSError) -> CbtoolError:
    """The sentence for an error of the operating system that no module has explained.

    Which operation failed is not known here, so the sentence names the file and the line of code
    instead.
    """
    if error.errno == errno.ENOSPC:
        return write_error(Path(error.filename or "the output"), error)
    if error.errno == errno.EPIPE and error.filename is None:
        return InputError(
            "the output was closed before all data was written.",
            "Make the reading command read all data, or write to a file.",
        )
    reason = error.strerror or str(error) or type(error).__name__
    subject = f"{error.filename}: {reason}" if error.filename else reason
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    place = ours[-1] if ours else frames[-1]
    return InputError(
        f"{subject} (in {place.name}, {Path(place.filename).name} line {place.lineno}).",
        "Check the path and its permissions. CBTOOL_TRACEBACK=1 shows the traceback.",
    )
