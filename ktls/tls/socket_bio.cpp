// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A BIO over recv and send with MSG_DONTWAIT. OpenSSL's own socket BIO relies on O_NONBLOCK, which is a property of the
// open file that other owners share.
#include "ktls/tls/socket_bio.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <climits>

namespace weft::ktls {
namespace {

struct Socket {
    int fd;
    int error = 0;
    bool eof = false;
    bool waits = false;
};

Socket* socket_of(BIO* bio) {
    return static_cast<Socket*>(BIO_get_data(bio));
}

bool is_transient(int code) {
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

int on_read(BIO* bio, char* out, int size) {
    auto* socket = socket_of(bio);
    BIO_clear_retry_flags(bio);
    const auto got = ::recv(socket->fd, out, static_cast<std::size_t>(size), MSG_DONTWAIT);
    socket->waits = got < 0 && is_transient(errno);
    if (got > 0) {
        return static_cast<int>(got);
    }
    if (got == 0) {
        socket->eof = true;
    } else if (socket->waits) {
        BIO_set_retry_read(bio);
    } else {
        socket->error = errno;
    }
    return static_cast<int>(got);
}

int on_write(BIO* bio, const char* in, int size) {
    auto* socket = socket_of(bio);
    BIO_clear_retry_flags(bio);
    const auto put = ::send(socket->fd, in, static_cast<std::size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
        if (is_transient(errno)) {
            BIO_set_retry_write(bio);
        } else {
            socket->error = errno;
        }
    }
    return static_cast<int>(put);
}

long on_control(BIO* bio, int command, long, void*) {
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return socket_of(bio)->eof ? 1 : 0;
    default:
        return 0;
    }
}

int on_destroy(BIO* bio) {
    delete socket_of(bio);
    BIO_set_data(bio, nullptr);
    return 1;
}

// Made once and kept: BIOs point to it until the process ends.
BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
        BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "borrowed socket");
        if (m != nullptr) {
            BIO_meth_set_read(m, on_read);
            BIO_meth_set_write(m, on_write);
            BIO_meth_set_ctrl(m, on_control);
            BIO_meth_set_destroy(m, on_destroy);
        }
        return m;
    }();
    return made;
}

} // namespace

OsslPtr<BIO> new_socket_bio(int fd) {
    OsslPtr<BIO> bio(method() == nullptr ? nullptr : BIO_new(method()));
    if (bio) {
        BIO_set_data(bio.get(), new Socket{fd});
        BIO_set_init(bio.get(), 1);
    }
    return bio;
}

int socket_bio_error(BIO* bio) {
    return bio == nullptr || socket_of(bio) == nullptr ? 0 : socket_of(bio)->error;
}

bool socket_bio_waits(BIO* bio) {
    return bio != nullptr && socket_of(bio) != nullptr && socket_of(bio)->waits;
}

} // namespace weft::ktls
