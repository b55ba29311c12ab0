/* Reports of `rwkvk bench`: their numbers, JSON both ways and refused, which models are compared, and the page. */
#include "support.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/file.h"
#include "bench.h"
#include "sensors.h"

int failed(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	return EXIT_FAILED;
}

static void numbers(void **state)
{
	(void)state;
	const double values[] = { 2, 4, 4, 4, 5, 5, 7, 9 };
	assert_true(bench_mean(values, 8) == 5);
	assert_true(fabs(bench_deviation(values, 8) - sqrt(32.0 / 7)) < 1e-15);
	assert_true(bench_mean(values, 1) == 2 && bench_deviation(values, 1) == 0);
	assert_true(bench_mean(values, 0) == 0 && bench_deviation(values, 0) == 0);
	assert_string_equal(bench_number(0.04449, "").text, "0.04");
	assert_string_equal(bench_number(9.994, " s").text, "9.99 s");
	assert_string_equal(bench_number(9.995, " s").text, "10.0 s");
	assert_string_equal(bench_number(99.96, "").text, "100");
	assert_string_equal(bench_number(12345.6, " x").text, "12346 x");
	assert_string_equal(bench_number(1e300, "").text, "1e+300");
	assert_string_equal(bench_number((double)NAN, " GB/s").text, "-");
}

/* FNV-1a byte by byte, as published for "foobar": 85944171f73967e8; ids are whole words, so two zeros follow. */
static void hashes(void **state)
{
	(void)state;
	uint64_t hash = BENCH_HASH_START;
	for (size_t i = 0; i < 6; i++)
		hash = (hash ^ (unsigned char)"foobar"[i]) * UINT64_C(0x100000001b3);
	assert_true(hash == UINT64_C(0x85944171f73967e8));
	for (size_t i = 0; i < 2; i++)
		hash *= UINT64_C(0x100000001b3);
	assert_true(bench_hash(bench_hash(BENCH_HASH_START, 0x626f6f66), 0x00007261) == hash);
}

static void texts(void **state)
{
	(void)state;
	char out[8];
	bench_text(out, sizeof out, "a\nb\033c");
	assert_string_equal(out, "a?b?c");
	bench_text(out, sizeof out, "123456789");
	assert_string_equal(out, "1234567");
	bench_text(out, sizeof out, "123456\xc3\xa9"); /* no half a character */
	assert_string_equal(out, "123456");
	bench_text(out, sizeof out, "12345\xc3\xa9");
	assert_string_equal(out, "12345\xc3\xa9");
	bench_text(out, sizeof out, "a\xff\xc3\xa9"); /* not UTF-8 */
	assert_string_equal(out, "a???");
}

/* Sets every field to a distinct value. */
static void fill(const struct bench_field *fields, void *to, unsigned *next)
{
	for (; fields->name; fields++, ++*next) {
		char *at = (char *)to + fields->offset;
		if (fields->kind == BENCH_TEXT)
			snprintf(at, fields->size, "t%u", *next);
		else if (fields->kind == BENCH_COUNT)
			*(uint64_t *)(void *)at = *next;
		else
			*(double *)(void *)at = *next + 0.5;
	}
}

static struct bench_report make_report(size_t models)
{
	unsigned next = 1;
	struct bench_report report = { .models = calloc(models, sizeof *report.models), .model_count = models };
	assert_non_null(report.models);
	fill(bench_device_fields, &report.device, &next);
	for (size_t i = 0; i < models; i++) {
		struct bench_model *model = &report.models[i];
		fill(bench_model_fields, model, &next);
		model->test_count = 2;
		model->stage_count = 2;
		model->window_count = 2;
		for (size_t j = 0; j < 2; j++) {
			fill(bench_window_fields, &model->sustained[j], &next);
			fill(bench_test_fields, &model->tests[j], &next);
			fill(bench_stage_fields, &model->stages[j], &next);
			model->tests[j].sessions = 0;
		}
		snprintf(model->tests[0].test, sizeof model->tests[0].test, "pp%zu", i + 1);
		memset(model->tests[0].greedy_hash, 0, sizeof model->tests[0].greedy_hash);
	}
	return report;
}

