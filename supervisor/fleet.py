"""The launches of which something may be alive, and who asks each for its health."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    """Makes launches and passes orders on.

    Before a launch is made, ``note_launches`` gets the nonces of all of which
    something may then be alive, the new one last.
    """

    def __init__(
        self,
        plan: Plan,
        launcher: Launcher,
        logs: Logs,
        post: Post,
        note_launches: Callable[[Sequence[str]], None],
        *,
        weigh: bool,
    ) -> None:
        """``weigh``: have the memory of launches measured."""
        self.alive: dict[int, Launch] = {}
        self._plan = plan
        self._launcher = launcher
        self._logs = logs
        self._post = post
        self._note_launches = note_launches
        self._weigh = weigh
        self._pollers: dict[int, Poller] = {}
        #: Of the last launch that ended: the guard told that nothing is left, and a sweep costs nothing.
        self._buried: tuple[str, ...] = ()

    def spawn(self, order: Spawn) -> None:
        """Make a launch; how that went is posted."""
        self._logs.new_launch(order.launch, beside=self.alive)
        launch = Launch(order.launch, self._post, self._logs)
        self._logs.hide(launch.token, lasting=False)
        self._note_launches((*self._buried, *(other.nonce for other in self.alive.values()), launch.nonce))
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

    def pid_of(self, number: int) -> int | None:
        """Its sidecar's process, if it lives."""
        launch = self.alive.get(number)
        return launch.pid if launch else None

    def greeted(self, number: int) -> None:
        """It said hello: ask for its health from now on."""
        launch = self.alive.get(number)
        if launch is None or launch.url is None or number in self._pollers:
            return

        def keep(body: Mapping[str, Any]) -> None:
            launch.health = body

        weigh = launch.pid if self._weigh else None
        self._pollers[number] = Poller(number, launch.url, launch.nonce, self._post, keep=keep, weigh=weigh)

    def poll_in(self, number: int, seconds: float) -> None:
        """Have its next round of health sooner."""
        if number in self._pollers:
            self._pollers[number].poll_in(seconds)

    def bury(self, number: int) -> None:
        """Nothing of it is left."""
        launch = self.alive.pop(number, None)
        if launch is not None:
            self._buried = (launch.nonce,)
        if number in self._pollers:
            self._pollers.pop(number).close()

    def close(self) -> None:
        """Ask for no more health."""
        for poller in self._pollers.values():
            poller.close()
        self._pollers.clear()
