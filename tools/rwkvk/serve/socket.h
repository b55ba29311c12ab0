/* Sockets: the system's headers, and what they do not have alike; in socket_posix.c or socket_windows.c. */
#ifndef RWKVK_SERVE_SOCKET_H
#define RWKVK_SERVE_SOCKET_H

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#endif

#include <microhttpd.h>
#include <stdbool.h>

/* Before any other of these. */
bool sockets_begin(void);
/* Why the last call failed. */
const char *socket_error(void);

/* Nobody else listens at the address, but what remains of a server that has ended does not count. */
void socket_take_address(MHD_socket socket);
/* Whether its client is gone, or has said that it sends no more. */
bool socket_is_left(MHD_socket socket);
/* Both sides see the end of the connection; it is still to be closed. */
void socket_end(MHD_socket socket);
void socket_close(MHD_socket socket);

#endif
