# Builds for Android with the NDK whose folder is in the environment's ANDROID_NDK, as the presets `android-*` do.  Gradle
# projects use the NDK's own toolchain file and do not need this one.
set(toolchain $ENV{ANDROID_NDK}/build/cmake/android.toolchain.cmake)
if(NOT EXISTS ${toolchain})
	message(FATAL_ERROR "${toolchain} is not there: set ANDROID_NDK in the environment to the folder of Android's NDK, r25 or newer "
		"(docs/android.md).")
endif()
set(ANDROID_PLATFORM android-26)
include(${toolchain})
