#include "bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- numbers */

double bench_mean(const double *values, size_t count)
{
	double sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += values[i];
	return count > 0 ? sum / (double)count : 0;
}

double bench_deviation(const double *values, size_t count)
{
	double mean = bench_mean(values, count), sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += (values[i] - mean) * (values[i] - mean);
	return count > 1 ? sqrt(sum / (double)(count - 1)) : 0;
}

uint64_t bench_hash(uint64_t hash, uint32_t id)
{
	for (int shift = 0; shift < 32; shift += 8)
		hash = (hash ^ (id >> shift & 255)) * UINT64_C(0x100000001b3);
	return hash;
}

void bench_text(char *out, size_t size, const char *text)
{
	json_t *string = json_string(text); /* NULL: not UTF-8 */
	bool ascii = string == NULL;
	size_t count = 0;
	for (; text[count] && count < size - 1; count++) {
		unsigned char c = (unsigned char)text[count];
		out[count] = c < 32 || c == 127 || (ascii && c > 127) ? '?' : text[count];
	}
	while (text[count] && count > 0 && ((unsigned char)text[count] & 0xc0) == 0x80)
		count--; /* cut inside a character: drop it */
	out[count] = 0;
	json_decref(string);
}

struct bench_cell bench_number(double value, const char *unit)
{
	struct bench_cell cell;
	int decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
	if (isfinite(value) && value < 1e15)
		snprintf(cell.text, sizeof(cell.text), "%.*f%s", decimals, value, unit);
	else if (isfinite(value))
		snprintf(cell.text, sizeof(cell.text), "%.3g%s", value, unit);
	else
		snprintf(cell.text, sizeof(cell.text), "-");
	return cell;
}

struct bench_cell bench_storage(const struct bench_model *model)
{
	struct bench_cell cell;
	bool made = strcmp(model->quant, "none") != 0;
	snprintf(cell.text, sizeof(cell.text), "%s%s%s%s", model->type, made ? " (" : "", made ? model->quant : "",
	         made ? ")" : "");
	return cell;
}

enum bench_what bench_what(const struct bench_test *test)
{
	return test->sessions > 0 ? BENCH_MANY : test->greedy_hash[0] ? BENCH_TEXTS : BENCH_PROMPTS;
}

size_t bench_what_count(const struct bench_model *model, enum bench_what what)
{
	size_t count = 0;
	for (size_t i = 0; i < model->test_count; i++)
		count += bench_what(&model->tests[i]) == what;
	return count;
}

bool bench_is_prompt_stage(const struct bench_stage *stage)
{
	return strncmp(stage->stage, "chunk ", 6) == 0;
}

double bench_stages_total(const struct bench_model *model, bool of_prompt)
{
	double total = 0;
	for (size_t i = 0; i < model->stage_count; i++) {
		double us = model->stages[i].us_per_token;
		if (bench_is_prompt_stage(&model->stages[i]) == of_prompt && isfinite(us) && us > 0)
			total += us;
	}
	return total;
}

/* ---------------------------------------------------------------------------------------------------- fields */

#define FIELD(type, field, as)                                                                                                 \
	{                                                                                                                          \
		.name = #field, .kind = as, .offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)       \
	}
#define TEXT(type, field)  FIELD(type, field, BENCH_TEXT)
#define COUNT(type, field) FIELD(type, field, BENCH_COUNT)
#define REAL(type, field)  FIELD(type, field, BENCH_REAL)

const struct bench_field bench_device_fields[] = {
	TEXT(bench_device, rwkvk),
	TEXT(bench_device, date),
	TEXT(bench_device, device),
	TEXT(bench_device, driver),
	TEXT(bench_device, device_type),
	TEXT(bench_device, vulkan),
	COUNT(bench_device, vendor_id),
	COUNT(bench_device, device_id),
	COUNT(bench_device, device_memory_bytes),
	COUNT(bench_device, subgroup_size),
	REAL(bench_device, read_gb_per_s),
	REAL(bench_device, copy_gb_per_s),
	REAL(bench_device, dispatch_us),
	REAL(bench_device, submit_us),
	REAL(bench_device, f32_gflop_per_s),
	REAL(bench_device, f16_gflop_per_s),
	REAL(bench_device, int8_gop_per_s),
	COUNT(bench_device, measured_bytes),
	{ 0 },
};

