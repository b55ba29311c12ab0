package rwkvk;

/** Called during long calls, on their thread.  May not call the library. */
public interface Progress {
    /** `done` of `total` bytes or comparisons.  False ends the call, which then throws with the status CANCELLED. */
    boolean step(long done, long total);
}