static char *to_text(const struct bench_report *report)
{
	json_t *root = bench_to_json(report);
	char *text = json_dumps(root, JSON_REAL_PRECISION(17));
	json_decref(root);
	assert_non_null(text);
	return text;
}

static void round_trip(void **state)
{
	(void)state;
	char error[400] = "";
	struct bench_report report = make_report(3), again;
	report.device.f16_gflop_per_s = (double)NAN;
	char *text = to_text(&report);
	if (!bench_from_json("x.json", text, strlen(text), &again, error, sizeof error))
		fail_msg("%s", error);
	assert_int_equal(again.model_count, 3);
	assert_true(isnan(again.device.f16_gflop_per_s));
	again.device.f16_gflop_per_s = report.device.f16_gflop_per_s;
	assert_memory_equal(&again.device, &report.device, sizeof report.device);
	assert_memory_equal(again.models, report.models, 3 * sizeof *report.models);
	bench_report_free(&again);
	bench_report_free(&report);
	assert_null(report.models);
	free(text);
}

static void assert_refused(const char *text, const char *want)
{
	char error[400] = "";
	struct bench_report report;
	assert_false(bench_from_json("x.json", text, strlen(text), &report, error, sizeof error));
	if (strstr(error, want) != error)
		fail_msg("expected \"%s\", got \"%s\"", want, error);
	assert_null(report.models);
}

/* The report's text with the value at `path` (names and indices with points between them) replaced. */
static void assert_value_refused(const char *path, const char *value, const char *want)
{
	struct bench_report report = make_report(2);
	json_t *root = bench_to_json(&report), *at = root;
	char copy[80], *rest = NULL;
	snprintf(copy, sizeof copy, "%s", path);
	char *word = strtok_r(copy, ".", &rest), *next;
	for (; (next = strtok_r(NULL, ".", &rest)); word = next)
		at = json_is_array(at) ? json_array_get(at, (size_t)atoi(word)) : json_object_get(at, word);
	json_t *new = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
	if (json_is_array(at))
		json_array_set_new(at, (size_t)atoi(word), new);
	else if (new)
		json_object_set_new(at, word, new);
	else
		assert_int_equal(json_object_del(at, word), 0);
	char *text = json_dumps(root, 0);
	assert_refused(text, want);
	free(text);
	json_decref(root);
	bench_report_free(&report);
}

static void hostile_files(void **state)
{
	(void)state;
	assert_refused("", "x.json: line 1: expected JSON: ");
	assert_refused("{", "x.json: line 1: expected JSON: ");
	assert_refused("{\"a\":1,\"a\":2}", "x.json: line 1: expected JSON: duplicate object key");
	assert_refused("[]", "x.json: expected a file that `rwkvk bench -o json` wrote, found one without \"rwkvk_bench\"");
	assert_refused("{\"rwkvk_bench\":2}", "x.json: rwkvk_bench: expected 3, found 2: written by another version of rwkvk");
	assert_refused("{\"rwkvk_bench\":3}", "x.json: device: expected an object, found nothing");
	assert_value_refused("device", "[]", "x.json: device: expected an object, found a list");
	assert_value_refused("device.driver", NULL, "x.json: device.driver: expected a text, found nothing");
	assert_value_refused("device.read_gb_per_s", "\"fast\"",
	                     "x.json: device.read_gb_per_s: expected a number from 0 on, or null, found a text");
	assert_value_refused("device.read_gb_per_s", "-1",
	                     "x.json: device.read_gb_per_s: expected a number from 0 on, or null, found -1");
	assert_value_refused("models", "{}", "x.json: models: expected a list, found an object");
	assert_value_refused("models", "[]", "x.json: models: expected at least one, found none");
	assert_value_refused("models.1", "3", "x.json: models[1]: expected an object, found a whole number");
	assert_value_refused("models.1.layers", "1.5", "x.json: models[1].layers: expected a whole number from 0 on, found 1.5");
	assert_value_refused("models.0.tests", NULL, "x.json: models[0].tests: expected a list, found nothing");
	assert_value_refused("models.0.stages", "null", "x.json: models[0].stages: expected a list, found null");
	assert_value_refused("models.1.tests.1.tokens_per_s", NULL,
	                     "x.json: models[1].tests[1].tokens_per_s: expected a number from 0 on, or null, found nothing");
	assert_value_refused("models.0.stages.1", "true", "x.json: models[0].stages[1]: expected an object, found true");
	assert_value_refused("models.1.sustained.0.end_s", "\"x\"",
	                     "x.json: models[1].sustained[0].end_s: expected a number from 0 on, or null, found a text");
	char many[200] = "[";
	for (int i = 0; i < BENCH_TESTS + 1; i++)
		strcat(many, i ? ",{}" : "{}");
	strcat(many, "]");
	assert_value_refused("models.0.tests", many, "x.json: models[0].tests: expected at most 32 entries, found 33");
}

