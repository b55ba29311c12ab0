#include "make_pth.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- bytes */

void bytes_put(struct bytes *out, const void *data, size_t count)
{
	while (out->room - out->count < count) {
		out->room = out->room ? 2 * out->room : 1024;
		out->data = realloc(out->data, out->room);
		if (!out->data)
			abort();
	}
	if (count)
		memcpy(out->data + out->count, data, count);
	out->count += count;
}

void bytes_free(struct bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct bytes){ 0 };
}

/* A little-endian number. */
static void put_number(struct bytes *out, uint64_t value, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bytes_put(out, &(uint8_t){ (uint8_t)(value >> 8 * i) }, 1);
}

static void put_string(struct bytes *out, const char *text)
{
	bytes_put(out, text, strlen(text));
}

/* ---------------------------------------------------------------------------------------------------- pickle */

void pickle_begin(struct bytes *out)
{
	bytes_put(out, "\x80\2}", 3);
}

void pickle_text(struct bytes *out, const char *text)
{
	put_string(out, "X");
	put_number(out, strlen(text), 4);
	put_string(out, text);
}

void pickle_int(struct bytes *out, uint64_t value)
{
	if (value < 1u << 8) {
		put_string(out, "K");
		put_number(out, value, 1);
	} else if (value < 1u << 16) {
		put_string(out, "M");
		put_number(out, value, 2);
	} else if (value < 1u << 31) {
		put_string(out, "J");
		put_number(out, value, 4);
	} else {
		put_string(out, "\x8a\x8");
		put_number(out, value, 8);
	}
}

void pickle_end(struct bytes *out)
{
	put_string(out, ".");
}

static void put_tuple(struct bytes *out, uint32_t rank, const uint64_t *items)
{
	put_string(out, "(");
	for (uint32_t i = 0; i < rank; i++)
		pickle_int(out, items[i]);
	put_string(out, "t");
}

void pickle_tensor(struct bytes *out, const struct tensor_spec *tensor)
{
	if (tensor->name)
		pickle_text(out, tensor->name);
	if (tensor->parameter)
		put_string(out, "ctorch._utils\n_rebuild_parameter\n(");
	put_string(out, "ctorch._utils\n_rebuild_tensor_v2\n((");
	pickle_text(out, "storage");
	put_string(out, "ctorch\n");
	put_string(out, tensor->storage);
	put_string(out, "\n");
	pickle_text(out, tensor->key);
	pickle_text(out, "cuda:0");
	pickle_int(out, tensor->count);
	put_string(out, "tQ");
	pickle_int(out, tensor->offset);
	put_tuple(out, tensor->rank, tensor->size);
	put_tuple(out, tensor->rank, tensor->stride);
	put_string(out, "\x89"
	                "ccollections\nOrderedDict\n)RtR");
	if (tensor->parameter)
		put_string(out, "\x88"
		                "ccollections\nOrderedDict\n)RtR");
	if (tensor->name)
		put_string(out, "s");
}

/* ---------------------------------------------------------------------------------------------------- zip */