const struct bench_field bench_model_fields[] = {
	TEXT(bench_model, model),
	TEXT(bench_model, name),
	TEXT(bench_model, format),
	TEXT(bench_model, version),
	TEXT(bench_model, quant),
	TEXT(bench_model, type),
	TEXT(bench_model, verified),
	COUNT(bench_model, layers),
	COUNT(bench_model, width),
	COUNT(bench_model, ffn_width),
	COUNT(bench_model, vocab),
	COUNT(bench_model, parameters),
	COUNT(bench_model, bytes_per_token),
	COUNT(bench_model, multiply_adds),
	COUNT(bench_model, device_bytes),
	COUNT(bench_model, peak_host_bytes),
	REAL(bench_model, load_s),
	REAL(bench_model, skipped_bytes_per_token),
	{ 0 },
};

const struct bench_field bench_test_fields[] = {
	TEXT(bench_test, test),
	COUNT(bench_test, tokens),
	COUNT(bench_test, repetitions),
	COUNT(bench_test, sessions),
	REAL(bench_test, tokens_per_s),
	REAL(bench_test, tokens_per_s_sd),
	REAL(bench_test, ms_per_token),
	REAL(bench_test, tokens_per_s_each),
	REAL(bench_test, dispatches_per_token),
	REAL(bench_test, barriers_per_token),
	REAL(bench_test, submits_per_token),
	REAL(bench_test, host_calls_per_token),
	REAL(bench_test, gb_per_s),
	REAL(bench_test, read_share),
	REAL(bench_test, gflop_per_s),
	REAL(bench_test, f32_share),
	REAL(bench_test, clock_mhz),
	REAL(bench_test, power_w),
	REAL(bench_test, temperature_c),
	TEXT(bench_test, greedy_hash),
	TEXT(bench_test, repeatable),
	{ 0 },
};

const struct bench_field bench_stage_fields[] = {
	TEXT(bench_stage, stage),
	REAL(bench_stage, runs_per_token),
	REAL(bench_stage, us_per_token),
	REAL(bench_stage, stage_gb_per_s),
	{ 0 },
};

const struct bench_field bench_window_fields[] = {
	REAL(bench_window, end_s),   REAL(bench_window, tokens_per_s),  REAL(bench_window, clock_mhz),
	REAL(bench_window, power_w), REAL(bench_window, temperature_c), { 0 },
};

/* The lists of a model: `entries` structs of `size` bytes from `offset` on, of which the `count` first are there. */
struct bench_list {
	const char *name;
	const struct bench_field *fields;
	size_t offset, size, count, entries;
};
#define LIST(list, counter, list_fields)                                                                                       \
	{                                                                                                                          \
		.name = #list, .fields = list_fields, .offset = offsetof(struct bench_model, list),                                    \
		.size = sizeof(((struct bench_model *)NULL)->list[0]), .count = offsetof(struct bench_model, counter),                 \
		.entries = sizeof(((struct bench_model *)NULL)->list) / sizeof(((struct bench_model *)NULL)->list[0])                  \
	}
static const struct bench_list lists[] = {
	LIST(tests, test_count, bench_test_fields),
	LIST(stages, stage_count, bench_stage_fields),
	LIST(sustained, window_count, bench_window_fields),
};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

/* ---------------------------------------------------------------------------------------------------- to JSON */

