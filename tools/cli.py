"""The `cbtool` command: registration, and the one place where errors become exit codes."""

import logging
import os
import sys
from pathlib import Path

import click

from toolkit.core.errors import CbtoolError, LimitError
from toolkit.core.files import write_error
from tools import (
    account,
    bench,
    build,
    bundle,
    competitions,
    data,
    demo,
    evaluate,
    output,
    rehearse,
    runs,
    score,
    submissions,
    time,
    train,
    upload,
    validate,
)

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cbtool", prog_name="cbtool")
def cli() -> None:
    """From a competition's training file to a checked and scored CodaBench submission.

    The road: data clean, train, evaluate, build, validate, time, score, rehearse, upload. Start
    with `cbtool demo`; compare with `cbtool runs list`.
    """


for command in (
    demo.demo,
    data.data,
    train.train,
    evaluate.evaluate,
    build.build,
    validate.validate,
    time.time,
    score.score,
    rehearse.rehearse,
    bundle.bundle,
    account.login,
    account.logout,
    account.whoami,
    competitions.competitions,
    upload.upload,
    submissions.status,
    submissions.logs,
    submissions.leaderboard,
    submissions.cancel,
    submissions.delete,
    runs.runs,
    bench.bench,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0 ok; 1 a check failed; 2 wrong use or bad input; 3 CodaBench refused; 4 out of time or memory;
    130 interrupted.
    """
    # TensorFlow reads these when it is imported, which happens inside the commands.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # It warns of how it runs keras-cv's layers; nobody can do anything about that.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        result = cli.main(arguments, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except CbtoolError as error:
        output.error(error)
        return error.exit_code
    except OSError as error:
        problem = write_error(Path(error.filename or "the output"), error)
        output.error(problem)
        return problem.exit_code
    except MemoryError:
        error = LimitError(
            "this machine has too little memory for that.",
            "Use a smaller network, smaller batches, or fewer images.",
        )
        output.error(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted: nothing half-written is left under a final name.", err=True)
        return INTERRUPTED


def run() -> None:
    """The entry point of the `cbtool` script."""
    sys.exit(main())
