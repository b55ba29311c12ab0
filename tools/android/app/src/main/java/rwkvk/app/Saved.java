package rwkvk.app;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** What the app goes on from after the system has ended it: the model's file, the text, and the session's state after it. */
final class Saved {
    private static final int VERSION = 1;

    final String model, text;
    final byte[] state;

    Saved(String model, String text, byte[] state) {
        this.model = model;
        this.text = text;
        this.state = state;
    }

    /** The file is whole whenever the app ends: it is written beside and then renamed. */
    void write(File file) throws IOException {
        File beside = new File(file.getPath() + ".tmp");
        try (FileOutputStream stream = new FileOutputStream(beside); DataOutputStream out = new DataOutputStream(stream)) {
            out.writeInt(VERSION);
            for (byte[] part : new byte[][] {model.getBytes(StandardCharsets.UTF_8), text.getBytes(StandardCharsets.UTF_8), state}) {
                out.writeInt(part.length);
                out.write(part);
            }
            out.flush();
            stream.getFD().sync();
        }
        if (!beside.renameTo(file))
            throw new IOException(file + ": cannot be replaced");
    }

    /** null: nothing has been saved, or by another version of the app. */
    static Saved read(File file) throws IOException {
        if (!file.exists())
            return null;
        try (DataInputStream in = new DataInputStream(new FileInputStream(file))) {
            if (in.readInt() != VERSION)
                return null;
            byte[][] parts = new byte[3][];
            for (int i = 0; i < parts.length; i++) {
                int bytes = in.readInt();
                if (bytes < 0 || bytes > in.available())
                    throw new IOException(file + ": is damaged");
                parts[i] = new byte[bytes];
                in.readFully(parts[i]);
            }
            return new Saved(new String(parts[0], StandardCharsets.UTF_8), new String(parts[1], StandardCharsets.UTF_8), parts[2]);
        }
    }
}