static json_t *value_json(const struct bench_field *field, const void *from)
{
	const char *at = (const char *)from + field->offset;
	if (field->kind == BENCH_TEXT)
		return json_text(at);
	if (field->kind == BENCH_COUNT)
		return json_integer((json_int_t) * (const uint64_t *)(const void *)at);
	double value = *(const double *)(const void *)at;
	return isfinite(value) ? json_real(value) : json_null();
}

void bench_add_fields(json_t *object, const struct bench_field *fields, const void *from)
{
	for (; fields->name; fields++)
		json_object_set_new(object, fields->name, value_json(fields, from));
}

static json_t *object_json(const struct bench_field *fields, const void *from)
{
	json_t *object = json_object();
	bench_add_fields(object, fields, from);
	return object;
}

static json_t *model_json(const struct bench_model *model)
{
	json_t *object = object_json(bench_model_fields, model);
	for (size_t i = 0; i < LISTS; i++) {
		const char *at = (const char *)model + lists[i].offset;
		size_t count = *(const size_t *)(const void *)((const char *)model + lists[i].count);
		json_t *entries = json_array();
		for (size_t j = 0; j < count; j++)
			json_array_append_new(entries, object_json(lists[i].fields, at + j * lists[i].size));
		json_object_set_new(object, lists[i].name, entries);
	}
	return object;
}

json_t *bench_to_json(const struct bench_report *report)
{
	json_t *root = json_object(), *models = json_array();
	json_object_set_new(root, "rwkvk_bench", json_integer(BENCH_FORMAT));
	json_object_set_new(root, "device", object_json(bench_device_fields, &report->device));
	for (size_t i = 0; i < report->model_count; i++)
		json_array_append_new(models, model_json(&report->models[i]));
	json_object_set_new(root, "models", models);
	return root;
}

/* ---------------------------------------------------------------------------------------------------- from JSON */

/* Where in the file the reader is, and the first failure. */
struct reader {
	const char *path;
	char place[96];
	char *error;
	size_t error_size;
};

static bool refuse(struct reader *reader, const char *format, ...) TOOL_PRINTF(2, 3);

static bool refuse(struct reader *reader, const char *format, ...)
{
	char raw[200], text[200]; /* jansson quotes the file */
	va_list list;
	va_start(list, format);
	vsnprintf(raw, sizeof(raw), format, list);
	va_end(list);
	bench_text(text, sizeof(text), raw);
	snprintf(reader->error, reader->error_size, "%s: %s", reader->path, text);
	return false;
}

static const char *found(const json_t *value)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_STRING] = "a text", [JSON_INTEGER] = "a whole number",
		[JSON_REAL] = "a number",    [JSON_TRUE] = "true",    [JSON_FALSE] = "false",   [JSON_NULL] = "null",
	};
	return value ? names[json_typeof(value)] : "nothing";
}

static bool read_value(struct reader *reader, const struct bench_field *field, const json_t *value, void *to)
{
	char *at = (char *)to + field->offset;
	if (field->kind == BENCH_TEXT && json_is_string(value)) {
		bench_text(at, field->size, json_string_value(value));
		return true;
	}
	if (field->kind == BENCH_COUNT && json_is_integer(value) && json_integer_value(value) >= 0) {
		*(uint64_t *)(void *)at = (uint64_t)json_integer_value(value);
		return true;
	}
	if (field->kind == BENCH_REAL && (json_is_null(value) || (json_is_number(value) && json_number_value(value) >= 0))) {
		*(double *)(void *)at = json_is_null(value) ? (double)NAN : json_number_value(value);
		return true;
	}
	static const char *const expected[] = { "a text", "a whole number from 0 on", "a number from 0 on, or null" };
	if (json_is_number(value))
		return refuse(reader, "%s%s: expected %s, found %g", reader->place, field->name, expected[field->kind],
		              json_number_value(value));
	return refuse(reader, "%s%s: expected %s, found %s", reader->place, field->name, expected[field->kind], found(value));
}

