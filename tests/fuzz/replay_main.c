/* Stands in for libFuzzer: runs the target once on every file that is given, or that lies in a folder that is given.  To
 * find no file is a failure. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static size_t files;

static void fail_with(const char *path)
{
	perror(path);
	exit(1);
}

/* In a block of exactly the file's size, so that the sanitizer sees a byte too many. */
static void replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file || fseek(file, 0, SEEK_END) != 0)
		fail_with(path);
	long bytes = ftell(file);
	uint8_t *data = bytes < 0 ? NULL : malloc(bytes ? (size_t)bytes : 1);
	rewind(file);
	if (!data || fread(data, 1, (size_t)bytes, file) != (size_t)bytes)
		fail_with(path);
	fclose(file);
	LLVMFuzzerTestOneInput(data, (size_t)bytes);
	free(data);
	files++;
}

static void replay(const char *path)
{
	DIR *folder = opendir(path);
	if (!folder) {
		replay_file(path);
		return;
	}
	for (struct dirent *entry; (entry = readdir(folder));) {
		char name[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
		replay_file(name);
	}
	closedir(folder);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%zu files\n", files);
	return files == 0;
}
