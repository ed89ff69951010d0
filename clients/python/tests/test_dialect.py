"""Which SQL does the dialect write? No server is needed; runs under SQLAlchemy 1.4 and 2."""

import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import registry
from sqlalchemy.engine.url import make_url
from sqlalchemy.schema import CreateTable

from tidewater.connection import Connection
from tidewater.sqlalchemy import STRUCT, TINYINT, UBIGINT, UINTEGER, USMALLINT, UTINYINT, TidewaterDialect
from tidewater.sqlalchemy.types import from_arrow, of_column

# As the entry point does where the package is installed.
registry.register("tidewater", "tidewater.sqlalchemy", "TidewaterDialect")
DIALECT = TidewaterDialect()
T = sa.table("t", sa.column("id", sa.BigInteger), sa.column("Name", sa.String), sa.column("at", sa.DateTime))


def sql(statement, **options) -> str:
    return " ".join(str(statement.compile(dialect=DIALECT, compile_kwargs=options)).split())


@pytest.mark.parametrize(("statement", "text"), [
    (sa.select(T.c.id).limit(5), "SELECT t.id FROM t LIMIT ?"),
    (sa.select(T.c.id).offset(5), "SELECT t.id FROM t OFFSET ?"),
    (sa.select(T.c.id).limit(5).offset(2), "SELECT t.id FROM t LIMIT ? OFFSET ?"),
    (sa.select(T.c.id).order_by(T.c.id).fetch(5), "SELECT t.id FROM t ORDER BY t.id LIMIT ?"),
    (sa.select(T.c.Name), 'SELECT t."Name" FROM t'),
    (sa.select(T.c.Name.regexp_match("x")), 'SELECT t."Name" ~ ? AS anon_1 FROM t'),
    (sa.select(~T.c.Name.regexp_match("x", flags="i")), 'SELECT t."Name" !~* ? AS anon_1 FROM t'),
    (sa.select(sa.func.now()), "SELECT now() AS now_1"),
    (sa.delete(T).where(T.c.id == 1), "DELETE FROM t WHERE t.id = ?"),
    (sa.insert(T).values([{"id": 1}, {"id": 2}]), "INSERT INTO t (id) VALUES (?), (?)"),
], ids=["limit", "offset", "both", "fetch", "quotes", "matches", "does not match", "now", "delete", "values"])  # fmt: skip
def test_statements(statement, text):
    assert sql(statement) == text


def test_an_empty_list_has_no_rows():
    assert sql(sa.select(T.c.id).where(T.c.id.in_([])), render_postcompile=True).endswith("t.id IN (NULL) AND (1 != 1)")
    compiler = DIALECT.statement_compiler(DIALECT, None)
    assert compiler.visit_empty_set_expr([sa.BigInteger(), sa.Date()]) == "SELECT CAST(NULL AS BIGINT), CAST(NULL AS DATE) WHERE 1 != 1"


@pytest.mark.parametrize("options", [{"with_ties": True}, {"percent": True}])
def test_what_cannot_be_fetched(options):
    with pytest.raises(exc.CompileError):
        sql(sa.select(T.c.id).order_by(T.c.id).fetch(5, **options))


