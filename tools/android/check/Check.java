import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.Arrays;
import rwkvk.Comparison;
import rwkvk.Model;
import rwkvk.RwkvkException;
import rwkvk.Session;

/**
 * The binding on a desktop's Java: `Check MODEL.gguf FOLDER`.  It writes what the model goes on with after "Once upon a time", 40 most
 * probable tokens, for comparison with the program.  Needs --add-opens java.base/java.io=ALL-UNNAMED, for descriptors as numbers.
 */
public final class Check {
    private interface Call {
        void run() throws Exception;
    }

    private static int number(FileDescriptor descriptor) throws Exception {
        Field field = FileDescriptor.class.getDeclaredField("fd");
        field.setAccessible(true);
        return field.getInt(descriptor);
    }

    private static void check(boolean right, String what) {
        if (!right)
            throw new AssertionError(what);
    }

    private static void fails(int status, String text, Call call) throws Exception {
        try {
            call.run();
        } catch (RwkvkException e) {
            check(e.status == status && e.getMessage().contains(text), "status " + e.status + ": " + e.getMessage());
            return;
        }
        throw new AssertionError("no exception with " + text);
    }

    /** In the middle of a larger file, as in a provider's archive. */
    private static Model open(byte[] bytes, File folder) throws Exception {
        File larger = new File(folder, "larger");
        try (FileOutputStream out = new FileOutputStream(larger)) {
            out.write(new byte[12345]);
            out.write(bytes);
            out.write(new byte[678]);
        }
        long[] told = new long[2];
        try (FileInputStream in = new FileInputStream(larger)) {
            int fd = number(in.getFD());
            fails(RwkvkException.FILE, "größer.gguf: expected a model in GGUF", () -> Model.open(fd, 1, 0, "größer.gguf", null, Model.AS_IN_FILE, null));
            fails(RwkvkException.FILE, "bytes or more from byte", () -> Model.open(fd, 1 << 30, 0, "model", null, Model.AS_IN_FILE, null));
            fails(RwkvkException.CANCELLED, "", () -> Model.open(fd, 12345, bytes.length, "model", null, Model.AS_IN_FILE, (done, total) -> false));
            Model model = Model.open(fd, 12345, bytes.length, "model", folder.getPath(), Model.AS_IN_FILE, (done, total) -> {
                told[0]++;
                told[1] = total;
                return true;
            });
            check(told[0] > 0 && told[1] > 0, "no progress");
            return model;
        }
    }

    private static Session.Options greedy(long tokens) {
        Session.Options options = new Session.Options();
        options.temperature = 0;
        options.maxTokens = tokens;
        options.ignoreEnd = true;
        return options;
    }

    private static String write(Session session, long tokens) throws Exception {
        StringBuilder text = new StringBuilder();
        int end = session.generate(greedy(tokens), piece -> {
            text.append(new String(piece, StandardCharsets.UTF_8));
            return true;
        });
        check(end == Session.LENGTH, "ended by " + end);
        return text.toString();
    }

    /** In two halves, the second of which goes on from the first one's state in another session. */
    private static String writeInHalves(Model model) throws Exception {
        String text;
        byte[] state;
        try (Session first = model.newSession()) {
            first.read("Once upon a time");
            text = write(first, 20);
            state = first.state();
        }
        try (Session second = model.newSession()) {
            fails(RwkvkException.FILE, "", () -> second.setState(Arrays.copyOf(state, state.length - 1)));
            check(second.position() == 0, "a state that was refused has changed the session");
            second.setState(state);
            return text + write(second, 20);
        }
    }

    private static void stopAndFail(Model model) throws Exception {
        try (Session session = model.newSession()) {
            fails(RwkvkException.ARGUMENT, "", () -> session.generate(greedy(1), null));
            session.read("Once");
            session.stop();
            check(session.generate(greedy(5), null) == Session.STOPPED, "a text was not stopped");
            fails(RwkvkException.CANCELLED, "", () -> session.read(" upon a time and so on for more tokens than one chunk has, so many".repeat(20)));
            session.clearStop();
            check(session.generate(greedy(5), piece -> false) == Session.CALLER, "a listener did not end the text");
            try {
                session.generate(greedy(5), piece -> {
                    throw new IllegalStateException("thrown by the listener");
                });
                throw new AssertionError("the listener's exception is lost");
            } catch (IllegalStateException e) {
                check(e.getMessage().equals("thrown by the listener"), e.getMessage());
            }
            write(session, 5);
        }
    }

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[1]);
        try (Model model = open(Files.readAllBytes(new File(arguments[0]).toPath()), folder)) {
            check(model.describe().startsWith("RWKV-7, "), model.describe());
            for (Comparison c : model.verify((done, total) -> true))
                check(c.ok, c.stage + " differs by " + c.error);
            stopAndFail(model);
            String text = writeInHalves(model);
            try (Session session = model.newSession()) {
                session.read("Once upon a time");
                check(write(session, 40).equals(text), "a text that goes on from its state is another");
            }
            System.out.println(text);
        }
    }
}
