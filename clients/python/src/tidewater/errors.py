"""What went wrong, and is it worth trying again? One error for every way to the server, with a class for each kind."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

_CODE = re.compile(r"\s*\((TW-\d+)\)$")
_ROW = re.compile(r"rows\[(\d+)\]\.?(.*)", re.DOTALL)

# A limit that no waiting changes.
_FULL_FOR_GOOD = ("TOO_MANY_PRODUCERS", "TOO_MANY_TABLES")


@dataclasses.dataclass(frozen=True)
class RowError:
    """Why a row was not stored."""

    row: int
    """Its place in the rows as they were handed over together with it, from 0."""
    column: str | None
    """None when the whole row is meant."""
    code: str
    """Such as NULL_VIOLATION, TYPE_MISMATCH, OUT_OF_RANGE, MALFORMED, FUTURE_TIME, LATE_TIME."""
    message: str


class Error(Exception):
    """An error of the server, or of the way there."""

    default_status: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        status: str | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        row_errors: Iterable[RowError] = (),
    ):
        code = _CODE.search(message)
        text = _CODE.sub("", message)
        self.status = status or self.default_status
        """The gRPC status, such as INVALID_ARGUMENT."""
        self.reason = reason
        """The stable name of what went wrong, such as SEQUENCE_GAP; empty if the server gave none."""
        self.metadata = dict(metadata or {})
        """Facts for programs, such as last_sequence of a SEQUENCE_GAP."""
        self.code = self.metadata.get("code") or (code[1] if code else None)
        """TW-1206 and so on: the row of the documentation's list of errors."""
        self.message, _, hint = text.partition("; ")
        self.hint = hint or None
        """What to do about it."""
        self.retry_after_s = retry_after_s
        """How long the server asks to wait before the next try."""
        self.row_errors = list(row_errors)
        """The first bad rows of a batch that was refused for them."""
        self.n_taken = 0
        """When a producer's `send` raised it: so many rows of the call were taken, the first ones, and the others were not."""
        self._text = message
        super().__init__(f"{reason}: {message}" if reason else message)

    @property
    def retryable(self) -> bool:
        """The same request may succeed later: the server is away, busy or over a limit, or the connection broke.

        Whether it is safe to send a write again is another question: it is with a producer.
        """
        match self.status:
            case "UNAVAILABLE" | "ABORTED" | "DEADLINE_EXCEEDED":
                return True
            case "RESOURCE_EXHAUSTED" if self.reason in _FULL_FOR_GOOD:
                return False
            case "RESOURCE_EXHAUSTED" if self.reason == "DEDUP_BUDGET":
                return self.retry_after_s is not None
            case "RESOURCE_EXHAUSTED":
                return True
            case "FAILED_PRECONDITION":
                # The table was altered while the rows were on their way. Nothing here asks for a version, which would not come back.
                return self.reason == "SCHEMA_VERSION_MISMATCH"
            case "CANCELLED" | "UNKNOWN" | "INTERNAL":
                # HTTP/2 resets arrive under these, without a reason of the server's.
                return not self.reason
        return False

    def with_context(self, text: str, kind: type[Error] | None = None) -> Error:
        """The same error, as one of `kind` if that is given, saying before what it says where it happened."""
        return (kind or type(self))(
            f"{text}: {self._text}",
            status=self.status,
            reason=self.reason,
            metadata=self.metadata,
            retry_after_s=self.retry_after_s,
            row_errors=self.row_errors,
        )


class InvalidRequestError(Error):
    """It fails again as it is: a mistake in a statement, in rows or in options (INVALID_ARGUMENT, OUT_OF_RANGE)."""

    default_status = "INVALID_ARGUMENT"


class AuthenticationError(Error):
    """Nobody, or nobody known (UNAUTHENTICATED)."""

    default_status = "UNAUTHENTICATED"


class AccessDeniedError(Error):
    """Known, but not allowed (PERMISSION_DENIED)."""

    default_status = "PERMISSION_DENIED"


class NotFoundError(Error):
    """What was named is not there (NOT_FOUND)."""

    default_status = "NOT_FOUND"


class ConflictError(Error):
    """What is there is in the way (ALREADY_EXISTS, FAILED_PRECONDITION): another schema, a newer producer, a reused number."""

    default_status = "FAILED_PRECONDITION"


class UnsupportedError(Error):
    """The server does not do this (UNIMPLEMENTED)."""

    default_status = "UNIMPLEMENTED"


