"""Who may ask: tokens, hosts, origins."""

import base64
import re

import pytest
from helpers.servers import BASE, detail, make_settings, start

from insight.errors import InputError
from insight.serving import Settings
from insight.serving.settings import is_loopback

TOKEN = "a-long-enough-token"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, model):
    with start(make_settings(tmp_path_factory.mktemp("guarded"), model, host="0.0.0.0", token=TOKEN)) as client:
        yield client


def test_other_hosts_need_a_token():
    for host in ("0.0.0.0", "::", "192.168.0.7", "example.org"):
        assert not is_loopback(host)
        with pytest.raises(InputError, match="token"):
            Settings(host=host)
    for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        assert is_loopback(host)
        Settings(host=host)
    with pytest.raises(InputError, match="16"):
        Settings(token="short")


def test_requests_of_other_names_are_refused(shared_client):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "evil.example@localhost", ""):
        reply = shared_client.get("/api/project", headers={"Host": host})
        assert (reply.status_code, "Host" in detail(reply)) == (403, True), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert shared_client.get("/api/project", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/api/classes", "/v1/predict", "/predict", "/webhook"])
def test_other_sites_change_nothing(shared_client, path):
    method = "PUT" if path == "/api/classes" else "POST"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        reply = shared_client.request(method, path, json={"classes": ["x"]}, headers=headers)
        assert (reply.status_code, "other sites" in detail(reply)) == (403, True), headers
    same = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
    assert shared_client.request(method, path, json={"classes": []}, headers=same).status_code != 403
    assert shared_client.get("/api/project").json()["classes"] == []


def test_other_sites_embed_nothing_and_links_work(shared_client):
    reply = shared_client.get("/api/project", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
    assert reply.status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    reply = shared_client.get("/api/project", headers=link)
    assert reply.status_code == 200
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert "access-control-allow-origin" not in reply.headers


def test_the_token_in_every_form(guarded):
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"Basic {basic}"},
        {"Token": TOKEN},
    ):
        assert guarded.get("/api/project", headers={**headers, "Host": "anything.example"}).status_code == 200
    wrong = base64.b64encode(b"anyone:wrong").decode()
    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Basic {wrong}"},
        {"Authorization": "Basic ***"},
        {"Token": ""},
        {"Token": "ä" * 20},
        {"Cookie": f"insight_8000={TOKEN}"},
        {"Cookie": "insight_8000"},
    ):
        encoded = {name: value.encode("utf-8") for name, value in headers.items()}
        reply = guarded.get("/api/project", headers=encoded)
        assert reply.status_code == 401, headers
        assert "token" in detail(reply)
    assert guarded.get("/health").status_code == 200
    for path in ("/v1/models", "/metrics", "/openapi.json", "/api/images", "/"):
        assert guarded.get(path).status_code == 401, path
    assert guarded.post("/predict", json={}).status_code == 401


def test_a_browser_keeps_a_cookie_that_is_not_the_token(guarded):
    assert guarded.get("/?token=wrong-wrong-wrong-wrong").status_code == 401
    entered = guarded.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert TOKEN not in cookie
    assert re.search("httponly", cookie, re.IGNORECASE)
    assert re.search("samesite=strict", cookie, re.IGNORECASE)
    value = cookie.partition(";")[0]
    guarded.cookies.clear()
    assert guarded.get("/api/project", headers={"Cookie": value}).status_code == 200
    assert guarded.get("/api/project", headers={"Cookie": value[:-1]}).status_code == 401
