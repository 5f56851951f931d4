"""What a worker says comes out as it went in."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.distributed.answers import (
    Described,
    hear_answer,
    hear_described,
    say_answer,
    say_described,
    say_error,
)
from sidecar.ingest.embedders import Answer, Busy, Refused, TooMany
from sidecar.models.metadata import Prompts
from tests.sidecar.ingest.fakes import SPACE, vectors_of


def test_a_model_and_its_vectors() -> None:
    described = Described(SPACE, 256, Prompts({"query": "q: "}, "d"), "node", 7)
    assert hear_described(pickle.loads(pickle.dumps(say_described(described)))) == described
    found = hear_answer(pickle.loads(pickle.dumps(say_answer(Answer(vectors_of(["a"]), 3, 1)))))
    np.testing.assert_array_equal(found.vectors, vectors_of(["a"]))
    assert (found.tokens, found.truncated) == (3, 1)


def test_errors_keep_what_they_know() -> None:
    with pytest.raises(Refused) as refused:
        hear_answer(pickle.loads(pickle.dumps(say_error(Refused({2: ("POISON_INPUT", "why")})))))
    assert refused.value.texts == {2: ("POISON_INPUT", "why")}
    with pytest.raises(Busy) as busy:
        hear_answer(say_error(Busy("later", 2.5)))
    assert busy.value.retry_after_s == 2.5
    with pytest.raises(TooMany) as too_many:
        hear_answer(say_error(TooMany("POISON_INPUT", "why")))
    assert too_many.value.code == "POISON_INPUT"
    with pytest.raises(IngestError) as failed:
        hear_answer(say_error(IngestError(IngestCode.EMBEDDER_REFUSED, "no", hint="h", details={"a": 1})))
    assert (failed.value.code, failed.value.hint, failed.value.details) == (IngestCode.EMBEDDER_REFUSED, "h", {"a": 1})
    with pytest.raises(IngestError) as unloaded:
        hear_described(say_error(Failure(ErrorCode.MODEL_OFFLINE, "no network", hint="h")))
    assert unloaded.value.message.startswith("MODEL_OFFLINE: ")


def test_a_fault_of_ours_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        say_error(ZeroDivisionError())


@pytest.mark.parametrize("said", [("new", 1), ("refused", 3), ("failed",)])
def test_what_cannot_be_read_is_told(said: tuple[object, ...]) -> None:
    for hear in (hear_answer, hear_described):
        with pytest.raises(IngestError) as error:
            hear(said)
        assert error.value.code is IngestCode.EMBEDDER_ANSWER_INVALID
