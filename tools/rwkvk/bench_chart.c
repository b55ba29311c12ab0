/* The charts of `bench --html` as SVG.  Reports may come from files: every number may be 0, huge or unknown. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

enum { LEFT = 24, RIGHT = 24, VALUE_ROOM = 190, LABEL_CHARACTERS = 96, COLOURS = 8 };

static void begin(FILE *page, double height, const char *what)
{
	fprintf(page,
	        "<div class=\"wide\"><svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"%s\" "
	        "xmlns=\"http://www.w3.org/2000/svg\">\n",
	        CHART_WIDTH, height, what);
}

static void label(FILE *page, double x, double y, const char *anchor, const char *class, const char *text)
{
	fprintf(page, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s%s%s>", x, y, anchor, *class ? " class=\"" : "", class,
	        *class ? "\"" : "");
	html_text(page, text, LABEL_CHARACTERS);
	fputs("</text>\n", page);
}

static void line(FILE *page, double x1, double y1, double x2, double y2, const char *class)
{
	fprintf(page, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

static void nothing(FILE *page, const char *why)
{
	fprintf(page, "<p class=\"soft\">%s</p>\n", why);
}

static bool usable(double value)
{
	return isfinite(value) && value > 0;
}

/* "0.1B Q4K, tg128", with the device if there are several; at most `size` bytes. */
static void describe(char *out, size_t size, const struct bench_report *report, const struct bench_model *model,
                     const char *test, size_t count)
{
	char model_name[45], device[41], all[800];
	bench_text(model_name, sizeof(model_name), model->model);
	bench_text(device, sizeof(device), report->device.device);
	snprintf(all, sizeof(all), "%s %s%s%.99s%s%s", model_name, bench_storage(model).text, *test ? ", " : "", test,
	         count > 1 ? ", " : "", count > 1 ? device : "");
	bench_text(out, size, all);
}

/* 1, 2 or 5 times a power of ten, so that about `steps` of these intervals fill `range`. */
static double nice_step(double range, int steps)
{
	double rough = range / steps, power = pow(10, floor(log10(rough)));
	return power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
}

/* ---------------------------------------------------------------------------------------------------- bars */

struct bars {
	FILE *page;
	double most, y;
	size_t count;
};

static double bar_scale(const struct bars *bars, double value)
{
	return LEFT + (CHART_WIDTH - LEFT - RIGHT - VALUE_ROOM) * (value < bars->most ? value : bars->most) / bars->most;
}

static double largest_speed(const struct bench_report *reports, size_t count, enum bench_what what, size_t *rows)
{
	double most = 0;
	*rows = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			for (size_t k = 0; k < reports[i].models[j].test_count; k++) {
				const struct bench_test *test = &reports[i].models[j].tests[k];
				double high = test->tokens_per_s + (isfinite(test->tokens_per_s_sd) ? test->tokens_per_s_sd : 0);
				if (bench_what(test) != what)
					continue;
				++*rows;
				most = usable(high) && high > most ? high : most;
			}
	return most;
}

static void draw_bar(struct bars *bars, size_t report, const char *text, const struct bench_test *test)
{
	char value[1200];
	double mean = usable(test->tokens_per_s) ? test->tokens_per_s : 0;
	double sd = usable(test->tokens_per_s_sd) ? test->tokens_per_s_sd : 0, middle = bars->y + 26;
	label(bars->page, LEFT, bars->y + 12, "start", "", text);
	fprintf(bars->page, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"16\" rx=\"2\" class=\"bar%zu\"/>\n", LEFT,
	        bars->y + 18, bar_scale(bars, mean) - LEFT, report % 2);
	double low = bar_scale(bars, mean > sd ? mean - sd : 0), high = bar_scale(bars, mean + sd);
	if (sd > 0) {
		line(bars->page, low, middle, high, middle, "error");
		line(bars->page, low, middle - 4, low, middle + 4, "error");
		line(bars->page, high, middle - 4, high, middle + 4, "error");
	}
	snprintf(value, sizeof(value), "%s ± %s", bench_number(test->tokens_per_s, "").text,
	         bench_number(test->tokens_per_s_sd, "").text);
	label(bars->page, high + 8, middle + 4, "start", "", value);
	bars->y += 42;
}

