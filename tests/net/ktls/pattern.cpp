// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Writing and comparing patterned streams.
#include "tests/net/ktls/pattern.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>
#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

namespace weft::ktls::test {
namespace {

constexpr std::uint64_t kPeriod = 1048583; // prime, so that no buffer size hides a shift
constexpr std::size_t kLongest = 100003;
constexpr std::array<std::size_t, 14> kSizes = {1, 7,        1021,  4099, 16383, 16385, 65537,
                                                3, kLongest, 16384, 13,   333,   2049,  32769};
constexpr int kPatienceMs = 60000;

const std::vector<std::uint8_t>& pattern() {
    static const std::vector<std::uint8_t> made = [] {
        std::vector<std::uint8_t> bytes(kPeriod + (1 << 20));
        std::uint64_t x = 88172645463325252ULL;
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (i < kPeriod) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                bytes[i] = static_cast<std::uint8_t>(x >> 32);
            } else {
                bytes[i] = bytes[i - kPeriod];
            }
        }
        return bytes;
    }();
    return made;
}

bool ready(int fd, short events) {
    pollfd p{fd, events, 0};
    return ::poll(&p, 1, kPatienceMs) > 0;
}

// recv that also tells the type of the record; 0 for plain sockets.
ssize_t receive(int fd, std::uint8_t* out, std::size_t size, std::uint8_t& type) {
    iovec vector{out, size};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(1)> control{};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const auto got = ::recvmsg(fd, &message, MSG_DONTWAIT);
    const int code = errno;
    type = 0;
    if (const auto* header = got >= 0 ? CMSG_FIRSTHDR(&message) : nullptr;
        header != nullptr && header->cmsg_level == SOL_TLS && header->cmsg_type == TLS_GET_RECORD_TYPE) {
        type = *CMSG_DATA(header);
    }
    errno = code;
    return got;
}

} // namespace

std::string ReadReport::text() const {
    static constexpr std::array kEnds = {"complete", "FIN", "close_notify", "reset", "error"};
    return fmt::format("{} bytes, first wrong at {}, then {} ({})", bytes, static_cast<std::int64_t>(first_wrong),
                       kEnds[static_cast<std::size_t>(end)], error == 0 ? "" : std::strerror(error));
}

std::uint8_t pattern_at(std::uint64_t position) {
    return pattern()[position % kPeriod];
}

int send_alert(int fd, std::uint8_t level, std::uint8_t number) {
    std::array<std::uint8_t, 2> alert = {level, number};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(1)> control{};
    iovec vector{alert.data(), alert.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_TLS;
    header->cmsg_type = TLS_SET_RECORD_TYPE;
    header->cmsg_len = CMSG_LEN(1);
    *CMSG_DATA(header) = 21;
    while (::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        if (errno != EAGAIN || !ready(fd, POLLOUT)) {
            return errno;
        }
    }
    return 0;
}

void reset_on_close(int fd) {
    const linger value{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof value);
}

int write_pattern(int fd, std::uint64_t size, const WriteOptions& options) {
    std::size_t turn = 0;
    for (std::uint64_t done = 0; done < size;) {
        const auto step = options.step != 0 ? options.step : kSizes[turn++ % kSizes.size()];
        const auto now = std::min<std::uint64_t>(step, size - done);
        const auto put = ::send(fd, &pattern()[(options.offset + done) % kPeriod], now, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put >= 0) {
            done += static_cast<std::uint64_t>(put);
        } else if (errno == EAGAIN) {
            if (!ready(fd, POLLOUT)) {
                return ETIMEDOUT;
            }
        } else if (errno != EINTR) {
            return errno;
        }
    }
    if (options.tls && (options.ending == Ending::kShutdown || options.ending == Ending::kCloseNotify)) {
        if (const int code = send_alert(fd, 1, 0); code != 0) {
            return code;
        }
    }
    if (options.ending == Ending::kShutdown || options.ending == Ending::kTruncate) {
        return ::shutdown(fd, SHUT_WR) == 0 ? 0 : errno;
    }
    return 0;
}

ReadReport read_pattern(int fd, std::uint64_t size, const ReadOptions& options,
                        const std::function<void()>& on_key_update) {
    ReadReport report;
    std::vector<std::uint8_t> buffer(kLongest + 5);
    std::size_t turn = 3;
    while (options.until_end || report.bytes < size) {
        auto most = kSizes[turn++ % kSizes.size()] + 5;
        if (!options.until_end) {
            most = std::min<std::uint64_t>(most, size - report.bytes);
        }
        std::uint8_t type = 0;
        const auto got = receive(fd, buffer.data(), std::min(most, buffer.size()), type);
        if (got < 0 && errno == EAGAIN) {
            if (!ready(fd, POLLIN)) {
                report.error = ETIMEDOUT;
                return report;
            }
            continue;
        }
        if (got < 0) {
            report.error = errno;
            report.end = errno == ECONNRESET ? End::kReset : End::kError;
            return report;
        }
        if (type == 21 && got == 2) {
            report.end = buffer[1] == 0 ? End::kCloseNotify : End::kError;
            report.error = buffer[1] == 0 ? 0 : EPROTO;
            return report;
        }
        if (type != 0 && type != 23) {
            if (type == 22 && got > 0 && buffer[0] == 24 && on_key_update) {
                on_key_update();
            }
            continue; // else a ticket
        }
        if (got == 0) {
            report.end = End::kFin;
            return report;
        }
        const auto count = static_cast<std::size_t>(got);
        const auto* expected = &pattern()[(options.offset + report.bytes) % kPeriod];
        if (report.first_wrong == ~std::uint64_t{0} && std::memcmp(buffer.data(), expected, count) != 0) {
            const auto [mine, theirs] = std::mismatch(buffer.begin(), buffer.begin() + got, expected);
            report.first_wrong = report.bytes + static_cast<std::uint64_t>(mine - buffer.begin());
            (void)theirs;
        }
        report.bytes += count;
        if (options.pause_microseconds > 0) {
            (void)::usleep(static_cast<useconds_t>(options.pause_microseconds)); // slowness is the point
        }
    }
    report.end = End::kComplete;
    return report;
}

} // namespace weft::ktls::test
