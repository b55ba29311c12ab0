/* Android's log where there is none: standard error. */
#include <android/log.h>
#include <stdio.h>

int __android_log_write(int level, const char *tag, const char *text)
{
	return fprintf(stderr, "%d %s: %s\n", level, tag, text);
}
