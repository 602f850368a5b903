// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Reads, encrypts, sends; receives, decrypts, writes. A record at a time, and never a byte ahead of what the other end
// takes.
#include "weft/ktls/userspace_relay.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include <openssl/err.h>

#include "ktls/tls/openssl_error.hpp"
#include "ktls/tls/socket_bio.hpp"

namespace weft::ktls {
namespace {

constexpr std::size_t kRecord = 16384;
constexpr int kRounds = 32; // records in one turn, then others have theirs
constexpr int kAlertReasons = 1000;

// One for each thread: what does not fit the other socket moves into the connection's own buffer.
std::array<std::uint8_t, kRecord>& scratch() {
    thread_local std::array<std::uint8_t, kRecord> bytes;
    return bytes;
}

int pending_error(int fd) {
    int code = 0;
    socklen_t size = sizeof code;
    (void)::getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size);
    return code;
}

void reset_on_close(int fd) {
    const linger value{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

bool is_transient(int code) {
    return code == EAGAIN || code == EWOULDBLOCK || code == EINTR;
}

// Keeps what `done` left of a buffer.
void keep_rest(std::vector<std::uint8_t>& buffer, const std::uint8_t* bytes, std::size_t size, std::size_t done) {
    if (done == size) {
        std::vector<std::uint8_t>().swap(buffer); // an idle connection keeps no memory
    } else if (buffer.data() == bytes) {
        buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(done));
    } else {
        buffer.assign(bytes + done, bytes + size);
    }
}

} // namespace

const std::uint32_t UserspaceRelay::kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

UserspaceRelay::UserspaceRelay(OsslPtr<SSL> ssl, int app, int peer, const UserspaceOptions& options)
    : ssl_(std::move(ssl)), app_(app), peer_(peer), options_(options), next_limit_(options.key_limit) {
    // The handshake came back after every record; from here on only data and its absence matter.
    SSL_set_mode(ssl_.get(), SSL_MODE_AUTO_RETRY);
}

UserspaceRelay::~UserspaceRelay() = default;

void UserspaceRelay::end(std::uint16_t reason, std::uint32_t detail) {
    if (reason_ != WEFT_RELAY_REASON_NONE) {
        return;
    }
    reason_ = reason;
    detail_ = detail;
    if (reason != WEFT_RELAY_REASON_FINISHED) {
        reset_on_close(app_);
        reset_on_close(peer_);
    }
}

void UserspaceRelay::abort(std::uint16_t reason) {
    end(reason, 0);
}

void UserspaceRelay::end_from_openssl(int result) {
    const int error = SSL_get_error(ssl_.get(), result);
    const auto code = ERR_peek_error();
    (void)take_openssl_error();
    const int reason = ERR_GET_REASON(code);
    if (const int broken = socket_bio_error(SSL_get_rbio(ssl_.get())); broken != 0) {
        end(WEFT_RELAY_REASON_PEER_RESET, static_cast<std::uint32_t>(broken));
    } else if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING || (error == SSL_ERROR_SYSCALL && code == 0)) {
        end(WEFT_RELAY_REASON_TRUNCATED, 0);
    } else if (reason > kAlertReasons && reason < kAlertReasons + 256) {
        end(WEFT_RELAY_REASON_PEER_ALERT, static_cast<std::uint32_t>(reason - kAlertReasons));
    } else {
        end(WEFT_RELAY_REASON_BAD_RECORD, static_cast<std::uint32_t>(reason));
    }
}

// Bytes under one key: a new key where both ends can, else the declared policy.
void UserspaceRelay::account() {
    if (options_.key_limit == 0 || to_peer_ < next_limit_) {
        if (options_.key_limit == 0 || options_.rekey || to_app_ < options_.key_limit) {
            return;
        }
    }
    if (options_.rekey) {
        next_limit_ = to_peer_ + options_.key_limit;
        (void)SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
        return;
    }
    limit_reached_ = true;
    if (options_.close_at_limit) {
        end(WEFT_RELAY_REASON_KEY_LIMIT, 0);
    }
}

// False: the peer takes no more now, or it is over.
bool UserspaceRelay::encrypt(const std::uint8_t* bytes, std::size_t size, std::size_t& done) {
    while (done < size) {
        std::size_t put = 0;
        ERR_clear_error();
        if (const int result = SSL_write_ex(ssl_.get(), bytes + done, size - done, &put); result != 1) {
            const int error = SSL_get_error(ssl_.get(), result);
            wants_peer_write_ = error == SSL_ERROR_WANT_WRITE;
            if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) {
                end_from_openssl(result);
            }
            return false;
        }
        done += put;
        to_peer_ += put;
        account();
    }
    wants_peer_write_ = false;
    return reason_ == WEFT_RELAY_REASON_NONE;
}

