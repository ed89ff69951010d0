package conformance;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.RowIdLifetime;
import java.sql.SQLException;
import java.sql.SQLFeatureNotSupportedException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What does the server say of itself, its tables and columns? */
final class Metadata {
    private static final String KEYED = "jdbc_keyed";

    /** The columns that JDBC's documentation gives an answer. */
    private static final Map<String, String> COLUMNS =
            Map.of(
                    "getCatalogs", "TABLE_CAT",
                    "getSchemas", "TABLE_SCHEM TABLE_CATALOG",
                    "getTableTypes", "TABLE_TYPE",
                    "getTables",
                            "TABLE_CAT TABLE_SCHEM TABLE_NAME TABLE_TYPE REMARKS TYPE_CAT"
                                + " TYPE_SCHEM TYPE_NAME SELF_REFERENCING_COL_NAME REF_GENERATION",
                    "getColumns",
                            "TABLE_CAT TABLE_SCHEM TABLE_NAME COLUMN_NAME DATA_TYPE TYPE_NAME"
                                + " COLUMN_SIZE BUFFER_LENGTH DECIMAL_DIGITS NUM_PREC_RADIX"
                                + " NULLABLE REMARKS COLUMN_DEF SQL_DATA_TYPE SQL_DATETIME_SUB"
                                + " CHAR_OCTET_LENGTH ORDINAL_POSITION IS_NULLABLE SCOPE_CATALOG"
                                + " SCOPE_SCHEMA SCOPE_TABLE SOURCE_DATA_TYPE IS_AUTOINCREMENT"
                                + " IS_GENERATEDCOLUMN",
                    "getPrimaryKeys",
                            "TABLE_CAT TABLE_SCHEM TABLE_NAME COLUMN_NAME KEY_SEQ PK_NAME");

    private final Target target;

