# libedit, which edits lines on a terminal, as the target libedit::libedit.
find_path(LIBEDIT_INCLUDE_DIR histedit.h)
find_library(LIBEDIT_LIBRARY edit)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libedit REQUIRED_VARS LIBEDIT_LIBRARY LIBEDIT_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libedit-dev, or configure with -DRWKVK_CHAT_EDIT=OFF")
mark_as_advanced(LIBEDIT_INCLUDE_DIR LIBEDIT_LIBRARY)

if(Libedit_FOUND AND NOT TARGET libedit::libedit)
	add_library(libedit::libedit UNKNOWN IMPORTED)
	set_target_properties(libedit::libedit PROPERTIES IMPORTED_LOCATION ${LIBEDIT_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${LIBEDIT_INCLUDE_DIR})
	if(LIBEDIT_LIBRARY MATCHES "\\.a$") # Debian's stands on these
		foreach(needed tinfo bsd md)
			find_library(LIBEDIT_${needed}_LIBRARY lib${needed}.a REQUIRED)
			mark_as_advanced(LIBEDIT_${needed}_LIBRARY)
			set_property(TARGET libedit::libedit APPEND PROPERTY INTERFACE_LINK_LIBRARIES ${LIBEDIT_${needed}_LIBRARY})
		endforeach()
	endif()
endif()