static uint32_t checksum(const uint8_t *data, size_t count)
{
	uint32_t crc = 0xffffffff;
	for (size_t i = 0; i < count; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

/* Blocks of deflate's kind 0, which is a length, its complement and the bytes. */
static void put_deflated(struct bytes *out, const uint8_t *data, size_t count)
{
	do {
		size_t block = count < 0xffff ? count : 0xffff;
		put_number(out, block == count, 1);
		put_number(out, block, 2);
		put_number(out, ~(uint64_t)block, 2);
		bytes_put(out, data, block);
		data += block;
		count -= block;
	} while (count);
}

/* What both headers of an entry have in common, from the version needed on. */
static void put_header(struct bytes *out, const char *name, uint32_t crc, uint64_t packed, uint64_t count, enum zip_kind kind,
                       size_t extra)
{
	bool big = kind == ZIP_STORED_64;
	put_number(out, big ? 45 : 20, 2);
	put_number(out, 0, 2);
	put_number(out, kind == ZIP_DEFLATED ? 8 : 0, 2);
	put_number(out, 0x21, 4); /* 1980-01-01 */
	put_number(out, crc, 4);
	put_number(out, big ? 0xffffffff : packed, 4);
	put_number(out, big ? 0xffffffff : count, 4);
	put_number(out, strlen(name), 2);
	put_number(out, extra, 2);
}

static void put_sizes_64(struct bytes *out, uint64_t count, size_t more)
{
	put_number(out, 1, 2);
	put_number(out, 16 + more, 2);
	put_number(out, count, 8);
	put_number(out, count, 8);
}

void zip_put(struct zip_maker *zip, const char *name, const void *data, size_t count, enum zip_kind kind)
{
	struct bytes packed = { 0 };
	bool big = kind == ZIP_STORED_64;
	if (kind == ZIP_DEFLATED)
		put_deflated(&packed, data, count);
	else
		bytes_put(&packed, data, count);
	uint32_t crc = checksum(data, count);
	size_t offset = zip->file.count, extra = big ? 20 : 0, body = offset + 30 + strlen(name) + extra + 4;
	size_t padding = (64 - body % 64) % 64;

	put_string(&zip->file, "PK\3\4");
	put_header(&zip->file, name, crc, packed.count, count, kind, extra + 4 + padding);
	put_string(&zip->file, name);
	if (big)
		put_sizes_64(&zip->file, count, 0);
	put_string(&zip->file, "FB");
	put_number(&zip->file, padding, 2);
	for (size_t i = 0; i < padding; i++)
		put_string(&zip->file, "Z");
	bytes_put(&zip->file, packed.data, packed.count);

	zip->last_header = zip->directory.count;
	put_string(&zip->directory, "PK\1\2");
	put_number(&zip->directory, 45, 2);
	put_header(&zip->directory, name, crc, packed.count, count, kind, big ? 28 : 0);
	put_number(&zip->directory, 0, 8); /* comment, disk, attributes */
	put_number(&zip->directory, 0, 2);
	put_number(&zip->directory, big ? 0xffffffff : offset, 4);
	put_string(&zip->directory, name);
	if (big) {
		put_sizes_64(&zip->directory, count, 8);
		put_number(&zip->directory, offset, 8);
	}
	zip->zip64 = zip->zip64 || big;
	zip->entries++;
	bytes_free(&packed);
}

static void put_end_64(struct zip_maker *zip, size_t offset)
{
	size_t end = zip->file.count;
	put_string(&zip->file, "PK\6\6");
	put_number(&zip->file, 44, 8);
	put_number(&zip->file, 45, 2);
	put_number(&zip->file, 45, 2);
	put_number(&zip->file, 0, 8); /* disks */
	put_number(&zip->file, zip->entries, 8);
	put_number(&zip->file, zip->entries, 8);
	put_number(&zip->file, zip->directory.count, 8);
	put_number(&zip->file, offset, 8);
	put_string(&zip->file, "PK\6\7");
	put_number(&zip->file, 0, 4);
	put_number(&zip->file, end, 8);
	put_number(&zip->file, 1, 4);
}

void zip_end(struct zip_maker *zip)
{
	size_t offset = zip->file.count;
	bytes_put(&zip->file, zip->directory.data, zip->directory.count);
	if (zip->zip64)
		put_end_64(zip, offset);
	put_string(&zip->file, "PK\5\6");
	put_number(&zip->file, 0, 4); /* disks */
	put_number(&zip->file, zip->zip64 ? 0xffff : zip->entries, 2);
	put_number(&zip->file, zip->zip64 ? 0xffff : zip->entries, 2);
	put_number(&zip->file, zip->zip64 ? 0xffffffff : zip->directory.count, 4);
	put_number(&zip->file, zip->zip64 ? 0xffffffff : offset, 4);
	put_number(&zip->file, 0, 2);
	bytes_free(&zip->directory);
}
