# libzip as the target libzip::zip.  Its own CMake config is not used: Debian's wants the programs of other packages, too.
find_path(LIBZIP_INCLUDE_DIR zip.h)
find_library(LIBZIP_LIBRARY zip)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libzip REQUIRED_VARS LIBZIP_LIBRARY LIBZIP_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libzip-dev")
mark_as_advanced(LIBZIP_INCLUDE_DIR LIBZIP_LIBRARY)

if(Libzip_FOUND AND NOT TARGET libzip::zip)
	add_library(libzip::zip UNKNOWN IMPORTED)
	set_target_properties(libzip::zip PROPERTIES IMPORTED_LOCATION ${LIBZIP_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${LIBZIP_INCLUDE_DIR})
	if(LIBZIP_LIBRARY MATCHES "\\.a$" AND NOT LIBZIP_LIBRARY MATCHES "\\.dll\\.a$") # its header has to know
		find_package(ZLIB REQUIRED)
		set_property(TARGET libzip::zip PROPERTY INTERFACE_COMPILE_DEFINITIONS ZIP_STATIC)
		set_property(TARGET libzip::zip PROPERTY INTERFACE_LINK_LIBRARIES ${ZLIB_LIBRARIES})
	endif()
endif()
