"""Trouble at the site's door: delays, refusals, lost replies and forgotten sessions.

A rate is a share of the submissions, drawn anew for each; a `_next` fault is a number of submissions still
to come, counted down, for tests that need one certain failure. A submission is a POST that creates, changes
or deletes an item; logging in is never disturbed.
"""

import json
import random
import threading
import time

from django.http import HttpResponse, JsonResponse

SUBMISSION_PATHS = ("/new/", "/edit/", "/user/my/delete/")
# The key under which serve.py puts a function that cuts the connection of the request.
CUT = "tradepost.cut_connection"


class UnknownFault(ValueError):
    """A fault name or value that the site does not have."""


class Faults:
    """The faults in force. Requests run in threads, so every access takes the lock."""

    def __init__(self):
        self._lock = threading.Lock()
        self._values = {
            "latency_ms": 0.0,
            "error_rate": 0.0,
            "lost_reply_rate": 0.0,
            "logout_after": 0.0,
            "error_next": 0.0,
            "lost_reply_next": 0.0,
        }

    def set(self, name: str, value) -> None:
        if name not in self._values:
            raise UnknownFault(f"unknown fault {name!r}; the site has {', '.join(self._values)}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise UnknownFault(f"fault {name} needs a number, got {value!r}") from None
        if number < 0 or (name.endswith("_rate") and number > 1):
            raise UnknownFault(f"fault {name} is out of range: {value}")
        with self._lock:
            self._values[name] = number

    def value(self, name: str) -> float:
        with self._lock:
            return self._values[name]

    def all(self) -> dict:
        with self._lock:
            return dict(self._values)

    def strikes(self, kind: str) -> bool:
        """Whether this submission meets the fault `error` or `lost_reply`."""
        with self._lock:
            if self._values[f"{kind}_next"] >= 1:
                self._values[f"{kind}_next"] -= 1
                return True
            return random.random() < self._values[f"{kind}_rate"]


FAULTS = Faults()


class Hold:
    """One request at a time that is heard, or carried out, and not answered until it is let go."""

    def __init__(self):
        self._lock = threading.Lock()
        self._wanted = None
        self._holding = None
        self._released = threading.Event()

    def ask(self, wish) -> None:
        if not isinstance(wish, dict) or not isinstance(wish.get("path"), str) or wish.get("when") not in ("before", "after"):
            raise UnknownFault('hold needs an object such as {"path": "/new/", "when": "before"}')
        with self._lock:
            self._wanted = {"method": wish.get("method", "POST"), "path": wish["path"], "when": wish["when"]}

    def release(self) -> None:
        with self._lock:
            self._wanted = self._holding = None
            self._released.set()
            self._released = threading.Event()

    def standing(self) -> dict:
        with self._lock:
            return {"hold": self._wanted, "holding": self._holding}

    def take(self, request):
        """The event to wait for, and when, if this request is the one to hold."""
        with self._lock:
            wanted = self._wanted
            if self._holding or not wanted or wanted["method"] != request.method or not request.path.startswith(wanted["path"]):
                return None
            self._holding, self._wanted = wanted, None
            return wanted["when"], self._released


HOLD = Hold()


class FaultMiddleware:
    """Outermost Django middleware: applies FAULTS to each request."""

    def __init__(self, get_response):
        self._get_response = get_response
        self._lock = threading.Lock()
        self._requests_of_session: dict[str, int] = {}

    def __call__(self, request):
        if request.path.startswith("/__"):
            return self._get_response(request)
        time.sleep(FAULTS.value("latency_ms") / 1000)
        self._forget_old_session(request)
        held = HOLD.take(request)
        if not held:
            return self._answer(request)
        when, released = held
        # Django has not read the body yet: it must be whole before the browser may go away.
        request.body
        if when == "before":
            released.wait()
        response = self._answer(request)
        if when == "after":
            released.wait()
        return response

    def _answer(self, request):
        if request.method != "POST" or not request.path.startswith(SUBMISSION_PATHS):
            return self._get_response(request)
        if FAULTS.strikes("error"):
            return HttpResponse("The site is busy, please try again later.", status=503, content_type="text/plain")
        response = self._get_response(request)
        if FAULTS.strikes("lost_reply"):
            request.environ[CUT]()
        return response

    def _forget_old_session(self, request) -> None:
        limit = FAULTS.value("logout_after")
        session = request.COOKIES.get("sessionid")
        if not limit or not session:
            return
        with self._lock:
            seen = self._requests_of_session[session] = self._requests_of_session.get(session, 0) + 1
        if seen > limit:
            del request.COOKIES["sessionid"]


def control(request):
    """GET tells the faults in force; POST with a JSON object changes them and tells them again."""
    if request.method == "POST":
        try:
            wanted = json.loads(request.body or b"{}")
            if not isinstance(wanted, dict):
                raise UnknownFault("send a JSON object such as {\"error_next\": 1}")
            for name, value in wanted.items():
                if name == "hold":
                    HOLD.ask(value)
                elif name == "release":
                    HOLD.release()
                else:
                    FAULTS.set(name, value)
        except (UnknownFault, json.JSONDecodeError) as error:
            return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse(FAULTS.all() | HOLD.standing())
