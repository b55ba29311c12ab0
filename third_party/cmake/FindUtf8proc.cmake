# utf8proc, Unicode normalisation, as the target utf8proc::utf8proc.
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h)
find_library(UTF8PROC_LIBRARY utf8proc)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Utf8proc REQUIRED_VARS UTF8PROC_LIBRARY UTF8PROC_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libutf8proc-dev")
mark_as_advanced(UTF8PROC_INCLUDE_DIR UTF8PROC_LIBRARY)

if(Utf8proc_FOUND AND NOT TARGET utf8proc::utf8proc)
	add_library(utf8proc::utf8proc UNKNOWN IMPORTED)
	set_target_properties(utf8proc::utf8proc PROPERTIES IMPORTED_LOCATION ${UTF8PROC_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${UTF8PROC_INCLUDE_DIR})
	if(WIN32 AND UTF8PROC_LIBRARY MATCHES "\\.a$" AND NOT UTF8PROC_LIBRARY MATCHES "\\.dll\\.a$") # its header has to know
		set_property(TARGET utf8proc::utf8proc PROPERTY INTERFACE_COMPILE_DEFINITIONS UTF8PROC_STATIC)
	endif()
endif()
