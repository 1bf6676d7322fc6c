/*
 * A socket for each message: there are a handful in a daemon's life, and none can be left open.
 */
#include "cmd/peervault/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static enum pv_err failed(int error)
{
    switch (error) {
    case EAGAIN:
        return PV_E_TIMEOUT;
    case ENOENT:
    case ECONNREFUSED:
        return PV_E_NOT_FOUND;
    case EACCES:
    case EPERM:
        return PV_E_AUTH;
    case EMFILE:
    case ENFILE:
        return PV_E_LIMIT;
    default:
        return PV_E_IO;
    }
}

enum pv_err pv_notify_send(const char *address, const char *state)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 1};
    if (address == NULL || address[0] == '\0')
        return PV_OK;
    size_t len = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || address[1] == '\0' || len >= sizeof to.sun_path)
        return PV_E_INVALID;
    memcpy(to.sun_path, address, len);
    if (address[0] == '@') /* abstract: the name begins with a zero byte and ends with its length */
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failed(errno);
    enum pv_err err = PV_OK;
    socklen_t to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, to_len) < 0)
        err = failed(errno);
    (void)close(fd);
    return err;
}
