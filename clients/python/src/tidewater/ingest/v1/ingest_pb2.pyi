import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SequenceMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEQUENCE_MODE_UNSPECIFIED: _ClassVar[SequenceMode]
    SEQUENCE_MODE_CONTIGUOUS: _ClassVar[SequenceMode]
    SEQUENCE_MODE_MONOTONIC: _ClassVar[SequenceMode]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_OS: _ClassVar[Durability]
    DURABILITY_FSYNC: _ClassVar[Durability]
    DURABILITY_REPLICATED: _ClassVar[Durability]

class OnRowError(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_ROW_ERROR_UNSPECIFIED: _ClassVar[OnRowError]
    ON_ROW_ERROR_KEEP: _ClassVar[OnRowError]
    ON_ROW_ERROR_ABORT: _ClassVar[OnRowError]

class SchemaPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEMA_POLICY_STRICT: _ClassVar[SchemaPolicy]
    SCHEMA_POLICY_IGNORE_UNKNOWN_COLUMNS: _ClassVar[SchemaPolicy]
    SCHEMA_POLICY_ADD_COLUMNS: _ClassVar[SchemaPolicy]
    SCHEMA_POLICY_CREATE_TABLE: _ClassVar[SchemaPolicy]
SEQUENCE_MODE_UNSPECIFIED: SequenceMode
SEQUENCE_MODE_CONTIGUOUS: SequenceMode
SEQUENCE_MODE_MONOTONIC: SequenceMode
DURABILITY_UNSPECIFIED: Durability
DURABILITY_OS: Durability
DURABILITY_FSYNC: Durability
DURABILITY_REPLICATED: Durability
ON_ROW_ERROR_UNSPECIFIED: OnRowError
ON_ROW_ERROR_KEEP: OnRowError
ON_ROW_ERROR_ABORT: OnRowError
SCHEMA_POLICY_STRICT: SchemaPolicy
SCHEMA_POLICY_IGNORE_UNKNOWN_COLUMNS: SchemaPolicy
SCHEMA_POLICY_ADD_COLUMNS: SchemaPolicy
SCHEMA_POLICY_CREATE_TABLE: SchemaPolicy

class TableRef(_message.Message):
    __slots__ = ("catalog", "schema", "table")
    CATALOG_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    catalog: str
    schema: str
    table: str
    def __init__(self, catalog: _Optional[str] = ..., schema: _Optional[str] = ..., table: _Optional[str] = ...) -> None: ...

class Producer(_message.Message):
    __slots__ = ("id", "epoch", "mode", "last_acked")
    ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LAST_ACKED_FIELD_NUMBER: _ClassVar[int]
    id: str
    epoch: int
    mode: SequenceMode
    last_acked: int
    def __init__(self, id: _Optional[str] = ..., epoch: _Optional[int] = ..., mode: _Optional[_Union[SequenceMode, str]] = ..., last_acked: _Optional[int] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("arrow_ipc_stream", "arrow_ipc_message", "json_rows")
    ARROW_IPC_STREAM_FIELD_NUMBER: _ClassVar[int]
    ARROW_IPC_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    JSON_ROWS_FIELD_NUMBER: _ClassVar[int]
    arrow_ipc_stream: bytes
    arrow_ipc_message: bytes
    json_rows: bytes
    def __init__(self, arrow_ipc_stream: _Optional[bytes] = ..., arrow_ipc_message: _Optional[bytes] = ..., json_rows: _Optional[bytes] = ...) -> None: ...

class BatchOptions(_message.Message):
    __slots__ = ("durability", "on_row_error", "schema_policy", "expected_schema_version", "time_zone")
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    ON_ROW_ERROR_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    durability: Durability
    on_row_error: OnRowError
    schema_policy: SchemaPolicy
    expected_schema_version: int
    time_zone: str
    def __init__(self, durability: _Optional[_Union[Durability, str]] = ..., on_row_error: _Optional[_Union[OnRowError, str]] = ..., schema_policy: _Optional[_Union[SchemaPolicy, str]] = ..., expected_schema_version: _Optional[int] = ..., time_zone: _Optional[str] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("table", "producer", "sequence", "payload", "options", "idempotency_key")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    table: TableRef
    producer: Producer
    sequence: int
    payload: Payload
    options: BatchOptions
    idempotency_key: str
    def __init__(self, table: _Optional[_Union[TableRef, _Mapping]] = ..., producer: _Optional[_Union[Producer, _Mapping]] = ..., sequence: _Optional[int] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ..., options: _Optional[_Union[BatchOptions, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: BatchResult
    def __init__(self, result: _Optional[_Union[BatchResult, _Mapping]] = ...) -> None: ...

class WriteStreamRequest(_message.Message):
    __slots__ = ("open", "batch")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    open: Open
    batch: Batch
    def __init__(self, open: _Optional[_Union[Open, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("table", "producer", "options", "arrow_schema")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ARROW_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    table: TableRef
    producer: Producer
    options: BatchOptions
    arrow_schema: bytes
    def __init__(self, table: _Optional[_Union[TableRef, _Mapping]] = ..., producer: _Optional[_Union[Producer, _Mapping]] = ..., options: _Optional[_Union[BatchOptions, _Mapping]] = ..., arrow_schema: _Optional[bytes] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("batch_id", "sequence", "payload")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    sequence: int
    payload: Payload
    def __init__(self, batch_id: _Optional[int] = ..., sequence: _Optional[int] = ..., payload: _Optional[_Union[Payload, _Mapping]] = ...) -> None: ...

class WriteStreamResponse(_message.Message):
    __slots__ = ("opened", "result", "throttle", "go_away", "schema_changed")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_CHANGED_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    result: BatchResult
    throttle: Throttle
    go_away: GoAway
    schema_changed: SchemaChanged
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., result: _Optional[_Union[BatchResult, _Mapping]] = ..., throttle: _Optional[_Union[Throttle, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., schema_changed: _Optional[_Union[SchemaChanged, _Mapping]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("schema", "last_sequence", "max_inflight_batches", "max_inflight_bytes", "max_batch_bytes", "durability")
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_INFLIGHT_BATCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_INFLIGHT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    schema: TableSchema
    last_sequence: int
    max_inflight_batches: int
    max_inflight_bytes: int
    max_batch_bytes: int
    durability: Durability
    def __init__(self, schema: _Optional[_Union[TableSchema, _Mapping]] = ..., last_sequence: _Optional[int] = ..., max_inflight_batches: _Optional[int] = ..., max_inflight_bytes: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., durability: _Optional[_Union[Durability, str]] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("batch_id", "sequence", "status", "repeated", "received", "accepted", "duplicates", "rejected", "row_errors", "commit_token", "durability")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    ROW_ERRORS_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    batch_id: int
    sequence: int
    status: _status_pb2.Status
    repeated: bool
    received: int
    accepted: int
    duplicates: int
    rejected: int
    row_errors: _containers.RepeatedCompositeFieldContainer[RowError]
    commit_token: bytes
    durability: Durability
    def __init__(self, batch_id: _Optional[int] = ..., sequence: _Optional[int] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., repeated: _Optional[bool] = ..., received: _Optional[int] = ..., accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., rejected: _Optional[int] = ..., row_errors: _Optional[_Iterable[_Union[RowError, _Mapping]]] = ..., commit_token: _Optional[bytes] = ..., durability: _Optional[_Union[Durability, str]] = ...) -> None: ...

class RowError(_message.Message):
    __slots__ = ("row", "column", "code", "message")
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    row: int
    column: str
    code: str
    message: str
    def __init__(self, row: _Optional[int] = ..., column: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Throttle(_message.Message):
    __slots__ = ("delay", "reason")
    DELAY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    delay: _duration_pb2.Duration
    reason: str
    def __init__(self, delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("grace", "reason")
    GRACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    reason: str
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class SchemaChanged(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: TableSchema
    def __init__(self, schema: _Optional[_Union[TableSchema, _Mapping]] = ...) -> None: ...

class TableSchema(_message.Message):
    __slots__ = ("version", "arrow_schema", "time_column", "primary_key", "sort_by", "table_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ARROW_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TIME_COLUMN_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_KEY_FIELD_NUMBER: _ClassVar[int]
    SORT_BY_FIELD_NUMBER: _ClassVar[int]
    TABLE_ID_FIELD_NUMBER: _ClassVar[int]
    version: int
    arrow_schema: bytes
    time_column: str
    primary_key: _containers.RepeatedScalarFieldContainer[str]
    sort_by: _containers.RepeatedScalarFieldContainer[str]
    table_id: str
    def __init__(self, version: _Optional[int] = ..., arrow_schema: _Optional[bytes] = ..., time_column: _Optional[str] = ..., primary_key: _Optional[_Iterable[str]] = ..., sort_by: _Optional[_Iterable[str]] = ..., table_id: _Optional[str] = ...) -> None: ...

class InitProducerRequest(_message.Message):
    __slots__ = ("table", "producer_id", "reset")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    table: TableRef
    producer_id: str
    reset: bool
    def __init__(self, table: _Optional[_Union[TableRef, _Mapping]] = ..., producer_id: _Optional[str] = ..., reset: _Optional[bool] = ...) -> None: ...

class InitProducerResponse(_message.Message):
    __slots__ = ("epoch", "last_sequence", "known", "state_ttl")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    STATE_TTL_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    last_sequence: int
    known: bool
    state_ttl: _duration_pb2.Duration
    def __init__(self, epoch: _Optional[int] = ..., last_sequence: _Optional[int] = ..., known: _Optional[bool] = ..., state_ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class GetTableSchemaRequest(_message.Message):
    __slots__ = ("table",)
    TABLE_FIELD_NUMBER: _ClassVar[int]
    table: TableRef
    def __init__(self, table: _Optional[_Union[TableRef, _Mapping]] = ...) -> None: ...

class GetTableSchemaResponse(_message.Message):
    __slots__ = ("schema",)
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    schema: TableSchema
    def __init__(self, schema: _Optional[_Union[TableSchema, _Mapping]] = ...) -> None: ...
