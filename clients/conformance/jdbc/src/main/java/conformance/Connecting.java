package conformance;

import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Who gets in, by which URL, and does the connection hold? */
final class Connecting {
    private static final String USER = "reader";

    private static final String PLAIN = "useEncryption=false";

    private final Target target;
    private final String password;
    private final String login;

    Connecting(Target target) {
        this.target = target;
        this.password = target.setting("password");
        this.login = login(USER, password);
    }

    void add(Map<String, Flow> flows) {
        addUsers(flows);
        addEncrypted(flows);
        addSessions(flows);
        addHeaders(flows);
        flows.put("is_valid", this::isValid);
        flows.put("several_connections_at_once", this::severalConnections);
        flows.put("several_statements_at_once", this::severalStatements);
        flows.put("two_hundred_connections_one_after_another", this::manyConnections);
        flows.put("a_connection_outlives_a_restart_of_the_server", this::restart);
    }

    private static String login(String user, String password) {
        return "user=" + user + "&password=" + password.replace(" ", "%20");
    }

    private Connection open(String server, String... parameters) throws SQLException {
        return DriverManager.getConnection(target.url(server, String.join("&", parameters)));
    }

    /** With a catalog the driver has a session, and ends it when it closes. */
    private void askWithCatalog(String server, String... parameters) throws Exception {
        String catalog = "catalog=tidewater&" + String.join("&", parameters);
        Connection connection = open(server, catalog);
        Check.equal(Target.value(connection, "SELECT 1"), "1", "SELECT 1");
        try {
            connection.close();
        } catch (SQLException error) {
            Check.driver(
                    !Check.told(error).contains("Channel shutdown invoked"),
                    "before 19 it ends its session twice, the second time on a channel that is"
                            + " closed; arrow-java issue 66");
            throw error;
        }
    }

    /** Connects, asks for something, and closes. */
    private void ask(String server, String... parameters) throws SQLException {
        ask(open(server, parameters));
    }

    private void addUsers(Map<String, Flow> flows) {
        String token = "token=" + target.setting("token");
        String semicolons = target.url("open", PLAIN).replace("/?", ";");
        flows.put("connect_without_a_user", () -> ask("open", PLAIN));
        flows.put(
                "connect_by_a_url_with_semicolons",
                () -> ask(DriverManager.getConnection(semicolons)));
        flows.put("connect_with_user_and_password", () -> ask(target.connect(USER, password)));
        flows.put("connect_with_user_and_password_in_the_url", () -> ask("guarded", PLAIN, login));
        flows.put("connect_with_a_token", () -> ask("guarded", PLAIN, token));
        flows.put(
                "wrong_password",
                () ->
                        refusedAtOnce(
                                () -> target.connect(USER, "not " + password), "unauthenticated"));
        flows.put(
                "unknown_user",
                () -> refusedAtOnce(() -> target.connect("nobody", password), "unauthenticated"));
        flows.put(
                "wrong_token",
                () ->
                        refusedAtOnce(
                                () -> ask("guarded", PLAIN, "token=tw_000000000000_x"),
                                "unauthenticated"));
        flows.put(
                "no_user_where_one_is_needed",
                () -> Check.refused(() -> ask("guarded", PLAIN), "TW-1401"));
        flows.put("what_a_user_may_not_see", this::otherTables);
    }

    private void addEncrypted(Map<String, Flow> flows) {
        String roots = "tlsRootCerts=" + target.setting("ca");
        String unverified = "disableCertificateVerification=true";
        String token = "token=" + target.setting("encrypted_token");
        String login =
                login(target.setting("encrypted_user"), target.setting("encrypted_password"));
        flows.put(
                "tls_with_root_certificates",
                () -> ask("encrypted", "useEncryption=true", roots, login));
        flows.put("tls_is_the_default", () -> ask("encrypted", roots, login));
        flows.put("tls_with_a_trust_store", () -> ask("encrypted", trustStore(), login));
        flows.put("tls_with_a_token", () -> ask("encrypted", roots, token));
        flows.put("tls_without_verification", () -> ask("encrypted", unverified, login));
        flows.put(
                "tls_of_an_unknown_authority",
                () -> Check.refused(() -> ask("encrypted", "useSystemTrustStore=true", login)));
        flows.put("tls_to_a_server_without", () -> refusedAtOnce(() -> ask("open", unverified)));
        flows.put(
                "plain_text_to_a_server_with_tls",
                () -> refusedAtOnce(() -> ask("encrypted", PLAIN, login)));
    }

    private void addSessions(Map<String, Flow> flows) {
        flows.put("catalog_in_the_url", () -> askWithCatalog("open", PLAIN));
        flows.put(
                "catalog_in_the_url_with_a_user", () -> askWithCatalog("guarded", PLAIN, login));
        flows.put(
                "unknown_catalog_in_the_url",
                () -> Check.refused(() -> open("open", PLAIN, "catalog=nowhere").close()));
        flows.put("set_catalog", this::setCatalog);
        flows.put("set_schema_is_kept_by_the_driver", this::setSchema);
        flows.put("set_of_sql_holds_on_the_connection", this::setBySql);
    }

    private void addHeaders(Map<String, Flow> flows) {
        String url = target.url("open", PLAIN);
        flows.put(
                "unknown_properties_are_headers",
                () -> ask("open", PLAIN, "some-thing=x", "database=tidewater"));
        flows.put(
                "headers_of_60_kib", () -> ask(DriverManager.getConnection(url, header(60 << 10))));
        flows.put(
                "headers_of_200_kib_are_refused",
                () -> {
                    Check.refused(() -> ask(DriverManager.getConnection(url, header(200 << 10))));
                    ask("open", PLAIN);
                });
    }

