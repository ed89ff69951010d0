import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORMAT_UNSPECIFIED: _ClassVar[Format]
    FORMAT_ARROW_IPC: _ClassVar[Format]
    FORMAT_JSON_ROWS: _ClassVar[Format]

class OverflowMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERFLOW_MODE_UNSPECIFIED: _ClassVar[OverflowMode]
    OVERFLOW_MODE_ERROR: _ClassVar[OverflowMode]
    OVERFLOW_MODE_TRUNCATE: _ClassVar[OverflowMode]

class CancelState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_STATE_UNSPECIFIED: _ClassVar[CancelState]
    CANCEL_STATE_STOPPED: _ClassVar[CancelState]
    CANCEL_STATE_ALREADY: _ClassVar[CancelState]
    CANCEL_STATE_TOO_LATE: _ClassVar[CancelState]

class QueryState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUERY_STATE_UNSPECIFIED: _ClassVar[QueryState]
    QUERY_STATE_PLANNING: _ClassVar[QueryState]
    QUERY_STATE_WAITING: _ClassVar[QueryState]
    QUERY_STATE_RUNNING: _ClassVar[QueryState]
    QUERY_STATE_FINISHED: _ClassVar[QueryState]
    QUERY_STATE_FAILED: _ClassVar[QueryState]
    QUERY_STATE_CANCELLED: _ClassVar[QueryState]
FORMAT_UNSPECIFIED: Format
FORMAT_ARROW_IPC: Format
FORMAT_JSON_ROWS: Format
OVERFLOW_MODE_UNSPECIFIED: OverflowMode
OVERFLOW_MODE_ERROR: OverflowMode
OVERFLOW_MODE_TRUNCATE: OverflowMode
CANCEL_STATE_UNSPECIFIED: CancelState
CANCEL_STATE_STOPPED: CancelState
CANCEL_STATE_ALREADY: CancelState
CANCEL_STATE_TOO_LATE: CancelState
QUERY_STATE_UNSPECIFIED: QueryState
QUERY_STATE_PLANNING: QueryState
QUERY_STATE_WAITING: QueryState
QUERY_STATE_RUNNING: QueryState
QUERY_STATE_FINISHED: QueryState
QUERY_STATE_FAILED: QueryState
QUERY_STATE_CANCELLED: QueryState

