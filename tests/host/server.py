"""A real ComfyUI on the CPU, loopback only, driven as a browser would drive it: over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

NOT_PART_OF_THE_PACK = (".*", "__pycache__", "tests", "tools", "runs", "demo_output", "build", "*.egg-info")
START_SECONDS = 300
RUN_SECONDS = 300


def copy_pack(root: Path, pack: Path) -> None:
    """Copies the pack as it lands in `custom_nodes`."""
    shutil.copytree(root, pack, ignore=shutil.ignore_patterns(*NOT_PART_OF_THE_PACK))


class Rejected(Exception):
    """ComfyUI did not take the prompt; holds what it answered."""


class Server:
    """ComfyUI in a process of its own.

    Args:
        comfyui: its source.
        venv: an environment in which it starts.
        base: gets its input, output, models and custom_nodes.
        arguments: more for its main.py.
        environment: more variables for its process.
    """

    def __init__(
        self, comfyui: Path, venv: Path, base: Path, *arguments: str, environment: dict[str, str] | None = None
    ) -> None:
        self.base = base
        self.log = base / "comfy.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        where = ("--cpu", "--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [str(python), "main.py", *where, "--disable-api-nodes", *arguments],
                cwd=comfyui,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
            )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                self.get("/system_stats")
                return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise RuntimeError("ComfyUI did not start:\n" + self.log.read_text(errors="replace")[-3000:])

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get_bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        return json.loads(self.get_bytes(path))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Rejected(error.read().decode()) from error
        return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any]) -> str:
        """Hands in a prompt in API form and returns its id.

        Raises:
            Rejected: a value is not allowed.
        """
        answer = self.post("/prompt", {"prompt": prompt, "client_id": uuid.uuid4().hex})
        if answer["node_errors"]:  # it would run the parts that have none, and say no more of the others
            raise Rejected(json.dumps(answer["node_errors"]))
        return answer["prompt_id"]

    def wait(self, prompt_id: str) -> dict[str, Any]:
        """The history of a prompt when it has ended, in whatever way."""
        end = time.monotonic() + RUN_SECONDS
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.1)
        raise TimeoutError("the prompt did not end:\n" + self.log.read_text(errors="replace")[-3000:])

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """The outputs of a prompt that must succeed, by node id."""
        history = self.wait(self.queue(prompt))
        assert history["status"]["status_str"] == "success", events(history)
        return history["outputs"]

    def image(self, saved: dict[str, str]) -> bytes:
        """The file behind an entry of an output's `images`."""
        return self.get_bytes("/view?" + urlencode(saved))

    def help_page(self, pack: str, node: str) -> str:
        return self.get_bytes(f"/extensions/{quote(pack)}/docs/{node}.md").decode()


def events(history: dict[str, Any]) -> dict[str, Any]:
    """What happened in a run, by kind of event."""
    return dict(history["status"]["messages"])


def to_prompt(workflow: dict[str, Any]) -> dict[str, Any]:
    """The API form of a workflow in the front end's form, as the front end makes it when Run is pressed."""
    sources = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"].endswith("Note"):
            continue
        values = iter(node.get("widgets_values", []))
        inputs = {}
        for port in node["inputs"]:
            value = next(values, None) if "widget" in port else None
            if port["name"] == "seed":
                next(values, None)  # "control after generate", which is the front end's own
            if port["link"] is not None:
                inputs[port["name"]] = sources[port["link"]]
            elif "widget" in port and port["type"] != "IMAGEUPLOAD":
                inputs[port["name"]] = value
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt
