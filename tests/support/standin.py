"""A stand-in for CodaBench: answers in the recorded words of a real server, and insists on what
that insisted on.

Real HTTP on two ports, the API's and the storage's, like the real thing's. Each answer is one of
`codabench_http.jsonl`, with numbers, keys and addresses put in. What goes wrong on the way is asked
for with `fail`.
"""

import copy
import json
import logging
import re
import socket
import struct
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

logging.getLogger("werkzeug").setLevel(logging.ERROR)
RECORDS = [
    json.loads(line)
    for line in (Path(__file__).parent / "codabench_http.jsonl").read_text().splitlines()
]
TOKEN = "0123456789abcdef" * 2 + "01234567"
SIGNED_TYPE = "application/zip"
WALK = (
    "Submitting",
    "Submitted",
    "Running",
    "Preparing",
    "Scoring",
    "Running",
    "Finished",
    "Finished",
)

SHORT_WALK = ("Submitting", "Running", "Finished", "Finished")


def record(label: str, number: int = 0) -> dict:
    """The `number`th recorded pair under `label`."""
    return copy.deepcopy([each for each in RECORDS if each["label"] == label][number])


def answer(label: str, **changes) -> Response:
    """The recorded answer under `label`, with `changes` to its top level."""
    found = record(label)
    content = found["response"]
    if isinstance(content, dict):
        content |= changes
    body = json.dumps(content) if found["response_content_type"] == "application/json" else content
    return Response(body, found["status"], content_type=found["response_content_type"])


def _refuse(content: dict) -> Response:
    """A refusal that is known from the changes after v1.25, and on no record."""
    return Response(json.dumps(content), 400, content_type="application/json")


@dataclass
class Row:
    """A submission. looks: how often it was looked at; walk: its statuses, one a look. tasks: of a
    phase with several, what the submission for each task is otherwise than usual."""

    number: int
    phase: int
    key: str
    filename: str
    walk: tuple[str, ...] = SHORT_WALK
    looks: int = 0
    scores: tuple[float, ...] = (0.5,)
    details: str = ""
    on_leaderboard: bool = False
    deleted: bool = False
    cancelled: bool = False
    tasks: tuple[dict, ...] = ()
    parent: int | None = None
    task: str = "t0"

    @property
    def status(self) -> str:
        return "Cancelled" if self.cancelled else self.walk[min(self.looks, len(self.walk) - 1)]

    @property
    def scored(self) -> bool:
        return self.looks >= len(self.walk) - 1 and self.status == "Finished"


