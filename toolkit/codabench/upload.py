"""From a zip to its score: announce it, upload it, enter it exactly once, follow it.

Each step is recorded in the user's state folder, so that a later call continues where an earlier
one was stopped.
"""

import fcntl
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from toolkit.codabench import schema
from toolkit.codabench.client import Client
from toolkit.codabench.eligibility import Plan
from toolkit.core import records
from toolkit.core.errors import InputError, LimitError, PlatformError
from toolkit.core.files import digest, write_error
from toolkit.core.progress import Progress, silent

# Characters of a name that are kept: with a unique suffix, the 35 that CodaBench keeps.
STEM_LENGTH = 26
SETTLE_SECONDS = 20.0  # seconds in which an entry without an answer is looked for in the list
LOOK_PAUSE = 2.0  # seconds between two looks there
SCORE_GRACE = 30.0  # seconds after Finished in which scores, or Failed, may still come
MAX_SILENCE = 600.0  # seconds without an answer after which following ends
MIN_PAUSE, MAX_PAUSE = 0.5, 10.0  # seconds between two looks at a status, which grow


@dataclass(frozen=True)
class Upload:
    """How far an upload is. name: the zip's unique name on the server; key, address: of its place
    there.

    entering: whether the entry was sent; submission: its number; status, scores: the last ones
    seen.
    """

    sha256: str
    file: str
    size: int
    url: str
    competition: int
    phase: int
    phase_name: str
    name: str
    started: float
    key: str = ""
    address: str = ""
    uploaded: bool = False
    entering: bool = False
    submission: int | None = None
    status: str = ""
    scores: dict[str, float] | None = None

    @property
    def is_over(self) -> bool:
        """Whether its end was seen."""
        return self.status in schema.FINAL


def refuse_repetition(client: Client, plan: Plan, path: Path) -> None:
    """Raises InputError where an earlier upload of the zip at `path` to the same phase is
    unfinished, or was scored."""
    for other in list_uploads():
        if (other.sha256, other.url, other.phase) != (plan.sha256, client.url, plan.phase.id):
            continue
        if not other.is_over:
            raise InputError(
                f"an upload of {path.name} to {plan.phase.name} is unfinished.",
                "Run: cbtool upload --resume; or add --again.",
            )
        if other.status == "Finished":
            raise InputError(
                f"{path.name} was scored in {plan.phase.name} as submission {other.submission}.",
                f"See: cbtool status {other.submission}; to enter it again anyway, add --again.",
            )


def begin(client: Client, plan: Plan, path: Path) -> Upload:
    """Records a new upload of the zip at `path`; nothing is sent yet."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "-", path.stem)[:STEM_LENGTH]
    upload = Upload(
        sha256=plan.sha256,
        file=str(path.absolute()),
        size=plan.size,
        url=client.url,
        competition=plan.competition.id,
        phase=plan.phase.id,
        phase_name=plan.phase.name,
        name=f"{stem}-{secrets.token_hex(4)}.zip",
        started=time.time(),
    )
    # Before the first request, so that no step is ever taken without a record of it.
    save(upload)
    return upload


def list_uploads() -> list[Upload]:
    """The uploads that were started on this machine, the latest first."""
    return sorted(
        map(_read, _folder().glob("*.json")), key=lambda upload: upload.started, reverse=True
    )


def find_unfinished(path: Path | None) -> Upload:
    """The latest upload whose end was not seen, of the zip at `path` if given. Raises InputError
    without any."""
    for upload in list_uploads():
        if not upload.is_over and (path is None or Path(upload.file) == path.absolute()):
            return upload
    raise InputError(
        f"no upload{f' of {path}' if path else ''} is unfinished.",
        "Start one: cbtool upload ZIP --competition ID.",
    )


def send(client: Client, upload: Upload, progress: Progress = silent) -> Upload:
    """Takes the steps that `upload` lacks until it is entered, and returns it with its number.

    Raises PlatformError when CodaBench refuses one or does not answer; what was reached is kept.
    """
    with _lock(upload):
        upload = _read(_record(upload.name))  # another process may have gone on with it
        if upload.submission is not None:
            return upload
        # Sent before, and unanswered: it may be there.
        if upload.entering and (row := _find_row(client, upload, SETTLE_SECONDS)):
            return _record_entry(upload, row)
        if not upload.uploaded:
            upload = _put(client, upload, progress)
        # Recorded before it is sent: whatever ends this process between here and the answer, the
        # next call knows that the entry may be there, and looks before it sends another.
        upload = replace(upload, entering=True)
        save(upload)
        try:
            row = client.create_submission(upload.key, upload.phase)
        except PlatformError as error:
            if not error.transient:  # refused: nothing was entered
                save(replace(upload, entering=False))
                raise
            # A server that says it failed is done with it; without an answer, or behind a proxy, it
            # may still be at it.
            row = _find_row(client, upload, 0 if error.status == 500 else SETTLE_SECONDS)
            if not row:
                raise _explain(client, upload, error) from error
        return _record_entry(upload, row)


def follow(
    client: Client,
    number: int,
    tell: Callable[[schema.Submission], None],
    seconds: float,
    scores_come: bool = True,
) -> schema.Submission:
    """Polls submission `number` until it ends, and calls `tell` with each answer.

    Finished is not the end: scores come later, and sometimes Failed. scores_come: False where
    the phase hides them. Raises LimitError after `seconds`, PlatformError when CodaBench has not
    answered for MAX_SILENCE seconds.
    """
    started = answered = time.monotonic()
    finished = None
    pause = MIN_PAUSE
    while True:
        now = time.monotonic()
        try:
            found = client.get_submission(number)
        except PlatformError as error:
            # The submission goes on there meanwhile, so an outage of minutes is waited out.
            if not error.transient or now - answered > MAX_SILENCE:
                raise
        else:
            answered = now
            tell(found)
            if found.status in ("Failed", "Cancelled") or (
                found.status == "Finished" and found.scores
            ):
                return found
            # The server reports Finished first and the scores after; and it goes from Finished to
            # Failed where the scoring program left none.
            if found.status != "Finished":
                finished = None
            elif finished is None:
                finished = now
            if finished and (not scores_come or now - finished > SCORE_GRACE):
                return found
        if now - started > seconds:
            raise LimitError(
                f"submission {number} is not finished after {seconds:g} seconds.",
                "It continues on CodaBench; to wait again, run: cbtool upload --resume.",
            )
        time.sleep(MIN_PAUSE if finished else pause)
        pause = min(1.3 * pause, MAX_PAUSE)


def record_status(upload: Upload, row: schema.Submission) -> Upload:
    """Records the status and the scores of `row` in `upload`, and returns it."""
    upload = replace(upload, status=row.status, scores=row.scores)
    save(upload)
    return upload


def save(upload: Upload) -> None:
    """Records how far `upload` is, readable by this user alone: the address is signed."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise write_error(folder, error) from error
    records.write(upload, _record(upload.name))


