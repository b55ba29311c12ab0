# Compiles and links for Android without its NDK, to prove what can be proved without: that no function is used that Android's C
# library lacks or has only since a later API level, and that the linker finds all of them.  Headers are those of `include` and
# `ndk`, which declare what rwkvk uses and nothing else, and Java's jni.h in RWKVK_CHECK_JAVA; libraries are the stubs that
# tools/more/android.sh makes of symbols.txt.
# What is built this way runs nowhere.
set(CMAKE_SYSTEM_NAME Android)
set(CMAKE_SYSTEM_VERSION 1) # CMake does not look for the NDK
set(CMAKE_SYSTEM_PROCESSOR ${RWKVK_CHECK_PROCESSOR})
set(CMAKE_C_COMPILER clang)
set(CMAKE_C_COMPILER_TARGET ${RWKVK_CHECK_PROCESSOR}-linux-android26)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RWKVK_CHECK_PROCESSOR RWKVK_CHECK_LIBRARIES RWKVK_CHECK_JAVA)

execute_process(COMMAND clang -print-resource-dir OUTPUT_VARIABLE own OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(CMAKE_C_FLAGS_INIT "-Qunused-arguments -nostdinc -isystem ${CMAKE_CURRENT_LIST_DIR}/include -isystem ${CMAKE_CURRENT_LIST_DIR}/ndk \
-isystem ${own}/include -isystem ${RWKVK_CHECK_JAVA}/include -isystem ${RWKVK_CHECK_JAVA}/include/linux")
if(RWKVK_CHECK_PROCESSOR STREQUAL aarch64)
	string(APPEND CMAKE_C_FLAGS_INIT " -mno-outline-atomics") # functions of the compiler's own
endif()
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-fuse-ld=lld -nostdlib -L${RWKVK_CHECK_LIBRARIES} -lc -lcompiler -Wl,--no-undefined")
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
