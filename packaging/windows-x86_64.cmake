# Builds for x86-64 Windows with mingw-w64, as the preset `windows` and tools/cross.sh do.  RWKVK_LIBRARIES is the folder with the
# libraries that tools/cross.sh has built; nothing of this machine is linked.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER x86_64-w64-mingw32-gcc)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RWKVK_LIBRARIES)
set(CMAKE_FIND_ROOT_PATH ${RWKVK_LIBRARIES} /usr/x86_64-w64-mingw32)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Tests run with Wine where it is installed.
find_program(RWKVK_WINE NAMES wine64 wine PATHS /usr/lib/wine)
if(RWKVK_WINE)
	set(CMAKE_CROSSCOMPILING_EMULATOR ${RWKVK_WINE})
endif()

# The include folder is for the tests' cmocka, whose package names a DLL.  No path of this machine goes into the program.
cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH sources)
set(CMAKE_C_FLAGS_INIT "-isystem ${RWKVK_LIBRARIES}/include -fmacro-prefix-map=${sources}/=")
# Programs and DLLs contain what they need from the compiler's own libraries, and the same sources make the same bytes.
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -Wl,--no-insert-timestamp -L${RWKVK_LIBRARIES}/lib")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-static -Wl,--no-insert-timestamp")
