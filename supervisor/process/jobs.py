"""Job objects: how Windows ends every process of a launch when one handle closes.

The calls go through ``Kernel``, so that their order and their structures are
tested where there is no Windows. Structures are spelt with ctypes' own
integers: ``wintypes.DWORD`` has 8 bytes on Linux, and the layout must not.
"""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

KILL_ON_JOB_CLOSE = 0x2000
DIE_ON_UNHANDLED_EXCEPTION = 0x0400

_ACCOUNTING_INFORMATION = 1
_EXTENDED_LIMIT_INFORMATION = 9

ERROR_ACCESS_DENIED = 5


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", ctypes.c_uint32),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", ctypes.c_uint32),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", ctypes.c_uint32),
        ("SchedulingClass", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION; 144 bytes where pointers have 8."""

    _fields_ = (
        ("BasicLimitInformation", BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


class Accounting(ctypes.Structure):
    """JOBOBJECT_BASIC_ACCOUNTING_INFORMATION."""

    _fields_ = (
        ("TotalUserTime", ctypes.c_int64),
        ("TotalKernelTime", ctypes.c_int64),
        ("ThisPeriodTotalUserTime", ctypes.c_int64),
        ("ThisPeriodTotalKernelTime", ctypes.c_int64),
        ("TotalPageFaultCount", ctypes.c_uint32),
        ("TotalProcesses", ctypes.c_uint32),
        ("ActiveProcesses", ctypes.c_uint32),
        ("TotalTerminatedProcesses", ctypes.c_uint32),
    )


class Kernel(Protocol):
    """The system calls; each returns 0 or None for failure, and ``error`` says which."""

    def create_job(self) -> int | None: ...
    def set_information(self, job: int, kind: int, data: Any) -> int: ...
    def query_information(self, job: int, kind: int, data: Any) -> int: ...
    def assign(self, job: int, process: int) -> int: ...
    def terminate(self, job: int, status: int) -> int: ...
    def close(self, handle: int) -> int: ...
    def current_process(self) -> int: ...
    def resume(self, process: int) -> int: ...
    def error(self) -> int: ...


class JobError(OSError):
    """A job call failed; ``number`` is the Windows error."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__(f"{call} failed with Windows error {number}")
        self.number = number


class Job:
    """One job; every process in it ends when it is closed, by us or by our end."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._handle = kernel.create_job()
        if not self._handle:
            raise JobError("CreateJobObject", kernel.error())
        limits = ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = KILL_ON_JOB_CLOSE | DIE_ON_UNHANDLED_EXCEPTION
        if not kernel.set_information(self._handle, _EXTENDED_LIMIT_INFORMATION, limits):
            number = kernel.error()
            self.close()
            raise JobError("SetInformationJobObject", number)

    def assign(self, process: int) -> None:
        """Put a process, by its handle, into the job. Raises ``JobError``: 5 when it has ended already."""
        if not self._handle or not self._kernel.assign(self._handle, process):
            raise JobError("AssignProcessToJobObject", self._kernel.error())

    def terminate(self) -> None:
        """End every process in the job."""
        if self._handle:
            self._kernel.terminate(self._handle, 1)

    def count(self) -> int:
        """How many processes are alive in the job."""
        accounting = Accounting()
        if not self._handle or not self._kernel.query_information(self._handle, _ACCOUNTING_INFORMATION, accounting):
            return 0
        return int(accounting.ActiveProcesses)

    def close(self) -> None:
        """Close the handle, which ends what is left in the job."""
        if self._handle:
            self._kernel.close(self._handle)
            self._handle = None


class WindowsKernel:
    """The real calls, from kernel32 and ntdll."""

    def __init__(self) -> None:
        load: Any = getattr(ctypes, "WinDLL")  # noqa: B009 absent elsewhere
        self._k32: Any = load("kernel32", use_last_error=True)
        self._nt: Any = load("ntdll")
        handle, size = ctypes.c_void_p, ctypes.c_uint32
        for name, result, arguments in (
            ("CreateJobObjectW", handle, (handle, ctypes.c_wchar_p)),
            ("SetInformationJobObject", ctypes.c_int, (handle, ctypes.c_int, handle, size)),
            ("QueryInformationJobObject", ctypes.c_int, (handle, ctypes.c_int, handle, size, handle)),
            ("AssignProcessToJobObject", ctypes.c_int, (handle, handle)),
            ("TerminateJobObject", ctypes.c_int, (handle, ctypes.c_uint)),
            ("CloseHandle", ctypes.c_int, (handle,)),
            ("GetCurrentProcess", handle, ()),
        ):
            function = getattr(self._k32, name)
            function.restype, function.argtypes = result, arguments
        self._nt.NtResumeProcess.argtypes = (handle,)

    def create_job(self) -> int | None:
        # No attributes: the handle is not inherited, so no child keeps the job open.
        return self._k32.CreateJobObjectW(None, None)  # type: ignore[no-any-return]

    def set_information(self, job: int, kind: int, data: Any) -> int:
        return int(self._k32.SetInformationJobObject(job, kind, ctypes.byref(data), ctypes.sizeof(data)))

    def query_information(self, job: int, kind: int, data: Any) -> int:
        return int(self._k32.QueryInformationJobObject(job, kind, ctypes.byref(data), ctypes.sizeof(data), None))

    def assign(self, job: int, process: int) -> int:
        return int(self._k32.AssignProcessToJobObject(job, process))

    def terminate(self, job: int, status: int) -> int:
        return int(self._k32.TerminateJobObject(job, status))

    def close(self, handle: int) -> int:
        return int(self._k32.CloseHandle(handle))

    def current_process(self) -> int:
        return int(self._k32.GetCurrentProcess())

    def resume(self, process: int) -> int:
        return int(self._nt.NtResumeProcess(process) == 0)

    def error(self) -> int:
        return int(ctypes.get_last_error())  # type: ignore[attr-defined]