class LimitError(Error):
    """Memory, disk or another limit of the server (RESOURCE_EXHAUSTED)."""

    default_status = "RESOURCE_EXHAUSTED"


class UnavailableError(Error):
    """The server cannot be reached, or is on its way down or up (UNAVAILABLE, ABORTED)."""

    default_status = "UNAVAILABLE"


class TimedOutError(Error, TimeoutError):
    """There was no answer in time (DEADLINE_EXCEEDED)."""

    default_status = "DEADLINE_EXCEEDED"


class CancelledError(Error):
    """It was cancelled, here or by somebody else (CANCELLED)."""

    default_status = "CANCELLED"


class DataLossError(Error):
    """The server lost what it had acknowledged, or what it stores is damaged (DATA_LOSS)."""

    default_status = "DATA_LOSS"


class InternalError(Error):
    """A mistake of the server's (INTERNAL, UNKNOWN)."""

    default_status = "INTERNAL"


class BufferFullError(Error):
    """A producer with `on_full="raise"` has no space. The first `n_taken` rows of the call were taken, the others were not."""

    default_status = "RESOURCE_EXHAUSTED"


class ProducerStoppedError(Error):
    """A producer was closed, or stopped by an error that waiting does not cure, which is its cause."""

    default_status = "FAILED_PRECONDITION"

    @property
    def retryable(self) -> bool:
        return False


class GivenUpError(Error):
    """Something that waiting may cure, but not within the deadline."""

    default_status = "UNAVAILABLE"

    @property
    def retryable(self) -> bool:
        return False


_CLASSES: dict[str, type[Error]] = {
    "ABORTED": UnavailableError,
    "ALREADY_EXISTS": ConflictError,
    "CANCELLED": CancelledError,
    "DATA_LOSS": DataLossError,
    "DEADLINE_EXCEEDED": TimedOutError,
    "FAILED_PRECONDITION": ConflictError,
    "INVALID_ARGUMENT": InvalidRequestError,
    "NOT_FOUND": NotFoundError,
    "OUT_OF_RANGE": InvalidRequestError,
    "PERMISSION_DENIED": AccessDeniedError,
    "RESOURCE_EXHAUSTED": LimitError,
    "UNAUTHENTICATED": AuthenticationError,
    "UNAVAILABLE": UnavailableError,
    "UNIMPLEMENTED": UnsupportedError,
}
_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}


def error_of(status: str, message: str, details: Iterable[Any] = (), row_errors: Iterable[RowError] = ()) -> Error:
    """The error of a gRPC status by name, with what its details (google.protobuf.Any) say."""
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    for detail in details:
        for known in (info, retry, bad):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    rows = list(row_errors) or [row for violation in bad.field_violations if (row := _row_error(violation))]
    return _CLASSES.get(status, InternalError)(
        message,
        status=status,
        reason=info.reason,
        metadata=info.metadata,
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
        row_errors=rows,
    )


def _row_error(violation: Any) -> RowError | None:
    """Reads the field `rows[17].column`, the form in which a refused write names its rows."""
    found = _ROW.fullmatch(violation.field)
    return RowError(int(found[1]), found[2] or None, violation.reason, violation.description) if found else None


def of_status(status: Any, row_errors: Iterable[RowError] = ()) -> Error:
    """The error of a google.rpc.Status."""
    return error_of(_NAMES.get(status.code, "UNKNOWN"), status.message, status.details, row_errors)


def of_rpc(error: grpc.RpcError) -> Error:
    """The error of a gRPC call."""
    call: Any = error
    status = call.code().name if hasattr(call, "code") and call.code() else "UNKNOWN"
    text = call.details() if hasattr(call, "details") else str(error)
    for key, value in (call.trailing_metadata() if hasattr(call, "trailing_metadata") else None) or ():
        if key == "grpc-status-details-bin":
            return error_of(status, text or "", details_in(value))
    return error_of(status, text or status)


def details_in(data: bytes) -> list[Any]:
    """What a grpc-status-details-bin holds: a google.rpc.Status, or, where a driver has taken that apart, one of its details."""
    detail = AnyMessage()
    try:
        detail.ParseFromString(data)
        if detail.type_url.startswith("type.googleapis.com/"):
            return [detail]
        return list(status_pb2.Status.FromString(data).details)
    except Exception:  # What a proxy put there hides no error.
        try:
            return list(status_pb2.Status.FromString(data).details)
        except Exception:
            return []
