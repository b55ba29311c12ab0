# jansson, the JSON library, as the target jansson::jansson.
find_path(JANSSON_INCLUDE_DIR jansson.h)
find_library(JANSSON_LIBRARY jansson)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Jansson REQUIRED_VARS JANSSON_LIBRARY JANSSON_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libjansson-dev")
mark_as_advanced(JANSSON_INCLUDE_DIR JANSSON_LIBRARY)

if(Jansson_FOUND AND NOT TARGET jansson::jansson)
	add_library(jansson::jansson UNKNOWN IMPORTED)
	set_target_properties(jansson::jansson PROPERTIES IMPORTED_LOCATION ${JANSSON_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${JANSSON_INCLUDE_DIR})
endif()
