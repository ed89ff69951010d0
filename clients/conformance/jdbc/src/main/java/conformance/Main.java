package conformance;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;

/** Runs the flows of one suite, and prints a line of JSON for each: {"case", "outcome", "why"}. */
public final class Main {
    /** No flow takes that long; one that hangs must not keep the others. */
    private static final long TIMEOUT_MS = 120_000;

    private Main() {}

    /** Arguments: the suite, and settings as a JSON object. */
    public static void main(String[] arguments) throws Exception {
        PrintStream answers =
                new PrintStream(
                        new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        Target target = new Target(JsonParser.parseString(arguments[1]).getAsJsonObject(), answers);
        for (Map.Entry<String, Flow> flow : flows(arguments[0], target).entrySet()) {
            target.print(outcome(flow.getKey(), flow.getValue()));
        }
        // Threads of a driver, or of a flow that hangs, must not keep the process.
        System.exit(0);
    }

    private static Map<String, Flow> flows(String suite, Target target) throws Exception {
        Map<String, Flow> flows = new LinkedHashMap<>();
        switch (suite) {
            case "connecting" -> new Connecting(target).add(flows);
            case "metadata" -> new Metadata(target).add(flows);
            case "reading" -> new Reading(target).add(flows);
            case "writing" -> new Writing(target).add(flows);
            case "parameters" -> new Parameters(target).add(flows);
            case "stopping" -> new Stopping(target).add(flows);
            case "tools" -> new Tools(target).add(flows);
            case "zones" -> new Zones(target).add(flows);
            case "cases" -> new SharedCases(target).add(flows);
            default -> throw new IllegalArgumentException("there is no suite " + suite);
        }
        return flows;
    }

    private static JsonObject outcome(String name, Flow flow) throws InterruptedException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                flow.run();
                            } catch (Throwable error) {
                                failure.set(error);
                            }
                        });
        thread.setDaemon(true);
        thread.start();
        thread.join(TIMEOUT_MS);
        JsonObject out = new JsonObject();
        out.addProperty("case", name);
        out.addProperty("why", "");
        if (thread.isAlive()) {
            out.addProperty("outcome", "failed");
            out.addProperty(
                    "why",
                    "not after " + TIMEOUT_MS + " ms; it is at " + places(thread.getStackTrace()));
        } else if (failure.get() instanceof Flow.Skipped skipped) {
            out.addProperty("outcome", "skipped");
            out.addProperty("why", skipped.getMessage());
        } else if (failure.get() != null) {
            out.addProperty("outcome", "failed");
            out.addProperty(
                    "why",
                    Check.told(failure.get()) + " at " + places(failure.get().getStackTrace()));
        } else {
            out.addProperty("outcome", "passed");
        }
        return out;
    }

    private static String places(StackTraceElement[] trace) {
        List<String> places =
                Arrays.stream(trace)
                        .map(StackTraceElement::toString)
                        .filter(place -> place.startsWith("conformance."))
                        .toList();
        return String.join(
                " < ",
                (places.isEmpty()
                                ? Arrays.stream(trace).map(StackTraceElement::toString).toList()
                                : places)
                        .stream().limit(6).toList());
    }
}
