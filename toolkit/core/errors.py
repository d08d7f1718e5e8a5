"""Errors that a user can cause: a sentence, a hint, and the exit code of the command line."""


class CbtoolError(Exception):
    """One sentence that says what is wrong, with a hint that says what to do.

    `sentence` names the file or value at fault; `hint` is a command or an action; `exit_code` is
    the code of the process (2: wrong use or bad input).
    """

    exit_code = 2

    def __init__(self, sentence: str, hint: str = ""):
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class InputError(CbtoolError):
    """A file, an option or a configuration value is wrong."""


class DivergenceError(InputError):
    """A training's loss is no number any more, or far beyond all that is sound."""


class SubmissionError(CbtoolError):
    """The submission ran and failed, or a check of it failed."""

    exit_code = 1


class LimitError(CbtoolError):
    """Out of time or memory."""

    exit_code = 4


class WorkerError(CbtoolError):
    """Another process of a training over several is gone."""

    exit_code = 4


class PlatformError(CbtoolError):
    """CodaBench refused, failed, or could not be reached.

    status: the HTTP code of the answer, None without one. transient: whether the same request may
    succeed a little later.
    """

    exit_code = 3

    def __init__(
        self, sentence: str, hint: str = "", status: int | None = None, transient: bool = False
    ):
        super().__init__(sentence, hint)
        self.status = status
        self.transient = transient


def end_sentence(text: str) -> str:
    """`text` with a full stop, unless it ends as a sentence does."""
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
