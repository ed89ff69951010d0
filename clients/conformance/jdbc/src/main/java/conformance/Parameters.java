package conformance;

import java.io.ByteArrayInputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Do bound values arrive as they are, by every setter? */
final class Parameters {
    private static final String COLUMNS =
            "(id BIGINT NOT NULL, b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32 INTEGER, i64 BIGINT, f32"
                    + " REAL, f64 DOUBLE, d DECIMAL(20, 3), s VARCHAR, x VARBINARY, day DATE, clock"
                    + " TIME, wall TIMESTAMP, instant TIMESTAMPTZ, PRIMARY KEY (id))";

    private final Target target;

    Parameters(Target target) {
        this.target = target;
    }

    /** Sets one parameter. */
    private interface Setter {
        void set(PreparedStatement statement, int at) throws Exception;
    }

    void add(Map<String, Flow> flows) {
        setter(flows, "setBoolean", "b", (s, at) -> s.setBoolean(at, true), "true");
        setter(flows, "setByte", "i8", (s, at) -> s.setByte(at, (byte) -128), "-128");
        setter(flows, "setShort", "i16", (s, at) -> s.setShort(at, (short) -32768), "-32768");
        setter(flows, "setInt", "i32", (s, at) -> s.setInt(at, Integer.MIN_VALUE), "-2147483648");
        setter(
                flows,
                "setLong",
                "i64",
                (s, at) -> s.setLong(at, Long.MIN_VALUE),
                "-9223372036854775808");
        setter(flows, "setFloat", "f32", (s, at) -> s.setFloat(at, 1.5f), "1.5");
        setter(flows, "setDouble", "f64", (s, at) -> s.setDouble(at, -0.1), "-0.1");
        setter(
                flows,
                "setBigDecimal",
                "d",
                (s, at) -> s.setBigDecimal(at, new BigDecimal("-12345678901234567.891")),
                "-12345678901234567.891");
        setter(flows, "setString", "s", (s, at) -> s.setString(at, "Grüße, 世界 ''"), "Grüße, 世界 ''");
        setter(flows, "setNString", "s", (s, at) -> s.setNString(at, "ä"), "ä");
        setter(
                flows,
                "setCharacterStream",
                "s",
                (s, at) -> s.setCharacterStream(at, new StringReader("text")),
                "text");
        setter(flows, "setBytes", "x", (s, at) -> s.setBytes(at, new byte[] {0, -1, 16}), "00ff10");
        setter(
                flows,
                "setBinaryStream",
                "x",
                (s, at) -> s.setBinaryStream(at, new ByteArrayInputStream(new byte[] {1, 2})),
                "0102");
        setter(
                flows,
                "setDate",
                "day",
                (s, at) -> s.setDate(at, Date.valueOf("1969-12-31")),
                "1969-12-31");
        setter(
                flows,
                "setTime",
                "clock",
                (s, at) -> s.setTime(at, Time.valueOf("23:59:59")),
                "23:59:59");
        setter(
                flows,
                "setTimestamp",
                "wall",
                (s, at) -> s.setTimestamp(at, Timestamp.valueOf("2026-01-31 12:34:56.789")),
                "2026-01-31T12:34:56.789");
        setter(
                flows,
                "setTimestamp_with_a_calendar",
                "instant",
                (s, at) -> s.setTimestamp(at, new Timestamp(1_769_862_896_789L), Values.calendar()),
                "2026-01-31T12:34:56.789Z");
        setter(
                flows,
                "setTimestamp_before_1970",
                "wall",
                (s, at) -> s.setTimestamp(at, Timestamp.valueOf("1969-12-31 23:59:59.5")),
                "1969-12-31T23:59:59.500");
        setter(flows, "setObject_of_a_string", "s", (s, at) -> s.setObject(at, "text"), "text");
        setter(flows, "setObject_of_a_long", "i64", (s, at) -> s.setObject(at, 7L), "7");
        setter(
                flows,
                "setObject_of_a_decimal",
                "d",
                (s, at) -> s.setObject(at, new BigDecimal("1.250")),
                "1.250");
        setter(flows, "setObject_of_a_boolean", "b", (s, at) -> s.setObject(at, false), "false");
        setter(flows, "setObject_of_a_double", "f64", (s, at) -> s.setObject(at, 1e300), "1e300");
        setter(
                flows,
                "setObject_of_a_timestamp",
                "wall",
                (s, at) -> s.setObject(at, Timestamp.valueOf("2026-01-31 12:34:56.789")),
                "2026-01-31T12:34:56.789");
        setter(
                flows,
                "setObject_of_a_date",
                "day",
                (s, at) -> s.setObject(at, Date.valueOf("2400-02-29")),
                "2400-02-29");
        setter(flows, "setInt_for_a_bigint", "i64", (s, at) -> s.setInt(at, 5), "5");
        setter(flows, "setLong_for_an_integer", "i32", (s, at) -> s.setLong(at, 5), "5");
        setter(flows, "setInt_for_a_double", "f64", (s, at) -> s.setInt(at, 5), "5.0");
        flows.put("setNull_for_every_type", this::nulls);
        flows.put("parameter_metadata", this::metadata);
        flows.put("types_of_parameters", this::types);
        flows.put("a_constant_beside_a_parameter", this::constantBeside);
        flows.put("parameter_of_no_known_type", this::unknown);
        flows.put("values_are_bound_anew", this::again);
        flows.put("missing_parameters_are_refused", this::missing);
        flows.put("parameters_in_many_places", this::places);
        flows.put("a_decimal_that_does_not_fit_is_refused", this::tooLarge);
        flows.put("a_ubigint_that_the_driver_wraps_is_refused", this::wrapped);
        flows.put("prepared_once_run_often", this::often);
        flows.put("several_prepared_statements", this::several);
        flows.put("prepared_metadata_before_execution", this::columns);
    }

