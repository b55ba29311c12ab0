# Builds for RWKVK_TRIPLE, x86_64-linux-gnu or aarch64-linux-gnu, as the presets `linux-*` and tools/cross.sh do.
# RWKVK_LIBRARIES is the folder that tools/cross.sh has created: a compiler that uses the C library of an old Debian, and the
# libraries.  Nothing else of this machine is linked.
string(REGEX REPLACE "-.*" "" processor ${RWKVK_TRIPLE})
if(NOT processor STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
	set(CMAKE_SYSTEM_NAME Linux)
	set(CMAKE_SYSTEM_PROCESSOR ${processor})
	if(NOT CMAKE_CROSSCOMPILING_EMULATOR) # which may have a driver, too
		set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${processor} -L ${RWKVK_LIBRARIES}/sysroot)
	endif()
endif()
set(CMAKE_C_COMPILER ${RWKVK_LIBRARIES}/bin/${RWKVK_TRIPLE}-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE ${RWKVK_TRIPLE})

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RWKVK_LIBRARIES RWKVK_TRIPLE)
set(CMAKE_FIND_ROOT_PATH ${RWKVK_LIBRARIES} ${RWKVK_LIBRARIES}/sysroot)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
