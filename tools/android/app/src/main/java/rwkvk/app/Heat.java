package rwkvk.app;

import android.content.Context;
import android.content.Intent;
import android.content.IntentFilter;
import android.os.BatteryManager;
import android.os.Build;
import android.os.PowerManager;
import java.util.Locale;

/** How warm the phone is, as far as its system tells. */
final class Heat {
    private static final String[] STATUS = {"none", "light", "moderate", "severe", "critical", "emergency", "shutdown"};

    private Heat() {}

    static String describe(Context context) {
        StringBuilder text = new StringBuilder();
        Intent battery = context.registerReceiver(null, new IntentFilter(Intent.ACTION_BATTERY_CHANGED));
        int tenths = battery == null ? Integer.MIN_VALUE : battery.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Integer.MIN_VALUE);
        if (tenths != Integer.MIN_VALUE)
            text.append(String.format(Locale.ROOT, "battery %.1f °C", tenths / 10.0));
        PowerManager power = context.getSystemService(PowerManager.class);
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            int status = power.getCurrentThermalStatus();
            text.append(", throttling: ").append(status >= 0 && status < STATUS.length ? STATUS[status] : status);
        }
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) {
            float headroom = power.getThermalHeadroom(10); // not a number: the phone does not tell, or was asked a moment ago
            if (!Float.isNaN(headroom))
                text.append(String.format(Locale.ROOT, ", %.0f %% of the heat that throttles severely", 100 * headroom));
        }
        return text.length() > 0 ? text.toString() : "the system tells no temperature";
    }
}