    /** The value is bound to an INSERT into the column, and to a condition on it. */
    private void setter(
            Map<String, Flow> flows, String name, String column, Setter setter, String wanted) {
        flows.put(
                name,
                () -> {
                    String table = "jdbc_" + name.toLowerCase();
                    try (Connection connection = target.connect()) {
                        Target.run(
                                connection,
                                "DROP TABLE IF EXISTS " + table,
                                "CREATE TABLE " + table + " " + COLUMNS);
                        try (PreparedStatement insert =
                                connection.prepareStatement(
                                        "INSERT INTO "
                                                + table
                                                + " (id, "
                                                + column
                                                + ") VALUES (?, ?)")) {
                            insert.setLong(1, 1);
                            setter.set(insert, 2);
                            Check.equal(update(insert), 1, "the number of rows");
                        }
                        String text =
                                column.equals("x")
                                        ? "encode(x, 'hex')"
                                        : "CAST(" + column + " AS VARCHAR)";
                        Check.equal(
                                Target.value(connection, "SELECT " + text + " FROM " + table),
                                wanted,
                                "what is stored");
                        try (PreparedStatement select =
                                connection.prepareStatement(
                                        "SELECT id FROM " + table + " WHERE " + column + " = ?")) {
                            setter.set(select, 1);
                            Check.equal(
                                    Target.rows(select.executeQuery()),
                                    List.of(List.of("1")),
                                    "the row that is found by it");
                        }
                    }
                });
    }

    private static int update(PreparedStatement insert) throws Exception {
        try {
            return insert.executeUpdate();
        } catch (SQLException error) {
            Check.driver(
                    !Check.told(error).contains("\"typedValue\" is null"),
                    "this setter binds nothing");
            throw error;
        }
    }

    /** The driver leaks memory when it cannot bind, and says so at the end of the connection. */
    private static void closeAfterLeak(Connection connection) throws SQLException {
        try {
            connection.close();
        } catch (SQLException error) {
            Check.contains(error.getMessage(), "memory was leaked");
        }
    }

