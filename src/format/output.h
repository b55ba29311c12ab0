/* Writing files of tensors: first a front (keys, names, shapes), which must be known in advance, then one tensor after the
 * other, each made from tensors of another file, a few megabytes at a time. */
#ifndef RWKVK_FORMAT_OUTPUT_H
#define RWKVK_FORMAT_OUTPUT_H

#include "format/weights.h"

/* Each number is read as a float, changed, multiplied by `factor` and stored as `type`.  If nothing changes, bytes are
 * copied. */
struct output {
	char name[300];
	enum dtype type;
	uint32_t rank;
	uint64_t shape[4];              /* outermost first */
	const struct tensor *source[8]; /* one after the other, each the same number of elements */
	uint32_t sources;
	bool transposed;        /* the last two dimensions are swapped relative to the only source */
	float (*change)(float); /* NULL: none */
	float factor;           /* 0: none */
};

struct output_list {
	struct output *items;
	size_t count;
};

/* An item at the end, zeroed, valid until the next call; NULL without memory. */
struct output *output_add(struct output_list *list);
void output_finish(struct output_list *list); /* zeroed lists are allowed */

uint64_t output_bytes(const struct output *output); /* 0: more than 2^64 */

/* The largest magnitude that `type` surely holds; what is not below it is refused. */
float output_limit(enum dtype type);

struct output_options {
	uint32_t alignment; /* of each tensor's data, by zeros after it */
	uint32_t threads;   /* 0: one a processor, 64 at most; the bytes do not depend on it */
	rwkvk_progress_fn *progress;
	void *progress_user;
};

/* Writes `path` atomically.  A number that an output's type cannot hold is RWKVK_ERROR_FILE; `from` is named then. */
rwkvk_status output_write(const struct output_list *list, const char *path, const char *from, const uint8_t *head,
                          size_t head_bytes, const struct output_options *options);

/* The header of a safetensors file, for free(); `name` may be NULL; the epsilon of ln_x, 0: it is the usual one. */
rwkvk_status safetensors_head(const struct output_list *list, const char *path, const char *name, float epsilon, uint8_t **head,
                              size_t *bytes);

#endif
