"""TLC and the mirror of its CSVs at their real addresses, for processes that a proxy leads here.

Who is given the variables of `internet` reaches no other host. The servers answer as the real ones
are known to, which nobody could compare here: the mirror redirects to a URL that is signed, for GET
alone and for some minutes; TLC's CloudFront passes on S3's answers, and its 403 for a month that is
not there.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import SSLContext, SSLError
from urllib.parse import urlsplit

from taxi_pipeline_tests.support.certificates import new_certificate
from taxi_pipeline_tests.support.http import body, missing_in_s3, named, status

GITHUB = "github.com"
ASSETS = "release-assets.githubusercontent.com"
CLOUDFRONT = "d37ci6vzurychx.cloudfront.net"

_RELEASES = "/DataTalksClub/nyc-tlc-data/releases/download/"
_SIGNED = "/github-production-release-asset/"
_SIGNATURE = "sp=r&sv=2018-11-09&sr=b&se=2027-01-01T00%3A00%3A00Z&sig=s3cr3t%2Bsignature%3D"
_PIECE = 4 << 10


@dataclass(frozen=True)
class Internet:
    """The variables by which a process gets there, and what was asked: method and URL."""

    variables: dict[str, str]
    asked: list[str]


@contextmanager
def internet(mirrored: Path, published: Path, folder: Path) -> Iterator[Internet]:
    """Be the internet, in which the mirror has the files of one folder and TLC those of another.

    Args:
        mirrored: The mirror's files, as SERVICE/SERVICE_tripdata_MONTH.csv.gz.
        published: TLC's files, as trip-data/SERVICE_tripdata_MONTH.parquet and misc/….
        folder: Gets the certificate.
    """
    asked: list[str] = []
    certificate = folder / "internet.pem"
    proxy = _Proxy(
        ("127.0.0.1", 0), new_certificate(certificate, [GITHUB, ASSETS, CLOUDFRONT]), asked
    )
    address = f"127.0.0.1:{proxy.server_port}"
    proxy.files = {GITHUB: mirrored, ASSETS: mirrored, CLOUDFRONT: published}
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Internet(
            {
                **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://{address}"),
                "REQUESTS_CA_BUNDLE": str(certificate),
            },
            asked,
        )
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


class _Proxy(ThreadingHTTPServer):
    """Takes CONNECT, and is then the host that was asked for."""

    def __init__(self, address: tuple[str, int], context: SSLContext, asked: list[str]) -> None:
        super().__init__(address, _Connection)
        self.context = context
        self.asked = asked
        self.files: dict[str, Path] = {}


class _Connection(BaseHTTPRequestHandler):
    server: _Proxy

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        if host not in self.server.files:
            self.server.asked.append(f"CONNECT {self.path}")
            status(502)(self)
            return
        self.send_response_only(200)
        self.end_headers()
        with suppress(SSLError, OSError):  # who asked has left
            tls = self.server.context.wrap_socket(self.connection, server_side=True)
            _Host(tls, self.client_address, self.server)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Host(BaseHTTPRequestHandler):
    server: _Proxy

    def do_GET(self) -> None:
        host = self.headers["Host"]
        self.server.asked.append(f"{self.command} https://{host}{self.path}")
        files, url = self.server.files[host], urlsplit(self.path)
        answer = {GITHUB: self._redirect, ASSETS: self._asset, CLOUDFRONT: self._object}[host]
        answer(files, url.path, url.query)

    do_HEAD = do_GET  # noqa: N815

    def _redirect(self, files: Path, path: str, _: str) -> None:
        name = path.removeprefix(_RELEASES)
        if name == path or not (files / name).is_file():
            status(404)(self)
            return
        signed = f"https://{ASSETS}{_SIGNED}{name}?{_SIGNATURE}"
        named(302, "GitHub.com", Location=signed)(self)

    def _asset(self, files: Path, path: str, query: str) -> None:
        if self.command != "GET" or query != _SIGNATURE:
            named(403, "Windows-Azure-Blob/1.0", **{"x-ms-error-code": "AuthFailed"})(self)
            return
        self._send(files / path.removeprefix(_SIGNED))

    def _object(self, files: Path, path: str, _: str) -> None:
        file = files / path.removeprefix("/")
        (self._send(file) if file.is_file() else missing_in_s3()(self))

    def _send(self, file: Path) -> None:
        """Send a file in pieces, or the first byte of it, or that it is still the known one."""
        content = file.read_bytes()
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        if self.headers["If-None-Match"] == etag or self.command == "HEAD":
            body(content, etag)(self)
            return
        part = content[:1] if self.headers["Range"] == "bytes=0-0" else content
        self.send_response_only(200 if part is content else 206)
        if part is not content:
            self.send_header("Content-Range", f"bytes 0-0/{len(content)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", "Wed, 20 Jul 2022 10:00:00 GMT")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        pause = threading.Event()
        for start in range(0, len(part), _PIECE):
            self.wfile.write(part[start : start + _PIECE])
            pause.wait(0.001)  # a line that is not fast

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass
