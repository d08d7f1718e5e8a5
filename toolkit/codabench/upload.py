"""From a zip to its score: announce it, upload it, enter it exactly once, follow it.

Each step is recorded (`upload_records`), so that a later call continues where an earlier one was
stopped.
"""

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote

from toolkit.codabench import schema
from toolkit.codabench.client import Client
from toolkit.codabench.eligibility import Plan
from toolkit.codabench.upload_records import (
    DELETED,
    Upload,
    list_uploads,
    lock,
    read_record,
    record_absence,
    record_status,
    save,
)
from toolkit.core.errors import InputError, LimitError, PlatformError
from toolkit.core.files import digest
from toolkit.core.progress import Progress, silent

# Characters of a name that are kept: with a unique suffix, the 35 that CodaBench keeps.
STEM_LENGTH = 26
SETTLE_SECONDS = 20.0  # seconds in which an entry without an answer is looked for in the list
LOOK_PAUSE = 2.0  # seconds between two looks there
SCORE_GRACE = 30.0  # seconds after Finished in which scores, or Failed, may still come
MAX_SILENCE = 600.0  # seconds without an answer after which following ends
MIN_PAUSE, MAX_PAUSE = 0.5, 10.0  # seconds between two looks at a status, which grow


def refuse_repetition(client: Client, plan: Plan, path: Path) -> None:
    """Raises InputError where an earlier upload of the zip at `path` to the same phase is
    unfinished, or was scored."""
    for other in list_uploads(client):
        if (other.sha256, other.phase) != (plan.sha256, plan.phase.id):
            continue
        if other.is_over and other.status != "Finished":
            continue
        status = _look_up_status(client, other)
        if status == "Finished":
            raise InputError(
                f"{path.name} was scored in {plan.phase.name} as submission {other.submission}.",
                f"See: cbtool status {other.submission}; to enter it again anyway, add --again.",
            )
        # Failed or deleted on CodaBench since it was last looked at: neither unfinished nor scored.
        if status not in (*schema.FINAL, DELETED):
            raise InputError(
                f"an upload of {path.name} to {plan.phase.name} is unfinished.",
                f"Continue it: cbtool upload --resume {quote(other.file)}; or close it: cbtool "
                f"upload --abandon {quote(other.file)}; or add --again.",
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
        user=client.username,
    )
    # Before the first request, so that no step is ever taken without a record of it.
    save(upload)
    return upload


def send(client: Client, upload: Upload, progress: Progress = silent) -> Upload:
    """Takes the steps that `upload` lacks until it is entered, and returns it with its number.

    Raises PlatformError when CodaBench refuses one or does not answer; what was reached is kept.
    """
    with lock(upload):
        upload = read_record(upload.name)  # another process may have gone on with it
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
                raise _record_refusal(upload, error) from error
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
            if finished and _all_failed(client, found):
                return found
        if now - started > seconds:
            raise LimitError(
                f"submission {number} is not finished after {seconds:g} seconds.",
                "It continues on CodaBench; to wait again, run: cbtool upload --resume.",
            )
        time.sleep(MIN_PAUSE if finished else pause)
        pause = min(1.3 * pause, MAX_PAUSE)


def _look_up_status(client: Client, upload: Upload) -> str:
    """The status that the submission of `upload` has on CodaBench now, which is recorded; "" where
    it was not entered."""
    if upload.submission is None:
        return ""
    try:
        row = client.get_submission(upload.submission)
    except PlatformError as error:
        if error.status != 404:
            raise
        record_absence(upload)
        return DELETED
    return record_status(client, upload, row).status


def _all_failed(client: Client, row: schema.Submission) -> bool:
    """Whether `row` consists of several tasks, and no score will come of any."""
    children = client.get_children(row)
    return bool(children) and all(child.status == "Failed" for child in children)


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


def _record_refusal(upload: Upload, error: PlatformError) -> PlatformError:
    """Records that `upload` was not entered, and returns the error for it."""
    # The refusal of a zip that its user has deleted on the page Resources: it has to be sent again.
    if error.status != 400 or "Object with key" not in error.sentence:
        save(replace(upload, entering=False))
        return error
    save(replace(upload, entering=False, uploaded=False, key="", address=""))
    return PlatformError(
        f"CodaBench no longer has {upload.name}, which was uploaded before.",
        f"Upload it again: cbtool upload --resume {quote(upload.file)}.",
        error.status,
    )


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
