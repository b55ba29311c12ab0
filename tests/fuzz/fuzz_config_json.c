/* Arbitrary bytes as the config.json beside a model. */
#include "check_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct config_json config = { 0 };
	const struct mapping file = { .data = data, .bytes = bytes };
	rwkvk_status status = config_json_parse("fuzz input", &file, &config);
	if (status != RWKVK_OK)
		check_refusal(status, "fuzz input: ");
	CHECK(config.norm_epsilon == 0 || (config.norm_epsilon >= 1e-30 && config.norm_epsilon <= 1));
	CHECK(config.says_tied || !config.tied);
	return 0;
}
