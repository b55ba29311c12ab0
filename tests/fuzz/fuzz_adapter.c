/* Arbitrary bytes as the adapter_config.json beside an adapter, as the name of one of its tensors, and as a file of adapters
 * for a few matrices.  Everything that is accepted is computed. */
#include <stdio.h>
#include <unistd.h>

#include "check_weights.h"
#include "format/adapter.h"
#include "format/merge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Close to known names: the first byte chooses one, and the rest of the input is appended to it. */
static void check_name(const uint8_t *data, size_t bytes)
{
	static const char *const begins[] = { "", "blocks.0.att.key.", "base_model.model.lm_head.lora_A.", "a.bone." };
	char name[128];
	if (bytes == 0)
		return;
	snprintf(name, sizeof name, "%s%.*s", begins[data[0] % 4], (int)(bytes - 1 < 60 ? bytes - 1 : 60), (const char *)data + 1);
	(void)is_adapter(name);
}

enum { ROWS = 16, COLUMNS = 32 };

static void add_tensor(struct weights *model, const char *name, uint64_t matrices, uint64_t rows, uint64_t columns)
{
	static const float numbers[ROWS * COLUMNS] = { 1 };
	const struct mapping in = { .data = (const uint8_t *)numbers, .bytes = sizeof numbers };
	const uint64_t shape[] = { matrices, rows, columns };
	uint32_t rank = matrices ? 3 : 2;
	uint64_t bytes = (matrices ? matrices : 1) * rows * columns * sizeof *numbers;
	CHECK(weights_add(model, &in, name, name, DTYPE_F32, rank, shape + 3 - rank, 0, bytes) == RWKVK_OK);
}

/* Either version's own LoRA factors, which have names of their own in fla. */
static void add_factors(struct weights *model, bool six)
{
	if (!six) {
		add_tensor(model, "blocks.0.att.w1", 0, COLUMNS, 4);
		return;
	}
	add_tensor(model, "blocks.0.att.time_maa_x", 0, 1, COLUMNS);
	add_tensor(model, "blocks.0.att.time_maa_w1", 0, COLUMNS, 10);
	add_tensor(model, "blocks.0.att.time_maa_w2", 5, 2, COLUMNS);
}

/* `path` holds the input.  In one case, its scale must be there, too. */
static void check_file(const char *path, bool six)
{
	struct weights model = { .path = strdup("model.pth") };
	float values[ROWS * COLUMNS];
	CHECK(model.path);
	add_tensor(&model, "blocks.0.att.key.weight", 0, ROWS, COLUMNS);
	add_factors(&model, six);
	add_tensor(&model, "emb.weight", 0, 8, COLUMNS);
	add_tensor(&model, "ln_out.weight", 0, 1, COLUMNS);
	rwkvk_status status = weights_adapt(&model, path, six ? 0 : 0.5f, 1);
	if (status != RWKVK_OK)
		check_refusal(status, path);
	for (size_t i = 0; i < model.count && status == RWKVK_OK; i++)
		if (model.tensors[i].type != DTYPE_FOREIGN && tensor_elements(&model.tensors[i]) <= ROWS * COLUMNS)
			tensor_to_float(&model.tensors[i], 0, tensor_elements(&model.tensors[i]), values);
	weights_close(&model);
}

static void check_as_file(const uint8_t *data, size_t bytes)
{
	char path[] = "/tmp/fuzz-adapter-XXXXXX";
	int file = mkstemp(path);
	CHECK(file >= 0 && write(file, data, bytes) == (ssize_t)bytes);
	close(file);
	check_file(path, false);
	check_file(path, true);
	unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct adapter_config config;
	const struct mapping file = { .data = data, .bytes = bytes };
	rwkvk_status status = adapter_config_parse("fuzz input", &file, &config);
	if (status != RWKVK_OK)
		check_refusal(status, "fuzz input: ");
	CHECK(status == RWKVK_OK ? config.found : config.alpha_count == 0);
	CHECK(config.alpha == 0 || (config.alpha >= 1e-6 && config.alpha <= 1e6));
	for (size_t i = 0; i < config.alpha_count; i++)
		CHECK(*config.alphas[i].module && config.alphas[i].alpha >= 1e-6 && config.alphas[i].alpha <= 1e6);
	adapter_config_free(&config);
	check_name(data, bytes);
	if (bytes > 8)
		check_as_file(data, bytes);
	return 0;
}
