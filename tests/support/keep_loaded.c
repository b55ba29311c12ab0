/* Preloaded into sanitized tests: a driver or layer that has been loaded stays loaded.  Leaks are looked for at exit, and
 * what a library leaks can be told from our own, and ignored by its name (lsan.supp), only while it is still there. */
int dlclose(void *handle);

__attribute__((visibility("default"))) int dlclose(void *handle)
{
	(void)handle;
	return 0;
}
