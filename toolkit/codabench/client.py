"""A client of CodaBench's REST API, as a real server answered it (v1.25) and as newer ones do."""

from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from toolkit.codabench import schema
from toolkit.codabench.credentials import Account
from toolkit.codabench.http import TIMEOUT, Transport, answer_errors
from toolkit.core.errors import PlatformError
from toolkit.core.progress import Progress, silent

LIST_LIMIT = 100  # competitions that are listed: a server has thousands, twenty a page


class Client:
    """One user at one CodaBench. Every method raises PlatformError when it is refused, fails, or
    cannot be reached."""

    def __init__(self, account: Account, timeout: tuple[float, float] = TIMEOUT):
        self.url = account.url
        self._username: str | None = None
        self._transport = Transport(account, timeout)

    @property
    def clock_offset(self) -> timedelta:
        """By how much the server's clock was ahead of this machine's in its last answer."""
        return self._transport.clock_offset

    def now(self) -> datetime:
        """The time on the server."""
        return datetime.now(timezone.utc) + self.clock_offset

    def login(self, username: str, password: str) -> str:
        """The token of that user."""
        found = self._transport.send(
            "POST", "api-token-auth/", {"username": username, "password": password}
        )
        with answer_errors("the login"):
            return str(found["token"])

    @property
    def username(self) -> str:
        """The user's name; asked for once."""
        if self._username is None:
            self._username = self.whoami()
        return self._username

    def whoami(self) -> str:
        """The user's name."""
        found = self._transport.get("my_profile/")
        with answer_errors("my_profile/"):
            return str(found["username"])

    def list_competitions(self, search: str = "", joined: bool = False) -> list[dict[str, Any]]:
        """Public competitions, or those the user takes part in: LIST_LIMIT at most.

        Dictionaries with id, title and created_by.
        """
        query = {}
        if search:
            query["search"] = search
        if joined:
            found = self._transport.pages("competitions/", query | {"participating_in": "true"})
        else:
            found = self._transport.pages("competitions/public/", query | {"ordering": "recent"})
        return list(islice(found, LIST_LIMIT))

    def get_competition(self, number: int, secret_key: str | None = None) -> schema.Competition:
        """What this user sees of a competition. secret_key: of one that is not public; who takes
        part in it needs no key."""
        query = {"secret_key": secret_key} if secret_key else None
        found = self._transport.get(f"competitions/{number}/", query)
        with answer_errors(f"competitions/{number}/"):
            return schema.parse_competition(found)

    def join(self, number: int) -> str:
        """Applies for a competition; "approved" or "pending"."""
        found = self._transport.send("POST", f"competitions/{number}/register/")
        with answer_errors("the application"):
            return str(found["participant_status"])

    def get_refusal(self, phase: int) -> str | None:
        """Why the server would not take a submission to `phase` now, as far as it looks: not at
        dates."""
        found = self._transport.get(f"can_make_submission/{phase}/")
        with answer_errors(f"can_make_submission/{phase}/"):
            if found["can"]:
                return None
            return found.get("reason") or "no reason was given"

    def get_free_bytes(self) -> int:
        """What is left of the user's storage."""
        found = self._transport.get("user_quota/")
        with answer_errors("user_quota/"):
            return int(float(found["quota"]) * 1e9 - float(found["storage_used"]))

    def create_dataset(self, competition: int, name: str, size: int) -> tuple[str, str]:
        """Announces a zip called `name` of `size` bytes: its key, and the signed address to put it
        at."""
        # Without "name", which the server then makes up: it refuses a second dataset of one name.
        values = {
            "type": "submission",
            "competition": competition,
            "file_name": name,
            "request_sassy_file_name": name,
        }
        found = self._transport.send("POST", "datasets/", values | {"file_size": size})
        with answer_errors("datasets/"):
            return str(found["key"]), str(found["sassy_url"])

    def upload_file(self, url: str, path: Path, progress: Progress = silent) -> None:
        """Uploads the file at `path` to a signed address."""
        self._transport.put(url, path, progress)

    def complete_dataset(self, key: str) -> None:
        """Says that the upload of dataset `key` is whole."""
        self._transport.send("PUT", f"datasets/completed/{key}/")

    def create_submission(self, key: str, phase: int) -> schema.Submission:
        """Enters dataset `key` into `phase`: the one request that must never be sent twice."""
        # No tasks means all of the phase's. "data" has to be there: without it the server fails and
        # still keeps a row, which counts against the user's limit.
        values = {
            "data": key,
            "phase": phase,
            "tasks": [],
            "fact_sheet_answers": None,
            "organization": None,
            "queue": None,
        }
        found = self._transport.send("POST", "submissions/", values)
        with answer_errors("submissions/"):
            return schema.parse_submission(found)

    def get_submission(self, number: int) -> schema.Submission:
        """How one of the user's submissions stands."""
        found = self._transport.get(f"submissions/{number}/")
        with answer_errors(f"submissions/{number}/"):
            return schema.parse_submission(found)

    def get_children(self, row: schema.Submission) -> list[schema.Submission]:
        """The submissions that `row` consists of, one for each task; none where there is one."""
        return [self.get_submission(number) for number in row.children]

    def list_submissions(self, phase: int) -> list[schema.Submission]:
        """The user's submissions to `phase`, as the server orders them: newest first."""
        found = list(self._transport.pages("submissions/", {"phase": phase}))
        with answer_errors("submissions/"):
            return [schema.parse_submission(values) for values in found]

    def get_logs(self, number: int) -> dict[str, str]:
        """What a submission's programs printed, by name; "" for what is empty or not written
        yet."""
        found = self._transport.get(f"submissions/{number}/get_details/")
        with answer_errors("get_details/"):
            # Every log has an address from the start; what lies there is empty until it is written.
            addresses = {log["name"]: log["data_file"] for log in found["logs"]}
        return {name: self._transport.text(url) for name, url in addresses.items()}

    def download_detailed_result(self, number: int, path: Path) -> None:
        """Fetches a submission's page of detailed results, where there is one."""
        address = self._transport.get(f"submissions/{number}/get_detail_result/")
        # A submission of several tasks has none of its own, and the answer is no address.
        if not isinstance(address, str) or not address:
            raise PlatformError(f"submission {number} has no detailed results.", status=404)
        self._transport.download(address, path)
        if path.stat().st_size == 0:  # the place is there from the start
            path.unlink()
            raise PlatformError(f"the detailed results of submission {number} are empty.")

    def cancel(self, number: int) -> bool:
        """Cancels a submission; False when it had ended."""
        # A GET that changes something, so it goes the way of those that are not tried again.
        found = self._transport.send("GET", f"submissions/{number}/cancel_submission/")
        with answer_errors("cancel_submission/"):
            return bool(found["canceled"])

    def delete(self, number: int) -> None:
        """Deletes a submission."""
        self._transport.send("DELETE", f"submissions/{number}/soft_delete/")

    def get_leaderboard(
        self, phase: int
    ) -> tuple[list[schema.LeaderboardColumn], list[schema.LeaderboardRow]]:
        """The columns and rows of a phase's leaderboard, best first."""
        found = self._transport.get(f"phases/{phase}/get_leaderboard/")
        with answer_errors("get_leaderboard/"):
            return schema.parse_leaderboard(found)

    def enter_leaderboard(self, number: int) -> None:
        """Puts a submission on the leaderboard."""
        self._transport.send("POST", f"submissions/{number}/submission_leaderboard_connection/")

    def leave_leaderboard(self, number: int) -> None:
        """Takes a submission off the leaderboard."""
        self._transport.send("DELETE", f"submissions/{number}/submission_leaderboard_connection/")

    def download_dataset(self, key: str, path: Path, progress: Progress = silent) -> None:
        """Fetches the dataset `key` to `path`."""
        self._transport.download(f"{self.url}/datasets/download/{key}/", path, progress)