static void draw_axis(const struct bars *bars, double bottom)
{
	double step = nice_step(bars->most, 5);
	for (double tick = 0; tick <= bars->most * 1.0001; tick += step) {
		char text[40];
		snprintf(text, sizeof(text), "%g", tick);
		line(bars->page, bar_scale(bars, tick), 12, bar_scale(bars, tick), bottom, "grid");
		label(bars->page, bar_scale(bars, tick), bottom + 16, "middle", "soft", text);
	}
}

/* "tg128 x 8: 12.5 each"; a test of one session is its name. */
static void describe_test(char *out, size_t size, const struct bench_test *test)
{
	if (bench_what(test) == BENCH_MANY)
		snprintf(out, size, "%s: %s each", test->test, bench_number(test->tokens_per_s_each, "").text);
	else
		bench_text(out, size, test->test);
}

void chart_speed(FILE *page, const struct bench_report *reports, size_t count, enum bench_what what)
{
	static const char *const titles[] = { "tokens a second, reading a prompt", "tokens a second, writing",
		                                  "tokens a second, writing many texts at once" };
	static const char *const none[] = { "No prompt was read.", "No text was written.", "No texts were written at once." };
	size_t rows;
	struct bars bars = { .page = page, .most = largest_speed(reports, count, what, &rows), .y = 16, .count = count };
	if (rows == 0 || bars.most <= 0) {
		nothing(page, none[what]);
		return;
	}
	double bottom = 20 + 42 * (double)rows;
	begin(page, bottom + 28, titles[what]);
	draw_axis(&bars, bottom);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			for (size_t k = 0; k < reports[i].models[j].test_count; k++) {
				const struct bench_model *model = &reports[i].models[j];
				char text[130], test[620];
				if (bench_what(&model->tests[k]) != what)
					continue;
				describe_test(test, sizeof(test), &model->tests[k]);
				describe(text, sizeof(text), &reports[i], model, test, count);
				draw_bar(&bars, i, text, &model->tests[k]);
			}
	fputs("</svg></div>\n", page);
}

/* ---------------------------------------------------------------------------------------------------- roofline */

enum { ROOF_TOP = 20, ROOF_HEIGHT = 360, ROOF_LEFT = 70, ROOF_POINTS = 64 };

/* A text test: where it is, and what the device allows. */
struct point {
	const struct bench_report *report;
	const struct bench_model *model;
	const struct bench_test *test;
	size_t index; /* of the report */
	double x, y;  /* MB a token, tokens a second */
	double limit; /* NaN: the device was not measured */
};

struct roof {
	FILE *page;
	struct point points[ROOF_POINTS];
	size_t count;
	double x0, x1, y0, y1; /* logarithms at the edges */
};

static double roof_x(const struct roof *roof, double x)
{
	return ROOF_LEFT + (log10(x) - roof->x0) / (roof->x1 - roof->x0) * (CHART_WIDTH - ROOF_LEFT - RIGHT);
}

static double roof_y(const struct roof *roof, double y)
{
	return ROOF_TOP + (roof->y1 - log10(y)) / (roof->y1 - roof->y0) * ROOF_HEIGHT;
}

static void add_points(struct roof *roof, const struct bench_report *report, size_t index)
{
	for (size_t i = 0; i < report->model_count; i++)
		for (size_t j = 0; j < report->models[i].test_count && roof->count < ROOF_POINTS; j++) {
			const struct bench_model *model = &report->models[i];
			const struct bench_test *test = &model->tests[j];
			const struct bench_device *d = &report->device;
			struct point point = { report, model, test, index, 1e-6 * (double)model->bytes_per_token, test->tokens_per_s, 0 };
			double seconds = 1e-9 * (double)model->bytes_per_token / d->read_gb_per_s;
			if (usable(d->dispatch_us) && usable(test->dispatches_per_token))
				seconds += 1e-6 * d->dispatch_us * test->dispatches_per_token;
			point.limit = 1 / seconds;
			if (bench_what(test) == BENCH_TEXTS && usable(point.x) && usable(point.y))
				roof->points[roof->count++] = point;
		}
}

static void widen(double value, double *low, double *high)
{
	if (!usable(value))
		return;
	*low = log10(value) < *low ? log10(value) : *low;
	*high = log10(value) > *high ? log10(value) : *high;
}

