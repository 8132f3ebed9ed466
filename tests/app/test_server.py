"""What the server lets through: programs and browsers, logins, prefixes, forged and replayed votes, files."""

import json
import re
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError

import pytest

from mmalign.app.person import COOKIE
from mmalign.app.server import read_users
from mmalign.errors import UserError
from mmalign.votes import Votes
from tests.app.conftest import Served, serving, shot

pytest.importorskip("gradio")

SERVER = str(Path(__file__).parent / "voting_server.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("voting"), SERVER) as served:
        yield served


def client(served: Served, **options):
    from gradio_client import Client

    return Client(served.url, verbose=False, download_files=False, **options)


def called(served: Served, name: str, data: list, session: str | None = None, cookie: str = "") -> tuple[str, object]:
    """The last event of a raw call, as any program may send it: its name and its data."""
    body = json.dumps({"data": data} | ({"session_hash": session} if session else {})).encode()
    headers = {"Content-Type": "application/json"} | ({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
    address = f"{served.url}gradio_api/call/{name}"
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{event}", headers=headers), timeout=60) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line]
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


def test_a_program_judges_and_is_told_who_stood_where_once_it_has(server):
    mine = client(server)
    shown = mine.predict(api_name="/next_pair")
    assert set(shown) == {"pair", "prompt", "left", "right", "question"}
    assert len(shown["left"]) == len(shown["right"])
    assert "aligned" not in json.dumps(shown)
    told = mine.predict(pair=shown["pair"], choice="right", api_name="/vote")
    assert {told["left"], told["right"]} == {"base", "aligned"}
    assert told["preferred"] == told["right"]
    with pytest.raises(Exception, match="has your vote already"):
        mine.predict(pair=shown["pair"], choice="left", api_name="/vote")


def test_only_the_endpoints_of_the_documentation_are_named(server):
    assert set(client(server).view_api(return_format="dict", print_info=False)["named_endpoints"]) == {"/next_pair", "/vote"}


def test_forged_replayed_and_impossible_votes_are_refused_and_leave_nothing(server):
    _, (shown,) = called(server, "next_pair", ["pictures"], session="ann")
    before = Votes(server.votes).count()
    tries = [
        ("bob", [shown["pair"], "left"]),
        ("ann", [shown["pair"], "first"]),
        ("ann", [shown["pair"], 1]),
        ("ann", [shown["pair"], None]),
        ("ann", ["x" * 22, "left"]),
        ("ann", [{"pair": shown["pair"]}, "left"]),
        ("ann", ["' OR 1=1 --", "left"]),
        (None, [shown["pair"], "left"]),
    ]
    for session, data in tries:
        assert called(server, "vote", data, session)[0] == "error", data
    assert called(server, "vote", [shown["pair"], "left"], "ann", cookie="c" * 43)[0] == "error"
    assert Votes(server.votes).count() == before
    assert called(server, "vote", [shown["pair"], "left"], "ann")[0] == "complete"
    assert called(server, "vote", [shown["pair"], "right"], "ann")[0] == "error"
    assert Votes(server.votes).count() == before + 1


def test_the_pages_own_buttons_trust_a_raw_request_no_more(server):
    _, (shown,) = called(server, "next_pair", ["pictures"], session="ann")
    config = json.load(urllib.request.urlopen(f"{server.url}config"))
    hidden = [one["api_name"] for one in config["dependencies"] if one["api_name"] not in ("next_pair", "vote")]
    assert sum(name.startswith("voted") for name in hidden) == 5
    before = Votes(server.votes).count()
    for name in hidden:
        if not name.startswith("voted"):
            continue
        called(server, name, [shown["pair"]], session="bob")
    assert Votes(server.votes).count() == before


def test_no_file_of_the_machine_is_given(server):
    (server.folder / "secret.txt").write_text("secret")
    for path in (server.votes, server.folder / "secret.txt", Path(__file__), Path("/etc/passwd")):
        with pytest.raises(HTTPError) as caught:
            urllib.request.urlopen(f"{server.url}gradio_api/file={path}")
        assert caught.value.code in (403, 404)


def test_a_file_larger_than_the_limit_is_refused(server):
    boundary = "x" * 20
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'.encode()
    body += bytes(33 * 2**20) + f"\r\n--{boundary}--\r\n".encode()
    asked = urllib.request.Request(f"{server.url}gradio_api/upload", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    with pytest.raises((HTTPError, ConnectionError)) as caught:
        urllib.request.urlopen(asked)
    assert getattr(caught.value, "code", 413) == 413


def test_the_page_may_load_nothing_from_elsewhere_and_names_no_other_host_to_load_from(server):
    with urllib.request.urlopen(server.url) as answer:
        policy, page = answer.headers["content-security-policy"], answer.read().decode()
        cookie = answer.headers["set-cookie"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert not re.search(r'(?:src|href|content)="https?://', page)
    assert COOKIE in cookie
    assert "HttpOnly" in cookie


class Prefixed(BaseHTTPRequestHandler):
    """A proxy that serves the app below /team/."""

    target = ""
    tells = False
    """Whether it says by which name it was asked, as proxies are set up to."""

    def do_GET(self) -> None:
        self._pass(None)

    def do_POST(self) -> None:
        self._pass(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _pass(self, body: bytes | None) -> None:
        if not self.path.startswith("/team/"):
            self.send_error(404)
            return
        kept = {key: value for key, value in self.headers.items() if key.lower() in ("cookie", "content-type", "accept")}
        kept |= {"X-Forwarded-Host": self.headers["Host"]} if self.tells else {}
        asked = urllib.request.Request(self.target + self.path.removeprefix("/team/"), body, kept, method=self.command)
        try:
            answer = urllib.request.urlopen(asked)
        except HTTPError as error:
            answer = error
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(key, value)
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(piece)
            self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_it_works_behind_a_prefix(tmp_path, visit):
    with serving(tmp_path, SERVER, "--root-path", "/team") as served:
        handler = type("Handler", (Prefixed,), {"target": served.url})
        proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            page = visit(f"http://127.0.0.1:{proxy.server_port}/team/")
            page.wait_for_selector("#vote-left:not([disabled])")
            page.keyboard.press("1")
            page.wait_for_selector("#blind-names .preferred")
            shot(page, "prefix")
            (cookie,) = [one for one in page.context.cookies() if one["name"] == COOKIE]
            assert cookie["path"] == "/team"
            page.close()  # what it still asks for would fail without the proxy
        finally:
            proxy.shutdown()
        assert Votes(served.votes).count() == 1


@pytest.mark.slow
def test_with_names_and_passwords_nobody_else_comes_in_and_votes_bear_the_name(tmp_path):
    (tmp_path / "users.txt").write_text("# the team\nann:secret one\nbob:secret:two\n")
    with serving(tmp_path, SERVER, "--auth", "users.txt") as served:
        with pytest.raises(HTTPError) as caught:
            called(served, "next_pair", ["pictures"], session="ann")
        assert caught.value.code == 401
        for wrong in (("ann", "secret two"), ("eve", "secret one"), ("ann", "")):
            with pytest.raises(Exception, match=r"(?i)login|credentials|auth"):
                client(served, auth=wrong)
        for user in (("ann", "secret one"), ("bob", "secret:two")):
            mine = client(served, auth=user)
            mine.predict(pair=mine.predict(api_name="/next_pair")["pair"], choice="tie", api_name="/vote")
        assert {vote.voter for vote in Votes(served.votes).cast()} == {"ann", "bob"}


@pytest.mark.parametrize(
    ("content", "words"), [("ann\n", "line 1 is not NAME:PASSWORD"), (":x", "line 1"), ("ann:x\nbob:\n", "line 2"), (None, "no such file")]
)
def test_a_broken_file_of_passwords_is_one_sentence(tmp_path, content, words):
    if content is not None:
        (tmp_path / "users.txt").write_text(content)
    with pytest.raises(UserError, match=words):
        read_users(str(tmp_path / "users.txt"))


def test_one_user_with_the_password_in_a_file(tmp_path):
    (tmp_path / "password").write_text("a b:c\n")
    assert read_users(f"ann:{tmp_path / 'password'}") == {"ann": "a b:c"}