static void pairs(void **state)
{
	(void)state;
	struct bench_report a = make_report(3), b = make_report(3);
	struct bench_pair out[6];
	assert_int_equal(bench_pairs(&a, &b, out), 3);
	for (int i = 0; i < 3; i++)
		assert_true(out[i].a == &a.models[i] && out[i].b == &b.models[i]);
	strcpy(b.models[1].quant, "q5"); /* stored otherwise: another model */
	assert_int_equal(bench_pairs(&a, &b, out), 4);
	assert_true(out[1].a == &a.models[1] && out[1].b == NULL);
	assert_true(out[3].a == NULL && out[3].b == &b.models[1]);
	a.model_count = b.model_count = 1;
	strcpy(b.models[0].model, "another"); /* there is nothing else to compare them with */
	assert_int_equal(bench_pairs(&a, &b, out), 1);
	assert_true(out[0].a == &a.models[0] && out[0].b == &b.models[0]);
	bench_report_free(&a);
	bench_report_free(&b);
}

/* ---------------------------------------------------------------------------------------------------- the schema */

/* The schema has the fields of the struct, with their types, and all of them are required. */
static void assert_described(const json_t *schema, const struct bench_field *fields)
{
	static const char *const types[] = { "\"string\"", "\"integer\"", "[\"number\",\"null\"]" };
	const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
	for (size_t i = 0; fields->name; fields++, i++) {
		const json_t *property = json_object_get(properties, fields->name);
		if (!property)
			fail_msg("the schema lacks %s", fields->name);
		char *type = json_dumps(json_object_get(property, "type"), JSON_ENCODE_ANY | JSON_COMPACT);
		assert_string_equal(type, types[fields->kind]);
		free(type);
		assert_string_equal(json_string_value(json_array_get(required, i)), fields->name);
		assert_true(fields->kind == BENCH_TEXT || json_integer_value(json_object_get(property, "minimum")) == 0);
		assert_true(strlen(json_string_value(json_object_get(property, "description"))) > 1);
	}
}

static const json_t *list_schema(const json_t *model, const char *name, json_int_t most)
{
	const json_t *list = json_object_get(json_object_get(model, "properties"), name);
	assert_int_equal(json_integer_value(json_object_get(list, "maxItems")), most);
	return json_object_get(list, "items");
}

static void schema(void **state)
{
	(void)state;
	json_error_t mistake;
	json_t *root = json_load_file(SCHEMA, 0, &mistake);
	if (!root)
		fail_msg("%s: %s", SCHEMA, mistake.text);
	const json_t *properties = json_object_get(root, "properties"), *models = json_object_get(properties, "models");
	const json_t *model = json_object_get(models, "items");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(properties, "rwkvk_bench"), "const")), BENCH_FORMAT);
	assert_described(json_object_get(properties, "device"), bench_device_fields);
	assert_described(model, bench_model_fields);
	assert_described(list_schema(model, "tests", BENCH_TESTS), bench_test_fields);
	assert_described(list_schema(model, "stages", BENCH_STAGES), bench_stage_fields);
	assert_described(list_schema(model, "sustained", BENCH_WINDOWS), bench_window_fields);
	json_decref(root);
}

