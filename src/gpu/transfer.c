/* Small transfers that wait: lists of pieces in one submission, or plain copies where the host can reach the memory. */
#include "gpu/vk.h"

#include <string.h>

/* The least size of staging memory. */
static const uint64_t LEAST_STAGING = 1 << 20;

static bool host_writes(const struct gpu_buffer *buffer)
{
	return buffer->mapped;
}

static bool host_reads(const struct gpu_buffer *buffer)
{
	return buffer->mapped && buffer->vk->readable;
}

/* An iterator over the bytes of pieces that the host cannot reach. */
struct walk {
	const struct gpu_piece *pieces;
	uint32_t count, index;
	uint64_t done; /* bytes done of the current piece */
	bool (*reached)(const struct gpu_buffer *buffer);
};

/* The next stretch of at most `room` bytes; false at the end, or without room. */
static bool next_stretch(struct walk *walk, uint64_t room, struct gpu_piece *out)
{
	while (walk->index < walk->count &&
	       (walk->reached(walk->pieces[walk->index].buffer) || walk->done == walk->pieces[walk->index].bytes)) {
		walk->index++;
		walk->done = 0;
	}
	if (walk->index == walk->count || room == 0)
		return false;
	const struct gpu_piece *piece = &walk->pieces[walk->index];
	*out = (struct gpu_piece){ .buffer = piece->buffer,
		                       .offset = piece->offset + walk->done,
		                       .bytes = smaller(piece->bytes - walk->done, room),
		                       .data = (char *)piece->data + walk->done };
	walk->done += out->bytes;
	return true;
}

/* Checks the pieces; *bytes: the total of those that go through staging memory. */
static rwkvk_status look_through(struct walk walk, uint64_t *bytes)
{
	struct gpu_piece stretch;
	*bytes = 0;
	for (uint32_t i = 0; i < walk.count; i++) {
		const struct gpu_piece *p = &walk.pieces[i];
		INVARIANT(p->offset % 4 == 0 && p->bytes % 4 == 0 && buffer_holds(p->buffer, p->offset, p->bytes));
	}
	while (next_stretch(&walk, UINT64_MAX, &stretch))
		*bytes += stretch.bytes;
	return RWKVK_OK;
}

/* As much as fits into staging memory at once; `walk` then continues after it. */
static rwkvk_status write_batch(struct gpu *gpu, struct staging *staging, struct walk *walk)
{
	struct gpu_piece stretch;
	uint64_t used = 0;
	TRY(transfer_begin(gpu, &staging->transfer));
	for (; next_stretch(walk, staging->buffer.bytes - used, &stretch); used += stretch.bytes) {
		memcpy((char *)staging->buffer.mapped + used, stretch.data, (size_t)stretch.bytes);
		buffer_copy(gpu, staging->transfer.commands, &staging->buffer, used, stretch.buffer, stretch.offset, stretch.bytes);
	}
	TRY(transfer_submit(gpu, &staging->transfer));
	return transfer_wait(gpu, &staging->transfer);
}

static rwkvk_status read_batch(struct gpu *gpu, struct staging *staging, struct walk *walk)
{
	struct walk again = *walk;
	struct gpu_piece stretch;
	uint64_t used = 0;
	TRY(transfer_begin(gpu, &staging->transfer));
	for (; next_stretch(walk, staging->buffer.bytes - used, &stretch); used += stretch.bytes)
		buffer_copy(gpu, staging->transfer.commands, stretch.buffer, stretch.offset, &staging->buffer, used, stretch.bytes);
	TRY(transfer_submit(gpu, &staging->transfer));
	TRY(transfer_wait(gpu, &staging->transfer));
	for (used = 0; next_stretch(&again, staging->buffer.bytes - used, &stretch); used += stretch.bytes)
		memcpy(stretch.data, (const char *)staging->buffer.mapped + used, (size_t)stretch.bytes);
	return RWKVK_OK;
}

static rwkvk_status prepare(struct gpu *gpu, const struct walk *walk, uint64_t *bytes)
{
	TRY(look_through(*walk, bytes));
	if (*bytes == 0)
		return RWKVK_OK;
	uint64_t wanted = *bytes > LEAST_STAGING ? *bytes : LEAST_STAGING;
	return staging_create(gpu, &gpu->memory.small, smaller(wanted, gpu->facts.caps.max_buffer));
}