static bool read_fields(struct reader *reader, const struct bench_field *fields, const json_t *object, void *to)
{
	if (!json_is_object(object)) {
		reader->place[strlen(reader->place) - 1] = 0; /* the dot at its end */
		return refuse(reader, "%s: expected an object, found %s", reader->place, found(object));
	}
	for (; fields->name; fields++)
		if (!read_value(reader, fields, json_object_get(object, fields->name), to))
			return false;
	return true;
}

/* A list of at most `most` entries in `object`. */
static json_t *read_list(struct reader *reader, const json_t *object, const char *name, size_t most)
{
	json_t *list = json_object_get(object, name);
	if (!json_is_array(list))
		refuse(reader, "%s%s: expected a list, found %s", reader->place, name, found(list));
	else if (json_array_size(list) > most)
		refuse(reader, "%s%s: expected at most %zu entries, found %zu", reader->place, name, most, json_array_size(list));
	else
		return list;
	return NULL;
}

/* One of the model's lists; the reader's place is the model's. */
static bool read_entries(struct reader *reader, size_t index, const struct bench_list *list, const json_t *object,
                         struct bench_model *model)
{
	const json_t *entries = read_list(reader, object, list->name, list->entries);
	char *at = (char *)model + list->offset;
	if (!entries)
		return false;
	*(size_t *)(void *)((char *)model + list->count) = json_array_size(entries);
	for (size_t i = 0; i < json_array_size(entries); i++) {
		snprintf(reader->place, sizeof(reader->place), "models[%zu].%s[%zu].", index, list->name, i);
		if (!read_fields(reader, list->fields, json_array_get(entries, i), at + i * list->size))
			return false;
	}
	return true;
}

static bool read_model(struct reader *reader, size_t index, const json_t *object, struct bench_model *model)
{
	snprintf(reader->place, sizeof(reader->place), "models[%zu].", index);
	bool ok = read_fields(reader, bench_model_fields, object, model);
	for (size_t i = 0; i < LISTS && ok; i++) {
		snprintf(reader->place, sizeof(reader->place), "models[%zu].", index);
		ok = read_entries(reader, index, &lists[i], object, model);
	}
	return ok;
}

static bool read_root(struct reader *reader, const json_t *root, struct bench_report *out)
{
	const json_t *format = json_object_get(root, "rwkvk_bench");
	if (!json_is_integer(format))
		return refuse(reader, "expected a file that `rwkvk bench -o json` wrote, found one without \"rwkvk_bench\"");
	if (json_integer_value(format) != BENCH_FORMAT)
		return refuse(reader, "rwkvk_bench: expected %d, found %lld: written by another version of rwkvk", BENCH_FORMAT,
		              (long long)json_integer_value(format));
	snprintf(reader->place, sizeof(reader->place), "device.");
	if (!read_fields(reader, bench_device_fields, json_object_get(root, "device"), &out->device))
		return false;
	reader->place[0] = 0;
	const json_t *models = read_list(reader, root, "models", 1000);
	if (!models)
		return false;
	if (json_array_size(models) == 0)
		return refuse(reader, "models: expected at least one, found none");
	out->models = calloc(json_array_size(models), sizeof(*out->models));
	if (!out->models)
		return refuse(reader, "out of memory");
	for (size_t i = 0; i < json_array_size(models); i++)
		if (!read_model(reader, i, json_array_get(models, i), &out->models[out->model_count++]))
			return false;
	return true;
}

bool bench_from_json(const char *path, const char *text, size_t bytes, struct bench_report *out, char *error, size_t error_size)
{
	struct reader reader = { .path = path, .error = error, .error_size = error_size };
	json_error_t mistake;
	*out = (struct bench_report){ 0 };
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &mistake);
	if (!root)
		return refuse(&reader, "line %d: expected JSON: %s", mistake.line, mistake.text);
	bool ok = read_root(&reader, root, out);
	json_decref(root);
	if (!ok)
		bench_report_free(out);
	return ok;
}

void bench_report_free(struct bench_report *report)
{
	free(report->models);
	*report = (struct bench_report){ 0 };
}
