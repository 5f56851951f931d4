"""Commands to the running instance: ``status``, ``stop``, ``restart``, ``logs`` and ``events``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from supervisor import client
from supervisor.commands.printing import say
from supervisor.config import Settings
from supervisor.following import Follower
from supervisor.human import HumanView
from supervisor.logs import FILE_NAME

#: How often a log is looked at while it is followed.
_LOOK_AGAIN_S = 0.25


def status(settings: Settings, arguments: argparse.Namespace) -> int:
    """How it is."""
    status = client.status(client.find(settings.state_dir))
    say(status, _status_text(status), arguments)
    return 0


def stop(settings: Settings, arguments: argparse.Namespace) -> int:
    """End it, and wait until it has ended."""
    running = client.find(settings.state_dir)
    client.stop(running)
    say({"stopped": True, "pid": running.pid}, f"Stopped (process {running.pid}).", arguments)
    return 0


def restart(settings: Settings, arguments: argparse.Namespace) -> int:
    """Have the sidecar replaced."""
    accepted = client.restart(client.find(settings.state_dir))
    say(accepted, "The sidecar is being replaced; 'status' and 'events' show how it goes.", arguments)
    return 0


def logs(settings: Settings, arguments: argparse.Namespace) -> int:
    """The last lines of its log; with ``--follow`` those that come as well, until it ends or Ctrl-C."""
    running = client.find(settings.state_dir)
    if not arguments.follow:
        lines = client.logs(running, arguments.tail)
        say({"lines": lines}, "\n".join(lines), arguments)
        return 0
    follower = Follower(settings.log_dir / FILE_NAME)
    lines, alive = follower.start(arguments.tail), True
    while True:
        for line in lines:
            sys.stdout.write(json.dumps({"line": line}) + "\n" if arguments.json else line + "\n")
        sys.stdout.flush()
        if not alive:
            return 0
        if not lines:
            time.sleep(_LOOK_AGAIN_S)
        alive = client.is_alive(running)  # before the look: what it wrote at its end is shown as well
        lines = follower.more()


def events(settings: Settings, arguments: argparse.Namespace) -> int:
    """One event a line until the instance ends, or Ctrl-C."""
    view = HumanView(is_terminal=False)
    for event in client.events(client.find(settings.state_dir)):
        sys.stdout.write(json.dumps(event.fields) + "\n" if arguments.json else view.render(event.fields))
        sys.stdout.flush()
    return 0


def _status_text(status: Mapping[str, Any]) -> str:
    model = status.get("model") or {}
    rows = {
        "State": status.get("state"),
        "Reason": status.get("reason"),
        "Stage": status.get("stage"),
        "Model": model.get("model"),
        "Restarts": status.get("restarts"),
        "Up for": f"{status.get('uptime_s', 0):.0f} s",
        "Sidecar": f"process {status['sidecar_pid']}" if status.get("sidecar_pid") else None,
        "Standby": (status.get("standby") or {}).get("state"),
        "Next try": f"in {status['next_retry_s']:.0f} s" if status.get("next_retry_s") else None,
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items() if value not in (None, ""))
