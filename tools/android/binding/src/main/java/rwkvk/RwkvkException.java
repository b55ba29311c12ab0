package rwkvk;

import java.nio.charset.StandardCharsets;

/** A call of the library that failed: the number is an rwkvk_status of rwkvk.h, the message its sentence. */
public final class RwkvkException extends Exception {
    private static final long serialVersionUID = 1;
    public static final int CANCELLED = 1, ARGUMENT = 2, FILE = 3, UNSUPPORTED = 4, DEVICE = 5, MEMORY = 6, DRIVER = 7, DEVICE_LOST = 9;

    public final int status;

    RwkvkException(int status, byte[] message) {
        super(new String(message, StandardCharsets.UTF_8));
        this.status = status;
    }
}
