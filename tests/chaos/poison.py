"""One of 32 texts ends the engine, each time it is tried."""

from __future__ import annotations

import random

from tests.chaos.clients import TEXTS, TOLERANCE, Caller, Crowd, Reply, Vectors, baseline, difference
from tests.chaos.results import Result
from tests.chaos.scene import WITH_FAULTS, Scene

COUNT = 32
MOST_RESTARTS = 11

#: Callers beside it, whose texts are harmless.
BYSTANDERS = 2

#: Each try of a text that hangs costs the watchdog's budget.
PATIENCE_S = 900.0


def crashing(rounds: int, seed: int) -> Result:
    """The text ends the process."""
    return _poisoned("poison-crash", "chaos:crash", rounds, seed)


def hanging(rounds: int, seed: int) -> Result:
    """The text hangs the inference thread."""
    return _poisoned("poison-hang", "chaos:hang", rounds, seed)


def _poisoned(name: str, poison: str, rounds: int, seed: int) -> Result:
    """Each round: a call that wants all or nothing, then one with the same texts that wants what can be had."""
    result, dice = Result(name), random.Random(seed)
    not_refused = not_right = bystanders = 0
    restarts: list[int] = []
    times: list[float] = []
    for _ in range(rounds):
        with Scene(program=WITH_FAULTS) as scene:
            host = scene.host
            host.wait_ready()
            right, index = baseline(host.url), dice.randrange(COUNT)
            texts = [*TEXTS[:index], poison, *TEXTS[index + 1 : COUNT]]
            with Crowd(host.url, BYSTANDERS, right, dice.randrange(2**32), PATIENCE_S) as crowd:
                reply = Caller(host.url, PATIENCE_S).embed(texts)
                partial = Caller(host.url, PATIENCE_S).embed(texts, {"Prefer": "respond-partial"})
            not_refused += reply.status != 422 or reply.body["error"]["details"]["index"] != index
            not_right += COUNT - 1 - right_answers(partial, right, index)
            times.append(reply.ended - reply.began)
            restarts.append(host.health().body["supervisor"]["restarts"])
            bystanders += crowd.failed + crowd.wrong
            result.notes += crowd.failures
            if reply.status != 422:
                result.notes.append(f"index {index}: {reply.status} {reply.body}"[:500])
    result.measure("rounds", rounds, "")
    result.count("not refused by its index", not_refused, 0)
    result.count("of the 31 others not answered right", not_right, 0)
    result.count("calls of bystanders failed", bystanders, 0)
    result.count("most restarts", max(restarts), MOST_RESTARTS)
    result.times("until refused", times)
    return result


def right_answers(reply: Reply, right: Vectors, poisoned: int) -> int:
    """How many of the texts beside the poisoned one have their vector."""
    if reply.status != 200:
        return 0
    found = 0
    for index, vector in enumerate(reply.body["vectors"]):
        if index != poisoned and vector is not None:
            one = reply._replace(body={"vectors": [vector]})
            found += difference(one, right[index : index + 1]) <= TOLERANCE
    return found
