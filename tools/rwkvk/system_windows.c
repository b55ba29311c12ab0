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

/* The console's, which outlives the program. */
static UINT code_page;
static HANDLE screen;
static DWORD screen_mode;

static void restore_console(void)
{
	SetConsoleOutputCP(code_page);
	SetConsoleMode(screen, screen_mode);
}

/* The C library would send a console without a buffer each byte of a character by itself. */
void system_begin(void)
{
	_setmode(_fileno(stdin), _O_BINARY);
	_setmode(_fileno(stdout), _O_BINARY);
	_setmode(_fileno(stderr), _O_BINARY);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	setvbuf(stderr, NULL, _IOFBF, 1 << 12);
	screen = GetStdHandle(STD_OUTPUT_HANDLE);
	if (GetConsoleMode(screen, &screen_mode))
		SetConsoleMode(screen, screen_mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING); /* for text that is dimmed */
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

/* ---------------------------------------------------------------------------------------------------- standard input */

enum { UNITS = 1024, CTRL_Z = 26 };
static char typed[3 * UNITS]; /* of what was typed, the bytes that nobody has asked for */
static size_t typed_at, typed_count;
static HANDLE handled; /* an event: the handler of Ctrl-C has returned */

/* A console hands bytes over in its code page, which lacks most characters, so lines come as UTF-16.  One that begins with
 * Ctrl-Z is the end.  Ctrl-C ends the read, whose caller finds what the handler has done. */
static bool read_typed(HANDLE keyboard)
{
	wchar_t units[UNITS];
	DWORD count = 0, last = 0;
	ResetEvent(handled);
	SetLastError(0);
	if (!ReadConsoleW(keyboard, units, UNITS - 1, &count, NULL) || count == 0) {
		if (GetLastError() == ERROR_OPERATION_ABORTED)
			WaitForSingleObject(handled, 1000);
		return false;
	}
	if (IS_HIGH_SURROGATE(units[count - 1]) && ReadConsoleW(keyboard, units + count, 1, &last, NULL))
		count += last;
	if (units[0] == CTRL_Z)
		return false;
	typed_at = 0;
	typed_count = (size_t)WideCharToMultiByte(CP_UTF8, 0, units, (int)count, typed, sizeof(typed), NULL, NULL);
	return typed_count > 0;
}

size_t system_read_input(void *bytes, size_t count)
{
	size_t done = 0;
	if (!system_is_terminal(stdin))
		return fread(bytes, 1, count, stdin);
	while (done < count && (typed_at < typed_count || read_typed((HANDLE)_get_osfhandle(_fileno(stdin)))))
		((char *)bytes)[done++] = typed[typed_at++];
	return done;
}

/* Ctrl-C ends the read of a console, not that of a pipe.  Where a console lets it go on, the line still does not count. */
size_t system_read_some(void *bytes, size_t count, bool (*interrupted)(void))
{
	if (interrupted())
		return 0;
	if (!system_is_terminal(stdin)) {
		int done = _read(_fileno(stdin), bytes, (unsigned)count);
		return done > 0 && !interrupted() ? (size_t)done : 0;
	}
	if (typed_at == typed_count && !read_typed((HANDLE)_get_osfhandle(_fileno(stdin))))
		return 0;
	size_t done = typed_count - typed_at < count ? typed_count - typed_at : count;
	memcpy(bytes, typed + typed_at, done);
	typed_at += done;
	return interrupted() ? 0 : done;
}

/* ---------------------------------------------------------------------------------------------------- other streams */

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
	SetEvent(handled);
	if (goes_on && event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
		Sleep(INFINITE);
	return goes_on;
}

void system_catch_interrupts(bool (*caught)(int number))
{
	handler = caught;
	handled = CreateEventW(NULL, FALSE, FALSE, NULL);
	SetConsoleCtrlHandler(on_event, TRUE);
}

void system_end_as(int number)
{
	(void)number;
}