/* Room for all points, their limits, and the line above them; a decade at least. */
static void choose_edges(struct roof *roof)
{
	roof->x0 = roof->y0 = INFINITY;
	roof->x1 = roof->y1 = -INFINITY;
	for (size_t i = 0; i < roof->count; i++) {
		const struct point *p = &roof->points[i];
		widen(p->x, &roof->x0, &roof->x1);
		widen(p->y, &roof->y0, &roof->y1);
		widen(p->limit, &roof->y0, &roof->y1);
		widen(1e3 * p->report->device.read_gb_per_s / p->x, &roof->y0, &roof->y1);
	}
	double more = roof->x1 - roof->x0 < 1 ? (1 - (roof->x1 - roof->x0)) / 2 : 0;
	roof->x0 -= 0.15 + more;
	roof->x1 += 0.15 + more;
	more = roof->y1 - roof->y0 < 1 ? (1 - (roof->y1 - roof->y0)) / 2 : 0;
	roof->y0 -= 0.15 + more;
	roof->y1 += 0.2 + more;
}

/* Marks at 1, 2 and 5 times each power of ten; over many decades only the powers. */
static bool is_mark(int digit, double decades)
{
	return digit == 1 || (decades < 4 && (digit == 2 || digit == 5));
}

static void draw_marks(const struct roof *roof, bool across)
{
	double low = across ? roof->x0 : roof->y0, high = across ? roof->x1 : roof->y1;
	const double bottom = ROOF_TOP + ROOF_HEIGHT, step = floor((high - low) / 16) + 1;
	for (double power = floor(low); power <= high; power += step)
		for (int digit = 1; digit < 10; digit++) {
			double value = digit * pow(10, power), at = log10(value);
			char text[40];
			if (!is_mark(digit, high - low) || at < low || at > high)
				continue;
			snprintf(text, sizeof(text), "%g", value);
			if (across) {
				line(roof->page, roof_x(roof, value), ROOF_TOP, roof_x(roof, value), bottom, "grid");
				label(roof->page, roof_x(roof, value), bottom + 16, "middle", "soft", text);
			} else {
				line(roof->page, ROOF_LEFT, roof_y(roof, value), CHART_WIDTH - RIGHT, roof_y(roof, value), "grid");
				label(roof->page, ROOF_LEFT - 6, roof_y(roof, value) + 4, "end", "soft", text);
			}
		}
}

/* tokens/s = GB/s / GB a token, cut where it leaves the chart. */
static void draw_ceiling(const struct roof *roof, const struct bench_report *report, size_t index)
{
	char class[16], text[1200];
	double rate = 1e3 * report->device.read_gb_per_s, left = pow(10, roof->x0), right = pow(10, roof->x1);
	if (!usable(rate))
		return;
	double top = rate / pow(10, roof->y1), low = rate / pow(10, roof->y0); /* where it meets the upper and the lower edge */
	left = top > left ? top : left;
	right = low < right ? low : right;
	if (left >= right)
		return;
	snprintf(class, sizeof(class), "line%zu", index % 2);
	line(roof->page, roof_x(roof, left), roof_y(roof, rate / left), roof_x(roof, right), roof_y(roof, rate / right), class);
	snprintf(text, sizeof(text), "read: %s", bench_number(report->device.read_gb_per_s, " GB/s").text);
	/* Above the line, which falls: beside its middle there is room to the right. */
	double middle =
		pow(10, (0.55 + 0.25 * (double)(index % 2)) * log10(left) + (0.45 - 0.25 * (double)(index % 2)) * log10(right));
	label(roof->page, roof_x(roof, middle) + 8, roof_y(roof, rate / middle) - 8, "start", "", text);
}

static void draw_points(const struct roof *roof)
{
	for (size_t i = 0; i < roof->count; i++) {
		const struct point *p = &roof->points[i];
		char text[24];
		double x = roof_x(roof, p->x), y = roof_y(roof, p->y);
		if (usable(p->limit))
			fprintf(roof->page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"ring%zu\"/>\n", x, roof_y(roof, p->limit),
			        p->index % 2);
		fprintf(roof->page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" class=\"bar%zu\"/>\n", x, y, p->index % 2);
		snprintf(text, sizeof(text), "%zu", i + 1);
		label(roof->page, x + 8, y + 4, "start", "", text);
	}
}

