package rwkvk.app;

import android.content.ContentResolver;
import android.content.Context;
import android.content.res.AssetFileDescriptor;
import android.net.Uri;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import rwkvk.Comparison;
import rwkvk.Model;
import rwkvk.RwkvkException;
import rwkvk.Session;

/** The model and its text.  What is asked of it is done in that order on a thread of its own. */
final class Writer {
    /** Told on that thread. */
    interface Screen {
        void status(String line);
        /** More of the text; null: it begins anew. */
        void text(String piece);
    }

    private interface Task {
        void run() throws RwkvkException, IOException;
    }

    private static final long MEASURED = 60_000_000_000L, SECOND = 1_000_000_000L;

    private final Context context;
    private final Screen screen;
    private final ExecutorService thread = Executors.newSingleThreadExecutor();
    private Uri file;
    private Model model;
    private Session session; // changed with `this` locked, which stop() needs
    private final StringBuilder text = new StringBuilder();
    private volatile boolean stopped;

    Writer(Context context, Screen screen) {
        this.context = context;
        this.screen = screen;
    }

    void open(Uri chosen) {
        ask(() -> load(chosen));
    }

    /** Goes on from what was saved, if there is anything. */
    void restore(File saved) {
        ask(() -> {
            Saved last = Saved.read(saved);
            if (last == null)
                return;
            load(Uri.parse(last.model));
            session.setState(last.state);
            add(last.text);
        });
    }

    void verify() {
        ask(() -> {
            if (isOpen())
                screen.status(show(model.verify((done, total) -> step("comparing layer ", done, total))));
        });
    }

    /** Reads the beginning, and goes on from there; without one, from the end of the text. */
    void write(String beginning) {
        ask(() -> {
            if (!isOpen())
                return;
            if (beginning.isEmpty() && session.position() == 0) {
                screen.status("type how the text begins");
                return;
            }
            screen.status("reading");
            if (!beginning.isEmpty()) {
                session.read(beginning);
                add(beginning);
            }
            screen.status("writing");
            int end = session.generate(new Session.Options(), piece -> {
                add(new String(piece, StandardCharsets.UTF_8));
                return true;
            });
            screen.status(end == Session.STOPPED ? "stopped" : end == Session.LENGTH ? "as long as asked for" : "the text has ended");
        });
    }

    void forget() {
        ask(() -> {
            if (isOpen())
                renew();
        });
    }

    /** Tokens per second over a minute, and how warm it gets.  The text stays as it is. */
    void measure() {
        ask(() -> {
            if (!isOpen())
                return;
            try (Session other = model.newSession()) {
                screen.status(measure(other));
            }
        });
    }

    /** Ends what is being done, soon, and what was asked for until now. */
    void stop() {
        stopped = true;
        synchronized (this) {
            if (session != null)
                session.stop();
        }
        thread.execute(() -> {
            stopped = false;
            if (session != null)
                session.clearStop();
        });
    }

    /** After stop(): writes down what restore() needs. */
    Future<?> save(File saved) {
        return ask(() -> {
            if (model != null)
                new Saved(file.toString(), text.toString(), session.state()).write(saved);
        });
    }

    /** The last call. */
    void close() {
        ask(this::unload);
        thread.shutdown();
    }

    private Future<?> ask(Task task) {
        return thread.submit(() -> {
            try {
                if (!stopped)
                    task.run();
            } catch (RwkvkException e) {
                screen.status(e.status == RwkvkException.CANCELLED ? "stopped" : e.getMessage());
            } catch (IOException | RuntimeException e) {
                screen.status(e.toString());
            }
        });
    }

    private boolean isOpen() {
        if (model == null)
            screen.status("pick a model first");
        return model != null;
    }

    private boolean step(String what, long done, long total) {
        screen.status(what + done + " of " + total);
        return !stopped;
    }

    private void add(String piece) {
        text.append(piece);
        screen.text(piece);
    }

    private void load(Uri chosen) throws RwkvkException, IOException {
        unload();
        screen.status("opening");
        ContentResolver resolver = context.getContentResolver();
        try (AssetFileDescriptor opened = resolver.openAssetFileDescriptor(chosen, "r")) {
            if (opened == null)
                throw new FileNotFoundException(chosen + ": whoever provides it does not open it");
            long length = opened.getDeclaredLength();
            int fd = opened.getParcelFileDescriptor().getFd();
            model = Model.open(fd, opened.getStartOffset(), length == AssetFileDescriptor.UNKNOWN_LENGTH ? 0 : length,
                    chosen.getLastPathSegment(), context.getCacheDir().getPath(), Model.AS_IN_FILE,
                    (done, total) -> step("loading, MB ", done / 1_000_000, total / 1_000_000));
        }
        file = chosen;
        renew();
        screen.status(model.describe());
    }

    private void unload() {
        synchronized (this) {
            if (session != null)
                session.close();
            session = null;
        }
        if (model != null)
            model.close();
        model = null;
    }

    private void renew() throws RwkvkException {
        synchronized (this) {
            if (session != null)
                session.close();
            session = null;
            session = model.newSession();
        }
        text.setLength(0);
        screen.text(null);
    }

    private static String show(Comparison[] comparisons) {
        StringBuilder wrong = new StringBuilder();
        for (Comparison c : comparisons)
            if (!c.ok)
                wrong.append(String.format(Locale.ROOT, "%s differs by %.2g, more than %.2g\n", c.stage, c.error, c.limit));
        return wrong.length() > 0 ? "WRONG on this device:\n" + wrong : comparisons.length + " comparisons with plain C: all ok";
    }

    private String measure(Session other) throws RwkvkException {
        Session.Options options = new Session.Options();
        options.ignoreEnd = true;
        options.maxTokens = Long.MAX_VALUE;
        String before = Heat.describe(context);
        other.read("Once upon a time");
        final long first = other.position(), begin = System.nanoTime();
        final long[] last = {begin, first}; // when the rate was last shown, and the position then
        final StringBuilder rates = new StringBuilder();
        other.generate(options, piece -> {
            long now = System.nanoTime(), position = other.position();
            if (now - last[0] >= 10 * SECOND) {
                rates.append(String.format(Locale.ROOT, "%s%.2f", rates.length() > 0 ? ", " : "", rate(last[1], position, now - last[0])));
                screen.status("tokens per second, each 10 s: " + rates + "; " + Heat.describe(context));
                last[0] = now;
                last[1] = position;
            }
            return !stopped && now - begin < MEASURED;
        });
        long took = System.nanoTime() - begin;
        return String.format(Locale.ROOT, "%.2f tokens per second over %.0f s (each 10 s: %s)\nbefore: %s\nafter: %s\n%s",
                rate(first, other.position(), took), took / (double) SECOND, rates, before, Heat.describe(context), model.describe());
    }

    private static double rate(long from, long to, long nanoseconds) {
        return (to - from) * (double) SECOND / nanoseconds;
    }
}
