// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// recvmsg and sendmsg with the record type as control message: the only way to see what is no data.
#include "ktls/record/control_record.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

namespace weft::ktls {
namespace {

constexpr std::uint8_t kAlertRecord = 21;
constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint8_t kDataRecord = 23;
constexpr std::uint8_t kCloseNotify = 0;
constexpr std::uint8_t kUserCanceled = 90;
constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;

struct Record {
    ssize_t size;
    std::uint8_t type; // 0: the kernel told none
    std::uint8_t bytes[8]; // its beginning
};

Record receive(int fd, int flags) {
    // A ticket is longer than this; its rest goes with the record only when it was read, so there is room for it.
    std::uint8_t buffer[17 * 1024];
    alignas(cmsghdr) char control[CMSG_SPACE(1)];
    const bool peek = (flags & MSG_PEEK) != 0;
    iovec vector{buffer, peek ? 1 : sizeof buffer};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    Record record{::recvmsg(fd, &message, flags | MSG_DONTWAIT), 0, {}};
    const int code = errno;
    if (record.size >= 0) {
        const auto* header = CMSG_FIRSTHDR(&message);
        if (header != nullptr && header->cmsg_level == SOL_TLS && header->cmsg_type == TLS_GET_RECORD_TYPE) {
            record.type = *CMSG_DATA(header);
        }
        std::memcpy(record.bytes, buffer, std::min(static_cast<std::size_t>(record.size), sizeof record.bytes));
    }
    errno = code;
    return record;
}

int send_record(int fd, std::uint8_t type, std::uint8_t* bytes, std::size_t size) {
    alignas(cmsghdr) char control[CMSG_SPACE(1)] = {};
    iovec vector{bytes, size};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_TLS;
    header->cmsg_type = TLS_SET_RECORD_TYPE;
    header->cmsg_len = CMSG_LEN(1);
    *CMSG_DATA(header) = type;
    const auto sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == static_cast<ssize_t>(size) ? 0 : (sent < 0 ? errno : EAGAIN);
}

} // namespace

Control take_control(int fd) {
    const Record next = receive(fd, MSG_PEEK);
    if (next.size < 0) {
        return errno == EAGAIN || errno == EINTR ? Control{Found::kNothing, 0}
                                                 : Control{Found::kError, static_cast<std::uint32_t>(errno)};
    }
    if (next.size == 0 && next.type == 0) {
        return {Found::kEnd, 0};
    }
    if (next.type == kDataRecord || next.type == 0) {
        return {Found::kData, 0};
    }
    const Record taken = receive(fd, 0);
    if (taken.size < 0) {
        return {Found::kError, static_cast<std::uint32_t>(errno)};
    }
    if (taken.type == kAlertRecord && taken.size == 2) {
        if (taken.bytes[1] == kCloseNotify) {
            return {Found::kCloseNotify, 0};
        }
        return {taken.bytes[1] == kUserCanceled ? Found::kIgnored : Found::kAlert, taken.bytes[1]};
    }
    if (taken.type == kHandshakeRecord && taken.size > 0 && taken.bytes[0] == kNewSessionTicket) {
        return {Found::kIgnored, 0};
    }
    if (taken.type == kHandshakeRecord && taken.size > 0 && taken.bytes[0] == kKeyUpdate) {
        return {Found::kKeyUpdate, taken.bytes[4]};
    }
    return {Found::kUnknown, taken.type};
}

int send_close_notify(int fd) {
    std::uint8_t alert[2] = {1, kCloseNotify};
    return send_record(fd, kAlertRecord, alert, sizeof alert);
}

int send_key_update(int fd, bool request_answer) {
    std::uint8_t message[5] = {kKeyUpdate, 0, 0, 1, request_answer ? std::uint8_t{1} : std::uint8_t{0}};
    return send_record(fd, kHandshakeRecord, message, sizeof message);
}

void push(int fd) {
    const int one = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

} // namespace weft::ktls
