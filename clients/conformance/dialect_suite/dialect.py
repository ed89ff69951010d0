"""Does a program with SQLAlchemy get along? Models, reflection, types, pandas; the same under 1.4 and 2. The server is at TIDEWATER_URL."""

import datetime
import decimal
import os

import pandas
import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import registry

from tidewater.sqlalchemy import STRUCT, TINYINT, UBIGINT

URL = os.environ["TIDEWATER_URL"]
UTC = datetime.timezone.utc
# As the entry point does where the package is installed.
registry.register("tidewater", "tidewater.sqlalchemy", "TidewaterDialect")
ROW = {
    "id": 1,
    "name": "Grüße, 'x' \\ %",
    "at": datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    "instant": datetime.datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    "price": decimal.Decimal("-12.50"),
    "ratio": 0.1,
    "raw": b"\x00\xff",
    "day": datetime.date(2400, 2, 29),
    "clock": datetime.time(23, 59, 59, 999_999),
    "ok": True,
    "tiny": -128,
    "big": 2**64 - 1,
    "document": {"a": [1, None]},
    "numbers": [1, 2],
    "pair": {"a": 1, "b": "x"},
}


@pytest.fixture(scope="module")
def engine():
    engine = sa.create_engine(URL)
    yield engine
    engine.dispose()


@pytest.fixture
def table(engine):
    table = sa.Table(
        "dialect_every",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(20), comment="it's a name"),
        sa.Column("at", sa.DateTime),
        sa.Column("instant", sa.DateTime(timezone=True)),
        sa.Column("price", sa.Numeric(10, 2)),
        sa.Column("ratio", sa.Float),
        sa.Column("raw", sa.LargeBinary),
        sa.Column("day", sa.Date),
        sa.Column("clock", sa.Time),
        sa.Column("ok", sa.Boolean),
        sa.Column("tiny", TINYINT),
        sa.Column("big", UBIGINT),
        sa.Column("document", sa.JSON),
        sa.Column("numbers", sa.ARRAY(sa.BigInteger)),
        sa.Column("pair", STRUCT({"a": sa.BigInteger, "b": sa.String})),
        tidewater_options={"sort_by": "name"},
    )
    table.metadata.create_all(engine)
    yield table
    table.metadata.drop_all(engine)


def test_every_type_comes_back(engine, table):
    with engine.connect() as connection:
        assert connection.execute(table.insert(), ROW).rowcount == 1
        assert dict(connection.execute(sa.select(table)).one()._mapping) == ROW


def test_null_comes_back(engine, table):
    row = {name: None for name in ROW} | {"id": 7, "document": sa.null()}
    with engine.connect() as connection:
        connection.execute(table.insert(), row)
        assert dict(connection.execute(sa.select(table)).one()._mapping) == {name: None for name in ROW} | {"id": 7}


def test_many_rows_and_conditions(engine, table):
    with engine.connect() as connection:
        connection.execute(table.insert(), [{"id": n, "name": f"name {n % 3}"} for n in range(100)])
        ids = sa.select(table.c.id).order_by(table.c.id)

        def answers(statement):
            return list(connection.execute(statement).scalars())

        assert answers(ids.limit(2).offset(3)) == [3, 4]
        assert answers(ids.offset(98)) == [98, 99]
        assert answers(ids.where(table.c.id.in_([5, 1, 500]))) == [1, 5]
        assert answers(ids.where(table.c.id.in_([]))) == []
        assert answers(ids.where(table.c.name.like("%2")).limit(1)) == [2]
        assert answers(ids.where(table.c.name.regexp_match("^NAME 1$", flags="i")).limit(1)) == [1]
        groups = sa.select(table.c.name, sa.func.count().label("n")).group_by(table.c.name).order_by(sa.desc("n"), table.c.name)
        assert [tuple(row) for row in connection.execute(groups)] == [("name 0", 34), ("name 1", 33), ("name 2", 33)]
        assert connection.execute(sa.text("SELECT count(*) FROM dialect_every WHERE id > :id"), {"id": 49}).scalar() == 50
        assert connection.execute(table.delete().where(table.c.id < 10)).rowcount == 10
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 90


def test_the_key_drops_what_is_there(engine, table):
    with engine.connect() as connection:
        connection.execute(table.insert(), {"id": 1, "name": "first"})
        connection.execute(table.insert(), {"id": 1, "name": "second"})
        assert connection.execute(sa.select(table.c.name)).scalar() == "first"


def test_reflection(engine, table):
    inspector = sa.inspect(engine)
    assert {"public", "system"} <= set(inspector.get_schema_names())
    assert "dialect_every" in inspector.get_table_names()
    assert inspector.has_table("dialect_every") and not inspector.has_table("no_such_table")
    assert inspector.get_pk_constraint("dialect_every")["constrained_columns"] == ["id"]
    assert "tables" in inspector.get_table_names(schema="system")
    found = sa.Table("dialect_every", sa.MetaData(), autoload_with=engine)
    of = engine.dialect.type_compiler.process
    # JSON is text to the server.
    assert [(c.name, of(c.type), c.nullable) for c in found.columns] == [(c.name, of(c.type), c.nullable) for c in table.columns]
    assert found.c.name.comment == "it's a name"
    for method in ("get_columns", "get_pk_constraint", "get_foreign_keys", "get_indexes", "get_unique_constraints", "get_table_comment"):
        with pytest.raises(sa.exc.NoSuchTableError):
            getattr(inspector, method)("no_such_table")


