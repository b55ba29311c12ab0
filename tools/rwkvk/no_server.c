/* rwkvk serve in a build that has no server. */
#include "tool.h"

int cmd_serve(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return failed("this build has no server: build with libmicrohttpd and -DRWKVK_SERVER=ON");
}
