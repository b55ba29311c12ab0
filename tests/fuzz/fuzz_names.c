/* Arbitrary bytes as a file of aliases for a few tensors. */
#include <stdlib.h>
#include <string.h>

#include "format/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static const char *const names[] = { "e.weight", "ln1a.bias", "ln0c.weight", "rosa12.o.bias", "a.a.a.a.a.a.b" };
	static const float number = 1;
	struct mapping mapping = { .data = (const uint8_t *)&number, .bytes = sizeof number };
	struct weights weights = { .path = strdup("model.pth"), .mapping = mapping };
	check(weights.path);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		check(weights_add(&weights, &mapping, names[i], names[i], DTYPE_F32, 1, (uint64_t[]){ 1 }, 0, 4) == RWKVK_OK);
	if (names_apply_text(&weights, "fuzz input", (const char *)data, bytes) != RWKVK_OK) {
		const char *text = rwkvk_last_error();
		check(strncmp(text, "fuzz input:", 11) == 0);
		for (; *text; text++)
			check(*text >= 0x20 && *text < 0x7f);
	} else {
		for (size_t i = 0; i < weights.count; i++)
			check(strlen(weights.tensors[i].name) < NAME_BYTES && weights.tensors[i].file_name);
	}
	weights_close(&weights);
	return 0;
}
