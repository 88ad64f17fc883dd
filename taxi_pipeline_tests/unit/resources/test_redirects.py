"""Where a publisher's redirects may lead.

All servers are on loopback. Two things at the edge are made up: what a name resolves to, and that
the publisher's port is reached at a public address.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit

import dagster as dg
import pytest
import requests
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.publisher import Download, Publisher, RemoteFile, redirects
from taxi_pipeline.resources.publisher.redirects import is_public
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.support.certificates import new_certificate
from taxi_pipeline_tests.support.http import Answer, body, serving, serving_application, status

JANUARY = Month(2021, 1)
FILE = "/yellow_2021-01.parquet"
PUBLIC = IPv4Address("93.184.215.14")


def publisher(base: str) -> Publisher:
    return Publisher(urls=f"{base}/{{service}}_{{month}}.parquet", zones_url=f"{base}/zones.csv")


def port_of(base: str) -> int:
    port = urlsplit(base).port
    assert port
    return port


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what names resolve to; a test writes into it."""
    known: dict[str, str] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int | None, *args: int, **kwargs: int) -> object:
        return real(known.get(host, host), port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


type MakePublic = Callable[[str], None]


@pytest.fixture
def make_public(monkeypatch: pytest.MonkeyPatch) -> MakePublic:
    """Return a function that makes the address of a server of ours look public."""
    real, public = redirects.peer_address, set[int]()

    def peer_address(connection: socket.socket) -> IPv4Address | IPv6Address:
        return PUBLIC if connection.getpeername()[1] in public else real(connection)

    monkeypatch.setattr(redirects, "peer_address", peer_address)
    return lambda base: public.add(port_of(base))


def refused(base: str, tmp_path: Path) -> list[str]:
    """Return what a fetch and a look say that must both be refused for good."""
    said = []
    for ask in (
        lambda: publisher(base).fetch_month(YELLOW, JANUARY, tmp_path),
        lambda: publisher(base).look(YELLOW, JANUARY),
        lambda: publisher(base).fetch_zones(tmp_path),
    ):
        with pytest.raises(PermanentError) as caught:
            ask()
        said.append(str(caught.value))
    assert list(tmp_path.iterdir()) == []
    return said


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]"]
)
def test_a_public_publisher_leads_to_no_private_address(
    tmp_path: Path, make_public: MakePublic, host: str
) -> None:
    with serving({}) as (inside, asked):
        target = f"http://{host}:{port_of(inside)}/x?query=s3cr3t"
        away = [status(302, Location=target)]
        with serving({FILE: away, "/zones.csv": away}) as (base, _):
            make_public(base)
            for said in refused(base, tmp_path):
                assert said.startswith(base)
                assert f"a redirect leads to {host.strip('[]')}, in a private network" in said
                assert "s3cr3t" not in said
    assert asked == []


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_name_is_judged_by_the_address_that_it_leads_to(
    tmp_path: Path, make_public: MakePublic, names: dict[str, str], code: int
) -> None:
    names["dagster.example.org"] = "127.0.0.1"
    with serving({}) as (inside, asked):
        target = f"http://user:s3cr3t@dagster.example.org:{port_of(inside)}/graphql"
        away = [status(code, Location=target)]
        with serving({FILE: away, "/zones.csv": away}) as (base, _):
            make_public(base)
            for said in refused(base, tmp_path):
                assert "a redirect leads to dagster.example.org, in a private network" in said
                assert "s3cr3t" not in said
    assert asked == []


def test_a_name_that_leads_elsewhere_the_second_time_is_refused(
    tmp_path: Path, make_public: MakePublic, names: dict[str, str]
) -> None:
    # the publisher's own name: it has a public address first, and then ours
    with serving({}) as (inside, asked):
        names["rebinding.example.org"] = "127.0.0.1"
        target = f"http://rebinding.example.org:{port_of(inside)}/"
        with serving({FILE: [status(302, Location=target)]}) as (base, _):
            make_public(base)
            own = base.replace("127.0.0.1", "rebinding.example.org")
            with pytest.raises(
                PermanentError, match=r"rebinding\.example\.org, in a private network"
            ):
                publisher(own).fetch_month(YELLOW, JANUARY, tmp_path)
    assert asked == []


def test_the_second_hop_is_checked_as_the_first(tmp_path: Path, make_public: MakePublic) -> None:
    with (
        serving({}) as (inside, asked),
        serving({"/on": [status(302, Location=f"{inside}/x")]}) as (between, _),
        serving({FILE: [status(302, Location=f"{between}/on")]}) as (base, _),
    ):
        make_public(base)
        make_public(between)
        with pytest.raises(PermanentError, match="in a private network"):
            publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert asked == []


def test_a_public_publisher_leads_to_another_public_address(
    tmp_path: Path, make_public: MakePublic
) -> None:
    with (
        serving({"/x": [body(b"whole", '"v1"')]}) as (storage, _),
        serving({FILE: [status(302, Location=f"{storage}/x")]}) as (base, _),
    ):
        make_public(base)
        make_public(storage)
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
        seen = publisher(base).look(YELLOW, JANUARY)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"whole"
    assert isinstance(seen, RemoteFile)
    assert seen.url == base + FILE