    private void constantBeside() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_beside",
                    "CREATE TABLE jdbc_beside (id BIGINT, name VARCHAR)");
            try (PreparedStatement insert =
                    connection.prepareStatement(
                            "INSERT INTO jdbc_beside (id, name) VALUES (7, ?)")) {
                insert.setString(1, "seven");
                Check.equal(insert.executeUpdate(), 1, "the number of rows");
            }
            Check.equal(
                    Target.rows(connection, "SELECT * FROM jdbc_beside"),
                    List.of(List.of("7", "seven")),
                    "what is stored");
        }
    }

    /** Each parameter has a type that a program can bind a value to. */
    private void types() throws Exception {
        Map<String, Integer> wanted = new LinkedHashMap<>();
        wanted.put("SELECT id FROM jdbc_described LIMIT ?", Types.BIGINT);
        wanted.put("SELECT id FROM jdbc_described WHERE i32 IN (1, ?)", Types.INTEGER);
        wanted.put("SELECT id FROM jdbc_described WHERE i16 BETWEEN 1 AND ?", Types.SMALLINT);
        wanted.put("SELECT CAST(? AS BIGINT) + 1", Types.BIGINT);
        wanted.put("SELECT concat('<', ?, '>')", Types.VARCHAR);
        wanted.put("SELECT id FROM jdbc_described WHERE upper(s) LIKE upper(?)", Types.VARCHAR);
        wanted.put("SELECT coalesce(i64, ?) FROM jdbc_described", Types.BIGINT);
        wanted.put("SELECT CASE WHEN b THEN s ELSE ? END FROM jdbc_described", Types.VARCHAR);
        wanted.put("INSERT INTO jdbc_described (id) SELECT ?", Types.BIGINT);
        wanted.put(
                "SELECT id FROM jdbc_described WHERE wall >= ? - INTERVAL '1 day'",
                Types.TIMESTAMP);
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_described",
                    "CREATE TABLE jdbc_described " + COLUMNS);
            List<String> wrong = new ArrayList<>();
            for (Map.Entry<String, Integer> one : wanted.entrySet()) {
                try (PreparedStatement statement = connection.prepareStatement(one.getKey())) {
                    int type = statement.getParameterMetaData().getParameterType(1);
                    if (type != one.getValue()) {
                        wrong.add(one.getKey() + ": JDBC type " + type + ", not " + one.getValue());
                    }
                } catch (SQLException error) {
                    wrong.add(one.getKey() + ": " + Check.told(error));
                }
            }
            Check.equal(wrong, List.of(), "what has another type");
        }
    }

    private void nulls() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_nulls",
                    "CREATE TABLE jdbc_nulls " + COLUMNS);
            try (PreparedStatement insert =
                    connection.prepareStatement(
                            "INSERT INTO jdbc_nulls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                                    + " ?, ?)")) {
                insert.setLong(1, 1);
                for (int i = 2; i <= 15; i++) {
                    insert.setNull(i, insert.getParameterMetaData().getParameterType(i));
                }
                Check.equal(insert.executeUpdate(), 1, "the number of rows");
                insert.setLong(1, 2);
                for (int i = 2; i <= 15; i++) {
                    insert.setObject(i, null);
                }
                Check.equal(insert.executeUpdate(), 1, "the number of rows");
            }
            try (ResultSet result =
                    connection
                            .createStatement()
                            .executeQuery("SELECT * FROM jdbc_nulls ORDER BY id")) {
                for (int row = 1; result.next(); row++) {
                    Check.equal(result.getLong(1), (long) row, "the key");
                    for (int i = 2; i <= 15; i++) {
                        Check.equal(result.getString(i), null, "column " + i);
                    }
                }
            }
        }
    }

    private void metadata() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_described",
                    "CREATE TABLE jdbc_described " + COLUMNS);
            String sql =
                    "INSERT INTO jdbc_described VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                            + " ?)";
            try (PreparedStatement insert = connection.prepareStatement(sql)) {
                ParameterMetaData described = insert.getParameterMetaData();
                int[] wanted = {
                    Types.BIGINT,
                    Types.BOOLEAN,
                    Types.TINYINT,
                    Types.SMALLINT,
                    Types.INTEGER,
                    Types.BIGINT,
                    Types.FLOAT,
                    Types.DOUBLE,
                    Types.DECIMAL,
                    Types.VARCHAR,
                    Types.VARBINARY,
                    Types.DATE,
                    Types.TIME,
                    Types.TIMESTAMP,
                    Types.TIMESTAMP_WITH_TIMEZONE
                };
                Check.equal(described.getParameterCount(), wanted.length, "getParameterCount()");
                for (int i = 1; i <= wanted.length; i++) {
                    int type = described.getParameterType(i);
                    Check.equal(type, target.jdbcType(wanted[i - 1]), "the type of parameter " + i);
                    Check.equal(
                            described.getParameterMode(i),
                            ParameterMetaData.parameterModeIn,
                            "getParameterMode()");
                }
            }
            try (PreparedStatement select =
                    connection.prepareStatement(
                            "SELECT id FROM jdbc_described WHERE s = ? AND i32 > ? LIMIT 5")) {
                ParameterMetaData described = select.getParameterMetaData();
                Check.equal(described.getParameterType(1), Types.VARCHAR, "the type of the first");
                Check.equal(described.getParameterType(2), Types.INTEGER, "the type of the second");
            }
        }
    }

    /** Nothing says what it is, and this driver binds nothing to Arrow's null. */
    private void unknown() throws Exception {
        try (Connection connection = target.connect();
                PreparedStatement select = connection.prepareStatement("SELECT ? AS v")) {
            select.setString(1, "text");
            Check.equal(Target.rows(select.executeQuery()), List.of(List.of("text")), "the answer");
        }
    }

    private void again() throws Exception {
        try (Connection connection = target.connect();
                PreparedStatement select =
                        connection.prepareStatement(
                                "SELECT count(*) FROM generate_series(1, 100) AS s(value) WHERE"
                                        + " value <= ?")) {
            for (long n : new long[] {0, 7, 100}) {
                select.setLong(1, n);
                Check.equal(
                        Target.rows(select.executeQuery()),
                        List.of(List.of(String.valueOf(n))),
                        "the answer");
            }
            select.clearParameters();
            select.setLong(1, 3);
            Check.equal(
                    Target.rows(select.executeQuery()),
                    List.of(List.of("3")),
                    "the answer after clearParameters()");
        }
    }

    private void missing() throws Exception {
        Connection connection = target.connect();
        try (PreparedStatement select =
                connection.prepareStatement(
                        "SELECT value FROM generate_series(1, 3) AS s(value) WHERE value > ? AND"
                                + " value < ?")) {
            select.setLong(1, 1);
            Check.refused(
                    () -> {
                        try {
                            select.executeQuery();
                        } catch (RuntimeException error) {
                            throw new SQLException(error);
                        }
                    });
            Check.refused(() -> select.setLong(3, 1));
            select.setLong(2, 3);
            Check.equal(Target.rows(select.executeQuery()), List.of(List.of("2")), "the answer");
        } finally {
            closeAfterLeak(connection);
        }
    }

    private void places() throws Exception {
        String sql =
                "SELECT value + ?, concat('<', ?, '>') FROM generate_series(1, 10) AS s(value)"
                        + " WHERE value IN (?, ?) OR value BETWEEN ? AND ? ORDER BY value LIMIT ?";
        try (Connection connection = target.connect();
                PreparedStatement select = connection.prepareStatement(sql)) {
            int count = select.getParameterMetaData().getParameterCount();
            Check.equal(count, 7, "getParameterCount()");
            select.setLong(1, 100);
            select.setString(2, "x");
            long[] rest = {1, 2, 8, 10, 4};
            for (int i = 0; i < rest.length; i++) {
                select.setLong(3 + i, rest[i]);
            }
            List<List<String>> wanted =
                    List.of(
                            List.of("101", "<x>"),
                            List.of("102", "<x>"),
                            List.of("108", "<x>"),
                            List.of("109", "<x>"));
            Check.equal(Target.rows(select.executeQuery()), wanted, "the answer");
        }
    }

    private void tooLarge() throws Exception {
        Connection connection = target.connect();
        Target.run(
                connection,
                "DROP TABLE IF EXISTS jdbc_too_large",
                "CREATE TABLE jdbc_too_large (d DECIMAL(5, 2))");
        try (PreparedStatement insert =
                connection.prepareStatement("INSERT INTO jdbc_too_large VALUES (?)")) {
            Check.refused(
                    () -> {
                        try {
                            insert.setBigDecimal(1, new BigDecimal("123456.78"));
                            insert.executeUpdate();
                        } catch (RuntimeException error) {
                            throw new SQLException(error);
                        }
                    });
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM jdbc_too_large"), "0", "rows");
        } finally {
            closeAfterLeak(connection);
        }
    }

    /** The driver binds the lowest 64 bits of a BigDecimal, with a sign. */
    private void wrapped() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_wrapped",
                    "CREATE TABLE jdbc_wrapped (u UBIGINT)",
                    "INSERT INTO jdbc_wrapped VALUES (5)");
            BigDecimal large = new BigDecimal("9223372036854775808");
            for (String sql :
                    new String[] {
                        "INSERT INTO jdbc_wrapped VALUES (?)",
                        "INSERT INTO jdbc_wrapped SELECT u FROM jdbc_wrapped WHERE u > ?",
                        "DELETE FROM jdbc_wrapped WHERE u > ?"
                    }) {
                try (PreparedStatement change = connection.prepareStatement(sql)) {
                    change.setBigDecimal(1, large);
                    Check.refused(change::executeUpdate, "-9223372036854775808");
                }
            }
            try (PreparedStatement insert =
                    connection.prepareStatement(
                            "INSERT INTO jdbc_wrapped VALUES (CAST(? AS DECIMAL(20,0)))")) {
                insert.setBigDecimal(1, large);
                insert.executeUpdate();
            }
            Check.equal(
                    Target.value(connection, "SELECT max(u) FROM jdbc_wrapped"),
                    large.toString(),
                    "what is bound to a DECIMAL");
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM jdbc_wrapped"), "2", "rows");
        }
    }

    private void often() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_often",
                    "CREATE TABLE jdbc_often (id BIGINT NOT NULL, x VARBINARY, PRIMARY KEY (id))");
            try (PreparedStatement insert =
                    connection.prepareStatement("INSERT INTO jdbc_often VALUES (?, ?)")) {
                for (int i = 0; i < 100; i++) {
                    insert.setLong(1, i);
                    insert.setBytes(2, HexFormat.of().parseHex("%04x".formatted(i)));
                    Check.equal(insert.executeUpdate(), 1, "the number of rows");
                }
            }
            Check.equal(
                    Target.value(
                            connection,
                            "SELECT count(*) FROM jdbc_often WHERE encode(x, 'hex') ="
                                    + " lpad(to_hex(id), 4, '0')"),
                    "100",
                    "rows");
        }
    }

    private void several() throws Exception {
        try (Connection connection = target.connect();
                PreparedStatement one =
                        connection.prepareStatement("SELECT CAST(? AS BIGINT) + 1");
                PreparedStatement two =
                        connection.prepareStatement("SELECT CAST(? AS BIGINT) * 2")) {
            for (long i = 1; i < 20; i++) {
                one.setLong(1, i);
                two.setLong(1, i);
                Check.equal(
                        Target.rows(one.executeQuery()),
                        List.of(List.of(String.valueOf(i + 1))),
                        "the first");
                Check.equal(
                        Target.rows(two.executeQuery()),
                        List.of(List.of(String.valueOf(i * 2))),
                        "the second");
            }
        }
    }

    private void columns() throws Exception {
        try (Connection connection = target.connect();
                PreparedStatement select = connection.prepareStatement("SELECT 1 AS a, 'x' AS b")) {
            Check.equal(select.getMetaData().getColumnCount(), 2, "getColumnCount()");
            Check.equal(select.getMetaData().getColumnLabel(2), "b", "getColumnLabel()");
            Check.equal(select.getMetaData().getColumnType(1), Types.BIGINT, "getColumnType()");
        }
    }
}
