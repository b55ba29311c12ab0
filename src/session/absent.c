/* Stores that CMake's options leave out of this build: refused by name. */
#include "session/store.h"

#ifndef RWKVK_STORE
rwkvk_status store_redis_create(const struct store_redis_options *options, const struct state_header *want,
                                const struct listener *listener, struct store **out)
{
	(void)options, (void)want, (void)listener;
	*out = NULL;
	return fail(RWKVK_ERROR_UNSUPPORTED, "rwkvk_cache_options.store: this build of rwkvk has no state store: build it with "
	                                     "-DRWKVK_STORE=ON, which needs hiredis");
}
#endif
