/* Writing GGUF. */
#ifndef RWKVK_FORMAT_GGUF_WRITER_H
#define RWKVK_FORMAT_GGUF_WRITER_H

#include "base/error.h"
#include "format/dtype.h"

/* Builds a GGUF v3 file: either all of it in memory order, written atomically (the demonstration model and tests), or the
 * front of one whose data follows (output.h).  Failures are sticky and reported at the end. */
enum { GGUF_ALIGNMENT = 32 };
struct gguf_writer;
struct gguf_writer *gguf_writer_create(void);
void gguf_put_string(struct gguf_writer *w, const char *key, const char *value);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_writer *w, const char *key, float value);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *values, const size_t *bytes, uint64_t count);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *values, uint64_t count);
/* A key as another file has it: metadata.keys. */
void gguf_put_raw(struct gguf_writer *w, const void *key, uint64_t bytes);

/* shape outermost first; `data` holds floats and is converted to `type`, which must be encodable, at once. */
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape,
                     const float *data);
/* The same of data that is of this type already. */
void gguf_put_stored(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape,
                     const void *data);
/* Writes the file and frees the writer, also on failure. */
rwkvk_status gguf_writer_finish(struct gguf_writer *w, const char *path);

/* Only the entry; the data follows the front in the order of the entries, each padded to GGUF_ALIGNMENT. */
void gguf_put_entry(struct gguf_writer *w, const char *name, enum dtype type, uint32_t rank, const uint64_t *shape);
/* The front, for free(), and frees the writer, also on failure. */
rwkvk_status gguf_writer_head(struct gguf_writer *w, const char *path, uint8_t **head, size_t *bytes);

#endif
