"""The image and the compose file name commands, settings, ports and files that there are."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from gateway.settings import Settings
from tests.deploy.names import COMMANDS, DEPLOY, ROOT, SETTINGS, unknown_names

DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = (DEPLOY / "compose.yaml").read_text()
SERVICES = yaml.safe_load(COMPOSE)["services"]


def _instructions(name: str) -> list[str]:
    return re.findall(rf"^ *{name} +(.+)$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted(path for path in DEPLOY.rglob("*") if path.is_file()), ids=lambda path: path.name
)
def test_a_file_names_settings_and_commands_that_exist(path: Any) -> None:
    assert unknown_names(path.read_text()) == set()


def test_the_image_is_built_from_all_folders_of_the_package() -> None:
    copied = {source.strip("/") for line in _instructions("COPY") for source in line.split()[:-1] if line[0] != "-"}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "packages"
    ]
    assert {path for path in copied if not (ROOT / path).exists()} == set()
    assert {*packages, "console", "graphql", "pyproject.toml", "constraints.txt", "hatch_build.py"} <= copied
    sent = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in sent if line.startswith("!")} == copied


def test_the_image_has_the_extras_that_settings_need() -> None:
    extras = {
        extra
        for field in Settings.model_fields.values()
        for extra in re.findall(r"billing-gateway\[(\w+)\]", field.description or "")
    }
    installed = re.search(r"^ARG EXTRAS=([\w,]+)$", DOCKERFILE, re.MULTILINE)
    assert installed is not None
    assert extras
    assert extras == set(installed[1].split(","))


def test_the_image_runs_commands_as_a_user_without_rights() -> None:
    environment = dict(re.findall(r"(BILLING_\w+)=(\S+)", _instructions("ENV")[-1]))
    assert set(environment) <= SETTINGS
    assert environment["BILLING_PORT"] == _instructions("EXPOSE")[0]
    assert _instructions("USER") == ["10001:10001"]
    assert json.loads(_instructions("ENTRYPOINT")[0]) == ["billing-gateway"]
    assert set(json.loads(_instructions("CMD")[-1])) <= COMMANDS


class _Process(http.server.BaseHTTPRequestHandler):
    is_well = True

    def do_GET(self) -> None:
        self.send_response(200 if self.is_well and self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _checks(port: int) -> list[list[str]]:
    """The health checks of the image and of the worker in the compose file, on this port."""
    worker = SERVICES["worker"]["healthcheck"]["test"][1:]
    return [
        json.loads(_instructions("HEALTHCHECK")[0].partition("CMD")[2]),
        [part.replace(":8001/", f":{port}/") for part in worker],
    ]


def test_health_checks_ask_the_process() -> None:
    def status(command: list[str], port: int) -> int:
        environment = os.environ | {"BILLING_PORT": str(port)}
        ran = subprocess.run([sys.executable, *command[1:]], env=environment, capture_output=True, check=False)
        return ran.returncode

    with http.server.HTTPServer(("127.0.0.1", 0), _Process) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert [status(command, port) for command in _checks(port)] == [0, 0]
        _Process.is_well = False
        assert [status(command, port) for command in _checks(port)] == [1, 1]
        server.shutdown()


def test_services_of_the_compose_file_fit_each_other() -> None:
    assert {name: SERVICES[name]["command"] for name in ("gateway", "worker", "migrate")} == {
        "gateway": ["serve"], "worker": ["worker"], "migrate": ["migrate"],
    }  # fmt: skip
    assert SERVICES["worker"]["environment"]["BILLING_WORKER_METRICS_PORT"] == "8001"
    assert "server gateway:8000;" in (DEPLOY / "nginx.conf").read_text()
    scraped = {
        (one["names"][0], one["port"])
        for job in yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
        for one in job["dns_sd_configs"]
    }
    assert scraped == {("gateway", 8000), ("worker", 8001)}
    # nginx looks up the addresses only when it starts.
    assert SERVICES["nginx"]["depends_on"]["gateway"]["restart"] is True
    (network,) = yaml.safe_load(COMPOSE)["networks"]["default"]["ipam"]["config"]
    trusted = map(ip_network, SERVICES["gateway"]["environment"]["BILLING_TRUSTED_PROXIES"].split(","))
    assert ip_network(network["subnet"]) in set(trusted)
    sources = {
        one.split(":")[0] for service in SERVICES.values() for one in service.get("volumes", ()) if one[0] == "."
    }
    assert {source for source in sources if not (DEPLOY / source).exists()} == set()


def test_the_proxy_of_the_compose_file_has_all_that_subscriptions_need() -> None:
    def directives(text: str) -> set[str]:
        return {line.split("#")[0].strip() for line in text.splitlines()} - {""}

    example = directives((ROOT / "docs/examples/nginx.conf").read_text())
    assert example - directives((DEPLOY / "nginx.conf").read_text()) == {"server 127.0.0.1:8000;"}
