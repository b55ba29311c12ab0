/* For Windows, where a shell cannot send Ctrl-C: runs a program, and sends it once the program has written so much.
 *
 *     send_ctrl_c TIMES BYTES FILE PROGRAM ARGUMENT...
 *
 * FILE, the program's standard output, has BYTES bytes before it is interrupted TIMES times.  Ends with the program's exit
 * code. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <windows.h>

static HANDLE create_file(const char *path)
{
	SECURITY_ATTRIBUTES inherited = { sizeof inherited, NULL, TRUE };
	return CreateFileA(path, GENERIC_WRITE, FILE_SHARE_READ, &inherited, CREATE_ALWAYS, 0, NULL);
}

/* For a minute at most. */
static void wait_bytes(HANDLE file, LONGLONG bytes)
{
	LARGE_INTEGER size = { 0 };
	for (int i = 0; i < 600 && GetFileSizeEx(file, &size) && size.QuadPart < bytes; i++)
		Sleep(100);
}

static BOOL start(char **words, HANDLE output, PROCESS_INFORMATION *process)
{
	char line[4096] = "";
	STARTUPINFOA info = { .cb = sizeof info, .dwFlags = STARTF_USESTDHANDLES, .hStdOutput = output };
	info.hStdError = GetStdHandle(STD_ERROR_HANDLE);
	for (; *words; words++)
		snprintf(line + strlen(line), sizeof line - strlen(line), "\"%s\" ", *words);
	return CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &info, process);
}

int main(int argc, char **argv)
{
	PROCESS_INFORMATION process;
	DWORD code = 1;
	if (argc < 5)
		return 2;
	FreeConsole();
	AllocConsole(); /* whose programs all get it */
	HANDLE output = create_file(argv[3]);
	if (!start(argv + 4, output, &process))
		return 3;
	wait_bytes(output, atoi(argv[2]));
	SetConsoleCtrlHandler(NULL, TRUE); /* not to this one */
	for (int i = 0; i < atoi(argv[1]); i++) {
		GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
		Sleep(300);
	}
	WaitForSingleObject(process.hProcess, 60000);
	GetExitCodeProcess(process.hProcess, &code);
	return (int)code;
}
