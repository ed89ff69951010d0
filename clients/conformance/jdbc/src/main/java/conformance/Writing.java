package conformance;

import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** Are statements run once, with the right counts, and are errors what a program can read? */
final class Writing {
    private final Target target;

    Writing(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) {
        flows.put("execute_of_a_query", this::executeQuery);
        flows.put("execute_of_an_insert", this::executeInsert);
        flows.put("execute_update_counts", this::updateCounts);
        flows.put("ddl", this::ddl);
        flows.put("views", this::views);
        flows.put("execute_query_of_an_insert_is_refused_or_runs_once", this::queryOfAnInsert);
        flows.put(
                "two_statements_in_one_are_refused",
                () -> refused("SELECT 1; SELECT 2", "INVALID_ARGUMENT", "one statement"));
        flows.put(
                "a_semicolon_at_the_end",
                () -> {
                    try (Connection connection = target.connect()) {
                        Check.equal(Target.value(connection, "SELECT 1;"), "1", "SELECT 1;");
                    }
                });
        flows.put("batch_of_ten_thousand_rows", () -> batch(10_000, 1));
        flows.put("batches_one_after_another", () -> batch(100, 5));
        flows.put("batch_is_all_or_nothing", this::badBatch);
        flows.put("batch_of_statements", this::statementBatch);
        flows.put("autocommit_commit_and_rollback", this::transactions);
        flows.put("large_update_count", this::largeCount);
        addErrors(flows);
    }

    private void addErrors(Map<String, Flow> flows) {
        flows.put("error_of_syntax", () -> refused("SELEC 1", "INVALID_ARGUMENT", "SELEC"));
        flows.put(
                "error_of_a_missing_table",
                () ->
                        refused(
                                "SELECT * FROM no_such_table",
                                "NOT_FOUND",
                                "no_such_table",
                                "not found"));
        flows.put(
                "error_of_a_missing_column",
                () ->
                        refused(
                                "SELECT no_such_column FROM system.tables",
                                "INVALID_ARGUMENT",
                                "no_such_column"));
        flows.put(
                "error_of_a_missing_function",
                () -> refused("SELECT no_such_function(1)", "NOT_FOUND", "no_such_function"));
        flows.put(
                "error_of_an_unsupported_statement",
                () -> refused("UPDATE system.tables SET name = 'x'", "UNIMPLEMENTED", "UPDATE"));
        flows.put(
                "error_of_a_table_that_is_there",
                () -> {
                    try (Connection connection = target.connect()) {
                        Target.run(connection, "CREATE TABLE IF NOT EXISTS jdbc_there (id BIGINT)");
                    }
                    refused("CREATE TABLE jdbc_there (id BIGINT)", "ALREADY_EXISTS", "jdbc_there");
                });
        flows.put(
                "error_while_running",
                () ->
                        refused(
                                "SELECT 1 / v FROM (VALUES (0)) AS t(v)",
                                "INVALID_ARGUMENT",
                                "zero"));
        flows.put(
                "error_after_many_rows",
                () -> {
                    String sql =
                            "SELECT 1 / (400000 - value) FROM generate_series(1, 500000) AS"
                                    + " s(value)";
                    try (Connection connection = target.connect();
                            Statement statement = connection.createStatement()) {
                        Check.refused(
                                () -> {
                                    ResultSet result = statement.executeQuery(sql);
                                    try {
                                        Target.rows(result);
                                    } catch (RuntimeException error) {
                                        // So the driver throws what comes behind the first rows.
                                        throw new SQLException(error);
                                    }
                                },
                                "zero");
                        Check.equal(
                                Target.value(connection, "SELECT 1"),
                                "1",
                                "the connection afterwards");
                    }
                });
        flows.put(
                "errors_leave_the_connection_alone",
                () -> {
                    try (Connection connection = target.connect();
                            Statement statement = connection.createStatement()) {
                        for (int i = 0; i < 50; i++) {
                            Check.refused(
                                    () -> statement.executeQuery("SELECT * FROM no_such_table"));
                        }
                        Check.equal(
                                Target.value(connection, "SELECT 1"),
                                "1",
                                "the connection afterwards");
                    }
                });
    }