    private void setCatalog() throws Exception {
        try (Connection connection = target.connect()) {
            connection.setCatalog("tidewater");
            Check.equal(connection.getCatalog(), "tidewater", "getCatalog()");
            Check.equal(Target.value(connection, "SELECT 1"), "1", "SELECT 1");
        }
    }

    /** The driver sends nothing: names without a schema stay those of the default. */
    private void setSchema() throws Exception {
        try (Connection connection = target.connect()) {
            connection.setSchema("other");
            Check.equal(connection.getSchema(), "other", "getSchema()");
            Check.equal(Target.value(connection, "SELECT 1"), "1", "SELECT 1");
        }
    }

    private void setBySql() throws Exception {
        try (Connection connection = target.connect();
                Connection other = target.connect()) {
            Target.run(connection, "SET schema = 'information_schema'");
            Check.equal(
                    Target.value(connection, "SELECT current_schema()"),
                    "information_schema",
                    "the schema");
            Check.equal(
                    Target.value(other, "SELECT current_schema()"),
                    "public",
                    "the schema of another connection");
        }
    }

    private static Properties header(int bytes) {
        Properties properties = new Properties();
        properties.put("x-long", "a".repeat(bytes));
        return properties;
    }

    /** Asks for something, and closes. */
    private static void ask(Connection connection) throws SQLException {
        try (connection) {
            Check.equal(Target.value(connection, "SELECT 1"), "1", "SELECT 1");
        }
    }

    private static void refusedAtOnce(Flow call, String... parts) throws Exception {
        long begin = System.nanoTime();
        Check.refused(call, parts);
        Check.that(System.nanoTime() - begin < 15_000_000_000L, "it was refused within 15 s");
    }

    /** As properties of a URL. */
    private String trustStore() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = Files.newInputStream(target.folder("ca"))) {
            Certificate certificate =
                    CertificateFactory.getInstance("X.509").generateCertificate(pem);
            store.setCertificateEntry("authority", certificate);
        }
        Path path = target.folder("ca").resolveSibling("truststore-" + target.setting("version"));
        try (OutputStream out = Files.newOutputStream(path)) {
            store.store(out, "changeit".toCharArray());
        }
        return "useSystemTrustStore=false&trustStore=" + path + "&trustStorePassword=changeit";
    }

    private void otherTables() throws Exception {
        try (Connection connection = target.connect(USER, password)) {
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM shop.orders"),
                    "2",
                    "rows of a table with a grant");
            Check.refused(
                    () -> Target.value(connection, "SELECT count(*) FROM secret.plans"),
                    "not found");
            SQLException error =
                    Check.refused(
                            () -> Target.run(connection, "INSERT INTO shop.orders VALUES (3)"),
                            "reader");
            // That is the Flight client's name of it.
            Check.equal(Check.status(error), "UNAUTHORIZED", "the status of an INSERT");
            List<List<String>> tables =
                    Target.rows(
                            connection
                                    .getMetaData()
                                    .getTables(null, null, "%", new String[] {"TABLE"}));
            Check.equal(
                    tables.stream().map(row -> row.get(1) + "." + row.get(2)).toList(),
                    List.of("shop.orders"),
                    "getTables()");
        }
    }

    private void isValid() throws Exception {
        Connection connection = target.connect();
        Check.that(connection.isValid(5), "isValid() of an open connection");
        Check.that(!connection.isClosed(), "it is open");
        connection.close();
        connection.close();
        Check.that(connection.isClosed(), "it is closed");
        Check.that(!connection.isValid(5), "isValid() of a closed connection is false");
        Check.refused(connection::createStatement);
    }

    private void severalConnections() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(10);
        try {
            List<Callable<String>> tasks = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                String sql =
                        "SELECT sum(value) + " + i + " FROM generate_series(1, 1000) AS s(value)";
                tasks.add(
                        () -> {
                            try (Connection connection = target.connect()) {
                                return Target.value(connection, sql);
                            }
                        });
            }
            int i = 0;
            for (Future<String> answer : threads.invokeAll(tasks)) {
                Check.equal(
                        answer.get(), String.valueOf(500_500 + i++), "the answer of a connection");
            }
        } finally {
            threads.shutdownNow();
        }
    }

    private void severalStatements() throws Exception {
        try (Connection connection = target.connect();
                Statement one = connection.createStatement();
                Statement two = connection.createStatement()) {
            ResultSet first =
                    one.executeQuery(
                            "SELECT value FROM generate_series(1, 20000) AS s(value) ORDER BY"
                                    + " value");
            ResultSet second =
                    two.executeQuery(
                            "SELECT -value FROM generate_series(1, 20000) AS s(value) ORDER BY"
                                    + " value");
            for (long i = 1; i <= 20_000; i++) {
                Check.that(first.next() && second.next(), "there is a row " + i);
                Check.equal(first.getLong(1) + second.getLong(1), 0L, "the sum of two answers");
                if (i % 5_000 == 0) {
                    Check.equal(Target.value(connection, "SELECT 'between'"), "between", "a third");
                }
            }
            Check.that(!first.next() && !second.next(), "both end");
        }
    }

    private void manyConnections() throws Exception {
        for (int i = 0; i < 200; i++) {
            ask(target.connect());
        }
    }

    private void restart() throws Exception {
        try (Connection open = target.connect();
                Connection guarded = open("guarded", PLAIN, login)) {
            Check.equal(Target.value(open, "SELECT 1"), "1", "before");
            Check.equal(Target.value(guarded, "SELECT 1"), "1", "before, with a user");
            target.ask("restart");
            Check.equal(Target.value(open, "SELECT 1"), "1", "after");
            Check.equal(Target.value(guarded, "SELECT 1"), "1", "after, with a user");
        }
        ask("open", PLAIN);
    }
}