static void list_points(const struct roof *roof, size_t count)
{
	for (size_t i = 0; i < roof->count; i++) {
		const struct point *p = &roof->points[i];
		char text[1400], what[90];
		describe(what, sizeof(what), p->report, p->model, p->test->test, count);
		snprintf(text, sizeof(text), "%zu: %s MB a token, %s: %s", i + 1, bench_number(p->x, "").text,
		         isfinite(p->test->read_share) ? bench_number(100 * p->test->read_share, " % of read").text : "not measured",
		         what);
		label(roof->page, ROOF_LEFT, ROOF_TOP + ROOF_HEIGHT + 56 + 18 * (double)i, "start", "", text);
	}
}

void chart_roofline(FILE *page, const struct bench_report *reports, size_t count)
{
	struct roof *roof = calloc(1, sizeof(*roof));
	for (size_t i = 0; roof && i < count; i++)
		add_points(roof, &reports[i], i);
	if (!roof || roof->count == 0) {
		nothing(page, "No text was written.");
		free(roof);
		return;
	}
	roof->page = page;
	choose_edges(roof);
	begin(page, ROOF_TOP + ROOF_HEIGHT + 58 + 18 * (double)roof->count, "tokens a second over bytes a token");
	draw_marks(roof, true);
	draw_marks(roof, false);
	for (size_t i = 0; i < count; i++)
		draw_ceiling(roof, &reports[i], i);
	draw_points(roof);
	label(page, CHART_WIDTH - RIGHT, ROOF_TOP + ROOF_HEIGHT + 34, "end", "soft", "MB a token");
	label(page, ROOF_LEFT, ROOF_TOP - 6, "start", "soft", "tokens a second");
	list_points(roof, count);
	fputs("</svg></div>\n", page);
	free(roof);
}

/* ---------------------------------------------------------------------------------------------------- one long text */

enum { LONG_LEFT = 70, LONG_TOP = 20, LONG_HEIGHT = 200 };

/* A line from part to part, in a colour of its own, and its name and range in the list below. */
static void draw_sustained(FILE *page, const struct bench_report *report, const struct bench_model *model, size_t index,
                           size_t count, double end, double most)
{
	char text[1400], what[90];
	const double scale = (CHART_WIDTH - LONG_LEFT - RIGHT) / end, bottom = LONG_TOP + LONG_HEIGHT;
	double low = INFINITY, high = 0, y = bottom + 52 + 18 * (double)index;
	fprintf(page, "<polyline class=\"s%zu\" points=\"", index % COLOURS);
	for (size_t i = 0; i < model->window_count; i++) {
		const struct bench_window *window = &model->sustained[i];
		if (!usable(window->tokens_per_s) || !usable(window->end_s))
			continue;
		fprintf(page, "%.1f,%.1f ", LONG_LEFT + scale * window->end_s, bottom - LONG_HEIGHT * window->tokens_per_s / most);
		low = window->tokens_per_s < low ? window->tokens_per_s : low;
		high = window->tokens_per_s > high ? window->tokens_per_s : high;
	}
	describe(what, sizeof(what), report, model, "", count);
	snprintf(text, sizeof(text), "%s to %s: %s", bench_number(low, "").text, bench_number(high, "").text, what);
	fprintf(page, "\"/>\n<rect x=\"%d\" y=\"%.1f\" width=\"12\" height=\"12\" rx=\"2\" class=\"k%zu\"/>\n", LONG_LEFT, y - 10,
	        index % COLOURS);
	label(page, LONG_LEFT + 18, y, "start", "", text);
}

static void draw_long_axes(FILE *page, double end, double most)
{
	const double bottom = LONG_TOP + LONG_HEIGHT;
	char text[40];
	for (double tick = 0, step = nice_step(most, 4); tick <= most * 1.0001; tick += step) {
		double y = bottom - LONG_HEIGHT * tick / most;
		snprintf(text, sizeof(text), "%g", tick);
		line(page, LONG_LEFT, y, CHART_WIDTH - RIGHT, y, "grid");
		label(page, LONG_LEFT - 6, y + 4, "end", "soft", text);
	}
	for (double tick = 0, step = nice_step(end, 6); tick <= end * 1.0001; tick += step) {
		snprintf(text, sizeof(text), "%g s", tick);
		label(page, LONG_LEFT + (CHART_WIDTH - LONG_LEFT - RIGHT) * tick / end, bottom + 18, "middle", "soft", text);
	}
}

