"""The launches of which something may be alive, and the poller of the one that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from supervisor.launch import Launch, Plan, Post
from supervisor.logs import Logs
from supervisor.messages import DumpStack, Kill, Spawn, Terminate
from supervisor.poller import Poller
from supervisor.process.base import Child, Launcher, SpawnError

_ORDERS: dict[type, Callable[[Child], None]] = {
    Terminate: lambda child: child.terminate(),
    Kill: lambda child: child.kill(),
    DumpStack: lambda child: child.dump_stack(),
}


class Fleet:
    """Makes launches and passes orders on. ``note_launch`` gets each nonce before its launch is made."""

    def __init__(
        self, plan: Plan, launcher: Launcher, logs: Logs, post: Post, note_launch: Callable[[str], None], *, weigh: bool
    ) -> None:
        """``weigh``: have the memory of the serving launch measured."""
        self.alive: dict[int, Launch] = {}
        self._plan = plan
        self._launcher = launcher
        self._logs = logs
        self._post = post
        self._note_launch = note_launch
        self._weigh = weigh
        self._poller: Poller | None = None

    def spawn(self, order: Spawn) -> None:
        """Make a launch; how that went is posted."""
        self._logs.new_launch(order.launch)
        launch = Launch(order.launch, self._post, self._logs)
        self._logs.hide(launch.token, lasting=False)
        self._note_launch(launch.nonce)
        self.alive[order.launch] = launch
        command = self._plan.command(launch.nonce, launch.token, order.batch_share)
        try:
            launch.child = self._launcher.spawn(command, launch)
        except SpawnError as error:
            launch.failed(error)

    def pass_on(self, order: Terminate | Kill | DumpStack) -> None:
        """Order a launch about, if it is still there."""
        launch = self.alive.get(order.launch)
        if launch is not None and launch.child is not None:
            _ORDERS[type(order)](launch.child)

    def greeted(self, number: int) -> None:
        """It said hello: ask for its health from now on."""
        launch = self.alive.get(number)
        if launch is None or launch.url is None or self._poller is not None:
            return

        def keep(body: Mapping[str, Any]) -> None:
            launch.health = body

        weigh = launch.pid if self._weigh else None
        self._poller = Poller(number, launch.url, launch.nonce, self._post, keep=keep, weigh=weigh)

    def poll_in(self, seconds: float) -> None:
        """Have the next round of health sooner."""
        if self._poller is not None:
            self._poller.poll_in(seconds)

    def bury(self, number: int) -> None:
        """Nothing of it is left."""
        self.alive.pop(number, None)
        if self._poller is not None and self._poller.launch == number:
            self.close()

    def close(self) -> None:
        """Ask for no more health."""
        if self._poller is not None:
            self._poller.close()
            self._poller = None