    Metadata(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) throws SQLException {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS " + KEYED,
                    "CREATE TABLE "
                            + KEYED
                            + " (a BIGINT NOT NULL, b VARCHAR NOT NULL, i8 TINYINT, i16 SMALLINT,"
                            + " i32 INTEGER, u64 UBIGINT, f32 REAL, f64 DOUBLE, d DECIMAL(20, 3), x"
                            + " VARBINARY, day DATE, clock TIME, wall TIMESTAMP, instant"
                            + " TIMESTAMPTZ, yes BOOLEAN, l BIGINT[], PRIMARY KEY (a, b))",
                    "CREATE OR REPLACE VIEW jdbc_seen AS SELECT a, b FROM " + KEYED,
                    "DROP TABLE IF EXISTS jdbcXkeyed",
                    "CREATE TABLE jdbcXkeyed (id BIGINT)",
                    "DROP TABLE IF EXISTS other.jdbc_far",
                    "CREATE TABLE other.jdbc_far (id BIGINT)");
        }
        Method[] methods = DatabaseMetaData.class.getMethods();
        Arrays.sort(methods, Comparator.comparing(Method::toString));
        Map<String, Integer> seen = new HashMap<>();
        for (Method method : methods) {
            int n = seen.merge(method.getName(), 1, Integer::sum);
            flows.put("metadata_" + method.getName() + (n > 1 ? "_" + n : ""), () -> call(method));
        }
        flows.put("tables", this::tables);
        flows.put("tables_by_pattern", this::patterns);
        flows.put("columns", this::columns);
        flows.put("columns_of_a_view_and_of_system_tables", this::otherColumns);
        flows.put("primary_keys", this::primaryKeys);
        flows.put("answers_without_rows", this::withoutRows);
        flows.put("catalogs_and_schemas", this::catalogs);
        flows.put("type_info", this::typeInfo);
        flows.put("what_the_server_is", this::server);
        flows.put("what_the_server_can", this::capabilities);
        flows.put("words_and_functions", this::words);
        flows.put("identifiers", this::identifiers);
        flows.put(
                "order_of_nulls",
                () ->
                        ask(
                                metadata ->
                                        Check.driver(
                                                metadata.nullsAreSortedHigh(),
                                                "it does not read SqlInfo 507, NULL ordering")));
        flows.put(
                "identifier_case",
                () ->
                        ask(
                                metadata ->
                                        Check.driver(
                                                metadata.storesLowerCaseIdentifiers(),
                                                "it does not read SqlInfo 503, identifier case")));
        flows.put("names_with_strange_letters", this::strangeNames);
        flows.put("sql_text_as_a_pattern", this::textAsPattern);
    }

    /**
     * Whatever is called throws nothing but that it is not supported; an answer has the columns
     * that JDBC wants, and can be read.
     */
    private void call(Method method) throws Exception {
        try (Connection connection = target.connect()) {
            Object got;
            try {
                got = method.invoke(connection.getMetaData(), arguments(method));
            } catch (InvocationTargetException error) {
                if (error.getCause() instanceof SQLFeatureNotSupportedException
                        || isUnsupported(error.getCause())) {
                    throw new Flow.Skipped(
                            "the driver does not support it: " + Check.told(error.getCause()));
                }
                throw error.getCause() instanceof Exception cause ? cause : error;
            }
            if (got instanceof ResultSet result) {
                String wanted = COLUMNS.get(method.getName());
                if (wanted != null) {
                    Check.equal(String.join(" ", labels(result)), wanted, "the columns");
                }
                Target.rows(result);
            } else if (got instanceof RowIdLifetime lifetime) {
                Check.equal(lifetime, RowIdLifetime.ROWID_UNSUPPORTED, "the lifetime of row ids");
            }
        }
    }

    /** Avatica's way of saying so. */
    private static boolean isUnsupported(Throwable error) {
        return error instanceof UnsupportedOperationException
                || "todo: implement this method".equals(error.getMessage());
    }

    private static List<String> labels(ResultSet result) throws SQLException {
        ResultSetMetaData columns = result.getMetaData();
        List<String> out = new ArrayList<>();
        for (int i = 1; i <= columns.getColumnCount(); i++) {
            out.add(columns.getColumnLabel(i));
        }
        return out;
    }

    private static Object[] arguments(Method method) {
        Class<?>[] types = method.getParameterTypes();
        Object[] out = new Object[types.length];
        int texts = 0;
        for (int i = 0; i < types.length; i++) {
            if (types[i] == String.class) {
                // Catalog and schema are open, then comes a name.
                out[i] = ++texts % 3 == 0 ? KEYED : null;
            } else if (types[i] == int.class) {
                out[i] =
                        method.getName().contains("Isolation")
                                ? Connection.TRANSACTION_READ_COMMITTED
                                : ResultSet.TYPE_FORWARD_ONLY;
            } else if (types[i] == boolean.class) {
                out[i] = false;
            } else if (types[i] == Class.class) {
                out[i] = DatabaseMetaData.class;
            }
        }
        return out;
    }

    /** What is asked of the metadata of a connection. */
    private interface Question {
        void of(DatabaseMetaData metadata) throws Exception;
    }

    private void ask(Question question) throws Exception {
        try (Connection connection = target.connect()) {
            question.of(connection.getMetaData());
        }
    }

    private static List<String> names(ResultSet tables) throws SQLException {
        return Target.rows(tables).stream().map(row -> row.get(1) + "." + row.get(2)).toList();
    }

    private void tables() throws Exception {
        ask(
                metadata -> {
                    List<String> row =
                            Target.rows(
                                            metadata.getTables(
                                                    null,
                                                    "public",
                                                    KEYED.replace("_", "\\_"),
                                                    null))
                                    .get(0);
                    Check.equal(
                            row.subList(0, 4),
                            List.of("tidewater", "public", KEYED, "TABLE"),
                            "the row");
                    Check.equal(
                            names(metadata.getTables("tidewater", "other", "%", null)),
                            List.of("other.jdbc_far"),
                            "tables of a schema");
                    Check.equal(
                            names(metadata.getTables("nowhere", null, "%", null)),
                            List.of(),
                            "tables of another catalog");
                    Check.that(
                            names(metadata.getTables(null, null, "%", new String[] {"VIEW"}))
                                    .contains("public.jdbc_seen"),
                            "the view is there");
                    Check.that(
                            !names(metadata.getTables(null, null, "%", new String[] {"TABLE"}))
                                    .contains("public.jdbc_seen"),
                            "a view is no table");
                    Check.that(
                            names(
                                            metadata.getTables(
                                                    null,
                                                    null,
                                                    null,
                                                    new String[] {"SYSTEM TABLE"}))
                                    .contains("system.queries"),
                            "system tables are there");
                    Check.that(
                            names(metadata.getTables(null, null, null, null))
                                    .containsAll(
                                            List.of(
                                                    "public." + KEYED,
                                                    "other.jdbc_far",
                                                    "system.tables")),
                            "all");
                    Check.that(
                            names(metadata.getTables(null, null, "%", new String[] {"BASE TABLE"}))
                                    .contains("public." + KEYED),
                            "BASE TABLE is TABLE");
                    Check.equal(
                            Target.rows(metadata.getTableTypes()).stream()
                                    .map(row2 -> row2.get(0))
                                    .toList(),
                            List.of("SYSTEM TABLE", "TABLE", "VIEW"),
                            "the types");
                });
    }

    private void patterns() throws Exception {
        ask(
                metadata -> {
                    // `_` is any letter unless it is escaped; identifiers fold to small letters.
                    Check.equal(
                            names(metadata.getTables(null, "public", "jdbc_keyed", null)),
                            List.of("public.jdbc_keyed", "public.jdbcxkeyed"),
                            "_");
                    Check.equal(
                            names(metadata.getTables(null, "public", "jdbc\\_keyed", null)),
                            List.of("public.jdbc_keyed"),
                            "\\_");
                    Check.equal(
                            names(metadata.getTables(null, "pub%", "jdbc%keyed", null)).size(),
                            2,
                            "the number of tables of %");
                    Check.equal(
                            names(metadata.getTables(null, "public", "JDBC_KEYED", null)),
                            List.of(),
                            "capital letters");
                    Check.equal(
                            names(metadata.getTables(null, "public", "", null)),
                            List.of(),
                            "an empty pattern");
                    Check.equal(metadata.getSearchStringEscape(), "\\", "getSearchStringEscape()");
                });
    }

    private void columns() throws Exception {
        // Name, JDBC type, name of the type, size, digits behind the point.
        Object[][] wanted = {
            {"a", Types.BIGINT, "BIGINT", 19, 0},
            {"b", Types.VARCHAR, "VARCHAR", 65_535, 0},
            {"i8", Types.TINYINT, "TINYINT", 3, 0},
            {"i16", Types.SMALLINT, "SMALLINT", 5, 0},
            {"i32", Types.INTEGER, "INTEGER", 10, 0},
            {"u64", Types.DECIMAL, "UBIGINT", 20, 0},
            {"f32", Types.FLOAT, "REAL", 24, 0},
            {"f64", Types.DOUBLE, "DOUBLE", 53, 0},
            {"d", Types.DECIMAL, "DECIMAL", 20, 3},
            {"x", Types.VARBINARY, "VARBINARY", 65_535, 0},
            {"day", Types.DATE, "DATE", 10, 0},
            {"clock", Types.TIME, "TIME", 15, 6},
            {"wall", Types.TIMESTAMP, "TIMESTAMP", 29, 6},
            {"instant", target.jdbcType(Types.TIMESTAMP_WITH_TIMEZONE), "TIMESTAMPTZ", 29, 6},
            {"yes", Types.BOOLEAN, "BOOLEAN", 1, 0},
            {"l", Types.ARRAY, "BIGINT[]", 0, 0}
        };
        ask(
                metadata -> {
                    try (ResultSet row =
                            metadata.getColumns(null, "public", "jdbc\\_keyed", null)) {
                        for (int i = 0; i < wanted.length; i++) {
                            Check.that(row.next(), "there is column " + wanted[i][0]);
                            String name = row.getString("COLUMN_NAME");
                            Check.equal(name, wanted[i][0], "COLUMN_NAME");
                            Check.equal(
                                    row.getInt("DATA_TYPE"), wanted[i][1], "DATA_TYPE of " + name);
                            Check.equal(
                                    row.getString("TYPE_NAME"),
                                    wanted[i][2],
                                    "TYPE_NAME of " + name);
                            Check.equal(
                                    row.getInt("COLUMN_SIZE"),
                                    wanted[i][3],
                                    "COLUMN_SIZE of " + name);
                            Check.equal(
                                    row.getInt("DECIMAL_DIGITS"),
                                    wanted[i][4],
                                    "DECIMAL_DIGITS of " + name);
                            Check.equal(
                                    row.getInt("ORDINAL_POSITION"),
                                    i + 1,
                                    "ORDINAL_POSITION of " + name);
                            Check.equal(
                                    row.getInt("NULLABLE"),
                                    i < 2
                                            ? DatabaseMetaData.columnNoNulls
                                            : DatabaseMetaData.columnNullable,
                                    "NULLABLE of " + name);
                            Check.equal(
                                    row.getString("IS_NULLABLE"),
                                    i < 2 ? "NO" : "YES",
                                    "IS_NULLABLE of " + name);
                            Check.equal(
                                    row.getString("IS_AUTOINCREMENT"),
                                    "NO",
                                    "IS_AUTOINCREMENT of " + name);
                            Check.equal(
                                    row.getString("TABLE_CAT"),
                                    "tidewater",
                                    "TABLE_CAT of " + name);
                        }
                        Check.that(!row.next(), "there are no more columns");
                    }
                    Check.equal(
                            Target.rows(metadata.getColumns(null, null, "jdbc\\_keyed", "i%"))
                                    .stream()
                                    .map(row -> row.get(3))
                                    .toList(),
                            List.of("i8", "i16", "i32", "instant"),
                            "columns by pattern");
                });
    }

    private void otherColumns() throws Exception {
        ask(
                metadata -> {
                    Check.equal(
                            Target.rows(metadata.getColumns(null, "public", "jdbc\\_seen", "%"))
                                    .size(),
                            2,
                            "columns of a view");
                    Check.that(
                            Target.rows(metadata.getColumns(null, "system", "queries", "%")).size()
                                    > 5,
                            "columns of a system table");
                    Check.that(
                            Target.rows(metadata.getColumns("tidewater", "%", "%", "%")).size()
                                    > 50,
                            "all columns");
                });
    }

    private void primaryKeys() throws Exception {
        ask(
                metadata -> {
                    List<List<String>> rows =
                            Target.rows(metadata.getPrimaryKeys(null, "public", KEYED));
                    Check.equal(
                            rows.stream().map(row -> row.get(3) + " " + row.get(4)).toList(),
                            List.of("a 1", "b 2"),
                            "the columns of the key");
                    Check.equal(
                            Target.rows(metadata.getPrimaryKeys("tidewater", "other", "jdbc_far")),
                            List.of(),
                            "a table without a key");
                    Check.equal(
                            Target.rows(metadata.getImportedKeys(null, "public", KEYED)),
                            List.of(),
                            "getImportedKeys()");
                    Check.equal(
                            Target.rows(metadata.getExportedKeys(null, "public", KEYED)),
                            List.of(),
                            "getExportedKeys()");
                    Check.equal(
                            Target.rows(
                                    metadata.getCrossReference(
                                            null, null, KEYED, null, null, KEYED)),
                            List.of(),
                            "getCrossReference()");
                });
    }

    /**
     * The driver takes the columns of such an answer from its first batch with rows, and passes
     * over a schema and batches without. What is sent is shown by the tests of the server.
     */
    private void withoutRows() throws Exception {
        ask(
                metadata -> {
                    List<String> bare = new ArrayList<>();
                    Map<String, ResultSet> answers =
                            Map.of(
                                    "getSchemas", metadata.getSchemas(null, "nothing"),
                                    "getTables", metadata.getTables(null, null, "nothing", null),
                                    "getColumns", metadata.getColumns(null, null, "nothing", null),
                                    "getPrimaryKeys",
                                            metadata.getPrimaryKeys(null, null, "nothing"));
                    for (Map.Entry<String, ResultSet> answer : answers.entrySet()) {
                        String got = String.join(" ", labels(answer.getValue()));
                        Check.equal(Target.rows(answer.getValue()), List.of(), answer.getKey());
                        if (got.isEmpty()) {
                            bare.add(answer.getKey());
                        } else {
                            Check.equal(got, COLUMNS.get(answer.getKey()), "the columns");
                        }
                    }
                    Check.driver(
                            bare.isEmpty(),
                            "an answer of DatabaseMetaData without rows has no columns, whatever"
                                + " schema it came with");
                });
    }

    private void catalogs() throws Exception {
        ask(
                metadata -> {
                    Check.equal(
                            Target.rows(metadata.getCatalogs()),
                            List.of(List.of("tidewater")),
                            "getCatalogs()");
                    List<String> schemas =
                            Target.rows(metadata.getSchemas()).stream()
                                    .map(row -> row.get(0))
                                    .toList();
                    Check.that(
                            schemas.containsAll(
                                    List.of("information_schema", "other", "public", "system")),
                            "schemas: " + schemas);
                    Check.equal(
                            Target.rows(metadata.getSchemas("tidewater", "pub%")),
                            List.of(List.of("public", "tidewater")),
                            "getSchemas(pattern)");
                    Check.equal(metadata.getCatalogTerm(), "catalog", "getCatalogTerm()");
                    Check.equal(metadata.getSchemaTerm(), "schema", "getSchemaTerm()");
                    Check.equal(metadata.getCatalogSeparator(), ".", "getCatalogSeparator()");
                    Check.that(metadata.isCatalogAtStart(), "isCatalogAtStart()");
                });
    }

    private void typeInfo() throws Exception {
        ask(
                metadata -> {
                    List<List<String>> rows = Target.rows(metadata.getTypeInfo());
                    List<String> names = rows.stream().map(row -> row.get(0)).toList();
                    List<String> wanted =
                            List.of(
                                    "BOOLEAN",
                                    "TINYINT",
                                    "SMALLINT",
                                    "INTEGER",
                                    "BIGINT",
                                    "REAL",
                                    "DOUBLE",
                                    "DECIMAL",
                                    "VARCHAR",
                                    "VARBINARY",
                                    "DATE",
                                    "TIME",
                                    "TIMESTAMP");
                    if (names.isEmpty()) {
                        throw new Flow.Skipped(
                                "the driver does not ask the server: its getTypeInfo() is empty on"
                                        + " every server");
                    }
                    Check.that(names.containsAll(wanted), "the types: " + names);
                });
    }

    private void server() throws Exception {
        ask(
                metadata -> {
                    Check.equal(
                            metadata.getDatabaseProductName(),
                            "Tidewater",
                            "getDatabaseProductName()");
                    Check.that(
                            metadata.getDatabaseProductVersion().matches("\\d+\\.\\d+\\.\\d+.*"),
                            "a version: " + metadata.getDatabaseProductVersion());
                    Check.that(
                            metadata.getDriverName() != null && metadata.getDriverVersion() != null,
                            "the driver has a name");
                    Check.that(
                            metadata.getURL().startsWith("jdbc:arrow-flight"),
                            "getURL(): " + metadata.getURL());
                    Check.that(!metadata.isReadOnly(), "isReadOnly()");
                    Check.that(metadata.allTablesAreSelectable(), "allTablesAreSelectable()");
                    Check.that(
                            metadata.getMaxStatementLength() == 256 << 10,
                            "getMaxStatementLength()");
                    Check.equal(metadata.getMaxColumnNameLength(), 0, "getMaxColumnNameLength()");
                    Check.equal(metadata.getMaxConnections(), 0, "getMaxConnections()");
                });
    }

    private void capabilities() throws Exception {
        ask(
                metadata -> {
                    Check.that(!metadata.supportsTransactions(), "no transactions");
                    Check.equal(
                            metadata.getDefaultTransactionIsolation(),
                            Connection.TRANSACTION_NONE,
                            "getDefaultTransactionIsolation()");
                    Check.that(
                            metadata.supportsGroupBy() && metadata.supportsGroupByUnrelated(),
                            "GROUP BY");
                    Check.that(
                            metadata.supportsOuterJoins()
                                    && metadata.supportsFullOuterJoins()
                                    && metadata.supportsLimitedOuterJoins(),
                            "outer joins");
                    Check.that(metadata.supportsUnion() && metadata.supportsUnionAll(), "UNION");
                    Check.that(
                            metadata.supportsCorrelatedSubqueries()
                                    && metadata.supportsSubqueriesInExists()
                                    && metadata.supportsSubqueriesInIns(),
                            "subqueries");
                    Check.that(
                            metadata.supportsANSI92EntryLevelSQL()
                                    && !metadata.supportsANSI92FullSQL(),
                            "SQL-92, entry level");
                    Check.that(
                            metadata.supportsColumnAliasing()
                                    && metadata.supportsTableCorrelationNames(),
                            "aliases");
                    Check.that(
                            metadata.supportsLikeEscapeClause()
                                    && metadata.supportsNonNullableColumns(),
                            "LIKE … ESCAPE, NOT NULL");
                    Check.that(
                            !metadata.supportsStoredProcedures() && !metadata.supportsSavepoints(),
                            "no procedures, no savepoints");
                    Check.that(metadata.supportsBatchUpdates(), "batches");
                    Check.that(
                            metadata.supportsResultSetType(ResultSet.TYPE_FORWARD_ONLY),
                            "forward only");
                });
    }

    private void words() throws Exception {
        ask(
                metadata -> {
                    Check.that(
                            Arrays.asList(metadata.getSQLKeywords().split("\\s*,\\s*"))
                                    .contains("QUALIFY"),
                            "keywords: " + metadata.getSQLKeywords());
                    Check.contains(metadata.getNumericFunctions(), "abs");
                    Check.contains(metadata.getStringFunctions(), "upper");
                    Check.contains(metadata.getTimeDateFunctions(), "date_trunc");
                    Check.contains(metadata.getSystemFunctions(), "coalesce");
                });
    }

    private void identifiers() throws Exception {
        ask(
                metadata -> {
                    Check.equal(
                            metadata.getIdentifierQuoteString(),
                            "\"",
                            "getIdentifierQuoteString()");
                    Check.equal(metadata.getExtraNameCharacters(), "", "getExtraNameCharacters()");
                });
    }

    private void strangeNames() throws Exception {
        String name = "jdbc_Größe100%\\'x'";
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS \"" + name + "\"",
                    "CREATE TABLE \"" + name + "\" (\"Spalte%\" BIGINT)",
                    "INSERT INTO \"" + name + "\" VALUES (7)");
            DatabaseMetaData metadata = connection.getMetaData();
            String pattern = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_");
            Check.equal(
                    names(metadata.getTables(null, "public", pattern, null)),
                    List.of("public." + name),
                    "getTables()");
            Check.equal(
                    Target.rows(metadata.getColumns(null, "public", pattern, "%")).get(0).get(3),
                    "Spalte%",
                    "getColumns()");
            Check.equal(
                    Target.value(connection, "SELECT \"Spalte%\" FROM \"" + name + "\""),
                    "7",
                    "the value");
            Target.run(connection, "DROP TABLE \"" + name + "\"");
        }
    }

    private void textAsPattern() throws Exception {
        ask(
                metadata -> {
                    String sql = "SELECT * FROM t WHERE a LIKE '%x_y%' ".repeat(500);
                    Check.equal(
                            names(metadata.getTables(null, null, sql, null)),
                            List.of(),
                            "getTables()");
                });
    }
}