void chart_sustained(FILE *page, const struct bench_report *reports, size_t count)
{
	double end = 0, most = 0;
	size_t rows = 0, index = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++) {
			const struct bench_model *model = &reports[i].models[j];
			rows += model->window_count > 0;
			for (size_t k = 0; k < model->window_count; k++) {
				const struct bench_window *window = &model->sustained[k];
				end = usable(window->end_s) && window->end_s > end ? window->end_s : end;
				most = usable(window->tokens_per_s) && window->tokens_per_s > most ? window->tokens_per_s : most;
			}
		}
	if (!usable(end) || !usable(most)) {
		nothing(page, "No long text was written.");
		return;
	}
	begin(page, LONG_TOP + LONG_HEIGHT + 50 + 18 * (double)rows, "tokens a second over time");
	draw_long_axes(page, end, most);
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++)
			if (reports[i].models[j].window_count > 0)
				draw_sustained(page, &reports[i], &reports[i].models[j], index++, count, end, most);
	fputs("</svg></div>\n", page);
}

/* ---------------------------------------------------------------------------------------------------- stages */

/* Names of all stages in order of first appearance, so that a stage has the same colour in every bar. */
struct legend {
	const char *names[64];
	size_t count;
};

static size_t legend_index(struct legend *legend, const char *name)
{
	size_t i = 0;
	while (i < legend->count && strcmp(legend->names[i], name) != 0)
		i++;
	if (i == legend->count && i < sizeof(legend->names) / sizeof(legend->names[0]))
		legend->names[legend->count++] = name;
	return i;
}

static void draw_stages(FILE *page, struct legend *legend, const struct bench_model *model, bool of_prompt, const char *title,
                        double y)
{
	char text[1300];
	double total = bench_stages_total(model, of_prompt), x = LEFT;
	snprintf(text, sizeof(text), "%s: %s", bench_number(total, " µs a token").text, title);
	label(page, LEFT, y + 12, "start", "", text);
	for (size_t i = 0; i < model->stage_count; i++) {
		if (bench_is_prompt_stage(&model->stages[i]) != of_prompt)
			continue;
		double part = usable(model->stages[i].us_per_token) ? model->stages[i].us_per_token / total : 0;
		double width = part * (CHART_WIDTH - LEFT - RIGHT);
		fprintf(page, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"22\" class=\"k%zu\"><title>", x, y + 18, width,
		        legend_index(legend, model->stages[i].stage) % COLOURS);
		html_text(page, model->stages[i].stage, 0);
		fprintf(page, " %s</title></rect>\n", bench_number(100 * part, " %").text);
		snprintf(text, sizeof(text), "%.0f %%", 100 * part);
		if (width > 34)
			label(page, x + width / 2, y + 33, "middle", "in", text);
		x += width;
	}
}

static void draw_legend(FILE *page, const struct legend *legend, double y)
{
	for (size_t i = 0; i < legend->count; i++) {
		double x = LEFT + 104 * (double)(i % 8), top = y + 20 * (double)(i / 8);
		fprintf(page, "<rect x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"12\" rx=\"2\" class=\"k%zu\"/>\n", x, top,
		        i % COLOURS);
		fprintf(page, "<text x=\"%.1f\" y=\"%.1f\">", x + 17, top + 10);
		html_text(page, legend->names[i], 13);
		fputs("</text>\n", page);
	}
}

void chart_stages(FILE *page, const struct bench_report *reports, size_t count, bool of_prompt)
{
	struct legend legend = { 0 };
	size_t rows = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++) {
			const struct bench_model *model = &reports[i].models[j];
			rows += bench_stages_total(model, of_prompt) > 0;
			for (size_t k = 0; k < model->stage_count; k++)
				if (bench_is_prompt_stage(&model->stages[k]) == of_prompt)
					legend_index(&legend, model->stages[k].stage);
		}
	if (rows == 0) {
		nothing(page, of_prompt ? "None were timed, or prompts are read token by token."
		                        : "Stages were not timed: without --stages, or on a device without timestamps.");
		return;
	}
	double y = 12;
	begin(page, 48 * (double)rows + 32 + 20 * (double)((legend.count + 7) / 8), "time of each stage");
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < reports[i].model_count; j++) {
			char title[90];
			if (!(bench_stages_total(&reports[i].models[j], of_prompt) > 0))
				continue;
			describe(title, sizeof(title), &reports[i], &reports[i].models[j], "", count);
			draw_stages(page, &legend, &reports[i].models[j], of_prompt, title, y);
			y += 48;
		}
	draw_legend(page, &legend, y + 8);
	fputs("</svg></div>\n", page);
}
