#include "sensors.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CPUS = 1024 };

/* ---------------------------------------------------------------------------------------------------- files */

/* The number in a file, or NaN. */
static double number_in(const char *path)
{
	double value;
	FILE *file = *path ? fopen(path, "r") : NULL;
	if (!file)
		return (double)NAN;
	if (fscanf(file, "%lf", &value) != 1)
		value = (double)NAN;
	fclose(file);
	return value;
}

static bool has_number(const char *path)
{
	return isfinite(number_in(path));
}

/* The first entry of `folder`, in the order of names, that begins with `prefix` and contains `part`.  False: there is none. */
static bool first_entry(const char *folder, const char *prefix, const char *part, char *out, size_t size)
{
	char best[256] = "";
	DIR *entries = opendir(folder);
	const struct dirent *entry;
	while (entries && (entry = readdir(entries)))
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && strstr(entry->d_name, part) &&
		    strlen(entry->d_name) < sizeof(best) && (!*best || strcmp(entry->d_name, best) < 0))
			snprintf(best, sizeof(best), "%s", entry->d_name);
	if (entries)
		closedir(entries);
	return *best && snprintf(out, size, "%s/%s", folder, best) < (int)size;
}

static bool choose(char out[512], const char *format, ...) TOOL_PRINTF(2, 3);

/* Sets *out to that path if the file has a number in it. */
static bool choose(char out[512], const char *format, ...)
{
	char path[512];
	va_list list;
	va_start(list, format);
	int length = vsnprintf(path, sizeof(path), format, list);
	va_end(list);
	if (*out || length >= (int)sizeof(path) || !has_number(path))
		return false;
	memcpy(out, path, sizeof(path));
	return true;
}

static void choose_clock(struct sensors *out, double unit, const char *folder, const char *name)
{
	if (choose(out->clock, "%s/%s", folder, name))
		out->clock_unit = unit;
}

/* ---------------------------------------------------------------------------------------------------- devices */

/* amdgpu shows all three in hwmon; i915 and xe have their clock in files of their own. */
static void find_on_bus(const char *root, const char *pci, struct sensors *out)
{
	char folder[320], entry[400], card[400];
	snprintf(folder, sizeof(folder), "%.256s/bus/pci/devices/%.16s/hwmon", root, pci);
	if (first_entry(folder, "hwmon", "", entry, sizeof(entry))) {
		choose_clock(out, 1e-6, entry, "freq1_input");
		choose(out->power, "%s/power1_average", entry);
		choose(out->power, "%s/power1_input", entry);
		choose(out->temperature, "%s/temp1_input", entry);
	}
	snprintf(folder, sizeof(folder), "%.256s/bus/pci/devices/%.16s/drm", root, pci);
	if (first_entry(folder, "card", "", card, sizeof(card)))
		choose_clock(out, 1, card, "gt_act_freq_mhz");
	snprintf(folder, sizeof(folder), "%.256s/bus/pci/devices/%.16s", root, pci);
	choose_clock(out, 1, folder, "tile0/gt0/freq0/act_freq");
}

/* Without a bus: devfreq folders are named after the device's address and kind ("3d00000.gpu", "fb000000.mali"). */
static void find_embedded(const char *root, struct sensors *out)
{
	static const char *const kinds[] = { "gpu", "mali", "kgsl" };
	char folder[300], entry[400];
	snprintf(folder, sizeof(folder), "%.256s/class/devfreq", root);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (first_entry(folder, "", kinds[i], entry, sizeof(entry)))
			choose_clock(out, 1e-6, entry, "cur_freq");
	for (unsigned zone = 0; zone < 128 && !*out->temperature; zone++) {
		char path[400], type[64] = "";
		snprintf(path, sizeof(path), "%.256s/class/thermal/thermal_zone%u/type", root, zone);
		FILE *file = fopen(path, "r");
		if (file && fscanf(file, "%63s", type) == 1 && strstr(type, "gpu"))
			choose(out->temperature, "%.256s/class/thermal/thermal_zone%u/temp", root, zone);
		if (file)
			fclose(file);
	}
}

static void find_cpu(const char *root, struct sensors *out)
{
	char path[512];
	for (out->cpus = 0; out->cpus < MOST_CPUS; out->cpus++) {
		snprintf(path, sizeof(path), "%.256s/devices/system/cpu/cpu%u/cpufreq/scaling_cur_freq", root, out->cpus);
		if (!has_number(path))
			break;
	}
	if (out->cpus > 0) {
		snprintf(out->clock, sizeof(out->clock), "%.256s/devices/system/cpu", root);
		out->clock_unit = 1e-3;
	}
}

void sensors_find(const char *root, const rwkvk_device_info *device, struct sensors *out)
{
	*out = (struct sensors){ 0 };
	if (device->type == RWKVK_DEVICE_CPU)
		find_cpu(root, out);
	else if (device->pci[0])
		find_on_bus(root, device->pci, out);
	else
		find_embedded(root, out);
}

/* ---------------------------------------------------------------------------------------------------- values */

/* The mean of all CPUs' clocks. */
static double cpu_clock(const struct sensors *sensors)
{
	char path[600];
	double sum = 0;
	for (unsigned i = 0; i < sensors->cpus; i++) {
		snprintf(path, sizeof(path), "%s/cpu%u/cpufreq/scaling_cur_freq", sensors->clock, i);
		sum += number_in(path);
	}
	return sum / sensors->cpus;
}

/* A sensor that answers with less than nothing is broken. */
static double known(double value)
{
	return value >= 0 && isfinite(value) ? value : (double)NAN;
}

struct sensor_values sensors_read(const struct sensors *sensors)
{
	double clock = sensors->cpus > 0 ? cpu_clock(sensors) : number_in(sensors->clock);
	return (struct sensor_values){
		.clock_mhz = known(clock * sensors->clock_unit),
		.power_w = known(1e-6 * number_in(sensors->power)),
		.temperature_c = known(1e-3 * number_in(sensors->temperature)),
	};
}

static void add(double *sum, unsigned *count, double value)
{
	if (isfinite(value)) {
		*sum += value;
		++*count;
	}
}

void sensors_add(struct sensor_means *means, struct sensor_values values)
{
	add(&means->sum.clock_mhz, &means->clocks, values.clock_mhz);
	add(&means->sum.power_w, &means->powers, values.power_w);
	add(&means->sum.temperature_c, &means->temperatures, values.temperature_c);
}

struct sensor_values sensors_mean(const struct sensor_means *means)
{
	return (struct sensor_values){
		.clock_mhz = means->clocks ? means->sum.clock_mhz / means->clocks : (double)NAN,
		.power_w = means->powers ? means->sum.power_w / means->powers : (double)NAN,
		.temperature_c = means->temperatures ? means->sum.temperature_c / means->temperatures : (double)NAN,
	};
}
