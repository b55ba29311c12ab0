/* Streams tensors from one file to another.  A tensor that needs work is cut into chunks at fixed places.  Twice as many
 * chunks as threads are made at once and then written in order, so memory stays small and the bytes do not depend on the
 * number of threads. */
#include "format/output.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/numbers.h"
#include "format/merge.h"

enum { CHUNK = 1 << 17, CHUNKS_A_THREAD = 2, SLICE_BYTES = 8 << 20 };

struct output *output_add(struct output_list *list)
{
	if (list->count % 64 == 0) {
		struct output *more = realloc(list->items, (list->count + 64) * sizeof *more);
		if (!more)
			return NULL;
		list->items = more;
	}
	struct output *item = &list->items[list->count++];
	memset(item, 0, sizeof *item);
	return item;
}

void output_finish(struct output_list *list)
{
	free(list->items);
	*list = (struct output_list){ 0 };
}

uint64_t output_bytes(const struct output *output)
{
	uint64_t bytes = 0;
	if (output->type == DTYPE_FOREIGN) /* as it is */
		return output->source[0]->bytes;
	return dtype_bytes(output->type, output->rank, output->shape, &bytes) ? bytes : 0;
}

/* What rounds to infinity as F16 starts at 65520; blocks, whose scales are F16, hold more, but no sound weight is so large. */
float output_limit(enum dtype type)
{
	return type == DTYPE_F32 || type == DTYPE_BF16 ? INFINITY : 65520;
}

static uint64_t stored_bytes(enum dtype type, uint64_t count)
{
	return count / dtype_info[type].block * dtype_info[type].bytes;
}

/* ---------------------------------------------------------------------------------------------------- the stream */

struct stream {
	struct file_writer file;
	const char *from;
	const struct output_options *options;
	struct parallel *parallel;
	float *floats;  /* [workers, CHUNK] */
	uint8_t *bytes; /* [workers, CHUNKS_A_THREAD, CHUNK], of the largest type */
};

static rwkvk_status send(struct stream *s, const void *data, uint64_t bytes)
{
	const uint8_t *at = data;
	while (bytes > 0) {
		uint64_t slice = bytes < SLICE_BYTES ? bytes : SLICE_BYTES;
		TRY(file_append(&s->file, at, slice));
		at += slice;
		bytes -= slice;
		if (s->options->progress && !s->options->progress(s->options->progress_user, s->file.bytes, s->file.total))
			return fail(RWKVK_CANCELLED, "%s: writing was cancelled", s->file.path);
	}
	return RWKVK_OK;
}

static rwkvk_status out_of_range(const struct stream *s, const struct output *output, const struct tensor *source)
{
	return fail(
		RWKVK_ERROR_FILE,
		"%s: tensor %s has numbers that are not finite or too large for %s, which holds less than %g: choose BF16 or F32",
		s->from, source->file_name, dtype_info[output->type].name, (double)output_limit(output->type));
}

/* Floats to their stored form; false when one is out of range. */
static bool encode(const struct output *output, float *values, uint64_t count, void *to)
{
	float limit = output_limit(output->type);
	bool fits = true;
	for (uint64_t i = 0; output->change && i < count; i++)
		values[i] = output->change(values[i]);
	for (uint64_t i = 0; output->factor != 0 && i < count; i++)
		values[i] *= output->factor;
	for (uint64_t i = 0; limit < INFINITY && i < count; i++)
		fits &= fabsf(values[i]) < limit; /* NaN is not */
	dtype_from_float(output->type, values, count, to);
	return fits;
}

/* ---------------------------------------------------------------------------------------------------- in chunks */

/* A batch of chunks, one to a piece of work. */
struct batch {
	struct stream *stream;
	const struct output *output;
	const struct tensor *source;
	uint64_t first, count; /* elements */
	atomic_bool out_of_range;
};

static void make_chunk(void *user, unsigned worker, uint64_t index)
{
	struct batch *b = user;
	const struct output *output = b->output;
	float *values = b->stream->floats + (size_t)worker * CHUNK;
	uint64_t at = index * CHUNK, count = b->count - at < CHUNK ? b->count - at : CHUNK;
	tensor_to_float(b->source, b->first + at, count, values);
	if (!encode(output, values, count, b->stream->bytes + stored_bytes(output->type, at)))
		atomic_store(&b->out_of_range, true);
}