def _read(path: Path) -> Upload:
    return records.read(Upload, path, "Remove this record of an upload.")


def _put(client: Client, upload: Upload, progress: Progress) -> Upload:
    """Announces and uploads the zip; again, with a new address, where the old one expired."""
    path = Path(upload.file)
    # What was checked and recorded is this file's bytes: changed ones would be another submission.
    if not path.is_file() or digest(path) != upload.sha256:
        raise InputError(
            f"{path} has changed since its upload was started.",
            "Start again: cbtool upload ZIP --competition ID.",
        )
    fresh = not upload.key
    if fresh:
        upload = _announce(client, upload)
    try:
        client.upload_file(upload.address, path, progress)
    except PlatformError as error:
        # A signed address expires after days, which storages call a bad request or a forbidden one.
        if fresh or error.status not in (400, 403):
            raise
        upload = _announce(client, upload)
        client.upload_file(upload.address, path, progress)
    upload = replace(upload, uploaded=True)
    save(upload)
    try:
        client.complete_dataset(upload.key)
    except PlatformError as error:
        if not error.transient:  # the server does not insist on it
            raise
    return upload


def _announce(client: Client, upload: Upload) -> Upload:
    key, address = client.create_dataset(upload.competition, upload.name, upload.size)
    # Kept before the bytes go, so that a second try fills this place, not another one beside it.
    upload = replace(upload, key=key, address=address)
    save(upload)
    return upload


def _record_entry(upload: Upload, row: schema.Submission) -> Upload:
    upload = replace(upload, submission=row.id, status=row.status)
    save(upload)
    return upload


def _find_row(client: Client, upload: Upload, seconds: float) -> schema.Submission | None:
    """The row that an entry without an answer made, by the upload's unique name; None when none
    appears within `seconds`."""
    # A request that timed out here may still be at work there: its row can appear after a while.
    deadline = time.monotonic() + seconds
    while True:
        for row in client.list_submissions(upload.phase):
            if row.filename == upload.name:
                return row
        if time.monotonic() >= deadline:
            return None
        time.sleep(LOOK_PAUSE)


def _explain(client: Client, upload: Upload, error: PlatformError) -> PlatformError:
    """The error for an entry that made no row: an older server answers a used-up limit with a
    failure and no reason."""
    if reason := client.get_refusal(upload.phase):
        return PlatformError(
            f"CodaBench did not accept the submission: {reason}.",
            "The zip is on CodaBench; run later: cbtool upload --resume.",
            error.status,
        )
    return PlatformError(
        f"{error.sentence[:-1]}; it is not in the list of submissions.",
        "Run: cbtool upload --resume.",
        error.status,
    )


def _folder() -> Path:
    return platformdirs.user_state_path("cbtool") / "uploads"


def _record(name: str) -> Path:
    return _folder() / f"{name}.json"


@contextmanager
def _lock(upload: Upload) -> Iterator[None]:
    """Prevents a second process from sending the same upload at the same time."""
    # The system drops the lock when the process ends, however it ends: no lock outlives it.
    with (_folder() / f"{upload.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "another cbtool is sending this zip.", "Wait for it, or stop it."
            ) from error
        yield
