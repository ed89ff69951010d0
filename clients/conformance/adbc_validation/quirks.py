"""What may the ADBC validation suite expect of the server? Its features, and the types that it stores for those of the suite."""

import dataclasses
import pathlib
import re

import adbc_driver_manager
import pyarrow as pa
from adbc_drivers_validation import model, quirks

CATALOG = "tidewater"
SECOND_SCHEMA = "secondary"
LENGTH = re.compile(r"\b(VARCHAR|VARBINARY|TIME|TIMESTAMP)\s*\(\d+\)", re.IGNORECASE)
"""A type with a length or a number of digits, which the server refuses: it has one VARCHAR, and times have microseconds."""

COMMENT = re.compile(r"\s--\s.*")

SKIPPED = {"ingest/decimal_scale_negative": "neither SQL nor Delta has a DECIMAL with a negative scale"}
"""Cases of types that the server does not have."""

OUR_DIALECT = {
    "type/literal/binary": "SELECT X'e38193e38293e381abe381a1e381afe38081e4b896e7958cefbc81' AS res",
    # Rows are events: there is no UPDATE. The row that is deleted next is inserted.
    "TestStatement.test_rows_affected.update": 'INSERT INTO "test_rows_affected" (id) VALUES (2)',
}
"""Statements that the suite lets a server write in its own way."""

NS = {"s": 10**9, "ms": 10**6, "us": 1_000, "ns": 1}


def stored(data_type: pa.DataType) -> pa.DataType:
    """What comes back for a column of this type."""
    if pa.types.is_time(data_type):
        return pa.time64("us")
    if pa.types.is_timestamp(data_type):
        return pa.timestamp("us", "UTC" if data_type.tz else None)
    return data_type


def stored_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_type(stored(field.type)) for field in schema])


def stored_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Finer times are truncated towards the past; a cast of Arrow's goes towards 1970."""
    if not (pa.types.is_time(column.type) or pa.types.is_timestamp(column.type)):
        return column
    values = [None if value.value is None else value.value * NS[column.type.unit] // NS["us"] for value in column]
    return pa.chunked_array([pa.array(values, pa.int64()).cast(stored(column.type))])


def stored_table(table: pa.Table) -> pa.Table:
    return pa.table([stored_column(column) for column in table.columns], schema=stored_schema(table.schema))


def as_published(query, kind: type):
    return kind(**{field.name: getattr(query, field.name) for field in dataclasses.fields(kind)})


class Ingest(model.IngestQuery):
    """An ingest case with the types that come back."""

    def expected_schema(self):
        return stored_schema(super().expected_schema())

    def expected(self):
        return stored_table(as_published(self, model.IngestQuery).expected())


class Select(model.SelectQuery):
    """A query in our dialect, with the types that come back."""

    in_our_dialect: str | None = None

    def query(self):
        return self.in_our_dialect or super().query()

    def expected_schema(self):
        return stored_schema(super().expected_schema())

    def expected_result(self):
        return stored_table(as_published(self, model.SelectQuery).expected_result())


def ours(query: model.Query) -> model.Query:
    """The suite's case as the server answers it."""
    kind = Ingest if isinstance(query.query, model.IngestQuery) else Select
    adapted = dataclasses.replace(query, query=kind(**vars(query.query)))
    if text := OUR_DIALECT.get(query.name):
        adapted.query.in_our_dialect = text
    if why := SKIPPED.get(query.name):
        adapted.metadata_paths = [{"skip": why}, *(query.metadata_paths or [])]
    return adapted


class Tidewater(model.DriverQuirks):
    name = "tidewater"
    driver = "adbc_driver_flightsql"
    driver_name = "ADBC Flight SQL Driver - Go"
    vendor_name = "Tidewater"
    vendor_version = re.compile(r"\d+\.\d+\.\d+")
    short_version = "current"
    features = model.DriverFeatures(
        connection_get_table_schema=True,
        connection_set_current_catalog=True,
        connection_set_current_schema=True,
        get_objects=True,
        statement_bind=True,
        statement_bulk_ingest=True,
        statement_bulk_ingest_catalog=True,
        statement_bulk_ingest_schema=True,
        statement_execute_schema=True,
        statement_get_parameter_schema=True,
        statement_prepare=True,
        statement_rows_affected=True,
        statement_rows_affected_ddl=True,
        current_catalog=CATALOG,
        current_schema="public",
        secondary_schema=SECOND_SCHEMA,
        # There is one catalog; the tests name it in full.
        secondary_catalog=CATALOG,
        secondary_catalog_schema=SECOND_SCHEMA,
        # What the driver takes from a column's metadata.
        supported_xdbc_fields=["xdbc_data_type", "xdbc_type_name", "xdbc_sql_data_type", "xdbc_is_autoincrement"],
        # For drivers of the suite's own makers; this one is of Arrow's.
        quirk_foundry=False,
    )
    setup = model.DriverSetup(
        database={
            "uri": model.FromEnv("TIDEWATER_URI"),
            # A session is kept by a cookie where nobody signs in.
            "adbc.flight.sql.rpc.with_cookie_middleware": "true",
        },
    )

    @property
    def queries_paths(self) -> tuple[pathlib.Path, ...]:
        return ()

    @property
    def query_set(self) -> model.QuerySet:
        return model.QuerySet({name: ours(query) for name, query in model.base_query_set().queries.items()})

    def is_table_not_found(self, table_name: str | None, error: Exception) -> bool:
        return error.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND and (table_name or "") in str(error)

    def split_statement(self, statement: str) -> list[str]:
        return [LENGTH.sub(r"\1", one) for one in quirks.split_statement(COMMENT.sub("", statement))]

    def query_override(self, context: str, default: str) -> str:
        return OUR_DIALECT.get(context, default)


TIDEWATER = Tidewater()