static rwkvk_status write_chunks(struct stream *s, const struct output *output, const struct tensor *source)
{
	uint64_t total = tensor_elements(source);
	uint64_t most = (uint64_t)parallel_workers(s->parallel) * CHUNKS_A_THREAD * CHUNK;
	for (uint64_t first = 0; first < total; first += most) {
		struct batch batch = { .stream = s, .output = output, .source = source, .first = first };
		batch.count = total - first < most ? total - first : most;
		parallel_for(s->parallel, ceil_div(batch.count, CHUNK), make_chunk, &batch);
		if (batch.out_of_range)
			return out_of_range(s, output, source);
		TRY(send(s, s->bytes, stored_bytes(output->type, batch.count)));
	}
	return RWKVK_OK;
}

/* ---------------------------------------------------------------------------------------------------- transposed */

static void transpose(const struct tensor *source, const float *from, float *to)
{
	uint64_t rows = source->shape[source->rank - 2], columns = source->shape[source->rank - 1], plane = rows * columns;
	for (uint64_t p = 0; p < tensor_elements(source); p += plane)
		for (uint64_t i = 0; i < rows; i++)
			for (uint64_t j = 0; j < columns; j++)
				to[p + j * rows + i] = from[p + i * columns + j];
}

/* As a whole: these are LoRA factors, each at most a hundredth of a model. */
static rwkvk_status write_transposed(struct stream *s, const struct output *output)
{
	const struct tensor *source = output->source[0];
	uint64_t count = tensor_elements(source);
	bool possible = count <= SIZE_MAX / sizeof(float);
	float *from = possible ? malloc(count * sizeof *from) : NULL, *to = possible ? malloc(count * sizeof *to) : NULL;
	rwkvk_status status = RWKVK_OK;
	if (!from || !to) {
		status = fail(RWKVK_ERROR_MEMORY, "%s: no memory to transpose tensor %s", s->from, source->file_name);
	} else {
		dtype_to_float(source->type, source->data, 0, count, from);
		transpose(source, from, to);
		status = encode(output, to, count, from) ? send(s, from, stored_bytes(output->type, count))
		                                         : out_of_range(s, output, source); /* no type is larger than F32 */
	}
	free(from);
	free(to);
	return status;
}

/* ---------------------------------------------------------------------------------------------------- whole files */

static rwkvk_status write_output(struct stream *s, const struct output *output)
{
	static const uint8_t zeros[256];
	if (output->transposed)
		TRY(write_transposed(s, output));
	for (uint32_t i = 0; i < output->sources && !output->transposed; i++) {
		const struct tensor *source = output->source[i];
		if (source->type == output->type && !source->merge && !output->change && output->factor == 0)
			TRY(send(s, source->data, source->bytes));
		else
			TRY(write_chunks(s, output, source));
	}
	uint32_t alignment = s->options->alignment;
	return alignment ? send(s, zeros, (alignment - s->file.bytes % alignment) % alignment) : RWKVK_OK;
}

static rwkvk_status write_all(struct stream *s, const struct output_list *list, const uint8_t *head, size_t head_bytes)
{
	TRY(parallel_start(s->options->threads, &s->parallel));
	unsigned workers = parallel_workers(s->parallel);
	s->floats = malloc((size_t)workers * CHUNK * sizeof *s->floats);
	s->bytes = malloc((size_t)workers * CHUNKS_A_THREAD * CHUNK * sizeof(float));
	if (!s->floats || !s->bytes)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for %u threads", s->file.path, workers);
	TRY(send(s, head, head_bytes));
	for (size_t i = 0; i < list->count; i++)
		TRY(write_output(s, &list->items[i]));
	return RWKVK_OK;
}

static uint64_t total_bytes(const struct output_list *list, size_t head_bytes, uint32_t alignment)
{
	uint64_t total = head_bytes;
	for (size_t i = 0; i < list->count; i++) {
		uint64_t bytes = output_bytes(&list->items[i]);
		total += bytes + (alignment ? (alignment - bytes % alignment) % alignment : 0);
	}
	return total;
}

rwkvk_status output_write(const struct output_list *list, const char *path, const char *from, const uint8_t *head,
                          size_t head_bytes, const struct output_options *options)
{
	struct stream s = { .from = from, .options = options };
	TRY(file_create(path, total_bytes(list, head_bytes, options->alignment), &s.file));
	rwkvk_status status = write_all(&s, list, head, head_bytes);
	parallel_stop(s.parallel);
	free(s.floats);
	free(s.bytes);
	if (status == RWKVK_OK)
		return file_commit(&s.file);
	file_give_up(&s.file);
	return status;
}
