package rwkvk;

import java.nio.charset.StandardCharsets;

/**
 * A model on the GPU, from a GGUF file that is already open.  Its calls, and those of its sessions, take as long as the work does:
 * make them from a thread that nobody waits for.  Reports of the library go to logcat, with the tag "rwkvk".
 */
public final class Model implements AutoCloseable {
    /** How matrices of floats are stored, as rwkvk_quant. */
    public static final int AS_IN_FILE = 0, Q8 = 1, Q6 = 2, Q5 = 3, Q4 = 4, F16 = 5;

    private long handle;

    static {
        System.loadLibrary("rwkvk_jni");
    }

    private Model(long handle) {
        this.handle = handle;
    }

    /**
     * @param fd the descriptor of a file; a pipe is refused.  It stays the caller's, who may close it once this has returned
     * @param offset where the model begins in the file
     * @param length its bytes; 0: all from the offset on
     * @param name for messages
     * @param cacheFolder where compiled shaders and tunings are kept, Context.getCacheDir() for one; null: nowhere
     * @param progress counts bytes; may be null
     */
    public static Model open(int fd, long offset, long length, String name, String cacheFolder, int quant, Progress progress)
            throws RwkvkException {
        return new Model(open(fd, offset, length, utf8(name), cacheFolder == null ? null : utf8(cacheFolder), quant, progress));
    }

    /** What it is and where it runs, in one line. */
    public String describe() throws RwkvkException {
        return new String(describe(handle()), StandardCharsets.UTF_8);
    }

    /** Compares every stage on the device with plain C; takes seconds.  While it runs, sessions wait. */
    public Comparison[] verify(Progress progress) throws RwkvkException {
        return verify(handle(), progress);
    }

    /** A new text, of which a model has up to four at a time. */
    public Session newSession() throws RwkvkException {
        return new Session(Session.create(handle()));
    }

    /** After its sessions. */
    @Override
    public void close() {
        if (handle != 0)
            close(handle);
        handle = 0;
    }

    private long handle() {
        if (handle == 0)
            throw new IllegalStateException("the model is closed");
        return handle;
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static native long open(int fd, long offset, long length, byte[] name, byte[] cacheFolder, int quant, Progress progress)
            throws RwkvkException;
    private static native byte[] describe(long model) throws RwkvkException;
    private static native Comparison[] verify(long model, Progress progress) throws RwkvkException;
    private static native void close(long model);
}
