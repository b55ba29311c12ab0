/* Sockets: the system's headers, and where systems differ; in socket_posix.c or socket_windows.c. */
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

/* To be called before the others. */
bool sockets_begin(void);
/* Why the last call failed. */
const char *socket_error(void);

/* Lets nobody else listen at the address; connections left over from a server that has ended do not block it. */
void socket_take_address(MHD_socket socket);
/* Whether the client has gone, or has closed its sending side. */
bool socket_is_left(MHD_socket socket);
/* Both sides see the end of the connection; the socket must still be closed. */
void socket_end(MHD_socket socket);
void socket_close(MHD_socket socket);

#endif
