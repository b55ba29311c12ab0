# libmicrohttpd as the target microhttpd::microhttpd.
find_path(MICROHTTPD_INCLUDE_DIR microhttpd.h)
find_library(MICROHTTPD_LIBRARY microhttpd)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Microhttpd REQUIRED_VARS MICROHTTPD_LIBRARY MICROHTTPD_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libmicrohttpd-dev, or build without `rwkvk serve`, -DRWKVK_SERVER=OFF")
mark_as_advanced(MICROHTTPD_INCLUDE_DIR MICROHTTPD_LIBRARY)

if(Microhttpd_FOUND AND NOT TARGET microhttpd::microhttpd)
	add_library(microhttpd::microhttpd UNKNOWN IMPORTED)
	set_target_properties(microhttpd::microhttpd PROPERTIES IMPORTED_LOCATION ${MICROHTTPD_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${MICROHTTPD_INCLUDE_DIR})
	if(WIN32)
		set_property(TARGET microhttpd::microhttpd PROPERTY INTERFACE_LINK_LIBRARIES ws2_32)
	endif()
endif()
