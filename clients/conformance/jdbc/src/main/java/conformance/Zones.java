package conformance;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;

/**
 * Are instants the same wherever the program runs? The caller starts this with other time zones of
 * the JVM.
 */
final class Zones {
    private static final String SHIFTS =
            "it shifts by the zone of the JVM where it should not; arrow-java issues 464 and 732."
                    + " Right in UTC, and in each zone as text and as java.time";

    private final Target target;
    private final String zone = TimeZone.getDefault().getID().replaceAll("\\W", "_").toLowerCase();

    Zones(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) {
        flows.put("instants_as_text_in_" + zone, this::texts);
        flows.put("instants_as_java_time_in_" + zone, this::javaTime);
        flows.put("wall_times_as_java_time_in_" + zone, this::wallTimes);
        flows.put("get_timestamp_of_an_instant_in_" + zone, this::timestamp);
        flows.put("get_timestamp_of_a_wall_time_in_" + zone, this::wallTimestamp);
        flows.put("get_timestamp_with_the_property_timezone_in_" + zone, this::property);
        flows.put("get_date_in_" + zone, this::dates);
        flows.put("get_time_in_" + zone, this::time);
        flows.put("timestamp_parameters_in_" + zone, this::parameters);
        flows.put("date_parameters_in_" + zone, this::dateParameters);
    }

    /** Looks at the only row. */
    private interface Look {
        void at(ResultSet row) throws Exception;
    }

    private static void look(Connection connection, String sql, Look look) throws Exception {
        try (connection;
                Statement statement = connection.createStatement();
                ResultSet row = statement.executeQuery(sql)) {
            Check.that(row.next(), "there is a row");
            look.at(row);
        }
    }

    private void texts() throws Exception {
        String sql =
                "SELECT TIMESTAMPTZ '2026-03-29T01:30:00Z' AS a, TIMESTAMP '2026-03-29 02:30:00' AS"
                        + " b, DATE '2026-03-29' AS c";
        look(
                target.connect(),
                sql,
                row -> {
                    Check.contains(row.getString(1), "2026-03-29 01:30:00");
                    Check.contains(row.getString(2), "2026-03-29 02:30:00");
                    Check.equal(row.getString(3), "2026-03-29", "the date");
                });
    }

    private <T> T object(ResultSet row, Class<T> type) throws Exception {
        try {
            return row.getObject(1, type);
        } catch (SQLException | ClassCastException error) {
            Check.driver(
                    !target.isDriverBefore(18), "it has no getObject() with a class before 18");
            throw error;
        }
    }

    /** The driver shifts by the offset of the JVM's zone, once or twice: so never in UTC. */
    private static void notShifted(LocalDateTime got, LocalDateTime wanted) throws Exception {
        if (!got.equals(wanted)) {
            long at = wanted.toInstant(ZoneOffset.UTC).toEpochMilli();
            long offset = Math.abs(TimeZone.getDefault().getOffset(at));
            long shift = Duration.between(wanted, got).abs().toMillis();
            Check.that(
                    shift == offset || shift == 2 * offset,
                    got + " is " + wanted + ", or that shifted by the zone of the JVM");
            Check.driver(false, SHIFTS);
        }
    }

    private static LocalDateTime utc(Timestamp instant) {
        return LocalDateTime.ofInstant(instant.toInstant(), ZoneOffset.UTC);
    }

    /** At each hour of a day on which clocks change in Europe. */
    private void javaTime() throws Exception {
        for (int hour = 0; hour < 24; hour++) {
            String text = "2026-03-29T%02d:30:00.123456Z".formatted(hour);
            look(
                    target.connect(),
                    "SELECT TIMESTAMPTZ '" + text + "' AS t",
                    row -> {
                        Check.equal(
                                object(row, Instant.class), Instant.parse(text), "as an Instant");
                        Check.equal(
                                object(row, OffsetDateTime.class).toInstant(),
                                Instant.parse(text),
                                "as an OffsetDateTime");
                    });
        }
    }

    private void wallTimes() throws Exception {
        for (String day : new String[] {"1969-12-31", "2026-01-31", "2026-03-29", "2400-02-29"}) {
            String sql = "SELECT TIMESTAMP '" + day + " 02:30:00.123456' AS t";
            look(
                    target.connect(),
                    sql,
                    row ->
                            Check.equal(
                                    object(row, LocalDateTime.class),
                                    LocalDateTime.parse(day + "T02:30:00.123456"),
                                    "the time"));
        }
    }

