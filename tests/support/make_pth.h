/* Zip archives and pickles as PyTorch writes them, and as it never does, built byte by byte in memory for tests and fuzzing. */
#ifndef RWKVK_TEST_MAKE_PTH_H
#define RWKVK_TEST_MAKE_PTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t count, room;
};

/* No memory: abort(). */
void bytes_put(struct bytes *out, const void *data, size_t count);
void bytes_free(struct bytes *bytes);

/* ---------------------------------------------------------------------------------------------------- pickle */

void pickle_begin(struct bytes *out); /* PROTO, EMPTY_DICT */
void pickle_text(struct bytes *out, const char *text);
void pickle_int(struct bytes *out, uint64_t value);
void pickle_end(struct bytes *out); /* STOP */

struct tensor_spec {
	const char *name;    /* NULL: the tensor alone, without SETITEM */
	const char *storage; /* "FloatStorage" */
	const char *key;
	uint64_t count, offset;
	uint32_t rank;
	uint64_t size[8], stride[8];
	bool parameter; /* wrapped in _rebuild_parameter */
};

/* Puts a tensor under its name into the dict on top of the stack. */
void pickle_tensor(struct bytes *out, const struct tensor_spec *tensor);

/* ---------------------------------------------------------------------------------------------------- zip */

enum zip_kind { ZIP_STORED, ZIP_DEFLATED, ZIP_STORED_64 }; /* deflated: valid, but no smaller */

struct zip_maker {
	struct bytes file, directory;
	uint32_t entries;
	size_t last_header; /* of the last entry in the directory: for damage */
	bool zip64;
};

/* Stored data begins at multiples of 64, as in PyTorch's files. */
void zip_put(struct zip_maker *zip, const char *name, const void *data, size_t count, enum zip_kind kind);
/* Writes the directory; zip->file is the archive, which bytes_free() frees. */
void zip_end(struct zip_maker *zip);

#endif
