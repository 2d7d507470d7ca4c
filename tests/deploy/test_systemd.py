"""The systemd units, checked by systemd itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.deploy.names import DEPLOY

UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
SERVICES = [name for name in UNITS if name.endswith(".service")]
PROGRAM = "/opt/billing/bin/billing-gateway"
MAX_EXPOSURE = 15
"""Tenths: systemd's scale goes from 0 to 10, and calls what is below 2 "OK"."""


def _values(name: str) -> dict[str, str]:
    lines = (DEPLOY / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        text = (DEPLOY / "systemd" / name).read_text()
        assert (f"ExecStart={PROGRAM} " in text) is (name in SERVICES)
        (tmp_path / name.replace("@", "@8000")).write_text(text.replace(PROGRAM, "/bin/true"))
    paths = sorted(map(str, tmp_path.iterdir()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    services = [path for path in paths if path.endswith(".service")]
    rated = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={MAX_EXPOSURE}", *services]
    assert subprocess.run(rated, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_runs_without_rights_and_has_time_to_stop(name: str) -> None:
    values = _values(name)
    assert (values["DynamicUser"], values["NoNewPrivileges"], values["CapabilityBoundingSet"]) == ("yes", "yes", "")
    if values["Type"] != "oneshot":
        shutdown_seconds: float = Settings.model_fields["shutdown_seconds"].default
        assert float(values["TimeoutStopSec"]) > shutdown_seconds
        # systemd gives up after five quick ends: a database that starts later than the gateway would be enough.
        assert (values["Restart"], values["StartLimitIntervalSec"]) == ("on-failure", "0")
