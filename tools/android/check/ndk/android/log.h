#pragma once

enum { ANDROID_LOG_INFO = 4, ANDROID_LOG_WARN, ANDROID_LOG_ERROR };

int __android_log_write(int level, const char *tag, const char *text);
