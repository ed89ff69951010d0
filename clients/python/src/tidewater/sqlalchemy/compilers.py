"""How is SQLAlchemy's expression language written in the server's SQL? Where the server's grammar differs from the standard's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc, util
from sqlalchemy.sql import compiler

MAX_DECIMAL_DIGITS = 38
DEFAULT_DECIMAL = "DECIMAL(38, 10)"


class TidewaterCompiler(compiler.SQLCompiler):
    """SELECT, INSERT and DELETE."""

    def limit_clause(self, select: Any, **kw: Any) -> str:
        """There is no `LIMIT -1`: an OFFSET stands alone."""
        text = ""
        if select._limit_clause is not None:
            text += "\n LIMIT " + self.process(select._limit_clause, **kw)
        if select._offset_clause is not None:
            text += "\n OFFSET " + self.process(select._offset_clause, **kw)
        return text

    def fetch_clause(self, select: Any, fetch_clause: Any = None, **kw: Any) -> str:
        options = select._fetch_clause_options or {}
        if options.get("percent") or options.get("with_ties"):
            raise exc.CompileError("Tidewater has no FETCH … PERCENT and no WITH TIES")
        text = ""
        if select._fetch_clause is not None:
            text += "\n LIMIT " + self.process(select._fetch_clause, **kw)
        if select._offset_clause is not None:
            text += "\n OFFSET " + self.process(select._offset_clause, **kw)
        return text

    def visit_empty_set_expr(self, element_types: Any, **_: Any) -> str:
        """What `column.in_([])` compares with: no rows, of the right types."""
        columns = ", ".join(f"CAST(NULL AS {self.dialect.type_compiler.process(type_)})" for type_ in element_types)
        return f"SELECT {columns} WHERE 1 != 1"

    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        return self._matches(binary, "~", **kw)

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        return self._matches(binary, "!~", **kw)

    def _matches(self, binary: Any, sign: str, **kw: Any) -> str:
        flags = binary.modifiers["flags"]
        if flags not in (None, "i"):
            raise exc.CompileError(f"Tidewater knows the flag 'i' of a regular expression, not {flags!r}")
        return f"{self.process(binary.left, **kw)} {sign}{'*' if flags else ''} {self.process(binary.right, **kw)}"

    def visit_regexp_replace_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        arguments = [self.process(binary.left, **kw), self.process(binary.right, **kw)]
        if binary.modifiers["flags"] is not None:
            arguments.append(self.render_literal_value(binary.modifiers["flags"], compiler.sqltypes.STRINGTYPE))
        return f"regexp_replace({', '.join(arguments)})"


class TidewaterDDLCompiler(compiler.DDLCompiler):
    """CREATE TABLE with the server's options."""

    def post_create_table(self, table: Any) -> str:
        options = table.dialect_options["tidewater"]["options"]
        if not options:
            return ""
        literal = self.sql_compiler.render_literal_value
        listed = ", ".join(f"{name} = {literal(str(value), compiler.sqltypes.STRINGTYPE)}" for name, value in options.items())
        return f"\nWITH ({listed})"

    def get_column_specification(self, column: Any, **kw: Any) -> str:
        text = super().get_column_specification(column, **kw)
        if column.comment is not None:
            text += " COMMENT " + self.sql_compiler.render_literal_value(column.comment, compiler.sqltypes.STRINGTYPE)
        return text

    def visit_foreign_key_constraint(self, constraint: Any, **kw: Any) -> None:
        """Models with relationships need them for their joins; the server has none. All other constraints are sent, and refused by it."""
        util.warn(f"Tidewater has no foreign keys: the one of table {constraint.table.name!r} is left out")


class TidewaterTypeCompiler(compiler.GenericTypeCompiler):
    """The names of types. Text has a length in columns only, not in lists and structs."""

    def visit_VARCHAR(self, type_: Any, nested: bool = False, **kw: Any) -> str:
        length = None if nested else type_.length
        return f"VARCHAR({length})" if length else "VARCHAR"

    def visit_TEXT(self, type_: Any, **kw: Any) -> str:
        return "VARCHAR"

    def visit_VARBINARY(self, type_: Any, **kw: Any) -> str:
        return "VARBINARY"

    visit_CHAR = visit_NVARCHAR = visit_NCHAR = visit_VARCHAR
    # `types.JSON` writes and reads its text by itself.
    visit_CLOB = visit_JSON = visit_UUID = visit_uuid = visit_TEXT
    visit_BINARY = visit_BLOB = visit_large_binary = visit_VARBINARY

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        return "REAL" if type_.precision is not None and type_.precision <= 24 else "DOUBLE"

    def visit_DOUBLE(self, type_: Any, **kw: Any) -> str:
        return "DOUBLE"

    visit_DOUBLE_PRECISION = visit_DOUBLE

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:
        if type_.precision is None:
            return DEFAULT_DECIMAL
        if type_.precision > MAX_DECIMAL_DIGITS:
            raise exc.CompileError(f"a DECIMAL has at most {MAX_DECIMAL_DIGITS} digits, not {type_.precision}")
        return f"DECIMAL({type_.precision}, {type_.scale or 0})"

    visit_DECIMAL = visit_NUMERIC

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        return "TIMESTAMPTZ" if type_.timezone else "TIMESTAMP"

    visit_TIMESTAMP = visit_DATETIME

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:
        return self.process(type_.item_type, **{**kw, "nested": True}) + "[]" * (type_.dimensions or 1)

    def visit_STRUCT(self, type_: Any, **kw: Any) -> str:
        quote = self.dialect.identifier_preparer.quote
        kw["nested"] = True
        return f"STRUCT<{', '.join(f'{quote(name)} {self.process(field, **kw)}' for name, field in type_.fields)}>"

    def visit_TINYINT(self, type_: Any, **kw: Any) -> str:
        return "TINYINT"

    def visit_UTINYINT(self, type_: Any, **kw: Any) -> str:
        return "UTINYINT"

    def visit_USMALLINT(self, type_: Any, **kw: Any) -> str:
        return "USMALLINT"

    def visit_UINTEGER(self, type_: Any, **kw: Any) -> str:
        return "UINTEGER"

    def visit_UBIGINT(self, type_: Any, **kw: Any) -> str:
        return "UBIGINT"