/* ---------------------------------------------------------------------------------------------------- sensors */

static char sensor_root[300];

/* A file below a folder that stands for /sys. */
static void show(const char *path, const char *text)
{
	char full[600];
	snprintf(full, sizeof full, "%s/%s", sensor_root, path);
	file_make_folders(full);
	test_write_file(full, text, strlen(text));
}

static struct sensor_values sensed(const rwkvk_device_info *device)
{
	struct sensors sensors;
	sensors_find(sensor_root, device, &sensors);
	return sensors_read(&sensors);
}

static void assert_sensed(const rwkvk_device_info *device, double clock, double power, double temperature)
{
	struct sensor_values got = sensed(device);
	const double want[] = { clock, power, temperature }, is[] = { got.clock_mhz, got.power_w, got.temperature_c };
	for (size_t i = 0; i < 3; i++)
		if (isnan(want[i]) ? !isnan(is[i]) : !(fabs(is[i] - want[i]) < 1e-9))
			fail_msg("value %zu: expected %g, got %g", i, want[i], is[i]);
}

static void sensors_of_devices(void **state)
{
	(void)state;
#ifdef _WIN32 /* whose file names have no colons */
	skip();
#endif
	const double none = (double)NAN;
	rwkvk_device_info card = { .type = RWKVK_DEVICE_DISCRETE, .pci = "0000:03:00.0" }, intel = card, nvidia = card;
	rwkvk_device_info phone = { .type = RWKVK_DEVICE_INTEGRATED }, cpu = { .type = RWKVK_DEVICE_CPU };
	strcpy(intel.pci, "0000:00:02.0");
	strcpy(nvidia.pci, "0000:41:00.0");
	snprintf(sensor_root, sizeof sensor_root, "%s", test_temp("sys"));
	assert_sensed(&card, none, none, none); /* nothing is there yet */
	assert_sensed(&phone, none, none, none);
	assert_sensed(&cpu, none, none, none);
	show("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/freq1_input", "2450000000\n");
	show("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/power1_average", "187000000\n");
	show("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/temp1_input", "64000\n");
	assert_sensed(&card, 2450, 187, 64);
	show("bus/pci/devices/0000:00:02.0/drm/card1/gt_act_freq_mhz", "1300\n");
	show("bus/pci/devices/0000:00:02.0/drm/renderD128/gt_act_freq_mhz", "7\n");
	assert_sensed(&intel, 1300, none, none);
	show("bus/pci/devices/0000:41:00.0/vendor", "0x10de\n");
	assert_sensed(&nvidia, none, none, none);
	show("class/devfreq/17000010.devfreq_mif/cur_freq", "1\n");
	show("class/devfreq/3d00000.gpu/cur_freq", "587000000\n");
	show("class/thermal/thermal_zone0/type", "cpu-0\n");
	show("class/thermal/thermal_zone0/temp", "1\n");
	show("class/thermal/thermal_zone1/type", "gpuss-0\n");
	show("class/thermal/thermal_zone1/temp", "51500\n");
	assert_sensed(&phone, 587, none, 51.5);
	show("devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
	show("devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "2000000\n");
	assert_sensed(&cpu, 2500, none, none);
	show("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/power1_average", "-1\n"); /* broken */
	show("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/temp1_input", "warm\n");
	assert_sensed(&card, 2450, none, none);
}

static void sensors_over_time(void **state)
{
	(void)state;
	struct sensor_means means = { 0 };
	assert_true(isnan(sensors_mean(&means).clock_mhz));
	sensors_add(&means, (struct sensor_values){ 1000, (double)NAN, (double)NAN });
	sensors_add(&means, (struct sensor_values){ 2000, 40, (double)NAN });
	struct sensor_values mean = sensors_mean(&means);
	assert_true(mean.clock_mhz == 1500 && mean.power_w == 40 && isnan(mean.temperature_c));
}

/* ---------------------------------------------------------------------------------------------------- the page */

static char *page_of(const struct bench_report *reports, size_t count)
{
	size_t bytes;
	const char *path = test_temp("page.html"), *const names[] = { "a.json", "b.json" };
	assert_int_equal(bench_write_html(path, count > 1 ? names : NULL, reports, count), EXIT_DONE);
	return (char *)test_read_file(path, &bytes);
}

/* Every element that is opened is closed in order, attributes are quoted, no bare < or &: as XML wants it. */
static void assert_well_formed(const char *page)
{
	char open[32][16];
	size_t depth = 0;
	const char *at = page + strlen("<!DOCTYPE html>");
	assert_memory_equal(page, "<!DOCTYPE html>", 15);
	for (; *at; at++) {
		if (*at == '&' && strncmp(at, "&lt;", 4) && strncmp(at, "&gt;", 4) && strncmp(at, "&amp;", 5) &&
		    strncmp(at, "&quot;", 6))
			fail_msg("bare & at: %.40s", at);
		if (*at != '<')
			continue;
		const char *end = strchr(at, '>');
		assert_non_null(end);
		size_t length = strcspn(at + 1, " />");
		if (at[1] == '/') {
			length = strcspn(at + 2, ">");
			assert_true(depth > 0);
			if (strncmp(open[--depth], at + 2, length) != 0 || open[depth][length])
				fail_msg("<%s> is closed by %.20s", open[depth], at);
		} else if (end[-1] != '/') {
			assert_true(depth < 32 && length < 16 && length > 0);
			snprintf(open[depth++], 16, "%.*s", (int)length, at + 1);
		}
		at = end;
	}
	assert_int_equal(depth, 0);
}

static void assert_has(const char *page, const char *text)
{
	if (!strstr(page, text))
		fail_msg("the page lacks: %s", text);
}

static void assert_lacks(const char *page, const char *text)
{
	const char *at = strstr(page, text);
	if (at)
		fail_msg("the page has %s: %.60s", text, at);
}

static void page(void **state)
{
	(void)state;
	struct bench_report reports[2] = { make_report(3), make_report(1) };
	strcpy(reports[0].device.device, "<script>alert(\"1 & 2\")</script>");
	strcpy(reports[0].models[0].stages[0].stage, "a<b");
	strcpy(reports[0].device.date, "<script>2026");
	strcpy(reports[0].models[0].tests[1].test, "<script>");
	strcpy(reports[0].models[0].tests[1].greedy_hash, "<script>");
	strcpy(reports[0].models[0].type, "<script>");
	strcpy(reports[0].models[0].quant, "<b>");
	strcpy(reports[1].models[0].model, "model <7B> & \"more\"");
	reports[0].models[1].tests[1].tokens_per_s = 1234.56;
	reports[0].models[1].tests[1].tokens_per_s_sd = 7.125;
	for (size_t count = 1; count <= 2; count++) {
		char *text = page_of(reports, count);
		assert_well_formed(text);
		assert_has(text, "&lt;script&gt;alert(&quot;1 &amp; 2&quot;)&lt;/script&gt;");
		assert_has(text, "a&lt;b");
		assert_has(text, "1235 ± 7.12");
		assert_has(text, reports[0].models[1].tests[1].greedy_hash);
		assert_has(text, "prefers-color-scheme:dark");
		assert_lacks(text, "<script");
		assert_lacks(text, "<link");
		assert_lacks(text, "<img");
		assert_lacks(text, "url(");
		assert_lacks(text, "@import");
		assert_lacks(text, "href");
		assert_lacks(text, "src=");
		assert_lacks(text, "nan");
		assert_lacks(text, "inf\"");
		free(text);
	}
	bench_report_free(&reports[0]);
	bench_report_free(&reports[1]);
}

static size_t count_of(const char *page, const char *text)
{
	size_t count = 0;
	for (const char *at = page; (at = strstr(at, text)); at += strlen(text))
		count++;
	return count;
}

/* Texts that several sessions wrote at once have their own chart, and are not drawn under the single-session ceiling. */
static void page_of_many_sessions(void **state)
{
	(void)state;
	struct bench_report report = make_report(1);
	struct bench_model *model = &report.models[0];
	char *alone = page_of(&report, 1);
	assert_lacks(alone, "Writing many texts at once");
	for (unsigned sessions = 2; sessions <= 4; sessions *= 2) {
		struct bench_test *test = &model->tests[model->test_count++];
		*test = model->tests[1];
		snprintf(test->test, sizeof test->test, "tg8 x %u", sessions);
		test->sessions = sessions;
		test->tokens_per_s = 1000 * sessions;
		test->tokens_per_s_each = 987.5 - sessions;
		assert_int_equal(bench_what(test), BENCH_MANY);
	}
	assert_int_equal(bench_what_count(model, BENCH_PROMPTS), 1);
	assert_int_equal(bench_what_count(model, BENCH_TEXTS), 1);
	assert_int_equal(bench_what_count(model, BENCH_MANY), 2);
	char *text = page_of(&report, 1);
	assert_well_formed(text);
	assert_has(text, "<h2>Writing many texts at once</h2>");
	assert_has(text, "tg8 x 2: 986 each");
	assert_has(text, "tg8 x 4: 984 each");
	assert_int_equal(count_of(text, "class=\"bar0\""), count_of(alone, "class=\"bar0\"") + 2); /* bars, but no points */
	free(text);
	free(alone);
	bench_report_free(&report);
}

/* Numbers that a file may hold but no device reaches: the page is well-formed, and draws nothing outside of a number's range.
 */
static void page_of_odd_numbers(void **state)
{
	(void)state;
	const double odd[] = { 0, (double)NAN, 1e-300, 1e300, 1 };
	enum { ODD = sizeof odd / sizeof *odd };
	for (size_t i = 0; i < ODD * ODD * ODD; i++) {
		struct bench_report report = make_report(2);
		report.device.read_gb_per_s = odd[i % ODD];
		report.device.dispatch_us = odd[i / ODD % ODD];
		for (size_t j = 0; j < 2; j++) {
			report.models[0].tests[j].tokens_per_s = odd[i / ODD / ODD];
			report.models[0].tests[j].tokens_per_s_sd = odd[i % ODD];
			report.models[0].stages[j].us_per_token = odd[i / ODD / ODD];
		}
		report.models[1].bytes_per_token = i % 2 ? 0 : UINT64_MAX;
		char *text = page_of(&report, 1);
		assert_well_formed(text);
		assert_lacks(text, "\"nan");
		assert_lacks(text, "\"-nan");
		assert_lacks(text, "\"inf");
		assert_lacks(text, "\"-inf");
		free(text);
		bench_report_free(&report);
	}
}

/* Only a prompt was measured: sentences instead of charts. */
static void page_without_charts(void **state)
{
	(void)state;
	struct bench_report report = make_report(1);
	report.models[0].test_count = 1;
	report.models[0].stage_count = 0;
	char *text = page_of(&report, 1);
	assert_well_formed(text);
	assert_has(text, "No text was written.");
	assert_has(text, "Stages were not timed");
	assert_int_equal(bench_write_html(test_nowhere("page.html"), NULL, &report, 1), EXIT_FAILED);
	free(text);
	bench_report_free(&report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(hashes),
		cmocka_unit_test(texts),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(hostile_files),
		cmocka_unit_test(pairs),
		cmocka_unit_test(schema),
		cmocka_unit_test(sensors_of_devices),
		cmocka_unit_test(sensors_over_time),
		cmocka_unit_test(page),
		cmocka_unit_test(page_of_many_sessions),
		cmocka_unit_test(page_of_odd_numbers),
		cmocka_unit_test(page_without_charts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
