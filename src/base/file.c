/* What follows from the functions of file.h that each system has its own of. */
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

rwkvk_status file_write(const char *path, const void *head, size_t head_bytes, const void *body, size_t body_bytes)
{
	struct file_writer file;
	TRY(file_create(path, (uint64_t)head_bytes + body_bytes, &file));
	rwkvk_status status = file_append(&file, head, head_bytes);
	if (status == RWKVK_OK)
		status = file_append(&file, body, body_bytes);
	if (status == RWKVK_OK)
		return file_commit(&file);
	file_give_up(&file);
	return status;
}

char *file_join(const char *folder, size_t folder_bytes, const char *name)
{
	size_t length = strlen(name);
	char *joined = malloc(folder_bytes + length + 2);
	if (!joined)
		return NULL;
	memcpy(joined, folder, folder_bytes);
	bool slash = folder_bytes && folder[folder_bytes - 1] != '/';
	if (slash)
		joined[folder_bytes] = '/';
	memcpy(joined + folder_bytes + slash, name, length + 1);
	return joined;
}
