package rwkvk.app;

import android.app.Activity;
import android.content.Intent;
import android.net.Uri;
import android.os.Bundle;
import android.util.Log;
import android.view.View;
import android.view.WindowManager;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.TextView;
import java.io.File;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The one screen: a model, a beginning, and the text that goes on from it. */
public final class MainActivity extends Activity implements Writer.Screen {
    private static final int PICKED = 1;

    private Writer writer;
    private TextView status, text;
    private EditText beginning;
    private ScrollView scroll;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        getWindow().addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON); // or the phone slows down in the middle of a measurement
        setContentView(makeViews());
        writer = new Writer(this, this);
        writer.restore(saved());
    }

    /** The system may end the app at any time from here on. */
    @Override
    protected void onStop() {
        super.onStop();
        writer.stop();
        try {
            writer.save(saved()).get(3, TimeUnit.SECONDS);
        } catch (ExecutionException | TimeoutException e) {
            Log.w("rwkvk", "the text was not saved: " + e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    protected void onDestroy() {
        writer.close();
        super.onDestroy();
    }

    private File saved() {
        return new File(getFilesDir(), "text");
    }

    private void pick() {
        Intent intent = new Intent(Intent.ACTION_OPEN_DOCUMENT);
        intent.addCategory(Intent.CATEGORY_OPENABLE);
        intent.setType("*/*"); // GGUF has no type of its own
        startActivityForResult(intent, PICKED);
    }

    @Override
    protected void onActivityResult(int request, int result, Intent answer) {
        if (request != PICKED || result != RESULT_OK || answer == null || answer.getData() == null)
            return;
        Uri file = answer.getData();
        try {
            getContentResolver().takePersistableUriPermission(file, Intent.FLAG_GRANT_READ_URI_PERMISSION);
        } catch (SecurityException e) {
            Log.w("rwkvk", "this file has to be picked again when the app starts anew: " + e);
        }
        writer.open(file);
    }

    private void write() {
        String typed = beginning.getText().toString();
        beginning.setText("");
        writer.write(typed);
    }

    // ------------------------------------------------------------------------------------------------ what the writer tells

    @Override
    public void status(String line) {
        Log.i("rwkvk", line);
        runOnUiThread(() -> status.setText(line));
    }

    @Override
    public void text(String piece) {
        runOnUiThread(() -> {
            if (piece == null)
                text.setText("");
            else
                text.append(piece);
            scroll.post(() -> scroll.fullScroll(View.FOCUS_DOWN));
        });
    }

    // ------------------------------------------------------------------------------------------------ views

    private View makeViews() {
        LinearLayout all = new LinearLayout(this), buttons = new LinearLayout(this), more = new LinearLayout(this);
        all.setOrientation(LinearLayout.VERTICAL);
        all.setFitsSystemWindows(true);
        addButton(buttons, "Model", this::pick);
        addButton(buttons, "Write", this::write);
        addButton(buttons, "Stop", () -> writer.stop());
        addButton(more, "Verify", () -> writer.verify());
        addButton(more, "60 s", () -> writer.measure());
        addButton(more, "New", () -> writer.forget());
        status = new TextView(this);
        status.setText("pick a model in GGUF format");
        status.setTextIsSelectable(true);
        text = new TextView(this);
        text.setTextIsSelectable(true);
        scroll = new ScrollView(this);
        scroll.addView(text);
        beginning = new EditText(this);
        beginning.setHint("Once upon a time");
        beginning.setMaxLines(4);
        all.addView(buttons);
        all.addView(more);
        all.addView(status);
        all.addView(scroll, new LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1));
        all.addView(beginning);
        return all;
    }

    private void addButton(LinearLayout row, String label, Runnable action) {
        Button button = new Button(this);
        button.setText(label);
        button.setOnClickListener(view -> action.run());
        row.addView(button, new LinearLayout.LayoutParams(0, LinearLayout.LayoutParams.WRAP_CONTENT, 1));
    }
}
