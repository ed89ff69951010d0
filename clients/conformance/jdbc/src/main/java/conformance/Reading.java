package conformance;

import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDateTime;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** Is each value what it is, by every getter, and do large answers come whole? */
final class Reading {
    private static final String[] KINDS = {
        "b", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "d", "s", "x",
        "day", "clock", "wall", "instant", "l", "st"
    };

    private final Target target;

    Reading(Target target) {
        this.target = target;
    }

    /** Looks at the row of the table with every type. */
    private interface Look {
        void at(ResultSet row) throws Exception;
    }

    void add(Map<String, Flow> flows) {
        flows.put("a_table_with_every_type", this::create);
        flows.put("get_object_of_every_type", () -> look(this::objects));
        flows.put("get_string_of_every_type", () -> look(this::strings));
        flows.put("get_numbers", () -> look(this::numbers));
        flows.put("get_large_unsigned_numbers", () -> look(this::unsigned));
        flows.put("get_bytes_and_streams", () -> look(this::streams));
        flows.put("get_dates_and_times", () -> look(this::times));
        flows.put("get_nested", () -> look(this::nested));
        flows.put("get_by_label", () -> look(this::labels));
        flows.put("null_and_was_null", this::nulls);
        flows.put("result_set_metadata", this::columns);
        flows.put("digits_of_a_decimal", this::digits);
        flows.put("nullability_of_a_result", this::nullability);
        flows.put("get_object_of_an_instant", () -> look(this::instant));
        flows.put("position_in_the_result", this::position);
        flows.put("an_answer_without_rows", this::empty);
        flows.put("columns_of_an_answer_without_rows", this::columnsWithoutRows);
        flows.put("null_column", () -> checkValue("SELECT NULL AS n", null));
        flows.put("aggregates_have_the_announced_type", this::aggregates);
        flows.put("values_without_a_table", () -> checkValue("VALUES ('a')", "a"));
        flows.put("explain_show_describe", this::explained);
        flows.put("a_million_rows", this::million);
        flows.put("wide_rows", this::wide);
        flows.put("long_values", this::longValues);
    }

    private static String table() {
        return "jdbc_kinds";
    }

