/* Python's pickle, as far as model files need it.  A pickle is a program for a stack machine that can make Python import and
 * call anything; this machine imports and calls nothing.  It knows the opcodes of torch.save(), builds strings, numbers,
 * tuples, lists, dicts and descriptions of tensors, and refuses everything else by name.  Memory and time are bounded by the
 * pickle's size and by fixed limits, and nothing recurses. */
#ifndef RWKVK_FORMAT_PICKLE_H
#define RWKVK_FORMAT_PICKLE_H

#include "base/error.h"

enum pickle_kind {
	PICKLE_NONE,
	PICKLE_BOOL,
	PICKLE_INT,
	PICKLE_FLOAT,
	PICKLE_TEXT,
	PICKLE_TUPLE,
	PICKLE_LIST,
	PICKLE_DICT,
	PICKLE_GLOBAL, /* something that Python would import, of the few that are known */
	PICKLE_STORAGE,
	PICKLE_TENSOR,
};

enum pickle_type {
	PICKLE_F32,
	PICKLE_F16,
	PICKLE_BF16,
	PICKLE_F64,
	PICKLE_I64, /* from here on of no weights */
	PICKLE_I32,
	PICKLE_I16,
	PICKLE_I8,
	PICKLE_U8,
	PICKLE_TRUTH,
	PICKLE_C64,
	PICKLE_C128
};

struct pickle_storage {
	const uint8_t *key; /* the name of its entry in the archive */
	uint32_t key_bytes;
	enum pickle_type type;
	uint64_t count; /* elements */
};

/* Values are indices into pickle.values; the items of containers are chains of cells, index 0 ends them. */
struct pickle_value {
	enum pickle_kind kind;
	union {
		int64_t integer; /* bool, int; of a global its place in the table of pickle.c */
		double number;
		struct {
			const uint8_t *data; /* in the pickle's bytes, UTF-8 or not, without a zero at the end */
			uint32_t bytes;
		} text;
		struct {
			uint32_t first, last, count; /* of a dict: key, value, key, value */
		} items;
		struct pickle_storage storage;
		uint32_t tensor; /* index into pickle.tensors */
	};
};

struct pickle_cell {
	uint32_t value, next;
};

enum { PICKLE_DIMENSIONS = 8 };

struct pickle_tensor {
	uint32_t storage; /* a value */
	uint32_t rank;
	uint64_t offset, size[PICKLE_DIMENSIONS], stride[PICKLE_DIMENSIONS]; /* in elements */
};

struct pickle {
	struct pickle_value *values;
	struct pickle_cell *cells;
	struct pickle_tensor *tensors;
	size_t value_count, value_room, cell_count, cell_room, tensor_count, tensor_room;
	uint32_t root; /* what the pickle is */
};

/* `path` names the file in messages.  The bytes must outlive the result.  On failure *out is zeroed. */
rwkvk_status pickle_parse(const char *path, const uint8_t *data, size_t bytes, struct pickle *out);
void pickle_free(struct pickle *pickle); /* zeroed ones are allowed */

bool pickle_text_is(const struct pickle_value *value, const char *text);

#endif
