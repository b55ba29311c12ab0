# hiredis as the target hiredis::hiredis.  With its TLS library (hiredis 1.0 and newer) and OpenSSL, Hiredis_TLS is true.
find_path(HIREDIS_INCLUDE_DIR hiredis/hiredis.h)
find_library(HIREDIS_LIBRARY hiredis)
find_library(HIREDIS_SSL_LIBRARY hiredis_ssl)
find_package(OpenSSL QUIET)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Hiredis REQUIRED_VARS HIREDIS_LIBRARY HIREDIS_INCLUDE_DIR
	REASON_FAILURE_MESSAGE "on Debian and Ubuntu: apt-get install libhiredis-dev, or build without the state store, -DRWKVK_STORE=OFF")
mark_as_advanced(HIREDIS_INCLUDE_DIR HIREDIS_LIBRARY HIREDIS_SSL_LIBRARY)

set(Hiredis_TLS OFF)
if(Hiredis_FOUND AND HIREDIS_SSL_LIBRARY AND OpenSSL_FOUND)
	set(Hiredis_TLS ON)
	list(PREPEND HIREDIS_LIBRARY ${HIREDIS_SSL_LIBRARY})
	list(APPEND HIREDIS_LIBRARY ${OPENSSL_SSL_LIBRARY} ${OPENSSL_CRYPTO_LIBRARY})
	list(REMOVE_DUPLICATES HIREDIS_LIBRARY)
endif()
if(Hiredis_FOUND AND NOT TARGET hiredis::hiredis)
	add_library(hiredis::hiredis INTERFACE IMPORTED)
	set_target_properties(hiredis::hiredis PROPERTIES INTERFACE_LINK_LIBRARIES "${HIREDIS_LIBRARY}"
		INTERFACE_INCLUDE_DIRECTORIES ${HIREDIS_INCLUDE_DIR})
endif()
