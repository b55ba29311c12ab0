/* Statistics of drivers' compilers under common names.  Every driver has its own names, and not all have all statistics. */
#ifndef RWKVK_TEST_COMPILER_STATISTICS_H
#define RWKVK_TEST_COMPILER_STATISTICS_H

#include "gpu/gpu.h"

struct compiler_statistics {
	double subgroup;  /* threads */
	double registers; /* that a thread needs, in the driver's unit */
	double occupancy; /* see compiler_occupancy_name(); NAN if the driver does not report it, as for all that follow */
	double instructions;
	double time;         /* see compiler_time_name() */
	double shared, code; /* bytes */
	double spills;       /* registers, stores and loads of them together: must be 0 */
	double scratch;      /* bytes of memory a thread has for them and for arrays: must be 0 */
};

rwkvk_status compiler_statistics(struct gpu *gpu, struct gpu_pipeline *pipeline, struct compiler_statistics *out);
/* What these numbers are with this driver (gpu_caps.driver); estimates of time by different compilers cannot be compared. */
const char *compiler_time_name(const char *driver);
const char *compiler_occupancy_name(const char *driver);

#endif
