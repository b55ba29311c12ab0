/* Folders, on top of file_system.h; listing is in folder_posix.c and folder_windows.c. */
#include "base/folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/file_system.h"

rwkvk_status folder_make(const char *path)
{
	char *above = strdup(path);
	if (!above)
		return fail(RWKVK_ERROR_MEMORY, "%s: no memory for its name", path);
	file_make_folders(above);
	free(above);
	int error = system_make_folder(path);
	if (!error || file_kind(path) == FILE_FOLDER)
		return RWKVK_OK;
	return fail(RWKVK_ERROR_FILE, "%s: cannot be created: %s: give a folder that exists and may be written to", path,
	            system_error_text(error));
}

bool file_remove(const char *path)
{
	return system_remove(path) == 0;
}
