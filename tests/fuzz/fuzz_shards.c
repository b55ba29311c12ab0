/* Arbitrary bytes as the index of a model in three files, which lie in a folder of this process: "a" holds emb.weight and
 * blocks.0.att.w1, "b" head.weight; "c" is PyTorch's and holds ln_out.weight. */
#include "check_weights.h"
#include "make_pth.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#ifdef _WIN32
#include "on_windows.h"
static char folder[] = "rwkvk-fuzz-XXXXXX";
#else
static char folder[] = "/tmp/rwkvk-fuzz-XXXXXX";
#endif
static const char *const names[] = { "a", "b", "c" };

static void path_of(const char *name, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", folder, name);
}

static void remove_folder(void)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[64];
		path_of(names[i], path, sizeof path);
		unlink(path);
	}
	rmdir(folder);
}

static void write_pth(const char *path)
{
	static const float numbers[2];
	const struct tensor_spec tensor = {
		.name = "ln_out.weight", .storage = "FloatStorage", .key = "0", .count = 2, .rank = 1, .size = { 2 }, .stride = { 1 }
	};
	struct bytes pickle = { 0 };
	struct zip_maker zip = { 0 };
	pickle_begin(&pickle);
	pickle_tensor(&pickle, &tensor);
	pickle_end(&pickle);
	zip_put(&zip, "m/data.pkl", pickle.data, pickle.count, ZIP_STORED);
	zip_put(&zip, "m/data/0", numbers, sizeof numbers, ZIP_STORED);
	zip_end(&zip);
	FILE *file = fopen(path, "wb");
	CHECK(file && fwrite(zip.file.data, 1, zip.file.count, file) == zip.file.count && fclose(file) == 0);
	bytes_free(&zip.file);
	bytes_free(&pickle);
}

static void make_folder(void)
{
	static const char *const headers[] = {
		"{\"emb.weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]},"
		"\"blocks.0.att.w1\":{\"dtype\":\"F16\",\"shape\":[3,4],\"data_offsets\":[32,56]}}",
		"{\"head.weight\":{\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,32]}}",
	};
	static const size_t data[] = { 56, 32 };
	char pth[64];
	CHECK(mkdtemp(folder));
	atexit(remove_folder);
	path_of(names[2], pth, sizeof pth);
	write_pth(pth);
	for (size_t i = 0; i < 2; i++) {
		char path[64], zeros[64] = { 0 };
		uint64_t length = strlen(headers[i]);
		path_of(names[i], path, sizeof path);
		FILE *file = fopen(path, "wb");
		CHECK(file && fwrite(&length, 8, 1, file) == 1 && fwrite(headers[i], 1, length, file) == length);
		CHECK(fwrite(zeros, 1, data[i], file) == data[i] && fclose(file) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static bool made;
	char path[64];
	if (!made)
		make_folder();
	made = true;
	path_of("fuzz input", path, sizeof path); /* only for messages */
	struct weights weights = { .path = strdup(path), .mapping = { .data = data, .bytes = bytes, .mapped = true } };
	rwkvk_status status = shards_read(&weights);
	weights.mapping = (struct mapping){ .data = data, .bytes = bytes }; /* not ours */
	if (status == RWKVK_OK)
		check_weights(&weights);
	else
		check_refusal(status, folder);
	weights_close(&weights);
	return 0;
}