bool UserspaceRelay::deliver(const std::uint8_t* bytes, std::size_t size, std::size_t& done) {
    while (done < size) {
        const auto put = ::send(app_, bytes + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0) {
            if (!is_transient(errno)) {
                end(WEFT_RELAY_REASON_APP_RESET, static_cast<std::uint32_t>(errno));
            }
            return false;
        }
        done += static_cast<std::size_t>(put);
        to_app_ += static_cast<std::uint64_t>(put);
        account();
    }
    return reason_ == WEFT_RELAY_REASON_NONE;
}

void UserspaceRelay::close_out() {
    ERR_clear_error();
    const int result = SSL_shutdown(ssl_.get());
    if (result < 0) {
        const int error = SSL_get_error(ssl_.get(), result);
        wants_peer_write_ = error == SSL_ERROR_WANT_WRITE;
        if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) {
            end_from_openssl(result);
        }
        return; // FIN must not overtake the alert
    }
    wants_peer_write_ = false;
    out_closed_ = true;
    (void)::shutdown(peer_, SHUT_WR); // fails only when the connection is gone, which the next read tells
}

void UserspaceRelay::close_in() {
    in_closed_ = true;
    (void)::shutdown(app_, SHUT_WR);
}

// Application to peer. True: there may be more at once.
bool UserspaceRelay::move_out() {
    for (int round = 0; round < kRounds && reason_ == WEFT_RELAY_REASON_NONE && !out_closed_; ++round) {
        const std::uint8_t* bytes = out_.data();
        std::size_t size = out_.size();
        if (size == 0 && app_ended_) {
            close_out();
            return false;
        }
        if (size == 0) {
            const auto got = ::recv(app_, scratch().data(), kRecord, MSG_DONTWAIT);
            if (got < 0 && is_transient(errno)) {
                return false;
            }
            if (got < 0) {
                end(WEFT_RELAY_REASON_APP_RESET, static_cast<std::uint32_t>(errno));
                return false;
            }
            if (got == 0) {
                app_ended_ = true;
                continue;
            }
            bytes = scratch().data();
            size = static_cast<std::size_t>(got);
        }
        std::size_t done = 0;
        const bool all = encrypt(bytes, size, done);
        keep_rest(out_, bytes, size, done);
        if (!all) {
            return false;
        }
    }
    return reason_ == WEFT_RELAY_REASON_NONE && !out_closed_;
}

// Peer to application.
bool UserspaceRelay::move_in() {
    for (int round = 0; round < kRounds && reason_ == WEFT_RELAY_REASON_NONE && !in_closed_; ++round) {
        const std::uint8_t* bytes = in_.data();
        std::size_t size = in_.size();
        if (size == 0 && peer_ended_) {
            close_in();
            return false;
        }
        if (size == 0) {
            ERR_clear_error();
            const int result = SSL_read_ex(ssl_.get(), scratch().data(), kRecord, &size);
            if (result != 1) {
                const int error = SSL_get_error(ssl_.get(), result);
                if (error == SSL_ERROR_ZERO_RETURN) {
                    peer_ended_ = true;
                    continue;
                }
                if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                    end_from_openssl(result);
                }
                return false;
            }
            bytes = scratch().data();
        }
        std::size_t done = 0;
        const bool all = deliver(bytes, size, done);
        keep_rest(in_, bytes, size, done);
        if (!all) {
            return false;
        }
    }
    return reason_ == WEFT_RELAY_REASON_NONE && !in_closed_;
}

UserspaceRelay::State UserspaceRelay::step(bool error_event) {
    if (error_event) {
        if (const int code = pending_error(app_); code != 0) {
            end(WEFT_RELAY_REASON_APP_RESET, static_cast<std::uint32_t>(code));
        }
        if (const int code = pending_error(peer_); code != 0) {
            end(WEFT_RELAY_REASON_PEER_RESET, static_cast<std::uint32_t>(code));
        }
    }
    const bool more_out = move_out();
    const bool more_in = move_in();
    ERR_clear_error();
    if (out_closed_ && in_closed_) {
        end(WEFT_RELAY_REASON_FINISHED, 0);
    }
    if (reason_ != WEFT_RELAY_REASON_NONE) {
        return State::kEnded;
    }
    return more_out || more_in ? State::kAgain : State::kWaits;
}

UserspaceRelay::Wants UserspaceRelay::wants() const {
    Wants wants;
    if (reason_ == WEFT_RELAY_REASON_NONE) {
        wants.app_read = !app_ended_ && out_.empty();
        wants.peer_write = wants_peer_write_;
        wants.peer_read = !peer_ended_ && in_.empty();
        wants.app_write = !in_.empty();
    }
    return wants;
}

} // namespace weft::ktls
