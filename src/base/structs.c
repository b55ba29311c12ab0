#include "base/structs.h"

#include <string.h>

/* Every such struct begins with `size`. */
static size_t size_of(const void *given, size_t least)
{
	size_t size;
	memcpy(&size, given, sizeof size);
	return size ? size : least;
}

static rwkvk_status check_size(const char *name, size_t size, size_t least)
{
	if (size >= least)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_ARGUMENT, "%s.size is %zu: expected sizeof the struct, at least %zu, or 0", name, size, least);
}

rwkvk_status struct_read(const char *name, const void *given, size_t least, void *own, size_t own_bytes)
{
	memset(own, 0, own_bytes);
	memcpy(own, &own_bytes, sizeof own_bytes);
	if (!given)
		return RWKVK_OK;
	size_t size = size_of(given, least), known = size < own_bytes ? size : own_bytes;
	TRY(check_size(name, size, least));
	for (size_t i = known; i < size; i++)
		if (((const uint8_t *)given)[i])
			return fail(RWKVK_ERROR_ARGUMENT, "%s: byte %zu sets an option that version %s of the library does not know", name,
			            i, rwkvk_version());
	memcpy((uint8_t *)own + sizeof size, (const uint8_t *)given + sizeof size, known - sizeof size);
	return RWKVK_OK;
}

rwkvk_status struct_write(const char *name, const void *own, size_t own_bytes, size_t least, void *given)
{
	size_t size = size_of(given, least), known = size < own_bytes ? size : own_bytes;
	TRY(check_size(name, size, least));
	INVARIANT(known >= sizeof size);
	memcpy((uint8_t *)given + sizeof size, (const uint8_t *)own + sizeof size, known - sizeof size);
	memset((uint8_t *)given + known, 0, size - known);
	return RWKVK_OK;
}

rwkvk_status struct_write_all(const char *name, const void *own, size_t own_bytes, size_t least, size_t count, void *given,
                              size_t capacity)
{
	if (count == 0 || capacity == 0)
		return RWKVK_OK;
	size_t step = size_of(given, least);
	for (size_t i = 0; i < count && i < capacity; i++) {
		uint8_t *element = (uint8_t *)given + i * step;
		size_t size = i == 0 ? size_of(given, least) : step;
		memcpy(element, &size, sizeof size);
		TRY(struct_write(name, (const uint8_t *)own + i * own_bytes, own_bytes, least, element));
	}
	return RWKVK_OK;
}
