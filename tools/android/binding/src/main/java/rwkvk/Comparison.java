package rwkvk;

/** A stage of the model as the device computes it, compared with plain C: a row of rwkvk_model_verify(). */
public final class Comparison {
    public final String stage;
    /** The largest difference, relative to the result's largest value, and how much rounding may cause. */
    public final double error, limit;
    public final boolean ok;

    Comparison(String stage, double error, double limit, boolean ok) {
        this.stage = stage;
        this.error = error;
        this.limit = limit;
        this.ok = ok;
    }
}
