# PCRE2, regular expressions, its functions for UTF-8, as the target pcre2::pcre2.
find_path(PCRE2_INCLUDE_DIR pcre2.h)
find_library(PCRE2_LIBRARY pcre2-8)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Pcre2 REQUIRED_VARS PCRE2_LIBRARY PCRE2_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libpcre2-dev")
mark_as_advanced(PCRE2_INCLUDE_DIR PCRE2_LIBRARY)

if(Pcre2_FOUND AND NOT TARGET pcre2::pcre2)
	add_library(pcre2::pcre2 UNKNOWN IMPORTED)
	set_target_properties(pcre2::pcre2 PROPERTIES IMPORTED_LOCATION ${PCRE2_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${PCRE2_INCLUDE_DIR})
	if(WIN32 AND PCRE2_LIBRARY MATCHES "\\.a$" AND NOT PCRE2_LIBRARY MATCHES "\\.dll\\.a$") # its header has to know
		set_property(TARGET pcre2::pcre2 PROPERTY INTERFACE_COMPILE_DEFINITIONS PCRE2_STATIC)
	endif()
endif()
