/* The formats that model files may have. */
#ifndef RWKVK_FORMAT_READERS_H
#define RWKVK_FORMAT_READERS_H

#include "format/weights.h"

/* Opens by content; a folder by the names of the files in it.  `data` non-NULL: parse these bytes instead of the file, `path`
 * is then only a name. `names`: a file of aliases (names.c), NULL for none.  On failure *out is zeroed. */
rwkvk_status weights_open(const char *path, const void *data, size_t bytes, const char *names, struct weights *out);
/* The same from files that are read into memory instead of being mapped. */
rwkvk_status weights_open_read(const char *path, const char *names, struct weights *out);
/* The same from a file that is already open, mapped or read.  `name` is for messages; NULL: "file descriptor N". */
rwkvk_status weights_open_descriptor(const struct descriptor *from, const char *name, bool read_file, const char *names,
                                     struct weights *out);

/* The tensors of a safetensors or .pth file, or of an index of such files, under the names that they have there. */
rwkvk_status weights_open_tensors(const char *path, bool read_files, struct weights *out);

/* The readers: weights->path and mapping are set, they fill the rest.  On failure they may leave partial contents, which
 * weights_close() frees. */
rwkvk_status gguf_read(struct weights *weights);
rwkvk_status ggmf_read(struct weights *weights); /* rwkv.cpp .bin */
rwkvk_status safetensors_read(struct weights *weights);
rwkvk_status pth_read(struct weights *weights);
rwkvk_status shards_read(struct weights *weights); /* an index of safetensors or .pth files */
/* Fails with a message that says what `file` holds instead of what was `expected`. */
rwkvk_status refuse_file(const struct weights *weights, const struct mapping *file, const char *expected);

/* Parts of the readers of files that models may have several of.  They are recognised by their first bytes: safetensors by a
 * 64-bit header length, of which the upper bytes are 0, and a brace; .pth, which Hugging Face calls .bin, by those of a zip
 * archive. Adding the tensors of `file`, weights->mapping or a part, under the names that they have there. */
#define SAFETENSORS_EPSILON "rwkvk.group_norm_epsilon" /* a key of __metadata__, of our own: the epsilon of ln_x */
bool safetensors_is(const struct mapping *file);
rwkvk_status safetensors_add(struct weights *weights, const struct mapping *file);
bool pth_is(const struct mapping *file);
rwkvk_status pth_add(struct weights *weights, const struct mapping *file);
rwkvk_status shards_add(struct weights *weights); /* of all files that the index weights->mapping lists */

struct json_t;

/* config_json.c: what a config.json beside a model's file says, as Hugging Face's programs write it; zeroed without one.  One
 * that cannot be read is RWKVK_ERROR_FILE. */
struct config_json {
	double norm_epsilon;  /* norm_eps; 0: not said */
	bool says_tied, tied; /* tie_word_embeddings */
};
rwkvk_status config_json_read(const struct weights *weights, struct config_json *out);
/* The JSON of such a file; `what` completes "expected JSON ... beside it".  *root is for json_decref(). */
rwkvk_status config_json_load(const char *path, const struct mapping *file, const char *what, struct json_t **root);
rwkvk_status config_json_parse(const char *path, const struct mapping *file, struct config_json *out); /* its bytes */
/* The number that a text holds in JSON's notation, whatever the locale; 0 if it is none. */
double text_number(const char *text);

/* What to open for `path`: of a folder, the index or the model in it.  *out is for free(). */
rwkvk_status shards_resolve(const char *path, char **out);
/* Refuses a file whose name says that it is one of several, and names the index to open instead. */
rwkvk_status shards_refuse_part(const char *path);

#endif
