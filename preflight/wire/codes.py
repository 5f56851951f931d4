"""Error codes: one row each; documents, HTTP answers and reports read this table."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ErrorCode(str, Enum):
    """A public code. Format with ``.value``: ``str()`` differs by version."""

    # preflight
    PYTHON_NOT_FOUND = "PYTHON_NOT_FOUND"
    PYTHON_VERSION_INCOMPATIBLE = "PYTHON_VERSION_INCOMPATIBLE"
    PYTHON_ARCH_MISMATCH = "PYTHON_ARCH_MISMATCH"
    PYTHON_DEPS_MISSING = "PYTHON_DEPS_MISSING"
    PYTHON_DEPS_INCOMPATIBLE = "PYTHON_DEPS_INCOMPATIBLE"
    VENV_BROKEN = "VENV_BROKEN"
    DISK_SPACE_LOW = "DISK_SPACE_LOW"
    PATH_NOT_WRITABLE = "PATH_NOT_WRITABLE"
    MEMORY_LOW = "MEMORY_LOW"
    # set-up
    VENV_CREATE_FAILED = "VENV_CREATE_FAILED"
    DEPS_INSTALL_FAILED = "DEPS_INSTALL_FAILED"
    # supervisor
    PORT_IN_USE = "PORT_IN_USE"
    PORT_FORBIDDEN = "PORT_FORBIDDEN"
    ALREADY_RUNNING = "ALREADY_RUNNING"
    SIDECAR_START_FAILED = "SIDECAR_START_FAILED"
    SIDECAR_NOT_HEALTHY = "SIDECAR_NOT_HEALTHY"
    STARTUP_TIMEOUT = "STARTUP_TIMEOUT"
    SIDECAR_CRASHED = "SIDECAR_CRASHED"
    SIDECAR_HUNG = "SIDECAR_HUNG"
    SIDECAR_OUT_OF_MEMORY = "SIDECAR_OUT_OF_MEMORY"
    CRASH_LOOP = "CRASH_LOOP"
    # sidecar
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    MODEL_DOWNLOAD_FAILED = "MODEL_DOWNLOAD_FAILED"
    MODEL_CORRUPT = "MODEL_CORRUPT"
    MODEL_OFFLINE = "MODEL_OFFLINE"
    MODEL_CONVERSION_FAILED = "MODEL_CONVERSION_FAILED"
    MODEL_PARITY_FAILED = "MODEL_PARITY_FAILED"
    EMBEDDER_INIT_FAILED = "EMBEDDER_INIT_FAILED"
    # HTTP
    INVALID_REQUEST = "INVALID_REQUEST"
    PARSE_ERROR = "PARSE_ERROR"
    TEXT_TOO_LONG = "TEXT_TOO_LONG"
    UNAUTHORIZED = "UNAUTHORIZED"
    ORIGIN_FORBIDDEN = "ORIGIN_FORBIDDEN"
    HOST_FORBIDDEN = "HOST_FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    POISON_INPUT = "POISON_INPUT"
    OVERLOADED = "OVERLOADED"
    NOT_READY = "NOT_READY"
    TIMEOUT = "TIMEOUT"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # clients
    NETWORK_ERROR = "NETWORK_ERROR"
    HTTP_ERROR = "HTTP_ERROR"


class CodeInfo(NamedTuple):
    """What is known of a code wherever it is raised."""

    raised_by: str
    retryable: bool
    meaning: str
    #: Status of the HTTP answer that carries it; None where it never travels by HTTP.
    status: int | None = None


_C = ErrorCode

CODES: dict[ErrorCode, CodeInfo] = {
    _C.PYTHON_NOT_FOUND: CodeInfo("preflight", False, "No supported interpreter in PATH or any searched place."),
    _C.PYTHON_VERSION_INCOMPATIBLE: CodeInfo("preflight", False, "The interpreter is outside the supported range."),
    _C.PYTHON_ARCH_MISMATCH: CodeInfo("preflight", False, "A 32-bit interpreter, or one built for another processor."),
    _C.PYTHON_DEPS_MISSING: CodeInfo("preflight", False, "Packages are not installed; details name them."),
    _C.PYTHON_DEPS_INCOMPATIBLE: CodeInfo("preflight", False, "Packages are installed, but outside the wanted range."),
    _C.VENV_BROKEN: CodeInfo("preflight", False, "The environment's base interpreter is gone, or it is half made."),
    _C.DISK_SPACE_LOW: CodeInfo("preflight", False, "Too little free disk space; needed and free are given."),
    _C.PATH_NOT_WRITABLE: CodeInfo("preflight", False, "A folder we must write to cannot be written."),
    _C.MEMORY_LOW: CodeInfo("preflight", False, "Too little free memory for the model; needed and free are given."),
    _C.VENV_CREATE_FAILED: CodeInfo("setup", True, "The virtual environment could not be made."),
    _C.DEPS_INSTALL_FAILED: CodeInfo("setup", True, "The installer failed; its last lines are given."),
    _C.PORT_IN_USE: CodeInfo("supervisor", False, "Another program listens on the port."),
    _C.PORT_FORBIDDEN: CodeInfo("supervisor", False, "The system does not let us listen on the port."),
    _C.ALREADY_RUNNING: CodeInfo(
        "supervisor", False, "Another supervisor uses this state folder, or an environment that is to be replaced."
    ),
    _C.SIDECAR_START_FAILED: CodeInfo("supervisor", True, "The sidecar ended before it said hello."),
    _C.SIDECAR_NOT_HEALTHY: CodeInfo("supervisor", True, "The sidecar answers wrongly, or another process answers."),
    _C.STARTUP_TIMEOUT: CodeInfo("supervisor", True, "A start-up stage made no progress within its allowance."),
    _C.SIDECAR_CRASHED: CodeInfo("supervisor", True, "The sidecar ended by itself; it is restarted."),
    _C.SIDECAR_HUNG: CodeInfo("supervisor", True, "Inference stood still; the sidecar is replaced."),
    _C.SIDECAR_OUT_OF_MEMORY: CodeInfo("supervisor", True, "The system ended the sidecar for want of memory."),
    _C.CRASH_LOOP: CodeInfo("supervisor", True, "Too many crashes in a short time; the next try is given.", 503),
    _C.MODEL_NOT_FOUND: CodeInfo("sidecar", False, "No such model.", 404),
    _C.MODEL_DOWNLOAD_FAILED: CodeInfo("sidecar", True, "The model could not be downloaded.", 503),
    _C.MODEL_CORRUPT: CodeInfo("sidecar", False, "A file of the model is missing or damaged.", 503),
    _C.MODEL_OFFLINE: CodeInfo("sidecar", False, "The model is not here and the network may not be used.", 503),
    _C.MODEL_CONVERSION_FAILED: CodeInfo("sidecar", False, "The model could not be prepared for the fast engine.", 503),
    _C.MODEL_PARITY_FAILED: CodeInfo("sidecar", False, "The prepared model's vectors differ from the reference.", 503),
    _C.EMBEDDER_INIT_FAILED: CodeInfo("sidecar", True, "The engine could not start.", 503),
    _C.INVALID_REQUEST: CodeInfo("http", False, "The request has the wrong shape.", 400),
    _C.PARSE_ERROR: CodeInfo("http", False, "The body is not JSON.", 400),
    _C.TEXT_TOO_LONG: CodeInfo("http", False, "A text is over max_tokens and truncation was refused.", 400),
    _C.UNAUTHORIZED: CodeInfo("http", False, "The bearer token is missing or wrong.", 401),
    _C.ORIGIN_FORBIDDEN: CodeInfo("http", False, "A browser page of this origin may not call.", 403),
    _C.HOST_FORBIDDEN: CodeInfo("http", False, "The Host header does not name this machine's loopback.", 421),
    _C.NOT_FOUND: CodeInfo("http", False, "No such path.", 404),
    _C.METHOD_NOT_ALLOWED: CodeInfo("http", False, "The path exists, but not for this method.", 405),
    _C.UNSUPPORTED_MEDIA_TYPE: CodeInfo("http", False, "The body is not declared as application/json.", 415),
    _C.REQUEST_TOO_LARGE: CodeInfo("http", False, "The body or the number of texts is over the limit.", 413),
    _C.POISON_INPUT: CodeInfo("http", False, "This text ends the engine; details name its index.", 422),
    _C.OVERLOADED: CodeInfo("http", True, "The queue is full.", 429),
    _C.NOT_READY: CodeInfo("http", True, "The sidecar is not ready yet.", 503),
    _C.TIMEOUT: CodeInfo("http, clients", True, "The deadline passed.", 504),
    _C.INTERNAL_ERROR: CodeInfo("http", False, "A fault of our own; the log has the traceback.", 500),
    _C.NETWORK_ERROR: CodeInfo("clients", True, "The connection failed."),
    _C.HTTP_ERROR: CodeInfo("clients", True, "An answer without a code of ours; retried when it is a 5xx."),
}