def test_views(engine):
    with engine.connect() as connection:
        connection.execute(sa.text("CREATE OR REPLACE VIEW dialect_view AS SELECT 1 AS a, 'x' AS b"))
        inspector = sa.inspect(engine)
        assert "dialect_view" in inspector.get_view_names() and "dialect_view" not in inspector.get_table_names()
        assert inspector.get_view_definition("dialect_view") == "SELECT 1 AS a, 'x' AS b"
        assert [column["name"] for column in inspector.get_columns("dialect_view")] == ["a", "b"]
        connection.execute(sa.text("DROP VIEW dialect_view"))


def test_tables_of_one_name_in_two_schemas(engine):
    metadata = sa.MetaData()
    sa.Table("dialect_twice", metadata, sa.Column("here", sa.BigInteger))
    other = sa.Table("dialect_twice", metadata, sa.Column("there", sa.String), schema="dialect_x")
    metadata.create_all(engine)
    try:
        inspector = sa.inspect(engine)
        assert [column["name"] for column in inspector.get_columns("dialect_twice")] == ["here"]
        assert [column["name"] for column in inspector.get_columns("dialect_twice", schema="dialect_x")] == ["there"]
        with engine.connect() as connection:
            connection.execute(other.insert(), {"there": "x"})
            assert connection.execute(sa.select(other.c.there)).scalar() == "x"
    finally:
        metadata.drop_all(engine)


def test_orm(engine):
    base = orm.declarative_base()

    class Station(base):
        __tablename__ = "dialect_station"
        id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        name = sa.Column(sa.String, nullable=False)
        readings = orm.relationship("Reading", order_by="Reading.at", viewonly=True)

    class Reading(base):
        __tablename__ = "dialect_reading"
        station_id = sa.Column(sa.ForeignKey("dialect_station.id"), primary_key=True)
        at = sa.Column(sa.DateTime, primary_key=True)
        value = sa.Column(sa.Float)

    with pytest.warns(sa.exc.SAWarning, match="no foreign keys"):
        base.metadata.create_all(engine)
    try:
        with orm.Session(engine) as session:
            session.add_all([Station(id=1, name="north"), Station(id=2, name="south")])
            session.add_all([Reading(station_id=1, at=datetime.datetime(2026, 1, day), value=day) for day in (1, 2)])
            session.commit()
        with orm.Session(engine) as session:
            north = session.execute(sa.select(Station).where(Station.name == "north")).scalar_one()
            assert [reading.value for reading in north.readings] == [1.0, 2.0]
            joined = sa.select(Station.name, sa.func.sum(Reading.value)).join(Reading, Reading.station_id == Station.id).group_by(Station.name)
            assert [tuple(row) for row in session.execute(joined)] == [("north", 3.0)]
    finally:
        base.metadata.drop_all(engine)


def test_pandas(engine):
    frame = pandas.DataFrame({"id": [1, 2], "name": ["a", None], "value": [0.5, 1.5]})
    with engine.connect() as connection:
        try:
            frame.to_sql("dialect_frame", connection, index=False)
            frame.to_sql("dialect_frame", connection, index=False, if_exists="append", method="multi")
            answer = pandas.read_sql(sa.text("SELECT id, count(*) AS n, sum(value) AS total FROM dialect_frame GROUP BY id ORDER BY id"), connection)
            assert answer.to_dict("list") == {"id": [1, 2], "n": [2, 2], "total": [1.0, 3.0]}
            whole = pandas.read_sql_table("dialect_frame", connection)
            assert (list(whole.columns), len(whole)) == (["id", "name", "value"], 4)
        finally:
            connection.execute(sa.text("DROP TABLE IF EXISTS dialect_frame"))


def test_errors(engine):
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError, match="table 'public.no_such_table' not found"):
            connection.execute(sa.text("SELECT * FROM no_such_table"))
        with pytest.raises(sa.exc.ProgrammingError, match="division by zero"):
            connection.execute(sa.text("SELECT 1 / v AS x FROM (VALUES (0)) AS t(v)")).all()
        with pytest.raises(sa.exc.DBAPIError, match="UNIQUE"):
            sa.Table("dialect_unique", sa.MetaData(), sa.Column("a", sa.BigInteger, unique=True)).create(connection)
        assert connection.execute(sa.text("SELECT 1 AS one")).scalar() == 1


def test_rollback_takes_nothing_back(engine, table):
    with engine.connect() as connection:
        connection.execute(table.insert(), {"id": 1})
        connection.rollback() if hasattr(connection, "rollback") else None
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 1
        assert connection.get_isolation_level() == "AUTOCOMMIT"