    private void create() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS " + table(),
                    "CREATE TABLE "
                            + table()
                            + " (id BIGINT NOT NULL, b BOOLEAN, i8 TINYINT, i16 SMALLINT, i32"
                            + " INTEGER, i64 BIGINT, u8 UTINYINT, u16 USMALLINT, u32 UINTEGER, u64"
                            + " UBIGINT, f32 REAL, f64 DOUBLE, d DECIMAL(20, 3), s VARCHAR, x"
                            + " VARBINARY, day DATE, clock TIME, wall TIMESTAMP, instant"
                            + " TIMESTAMPTZ, l BIGINT[], st STRUCT<a BIGINT, b VARCHAR>, PRIMARY"
                            + " KEY (id))",
                    "INSERT INTO "
                            + table()
                            + " VALUES (1, true, -128, -32768, -2147483648, -9223372036854775808,"
                            + " 255, 65535, 4294967295, 9223372036854775807, 1.5, -0.1,"
                            + " '-12345678901234567.891', 'Grüße, 世界', X'00ff10', '2026-01-31',"
                            + " '23:59:59.123', '2026-01-31 12:34:56.789012', '2026-01-31"
                            + " 12:34:56.789012Z', [1, NULL, 3], {a: 7, b: 'seven'})",
                    "INSERT INTO " + table() + " (id) VALUES (2)");
        }
    }

    private void look(Look look) throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet row =
                        statement.executeQuery("SELECT * FROM " + table() + " WHERE id = 1")) {
            Check.that(row.next(), "there is a row");
            look.at(row);
            Check.that(!row.next(), "there is one row");
        }
    }

    private void objects(ResultSet row) throws SQLException {
        Check.equal(row.getObject("b"), true, "b");
        Check.equal(((Number) row.getObject("i8")).longValue(), -128L, "i8");
        Check.equal(((Number) row.getObject("i16")).longValue(), -32768L, "i16");
        Check.equal(row.getObject("i32"), Integer.MIN_VALUE, "i32");
        Check.equal(row.getObject("i64"), Long.MIN_VALUE, "i64");
        Check.equal(((Number) row.getObject("u64")).longValue(), Long.MAX_VALUE, "u64");
        Check.equal(((Number) row.getObject("f32")).doubleValue(), 1.5, "f32");
        Check.equal(row.getObject("f64"), -0.1, "f64");
        Check.equal(row.getObject("d"), new BigDecimal("-12345678901234567.891"), "d");
        Check.equal(row.getObject("s"), "Grüße, 世界", "s");
        Check.equal(row.getObject("x"), HexFormat.of().parseHex("00ff10"), "x");
        Check.equal(row.getObject("day"), Date.valueOf("2026-01-31"), "day");
        Check.equal(row.getObject("day").toString(), "2026-01-31", "day");
        Check.that(row.getObject(row.findColumn("l")) instanceof Array, "the list is an Array");
        Check.that(row.getObject("st") instanceof Map, "the struct is a Map");
    }

    private void strings(ResultSet row) throws SQLException {
        String[] wanted = {
            "true",
            "-128",
            "-32768",
            "-2147483648",
            "-9223372036854775808",
            "255",
            "65535",
            "4294967295",
            "9223372036854775807",
            "1.5",
            "-0.1",
            "-12345678901234567.891",
            "Grüße, 世界",
            null,
            "2026-01-31",
            null,
            null,
            null,
            null,
            null
        };
        for (int i = 0; i < KINDS.length; i++) {
            String text = row.getString(KINDS[i]);
            Check.that(text != null && !text.isEmpty(), "there is a text of " + KINDS[i]);
            if (wanted[i] != null) {
                Check.equal(text, wanted[i], KINDS[i]);
            }
        }
        Check.contains(row.getString("clock"), "23:59:59");
        Check.contains(row.getString("wall"), "2026-01-31 12:34:56");
        Check.contains(row.getString("st"), "seven");
    }

    private void numbers(ResultSet row) throws SQLException {
        Check.equal(row.getBoolean("b"), true, "getBoolean()");
        Check.equal(row.getByte("i8"), (byte) -128, "getByte()");
        Check.equal(row.getShort("i16"), (short) -32768, "getShort()");
        Check.equal(row.getInt("i32"), Integer.MIN_VALUE, "getInt()");
        Check.equal(row.getLong("i64"), Long.MIN_VALUE, "getLong()");
        Check.equal(row.getLong("u64"), Long.MAX_VALUE, "getLong() of UBIGINT");
        Check.equal(row.getFloat("f32"), 1.5f, "getFloat()");
        Check.equal(row.getDouble("f64"), -0.1, "getDouble()");
        Check.equal(
                row.getBigDecimal("d"),
                new BigDecimal("-12345678901234567.891"),
                "getBigDecimal()");
        Check.equal(
                row.getBigDecimal("i64"),
                new BigDecimal(Long.MIN_VALUE),
                "getBigDecimal() of BIGINT");
        Check.equal(row.getLong("i8"), -128L, "getLong() of TINYINT");
        Check.equal(row.getDouble("i32"), -2147483648.0, "getDouble() of INTEGER");
    }

    private void unsigned(ResultSet row) throws Exception {
        Check.equal(row.getLong("u8"), 255L, "getLong() of UTINYINT");
        Check.equal(row.getLong("u16"), 65_535L, "getLong() of USMALLINT");
        Check.equal(row.getLong("u32"), 4_294_967_295L, "getLong() of UINTEGER");
    }

    private void streams(ResultSet row) throws Exception {
        Check.equal(row.getBytes("x"), HexFormat.of().parseHex("00ff10"), "getBytes()");
        Check.equal(
                row.getBinaryStream("x").readAllBytes(),
                HexFormat.of().parseHex("00ff10"),
                "getBinaryStream()");
        char[] text = new char[20];
        int n = row.getCharacterStream("s").read(text);
        Check.equal(new String(text, 0, n), "Grüße, 世界", "getCharacterStream()");
    }

    private void times(ResultSet row) throws SQLException {
        Check.equal(row.getDate("day").toString(), "2026-01-31", "getDate()");
        Check.equal(row.getTime("clock").toLocalTime().toString(), "23:59:59", "getTime()");
        Check.equal(
                row.getTimestamp("wall").toLocalDateTime(),
                LocalDateTime.parse("2026-01-31T12:34:56.789012"),
                "getTimestamp() of TIMESTAMP");
        Check.equal(
                row.getTimestamp("instant").toInstant().toString(),
                "2026-01-31T12:34:56.789012Z",
                "getTimestamp() of TIMESTAMPTZ");
        Check.equal(row.getDate("wall").toString(), "2026-01-31", "getDate() of TIMESTAMP");
    }

    private void nested(ResultSet row) throws SQLException {
        Object[] list = (Object[]) row.getArray("l").getArray();
        Check.equal(list.length, 3, "the length of the list");
        Check.equal(list[0], 1L, "its first");
        Check.equal(list[1], null, "its second");
        Map<?, ?> struct = (Map<?, ?>) row.getObject("st");
        Check.equal(struct.get("a"), 7L, "st.a");
        Check.equal(String.valueOf(struct.get("b")), "seven", "st.b");
    }

    private void labels(ResultSet row) throws Exception {
        Check.equal(row.findColumn("i64"), 6, "findColumn()");
        Check.equal(row.getLong("I64"), Long.MIN_VALUE, "by a label in other letters");
        Check.refused(() -> row.getLong("nothing"));
        Check.refused(() -> row.getLong(99));
    }

    private void nulls() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet row =
                        statement.executeQuery("SELECT * FROM " + table() + " WHERE id = 2")) {
            Check.that(row.next(), "there is a row");
            for (String kind : KINDS) {
                Check.equal(row.getString(kind), null, kind + " as text");
                Check.that(row.wasNull(), "wasNull() of " + kind);
                Check.equal(row.getObject(kind), null, kind);
            }
            Check.equal(row.getLong("i64"), 0L, "getLong() of NULL");
            Check.that(row.wasNull(), "wasNull()");
            Check.equal(row.getBoolean("b"), false, "getBoolean() of NULL");
            Check.equal(row.getTimestamp("wall"), null, "getTimestamp() of NULL");
            Check.equal(row.getBigDecimal("d"), null, "getBigDecimal() of NULL");
            Check.equal(row.getBytes("x"), null, "getBytes() of NULL");
            Check.equal(row.getArray("l"), null, "getArray() of NULL");
            Check.equal(row.getLong("id"), 2L, "the key");
            Check.that(!row.wasNull(), "wasNull() of what is none");
        }
    }

    private void columns() throws Exception {
        int[] types = {
            Types.BOOLEAN,
            Types.TINYINT,
            Types.SMALLINT,
            Types.INTEGER,
            Types.BIGINT,
            Types.SMALLINT,
            Types.INTEGER,
            Types.BIGINT,
            Types.DECIMAL,
            Types.FLOAT,
            Types.DOUBLE,
            Types.DECIMAL,
            Types.VARCHAR,
            Types.VARBINARY,
            Types.DATE,
            Types.TIME,
            Types.TIMESTAMP,
            target.jdbcType(Types.TIMESTAMP_WITH_TIMEZONE),
            Types.ARRAY,
            Types.JAVA_OBJECT
        };
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result = statement.executeQuery("SELECT * FROM " + table())) {
            ResultSetMetaData columns = result.getMetaData();
            Check.equal(columns.getColumnCount(), KINDS.length + 1, "getColumnCount()");
            for (int i = 0; i < KINDS.length; i++) {
                int at = i + 2;
                Check.equal(columns.getColumnLabel(at), KINDS[i], "getColumnLabel()");
                Check.equal(columns.getColumnName(at), KINDS[i], "getColumnName()");
                Check.equal(columns.getColumnType(at), types[i], "getColumnType() of " + KINDS[i]);
                Check.that(
                        !columns.getColumnTypeName(at).isEmpty(),
                        "getColumnTypeName() of " + KINDS[i]);
                Check.that(
                        columns.getColumnDisplaySize(at) >= 0,
                        "getColumnDisplaySize() of " + KINDS[i]);
            }
        }
    }

    /** Tools round by it, and Spark makes its type of it. */
    private void digits() throws Exception {
        try (Connection connection = target.connect();
                PreparedStatement select =
                        connection.prepareStatement("SELECT d, d * 2 AS e FROM " + table())) {
            for (ResultSetMetaData columns :
                    List.of(select.getMetaData(), select.executeQuery().getMetaData())) {
                Check.equal(
                        columns.getPrecision(1) + "," + columns.getScale(1),
                        "20,3",
                        "the digits of DECIMAL(20, 3)");
                Check.equal(columns.getScale(2), 3, "getScale() of an expression");
            }
        }
    }

    private void nullability() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result = statement.executeQuery("SELECT * FROM " + table())) {
            boolean isNullable =
                    result.getMetaData().isNullable(3) != ResultSetMetaData.columnNoNulls;
            Check.driver(
                    isNullable,
                    "ResultSetMetaData.isNullable() says columnNoNulls of every column");
        }
    }

    private void instant(ResultSet row) throws Exception {
        Check.equal(
                row.getObject("instant"),
                Timestamp.from(Instant.parse("2026-01-31T12:34:56.789012Z")),
                "getObject()");
    }

    private void position() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result =
                        statement.executeQuery(
                                "SELECT value FROM generate_series(1, 3) AS s(value)")) {
            Check.that(result.isBeforeFirst(), "it begins before the first");
            Check.that(result.next() && result.getRow() == 1, "getRow()");
            Check.equal(result.getType(), ResultSet.TYPE_FORWARD_ONLY, "getType()");
            Check.equal(result.getConcurrency(), ResultSet.CONCUR_READ_ONLY, "getConcurrency()");
            Check.that(result.next() && result.next() && !result.next(), "three rows");
            result.close();
            Check.that(result.isClosed(), "it is closed");
        }
    }

    private void empty() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            for (String sql :
                    new String[] {
                        "SELECT * FROM " + table() + " WHERE false", "SELECT 1 AS a LIMIT 0"
                    }) {
                ResultSet result = statement.executeQuery(sql);
                Check.that(result.getMetaData().getColumnCount() > 0, "there are columns");
                Check.that(!result.next(), "there are no rows");
            }
        }
    }

    private void columnsWithoutRows() throws Exception {
        String sql = "SELECT 1 AS a, 2 AS b WHERE false";
        try (Connection connection = target.connect();
                PreparedStatement prepared = connection.prepareStatement(sql);
                Statement statement = connection.createStatement()) {
            int width = prepared.executeQuery().getMetaData().getColumnCount();
            Check.equal(width, 2, "the number of columns of a prepared statement");
            width = statement.executeQuery(sql).getMetaData().getColumnCount();
            Check.driver(
                    width == 2,
                    "an answer of a Statement without rows has each column twice: those of prepare"
                            + " and those of the answer");
        }
    }

    private void checkValue(String sql, String wanted) throws SQLException {
        try (Connection connection = target.connect()) {
            Check.equal(Target.value(connection, sql), wanted, sql);
        }
    }

    private void aggregates() throws Exception {
        String[] expressions = {
            "min(i64)",
            "max(s)",
            "count(*)",
            "avg(f64)",
            "sum(i32)",
            "sum(d)",
            "stddev(f64)",
            "approx_distinct(s)",
            "median(i64)",
            "array_agg(s)",
            "row_number() OVER ()",
            "rank() OVER (ORDER BY i64)",
            "coalesce(s, 'y')",
            "CASE WHEN b THEN 'x' END",
            "now()",
            "current_date",
            "s || 'x'",
            "i64 % 7",
            "d * 2",
            "CAST(i64 AS VARCHAR)",
            "date_trunc('day', wall)",
            "instant - INTERVAL '1 day'",
            "st['a']",
            "l[1]"
        };
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            for (String expression : expressions) {
                String sql = "SELECT " + expression + " AS v FROM " + table() + " WHERE id < 3";
                try (PreparedStatement announced = connection.prepareStatement(sql);
                        ResultSet result = statement.executeQuery(sql)) {
                    ResultSetMetaData got = result.getMetaData();
                    ResultSetMetaData wanted = announced.getMetaData();
                    Check.equal(
                            got.getColumnType(1),
                            wanted.getColumnType(1),
                            "the type of " + expression);
                    Check.equal(
                            got.getColumnClassName(1),
                            wanted.getColumnClassName(1),
                            "the class of " + expression);
                    int rows = 0;
                    for (; result.next(); rows++) {
                        result.getString(1);
                    }
                    Check.that(rows > 0, "there is a row of " + expression);
                }
            }
        }
    }

    private void explained() throws Exception {
        try (Connection connection = target.connect()) {
            for (String sql :
                    new String[] {
                        "EXPLAIN SELECT 1",
                        "SHOW TABLES",
                        "SHOW timezone",
                        "DESCRIBE " + table(),
                        "SELECT * FROM information_schema.tables",
                        "SELECT * FROM system.queries",
                        "SELECT * FROM system.settings"
                    }) {
                Check.that(!Target.rows(connection, sql).isEmpty(), "there are rows of " + sql);
            }
        }
    }

    private void million() throws Exception {
        String sql =
                "SELECT value, concat('name ', CAST(value % 1000 AS VARCHAR)) AS name FROM"
                        + " generate_series(1, 1000000) AS s(value)";
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result = statement.executeQuery(sql)) {
            long rows = 0;
            long sum = 0;
            while (result.next()) {
                rows++;
                sum += result.getLong(1);
                if (rows % 10_000 == 0) {
                    Check.equal(result.getString(2), "name " + result.getLong(1) % 1000, "a name");
                }
            }
            Check.equal(rows, 1_000_000L, "the number of rows");
            Check.equal(sum, 500_000_500_000L, "the sum");
        }
    }

    private void wide() throws Exception {
        StringBuilder sql = new StringBuilder("SELECT value");
        for (int i = 1; i < 500; i++) {
            sql.append(", value + ").append(i).append(" AS c").append(i);
        }
        sql.append(" FROM generate_series(1, 2000) AS s(value)");
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result = statement.executeQuery(sql.toString())) {
            Check.equal(result.getMetaData().getColumnCount(), 500, "the number of columns");
            int rows = 0;
            while (result.next()) {
                rows++;
                Check.equal(result.getLong(500) - result.getLong(1), 499L, "the last column");
            }
            Check.equal(rows, 2000, "the number of rows");
        }
    }

    private void longValues() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement();
                ResultSet result =
                        statement.executeQuery(
                                "SELECT repeat('ä', CASE n WHEN 5 THEN 1500000 ELSE 3 END) FROM"
                                        + " generate_series(1, 1000) AS s(n)")) {
            int longest = 0;
            int rows = 0;
            while (result.next()) {
                rows++;
                longest = Math.max(longest, result.getString(1).length());
            }
            Check.equal(rows, 1000, "the number of rows");
            Check.equal(longest, 1_500_000, "the length of the longest");
        }
    }
}
