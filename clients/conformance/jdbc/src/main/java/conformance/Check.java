package conformance;

import java.lang.reflect.Array;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.Objects;

/** Is a value the one that it should be? */
final class Check {
    private Check() {}

    static void equal(Object got, Object wanted, String what) {
        if (!same(got, wanted)) {
            throw new AssertionError(what + " is " + show(got) + ", not " + show(wanted));
        }
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("not so: " + what);
        }
    }

    /** The text is there, whatever the case of its letters. */
    static void contains(String text, String part) {
        that(
                text != null && text.toLowerCase().contains(part.toLowerCase()),
                "'" + part + "' is in: " + text);
    }

    /** What the call throws; the message of it has each of these parts. */
    static SQLException refused(Flow call, String... parts) throws Exception {
        try {
            call.run();
        } catch (SQLException error) {
            for (String part : parts) {
                contains(told(error), part);
            }
            return error;
        }
        throw new AssertionError("it was not refused");
    }

    /** What the call throws, whatever its class. */
    static Exception thrown(Flow call) {
        try {
            call.run();
        } catch (Exception error) {
            return error;
        }
        throw new AssertionError("it was not refused");
    }

    /**
     * The name of gRPC's code. The driver says it in no message; it is in the error of the Flight
     * client that is behind.
     */
    static String status(Throwable error) throws ReflectiveOperationException {
        for (Throwable one = error; one != null; one = one.getCause()) {
            if (one.getClass().getSimpleName().equals("FlightRuntimeException")) {
                Object status = one.getClass().getMethod("status").invoke(one);
                return status.getClass().getMethod("code").invoke(status).toString();
            }
        }
        throw new AssertionError("no status is behind " + told(error));
    }

    /** What the driver does wrong on every server is nobody's fault here; right is right. */
    static void driver(boolean holds, String why) throws Flow.Skipped {
        if (!holds) {
            throw new Flow.Skipped("the driver: " + why);
        }
    }

    /** The messages of an error and of what caused it. */
    static String told(Throwable error) {
        StringBuilder out = new StringBuilder();
        for (Throwable one = error; one != null; one = one.getCause()) {
            out.append(out.isEmpty() ? "" : " <- ")
                    .append(one.getClass().getSimpleName())
                    .append(": ")
                    .append(one.getMessage());
        }
        return out.toString();
    }

    private static boolean same(Object got, Object wanted) {
        return Objects.deepEquals(got, wanted);
    }

    private static String show(Object value) {
        if (value == null) {
            return "null";
        }
        String text = value.getClass().isArray() ? elements(value) : value.toString();
        return value.getClass().getSimpleName()
                + " "
                + (text.length() > 1000 ? text.substring(0, 1000) + "…" : text);
    }

    private static String elements(Object array) {
        Object[] out = new Object[Array.getLength(array)];
        Arrays.setAll(out, i -> Array.get(array, i));
        return Arrays.toString(out);
    }
}
