/* The manifest (windows.manifest) makes UTF-8 the code page of the program, so that its arguments, and names that fopen()
 * takes, are UTF-8. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

#include <ntsecapi.h>
#include <psapi.h>

static UINT code_page; /* the console's, which outlives the program */

static void restore_console(void)
{
	SetConsoleOutputCP(code_page);
}

/* The C library would send a console without a buffer each byte of a character by itself. */
void system_begin(void)
{
	_setmode(_fileno(stdin), _O_BINARY);
	_setmode(_fileno(stdout), _O_BINARY);
	_setmode(_fileno(stderr), _O_BINARY);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	setvbuf(stderr, NULL, _IOFBF, 1 << 12);
	code_page = GetConsoleOutputCP();
	if (code_page && SetConsoleOutputCP(CP_UTF8))
		atexit(restore_console);
}

bool system_entropy(uint64_t *bits)
{
	return RtlGenRandom(bits, sizeof(*bits));
}

bool system_is_terminal(FILE *stream)
{
	DWORD mode;
	return GetConsoleMode((HANDLE)_get_osfhandle(_fileno(stream)), &mode);
}

/* The C library has no error number for a pipe whose reader has gone. */
int system_write_error(void)
{
	switch (_doserrno) {
	case ERROR_NO_DATA:
	case ERROR_BROKEN_PIPE:
	case ERROR_PIPE_NOT_CONNECTED:
		return EPIPE;
	}
	return errno;
}

/* Here only writing shows it. */
bool system_output_is_closed(void)
{
	return false;
}

/* Such as NUL, or a pipe: opening one could wait for its other end. */
bool system_is_special(const char *path)
{
	char full[16] = "";
	DWORD length = GetFullPathNameA(path, sizeof(full), full, NULL);
	return strncmp(length < sizeof(full) ? full : path, "\\\\.\\", 4) == 0;
}

const char *system_path_name(const char *path)
{
	const char *name = path;
	for (const char *at = path; *at; at++)
		if (*at == '/' || *at == '\\' || *at == ':')
			name = at + 1;
	return name;
}

/* ---------------------------------------------------------------------------------------------------- private files, locks */

/* Files in a user's folders are private already. */
void system_keep_private(void)
{
}

struct system_lock {
	HANDLE file;
};

struct system_lock *system_lock(const char *path, bool *taken)
{
	struct system_lock *lock = malloc(sizeof(*lock));
	*taken = false;
	if (!lock)
		return NULL;
	lock->file = CreateFileA(path, GENERIC_WRITE, 0, NULL, OPEN_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
	if (lock->file != INVALID_HANDLE_VALUE)
		return lock;
	*taken = GetLastError() == ERROR_SHARING_VIOLATION;
	errno = GetLastError() == ERROR_PATH_NOT_FOUND ? ENOENT : EACCES;
	free(lock);
	return NULL;
}

void system_unlock(struct system_lock *lock)
{
	if (!lock)
		return;
	CloseHandle(lock->file);
	free(lock);
}

/* ---------------------------------------------------------------------------------------------------- memory */

/* In a file that is deleted when it is closed, and not written to the disk while there is memory for it. */
bool memory_open(struct memory_stream *out)
{
	char folder[MAX_PATH + 1], name[MAX_PATH + 1];
	*out = (struct memory_stream){ 0 };
	if (GetTempPathA(sizeof(folder), folder) && GetTempFileNameA(folder, "rwk", 0, name))
		out->stream = fopen(name, "w+bTD");
	return out->stream != NULL;
}

bool memory_close(struct memory_stream *memory)
{
	FILE *stream = memory->stream;
	long count = ftell(stream);
	bool whole = !ferror(stream) && count >= 0;
	memory->stream = NULL;
	memory->bytes = whole ? malloc((size_t)count + 1) : NULL;
	rewind(stream);
	whole = memory->bytes && fread(memory->bytes, 1, (size_t)count, stream) == (size_t)count;
	memory->count = whole ? (size_t)count : 0;
	fclose(stream);
	return whole;
}

void system_restart_peak(void)
{
}

uint64_t system_peak_memory(void)
{
	PROCESS_MEMORY_COUNTERS counters;
	return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof(counters)) ? counters.PeakWorkingSetSize : 0;
}

/* ---------------------------------------------------------------------------------------------------- Ctrl-C */

static bool (*handler)(int number);

/* In a thread of its own.  When the window is closed, or the user logs off, the system ends the program once this returns, or
 * after five seconds: time for what an interrupted command still does. */
static BOOL WINAPI on_event(DWORD event)
{
	bool goes_on = handler(event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT ? SIGINT : SIGTERM);
	if (goes_on && event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
		Sleep(INFINITE);
	return goes_on;
}

void system_catch_interrupts(bool (*caught)(int number))
{
	handler = caught;
	SetConsoleCtrlHandler(on_event, TRUE);
}

/* Windows always does that. */
void system_interrupts_end_reads(bool value)
{
	(void)value;
}

void system_end_as(int number)
{
	(void)number;
}
