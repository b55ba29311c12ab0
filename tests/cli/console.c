/* For Windows, whose consoles have no other end for a script: runs a program on a console of its own.
 *
 *     console PROGRAM ARGUMENT...
 *
 * Lines of standard input are typed there; a byte 3 is Ctrl-C.  The program writes where this one does; with SCREEN set, to the
 * console, whose text is written at the end.  Ends with the program's exit code; the program ends when this one is killed. */
#include <fcntl.h>
#include <io.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

static HANDLE open_console(const char *name)
{
	SECURITY_ATTRIBUTES inherited = { sizeof inherited, NULL, TRUE };
	return CreateFileA(name, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherited, OPEN_EXISTING, 0,
	                   NULL);
}

static BOOL WINAPI ignore(DWORD event)
{
	(void)event;
	return TRUE;
}

/* ---------------------------------------------------------------------------------------------------- what is typed */

static HANDLE keyboard;

static void press(wchar_t unit, WORD code, DWORD control)
{
	INPUT_RECORD key = { .EventType = KEY_EVENT };
	DWORD count;
	key.Event.KeyEvent.wRepeatCount = 1;
	key.Event.KeyEvent.uChar.UnicodeChar = unit;
	key.Event.KeyEvent.wVirtualKeyCode = code;
	key.Event.KeyEvent.dwControlKeyState = control;
	for (int down = 1; down >= 0; down--) {
		key.Event.KeyEvent.bKeyDown = down;
		WriteConsoleInputW(keyboard, &key, 1, &count);
	}
}

static DWORD WINAPI type(void *unused)
{
	char line[1024];
	wchar_t units[1024];
	(void)unused;
	_setmode(_fileno(stdin), _O_BINARY); /* Ctrl-Z is a letter like others */
	while (fgets(line, sizeof line, stdin)) {
		int count = MultiByteToWideChar(CP_UTF8, 0, line, (int)strlen(line), units, 1024);
		for (int i = 0; i < count; i++)
			if (units[i] == L'\n')
				press(L'\r', VK_RETURN, 0);
			else if (units[i] == 3)
				press(3, 'C', LEFT_CTRL_PRESSED);
			else
				press(units[i], 0, 0);
	}
	return 0;
}

/* ---------------------------------------------------------------------------------------------------- what is shown */

static void print_row(HANDLE screen, SHORT row, SHORT width)
{
	wchar_t units[512];
	char text[3 * 512];
	DWORD count = 0;
	ReadConsoleOutputCharacterW(screen, units, width < 512 ? width : 512, (COORD){ 0, row }, &count);
	while (count > 0 && units[count - 1] == L' ')
		count--;
	int bytes = WideCharToMultiByte(CP_UTF8, 0, units, (int)count, text, sizeof text, NULL, NULL);
	printf("%.*s\n", bytes, text);
}

static void print_screen(HANDLE screen)
{
	CONSOLE_SCREEN_BUFFER_INFO info;
	if (!GetConsoleScreenBufferInfo(screen, &info))
		exit(4);
	for (SHORT row = 0; row <= info.dwCursorPosition.Y; row++)
		print_row(screen, row, info.dwSize.X);
}

/* ---------------------------------------------------------------------------------------------------- the program */

/* Its end is tied to that of this process, which holds the only handle of the job. */
static void tie(HANDLE process)
{
	JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = { .BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE };
	HANDLE job = CreateJobObjectA(NULL, NULL);
	SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
	AssignProcessToJobObject(job, process);
}

/* Arguments may hold anything except quotation marks, and do not end in a backslash. */
static bool start(char **words, STARTUPINFOA *info, PROCESS_INFORMATION *process)
{
	char line[4096] = "";
	for (; *words; words++)
		snprintf(line + strlen(line), sizeof line - strlen(line), "\"%s\" ", *words);
	return CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, info, process);
}

int main(int argc, char **argv)
{
	const bool shown = getenv("SCREEN");
	STARTUPINFOA info = { .cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES };
	PROCESS_INFORMATION process;
	DWORD code = 1;
	if (argc < 2)
		return 2;
	info.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
	info.hStdError = GetStdHandle(STD_ERROR_HANDLE);
	FreeConsole();
	AllocConsole();
	SetConsoleCtrlHandler(ignore, TRUE);
	info.hStdInput = keyboard = open_console("CONIN$");
	if (shown)
		info.hStdOutput = info.hStdError = open_console("CONOUT$");
	if (!start(argv + 1, &info, &process))
		return 3;
	tie(process.hProcess);
	CloseHandle(CreateThread(NULL, 0, type, NULL, 0, NULL));
	WaitForSingleObject(process.hProcess, INFINITE);
	GetExitCodeProcess(process.hProcess, &code);
	if (shown)
		print_screen(info.hStdOutput);
	return (int)code;
}
