/* rwkvk devices: the Vulkan devices of this machine, as a table or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "streams.h"

static const char *type_name(rwkvk_device_type type)
{
	switch (type) {
	case RWKVK_DEVICE_INTEGRATED:
		return "integrated";
	case RWKVK_DEVICE_DISCRETE:
		return "discrete";
	case RWKVK_DEVICE_VIRTUAL:
		return "virtual";
	case RWKVK_DEVICE_CPU:
		return "cpu";
	case RWKVK_DEVICE_OTHER:
		break;
	}
	return "other";
}

static struct short_text version_text(const rwkvk_device_info *device)
{
	struct short_text out;
	snprintf(out.text, sizeof(out.text), "%u.%u.%u", device->api_version[0] % 1000, device->api_version[1] % 10000,
	         device->api_version[2] % 10000);
	return out;
}

static json_t *device_json(const rwkvk_device_info *device)
{
	json_t *row = json_object();
	json_object_set_new(row, "index", json_integer(device->index));
	json_object_set_new(row, "name", json_text(device->name));
	json_object_set_new(row, "type", json_string(type_name(device->type)));
	json_object_set_new(row, "driver", json_text(device->driver));
	json_object_set_new(row, "vulkan", json_string(version_text(device).text));
	json_object_set_new(row, "vendor_id", json_integer(device->vendor_id));
	json_object_set_new(row, "device_id", json_integer(device->device_id));
	json_object_set_new(row, "pci", json_text(device->pci));
	json_object_set_new(row, "subgroup_size", json_integer(device->subgroup_size));
	json_object_set_new(row, "subgroup_operations", json_boolean(device->subgroup_operations));
	json_object_set_new(row, "unified_memory", json_boolean(device->unified_memory));
	json_object_set_new(row, "max_workgroup_invocations", json_integer(device->max_workgroup_invocations));
	json_object_set_new(row, "max_shared_memory", json_integer(device->max_shared_memory));
	json_object_set_new(row, "max_storage_range", json_integer((json_int_t)device->max_storage_range));
	json_object_set_new(row, "device_memory", json_integer((json_int_t)device->device_memory));
	json_object_set_new(row, "default", json_boolean(device->is_default));
	json_object_set_new(row, "usable", json_boolean(device->usable));
	json_object_set_new(row, "reason", json_text(device->reason));
	return row;
}

static int print_json(const rwkvk_device_info *devices, size_t count)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(rows, device_json(&devices[i]));
	return out_json(rows);
}

static void print_row(const rwkvk_device_info *device, int name_width)
{
	char name[256], driver[512];
	struct short_text subgroup;
	if (device->subgroup_operations)
		snprintf(subgroup.text, sizeof(subgroup.text), "%" PRIu32, device->subgroup_size);
	else
		snprintf(subgroup.text, sizeof(subgroup.text), "none");
	out_printf("%c %3" PRIu32 "  %-*s  %-10s  %-9s  %7s %-7s  %-8s  %s\n", device->is_default ? '*' : ' ', device->index,
	           name_width, printable(name, sizeof(name), device->name), type_name(device->type), version_text(device).text,
	           show_bytes(device->device_memory).text, device->unified_memory ? "unified" : "own", subgroup.text,
	           printable(driver, sizeof(driver), device->driver));
	if (!device->usable)
		out_printf("       cannot be used: %s\n", device->reason);
}

static void print_table(const rwkvk_device_info *devices, size_t count)
{
	size_t width = strlen("name");
	for (size_t i = 0; i < count; i++)
		if (strlen(devices[i].name) > width)
			width = strlen(devices[i].name);
	out_printf("index  %-*s  %-10s  %-9s  %-15s  %-8s  %s\n", (int)width, "name", "type", "vulkan", "memory", "subgroup",
	           "driver");
	for (size_t i = 0; i < count; i++)
		print_row(&devices[i], (int)width);
	out_printf("* is used when no --device is given\n");
}

/* EXIT_DONE with a list to be freed, or EXIT_FAILED after a message. */
static int read_devices(rwkvk_device_info **devices, size_t *count)
{
	for (size_t capacity = 16;; capacity = *count) {
		*devices = calloc(capacity, sizeof(**devices));
		if (!*devices)
			return failed("out of memory");
		bool ok = rwkvk_devices(*devices, capacity, count) == RWKVK_OK;
		if (ok && *count <= capacity)
			return EXIT_DONE;
		free(*devices);
		if (!ok)
			return failed_call();
	}
}

static int list_devices(bool json)
{
	size_t count;
	rwkvk_device_info *devices;
	int code = read_devices(&devices, &count);
	if (code != EXIT_DONE)
		return code;
	if (json)
		code = print_json(devices, count);
	else if (count > 0)
		print_table(devices, count);
	free(devices);
	if (count == 0 && rwkvk_device_find(NULL, &(rwkvk_device_info){ 0 }) != RWKVK_OK)
		return failed_call(); /* the message says what to do */
	return code;
}

int cmd_devices(int argc, char **argv)
{
	bool json = false;
	const struct arg args[] = {
		{ .group = "Options", .name = "json", .kind = ARG_FLAG, .target = &json, .help = "print JSON", .standard = "a table" },
	};
	const struct usage usage = {
		.command = "devices",
		.synopsis = "[--json]",
		.about = "Lists the Vulkan devices, marks the one that is used by default, and says why others cannot be used.",
		.args = args,
		.arg_count = sizeof(args) / sizeof(args[0]),
		.notes = "memory: available for weights; \"unified\" is shared with the CPU.\n"
				 "subgroup: invocations that work together; \"none\" where they cannot exchange values.",
	};
	int code = args_parse(&usage, argc, argv, NULL);
	return code == ARGS_GO_ON ? list_devices(json) : code;
}
