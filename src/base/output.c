/* The writer of file.h, for programs. */
#include <stdlib.h>

#include "base/file.h"
#include "rwkvk_tools.h"

struct rwkvk_output {
	struct file_writer file;
};

rwkvk_status rwkvk_output_open(const char *path, rwkvk_output **out)
{
	REQUIRE(path && out);
	rwkvk_output *output = calloc(1, sizeof *output);
	*out = NULL;
	if (!output)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory to write it", path);
	rwkvk_status status = file_create(path, 0, &output->file);
	if (status != RWKVK_OK)
		free(output);
	else
		*out = output;
	return status;
}

rwkvk_status rwkvk_output_write(rwkvk_output *output, const void *data, size_t bytes)
{
	REQUIRE(output && (data || bytes == 0));
	return file_append(&output->file, data, bytes);
}

rwkvk_status rwkvk_output_commit(rwkvk_output *output)
{
	REQUIRE(output);
	rwkvk_status status = file_commit(&output->file);
	free(output);
	return status;
}

void rwkvk_output_drop(rwkvk_output *output)
{
	if (!output)
		return;
	file_give_up(&output->file);
	free(output);
}

void rwkvk_outputs_remove(void)
{
	file_remove_temporaries();
}