    private void timestamp() throws Exception {
        LocalDateTime wanted = LocalDateTime.parse("2026-01-31T12:30:00");
        look(
                target.connect(),
                "SELECT TIMESTAMPTZ '2026-01-31T12:30:00Z' AS t",
                row -> {
                    notShifted(utc(row.getTimestamp(1)), wanted);
                    notShifted(utc(row.getTimestamp(1, Values.calendar())), wanted);
                });
    }

    private void wallTimestamp() throws Exception {
        look(
                target.connect(),
                "SELECT TIMESTAMP '2026-01-31 12:30:00' AS t",
                row ->
                        notShifted(
                                row.getTimestamp(1).toLocalDateTime(),
                                LocalDateTime.parse("2026-01-31T12:30:00")));
    }

    /**
     * A property of Avatica, on which the driver is built: in which zone a program wants its times.
     */
    private void property() throws Exception {
        Connection connection =
                DriverManager.getConnection(target.url("open", "useEncryption=false&timeZone=UTC"));
        look(
                connection,
                "SELECT TIMESTAMP '2026-01-31 12:30:00' AS t",
                row ->
                        Check.equal(
                                row.getTimestamp(1).toLocalDateTime(),
                                LocalDateTime.parse("2026-01-31T12:30:00"),
                                "the wall time"));
    }

    private void dates() throws Exception {
        look(
                target.connect(),
                "SELECT DATE '2026-03-29' AS d, DATE '1969-12-31' AS e",
                row -> {
                    Check.equal(row.getDate(1).toString(), "2026-03-29", "getDate()");
                    Check.equal(row.getDate(2).toString(), "1969-12-31", "getDate() before 1970");
                });
    }

    private void time() throws Exception {
        look(
                target.connect(),
                "SELECT TIME '23:59:59' AS t",
                row -> {
                    LocalTime got = row.getTime(1).toLocalTime();
                    int offset = TimeZone.getDefault().getOffset(0) / 1000;
                    LocalTime wanted = LocalTime.parse("23:59:59");
                    Check.that(
                            List.of(wanted, wanted.plusSeconds(offset), wanted.minusSeconds(offset))
                                    .contains(got),
                            got + " is " + wanted + ", or that shifted by the zone of the JVM");
                    Check.driver(got.equals(wanted), SHIFTS);
                });
    }

    /** The wall time of the program is stored; with the calendar of UTC it is the instant. */
    private void parameters() throws Exception {
        String table = "jdbc_zone_" + zone;
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS " + table,
                    "CREATE TABLE " + table + " (wall TIMESTAMP, instant TIMESTAMPTZ)");
            try (PreparedStatement insert =
                    connection.prepareStatement("INSERT INTO " + table + " VALUES (?, ?)")) {
                insert.setTimestamp(1, Timestamp.valueOf("2026-01-31 12:30:00.123"));
                insert.setTimestamp(
                        2,
                        Timestamp.from(Instant.parse("2026-01-31T12:30:00.123Z")),
                        Values.calendar());
                insert.executeUpdate();
            }
            Check.equal(
                    Target.value(connection, "SELECT CAST(wall AS VARCHAR) FROM " + table),
                    "2026-01-31T12:30:00.123",
                    "the wall time");
            Check.equal(
                    Target.value(connection, "SELECT CAST(instant AS VARCHAR) FROM " + table),
                    "2026-01-31T12:30:00.123Z",
                    "the instant");
        }
    }

    private void dateParameters() throws Exception {
        String table = "jdbc_date_" + zone;
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS " + table,
                    "CREATE TABLE " + table + " (day DATE)");
            try (PreparedStatement insert =
                    connection.prepareStatement("INSERT INTO " + table + " VALUES (?)")) {
                insert.setDate(1, java.sql.Date.valueOf("2026-03-29"));
                insert.executeUpdate();
            }
            Check.equal(
                    Target.value(connection, "SELECT CAST(day AS VARCHAR) FROM " + table),
                    "2026-03-29",
                    "the day");
        }
    }
}
