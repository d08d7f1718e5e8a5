"""Records of uploads, in the user's state folder: how far each is, and how it ended."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import platformdirs

from toolkit.codabench import schema
from toolkit.codabench.client import Client
from toolkit.core import locks, records
from toolkit.core.errors import InputError
from toolkit.core.files import digest, write_error

DELETED, ABANDONED = "deleted", "abandoned"  # ends that only this machine knows


@dataclass(frozen=True)
class Upload:
    """How far an upload is. name: the zip's unique name on the server; key, address: of its place
    there.

    user: whose it is; "" in records of version 0.1. entering: whether the entry was sent;
    submission: its number; status, scores: the last ones seen.
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
    user: str = ""
    key: str = ""
    address: str = ""
    uploaded: bool = False
    entering: bool = False
    submission: int | None = None
    status: str = ""
    scores: dict[str, float] | None = None

    @property
    def is_over(self) -> bool:
        """Whether its end was seen, or it will not be continued."""
        return self.status in (*schema.FINAL, DELETED, ABANDONED)

    @property
    def step(self) -> str:
        """How far it is, for a person."""
        if self.submission is not None:
            return f"entered as submission {self.submission}"
        if self.entering:
            return "entered, without an answer"
        return "uploaded, not entered" if self.uploaded else "not uploaded"


def list_uploads(client: Client) -> list[Upload]:
    """The uploads that the client's user started on this machine, the latest first."""
    found = [upload for upload in map(_read, folder().glob("*.json")) if upload.url == client.url]
    if any(upload.user for upload in found):  # else nobody need ask who this is
        found = [upload for upload in found if upload.user in ("", client.username)]
    return sorted(found, key=lambda upload: upload.started, reverse=True)


def list_unfinished(client: Client) -> list[Upload]:
    """Those of them whose end was not seen."""
    return [upload for upload in list_uploads(client) if not upload.is_over]


def find_upload(client: Client, number: int) -> Upload | None:
    """The upload that became submission `number`; None where it was not sent from here."""
    for upload in list_uploads(client):
        if upload.submission == number:
            return upload
    return None


def find_unfinished(client: Client, path: Path | None) -> Upload:
    """The latest unfinished upload, of the zip at `path` if given. Raises InputError without
    any."""
    return _list_candidates(client, path)[0]


def find_resumable(client: Client, path: Path | None) -> Upload:
    """The same, but the latest that can be continued: one whose zip is needed and has gone or
    changed cannot."""
    candidates = _list_candidates(client, path)
    for upload in candidates:
        if not _lacks_zip(upload):
            return upload
    raise InputError(
        f"{candidates[0].file} has changed or gone since its upload was started.",
        "Put it back; or close this upload: cbtool upload --abandon.",
    )


def record_status(client: Client, upload: Upload, row: schema.Submission) -> Upload:
    """Records the status and the scores of `row` in `upload`, and returns it."""
    upload = replace(record_user(client, upload), status=row.status, scores=row.scores)
    save(upload)
    return upload


def record_user(client: Client, upload: Upload) -> Upload:
    """Records whose `upload` is, where a record of version 0.1 does not say: the client's user, who
    has seen its submission."""
    # CodaBench shows a submission to nobody else.
    if not upload.user:
        upload = replace(upload, user=client.username)
        save(upload)
    return upload


def record_deletion(upload: Upload) -> Upload:
    """Records that the submission of `upload` is no longer on CodaBench."""
    return _record_end(upload, DELETED)


def record_absence(upload: Upload) -> bool:
    """Records that CodaBench no longer has the submission of `upload`, and says whether it did.

    Not where the record, of version 0.1, has no user: what another user sent is absent as well.
    """
    if not upload.user:
        return False
    record_deletion(upload)
    return True


def abandon(upload: Upload) -> Upload:
    """Closes the record of `upload`, which is not continued. Nothing is sent.

    Raises InputError while a process sends it.
    """
    with lock(upload):
        return _record_end(read_record(upload.name), ABANDONED)


def save(upload: Upload) -> None:
    """Records how far `upload` is, readable by this user alone: the address is signed."""
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise write_error(folder(), error) from error
    records.write(upload, _path(upload.name))


def read_record(name: str) -> Upload:
    """The record of the upload called `name`, as it stands now."""
    return _read(_path(name))


def lock(upload: Upload) -> AbstractContextManager[None]:
    """Holds `upload` for this process. Raises InputError where another process sends it."""
    return locks.hold(lock_path(upload.name), "is sending this zip", "Wait for it, or stop it.")


def lock_path(name: str) -> Path:
    """The file that the process which sends this upload holds locked."""
    return folder() / f"{name}.lock"


def folder() -> Path:
    """Where the records lie."""
    return platformdirs.user_state_path("cbtool") / "uploads"


def _record_end(upload: Upload, status: str) -> Upload:
    upload = replace(upload, status=status)
    save(upload)
    return upload


def _lacks_zip(upload: Upload) -> bool:
    """Whether the zip has still to be sent, and is not what it was."""
    if upload.uploaded or upload.entering:
        return False
    path = Path(upload.file)
    if not path.is_file() or path.stat().st_size != upload.size:
        return True
    # A network that was trained again has as many bytes as before.
    return digest(path) != upload.sha256


def _list_candidates(client: Client, path: Path | None) -> list[Upload]:
    """The unfinished uploads, of the zip at `path` if given. Raises InputError without any."""
    found = list_unfinished(client)
    if path is not None:
        found = [upload for upload in found if Path(upload.file) == path.absolute()]
    if not found:
        raise InputError(
            f"no upload{f' of {path}' if path else ''} is unfinished.",
            "Start one: cbtool upload ZIP --competition ID.",
        )
    return found


def _read(path: Path) -> Upload:
    return records.read(Upload, path, "Remove this record of an upload.")


def _path(name: str) -> Path:
    return folder() / f"{name}.json"
