/* Devices without a model: the list, and their peak rates. */
#include <stdlib.h>

#include "base/structs.h"
#include "gpu/gpu.h"
#include "rwkvk_tools.h"

rwkvk_status rwkvk_devices(rwkvk_device_info *infos, size_t capacity, size_t *count)
{
	enum { MOST = 64 }; /* that are examined */
	REQUIRE(count && (infos || capacity == 0));
	capacity = capacity < MOST ? capacity : MOST;
	rwkvk_device_info *own = calloc(MOST, sizeof *own);
	if (!own)
		return fail(RWKVK_ERROR_MEMORY, "out of memory");
	rwkvk_status status = gpu_list(own, capacity, count);
	if (status == RWKVK_OK)
		status = WRITE_RESULTS(rwkvk_device_info, reason, own, *count, infos, capacity);
	free(own);
	return status;
}

rwkvk_status rwkvk_device_find(const char *device, rwkvk_device_info *out)
{
	rwkvk_device_info own;
	REQUIRE(out);
	TRY(gpu_find(device, &own));
	return WRITE_RESULT(rwkvk_device_info, reason, &own, out);
}

rwkvk_status rwkvk_device_measure(const rwkvk_measure_options *given, rwkvk_device_rates *out)
{
	rwkvk_measure_options options;
	rwkvk_device_rates own = { 0 };
	struct gpu *gpu;
	REQUIRE(out);
	TRY(READ_OPTIONS(rwkvk_measure_options, log_user, given, &options));
	TRY(gpu_open(&(struct gpu_options){ .device = options.device,
	                                    .cache_dir = options.cache_dir,
	                                    .log = options.log,
	                                    .log_user = options.log_user,
	                                    .arithmetic = true },
	             &gpu));
	rwkvk_status status = gpu_measure(gpu, options.progress, options.progress_user, &own);
	gpu_close(gpu);
	rwkvk_status written = WRITE_RESULT(rwkvk_device_rates, measured_bytes, &own, out);
	return status == RWKVK_OK ? written : status;
}
