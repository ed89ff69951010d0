package conformance;

/** One case: it ends, or throws what was wrong. */
interface Flow {
    void run() throws Exception;

    /** The case cannot be had with this driver: why. */
    final class Skipped extends Exception {
        Skipped(String why) {
            super(why);
        }
    }
}