    private void refused(String sql, String status, String... parts) throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            SQLException error =
                    Check.refused(() -> Target.rows(statement.executeQuery(sql)), parts);
            Check.equal(Check.status(error), status, "the status");
            // Avatica's own state for every error; gRPC's has no place in it.
            Check.that(
                    error.getSQLState() == null || error.getSQLState().length() == 5,
                    "a SQLState of five letters: " + error.getSQLState());
        }
    }

    private void executeQuery() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            Check.equal(statement.execute("SELECT 7 AS seven"), true, "execute()");
            Check.equal(statement.getUpdateCount(), -1, "getUpdateCount()");
            Check.equal(
                    Target.rows(statement.getResultSet()), List.of(List.of("7")), "getResultSet()");
            Check.that(
                    !statement.getMoreResults() && statement.getUpdateCount() == -1,
                    "there is no more");
        }
    }

    private void executeInsert() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            fresh(connection, "jdbc_execute");
            Check.equal(
                    statement.execute("INSERT INTO jdbc_execute VALUES (1, 'a'), (2, 'b')"),
                    false,
                    "execute()");
            Check.equal(statement.getUpdateCount(), 2, "getUpdateCount()");
            Check.equal(statement.getResultSet(), null, "getResultSet()");
            Check.equal(Target.value(connection, "SELECT count(*) FROM jdbc_execute"), "2", "rows");
        }
    }

    private void updateCounts() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            fresh(connection, "jdbc_counts");
            Check.equal(
                    statement.executeUpdate(
                            "INSERT INTO jdbc_counts SELECT value, 'x' FROM generate_series(1, 100)"
                                    + " AS s(value)"),
                    100,
                    "INSERT");
            Check.equal(
                    statement.executeUpdate(
                            "INSERT INTO jdbc_counts VALUES (1, 'again'), (101, 'y')"),
                    1,
                    "INSERT of a key that is there");
            Check.equal(
                    statement.executeUpdate("DELETE FROM jdbc_counts WHERE id <= 30"),
                    30,
                    "DELETE");
            Check.equal(
                    statement.executeUpdate("DELETE FROM jdbc_counts WHERE id <= 30"),
                    0,
                    "DELETE of nothing");
            try (PreparedStatement delete =
                    connection.prepareStatement("DELETE FROM jdbc_counts WHERE id = ?")) {
                delete.setLong(1, 50);
                Check.equal(delete.executeUpdate(), 1, "DELETE with a parameter");
            }
            Check.equal(Target.value(connection, "SELECT count(*) FROM jdbc_counts"), "70", "rows");
        }
    }

    private void ddl() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS jdbc_ddl");
            for (String sql :
                    List.of(
                            "CREATE TABLE jdbc_ddl (id BIGINT NOT NULL, PRIMARY KEY (id))",
                            "ALTER TABLE jdbc_ddl ADD COLUMN name VARCHAR",
                            "TRUNCATE TABLE jdbc_ddl")) {
                Check.equal(statement.execute(sql), false, "execute() of " + sql);
                Check.equal(statement.getUpdateCount(), 0, "getUpdateCount() of " + sql);
            }
            Check.equal(
                    statement.executeUpdate("INSERT INTO jdbc_ddl VALUES (1, 'a')"), 1, "INSERT");
            Check.equal(statement.executeUpdate("DROP TABLE jdbc_ddl"), 0, "DROP");
            Check.refused(() -> statement.executeQuery("SELECT * FROM jdbc_ddl"), "jdbc_ddl");
        }
    }

    private void views() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            Check.equal(
                    statement.executeUpdate(
                            "CREATE OR REPLACE VIEW jdbc_view AS SELECT 1 AS a, 'x' AS b"),
                    0,
                    "CREATE VIEW");
            Check.equal(
                    Target.rows(connection, "SELECT * FROM jdbc_view"),
                    List.of(List.of("1", "x")),
                    "its rows");
            ResultSet found =
                    connection
                            .getMetaData()
                            .getTables(null, "public", "jdbc\\_view", new String[] {"VIEW"});
            Check.equal(Target.rows(found).size(), 1, "getTables() of it");
            Check.equal(statement.executeUpdate("DROP VIEW jdbc_view"), 0, "DROP VIEW");
        }
    }

    private void queryOfAnInsert() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            fresh(connection, "jdbc_once");
            int rows = 1;
            try {
                statement.executeQuery("INSERT INTO jdbc_once VALUES (1, 'a')").close();
            } catch (SQLException refused) {
                rows = Integer.parseInt(Target.value(connection, "SELECT count(*) FROM jdbc_once"));
                Check.that(rows <= 1, "it ran at most once");
            }
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM jdbc_once"),
                    String.valueOf(rows),
                    "rows");
        }
    }

    private static void fresh(Connection connection, String table) throws SQLException {
        Target.run(
                connection,
                "DROP TABLE IF EXISTS " + table,
                "CREATE TABLE " + table + " (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))");
    }

    private void batch(int rows, int batches) throws Exception {
        String table = "jdbc_batch_" + rows;
        try (Connection connection = target.connect()) {
            fresh(connection, table);
            try (PreparedStatement insert =
                    connection.prepareStatement(
                            "INSERT INTO " + table + " (id, name) VALUES (?, ?)")) {
                for (int batch = 0; batch < batches; batch++) {
                    for (int i = 0; i < rows; i++) {
                        insert.setLong(1, (long) batch * rows + i);
                        insert.setString(2, i % 10 == 0 ? null : "name " + i);
                        insert.addBatch();
                    }
                    // The driver sends them in one go, and has one count for all.
                    int[] counts = insert.executeBatch();
                    Check.equal(Arrays.stream(counts).sum(), rows, "the sum of the counts");
                }
            }
            String sql = "SELECT count(*), count(name), count(DISTINCT id) FROM " + table;
            int all = rows * batches;
            Check.equal(
                    Target.rows(connection, sql).get(0),
                    IntStream.of(all, all - all / 10, all).mapToObj(String::valueOf).toList(),
                    "rows");
        }
    }

    private void badBatch() throws Exception {
        try (Connection connection = target.connect()) {
            fresh(connection, "jdbc_bad_batch");
            try (PreparedStatement insert =
                    connection.prepareStatement("INSERT INTO jdbc_bad_batch VALUES (?, ?)")) {
                for (int i = 0; i < 1_000; i++) {
                    if (i == 999) {
                        insert.setNull(1, java.sql.Types.BIGINT);
                    } else {
                        insert.setLong(1, i);
                    }
                    insert.setString(2, "x");
                    insert.addBatch();
                }
                SQLException error = Check.refused(() -> executeBatch(insert));
                Check.contains(Check.told(error), "id");
            }
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM jdbc_bad_batch"), "0", "rows");
        }
    }

    private static void executeBatch(PreparedStatement insert) throws SQLException {
        try {
            insert.executeBatch();
        } catch (BatchUpdateException error) {
            throw error;
        } catch (RuntimeException error) {
            // The driver lets gRPC's error through as it is.
            throw new SQLException(error);
        }
    }

    private void statementBatch() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            fresh(connection, "jdbc_statement_batch");
            statement.addBatch("INSERT INTO jdbc_statement_batch VALUES (1, 'a')");
            statement.addBatch("INSERT INTO jdbc_statement_batch VALUES (2, 'b'), (3, 'c')");
            try {
                Check.equal(statement.executeBatch(), new int[] {1, 2}, "the counts");
            } catch (NullPointerException error) {
                Check.driver(
                        false,
                        "it does nothing in prepareAndExecuteBatch: Statement.executeBatch ends"
                                + " with a NullPointerException on every server");
            }
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM jdbc_statement_batch"),
                    "3",
                    "rows");
        }
    }

    private void transactions() throws Exception {
        try (Connection connection = target.connect()) {
            fresh(connection, "jdbc_commit");
            Check.that(connection.getAutoCommit(), "autocommit is on");
            Check.equal(
                    connection.getTransactionIsolation(),
                    Connection.TRANSACTION_NONE,
                    "the isolation");
            Target.run(connection, "INSERT INTO jdbc_commit VALUES (1, 'a')");
            connection.commit();
            connection.rollback();
            Check.equal(Target.value(connection, "SELECT count(*) FROM jdbc_commit"), "1", "rows");
        }
    }

    private void largeCount() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            fresh(connection, "jdbc_large");
            String sql =
                    "INSERT INTO jdbc_large SELECT value, 'x' FROM generate_series(1, 20000) AS"
                            + " s(value)";
            Check.equal(statement.executeLargeUpdate(sql), 20_000L, "executeLargeUpdate()");
            Check.equal(statement.getLargeUpdateCount(), 20_000L, "getLargeUpdateCount()");
        }
    }
}
