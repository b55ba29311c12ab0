#include "serve/socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#ifndef POLLRDHUP /* not everywhere does a hang-up show while there is something to read */
#define POLLRDHUP POLLHUP
#endif

bool sockets_begin(void)
{
	return true;
}

const char *socket_error(void)
{
	return strerror(errno);
}

void socket_take_address(MHD_socket socket)
{
	const int yes = 1;
	setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
}

bool socket_is_left(MHD_socket socket)
{
	struct pollfd client = { .fd = socket, .events = POLLRDHUP };
	return poll(&client, 1, 0) == 1 && (client.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void socket_end(MHD_socket socket)
{
	shutdown(socket, SHUT_RDWR);
}

void socket_close(MHD_socket socket)
{
	close(socket);
}
