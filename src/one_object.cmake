# rwkvk_one_object(OBJECT MODULES modules... ARCHIVES archives...): all objects of the modules' targets, and what they need of the
# archives, as one, OBJECT, in which only names with our prefix are global.  A static archive of it leaves every other name to
# the program.  visibility("hidden") does not do that, because it affects only the dynamic linker.
#
# The compiler is the one to link, as CMake has it everywhere, since it knows the target's linker and the form of its objects.  It
# is given only those of the user's flags that say which machine and which tools.  Objects for link-time optimisation are not
# code yet and have no names to hide, so nothing here is compiled for it.
#
# GCC's own helpers on 32-bit x86, __x86.*, stay global (they are hidden): the linker keeps one of each in a program.
function(rwkvk_one_object object)
	cmake_parse_arguments(ARG "" "" "MODULES;ARCHIVES" ${ARGN})
	set(objects "")
	foreach(module IN LISTS ARG_MODULES)
		list(APPEND objects $<TARGET_OBJECTS:${module}>)
	endforeach()

	separate_arguments(flags UNIX_COMMAND "${CMAKE_C_FLAGS}")
	list(FILTER flags INCLUDE REGEX "^(-m[a-z0-9]|--?target=|--sysroot=|--gcc-toolchain=|-fuse-ld=|-B.)")
	list(FILTER flags EXCLUDE REGEX "^-mllvm$")
	if(CMAKE_C_COMPILER_TARGET AND CMAKE_C_COMPILE_OPTIONS_TARGET)
		list(APPEND flags ${CMAKE_C_COMPILE_OPTIONS_TARGET}${CMAKE_C_COMPILER_TARGET})
	endif()
	if(CMAKE_SYSROOT AND CMAKE_C_COMPILE_OPTIONS_SYSROOT)
		list(APPEND flags ${CMAKE_C_COMPILE_OPTIONS_SYSROOT}${CMAKE_SYSROOT})
	endif()

	if(APPLE)
		# Mach-O: its linker takes a list of names and makes the others local.  Never tried.
		foreach(architecture IN LISTS CMAKE_OSX_ARCHITECTURES)
			list(APPEND flags -arch ${architecture})
		endforeach()
		file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/exported_symbols "_rwkvk_*\n")
		list(APPEND flags -Wl,-exported_symbols_list,${CMAKE_CURRENT_BINARY_DIR}/exported_symbols)
		set(localise "")
	elseif(CMAKE_OBJCOPY)
		set(localise COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=rwkvk_* --keep-global-symbol=__x86.* ${object})
	else()
		message(FATAL_ERROR "rwkvk as a static library needs objcopy, which binutils and LLVM have: install one, name it with "
			"-DCMAKE_OBJCOPY=FILE, or build a shared library with -DBUILD_SHARED_LIBS=ON")
	endif()
	add_custom_command(OUTPUT ${object} COMMAND ${CMAKE_C_COMPILER} ${flags} -r -nostdlib -o ${object} ${objects} ${ARG_ARCHIVES} ${localise}
		DEPENDS ${ARG_MODULES} ${ARG_ARCHIVES} COMMENT "Joining the library's objects" COMMAND_EXPAND_LISTS VERBATIM)
endfunction()
