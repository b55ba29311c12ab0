# volk, the Vulkan meta-loader.  Debian's libvulkan-volk-dev has volk.h and volk.c and no CMake config, so volk is compiled
# here, into the target rwkvk_volk, which is part of the library.  VK_NO_PROTOTYPES: nothing links against the loader, it is
# opened at run time.
#
# For Android, whose NDK has no volk, those of the building machine are copied to where no other header of that machine lies.
if(ANDROID AND CMAKE_CROSSCOMPILING)
	find_path(VOLK_HOST_DIR volk.h NO_CMAKE_FIND_ROOT_PATH)
	find_path(VULKAN_HOST_DIR vulkan/vulkan.h NO_CMAKE_FIND_ROOT_PATH)
	set(copies ${CMAKE_BINARY_DIR}/vulkan-headers)
	if(VOLK_HOST_DIR AND VULKAN_HOST_DIR)
		file(COPY ${VOLK_HOST_DIR}/volk.h ${VOLK_HOST_DIR}/volk.c ${VULKAN_HOST_DIR}/vulkan ${VULKAN_HOST_DIR}/vk_video
			DESTINATION ${copies})
		set(VOLK_INCLUDE_DIR ${copies})
		set(VULKAN_HEADERS_DIR ${copies})
		set(VOLK_SOURCE ${copies}/volk.c)
	endif()
	mark_as_advanced(VOLK_HOST_DIR VULKAN_HOST_DIR)
endif()
find_path(VOLK_INCLUDE_DIR volk.h)
find_file(VOLK_SOURCE volk.c PATHS ${VOLK_INCLUDE_DIR})
find_path(VULKAN_HEADERS_DIR vulkan/vulkan.h)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Volk REQUIRED_VARS VOLK_SOURCE VOLK_INCLUDE_DIR VULKAN_HEADERS_DIR
	REASON_FAILURE_MESSAGE "install libvulkan-volk-dev and libvulkan-dev, or run tools/test.sh, which does")
mark_as_advanced(VOLK_INCLUDE_DIR VOLK_SOURCE VULKAN_HEADERS_DIR)

if(Volk_FOUND AND NOT TARGET rwkvk_volk)
	add_library(rwkvk_volk STATIC ${VOLK_SOURCE})
	target_include_directories(rwkvk_volk SYSTEM PUBLIC ${VOLK_INCLUDE_DIR} ${VULKAN_HEADERS_DIR})
	target_compile_definitions(rwkvk_volk PUBLIC VK_NO_PROTOTYPES)
	target_link_libraries(rwkvk_volk PUBLIC ${CMAKE_DL_LIBS})
endif()