rwkvk_status gpu_write_all(struct gpu *gpu, const struct gpu_piece *pieces, uint32_t count)
{
	struct walk walk = { .pieces = pieces, .count = count, .reached = host_writes };
	struct gpu_piece none;
	uint64_t bytes;
	TRY(prepare(gpu, &walk, &bytes));
	for (uint32_t i = 0; i < count; i++)
		if (host_writes(pieces[i].buffer))
			memcpy((char *)pieces[i].buffer->mapped + pieces[i].offset, pieces[i].data, (size_t)pieces[i].bytes);
	for (uint64_t left = bytes; left > 0; left -= smaller(left, gpu->memory.small.buffer.bytes))
		TRY(write_batch(gpu, &gpu->memory.small, &walk));
	INVARIANT(!next_stretch(&walk, UINT64_MAX, &none));
	return RWKVK_OK;
}

rwkvk_status gpu_read_all(struct gpu *gpu, const struct gpu_piece *pieces, uint32_t count)
{
	struct walk walk = { .pieces = pieces, .count = count, .reached = host_reads };
	struct gpu_piece none;
	uint64_t bytes;
	TRY(prepare(gpu, &walk, &bytes));
	for (uint32_t i = 0; i < count; i++)
		if (host_reads(pieces[i].buffer))
			memcpy(pieces[i].data, (const char *)pieces[i].buffer->mapped + pieces[i].offset, (size_t)pieces[i].bytes);
	for (uint64_t left = bytes; left > 0; left -= smaller(left, gpu->memory.small.buffer.bytes))
		TRY(read_batch(gpu, &gpu->memory.small, &walk));
	INVARIANT(!next_stretch(&walk, UINT64_MAX, &none));
	return RWKVK_OK;
}

rwkvk_status check_regions(const struct gpu_copy_region *regions, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct gpu_copy_region *r = &regions[i];
		INVARIANT(r->from_offset % 4 == 0 && r->to_offset % 4 == 0 && r->bytes % 4 == 0);
		INVARIANT(buffer_holds(r->from, r->from_offset, r->bytes) && buffer_holds(r->to, r->to_offset, r->bytes));
		INVARIANT(r->from->vk != r->to->vk || r->from_offset + r->bytes <= r->to_offset ||
		          r->to_offset + r->bytes <= r->from_offset);
	}
	return RWKVK_OK;
}

rwkvk_status gpu_copy_all(struct gpu *gpu, const struct gpu_copy_region *regions, uint32_t count)
{
	struct transfer *transfer = &gpu->memory.transfer;
	uint64_t bytes = 0;
	TRY(check_regions(regions, count));
	for (uint32_t i = 0; i < count; i++)
		bytes += regions[i].bytes;
	if (bytes == 0)
		return RWKVK_OK;
	TRY(transfer_begin(gpu, transfer));
	for (uint32_t i = 0; i < count; i++)
		if (regions[i].bytes > 0)
			buffer_copy(gpu, transfer->commands, regions[i].from, regions[i].from_offset, regions[i].to, regions[i].to_offset,
			            regions[i].bytes);
	TRY(transfer_submit(gpu, transfer));
	return transfer_wait(gpu, transfer);
}

rwkvk_status gpu_write(struct gpu_buffer *buffer, uint64_t offset, const void *data, uint64_t bytes)
{
	return gpu_write_all(buffer->gpu, &(struct gpu_piece){ buffer, offset, bytes, (void *)(uintptr_t)data }, 1);
}

rwkvk_status gpu_read(struct gpu_buffer *buffer, uint64_t offset, void *data, uint64_t bytes)
{
	return gpu_read_all(buffer->gpu, &(struct gpu_piece){ buffer, offset, bytes, data }, 1);
}

rwkvk_status gpu_copy(struct gpu_buffer *from, uint64_t from_offset, struct gpu_buffer *to, uint64_t to_offset, uint64_t bytes)
{
	return gpu_copy_all(from->gpu, &(struct gpu_copy_region){ from, to, from_offset, to_offset, bytes }, 1);
}