@pytest.mark.parametrize(("type_", "text"), [
    (sa.Boolean(), "BOOLEAN"), (TINYINT(), "TINYINT"), (sa.SmallInteger(), "SMALLINT"), (sa.Integer(), "INTEGER"),
    (sa.BigInteger(), "BIGINT"), (UTINYINT(), "UTINYINT"), (USMALLINT(), "USMALLINT"), (UINTEGER(), "UINTEGER"), (UBIGINT(), "UBIGINT"),
    (sa.Float(), "DOUBLE"), (sa.Float(24), "REAL"), (sa.REAL(), "REAL"), (sa.Numeric(10, 2), "DECIMAL(10, 2)"),
    (sa.Numeric(), "DECIMAL(38, 10)"), (sa.String(20), "VARCHAR(20)"), (sa.Text(), "VARCHAR"), (sa.Unicode(5), "VARCHAR(5)"),
    (sa.CHAR(3), "VARCHAR(3)"), (sa.JSON(), "VARCHAR"), (sa.String(), "VARCHAR"),
    (sa.ARRAY(sa.String(20)), "VARCHAR[]"), (STRUCT({"a": sa.String(20)}), "STRUCT<a VARCHAR>"),
    (sa.Enum("a", "bc", name="e"), "VARCHAR(2)"), (sa.LargeBinary(), "VARBINARY"), (sa.BINARY(3), "VARBINARY"), (sa.Date(), "DATE"),
    (sa.Time(), "TIME"), (sa.DateTime(), "TIMESTAMP"), (sa.DateTime(timezone=True), "TIMESTAMPTZ"),
    (sa.TIMESTAMP(timezone=True), "TIMESTAMPTZ"),
    (sa.ARRAY(sa.BigInteger), "BIGINT[]"), (sa.ARRAY(sa.String, dimensions=2), "VARCHAR[][]"),
    (STRUCT({"a": sa.BigInteger, "B": sa.ARRAY(sa.Date)}), 'STRUCT<a BIGINT, "B" DATE[]>'),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_types(type_, text):
    assert type_.compile(dialect=DIALECT) == text


def test_too_many_digits():
    with pytest.raises(exc.CompileError, match="38 digits"):
        sa.Numeric(39, 2).compile(dialect=DIALECT)


@pytest.mark.parametrize(("arrow", "text"), [
    (pa.bool_(), "BOOLEAN"), (pa.int8(), "TINYINT"), (pa.uint64(), "UBIGINT"), (pa.float32(), "REAL"),
    (pa.decimal128(20, 3), "DECIMAL(20, 3)"), (pa.string(), "VARCHAR"), (pa.binary(), "VARBINARY"), (pa.date32(), "DATE"),
    (pa.time64("us"), "TIME"), (pa.timestamp("us"), "TIMESTAMP"), (pa.timestamp("us", "UTC"), "TIMESTAMPTZ"),
    (pa.list_(pa.list_(pa.int64())), "BIGINT[][]"),
    (pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}), "STRUCT<a BIGINT, b VARCHAR[]>"),
], ids=str)  # fmt: skip
def test_types_of_arrow(arrow, text):
    assert from_arrow(arrow).compile(dialect=DIALECT) == text


@pytest.mark.parametrize(("size", "text"), [(None, "VARCHAR"), (b"65535", "VARCHAR"), (b"20", "VARCHAR(20)")])
def test_the_length_of_a_column(size, text):
    field = pa.field("name", pa.string(), metadata={b"ARROW:FLIGHT:SQL:PRECISION": size} if size else None)
    assert of_column(field).compile(dialect=DIALECT) == text


def test_a_type_that_no_table_has():
    assert isinstance(from_arrow(pa.duration("us")), sa.types.NullType)


def test_create_table():
    table = sa.Table(
        "t", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.String(9), nullable=False, comment="it's"),
        schema="s", tidewater_options={"sort_by": "name", "retention": "1 day"},
    )  # fmt: skip
    assert " ".join(str(CreateTable(table).compile(dialect=DIALECT)).split()) == (
        "CREATE TABLE s.t ( id BIGINT NOT NULL, name VARCHAR(9) NOT NULL COMMENT 'it''s', PRIMARY KEY (id) ) "
        "WITH (sort_by = 'name', retention = '1 day')"
    )


def test_foreign_keys_are_left_out_aloud():
    metadata = sa.MetaData()
    sa.Table("a", metadata, sa.Column("id", sa.BigInteger, primary_key=True))
    table = sa.Table("b", metadata, sa.Column("a_id", sa.ForeignKey("a.id")))
    with pytest.warns(exc.SAWarning, match="no foreign keys: the one of table 'b' is left out"):
        assert "FOREIGN" not in str(CreateTable(table).compile(dialect=DIALECT))


@pytest.mark.parametrize(("literal", "text"), [(b"\x00\xff", "X'00ff'"), ("it's", "'it''s'"), (True, "true"), (1.5, "1.5")])
def test_literals(literal, text):
    assert sql(sa.select(sa.literal(literal).label("v")), literal_binds=True) == f"SELECT {text} AS v"


def test_urls():
    (url,), options = DIALECT.create_connect_args(make_url("tidewater+adbc://anna:p%40ss@example.org:9999/sales?tls=on&timeout=5"))
    found = Connection.parse(url)
    assert (found.user, found.password, found.host, found.port, found.schema) == ("anna", "p@ss", "example.org", 9999, "sales")
    assert found.uses_tls and found.options == {"timeout": "5"} and options == {}
