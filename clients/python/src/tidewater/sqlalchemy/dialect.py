"""What does SQLAlchemy need to know of the server? What it can do, how a connection is made, and what is in it."""

import re
from typing import Any

from sqlalchemy import exc, sql, types
from sqlalchemy.engine import default, reflection

from .compilers import TidewaterCompiler, TidewaterDDLCompiler, TidewaterTypeCompiler
from .types import of_column

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_REMARKS = b"ARROW:FLIGHT:SQL:REMARKS"
_FLIGHT_UNAVAILABLE = "(Unavailable; "

_SCHEMAS = "SELECT schema_name FROM information_schema.schemata ORDER BY schema_name"
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = :schema AND table_type <> 'VIEW' ORDER BY table_name"
_VIEWS = "SELECT table_name FROM information_schema.tables WHERE table_schema = :schema AND table_type = 'VIEW' ORDER BY table_name"
_IS_THERE = "SELECT count(*) FROM information_schema.tables WHERE table_schema = :schema AND table_name = :name"
_VIEW = "SELECT definition FROM information_schema.views WHERE table_schema = :schema AND table_name = :name AND definition IS NOT NULL"
_KEY = "SELECT key_columns FROM system.tables WHERE schema = :schema AND name = :name"


def _cached(find: Any) -> Any:
    """`reflection.cache`, which in SQLAlchemy 1.4 cannot read annotations."""
    find.__annotations__ = {}
    return reflection.cache(find)


class _Binary(types.LargeBinary):
    """Bytes, which SQL writes as X'00ff'."""

    def literal_processor(self, dialect: Any) -> Any:
        return lambda value: f"X'{bytes(value).hex()}'"


