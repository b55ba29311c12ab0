/* Clock, power and temperature of the device while it works, where Linux shows them in /sys: hwmon and the driver's own files
 * for a GPU on the PCI bus, devfreq and thermal zones for one of a phone, cpufreq for a CPU device.  Elsewhere, and for what a
 * driver does not show (NVIDIA's shows nothing there), they are unknown. */
#ifndef RWKVK_TOOL_SENSORS_H
#define RWKVK_TOOL_SENSORS_H

#include "tool.h"

/* Files to read, each "" where there is none. */
struct sensors {
	char clock[512], power[512], temperature[512];
	double clock_unit; /* MHz per unit of the file */
	unsigned cpus;     /* of a CPU device: `clock` is then the folder with one folder for each of them */
};

struct sensor_values {
	double clock_mhz, power_w, temperature_c; /* NaN: unknown */
};

/* Looks for the device's files below `root`, which is "/sys". */
void sensors_find(const char *root, const rwkvk_device_info *device, struct sensors *out);
struct sensor_values sensors_read(const struct sensors *sensors);

/* The mean of values over time; those that are unknown do not count. */
struct sensor_means {
	struct sensor_values sum;
	unsigned clocks, powers, temperatures;
};
void sensors_add(struct sensor_means *means, struct sensor_values values);
struct sensor_values sensors_mean(const struct sensor_means *means);

#endif
