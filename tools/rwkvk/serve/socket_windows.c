#include "serve/socket.h"

bool sockets_begin(void)
{
	WSADATA data;
	return WSAStartup(MAKEWORD(2, 2), &data) == 0;
}

const char *socket_error(void)
{
	switch (WSAGetLastError()) {
	case WSAEADDRINUSE:
		return "another program listens there";
	case WSAEACCES:
		return "Windows, or another program, keeps this port for itself";
	case WSAEADDRNOTAVAIL:
		return "this machine has no such address";
	}
	return "Windows Sockets refuse it";
}

/* SO_REUSEADDR would let other programs listen at the same address. */
void socket_take_address(MHD_socket socket)
{
	const BOOL yes = TRUE;
	setsockopt(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&yes, sizeof(yes));
}

/* Of a connection that the other side has ended, nothing can be read, at once. */
bool socket_is_left(MHD_socket socket)
{
	WSAPOLLFD client = { .fd = socket, .events = POLLRDNORM };
	char byte;
	if (WSAPoll(&client, 1, 0) != 1)
		return false;
	return (client.revents & (POLLHUP | POLLERR)) || recv(socket, &byte, 1, MSG_PEEK) <= 0;
}

void socket_end(MHD_socket socket)
{
	shutdown(socket, SD_BOTH);
}

void socket_close(MHD_socket socket)
{
	closesocket(socket);
}
