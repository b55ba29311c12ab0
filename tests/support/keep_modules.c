/* For builds with the leak sanitizer: what a program loads stays loaded, so that a leak of the Vulkan driver can still be
 * told by the driver's name (lsan.supp) when the program ends. */
#include <dlfcn.h>

__attribute__((visibility("default"))) int dlclose(void *handle)
{
	(void)handle;
	return 0;
}