def test_a_private_publisher_leads_to_private_addresses(tmp_path: Path) -> None:
    with (
        serving({"/x": [body(b"whole")]}) as (storage, _),
        serving({FILE: [status(302, Location=f"{storage}/x")]}) as (base, _),
    ):
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"whole"


def test_a_redirect_deletes_no_run_in_dagster(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, make_public: MakePublic
) -> None:
    from dagster_webserver.app import create_app_from_workspace_process_context

    home = tmp_path_factory.mktemp("dagster")
    with (
        dg.DagsterInstance.local_temp(str(home)) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace,
        serving_application(create_app_from_workspace_process_context(workspace)) as webserver,
    ):
        run = create_run_for_test(instance, "taxi_zones", status=dg.DagsterRunStatus.SUCCESS)
        mutation = f'mutation{{deletePipelineRun(runId:"{run.run_id}"){{__typename}}}}'
        deletion = f"{webserver}/graphql?query={quote(mutation)}"
        away = [status(302, Location=deletion)]
        with serving({FILE: away, "/zones.csv": away}) as (base, _):
            make_public(base)
            refused(base, tmp_path)
        assert instance.has_run(run.run_id)
        # whoever does follow it deletes the run
        assert "DeletePipelineRunSuccess" in requests.get(deletion, timeout=60).text
        assert not instance.has_run(run.run_id)


@contextmanager
def serving_by_tls(answers: dict[str, Answer], certificate: Path) -> Iterator[str]:
    """Serve by https with a new certificate, written to the path; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers[self.path](self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = new_certificate(certificate).wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_https_never_becomes_http(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path_factory.mktemp("certificate") / "publisher.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    answers: dict[str, Answer] = {"/x": body(b"whole")}
    with (
        serving({FILE: [body(b"open to all")]}) as (plain, asked),
        serving_by_tls(answers, certificate) as base,
    ):
        answers[FILE] = status(302, Location=f"{plain}{FILE}?signature=s3cr3t")
        answers["/zones.csv"] = answers[FILE]
        # a private publisher, for which a private address would be fine
        for said in refused(base, tmp_path):
            assert "a redirect leads to 127.0.0.1, by http, though it was asked" in said
            assert "s3cr3t" not in said
        assert asked == []
        answers[FILE] = status(302, Location="/x")
        found = publisher(base).fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)
    assert found.path.read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("host", "followed"),
    [
        ("files.example.org", True),
        ("8.8.8.8", True),
        *((host, False) for host in ("127.0.0.1", "127.1.", "10.1.2.3", "169.254.169.254")),
        *(
            (host, False)
            for host in ("[::1]", "[fd00::1]", "localhost", "Localhost.", "a.localhost")
        ),
        *(
            (host, False)
            for host in ("webserver", "metadata.google.internal", "x.svc.cluster.local")
        ),
    ],
)
def test_by_a_proxy_a_private_address_or_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, followed: bool
) -> None:
    # the proxy, which is at a private address, answers for all
    target = f"http://{host}/x"
    answers = {
        f"http://publisher.example.org{FILE}": [status(302, Location=target)],
        target.lower().replace("./", "/"): [body(b"whole")],
        target: [body(b"whole")],
    }
    with serving(answers) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        ask = publisher("http://publisher.example.org")
        if followed:
            found = ask.fetch_month(YELLOW, JANUARY, tmp_path)
            assert isinstance(found, Download)
            assert found.path.read_bytes() == b"whole"
        else:
            with pytest.raises(PermanentError, match="in a private network"):
                ask.fetch_month(YELLOW, JANUARY, tmp_path)
            assert asked == [f"http://publisher.example.org{FILE}"]


def test_by_a_proxy_a_private_publisher_leads_to_private_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        f"http://mirror.internal{FILE}": [status(302, Location="http://10.1.2.3/x")],
        "http://10.1.2.3/x": [body(b"whole")],
    }
    with serving(answers) as (proxy, _):
        monkeypatch.setenv("http_proxy", proxy)
        found = publisher("http://mirror.internal").fetch_month(YELLOW, JANUARY, tmp_path)
    assert isinstance(found, Download)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        *((address, False) for address in ("0.0.0.0", "127.8.9.1", "10.0.0.1", "172.16.0.1")),
        *((address, False) for address in ("192.168.0.1", "100.64.0.1", "169.254.169.254")),
        *((address, False) for address in ("224.0.0.1", "255.255.255.255", "::", "::1")),
        *((address, False) for address in ("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1")),
        *((address, False) for address in ("fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1")),
        # by 6to4 an IPv4 address; one that counted as private would let its redirects in
        ("2002:7f00:1::", False),
        ("2002:808:808::", True),
    ],
)
def test_an_address_is_public_or_not(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://h\xff/x", "http://h:99999/x", "http://", "//"]
)
def test_a_redirect_to_what_is_no_url_is_refused(tmp_path: Path, location: str) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(
            b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
            + location.encode("latin-1")
            + b"\r\n\r\n"
        )

    with serving({FILE: [redirect]}) as (base, _):
        for ask in (
            lambda: publisher(base).fetch_month(YELLOW, JANUARY, tmp_path),
            lambda: publisher(base).look(YELLOW, JANUARY),
        ):
            with pytest.raises((PermanentError, TransientError), match=base):
                ask()