@dataclass
class StandIn:
    """Competition n has phase n: 1 open, rule Add; 2 with one submission a day, rule Force_Last; 3
    over; 4 not yet approved; 5 hides its output. `next_row` holds what the next submission will be
    otherwise than usual. secrets: keys of competitions that are not public. newer: as servers after
    v1.25 answer, as far as their changes are known."""

    api: HTTPServer
    storage: HTTPServer
    tokens: set = field(default_factory=lambda: {TOKEN})
    rows: list = field(default_factory=list)
    datasets: dict = field(default_factory=dict)
    objects: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    faults: dict = field(default_factory=lambda: defaultdict(list))
    next_row: dict = field(default_factory=dict)
    joined: dict = field(
        default_factory=lambda: {
            1: "approved",
            2: "approved",
            3: "approved",
            4: "pending",
            5: "approved",
        }
    )
    competition_changes: dict = field(default_factory=dict)
    phase_changes: dict = field(default_factory=dict)
    free: int = 15 * 10**9
    paged: bool = False
    newer: bool = False
    secrets: dict = field(default_factory=dict)
    username: str = "alice"
    expired: set = field(default_factory=set)
    files: dict = field(default_factory=dict)

    def __post_init__(self):
        self.api.expect_request(re.compile(".*")).respond_with_handler(
            lambda request: self._serve("api", request)
        )
        self.storage.expect_request(re.compile(".*")).respond_with_handler(
            lambda request: self._serve("storage", request)
        )

    @property
    def url(self) -> str:
        return self.api.url_for("").rstrip("/")

    def fail(self, what: str, *faults: str) -> None:
        """Lets the next requests that match `what`, "METHOD /path's beginning", suffer `faults`,
        one each."""
        self.faults[what] += faults

    def count(self, what: str) -> int:
        """How many requests came that match `what`."""
        return sum(each.startswith(what) for each in self.requests)

    def _serve(self, side: str, request: Request) -> Response:
        line = f"{request.method} {request.path}"
        self.requests.append(line)
        fault = next(
            (
                self.faults[what].pop(0)
                for what in list(self.faults)
                if line.startswith(what) and self.faults[what]
            ),
            None,
        )
        connection = request.environ["werkzeug.socket"]
        if fault == "lost":  # done, and nobody hears of it
            self._answer(side, request)
        if fault in ("reset", "lost"):
            if fault == "reset":
                request.stream.read(100_000)  # in the midst of an upload
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("a fault that was asked for")
        if fault == "truncated":
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                b'900\r\n\r\n{"id": 1, "sta'
            )
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("a fault that was asked for")
        if fault == "slow":
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                b'900\r\n\r\n{"id": '
            )
            time.sleep(2)
            connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError("a fault that was asked for")
        if fault == "garbled":
            return Response('{"unexpected": [', 200, content_type="application/json")
        if fault == "500":
            return answer("submission no auth")
        if fault == "502":
            return Response("<html><h1>502 Bad Gateway</h1></html>", 502, content_type="text/html")
        return self._answer(side, request)

    def _answer(self, side: str, request: Request) -> Response:
        return self._stored(request) if side == "storage" else self._api(request)

    # The storage: signed addresses.

    def _signed(self, path: str, upload: bool = False) -> str:
        kind = "&content-type=application%2Fzip" if upload else ""
        return self.storage.url_for(
            f"/private/{path}?AWSAccessKeyId=S3RVER&Signature=A%2Bb%3D{kind}&Expires=1795879034"
        )

    def _stored(self, request: Request) -> Response:
        name = request.path.removeprefix("/private/")
        if "Authorization" in request.headers:
            return answer("PUT with Authorization")
        if b"Signature=A%2Bb%3D" not in request.query_string:
            return answer("PUT bad signature")
        if name in self.expired:
            body = (
                "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Request has "
                "expired</Message></Error>"
            )
            return Response(body, 403, content_type="application/xml")
        if request.method == "PUT":
            if request.headers.get("Content-Type") != SIGNED_TYPE:
                return answer("PUT without content type")
            self.objects[name] = request.get_data()
            return answer("PUT")
        return Response(self.objects.get(name, b""), content_type="text/plain")

    # The API.

    def _api(self, request: Request) -> Response:
        if request.path.startswith("/datasets/download/"):
            key = request.path.split("/")[3]
            return (
                Response("", 302, headers={"Location": self._signed(self.files[key])})
                if key in self.files
                else Response("", 404)
            )
        if not request.path.endswith("/"):
            return Response("", 301, headers={"Location": f"{request.path}/"})
        path = request.path.removeprefix("/api/")
        if request.method == "POST" and path == "api-token-auth/":
            return self._login(request.json)
        header = request.headers.get("Authorization")
        user = (header or "").removeprefix("Token ") in self.tokens
        if header and not user:
            return answer("bad token")
        for pattern, public, handler in self._routes():
            if found := re.fullmatch(pattern, f"{request.method} {path}"):
                if not public and not user:
                    return answer(
                        "submission no auth" if pattern == "POST submissions/" else "no auth"
                    )
                return handler(
                    request,
                    *map(int, (word for word in found.groups() if word.isdigit())),
                    **found.groupdict(),
                )
        return answer("unknown api path")

    def _routes(self) -> list:
        return [
            (
                "GET my_profile/",
                False,
                lambda request: answer("profile", username=self.username),
            ),
            (
                "GET user_quota/",
                False,
                lambda request: answer("quota", storage_used=15 * 10**9 - self.free),
            ),
            ("GET competitions/", True, self._competitions),
            ("GET competitions/public/", True, lambda request: answer("competitions public")),
            (r"GET competitions/(\d+)/", True, self._competition),
            (r"POST competitions/(\d+)/register/", False, self._register),
            (r"GET phases/(\d+)/", True, lambda request, phase: answer("phase", id=phase)),
            (r"GET phases/(\d+)/get_leaderboard/", True, self._leaderboard),
            (r"GET can_make_submission/(\d+)/", False, self._may),
            ("POST datasets/", False, self._dataset),
            (r"PUT datasets/completed/(?P<key>[\w-]+)/", False, self._completed),
            ("GET submissions/", False, self._list),
            ("POST submissions/", False, self._submit),
            (r"GET submissions/(\d+)/", False, self._look),
            (r"GET submissions/(\d+)/get_details/", False, self._details),
            (r"GET submissions/(\d+)/get_detail_result/", False, self._detail_result),
            (r"GET submissions/(\d+)/cancel_submission/", False, self._cancel),
            (r"DELETE submissions/(\d+)/soft_delete/", False, self._delete),
            (
                r"(?:POST|DELETE) submissions/(\d+)/submission_leaderboard_connection/",
                False,
                self._connect,
            ),
        ]

    def _login(self, values: dict) -> Response:
        if "password" not in values:
            return answer("login missing")
        if (values["username"], values["password"]) != ("alice", "pw-alice-123"):
            return answer("login bad")
        return answer("login", token=TOKEN)

    def _competitions(self, request: Request) -> Response:
        return answer("participating_in")

    def _phase(self, phase: int) -> dict:
        values = record("competition detail")["response"]["phases"][0] | {"id": phase}
        values["tasks"] = [values["tasks"][0] | {"id": phase}]
        if phase == 2:
            values["max_submissions_per_day"] = 1
        if phase == 3:
            values |= {"status": "Previous", "end": "2021-01-01T00:00:00Z"}
        if phase == 5:
            values["hide_output"] = True
        return values | {"used_submissions_per_day": self._used(phase)} | self.phase_changes

    def _competition(self, request: Request, number: int) -> Response:
        key = self.secrets.get(number)
        hidden = key and not self.joined.get(number) and request.args.get("secret_key") != key
        if number not in self.joined or hidden:
            return answer("competition 404")
        response = record("competition detail")["response"]
        response["leaderboards"][0]["submission_rule"] = "Force_Last" if number == 2 else "Add"
        changes = {
            "id": number,
            "phases": [self._phase(number)],
            "participant_status": self.joined[number],
        }
        return Response(
            json.dumps(response | changes | self.competition_changes),
            200,
            content_type="application/json",
        )

    def _register(self, request: Request, number: int) -> Response:
        if self.joined.get(number):
            return answer("register again")
        self.joined[number] = "approved"
        return Response('{"participant_status": "approved"}', 201, content_type="application/json")

    def _used(self, phase: int) -> int:
        return sum(row.phase == phase and row.status != "Failed" for row in self.rows)

    def _may(self, request: Request, phase: int) -> Response:
        if self.joined.get(phase) != "approved":
            return answer(
                "can_make_submission",
                can=False,
                reason="User not approved to participate in this competition",
            )
        return (
            answer("limit: can_make_submission")
            if phase == 2 and self._used(2)
            else answer("can_make_submission")
        )

    def _dataset(self, request: Request) -> Response:
        values = request.json
        if values.get("type") != "submission":
            return answer("dataset bad type")
        if "file_size" not in values:
            return answer("dataset without file_size")
        if "request_sassy_file_name" not in values:
            return answer("dataset without name")
        if self.newer and not values["request_sassy_file_name"].endswith(".zip"):
            return _refuse({"non_field_errors": ["Only zip files are allowed!"]})
        if values["file_size"] > self.free:
            return answer("dataset over quota")
        key = str(uuid.uuid4())
        stem, _, ending = values["request_sassy_file_name"].rpartition(".")
        place = f"dataset/{key[:12]}/{stem[:35]}.{ending}"
        self.datasets[key] = place
        return answer("dataset create", key=key, sassy_url=self._signed(place, upload=True))

    def _completed(self, request: Request, key: str) -> Response:
        return (
            answer("completed", key=key)
            if key in self.datasets
            else answer("completed unknown key")
        )

    def _submit(self, request: Request) -> Response:
        try:
            values = json.loads(request.get_data())
        except ValueError:
            return answer("bad json")
        if "phase" not in values:
            return answer("submission without phase")
        if "data" not in values:
            self.rows.append(
                Row(len(self.rows) + 1, values["phase"], "", "Deleted File", walk=("Submitting",))
            )
            return answer("submission without data")
        if values["phase"] not in self.joined:
            return answer("submission bad phase")
        if values["data"] not in self.datasets:
            return answer("submission bad data")
        for task in values.get("tasks") or ():
            if task != values["phase"]:
                return answer(
                    "submission task of other phase"
                    if task in self.joined
                    else "submission foreign task"
                )
        if values["phase"] == 2 and self._used(2):
            if self.newer:
                reason = "Reached maximum allowed submissions for today for this phase"
                return _refuse({"non_field_errors": [reason]})
            return answer("limit: 2nd")
        if values["phase"] == 3 and self.newer:
            return _refuse({"non_field_errors": ["This phase has ended."]})
        name = self.datasets[values["data"]].rpartition("/")[2]
        row = Row(len(self.rows) + 1, values["phase"], values["data"], name, **self.next_row)
        self.rows.append(row)
        for number, changes in enumerate(row.tasks):
            child = Row(row.number + 1 + number, row.phase, row.key, name, parent=row.number)
            self.rows.append(replace(child, task=f"task {number}", looks=9, **changes))
        return answer("submission", id=row.number, data=row.key, phase=row.phase, filename=name)

    def _row(self, row: Row) -> dict:
        values = record("poll Running scores=0", 0)["response"]
        score = record("poll Finished scores=1")["response"]["scores"][0]
        if self.newer:
            score |= {"precision": 2, "is_primary": True}
        children = [child for child in self.rows if child.parent == row.number]
        scores = []
        for each in children or [row]:
            if each.scored:
                scores += [score | {"score": f"{value:.10f}"} for value in each.scores]
        details = row.details if row.status == "Failed" else values["status_details"]
        return values | {
            "id": row.number,
            "pk": row.number,
            "phase": row.phase,
            "filename": row.filename,
            "status": row.status,
            "status_details": details,
            "scores": scores,
            "on_leaderboard": row.on_leaderboard,
            "has_children": bool(children),
            "children": [child.number for child in children],
            "parent": row.parent,
            "task": values["task"] | {"name": row.task},
        }

    def _find(self, number: int) -> Row | None:
        return next((row for row in self.rows if row.number == number and not row.deleted), None)

    def _look(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row is None:
            return answer("submission 404")
        response = Response(json.dumps(self._row(row)), 200, content_type="application/json")
        row.looks += 1
        return response

    def _list(self, request: Request) -> Response:
        phase = request.args.get("phase", type=int)
        rows = [
            self._row(row)
            for row in reversed(self.rows)
            if not row.deleted and phase in (None, row.phase) and row.parent is None
        ]
        if not self.paged and not self.newer:
            return Response(json.dumps(rows), 200, content_type="application/json")
        page = request.args.get("page", 1, int)
        more = (
            f"{self.url}/api/submissions/?phase={phase}&page={page + 1}"
            if page < len(rows)
            else None
        )
        values = {
            "count": len(rows),
            "next": more,
            "previous": None,
            "page_size": 1,
            "results": rows[page - 1 : page],
        }
        return Response(json.dumps(values), 200, content_type="application/json")

    def _details(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row and row.phase == 5:
            return answer("hidden: get_details")
        values = record(
            "failing: get_details" if row and row.status == "Failed" else "get_details"
        )["response"]
        for log in values["logs"]:
            own = f"logs/{number}/{log['name']}"
            log["data_file"] = self._signed(own if own in self.objects else f"logs/{log['name']}")
        if row and row.tasks:  # the logs are the children's
            values["logs"] = []
        return Response(json.dumps(values), 200, content_type="application/json")

    def _detail_result(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row and row.tasks:
            return Response("{}", 200, content_type="application/json")
        return Response(
            json.dumps(self._signed("logs/detailed_results.html")),
            200,
            content_type="application/json",
        )

    def _cancel(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row.status in ("Finished", "Failed", "Cancelled"):
            return answer("cancel again")
        row.cancelled = True
        return answer("cancel")

    def _delete(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row is None:
            return answer("submission 404")
        if row.on_leaderboard or row.phase == 2:
            return answer("delete submission on leaderboard")
        row.deleted = True
        return answer("soft delete")

    def _connect(self, request: Request, number: int) -> Response:
        row = self._find(number)
        if row.phase == 2:
            return answer("force rule: add")
        if request.method == "DELETE":
            return answer("remove from leaderboard (rule Add)")
        row.on_leaderboard = True
        return answer("add to leaderboard")

    def _leaderboard(self, request: Request, phase: int) -> Response:
        values = record("leaderboard")["response"]
        (place,) = values["submissions"]
        shown = [row for row in self.rows if row.phase == phase and row.on_leaderboard]
        score = place["scores"][0]
        values["submissions"] = [
            place | {"id": row.number, "scores": [score | {"score": str(row.scores[0])}]}
            for row in shown
        ]
        return Response(json.dumps(values), 200, content_type="application/json")
