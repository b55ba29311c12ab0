/* Preloaded into sanitized tests: a driver or layer that has been loaded stays loaded.  Leaks are searched for at exit.  What a
 * library leaks can be distinguished from our own leaks, and ignored by its name (lsan.supp), only while it is still loaded. */
int dlclose(void *handle);

__attribute__((visibility("default"))) int dlclose(void *handle)
{
	(void)handle;
	return 0;
}
