"""A small server on the loopback that answers as the Hugging Face hub does, to downloads and to commits."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Holds one repository.

    Attributes:
        files: Content by name.
        requests: (method, path) of everything that was asked.
        break_after: Bytes of a file after which the connection ends, once; None for never.
        committed: Content by name of what was pushed.
    """

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        self.repo, self.files = repo, files
        self.requests: list[tuple[str, str]] = []
        self.break_after: int | None = None
        self.committed: dict[str, bytes] = {}
        self.created: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, "HEAD")

            def do_GET(self) -> None:
                hub.answer(self, "GET")

            def do_POST(self) -> None:
                hub.answer(self, "POST")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, method: str) -> None:
        path = request.path.partition("?")[0]
        self.requests.append((method, path))
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if method == "POST":
            self._post(request, path, body)
        elif path in (
            f"/api/models/{self.repo}{revision}" for revision in ("", f"/revision/{COMMIT}", "/revision/main")
        ):
            self._json(request, self._info())
        elif path.startswith(f"/{self.repo}/resolve/{COMMIT}/"):
            self._file(request, method, path.rpartition("/")[2])
        else:
            self._json(request, {"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _info(self) -> dict[str, Any]:
        return {
            "id": self.repo,
            "modelId": self.repo,
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": name} for name in self.files],
        }

    def _file(self, request: BaseHTTPRequestHandler, method: str, name: str) -> None:
        content = self.files[name]
        start = int((request.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        part = content[start:]
        request.send_response(206 if start else 200)
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(len(part)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if method == "HEAD":
            return
        if self.break_after is not None and len(part) > self.break_after:
            part, self.break_after = part[: self.break_after], None
            request.close_connection = True
        request.wfile.write(part)

    def _post(self, request: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        if path == "/api/repos/create":
            self.created.append(json.loads(body)["name"])
            self._json(request, {"url": f"{self.url}/{self.repo}", "id": self.repo})
        elif "/preupload/" in path:
            names = [each["path"] for each in json.loads(body)["files"]]
            answers = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self._json(request, {"files": answers})
        elif "/commit/" in path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.committed[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._json(request, {"commitUrl": f"{self.url}/{self.repo}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json(request, {"errors": [], "warnings": []})

    def _json(
        self, request: BaseHTTPRequestHandler, value: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        text = json.dumps(value).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        for name, content in (headers or {}).items():
            request.send_header(name, content)
        request.end_headers()
        request.wfile.write(text)
