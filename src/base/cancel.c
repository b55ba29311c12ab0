#include "base/cancel.h"

#include <stdlib.h>

rwkvk_status rwkvk_cancel_create(rwkvk_cancel **out)
{
	REQUIRE(out);
	*out = calloc(1, sizeof **out);
	return *out ? RWKVK_OK : fail(RWKVK_ERROR_MEMORY, "out of memory");
}

void rwkvk_cancel_destroy(rwkvk_cancel *cancel)
{
	free(cancel);
}

void rwkvk_cancel_set(rwkvk_cancel *cancel)
{
	if (cancel)
		atomic_store(&cancel->set, true);
}

void rwkvk_cancel_clear(rwkvk_cancel *cancel)
{
	if (cancel)
		atomic_store(&cancel->set, false);
}

bool rwkvk_cancel_is_set(const rwkvk_cancel *cancel)
{
	return cancel && atomic_load(&cancel->set);
}