class QueryRequest(_message.Message):
    __slots__ = ("sql", "positional", "arrow_params", "format", "query_id", "max_rows", "overflow_mode", "min_commit", "settings", "keeps_settings", "progress")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SQL_FIELD_NUMBER: _ClassVar[int]
    POSITIONAL_FIELD_NUMBER: _ClassVar[int]
    ARROW_PARAMS_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_ROWS_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_MODE_FIELD_NUMBER: _ClassVar[int]
    MIN_COMMIT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    KEEPS_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    sql: str
    positional: Values
    arrow_params: bytes
    format: Format
    query_id: str
    max_rows: int
    overflow_mode: OverflowMode
    min_commit: _containers.RepeatedScalarFieldContainer[bytes]
    settings: _containers.ScalarMap[str, str]
    keeps_settings: bool
    progress: bool
    def __init__(self, sql: _Optional[str] = ..., positional: _Optional[_Union[Values, _Mapping]] = ..., arrow_params: _Optional[bytes] = ..., format: _Optional[_Union[Format, str]] = ..., query_id: _Optional[str] = ..., max_rows: _Optional[int] = ..., overflow_mode: _Optional[_Union[OverflowMode, str]] = ..., min_commit: _Optional[_Iterable[bytes]] = ..., settings: _Optional[_Mapping[str, str]] = ..., keeps_settings: _Optional[bool] = ..., progress: _Optional[bool] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("bool_value", "int64_value", "uint64_value", "double_value", "string_value", "bytes_value")
    BOOL_VALUE_FIELD_NUMBER: _ClassVar[int]
    INT64_VALUE_FIELD_NUMBER: _ClassVar[int]
    UINT64_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    bool_value: bool
    int64_value: int
    uint64_value: int
    double_value: float
    string_value: str
    bytes_value: bytes
    def __init__(self, bool_value: _Optional[bool] = ..., int64_value: _Optional[int] = ..., uint64_value: _Optional[int] = ..., double_value: _Optional[float] = ..., string_value: _Optional[str] = ..., bytes_value: _Optional[bytes] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("started", "arrow_message", "json", "progress", "summary")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ARROW_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    started: Started
    arrow_message: bytes
    json: bytes
    progress: Progress
    summary: Summary
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., arrow_message: _Optional[bytes] = ..., json: _Optional[bytes] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("query_id", "arrow_schema", "is_update", "tables")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    ARROW_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    IS_UPDATE_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    arrow_schema: bytes
    is_update: bool
    tables: _containers.RepeatedCompositeFieldContainer[TableFreshness]
    def __init__(self, query_id: _Optional[str] = ..., arrow_schema: _Optional[bytes] = ..., is_update: _Optional[bool] = ..., tables: _Optional[_Iterable[_Union[TableFreshness, _Mapping]]] = ...) -> None: ...

class TableFreshness(_message.Message):
    __slots__ = ("schema", "name", "commit_token", "watermark")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    schema: str
    name: str
    commit_token: bytes
    watermark: _timestamp_pb2.Timestamp
    def __init__(self, schema: _Optional[str] = ..., name: _Optional[str] = ..., commit_token: _Optional[bytes] = ..., watermark: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("rows_read", "bytes_read", "elapsed", "fraction")
    ROWS_READ_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    rows_read: int
    bytes_read: int
    elapsed: _duration_pb2.Duration
    fraction: float
    def __init__(self, rows_read: _Optional[int] = ..., bytes_read: _Optional[int] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fraction: _Optional[float] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("rows", "affected_rows", "truncated", "rows_read_realtime", "rows_read_sealed", "planned_ms", "ran_ms", "cpu_ms", "memory_peak_bytes", "spilled_bytes", "commit_tokens", "notices", "settings", "files_pruned", "files_read", "rows_read_built", "tables")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_ROWS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_REALTIME_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_SEALED_FIELD_NUMBER: _ClassVar[int]
    PLANNED_MS_FIELD_NUMBER: _ClassVar[int]
    RAN_MS_FIELD_NUMBER: _ClassVar[int]
    CPU_MS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    FILES_PRUNED_FIELD_NUMBER: _ClassVar[int]
    FILES_READ_FIELD_NUMBER: _ClassVar[int]
    ROWS_READ_BUILT_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    affected_rows: int
    truncated: bool
    rows_read_realtime: int
    rows_read_sealed: int
    planned_ms: float
    ran_ms: float
    cpu_ms: float
    memory_peak_bytes: int
    spilled_bytes: int
    commit_tokens: _containers.RepeatedScalarFieldContainer[bytes]
    notices: _containers.RepeatedScalarFieldContainer[str]
    settings: _containers.ScalarMap[str, str]
    files_pruned: int
    files_read: int
    rows_read_built: int
    tables: _containers.RepeatedCompositeFieldContainer[TableFreshness]
    def __init__(self, rows: _Optional[int] = ..., affected_rows: _Optional[int] = ..., truncated: _Optional[bool] = ..., rows_read_realtime: _Optional[int] = ..., rows_read_sealed: _Optional[int] = ..., planned_ms: _Optional[float] = ..., ran_ms: _Optional[float] = ..., cpu_ms: _Optional[float] = ..., memory_peak_bytes: _Optional[int] = ..., spilled_bytes: _Optional[int] = ..., commit_tokens: _Optional[_Iterable[bytes]] = ..., notices: _Optional[_Iterable[str]] = ..., settings: _Optional[_Mapping[str, str]] = ..., files_pruned: _Optional[int] = ..., files_read: _Optional[int] = ..., rows_read_built: _Optional[int] = ..., tables: _Optional[_Iterable[_Union[TableFreshness, _Mapping]]] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("sql", "analyze", "settings")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SQL_FIELD_NUMBER: _ClassVar[int]
    ANALYZE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    sql: str
    analyze: bool
    settings: _containers.ScalarMap[str, str]
    def __init__(self, sql: _Optional[str] = ..., analyze: _Optional[bool] = ..., settings: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("query_id",)
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    def __init__(self, query_id: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("state",)
    STATE_FIELD_NUMBER: _ClassVar[int]
    state: CancelState
    def __init__(self, state: _Optional[_Union[CancelState, str]] = ...) -> None: ...

class ListQueriesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListQueriesResponse(_message.Message):
    __slots__ = ("queries",)
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    queries: _containers.RepeatedCompositeFieldContainer[QueryInfo]
    def __init__(self, queries: _Optional[_Iterable[_Union[QueryInfo, _Mapping]]] = ...) -> None: ...

class QueryInfo(_message.Message):
    __slots__ = ("query_id", "principal", "interface", "sql", "state", "started_at", "summary", "error_code")
    QUERY_ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    SQL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    query_id: str
    principal: str
    interface: str
    sql: str
    state: QueryState
    started_at: _timestamp_pb2.Timestamp
    summary: Summary
    error_code: str
    def __init__(self, query_id: _Optional[str] = ..., principal: _Optional[str] = ..., interface: _Optional[str] = ..., sql: _Optional[str] = ..., state: _Optional[_Union[QueryState, str]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ..., error_code: _Optional[str] = ...) -> None: ...
