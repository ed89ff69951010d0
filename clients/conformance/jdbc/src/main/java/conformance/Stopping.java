package conformance;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Does the server stop when the program does not want the rest? */
final class Stopping {
    /** Counts for hours, and says nothing. */
    private static final String SILENT =
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000000)"
                    + " SELECT count(*) FROM t WHERE '%1$s' = '%1$s'";

    /** Has rows for hours. */
    private static final String STREAM =
            "SELECT a.x AS x, b.y AS y, '%s' AS marker FROM generate_series(1, 1000000) AS a(x),"
                    + " generate_series(1, 1000000) AS b(y)";

    private final Target target;

    Stopping(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) {
        flows.put(
                "set_max_rows",
                () -> {
                    try (Connection connection = target.connect();
                            Statement statement = connection.createStatement()) {
                        statement.setMaxRows(10);
                        Check.equal(statement.getMaxRows(), 10, "getMaxRows()");
                        Check.equal(
                                Target.rows(statement.executeQuery(STREAM.formatted("few_rows")))
                                        .size(),
                                10,
                                "the number of rows");
                        Target.awaitQuery(connection, "few_rows", false);
                    }
                });
        flows.put(
                "set_fetch_size",
                () -> {
                    try (Connection connection = target.connect();
                            Statement statement = connection.createStatement()) {
                        statement.setFetchSize(7);
                        String sql = "SELECT value FROM generate_series(1, 1000) AS s(value)";
                        Check.equal(
                                Target.rows(statement.executeQuery(sql)).size(),
                                1000,
                                "the number of rows");
                    }
                });
        flows.put("set_query_timeout", this::timeout);
        flows.put("cancel_before_the_first_row", () -> cancel("jdbc_cancel_silent", SILENT));
        flows.put("cancel_in_the_middle", () -> cancel("jdbc_cancel_stream", STREAM));
        flows.put("cancel_of_a_prepared_statement", this::cancelPrepared);
        for (String what : new String[] {"result", "statement", "connection"}) {
            flows.put("close_the_" + what + "_in_the_middle", () -> close(what));
        }
        flows.put("the_statement_is_used_again_after_a_cancel", this::again);
    }

    private void timeout() throws Exception {
        String sql = SILENT.formatted("jdbc_timeout");
        try (Connection watching = target.connect();
                Connection connection = target.connect()) {
            long begin = System.nanoTime();
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                SQLException error = Check.refused(() -> Target.rows(statement.executeQuery(sql)));
                Check.that(
                        System.nanoTime() - begin < 10_000_000_000L, "it was refused within 10 s");
                Check.contains(Check.told(error), "time");
            }
            Target.awaitQuery(watching, "jdbc_timeout", false);
            Check.equal(Target.value(connection, "SELECT 1"), "1", "the connection afterwards");
        }
    }

    /** The statement is cancelled while another thread waits for its rows. */
    private void cancel(String marker, String sql) throws Exception {
        try (Connection watching = target.connect();
                Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            CompletableFuture<Long> reading = read(statement, sql.formatted(marker));
            Target.awaitQuery(watching, marker, true);
            statement.cancel();
            ends(reading);
            Target.awaitQuery(watching, marker, false);
            Check.equal(Target.value(connection, "SELECT 1"), "1", "the connection afterwards");
        }
    }

    private void cancelPrepared() throws Exception {
        try (Connection watching = target.connect();
                Connection connection = target.connect();
                PreparedStatement statement =
                        connection.prepareStatement(
                                STREAM.formatted("jdbc_cancel_prepared") + " WHERE b.y > ?")) {
            statement.setLong(1, 10);
            ResultSet result = statement.executeQuery();
            Check.that(result.next(), "there is a row");
            Target.awaitQuery(watching, "jdbc_cancel_prepared", true);
            statement.cancel();
            Target.awaitQuery(watching, "jdbc_cancel_prepared", false);
        }
    }

    private static CompletableFuture<Long> read(Statement statement, String sql) {
        return CompletableFuture.supplyAsync(
                () -> {
                    long rows = 0;
                    try (ResultSet result = statement.executeQuery(sql)) {
                        while (result.next()) {
                            rows++;
                        }
                    } catch (SQLException error) {
                        throw new IllegalStateException(error);
                    }
                    return rows;
                });
    }

    /** With an error, or without, as drivers do: soon in any case. */
    private static void ends(CompletableFuture<Long> reading) throws Exception {
        reading.handle((rows, error) -> true).get(20, TimeUnit.SECONDS);
    }

    private void close(String what) throws Exception {
        String marker = "jdbc_close_" + what;
        try (Connection watching = target.connect()) {
            Connection connection = target.connect();
            Statement statement = connection.createStatement();
            ResultSet result = statement.executeQuery(STREAM.formatted(marker));
            Check.that(result.next(), "there is a row");
            Target.awaitQuery(watching, marker, true);
            switch (what) {
                case "result" -> result.close();
                case "statement" -> statement.close();
                default -> closeConnection(watching, connection, result, marker);
            }
            Target.awaitQuery(watching, marker, false);
            connection.close();
        }
    }

    private void closeConnection(
            Connection watching, Connection connection, ResultSet result, String marker)
            throws Exception {
        try {
            connection.close();
        } catch (SQLException error) {
            boolean isOpen = Check.told(error).contains("Memory was leaked by query");
            // The server must still let go of it when the driver does.
            result.close();
            Target.awaitQuery(watching, marker, false);
            Check.driver(
                    !isOpen || !target.isDriverBefore(19),
                    "before 19 it closes no stream with its connection, and the call goes on;"
                            + " arrow-java issue 990");
            throw error;
        }
    }

    private void again() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            ResultSet result = statement.executeQuery(STREAM.formatted("jdbc_again"));
            Check.that(result.next(), "there is a row");
            statement.cancel();
            result.close();
            Check.equal(
                    Target.value(connection, "SELECT 2"), "2", "the answer of another statement");
            try {
                Check.equal(
                        Target.rows(statement.executeQuery("SELECT 2")).get(0).get(0),
                        "2",
                        "the next answer");
            } catch (SQLException error) {
                Check.driver(
                        !error.getMessage().equals("Statement canceled"),
                        "a statement that was cancelled once stays so");
                throw error;
            }
        }
    }
}
