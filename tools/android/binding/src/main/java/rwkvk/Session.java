package rwkvk;

/** A text in progress.  Belongs to one thread at a time, but for stop() and clearStop(). */
public final class Session implements AutoCloseable {
    /** Why a text ended, as rwkvk_end. */
    public static final int STOP_TOKEN = 1, LENGTH = 3, CALLER = 4, STOPPED = 5;

    /** How tokens are picked; everything else is as the model's file has it. */
    public static final class Options {
        /** 0: the most probable token each time; below 0: the model's own. */
        public float temperature = -1;
        /** The same seed gives the same text on the same device. */
        public long seed;
        /** 0: 1024. */
        public long maxTokens;
        /** Go on when the model ends its text. */
        public boolean ignoreEnd;
    }

    /** Receives the text while it is written, whole characters at a time. */
    public interface Listener {
        /** In UTF-8, but for what a model may write wrongly.  False ends the text with this piece. */
        boolean text(byte[] utf8);
    }

    private long handle;

    Session(long handle) {
        this.handle = handle;
    }

    /** Reads a text, which the next one continues. */
    public void read(String text) throws RwkvkException {
        read(handle(), Model.utf8(text));
    }

    /** Writes a text, piece by piece, and returns why it ended.  Something must have been read before. */
    public int generate(Options options, Listener listener) throws RwkvkException {
        return generate(handle(), options.temperature, options.seed, options.maxTokens, options.ignoreEnd, listener);
    }

    /** From any thread: the call that runs ends soon, and so does each later one, until clearStop(). */
    public void stop() {
        setStop(handle(), true);
    }

    public void clearStop() {
        setStop(handle(), false);
    }

    /** Tokens read and written since the text began. */
    public long position() {
        return position(handle());
    }

    /** All that is needed to go on later, also in another process: a few megabytes. */
    public byte[] state() throws RwkvkException {
        return state(handle());
    }

    /** Goes on from a state that a session of the same model had.  Another model's is refused, and changes nothing. */
    public void setState(byte[] state) throws RwkvkException {
        setState(handle(), state);
    }

    @Override
    public void close() {
        if (handle != 0)
            destroy(handle);
        handle = 0;
    }

    private long handle() {
        if (handle == 0)
            throw new IllegalStateException("the session is closed");
        return handle;
    }

    static native long create(long model) throws RwkvkException;
    private static native void destroy(long session);
    private static native void read(long session, byte[] utf8) throws RwkvkException;
    private static native int generate(long session, float temperature, long seed, long maxTokens, boolean ignoreEnd, Listener listener)
            throws RwkvkException;
    private static native void setStop(long session, boolean stop);
    private static native long position(long session);
    private static native byte[] state(long session) throws RwkvkException;
    private static native void setState(long session, byte[] state) throws RwkvkException;
}