class TidewaterDialect(default.DefaultDialect):
    """`tidewater://user:password@host:port/schema?tls=on`; each statement commits by itself."""

    name = "tidewater"
    driver = "adbc"
    default_paramstyle = "qmark"
    supports_statement_cache = True

    statement_compiler = TidewaterCompiler
    ddl_compiler = TidewaterDDLCompiler
    type_compiler = type_compiler_cls = TidewaterTypeCompiler
    colspecs = {types.LargeBinary: _Binary}
    construct_arguments = [(sql.schema.Table, {"options": None})]

    max_identifier_length = 255
    div_is_floordiv = True
    supports_native_boolean = True
    supports_native_decimal = True
    supports_multivalues_insert = True
    # INSERT INTO t WITH …, not WITH … INSERT.
    cte_follows_insert = True
    supports_comments = True
    inline_comments = True
    # Rows are known by the key that a producer gives them.
    postfetch_lastrowid = False
    supports_default_values = False
    supports_default_metavalue = False
    supports_empty_insert = False
    supports_sequences = False
    # ALTER TABLE adds no constraint.
    supports_alter = False
    supports_sane_rowcount = True
    supports_sane_multi_rowcount = True

    def __init__(self, json_serializer: Any = None, json_deserializer: Any = None, **options: Any):
        """`types.JSON` is text that these functions write and read; without them `json.dumps` and `json.loads`."""
        super().__init__(**options)
        self._json_serializer = json_serializer
        self._json_deserializer = json_deserializer

    @classmethod
    def import_dbapi(cls) -> Any:
        from .. import dbapi

        return dbapi

    @classmethod
    def dbapi(cls) -> Any:
        """The name of `import_dbapi` in SQLAlchemy 1.4."""
        return cls.import_dbapi()

    def create_connect_args(self, url: Any) -> Any:
        if url.database:
            self.default_schema_name = url.database
        given = url.render_as_string(hide_password=False)
        return [given.replace(f"{url.drivername}://", "tidewater://", 1)], {}

    def initialize(self, connection: Any) -> None:
        super().initialize(connection)
        self.default_schema_name = self.default_schema_name or "public"

    def _get_server_version_info(self, connection: Any) -> Any:
        found = _VERSION.search(connection.scalar(sql.text("SELECT version() AS version")))
        return tuple(int(part) for part in found.groups()) if found else None

    def _get_default_schema_name(self, connection: Any) -> str:
        return self.default_schema_name or "public"

    def get_isolation_level_values(self, dbapi_connection: Any) -> list[str]:
        return ["AUTOCOMMIT"]

    def get_isolation_level(self, dbapi_connection: Any) -> str:
        return "AUTOCOMMIT"

    def get_default_isolation_level(self, dbapi_connection: Any) -> str:
        return "AUTOCOMMIT"

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """It is so already."""

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        return _FLIGHT_UNAVAILABLE in str(e)

    @_cached
    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        return list(connection.execute(sql.text(_SCHEMAS)).scalars())

    @_cached
    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return list(connection.execute(sql.text(_TABLES), {"schema": self._schema(schema)}).scalars())

    @_cached
    def get_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return list(connection.execute(sql.text(_VIEWS), {"schema": self._schema(schema)}).scalars())

    @_cached
    def get_view_definition(self, connection: Any, view_name: str, schema: str | None = None, **kw: Any) -> str:
        found = connection.execute(sql.text(_VIEW), {"schema": self._schema(schema), "name": view_name}).scalar()
        if found is None:
            raise exc.NoSuchTableError(_full_name(view_name, schema))
        return str(found)

    @_cached
    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        return bool(connection.execute(sql.text(_IS_THERE), {"schema": self._schema(schema), "name": table_name}).scalar())

    @_cached
    def has_schema(self, connection: Any, schema_name: str, **kw: Any) -> bool:
        return schema_name in self.get_schema_names(connection, **kw)

    @_cached
    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[dict[str, Any]]:
        """From the table's Arrow schema: Flight SQL tells types whole, lists and structs too."""
        self._expect(connection, table_name, schema, **kw)
        adbc = connection.connection.dbapi_connection
        found = adbc.adbc_get_table_schema(table_name, db_schema_filter=_pattern(self._schema(schema)))
        return [_column(field) for field in found]

    @_cached
    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> dict[str, Any]:
        """The key by which the server drops rows that it has already."""
        self._expect(connection, table_name, schema, **kw)
        found = connection.execute(sql.text(_KEY), {"schema": self._schema(schema), "name": table_name}).scalar()
        # No name may hold a comma or a space.
        return {"constrained_columns": found.split(", ") if found else [], "name": None}

    @_cached
    def get_foreign_keys(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        self._expect(connection, table_name, schema, **kw)
        return []

    @_cached
    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        self._expect(connection, table_name, schema, **kw)
        return []

    @_cached
    def get_unique_constraints(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        self._expect(connection, table_name, schema, **kw)
        return []

    @_cached
    def get_check_constraints(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        self._expect(connection, table_name, schema, **kw)
        return []

    @_cached
    def get_table_comment(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> dict[str, Any]:
        """Columns have comments, tables have none."""
        self._expect(connection, table_name, schema, **kw)
        return {"text": None}

    @_cached
    def get_temp_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return []

    @_cached
    def get_temp_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        return []

    def _schema(self, schema: str | None) -> str:
        return schema or self.default_schema_name or "public"

    def _expect(self, connection: Any, table_name: str, schema: str | None, **kw: Any) -> None:
        if not self.has_table(connection, table_name, schema, **kw):
            raise exc.NoSuchTableError(_full_name(table_name, schema))


def _column(field: Any) -> dict[str, Any]:
    remarks = (field.metadata or {}).get(_REMARKS)
    return {
        "name": field.name,
        "type": of_column(field),
        "nullable": field.nullable,
        "default": None,
        "autoincrement": False,
        "comment": remarks.decode() if remarks else None,
    }


def _full_name(name: str, schema: str | None) -> str:
    return f"{schema}.{name}" if schema else name


def _pattern(name: str) -> str:
    """A LIKE pattern that only this name fits."""
    return re.sub(r"([%_\\])", r"\\\1", name)
