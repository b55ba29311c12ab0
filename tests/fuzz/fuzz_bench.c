/* Arbitrary bytes as a file of `rwkvk bench -o json`; accepted files are written and read again. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool condition)
{
	if (!condition)
		abort();
}

int failed(const char *format, ...)
{
	(void)format;
	return EXIT_FAILED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct bench_report report, again;
	char error[400] = "";
	if (!bench_from_json("fuzz input", (const char *)data, bytes, &report, error, sizeof(error))) {
		check(strncmp(error, "fuzz input: ", 12) == 0 && !report.models);
		for (const char *at = error; *at; at++)
			check((unsigned char)*at >= 0x20 && *at != 0x7f);
		return 0;
	}
	json_t *root = bench_to_json(&report);
	char *text = json_dumps(root, 0);
	check(text && bench_from_json("fuzz input", text, strlen(text), &again, error, sizeof(error)));
	check(again.model_count == report.model_count);
	free(text);
	json_decref(root);
	bench_report_free(&again);
	bench_report_free(&report);
	return 0;
}
